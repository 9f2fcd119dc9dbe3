# SPDX-License-Identifier: GPL-3.0-or-later
"""The house's plan: which room may use which, where Blender is, and how large a module may grow."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ADDON = Path(__file__).parents[2] / "addon"
MODULES = sorted(ADDON.rglob("*.py"))
NAMES = [path.relative_to(ADDON).as_posix() for path in MODULES]
LINES_MAX = 300

# Who may import whom, from the ground floor up. What is missing is forbidden.
_GROUND = {"failure"}
_FIRST = {*_GROUND, "media", "service"}
_SECOND = {*_FIRST, "jobs", "timeline"}
_THIRD = {*_SECOND, "setup"}
MAY_IMPORT = {
    "failure": set[str](),
    "media": _GROUND,
    "service": _GROUND,
    "jobs": _FIRST,
    "timeline": _SECOND - {"timeline"},
    "setup": {*_FIRST, "jobs", "timeline"},
    "generation": _THIRD,
    "resuming": {*_THIRD, "generation"},
    "ui": {*_THIRD, "generation", "resuming"},
    "command": {*_THIRD, "generation", "resuming", "ui"},
    "__init__": {"ui", "command"},
}
# aud is Blender's too, but a library of sound alone: it has no data of Blender's.
BLENDER = {"bpy", "bpy_extras", "bmesh", "mathutils", "gpu", "gpu_extras", "blf", "bl_ui", "addon_utils", "_bpy"}
WITHOUT_BLENDER = [
    name
    for name in NAMES
    if name.split("/")[0] in ("jobs", "service", "media", "failure.py") and name != "media/render_clip.py"
]


def tree(name: str) -> ast.Module:
    return ast.parse((ADDON / name).read_text(encoding="utf-8"))


def imported(name: str) -> Iterator[list[str]]:
    """What a module imports, as steps from the top: ["addon", "service", "http"] or ["bpy"]."""
    package = ["addon", *Path(name).parent.parts]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            within = node.module.split(".") if node.module else []
            yield from ([*above, *within, alias.name] for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            literals = [value.value for value in node.args if isinstance(value, ast.Constant)]
            yield from (value.split(".") for value in literals if isinstance(value, str))


def room(name: str) -> str:
    return Path(name).parts[0].removesuffix(".py")


def test_all_rooms_are_on_the_plan() -> None:
    assert {room(name) for name in NAMES} == set(MAY_IMPORT)


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_downwards_only(name: str) -> None:
    own = room(name)
    used = {steps[1] for steps in imported(name) if steps[0] == "addon" and len(steps) > 1}
    assert sorted(used - MAY_IMPORT[own] - {own}) == []


def test_the_look_at_imports_sees_them() -> None:
    assert ["addon", "service", "http", "Transport"] in list(imported("jobs/tools.py"))
    assert ["addon", "failure", "Failure"] in list(imported("service/storage/eachlabs.py"))
    assert ["bpy"] in list(imported("media/render_clip.py"))
    assert ["addon", "ui"] in list(imported("__init__.py"))


@pytest.mark.parametrize("name", WITHOUT_BLENDER)
def test_the_lower_rooms_do_without_blender(name: str) -> None:
    assert [steps for steps in imported(name) if steps[0] in BLENDER] == []


def test_what_the_background_blender_loads_uses_no_other_room() -> None:
    """There the add-on is no package; `render_clip.py` loads these by their path."""
    loaded = set(re.findall(r'_timeline\("(\w+)"\)', (ADDON / "media/render_clip.py").read_text(encoding="utf-8")))
    assert {"compat", "isolate"} < loaded
    for name in loaded:
        used = {steps[1] for steps in imported(f"timeline/{name}.py") if steps[0] == "addon"}
        within = {steps[2] for steps in imported(f"timeline/{name}.py") if steps[:2] == ["addon", "timeline"]}
        assert used <= {"timeline"} and within <= loaded, name


def asks_for_version(name: str) -> bool:
    """Whether a module reads `bpy.app.version` or one of its kin, such as `version_string`."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr.startswith("version") and ast.unparse(node.value).endswith("app"))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").endswith("bpy.app"))
        for node in ast.walk(tree(name))
    )


def test_one_module_alone_knows_blenders_versions() -> None:
    assert [name for name in NAMES if asks_for_version(name)] == ["timeline/compat.py"]


@pytest.mark.parametrize("name", NAMES)
def test_every_module_says_its_licence_and_its_purpose(name: str) -> None:
    first = (ADDON / name).read_text(encoding="utf-8").splitlines()[0]
    assert first == "# SPDX-License-Identifier: GPL-3.0-or-later"
    assert ast.get_docstring(tree(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_module_fits_in_the_head(name: str) -> None:
    assert len((ADDON / name).read_text(encoding="utf-8").splitlines()) <= LINES_MAX
