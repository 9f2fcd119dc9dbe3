# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties for secrets, which are saved with Blender's preferences only if the artist wants that.

A property with get and set functions is not written to userpref.blend; its companion `stored_NAME` is. So a secret takes two
properties: `NAME: secrets.masked("NAME", …)` and `stored_NAME: secrets.stored()`.
"""

from typing import Any, Protocol

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import session


class HasSecrets(Protocol):
    """Preferences that contain secrets."""

    remember: bool


_names: list[str] = []


def masked(name: str, label: str, description: str) -> Any:
    """Return the property `name`, which is displayed as dots."""
    return _property(name, label, description, subtype="PASSWORD")


def url(name: str, label: str, description: str) -> Any:
    """Return the property `name` for a URL. It is displayed as text but kept as a secret, since it may contain a login, a
    token or a signature."""
    return _property(name, label, description, subtype="NONE")


def stored() -> Any:
    return StringProperty(options={"HIDDEN"})


def remember() -> Any:
    """Return the property that decides for all secrets whether they are saved."""
    return BoolProperty(
        name="Remember Secrets",
        description="Save the API key, all other secrets and the URLs that may contain some in Blender's preferences. "
        "If off, they are discarded when Blender closes",
        default=True,
        update=_remember_changed,
    )


def where(holder: HasSecrets) -> str:
    """Return a text that says where the secrets are kept."""
    return "Stored unencrypted in Blender's userpref.blend" if holder.remember else "Discarded when Blender closes"


def _property(name: str, label: str, description: str, *, subtype: Any) -> Any:
    _names.append(name)

    def get(self: Any) -> str:
        saved: str = getattr(self, f"stored_{name}")
        return saved if self.remember else session.current.secrets.get(name, saved)

    def put(self: Any, value: str) -> None:
        _keep(self, name, value.strip())

    return StringProperty(name=label, description=description, subtype=subtype, get=get, set=put)


def _keep(holder: HasSecrets, name: str, value: str) -> None:
    session.current.secrets[name] = value
    setattr(holder, f"stored_{name}", value if holder.remember else "")


def _remember_changed(self: Any, context: bpy.types.Context) -> None:
    for name in _names:
        saved: str = getattr(self, f"stored_{name}")
        _keep(self, name, session.current.secrets.get(name, saved) if self.remember else saved)
    # A userpref.blend that was saved with the secrets still contains them, so have Blender write it again.
    context.preferences.is_dirty = True
