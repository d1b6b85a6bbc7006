"""Values as text, and text as values: what an operator reads and types. Pure.

What is typed becomes a value of the kind that was chosen, or is refused: none is turned into another. What is shown of
a value without parts is what `parse_value` reads back as the same, where there is a kind for it. JSON has the form of
`sojourn.portable`, in which a date, a set or a tuple stays one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec.msgpack import Ext

from ..codec import Code, Codec
from ..errors import UnsupportedValue
from ..portable import field_to_json, json_to_field
from .redaction import holds_an_id
from .shapes import EditRefused, Shape, content_of, opened, pack, unpack, value_of

__all__ = [
    "KINDS",
    "LONGEST_NAME",
    "Kind",
    "cut",
    "json_text",
    "kind_of",
    "name_of",
    "parse_value",
    "shows_an_id",
    "text_of",
    "type_of",
]

LONGEST_NAME: Final = 100
"""Characters of a name that are shown."""

_MORE: Final = "…"
_HIDDEN_NAME: Final = "(hidden)"
_codec: Final = Codec()

Kind: TypeAlias = Literal[
    "text",
    "whole number",
    "number",
    "true/false",
    "nothing",
    "JSON",
    "date and time",
    "date",
    "time",
    "duration",
    "decimal",
    "UUID",
    "bytes",
]
"""What a text that was typed is read as."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_KIND_OF: Final[Mapping[str, Kind]] = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true/false",
    "None": "nothing",
    "datetime": "date and time",
    "date": "date",
    "time": "time",
    "timedelta": "duration",
    "Decimal": "decimal",
    "UUID": "UUID",
    "bytes": "bytes",
}


# --- As text ---------------------------------------------------------------------------------------------------------


def name_of(key: Any) -> str:
    """A key as it is shown."""
    if key is None:
        return "•"
    if type(key) is int:
        return f"[{_digits(key)}]"
    text = key if type(key) is str else text_of(key)
    if holds_an_id(text) or shows_an_id(key):
        return _HIDDEN_NAME
    return cut(text, LONGEST_NAME) or "“”"


def text_of(raw: Any) -> str:
    """A value without parts as text: what `parse_value` reads back, where there is a kind for it. ValueError where it
    is damaged."""
    kind = type(raw)
    if kind is str:
        return str(raw)
    if raw is None or kind is bool:
        return {None: "nothing", True: "true", False: "false"}[raw]
    if kind is int:
        return _digits(raw)
    if kind is float:
        return repr(raw)
    if kind is bytes:
        return str(raw.hex(" "))
    if kind is Ext:
        return _ext_text(raw)
    return f"{len(opened(raw).members or ()):,} inside"


def _ext_text(raw: Ext) -> str:
    if raw.code == Code.MEMBER:
        name, member = content_of(raw)
        return f"{str(name).rpartition('.')[2]}.{member}"
    if raw.code == Code.OBJECT:
        _, content = content_of(raw)
        return content if type(content) is str else f"{len(content):,} inside"
    if opened(raw).members is not None:
        return f"{len(opened(raw).members or ()):,} inside"
    value = value_of(raw)
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, (datetime, time)):
        zone = value.tzinfo
        return f"{value.isoformat()}[{zone.key}]" if isinstance(zone, ZoneInfo) else value.isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)


def type_of(shape: Shape) -> str:
    """The name of a type, as it is shown."""
    return _HIDDEN_NAME if holds_an_id(shape.type) else cut(shape.type, LONGEST_NAME)


def _digits(value: int) -> str:
    """Python writes no integers of thousands of digits in decimals."""
    return str(value) if value.bit_length() < 10_000 else hex(value)


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + _MORE


def kind_of(raw: Any, shape: Shape) -> Kind:
    """As what an edit of a value is read. It is JSON where its text alone would not mean just this value: a time that
    is there twice in a night of autumn, a time zone with a name of its own."""
    kind = "JSON" if shape.members is not None else _KIND_OF.get(shape.type, "JSON")
    if kind in ("JSON", "text", "true/false", "nothing", "bytes"):
        return kind
    try:
        return kind if pack(raw) == _codec.encode("it", parse_value(text_of(raw), kind)) else "JSON"
    except EditRefused:
        return "JSON"


def json_text(raw: Any) -> str:
    told = field_to_json(pack(raw))
    if type(told) is dict and "$raw" in told:
        raise EditRefused("it cannot be put as JSON: give it another value, or delete it")
    return json.dumps(told, ensure_ascii=False, indent=1)


def shows_an_id(raw: Any) -> bool:
    text = (
        raw
        if type(raw) is str
        else bytes(raw.data if type(raw) is Ext else raw).decode("latin-1")
        if type(raw)
        in (
            Ext,
            bytes,
        )
        else ""
    )
    return holds_an_id(text)


# --- What was typed --------------------------------------------------------------------------------------------------


def parse_value(text: str, kind: str) -> Any:
    """The value that a text means, as a value of this kind and no other. `EditRefused`, which does not repeat the text,
    for one that means none, and for a kind that is none."""
    parse = _PARSE.get(kind)
    if parse is None:
        raise EditRefused(f"choose what it is: {', '.join(KINDS)}")
    try:
        return parse(text)
    except EditRefused:
        raise
    except UnsupportedValue as error:
        raise EditRefused(error.problem) from None
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError):
        raise EditRefused(f"this is not {_HOW[kind]}") from None


_is_whole = re.compile(r"[+-]?[0-9]{1,4000}").fullmatch
_is_number = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?").fullmatch
_in_days = re.compile(
    r"(?:(-?[0-9]{1,9}) days?(?:, |$))?(?:([0-9]{1,9}):([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]{1,6})?))?"
).fullmatch
_NOT_FINITE: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _whole(text: str) -> int:
    text = text.strip()
    if not _is_whole(text):
        raise ValueError("digits only")
    return int(text)


def _number(text: str) -> float:
    text = text.strip()
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    if not _is_number(text):
        raise ValueError("digits, a point and an exponent")
    value = float(text)
    if not math.isfinite(value):
        raise EditRefused("this number is too large: write inf, if it is to be infinite")
    return value


def _true_or_false(text: str) -> bool:
    return {"true": True, "false": False}[text.strip().lower()]


def _nothing(text: str) -> None:
    if text.strip().lower() not in ("", "nothing", "none", "null"):
        raise EditRefused("leave the text empty where the value is to be nothing")


def _json(text: str) -> Any:
    told = json.loads(text, parse_constant=_refuse_constant, parse_float=_number, object_pairs_hook=_without_repeats)
    return value_of(unpack(json_to_field("it", told)))


def _refuse_constant(name: str) -> Any:
    raise EditRefused(f'JSON has no {name}: write {{"$float": "{name.lower().replace("infinity", "inf")}"}}')


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise EditRefused("a name is there twice in one object")
    return found


def _date_and_time(text: str) -> datetime:
    said, _, zone = text.strip().partition("[")
    moment = datetime.fromisoformat(said)
    if not zone:
        return moment
    there = ZoneInfo(zone.removesuffix("]"))
    for fold in (0, 1):
        found = moment.replace(tzinfo=there, fold=fold)
        if moment.tzinfo is None or found.utcoffset() == moment.utcoffset():
            return found
    raise EditRefused("the time zone has another offset at this time")


def _time(text: str) -> time:
    said, _, zone = text.strip().partition("[")
    found = time.fromisoformat(said)
    return found.replace(tzinfo=ZoneInfo(zone.removesuffix("]"))) if zone else found


def _duration(text: str) -> timedelta:
    text = text.strip()
    if _is_number(text):
        return timedelta(seconds=float(text))
    found = _in_days(text)
    if not text or found is None:
        raise ValueError("days, hours, minutes, seconds")
    days, hours, minutes, rest = found.groups(default="0")
    whole, _, part = rest.partition(".")
    return timedelta(int(days), int(whole), int(f"{part:0<6}"), hours=int(hours), minutes=int(minutes))


_PARSE: Final[Mapping[str, Callable[[str], Any]]] = {
    "text": str,
    "whole number": _whole,
    "number": _number,
    "true/false": _true_or_false,
    "nothing": _nothing,
    "JSON": _json,
    "date and time": _date_and_time,
    "date": lambda text: date.fromisoformat(text.strip()),
    "time": _time,
    "duration": _duration,
    "decimal": lambda text: Decimal(text.strip()),
    "UUID": lambda text: UUID(text.strip()),
    "bytes": bytes.fromhex,
}
_HOW: Final[Mapping[str, str]] = {
    "text": "text",
    "whole number": "a whole number, such as -12",
    "number": "a number, such as 1.5 or 2e6",
    "true/false": "true or false",
    "nothing": "nothing",
    "JSON": "JSON",
    "date and time": "a date and time, such as 2026-01-31T18:30:00+01:00",
    "date": "a date, such as 2026-01-31",
    "time": "a time, such as 18:30:00",
    "duration": "a duration, such as 90 (seconds) or 2 days, 1:30:00",
    "decimal": "a decimal number, such as 12.50",
    "UUID": "a UUID",
    "bytes": "bytes in hexadecimals, such as 00 ff",
}
