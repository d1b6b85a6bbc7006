"""A widget's value and the query parameter that it is bound to: each from the other, and which of them counts. Pure.

Rules: what stands in an address was typed by anybody. What the widget cannot hold is `INVALID`, never an exception, and
is taken out of the address. The address says what the widget holds, and says nothing where that is the default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import isfinite
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from .widgets import WidgetMetadata

__all__ = ["INVALID", "Seed", "Source", "mirror", "seed", "texts_from_value", "value_from_texts"]

T = TypeVar("T")


class _Invalid:
    __slots__ = ()

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = _Invalid()
"""What an address says and the widget cannot hold."""


# --- From texts, and to texts ----------------------------------------------------------------------------------------


def value_from_texts(texts: list[str], metadata: WidgetMetadata[Any]) -> Any:
    """What these values of a query parameter mean to the widget, as its deserializer takes it; `INVALID` for nothing.

    A single value is the last text; of a list, empty texts are left out. If that leaves nothing, it means empty:
    `INVALID` where the widget is not ``clearable``, else an empty list, an empty text where any text will do, and None
    for the rest. By kind:

    - ``bool_value``: true or false, in any case;
    - ``int_value``: as ``int`` reads it, in 64 bits; ``double_value``: as ``float`` does, and finite;
    - ``double_array_value``: also dates and times in ISO form and in no time zone, as microseconds since 1970 (a time
      alone: on the first of January 2000), which is what sliders of dates count in;
    - ``string_value``: any text; where the widget has ``options``, one of them;
    - arrays: a number that cannot be read makes the whole `INVALID`. Of texts those that are no option are left out,
      and what comes twice unless it ``repeats``; of any kind what is past ``max_items``. `INVALID` if none is left;
    - another kind: always `INVALID`.

    Where the widget has ``options``, a number may be told as one of them: it stays text, and the deserializer looks it
    up.
    """
    single = _READ_ONE.get(metadata.value_type)
    full = [text for text in (texts if single is None else texts[-1:]) if text]
    if not full:
        return _empty(metadata) if metadata.clearable else INVALID
    options = metadata.options
    if single is not None:
        return _read(full[0], single, options)
    member = _READ_MEMBER.get(metadata.value_type)
    if member is None:
        return INVALID
    values = [_read(text, member, options) for text in full]
    if member is str:
        values = [value for value in values if value is not INVALID]
        if not metadata.repeats:
            values = list(dict.fromkeys(values))
    if INVALID in values or not values:
        return INVALID
    return values if metadata.max_items is None or metadata.max_items <= 0 else values[: metadata.max_items]


def texts_from_value(value: Any, metadata: WidgetMetadata[Any]) -> list[str]:
    """The values of the query parameter that mean this value, which is as the widget's serializer makes it: one text,
    or as many as the list is long; one empty text for what is empty. Whole numbers are told without a fraction. No text
    at all: a value of this kind does not go into an address."""
    if metadata.value_type not in _READ_ONE and metadata.value_type not in _READ_MEMBER:
        return []
    if isinstance(value, (list, tuple)):
        return [_text(one) for one in value] or [""]
    return ["" if value is None else _text(value)]


def _empty(metadata: WidgetMetadata[Any]) -> Any:
    if metadata.value_type in _READ_MEMBER:
        return []
    return "" if metadata.value_type == "string_value" and metadata.options is None else None


def _read(text: str, read: Callable[[str], Any], options: tuple[str, ...] | None) -> Any:
    if options is not None and (read is str or text in options):
        return text if text in options else INVALID
    try:
        return read(text)
    except ValueError:
        return INVALID


def _bool(text: str) -> bool:
    found = {"true": True, "false": False}.get(text.lower())
    if found is None:
        raise ValueError(text)
    return found


def _int(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError("it does not fit into the message")
    return value


def _double(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("it is no number that a widget could show")
    return value


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_DATE: Final = date(2000, 1, 1)


def _double_or_date(text: str) -> float:
    try:
        return _double(text)
    except ValueError:
        pass  # then it is a date or a time, or raises again
    if "T" in text or "-" in text:
        moment = datetime.fromisoformat(text)
    else:
        moment = datetime.combine(_TIME_DATE, time.fromisoformat(text))
    if moment.tzinfo is not None:
        raise ValueError("a widget's dates are in no time zone")
    return float((moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1))


_READ_ONE: Final[dict[str, Callable[[str], Any]]] = {
    "bool_value": _bool,
    "int_value": _int,
    "double_value": _double,
    "string_value": str,
}
_READ_MEMBER: Final[dict[str, Callable[[str], Any]]] = {
    "int_array_value": _int,
    "double_array_value": _double_or_date,
    "string_array_value": str,
}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


# --- Which of them counts --------------------------------------------------------------------------------------------


Source: TypeAlias = Literal["browser", "code", "address", "default", "state"]


@dataclass(frozen=True, slots=True)
class Seed(Generic[T]):
    """Where a bound widget's value comes from, and what becomes of its parameter."""

    source: Source
    """browser: what came over the wire; code: what the script set; address, default: `value`; state: what there is
    already, or the default where there is nothing."""

    value: T | None = None
    """From the address, or the default: what the widget is to hold, under its id and under its key."""

    texts: list[str] | None = None
    """What the parameter must say from now on; empty: it must go; None: it stays as it is."""


def seed(
    metadata: WidgetMetadata[T],
    texts: list[str],
    *,
    from_browser: bool,
    from_code: bool,
    is_first: bool,
    history: bool,
) -> Seed[T]:
    """Who decides the value of a bound widget that is being registered. The first line that fits:

    ==============================================================  ==========  ===========
    what is so                                                      decides     its parameter
    ==============================================================  ==========  ===========
    the visitor came by back or forward, the address can be used    address     stays, or is put right
    the visitor came by back or forward, anything else              default     goes
    the browser told a value, and the widget is not disabled        browser     stays
    this is not the first registration                              state/code  stays
    the address can be used                                         address     stays, or is put right
    the script set a value before                                   code        goes
    anything else                                                   state       goes
    ==============================================================  ==========  ===========

    An address can be used if it names the parameter, `value_from_texts` can read it, the deserializer takes it, and it
    is not the default. So on the first registration it wins even over what the script has set, and links can be shared;
    later the script wins over it. It is put right where the widget would tell its value in another way: a number that
    it has clamped, a choice that it does not have.

    ``texts``: what the address says; empty: nothing. ``from_browser``: a value came over the wire for this run.
    ``from_code``: the key was set since the last run. ``is_first``: the state knows no value of the widget's from an
    earlier run. ``history``: the visitor came by back or forward.
    """
    if from_browser and not metadata.disabled and not history:
        return Seed("browser")
    if not is_first and not history:
        return Seed("code" if from_code else "state")
    found = _usable(metadata, texts)
    if found is not None:
        return found
    if history:
        return Seed("default", metadata.deserializer(None), [] if texts else None)
    return Seed("code" if from_code else "state", None, [] if texts else None)


def _usable(metadata: WidgetMetadata[T], texts: list[str]) -> Seed[T] | None:
    if not texts:
        return None
    wire = value_from_texts(texts, metadata)
    if wire is INVALID:
        return None
    value = _deserialized(metadata, wire)
    if value is INVALID or value == metadata.deserializer(None) or (value == [] and wire):
        return None
    told = _told(metadata, value)
    return Seed("address", value, None if _says(texts, told, metadata) else texts_from_value(told, metadata))


def mirror(metadata: WidgetMetadata[T], value: T, texts: list[str]) -> list[str] | None:
    """What the parameter of a bound widget must say from now on, given the value that the widget has and what the
    address says; empty: it must go; None: it stays as it is.

    To be asked each time that the widget is registered and the address did not decide, but not on the first time with a
    value that the script has set before: that one stands for the default then, and the address stays short.
    """
    if value == metadata.deserializer(None):
        return [] if texts else None
    told = _told(metadata, value)
    return None if _says(texts, told, metadata) else texts_from_value(told, metadata)


def _told(metadata: WidgetMetadata[T], value: T) -> Any:
    told = metadata.serializer(value)
    return list(told) if isinstance(told, tuple) else told


def _says(texts: list[str], told: Any, metadata: WidgetMetadata[Any]) -> bool:
    """Whether the address means this value, if perhaps in other words: TRUE for true, a date for a number. An address
    that says more than the widget takes does not."""
    if not texts or value_from_texts(texts, metadata) != told:
        return False
    return not isinstance(told, list) or len(texts) == max(len(told), 1)


def _deserialized(metadata: WidgetMetadata[Any], wire: Any) -> Any:
    try:
        return metadata.deserializer(wire)
    except (ValueError, TypeError, LookupError, ArithmeticError):
        return INVALID  # what was typed into an address is no value of this widget's: it is as if it were not there
