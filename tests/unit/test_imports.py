# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that every module of the add-on is valid in the oldest Python that Blender has."""

from pathlib import Path

import pytest

from tests.addon_package import import_modules

pytestmark = pytest.mark.oldest

ROOT = Path(__file__).parents[2]


def test_all_modules_without_blender_can_be_imported() -> None:
    imported = import_modules()
    assert {f"addon.{room}" for room in ("jobs.work.pipeline", "media.export", "service.net.transport")} <= imported


def test_all_modules_can_be_compiled() -> None:
    for path in (ROOT / "addon").rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), path, "exec")
