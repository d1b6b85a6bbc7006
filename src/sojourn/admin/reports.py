"""What the processes of an application tell the dashboard of themselves, through the store, while one asks.

`report(manager)` has a process say, every two seconds, what it counted, how long its own loads and commits took, and
when the store failed it. It says so in one record of the store, the board, which is nobody's session: its handle is
made from a name, and no id leads to it. Each process has a field of its own there, and so has each dashboard that asks.

Rules:
- While no dashboard asks, a process looks at the board every two seconds, measures nothing, and writes nothing.
- Nobody compares clocks of two machines: what does not change any more is of somebody who is gone. A process that died
  is not counted after ten seconds, and a dashboard takes its field away after a minute. The board itself runs out ten
  minutes after the last dashboard was closed.
- What is on the board is counted nowhere: neither among the commits, nor in the history.
- No handle, no user and no value is in a report.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import time
import weakref
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..blocking import SessionManager, run
from ..codec import Codec
from ..engine import Engine
from ..errors import DamagedRecord, SojournError, StoreError
from ..ids import mint_secret
from ..lanes import Job, Lanes
from ..manager import AsyncSessionManager
from ..policy import is_over
from ..record import Amendment, Assign, Change, Delta, Op, Record, Unset
from ..waiting import Background, Signal, ThreadWaiting
from .figures import COUNTED, Outage, Outages, bucket_of

__all__ = ["HANDLE", "Board", "Meter", "Report", "Reporting", "meter_of", "report", "reporting"]

log = logging.getLogger("sojourn")

HANDLE: Final = urlsafe_b64encode(sha256(b"sojourn dashboard reports").digest()[:18]).decode()
"""The handle of the board."""

ASKS: Final = "asks:"
"""What the name of a dashboard's field begins with. Its value is a number that changes while it asks."""

SAYS: Final = "says:"
"""What the name of a process's field begins with. Its value is a `Report`."""

EVERY: Final = 2.0
"""Seconds between two reports, and between two looks whether a dashboard asks."""

_ASKED_FOR: Final = 15.0  # seconds for which a dashboard has asked
_IDLE: Final = 600.0  # seconds after which the board runs out that nobody writes on
_ENDS: Final = 100 * 365 * 86400.0  # seconds
_TOLD: Final = 5  # outages in a report


class Seen(Struct, frozen=True):
    """An outage, as a process tells of it: by how long ago it was, as its clock may differ from ours."""

    ago: float
    """Seconds since it began."""
    lasted: float
    why: str


class Report(Struct, frozen=True, kw_only=True):
    """What a process says of itself."""

    number: int
    """It grows with each report."""
    counts: dict[str, int]
    """By the names of `COUNTED`, since the process began."""
    took: dict[int, int]
    """How long its loads and commits took, since it was asked: how many, by `figures.bucket_of`."""
    outages: list[Seen]
    sockets: int | None = None
    watched: dict[str, int] = {}
    """How many sockets and pages the sessions have that a dashboard asks about, by their handles."""

    def packed(self) -> dict[str, Any]:
        """As a value of a session."""
        return {**msgspec.to_builtins(self), "took": [list(pair) for pair in self.took.items()]}

    @classmethod
    def unpacked(cls, value: object) -> Report | None:
        """The report in a value; None if it is none, or one of another version."""
        if not isinstance(value, dict):
            return None
        try:
            took = msgspec.convert(value.get("took"), list[tuple[int, int]])
            return msgspec.convert({**value, "took": dict(took)}, cls)
        except (msgspec.ValidationError, TypeError):
            return None

    def outages_at(self, now: float) -> list[Outage]:
        """Its outages, by the clock of who reads this now."""
        return [Outage(now - seen.ago, now - seen.ago + seen.lasted, seen.why) for seen in self.outages]


# --- The board --------------------------------------------------------------------------------------------------------


class Board:
    """The record in which processes report. One process's way to it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        engine.set_apart(HANDLE)
        self._codec = Codec()
        # Lanes of its own: what is written here is in no count, and never in the history.
        config = dataclasses.replace(engine.config, record_changes=False, same_key="overwrite")
        self._lanes = Lanes(engine.store, self._codec, config, engine.waiting, engine.clock, _nobody, Counter())

    async def load(self) -> Record | None:
        """What is on it; None if there is none. Raises `StoreError`."""
        record = await self._engine.store.load(HANDLE)
        return None if record is None or is_over(record, self._engine.clock()) else record

    def read(self, record: Record, beginning: str) -> dict[str, Any]:
        """The values of the fields whose names begin so, by the rest of their names. One that cannot be decoded is left
        out."""
        found = {}
        for name, data in record.fields.items():
            if name.startswith(beginning):
                try:
                    found[name.removeprefix(beginning)] = self._codec.decode(name, data)
                except ValueError:
                    log.info("what a process said of itself cannot be read, and is passed over")
        return found

    async def make(self) -> None:
        """Make it; nothing happens if it is there. Raises `SojournError`."""
        lasting = Amendment(idle_timeout=_IDLE, absolute_timeout=_ENDS, label="dashboard: reports of processes")
        await self._engine.add(HANDLE, mint_secret(), {}, lasting)

    async def put(self, record: Record, values: Mapping[str, Any]) -> Record:
        """Write fields (None: take it away), whatever others write; the board as it is then. Raises `SessionGone` if
        there is none any more, and whatever a commit raises."""
        local = {name: None if value is None else self._codec.encode(name, value) for name, value in values.items()}
        ops: dict[str, tuple[Op, ...]] = {
            name: (Unset() if data is None else Assign(data),) for name, data in local.items()
        }
        job = Job(record, Delta(record.fields, ops, local), None, time.monotonic() + self._engine.config.deadline)
        return await self._lanes.commit(job)


def _nobody(told: Iterable[Change]) -> None:
    """Who is told of the board's own facts."""


# --- How long this process's loads and commits take -------------------------------------------------------------------


class Meter:
    """How long the loads and commits of a manager take, while anybody wants to know."""

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)  # which keeps us: together they would be kept for ever
        self._users = 0
        self.took: dict[int, int] = {}
        """How many took how long since it was made, by `figures.bucket_of`. It only grows."""

    @property
    def in_use(self) -> bool:
        """Whether anybody wants to know."""
        return self._users > 0

    def begin(self) -> None:
        """Somebody wants to know."""
        self._users += 1
        if self._users == 1:
            self._have(self._note)

    def end(self) -> None:
        """Somebody does not want to know any more."""
        self._users -= 1
        if not self._users:
            self._have(None)

    def _have(self, note: Callable[[float], None] | None) -> None:
        engine = self._engine()
        if engine is not None:
            engine.measure(note)

    def _note(self, seconds: float) -> None:
        bucket = bucket_of(seconds)
        self.took[bucket] = self.took.get(bucket, 0) + 1


_meters: weakref.WeakKeyDictionary[Engine, Meter] = weakref.WeakKeyDictionary()


def meter_of(engine: Engine) -> Meter:
    """The meter of a manager; one for all who want to know."""
    if engine not in _meters:
        _meters[engine] = Meter(engine)
    return _meters[engine]


# --- Reporting --------------------------------------------------------------------------------------------------------


class Reporting:
    """A process that reports. Made by `report`."""

    def __init__(self, engine: Engine, sockets: Callable[[], int] | None) -> None:
        self._engine = engine
        self._sockets = sockets
        self._board = Board(engine)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.name = secrets.token_hex(6)
        """The process's name on the board."""
        self._outages = Outages()
        self._asks: dict[str, Any] = {}
        self._asked_at: float | None = None
        self._meter: Meter | None = None
        self._number = 0
        self._signal: Signal | None = None
        self._work: Background | None = None

    @property
    def sockets(self) -> int:
        """How many sockets and pages are open in this process."""
        return self._engine.watchers() if self._sockets is None else self._sockets()

    def start(self) -> None:
        """Look, from now on, whether a dashboard asks. Starting twice is once."""
        if self._work is None:
            self._signal = signal = self._engine.waiting.signal()
            self._work = self._engine.waiting.start(lambda: self._serve(signal), "sojourn-report")

    def stop(self) -> None:
        """Report no more; from any thread. That of a blocking manager has ended when this returns; for a task there is
        `stopped`. Stopping twice is once."""
        if self._signal is not None:
            self._signal.set()
        if self._work is not None and isinstance(self._engine.waiting, ThreadWaiting):
            run(self._work.finished())

    async def stopped(self) -> None:
        """Stop, and wait until it has."""
        if self._signal is not None:
            self._signal.set()
        if self._work is not None:
            await self._work.finished()

    def forked(self) -> None:
        """In the child of a fork: who worked is not here. A thread begins anew; a task's event loop is the parent's."""
        working = self._work is not None
        self._begin_anew()
        if working and isinstance(self._engine.waiting, ThreadWaiting):
            self.start()

    # --- The work -----------------------------------------------------------------------------------------------------

    async def _serve(self, stop: Signal) -> None:
        try:
            while not await stop.wait(EVERY) and not self._engine.closed:
                try:
                    await self._turn()
                except StoreError as error:
                    self._failed(error)
                except SojournError as error:  # the board was ended meanwhile, or is full: another turn comes
                    log.info("a process could not report: %s", error)
        finally:
            self._measure(on=False)
            if _reporting.get(self._engine) is self:
                del _reporting[self._engine]

    async def _turn(self) -> None:
        """Look at the board, and report if a dashboard asks."""
        engine = self._engine
        record = await self._board.load()
        self._outages.answered(engine.clock())
        asks = {} if record is None else self._board.read(record, ASKS)
        if any(self._asks.get(name) != number for name, number in asks.items()):
            self._asked_at = time.monotonic()
        self._asks = asks
        asked = bool(asks) and self._asked_at is not None and time.monotonic() - self._asked_at < _ASKED_FOR
        self._measure(on=asked)
        mine = SAYS + self.name
        if record is not None and asked:
            await self._board.put(record, {mine: self._said().packed()})
        elif record is not None and mine in record.fields:
            await self._board.put(record, {mine: None})

    def _said(self) -> Report:
        self._number += 1
        now = self._engine.clock()
        seen = [one for one in self._outages.reading() if one.ended is not None][-_TOLD:]
        return Report(
            number=self._number,
            counts={name: self._engine.counts[name] for name in COUNTED},
            took={} if self._meter is None else dict(self._meter.took),
            outages=[Seen(now - one.began, (one.ended or now) - one.began, one.why) for one in seen],
            sockets=self.sockets,
            watched={handle: count for handle in self._about() if (count := self._engine.watchers(handle))},
        )

    def _about(self) -> set[str]:
        """The handles that dashboards ask about."""
        asked = [ask[1] for ask in self._asks.values() if type(ask) is list and len(ask) == 2]
        return {handle for handles in asked if type(handles) is list for handle in handles if type(handle) is str}

    def _measure(self, *, on: bool) -> None:
        if on and self._meter is None:
            self._meter = meter_of(self._engine)
            self._meter.begin()
        elif not on and self._meter is not None:
            self._meter.end()
            self._meter = None

    def _failed(self, error: StoreError) -> None:
        if isinstance(error, DamagedRecord):
            log.info("a process cannot report, as what they all write is damaged; it runs out by itself: %s", error)
        elif not self._engine.closed:
            self._outages.failed(self._engine.clock(), str(error))


_reporting: weakref.WeakKeyDictionary[Engine, Reporting] = weakref.WeakKeyDictionary()


def report(manager: AsyncSessionManager | SessionManager, *, sockets: Callable[[], int] | None = None) -> Reporting:
    """Have this process tell a dashboard that runs in another one (``sojourn dashboard URL``, or another worker of the
    same site) what it counts: commits, merges, conflicts, refused ids, how long its loads and commits take, and when
    the store failed it. Call it once in each process that serves sessions: for an `AsyncSessionManager` in its event
    loop, as the application starts; for a `SessionManager` anywhere, also before a fork.

    It works in the background: a look at the store every two seconds, and only while a dashboard is open a small write.
    It ends with `Reporting.stop`, or when the manager is closed. ``sockets`` returns how many WebSockets are open in
    this process; without it those count that belong to a session, and sessions with open pages of a live app. A second
    call for a manager returns the first's reporting. Where the store does not answer, that is told when it does again;
    nothing is raised."""
    engine = manager.engine if isinstance(manager, SessionManager) else manager
    if engine not in _reporting:
        _reporting[engine] = Reporting(engine, sockets)
    _reporting[engine].start()
    return _reporting[engine]


def reporting(engine: Engine) -> Reporting | None:
    """Who reports for a manager in this process; None: nobody does."""
    return _reporting.get(engine)


def _after_fork() -> None:
    for one in list(_reporting.values()):
        one.forked()


os.register_at_fork(after_in_child=_after_fork)
