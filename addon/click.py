# SPDX-License-Identifier: GPL-3.0-or-later
"""From strips to requests. Main thread."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

import bpy

from .config import Config
from .jobs.model.request import ClipPosition, Options, Request, Snapshot, Span, Track
from .service.eachlabs.mmaudio import Settings
from .timeline import compat, handles, isolate, own_prompt, shots, strips, track
from .timeline.strip_types import Strip


class Click:
    """Makes the requests of one click. They share their settings, a snapshot of the edit, and a track for their sounds.

    Nothing in the edit is changed: `mark` comes first, before requests are ordered.
    """

    def __init__(self, scene: bpy.types.Scene, settings: Settings, options: Options, config: Config) -> None:
        self._scene = scene
        self._settings = settings
        self._options = options
        self._config = config
        # Its scene is known once it is taken.
        self._snapshot = Snapshot(config.work / f"edit-{uuid.uuid4().hex}.blend", "")

    def mark(self, clips: Iterable[Strip]) -> None:
        """Mark the scene and the clips, by which they are found again, unless the scene is linked and can't be changed."""
        if strips.is_local(self._scene):
            strips.ensure_scene_mark(self._scene)
            for clip in clips:
                strips.ensure_mark(clip)

    def requests(self, clips: Sequence[Strip]) -> list[Request]:
        """Return the request for each clip, or one for all of them if they get one sound."""
        as_one = self._options.as_one and len(clips) > 1
        tracks = self._tracks(clips, as_one=as_one)
        if as_one:
            return [self._request_as_one(clips, tracks[clips[0]])]
        shown = shots.topmost_effects(clips)
        return [self._request_alone(clip, top, tracks[clip]) for clip, top in zip(clips, shown, strict=True)]

    def _tracks(self, clips: Sequence[Strip], *, as_one: bool) -> dict[Strip, Track]:
        """Return the channels for the sounds of each clip: the same for all on one level of the edit."""
        levels: dict[isolate.Container, list[Strip]] = {}
        for clip in clips:
            levels.setdefault(isolate.container(clip), []).append(clip)
        tracks: dict[Strip, Track] = {}
        for container, level in levels.items():
            spans = [strips.span(clip) for clip in level]
            if as_one:
                spans = [Span.over(spans)]
            tracks |= dict.fromkeys(level, track.of_click(container, level, spans, self._options))
        return tracks

    def _request_alone(self, clip: Strip, shown: Strip, on_track: Track) -> Request:
        """Return the request for a sound of one clip. `shown` is the topmost effect on it, or the clip itself."""
        request = self._request(clip, shown, strips.span(clip), on_track)
        is_alone = not request.whole_edit and not self._options.clip_url
        if is_alone and shown == clip and strips.has_picture(clip) and request.span.frames:
            return request.with_handles(*handles.picture_beyond(clip))
        return request

    def _request_as_one(self, clips: Sequence[Strip], on_track: Track) -> Request:
        """Return the request for one sound over the whole range of the clips, scored from the timeline as seen."""
        ordered = sorted(clips, key=lambda clip: (strips.span(clip).start, clip.channel))
        spans = [strips.span(clip) for clip in ordered]
        request = self._request(ordered[0], ordered[0], Span.over(spans), on_track)
        request = replace(request, settings=self._settings_for(ordered))
        positions = [
            ClipPosition(clip.name, strips.mark(clip), span, compat.content_start(clip))
            for clip, span in zip(ordered, spans, strict=True)
        ]
        return replace(request, together=tuple(positions))

    def _request(self, clip: Strip, shown: Strip, span: Span, on_track: Track) -> Request:
        return Request(
            scene=self._scene.name,
            strip=clip.name,
            shown=shown.name,
            span=span,
            content_start=compat.content_start(clip),
            fps=strips.fps(self._scene),
            settings=self._settings_for([clip]),
            snapshot=self._snapshot,
            folder=self._config.folder,
            mark=strips.mark(clip),
            scene_mark=str(self._scene.get(strips.SCENE_MARK, "")),
            offset=self._config.offset,
            options=self._options,
            track=on_track,
        )

    def _settings_for(self, clips: Iterable[Strip]) -> Settings:
        """Return the settings with the clips' own prompts before the one that all strips share."""
        prompts = [*(own_prompt.of(clip) for clip in clips), self._settings.prompt]
        return replace(self._settings, prompt=", ".join(filter(None, dict.fromkeys(prompts))))
