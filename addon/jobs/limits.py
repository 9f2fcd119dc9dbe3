# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the service, shared by all Blenders of this user: runs in flight and create calls a minute, per key. No bpy.

First come, first served. The figures are from the brief of Eachlabs: 100 create calls a minute and 10 runs in flight per
key. Its newer documentation has lower caps for an account with a low balance, which a 429 names.
"""

import hashlib
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from ..failure import Failure
from .rate_limit import RateLimit
from .store.database import Database

log = logging.getLogger(__name__)

SLOTS_MAX = 10
CREATES_MAX = 100
CREATES_SECONDS = 60.0

RECOVERY_SECONDS = 60.0
"""For each such time without a 429 the cap rises by one: trying costs one 429 a minute at most."""
ORPHAN_SECONDS = 120.0
"""For this long the run of a Blender that crashed still counts: a run takes 5 s, with a cold start of the model a minute or
two. One that takes longer causes a 429, which creates nothing."""
HOLD_SECONDS = (1.0, 60.0)
"""Bounds of the time for which a 429 stops all create calls; its `Retry-After` gives the time."""

# By then a create call has reached the service, unless its response came earlier.
_POST_SECONDS = 60.0

# Waiting runs poll the database according to their place in the queue: the first every 0.1 s, the tenth every second.
_POLL_SECONDS = (0.1, 2.0)

# A slot is waited for, or acquired: then its run is in flight, or is about to be, or may be.
_WAITING, _ACQUIRED = "waiting", "acquired"

_AHEAD = "SELECT count(*) FROM slots WHERE account = ? AND (state != 'waiting' OR ticket < ?)"
_IN_FLIGHT = "SELECT count(*) FROM slots WHERE account = ? AND state != 'waiting' AND ticket != ?"
_COUNTED = "SELECT count(*), min(counts_until) FROM creates WHERE account = ?"
_CAP = "SELECT cap, since, held_until FROM caps WHERE account = ?"

Wait = Callable[[float], None]
"""Waits that many seconds, or raises Cancelled."""


def account_of(key: str, base_url: str) -> str:
    """Return what represents a key and a service in the journal: a digest, from which the key can't be recovered."""
    return hashlib.blake2b(f"{base_url}\n{key}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Limits:
    """The limits for all jobs of this Blender."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns seconds since the epoch, which all processes share."""
        self.database = database
        self.clock = clock
        self._lock = threading.Lock()
        self._purged_at = -math.inf
        self._released: set[int] = set()

    @contextmanager
    def slot(self, account: str, run: str, wait: Wait, *, acquired: bool = False) -> Generator["Slot"]:
        """Hold a slot while a run is, or may be, in flight. Waits until one is free, unless it is `acquired` already.

        `run` names the run uniquely over all Blenders: a job's id with the numbers of window and take. Whoever continues
        the run of a Blender that crashed takes over its slot. Raises what `wait` raises, DiskFailure.
        """
        self._release()
        with self.database.writing(durable=False) as table:
            _limit_future_times(table, now := self.clock())
            found = table.execute(
                """INSERT INTO slots (account, run, owner, state, since) VALUES (?, ?, ?, ?, ?) ON CONFLICT (account, run)
                DO UPDATE SET owner = excluded.owner, state = excluded.state, since = excluded.since RETURNING ticket""",
                (account, run, self.database.owner_id, _ACQUIRED if acquired else _WAITING, now),
            ).fetchall()
        slot = Slot(self, account, found[0][0], wait, acquired=acquired)
        with self._lock:
            # It may be a new slot for the same run.
            self._released.discard(slot.ticket)
        try:
            slot.acquire()
            yield slot
        finally:
            with self._lock:
                self._released.add(slot.ticket)
            self._release()

    def cap(self, account: str) -> int:
        """Return how many runs of the account may be in flight at the moment."""
        return _cap(self.database.rows(_CAP, (account,)), self.clock())

    def purge_crashed(self) -> None:
        """Remove the waiting runs of Blenders that crashed. A run that they left in flight still counts for a while."""
        now = self.clock()
        with self._lock:
            if abs(now - self._purged_at) < _POLL_SECONDS[1]:
                return
            self._purged_at = now
        owners = [row[0] for row in self.database.rows("SELECT DISTINCT owner FROM slots")]
        rows = [(owner, _WAITING, now - ORPHAN_SECONDS) for owner in owners if self.database.is_free(owner)]
        if rows:
            with self.database.writing(durable=False) as table:
                table.executemany("DELETE FROM slots WHERE owner = ? AND (state = ? OR since <= ?)", rows)

    def _release(self) -> None:
        """Delete released slots from the database. A failure must not change how a run ended, so it is tried again later."""
        with self._lock:
            released = list(self._released)
        if not released:
            return
        try:
            with self.database.writing(durable=False) as table:
                table.executemany("DELETE FROM slots WHERE ticket = ?", [(ticket,) for ticket in released])
        except Failure as failure:
            log.warning("a slot could not be released yet: %s", failure.message)
            return
        with self._lock:
            self._released.difference_update(released)


class Slot:
    """The slot of one run, for one thread. Made by `Limits.slot`."""

    def __init__(self, limits: Limits, account: str, ticket: int, wait: Wait, *, acquired: bool) -> None:
        self.ticket = ticket
        self._limits = limits
        self._account = account
        self._wait = wait
        self._acquired = acquired

    def acquire(self) -> None:
        """Wait until a slot is free and everyone who came before has one."""
        while not self._acquired:
            # Most attempts have to wait, so they read without locking the database.
            ahead = self._limits.database.rows(_AHEAD, (self._account, self.ticket))[0][0]
            behind = ahead - self._limits.cap(self._account)
            if behind < 0:
                # Whoever came later counts this one as ahead, so nobody else can have taken the slot by now.
                with self._writing() as (table, now):
                    _set_state(table, self.ticket, _ACQUIRED, now)
                self._acquired = True
                return
            self._limits.purge_crashed()
            self._wait(min(_POLL_SECONDS[0] * max(1, behind + 1), _POLL_SECONDS[1]))

    @contextmanager
    def creating(self) -> Generator[None]:
        """Surround each create call: wait until it may be sent, and count it until a minute after its end.

        After an exception the run keeps its slot, since it may have been created nevertheless, unless it was `rate_limited`.
        """
        self.acquire()
        create = self._count()
        try:
            yield
        finally:
            self._answered(create)

    def rate_limited(self, details: str = "", retry_after: float = 0.0) -> None:
        """Give the slot back after a 429, which created nothing. The next `creating` waits again, before all who came later.

        `details` is what the response says of the limit, `retry_after` the seconds of its `Retry-After`.
        """
        rate_limit = RateLimit.read(details)
        with self._writing() as (table, now):
            cap = _cap(table.execute(_CAP, (self._account,)).fetchall(), now)
            if rate_limit.of_concurrency:
                # Runs that other machines have in flight with this key show in what is left for this one.
                in_flight = table.execute(_IN_FLIGHT, (self._account, self.ticket)).fetchone()[0]
                cap = max(1, min(rate_limit.cap or SLOTS_MAX, SLOTS_MAX, in_flight))
            held_until = now + min(HOLD_SECONDS[1], max(HOLD_SECONDS[0], retry_after))
            table.execute(
                """INSERT INTO caps (account, cap, since, held_until) VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE
                SET cap = excluded.cap, since = excluded.since, held_until = max(held_until, excluded.held_until)""",
                (self._account, cap, now, held_until),
            )
            _set_state(table, self.ticket, _WAITING, now)
        self._acquired = False

    def _count(self) -> int:
        """Wait until one more create call may be sent, and return the number under which it counts."""
        while True:
            with self._writing() as (table, now):
                _limit_future_times(table, now)
                table.execute("DELETE FROM creates WHERE counts_until <= ?", (now,))
                count, first = table.execute(_COUNTED, (self._account,)).fetchone()
                held = max((row[2] for row in table.execute(_CAP, (self._account,))), default=now)
                if count < CREATES_MAX and held <= now:
                    add = "INSERT INTO creates (account, counts_until) VALUES (?, ?) RETURNING number"
                    values = (self._account, now + _POST_SECONDS + CREATES_SECONDS)
                    return int(table.execute(add, values).fetchall()[0][0])
            until = held if count < CREATES_MAX else max(held, first)
            self._wait(min(max(_POLL_SECONDS[0], until - now), _POLL_SECONDS[1]))

    def _answered(self, create: int) -> None:
        """Count the create call for one more minute. If that can't be written, it counts for longer, which does no harm."""
        try:
            with self._writing() as (table, now):
                until = now + CREATES_SECONDS
                table.execute("UPDATE creates SET counts_until = ? WHERE number = ?", (until, create))
        except Failure as failure:
            log.warning("a create call counts for longer than a minute: %s", failure.message)

    @contextmanager
    def _writing(self) -> Generator[tuple[sqlite3.Connection, float]]:
        # A power cut may undo it: no run is lost by that, and one too many would get a 429.
        with self._limits.database.writing(durable=False) as table:
            yield table, self._limits.clock()


def _cap(rows: Sequence[Sequence[float]], now: float) -> int:
    """Return the cap in force, from the rows of `_CAP`."""
    return min([SLOTS_MAX, *(int(cap + max(0.0, now - since) // RECOVERY_SECONDS) for cap, since, _ in rows)])


def _set_state(table: sqlite3.Connection, ticket: int, state: str, now: float) -> None:
    table.execute("UPDATE slots SET state = ?, since = ? WHERE ticket = ?", (state, now, ticket))


def _limit_future_times(table: sqlite3.Connection, now: float) -> None:
    """Limit times that lie in the future, after the clock was set back: they would count for as long as that."""
    table.execute("UPDATE slots SET since = ? WHERE since > ?", (now, now))
    table.execute("UPDATE caps SET since = ? WHERE since > ?", (now, now))
    latest = now + HOLD_SECONDS[1]
    table.execute("UPDATE caps SET held_until = ? WHERE held_until > ?", (latest, latest))
    latest = now + _POST_SECONDS + CREATES_SECONDS
    table.execute("UPDATE creates SET counts_until = ? WHERE counts_until > ?", (latest, latest))
