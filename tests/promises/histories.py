"""A record of what several clients did to a few sessions at the same time and what they were answered, and a checker of
it: is there any order of events, one at a time, that explains it?

It checks what can be told without a search, as every value that is written is written once:

    from nowhere    a read shows what nobody had begun to write
    lost            a read that began after a write was acknowledged shows what was there before that write
    gone back       a read that began after another read had ended shows what was there before what that one showed
    dropped         an item that was appended and acknowledged is missing in a later read
    doubled         an item is there twice
    revived         a session, or an id that was replaced, is served after its end was acknowledged or seen
    written after   a write that began after the end of its session, or of its id, was acknowledged
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, TypeAlias

__all__ = ["Event", "Verdict", "check"]

Verdict: TypeAlias = Literal["done", "refused", "unknown"]
"""Of an operation: acknowledged, refused for certain, or it can't be known."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One operation of one client on one session. Times are those of a clock that all clients share."""

    kind: Literal["read", "set", "append", "end", "rotate"]
    session: str
    """Its handle."""
    id: str
    """The id that it was done with."""
    began: float
    ended: float
    verdict: Verdict = "done"
    key: str = ""
    value: Any = None
    """For "set" and "append": what was written, which is written nowhere else. For "read": all fields, or None if there
    was no session."""

    @property
    def last_moment(self) -> float:
        """When it had happened at the latest, if it did."""
        return self.ended if self.verdict == "done" else inf


@dataclass
class _Session:
    events: list[Event] = field(default_factory=list)

    def of(self, kind: str, *verdicts: Verdict) -> list[Event]:
        return [event for event in self.events if event.kind == kind and (not verdicts or event.verdict in verdicts)]


def check(events: Iterable[Event]) -> list[str]:
    """What is wrong with a history; an empty list: it can be explained."""
    sessions: dict[str, _Session] = {}
    for event in sorted(events, key=lambda event: event.began):
        sessions.setdefault(event.session, _Session()).events.append(event)
    return [f"{problem} (session {name})" for name, session in sessions.items() for problem in _problems(session)]


def now() -> float:
    """A clock that all processes of a machine share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _problems(session: _Session) -> Iterator[str]:
    yield from _of_lives(session)
    reads = [read for read in session.of("read") if read.value is not None]
    items = {write.key for write in session.of("append")}
    for key in {write.key for write in session.of("set")} | {key for read in reads for key in read.value} - items:
        writes = {write.value: write for write in session.of("set", "done", "unknown") if write.key == key}
        yield from _of_values(key, writes, reads)
    for key in items:
        yield from _of_items(key, session.of("append", "done", "unknown"), reads)


def _of_values(key: str, writes: dict[Any, Event], reads: list[Event]) -> Iterator[str]:
    """Of a field that is set: the first value, which nobody wrote, is None."""
    shown: list[tuple[Event, Event | None]] = []
    for read in reads:
        value = read.value.get(key)
        write = writes.get(value)
        if value is not None and (write is None or write.began > read.ended):
            yield f"from nowhere: {key} is {value!r}"
            continue
        shown.append((read, write))
        overtaken = -inf if write is None else write.last_moment  # it was overwritten at the latest by what began later
        for other in writes.values():
            if other.verdict == "done" and other.ended < read.began and overtaken < other.began:
                yield f"lost: {key} is {value!r} after {other.value!r} was acknowledged"
    for earlier, first in shown:
        for later, second in shown:
            if first is not None and earlier.ended < later.began:
                before = -inf if second is None else second.last_moment
                if before < first.began:
                    value = None if second is None else second.value
                    yield f"gone back: {key} is {value!r} after {first.value!r} was seen"


def _of_items(key: str, writes: list[Event], reads: list[Event]) -> Iterator[str]:
    known = {write.value: write for write in writes if write.key == key}
    seen: dict[Any, float] = {}  # items, and when a read that showed them had ended first
    for read in sorted(reads, key=lambda read: read.ended):
        items = read.value.get(key, [])
        if len(set(items)) < len(items):
            yield f"doubled: {key} holds {items!r}"
        for item in items:
            if item not in known or known[item].began > read.ended:
                yield f"from nowhere: {key} holds {item!r}"
        for item, write in known.items():
            if item not in items and min(write.last_moment, seen.get(item, inf)) < read.began:
                yield f"dropped: {key} holds no {item!r}, which was acknowledged or seen"
        for item in items:
            seen.setdefault(item, read.ended)


def _of_lives(session: _Session) -> Iterator[str]:
    """A session is over when its end was acknowledged, and an id when its replacement was; or when somebody saw it."""
    ends = [event.ended for event in session.of("end", "done")]
    replaced: dict[str, float] = {}
    for event in session.of("rotate", "done"):
        replaced[event.id] = event.ended
    for event in session.events:
        if event.kind == "read" and event.value is None and event.verdict == "done":
            replaced[event.id] = min(replaced.get(event.id, inf), event.ended)
    over = min(ends, default=inf)
    for event in session.events:
        dead_at = min(over, replaced.get(event.id, inf))
        if event.verdict != "done" or event.began <= dead_at:
            continue
        if event.kind == "read" and event.value is not None:
            yield f"revived: id {event.id} is served after its end"
        elif event.kind in ("set", "append", "rotate"):
            yield f"written after: {event.kind} with id {event.id} was acknowledged after its end"
