"""The shelf in this process. Nothing survives the process.

What keeps a read short: it takes no lock. It looks the entry up, which is one step, sees that it is alive and free by
one comparison, and notes that it was read in a queue, to which adding is one step, too. Who reads the two hundredth
time, and whoever needs to know (to evict, to tell how often), takes the lock and does what the notes ask for, in their
order: so counts are exact, and so is the order of use. Whatever is not that simple (a lock, an end, an expiry that
slides) is done under the lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any, Final

from . import forking
from .isolation import Packed, decoded, given, isolated
from .keys import Token, encoded, key_of, token_of
from .settings import FOREVER, SessionMetadata, SessionStatus, SessionStoreConfig
from .shelf import MISSING, Held, all_locked, closed, late, locked
from .table import Entry, Table
from .upkeep import Upkeep

__all__ = ["MemoryShelf"]

_NOTES: Final = 200  # reads that are noted before they are counted
_BURIED: Final = 100  # dead entries that one call removes at most, where it needs room for one


class MemoryShelf:
    """Entries in this process's memory."""

    def __init__(self, config: SessionStoreConfig, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._lifetime = config.lifetime(None)
        self._clock = clock
        self._lock = threading.Lock()
        self._table = Table()
        self._find: Callable[[Token], Entry | None] = self._table.entries.get
        self._upkeep = Upkeep(self, config.cleanup_interval)
        self._notes: deque[Entry] = deque()
        self._fences = count(int(clock() * 1_000_000))  # so that they grow from one process to the next
        self._closed = False
        forking.note(self)

    def get(self, key: Hashable, default: Any = None) -> Any:
        kind = type(key)
        entry = self._find(key if kind is str or kind is int else token_of(key))  # type: ignore[arg-type]
        if entry is None:
            return default
        held = entry.value  # before the look whether it is free: what its holder writes is never seen here
        now = self._clock()
        if now >= entry.quick:
            held = self._look(key, now)
            return default if held is MISSING else given(held)
        entry.used = now
        notes = self._notes
        notes.append(entry)
        if len(notes) > _NOTES:
            with self._lock:
                self._settle()
        kind = type(held)
        if kind is dict or kind is list:
            return held.copy()
        return decoded(held.data) if kind is Packed else held

    def set(self, key: Hashable, value: Any, expiration: float | timedelta | None = None) -> None:
        kind = type(key)
        token: Token = key if kind is str or kind is int else token_of(key)  # type: ignore[assignment]
        lifetime = self._lifetime if expiration is None else self._config.lifetime(expiration)
        held = isolated(value)
        now = self._clock()
        with self._lock:
            entry = self._find(token)
            if entry is None or now >= entry.quick or entry.step:
                self._put(token, held, lifetime, now)
                return
            table = self._table
            if self._notes:
                table.used(self._notes)
            entry.value = held
            entry.used = now
            entry.ends = entry.quick = ends = now + lifetime
            if entry.second < 0 or ends < entry.second:
                table.schedule(entry)
            table.use(entry)

    def set_new(self, key: Hashable, value: Any, expiration: float | timedelta | None = None) -> Any:
        token = token_of(key)
        lifetime = self._config.lifetime(expiration)
        held = isolated(value)
        now = self._clock()
        with self._lock:
            entry = self._alive(token, now)
            if entry is None:
                self._put(token, held, lifetime, now)
                return MISSING
            if entry.locked_until > now:
                raise locked()
            self._settle()
            found = self._read(entry, now)
        return given(found)

    def remove(self, key: Hashable) -> Any:
        token, now = token_of(key), self._clock()
        with self._lock:
            entry = self._alive(token, now)
            if entry is None:
                return MISSING
            if entry.locked_until > now:
                raise locked()
            self._table.remove(entry)
        return entry.value

    def clear(self) -> int:
        now = self._clock()
        with self._lock:
            self._check_open()
            table = self._table
            table.advance(now)
            kept = [entry for entry in table.entries.values() if entry.locked_until > now]
            table.clear()
            for entry in kept:
                entry.second = -1
                table.add(entry)
            return len(kept)

    # --- Locks -------------------------------------------------------------------------------------------------------

    def take(self, key: Hashable, hold: float, owner: int) -> Held | None:
        token, now = token_of(key), self._clock()
        with self._lock:
            entry = self._alive(token, now)
            if entry is None:
                raise KeyError
            if entry.locked_until > now:
                return None
            entry.quick = 0.0  # first of all: who reads takes the lock from here on
            entry.locked_until, entry.owner, entry.fence = now + hold, owner, next(self._fences)
            if entry.step:  # a lock is a use until its end
                entry.touched = entry.locked_until
                self._end(entry, entry.touched + entry.idle + entry.step)
            elif entry.ends < entry.locked_until:
                self._end(entry, entry.locked_until)
            return Held(token, entry.fence)

    def unlock(self, key: Hashable, owner: int) -> bool:
        token, now = token_of(key), self._clock()
        with self._lock:
            entry = self._alive(token, now)
            if entry is None or entry.locked_until <= now or entry.owner != owner:
                return False
            self._free(entry)
            return True

    def release(self, held: Held) -> None:
        with self._lock:
            entry = None if self._closed else self._holding(held, self._clock())
            if entry is not None:
                self._free(entry)

    def read(self, held: Held) -> Any:
        with self._lock:
            self._check_open()
            entry = self._holding(held, self._clock())
            if entry is None:
                raise late()
            value = entry.value
        return given(value)

    def write(self, held: Held, value: Any) -> None:
        kept = isolated(value)
        with self._lock:
            self._check_open()
            now = self._clock()
            entry = self._holding(held, now)
            if entry is None:
                raise late()
            entry.value, entry.used = kept, now
            self._settle()
            self._table.use(entry)

    # --- Looking -----------------------------------------------------------------------------------------------------

    def describe(self, key: Hashable) -> SessionMetadata | None:
        token, now = token_of(key), self._clock()
        with self._lock:
            self._check_open()
            self._settle()
            entry = self._table.entries.get(token)
            if entry is None:
                return None
            is_locked = entry.locked_until > now
            over = entry.ends <= now
            return SessionMetadata(
                entry.created,
                entry.used,
                entry.reads,
                SessionStatus.EXPIRED if over else SessionStatus.LOCKED if is_locked else SessionStatus.ACTIVE,
                entry.locked_until if is_locked and not over else None,
            )

    def has(self, key: Hashable) -> bool:
        entry = self._find(token_of(key))
        return entry is not None and entry.ends > self._clock()

    def count(self) -> int:
        with self._lock:
            self._check_open()
            self._table.advance(self._clock())
            return self._table.live

    def keys(self) -> Iterator[Hashable]:
        return iter([key_of(entry.token) for entry in self._snapshot(with_locked=True)])

    def items(self) -> Iterator[tuple[Hashable, Any]]:
        found = [(entry.token, entry.value) for entry in self._snapshot(with_locked=False)]
        return ((key_of(token), given(value)) for token, value in found)

    # --- Now and then ------------------------------------------------------------------------------------------------

    def tend(self) -> None:
        buried = limit = 1000
        while buried == limit:  # some at a time, so that others come in between
            with self._lock:
                if self._closed:
                    return
                self._settle()
                self._table.advance(self._clock())
                buried = self._table.bury(limit)

    def close(self) -> None:
        self._upkeep.stop()
        with self._lock:
            self._closed = True
            self._find = _find_nothing
            self._notes.clear()
            self._table.clear()

    @property
    def lock(self) -> threading.Lock:
        """What is held over a fork."""
        return self._lock

    def forked(self) -> None:
        """In the child of a fork: what the parent has locked is locked here, until that runs out."""

    # --- Under the lock ----------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    def _look(self, key: Hashable, now: float) -> Any:
        """A read that is not simple: what is kept, or `MISSING`."""
        token = token_of(key)
        with self._lock:
            entry = self._alive(token, now)
            if entry is None:
                return MISSING
            if entry.locked_until > now:
                raise locked()
            self._settle()
            return self._read(entry, now)

    def _put(self, token: Token, held: Any, lifetime: float, now: float) -> None:
        """What `set` does where there is no such entry, or it is not simple."""
        self._check_open()
        self._settle()
        entry = self._table.entries.get(token)
        if entry is None or entry.ends <= now:
            encoded(token)  # a key that does not encode is refused
            if entry is not None:
                self._table.remove(entry)
            self._make_room(now)
            entry = Entry(token, now)
            self._table.add(entry)
            if self._upkeep.idle:
                self._upkeep.start()
        elif entry.locked_until > now:
            raise locked()
        entry.value = held
        entry.used = now
        entry.touched = max(entry.touched, now)
        entry.idle, entry.step = lifetime, self._config.step(lifetime)
        self._end(entry, (entry.touched if entry.step else now) + lifetime + entry.step)
        entry.quick = _quick(entry)
        self._table.use(entry)

    def _read(self, entry: Entry, now: float) -> Any:
        """What is kept in a live entry that is free, which is read now."""
        if entry.step and now - entry.touched >= entry.step:
            entry.touched = now
            self._end(entry, now + entry.idle + entry.step)
        entry.quick = _quick(entry)
        entry.used = now
        entry.reads += 1
        self._table.use(entry)
        return entry.value

    def _alive(self, token: Token, now: float) -> Entry | None:
        self._check_open()
        entry = self._table.entries.get(token)
        return None if entry is None or entry.ends <= now else entry

    def _holding(self, held: Held, now: float) -> Entry | None:
        entry = self._table.entries.get(held.token)
        is_its = entry is not None and entry.fence == held.fence and entry.locked_until > now
        return entry if is_its else None

    def _free(self, entry: Entry) -> None:
        entry.locked_until = 0.0
        entry.owner = 0

    def _end(self, entry: Entry, ends: float) -> None:
        entry.ends = min(ends, FOREVER)
        self._table.schedule(entry)

    def _settle(self) -> None:
        """Count the reads that were noted, and put their entries where they belong. Those alone that were noted so far:
        others go on noting."""
        self._table.used(self._notes)

    def _make_room(self, now: float) -> None:
        """For one more entry. Raises `StorageError` where there is none to be made."""
        table, most = self._table, self._config.max_size
        if most is None or len(table.entries) < most:
            return
        table.advance(now)
        table.bury(_BURIED)
        while len(table.entries) >= most:
            victim = table.least_used(now)
            if victim is None:
                raise all_locked()
            table.remove(victim)

    def _snapshot(self, *, with_locked: bool) -> list[Entry]:
        now = self._clock()
        with self._lock:
            self._check_open()
            return [
                entry
                for entry in self._table.entries.values()
                if entry.ends > now and (with_locked or entry.locked_until <= now)
            ]


def _quick(entry: Entry) -> float:
    """Until when a free entry can be read with no further look."""
    return min(entry.touched + entry.step, entry.ends) if entry.step else entry.ends


def _find_nothing(_: Token) -> Entry | None:
    raise closed()
