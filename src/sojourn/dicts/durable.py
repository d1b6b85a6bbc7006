"""The shelf over a store of the engine: a file that many processes share.

An entry is a record without a secret, under a handle that is made of its key. Each read is a look into the store, so
nothing stale is served; each write is a compare-and-set, tried again until the deadline. The lock of an entry is the
record's lease. To delete is to commit an end that is now: that heeds locks, as any commit does, and what has ended is
removed by a sweep.

A lock counts as a use until its end: so `clear`, which ends in one step whatever was used up to now, passes by what is
locked. How often an entry was read is added up here and written back now and then.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from ..errors import DamagedRecord, SojournError, StorageError, StoreError
from ..policy import is_over
from ..record import Gone, Leased, Record, replace
from ..store import Store
from ..waiting import run
from . import forking
from .isolation import Packed, decoded, encoded
from .keys import encoded as encoded_key
from .keys import handle_of, key_of, token_in, token_of
from .portable import Told, write_snapshot
from .records import NAME, fence_of, fresh, is_live, lasting, reads_of, renewed, told_reads
from .roster import Roster, pages
from .settings import SessionMetadata, SessionStatus, SessionStoreConfig
from .shelf import MISSING, Held, Voice, late
from .steps import SWEEP, Steps
from .upkeep import Upkeep

__all__ = ["DurableShelf"]

_LAST_WORDS: Final = 5.0  # seconds for which `close` writes back reads


class DurableShelf(Steps):
    """Entries in a store. ``snapshot`` is where a copy in JSON is written."""

    def __init__(
        self,
        store: Store,
        snapshot: Path,
        config: SessionStoreConfig,
        voice: Voice,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, config, clock)
        self._path = snapshot
        self._voice = voice
        self.lock: None = None
        """None is held over a fork: the store sees to itself, and the roster is made anew."""
        self._locks: dict[str, tuple[Held, int, float]] = {}  # those that were taken here: by which thread, until when
        self._saved_at = time.monotonic()
        intervals = [one for one in (config.cleanup_interval, config.backup_interval) if one is not None]
        self._upkeep = Upkeep(self, min(intervals, default=None))
        self._finish = weakref.finalize(self, _part, store)  # where it is dropped, and was never stopped
        self._finish.atexit = False
        forking.note(self)

    # --- One entry ---------------------------------------------------------------------------------------------------

    def get(self, key: Hashable, default: Any = None) -> Any:
        handle = handle_of(token_of(key))
        record, now = self._load(handle)
        if record is None:
            return default
        self._note_read(record, now)
        return decoded(record.fields["value"])

    def set(self, key: Hashable, value: Any, expiration: float | timedelta | None = None) -> None:
        self._set(key, value, expiration, new=False)

    def set_new(self, key: Hashable, value: Any, expiration: float | timedelta | None = None) -> Any:
        return self._set(key, value, expiration, new=True)

    def _set(self, key: Hashable, value: Any, expiration: float | timedelta | None, *, new: bool) -> Any:
        if self._upkeep.idle:
            self._upkeep.start()
        token = token_of(key)
        name, data = encoded_key(token), encoded(value)
        lifetime = self._config.lifetime(expiration)
        handle = handle_of(token)
        for _ in self._attempts():
            record, now = self._free(handle)
            if record is not None and new:
                self._note_read(record, now)
                return decoded(record.fields["value"])
            reads = told_reads(0) if record is None else record.fields["reads"]
            fields = {"key": name, "value": data, "reads": reads}
            if record is None:
                if self._create(lasting(fresh(handle, fields, now), lifetime, self._config, now), now):
                    return MISSING
                continue
            wanted = lasting(renewed(record, fields), lifetime, self._config, now)
            if self._commit(record, wanted, now, told="value") is not None:
                return MISSING
        raise AssertionError  # the attempts end with an error

    def remove(self, key: Hashable) -> Any:
        handle = handle_of(token_of(key))
        for _ in self._attempts():
            try:
                record, now = self._load(handle)
            except StorageError as error:
                if not isinstance(error.__cause__, DamagedRecord):
                    raise
                self._do(self._store.end([handle], "ended", self._clock()))  # that is what one can do about it
                return MISSING
            if record is None:
                return MISSING
            if self._bury(record, now, "ended") is not None:
                return Packed(record.fields["value"])
        raise AssertionError  # the attempts end with an error

    def clear(self) -> int:
        now = self._clock()
        self._do(self._store.end_matching(now, user_id=NAME, idle_since=now, reason="ended"))
        left = 0
        for page in pages(self._store, self._do):
            for record in page:
                if is_live(record, now):
                    left += not self._bury_quietly(record.handle)
        return left

    # --- Locks -------------------------------------------------------------------------------------------------------

    def take(self, key: Hashable, hold: float, owner: int) -> Held | None:
        token = token_of(key)
        handle = handle_of(token)
        record, now = self._load(handle, locked_too=True)
        if record is None:
            raise KeyError
        outcome = self._do(self._store.lease(handle, record.generation, hold, now))
        if isinstance(outcome, Leased):
            return None
        if isinstance(outcome, Gone):
            raise KeyError
        record = outcome.record
        until = record.leased_until
        if not self._do(self._store.touch(handle, record.generation, until, now)):
            raise KeyError
        for _ in self._attempts():
            if record.ends_at >= until:
                break
            done = self._commit(record, renewed(record, record.fields, ends_at=until), now, fence=record.fence)
            record = done or self._held(Held(token, fence_of(record)), now)
        held = Held(token, fence_of(record))
        with self._lock:
            self._learn(replace(record, accessed_at=max(record.accessed_at, until)), handle, now, use=False)
            self._locks[handle] = (held, owner, until)
        return held

    def unlock(self, key: Hashable, owner: int) -> bool:
        handle = handle_of(token_of(key))
        with self._lock:
            self._check_open()
            held, by, _ = self._locks.get(handle, (None, 0, 0.0))
        return held is not None and by == owner and self._give_back(held)

    def release(self, held: Held) -> None:
        if not self._do.closed:
            self._give_back(held)

    def read(self, held: Held) -> Any:
        return decoded(self._held(held, self._clock()).fields["value"])

    def write(self, held: Held, value: Any) -> None:
        data = encoded(value)
        for _ in self._attempts():
            now = self._clock()
            record = self._held(held, now)
            wanted = renewed(record, record.fields | {"value": data}, accessed_at=max(record.accessed_at, now))
            if self._commit(record, wanted, now, fence=record.fence, told="value") is not None:
                return

    def _give_back(self, held: Held) -> bool:
        handle = handle_of(held.token)
        with self._lock:
            if handle in self._locks and self._locks[handle][0] == held:
                del self._locks[handle]
        for _ in self._attempts():
            now = self._clock()
            record = self._holding(held, now)
            if record is None:
                return False
            if self._commit(record, renewed(record, record.fields, leased_until=0.0), now, fence=record.fence):
                return True
        raise AssertionError  # the attempts end with an error

    def _holding(self, held: Held, now: float) -> Record | None:
        """The record, for who has it locked; None for who has it no longer."""
        record = self._do(self._store.load(handle_of(held.token)))
        if record is None or not is_live(record, now) or record.leased_until <= now:
            return None
        return record if fence_of(record) == held.fence else None

    def _held(self, held: Held, now: float) -> Record:
        record = self._holding(held, now)
        if record is None:
            raise late()
        return record

    # --- Looking -----------------------------------------------------------------------------------------------------

    def describe(self, key: Hashable) -> SessionMetadata | None:
        handle = handle_of(token_of(key))
        record = self._do(self._store.load(handle))
        if record is None or not record.fields:
            return None
        now = self._clock()
        with self._lock:
            self._add_up(now)
            entry = self._roster.known(handle)
        over, is_locked = is_over(record, now), record.leased_until > now
        return SessionMetadata(
            record.created_at,
            min(max(record.accessed_at, 0.0 if entry is None else entry.used), now),
            reads_of(record) + (0 if entry is None else entry.reads),
            SessionStatus.EXPIRED if over else SessionStatus.LOCKED if is_locked else SessionStatus.ACTIVE,
            record.leased_until if is_locked and not over else None,
        )

    def has(self, key: Hashable) -> bool:
        return self._load(handle_of(token_of(key)), locked_too=True)[0] is not None

    def count(self) -> int:
        with self._lock:
            self._check_open()
            self._roster.catch_up(self._clock())
            return self._roster.count()

    def keys(self) -> Iterator[Hashable]:
        return iter([key_of(token_in(record.fields["key"])) for record in self._live(with_locked=True)])

    def items(self) -> Iterator[tuple[Hashable, Any]]:
        found = [(record.fields["key"], record.fields["value"]) for record in self._live(with_locked=False)]
        return ((key_of(token_in(name)), decoded(data)) for name, data in found)

    def _live(self, *, with_locked: bool) -> Iterator[Record]:
        now = self._clock()
        for page in pages(self._store, self._do):
            for record in page:
                if is_live(record, now) and (with_locked or record.leased_until <= now):
                    yield record

    # --- Now and then ------------------------------------------------------------------------------------------------

    def tend(self) -> None:
        try:
            while len(self._do(self._store.purge_expired(self._clock(), SWEEP))) >= SWEEP:
                pass
            self._write_back(float("inf"))
            self._forget_locks(self._clock())
            interval = self._config.backup_interval
            if interval is not None and time.monotonic() - self._saved_at >= interval:
                self.save()
        except (SojournError, OSError) as error:
            if not self._do.closed:  # else it was stopped meanwhile, and `stop` does all that
                self._voice.say(logging.WARNING, "the upkeep of a SessionStore has to wait: %s", error)

    def _forget_locks(self, now: float) -> None:
        """Those that have run out, and were given back by nobody."""
        with self._lock:
            self._locks = {handle: lock for handle, lock in self._locks.items() if lock[2] > now}

    def save(self) -> None:
        """Write the snapshot. Raises `StorageError` where that fails; the one before is kept then."""
        self._saved_at = time.monotonic()
        with self._lock:
            self._check_open()
            self._add_up(self._clock())
            pending = {entry.token: (entry.reads, entry.used) for entry in self._roster.all()}
        told = (_told(record, *pending.get(record.handle, (0, 0.0))) for record in self._live(with_locked=True))
        try:
            write_snapshot(self._path, told, self._clock())
        except OSError as error:
            raise StorageError(
                f"the snapshot {self._path} cannot be written: {error}. The database has everything, and the snapshot "
                "before this is kept"
            ) from error

    def close(self) -> None:
        self._stopping = True  # or the thread would first write back all there is
        self._upkeep.stop()
        if self._do.closed:
            return
        try:
            self._write_back(time.monotonic() + _LAST_WORDS)
            self.save()
        finally:
            self._do.closed = True
            self._finish.detach()
            _part(self._store)

    def forked(self) -> None:
        """In the child of a fork: reads that were noted are the parent's to write back, and its locks are its own."""
        self._lock = threading.Lock()
        self._roster = Roster(self._store, self._do)
        self._notes.clear()
        self._locks.clear()


def _part(store: Store) -> None:
    try:
        run(store.close())
    except StoreError as error:
        raise StorageError(str(error)) from error


def _told(record: Record, reads: int, used: float) -> Told:
    return Told(
        record.fields["key"],
        record.fields["value"],
        record.created_at,
        max(record.accessed_at, used),
        reads_of(record) + reads,
        record.ends_at if not record.touch_interval else None,
        record.idle_timeout if record.touch_interval else None,
    )
