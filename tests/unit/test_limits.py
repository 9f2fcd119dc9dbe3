# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the limits of concurrent runs and of create calls a minute, over all Blenders, and of the effect of a 429."""

import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from addon.failure import Cancelled, DiskFailure
from addon.jobs.limits import (
    CREATES_MAX,
    HOLD_SECONDS,
    ORPHAN_SECONDS,
    RECOVERY_SECONDS,
    SLOTS_MAX,
    Limits,
    Slot,
    account_of,
)
from addon.jobs.store.database import Database

from .blender_process import Blender
from .clock import Clock
from .helpers import wait_until

ACCOUNT = account_of("a key", "https://api.eachlabs.ai")
NAMED = "maximum of {} concurrent predictions reached"


class RateLimited(Exception):
    pass


class Service:
    """Service that accepts a run if fewer than `cap` are active, and names the cap in its 429 or not. Records the times."""

    def __init__(self, clock: Clock, cap: int, said: str = "") -> None:
        self.clock = clock
        self.cap = cap
        self.said = said
        self.active = 0
        self.most = 0
        self.created: list[float] = []
        self.refusals: dict[str, int] = {}
        self._random = random.Random(1)

    def create(self, run: str, slowest: float = 0.5) -> None:
        """Create a run, with a delay of the request and of the response."""
        self.clock.wait(self._random.uniform(0.05, slowest))
        accepted = self.active < self.cap
        if accepted:
            self.active += 1
            self.most = max(self.most, self.active)
            self.created.append(self.clock())
        else:
            self.refusals[run] = self.refusals.get(run, 0) + 1
        self.clock.wait(self._random.uniform(0.05, slowest))
        if not accepted:
            raise RateLimited

    @property
    def most_a_minute(self) -> int:
        """Return the largest number of create calls within 60 s."""
        return max(sum(at <= other < at + 60.0 for other in self.created) for at in self.created)


def hold_run(limits: Limits, service: Service, run: str, seconds: float = 5.0) -> None:
    """Create a run as a job does, with retries after a 429, and hold its slot for `seconds`."""
    with limits.slot(ACCOUNT, run, service.clock.wait) as slot:
        while True:
            try:
                with slot.creating():
                    service.create(run)
                break
            except RateLimited:
                slot.rate_limited(service.said.format(service.cap))
        service.clock.wait(seconds)
        service.active -= 1


def run_all(limits: Sequence[Limits], service: Service, runs: int, threads: int = 40) -> None:
    """Create all runs by the threads of several Blenders."""
    left = iter([f"run {number}" for number in range(runs)])

    def work(mine: Limits) -> None:
        for run in left:
            hold_run(mine, service, run)

    service.clock.run([partial(work, limits[number % len(limits)]) for number in range(threads)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(path: Path, clock: Clock) -> Iterator[Callable[[], Limits]]:
    """Open the limits as one more Blender."""
    files: list[Database] = []

    def open_file() -> Limits:
        files.append(Database.open(path))
        return Limits(files[-1], clock)

    yield open_file
    for file in files:
        file.close()


@contextmanager
def active(limits: Limits, runs: Sequence[str]) -> Generator[list[Slot]]:
    """Create runs that have not ended."""
    with ExitStack() as stack:
        slots = [stack.enter_context(limits.slot(ACCOUNT, run, no_wait)) for run in runs]
        for slot in slots:
            with slot.creating():
                pass
        yield slots


class WouldWait(Exception):
    pass


def no_wait(seconds: float) -> None:
    raise WouldWait


def gets_slot(limits: Limits, run: str = "one more", account: str = ACCOUNT) -> bool:
    try:
        with limits.slot(account, run, no_wait) as slot, slot.creating():
            return True
    except WouldWait:
        return False


# The service's cap


@pytest.mark.parametrize("said", ["", NAMED, "rate limit exceeded"], ids=["unnamed", "named", "in other words"])
@pytest.mark.parametrize("cap", [2, SLOTS_MAX])
def test_a_batch_of_200_completes_with_any_cap_and_few_rate_limited_attempts(
    cap: int, said: str, opened: Callable[[], Limits], clock: Clock
) -> None:
    service, began = Service(clock, cap, said), clock()
    run_all([opened(), opened(), opened()], service, 200)
    minutes = (clock() - began) / 60
    assert (len(service.created), service.most) == (200, cap)
    # Shorter than the time for which a create call is retried.
    assert max(service.refusals.values(), default=0) <= 3
    # The first ten at once, and then one a minute that tries to raise the cap.
    assert sum(service.refusals.values()) <= SLOTS_MAX + minutes + 1
    if cap == SLOTS_MAX:
        assert not service.refusals
    # Almost no time is lost: 6 s a run with the delays of request and response, and the polls in between.
    assert minutes * 60 <= 200 * 7 / cap + 60


def test_after_a_cap_was_raised_one_more_slot_is_used_each_minute(opened: Callable[[], Limits], clock: Clock) -> None:
    limits, service = opened(), Service(clock, 2, NAMED)
    run_all([limits], service, 40)
    assert limits.cap(ACCOUNT) <= 3
    service.cap, began = SLOTS_MAX, clock()
    run_all([limits], service, 600)
    assert service.most == SLOTS_MAX
    assert limits.cap(ACCOUNT) == SLOTS_MAX
    assert clock() - began < (SLOTS_MAX + 2) * RECOVERY_SECONDS


def test_while_another_machine_has_all_slots_one_run_at_a_time_is_tried(opened: Callable[[], Limits], clock: Clock) -> None:
    limits, service = opened(), Service(clock, 2, NAMED)
    service.active = 2

    def give_back() -> None:
        clock.wait(60.0)
        service.active = 0

    clock.run([give_back, *[partial(hold_run, limits, service, f"run {number}") for number in range(20)]])
    assert len(service.created) == 20
    refused_at_first, knocks = SLOTS_MAX, 60.0 / HOLD_SECONDS[0]
    assert sum(service.refusals.values()) <= refused_at_first + knocks


@pytest.mark.parametrize(
    ("said", "active_count", "cap"),
    [
        (NAMED.format(2), 5, 2),
        (NAMED.format(10), 5, 5),
        ("", 5, 5),
        ("", 1, 1),
        ("", 0, 1),
        (NAMED.format(2), 0, 1),
        ("too many creates; 100 a minute", 5, SLOTS_MAX),
    ],
)
def test_a_429_lowers_the_cap_to_the_stated_number_or_to_the_active_runs(
    said: str, active_count: int, cap: int, opened: Callable[[], Limits], clock: Clock
) -> None:
    limits = opened()
    runs = [f"run {number}" for number in range(active_count)]
    with active(limits, runs), limits.slot(ACCOUNT, "refused", no_wait) as slot:
        with pytest.raises(RateLimited), slot.creating():
            raise RateLimited
        slot.rate_limited(said)
        assert limits.cap(ACCOUNT) == cap
    assert opened().cap(ACCOUNT) == cap
    assert limits.cap("another key") == SLOTS_MAX
    for higher in range(cap, SLOTS_MAX + 3):
        assert limits.cap(ACCOUNT) == min(higher, SLOTS_MAX)
        clock.now += RECOVERY_SECONDS


def test_a_rate_limited_run_comes_before_later_ones(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    with active(limits, ["first"]), limits.slot(ACCOUNT, "refused", no_wait) as slot:
        slot.rate_limited()
        clock.now += HOLD_SECONDS[0]
        assert not gets_slot(limits, "later")
        with pytest.raises(WouldWait), slot.creating():
            pass
    assert gets_slot(limits, "later")


@pytest.mark.parametrize(("asked", "held"), [(0.0, 1.0), (7.5, 7.5), (1e9, 60.0), (float("nan"), 1.0)])
def test_no_run_is_created_before_retry_after(asked: float, held: float, opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    with limits.slot(ACCOUNT, "refused", no_wait) as slot:
        slot.rate_limited(retry_after=asked)
    clock.now += held - 0.01
    assert not gets_slot(opened())
    assert gets_slot(opened(), account="another key")
    clock.now += 0.02
    assert gets_slot(opened())


# 100 creates a minute


def test_no_minute_has_more_than_100_create_calls_however_long_they_take(opened: Callable[[], Limits], clock: Clock) -> None:
    limits, service, began = [opened(), opened()], Service(clock, SLOTS_MAX), clock()
    left = iter([f"run {number}" for number in range(350)])

    def work(mine: Limits) -> None:
        for run in left:
            with mine.slot(ACCOUNT, run, clock.wait) as slot, slot.creating():
                service.create(run, slowest=0.6)
                service.active -= 1

    clock.run([partial(work, mine) for mine in limits for _ in range(6)])
    assert len(service.created) == 350
    assert service.most_a_minute <= CREATES_MAX
    # 100 at once, then as many each minute, plus the delays of request and response.
    assert 180 < clock() - began < 250


def test_a_create_call_counts_until_a_minute_after_its_end(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    with limits.slot(ACCOUNT, "slow", no_wait) as slot, slot.creating():
        clock.now += 50.0
    for number in range(CREATES_MAX - 1):
        assert gets_slot(limits, f"run {number}")
    assert not gets_slot(limits)
    clock.now += 59.0
    assert not gets_slot(limits)
    clock.now += 1.0
    assert gets_slot(limits)


def test_a_create_call_without_a_response_counts_for_two_minutes(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    with limits.slot(ACCOUNT, "slow", no_wait) as slot, slot.creating():
        clock.now += 119.0
        for number in range(CREATES_MAX - 1):
            assert gets_slot(limits, f"run {number}")
        assert not gets_slot(limits)
        clock.now += 1.0
        assert gets_slot(limits)


# Crashed Blenders and cancelled runs


def test_a_cancelled_run_leaves_the_queue(opened: Callable[[], Limits]) -> None:
    limits = opened()

    def cancelled(seconds: float) -> None:
        raise Cancelled

    with active(limits, [f"run {number}" for number in range(SLOTS_MAX)]):
        with pytest.raises(Cancelled), limits.slot(ACCOUNT, "cancelled", cancelled):
            pass
        assert not gets_slot(limits)
    assert gets_slot(limits)


def test_a_run_whose_create_call_failed_keeps_its_slot_until_it_is_given_up(opened: Callable[[], Limits]) -> None:
    limits = opened()
    with active(limits, [f"run {number}" for number in range(SLOTS_MAX - 1)]):
        with limits.slot(ACCOUNT, "unsettled", no_wait) as slot:
            with pytest.raises(TimeoutError), slot.creating():
                raise TimeoutError
            assert not gets_slot(opened())
            with slot.creating():
                pass
        assert gets_slot(opened())


def test_the_runs_of_a_crashed_blender_count_for_two_minutes_or_until_they_are_resumed(
    opened: Callable[[], Limits], path: Path, clock: Clock
) -> None:
    limits = opened()
    with closing(Database.open(path)) as dying, ExitStack() as stack:
        theirs = Limits(dying, clock)
        stack.enter_context(active(theirs, [f"run {number}" for number in range(SLOTS_MAX)]))
        dying.close()
    clock.now += ORPHAN_SECONDS - 1
    assert not gets_slot(limits)
    # The Blender that resumes the run takes over its slot, and releases it.
    with limits.slot(ACCOUNT, "run 3", no_wait, acquired=True):
        assert not gets_slot(limits)
    assert gets_slot(limits)
    with active(limits, ["another"]):
        assert not gets_slot(limits)
        clock.now += 3
        assert not gets_slot(limits)
        assert gets_slot(limits)


def test_a_crashed_blender_does_not_block_the_queue(opened: Callable[[], Limits], path: Path, clock: Clock) -> None:
    limits = opened()

    def give_up(seconds: float) -> None:
        dying.close()
        raise Cancelled

    with active(limits, [f"run {number}" for number in range(SLOTS_MAX - 1)]):
        with (
            active(limits, ["last"]),
            closing(Database.open(path)) as dying,
            pytest.raises(Cancelled),
            Limits(dying, clock).slot(ACCOUNT, "first in line", give_up),
        ):
            pass
        assert not gets_slot(limits, "finds the dead one")
        assert gets_slot(limits)


def test_an_active_run_does_not_wait(opened: Callable[[], Limits]) -> None:
    limits = opened()
    runs = [f"run {number}" for number in range(SLOTS_MAX)]
    with active(limits, runs), limits.slot(ACCOUNT, "resumed", no_wait, acquired=True):
        pass
    with active(limits, runs[1:]), limits.slot(ACCOUNT, "resumed", no_wait, acquired=True):
        assert not gets_slot(limits)


@pytest.mark.parametrize("hours", [-100, 100])
def test_a_changed_clock_blocks_no_run_for_long(hours: int, opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    for number in range(CREATES_MAX):
        assert gets_slot(limits, f"run {number}")
    with limits.slot(ACCOUNT, "refused", no_wait) as slot:
        slot.rate_limited(retry_after=60)
    clock.now += hours * 3600
    gets_slot(limits)
    clock.now += 120.0
    assert gets_slot(limits)
    clock.now += RECOVERY_SECONDS * SLOTS_MAX
    assert limits.cap(ACCOUNT) == SLOTS_MAX


def test_slots_of_a_crashed_blender_are_released_even_if_the_clock_is_set_back(
    opened: Callable[[], Limits], path: Path, clock: Clock
) -> None:
    limits = opened()
    with closing(Database.open(path)) as dying, active(Limits(dying, clock), [f"{n}" for n in range(SLOTS_MAX)]):
        dying.close()
    clock.now -= 1e6
    assert not gets_slot(limits)
    clock.now += ORPHAN_SECONDS
    assert not gets_slot(limits, "finds the dead ones")
    assert gets_slot(limits)


def test_waiting_create_calls_continue_if_the_clock_is_set_back(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    for number in range(CREATES_MAX):
        assert gets_slot(limits, f"run {number}")
    clock.now += 30.0
    waited: list[float] = []

    def wait(seconds: float) -> None:
        clock.now += seconds if waited else -1e6
        waited.append(seconds)
        assert sum(waited) < 130

    with limits.slot(ACCOUNT, "one more", wait) as slot, slot.creating():
        assert sum(waited) > 60


def test_a_slot_that_cannot_be_released_at_once_is_released_later(
    opened: Callable[[], Limits], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = opened()

    @contextmanager
    def full(*_: object, **__: object) -> Generator[None]:
        raise DiskFailure("The disk is full.")
        yield

    runs = [f"run {number}" for number in range(SLOTS_MAX)]
    with monkeypatch.context() as patched, active(limits, runs):
        patched.setattr(limits.database, "writing", full)
    assert "a slot could not be released yet" in caplog.text
    assert gets_slot(limits)


def test_a_slot_that_its_run_has_acquired_again_is_not_released(
    opened: Callable[[], Limits], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = opened()
    writing, faults = limits.database.writing, [DiskFailure("The disk is full.")] * 2

    @contextmanager
    def full_for_now(*, durable: bool = True) -> Generator[object]:
        if faults:
            raise faults.pop()
        with writing(durable=durable) as table:
            yield table

    with active(limits, [f"run {number}" for number in range(SLOTS_MAX - 1)]):
        with active(limits, ["again"]):
            monkeypatch.setattr(limits.database, "writing", full_for_now)
        with limits.slot(ACCOUNT, "again", no_wait):
            assert not gets_slot(limits)
            assert not gets_slot(limits)
    assert gets_slot(limits)


def test_limits_hold_without_a_disk_too(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "no folder").write_text("a file")
    with closing(Database.open(tmp_path / "no folder" / "jobs.sqlite")) as file:
        service = Service(clock, 2, NAMED)
        run_all([Limits(file, clock)], service, 30)
    assert (len(service.created), service.most) == (30, 2)


# Several Blenders, in real time


@pytest.fixture
def blenders(path: Path) -> Iterator[list[Blender]]:
    started = [Blender(path) for _ in range(3)]
    yield started
    for blender in started:
        blender.kill()


@pytest.mark.parametrize("cap", [3, SLOTS_MAX])
def test_three_processes_together_respect_the_cap(cap: int, blenders: list[Blender], path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert [blender.call("note") for blender in blenders] == ["", "", ""]
    with closing(Database.open(path)) as file:
        limits = Limits(file)
        if cap < SLOTS_MAX:
            with limits.slot("account", "refused", time.sleep) as slot, ExitStack() as stack:
                for number in range(cap):
                    stack.enter_context(limits.slot("account", f"{number}", time.sleep, acquired=True))
                slot.rate_limited()
        for number, blender in enumerate(blenders):
            blender.send("hold_slots", runs=[f"{number}/{run}" for run in range(12)], log=str(log))
        assert [blender.receive() for blender in blenders] == [12, 12, 12]
    now = most = 0
    for line in log.read_text().splitlines():
        now += {"+": 1, "-": -1}[line]
        most = max(most, now)
    assert (now, most <= cap) == (0, True)
    assert len(log.read_text().splitlines()) == 72


def test_three_processes_together_respect_the_limit_a_minute(blenders: list[Blender], tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.touch()
    for number, blender in enumerate(blenders):
        blender.send("create", runs=[f"{number}/{run}" for run in range(CREATES_MAX + 1)], log=str(log))

    def lines() -> list[str]:
        return log.read_text().splitlines()

    wait_until(lambda: all(f"{blender.process.pid} waits" in lines() for blender in blenders))
    assert lines().count("created") == CREATES_MAX


# Saved data


def test_no_key_is_saved(opened: Callable[[], Limits], path: Path) -> None:
    key = "sk-live-0123456789"
    account = account_of(key, "https://api.eachlabs.ai")
    assert account != account_of(key, "http://127.0.0.1:8000")
    with opened().slot(account, "run", no_wait) as slot:
        slot.rate_limited("the limit is 2")
        kept = b"".join(part.read_bytes() for part in path.parent.glob("jobs.sqlite*"))
    assert account.encode() in kept
    assert key.encode() not in kept
