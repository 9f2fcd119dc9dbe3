# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios of a user's actions in the window, run by session.py; `session.seen` holds the results that the tests check."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

_operators: Any = bpy.ops


def hide_distractions(session: Any) -> None:
    """Replace the file browser, which shows the tester's folders, and move the cursor to where it causes no tooltip."""
    for area in session.window.screen.areas:
        if area.type == "FILE_BROWSER":
            area.type = "OUTLINER"
    session.window.cursor_warp(700, 440)


def two_clips(session: Any) -> None:
    """Add two movie strips, the first one selected."""
    clip = shutil.copy(session.parameters["clip"], session.parameters["folder"])
    first = session.strips.new_movie(name="Bunny", filepath=clip, channel=3, frame_start=1)
    second = session.strips.new_movie(name="Bunny again", filepath=clip, channel=3, frame_start=150)
    session.scene.frame_end = 300
    session.scene.mmaudio.prompt = "birdsong, leaves, a rabbit yawns"
    first.select, second.select = True, False
    session.scene.sequence_editor.active_strip = first


def open_edit(session: Any, add_strips: Callable[[Any], None] = two_clips, *, saved: bool = True):  # type: ignore[no-untyped-def]
    """Make an edit of some strips, and open the add-on's tab in the sidebar."""
    bpy.context.preferences.view.show_splash = False
    # Set here rather than by --online-mode, so that Blender doesn't connect to its asset libraries on startup.
    bpy.context.preferences.system.use_online_access = True
    utils: Any = bpy.utils  # the stubs lack system_resource
    template = Path(utils.system_resource("SCRIPTS")) / "startup" / "bl_app_templates_system" / "Video_Editing"
    bpy.ops.workspace.append_activate(idname="Video Editing", filepath=str(template / "startup.blend"))
    yield 0.5
    hide_distractions(session)
    session.window.workspace.sequencer_scene = session.window.scene
    session.scene.sequence_editor_create()
    session.scene.render.fps = 25
    session.scene.render.resolution_x, session.scene.render.resolution_y = 1280, 720
    add_strips(session)
    if saved:
        bpy.ops.wm.save_as_mainfile(filepath=str(Path(session.parameters["folder"]) / "project.blend"))
    area = session.area()
    area.spaces.active.show_region_ui = True
    yield 0.5
    region = next(region for region in area.regions if region.type == "UI")
    region.active_panel_category = "MMAudio"
    area.tag_redraw()
    session.run(bpy.ops.ed.undo_push, message="Open Edit")
    yield 0.5


def edit_and_undo(session: Any):  # type: ignore[no-untyped-def]
    """Move the second strip to another channel, then undo that."""
    session.strips["Bunny again"].channel = 5
    session.run(bpy.ops.ed.undo_push, message="Move Strip")
    yield 0.3
    session.run(bpy.ops.ed.undo)
    yield 0.3


def main_job(session: Any):  # type: ignore[no-untyped-def]
    """Generate a sound while editing, then undo and redo its placement; measure how long the interface blocks."""
    yield from open_edit(session)
    seen = session.seen
    yield 1.0
    start = session.ticks[-1]
    # Idle, perform the same actions as during the job: undo alone takes Blender some time.
    yield from edit_and_undo(session)
    # About the duration of the job: over a longer time, the longest gap is longer.
    yield 8.0
    seen["gap_at_rest"] = session.longest_gap(start)
    yield from session.screenshot("idle")
    yield 0.5

    start = session.ticks[-1]
    seen["started"] = list(session.run(_operators.mmaudio.generate))
    (job,) = session.jobs
    yield from session.wait_until(lambda: is_rendering(session.jobs[0]))
    seen["gap_until_export"] = session.longest_gap(start)
    yield from session.screenshot("at-work")
    start = session.ticks[-1]
    yield from edit_and_undo(session)
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    yield 0.5
    seen["gap_at_work"] = session.longest_gap(start)
    job = session.jobs[0]
    seen["stage"] = str(job.stage)
    seen["error"] = None if job.error is None else job.error.message
    seen["sounds"] = [strip.name for strip in session.strips if strip.type == "SOUND"]
    clip, sound = session.strips["Bunny"], session.strips[job.takes[0].sound.strip]
    seen["clip"] = [clip.left_handle, clip.right_handle, clip.channel]
    seen["sound"] = [sound.left_handle, sound.right_handle, sound.channel]
    yield 1.5
    yield from session.screenshot("done")
    yield 0.2
    session.run(bpy.ops.ed.undo)
    yield 0.3
    seen["after_undo"] = [strip.name for strip in session.strips]
    session.run(bpy.ops.ed.redo)
    yield 0.3
    seen["after_redo"] = [strip.name for strip in session.strips]


def gaps(session: Any):  # type: ignore[no-untyped-def]
    """Measure how long the interface blocks while a job goes from the click to its sound, and when that is added by hand."""
    yield from open_edit(session)
    session.seen["at work"], session.seen["by hand"] = [], []
    for _ in range(5):
        yield 1.0
        start = session.ticks[-1]
        session.run(_operators.mmaudio.generate)
        yield from session.wait_until(lambda: session.jobs[-1].stage.ended)
        yield 1.0
        session.seen["at work"].append(session.longest_gap(start))
        sound = session.strips[session.jobs[-1].takes[0].sound.strip]
        session.seen["takes"] = [take["take"] for take in sound["mmaudio"]["takes"]]
        (file,) = [take.file for take in session.jobs[-1].takes]
        start = session.ticks[-1]
        # Otherwise Blender begins to drag the new strip, and nothing is placed meanwhile.
        options = {"frame_start": 1, "channel": 9, "move_strips": False}
        session.run(_operators.sequencer.sound_strip_add, "EXEC_DEFAULT", True, filepath=str(file), **options)
        yield 1.0
        session.seen["by hand"].append(session.longest_gap(start))
        for strip in session.strips:
            strip.select = strip.name == "Bunny"
        session.scene.sequence_editor.active_strip = session.strips["Bunny"]


def is_rendering(job: Any) -> bool:
    """Return whether some frames of the job's clip are rendered; until the first one is, there is no progress."""
    return job.stage == "exporting" and job.progress is not None and job.progress.done > 20


def takes(session: Any):  # type: ignore[no-untyped-def]
    """Generate three takes of a clip; play each operator on takes, undo and redo it; reuse the settings of a take."""
    yield from open_edit(session)
    seen = session.seen
    session.strips["Bunny"].channel = 5
    settings = session.scene.mmaudio
    settings.takes, settings.randomize_seed, settings.seed = 3, False, 40
    settings.negative_prompt = "music, speech"
    session.run(_operators.mmaudio.generate)
    settings.prompt, settings.seed = "something else", 7
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    # Wait, as a user would, so that each of the following actions is a separate undo step.
    yield 0.5

    def playing() -> list[list[Any]]:
        sounds = [strip for strip in session.strips if strip.get("mmaudio")]
        heard = [[sound["mmaudio"]["take"], len(sound["mmaudio"]["takes"]), sound.mute] for sound in sounds]
        return sorted(heard)

    seen["placed"] = playing()
    yield from session.screenshot("takes")
    seen["played"] = {}
    for name, options in (
        ("next_take", {}),
        ("previous_take", {}),
        ("play_take", {"take": 3}),
        ("keep_take", {}),
        ("unpack_takes", {}),
    ):
        before = playing()
        session.run(getattr(_operators.mmaudio, name), "EXEC_DEFAULT", True, **options)
        yield 0.3
        done = playing()
        yield from session.screenshot(name)
        session.run(bpy.ops.ed.undo)
        yield 0.3
        undone = playing()
        session.run(bpy.ops.ed.redo)
        yield 0.3
        redone = playing()
        session.run(bpy.ops.ed.undo)
        yield 0.3
        seen["played"][name] = [done, undone == before, redone == done]
    session.run(bpy.ops.ed.undo)
    yield 0.3
    seen["placing undone"] = playing()
    session.run(bpy.ops.ed.redo)
    yield 0.3
    seen["placing redone"] = playing()
    seen["can_reuse"] = session.run(_operators.mmaudio.reuse_settings.poll)
    session.run(_operators.mmaudio.reuse_settings, "EXEC_DEFAULT", True)
    settings = session.scene.mmaudio
    seen["reused"] = [settings.prompt, settings.negative_prompt, settings.seed]
    session.strips["Bunny"].select = False
    session.scene.sequence_editor.active_strip = session.strips["Bunny again"]
    seen["available without a take"] = [
        session.run(_operators.mmaudio.next_take.poll),
        session.run(_operators.mmaudio.reuse_settings.poll),
    ]
    yield 0.2


def mix(session: Any):  # type: ignore[no-untyped-def]
    """Generate the sounds of two neighbors, and one sound over both; cross-fade the first two, and fade their edges."""
    yield from open_edit(session)
    seen = session.seen
    first, second = session.strips["Bunny"], session.strips["Bunny again"]
    first.right_handle, second.left_handle = 100, 165
    second.content_start -= 65
    for clip in (first, second):
        clip.select = True
    settings = session.scene.mmaudio
    for as_one, picture in ((False, "two sounds"), (True, "one sound")):
        settings.as_one = as_one
        session.run(_operators.mmaudio.generate)
        yield from session.wait_until(lambda: all(job.stage.ended for job in session.jobs))
        yield 0.5
        yield from session.screenshot(picture)
    sounds = [strip for strip in session.strips if strip.get("mmaudio")]
    seen["sounds"] = sorted([sound.left_handle, sound.right_handle, sound.channel] for sound in sounds)
    for strip in session.strips:
        strip.select = "clip" in (strip.get("mmaudio") or {})
    session.scene.sequence_editor.active_strip = next(strip for strip in session.strips if strip.select)
    session.run(bpy.ops.ed.undo_push, message="Select")
    yield 0.3

    def mixed() -> list[Any]:
        handles = sorted([strip.left_handle, strip.right_handle, strip.channel] for strip in session.strips)
        animation = session.scene.animation_data
        layers = animation.action.layers if animation and animation.action else ()
        curves = [curve for layer in layers for part in layer.strips for bag in part.channelbags for curve in bag.fcurves]
        return [handles, sorted(len(curve.keyframe_points) for curve in curves)]

    seen["played"] = {}
    for name in ("crossfade_sounds", "fade_edges"):
        before = mixed()
        seen["played"][name] = [list(session.run(getattr(_operators.mmaudio, name), "EXEC_DEFAULT", True))]
        yield 0.3
        done = mixed()
        yield from session.screenshot(name)
        session.run(bpy.ops.ed.undo)
        yield 0.3
        undone = mixed()
        session.run(bpy.ops.ed.redo)
        yield 0.3
        seen["played"][name] += [done[1], done != before, undone == before, mixed() == done]
        session.run(bpy.ops.ed.undo)
        yield 0.3


def plan(session: Any):  # type: ignore[no-untyped-def]
    """Order two strips above the limit, confirm in the dialog, order them again at work, then when they have their sound."""
    yield from open_edit(session)
    seen, order = session.seen, session.part("ui.order")
    session.strips["Bunny again"].select = True

    def planned() -> str:
        found = session.run(lambda: order.current(bpy.context).plan())
        return str(found.text)

    preferences = bpy.context.preferences.addons[session.module].preferences
    preferences.ask_above_runs = 1
    yield 0.3
    seen["before"] = planned()
    yield from session.screenshot("plan")
    session.run(_operators.mmaudio.generate, "INVOKE_DEFAULT")
    yield 0.7
    yield from session.screenshot("dialog")
    seen["asked"] = len(session.jobs)
    for value in ("PRESS", "RELEASE"):
        session.window.event_simulate("RET", value, x=700, y=440)
    yield from session.wait_until(lambda: len(session.jobs) == 2)
    yield 0.3
    seen["at work"] = planned()
    yield from session.screenshot("plan at work")
    yield from session.wait_until(lambda: all(job.stage.ended for job in session.jobs))
    yield 0.5
    seen["done"] = planned()
    session.scene.mmaudio.skip_done = False
    seen["again"] = planned()
    yield from session.screenshot("plan done")
    session.run(bpy.ops.ed.undo)
    yield 0.3
    seen["after undo"] = sum(1 for strip in session.strips if strip.get("mmaudio"))


def failed_job(session: Any):  # type: ignore[no-untyped-def]
    """Generate a sound whose run fails."""
    yield from open_edit(session)
    session.run(_operators.mmaudio.generate)
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    yield 0.5
    yield from session.screenshot("error")
    session.seen["stage"] = str(session.jobs[0].stage)
    session.seen["error"] = session.jobs[0].error.message
    session.seen["strips"] = [strip.name for strip in session.strips]
    session.seen["can_generate"] = session.run(_operators.mmaudio.generate.poll)
    yield 0.2


def blockers(session: Any):  # type: ignore[no-untyped-def]
    """Remove and restore each requirement of Generate Sound, noting the reason that the panel shows."""
    yield from open_edit(session)
    system = bpy.context.preferences.system
    preferences = bpy.context.preferences.addons[session.module].preferences
    edit = session.scene
    seen: dict[str, Any] = {}
    session.seen["blockers"] = seen

    def look(name: str):  # type: ignore[no-untyped-def]
        session.area().tag_redraw()
        yield 0.5
        seen[name] = session.generate_failure()
        yield from session.screenshot(name)

    yield from look("no-key")
    preferences.key = "a-key"
    yield from look("ready")
    system.use_online_access = False
    yield from look("offline")
    system.use_online_access = True
    session.strips["Bunny"].select = False
    yield from look("no-strip")
    sound = session.strips.new_sound(name="Noise", filepath=session.parameters["clip"], channel=6, frame_start=1)
    for strip in session.strips:
        strip.select = strip == sound
    yield from look("no-picture")
    for strip in session.strips:
        strip.select = True
    yield from look("two-strips")
    session.window.workspace.sequencer_scene = None
    yield from look("no-edit")
    session.window.workspace.sequencer_scene = edit
    preferences.base_url = "http://example.com"
    yield from look("unsafe-address")


def large_scene(session: Any):  # type: ignore[no-untyped-def]
    """Generate the sound of a scene strip whose 3D scene takes a while to write, then cancel the job."""
    yield from open_edit(session)
    seen = session.seen
    scene: Any = bpy.data.scenes.new("Large")
    scene.frame_start, scene.frame_end = 1, 10
    mesh = bpy.data.meshes.new("Points")
    mesh.vertices.add(4_000_000)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    for item in (bpy.data.objects.new("Points", mesh), camera):
        scene.collection.objects.link(item)
    scene.camera = camera
    large = session.strips.new_scene(name="Large", scene=scene, channel=6, frame_start=1)
    for strip in session.strips:
        strip.select = strip == large
    session.scene.sequence_editor.active_strip = large
    jobs_when_drawn: list[int] = []
    space: Any = bpy.types.SpaceSequenceEditor
    handler = space.draw_handler_add(lambda: jobs_when_drawn.append(len(session.jobs)), (), "HEADER", "POST_PIXEL")
    yield 0.5
    jobs_when_drawn.clear()
    seen["started"] = list(session.run(_operators.mmaudio.generate, "INVOKE_DEFAULT"))
    yield 0.06
    yield from session.screenshot("copying")
    yield from session.wait_until(lambda: session.jobs)
    seen["drawn before the copy"] = jobs_when_drawn.count(0)
    space.draw_handler_remove(handler, "HEADER")
    session.run(_operators.mmaudio.cancel_job, job=session.jobs[0].id)
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    yield from session.screenshot("copied")


def interrupted(session: Any):  # type: ignore[no-untyped-def]
    """Disable and enable the add-on during a job, undo and insert its sound, then quit Blender during a second job."""
    yield from open_edit(session)
    seen = session.seen
    session.run(_operators.mmaudio.generate)
    yield from session.wait_until(lambda: session.jobs[0].stage == "predicting")
    bpy.ops.preferences.addon_disable(module=session.module)
    yield 0.5
    bpy.ops.preferences.addon_enable(module=session.module)
    yield from session.wait_until(lambda: session.jobs and session.jobs[0].stage == "done")
    yield 0.5

    def sounds() -> list[str]:
        return sorted(strip.name for strip in session.strips if strip.get("mmaudio"))

    seen["placed"] = sounds()
    session.run(bpy.ops.ed.undo)
    yield 0.3
    seen["undone"] = sounds()
    session.run(_operators.mmaudio.insert_result, job=session.jobs[0].id)
    yield from session.wait_until(lambda: session.jobs[0].stage == "done")
    yield 0.5
    seen["inserted"] = sounds()
    bpy.ops.wm.save_mainfile()
    for strip in session.strips:
        strip.select = strip.name == "Bunny again"
    session.run(_operators.mmaudio.generate)
    yield from session.wait_until(lambda: session.jobs[-1].stage == "predicting")


def reopened(session: Any):  # type: ignore[no-untyped-def]
    """Open the file in a new Blender, at first without online access."""
    system = bpy.context.preferences.system
    system.use_online_access = False
    bpy.ops.wm.open_mainfile(filepath=str(Path(session.parameters["folder"]) / "project.blend"))
    yield from session.wait_until(lambda: session.waiting_for_access == ["Bunny again"])
    yield from session.screenshot("held-up")
    system.use_online_access = True
    yield from session.wait_until(lambda: session.jobs and session.jobs[0].stage == "done")
    yield 0.5
    session.seen["sounds"] = sorted(strip.name for strip in session.strips if strip.get("mmaudio"))
    yield from session.screenshot("reopened")


def closed_unsaved(session: Any):  # type: ignore[no-untyped-def]
    """Quit Blender with an edit that was never saved; Blender keeps it as its last session."""
    yield from open_edit(session, saved=False)
    session.strips["Bunny"].name = "Bunny unsaved"
    session.run(bpy.ops.ed.undo_push, message="Rename")
    yield 0.2


def recovered(session: Any):  # type: ignore[no-untyped-def]
    """Recover the last session, generate a sound, save the project, then undo and redo the placement of the sound."""
    seen, folder = session.seen, Path(session.parameters["folder"])
    bpy.context.preferences.system.use_online_access = True
    bpy.ops.wm.recover_last_session()
    yield 1.0
    seen["recovered"] = [bpy.data.is_saved, Path(bpy.data.filepath).name, sorted(strip.name for strip in session.strips)]

    def sounds() -> list[str]:
        return [bpy.path.abspath(strip.sound.filepath) for strip in session.strips if strip.get("mmaudio")]

    for strip in session.strips:
        strip.select = strip.name == "Bunny unsaved"
    session.run(_operators.mmaudio.generate)
    yield from session.wait_until(lambda: session.jobs and session.jobs[0].stage.ended)
    yield 0.5
    seen["stage"], seen["before"] = str(session.jobs[0].stage), sounds()
    (folder / "saved").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "saved" / "film.blend"))
    yield 0.5
    seen["after"], seen["project"] = sounds(), session.jobs[0].project
    session.run(bpy.ops.ed.undo)
    yield 0.3
    session.run(bpy.ops.ed.redo)
    yield 0.3
    seen["redone"] = [Path(path).is_file() for path in sounds()]
    yield from session.screenshot("recovered")


def storage(session: Any):  # type: ignore[no-untyped-def]
    """Show the preferences of each storage, test the connection to a bucket, then show the sidebar with a clip URL."""
    yield from open_edit(session)
    seen, bucket = session.seen, session.parameters["bucket"]
    preferences = bpy.context.preferences.addons[session.module].preferences
    latest = lambda: session.session.current.latest_storage_test  # noqa: E731

    def look(name: str):  # type: ignore[no-untyped-def]
        for area in session.window.screen.areas:
            area.tag_redraw()
        yield 0.7
        yield from session.screenshot(name)

    yield from session.open_preferences()
    yield from look("storage-eachlabs")
    preferences.storage = "s3"
    yield from look("storage-s3-empty")
    for name, value in bucket.items():
        setattr(preferences, f"s3_{name}", value)
    _operators.mmaudio.test_storage()
    yield from session.wait_until(lambda: not latest().running)
    seen["well"] = [latest().result, str(latest().failure)]
    yield from look("storage-s3")
    preferences.s3_secret_key = "wrong"
    _operators.mmaudio.test_storage()
    yield from session.wait_until(lambda: not latest().running)
    seen["wrong"] = str(latest().failure)
    yield from look("storage-s3-wrong")
    preferences.storage, preferences.put_login = "http_put", "BASIC"
    yield from look("storage-http-put")
    preferences.storage, preferences.webhook_on = "given_url", True
    yield from look("storage-by-hand")
    preferences.storage, preferences.webhook_url = "eachlabs", "http://hook.studio.com"
    yield from look("storage-webhook")
    preferences.storage = "given_url"
    yield from session.close_preferences()
    yield from look("by-hand")
    seen["blocker"] = session.generate_failure()
    session.part("preferences.clip_url").set_url(session.scene, "https://clips.studio.com/bunny.mp4")
    yield from look("by-hand-ready")
    seen["ready"] = session.generate_failure()
    # Blender saves its preferences when it quits: restore the defaults for other scenarios.
    preferences.storage, preferences.webhook_on, preferences.s3_secret_key = "eachlabs", False, ""


def typed_address(session: Any):  # type: ignore[no-untyped-def]
    """Type a clip URL into its field in the sidebar, then crash Blender."""
    yield from open_edit(session)
    preferences = bpy.context.preferences.addons[session.module].preferences
    preferences.storage, addresses = "given_url", session.part("preferences.clip_url")
    yield 0.5
    # Scripts can't ask Blender for the position of the field: type a word further and further down until the field has it.
    region = next(region for region in session.area().regions if region.type == "UI")
    top = region.y + region.height
    offset = 40
    while addresses.of(session.scene) != "word":
        offset += 10
        assert offset < region.height
        yield from session.type_at(region.x + region.width // 2, top - offset, "word")
    yield from session.type_at(region.x + region.width // 2, top - offset, session.parameters["address"])
    yield from session.wait_until(lambda: addresses.of(session.scene) != "word")
    session.seen["typed"] = addresses.of(session.scene)
    yield from session.screenshot("typed-address")
    session.crash()
