# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries baked simulations of 3D scenes into the background Blender. Also used there, so it imports nothing of the other
rooms.

Measured with Blender 4.5.15 and 5.2.3: `libraries.write` loses point caches in memory and the folders of node bakes on
disk; a point cache on disk lies in a folder that is called after the .blend. What is packed, rigid bodies and linked
objects come along by themselves.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bpy

PROPERTY = "mmaudio_bakes"
"""Where the scene in the small .blend keeps what of its bakes lies on disk, for `restore`."""


@dataclass(frozen=True)
class Bakes:
    """Baked simulations that `libraries.write` would lose.

    in_memory   whether there are point caches that only a copy of the whole file has
    caches      point caches on disk: object, path of the cache from there, folder, name, index
    directories of node bakes on disk: object, path of the property from there, folder
    """

    in_memory: bool = False
    caches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    directories: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def find() -> Bakes:
    """The bakes of the file's own objects: which of them a scene shows, only Blender can tell for sure. What is linked
    stays where it is, and is left out.
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
                folder = str(folder_beside(project))
                # An unnamed one is called after its object, byte by byte.
                name = cache.name or item.name.encode().hex().upper()
                caches.append({"object": item.name, "path": path, "folder": folder, "name": name, "index": cache.index})
            else:
                in_memory = True
        for path, directory in _node_bakes(item):
            directories.append({"object": item.name, "path": path, "folder": bpy.path.abspath(directory)})
    return Bakes(in_memory, caches, directories)


def keep(scene: Any, bakes: Bakes) -> None:
    """Stores the bakes on disk in the scene, for `restore`."""
    scene[PROPERTY] = asdict(bakes)


def folder_beside(blend: Path) -> Path:
    """Where Blender keeps the point caches of a file on disk."""
    return blend.with_name(f"blendcache_{blend.stem}")


def restore(scene: Any, blend: Path) -> None:
    """Points the opened copy at `blend` to the bakes on disk. Must be called before any frame is set.

    What isn't baked is written beside the copy, never into the artist's own folders.
    """
    unbaked_folder = folder_beside(blend)
    bakes = Bakes(**scene[PROPERTY].to_dict()) if PROPERTY in scene else Bakes()
    # An object of the file's own is asked for by its name and None; the stubs know names alone.
    objects: Any = bpy.data.objects
    for kept in bakes.caches:
        owner = objects.get((kept["object"], None))
        if owner is None:
            # The edit doesn't need it.
            continue
        cache = owner.path_resolve(kept["path"])
        cache.use_external = True
        cache.index, cache.filepath, cache.name = kept["index"], kept["folder"], kept["name"]
    for kept in bakes.directories:
        owner = objects.get((kept["object"], None))
        if owner is not None:
            path, name = kept["path"].rsplit(".", 1)
            setattr(owner.path_resolve(path), name, kept["folder"])
    for item in objects:
        for _, cache in _point_caches(item):
            if cache.use_external:
                # Blender reads what is there, and takes it for baked, only when it is told of the folder again.
                cache.filepath = str(cache.filepath)
                if not cache.is_baked:
                    cache.filepath = str(unbaked_folder)
        for modifier in item.modifiers:
            if modifier.type == "FLUID" and modifier.domain_settings and not _is_baked_fluid(modifier.domain_settings):
                modifier.domain_settings.cache_directory = str(unbaked_folder)


def _point_caches(item: Any) -> Iterator[tuple[str, Any]]:
    """The object's point caches, each with its path from there."""
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
    """The folders of the object's node bakes, each with the path of its property from there."""
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
