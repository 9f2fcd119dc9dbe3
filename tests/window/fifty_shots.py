# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios of an editor with many shots, in the window: what they see, and what keys, mouse and operators do.

With the parameter "gallery", each state is photographed at the sizes that people have.
"""

import ctypes
import itertools
import os
import shutil
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bpy

from tests.window.scenarios import open_edit

_operators: Any = bpy.ops
_SHOTS = 12
_FRAMES = 30
_LOOKS = [
    (width, theme, scale) for width in (220, 350) for theme in ("Blender_Dark", "Blender_Light") for scale in (1.0, 1.25)
]


def add_shots(session: Any, count: int) -> None:
    """Add shots with long names, back to back on channel 3, none selected."""
    clip = shutil.copy(session.parameters["clip"], str(Path(session.parameters["folder"]) / "shots.mp4"))
    for number in range(count):
        name = f"SC012_SH{10 * (number + 1):04}_comp_v017.mp4"
        start = 1 + number * _FRAMES
        # Away from the others until it is trimmed.
        shot = session.strips.new_movie(name=name, filepath=clip, channel=3 if not number else 5, frame_start=start)
        shot.right_handle = start + _FRAMES
        shot.channel = 3
    session.scene.frame_end = count * _FRAMES
    select(session)


def open_shots(session: Any, count: int = _SHOTS):  # type: ignore[no-untyped-def]
    """Open the add-on's tab beside an edit of so many shots."""
    yield from open_edit(session, partial(add_shots, count=count))


def select(session: Any, *numbers: int) -> None:
    """Select these shots, counted from 0; the first one is active."""
    shots = sorted((strip for strip in session.strips if strip.type == "MOVIE"), key=lambda strip: strip.left_handle)
    for strip in session.strips:
        strip.select = False
    for number in numbers:
        shots[number].select = True
    session.scene.sequence_editor.active_strip = shots[numbers[0]] if numbers else None


def sidebar(session: Any) -> Any:
    return next(region for region in session.area().regions if region.type == "UI")


def set_width(session: Any, pixels: int):  # type: ignore[no-untyped-def]
    """Drag the sidebar's edge until it is so wide, as a user would."""
    for part, beside in itertools.product((0.33, 0.6, 0.15, 0.8), (1, 0, 2)):
        region = sidebar(session)
        if abs(region.width - pixels) <= 2:
            return
        # Its edge is beside the region.
        x, y = region.x - beside, region.y + round(region.height * part)
        for kind, value, at in (
            ("MOUSEMOVE", "NOTHING", x),
            ("LEFTMOUSE", "PRESS", x),
            ("MOUSEMOVE", "NOTHING", x + (region.width - pixels) // 2),
            ("MOUSEMOVE", "NOTHING", x + region.width - pixels),
            ("LEFTMOUSE", "RELEASE", x + region.width - pixels),
        ):
            session.window.event_simulate(kind, value, x=at, y=y)
            yield 0.1
    raise AssertionError(f"the sidebar is {sidebar(session).width} pixels wide, not {pixels}")


def set_look(session: Any, width: int, theme: str, scale: float):  # type: ignore[no-untyped-def]
    utils: Any = bpy.utils
    presets = Path(utils.system_resource("SCRIPTS")) / "presets" / "interface_theme"
    file = presets / f"{theme}.xml"
    if file.is_file():
        menu = "USERPREF_MT_interface_theme_presets"
        session.run(_operators.script.execute_preset, filepath=str(file), menu_idname=menu)
    else:
        session.run(_operators.preferences.reset_default_theme)
    bpy.context.preferences.view.ui_scale = scale
    yield 0.2
    yield from set_width(session, round(width * scale))


def look(session: Any, name: str):  # type: ignore[no-untyped-def]
    """Photograph the window, in a gallery at all sizes and themes."""
    for area in session.window.screen.areas:
        area.tag_redraw()
    yield 0.3
    if not session.parameters.get("gallery"):
        yield from session.screenshot(name)
        return
    for width, theme, scale in _LOOKS:
        yield from set_look(session, width, theme, scale)
        session.window.event_simulate("MOUSEMOVE", "NOTHING", x=700, y=440)
        yield 0.3
        yield from session.screenshot(f"{name} {width} {theme.removeprefix('Blender_').lower()} {scale:g}")
    yield from set_look(session, 350, "Blender_Dark", 1.0)


def press(session: Any, key: Any, at: tuple[int, int] | None = None, **modifiers: bool) -> None:
    """Press a key over the timeline."""
    if at is None:
        region = next(region for region in session.area().regions if region.type == "WINDOW")
        at = region.x + region.width // 2, region.y + region.height // 2
    x, y = at
    session.window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    for value in ("PRESS", "RELEASE"):
        session.window.event_simulate(key, value, x=x, y=y, **modifiers)


def planned(session: Any) -> str:
    order = session.part("ui.order")

    def text() -> str:
        try:
            return str(order.current(bpy.context).plan().text)
        except Exception as failure:
            return str(failure)

    return session.run(text)


def batch(session: Any):  # type: ignore[no-untyped-def]
    """Prepare twelve shots, each with a prompt; generate them by key; look at everything on the way."""
    yield from open_shots(session)
    seen, settings = session.seen, session.scene.mmaudio
    yield from look(session, "nothing selected")
    select(session, *range(_SHOTS))
    settings.prompt = "rain"
    for number, what in enumerate(("footsteps", "a door", "a car passes by")):
        select(session, number)
        session.run(lambda what=what: setattr(session.scene.mmaudio, "strip_prompt", what))
    select(session, *range(_SHOTS))
    settings.scope = "WHOLE_EDIT"
    seen["whole edit"] = planned(session)
    session.scene.use_preview_range = True
    session.scene.frame_preview_start, session.scene.frame_preview_end = 1, 2 * _FRAMES
    settings.scope = "PREVIEW_RANGE"
    seen["preview range"] = planned(session)
    settings.scope = "CHANNEL"
    seen["channel"] = planned(session)
    settings.scope = "SELECTED"
    session.scene.use_preview_range = False
    yield from look(session, "shots-planned")
    session.run(lambda: _operators.wm.call_panel(name="MMAUDIO_PT_presets", keep_open=False))
    yield 0.4
    yield from session.screenshot("presets")
    press(session, "ESC")
    yield 0.3
    bpy.context.preferences.addons[session.module].preferences.ask_above_runs = 100
    if session.parameters.get("gallery"):
        # After a simulated key with modifiers, Blender takes no simulated drag of the sidebar any more.
        session.run(_operators.mmaudio.generate)
    else:
        press(session, "G", ctrl=True, shift=True)
    yield from session.wait_until(lambda: len(session.jobs) == _SHOTS)
    seen["prompts"] = [job.request.settings.prompt for job in session.jobs[:4]]
    yield from session.wait_until(lambda: any(job.stage == "done" for job in session.jobs))
    yield from look(session, "shots-at-work")
    yield from session.wait_until(lambda: all(job.stage.ended for job in session.jobs), 120)
    yield 0.5
    seen["done"] = [str(job.stage) for job in session.jobs]
    seen["steps"] = undo_steps()
    yield from look(session, "shots-done")
    select(session, 4)
    yield 0.3
    job_list = session.part("ui.job_list")
    seen["job of the selected strip"] = session.run(lambda: job_list.selected(bpy.context).request.strip)
    yield from look(session, "shots-take")
    select(session, 0)
    session.run(_operators.mmaudio.select_job_strip, job=session.jobs[7].id)
    yield 0.3
    seen["shown"] = [strip.name for strip in session.strips if strip.select]
    select(session, 4)
    session.run(lambda: _operators.wm.call_menu(name="MMAUDIO_MT_prompts"))
    yield 0.4
    yield from session.screenshot("recent prompts")
    press(session, "ESC")
    yield 0.3
    session.run(lambda: _operators.wm.call_menu(name="MMAUDIO_MT_mmaudio"))
    yield 0.4
    yield from session.screenshot("menu")
    press(session, "ESC")
    yield 0.3
    seen["news"] = session.part("ui.progress").result(session.jobs)
    session.run(_operators.mmaudio.dismiss)
    yield from look(session, "dismissed")
    settings.skip_done = True
    select(session, *range(_SHOTS))
    seen["again"] = planned(session)
    session.run(_operators.mmaudio.clear_jobs)
    yield 0.3
    seen["cleared"] = len(session.jobs)
    # Blender saves its preferences when it quits: restore the default for other scenarios.
    bpy.context.preferences.addons[session.module].preferences.ask_above_runs = 20


def undo_steps() -> list[str]:
    """Return the names of the undo steps that placed sounds, oldest first. Blender only prints its steps."""
    manager: Any = bpy.context.window_manager
    flush = ctypes.CDLL(None).fflush
    with tempfile.TemporaryFile() as printed:
        kept = os.dup(1)
        flush(None)
        os.dup2(printed.fileno(), 1)
        try:
            manager.print_undo_steps()
            flush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        printed.seek(0)
        lines = printed.read().decode().splitlines()
    names = [line.partition("name='")[2].rstrip("'") for line in lines]
    return [name for name in names if name.startswith("Place")]


def held(session: Any):  # type: ignore[no-untyped-def]
    """Run out of balance; look; add credit, and go on with one click."""
    yield from open_shots(session, 8)
    seen = session.seen
    select(session, *range(8))
    session.run(_operators.mmaudio.generate)
    hold = session.session.current.runner.hold

    def is_settled() -> bool:
        return all(job.stage.ended or session.session.current.runner.is_held(job.id) for job in session.jobs)

    yield from session.wait_until(lambda: hold.reason is not None and is_settled())
    yield 0.5
    failures = session.part("ui.failures")
    seen["summary"] = failures.summary()
    seen["failed"] = sum(job.stage == "failed" for job in session.jobs)
    seen["held"] = sum(session.session.current.runner.is_held(job.id) for job in session.jobs)
    yield from look(session, "shots-held")
    session.run(lambda: _operators.wm.call_panel(name="MMAUDIO_PT_failures", keep_open=True))
    yield 0.4
    yield from session.screenshot("what went wrong")
    press(session, "ESC")
    yield 0.3
    yield from session.tell("credit")
    seen["continued"] = list(session.run(_operators.mmaudio.retry_failed, code="balance"))
    yield from session.wait_until(lambda: all(job.stage.ended for job in session.jobs), 120)
    yield 0.5
    seen["done"] = [str(job.stage) for job in session.jobs]
    yield from look(session, "went on")


def undo(session: Any):  # type: ignore[no-untyped-def]
    """Edit while sounds come in, in groups; save what is pending; undo an edit that was made as a sound was ready."""
    yield from open_shots(session, 6)
    seen = session.seen
    select(session, *range(6))
    session.run(_operators.mmaudio.generate)
    placing = session.part("placing")

    def sounds() -> int:
        return sum(1 for strip in session.strips if strip.get("mmaudio"))

    yield from session.wait_until(lambda: sounds() == 1)
    # Ready, but waiting for the rest of the group.
    yield from session.wait_until(session.session.current.ready_to_place)
    seen["pending"] = sounds()
    bpy.ops.wm.save_mainfile()
    seen["saved"] = sounds() > seen["pending"]
    yield from session.wait_until(lambda: all(job.stage.ended for job in session.jobs), 120)
    yield 0.5
    seen["steps"] = undo_steps()
    select(session, 0)
    session.run(bpy.ops.ed.undo_push, message="Select")
    session.run(_operators.mmaudio.generate)
    yield from session.wait_until(lambda: session.jobs[-1].stage == "downloading" or session.jobs[-1].stage == "placing")
    # The artist's own edit, at the moment when the sound is ready.
    session.run(_operators.sequencer.mute, "EXEC_DEFAULT", True)
    yield 0.3
    seen["placed right after an edit"] = not session.session.current.ready_to_place() and session.jobs[-1].stage == "done"
    session.run(bpy.ops.ed.undo)
    yield 0.3
    shots = sorted((strip for strip in session.strips if strip.type == "MOVIE"), key=lambda strip: strip.left_handle)
    seen["edit undone"] = not shots[0].mute
    yield from session.wait_until(lambda: session.jobs[-1].stage.ended)
    seen["then"] = str(session.jobs[-1].stage)
    seen["seconds"] = placing.QUIET_SECONDS


def first_contact(session: Any):  # type: ignore[no-untyped-def]
    """Start without a key: paste a wrong one, test it, paste the right one, test it, and generate a first sound."""
    yield from open_edit(session)
    seen = session.seen
    preferences = bpy.context.preferences.addons[session.module].preferences
    current = session.session.current
    yield from look(session, "first contact")
    bpy.context.preferences.system.use_online_access = False
    yield from look(session, "first contact offline")
    bpy.context.preferences.system.use_online_access = True
    seen["tests"] = []
    for key, name in (("wrong", "key refused"), (session.parameters["key"], "key accepted")):
        preferences.key = key
        yield 0.3
        session.run(_operators.mmaudio.test_key)
        yield from session.wait_until(lambda: not current.key_test.running)
        yield 0.3
        failure = current.key_test.failure
        seen["tests"].append([current.key_test.result, "" if failure is None else failure.code])
        yield from look(session, name)
    session.run(_operators.mmaudio.generate)
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    seen["stage"] = str(session.jobs[0].stage)
    yield from session.open_preferences()
    yield 0.5
    yield from session.screenshot("preferences")
    # The parts that are closed at first, from below: their headers are at these heights of a window of 1080 pixels.
    for y in (234, 255, 276):
        press(session, "LEFTMOUSE", (166, y))
        yield 0.3
    yield from session.screenshot("preferences open")
    yield from session.close_preferences()
    preferences.key = ""


def found(session: Any):  # type: ignore[no-untyped-def]
    """Find the operators by F3 and by right-click; switch takes by key; hide the tab in a preview."""
    yield from open_shots(session, 2)
    seen = session.seen
    select(session, 0)
    session.scene.mmaudio.takes = 2
    press(session, "G", ctrl=True, shift=True)
    yield from session.wait_until(lambda: session.jobs and all(job.stage.ended for job in session.jobs))
    yield 0.5
    (sound,) = [strip for strip in session.strips if strip.get("mmaudio")]
    seen["takes"] = [sound["mmaudio"]["take"]]
    for key in ("RIGHT_BRACKET", "RIGHT_BRACKET", "LEFT_BRACKET"):
        press(session, key, alt=True)
        yield 0.5
        seen["takes"].append(sound["mmaudio"]["take"])
    press(session, "F3")
    yield 0.5
    for letter in "mmaudio":
        session.window.event_simulate("SEMI_COLON", "PRESS", x=700, y=300, unicode=letter)
        session.window.event_simulate("SEMI_COLON", "RELEASE", x=700, y=300)
    yield 0.7
    yield from session.screenshot("search")
    press(session, "ESC")
    press(session, "ESC")
    yield 0.3
    types: Any = bpy.types
    panel = types.MMAUDIO_PT_generate
    seen["tab"] = session.run(lambda: panel.poll(bpy.context))
    session.area().spaces.active.view_type = "PREVIEW"
    yield 0.3
    previews = [area for area in session.window.screen.areas if area.type == "SEQUENCE_EDITOR"]
    seen["tab in a preview"] = []
    for area in previews:
        with bpy.context.temp_override(window=session.window, area=area, region=area.regions[0]):
            seen["tab in a preview"].append(panel.poll(bpy.context))


def many(session: Any):  # type: ignore[no-untyped-def]
    """List 500 jobs, and measure how long drawing the sidebar takes with a filter."""
    yield from open_shots(session, 1)
    select(session, 0)
    session.run(_operators.mmaudio.generate)
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    job, current = session.jobs[0], session.session.current
    context = session.run(lambda: current.job_context(session.part("preferences.page").config(bpy.context)))
    stages = [type(job.stage)(value) for value in ("done", "failed", "cancelled")]
    names = [f"SC012_SH{number:04}_comp_v017.mp4" for number in range(499)]
    copies = [
        replace(job, id=f"{number:032}", stage=stages[number % 3], request=replace(job.request, strip=name))
        for number, name in enumerate(names)
    ]
    current.runner.show(copies, context)
    jobs = session.part("ui.job_list")
    start = time.perf_counter()
    jobs.update()
    session.seen["first update"] = time.perf_counter() - start
    start = time.perf_counter()
    jobs.update()
    session.seen["update"] = time.perf_counter() - start
    spent: list[float] = []
    kind = jobs.MMAUDIO_UL_jobs
    filtering, drawing = kind.filter_items, kind.draw_item

    def measured(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent.append(time.perf_counter() - start)

        return call

    class Filtered:
        """The list with a filter, as the artist has set it."""

        bitflag_filter_item = 1 << 30
        filter_name = "SH01"
        state = "DONE"

    manager = bpy.context.window_manager
    session.seen["filter"] = []
    for _ in range(20):
        start = time.perf_counter()
        flags, _order = filtering(Filtered, bpy.context, manager, "mmaudio_jobs")
        session.seen["filter"].append(time.perf_counter() - start)
        session.seen["shown"] = sum(bool(flag) for flag in flags)
    kind.draw_item = measured(drawing)
    sidebar(session).tag_redraw()
    yield 0.5
    session.seen["rows"], session.seen["draw"] = len(spent), sum(spent)
    kind.draw_item = drawing
    yield from look(session, "500 jobs")
