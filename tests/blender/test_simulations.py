# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that baked simulations of a scene strip move in the clip as in Blender's own render of the edit.

After each bake, the settings of the simulation are changed, so that a simulation calculated anew would move differently.
In the bpy wheel, fluids and oceans can't be baked, hair in memory doesn't play, and rigid bodies on disk crash it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bmesh
import bpy
import numpy as np
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent

FRAMES = 8
SIZE = (160, 96)
LENS = 300.0


def grid(scene: Any, x: float, segments: int = 10) -> Any:
    mesh = bpy.data.meshes.new("sheet")
    shape = bmesh.new()
    bmesh.ops.create_grid(shape, x_segments=segments, y_segments=segments, size=1.0)
    shape.to_mesh(mesh)
    shape.free()
    item = bpy.data.objects.new("sheet", mesh)
    item.location.x = x
    scene.collection.objects.link(item)
    return item


def new_shot() -> Any:
    """Return a new 3D scene with a camera that views it from the side."""
    scene: Any = bpy.data.scenes.new("shot")
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.render.fps = 24
    # Small, since 3D scenes are rendered in software here, each in its own size.
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.camera = new_camera(scene, 0)
    return scene


def new_camera(scene: Any, x: float) -> Any:
    """Add a camera that views the middle of a sheet at `x`, so close that its movement changes the whole picture."""
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    lens: Any = camera.data
    lens.lens = LENS
    camera.location, camera.rotation_euler = (x, -12, 2), (1.4, 0, 0)
    scene.collection.objects.link(camera)
    return camera


def bake_points(scene: Any, item: Any, cache: Any, *, disk: bool) -> None:
    cache.frame_start, cache.frame_end = 1, FRAMES
    if disk:
        cache.use_disk_cache = True
    layer = scene.view_layers[0]
    with bpy.context.temp_override(scene=scene, view_layer=layer, active_object=item, object=item, point_cache=cache):
        bpy.ops.ptcache.bake(bake=True)
    assert cache.is_baked


def cloth(scene: Any, x: float, *, disk: bool) -> None:
    item = grid(scene, x)
    modifier = item.modifiers.new("Cloth", "CLOTH")
    pinned = item.vertex_groups.new(name="pinned")
    pinned.add([vertex.index for vertex in item.data.vertices if vertex.co.x < -0.9], 1.0, "ADD")
    modifier.settings.vertex_group_mass = pinned.name
    bake_points(scene, item, modifier.point_cache, disk=disk)
    modifier.settings.effector_weights.gravity = 0.1


def soft_body(scene: Any, x: float, *, disk: bool) -> None:
    item = grid(scene, x)
    modifier = item.modifiers.new("Soft Body", "SOFT_BODY")
    modifier.settings.use_goal = False
    bake_points(scene, item, modifier.point_cache, disk=disk)
    modifier.settings.effector_weights.gravity = 0.1


def particles(scene: Any, x: float, *, disk: bool) -> None:
    grain = grid(scene, 0, segments=2)
    grain.location.z = -20
    item = grid(scene, x, segments=4)
    item.modifiers.new("Particles", "PARTICLE_SYSTEM")
    system = item.particle_systems[0]
    made = system.settings
    made.count, made.frame_start, made.frame_end, made.lifetime = 60, 1, 15, 50
    made.render_type, made.instance_object, made.particle_size = "OBJECT", grain, 0.2
    bake_points(scene, item, system.point_cache, disk=disk)
    made.effector_weights.gravity = -0.5


def rigid_body(scene: Any, x: float, *, disk: bool) -> None:
    assert not disk
    item = grid(scene, x)
    with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0], active_object=item, object=item):
        bpy.ops.rigidbody.world_add()
        bpy.ops.rigidbody.object_add()
    bake_points(scene, item, scene.rigidbody_world.point_cache, disk=False)
    scene.rigidbody_world.time_scale = 0.2


def nodes(scene: Any, x: float, *, disk: bool) -> None:
    """Add a simulation zone that lifts the sheet a little on each frame."""
    item = grid(scene, x)
    tree: Any = bpy.data.node_groups.new("Rise", "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    kinds = ("NodeGroupInput", "GeometryNodeSimulationInput", "GeometryNodeSetPosition", "GeometryNodeSimulationOutput")
    start, begin, lift, end = (tree.nodes.new(kind) for kind in kinds)
    begin.pair_with_output(end)
    lift.inputs["Offset"].default_value = (0.02, 0, 0.1)
    tree.links.new(start.outputs[0], begin.inputs[0])
    tree.links.new(begin.outputs["Geometry"], lift.inputs[0])
    tree.links.new(lift.outputs[0], end.inputs["Geometry"])
    tree.links.new(end.outputs["Geometry"], tree.nodes.new("NodeGroupOutput").inputs[0])
    modifier = item.modifiers.new("Rise", "NODES")
    modifier.node_group = tree
    scene.view_layers[0].update()
    modifier.bake_target = "DISK" if disk else "PACKED"
    if disk:
        modifier.bake_directory = "//nodes bake"
    item.select_set(True, view_layer=scene.view_layers[0])
    around: dict[str, Any] = {"active_object": item, "object": item, "selected_objects": [item]}
    with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0], **around):
        assert bpy.ops.object.simulation_nodes_cache_bake(selected=False) == {"FINISHED"}
    lift.inputs["Offset"].default_value = (0, 0, -0.05)


def nodes_on_disk(scene: Any, x: float, *, disk: bool) -> None:
    """Add the simulation zone with its bake in a folder next to the project, whatever the others have."""
    nodes(scene, x, disk=True)


SIMULATIONS = [
    pytest.param([cloth, soft_body, particles, nodes_on_disk], False, id="in memory"),
    pytest.param([cloth, soft_body, particles, nodes], True, id="on disk"),
    pytest.param([rigid_body, nodes], False, id="carried by Blender itself"),
]


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("simulations", "disk"), SIMULATIONS)
def test_baked_simulations_move_as_in_blenders_own_render(
    simulations: list[Callable[..., None]], disk: bool, addon: Any, standin: StandIn, project: Path
) -> None:
    edit_scene = bpy.context.scene
    edit_scene.render.resolution_x, edit_scene.render.resolution_y = SIZE
    scene = new_shot()
    bpy.context.window.scene = scene
    places = [2.4 * (place - (len(simulations) - 1) / 2) for place in range(len(simulations))]
    for x, simulate in zip(places, simulations, strict=True):
        # Place them side by side, so that none hides another.
        simulate(scene, x, disk=disk)
    bpy.context.window.scene = edit_scene
    strips: list[Any] = []
    for number, x in enumerate(places):
        start = 1 + number * FRAMES
        strips.append(edits.edit().strips.new_scene(name=f"shot {number}", scene=scene, channel=2, frame_start=start))
        strips[-1].scene_camera = new_camera(scene, x)
    bpy.ops.wm.save_mainfile()
    before = files_of(project)

    jobs = edits.generate(addon, *strips, prompt=project.name)

    assert [job.error for job in jobs] == [None] * len(jobs)
    assert {path: data for path, data in files_of(project).items() if path in before} == before
    runs = {run["id"]: run for run in standin.state()["runs"]}
    whole = footage.describe(edits.render_whole(project, 1, FRAMES * len(strips), percentage=100))
    for number, (job, simulate) in enumerate(zip(jobs, simulations, strict=True)):
        own = np.array(whole["means"][number * FRAMES : (number + 1) * FRAMES])
        sent = np.array(runs[job.takes[0].prediction_ids[0]]["clip"]["means"][:FRAMES])
        assert np.ptp(own) > 1, f"{simulate.__name__} moves"
        assert np.abs(sent - own).max() < max(0.15 * np.ptp(own), 1), (simulate.__name__, sent, own)
    assert list(jobs[0].request.snapshot.blend.parent.glob("blendcache_*")) == []
