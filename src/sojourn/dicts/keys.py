"""Keys: which are the same, and where they lie. Pure.

Two keys are the same if they are of the same type and encode alike: 1, True, 1.0 and "1" are four keys, where a dict
would take three of them for one. What a key is known by inside is its *token*: text and whole numbers are their own,
which costs nothing; of any other key it is the encoding.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Hashable
from hashlib import sha256
from typing import Final, TypeAlias, cast

from ..codec import Codec

__all__ = ["Token", "encoded", "handle_of", "key_of", "token_in", "token_of"]

Token: TypeAlias = str | int | bytes

_codec: Final = Codec()
_PLACE: Final = b"sojourn.dictstore"


def token_of(key: Hashable) -> Token:
    """What the key is known by. Raises TypeError for one that is unhashable, and `UnsupportedValue` for one that does
    not encode."""
    kind = type(key)
    if kind is str or kind is int:
        return cast("str | int", key)
    hash(key)
    return _codec.encode("key", key)


def encoded(token: Token) -> bytes:
    """The key as it is stored. Raises `UnsupportedValue` for text that is not Unicode."""
    return token if type(token) is bytes else _codec.encode("key", token)


def token_in(data: bytes) -> Token:
    """The token of a key that was stored so."""
    key = _codec.decode("key", data)
    return key if type(key) is str or type(key) is int else data


def key_of(token: Token) -> Hashable:
    """The key, with its type; nobody else's object. Raises `UnsupportedValue` for a type that is not registered."""
    return cast(Hashable, _codec.decode("key", token)) if type(token) is bytes else token


def handle_of(token: Token) -> str:
    """Under which handle a store has the entry: no two keys have the same, short of a collision of SHA-256."""
    if type(token) is bytes:
        whole = b"\0" + token
    else:
        whole = (b"\1" if type(token) is str else b"\2") + str(token).encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(sha256(_PLACE + whole).digest()).decode().rstrip("=")
