"""Facts in a shard's log: a stream in Valkey or Redis. Pure.

An entry is named by the microsecond in which it was made and a number within it. Within a shard the names only grow;
between the shards of a cluster their order is as good as the clocks of its nodes. A position in the whole history is
one whole number: 64 bits of it for each shard.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..record import Change

__all__ = ["HISTORY", "MASK", "after", "pack_fact", "position_of", "unpack_fact"]

HISTORY: Final = 10_000
"""Facts kept in each log, about."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str | bool | None, Any, float, str, str | bool | None, str | None]).decode
MASK: Final = (1 << 64) - 1
_SEQUENCE: Final = 12  # bits of a position for the facts of one microsecond; a script makes 500 at most


def pack_fact(change: Change) -> bytes:
    """A fact as an entry of the log. Most are named by their session and kind: they need no other name."""
    name = None if change.id == f"{change.handle}:{change.kind}" else change.id
    return _encode((name, change.kind, change.at, change.handle, change.user_id, change.reason))


def unpack_fact(fact: bytes) -> Change:
    """The fact in an entry. (A script writes false for none.)"""
    name, kind, at, handle, user_id, reason = _decode(fact)
    named = name if isinstance(name, str) else f"{handle}:{kind}"
    owner = user_id if isinstance(user_id, str) else None
    return Change(id=named, kind=kind, at=at, handle=handle, user_id=owner, reason=reason)


def position_of(name: bytes) -> int:
    """A stream's name of an entry, microseconds and a number within them, as one number."""
    microseconds, number = name.split(b"-")
    return int(microseconds) << _SEQUENCE | int(number)


def after(position: int) -> str:
    """The range that begins after a position; all of it after 0."""
    return f"({position >> _SEQUENCE}-{position & (1 << _SEQUENCE) - 1}" if position else "-"
