"""Records for tests, and a clock that is set by hand."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any, Final

from .. import ids
from ..record import VERSION_BYTES, VERSIONS_KEPT, Record, replace

__all__ = ["NOW", "Clock", "new_record", "new_version", "successor"]

NOW: Final = 1_750_000_000.0
"""The time at which tests begin, in Unix seconds."""

_number = count(1)


class Clock:
    """A clock that stands still until it is told otherwise. Hand it to a manager as ``clock``."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        """The time it shows, in Unix seconds. May be set."""

    def __call__(self) -> float:
        return self.now

    def advance(self, by: float | timedelta) -> None:
        """Let so many seconds pass."""
        self.now += by.total_seconds() if isinstance(by, timedelta) else by


def new_version() -> bytes:
    """The name of a commit, which no other has."""
    return next(_number).to_bytes(VERSION_BYTES, "big")


def new_record(
    *, at: float = NOW, handle: str = "", idle: float = 1000.0, lasts: float = 10_000.0, **given: Any
) -> Record:
    """A record of a session that was created at this time. `idle` seconds after its last activity it is over (a tenth
    of them are the touch interval), and `lasts` seconds after its creation."""
    fields: dict[str, bytes] = given.pop("fields", {"name": b"\xa3Ada"})
    whole = {
        "handle": handle or ids.mint()[0],
        "secret_digest": ids.digest(ids.mint_secret()),
        "versions": new_version(),
        "user_id": None,
        "created_at": at,
        "authenticated_at": at,
        "rotated_at": at,
        "accessed_at": at,
        "idle_timeout": idle * 0.9,
        "touch_interval": idle * 0.1,
        "ends_at": at + lasts,
        "size": sum(map(len, fields)) + sum(map(len, fields.values())),
        "fields": fields,
    }
    return Record(**(whole | given))


def successor(base: Record, **changes: Any) -> Record:
    """What a writer would commit who loaded `base`: the record with these changes, under a new version."""
    versions = new_version() + base.versions[: (VERSIONS_KEPT - 1) * VERSION_BYTES]
    return replace(base, **({"versions": versions} | changes))
