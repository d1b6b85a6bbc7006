"""On SQLite, one writer: load, change one key, commit; at `power` (WAL+FULL) and `process` (WAL+NORMAL).

Every contender has a database file of its own in a temporary folder on a real disk. 16 sessions go round,
so that even at 64 KB each they fit everybody's page cache: what is measured is the writing. diskcache runs
at the same `synchronous` as the others. Checkpoints fall where each contender has them; a round is long
enough to hold some.
"""

from __future__ import annotations

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
from .report import Section, Table, Verdict, microseconds, ratio
from .timing import Driver, calls_for, median, turns

CONTENDERS: tuple[Any, ...] = (
    floors.NaiveSqlite,
    floors.CorrectSqlite,
    floors.BlobSqlite,
    *peers.SQLITE,
    *ours.SQLITE,
)
LEVELS = {"power": "power (WAL+FULL)", "process": "process (WAL+NORMAL)"}
SESSIONS = 16


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """Time in one round of one contender."""
    concurrent_seconds: float
    """Time that 64 writers, or 8 processes, have."""


FULL = Effort(rounds=9, seconds=0.12, concurrent_seconds=4.0)
QUICK = Effort(rounds=7, seconds=0.015, concurrent_seconds=1.0)


def bench(*, quick: bool) -> Section:
    """One writer, then many."""
    effort = QUICK if quick else FULL
    section = Section("sqlite")
    medians: dict[str, dict[str, dict[str, float]]] = {}
    with Driver() as driver:
        for level in LEVELS:
            medians[level] = {payload.name: _measure(driver, payload, level, effort) for payload in ALL}
            section.tables += _tables(level, medians[level])
    section.figures["change_seconds"] = medians
    section.verdicts += _verdicts(medians)
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


def _measure(driver: Driver, payload: Payload, level: str, effort: Effort) -> dict[str, float]:
    """The median seconds of a change for each contender."""
    with scratch() as folder:
        worlds = {}
        try:
            for kind in CONTENDERS:
                path = str(folder / f"{kind.__name__}.db")
                worlds[kind.name] = _World(driver, kind(payload, path, level), payload)
            for world in worlds.values():
                world.warm(effort.seconds)
            samples: dict[str, list[float]] = {name: [] for name in worlds}
            for kind in turns(CONTENDERS, effort.rounds):
                samples[kind.name].append(worlds[kind.name].round())
        finally:
            for world in worlds.values():
                driver.close(world.contender)
    return {name: median(values) for name, values in samples.items()}


class _World:
    """One contender with its sessions on disk."""

    def __init__(self, driver: Driver, contender: Contender, payload: Payload) -> None:
        self._driver = driver
        self._payload = payload
        self._calls = 30
        self._done = 0
        self.contender = contender
        self._ids = driver.each(contender, "create", [(payload.build(n),) for n in range(SESSIONS)])

    def warm(self, seconds: float) -> None:
        """Run a short round, check that it was written, and set how many calls fill the time."""
        self.round()
        last = self._payload.value(self._done - 1)
        [kept] = self._driver.each(self.contender, "load", [(self._ids[(self._calls - 1) % SESSIONS],)])
        assert kept[self._payload.change] == last, f"{self.contender.name} lost a write"
        self._calls = calls_for(seconds, self.round(), 30, 20_000)

    def round(self) -> float:
        """Seconds a change in one round."""
        arguments = jobs(self.contender, self._payload, self._ids, self._calls, self._done)
        self._done += self._calls
        return self._driver.mean(self.contender, "change", arguments)


def _tables(level: str, cells: dict[str, dict[str, float]]) -> list[Table]:
    """Times, and each contender against the correct floor and against Sojourn."""
    columns = [f"one writer, {LEVELS[level]}"]
    for payload in cells:
        columns += [f"{payload}: us", "x correct", "x of Sojourn"]
    floor, own = floors.CorrectSqlite.name, ours.SqliteSojourn.name
    rows = []
    for kind in CONTENDERS:
        row = [kind.name]
        for cell in cells.values():
            seconds = cell[kind.name]
            row += [microseconds(seconds), ratio(seconds, cell[floor]), ratio(seconds, cell[own])]
        rows.append(row)
    note = (
        "x correct: times as fast as the correct floor; x of Sojourn: times as fast as Sojourn. Naive "
        "and diskcache lose updates; diskcache writes C to a file of its own, unsynced."
    )
    return [Table("SQLite: load + change one + commit", columns, rows, note)]


def _verdicts(medians: dict[str, dict[str, dict[str, float]]]) -> list[Verdict]:
    """What the project wants of one writer."""
    own = ours.SqliteSojourn.name
    verdicts = []
    for payload in medians["power"]:
        cell = medians["power"][payload]
        for floor in (floors.NaiveSqlite.name, floors.CorrectSqlite.name):
            over = cell[own] / cell[floor] - 1
            wanted = f"power {payload}: within 25% of {floor}"
            verdicts.append(Verdict(wanted, f"{over:+.0%}", over <= 0.25))
    for payload in ("B", "C"):
        cell = medians["process"][payload]
        rivals = [(kind.name, 2.0) for kind in peers.SQLITE]
        rivals += [(floors.NaiveSqlite.name, 1.3), (floors.CorrectSqlite.name, 1.3)]
        for rival, times in rivals:
            lead = cell[rival] / cell[own]
            verdicts.append(
                Verdict(f"process {payload}: at least {times} times {rival}", f"x{lead:.2f}", lead >= times)
            )
    return verdicts
