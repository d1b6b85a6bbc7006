"""Facts in a shard's log: a stream in Valkey or Redis. Pure.

An entry is named by the microsecond in which it was made and a number within it. Within a shard the names only grow;
between the shards of a cluster their order is as good as the clocks of its nodes. A position in the whole history is
one whole number: 64 bits of it for each shard.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from ..record import Change

__all__ = ["MASK", "name_of", "pack_fact", "position_of", "unpack_fact"]


class _Fact(Struct, array_like=True, frozen=True, gc=False):
    """An entry. (A script writes false for none, and nothing after the reason.)"""

    id: str | bool | None
    kind: Any
    at: float
    handle: str
    user_id: str | bool | None
    reason: str | None
    fields: tuple[str, ...] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Fact).decode
MASK: Final = (1 << 64) - 1
_SEQUENCE: Final = 12  # bits of a position for the facts of one microsecond; a script makes 500 at most


def pack_fact(change: Change) -> bytes:
    """A fact as an entry of the log. Most are named by their session and kind: they need no other name."""
    name = None if change.id == f"{change.handle}:{change.kind}" else change.id
    fields = () if change.fields is None else (change.fields,)
    return _encode((name, change.kind, change.at, change.handle, change.user_id, change.reason, *fields))


def unpack_fact(entry: bytes) -> Change:
    """The fact in an entry."""
    fact = _decode(entry)
    return Change(
        id=fact.id if isinstance(fact.id, str) else f"{fact.handle}:{fact.kind}",
        kind=fact.kind,
        at=fact.at,
        handle=fact.handle,
        user_id=fact.user_id if isinstance(fact.user_id, str) else None,
        reason=fact.reason,
        fields=fact.fields,
    )


def position_of(name: bytes) -> int:
    """A stream's name of an entry, microseconds and a number within them, as one number."""
    microseconds, number = name.split(b"-")
    return int(microseconds) << _SEQUENCE | int(number)


def name_of(position: int) -> str:
    """A position as the name of the entry there; that of the first there can be for 0."""
    return f"{position >> _SEQUENCE}-{position & (1 << _SEQUENCE) - 1}" if position else "-"
