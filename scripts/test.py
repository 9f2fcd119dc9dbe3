#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every check: lint, types, and the tests on each Python and Blender. For daily work, parts of it:

python3 scripts/test.py [PART …] [-k EXPRESSION]
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import build
import workshop
from workshop import Environment


@dataclass
class Outcome:
    """What came of one part. `reasons` say why tests were skipped, `figures` what tests have measured."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: set[str] = field(default_factory=set[str])
    figures: list[str] = field(default_factory=list[str])


def _tool(*command: str) -> Outcome:
    python = workshop.python_of(workshop.CHECK)
    failed = workshop.run([python.with_name(command[0]), *command[1:]]) != 0
    return Outcome(passed=not failed, failed=failed)


def _lint(_: Sequence[str]) -> Outcome:
    checks = [
        _tool("ruff", "check", "--quiet"),
        _tool("ruff", "format", "--check", "--quiet"),
        _tool("lint-imports", "--no-cache"),
        _tool("python", "scripts/modules.py"),
    ]
    return Outcome(passed=sum(check.passed for check in checks), failed=sum(check.failed for check in checks))


def _types(_: Sequence[str]) -> Outcome:
    return _tool("pyright")


def _tests(folder: str, environment: Environment, **variables: str) -> Callable[[Sequence[str]], Outcome]:
    def run(selection: Sequence[str]) -> Outcome:
        python = workshop.python_of(environment)
        report = workshop.CACHE / f"{folder}-{environment.name}.xml"
        report.unlink(missing_ok=True)
        pytest = [python, "-m", "pytest", f"tests/{folder}", "--quiet", f"--junitxml={report}", *selection]
        status = workshop.run(pytest, variables)
        return _read(report, status)

    return run


def _read(report: Path, status: int) -> Outcome:
    """Counts what pytest wrote down; a run that broke off, or found no test unasked, has failed."""
    if not report.is_file():
        return Outcome(failed=1)
    outcome = Outcome()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # our own file
        outcome.figures += [f"{figure.get('name')}: {figure.get('value')}" for figure in case.iter("property")]
        skipped = case.find("skipped")
        if skipped is not None:
            outcome.skipped += 1
            outcome.reasons.add(skipped.get("message", "no reason given"))
        elif case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        else:
            outcome.passed += 1
    if status not in (0, 5) and not outcome.failed:
        outcome.failed += 1
    return outcome


PARTS: dict[str, Callable[[Sequence[str]], Outcome]] = {
    "lint": _lint,
    "types": _types,
    "unit-3.11": _tests("unit", workshop.UNIT_311),
    "unit-3.13": _tests("unit", workshop.UNIT_313),
    "blender-4.5": _tests("blender", workshop.BLENDER_45),
    "blender-5.2": _tests("blender", workshop.BLENDER_52, PYTHONWARNINGS="error::DeprecationWarning"),
    "window": _tests("window", workshop.UNIT_313),
}


# More would take from each other what tests of timing need.
_SIDE_BY_SIDE = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them without")
    parser.add_argument("-k", metavar="EXPRESSION", help="only tests whose name matches, as pytest has it")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    selection = ["-k", options.k] if options.k else []
    workshop.CACHE.mkdir(exist_ok=True)
    build.build()
    outcomes: dict[str, Outcome] = {}
    chosen = list(options.parts or PARTS)
    for group in _groups(chosen):
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as side_by_side:
            outcomes |= zip(group, side_by_side.map(lambda name: _timed(name, selection), group), strict=True)
    return _summarise(outcomes)


def _groups(chosen: Sequence[str]) -> list[list[str]]:
    """What may run at the same time, the longest first: tests that wait more than they work. The window has the machine
    for itself."""
    together = (
        ("lint",),
        ("unit-3.13", "unit-3.11", "types", "blender-4.5", "blender-5.2"),
        ("window",),
    )
    groups = [[name for name in group if name in chosen] for group in together]
    return [group for group in groups if group]


def _timed(name: str, selection: Sequence[str]) -> Outcome:
    print(f"\n== {name}", flush=True)
    began = time.monotonic()
    outcome = PARTS[name](selection)
    print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    return outcome


def _summarise(outcomes: dict[str, Outcome]) -> int:
    print("\nSummary")
    for name, outcome in outcomes.items():
        print(f"  {name:22}{outcome.passed:4} passed {outcome.failed:3} failed {outcome.skipped:3} skipped")
        for reason in sorted(outcome.reasons):
            print(f"  {'':22}skipped: {reason}")
        for figure in outcome.figures:
            print(f"  {'':22}{figure}")
    passed, failed, skipped = (
        sum(getattr(outcome, name) for outcome in outcomes.values()) for name in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
