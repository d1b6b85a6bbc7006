"""An entry as a record of the engine. Pure but for the randomness of a version.

It has no secret, so no cookie opens it. Where expiry slides it is the record's idle timeout, else its absolute one.
"""

from __future__ import annotations

from typing import Any, Final

from ..codec import Codec
from ..config import SessionConfig
from ..lanes import mint_version
from ..policy import is_over, new_record
from ..record import VERSION_BYTES, VERSIONS_KEPT, Record, replace
from .settings import FOREVER, SessionStoreConfig

__all__ = ["NAME", "fence_of", "fresh", "is_live", "lasting", "reads_of", "renewed", "told_reads"]

NAME: Final = "\x1ddictstore"
"""Stands where a session has its user: begins with a mark that no user's name has."""

_KEPT: Final = (VERSIONS_KEPT - 1) * VERSION_BYTES
_LIMITS: Final = SessionConfig()
_codec: Final = Codec()


def fresh(handle: str, fields: dict[str, bytes], now: float) -> Record:
    """The record of an entry that begins now."""
    return replace(new_record(handle, b"", mint_version(), fields, now, _LIMITS), user_id=NAME)


def renewed(record: Record, fields: dict[str, bytes], **changes: Any) -> Record:
    """The next version of a record."""
    size = sum(map(len, fields)) + sum(map(len, fields.values()))
    return replace(record, fields=fields, size=size, versions=mint_version() + record.versions[:_KEPT], **changes)


def lasting(record: Record, lifetime: float, config: SessionStoreConfig, now: float) -> Record:
    """The record, to live so many seconds from now."""
    step = config.step(lifetime)
    return replace(
        record,
        accessed_at=max(record.accessed_at, now),
        idle_timeout=lifetime if step else FOREVER,
        touch_interval=step,
        ends_at=FOREVER if step else min(now + lifetime, FOREVER),
    )


def reads_of(record: Record) -> int:
    """How often it was read, as far as that was written back."""
    reads: int = _codec.decode("reads", record.fields["reads"])
    return reads


def fence_of(record: Record) -> int:
    """The number of a record's last lock. A key that is deleted and set anew begins with a later time, so it goes on to
    grow."""
    return int(record.created_at * 1_000_000) + record.fence


def told_reads(reads: int) -> bytes:
    """How often it was read, as it is stored."""
    return _codec.encode("reads", reads)


def is_live(record: Record, now: float) -> bool:
    """Whether the entry is alive. One that was deleted has no fields left, and waits for a sweep."""
    return bool(record.fields) and not is_over(record, now)
