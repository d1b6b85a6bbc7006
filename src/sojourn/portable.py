"""A session as a line of JSON, and back. Pure.

A line tells everything but the secret: no digest, and nothing that is of use to one store only. What JSON has not is an
object with one key, the tag:

    {"$tuple": [...]}  {"$set": [...]}  {"$frozenset": [...]}   their members
    {"$int": "-1f"}                                             hexadecimal: past 64 bits
    {"$float": "nan"}                                           nan, inf, -inf; another NaN by its 8 bytes
    {"$bytes": "AP8="}                                          base64
    {"$datetime": [iso, fold, zone]}  {"$time": the same}       zone: null, a key, or [microseconds] and a name
    {"$date": iso}  {"$timedelta": [days, seconds, microseconds]}
    {"$decimal": "1.50"}  {"$uuid": "..."}
    {"$enum": [type, member]}  {"$object": [type, {...}]}       of the application, by their registered names
    {"$map": [[key, value], ...]}  {"$pairs": the same}         dicts whose keys are not all text, in their two forms
    {"$dict": {...}}                                            a dict that would look like one of these
    {"$raw": "..."}                                             a whole field that is not known here: base64

A line is made from what is stored and not from values, so that types of the application need not be known here. It is
told only if the same bytes come out of it again, else as raw: so an import gives back the very bytes.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from math import isfinite
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from msgspec.msgpack import Ext

from .codec import MAX_DEPTH, Code, Codec
from .errors import UnsupportedValue
from .ids import is_handle
from .record import Record

__all__ = ["field_to_json", "from_line", "json_to_field", "to_line"]

_RAW: Final = "$raw"
_Time = Annotated[float, Meta(ge=0)]


class _Line(Struct, forbid_unknown_fields=True, kw_only=True):
    """One session. Times are Unix seconds."""

    handle: str
    user_id: str | None
    label: Annotated[str, Meta(max_length=200)] | None
    created_at: _Time
    authenticated_at: _Time
    last_accessed_at: _Time
    ends_at: _Time
    idle_timeout: Annotated[float, Meta(gt=0)]
    touch_interval: _Time
    persistent: bool
    fence: Annotated[int, Meta(ge=0, lt=2**32)]
    fields: dict[str, Any]


def to_line(record: Record) -> bytes:
    """The session as a line of JSON, without its end."""
    return _encode(
        _Line(
            handle=record.handle,
            user_id=record.user_id,
            label=record.label,
            created_at=record.created_at,
            authenticated_at=record.authenticated_at,
            last_accessed_at=record.accessed_at,
            ends_at=record.ends_at,
            idle_timeout=record.idle_timeout,
            touch_interval=record.touch_interval,
            persistent=record.persistent,
            fence=record.fence,
            fields={name: field_to_json(data) for name, data in record.fields.items()},
        )
    )


def from_line(line: bytes, secret_digest: bytes, version: bytes, now: float) -> Record:
    """The session that a line tells of, with a new secret. Raises ValueError, with what is wrong, for a line that is
    none."""
    try:
        told = _decode(line)
        fields = {name: json_to_field(name, value) for name, value in told.fields.items()}
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not is_handle(told.handle):
        raise ValueError(f"{told.handle!r} is no handle")
    return Record(
        handle=told.handle,
        secret_digest=secret_digest,
        versions=version,
        user_id=told.user_id,
        created_at=told.created_at,
        authenticated_at=told.authenticated_at,
        rotated_at=now,
        accessed_at=told.last_accessed_at,
        idle_timeout=told.idle_timeout,
        touch_interval=told.touch_interval,
        ends_at=told.ends_at,
        size=sum(len(name) + len(data) for name, data in fields.items()),
        fields=fields,
        persistent=told.persistent,
        label=told.label,
        fence=told.fence,
    )


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Line).decode
_pack: Final = msgspec.msgpack.Encoder().encode
_codec: Final = Codec()


def field_to_json(data: bytes) -> Any:
    """An encoded field in the form above."""
    try:
        told = _read_again(_encode(_told(_unpack(data))))
        if _pack(_built(told, 0)) == data:
            return told
    except Exception:  # noqa: S110 - whatever it is that cannot be told: it is kept as it is
        pass
    return {_RAW: b64encode(data).decode()}


def json_to_field(name: str, told: Any) -> bytes:
    """The field as it is to be stored. Raises ValueError for what is of no such form."""
    try:
        if type(told) is dict and told.keys() == {_RAW}:
            return b64decode(told[_RAW], validate=True)
        data = _pack(_built(told, 0))
        _codec.decode(name, data)
    except UnsupportedValue:
        pass  # a type of the application, whole but for its content, which nobody here can judge
    except RecursionError:
        raise
    except Exception as error:  # what constructors raise for content that they do not know
        raise ValueError(f"the field {name!r}: {error}") from error
    return data


_read_again: Final = msgspec.json.Decoder().decode


# --- From what is stored ---------------------------------------------------------------------------------------------


_double: Final = struct.Struct(">d")
_FLOATS: Final = {_double.pack(float(name)): name for name in ("nan", "inf", "-inf")}


class _Tagged(dict[str, Any]):
    """What is in its form already."""


def _told(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return _told_dict(value)
    if kind is list:
        return [_told(member) for member in value]
    if kind is bytes:
        return {"$bytes": b64encode(value).decode()}
    if kind is float and not isfinite(value):
        bits = _double.pack(value)
        return {"$float": _FLOATS.get(bits) or bits.hex()}
    return value


def _told_dict(value: dict[Any, Any]) -> Any:
    if any(type(key) is not str for key in value):
        return {"$map": [[_told(key), _told(member)] for key, member in value.items()]}
    told = {key: _told(member) for key, member in value.items()}
    return {"$dict": told} if _is_tag(told) else told


def _is_tag(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _int_of(data: memoryview) -> int:
    return int.from_bytes(data, "big", signed=True)


def _told_pairs(data: memoryview) -> Any:
    flat = _told(_unpack(data))
    return [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]


def _told_members(data: memoryview) -> list[Any]:
    return [_told(_unpack(member)) for member in _unpack(data)]


def _told_object(data: memoryview) -> Any:
    name, content = _unpack(data)
    if isinstance(content, str):  # text of a kind of its own
        return [name, content]
    return [name, {key: _told(member) for key, member in content.items()}]


def _told_length(data: memoryview) -> list[int]:
    length = timedelta(microseconds=_int_of(data))
    return [length.days, length.seconds, length.microseconds]


_TELL: Final[dict[int, tuple[str, Callable[[memoryview], Any]]]] = {
    Code.TUPLE: ("$tuple", lambda data: _told(_unpack(data))),
    Code.SET: ("$set", _told_members),
    Code.FROZENSET: ("$frozenset", _told_members),
    Code.BIG_INT: ("$int", lambda data: f"{_int_of(data):x}"),
    Code.DATETIME: ("$datetime", lambda data: _unpack(data)),
    Code.DATE: ("$date", lambda data: str(data, "ascii")),
    Code.TIME: ("$time", lambda data: _unpack(data)),
    Code.TIMEDELTA: ("$timedelta", _told_length),
    Code.DECIMAL: ("$decimal", lambda data: str(data, "ascii")),
    Code.UUID: ("$uuid", lambda data: str(UUID(bytes=bytes(data)))),
    Code.MEMBER: ("$enum", lambda data: _unpack(data)),
    Code.OBJECT: ("$object", _told_object),
    Code.PAIRS: ("$pairs", _told_pairs),
}


def _tell(code: int, data: memoryview) -> _Tagged:
    tag, tell = _TELL[code]
    return _Tagged({tag: tell(data)})


_unpack: Final[Callable[[Any], Any]] = msgspec.msgpack.Decoder(ext_hook=_tell).decode


# --- To what is stored -----------------------------------------------------------------------------------------------


def _built(told: Any, depth: int) -> Any:
    """What MessagePack is to write."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    kind = type(told)
    if kind is list:
        return [_built(member, depth + 1) for member in told]
    if kind is int and not -(2**63) <= told < 2**64:
        return _ext(Code.BIG_INT, _int_bytes(told))
    if kind is not dict:
        return told
    if not _is_tag(told):
        return {key: _built(member, depth + 1) for key, member in told.items()}
    ((tag, content),) = told.items()
    build = _BUILD.get(tag)
    if build is None:
        raise ValueError(f"{tag} is the tag of nothing that is known here")
    return build(content, depth)


def _ext(code: Code, data: bytes) -> Ext:
    return Ext(int(code), data)


def _int_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _packed(code: Code) -> Callable[[Any, int], Ext]:
    """Content that is packed as it stands."""
    return lambda content, depth: _ext(code, _pack(content))


def _built_members(content: Any, depth: int) -> list[Any]:
    return [_built(member, depth + 1) for member in _list(content)]


def _built_set(code: Code) -> Callable[[Any, int], Ext]:
    return lambda content, depth: _ext(code, _pack(sorted(map(_pack, _built_members(content, depth)))))


def _built_object(content: Any, depth: int) -> Ext:
    name, members = content
    if type(name) is not str:
        raise ValueError("the name of a type is text")
    if type(members) is str:
        return _ext(Code.OBJECT, _pack([name, members]))
    return _ext(Code.OBJECT, _pack([name, {key: _built(member, depth + 1) for key, member in members.items()}]))


def _built_pairs(content: Any, depth: int) -> list[tuple[Any, Any]]:
    return [(_built(key, depth + 1), _built(member, depth + 1)) for key, member in _list(content)]


def _built_float(content: Any, _: int) -> float:
    if content in _FLOATS.values():
        return float(content)
    value: float = _double.unpack(bytes.fromhex(content))[0]
    return value


def _built_length(content: Any, _: int) -> Ext:
    days, seconds, microseconds = content
    length = timedelta(days, seconds, microseconds)
    return _ext(Code.TIMEDELTA, _int_bytes(length // timedelta(microseconds=1)))


def _list(content: Any) -> list[Any]:
    if type(content) is not list:
        raise ValueError("what belongs into a list is in none")
    return content


_BUILD: Final[dict[str, Callable[[Any, int], Any]]] = {
    "$tuple": lambda content, depth: _ext(Code.TUPLE, _pack(_built_members(content, depth))),
    "$set": _built_set(Code.SET),
    "$frozenset": _built_set(Code.FROZENSET),
    "$int": lambda content, depth: _built(int(content, 16), depth),
    "$float": _built_float,
    "$bytes": lambda content, depth: b64decode(content, validate=True),
    "$datetime": _packed(Code.DATETIME),
    "$date": lambda content, depth: _ext(Code.DATE, content.encode("ascii")),
    "$time": _packed(Code.TIME),
    "$timedelta": _built_length,
    "$decimal": lambda content, depth: _ext(Code.DECIMAL, content.encode("ascii")),
    "$uuid": lambda content, depth: _ext(Code.UUID, UUID(content).bytes),
    "$enum": _packed(Code.MEMBER),
    "$object": _built_object,
    "$map": lambda content, depth: dict(_built_pairs(content, depth)),
    "$pairs": lambda content, depth: _ext(
        Code.PAIRS, _pack([part for pair in _built_pairs(content, depth) for part in pair])
    ),
    "$dict": lambda content, depth: {key: _built(member, depth + 1) for key, member in content.items()},
}
