# SPDX-License-Identifier: GPL-3.0-or-later
"""Background Blenders that all jobs share; render_double.py stands for Blender."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from addon.failure import Cancelled, Failure
from addon.media.export import Exported, Exporter
from tests.processes import is_alive

from .helpers import RENDER_DOUBLE, check_of, render_order, wait_until

NEVER = threading.Event()


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    exporter = Exporter()
    yield exporter
    exporter.close()


def command(how: str = "render") -> tuple[str, ...]:
    return (sys.executable, str(RENDER_DOUBLE), how)


def render(
    exporter: Exporter, folder: Path, *strips: str, how: str = "render", processes: int = 1, cancel: threading.Event = NEVER
) -> list[Exported]:
    """Render a clip of each strip, all as one export."""
    (folder / "job").mkdir(parents=True, exist_ok=True)
    orders = [
        render_order(folder / "job" / f"{strip}-{number}.mp4", strip=strip, frames=3) for number, strip in enumerate(strips)
    ]
    return list(exporter.export(orders, command(how), processes, check_of(cancel)))


def renders(folder: Path) -> list[tuple[float, float, int]]:
    """Return begin, end and process of each render, in the order of their ends."""
    lines = [line.split() for line in (folder / "log.txt").read_text().splitlines()]
    return [(float(began), float(ended), int(process)) for began, ended, process in lines]


def test_the_progress_of_an_export_is_told_frame_by_frame(exporter: Exporter, tmp_path: Path) -> None:
    exported = render(exporter, tmp_path, "a", "b")
    assert [each.frames for each in exported] == [0, 1, 2, 3, 3, 3, 4, 5, 6, 6]
    assert [(number, each.finished) for number, each in enumerate(exported) if each.finished is not None] == [(4, 0), (9, 1)]


def test_one_process_serves_order_after_order(exporter: Exporter, tmp_path: Path) -> None:
    for strip in "abc":
        render(exporter, tmp_path, strip)
    assert len({process for _, _, process in renders(tmp_path)}) == 1


def test_orders_are_shared_out_between_processes(exporter: Exporter, tmp_path: Path) -> None:
    render(exporter, tmp_path, *"abcdefgh", processes=2)
    times = sorted(renders(tmp_path))
    assert len({process for _, _, process in times}) == 2
    # Two at a time, never three.
    assert [began for began, _, _ in times[2:] if sum(start <= began < end for start, end, _ in times) > 2] == []


def test_no_second_process_is_started_while_one_is_idle(exporter: Exporter, tmp_path: Path) -> None:
    for strip in "abc":
        render(exporter, tmp_path, strip, processes=4)
    assert len({process for _, _, process in renders(tmp_path)}) == 1


@pytest.mark.parametrize("strip", ["bad", "deadly"])
def test_an_order_that_fails_leaves_others_alone(strip: str, exporter: Exporter, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        exports = [threads.submit(render, exporter, tmp_path / name, name) for name in ("a", strip, "c")]
        ends = [export.exception() for export in exports]
    assert [type(end).__name__ for end in ends] == ["NoneType", "RenderFailed", "NoneType"]
    render(exporter, tmp_path / "a", "a")


def test_a_cancelled_export_leaves_others_alone(exporter: Exporter, tmp_path: Path) -> None:
    cancel = threading.Event()
    for name in ("hanging", "other"):
        (tmp_path / name).mkdir()
    with ThreadPoolExecutor() as threads:
        hanging = threads.submit(render, exporter, tmp_path / "hanging", "a", how="hang", cancel=cancel)
        wait_until((tmp_path / "hanging" / "log.txt").is_file)
        other = threads.submit(render, exporter, tmp_path / "other", "b")
        cancel.set()
        assert isinstance(hanging.exception(), Cancelled)
        assert other.result()[-1].finished == 0
    assert not is_alive(int((tmp_path / "hanging" / "log.txt").read_text()))


def test_a_render_that_hangs_is_stopped_and_replaced(tmp_path: Path) -> None:
    exporter = Exporter(silence_seconds=0.5)
    with pytest.raises(Failure, match="wrote no frame"):
        render(exporter, tmp_path, "a", how="hang")
    process = int((tmp_path / "log.txt").read_text())
    wait_until(lambda: not is_alive(process))
    (tmp_path / "log.txt").unlink()
    assert render(exporter, tmp_path, "a")[-1].finished == 0
    exporter.close()


def test_a_process_that_died_while_it_was_idle_is_replaced(exporter: Exporter, tmp_path: Path) -> None:
    render(exporter, tmp_path, "a")
    ((_, _, process),) = renders(tmp_path)
    os.kill(process, signal.SIGTERM)
    wait_until(lambda: Path(f"/proc/{process}/stat").read_text().split()[2] == "Z" if sys.platform == "linux" else True)
    render(exporter, tmp_path, "b")
    assert len({process for _, _, process in renders(tmp_path)}) == 2


def test_a_process_whose_memory_has_grown_is_replaced(exporter: Exporter, tmp_path: Path) -> None:
    render(exporter, tmp_path, "a", "b", how="grow")
    processes = [process for _, _, process in renders(tmp_path)]
    assert len(set(processes)) == 2
    wait_until(lambda: not any(map(is_alive, processes)))


def test_a_process_without_work_ends(tmp_path: Path) -> None:
    exporter = Exporter(idle_seconds=0.2)
    render(exporter, tmp_path, "a")
    ((_, _, process),) = renders(tmp_path)
    wait_until(lambda: not is_alive(process))
    assert render(exporter, tmp_path, "b")[-1].finished == 0
    exporter.close()


def test_closing_ends_what_renders(tmp_path: Path) -> None:
    exporter = Exporter()
    with ThreadPoolExecutor() as threads:
        hanging = threads.submit(render, exporter, tmp_path, "a", how="hang")
        wait_until((tmp_path / "log.txt").is_file)
        exporter.close()
        assert isinstance(hanging.exception(), Failure)
    process = int((tmp_path / "log.txt").read_text())
    wait_until(lambda: not is_alive(process))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """One without work sees the end of its input. In the middle of a render, see tests/blender."""
    code = (
        "import sys, time, threading\n"
        "from pathlib import Path\n"
        "from tests.unit import test_export\n"
        "test_export.render(test_export.Exporter(), Path(sys.argv[1]), 'a')\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", "import tests.addon_package\n" + code, str(tmp_path)])
    try:
        wait_until((tmp_path / "log.txt").is_file)
        ((_, _, process),) = renders(tmp_path)
        assert is_alive(process)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not is_alive(process))
