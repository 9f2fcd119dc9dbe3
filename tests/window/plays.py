# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist does in the window; see session.py. Each play writes down what its test asks for."""

import shutil
from pathlib import Path
from typing import Any

import bpy

_operators: Any = bpy.ops


def tidy(session: Any) -> None:
    """Leaves nothing in the pictures that isn't the edit: no folder of the tester's, no tooltip."""
    for area in session.window.screen.areas:
        if area.type == "FILE_BROWSER":
            area.type = "OUTLINER"
    session.window.cursor_warp(700, 440)


def open_edit(session: Any, *, saved: bool = True):  # type: ignore[no-untyped-def]
    """Two movie strips in the Sequencer, the first selected, the sidebar open at the product's tab."""
    bpy.context.preferences.view.show_splash = False
    # Here rather than by --online-mode, so that Blender doesn't look for asset libraries of its own at its start.
    bpy.context.preferences.system.use_online_access = True
    utils: Any = bpy.utils  # the stubs lack system_resource
    template = Path(utils.system_resource("SCRIPTS")) / "startup" / "bl_app_templates_system" / "Video_Editing"
    bpy.ops.workspace.append_activate(idname="Video Editing", filepath=str(template / "startup.blend"))
    yield 0.5
    tidy(session)
    session.window.workspace.sequencer_scene = session.window.scene
    session.scene.sequence_editor_create()
    session.scene.render.fps = 25
    session.scene.render.resolution_x, session.scene.render.resolution_y = 1280, 720
    folder = Path(session.order["folder"])
    clip = shutil.copy(session.order["clip"], folder)
    first = session.strips.new_movie(name="Bunny", filepath=clip, channel=3, frame_start=1)
    second = session.strips.new_movie(name="Bunny again", filepath=clip, channel=3, frame_start=150)
    session.scene.mmaudio.prompt = "birdsong, leaves, a rabbit yawns"
    if saved:
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / "project.blend"))
    first.select, second.select = True, False
    session.scene.sequence_editor.active_strip = first
    area = session.area()
    area.spaces.active.show_region_ui = True
    session.scene.frame_end = 300
    yield 0.5
    region = next(region for region in area.regions if region.type == "UI")
    region.active_panel_category = "MMAudio"
    area.tag_redraw()
    session.run(bpy.ops.ed.undo_push, message="Open Edit")
    yield 0.5


def edit_and_undo(session: Any):  # type: ignore[no-untyped-def]
    """The artist moves the second strip, and thinks better of it."""
    session.strips["Bunny again"].channel = 5
    session.run(bpy.ops.ed.undo_push, message="Move Strip")
    yield 0.3
    session.run(bpy.ops.ed.undo)
    yield 0.3


def main_job(session: Any):  # type: ignore[no-untyped-def]
    yield from open_edit(session)
    seen = session.seen
    yield 1.0
    began = session.ticks[-1]
    # What the artist does at work is done at rest too: undo alone takes Blender a while.
    yield from edit_and_undo(session)
    # About as long as a job takes: the longest of many gaps grows with their number.
    yield 8.0
    seen["gap_at_rest"] = session.longest_gap(began)
    yield from session.screenshot("idle")
    yield 0.5

    began = session.ticks[-1]
    seen["started"] = list(session.run(_operators.mmaudio.generate))
    (job,) = session.jobs
    yield from session.wait_until(lambda: session.jobs[0].stage == "exporting" and session.jobs[0].progress.done > 20)
    seen["gap_until_export"] = session.longest_gap(began)
    yield from session.screenshot("at-work")
    began = session.ticks[-1]
    yield from edit_and_undo(session)
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    yield 0.5
    seen["gap_at_work"] = session.longest_gap(began)
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


def takes(session: Any):  # type: ignore[no-untyped-def]
    """Three takes of one clip; the next one is heard by one click, which one undo takes back."""
    yield from open_edit(session)
    seen = session.seen
    session.strips["Bunny"].channel = 5
    asked = session.scene.mmaudio
    asked.takes, asked.randomize_seed, asked.seed = 3, False, 40
    asked.negative_prompt = "music, speech"
    session.run(_operators.mmaudio.generate)
    asked.prompt, asked.seed = "something else", 7
    yield from session.wait_until(lambda: session.jobs[0].stage.ended)
    # As an artist waits for it: each of the following is an undo step of its own.
    yield 0.5

    def muted() -> list[bool]:
        made = [strip for strip in session.strips if strip.get("mmaudio")]
        return [strip.mute for strip in sorted(made, key=lambda strip: strip["mmaudio"]["take"])]

    seen["placed"] = muted()
    yield from session.screenshot("takes")
    session.run(_operators.mmaudio.next_take, "EXEC_DEFAULT", True)
    yield 0.3
    seen["next"] = muted()
    session.run(bpy.ops.ed.undo)
    yield 0.3
    seen["next undone"] = muted()
    session.run(bpy.ops.ed.undo)
    yield 0.3
    seen["placing undone"] = muted()
    session.run(bpy.ops.ed.redo)
    yield 0.3
    seen["placing redone"] = muted()
    seen["can_reuse"] = session.run(_operators.mmaudio.reuse_settings.poll)
    session.run(_operators.mmaudio.reuse_settings, "EXEC_DEFAULT", True)
    asked = session.scene.mmaudio
    seen["reused"] = [asked.prompt, asked.negative_prompt, asked.seed]
    session.strips["Bunny"].select = False
    session.scene.sequence_editor.active_strip = session.strips["Bunny again"]
    seen["elsewhere"] = [
        session.run(_operators.mmaudio.next_take.poll),
        session.run(_operators.mmaudio.reuse_settings.poll),
    ]
    yield 0.2


def failed_job(session: Any):  # type: ignore[no-untyped-def]
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
    """Each thing that may be missing, as the panel says it, and with it mended."""
    yield from open_edit(session)
    system = bpy.context.preferences.system
    preferences = bpy.context.preferences.addons[session.module].preferences
    edit = session.scene
    seen: dict[str, Any] = {}
    session.seen["blockers"] = seen

    def look(name: str):  # type: ignore[no-untyped-def]
        session.area().tag_redraw()
        yield 0.5
        seen[name] = session.blocker()
        yield from session.screenshot(name)

    yield from look("no-key")
    preferences.key = "a-key"
    yield from look("ready")
    system.use_online_access = False
    yield from look("offline")
    system.use_online_access = True
    session.strips["Bunny"].select = False
    yield from look("no-strip")
    sound = session.strips.new_sound(name="Noise", filepath=session.order["clip"], channel=6, frame_start=1)
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
    """A scene strip whose scene takes a while to write."""
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
    """The add-on is disabled and enabled while a job runs, its sound undone and inserted; Blender is closed on another."""
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
    """The file is opened in a new Blender, first without online access."""
    system = bpy.context.preferences.system
    system.use_online_access = False
    bpy.ops.wm.open_mainfile(filepath=str(Path(session.order["folder"]) / "project.blend"))
    yield from session.wait_until(lambda: session.held_up == ["Bunny again"])
    yield from session.screenshot("held-up")
    system.use_online_access = True
    yield from session.wait_until(lambda: session.jobs and session.jobs[0].stage == "done")
    yield 0.5
    session.seen["sounds"] = sorted(strip.name for strip in session.strips if strip.get("mmaudio"))
    yield from session.screenshot("reopened")


def closed_unsaved(session: Any):  # type: ignore[no-untyped-def]
    """Blender is closed on an edit that was never saved, and keeps it as its last session."""
    yield from open_edit(session, saved=False)
    session.strips["Bunny"].name = "Bunny unsaved"
    session.run(bpy.ops.ed.undo_push, message="Rename")
    yield 0.2


def recovered(session: Any):  # type: ignore[no-untyped-def]
    """File > Recover > Last Session; a sound is made there, the project saved, and the sound's placing undone and redone."""
    seen, folder = session.seen, Path(session.order["folder"])
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
    """The preferences with each way of publishing a clip, and a bucket that is tested; then the sidebar of one by hand."""
    yield from open_edit(session)
    seen, bucket = session.seen, session.order["bucket"]
    preferences = bpy.context.preferences.addons[session.module].preferences
    shown = session.part("preferences.storage_test")

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
    yield from session.wait_until(lambda: not shown.latest().running)
    seen["well"] = [shown.latest().said, str(shown.latest().failure)]
    yield from look("storage-s3")
    preferences.s3_secret_key = "wrong"
    _operators.mmaudio.test_storage()
    yield from session.wait_until(lambda: not shown.latest().running)
    seen["wrong"] = str(shown.latest().failure)
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
    seen["blocker"] = session.blocker()
    session.part("preferences.clip_url").give(session.scene, "https://clips.studio.com/bunny.mp4")
    yield from look("by-hand-ready")
    seen["ready"] = session.blocker()
    # Blender keeps its preferences when it closes, and other plays are not of this.
    preferences.storage, preferences.webhook_on, preferences.s3_secret_key = "eachlabs", False, ""


def typed_address(session: Any):  # type: ignore[no-untyped-def]
    """The address of a clip, typed into its field in the sidebar; then Blender crashes."""
    yield from open_edit(session)
    preferences = bpy.context.preferences.addons[session.module].preferences
    preferences.storage, addresses = "given_url", session.part("preferences.clip_url")
    yield 0.5
    # Where the field is, only Blender knows: below the header of the panel, a word is typed until it arrives.
    region = next(region for region in session.area().regions if region.type == "UI")
    top = region.y + region.height
    down = 40
    while addresses.of(session.scene) != "word":
        down += 10
        assert down < region.height
        yield from session.type_at(region.x + region.width // 2, top - down, "word")
    yield from session.type_at(region.x + region.width // 2, top - down, session.order["address"])
    yield from session.wait_until(lambda: addresses.of(session.scene) != "word")
    session.seen["typed"] = addresses.of(session.scene)
    yield from session.screenshot("typed-address")
    session.crash()
