# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in the preferences: on disk only where the artist wants them remembered, otherwise gone with Blender.

A property with its own get and set is not written to userpref.blend; the one beside it named `stored_…` is.
"""

from typing import Any, Protocol

import bpy
from bpy.props import BoolProperty, StringProperty


class Holder(Protocol):
    """The preferences that secrets are part of."""

    remember: bool


# What is not to be remembered lives here, by the property's name.
_of_session: dict[str, str] = {}
_names: list[str] = []


def shown(name: str, label: str, description: str) -> Any:
    """The property `name` as the artist sees it: dots. `stored_<name>` belongs beside it."""
    return _entry(name, label, description, subtype="PASSWORD")


def address(name: str, label: str, description: str) -> Any:
    """An address, to be read while it is written. A login, a token or a signature may be anywhere in it."""
    return _entry(name, label, description, subtype="NONE")


def stored() -> Any:
    return StringProperty(options={"HIDDEN"})


def remember() -> Any:
    """The one choice for all of them."""
    return BoolProperty(
        name="Remember",
        description="Keep the key, all other secrets and the addresses that may hold some in Blender's preferences. "
        "When off, they are forgotten when Blender closes",
        default=True,
        update=_remember_changed,
    )


def where(holder: Holder) -> str:
    """What becomes of them, in words."""
    return "Stored unencrypted in Blender's userpref.blend" if holder.remember else "Forgotten when Blender closes"


def _entry(name: str, label: str, description: str, *, subtype: Any) -> Any:
    _names.append(name)

    def get(self: Any) -> str:
        kept: str = getattr(self, f"stored_{name}")
        return kept if self.remember else _of_session.get(name, kept)

    def put(self: Any, value: str) -> None:
        _keep(self, name, value.strip())

    return StringProperty(name=label, description=description, subtype=subtype, get=get, set=put)


def _keep(holder: Holder, name: str, value: str) -> None:
    _of_session[name] = value
    setattr(holder, f"stored_{name}", value if holder.remember else "")


def _remember_changed(self: Any, context: bpy.types.Context) -> None:
    for name in _names:
        kept: str = getattr(self, f"stored_{name}")
        _keep(self, name, _of_session.get(name, kept) if self.remember else kept)
    # A userpref.blend that was saved with them still has them: have Blender write it again.
    context.preferences.is_dirty = True
