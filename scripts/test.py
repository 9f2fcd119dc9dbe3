#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every check: lint, types, and the tests with each supported version of Python and Blender.

Name one or more parts to run only those, for example: python3 scripts/test.py lint unit-3.13 -k webhook
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
import toolchain
from toolchain import Environment


@dataclass
class Outcome:
    """Result of one part."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    skip_reasons: set[str] = field(default_factory=set[str])
    measurements: list[str] = field(default_factory=list[str])
    """Properties recorded by the tests, as "name: value"."""


def _tool(*command: str) -> Outcome:
    python = toolchain.python_of(toolchain.CHECK)
    failed = toolchain.run([python.with_name(command[0]), *command[1:]]) != 0
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


def _tests(
    folder: str, environment: Environment, *, marked: str = "", **variables: str
) -> Callable[[Sequence[str]], Outcome]:
    """Return the part that runs a folder's tests, or only those `marked` with an expression of pytest's markers."""
    marker = ["-m", marked] if marked else []

    def run(selection: Sequence[str]) -> Outcome:
        python = toolchain.python_of(environment)
        report = toolchain.CACHE / f"{folder}-{environment.name}.xml"
        report.unlink(missing_ok=True)
        pytest = [python, "-m", "pytest", f"tests/{folder}", "--quiet", f"--junitxml={report}", *marker, *selection]
        status = toolchain.run(pytest, variables)
        return _read(report, status, selection)

    return run


def _read(report: Path, status: int, selection: Sequence[str]) -> Outcome:
    """Count the results in pytest's report; a run that was aborted counts as a failure."""
    if not report.is_file():
        return Outcome(failed=1)
    outcome = Outcome()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # our own file
        outcome.measurements += [f"{entry.get('name')}: {entry.get('value')}" for entry in case.iter("property")]
        skipped = case.find("skipped")
        if skipped is not None:
            outcome.skipped += 1
            outcome.skip_reasons.add(skipped.get("message", "no reason given"))
        elif case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        else:
            outcome.passed += 1
    # Exit status 5: no tests were collected, which is right only if -k matches none of this part.
    if status and not (status == 5 and selection) and not outcome.failed:
        outcome.failed += 1
    return outcome


_DEPRECATIONS_FAIL = {"PYTHONWARNINGS": "error::DeprecationWarning"}

PARTS: dict[str, Callable[[Sequence[str]], Outcome]] = {
    "lint": _lint,
    "types": _types,
    "unit-3.11": _tests("unit", toolchain.UNIT_311, marked="oldest"),
    "unit-3.13": _tests("unit", toolchain.UNIT_313),
    "blender-4.5": _tests("blender", toolchain.BLENDER_45, marked="every_version or version_dependent"),
    "blender-5.0": _tests("blender", toolchain.BLENDER_50, marked="every_version"),
    "blender-5.1": _tests("blender", toolchain.BLENDER_51, marked="every_version", **_DEPRECATIONS_FAIL),
    "blender-5.2": _tests("blender", toolchain.BLENDER_52, **_DEPRECATIONS_FAIL),
    "window": _tests("window", toolchain.UNIT_313),
}


# With more parts at a time, tests that measure timing would slow each other down.
_PARALLEL_PARTS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"part to run: {', '.join(PARTS)} (default: all)")
    parser.add_argument("-k", metavar="EXPRESSION", help="run only the tests that match this pytest expression")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    selection = ["-k", options.k] if options.k else []
    toolchain.CACHE.mkdir(exist_ok=True)
    build.build()
    outcomes: dict[str, Outcome] = {}
    chosen = list(options.parts or PARTS)
    for group in _groups(chosen):
        with ThreadPoolExecutor(_PARALLEL_PARTS) as executor:
            outcomes |= zip(group, executor.map(lambda name: _run_timed(name, selection), group), strict=True)
    return _summarise(outcomes)


def _groups(chosen: Sequence[str]) -> list[list[str]]:
    """Return the chosen parts in groups that may run in parallel, the longest part first.

    Unit and Blender tests spend most of their time waiting. Window tests measure timing, so they run alone.
    """
    parallel = (
        ("lint",),
        ("blender-5.2", "blender-4.5", "unit-3.13", "unit-3.11", "blender-5.0", "blender-5.1", "types"),
        ("window",),
    )
    groups = [[name for name in group if name in chosen] for group in parallel]
    return [group for group in groups if group]


def _run_timed(name: str, selection: Sequence[str]) -> Outcome:
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    outcome = PARTS[name](selection)
    print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    return outcome


def _summarise(outcomes: dict[str, Outcome]) -> int:
    print("\nSummary")
    for name, outcome in outcomes.items():
        print(f"  {name:22}{outcome.passed:4} passed {outcome.failed:3} failed {outcome.skipped:3} skipped")
        for reason in sorted(outcome.skip_reasons):
            print(f"  {'':22}skipped: {reason}")
        for measurement in outcome.measurements:
            print(f"  {'':22}{measurement}")
    passed, failed, skipped = (
        sum(getattr(outcome, name) for outcome in outcomes.values()) for name in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
