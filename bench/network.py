"""What the benches of the network stores share: a contender with its sessions on a server, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .contender import Contender, jobs
from .payloads import Payload
from .report import microseconds, times
from .timing import Driver, Samples, calls_for

SESSIONS = 16
"""That one caller goes round."""

Cells = dict[str, Samples]
"""By payload."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """Time in one round of one contender."""


class World:
    """One contender with its sessions: one for each task, so that nobody waits for another's, or a few."""

    def __init__(self, driver: Driver, contender: Contender, payload: Payload, *, tasks: int = 1) -> None:
        self._driver = driver
        self._payload = payload
        self._tasks = tasks
        self._calls = self._sessions = max(tasks, SESSIONS)
        self._done = 0
        self.contender = contender
        self._ids = driver.each(contender, "create", [(payload.build(n),) for n in range(self._sessions)])

    def warm(self, seconds: float) -> None:
        """Make a change everywhere, check that it is there, and set how many calls fill the time."""
        arguments = [(sid, self._payload.value(n)) for n, sid in enumerate(self._ids)]
        self._driver.mean(self.contender, "change", arguments, self._tasks)
        kept = self._driver.each(self.contender, "load", [(sid,) for sid in self._ids])
        for n, session in enumerate(kept):
            assert session[self._payload.change] == self._payload.value(n), f"{self.contender.name} lost a write"
        self._done = self._sessions
        self._calls = calls_for(seconds, self.round(), self._sessions, 50_000)

    def round(self) -> float:
        """Seconds a call in one round."""
        arguments = jobs(self.contender, self._payload, self._ids, self._calls, self._done)
        self._done += self._calls
        return self._driver.mean(self.contender, self.contender.operation, arguments, self._tasks)


def rows(kinds: Sequence[Any], cells: Cells, floor: str, own: str, *, rate: bool) -> list[list[str]]:
    """A row for each contender: its time or its rate, against the floor and against Sojourn."""
    found = []
    for kind in kinds:
        row = [kind.name]
        for cell in cells.values():
            seconds = cell.median(kind.name)
            row += [
                f"{1e-3 / seconds:,.1f}" if rate else microseconds(seconds),
                times(cell.lead(kind.name, floor)),
                times(cell.lead(kind.name, own)),
            ]
        found.append(row)
    return found


def columns(title: str, cells: Cells, unit: str) -> list[str]:
    """The columns of such a table."""
    return [title, *(part for name in cells for part in (f"{name}: {unit}", "x floor", "x of Sojourn"))]


def medians(cells: Cells) -> dict[str, dict[str, float]]:
    """Seconds a call, for JSON."""
    return {name: cell.medians() for name, cell in cells.items()}
