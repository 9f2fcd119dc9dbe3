# SPDX-License-Identifier: GPL-3.0-or-later
"""Blenders that share one journal: processes of their own, told by lines of JSON what to do, and killed by SIGKILL."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]


class Blender:
    """One of them, as the test sees it."""

    def __init__(self, journal: Path) -> None:
        command = [sys.executable, "-m", "tests.unit.blenders", str(journal)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, do: str, **details: Any) -> None:
        assert self.process.stdin
        print(json.dumps({"do": do, **details}), file=self.process.stdin, flush=True)

    def hear(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def ask(self, do: str, **details: Any) -> Any:
        self.tell(do, **details)
        return self.hear()

    def kill(self) -> str:
        """Ends it at once, as a crash does; returns what it had said that was not heard yet."""
        self.process.kill()
        assert self.process.stdin and self.process.stdout
        rest = self.process.stdout.read()
        with suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        return rest


def _main(path: Path) -> None:
    # As in conftest.py: the add-on without its Blender half.
    package = ModuleType("addon")
    package.__path__ = [str(ROOT / "addon")]
    sys.modules["addon"] = package
    from addon.jobs.store.journal import Journal  # noqa: PLC0415

    journal = Journal.open(path)
    roles: dict[str, Callable[..., object]] = {
        "claim": lambda project: [job.id for job in journal.claim(project)],
        "note": lambda: journal.note,
        "create": lambda **details: _create(journal, **details),
        "fly": lambda **details: _fly(journal, **details),
        "have_children": _have_children,
        "save": lambda **details: _save(journal, **details),
        "save_on_a_full_disk": lambda **details: _save_on_a_full_disk(journal, path, **details),
        "save_without_end": lambda **details: _save_without_end(journal, **details),
    }
    for line in sys.stdin:
        details = json.loads(line)
        _say(roles[details.pop("do")](**details))


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


def _save(journal: Any, job_id: str, record: str) -> str:
    """Returns the code of what went wrong, or nothing."""
    from addon.failure import Failure  # noqa: PLC0415
    from addon.jobs.store.job_json import from_bytes  # noqa: PLC0415

    try:
        journal.save(from_bytes(record.encode(), job_id))
    except Failure as failure:
        return f"{failure.code}: {failure.message} {failure.hint}"
    return ""


def _save_without_end(journal: Any, job_id: str, record: str) -> None:
    """Counts in the job's `created`, and says each number that is saved."""
    from addon.jobs.store.job_json import from_bytes  # noqa: PLC0415

    fields = json.loads(record)
    number = 0
    while True:
        number += 1
        journal.save(from_bytes(json.dumps({**fields, "created": float(number)}).encode(), job_id))
        _say(number)


def _save_on_a_full_disk(journal: Any, path: Path, job_id: str, record: str) -> list[str]:
    """What saving says while no file can grow, and once one can again."""
    import resource  # noqa: PLC0415  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    full = [_save(journal, job_id, json.dumps({**json.loads(record), "project": "x" * 200_000})) for _ in range(2)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return [*full, _save(journal, job_id, record)]


def _have_children() -> list[int]:
    """One that is started with all that can be handed down, and one that is a mere fork; both outlive this Blender."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False, stdout=sys.stderr)
    forked = os.fork()
    if forked == 0:
        os.close(0)
        os.close(1)
        time.sleep(60)
        os._exit(0)
    return [started.pid, forked]


def _fly(journal: Any, runs: list[str], diary: str) -> int:
    """Flies each run from a thread of its own; the diary has a line for each start and each end."""
    from addon.jobs.limits import Limits  # noqa: PLC0415

    limits = Limits(journal.database)

    def fly(run: str) -> None:
        with limits.slot("account", run, time.sleep):
            _write(diary, "+")
            time.sleep(0.02)
            _write(diary, "-")

    threads = [threading.Thread(target=fly, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(runs)


def _create(journal: Any, runs: list[str], diary: str) -> None:
    """Creates one run after the other; the diary has a line for each create, and one where it has to wait."""
    from addon.jobs.limits import Limits  # noqa: PLC0415

    limits = Limits(journal.database)

    def wait(seconds: float) -> None:
        _write(diary, f"{os.getpid()} waits")
        time.sleep(seconds)

    for run in runs:
        with limits.slot("account", run, wait) as slot, slot.creating():
            _write(diary, "created")


def _write(diary: str, line: str) -> None:
    """One write to the end of a file is whole, whoever else writes."""
    with Path(diary).open("a", buffering=1, encoding="utf-8") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
