"""Values that nobody can change from outside: what `isolated` has taken in, `given` hands out, each time as new. Pure.

What cannot change is kept and handed out as it is. A dict or a list of such is copied, which takes a fraction of what
decoding takes. Everything else is kept encoded. What the codec refuses is refused here, all the same.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from gc import get_referents
from typing import Any, Final
from uuid import UUID

import msgspec

from ..codec import ATOMS, Codec

__all__ = ["Packed", "decoded", "encoded", "given", "isolated"]

NAME: Final = "value"
"""Where the path of what is refused begins."""

_FROZEN: Final = frozenset({date, datetime, time, timedelta, Decimal, UUID})
_codec: Final = Codec()
_pack: Final = msgspec.msgpack.Encoder().encode


class Packed:
    """A value that is kept encoded. (A class of its own, as bytes are a value, too.)"""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def isolated(value: Any) -> Any:
    """The value as it is kept. Raises `UnsupportedValue`, with the path, for what does not encode."""
    kind = type(value)
    if kind in ATOMS:
        if kind is str and not value.isascii():
            _codec.encode(NAME, value)  # text that is not Unicode is refused
        return value
    if kind is dict or kind is list:
        value = value.copy()  # and look at the copy: nobody else can change that
        if ATOMS.issuperset(map(type, get_referents(value))):  # (of a dict whose keys are all text only the values)
            try:
                _pack(value)
            except (TypeError, ValueError, OverflowError):
                pass  # a number past 64 bits, which the codec has, or text that is not Unicode, which it tells of
            else:
                return value
    data = _codec.encode(NAME, value)
    return value if kind in _FROZEN or isinstance(value, Enum) else Packed(data)


def given(held: Any) -> Any:
    """The value to hand out: who gets it may change it."""
    kind = type(held)
    if kind is Packed:
        return _codec.decode(NAME, held.data)
    return held.copy() if kind is dict or kind is list else held


encoded: Final = partial(_codec.encode, NAME)
"""The value as a store keeps it. Raises as `isolated`."""

decoded: Final = partial(_codec.decode, NAME)
"""The value of such bytes. Raises `UnsupportedValue` for a type that is not registered, and ValueError for bytes that
are no encoding."""
