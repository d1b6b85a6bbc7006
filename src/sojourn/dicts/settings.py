"""The configuration of a `SessionStore`, and what is told of an entry. Pure.

What cannot work is refused at start, with a `ConfigurationError` that names the remedy. Durations are seconds (a
``timedelta`` is taken too), times are Unix seconds.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from ..config import seconds
from ..errors import ConfigurationError

__all__ = ["FOREVER", "SessionMetadata", "SessionStatus", "SessionStoreConfig"]

FOREVER: Final = 253402300800.0
"""The end of what has none: of the year 9999, in Unix seconds."""

_LONGEST_STEP: Final = 60.0


class SessionStatus(Enum):
    """What an entry is. An expired one is told as such until it is cleaned up; then there is none."""

    ACTIVE = "active"
    EXPIRED = "expired"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class SessionMetadata:
    """What is told of an entry: a copy, which does not follow it. Times are Unix seconds."""

    created_at: float = field(default_factory=time.time)
    """When the key was first set. Setting it again does not change this, unless it had expired or was deleted."""
    last_accessed: float = field(default_factory=time.time)
    """When it was last read or set."""
    access_count: int = 0
    """How often `get` and ``[]`` have found it since `created_at`. In a file, other processes see a read only after
    `cleanup_interval`, and a process that is killed takes the reads of that time with it."""
    status: SessionStatus = SessionStatus.ACTIVE
    lock_expiry: float | None = None
    """When its lock ends by itself; None if it is not locked."""


@dataclass(frozen=True, slots=True)
class SessionStoreConfig:
    """Everything that can be set, with the reason for each default."""

    max_size: int | None = 1000
    """How many live entries there may be, in all processes together; beyond it the least recently used one that is not
    locked is evicted. In a file it may be passed for a moment, by as many as are being made at once. None: no bound."""

    expiration_time: float | None = 3600.0
    """Seconds after which an entry is over. ``set(..., expiration=)`` says otherwise for one. None: never."""

    cleanup_interval: float | None = 60.0
    """Seconds between sweeps of what has expired. What has expired is never served in between: this is about space, and
    about when other processes see reads. None: only `set` makes room, when the store is full."""

    persistence_path: str | Path | None = None
    """The database file (SQLite), made if it is not there; its folder must be. A JSON backup of true_storage, or a
    snapshot of a `SessionStore`, is carried over into a database at that path, and kept beside it under another name.
    None: everything is in this process, and ends with it."""

    backup_interval: float | None = 300.0
    """Seconds between snapshots in JSON, in ``<persistence_path>.snapshot.json``; another is written by `stop`. A
    snapshot is for moving and for looking: what is acknowledged is in the database. None: by `stop` alone."""

    max_lock_time: float = 30.0
    """Seconds for which a lock holds at most, and holds if nothing else is said: whoever dies with a lock keeps the
    others out for so long."""

    enable_logging: bool = True
    """Whether this store logs at all, to the logger "sojourn.dictstore". No handler is installed, and no key, no value
    is ever logged."""

    log_level: int = logging.INFO
    """What this store logs at the least. The logger's own level counts beside it."""

    sliding: bool = field(default=False, kw_only=True)
    """Whether the time runs from the last use. False: from the last `set`, as callers of a cache expect. A read is then
    recorded once in a tenth of the time, a minute at most, and an entry ends that much later, never earlier."""

    durability: Literal["power", "process"] = field(default="power", kw_only=True)
    """What an acknowledged write in the file survives: a power cut, or the death of the process. "process" is faster by
    a wait for the disk a write."""

    deadline: float = field(default=5.0, kw_only=True)
    """Seconds that one operation on the file may take, waiting for other processes included."""

    def __post_init__(self) -> None:
        if self.max_size is not None and (type(self.max_size) is not int or self.max_size < 1):
            raise ConfigurationError(
                f"max_size is a whole number of at least 1, not {self.max_size!r}: a store that may hold nothing keeps "
                "nothing. Leave the store out, or set max_size=None for no bound"
            )
        for name in ("expiration_time", "cleanup_interval", "backup_interval", "max_lock_time", "deadline"):
            value = getattr(self, name)
            if value is not None or name in ("max_lock_time", "deadline"):
                object.__setattr__(self, name, seconds(value, name))
        if self.durability not in ("power", "process"):
            raise ConfigurationError(f'durability is "power" or "process", not {self.durability!r}')
        if type(self.log_level) is not int:
            raise ConfigurationError(f"log_level is a number such as logging.INFO, not {self.log_level!r}")

    def lifetime(self, expiration: float | timedelta | None) -> float:
        """Seconds that an entry lives; `FOREVER` where it has no end."""
        if expiration is None:
            return FOREVER if self.expiration_time is None else self.expiration_time
        return min(seconds(expiration, "expiration"), FOREVER)

    def step(self, lifetime: float) -> float:
        """Seconds between two reads that are recorded; 0 where expiry does not slide."""
        return min(lifetime / 10, _LONGEST_STEP) if self.sliding and lifetime < FOREVER else 0.0

    def hold(self, duration: float | timedelta | None) -> float:
        """Seconds for which a lock holds. `ConfigurationError` for none, or fewer."""
        return self.max_lock_time if duration is None else min(seconds(duration, "duration"), self.max_lock_time)
