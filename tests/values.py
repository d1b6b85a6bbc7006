"""Hypothesis strategies for what a session can hold, and an equality that tells types apart."""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import strategies as st

from sojourn import register


@register
class Colour(Enum):
    RED = "red"
    CRIMSON = "red"  # noqa: PIE796 - an alias
    PAIR = ("not", "plain")


@register
class Level(IntEnum):
    LOW = 1
    HIGH = 2**70


@register
class Word(StrEnum):
    YES = "yes"


@register
class Markup(str):
    """Text of a kind of its own, as templates have it."""

    __slots__ = ()


@register(name="permissions")
class Permission(Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


@register
@dataclass(frozen=True)
class Point:
    x: float
    y: Any = None


@register
@dataclass
class Basket:
    items: list[Any]
    total: Decimal = Decimal(0)
    seen: int = field(default=0, init=False)


@register
class Money(msgspec.Struct, frozen=True):
    amount: Decimal
    currency: str = "EUR"


@register
class Tree(msgspec.Struct):
    leaf: Any = None
    branches: list[Any] = []


def _basket(items: list[Any], total: Decimal, seen: int) -> Basket:
    basket = Basket(items, total)
    basket.seen = seen
    return basket


_ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]).map(ZoneInfo),
    st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone),
    st.builds(timezone, st.just(timedelta(hours=1)), st.text(max_size=5)),
)
TEXT = st.text(max_size=12)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, -129, 255, 256]),
    st.floats(),
    TEXT,
    st.binary(max_size=12),
    st.datetimes(timezones=_ZONES),
    st.builds(datetime.replace, st.datetimes(timezones=_ZONES), fold=st.integers(0, 1)),
    st.dates(),
    st.builds(time.replace, st.times(timezones=_ZONES), fold=st.integers(0, 1)),
    st.timedeltas(),
    st.decimals(),
    st.sampled_from([Decimal("-0"), Decimal("1.50"), Decimal("1E+400"), Decimal("sNaN123"), Decimal("-Infinity")]),
    st.uuids(),
    st.sampled_from([*Colour, *Level, *Word, *Permission, Permission.BOTH]),
    st.text(max_size=5).map(Markup),
)
"""Values with nothing in them."""


def is_plain_key(value: Any) -> bool:
    """Whether equality is the same as being the same: no signalling NaN, which cannot be hashed."""
    return not (isinstance(value, Decimal) and value.is_snan())


_HASHABLE_ATOMS = ATOMS.filter(is_plain_key)
HASHABLE = st.recursive(
    _HASHABLE_ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.frozensets(inner, max_size=4),
        st.builds(Point, st.floats(), inner),
        st.builds(Money, st.decimals(allow_nan=False)),
    ),
    max_leaves=6,
)
"""Values that may be a member of a set, or a key."""

VALUES = st.recursive(
    ATOMS | HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXT, inner, max_size=5),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.sets(HASHABLE, max_size=5),
        st.builds(Point, st.floats(), inner),
        st.builds(_basket, st.lists(inner, max_size=3), st.decimals(), st.integers()),
        st.builds(Tree, inner, st.lists(inner, max_size=3)),
    ),
    max_leaves=12,
)
"""Whatever a session can hold."""


def shape(value: Any) -> Any:
    """A description of a value that is equal only for values of the same types all the way down: 1, 1.0 and True
    differ, as do 0.0 and -0.0, and two NaN do not."""
    kind = type(value)
    if kind is float:
        return (kind, struct.pack("d", value))
    if kind in (list, tuple):
        return (kind, [shape(member) for member in value])
    if kind in (set, frozenset):
        return (kind, sorted((shape(member) for member in value), key=repr))
    if kind is dict:
        return (kind, sorted(((shape(key), shape(member)) for key, member in value.items()), key=repr))
    if kind in (datetime, time):
        zone = value.tzinfo
        told = zone.key if isinstance(zone, ZoneInfo) else (str(zone), repr(zone))
        return (kind, value.replace(tzinfo=None).isoformat(), value.fold, type(zone), told)
    if kind is Decimal:
        return (kind, str(value))
    if dataclasses.is_dataclass(value):
        return (kind, [shape(getattr(value, item.name)) for item in dataclasses.fields(value)])
    if isinstance(value, msgspec.Struct):
        return (kind, [shape(getattr(value, name)) for name in value.__struct_fields__])
    if isinstance(value, Enum):
        return (kind, value.name)
    if value is None or kind in (bool, int, str, bytes, date, timedelta, UUID, Markup):
        return (kind, value)
    raise AssertionError(f"no shape of {kind}")
