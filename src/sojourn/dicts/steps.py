"""The steps of a durable shelf: to load, make, commit and evict entries, and to note reads.

Each is one operation of the store, or a few that may be repeated. What the roster is told of goes through here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, Literal, TypeVar

from .. import facts
from ..errors import StorageError, StoreError
from ..policy import touch_due
from ..record import Change, Committed, Leased, Outcome, Record
from ..store import Store
from ..waiting import run
from .keys import Token
from .records import NAME, is_live, reads_of, renewed, told_reads
from .roster import Roster
from .settings import SessionStoreConfig
from .shelf import all_locked, closed, locked

__all__ = ["SWEEP", "Asking", "Steps"]

T = TypeVar("T")

SWEEP: Final = 1000
"""Dead records that one step removes."""

_NOTES: Final = 200  # reads that are noted before they are added up


class Asking:
    """Runs operations of the store. Whatever keeps one from being done is a `StorageError`."""

    def __init__(self) -> None:
        self.closed = False

    def __call__(self, operation: Coroutine[Any, Any, T]) -> T:
        if self.closed:
            operation.close()
            raise closed()
        try:
            return run(operation)
        except StoreError as error:
            raise StorageError(str(error)) from error


class Steps:
    """What `DurableShelf` is built on."""

    def __init__(self, store: Store, config: SessionStoreConfig, clock: Callable[[], float]) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._do = Asking()
        self._lock = threading.Lock()  # over the roster; held while the store is asked, never while it is written to
        self._roster = Roster(store, self._do)
        self._notes: deque[tuple[str, float, bool]] = deque()
        self._stopping = False

    # --- Reads that are added up -------------------------------------------------------------------------------------

    def _note_read(self, record: Record, now: float) -> None:
        due = touch_due(record, now) and record.touch_interval > 0
        if due:
            self._do(self._store.touch(record.handle, record.generation, now, now))
        self._notes.append((record.handle, now, due))
        if len(self._notes) > _NOTES and self._lock.acquire(blocking=False):
            try:
                self._add_up(now)
            finally:
                self._lock.release()

    def _add_up(self, now: float) -> None:
        """Take in the reads that were noted so far. Under the lock."""
        notes = [self._notes.popleft() for _ in range(len(self._notes))]
        if any(self._roster.known(handle) is None for handle, *_ in notes):
            self._roster.catch_up(now)  # others have set it, or the roster is new
        for handle, at, touched in notes:
            entry = self._roster.known(handle)
            if entry is not None:  # else it is gone
                entry.reads += 1
                entry.used = max(entry.used, at)
                entry.touched = max(entry.touched, at if touched else 0.0)
                self._roster.use(entry)

    def _write_back(self, until: float) -> None:
        """Write back how often entries were read; not after ``until`` (monotonic seconds)."""
        with self._lock:
            self._check_open()
            self._add_up(self._clock())
            due = [entry for entry in self._roster.all() if entry.reads]
        for entry in due:
            if time.monotonic() >= until or (until == float("inf") and self._stopping):
                return
            record, now = self._load(str(entry.token), locked_too=True)
            reads = entry.reads
            if record is None or record.leased_until > now:
                continue
            fields = record.fields | {"reads": told_reads(reads_of(record) + reads)}
            wanted = renewed(record, fields, accessed_at=max(record.accessed_at, min(entry.used, now)))
            if self._try(record, wanted, now, 0, (), ("reads",), use=False) is not None:
                with self._lock:
                    entry.reads -= reads

    # --- Steps -------------------------------------------------------------------------------------------------------

    def _load(self, handle: str, *, locked_too: bool = False) -> tuple[Record | None, float]:
        """A live entry, and the time. Raises `StorageError` for one that is locked."""
        record, now = self._do(self._store.load(handle)), self._clock()
        if record is None or not is_live(record, now):
            return None, now
        if record.leased_until > now and not locked_too:
            raise locked()
        return record, now

    def _free(self, handle: str) -> tuple[Record | None, float]:
        """As `_load`. A dead one is removed: `create` puts nothing in the place of another."""
        record, now = self._load(handle)
        while record is None and self._do(self._store.load(handle)) is not None:
            if not self._do(self._store.purge_expired(now, SWEEP)):
                break  # somebody else was quicker, or set it anew
        return record, now

    def _create(self, wanted: Record, now: float) -> bool:
        """Whether nobody else was quicker."""
        self._make_room(now, 1, "")
        outcome = self._do(self._store.create(wanted, now))
        if not isinstance(outcome, Committed) or outcome.record.versions != wanted.versions:
            return False
        with self._lock:
            self._learn(wanted, wanted.handle, now)
        self._make_room(now, 0, wanted.handle)  # others may have made one, too
        return True

    def _make_room(self, now: float, more: int, but: str) -> None:
        """Evict until there is room for so many more. Raises `StorageError` where there is none to be made, if it was
        for more."""
        most = self._config.max_size
        if most is None:
            return
        for _ in self._attempts():
            with self._lock:
                self._check_open()
                self._add_up(now)
                self._roster.catch_up(now)
                if self._roster.count() + more <= most:
                    return
                victim = self._roster.least_used(now)
                if victim is None and more:
                    raise all_locked()
            if victim is None or victim.token == but:
                return
            self._evict(victim.token, victim.touched, now)

    def _evict(self, handle: Token, touched: float, now: float) -> None:
        """Delete an entry unless others use it, which is then known here."""
        record = self._do(self._store.load(str(handle)))
        if record is not None and is_live(record, now) and record.accessed_at <= touched:
            if record.leased_until <= now and self._bury(record, now, "evicted") is not None:
                return
            record = self._do(self._store.load(str(handle)))
        with self._lock:
            self._learn(record, str(handle), now)
            entry = self._roster.known(str(handle))
            if entry is not None and record is not None and record.accessed_at > touched:
                self._roster.use(entry)

    def _bury_quietly(self, handle: str) -> bool:
        """Whether an entry is deleted, or gone; it is not if it is locked."""
        for _ in self._attempts():
            record, now = self._load(handle, locked_too=True)
            if record is None:
                return True
            if record.leased_until > now:
                return False
            if self._bury(record, now, "ended", quietly=True) is not None:
                return True
        raise AssertionError  # the attempts end with an error

    def _bury(
        self, record: Record, now: float, reason: Literal["ended", "evicted"], *, quietly: bool = False
    ) -> Record | None:
        """Let an entry end now; None if somebody was quicker."""
        wanted = renewed(record, {}, ends_at=now)
        told = (facts.ended(record.handle, NAME, reason, now),)
        try:
            return self._try(record, wanted, now, 0, told, (), use=True)
        except StorageError:
            if quietly or reason == "evicted":
                return None  # locked at this moment
            raise

    def _commit(self, base: Record, wanted: Record, now: float, *, fence: int = 0, told: str = "") -> Record | None:
        """Commit; None if somebody was quicker. Raises `StorageError` if somebody else has it locked."""
        names = (told,) if told else ()
        news = (facts.changed(wanted.handle, NAME, wanted.version, names, now),) if told else ()
        return self._try(base, wanted, now, fence, news, names, use=bool(told))

    def _try(
        self,
        base: Record,
        wanted: Record,
        now: float,
        fence: int,
        told: tuple[Change, ...],
        names: tuple[str, ...],
        *,
        use: bool,
    ) -> Record | None:
        outcome: Outcome = self._do(self._store.commit(base, wanted, now, fence=fence, facts=told, fields=names))
        if isinstance(outcome, Committed):
            with self._lock:
                if use:
                    self._add_up(now)  # reads that came before are older uses
                self._learn(outcome.record, wanted.handle, now, use=use)
            return outcome.record
        if isinstance(outcome, Leased) and not fence and use:
            raise locked()
        return None

    def _learn(self, record: Record | None, handle: str, now: float, *, use: bool = True) -> None:
        """Tell the roster of a record that was seen or made; under the lock. What comes late tells nothing: another
        thread may have told of a newer one by now. So unless it goes back to what the roster knows, look again."""
        entry = self._roster.known(handle)
        if entry is None or record is None or not record.knows(entry.version):
            self._roster.look({handle}, now)
        else:
            if not use:
                entry.version = record.version  # by which a use would be seen
            self._roster.learn(record, handle, now)
        entry = self._roster.known(handle)
        if entry is not None and record is not None and use:
            entry.used = max(entry.used, min(record.accessed_at, now))

    def _attempts(self) -> Iterator[None]:
        give_up = time.monotonic() + self._config.deadline
        while time.monotonic() < give_up:
            yield
        raise StorageError("others wrote the same entries all the while: nothing was written. Try again")

    def _check_open(self) -> None:
        if self._do.closed:
            raise closed()
