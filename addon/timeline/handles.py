# SPDX-License-Identifier: GPL-3.0-or-later
"""Picture that a strip has beyond its handles. Main thread."""

from . import compat, isolate
from .strip_types import PictureStrip

_TYPES_WITH_MORE_PICTURE = ("MOVIE", "IMAGE", "MOVIECLIP", "SCENE", "META")
"""Strips of these types have content of their own, which their handles may hide in part."""


def picture_beyond(strip: PictureStrip) -> tuple[int, int]:
    """Return how many frames of its own picture a strip has before its left handle, and after its right handle.

    Within meta strips, only what these show counts.
    """
    first, end = isolate.frame_range(strip)
    content_start, content_end = compat.content_start(strip) + compat.content_trim_start(strip), compat.content_end(strip)
    # A still is the same in every frame, and retimed content has its own frame numbers.
    is_still = strip.type == "IMAGE" and len(strip.elements) < 2
    if strip.type not in _TYPES_WITH_MORE_PICTURE or is_still or getattr(strip, "retiming_keys", ()):
        return 0, 0
    before, after = first - round(content_start), content_end - end
    parent = strip.parent_meta()
    while parent is not None:
        if parent.use_reverse_frames:
            return 0, 0
        shown_first, shown_end = isolate.frame_range(parent)
        before, after = min(before, first - shown_first), min(after, shown_end - end)
        parent = parent.parent_meta()
    return max(before, 0), max(after, 0)
