# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfer of baked simulations of 3D scenes to the background Blender. Also used there, so it imports no other package of
the add-on.

Measured with Blender 4.5.15 and 5.2.3: `libraries.write` loses point caches in memory and the folders of node bakes on
disk. A point cache on disk is in a folder named after the .blend. Packed bakes, rigid bodies and linked objects need no
special treatment.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bpy

BAKES_PROPERTY = "mmaudio_bakes"
"""Custom property of the scene in a snapshot that holds its bakes on disk, for `restore`."""


@dataclass(frozen=True)
class Bakes:
    """Baked simulations that `libraries.write` would lose."""

    in_memory: bool = False
    """There are point caches that only a copy of the whole file contains."""
    caches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Point caches on disk. Keys: object, path (of the cache, from the object), folder, name, index."""
    directories: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Folders of node bakes on disk. Keys: object, path (of the property, from the object), folder."""


def find_bakes() -> Bakes:
    """Return the bakes of all local objects, since only Blender knows for certain which of them a scene shows.

    Linked objects are left out: their bakes are found where they are.
    """
    in_memory = False
    caches: list[dict[str, Any]] = []
    directories: list[dict[str, Any]] = []
    project = Path(bpy.data.filepath)
    for item in bpy.data.objects:
        if item.library is not None:
            continue
        for path, cache in _point_caches(item):
            if not cache.is_baked or cache.use_external:
                continue
            if cache.use_disk_cache:
                folder = str(cache_folder(project))
                # Blender names an unnamed cache after its object, byte by byte.
                name = cache.name or item.name.encode().hex().upper()
                caches.append({"object": item.name, "path": path, "folder": folder, "name": name, "index": cache.index})
            else:
                in_memory = True
        for path, directory in _node_bakes(item):
            directories.append({"object": item.name, "path": path, "folder": bpy.path.abspath(directory)})
    return Bakes(in_memory, caches, directories)


def store(scene: Any, bakes: Bakes) -> None:
    """Store the bakes in the scene, for `restore`."""
    scene[BAKES_PROPERTY] = asdict(bakes)


def cache_folder(blend: Path) -> Path:
    """Return the folder in which Blender keeps a file's point caches on disk."""
    return blend.with_name(f"blendcache_{blend.stem}")


def restore(scene: Any, blend: Path) -> None:
    """Connect the opened copy at `blend` to the bakes on disk. Must be called before any frame is set.

    Unbaked simulations are cached next to the copy, never in the user's own folders.
    """
    bakes = Bakes(**scene[BAKES_PROPERTY].to_dict()) if BAKES_PROPERTY in scene else Bakes()
    # The key (name, None) finds local objects only. The type stubs know no keys but names.
    objects: Any = bpy.data.objects
    for stored in bakes.caches:
        owner = objects.get((stored["object"], None))
        # Objects that the edit doesn't need are not in the copy.
        if owner is not None:
            cache = owner.path_resolve(stored["path"])
            cache.use_external = True
            cache.index, cache.filepath, cache.name = stored["index"], stored["folder"], stored["name"]
    for stored in bakes.directories:
        owner = objects.get((stored["object"], None))
        if owner is not None:
            path, name = stored["path"].rsplit(".", 1)
            setattr(owner.path_resolve(path), name, stored["folder"])
    _redirect_unbaked(cache_folder(blend))


def may_change_frames() -> bool:
    """Return whether anything is simulated, so that a frame may depend on those that were rendered before it."""
    objects: Any = bpy.data.objects
    return any(
        item.rigid_body is not None
        or any(not cache.is_baked for _, cache in _point_caches(item))
        or any(modifier.type == "FLUID" or len(getattr(modifier, "bakes", ())) for modifier in item.modifiers)
        for item in objects
    )


def _redirect_unbaked(folder: Path) -> None:
    """Let fluids and external point caches that aren't baked write to `folder`."""
    objects: Any = bpy.data.objects
    for item in objects:
        for _, cache in _point_caches(item):
            if cache.use_external:
                # Blender reads the folder, and detects that the cache is baked, only when the path is set.
                cache.filepath = str(cache.filepath)
                if not cache.is_baked:
                    cache.filepath = str(folder)
        for modifier in item.modifiers:
            if modifier.type == "FLUID" and modifier.domain_settings and not _is_baked_fluid(modifier.domain_settings):
                modifier.domain_settings.cache_directory = str(folder)


def _point_caches(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield (path from the object, point cache) for each point cache of the object."""
    for modifier in item.modifiers:
        path = f'modifiers["{bpy.utils.escape_identifier(modifier.name)}"]'
        if modifier.type in ("CLOTH", "SOFT_BODY"):
            yield f"{path}.point_cache", modifier.point_cache
        elif modifier.type == "DYNAMIC_PAINT" and modifier.canvas_settings:
            for number, surface in enumerate(modifier.canvas_settings.canvas_surfaces):
                yield f"{path}.canvas_settings.canvas_surfaces[{number}].point_cache", surface.point_cache
    for number, system in enumerate(item.particle_systems):
        yield f"particle_systems[{number}].point_cache", system.point_cache


def _node_bakes(item: Any) -> Iterator[tuple[str, str]]:
    """Yield (path of the property from the object, folder) for each of the object's node bakes."""
    for modifier in item.modifiers:
        if modifier.type == "NODES" and len(modifier.bakes):
            path = f'modifiers["{bpy.utils.escape_identifier(modifier.name)}"]'
            if modifier.bake_directory:
                yield f"{path}.bake_directory", modifier.bake_directory
            for number, bake in enumerate(modifier.bakes):
                if bake.use_custom_path and bake.directory:
                    yield f"{path}.bakes[{number}].directory", bake.directory


def _is_baked_fluid(domain: Any) -> bool:
    return any(getattr(domain, f"has_cache_baked_{part}") for part in ("any", "data", "mesh", "noise", "particles"))
