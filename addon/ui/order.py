# SPDX-License-Identifier: GPL-3.0-or-later
"""What Generate Sound orders with the panel's settings, and what keeps it from that. Changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import bpy

from .. import generation, plan
from ..config import Config
from ..failure import Failure
from ..jobs.model.job import Job
from ..jobs.model.request import Options
from ..preferences import clip_url, page
from ..service.eachlabs import client
from ..service.net.addresses import check_url
from ..timeline import compat, scope, strips
from ..timeline.errors import LinkedScene
from ..timeline.scope import Scope
from ..timeline.shots import ExcludedStrip
from ..timeline.strip_types import PictureStrip
from . import settings


class NoEdit(Failure):
    code = "no_edit"
    default_hint = "Choose or add a scene in the Sequencer's header."


class NoClipUrl(Failure):
    code = "no_address"
    default_hint = "Paste the public https URL of its mp4 above."


@dataclass(frozen=True)
class Order:
    """The chosen clips, and how their sounds are generated."""

    scene: bpy.types.Scene
    chosen: Sequence[PictureStrip]
    excluded: Sequence[ExcludedStrip]
    """Other strips in the scope, for which no sound is generated."""
    options: Options
    config: Config
    skip_done: bool

    def plan(self) -> plan.Plan:
        return plan.make(self.scene, self.chosen, self.options, skip_done=self.skip_done, excluded=self.excluded)

    def start(self) -> list[Job]:
        """Start the jobs and return them. Raises Failure if nothing can be sent at all."""
        scene_settings = settings.of(self.scene)
        return generation.start(
            self.scene,
            self.chosen,
            settings.for_first_run(scene_settings),
            self.config,
            self.options,
            random_seeds=scene_settings.randomize_seed,
            skip_done=self.skip_done,
        )


def current(context: bpy.types.Context) -> Order:
    """Return what a click would order in this context. Raises Failure if it would order nothing."""
    scene = _edited_scene(context)
    config, scene_settings = page.config(context), settings.of(scene)
    chosen, excluded = scope.find(context, scene, Scope(scene_settings.scope))
    if config.uses_clip_url:
        _check_clip_url(clip_url.of(scene), len(chosen), config.base_url)
    options = settings.options(scene_settings, clip_url.of(scene) if config.uses_clip_url else "")
    return Order(scene, chosen, excluded, options, config, settings.skips_done(scene_settings, len(chosen)))


def check(context: bpy.types.Context) -> None:
    """Raise the Failure that disables Generate Sound in this context.

    Called for each button and menu entry, so it doesn't search the whole edit for shots.
    """
    scene = _edited_scene(context)
    page.config(context).check_access()
    if settings.of(scene).scope == Scope.SELECTED:
        current(context)


def failure(context: bpy.types.Context) -> Failure | None:
    """Return the Failure that disables Generate Sound in this context, or None if it is enabled."""
    try:
        check(context)
    except Failure as failure:
        return failure
    return None


def _edited_scene(context: bpy.types.Context) -> bpy.types.Scene:
    scene = compat.edited_scene(context)
    if scene is None:
        raise NoEdit("No edit is open in this workspace.")
    if not strips.is_local(scene):
        raise LinkedScene(f"The scene “{scene.name}” is linked from another file.")
    return scene


def _check_clip_url(url: str, count: int, base_url: str) -> None:
    """Raise Failure if this is not the URL of a clip that the artist has published, for one strip."""
    if count > 1:
        raise generation.OneClipUrl(count)
    if not url:
        raise NoClipUrl("The clip has no URL yet.")
    try:
        check_url(url, loopback_allowed=client.is_local(base_url), hint=NoClipUrl.default_hint)
    except Failure as failure:
        raise NoClipUrl(failure.message) from None
