# SPDX-License-Identifier: GPL-3.0-or-later
"""Import this before `addon`: then the source's modules that run without Blender can be imported one by one.

`addon/__init__.py` imports the rooms that need Blender, and fake-bpy-module has type stubs alone. So the package is made
bare here: its modules are found by its path.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

if "addon" not in sys.modules:
    package = ModuleType("addon")
    package.__path__ = [str(Path(__file__).parents[1] / "addon")]
    sys.modules["addon"] = package
# The same goes for `aud`, which decodes the result: without Blender it only has a name.
if "aud" not in sys.modules and importlib.util.find_spec("aud") is None:
    sys.modules["aud"] = ModuleType("aud")
