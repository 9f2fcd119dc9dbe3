# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in flight and create calls a minute: never more than permitted, and what a 429 changes."""

import random
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Cancelled
from addon.jobs.limits import CREATES_MAX, CREATES_SECONDS, HOLD_SECONDS, RECOVERY_SECONDS, SLOTS_MAX, Limits, Slot
from addon.jobs.work.connections import account_of
from addon.jobs.work.create_retries import CreateRetries
from addon.service.eachlabs.errors import RateLimited
from addon.service.net.transport import Transport

from .clock import ThreadsClock
from .helpers import services_in


class Service:
    """Takes a run where fewer than `cap` are in flight; notes when."""

    def __init__(self, clock: ThreadsClock, cap: int) -> None:
        self.clock = clock
        self.cap = cap
        self.in_flight = 0
        self.most = 0
        self.created: list[float] = []
        self.refusals: dict[str, int] = {}
        self._random = random.Random(1)

    def create(self, run: str, slowest: float = 0.5) -> None:
        """The request takes its time, and so does the response."""
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
            raise refusal()

    @property
    def most_a_minute(self) -> int:
        """Of any 60 s."""
        return max(sum(at <= other < at + 60.0 for other in self.created) for at in self.created)


def refusal(retry_after: float = 0.0) -> RateLimited:
    return RateLimited("Too many runs.", may_be_done=False, retry_after=retry_after)


class Timer:
    """The part of a Transport that waits, by a test's clock."""

    def __init__(self, clock: ThreadsClock) -> None:
        self.now, self.wait = clock, clock.wait


def fly(limits: Limits, service: Service, run: str, seconds: float = 5.0) -> None:
    """One run as a job has it: created again after a refusal until it is given up, then polled until it has ended."""
    timer: Any = Timer(service.clock)
    with limits.slot(timer.wait) as slot:
        retries = CreateRetries(timer)
        while True:
            retries.wait()
            try:
                with slot.creating():
                    service.create(run)
                break
            except RateLimited as failure:
                retries.failed(failure)
        service.clock.wait(seconds)
        service.in_flight -= 1
        service.clock.wait(0.25)


def fly_all(limits: Sequence[Limits], service: Service, runs: int, threads: int = 40) -> None:
    """The threads of several Blenders work through the runs."""
    left = iter([f"run {number}" for number in range(runs)])

    def work(mine: Limits) -> None:
        for run in left:
            fly(mine, service, run)

    service.clock.run([partial(work, limits[number % len(limits)]) for number in range(threads)])


@pytest.fixture
def clock() -> ThreadsClock:
    return ThreadsClock()


@pytest.fixture
def limits(clock: ThreadsClock) -> Limits:
    return Limits(clock)


class WouldWait(Exception):
    pass


def no_wait(seconds: float) -> None:
    raise WouldWait


@contextmanager
def in_flight(limits: Limits, runs: int) -> Generator[list[Slot]]:
    """Runs that were created and have not ended."""
    with ExitStack() as stack:
        slots: list[Slot] = []
        for _ in range(runs):
            slots.append(stack.enter_context(limits.slot(no_wait)))
            with slots[-1].creating():
                pass
        yield slots


def may_fly(limits: Limits) -> bool:
    try:
        with limits.slot(no_wait) as slot, slot.creating():
            return True
    except WouldWait:
        return False


def refuse(slot: Slot, retry_after: float = 0.0) -> None:
    with pytest.raises(RateLimited), slot.creating():
        raise refusal(retry_after)


# A cap that the service has


@pytest.mark.parametrize("cap", [2, 5, SLOTS_MAX])
def test_a_batch_of_200_goes_through_any_cap_and_no_run_is_refused_often(
    cap: int, limits: Limits, clock: ThreadsClock
) -> None:
    service, began = Service(clock, cap), clock()
    fly_all([limits], service, 200)
    minutes = (clock() - began) / 60
    assert (len(service.created), service.most) == (200, cap)
    # Less than what a create is tried for.
    assert max(service.refusals.values(), default=0) <= 3
    # Less than the cap at first, since calls begin one by one, and from then on one each minute that tries one more.
    assert sum(service.refusals.values()) <= cap + minutes + 1
    if cap == SLOTS_MAX:
        assert not service.refusals
    # Next to no time is wasted: 6 s for a run with its requests, and the polls in between.
    assert minutes * 60 <= 200 * 7 / cap + 60


@pytest.mark.parametrize("cap", [2, SLOTS_MAX])
def test_between_three_blenders_the_service_arbitrates(cap: int, clock: ThreadsClock) -> None:
    """None gives up, and each gets its share while the others have a long batch."""
    service, began = Service(clock, cap), clock()
    blenders = [Limits(clock) for _ in range(3)]

    def work(mine: Limits, name: str, left: Sequence[int]) -> None:
        for number in left:
            fly(mine, service, f"{name} {number}")

    workers = [(mine, f"{number}/{worker}") for number, mine in enumerate(blenders) for worker in range(10)]
    clock.run([partial(work, mine, name, range(6)) for mine, name in workers])
    assert (len(service.created), service.most) == (180, cap)
    # As long as all calls of a minute together are fewer than the service permits.
    assert service.most_a_minute <= CREATES_MAX
    # The service's cap is used to more than half, although nobody knows of the others.
    assert clock() - began <= 180 * 6 / cap * 2


def test_a_cap_that_is_lifted_is_found_out_a_slot_a_minute(limits: Limits, clock: ThreadsClock) -> None:
    service = Service(clock, 2)
    fly_all([limits], service, 40)
    assert limits.cap <= 3
    service.cap, began = SLOTS_MAX, clock()
    fly_all([limits], service, 600)
    assert service.most == SLOTS_MAX
    assert limits.cap == SLOTS_MAX
    assert clock() - began < (SLOTS_MAX + 2) * RECOVERY_SECONDS


def test_while_another_machine_has_all_slots_one_run_at_a_time_is_tried(limits: Limits, clock: ThreadsClock) -> None:
    service = Service(clock, 2)
    service.in_flight = 2

    def give_back() -> None:
        clock.wait(60.0)
        service.in_flight = 0

    clock.run([give_back, *[partial(fly, limits, service, f"run {number}") for number in range(20)]])
    assert len(service.created) == 20
    assert sum(service.refusals.values()) <= 1 + 60.0 / HOLD_SECONDS[0]


def test_calls_begin_one_by_one_and_more_after_each_that_is_not_refused(limits: Limits, clock: ThreadsClock) -> None:
    def entered(slots: int) -> ExitStack:
        """So many slots whose create calls are under way; no further one may begin."""
        stack = ExitStack()
        for _ in range(slots):
            stack.enter_context(stack.enter_context(limits.slot(no_wait)).creating())
        assert not may_fly(limits)
        return stack

    for allowed in (1, 2, 4, 8):
        entered(allowed).close()
    with limits.slot(no_wait) as slot:
        refuse(slot)
    clock.now += SLOTS_MAX * RECOVERY_SECONDS
    entered(1).close()
    # A call that fails otherwise is no refusal.
    with limits.slot(no_wait) as slot, pytest.raises(TimeoutError), slot.creating():
        raise TimeoutError
    entered(3).close()


@pytest.mark.parametrize(("in_the_air", "cap"), [(5, 5), (2, 2), (1, 1), (0, 1)])
def test_a_refusal_lowers_the_cap_to_what_is_in_flight(
    in_the_air: int, cap: int, limits: Limits, clock: ThreadsClock
) -> None:
    with in_flight(limits, in_the_air), limits.slot(no_wait) as slot:
        refuse(slot)
        assert limits.cap == cap
    for higher in range(cap, SLOTS_MAX + 3):
        assert limits.cap == min(higher, SLOTS_MAX)
        clock.now += RECOVERY_SECONDS


def test_an_account_has_limits_of_its_own(tmp_path: Path) -> None:
    services = services_in(tmp_path)
    with services.limits("a key").slot(no_wait) as slot:
        refuse(slot)
    assert services.limits("a key").cap == 1
    assert services.limits("another key").cap == SLOTS_MAX
    assert may_fly(services.limits("another key"))
    services.close()


def test_what_was_refused_goes_before_what_came_later(limits: Limits, clock: ThreadsClock) -> None:
    with ExitStack() as stack:
        stack.enter_context(in_flight(limits, 1))
        refused = stack.enter_context(limits.slot(no_wait))
        refuse(refused)
        clock.now += HOLD_SECONDS[0]
        assert not may_fly(limits)
        with pytest.raises(WouldWait), refused.creating():
            pass
        clock.now += RECOVERY_SECONDS
        assert not may_fly(limits)
        with refused.creating():
            pass
    assert may_fly(limits)


def test_a_refused_run_takes_no_slot_while_it_backs_off(limits: Limits, clock: ThreadsClock) -> None:
    with limits.slot(no_wait) as refused:
        refuse(refused)
        clock.now += HOLD_SECONDS[0]
        assert may_fly(limits)


@pytest.mark.parametrize(("asked", "held"), [(0.0, 1.0), (7.5, 7.5), (1e9, 60.0), (float("nan"), 1.0)])
def test_nobody_creates_before_the_time_that_was_asked_for(
    asked: float, held: float, limits: Limits, clock: ThreadsClock
) -> None:
    with limits.slot(no_wait) as slot:
        refuse(slot, asked)
        with limits.slot(no_wait, in_flight=True) as found:
            clock.now += held - 0.01
            assert not may_fly(limits)
            for waiting in (slot, found):
                with pytest.raises(WouldWait), waiting.creating():
                    pass
    clock.now += 0.02
    assert may_fly(limits)


# 100 create calls a minute


def test_no_minute_has_more_than_100_creates_however_long_they_take(limits: Limits, clock: ThreadsClock) -> None:
    service, began = Service(clock, SLOTS_MAX), clock()
    left = iter([f"run {number}" for number in range(350)])

    def work() -> None:
        for run in left:
            with limits.slot(clock.wait) as slot, slot.creating():
                service.create(run, slowest=0.6)
                service.in_flight -= 1

    clock.run([work] * 12)
    assert len(service.created) == 350
    assert service.most_a_minute <= CREATES_MAX
    # 100 at once, then as many each minute, and what their requests take.
    assert 180 < clock() - began < 250


def test_a_create_counts_until_a_minute_after_its_end(limits: Limits, clock: ThreadsClock) -> None:
    with limits.slot(no_wait) as slot, slot.creating():
        clock.now += 50.0
    for _ in range(CREATES_MAX - 1):
        assert may_fly(limits)
    assert not may_fly(limits)
    clock.now += 59.0
    assert not may_fly(limits)
    clock.now += 1.0
    assert may_fly(limits)


def test_a_create_whose_response_does_not_come_counts_for_as_long(limits: Limits, clock: ThreadsClock) -> None:
    assert may_fly(limits)
    clock.now += CREATES_SECONDS + 1
    with limits.slot(no_wait) as slot, slot.creating():
        clock.now += CREATES_SECONDS + 1
        for _ in range(CREATES_MAX - 1):
            assert may_fly(limits)
        assert not may_fly(limits)


# Runs that wait, give up, or were there before


def test_who_gives_up_leaves_the_queue(limits: Limits) -> None:
    def cancelled(seconds: float) -> None:
        raise Cancelled

    with in_flight(limits, SLOTS_MAX - 1):
        with in_flight(limits, 1):
            with pytest.raises(Cancelled), limits.slot(cancelled):
                pass
            assert not may_fly(limits)
        assert may_fly(limits)


def test_a_waiting_run_sees_a_cancel_at_once(limits: Limits) -> None:
    cancel = threading.Event()
    seen: list[float] = []

    def wait() -> None:
        transport = Transport(cancel)
        try:
            with limits.slot(transport.wait):
                pass
        except Cancelled:
            seen.append(time.monotonic())
        finally:
            transport.close()

    with in_flight(limits, SLOTS_MAX):
        threads = [threading.Thread(target=wait) for _ in range(20)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        used, began = time.process_time(), time.monotonic()
        time.sleep(0.5)
        used = time.process_time() - used
        cancelled = time.monotonic()
        cancel.set()
        for thread in threads:
            thread.join(10)
    assert len(seen) == 20
    assert max(seen) - cancelled < 0.1
    # Of one core.
    assert used / (cancelled - began) < 0.2


def test_a_run_whose_start_went_wrong_keeps_its_slot_until_it_is_given_up(limits: Limits) -> None:
    with in_flight(limits, SLOTS_MAX - 1):
        with limits.slot(no_wait) as slot:
            with pytest.raises(TimeoutError), slot.creating():
                raise TimeoutError
            assert not may_fly(limits)
            with slot.creating():
                pass
        assert may_fly(limits)


def test_a_run_that_is_in_flight_waits_for_nothing_and_counts(limits: Limits) -> None:
    with in_flight(limits, SLOTS_MAX), limits.slot(no_wait, in_flight=True):
        pass
    with in_flight(limits, SLOTS_MAX - 1):
        with limits.slot(no_wait, in_flight=True):
            assert not may_fly(limits)
        assert may_fly(limits)


def test_an_account_does_not_give_its_key_away() -> None:
    key = "sk-live-0123456789"
    account = account_of(key, "https://api.eachlabs.ai")
    assert account != account_of(key, "http://127.0.0.1:8000")
    assert key not in account
