"""The statements of the PostgreSQL store as they go over the wire: named parameters, and values in binary. Pure.

A parameter's type is told by its name, the same wherever it stands, so that a statement needs no casts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from struct import Struct, pack
from typing import Any, Final, TypeAlias

__all__ = ["Row", "Statement", "Step"]

Row: TypeAlias = "tuple[Any, ...]"

_PARAMETER: Final = re.compile(r"(?<![:']):([a-z_]+)")  # neither a cast, nor in a text
_COMMENT: Final = re.compile(r"^--.*\n?", re.MULTILINE)
_float = Struct(">d")
_int = Struct(">q")

_BYTEA, _INT8, _INT4, _TEXT, _FLOAT8, _VOID = 17, 20, 23, 25, 701, 2278
_BYTEAS, _TEXTS, _FLOATS = 1001, 1009, 1022


def _array(kind: int, encode: Callable[[Any], bytes]) -> Callable[[Iterable[Any]], bytes]:
    def encode_all(members: Iterable[Any]) -> bytes:
        parts, count, nulls = [b""], 0, 0
        for member in members:
            count += 1
            if member is None:
                nulls = 1
                parts.append(b"\xff\xff\xff\xff")
            else:
                data = encode(member)
                parts += (len(data).to_bytes(4, "big"), data)
        parts[0] = pack(">iiiii", 1, nulls, kind, count, 1)
        return b"".join(parts)

    return encode_all


_utf8: Final = str.encode
_TYPES: Final[dict[str, tuple[int, Callable[[Any], bytes]]]] = {
    **dict.fromkeys(("handle", "keep", "after", "position", "channel", "payload"), (_TEXT, _utf8)),
    **dict.fromkeys(("user_id", "reason", "name", "reader", "holder"), (_BYTEA, _utf8)),
    **dict.fromkeys(("body", "version", "base_version"), (_BYTEA, bytes)),
    **dict.fromkeys(
        ("generation", "base_generation", "fence", "held_fence", "lock", "limit", "since"), (_INT8, _int.pack)
    ),
    **dict.fromkeys(
        (
            *("authenticated_at", "accessed_at", "idle_for", "ends_at", "leased_until", "now", "hold", "idle_since"),
            *("patience", "age"),
        ),
        (_FLOAT8, _float.pack),
    ),
    **dict.fromkeys(("kinds", "handles", "payloads"), (_TEXTS, _array(_TEXT, _utf8))),
    **dict.fromkeys(("ids", "users", "reasons"), (_BYTEAS, _array(_BYTEA, _utf8))),
    "names": (_BYTEAS, _array(_BYTEA, bytes)),
    "ats": (_FLOATS, _array(_FLOAT8, _float.pack)),
}
"""The type of each parameter, which its name tells wherever it stands, and how it is written."""

_READERS: Final[dict[int, Callable[[bytes], Any]]] = {
    _BYTEA: bytes,
    _INT4: lambda data: int.from_bytes(data, "big", signed=True),
    _INT8: lambda data: int.from_bytes(data, "big", signed=True),
    _TEXT: bytes.decode,
    _FLOAT8: lambda data: _float.unpack(data)[0],
    _VOID: lambda data: None,
}


class Statement:
    """A statement with named parameters, ``:name``, ready to be prepared on any connection."""

    def __init__(self, name: str, text: str) -> None:
        names: list[str] = []

        def number(match: re.Match[str]) -> str:
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        self.name = name.encode()
        self.text = _PARAMETER.sub(number, _COMMENT.sub("", text)).rstrip(";\n").encode()
        self.types = [_TYPES[each][0] for each in names]
        self.formats = [1] * len(names)
        self._writers = [(each, _TYPES[each][1]) for each in names]
        self._readers: list[Callable[[bytes], Any]] | None = None

    def write(self, values: Mapping[str, Any]) -> list[bytes | None]:
        """The parameters as they are sent."""
        return [None if (value := values[name]) is None else encode(value) for name, encode in self._writers]

    def read(self, result: Any) -> list[Row]:
        """The rows of a result; where the statement returns none, an empty row for each that it changed."""
        columns = range(result.nfields)
        if not columns:
            return [()] * (result.command_tuples or 0)
        readers = self._readers
        if readers is None:  # (two threads that come here find the same)
            readers = self._readers = [_READERS[result.ftype(column)] for column in columns]
        value = result.get_value
        return [
            tuple([None if (data := value(row, at)) is None else readers[at](data) for at in columns])
            for row in range(result.ntuples)
        ]


Step: TypeAlias = "tuple[Statement, Mapping[str, Any]]"
"""A statement with its parameters."""
