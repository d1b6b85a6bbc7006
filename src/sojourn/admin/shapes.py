"""What is in a stored value, level by level, and how one part of it becomes another. Pure.

It works on what is stored and not on values: nothing of the application runs, and a class that is not registered here
is opened all the same. A value is *unpacked* into what MessagePack has; what that has not stays an `Ext`, and is opened
when somebody looks into it.

    step       where to go from a value: ".name" a key that is text, or an attribute; "[3]" a member of a list or tuple;
               "#..." the digest of another key, or of one that is too long, or is to be shown to nobody; "*..." the
               digest of a member of a set
    path       the steps from a session to a value: the first is a field's
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.msgpack import Ext

from ..codec import ATOMS, Code, Codec
from ..errors import SojournError, UnsupportedValue
from .redaction import holds_an_id

__all__ = [
    "GONE",
    "EditRefused",
    "Member",
    "Path",
    "Shape",
    "changed_at",
    "check",
    "content_of",
    "field_named",
    "field_step",
    "find",
    "opened",
    "pack",
    "path_of",
    "path_text",
    "rebuilt",
    "unpack",
    "value_of",
]

Path = tuple[str, ...]
"""The steps to a value, from the session: the first is a field's."""

GONE: Final = object()
"""In place of a value: there is to be none any more."""

_LONGEST_STEP: Final = 100  # characters of a key that stands in a step as it is
_LONGEST_PATH: Final = 32_768
_MOST_STEPS: Final = 128
_NAMES: Final = {
    Code.TUPLE: "tuple",
    Code.SET: "set",
    Code.FROZENSET: "frozenset",
    Code.PAIRS: "dict",
    Code.BIG_INT: "int",
    Code.DATETIME: "datetime",
    Code.DATE: "date",
    Code.TIME: "time",
    Code.TIMEDELTA: "timedelta",
    Code.DECIMAL: "Decimal",
    Code.UUID: "UUID",
}

_codec: Final = Codec()
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder()
_read_path: Final = msgspec.json.Decoder(list[str]).decode


class EditRefused(SojournError, ValueError):
    """An edit that cannot be made, in words for who asked for it. Nothing was written. It tells no value."""


class Member(Struct, frozen=True):
    """One part of a value."""

    step: str
    key: Any
    """The key of a dict, unpacked; the name of an attribute; an index; None for a member of a set."""
    value: Any
    """Unpacked."""


class Shape(Struct, frozen=True):
    """One level of a stored value."""

    type: str
    """The name of its type; of the application's as it is registered."""
    members: list[Member] | None = None
    """What is in it; None: it has no parts."""
    form: str = ""
    """How its members are named: "dict", "list", "set" or "object"; empty: it has none."""


def pack(raw: Any) -> bytes:
    """What was unpacked, as it is stored."""
    return _encoder.encode(raw)


def unpack(data: bytes) -> Any:
    """A stored value with what is in it. ValueError for bytes that are none."""
    try:
        return _decoder.decode(data)
    except ValueError:
        raise
    except (RecursionError, TypeError, MemoryError) as error:  # nested without end; keys that no dict can have
        raise ValueError(f"it cannot be read: {type(error).__name__}") from None


def content_of(raw: Ext) -> Any:
    """What is in a value that MessagePack has not. ValueError where it is damaged."""
    return unpack(bytes(raw.data))


def value_of(raw: Any) -> Any:
    """The value itself, as the application has it. `UnsupportedValue` for a type that is not registered here,
    ValueError for what is damaged."""
    return raw if type(raw) in ATOMS else _codec.decode("", pack(raw))


def opened(raw: Any) -> Shape:
    """One level of a value. ValueError for a part that is damaged."""
    kind = type(raw)
    if kind is dict:
        return Shape("dict", [Member(_key_step(key), key, value) for key, value in raw.items()], "dict")
    if kind is list:
        return Shape("list", _numbered(raw), "list")
    if kind in ATOMS:
        return Shape("None" if raw is None else kind.__name__)
    if kind is not Ext:
        raise ValueError("it was not written by Sojourn")  # MessagePack has a timestamp of its own
    try:
        return _opened_ext(raw)
    except (TypeError, AttributeError) as error:  # of another form than is written by us
        raise ValueError(f"it cannot be read: {type(error).__name__}") from None


def _opened_ext(raw: Ext) -> Shape:
    code = raw.code
    if code == Code.TUPLE:
        return Shape("tuple", _numbered(_list(content_of(raw))), "list")
    if code in (Code.SET, Code.FROZENSET):
        packed = _list(content_of(raw))
        members = [Member(f"*{_digest(data)}", None, unpack(data)) for data in packed]
        return Shape(_NAMES[Code(code)], members, "set")
    if code == Code.PAIRS:
        flat = _list(content_of(raw))
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return Shape("dict", [Member(_key_step(key), key, value) for key, value in pairs], "dict")
    if code == Code.OBJECT:
        name, content = content_of(raw)
        if type(content) is str:
            return Shape(str(name))
        return Shape(str(name), [Member(_key_step(key), key, value) for key, value in content.items()], "object")
    if code == Code.MEMBER:
        name, _ = content_of(raw)
        return Shape(str(name))
    if code not in _NAMES:
        raise ValueError(f"extension {code} is not known here: it was written by a newer version of Sojourn")
    return Shape(_NAMES[Code(code)])


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError("it cannot be read: what belongs into a list is in none")
    return value


def _numbered(values: list[Any]) -> list[Member]:
    return [Member(f"[{at}]", at, value) for at, value in enumerate(values)]


def _key_step(key: Any) -> str:
    plain = type(key) is str and len(key) <= _LONGEST_STEP and not holds_an_id(key)
    return f".{key}" if plain else f"#{_digest(pack(key))}"


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


# --- Paths -----------------------------------------------------------------------------------------------------------


def path_text(path: Path) -> str:
    """A path as a line of text, to be told to a browser."""
    return msgspec.json.encode(path).decode()


def path_of(text: str) -> Path:
    """The path in such a text. `EditRefused` for what is none."""
    try:
        steps = _read_path(text) if len(text) <= _LONGEST_PATH else []
    except (ValueError, RecursionError):
        steps = []
    if not 0 < len(steps) <= _MOST_STEPS or not all(steps):
        raise EditRefused("this is no place in a session")
    return tuple(steps)


def field_step(name: str) -> str:
    """The step to a field."""
    return _key_step(name)


def field_named(fields: Mapping[str, bytes], step: str) -> str | None:
    """The name of the field that a step leads to; None: there is none."""
    if step.startswith("."):
        return step[1:] if step[1:] in fields else None
    return next((name for name in fields if _key_step(name) == step), None)


def find(raw: Any, steps: Path) -> Any:
    """The part of a value to which these steps lead; `GONE` if it is not there."""
    for step in steps:
        found = next((member for member in opened(raw).members or () if member.step == step), None)
        if found is None:
            return GONE
        raw = found.value
    return raw


def changed_at(raw: Any, steps: Path, change: Callable[[Any], Any]) -> Any:
    """The value with the part to which these steps lead as ``change`` makes it of what it is, or without it (`GONE`).
    Nothing else in it is another. `EditRefused` if it is not there."""
    if not steps:
        return change(raw)
    shape = opened(raw)
    at = next((at for at, member in enumerate(shape.members or ()) if member.step == steps[0]), None)
    if at is None or shape.members is None:
        raise EditRefused("this is not there any more: look again")
    member = shape.members[at]
    after = changed_at(member.value, steps[1:], change)
    if after is GONE and shape.form == "object":
        raise EditRefused("an object has this attribute always: give it another value")
    return rebuilt(raw, shape, [*shape.members[:at], Member(member.step, member.key, after), *shape.members[at + 1 :]])


def rebuilt(raw: Any, shape: Shape, members: list[Member]) -> Any:
    """A container of the same type with these members; those that are `GONE` are left out."""
    members = [member for member in members if member.value is not GONE]
    if type(raw) is dict:
        return {member.key: member.value for member in members}
    if type(raw) is list:
        return [member.value for member in members]
    assert type(raw) is Ext  # noqa: S101 - nothing else has members
    if raw.code == Code.TUPLE:
        return Ext(raw.code, pack([member.value for member in members]))
    if raw.code in (Code.SET, Code.FROZENSET):
        return Ext(raw.code, pack(sorted({pack(member.value) for member in members})))
    if raw.code == Code.PAIRS:
        return Ext(raw.code, pack([part for member in members for part in (member.key, member.value)]))
    return Ext(raw.code, pack([shape.type, {member.key: member.value for member in members}]))


def check(raw: Any) -> bytes:
    """A changed value as it is to be stored. `EditRefused` if the application could not read it."""
    try:
        return _codec.encode("value", _codec.decode("value", pack(raw)))
    except UnsupportedValue as error:
        raise EditRefused(error.problem) from None
    except (ValueError, TypeError) as error:
        raise EditRefused(f"this cannot be stored: {type(error).__name__}") from None
