# SPDX-License-Identifier: GPL-3.0-or-later
"""Process that opens a journal as a Blender does, gets commands as lines of JSON, and can be killed."""

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
    """The process, seen from the test."""

    def __init__(self, journal: Path) -> None:
        command = [sys.executable, "-m", "tests.unit.blender_process", str(journal)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, do: str, **details: Any) -> None:
        assert self.process.stdin
        print(json.dumps({"do": do, **details}), file=self.process.stdin, flush=True)

    def receive(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def call(self, do: str, **details: Any) -> Any:
        self.send(do, **details)
        return self.receive()

    def kill(self) -> str:
        """Kill the process, as a crash does, and return its unread output."""
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
    commands: dict[str, Callable[..., object]] = {
        "claim": lambda project: [job.id for job in journal.claim(project)],
        "note": lambda: journal.note,
        "create": lambda **details: _create(journal, **details),
        "hold_slots": lambda **details: _hold_slots(journal, **details),
        "have_children": _have_children,
        "save": lambda **details: _save(journal, **details),
        "save_on_a_full_disk": lambda **details: _save_on_a_full_disk(journal, path, **details),
        "save_without_end": lambda **details: _save_without_end(journal, **details),
    }
    for line in sys.stdin:
        details = json.loads(line)
        _send(commands[details.pop("do")](**details))


def _send(what: object) -> None:
    print(json.dumps(what), flush=True)


def _save(journal: Any, job_id: str, record: str) -> str:
    """Save the job. Return its failure as text, or an empty string."""
    from addon.failure import Failure  # noqa: PLC0415
    from addon.jobs.store.job_json import from_bytes  # noqa: PLC0415

    try:
        journal.save(from_bytes(record.encode(), job_id))
    except Failure as failure:
        return f"{failure.code}: {failure.message} {failure.hint}"
    return ""


def _save_without_end(journal: Any, job_id: str, record: str) -> None:
    """Save the job endlessly with an increasing `created`, and send each number that is saved."""
    from addon.jobs.store.job_json import from_bytes  # noqa: PLC0415

    fields = json.loads(record)
    number = 0
    while True:
        number += 1
        journal.save(from_bytes(json.dumps({**fields, "created": float(number)}).encode(), job_id))
        _send(number)


def _save_on_a_full_disk(journal: Any, path: Path, job_id: str, record: str) -> list[str]:
    """Save the job twice while files can't grow, then once when they can, and return the failures."""
    import resource  # noqa: PLC0415  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    full = [_save(journal, job_id, json.dumps({**json.loads(record), "project": "x" * 200_000})) for _ in range(2)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return [*full, _save(journal, job_id, record)]


def _have_children() -> list[int]:
    """Start a child that inherits all it can, and fork one. Both outlive this process. Return their ids."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False, stdout=sys.stderr)
    forked = os.fork()
    if forked == 0:
        os.close(0)
        os.close(1)
        time.sleep(60)
        os._exit(0)
    return [started.pid, forked]


def _hold_slots(journal: Any, runs: list[str], log: str) -> int:
    """Hold a slot for each run, each in its own thread. The log gets a line for each begin and each end."""
    from addon.jobs.limits import Limits  # noqa: PLC0415

    limits = Limits(journal.database)

    def hold(run: str) -> None:
        with limits.slot("account", run, time.sleep):
            _write(log, "+")
            time.sleep(0.02)
            _write(log, "-")

    threads = [threading.Thread(target=hold, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(runs)


def _create(journal: Any, runs: list[str], log: str) -> None:
    """Create the runs one after the other. The log gets a line for each create call and for each wait."""
    from addon.jobs.limits import Limits  # noqa: PLC0415

    limits = Limits(journal.database)

    def wait(seconds: float) -> None:
        _write(log, f"{os.getpid()} waits")
        time.sleep(seconds)

    for run in runs:
        with limits.slot("account", run, wait) as slot, slot.creating():
            _write(log, "created")


def _write(log: str, line: str) -> None:
    """Append a line in a single write, which is atomic even if others write too."""
    with Path(log).open("a", buffering=1, encoding="utf-8") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
