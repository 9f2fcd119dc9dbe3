# SPDX-License-Identifier: GPL-3.0-or-later
"""Process that opens a journal as a Blender does, gets commands as lines of JSON, and can be killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
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
    import tests.addon_package  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
    from addon.jobs.store.journal import Journal  # noqa: PLC0415

    journal = Journal.open(path)
    commands: dict[str, Callable[..., object]] = {
        "claim": lambda project: [job.id for job in journal.claim(project)],
        "note": lambda: journal.note,
        "generate": lambda **details: _generate(path.parent, **details),
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


def _generate(folder: Path, key: str, base_url: str, records: dict[str, str], project: str | None) -> dict[str, list[str]]:
    """Run these jobs, and those of a .blend that a Blender has left; return the stage and the error of each."""
    from addon.jobs.model.run import Stage  # noqa: PLC0415
    from addon.jobs.store.job_json import from_bytes  # noqa: PLC0415
    from addon.jobs.work import pipeline  # noqa: PLC0415
    from addon.jobs.work.context import JobContext  # noqa: PLC0415
    from addon.jobs.work.runner import Runner  # noqa: PLC0415

    from .helpers import FAST, concatenate  # noqa: PLC0415

    pipeline.conform = concatenate
    # The clips are rendered already.
    no_render = (sys.executable, "-c", "raise SystemExit(1)")
    job_context = JobContext(key, base_url, no_render, folder / "work", clock=FAST)
    runner = Runner()
    journal = runner.open(folder).journal
    runner.add([from_bytes(record.encode(), job_id) for job_id, record in records.items()], job_context)
    if project is not None:
        claimed = journal.claim(project)
        runner.show(claimed, job_context)
        for job in claimed:
            runner.retry(job.id, job.request, job_context)
    while not all(job.stage.ended or job.stage is Stage.PLACING for job in runner.jobs):
        runner.drain()
        time.sleep(0.01)
    ends = {job.id: [job.stage, job.first_error.message if job.first_error else ""] for job in runner.jobs}
    runner.close(20)
    return ends


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
