"""What is published in Valkey or Redis when a session is written. Pure.

A session has a channel of its own, so that who watches one hears of that one; who watches all subscribes to a pattern.
What concerns all sessions at once is published in the channel of the empty handle. A message says what a hint says; an
empty one says no more than its channel: look at it.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ..store import Hint

__all__ = ["news_of", "pack_hint", "pattern_of", "unpack_hint"]

_encode = msgspec.msgpack.Encoder().encode
_Message = tuple[str | bool | None, bytes | bool | None, tuple[str, ...] | bool | None, bool, bool]
_decode: Final = msgspec.msgpack.Decoder(_Message).decode


def news_of(prefix: str, database: int) -> str:
    """What the names of a store's channels begin with. (Channels are not kept apart by databases, as keys are; and no
    prefix has braces.)"""
    return f"{prefix}{{{database}}}:news:" if database else f"{prefix}:news:"


def pattern_of(news: str) -> str:
    """The pattern of all channels of a store."""
    return re.sub(r"([*?\[\\])", r"\\\1", news) + "*"


def pack_hint(user_id: str | None, version: bytes | None, fields: tuple[str, ...] | None, facts: bool) -> bytes:
    """What is published of a write. (That a session has ended, the script says that ended it.)"""
    return _encode((user_id, version, fields, facts, False))


def unpack_hint(handle: str, message: bytes) -> Hint:
    """What a message says of a session. (A script writes false for none.)"""
    try:
        user_id, version, fields, facts, ended = _decode(message)
    except ValueError:  # an empty one, or one of another version of Sojourn: whatever it says, it was written
        return Hint(handle)
    return Hint(
        handle,
        user_id if isinstance(user_id, str) else None,
        version if isinstance(version, bytes) else None,
        fields if isinstance(fields, tuple) else None,
        facts,
        ended,
    )
