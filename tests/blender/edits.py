# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers that make edits, run jobs, and measure the offset between a sound and its picture."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aud
import bpy
import numpy as np
import pytest

from scripts import in_blender
from tests import footage

RATE = 48_000


def edit() -> Any:
    return bpy.context.scene.sequence_editor


def movie(
    folder: Path,
    *,
    frames: int = 96,
    at: tuple[int, ...] = (20, 45, 70),
    channel: int = 3,
    start: int = 10,
    size: tuple[int, int] = (1280, 720),
) -> Any:
    clip = folder / f"clip {channel}-{start}.mp4"
    footage.flashes(clip, frames=frames, at=at, size=size)
    return edit().strips.new_movie(name="clip", filepath=str(clip), channel=channel, frame_start=start, fit_method="STRETCH")


def add_movie(file: Path, *, channel: int, start: int) -> Any:
    """Add a movie with the defaults of Add > Movie: footage with another frame rate plays at its own speed."""
    before = set(edit().strips)
    with sequencer():
        bpy.ops.sequencer.movie_strip_add(
            filepath=str(file), channel=channel, frame_start=start, sound=False, use_framerate=False
        )
    (strip,) = set(edit().strips) - before
    return strip


def image_strip(
    files: Sequence[Path], *, name: str, channel: int, start: int = 1, frames: int | None = None, into: Any = None
) -> Any:
    """Add an image sequence, to this scene or another, with this length or the one that Blender gives it."""
    strip = _edit_of(into).strips.new_image(name=name, filepath=str(files[0]), channel=channel, frame_start=start)
    for file in files[1:]:
        strip.elements.append(file.name)
    if frames is not None:
        set_end(strip, start + frames)
    return strip


def set_end(strip: Any, frame: int) -> None:
    """Set the first frame after the strip."""
    setattr(strip, "right_handle" if bpy.app.version >= (5, 1) else "frame_final_end", frame)


def effect(kind: str, *inputs: Any, channel: int, start: int = 1, frames: int = 30, name: str = "", into: Any = None) -> Any:
    """Add an effect strip, to this scene or another. The position of one with inputs follows from the inputs."""
    length = {"frame_end": start + frames} if bpy.app.version < (5, 0) else {"length": frames}
    options = length | {f"input{number}": strip for number, strip in enumerate(inputs, 1)}
    return _edit_of(into).strips.new_effect(name=name or kind, type=kind, channel=channel, frame_start=start, **options)


def _edit_of(scene: Any) -> Any:
    """Return the edit of the scene, or of the current one."""
    return (scene or bpy.context.scene).sequence_editor


def retime(addon: Any, strip: Any, *, percent: float) -> None:
    """Change the speed of the whole strip. Uses the operator on 4.5, where adding a key from Python crashes Blender.

    Must be called before strips without keys are added: Blender takes the first of those for the owner of a key.
    """
    strips = list(edit().strips)
    assert all(len(before.retiming_keys) for before in strips[: strips.index(strip)])
    start, end = addon.compat.left_handle(strip), addon.compat.right_handle(strip)
    if bpy.app.version >= (5, 0):
        strip.retiming_keys.add(timeline_frame=start)
    else:
        _select(strip)
        with sequencer():
            bpy.ops.sequencer.retiming_key_add(timeline_frame=start)
    new_end = round(start + (end - start) * 100 / percent)
    # There may be another key at the end, and a key can't be moved past another. For footage with another frame rate,
    # reading the frame of a key gives a wrong value; setting it works.
    last_keys = list(enumerate(reversed(list(strip.retiming_keys)[1:])))
    for frames, key in last_keys if percent < 100 else reversed(last_keys):
        key.timeline_frame = new_end - frames
    assert addon.compat.right_handle(strip) == pytest.approx(new_end, abs=1)


def make_meta(*parts: Any) -> Any:
    """Put the strips into a meta strip with the operator."""
    _select(*parts)
    with sequencer():
        bpy.ops.sequencer.meta_make()
    return parts[0].parent_meta()


def _select(*strips: Any) -> None:
    for strip in edit().strips:
        strip.select = strip in strips
    edit().active_strip = strips[0]


def sequencer() -> Any:
    """Return a context override for operators of the Sequencer; without a region, since 5.2 crashes on one never drawn."""
    window: Any = bpy.context.window_manager.windows[0]
    if bpy.app.version >= (5, 0):
        window.workspace.sequencer_scene = bpy.context.scene
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    return bpy.context.temp_override(window=window, area=area)


def generate(
    addon: Any, *chosen: Any, seconds: float = 90.0, options: Mapping[str, Any] = MappingProxyType({}), **changes: Any
) -> list[Any]:
    """Start the strips' jobs and run them to their end, as the timer does; `changes` are model settings."""
    return finish(addon, [job.id for job in start(addon, *chosen, options=options, **changes)], seconds)


def start(addon: Any, *chosen: Any, options: Mapping[str, Any] = MappingProxyType({}), **changes: Any) -> list[Any]:
    return in_blender.start(chosen, options=options, **{"prompt": "rain", "seed": 7, **changes})


def finish(addon: Any, ids: list[str], seconds: float = 90.0) -> list[Any]:
    return in_blender.ended(ids, seconds)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition that other threads or processes bring about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.02)


def wait_for_stage(addon: Any, job_id: str, stage: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while (now := addon.session.current.runner.job(job_id).stage) != stage:
        assert not now.ended, now
        assert time.monotonic() < end, now
        addon.generation.advance()
        time.sleep(0.01)


def flash_frames(folder: Path, first: int, last: int) -> list[int]:
    """Render the edit from `first` to `last` and return the first frame of each flash."""
    whole = render_whole(folder, first, last, percentage=20)
    render = bpy.context.scene.render
    fps = render.fps / render.fps_base
    return [first + round(time * fps) for time in footage.flash_times(whole)]


def render_whole(folder: Path, first: int, last: int, *, percentage: int) -> Path:
    """Render the edit with Blender's own render operator, from frame `first` to `last`; return the path of the video."""
    scene = bpy.context.scene
    render = scene.render
    scene.frame_start, scene.frame_end = first, last
    render.resolution_percentage = percentage
    if bpy.app.version >= (5, 0):
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec, render.ffmpeg.audio_codec = "MPEG4", "H264", "NONE"
    render.use_file_extension = False
    render.filepath = str(folder / "whole edit.mp4")
    bpy.ops.render.render(animation=True)
    return folder / "whole edit.mp4"


def click_times(folder: Path) -> "list[float]":
    """Mix the edit down and return the start of each click, in seconds from the scene's first frame."""
    mixed = folder / "mixed.wav"
    # Blender starts a strip only at the start of a block of samples: with its default of 1024 samples, up to 21 ms of the
    # start are lost on long timelines, and on 4.5 up to 5 ms at 59.94 and 60 fps. With 16 samples, the mixdown crashes.
    bpy.ops.sound.mixdown(filepath=str(mixed), container="WAV", codec="PCM", format="F32", mixrate=RATE, accuracy=32)
    sound: Any = aud
    samples = np.abs(sound.Sound(str(mixed)).data()).max(axis=1)
    loud = np.flatnonzero(samples > 0.4)
    if not len(loud):
        return []
    # A click is a few dozen samples long: loud samples within 20 ms belong to the same click.
    starts = loud[np.concatenate([[True], np.diff(loud) > RATE // 50])]
    return [float(start) / RATE for start in starts]


def offsets_ms(folder: Path, first: int, last: int) -> list[float]:
    """Return the delay of each click against its flash, in milliseconds; assert that each flash has one click."""
    flashes = flash_frames(folder, first, last)
    clicks = click_times(folder)
    fps = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
    assert len(clicks) == len(flashes) > 0, (clicks, flashes)
    return [(click - (frame - first) / fps) * 1000 for click, frame in zip(clicks, flashes, strict=True)]
