"""On SQLite, one writer: load, change one key, commit; at `power` (WAL+FULL) and `process` (WAL+NORMAL).

Every contender has a database file of its own in a temporary folder on a real disk. 16 sessions go round,
so that even at 64 KB each they fit everybody's page cache: what is measured is the writing. diskcache runs
at the same `synchronous` as the others. Checkpoints fall where each contender has them.

A write-ahead log that grows costs twice as much a sync as one that is used anew, as the file's size is written
too. Each contender first writes enough for a log of SQLite's usual size (1,000 pages) to be used anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import floors, ours, peers, writers
from .contender import Contender, jobs
from .payloads import ALL, Payload
from .report import Section, Table, Verdict, microseconds, times
from .timing import Driver, Samples, calls_for, in_turns

CONTENDERS: tuple[Any, ...] = (
    floors.NaiveSqlite,
    floors.CorrectSqlite,
    floors.BlobSqlite,
    *peers.SQLITE,
    *ours.SQLITE,
)
LEVELS = {"power": "power (WAL+FULL)", "process": "process (WAL+NORMAL)"}
SESSIONS = 16
PAGE = 4096


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: dict[str, int]
    """By level."""
    seconds: dict[str, float]
    """Time in one round of one contender, by level."""
    log_pages: int
    """About so many pages go through each log before anything is measured."""
    concurrent_seconds: float
    """Time that 64 writers, or 8 processes, have."""


# A disk drifts by the second: at `power`, many short rounds, so that those who are compared are close together.
FULL = Effort({"power": 41, "process": 11}, {"power": 0.03, "process": 0.1}, 2_000, concurrent_seconds=4.5)
QUICK = Effort({"power": 9, "process": 7}, {"power": 0.01, "process": 0.01}, 100, concurrent_seconds=0.9)


def bench(*, quick: bool) -> Section:
    """One writer, then many."""
    effort = QUICK if quick else FULL
    section = Section("sqlite")
    found: dict[str, dict[str, Samples]] = {}
    with Driver() as driver:
        for level in LEVELS:
            found[level] = {payload.name: _measure(driver, payload, level, effort) for payload in ALL}
            section.tables.append(_table(level, found[level]))
    section.figures["change_seconds"] = {
        level: {name: cell.medians() for name, cell in cells.items()} for level, cells in found.items()
    }
    section.verdicts += _verdicts(found)
    with scratch() as folder:
        writers.threads(section, folder, effort.concurrent_seconds)
        writers.processes(section, folder, effort.concurrent_seconds)
    return section


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, removed whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(driver: Driver, payload: Payload, level: str, effort: Effort) -> Samples:
    """The seconds of a change for each contender."""
    with scratch() as folder:
        worlds: dict[str, _World] = {}
        try:
            for kind in CONTENDERS:
                path = str(folder / f"{kind.__name__}.db")
                worlds[kind.name] = _World(driver, kind(payload, path, level), payload)
            for world in worlds.values():
                world.warm(effort.seconds[level], effort.log_pages)
            return in_turns(effort.rounds[level], {name: world.round for name, world in worlds.items()})
        finally:
            for world in worlds.values():
                driver.close(world.contender)


class _World:
    """One contender with its sessions on disk."""

    def __init__(self, driver: Driver, contender: Contender, payload: Payload) -> None:
        self._driver = driver
        self._payload = payload
        self._calls = SESSIONS
        self._done = 0
        self.contender = contender
        self._ids = driver.each(contender, "create", [(payload.build(n),) for n in range(SESSIONS)])

    def warm(self, seconds: float, log_pages: int) -> None:
        """Fill the log, check that what was last written is there, and set how many calls fill the time."""
        self._calls = max(SESSIONS, log_pages // (1 + self._payload.check() // PAGE))
        self.round()
        last = self._payload.value(self._done - 1)
        [kept] = self._driver.each(self.contender, "load", [(self._ids[(self._calls - 1) % SESSIONS],)])
        assert kept[self._payload.change] == last, f"{self.contender.name} lost a write"
        self._calls = SESSIONS
        self._calls = calls_for(seconds, self.round(), SESSIONS, 20_000)

    def round(self) -> float:
        """Seconds a change in one round. What earlier rounds left unwritten is written first, so that nobody pays for
        another's debts."""
        os.sync()
        arguments = jobs(self.contender, self._payload, self._ids, self._calls, self._done)
        self._done += self._calls
        return self._driver.mean(self.contender, "change", arguments)


def _table(level: str, cells: dict[str, Samples]) -> Table:
    """Times, and each contender against the correct floor and against Sojourn."""
    columns = [f"one writer, {LEVELS[level]}"]
    for payload in cells:
        columns += [f"{payload}: us", "x correct", "x of Sojourn"]
    floor, own = floors.CorrectSqlite.name, ours.SqliteSojourn.name
    rows = []
    for kind in CONTENDERS:
        row = [kind.name]
        for cell in cells.values():
            row += [
                microseconds(cell.median(kind.name)),
                times(cell.lead(kind.name, floor)),
                times(cell.lead(kind.name, own)),
            ]
        rows.append(row)
    note = (
        "x correct: times as fast as the correct floor; x of Sojourn: times as fast as Sojourn. Naive "
        "and diskcache lose updates; diskcache writes C to a file of its own, unsynced."
    )
    return Table("SQLite: load + change one + commit", columns, rows, note)


def _verdicts(found: dict[str, dict[str, Samples]]) -> list[Verdict]:
    """What the project wants of one writer."""
    own = ours.SqliteSojourn.name
    verdicts = []
    for payload, cell in found["power"].items():
        for floor in (floors.NaiveSqlite.name, floors.CorrectSqlite.name):
            over = cell.lead(floor, own) - 1
            wanted = f"power {payload}: within 25% of {floor}"
            verdicts.append(Verdict(wanted, f"{over:+.0%}", over <= 0.25))
    for payload in ("B", "C"):
        cell = found["process"][payload]
        rivals = [(kind.name, 2.0) for kind in peers.SQLITE]
        rivals += [(floors.NaiveSqlite.name, 1.3), (floors.CorrectSqlite.name, 1.3)]
        for rival, least in rivals:
            lead = cell.lead(own, rival)
            wanted = f"process {payload}: at least {least} times {rival}"
            verdicts.append(Verdict(wanted, times(lead), lead >= least))
    return verdicts
