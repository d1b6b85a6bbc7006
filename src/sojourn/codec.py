"""Values to bytes and back, with the same types on both sides. Pure.

MessagePack by msgspec, with an extension code for each type that MessagePack does not have. There is one
decoder and it runs no code of the stored data: never pickle. The encoding is canonical (members of a set are
sorted), so that a value which was only read encodes to the bytes that it came from.

What is kept: None, bool, int of any size, float, str, bytes, list, tuple, dict, set, frozenset, datetime (naive or
aware), date, time, timedelta, Decimal, UUID, and members of enums, dataclasses and msgspec Structs that were
registered. Anything else, subclasses of these included, is refused with its path.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from gc import get_referents
from typing import Any, Final, TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec.msgpack import Ext

from .errors import ConfigurationError, UnsupportedValue

__all__ = ["ATOMS", "MAX_DEPTH", "Code", "Codec", "register"]

T = TypeVar("T", bound=type)

MAX_DEPTH: Final = 100
"""How deep a value may be nested. A limit also ends a list that contains itself."""

ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
"""The immutable types that MessagePack has itself."""

_STR: Final = frozenset({str})
_PLAIN: Final = ATOMS | {dict, list}
_pack = msgspec.msgpack.Encoder().encode


class Code(IntEnum):
    """The extension codes. They are a file format: a number is never given a second meaning."""

    TUPLE = 1
    SET = 2
    FROZENSET = 3
    BIG_INT = 4
    DATETIME = 5
    DATE = 6
    TIME = 7
    TIMEDELTA = 8
    DECIMAL = 9
    UUID = 10
    MEMBER = 11
    OBJECT = 12
    PAIRS = 13


class _Types:
    """Application types that may be stored, by name and by type."""

    def __init__(self) -> None:
        self.by_name: dict[str, type] = {}
        self.names: dict[type, str] = {}
        self._lock = threading.Lock()

    def add(self, kind: type, name: str) -> None:
        with self._lock:
            known = self.by_name.get(name)
            if (
                known is not None
                and known is not kind
                and (known.__module__, known.__qualname__)
                != (
                    kind.__module__,
                    kind.__qualname__,
                )
            ):
                raise ConfigurationError(f"the name {name!r} is taken by {known!r}: give register() another")
            self.by_name[name] = kind
            self.names[kind] = name


_TYPES: Final = _Types()


def register(kind: T | None = None, *, name: str | None = None) -> Any:
    """Allow members of an enum, instances of a dataclass or msgspec Struct, or text of a kind of its own (a subclass of
    str that is made from its text) to be stored. Usable as a decorator.

    ``name`` (by default the class's module and qualified name) is what the store holds: keep it when you rename
    the class. A stored object whose type is not registered when it is read raises `UnsupportedValue`; of a
    dataclass or Struct the fields are stored, and fields that the class gained since take their defaults. Raises
    `ConfigurationError` for any other kind of class, and for a name that is taken.
    """
    if kind is None:
        return lambda decorated: register(decorated, name=name)
    text = isinstance(kind, type) and issubclass(kind, str) and kind is not str
    known = isinstance(kind, type) and (issubclass(kind, (Enum, msgspec.Struct)) or dataclasses.is_dataclass(kind))
    if not (text or known):
        raise ConfigurationError(f"{kind!r} is not an enum, a dataclass, a msgspec Struct or a subclass of str")
    _TYPES.add(kind, name or f"{kind.__module__}.{kind.__qualname__}")
    return kind


class Codec:
    """Encodes and decodes single fields. The seam where encryption will wrap: both take the handle and the field's
    name as context by the time that it does."""

    def encode(self, name: str, value: Any) -> bytes:
        """The value as bytes. Raises `UnsupportedValue` with the path, which starts with the field's name."""
        try:
            data = _pack(value)
            if type(value) in ATOMS or _are_plain((value,)):
                return data
        except (TypeError, ValueError, OverflowError, RecursionError):
            pass  # MessagePack has no such thing: the faithful walk below has, or says which it is, and where
        return _pack(_faithful(value, name, 0))

    def encode_all(self, values: Mapping[str, Any]) -> dict[str, bytes]:
        """Many fields at once, which is faster than one by one. Raises as `encode`."""
        for name in values:
            if type(name) is not str:
                raise UnsupportedValue(repr(name), "the name of a field is a string")
            _text(name, repr(name))
        try:
            encoded = {name: _pack(value) for name, value in values.items()}
            if _are_plain(values.values()):
                return encoded
        except (TypeError, ValueError, OverflowError, RecursionError):
            pass
        return {name: self.encode(name, value) for name, value in values.items()}

    def accepts(self, value: Any) -> bool:
        """Whether a value of this type can be stored, what is in it aside."""
        kind = type(value)
        return kind in _PLAIN or kind in _WRITERS or kind in _TYPES.names

    def decode(self, name: str, data: bytes) -> Any:
        """The value, new and independent. Raises `UnsupportedValue` for an unregistered type, ValueError (msgspec's
        DecodeError among them) for bytes that are no encoding."""
        try:
            return _unpack(data)
        except _UnknownType as unknown:
            raise UnsupportedValue(
                name, f"it holds a {unknown}, which is not registered here: call sojourn.register"
            ) from None
        except (ValueError, MemoryError):
            raise
        except Exception as error:  # what constructors raise for content that they do not know; RecursionError, too
            raise ValueError(f"no encoding of a value: {error!r}") from error


def _are_plain(values: Iterable[Any]) -> bool:
    """Whether MessagePack keeps the types of all this, and of everything in it, by itself.

    MessagePack would take a tuple for a list and an enum's member for its value, so each type must be looked at, and a
    walk in Python costs six times the encoding. The garbage collector's own traversal yields what is inside of many
    dicts and lists in one call, so this takes a step per level and not per value. Call it on what MessagePack has
    encoded: that cannot contain itself.
    """
    for _ in range(MAX_DEPTH):
        if not _PLAIN.issuperset(map(type, values)):
            return False
        values = get_referents(*values)
        if not values:
            return True
    return False


def _faithful(value: Any, path: str, depth: int) -> Any:
    """The value rebuilt from what MessagePack has, with extensions for the rest."""
    if depth > MAX_DEPTH:
        raise UnsupportedValue(path, f"nested deeper than {MAX_DEPTH} levels, or it contains itself")
    kind = type(value)
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _ext(Code.BIG_INT, _int_bytes(value))
    if kind is str:
        return _text(value, path)
    if kind in ATOMS:
        return value
    if kind is list:
        return [_faithful(member, f"{path}[{at}]", depth + 1) for at, member in enumerate(value)]
    if kind is dict:
        return _faithful_dict(value, path, depth)
    write = _WRITERS.get(kind)
    if write is not None:
        return write(value, path, depth)
    name = _TYPES.names.get(kind)
    if name is not None:
        return _faithful_registered(value, name, path, depth)
    raise UnsupportedValue(path, f"cannot store <{kind.__name__}>{_hint(kind)}")


def _faithful_dict(value: dict[Any, Any], path: str, depth: int) -> Any:
    if _STR.issuperset(map(type, value)):
        return {_text(key, path): _faithful(member, f"{path}.{key}", depth + 1) for key, member in value.items()}
    flat: list[Any] = []
    for key, member in value.items():
        flat.append(_faithful(key, f"{path}.<key {key!r}>", depth + 1))
        flat.append(_faithful(member, f"{path}[{key!r}]", depth + 1))
    return _ext(Code.PAIRS, _pack(flat))


def _faithful_registered(value: Any, name: str, path: str, depth: int) -> Ext:
    if isinstance(value, Enum):
        if value._name_ not in type(value)._member_map_:
            raise UnsupportedValue(path, f"cannot store a combination of {name} flags without a name: store its int")
        return _ext(Code.MEMBER, _pack([name, value._name_]))
    if isinstance(value, str):
        return _ext(Code.OBJECT, _pack([name, _text(str.__str__(value), path)]))
    try:
        content = {key: getattr(value, key) for key in _field_names(type(value))}
    except AttributeError as error:
        raise UnsupportedValue(path, f"cannot store a {name} that is not complete: {error}") from None
    faithful = {key: _faithful(member, f"{path}.{key}", depth + 1) for key, member in content.items()}
    return _ext(Code.OBJECT, _pack([name, faithful]))


def _ext(code: Code, data: bytes) -> Ext:
    return Ext(int(code), data)


def _int_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnsupportedValue(path, "text with lone surrogates is not Unicode and cannot be stored") from None
    return value


def _hint(kind: type) -> str:
    if issubclass(kind, (Enum, msgspec.Struct)) or dataclasses.is_dataclass(kind):
        return f": register it once with sojourn.register({kind.__name__})"
    for base in (dict, list, tuple, set, str, int, float, bytes):
        if issubclass(kind, base):
            return f": convert it with {base.__name__}(...) first"
    return ": store what it is made of"


def _field_names(kind: type) -> Iterator[str]:
    if issubclass(kind, msgspec.Struct):
        return iter(kind.__struct_fields__)
    return (item.name for item in _dataclass_fields(kind))


def _dataclass_fields(kind: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cast("type[Any]", kind))


# --- The built-in types beyond MessagePack: how each is written, and below, how each is read --------------------


def _write_sequence(code: Code) -> Callable[[Any, str, int], Ext]:
    def write(value: Any, path: str, depth: int) -> Ext:
        return _ext(code, _pack([_faithful(member, f"{path}[{at}]", depth + 1) for at, member in enumerate(value)]))

    return write


def _write_set(code: Code) -> Callable[[Any, str, int], Ext]:
    def write(value: Any, path: str, depth: int) -> Ext:
        # Sorted by encoding: the order of a set differs from process to process, and a read must not look like a write.
        encoded = sorted(_pack(_faithful(member, f"{path}.<member>", depth + 1)) for member in value)
        return _ext(code, _pack(encoded))

    return write


def _write_datetime(value: datetime, path: str, _depth: int) -> Ext:
    return _ext(Code.DATETIME, _pack([value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo, path)]))


def _write_time(value: time, path: str, _depth: int) -> Ext:
    return _ext(Code.TIME, _pack([value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo, path)]))


def _zone(zone: tzinfo | None, path: str) -> Any:
    """None, the key of a ZoneInfo, or the arguments of a fixed offset in microseconds."""
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        return [_microseconds(offset), *name]
    raise UnsupportedValue(
        path, f"cannot store the time zone <{type(zone).__name__}>: use zoneinfo or datetime.timezone"
    )


def _read_zone(stored: Any) -> tzinfo | None:
    if stored is None:
        return None
    if isinstance(stored, str):
        return ZoneInfo(stored)
    offset, *name = stored
    zone = timezone(timedelta(microseconds=offset), *name)
    return UTC if zone == UTC and not name else zone


def _microseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1)


_WRITERS: Final[dict[type, Callable[[Any, str, int], Ext]]] = {
    tuple: _write_sequence(Code.TUPLE),
    set: _write_set(Code.SET),
    frozenset: _write_set(Code.FROZENSET),
    datetime: _write_datetime,
    date: lambda value, path, depth: _ext(Code.DATE, value.isoformat().encode()),
    time: _write_time,
    timedelta: lambda value, path, depth: _ext(Code.TIMEDELTA, _int_bytes(_microseconds(value))),
    Decimal: lambda value, path, depth: _ext(Code.DECIMAL, str(value).encode()),
    UUID: lambda value, path, depth: _ext(Code.UUID, value.bytes),
}


class _UnknownType(ValueError):
    """A stored object of a type that is not registered in this process."""


def _read_members(data: memoryview) -> Iterator[Any]:
    return map(_unpack, _unpack(data))


def _read_datetime(data: memoryview) -> datetime:
    text, fold, zone = _unpack(data)
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=_read_zone(zone))


def _read_time(data: memoryview) -> time:
    text, fold, zone = _unpack(data)
    return time.fromisoformat(text).replace(fold=fold, tzinfo=_read_zone(zone))


def _read_member(data: memoryview) -> Enum:
    name, member = _unpack(data)
    kind = _TYPES.by_name.get(name)
    if kind is None or not issubclass(kind, Enum) or member not in kind.__members__:
        raise _UnknownType(f"{name}.{member}")
    return kind[member]


def _read_object(data: memoryview) -> Any:
    name, content = _unpack(data)
    kind = _TYPES.by_name.get(name)
    if kind is None:
        raise _UnknownType(name)
    if isinstance(content, str):
        return kind(content)
    known = {key: content[key] for key in _field_names(kind) if key in content}
    if issubclass(kind, msgspec.Struct):
        return kind(**known)
    made = {item.name: known.pop(item.name) for item in _dataclass_fields(kind) if item.init and item.name in known}
    value = kind(**made)
    for key, member in known.items():  # fields that __init__ does not take
        object.__setattr__(value, key, member)
    return value


def _read_pairs(data: memoryview) -> dict[Any, Any]:
    flat = _unpack(data)
    return dict(zip(flat[::2], flat[1::2], strict=True))


_READERS: Final[dict[int, Callable[[memoryview], Any]]] = {
    Code.TUPLE: lambda data: tuple(_unpack(data)),
    Code.SET: lambda data: set(_read_members(data)),
    Code.FROZENSET: lambda data: frozenset(_read_members(data)),
    Code.BIG_INT: lambda data: int.from_bytes(data, "big", signed=True),
    Code.DATETIME: _read_datetime,
    Code.DATE: lambda data: date.fromisoformat(str(data, "ascii")),
    Code.TIME: _read_time,
    Code.TIMEDELTA: lambda data: timedelta(microseconds=int.from_bytes(data, "big", signed=True)),
    Code.DECIMAL: lambda data: Decimal(str(data, "ascii")),
    Code.UUID: lambda data: UUID(bytes=bytes(data)),
    Code.MEMBER: _read_member,
    Code.OBJECT: _read_object,
    Code.PAIRS: _read_pairs,
}


def _read_ext(code: int, data: memoryview) -> Any:
    read = _READERS.get(code)
    if read is None:
        raise ValueError(f"unknown extension {code}: written by a newer version of Sojourn?")
    return read(data)


_unpack: Final[Callable[[Any], Any]] = msgspec.msgpack.Decoder(ext_hook=_read_ext).decode
