"""The pulse: follows what goes on in a store, for the overview, while somebody looks.

    facts      of the life of sessions, from the history as far back as it goes, and then as they happen
    commits    as many as the feed tells of
    probes     a small load once a second: does the store answer, and how soon
    stats      what the store says of its size, every ten seconds
    reports    what processes say of themselves (reports.py); the load of their board is the probe

Rules: between `start` and `stop` it works, and at no other time. What it asks of the store in a second is the same for
a hundred sessions and for a million: it never lists them. What it keeps is bounded. A store that fails it is what it
tells of; nothing of that is raised.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final

from ..engine import Engine
from ..errors import DamagedRecord, SessionGone, SojournError, StoreError
from ..record import Record
from ..store import Stats
from ..watching import Watch
from .figures import (
    Histogram,
    Latencies,
    Minutes,
    Outage,
    Outages,
    Overview,
    Slope,
    Totals,
    bucket_of,
    increase,
    percentile,
    together,
)
from .reports import ASKS, HANDLE, SAYS, Board, Meter, Report, meter_of, reporting

__all__ = ["Pulse"]

log = logging.getLogger("sojourn")

_PROBE: Final = 1.0  # seconds between two probes
_STATS: Final = 2.0  # seconds between two looks at the size
_ASK: Final = 5.0  # seconds between two times that processes are asked to report
_DRAIN: Final = 0.2  # seconds between two times that facts are taken
_CATCH_UP: Final = 0.01  # seconds between two pages of the past, in which others of the event loop work
_AT_ONCE: Final = 500  # facts taken at a time
_GONE: Final = 10.0  # seconds without a new report after which a process is not counted any more
_BURIED: Final = 60.0  # seconds after which its field is taken from the board


class _Process:
    """What another process said last."""

    def __init__(self) -> None:
        self.report: Report | None = None
        self.changed_at = time.monotonic()
        self.alive = False


class Pulse:
    """Follows the sessions of a manager: ``engine``, an asynchronous one. ``counted`` are the managers of this process
    that serve these sessions to visitors, whatever their world: what they count is counted without the store; the
    engine is one of them if it is named there. ``clock`` is for tests.

    `start` and `stop` in one event loop; `reading` in any thread, at any time, also when it is stopped: then it is what
    was known last."""

    def __init__(self, engine: Engine, counted: Sequence[Engine] = (), clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._counted = tuple(dict.fromkeys(counted))
        self._clock = clock
        self._name = secrets.token_hex(6)  # of this dashboard, on the board
        self._asked = 0
        self._about: frozenset[str] = frozenset()
        self._asked_at: float | None = None
        self._board = Board(engine)
        self._tasks: list[asyncio.Task[None]] = []
        self._minutes = Minutes()
        self._rate = Slope(60.0, 1.0)
        self._sessions = Slope(3600.0, 60.0)
        self._bytes = Slope(3600.0, 60.0)
        self._stats: Stats | None = None
        self._probes = Latencies()
        self._taken = Latencies()
        self._outages = Outages()
        self._totals = Totals()
        self._processes: dict[str, _Process] = {}
        self._took: dict[str, Histogram] = {}
        self._meters: list[tuple[str, Meter]] = []
        self._heard = 0
        self._commits_since: float | None = None
        self._board_is_there = False
        self._followed = asyncio.Event()

    # --- Coming and going --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Follow from now on. Returns when the feed tells of commits and the store was asked for the first time, or
        cannot be. Starting twice is once."""
        if self._tasks:
            return
        for number, engine in enumerate(self._counted):
            meter = meter_of(engine)
            meter.begin()
            self._meters.append((f"here:{number}", meter))
            self._took[f"here:{number}"] = dict(meter.took)
        self._tasks = [
            asyncio.create_task(_kept_up(work, name), name=name)
            for work, name in (
                (self._follow, "sojourn-pulse-facts"),
                (self._probe_on, "sojourn-pulse-probe"),
                (self._weigh_on, "sojourn-pulse-stats"),
            )
        ]
        await self._probe()
        await self._weigh()
        if self._outages.well:
            await self._followed.wait()

    async def stop(self) -> None:
        """Follow no more; what is known stays. The processes are no longer asked to report. Stopping twice is once."""
        tasks, self._tasks = self._tasks, []
        self._followed.clear()
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        await asyncio.wait(tasks)
        for _, meter in self._meters:
            meter.end()
        self._meters = []
        await self._write({ASKS + self._name: None})
        self._asked_at = None

    # --- What is known -----------------------------------------------------------------------------------------------

    def reading(self) -> Overview:
        """All figures, as of now."""
        now = self._clock()
        minutes = self._minutes.reading(now)
        alive = [one for one in self._processes.values() if one.alive and one.report is not None]
        reports = [one.report for one in alive if one.report is not None]
        counts = self._totals.reading()
        sockets = [one.sockets for one in reports if one.sockets is not None]
        for engine in self._counted:
            own = reporting(engine)
            sockets.append(engine.watchers() if own is None else own.sockets)
        seen: list[Outage] = [*self._outages.reading()]
        for one in reports:
            seen += one.outages_at(now)
        processes = len(reports) + bool(self._counted)
        taken, probes = self._taken.reading(now), self._probes.reading(now)
        shown, source = (
            (taken, f"loads and commits of {_processes(processes)}, last 2 minutes")
            if taken
            else (probes, "a small load each second by the dashboard, last 2 minutes")
        )
        stats = self._stats
        return Overview(
            at=now,
            sessions=None if stats is None else max(stats.sessions - self._board_is_there, 0),
            bytes=None if stats is None else stats.bytes,
            growth_per_hour=self._sessions.per(3600),
            bytes_per_hour=self._bytes.per(3600),
            heard_per_minute=self._rate.per(60) or 0.0,
            minutes=minutes,
            since=self._minutes.since,
            commits_since=self._commits_since,
            overwritten=sum(minute.overwritten for minute in minutes),
            merged=counts["merged"],
            conflicts=counts["conflicts"],
            refused=counts["refused"],
            unavailable=counts["unavailable"],
            processes=processes,
            latency_p50=percentile(shown, 0.5),
            latency_p99=percentile(shown, 0.99),
            latency_source=source,
            outages=together(seen),
            well=self._outages.well,
            why=self._outages.why,
            sockets=sum(sockets) if sockets else None,
        )

    def ask_about(self, handles: Collection[str]) -> None:
        """Ask processes how many sockets and pages these sessions have, from now on."""
        if self._about != frozenset(handles):
            self._about = frozenset(handles)
            self._asked_at = None  # with the next probe

    def sockets_of(self, handle: str) -> int | None:
        """How many sockets and pages a session has that is asked about, in the processes that report, this one
        included; None where none does. What other processes say is some seconds old."""
        said = [one.report.watched.get(handle, 0) for one in self._processes.values() if one.alive and one.report]
        said += [engine.watchers(handle) for engine in self._counted]
        return sum(said) if said else None

    # --- Facts and commits -------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Take facts, the past first, and count commits."""
        watch: Watch | None = None
        try:
            while not self._engine.closed:
                more = False
                try:
                    if watch is None:
                        watch = await self._engine.facts(since=0)
                        self._begin()
                    more = await self._drain(watch)
                except StoreError as error:
                    log.debug("the facts cannot be followed: %s", error)  # the probe tells of it
                self._count()
                self._followed.set()
                await asyncio.sleep(_CATCH_UP if more else _DRAIN)
        finally:
            if watch is not None:
                await watch.close()

    def _begin(self) -> None:
        """The facts are told from the oldest on, and commits from now on."""
        self._minutes.forget_facts()
        self._rate = Slope(60.0, 1.0)
        self._heard, self._commits_since = self._engine.heard, self._clock()
        self._rate.add(self._commits_since, self._heard)

    async def _drain(self, watch: Watch) -> bool:
        """Take what facts there are, some at a time. Returns whether there are more."""
        for _ in range(_AT_ONCE):
            change = await watch.next(0)
            if change is None:
                self._engine.keep_watching()
                return False
            if change.handle != HANDLE:
                self._minutes.told(change, self._clock())
        return True

    def _count(self) -> None:
        """Count commits."""
        now, heard = self._clock(), self._engine.heard
        self._minutes.committed(max(heard - self._heard, 0), now)
        self._rate.add(now, heard)
        self._heard = heard

    # --- Probes, and what processes say ------------------------------------------------------------------------------

    async def _probe_on(self) -> None:
        while not self._engine.closed:
            await asyncio.sleep(_PROBE)
            await self._probe()

    async def _probe(self) -> None:
        """Ask the store for the board: whether it answers, how soon, and what is there."""
        asked_at, began = self._clock(), time.perf_counter()
        try:
            record = await self._board.load()
        except DamagedRecord as error:  # the store answers well enough
            log.info("what processes say of themselves is damaged, and runs out by itself: %s", error)
            record = None
        except StoreError as error:
            self._outages.failed(asked_at, str(error))
            return
        now = self._clock()
        self._outages.answered(now)
        self._probes.add({bucket_of(time.perf_counter() - began): 1}, now)
        self._read(record, now)
        if self._asked_at is None or time.monotonic() - self._asked_at >= _ASK or record is None:
            self._asked_at = time.monotonic()
            await self._ask(record)

    def _read(self, record: Record | None, now: float) -> None:
        """Take what processes said, this one included."""
        self._board_is_there = record is not None
        for engine, (name, meter) in zip(self._counted, self._meters, strict=False):  # none, before the start
            self._note(name, engine.counts, meter.took, now)
        own = {one.name for engine in self._counted if (one := reporting(engine)) is not None}
        said = {} if record is None else self._board.read(record, SAYS)
        for name in said.keys() - own:
            report = Report.unpacked(said[name])
            process = self._processes.setdefault(name, _Process())
            if report is not None and (process.report is None or report.number != process.report.number):
                # What was there before we looked may be of one that is gone: it counts when it speaks again.
                process.alive = process.report is not None or report.number == 1
                process.report, process.changed_at = report, time.monotonic()
                if process.alive:
                    self._note(name, report.counts, report.took, now)
                else:
                    self._took[name] = report.took
        for name, process in list(self._processes.items()):
            if name not in said or time.monotonic() - process.changed_at > _GONE:
                process.alive = False
            if name not in said:
                del self._processes[name]
                self._totals.forget(name)
                self._took.pop(name, None)

    def _note(self, name: str, counts: Mapping[str, int], took: Histogram, now: float) -> None:
        self._totals.note(name, counts)
        self._taken.add(increase(self._took.get(name, {}), took), now)
        self._took[name] = dict(took)

    async def _ask(self, record: Record | None) -> None:
        """Ask processes to report, and take away what the dead left."""
        try:
            if record is None:
                await self._board.make()
                self._board_is_there = True
        except SojournError as error:
            log.debug("processes cannot be asked to report: %s", error)  # a store that fails is told by the probe
            return
        self._asked += 1
        now = time.monotonic()
        dead = [name for name, process in self._processes.items() if now - process.changed_at > _BURIED]
        await self._write(
            {ASKS + self._name: [self._asked, sorted(self._about)], **{SAYS + name: None for name in dead}}
        )

    async def _write(self, values: Mapping[str, Any]) -> None:
        """Write on the board, if it is there."""
        try:
            record = await self._board.load()
            if record is not None:
                await self._board.put(record, values)
        except SessionGone:  # it was ended just now: the next probe finds that, and another is made
            self._asked_at = None
        except SojournError as error:
            log.debug("processes cannot be asked to report: %s", error)  # a store that fails is told by the probe

    # --- Size --------------------------------------------------------------------------------------------------------

    async def _weigh_on(self) -> None:
        while not self._engine.closed:
            await asyncio.sleep(_STATS)
            await self._weigh()

    async def _weigh(self) -> None:
        """Ask the store for its size."""
        try:
            stats = await self._engine.store.stats()
        except StoreError as error:
            log.debug("the store does not say how large it is: %s", error)  # the probe tells of it
            return
        now = self._clock()
        self._stats = stats
        self._sessions.add(now, stats.sessions)
        if stats.bytes is not None:
            self._bytes.add(now, stats.bytes)


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"


async def _kept_up(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Work that goes on, whatever happens: a fault of ours is logged, and the figures go on with the next try."""
    while True:
        try:
            await work()
        except Exception:  # a fault of ours must not leave the operator with figures that stand still
            log.exception("%s failed, and begins anew", name)
            await asyncio.sleep(_STATS)
        else:
            return
