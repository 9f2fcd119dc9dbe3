# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a scenario inside a Blender with a window, performing a user's actions, and writes its results to a file.

    blender … --python session.py -- PARAMETERS.json

A scenario is a generator that yields how many seconds Blender may run before the next step.
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

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts import in_blender

TICK_SECONDS = 0.01

Scenario = Generator[float, None, None]


class Session:
    """Access to Blender and the add-on for a scenario, and its results."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters
        self.seen: dict[str, Any] = {}
        """Results of the scenario."""
        self.ticks: list[float] = []
        """Times at which the timer has run, in seconds of the monotonic clock."""
        self.generation = in_blender.part("generation")
        self.session = in_blender.part("session")

    @property
    def jobs(self) -> list[Any]:
        return self.session.current.runner.jobs

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
        """Return the Sequencer area that shows the strips."""
        return next(
            area
            for area in self.window.screen.areas
            if area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type == "SEQUENCER"
        )

    def run(self, operator: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run an operator in the context of a button in the sidebar."""
        area = self.area()
        region = next(region for region in area.regions if region.type == "UI")
        with bpy.context.temp_override(window=self.window, area=area, region=region):
            return operator(*arguments, **options)

    @property
    def module(self) -> str:
        return in_blender.MODULE

    @property
    def waiting_for_access(self) -> list[str]:
        """Names of the strips of the open file whose jobs can't go on yet, such as without online access."""
        return list(self.part("session").current.waiting_for_access)

    def part(self, name: str) -> Any:
        """Return a module of the add-on."""
        return in_blender.part(name)

    def open_preferences(self) -> Scenario:
        """Show the add-on's preferences, in the whole window."""
        bpy.context.preferences.active_section = "ADDONS"
        manager: Any = bpy.context.window_manager
        manager.addon_search = "MMAudio"
        area = next(area for area in self.window.screen.areas if area.type == "PROPERTIES")
        area.type = "PREFERENCES"
        with bpy.context.temp_override(window=self.window, area=area):
            bpy.ops.screen.screen_full_area()
        bpy.ops.preferences.addon_expand(module=in_blender.MODULE)
        yield 0.5

    def close_preferences(self) -> Scenario:
        with bpy.context.temp_override(window=self.window, area=self.window.screen.areas[0]):
            bpy.ops.screen.screen_full_area()
        yield 0.5

    def generate_failure(self) -> str | None:
        """Return the code of the reason why Generate Sound is unavailable, or None; assert that its poll agrees."""
        operators: Any = bpy.ops
        reason = self.run(lambda: in_blender.part("ui.order").failure(bpy.context))
        assert self.run(operators.mmaudio.generate.poll) is (reason is None)
        return None if reason is None else reason.code

    def screenshot(self, name: str) -> Scenario:
        """Request a screenshot from the process that started this Blender, and wait for it.

        Blender's own screenshot operator gives a black picture if the window is rendered in software.
        """
        request = Path(self.parameters["folder"]) / f"{name}.screenshot"
        request.touch()
        yield from self.wait_until(lambda: not request.exists())

    def tell(self, what: str) -> Scenario:
        """Let the process that started this Blender do something, and wait until it has."""
        request = Path(self.parameters["folder"]) / f"{what}.told"
        request.touch()
        yield from self.wait_until(lambda: not request.exists())

    def type_at(self, x: int, y: int, text: str) -> Scenario:
        """Replace the content of the text field at this position; without a text field there, nothing is changed."""

        def press(key: Any, letter: Any = None) -> None:
            self.window.event_simulate(key, "PRESS", x=x, y=y, unicode=letter)
            self.window.event_simulate(key, "RELEASE", x=x, y=y)

        self.window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
        yield 0.1
        # A click selects the whole content of the field.
        press("LEFTMOUSE")
        yield 0.1
        for letter in text:
            # A text field ignores which key it is, and outside of one this key has no shortcut.
            press("SEMI_COLON", letter)
        press("RET")
        yield 0.2

    def crash(self) -> None:
        """Write the results, then end this Blender with a segmentation fault, as a crash does."""
        self.write_results()
        os.kill(os.getpid(), signal.SIGSEGV)

    def write_results(self) -> None:
        Path(self.parameters["results"]).write_text(json.dumps(self.seen))

    def longest_gap(self, since: float) -> float:
        """Return the longest time in seconds between two runs of the 10 ms timer, from `since` on."""
        ticks = [tick for tick in self.ticks if tick >= since]
        return max(after - before for before, after in itertools.pairwise(ticks))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> Scenario:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError([job.stage for job in self.jobs])
            yield TICK_SECONDS


def run_scenario(session: Session, scenario: Scenario) -> None:
    """Run the scenario from a timer of 10 ms, then write its results and quit Blender."""
    due = time.monotonic()

    def tick() -> float | None:
        nonlocal due
        session.ticks.append(time.monotonic())
        if time.monotonic() < due:
            return TICK_SECONDS
        try:
            due = time.monotonic() + next(scenario)
            return TICK_SECONDS
        except StopIteration:
            pass
        except Exception:
            session.seen["exception"] = traceback.format_exc()
        session.write_results()
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(tick, first_interval=1.0, persistent=True)


def main() -> None:
    parameters = json.loads(Path(sys.argv[-1]).read_text())
    spec = importlib.util.spec_from_file_location("scenarios", parameters["script"])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    session = Session(parameters)
    run_scenario(session, getattr(module, parameters["scenario"])(session))


main()
