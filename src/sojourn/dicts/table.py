"""Entries by key, by last use and by end: what was used least recently, and what has died, is found without a scan.
Pure: time is the argument `now`.

The order of use is a ring of entries: using one moves it, which touches its two neighbours only. Ends lie in buckets by
the second. An entry whose end moves away stays in its bucket until that is due, and then goes to where it belongs: so a
read that puts off the end costs nothing here. What ends within this very second is put in order, and only that.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import Any, Final

from .keys import Token
from .settings import FOREVER

__all__ = ["Entry", "Table"]

_NOWHERE: Final = -1  # an entry that is in no bucket
_SOON: Final = -2  # and one whose bucket is due


class Entry:
    """One key, and what is known of it. Times are Unix seconds. Nothing but a `Table` sets the last three."""

    __slots__ = (
        "created",
        "earlier",
        "ends",
        "fence",
        "idle",
        "later",
        "locked_until",
        "owner",
        "quick",
        "reads",
        "second",
        "step",
        "token",
        "touched",
        "used",
        "value",
        "version",
    )

    earlier: Entry
    later: Entry

    def __init__(self, token: Token, now: float) -> None:
        self.token = token
        self.value: Any = None
        self.created = self.used = self.touched = now
        self.reads = 0
        self.idle = FOREVER
        """Seconds that it lives after it was set or, with a step, after it was touched."""
        self.step = 0.0
        """Seconds between two reads that put off the end; 0: none does."""
        self.ends = FOREVER
        self.locked_until = 0.0
        self.fence = 0
        self.owner = 0
        """The thread that locked it by `lock`; 0: none."""
        self.quick = 0.0
        """Until when it can be read with no further look."""
        self.version = b""
        self.second = _NOWHERE


class Table:
    """Entries. The caller keeps others out."""

    def __init__(self) -> None:
        self.entries: dict[Token, Entry] = {}
        """All of them, those that have died and are not yet buried included. Only `add` and `remove` change it."""
        self._ring = _ring()
        self._buckets: dict[int, dict[Entry, None]] = {}
        self._seconds: list[int] = []
        self._soon: list[tuple[float, int, Entry]] = []
        self._number = count()
        self._dead: dict[Entry, None] = {}

    @property
    def live(self) -> int:
        """How many were alive when `advance` was last told the time."""
        return len(self.entries) - len(self._dead)

    def add(self, entry: Entry) -> None:
        """Add an entry, as the one used last. There must be none of its token."""
        self.entries[entry.token] = entry
        self._link(entry)
        self.schedule(entry)

    def remove(self, entry: Entry) -> None:
        """Remove an entry. Nothing happens if it is not there."""
        if self.entries.get(entry.token) is not entry:
            return
        del self.entries[entry.token]
        entry.earlier.later = entry.later
        entry.later.earlier = entry.earlier
        entry.earlier = entry.later = entry  # by which `use` knows it
        self._dead.pop(entry, None)
        if entry.second >= 0:
            self._buckets[entry.second].pop(entry)
        entry.second = _NOWHERE
        entry.quick = 0.0

    def use(self, entry: Entry) -> None:
        """It was used: the last of all. Nothing happens if it is not there any more."""
        ring, later = self._ring, entry.later
        if later is ring or later is entry:
            return
        earlier, newest = entry.earlier, ring.earlier
        earlier.later, later.earlier = later, earlier
        entry.earlier, entry.later = newest, ring
        newest.later = ring.earlier = entry

    def used(self, entries: deque[Entry]) -> None:
        """Count a read of each that is in the queue now, and take it out; others may go on adding."""
        ring, take = self._ring, entries.popleft
        for _ in range(len(entries)):
            entry = take()
            entry.reads += 1
            later = entry.later
            if later is not ring and later is not entry:  # as in `use`, of which a call each would cost as much again
                earlier, newest = entry.earlier, ring.earlier
                earlier.later, later.earlier = later, earlier
                entry.earlier, entry.later = newest, ring
                newest.later = ring.earlier = entry

    def schedule(self, entry: Entry) -> None:
        """Its end has changed, or is new."""
        self._dead.pop(entry, None)
        if entry.ends >= FOREVER:
            return
        second = int(entry.ends)
        if entry.second == _SOON:
            heapq.heappush(self._soon, (entry.ends, next(self._number), entry))
            return
        if entry.second >= 0:
            if entry.second <= second:
                return  # it is looked at when that is due
            self._buckets[entry.second].pop(entry)
        entry.second = second
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = {}
            heapq.heappush(self._seconds, second)
        bucket[entry] = None

    def advance(self, now: float) -> list[Entry]:
        """It is now: what has died since it was last told."""
        died: list[Entry] = []
        while self._seconds and self._seconds[0] <= now:
            second = heapq.heappop(self._seconds)
            for entry in self._buckets.pop(second):
                entry.second = _NOWHERE
                if entry.ends <= now:
                    self._dead[entry] = None
                    died.append(entry)
                elif int(entry.ends) > second:
                    self.schedule(entry)
                else:  # its second has begun
                    entry.second = _SOON
                    heapq.heappush(self._soon, (entry.ends, next(self._number), entry))
        while self._soon and self._soon[0][0] <= now:
            _, _, entry = heapq.heappop(self._soon)
            if self.entries.get(entry.token) is not entry or entry.second != _SOON:
                continue  # it went before its time, or is listed twice
            entry.second = _NOWHERE
            if entry.ends <= now:
                self._dead[entry] = None
                died.append(entry)
            else:
                self.schedule(entry)
        return died

    def bury(self, limit: int) -> int:
        """Remove up to so many of the dead. Returns how many."""
        buried = 0
        while self._dead and buried < limit:
            entry, _ = self._dead.popitem()  # the last: to find the first of a dict again and again is a scan
            self.remove(entry)
            buried += 1
        return buried

    def least_used(self, now: float) -> Entry | None:
        """The one that was used least recently and is not locked; None if all are. Passes by those that are."""
        entry = self._ring.later
        while entry is not self._ring:
            if entry.locked_until <= now:
                return entry
            entry = entry.later
        return None

    def clear(self) -> None:
        """Remove all."""
        for entry in self.entries.values():
            entry.earlier = entry.later = entry
            entry.quick = 0.0
        self.entries.clear()
        self._ring = _ring()
        self._buckets.clear()
        self._seconds.clear()
        self._soon.clear()
        self._dead.clear()

    def _link(self, entry: Entry) -> None:
        ring = self._ring
        newest = ring.earlier
        entry.earlier, entry.later = newest, ring
        newest.later = ring.earlier = entry


def _ring() -> Entry:
    """The place between the last and the first."""
    ring = Entry("", 0.0)
    ring.earlier = ring.later = ring
    return ring
