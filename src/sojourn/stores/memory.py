"""The memory store: read this one first. It is the contract of `sojourn.store` in its plainest form.

For tests and for a single process; nothing survives the process. It serves blocking and async callers alike, as no
operation ever waits: each is a few dictionary steps under one lock.

What keeps it cheap at a million sessions: small sessions that were not used lately are packed into one bytes object,
and what must be found by time (the dead, the least recently used) lies in buckets by the second, so that a sweep
visits only what died and an eviction looks at one entry.
"""

from __future__ import annotations

import heapq
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, cast
from urllib.parse import SplitResult

import msgspec

from ..config import SessionConfig
from ..errors import ConfigurationError, HistoryTrimmed, StoreUnavailable
from ..facts import created, ended
from ..policy import caught_up, guard, is_over, lease_refusal, touched
from ..record import Cap, Change, Committed, EndReason, Gone, Leased, Outcome, Record, Refused, Summary, replace
from ..store import HISTORY, HISTORY_AGE, NO_CAP, Durability, Feed, Hint, Stats, World
from ..waiting import Waiting
from .memory_feed import MemoryFeed
from .memory_index import Index, Timeline
from .memory_line import Lines

__all__ = ["MemoryStore"]

_UNPACKED: Final = 10_000  # sessions used lately, kept as they are
_PAGE: Final = 1000  # records in one step of a walk
_SMALL: Final = 512  # bytes up to which a session is worth packing: half of a small one is Python's own overhead

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Record).decode


class _Closed(dict[str, Record | bytes]):
    """What stands in place of the records when the store is closed: any use of it says so."""

    def __getattribute__(self, name: str) -> Any:
        raise StoreUnavailable("the store was closed")

    def __contains__(self, key: object) -> bool:
        raise StoreUnavailable("the store was closed")

    def __len__(self) -> int:
        raise StoreUnavailable("the store was closed")


class MemoryStore:
    """Records in this process's memory. Nothing to configure."""

    world: World = "any"
    durability: Durability = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, Record | bytes] = {}
        self._lately: deque[str] = deque()  # the handles of records that are not packed, oldest use first
        self._users = Index()
        self._deadlines = Timeline()
        self._accesses: Timeline | None = None  # kept only once a bound on the number of sessions asks for it
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._position = 0
        self._lines = Lines()
        self._bookmarks: dict[str, tuple[int, str, float]] = {}
        self._feeds: list[MemoryFeed] = []
        _stores.add(self)

    async def load(self, handle: str) -> Record | None:
        found = self._records.get(handle)
        if type(found) is bytes:
            with self._lock:
                return self._get(handle)
        return cast("Record | None", found)

    async def create(self, record: Record, now: float, cap: Cap = NO_CAP) -> Committed | Refused:
        with self._lock:
            known = self._get(record.handle)
            if known is not None:
                return Committed(known)  # as a rule an earlier attempt of the same creation
            evicted = () if cap is NO_CAP else self._make_room(record, now, cap)
            if evicted is None:
                return Refused()
            self._add(record)
            return Committed(record, (*evicted, *self._note(created(record, now))))

    async def commit(
        self,
        base: Record,
        wanted: Record,
        now: float,
        *,
        fence: int = 0,
        facts: tuple[Change, ...] = (),
        fields: tuple[str, ...] = (),
        cap: Cap = NO_CAP,
    ) -> Outcome:
        handle = wanted.handle
        with self._lock:
            current = self._get(handle)
            refusal = guard(current, base, wanted, now, fence)
            if refusal is not None:
                return refusal
            assert current is not None  # noqa: S101 - the guard refuses a missing record
            if current.accessed_at > wanted.accessed_at or current.fence > wanted.fence:
                wanted = caught_up(wanted, current)
            if current.user_id == wanted.user_id and current.accessed_at == wanted.accessed_at and not facts:
                if current.ends_at != wanted.ends_at or current.idle_for != wanted.idle_for:
                    self._deadlines.move(current.expires_at, wanted.expires_at, handle)
                self._records[handle] = wanted
                if self._feeds:
                    self._say(Hint(handle, wanted.user_id, wanted.version, fields))
                return Committed(wanted)
            evicted: tuple[Change, ...] = ()
            if current.user_id != wanted.user_id and wanted.user_id is not None:
                room = self._make_room(wanted, now, cap)
                if room is None:
                    return Refused()
                evicted = room
            self._remove(current)
            self._add(wanted)
            self._record(*facts)
            self._say(Hint(handle, wanted.user_id, wanted.version, fields, bool(facts)))
            return Committed(wanted, (*evicted, *facts))

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        with self._lock:
            current = self._get(handle)
            if current is None or current.generation != generation or is_over(current, now):
                return False
            later = touched(current, at)
            if later is not current:
                self._deadlines.move(current.expires_at, later.expires_at, handle)
                if self._accesses is not None:
                    self._accesses.move(current.accessed_at, later.accessed_at, handle)
                self._records[handle] = later
            return True

    async def lease(
        self, handle: str, generation: int, hold: float, now: float, *, name: str = "", patience: float = 0.0
    ) -> Committed | Leased | Gone:
        with self._lock:
            current = self._get(handle)
            refusal = lease_refusal(current, generation, now)
            if isinstance(refusal, Gone):
                return refusal
            assert current is not None  # noqa: S101 - a missing record is refused
            if refusal is not None and self._lines.holds(handle, name, current.fence):
                return Committed(current)  # an earlier attempt of the same
            if refusal is not None or not self._lines.is_next(handle, name, now):
                self._lines.stand(handle, name, now + patience, now)
                return Leased(current)
            taken = self._records[handle] = replace(current, fence=current.fence + 1, leased_until=now + hold)
            self._lines.took(handle, name, taken.fence)
            return Committed(taken)

    async def end(self, handles: Sequence[str], reason: EndReason, now: float) -> tuple[Change, ...]:
        with self._lock:
            self._check_open()
            found = [record for handle in dict.fromkeys(handles) if (record := self._get(handle)) is not None]
            return self._end(found, reason, now)

    async def end_matching(
        self,
        now: float,
        *,
        user_id: str | None = None,
        idle_since: float | None = None,
        keep: str | None = None,
        reason: EndReason = "revoked",
    ) -> tuple[Change, ...]:
        with self._lock:
            self._check_open()
            found = [
                record
                for record in (self._all() if user_id is None else self._of_user(user_id))
                if record.handle != keep and (idle_since is None or record.accessed_at <= idle_since)
            ]
            return self._end(found, reason, now)

    async def summaries(
        self, now: float, *, user_id: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Summary]:
        with self._lock:
            self._check_open()
            records = list(self._all()) if user_id is None else self._of_user(user_id)
        live = (record for record in records if record.handle > after and not is_over(record, now))
        return [Summary.of(record) for record in heapq.nsmallest(limit, live, key=lambda record: record.handle)]

    async def load_many(self, handles: Sequence[str]) -> dict[str, Record]:
        with self._lock:
            self._check_open()
            return {handle: self._known(handle) for handle in handles if handle in self._records}

    async def walk(self) -> AsyncIterator[list[Record]]:
        with self._lock:
            self._check_open()
            handles = list(self._records)
        for at in range(0, len(handles), _PAGE):
            yield list((await self.load_many(handles[at : at + _PAGE])).values())

    async def purge_expired(self, now: float, limit: int) -> tuple[Change, ...]:
        with self._lock:
            self._check_open()
            history = self._history
            while len(history) > 1 and history[1].at < now - HISTORY_AGE:
                history.popleft()
            return self._bury(now, limit)

    # --- Facts ---------------------------------------------------------------------------------------------------

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        with self._lock:
            self._check_open()
            first = self._position - len(self._history)
            if since and not first <= since <= self._position:
                raise HistoryTrimmed(first)
            start = max(since, first)
            found = list(islice(self._history, start - first, start - first + limit))
            return start + len(found), found

    async def position(self) -> int:
        self._check_open()
        return self._position

    async def bookmark(
        self, reader: str, holder: str, now: float, *, hold: float, position: int | None = None
    ) -> int | None:
        with self._lock:
            self._check_open()
            at, held_by, until = self._bookmarks.get(reader, (0, holder, 0.0))
            if held_by != holder and until > now:
                return None
            at = at if position is None else position
            self._bookmarks[reader] = (at, holder, now + hold)
            return at

    def feed(self, waiting: Waiting) -> Feed:
        return MemoryFeed(waiting, self._join, self._part)

    async def stats(self) -> Stats:
        return Stats(sessions=len(self._records), bytes=None, durability=self.durability)

    async def close(self) -> None:
        with self._lock:
            self._records = _Closed()
            self._users.clear()
            self._deadlines.clear()
            self._accesses = None
            self._history.clear()
            feeds, self._feeds = self._feeds, []
        for feed in feeds:
            await feed.close()

    def _check_open(self) -> None:
        if isinstance(self._records, _Closed):
            raise StoreUnavailable("the store was closed")

    # --- Under the lock ------------------------------------------------------------------------------------------

    def _get(self, handle: str) -> Record | None:
        """The record, unpacked if it was packed."""
        found = self._records.get(handle)
        if type(found) is bytes:
            found = self._records[handle] = _unpack(found)
            self._used(handle)
        return cast("Record | None", found)

    def _known(self, handle: str) -> Record:
        """A record that an index names."""
        found = self._records[handle]
        return _unpack(found) if type(found) is bytes else cast(Record, found)

    def _all(self) -> Iterator[Record]:
        return map(self._known, self._records)

    def _used(self, handle: str) -> None:
        """Keep a record as it is, and pack one that was not used for long in its place."""
        self._lately.append(handle)
        if len(self._lately) > _UNPACKED:
            oldest = self._lately.popleft()
            record = self._records.get(oldest)
            if type(record) is Record and record.size <= _SMALL:
                self._records[oldest] = _pack(record)

    def _add(self, record: Record) -> None:
        handle = record.handle
        self._records[handle] = record
        self._used(handle)
        self._deadlines.add(record.expires_at, handle)
        if record.user_id is not None:
            self._users.add(record.user_id, handle)
        if self._accesses is not None:
            self._accesses.add(record.accessed_at, handle)

    def _remove(self, record: Record) -> None:
        handle = record.handle
        del self._records[handle]
        self._deadlines.discard(record.expires_at, handle)
        if record.user_id is not None:
            self._users.discard(record.user_id, handle)
        if self._accesses is not None:
            self._accesses.discard(record.accessed_at, handle)

    def _end(self, records: Iterable[Record], reason: EndReason, now: float) -> tuple[Change, ...]:
        told = []
        for record in records:
            self._remove(record)
            self._lines.forget(record.handle)
            # One that had run out by itself is told as expired, whoever found it first.
            why: EndReason = "expired" if is_over(record, now) else reason
            told.append(ended(record.handle, record.user_id, why, now))
        return self._note(*told)

    def _of_user(self, user_id: str) -> list[Record]:
        return [self._known(handle) for handle in self._users.at(user_id)]

    def _make_room(self, record: Record, now: float, cap: Cap) -> tuple[Change, ...] | None:
        """Evict what must go so that one more session of this user fits; None: refused."""
        evicted: tuple[Change, ...] = ()
        if cap.per_user is not None and record.user_id is not None:
            mine = [
                held
                for held in self._of_user(record.user_id)
                if not is_over(held, now) and held.handle != record.handle
            ]
            excess = len(mine) + 1 - cap.per_user
            if excess > 0 and cap.refuse:
                return None
            if excess > 0:
                oldest = heapq.nsmallest(excess, mine, key=lambda held: (held.authenticated_at, held.handle))
                evicted = self._end(oldest, "evicted", now)
        if cap.total is not None and record.handle not in self._records and len(self._records) >= cap.total:
            evicted += self._bury(now, len(self._records) + 1 - cap.total)
            evicted += self._evict_least_used(len(self._records) + 1 - cap.total, now)
        return evicted

    def _bury(self, now: float, limit: int) -> tuple[Change, ...]:
        """Remove up to so many of the dead."""
        told: list[Change] = []
        for second, handle in self._deadlines.earliest():
            # A bucket is emptied once its whole second is past: all of it is dead, and nothing living is visited.
            if second + 1 > now or len(told) == limit:
                break
            told += self._end([self._known(handle)], "expired", now)
        return tuple(told)

    def _evict_least_used(self, count: int, now: float) -> tuple[Change, ...]:
        if self._accesses is None:
            self._accesses = Timeline()
            for held in self._all():
                self._accesses.add(held.accessed_at, held.handle)
        told: tuple[Change, ...] = ()
        for _, handle in self._accesses.earliest():
            if len(told) >= count:
                break
            told += self._end([self._known(handle)], "evicted", now)
        return told

    def _note(self, *told: Change) -> tuple[Change, ...]:
        """Record facts, and say so."""
        self._record(*told)
        for change in told:
            self._say(Hint(change.handle, change.user_id, facts=True, ended=change.kind == "ended"))
        return told

    def _record(self, *told: Change) -> None:
        self._history.extend(told)
        self._position += len(told)

    def _say(self, hint: Hint) -> None:
        for feed in self._feeds:
            feed.say(hint)

    def _join(self, feed: MemoryFeed) -> None:
        with self._lock:
            self._check_open()
            self._feeds.append(feed)

    def _part(self, feed: MemoryFeed) -> None:
        with self._lock:
            if feed in self._feeds:
                self._feeds.remove(feed)


_stores: Final[weakref.WeakSet[MemoryStore]] = weakref.WeakSet()
_held: Final[list[threading.Lock]] = []  # over a fork, so that no child finds a lock that nobody will release


def _before_fork() -> None:
    for store in list(_stores):
        store._lock.acquire()
        _held.append(store._lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def open_url(url: SplitResult, options: dict[str, str], config: SessionConfig, world: World) -> MemoryStore:
    """A new store for each ``memory://``: to share one, hand the store itself to the managers."""
    if url.netloc or url.path.strip("/") or options:
        raise ConfigurationError("memory:// takes no host, no path and no options")
    return MemoryStore()
