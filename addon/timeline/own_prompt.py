# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompt that a clip has of its own, besides the one that all clips share."""

from .strip_types import Strip

_PROPERTY = "mmaudio_prompt"
"""Custom property of the clip."""


def of(strip: Strip) -> str:
    """Return the strip's own prompt, or an empty string if it has none."""
    return str(strip.get(_PROPERTY, "")).strip()


def put(strip: Strip, text: str) -> None:
    """Set the strip's own prompt; an empty one removes it."""
    if text.strip():
        strip[_PROPERTY] = text.strip()
    elif _PROPERTY in strip:
        del strip[_PROPERTY]
