"""What the memory store finds handles by: a user, or a second. Nothing here knows records.

An index that every session is in has to be small, and what is found by time (the dead, the least recently used) lies in
buckets by the second, so that a sweep visits only what died and an eviction looks at one entry.
"""

from __future__ import annotations

import heapq
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator

__all__ = ["Index", "Timeline"]


class Index:
    """Handles by key, those of a key in the order in which they came. A key with one handle costs no container: most
    users have one session. (An OrderedDict, as taking the first out of a plain dict again and again walks over the
    holes.)"""

    def __init__(self) -> None:
        self._entries: dict[float | str, str | OrderedDict[str, None]] = {}

    def add(self, key: float | str, handle: str) -> bool:
        """Add a handle. Returns whether the key is new."""
        held = self._entries.setdefault(key, handle)
        if held is handle:
            return True
        if isinstance(held, str):
            self._entries[key] = OrderedDict.fromkeys((held, handle))
        else:
            held[handle] = None
        return False

    def discard(self, key: float | str, handle: str) -> None:
        held = self._entries.get(key)
        if isinstance(held, OrderedDict):
            held.pop(handle, None)
            if not held:
                del self._entries[key]
        elif held == handle:
            del self._entries[key]

    def at(self, key: float | str) -> Iterable[str]:
        """The handles of a key, oldest first."""
        held = self._entries.get(key, ())
        return (held,) if isinstance(held, str) else held

    def clear(self) -> None:
        self._entries.clear()


class Timeline:
    """Handles in buckets of one second, earliest first."""

    def __init__(self) -> None:
        self._index = Index()
        self._seconds: list[int] = []  # a heap; a second whose bucket has emptied leaves it when it is met

    def add(self, at: float, handle: str) -> None:
        second = _second(at)
        if self._index.add(second, handle):
            heapq.heappush(self._seconds, second)

    def discard(self, at: float, handle: str) -> None:
        self._index.discard(_second(at), handle)

    def move(self, old: float, new: float, handle: str) -> None:
        if _second(old) != _second(new):
            self.discard(old, handle)
            self.add(new, handle)

    def earliest(self) -> Iterator[tuple[int, str]]:
        """Handles with their seconds, the earliest bucket first. Remove each before asking for the next."""
        while self._seconds:
            found = next(iter(self._index.at(self._seconds[0])), None)
            if found is None:
                heapq.heappop(self._seconds)
            else:
                yield self._seconds[0], found

    def clear(self) -> None:
        self._index.clear()
        self._seconds.clear()


def _second(at: float) -> int:
    return int(at) if at < sys.maxsize else sys.maxsize
