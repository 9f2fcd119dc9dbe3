# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the modules of `addon` that don't need Blender importable; import this before `addon`.

`addon/__init__.py` imports the packages that need Blender, and fake-bpy-module consists of type stubs only. So an empty
`addon` package is registered here, with the path at which its modules are found.
"""

import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

if "addon" not in sys.modules:
    package = ModuleType("addon")
    package.__path__ = [str(Path(__file__).parents[1] / "addon")]
    sys.modules["addon"] = package
# `aud`, which decodes results, is also part of Blender: without it, an empty module is enough to import the add-on.
if "aud" not in sys.modules and importlib.util.find_spec("aud") is None:
    sys.modules["aud"] = ModuleType("aud")


def import_modules() -> set[str]:
    """Import all modules of `addon` that don't need Blender, and return their names."""
    imported: set[str] = set()
    for module in pkgutil.walk_packages(sys.modules["addon"].__path__, "addon."):
        # It asserts that this is Windows.
        if module.name == "addon.media.windows_job" and sys.platform != "win32":
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as fault:
            if fault.name != "bpy":
                raise
        else:
            imported.add(module.name)
    return imported
