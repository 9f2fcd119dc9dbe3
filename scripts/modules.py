#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks what ruff and import-linter don't: the size and the header of modules, and who reads Blender's version."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ADDON = Path(__file__).resolve().parents[1] / "addon"
LINES_MAX = 300
LICENCE = "# SPDX-License-Identifier: GPL-3.0-or-later"
VERSIONS = "timeline/compat.py"
"""The only module that may read Blender's version."""


def faults(name: str, source: str) -> Iterator[str]:
    """Yields what is wrong with a module; `name` is its path within the add-on."""
    tree = ast.parse(source)
    lines = source.splitlines()
    if lines[:1] != [LICENCE]:
        yield f"{name}: the first line has to be {LICENCE}"
    if not ast.get_docstring(tree):
        yield f"{name}: the docstring is missing"
    if len(lines) > LINES_MAX:
        yield f"{name}: {len(lines)} lines, more than {LINES_MAX}"
    if name != VERSIONS and any(map(_reads_version, ast.walk(tree))):
        yield f"{name}: only {VERSIONS} may read Blender's version"


def _reads_version(node: ast.AST) -> bool:
    """Whether the node is `bpy.app.version`, one of its kin such as `version_string`, or an import of them."""
    if isinstance(node, ast.Attribute):
        return node.attr.startswith("version") and ast.unparse(node.value).endswith("app")
    return isinstance(node, ast.ImportFrom) and (node.module or "").endswith("bpy.app")


def main() -> int:
    modules = {path.relative_to(ADDON).as_posix(): path.read_text(encoding="utf-8") for path in ADDON.rglob("*.py")}
    found = [fault for name, source in sorted(modules.items()) for fault in faults(name, source)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found or not modules else 0


if __name__ == "__main__":
    sys.exit(main())
