#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check rules that ruff and import-linter don't have: length and header of modules, and access to Blender's version."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ADDON = Path(__file__).resolve().parents[1] / "addon"
LINES_MAX = 300
LICENCE = "# SPDX-License-Identifier: GPL-3.0-or-later"
COMPAT = "timeline/compat.py"
"""The only module that may read Blender's version."""


def violations(name: str, source: str) -> Iterator[str]:
    """Yield a message for each rule that the module violates; `name` is its path relative to the add-on."""
    tree = ast.parse(source)
    lines = source.splitlines()
    if lines[:1] != [LICENCE]:
        yield f"{name}: the first line must be {LICENCE}"
    if not ast.get_docstring(tree):
        yield f"{name}: the module has no docstring"
    if len(lines) > LINES_MAX:
        yield f"{name}: {len(lines)} lines, the maximum is {LINES_MAX}"
    if name != COMPAT and any(map(_reads_version, ast.walk(tree))):
        yield f"{name}: only {COMPAT} may read Blender's version"


def _reads_version(node: ast.AST) -> bool:
    """Return whether the node is `bpy.app.version`, a similar attribute such as `version_string`, or an import of one."""
    if isinstance(node, ast.Attribute):
        return node.attr.startswith("version") and ast.unparse(node.value).endswith("app")
    return isinstance(node, ast.ImportFrom) and (node.module or "").endswith("bpy.app")


def main() -> int:
    modules = {path.relative_to(ADDON).as_posix(): path.read_text(encoding="utf-8") for path in ADDON.rglob("*.py")}
    found = [message for name, source in sorted(modules.items()) for message in violations(name, source)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found or not modules else 0


if __name__ == "__main__":
    sys.exit(main())
