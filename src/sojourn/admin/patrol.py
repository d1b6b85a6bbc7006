"""A look at all sessions that never hurries: how many users there are, and which sessions are the oldest and the
largest, as the overview shows them.

It is a walk over the store, a page at a time, at the pace of whoever calls `step`. So a step costs the same however
many sessions there are, and the figures are those of the last round; what the feed tells meanwhile is noted. Users are
counted by a sample of hashes: exactly up to some thousands, and to a few percent beyond. Memory is bounded.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from ..engine import Engine
from ..policy import is_over
from ..record import Record, Summary

__all__ = ["SAMPLE", "SHOWN", "Census", "Patrol", "Users"]

SHOWN: Final = 10
"""Sessions in each of the lists of a census."""

SAMPLE: Final = 4096
"""Users that are counted exactly."""

_CANDIDATES: Final = 40  # for each list, so that it stays full for a while as sessions end
_HASH_BYTES: Final = 8
_HASHES: Final = 2.0 ** (8 * _HASH_BYTES)


class Census(Struct, frozen=True, kw_only=True):
    """What the patrol has found."""

    seen: int
    """Live sessions that were met in the last whole round; in the first round, so far."""
    rounds: int
    """How often the whole store was walked."""
    users: int
    """Users with live sessions, likewise."""
    exact: bool
    """Whether `users` is a count. Else it is an estimate, to about 2 percent."""
    oldest: tuple[Summary, ...]
    """By their creation, the first first."""
    largest: tuple[Summary, ...]
    """By their bytes, the most first."""


class Users:
    """Counts distinct users: keeps the smallest hashes, whose density tells how many there are."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._heap: list[int] = []  # the same, negative: the largest first

    def add(self, user_id: str) -> None:
        """Count this user, once."""
        found = int.from_bytes(blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest())
        if found in self._hashes:
            return
        if len(self._heap) < SAMPLE:
            heapq.heappush(self._heap, -found)
        elif found < -self._heap[0]:
            self._hashes.remove(-heapq.heapreplace(self._heap, -found))
        else:
            return
        self._hashes.add(found)

    @property
    def exact(self) -> bool:
        """Whether the count is no estimate."""
        return len(self._heap) < SAMPLE

    @property
    def count(self) -> int:
        """How many there are, about."""
        return len(self._heap) if self.exact else round((SAMPLE - 1) * _HASHES / -self._heap[0])


class _Top:
    """The sessions that come first by something."""

    def __init__(self, by: Callable[[Summary], Any]) -> None:
        self._by = by
        self._found: dict[str, Summary] = {}
        self._bound: Any = None
        """What comes after this was left out, and so would be what comes later; None: nothing was."""

    def add(self, summaries: Iterable[Summary]) -> None:
        bound = self._bound
        self._found |= {one.handle: one for one in summaries if bound is None or self._by(one) <= bound}
        if len(self._found) > _CANDIDATES:
            first = heapq.nsmallest(_CANDIDATES, self._found.values(), key=self._by)
            self._found = {one.handle: one for one in first}
            self._bound = self._by(first[-1])

    def drop(self, handle: str) -> None:
        self._found.pop(handle, None)

    def first(self, now: float) -> tuple[Summary, ...]:
        alive = (one for one in self._found.values() if one.expires_at > now)
        return tuple(heapq.nsmallest(SHOWN, alive, key=self._by))


class _Round:
    """What one round has found."""

    def __init__(self) -> None:
        self.seen = 0
        self.users = Users()
        self.oldest = _Top(lambda one: (one.created_at, one.handle))
        self.largest = _Top(lambda one: (-one.size, one.handle))

    def add(self, summaries: Iterable[Summary]) -> None:
        for one in summaries:
            if one.user_id is not None:
                self.users.add(one.user_id)
        self.oldest.add(summaries)
        self.largest.add(summaries)

    def drop(self, handle: str) -> None:
        self.oldest.drop(handle)
        self.largest.drop(handle)


class Patrol:
    """Walks over the store of a manager, round by round.

    ``hide(handle)`` says which records are no visitor's: they count for nothing.
    """

    def __init__(self, engine: Engine, hide: Callable[[str], bool]) -> None:
        self._engine = engine
        self._hide = hide
        self._walk: AsyncIterator[list[Record]] | None = None
        self._rounds = 0
        self._now = _Round()
        self._last: _Round | None = None

    async def step(self) -> None:
        """Look at the next few hundred sessions; after the last ones the next step begins anew. Raises
        `StoreUnavailable` when the store does not answer: the round then begins anew."""
        if self._walk is None:
            self._walk = self._engine.store.walk()
        try:
            records = await anext(self._walk, None)
        except BaseException:  # also an interrupt: a walk that was broken off goes on nowhere
            await self._begin()
            raise
        if records is None:
            self._rounds += 1
            self._last = self._now
            await self._begin()
            return
        now = self._engine.clock()
        met = [Summary.of(one) for one in records if not is_over(one, now) and not self._hide(one.handle)]
        self._now.seen += len(met)
        self._now.add(met)

    def census(self) -> Census:
        """What was found: of the last whole round, and what was noted since; in the first round, so far."""
        found = self._last or self._now
        now = self._engine.clock()
        return Census(
            seen=found.seen,
            rounds=self._rounds,
            users=found.users.count,
            exact=found.users.exact,
            oldest=found.oldest.first(now),
            largest=found.largest.first(now),
        )

    async def freshen(self) -> None:
        """Look whether those that the census lists are still there, and as they were. Raises `StoreUnavailable`."""
        census, now = self.census(), self._engine.clock()
        handles = [one.handle for one in (*census.oldest, *census.largest)]
        found = await self._engine.store.load_many(handles) if handles else {}
        for handle in handles:
            record = found.get(handle)
            if record is None or is_over(record, now):
                self.forget(handle)
            else:
                self.note(Summary.of(record))

    def note(self, summary: Summary) -> None:
        """A session was created, or is another than before."""
        if not self._hide(summary.handle):
            for found in self._both():
                found.drop(summary.handle)
                found.add([summary])

    def forget(self, handle: str) -> None:
        """A session has ended. Nothing happens if it is not known."""
        for found in self._both():
            found.drop(handle)

    async def close(self) -> None:
        """Give back the place where the walk has come to. The next step begins anew."""
        await self._begin()

    def _both(self) -> list[_Round]:
        return [self._now] if self._last is None else [self._now, self._last]

    async def _begin(self) -> None:
        walk, self._walk, self._now = self._walk, None, _Round()
        if isinstance(walk, AsyncGenerator):
            await walk.aclose()
