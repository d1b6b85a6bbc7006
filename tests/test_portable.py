"""A session as a line of JSON and back: the same bytes, and nothing that is secret."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import codec
from sojourn.codec import Codec
from sojourn.portable import field_to_json, from_line, json_to_field, to_line
from sojourn.record import Previous, Record
from values import TEXT, VALUES, Basket, Colour, Money, Point, shape

CODEC = Codec()
NOW = 1_800_000_000.0
DIGEST = b"d" * 32
VERSION = b"v" * 8
HANDLE = "h" * 22


def record(**changes: Any) -> Record:
    fields = changes.pop("fields", {"cart": CODEC.encode("cart", ["apple"])})
    made = Record(
        handle=HANDLE,
        secret_digest=b"secret" * 5,
        versions=b"12345678",
        user_id="ada",
        created_at=NOW,
        authenticated_at=NOW + 0.1,
        rotated_at=NOW + 1,
        accessed_at=NOW + 2.25,
        idle_timeout=1800.0,
        touch_interval=60.0,
        ends_at=NOW + 86400,
        size=sum(len(name) + len(data) for name, data in fields.items()),
        fields=fields,
        generation=3,
        persistent=True,
        label="Firefox",
        previous=Previous((b"older" * 6,), NOW),
        fence=7,
        leased_until=NOW + 9,
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def nothing_registered() -> Iterator[None]:
    """As in the process of the command line, which knows no type of the application."""
    kept = dict(codec._TYPES.by_name)
    codec._TYPES.by_name.clear()
    yield
    codec._TYPES.by_name.update(kept)


# --- Lines -----------------------------------------------------------------------------------------------------------


def test_a_line_tells_everything_but_the_secret() -> None:
    """A line has the metadata and the fields, and no digest, neither of the secret nor of those before it."""
    line = to_line(record())
    assert json.loads(line) == {
        "handle": HANDLE,
        "user_id": "ada",
        "label": "Firefox",
        "created_at": NOW,
        "authenticated_at": NOW + 0.1,
        "last_accessed_at": NOW + 2.25,
        "ends_at": NOW + 86400,
        "idle_timeout": 1800.0,
        "touch_interval": 60.0,
        "persistent": True,
        "fence": 7,
        "fields": {"cart": ["apple"]},
    }
    for secret in (b"secret", b"older"):
        assert secret not in line
        assert b64encode(secret * 3)[:-4] not in line
    assert b"\n" not in line


def test_a_line_makes_a_session_with_a_new_secret() -> None:
    """What is read has the secret and the version that it is given, nobody's lease, and everything that was told."""
    read = from_line(to_line(record()), DIGEST, VERSION, NOW + 50)
    assert read == record(
        secret_digest=DIGEST, versions=VERSION, rotated_at=NOW + 50, generation=0, previous=None, leased_until=0.0
    )


@given(st.dictionaries(TEXT, VALUES, max_size=4), st.none() | TEXT, st.none() | TEXT)
def test_there_and_back(fields: dict[str, Any], user_id: str | None, label: str | None) -> None:
    """Whatever a session can hold: the same bytes come back, the same values, and the same line."""
    told = record(fields=CODEC.encode_all(fields), user_id=user_id, label=label)
    line = to_line(told)
    read = from_line(line, DIGEST, VERSION, NOW)
    assert (read.fields, read.size, read.user_id, read.label) == (told.fields, told.size, user_id, label)
    assert to_line(read) == line
    assert b"$raw" not in line or "$raw" in repr((fields, user_id, label))
    for name, value in fields.items():
        assert shape(CODEC.decode(name, read.fields[name])) == shape(value)


@given(st.dictionaries(TEXT, st.binary(max_size=40), max_size=3))
def test_any_bytes_there_and_back(fields: dict[str, bytes]) -> None:
    """Fields whose bytes are no encoding at all come back as they were."""
    told = record(fields=fields)
    assert from_line(to_line(told), DIGEST, VERSION, NOW).fields == fields


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=2))
def test_types_need_not_be_known(fields: dict[str, Any]) -> None:
    """Where no type of the application is registered, all is told all the same, and the same bytes come back."""
    encoded = CODEC.encode_all(fields)
    kept = dict(codec._TYPES.by_name)
    codec._TYPES.by_name.clear()
    try:
        line = to_line(record(fields=encoded))
        assert from_line(line, DIGEST, VERSION, NOW).fields == encoded
        assert b"$raw" not in line or "$raw" in repr(fields)
    finally:
        codec._TYPES.by_name.update(kept)


# --- The form of values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": [1, 2.5, None, True, "x"]}, {"a": [1, 2.5, None, True, "x"]}),
        ((1, (2,)), {"$tuple": [1, {"$tuple": [2]}]}),
        ({3, 1}, {"$set": [1, 3]}),
        (frozenset({"a"}), {"$frozenset": ["a"]}),
        (2**64, {"$int": "10000000000000000"}),
        (-(2**70), {"$int": "-400000000000000000"}),
        (2**64 - 1, 2**64 - 1),
        (float("-inf"), {"$float": "-inf"}),
        (float("nan"), {"$float": "nan"}),
        (-float("nan"), {"$float": "fff8000000000000"}),
        (b"\x00\xff", {"$bytes": "AP8="}),
        (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=ZoneInfo("Europe/Berlin")),
            {"$datetime": ["2026-01-02T03:04:05", 0, "Europe/Berlin"]},
        ),
        (datetime(2026, 1, 2, fold=1), {"$datetime": ["2026-01-02T00:00:00", 1, None]}),
        (time(3, 4, tzinfo=UTC), {"$time": ["03:04:00", 0, [0]]}),
        (date(2026, 1, 2), {"$date": "2026-01-02"}),
        (timedelta(days=-1, seconds=5, microseconds=6), {"$timedelta": [-1, 5, 6]}),
        (timedelta.max, {"$timedelta": [999999999, 86399, 999999]}),
        (Decimal("1.50"), {"$decimal": "1.50"}),
        (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        (Colour.RED, {"$enum": ["values.Colour", "RED"]}),
        (Point(1.0, {"y"}), {"$object": ["values.Point", {"x": 1.0, "y": {"$set": ["y"]}}]}),
        (Money(Decimal(1)), {"$object": ["values.Money", {"amount": {"$decimal": "1"}, "currency": "EUR"}]}),
        (Basket([1]).items, [1]),
        ({1: "one", None: 2}, {"$map": [[1, "one"], [None, 2]]}),
        ({(1,): "one"}, {"$pairs": [[{"$tuple": [1]}, "one"]]}),
        ({"$set": 1}, {"$dict": {"$set": 1}}),
        ({"$": {"$dict": {}}}, {"$dict": {"$": {"$dict": {"$dict": {}}}}}),
        ({"$a": 1, "$b": 2}, {"$a": 1, "$b": 2}),
    ],
)
def test_the_form_of_values(value: Any, told: Any) -> None:
    """What JSON has stands as it is, and the rest under its tag. The form is a file format."""
    data = CODEC.encode("x", value)
    found = field_to_json(data)
    assert found == told or (value != value and found == told)
    assert json.loads(json.dumps(found)) == told
    assert json_to_field("x", told) == data


def test_what_people_write_is_put_in_order() -> None:
    """What is written by hand becomes the bytes that the same value always has."""
    for told, value in (
        ({"$set": ["b", "a"]}, {"a", "b"}),
        ({"$timedelta": [0, 90000, 0]}, timedelta(hours=25)),
        ({"$int": "0F"}, 15),
        ({"$dict": {"a": 1, "b": 2}}, {"a": 1, "b": 2}),
    ):
        assert json_to_field("x", told) == CODEC.encode("x", value)


@pytest.mark.usefixtures("nothing_registered")
def test_an_object_of_an_unknown_type_is_told() -> None:
    """A dataclass and an enum of the application are told by their names where they are not registered."""
    data = bytes(CODEC.encode("x", [Point(1.0), Colour.RED]))
    assert field_to_json(data) == [
        {"$object": ["values.Point", {"x": 1.0, "y": None}]},
        {"$enum": ["values.Colour", "RED"]},
    ]
    assert json_to_field("x", field_to_json(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xcd\x00\x01",  # 1, not in its shortest form
        msgspec.msgpack.encode(msgspec.msgpack.Ext(77, b"new")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(6, "２０".encode())),
        b"\x91" * 5000 + b"\xc0",
    ],
)
def test_what_cannot_be_told_is_kept_as_it_is(data: bytes) -> None:
    """Bytes that are no encoding, of a later version, or not in the form that they would be written in, are raw."""
    told = field_to_json(data)
    assert told == {"$raw": b64encode(data).decode()}
    assert json_to_field("x", told) == data


# --- What is malformed -----------------------------------------------------------------------------------------------


WHOLE = json.loads(to_line(record()))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"handle": 5}, "Expected `str`"),
        ({"handle": "short"}, "'short' is no handle"),
        ({"user_id": 5}, "user_id"),
        ({"label": "x" * 201}, "label"),
        ({"created_at": "now"}, "created_at"),
        ({"idle_timeout": 0}, "idle_timeout"),
        ({"ends_at": -1}, "ends_at"),
        ({"fence": 1.5}, "fence"),
        ({"secret_digest": "x"}, "unknown field `secret_digest`"),
        ({"fields": []}, "fields"),
        ({"fields": {"x": {"$date": "2026-13-01"}}}, "the field 'x'"),
        ({"fields": {"x": {"$date": 5}}}, "the field 'x'"),
        ({"fields": {"x": [{"$nothing": 5}]}}, "$nothing is the tag of nothing that is known here"),
        ({"fields": {"x": [{"$raw": "AA=="}]}}, "$raw is the tag of nothing"),
        ({"fields": {"x": {"$raw": "A"}}}, "the field 'x'"),
        ({"fields": {"x": {"$bytes": "*"}}}, "the field 'x'"),
        ({"fields": {"x": {"$set": [[1]]}}}, "the field 'x'"),
        ({"fields": {"x": {"$set": "ab"}}}, "the field 'x'"),
        ({"fields": {"x": {"$pairs": [[1]]}}}, "the field 'x'"),
        ({"fields": {"x": {"$pairs": [[[1], 2]]}}}, "the field 'x'"),
        ({"fields": {"x": {"$timedelta": [1e9, 0, 0]}}}, "the field 'x'"),
        ({"fields": {"x": {"$float": "1"}}}, "the field 'x'"),
        ({"fields": {"x": {"$int": "xyz"}}}, "the field 'x'"),
        ({"fields": {"x": {"$uuid": None}}}, "the field 'x'"),
        ({"fields": {"x": {"$object": ["a"]}}}, "the field 'x'"),
        ({"fields": {"x": {"$object": [5, {}]}}}, "the field 'x'"),
        ({"fields": {"x": {"$enum": [["a"], "b"]}}}, "the field 'x'"),
        ({"fields": {"x": {"$datetime": ["2026-01-02T03:04:05", 0, "Europe/Nowhere"]}}}, "the field 'x'"),
        ({"fields": {"x": {"$decimal": "one"}}}, "the field 'x'"),
    ],
)
def test_a_malformed_line(changes: dict[str, Any], says: str) -> None:
    """What is wrong with a line is told by the place."""
    with pytest.raises(ValueError, match=re.escape(says)):
        from_line(json.dumps(WHOLE | changes).encode(), DIGEST, VERSION, NOW)


@pytest.mark.parametrize("missing", WHOLE)
def test_a_line_is_whole(missing: str) -> None:
    """Every key must be there."""
    line = json.dumps({key: value for key, value in WHOLE.items() if key != missing}).encode()
    with pytest.raises(ValueError, match=missing):
        from_line(line, DIGEST, VERSION, NOW)


@pytest.mark.parametrize(
    "line",
    [b"", b"nothing", b"[]", b'{"handle": ', b"\xff", b'{"fields": {"x": ' + b"[" * 100_000, b"\x00"],
    ids=range(7),
)
def test_no_line_at_all(line: bytes) -> None:
    """What is no JSON, or is cut off, is a ValueError."""
    with pytest.raises(ValueError):
        from_line(line, DIGEST, VERSION, NOW)


def test_nested_too_deep() -> None:
    """What is nested deeper than a session can keep is refused."""
    for depth in (200, 5000):
        line = to_line(record(fields={})).replace(
            b'"fields":{}', b'"fields":{"x":' + b"[" * depth + b"]" * depth + b"}"
        )
        with pytest.raises(ValueError, match="nested"):
            from_line(line, DIGEST, VERSION, NOW)
