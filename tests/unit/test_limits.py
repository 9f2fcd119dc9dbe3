# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in flight and creates a minute: never more than may be, over all Blenders, and what a 429 does to that."""

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

from .blenders import Blender
from .hours import Clock
from .parts import until

ACCOUNT = account_of("a key", "https://api.eachlabs.ai")
NAMED = "maximum of {} concurrent predictions reached"


class RateLimited(Exception):
    pass


class Service:
    """Takes a run where fewer than `cap` are in flight, with a word on it or without; notes when."""

    def __init__(self, clock: Clock, cap: int, said: str = "") -> None:
        self.clock = clock
        self.cap = cap
        self.said = said
        self.in_flight = 0
        self.most = 0
        self.created: list[float] = []
        self.refusals: dict[str, int] = {}
        self._random = random.Random(1)

    def create(self, run: str, slowest: float = 0.5) -> None:
        """What takes its time on the way there, and on the way back."""
        self.clock.wait(self._random.uniform(0.05, slowest))
        accepted = self.in_flight < self.cap
        if accepted:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            self.created.append(self.clock())
        else:
            self.refusals[run] = self.refusals.get(run, 0) + 1
        self.clock.wait(self._random.uniform(0.05, slowest))
        if not accepted:
            raise RateLimited

    @property
    def most_a_minute(self) -> int:
        """Of any 60 s."""
        return max(sum(at <= other < at + 60.0 for other in self.created) for at in self.created)


def fly(limits: Limits, service: Service, run: str, seconds: float = 5.0) -> None:
    """One run as a job has it: tried again after a refusal, until it has been created and has ended."""
    with limits.slot(ACCOUNT, run, service.clock.wait) as slot:
        while True:
            try:
                with slot.creating():
                    service.create(run)
                break
            except RateLimited:
                slot.rate_limited(service.said.format(service.cap))
        service.clock.wait(seconds)
        service.in_flight -= 1


def fly_all(limits: Sequence[Limits], service: Service, runs: int, threads: int = 40) -> None:
    """The threads of several Blenders work through the runs."""
    left = iter([f"run {number}" for number in range(runs)])

    def work(mine: Limits) -> None:
        for run in left:
            fly(mine, service, run)

    service.clock.play([partial(work, limits[number % len(limits)]) for number in range(threads)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(path: Path, clock: Clock) -> Iterator[Callable[[], Limits]]:
    """The limits as one more Blender has them."""
    files: list[Database] = []

    def open_file() -> Limits:
        files.append(Database.open(path))
        return Limits(files[-1], clock)

    yield open_file
    for file in files:
        file.close()


@contextmanager
def in_flight(limits: Limits, runs: Sequence[str]) -> Generator[list[Slot]]:
    """Runs that were created and have not ended."""
    with ExitStack() as stack:
        flights = [stack.enter_context(limits.slot(ACCOUNT, run, no_wait)) for run in runs]
        for slot in flights:
            with slot.creating():
                pass
        yield flights


class WouldWait(Exception):
    pass


def no_wait(seconds: float) -> None:
    raise WouldWait


def may_fly(limits: Limits, run: str = "one more", account: str = ACCOUNT) -> bool:
    try:
        with limits.slot(account, run, no_wait) as slot, slot.creating():
            return True
    except WouldWait:
        return False


# A cap of the service's


@pytest.mark.parametrize("said", ["", NAMED, "rate limit exceeded"], ids=["unnamed", "named", "in other words"])
@pytest.mark.parametrize("cap", [2, SLOTS_MAX])
def test_a_batch_of_200_goes_through_any_cap_and_no_run_is_refused_often(
    cap: int, said: str, opened: Callable[[], Limits], clock: Clock
) -> None:
    service, began = Service(clock, cap, said), clock()
    fly_all([opened(), opened(), opened()], service, 200)
    minutes = (clock() - began) / 60
    assert (len(service.created), service.most) == (200, cap)
    # Less than what a create is tried for.
    assert max(service.refusals.values(), default=0) <= 3
    # The first ten at once, and from then on one each minute that tries one more.
    assert sum(service.refusals.values()) <= SLOTS_MAX + minutes + 1
    if cap == SLOTS_MAX:
        assert not service.refusals
    # Next to no time goes to waste: 6 s a run with its two ways, and the looks in between.
    assert minutes * 60 <= 200 * 7 / cap + 60


def test_a_cap_that_is_lifted_is_found_out_a_place_a_minute(opened: Callable[[], Limits], clock: Clock) -> None:
    limits, service = opened(), Service(clock, 2, NAMED)
    fly_all([limits], service, 40)
    assert limits.cap(ACCOUNT) <= 3
    service.cap, began = SLOTS_MAX, clock()
    fly_all([limits], service, 600)
    assert service.most == SLOTS_MAX
    assert limits.cap(ACCOUNT) == SLOTS_MAX
    assert clock() - began < (SLOTS_MAX + 2) * RECOVERY_SECONDS


def test_while_another_machine_has_all_places_one_run_at_a_time_knocks(opened: Callable[[], Limits], clock: Clock) -> None:
    limits, service = opened(), Service(clock, 2, NAMED)
    service.in_flight = 2

    def give_back() -> None:
        clock.wait(60.0)
        service.in_flight = 0

    clock.play([give_back, *[partial(fly, limits, service, f"run {number}") for number in range(20)]])
    assert len(service.created) == 20
    refused_at_first, knocks = SLOTS_MAX, 60.0 / HOLD_SECONDS[0]
    assert sum(service.refusals.values()) <= refused_at_first + knocks


@pytest.mark.parametrize(
    ("said", "in_the_air", "cap"),
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
def test_a_refusal_lowers_the_cap_to_what_it_names_or_to_what_flies(
    said: str, in_the_air: int, cap: int, opened: Callable[[], Limits], clock: Clock
) -> None:
    limits = opened()
    runs = [f"run {number}" for number in range(in_the_air)]
    with in_flight(limits, runs), limits.slot(ACCOUNT, "refused", no_wait) as slot:
        with pytest.raises(RateLimited), slot.creating():
            raise RateLimited
        slot.rate_limited(said)
        assert limits.cap(ACCOUNT) == cap
    assert opened().cap(ACCOUNT) == cap
    assert limits.cap("another key") == SLOTS_MAX
    for higher in range(cap, SLOTS_MAX + 3):
        assert limits.cap(ACCOUNT) == min(higher, SLOTS_MAX)
        clock.now += RECOVERY_SECONDS


def test_who_was_refused_goes_before_those_who_came_later(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    with in_flight(limits, ["first"]), limits.slot(ACCOUNT, "refused", no_wait) as slot:
        slot.rate_limited()
        clock.now += HOLD_SECONDS[0]
        assert not may_fly(limits, "later")
        with pytest.raises(WouldWait), slot.creating():
            pass
    assert may_fly(limits, "later")


@pytest.mark.parametrize(("asked", "held"), [(0.0, 1.0), (7.5, 7.5), (1e9, 60.0), (float("nan"), 1.0)])
def test_nobody_creates_before_the_time_that_was_asked_for(
    asked: float, held: float, opened: Callable[[], Limits], clock: Clock
) -> None:
    limits = opened()
    with limits.slot(ACCOUNT, "refused", no_wait) as slot:
        slot.rate_limited(retry_after=asked)
    clock.now += held - 0.01
    assert not may_fly(opened())
    assert may_fly(opened(), account="another key")
    clock.now += 0.02
    assert may_fly(opened())


# 100 creates a minute


def test_no_minute_has_more_than_100_creates_however_long_they_are_on_their_way(
    opened: Callable[[], Limits], clock: Clock
) -> None:
    limits, service, began = [opened(), opened()], Service(clock, SLOTS_MAX), clock()
    left = iter([f"run {number}" for number in range(350)])

    def work(mine: Limits) -> None:
        for run in left:
            with mine.slot(ACCOUNT, run, clock.wait) as slot, slot.creating():
                service.create(run, slowest=0.6)
                service.in_flight -= 1

    clock.play([partial(work, mine) for mine in limits for _ in range(6)])
    assert len(service.created) == 350
    assert service.most_a_minute <= CREATES_MAX
    # 100 at once, then as many each minute, and what their ways take.
    assert 180 < clock() - began < 250


def test_a_create_counts_until_a_minute_after_its_end(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    with limits.slot(ACCOUNT, "slow", no_wait) as slot, slot.creating():
        clock.now += 50.0
    for number in range(CREATES_MAX - 1):
        assert may_fly(limits, f"run {number}")
    assert not may_fly(limits)
    clock.now += 59.0
    assert not may_fly(limits)
    clock.now += 1.0
    assert may_fly(limits)


def test_a_create_whose_answer_never_comes_counts_for_two_minutes(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    with limits.slot(ACCOUNT, "slow", no_wait) as slot, slot.creating():
        clock.now += 119.0
        for number in range(CREATES_MAX - 1):
            assert may_fly(limits, f"run {number}")
        assert not may_fly(limits)
        clock.now += 1.0
        assert may_fly(limits)


# Who dies, who gives up


def test_who_gives_up_leaves_the_line(opened: Callable[[], Limits]) -> None:
    limits = opened()

    def cancelled(seconds: float) -> None:
        raise Cancelled

    with in_flight(limits, [f"run {number}" for number in range(SLOTS_MAX)]):
        with pytest.raises(Cancelled), limits.slot(ACCOUNT, "cancelled", cancelled):
            pass
        assert not may_fly(limits)
    assert may_fly(limits)


def test_a_run_whose_start_went_wrong_keeps_its_place_until_it_is_given_up(opened: Callable[[], Limits]) -> None:
    limits = opened()
    with in_flight(limits, [f"run {number}" for number in range(SLOTS_MAX - 1)]):
        with limits.slot(ACCOUNT, "unsettled", no_wait) as slot:
            with pytest.raises(TimeoutError), slot.creating():
                raise TimeoutError
            assert not may_fly(opened())
            with slot.creating():
                pass
        assert may_fly(opened())


def test_the_runs_of_a_blender_that_died_count_for_two_minutes_or_until_they_are_gone_on_with(
    opened: Callable[[], Limits], path: Path, clock: Clock
) -> None:
    limits = opened()
    with closing(Database.open(path)) as dying, ExitStack() as stack:
        theirs = Limits(dying, clock)
        stack.enter_context(in_flight(theirs, [f"run {number}" for number in range(SLOTS_MAX)]))
        dying.close()
    clock.now += ORPHAN_SECONDS - 1
    assert not may_fly(limits)
    # The same run, in the Blender that goes on with it: it needs no place of its own, and gives one back.
    with limits.slot(ACCOUNT, "run 3", no_wait, acquired=True):
        assert not may_fly(limits)
    assert may_fly(limits)
    with in_flight(limits, ["another"]):
        assert not may_fly(limits)
        clock.now += 3
        assert not may_fly(limits)
        assert may_fly(limits)


def test_who_died_in_the_line_holds_nobody_up(opened: Callable[[], Limits], path: Path, clock: Clock) -> None:
    limits = opened()

    def die(seconds: float) -> None:
        dying.close()
        raise Cancelled

    with in_flight(limits, [f"run {number}" for number in range(SLOTS_MAX - 1)]):
        with (
            in_flight(limits, ["last"]),
            closing(Database.open(path)) as dying,
            pytest.raises(Cancelled),
            Limits(dying, clock).slot(ACCOUNT, "first in line", die),
        ):
            pass
        assert not may_fly(limits, "finds the dead one")
        assert may_fly(limits)


def test_a_run_that_is_under_way_waits_for_nothing(opened: Callable[[], Limits]) -> None:
    limits = opened()
    runs = [f"run {number}" for number in range(SLOTS_MAX)]
    with in_flight(limits, runs), limits.slot(ACCOUNT, "resumed", no_wait, acquired=True):
        pass
    with in_flight(limits, runs[1:]), limits.slot(ACCOUNT, "resumed", no_wait, acquired=True):
        assert not may_fly(limits)


@pytest.mark.parametrize("hours", [-100, 100])
def test_a_clock_that_is_set_otherwise_holds_nobody_up_for_long(
    hours: int, opened: Callable[[], Limits], clock: Clock
) -> None:
    limits = opened()
    for number in range(CREATES_MAX):
        assert may_fly(limits, f"run {number}")
    with limits.slot(ACCOUNT, "refused", no_wait) as slot:
        slot.rate_limited(retry_after=60)
    clock.now += hours * 3600
    may_fly(limits)
    clock.now += 120.0
    assert may_fly(limits)
    clock.now += RECOVERY_SECONDS * SLOTS_MAX
    assert limits.cap(ACCOUNT) == SLOTS_MAX


def test_a_clock_that_is_set_back_frees_the_places_of_the_dead_all_the_same(
    opened: Callable[[], Limits], path: Path, clock: Clock
) -> None:
    limits = opened()
    with closing(Database.open(path)) as dying, in_flight(Limits(dying, clock), [f"{n}" for n in range(SLOTS_MAX)]):
        dying.close()
    clock.now -= 1e6
    assert not may_fly(limits)
    clock.now += ORPHAN_SECONDS
    assert not may_fly(limits, "finds the dead ones")
    assert may_fly(limits)


def test_a_clock_that_is_set_back_while_creates_wait_lets_them_go(opened: Callable[[], Limits], clock: Clock) -> None:
    limits = opened()
    for number in range(CREATES_MAX):
        assert may_fly(limits, f"run {number}")
    clock.now += 30.0
    waited: list[float] = []

    def wait(seconds: float) -> None:
        clock.now += seconds if waited else -1e6
        waited.append(seconds)
        assert sum(waited) < 130

    with limits.slot(ACCOUNT, "one more", wait) as slot, slot.creating():
        assert sum(waited) > 60


def test_a_place_that_cant_be_given_back_at_once_is_given_back_later(
    opened: Callable[[], Limits], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = opened()

    @contextmanager
    def full(*_: object, **__: object) -> Generator[None]:
        raise DiskFailure("The disk is full.")
        yield

    runs = [f"run {number}" for number in range(SLOTS_MAX)]
    with monkeypatch.context() as patched, in_flight(limits, runs):
        patched.setattr(limits.database, "writing", full)
    assert "could not be released" in caplog.text
    assert may_fly(limits)


def test_a_place_that_its_run_has_taken_again_is_not_given_back(
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

    with in_flight(limits, [f"run {number}" for number in range(SLOTS_MAX - 1)]):
        with in_flight(limits, ["again"]):
            monkeypatch.setattr(limits.database, "writing", full_for_now)
        with limits.slot(ACCOUNT, "again", no_wait):
            assert not may_fly(limits)
            assert not may_fly(limits)
    assert may_fly(limits)


def test_limits_hold_without_a_disk_too(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "no folder").write_text("a file")
    with closing(Database.open(tmp_path / "no folder" / "jobs.sqlite")) as file:
        service = Service(clock, 2, NAMED)
        fly_all([Limits(file, clock)], service, 30)
    assert (len(service.created), service.most) == (30, 2)


# Several Blenders, in real time


@pytest.fixture
def blenders(path: Path) -> Iterator[list[Blender]]:
    started = [Blender(path) for _ in range(3)]
    yield started
    for blender in started:
        blender.kill()


@pytest.mark.parametrize("cap", [3, SLOTS_MAX])
def test_over_three_processes_no_more_fly_than_may(cap: int, blenders: list[Blender], path: Path, tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    assert [blender.ask("note") for blender in blenders] == ["", "", ""]
    with closing(Database.open(path)) as file:
        limits = Limits(file)
        if cap < SLOTS_MAX:
            with limits.slot("account", "refused", time.sleep) as slot, ExitStack() as stack:
                for number in range(cap):
                    stack.enter_context(limits.slot("account", f"{number}", time.sleep, acquired=True))
                slot.rate_limited()
        for number, blender in enumerate(blenders):
            blender.tell("fly", runs=[f"{number}/{run}" for run in range(12)], diary=str(diary))
        assert [blender.hear() for blender in blenders] == [12, 12, 12]
    now = most = 0
    for line in diary.read_text().splitlines():
        now += {"+": 1, "-": -1}[line]
        most = max(most, now)
    assert (now, most <= cap) == (0, True)
    assert len(diary.read_text().splitlines()) == 72


def test_over_three_processes_no_more_are_created_a_minute_than_may(blenders: list[Blender], tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    diary.touch()
    for number, blender in enumerate(blenders):
        blender.tell("create", runs=[f"{number}/{run}" for run in range(CREATES_MAX + 1)], diary=str(diary))

    def lines() -> list[str]:
        return diary.read_text().splitlines()

    until(lambda: all(f"{blender.process.pid} waits" in lines() for blender in blenders))
    assert lines().count("created") == CREATES_MAX


# What is kept


def test_no_key_is_kept(opened: Callable[[], Limits], path: Path) -> None:
    key = "sk-live-0123456789"
    account = account_of(key, "https://api.eachlabs.ai")
    assert account != account_of(key, "http://127.0.0.1:8000")
    with opened().slot(account, "run", no_wait) as slot:
        slot.rate_limited("the limit is 2")
        kept = b"".join(part.read_bytes() for part in path.parent.glob("jobs.sqlite*"))
    assert account.encode() in kept
    assert key.encode() not in kept
