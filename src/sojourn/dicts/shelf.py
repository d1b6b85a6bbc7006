"""What both shelves do, and what is raised where something is refused.

A shelf keeps the entries of one `SessionStore`. Its operations are safe to call from many threads, and each is one
step: all of it happens, or `StorageError` (or `UnsupportedValue`, or TypeError for a key) says why none of it did.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from ..errors import StorageError
from .keys import Token
from .settings import SessionMetadata, SessionStoreConfig

__all__ = ["MISSING", "Held", "Shelf", "Voice", "all_locked", "closed", "late", "locked"]

log = logging.getLogger("sojourn.dictstore")

MISSING: Final[Any] = object()
"""What stands for a value where there is none."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that somebody has."""

    token: Token
    fence: int
    """It grows with each lock of the key."""


class Shelf(Protocol):
    """Where the entries of a `SessionStore` are."""

    def get(self, key: Hashable, default: Any = None) -> Any:
        """See `SessionStore.get`."""

    def set(self, key: Hashable, value: Any, expiration: float | timedelta | None = None) -> None:
        """See `SessionStore.set`."""

    def set_new(self, key: Hashable, value: Any, expiration: float | timedelta | None = None) -> Any:
        """Set it if there is none, and return `MISSING`; else return the value that there is."""

    def remove(self, key: Hashable) -> Any:
        """Delete an entry. Returns what was kept, for `isolation.given`; `MISSING` if there was none."""

    def clear(self) -> int:
        """Delete all entries that are not locked. Returns how many are left because they are."""

    def take(self, key: Hashable, hold: float, owner: int) -> Held | None:
        """Lock an entry for so many seconds; None if somebody has it locked. KeyError if there is none."""

    def unlock(self, key: Hashable, owner: int) -> bool:
        """End a lock of this thread's."""

    def release(self, held: Held) -> None:
        """End a lock. Nothing happens if it has ended."""

    def read(self, held: Held) -> Any:
        """The value of an entry, for who has it locked."""

    def write(self, held: Held, value: Any) -> None:
        """Set it, for who has it locked. The end stays as it is."""

    def describe(self, key: Hashable) -> SessionMetadata | None:
        """What is told of an entry; None if there is none."""

    def has(self, key: Hashable) -> bool:
        """Whether there is such an entry, alive; locked or not."""

    def count(self) -> int:
        """How many are alive."""

    def keys(self) -> Iterator[Hashable]:
        """The keys of those that were alive."""

    def items(self) -> Iterator[tuple[Hashable, Any]]:
        """Keys and values of those that were alive and not locked."""

    def tend(self) -> None:
        """What is to be done now and then: remove the dead, write back reads, write a snapshot."""

    def close(self) -> None:
        """Finish what was begun, wait for the thread, and part with everything. Closing twice is allowed."""


class Voice:
    """What one store logs."""

    def __init__(self, config: SessionStoreConfig) -> None:
        self._level = config.log_level if config.enable_logging else logging.CRITICAL + 1

    def say(self, level: int, message: str, *about: object) -> None:
        """Log it, if this store logs at that level. Neither keys nor values are among what it is about."""
        if level >= self._level:
            log.log(level, message, *about)


def locked() -> StorageError:
    """What is raised for an entry that somebody has locked."""
    return StorageError(
        "the entry is locked: nothing was changed. Try again when it is unlocked, or its lock has run out; "
        "`with store.locked(key) as entry:` is the way in for who locks it"
    )


def late() -> StorageError:
    """What is raised for who had an entry locked, and has it no longer."""
    return StorageError(
        "the lock has run out, or the entry is gone: nothing was changed, and another may have it locked. Lock it for "
        "longer, or do less under the lock"
    )


def all_locked() -> StorageError:
    """What is raised where there is no room, and none can be made."""
    return StorageError(
        "the store is full and every entry is locked: nothing was written. Unlock one, wait until a lock runs out, or "
        "raise SessionStoreConfig(max_size=...)"
    )


def closed() -> StorageError:
    """What is raised for a store that was stopped."""
    return StorageError("the store was stopped: make a new SessionStore")
