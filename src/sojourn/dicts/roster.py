"""Which entries a durable shelf has: how many, which was used least recently, which will end next.

The roster is this process's, and what others do to the file reaches it by the store's history: it is read before the
roster is asked, and whoever is named there is looked at. What the history does not tell (that others read an entry, or
have it locked) is seen when the entry is looked at, which is before it is evicted or taken for dead. Where the history
no longer reaches back, the roster is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

from ..errors import HistoryTrimmed
from ..record import Record, replace
from ..store import Store
from .records import NAME, is_live
from .settings import FOREVER
from .table import Entry, Table

__all__ = ["Roster", "pages"]

T = TypeVar("T")

_PAGE: Final = 1000


class Do(Protocol):
    """How operations of the store are run."""

    def __call__(self, operation: Coroutine[Any, Any, T]) -> T: ...


class Roster:
    """The entries of a store by their handles. The caller keeps others out."""

    def __init__(self, store: Store, do: Do) -> None:
        self._store = store
        self._do = do
        self._table = Table()
        self._position = -1

    def known(self, handle: str) -> Entry | None:
        """What is known of an entry, without a look."""
        return self._table.entries.get(handle)

    def all(self) -> Iterable[Entry]:
        """All that are known."""
        return self._table.entries.values()

    def learn(self, record: Record | None, handle: str, now: float) -> Entry | None:
        """The entry is like this now; None if it is no more."""
        table = self._table
        entry = table.entries.get(handle)
        if record is None or record.user_id != NAME or not is_live(record, now):
            if entry is not None:
                table.remove(entry)
            return None
        if entry is None:
            entry = Entry(handle, record.accessed_at)
            entry.version = record.version
            table.add(entry)
        elif entry.version != record.version:
            entry.version = record.version
            table.use(entry)
        entry.touched, entry.locked_until = record.accessed_at, record.leased_until
        entry.ends = min(record.expires_at, FOREVER)
        table.schedule(entry)
        return entry

    def use(self, entry: Entry) -> None:
        """It was read or set just now."""
        self._table.use(entry)

    def catch_up(self, now: float) -> None:
        """Take in what others did, and what time did."""
        if self._position < 0:
            self._make(now)
        try:
            more = True
            while more:
                self._position, facts = self._do(self._store.changes(self._position, _PAGE))
                self.look({fact.handle for fact in facts if fact.user_id == NAME}, now)
                more = len(facts) == _PAGE
        except HistoryTrimmed:
            self._make(now)
        died = self._table.advance(now)
        for at in range(0, len(died), _PAGE):
            self.look({str(entry.token) for entry in died[at : at + _PAGE]}, now)

    def count(self) -> int:
        """How many were alive when it caught up."""
        return self._table.live

    def least_used(self, now: float) -> Entry | None:
        """The one that was used least recently, as far as is known here, and is not known to be locked."""
        return self._table.least_used(now)

    def look(self, handles: set[str], now: float) -> None:
        """Learn how these are now."""
        if handles:
            records = self._do(self._store.load_many(list(handles)))
            for handle in handles:
                self.learn(records.get(handle), handle, now)

    def _make(self, now: float) -> None:
        """Begin anew, in the order of the last use. What is known of reads goes on."""
        position = self._do(self._store.position())  # first: what comes in between is looked at again
        before = dict(self._table.entries)
        found = [_without_values(record) for page in pages(self._store, self._do) for record in page]
        self._table.clear()

        def used(record: Record) -> tuple[float, str]:
            entry = before.get(record.handle)
            return (record.accessed_at if entry is None else max(record.accessed_at, entry.used), record.handle)

        for record in sorted(found, key=used):
            entry = self.learn(record, record.handle, now)
            if entry is not None and record.handle in before:
                entry.reads, entry.used = before[record.handle].reads, before[record.handle].used
        self._position = position


def _without_values(record: Record) -> Record:
    """The record without its values, which a roster has no use for."""
    return replace(record, fields=dict.fromkeys(record.fields, b""))


def pages(store: Store, do: Callable[[Any], Any]) -> Iterator[list[Record]]:
    """All records of the store that are entries, dead or alive, some at a time."""
    walk = store.walk()
    while True:
        try:
            page = do(anext(walk))
        except StopAsyncIteration:
            return
        yield [record for record in page if record.user_id == NAME]
