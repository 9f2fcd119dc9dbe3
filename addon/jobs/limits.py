# SPDX-License-Identifier: GPL-3.0-or-later
"""How many runs may be in flight, and how many may be created a minute: over all Blenders of this user, per key. No bpy.

Who asks first is served first. The figures are from the brief of Eachlabs, 100 creates a minute and 10 runs in flight per
key; its newer documentation has lower caps for an account with a low balance, which a 429 names.
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
"""After so long without a 429 the cap is one higher, and again: to try it out costs one refusal a minute at most."""
ORPHAN_SECONDS = 120.0
"""So long the run of a Blender that died still counts: one takes 5 s, with a cold start of the model a minute or two. One
that takes longer shows itself by a 429, which creates nothing.
"""
HOLD_SECONDS = (1.0, 60.0)
"""For how long, at least and at most, a 429 keeps everyone from creating; its `Retry-After` says for how long."""

# By then a create has reached the service, if its answer has not said so earlier.
_POST_SECONDS = 60.0

# Who waits looks as often as there is hope: the first in line every 0.1 s, the tenth every second.
_LOOK_SECONDS = (0.1, 2.0)

# A flight waits for its place, or has one: then its run is in flight, or is about to be, or may be.
_WAITING, _ACQUIRED = "waiting", "flying"

_AHEAD = "SELECT count(*) FROM slots WHERE account = ? AND (state != 'waiting' OR ticket < ?)"
_IN_FLIGHT = "SELECT count(*) FROM slots WHERE account = ? AND state != 'waiting' AND ticket != ?"
_COUNTED = "SELECT count(*), min(counts_until) FROM creates WHERE account = ?"
_CAP = "SELECT cap, since, held_until FROM caps WHERE account = ?"

Wait = Callable[[float], None]
"""Waits so many seconds; raises Cancelled where nobody wants it any more."""


def account_of(key: str, base_url: str) -> str:
    """What stands for a key in the journal: a digest, from which the key can't be had back."""
    return hashlib.blake2b(f"{base_url}\n{key}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Limits:
    """One for all jobs of this Blender. `clock` tells seconds since the epoch, the same in all processes."""

    def __init__(self, file: Database, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self.clock = clock
        self._lock = threading.Lock()
        self._looked_for_dead = -math.inf
        self._released: set[int] = set()

    @contextmanager
    def slot(self, account: str, run: str, wait: Wait, *, under_way: bool = False) -> Generator["Slot"]:
        """The time in which a run is, or may be, in flight. Waits for its turn, unless it is `under_way` already.

        run  names it over all Blenders and for ever: a job's id with the numbers of window and take. Who goes on with
             the run of a Blender that died takes over its place.

        Raises what `wait` raises, and Failure("files").
        """
        self._release()
        with self.file.writing(lasting=False) as table:
            _mend_clock(table, now := self.clock())
            found = table.execute(
                """INSERT INTO slots (account, run, owner, state, since) VALUES (?, ?, ?, ?, ?) ON CONFLICT (account, run)
                DO UPDATE SET owner = excluded.owner, state = excluded.state, since = excluded.since RETURNING ticket""",
                (account, run, self.file.owner_id, _ACQUIRED if under_way else _WAITING, now),
            ).fetchall()
        slot = Slot(self, account, found[0][0], wait, placed=under_way)
        with self._lock:
            # It may be the same run's once more.
            self._released.discard(slot.ticket)
        try:
            slot.acquire()
            yield slot
        finally:
            with self._lock:
                self._released.add(slot.ticket)
            self._release()

    def cap(self, account: str) -> int:
        """How many runs of the account may be in flight just now."""
        return _cap(self.file.rows(_CAP, (account,)), self.clock())

    def remove_dead(self) -> None:
        """Takes those out of the line who died in it; a run that they left in flight still counts for a while."""
        now = self.clock()
        with self._lock:
            if abs(now - self._looked_for_dead) < _LOOK_SECONDS[1]:
                return
            self._looked_for_dead = now
        owners = [row[0] for row in self.file.rows("SELECT DISTINCT owner FROM slots")]
        rows = [(owner, _WAITING, now - ORPHAN_SECONDS) for owner in owners if self.file.is_free(owner)]
        if rows:
            with self.file.writing(lasting=False) as table:
                table.executemany("DELETE FROM slots WHERE owner = ? AND (state = ? OR since <= ?)", rows)

    def _release(self) -> None:
        """Gives places back. Where that fails, it is done later: how a run ended isn't to be changed by it."""
        with self._lock:
            landed = list(self._released)
        if not landed:
            return
        try:
            with self.file.writing(lasting=False) as table:
                table.executemany("DELETE FROM slots WHERE ticket = ?", [(ticket,) for ticket in landed])
        except Failure as failure:
            log.warning("a place for a run is given back later: %s", failure.message)
            return
        with self._lock:
            self._released.difference_update(landed)


class Slot:
    """One run's turn; made by `Limits.flight`, for one thread."""

    def __init__(self, limits: Limits, account: str, ticket: int, wait: Wait, *, placed: bool) -> None:
        self.ticket = ticket
        self._limits = limits
        self._account = account
        self._wait = wait
        self._placed = placed

    def acquire(self) -> None:
        """Waits until there is a place for one more run, and whoever came before has one."""
        while not self._placed:
            # Most who ask have to wait: they look without a lock on the file.
            ahead = self._limits.file.rows(_AHEAD, (self._account, self.ticket))[0][0]
            behind = ahead - self._limits.cap(self._account)
            if behind < 0:
                # Whoever came later sees this one ahead of it, so nobody can have taken the place by now.
                with self._writing() as (table, now):
                    _set_state(table, self.ticket, _ACQUIRED, now)
                self._placed = True
                return
            self._limits.remove_dead()
            self._wait(min(_LOOK_SECONDS[0] * max(1, behind + 1), _LOOK_SECONDS[1]))

    @contextmanager
    def creating(self) -> Generator[None]:
        """Around each POST that creates the run: waits until it may be sent, and counts it until a minute after its end.

        An exception leaves the place to the run, which may have been created all the same, unless it was `refused`.
        """
        self.acquire()
        create = self._count()
        try:
            yield
        finally:
            self._answered(create)

    def refused(self, said: str = "", after: float = 0.0) -> None:
        """A 429 came: nothing was created. The next `creating` waits for its turn again, before all who came later.

        said   what the answer said of it, in its `error`, `message` and `details`
        after  seconds that its `Retry-After` asked for
        """
        refusal = RateLimit.read(said)
        with self._writing() as (table, now):
            cap = _cap(table.execute(_CAP, (self._account,)).fetchall(), now)
            if refusal.of_concurrency:
                # What others fly with this key, on another machine, shows in what is left to this one.
                in_flight = table.execute(_IN_FLIGHT, (self._account, self.ticket)).fetchone()[0]
                cap = max(1, min(refusal.cap or SLOTS_MAX, SLOTS_MAX, in_flight))
            held_until = now + min(HOLD_SECONDS[1], max(HOLD_SECONDS[0], after))
            table.execute(
                """INSERT INTO caps (account, cap, since, held_until) VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE
                SET cap = excluded.cap, since = excluded.since, held_until = max(held_until, excluded.held_until)""",
                (self._account, cap, now, held_until),
            )
            _set_state(table, self.ticket, _WAITING, now)
        self._placed = False

    def _count(self) -> int:
        """Waits until one more create may be sent; returns the number under which it counts."""
        while True:
            with self._writing() as (table, now):
                _mend_clock(table, now)
                table.execute("DELETE FROM creates WHERE counts_until <= ?", (now,))
                count, first = table.execute(_COUNTED, (self._account,)).fetchone()
                held = max((row[2] for row in table.execute(_CAP, (self._account,))), default=now)
                if count < CREATES_MAX and held <= now:
                    add = "INSERT INTO creates (account, counts_until) VALUES (?, ?) RETURNING number"
                    values = (self._account, now + _POST_SECONDS + CREATES_SECONDS)
                    return int(table.execute(add, values).fetchall()[0][0])
            until = held if count < CREATES_MAX else max(held, first)
            self._wait(min(max(_LOOK_SECONDS[0], until - now), _LOOK_SECONDS[1]))

    def _answered(self, create: int) -> None:
        """Where it can't be written down, the create counts for longer than it need: nothing to lose its answer for."""
        try:
            with self._writing() as (table, now):
                until = now + CREATES_SECONDS
                table.execute("UPDATE creates SET counts_until = ? WHERE number = ?", (until, create))
        except Failure as failure:
            log.warning("a create counts for longer than a minute: %s", failure.message)

    @contextmanager
    def _writing(self) -> Generator[tuple[sqlite3.Connection, float]]:
        # A power cut may take it back: no run is lost by that, and one too many would be refused.
        with self._limits.file.writing(lasting=False) as table:
            yield table, self._limits.clock()


def _cap(rows: Sequence[Sequence[float]], now: float) -> int:
    """The cap in force, from what `_CAP` finds."""
    return min([SLOTS_MAX, *(int(cap + max(0.0, now - since) // RECOVERY_SECONDS) for cap, since, _ in rows)])


def _set_state(table: sqlite3.Connection, ticket: int, state: str, now: float) -> None:
    table.execute("UPDATE slots SET state = ?, since = ? WHERE ticket = ?", (state, now, ticket))


def _mend_clock(table: sqlite3.Connection, now: float) -> None:
    """The clock may have been set back: what lies ahead of it would count for as long as that."""
    table.execute("UPDATE slots SET since = ? WHERE since > ?", (now, now))
    table.execute("UPDATE caps SET since = ? WHERE since > ?", (now, now))
    latest = now + HOLD_SECONDS[1]
    table.execute("UPDATE caps SET held_until = ? WHERE held_until > ?", (latest, latest))
    latest = now + _POST_SECONDS + CREATES_SECONDS
    table.execute("UPDATE creates SET counts_until = ? WHERE counts_until > ?", (latest, latest))
