# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a Blender with a window: plays a script of steps, as an artist would act, and writes down what it saw.

    blender … --python session.py -- ORDER.json

A script is a generator; it yields how many seconds to let Blender go on.
"""

import importlib.util
import itertools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.mmaudio_vse"
TICK_SECONDS = 0.01

Script = Generator[float, None, None]


class Session:
    """What a script works with."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.seen: dict[str, Any] = {}
        self.ticks: list[float] = []
        self.generation = sys.modules[f"{MODULE}.generation"]

    @property
    def jobs(self) -> list[Any]:
        return self.generation.runner.jobs

    @property
    def window(self) -> Any:
        return bpy.context.window_manager.windows[0]

    @property
    def scene(self) -> Any:
        return self.window.workspace.sequencer_scene

    @property
    def strips(self) -> Any:
        return self.scene.sequence_editor.strips

    def area(self) -> Any:
        """The Sequencer that shows the strips."""
        return next(
            area
            for area in self.window.screen.areas
            if area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type == "SEQUENCER"
        )

    def run(self, operator: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Runs an operator as from a button in the sidebar."""
        area = self.area()
        region = next(region for region in area.regions if region.type == "UI")
        with bpy.context.temp_override(window=self.window, area=area, region=region):
            return operator(*arguments, **options)

    @property
    def module(self) -> str:
        return MODULE

    @property
    def held_up(self) -> list[str]:
        """The strips of the open file whose jobs wait until something can be sent."""
        return list(self.part("resuming").held_up)

    def part(self, name: str) -> Any:
        """A module of the add-on."""
        return sys.modules[f"{MODULE}.{name}"]

    def open_preferences(self) -> Script:
        """The add-on's page, over the whole window."""
        bpy.context.preferences.active_section = "ADDONS"
        manager: Any = bpy.context.window_manager
        manager.addon_search = "MMAudio"
        area = next(area for area in self.window.screen.areas if area.type == "PROPERTIES")
        area.type = "PREFERENCES"
        with bpy.context.temp_override(window=self.window, area=area):
            bpy.ops.screen.screen_full_area()
        bpy.ops.preferences.addon_expand(module=MODULE)
        yield 0.5

    def close_preferences(self) -> Script:
        with bpy.context.temp_override(window=self.window, area=self.window.screen.areas[0]):
            bpy.ops.screen.screen_full_area()
        yield 0.5

    def blocker(self) -> str | None:
        """The code of what keeps Generate Sound from running, as the operator's poll has it in the sidebar."""
        operators: Any = bpy.ops
        reason = self.run(lambda: sys.modules[f"{MODULE}.ui.operators"].blocker(bpy.context))
        assert self.run(operators.mmaudio.generate.poll) is (reason is None)
        return None if reason is None else reason.code

    def screenshot(self, name: str) -> Script:
        """Asks the process that started this Blender for a picture of the screen, and waits for it.

        Blender's own screenshot operator gives a black picture where the window is rendered by software.
        """
        wish = Path(self.order["folder"]) / f"{name}.wish"
        wish.touch()
        yield from self.wait_until(lambda: not wish.exists())

    def type_at(self, x: int, y: int, text: str) -> Script:
        """Types into the text field there, in place of what it holds; where there is none, little happens."""

        def press(key: Any, letter: Any = None) -> None:
            self.window.event_simulate(key, "PRESS", x=x, y=y, unicode=letter)
            self.window.event_simulate(key, "RELEASE", x=x, y=y)

        self.window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
        yield 0.1
        # A click marks all that the field holds.
        press("LEFTMOUSE")
        yield 0.1
        for letter in text:
            # Which key it is doesn't matter to a field, and this one means nothing elsewhere.
            press("SEMI_COLON", letter)
        press("RET")
        yield 0.2

    def crash(self) -> None:
        """Ends this Blender as a fault of its own would."""
        self.write_down()
        os.kill(os.getpid(), signal.SIGSEGV)

    def write_down(self) -> None:
        Path(self.order["seen"]).write_text(json.dumps(self.seen))

    def longest_gap(self, since: float) -> float:
        """Seconds of the longest silence of the 10 ms timer from that moment on."""
        moments = [moment for moment in self.ticks if moment >= since]
        return max(after - before for before, after in itertools.pairwise(moments))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> Script:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError([job.stage for job in self.jobs])
            yield TICK_SECONDS


def play(session: Session, script: Script) -> None:
    due = time.monotonic()

    def tick() -> float | None:
        nonlocal due
        session.ticks.append(time.monotonic())
        if time.monotonic() < due:
            return TICK_SECONDS
        try:
            due = time.monotonic() + next(script)
            return TICK_SECONDS
        except StopIteration:
            pass
        except Exception:
            session.seen["fault"] = traceback.format_exc()
        session.write_down()
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(tick, first_interval=1.0, persistent=True)


def main() -> None:
    order = json.loads(Path(sys.argv[-1]).read_text())
    spec = importlib.util.spec_from_file_location("scripts_to_play", order["script"])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    session = Session(order)
    play(session, getattr(module, order["play"])(session))


main()
