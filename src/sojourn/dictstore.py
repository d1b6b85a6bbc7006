"""`SessionStore`: a dict of entries that expire, are bounded in number, and can be locked; in this process, or in a
file that many processes share.

    store = SessionStore(SessionStoreConfig(max_size=1000, expiration_time=3600))
    store.set("ada", {"cart": []})
    store["ada"]                                      # a copy: what is stored changes by `set` alone
    with store.locked("ada") as entry:                # to oneself, in all processes
        entry.value = {"cart": ["apple"]}

Names and arguments are those of true_storage's session store. Not a session manager: there are no users and no cookies,
and an entry is one value, replaced as a whole. What it is made of is in `sojourn.dicts`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from .dicts.carrying import carry_over, open_file
from .dicts.durable import DurableShelf
from .dicts.isolation import given
from .dicts.memory import MemoryShelf
from .dicts.settings import SessionMetadata, SessionStatus, SessionStoreConfig
from .dicts.shelf import MISSING, Held, Shelf, Voice, locked
from .errors import StorageError

__all__ = ["LockedEntry", "SessionMetadata", "SessionStatus", "SessionStore", "SessionStoreConfig"]


class SessionStore:
    """Values by key, each with an end. Safe to share between threads; with a ``persistence_path``, between processes,
    and every write that has returned is then in the file.

    A key is anything hashable that can be encoded (`sojourn.codec` lists what), and comes back with its type. Keys of
    different types are different keys: 1, True, 1.0 and "1" are four. A key that is unhashable raises TypeError, one
    that does not encode `UnsupportedValue`, which is a TypeError, too. A value is anything that can be encoded, None
    included. What is stored is nobody else's object: a value that was set, or that `get` returned, can be changed
    freely.

    An expired entry is as good as none. A locked one refuses everybody, who locked it included: `get`, `set`, `delete`
    and what is made of them raise `StorageError`; `in`, `len` and `keys` go on. Any operation raises `StorageError`
    after `stop`, and where the file fails (`__cause__` says how).

    ``clock`` returns Unix seconds; only tests have a reason to set it. Two stores are equal if they are the same store.
    """

    def __init__(self, config: SessionStoreConfig | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.config = config = config or SessionStoreConfig()
        voice = Voice(config)
        if config.persistence_path is None:
            self._shelf: Shelf = MemoryShelf(config, clock)
        else:
            path = Path(config.persistence_path).absolute()
            carry_over(path, config, voice, clock())
            snapshot = path.with_name(f"{path.name}.snapshot.json")
            self._shelf = DurableShelf(open_file(path, config), snapshot, config, voice, clock)
        if type(self) is SessionStore:  # spares each call another: a class of one's own is asked first
            self.get = self._shelf.get  # type: ignore[method-assign]
            self.set = self._shelf.set  # type: ignore[method-assign]

    # --- One entry ---------------------------------------------------------------------------------------------------

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value, to be changed freely; ``default`` if there is none, or it has expired. Counts as a read. Raises
        `StorageError` if it is locked, and `UnsupportedValue` for a stored type that is not registered here."""
        return self._shelf.get(key, default)

    def set(self, key: Hashable, value: Any, expiration: float | timedelta | None = None) -> None:
        """Keep a value, for ``expiration`` seconds; None: as the configuration says. One that is there is replaced as a
        whole, and its time begins anew. At ``max_size`` the least recently used entry goes.

        Raises `StorageError` if the entry is locked, or the store is full and all entries are; `UnsupportedValue` for
        a value that cannot be kept, with the path to it; `ConfigurationError`, a ValueError, for an expiration that is
        not positive. Nothing was written then.
        """
        self._shelf.set(key, value, expiration)

    def delete(self, key: Hashable) -> bool:
        """Delete an entry. Returns whether there was one, alive. Raises `StorageError` if it is locked."""
        return self._shelf.remove(key) is not MISSING

    def pop(self, key: Hashable, default: Any = MISSING) -> Any:
        """Delete an entry and return its value, which nobody else gets, too. Without one, ``default``, or KeyError if
        that is not given. Raises `StorageError` if it is locked."""
        held = self._shelf.remove(key)
        if held is not MISSING:
            return given(held)
        if default is MISSING:
            raise _missing()
        return default

    def popitem(self) -> tuple[Hashable, Any]:
        """Delete some entry that is not locked and return its key and value. KeyError if there is none."""
        for key in self._shelf.keys():  # noqa: SIM118 - it is no dict
            try:
                held = self._shelf.remove(key)
            except StorageError:
                if self._shelf.has(key):
                    continue  # locked meanwhile
                raise
            if held is not MISSING:
                return key, given(held)
        raise _missing()

    def setdefault(self, key: Hashable, default: Any = None, expiration: float | timedelta | None = None) -> Any:
        """The value; if there is none, ``default`` is set, and returned. Of several callers one sets it. Raises as
        `set` and `get`."""
        held = self._shelf.set_new(key, default, expiration)
        return default if held is MISSING else held

    def update(self, other: Mapping[Any, Any] | Iterable[tuple[Hashable, Any]] = (), /, **more: Any) -> None:
        """`set` each of these, one after the other. Where one is refused, those before it are set."""
        for key, value in (*(other.items() if hasattr(other, "items") else other), *more.items()):
            self.set(key, value)

    def get_metadata(self, key: Hashable) -> SessionMetadata | None:
        """When it was made and last used, how often it was read, and what it is: a copy. None if there is none. Of an
        expired entry as long as it is not cleaned up. Counts as no read, and is told of a locked entry, too."""
        return self._shelf.describe(key)

    def get_status(self, key: Hashable) -> SessionStatus | None:
        """As in `get_metadata`; None if there is none."""
        found = self._shelf.describe(key)
        return None if found is None else found.status

    # --- Locks -------------------------------------------------------------------------------------------------------

    def lock(self, key: Hashable, duration: float | timedelta | None = None) -> bool:
        """Keep everybody out of an entry, oneself included, for ``duration`` seconds: ``max_lock_time`` if that is
        less, or nothing is given. Returns whether it is locked now, by this call; False if it is locked already, or
        there is no such entry. The entry does not end before its lock does, and where expiry slides a lock is a use
        until its end. Raises `ConfigurationError`, a ValueError, for a duration that is not positive."""
        return self._take(key, duration, threading.get_ident()) is not None

    def unlock(self, key: Hashable) -> bool:
        """End the lock that this thread has taken by `lock`, of this store. Returns whether it has: False if it is
        another's, or has run out, or there is none."""
        return self._shelf.unlock(key, threading.get_ident())

    def locked(self, key: Hashable, duration: float | timedelta | None = None) -> LockedEntry:
        """``with store.locked(key) as entry:`` locks an entry as `lock` does, and lets its holder in: ``entry.value``
        is the value, and assigning to it sets it, at once; ``entry.fence`` is a number that grows with each lock of the
        key, for systems that must refuse an older holder. The lock ends with the block. Raises KeyError on entry if
        there is no such entry, and `StorageError` if it is locked."""
        return LockedEntry(self._shelf, key, self.config.hold(duration))

    def _take(self, key: Hashable, duration: float | timedelta | None, owner: int) -> Held | None:
        try:
            return self._shelf.take(key, self.config.hold(duration), owner)
        except KeyError:
            return None

    # --- All entries -------------------------------------------------------------------------------------------------

    def keys(self) -> Iterator[Hashable]:
        """The keys of all entries that are alive now, locked ones included; what is done meanwhile does not disturb."""
        return self._shelf.keys()

    def values(self) -> Iterator[Any]:
        """The values, as `items` has them."""
        return (value for _, value in self._shelf.items())

    def items(self) -> Iterator[tuple[Hashable, Any]]:
        """Keys and values of all entries that are alive now; what is done meanwhile does not disturb. Those that are
        locked are left out: their values are nobody's business but their holders'. Counts as no read."""
        return self._shelf.items()

    def clear(self) -> None:
        """Delete all entries. Raises `StorageError` if some are locked: they stay, and all others are deleted."""
        left = self._shelf.clear()
        if left:
            raise StorageError(f"{left} entries are locked and stay: all others were deleted. Clear again later")

    # --- A mapping ---------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Hashable) -> Any:
        found = self.get(key, MISSING)
        if found is MISSING:
            raise _missing()
        return found

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: Hashable) -> None:
        if not self.delete(key):
            raise _missing()

    def __contains__(self, key: Hashable) -> bool:
        return self._shelf.has(key)

    def __iter__(self) -> Iterator[Hashable]:
        return self._shelf.keys()

    def __len__(self) -> int:
        return self._shelf.count()

    def __repr__(self) -> str:
        try:
            size: int | str = len(self)
        except StorageError:  # it was stopped, or its file fails: who looks at it wants no other error
            size = "unknown"
        return f"{type(self).__name__}(size={size}, max_size={self.config.max_size})"

    # --- The whole ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End: write back reads, write a last snapshot, close the file, and wait for the thread. Stopping twice is
        allowed; any other use afterwards raises `StorageError`. So does this, after all of it, if the snapshot could
        not be written."""
        self._shelf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


MutableMapping.register(SessionStore)


class LockedEntry:
    """What `SessionStore.locked` returns: to be entered with ``with``, once."""

    __slots__ = ("_held", "_hold", "_key", "_shelf")

    def __init__(self, shelf: Shelf, key: Hashable, hold: float) -> None:
        self._shelf = shelf
        self._key = key
        self._hold = hold

    @property
    def value(self) -> Any:
        """The value, to be changed freely. Assigning sets it, at once; its end stays as it is. Raises `StorageError` if
        the lock has run out."""
        return self._shelf.read(self._held)

    @value.setter
    def value(self, value: Any) -> None:
        self._shelf.write(self._held, value)

    @property
    def fence(self) -> int:
        """The number of this lock: greater than that of each earlier lock of the key."""
        return self._held.fence

    def __enter__(self) -> Self:
        try:
            held = self._shelf.take(self._key, self._hold, 0)
        except KeyError:
            raise _missing() from None
        if held is None:
            raise locked()
        self._held = held
        return self

    def __exit__(self, *_: object) -> None:
        self._shelf.release(self._held)


def _missing() -> KeyError:
    """Says nothing of the key: keys may be secrets, and exceptions are logged."""
    return KeyError("no such entry: the key was never set, or it was deleted, evicted, or has expired")
