"""The fields of a session as a tree, and what is typed as a value: whatever a session holds, and whatever is typed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from admin_storing import CODEC, Raw, at, session_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

import values
from sojourn import register
from sojourn.admin.fields import (
    DEEPEST,
    KINDS,
    MOST_BYTES,
    MOST_NODES,
    EditRefused,
    Node,
    as_tree,
    edit_text,
    field_tree,
    find_node,
    parse_value,
    path_of,
    path_text,
)
from sojourn.admin.redaction import Redaction
from sojourn.admin.shapes import changed_at, check, pack, unpack
from sojourn.codec import MAX_DEPTH, Code
from sojourn.ids import join, mint
from sojourn.live import widgets

REDACTION = Redaction()


def tree(fields: dict[str, Any], *, reveal: bool = True, redaction: Redaction = REDACTION) -> list[Node]:
    """The tree of a session with these fields."""
    return field_tree(session_of(fields), reveal=reveal, redaction=redaction)


def walk(nodes: Any) -> Iterator[Node]:
    """All nodes."""
    for node in nodes:
        yield node
        yield from walk(node.children)


def only(fields: dict[str, Any], **how: Any) -> Node:
    """The first field's."""
    return tree(fields, **how)[0]


@register(name="tests.Cart")
@dataclass
class Cart:
    """A class of the application's."""

    items: list[str] = field(default_factory=list)
    total: Decimal = Decimal(0)


def foreign(name: str, content: Any) -> Raw:
    """An object of a class that is registered elsewhere."""
    return Raw(pack(Ext(int(Code.OBJECT), pack([name, content]))))


# --- What is shown ---------------------------------------------------------------------------------------------------


def test_fields_have_types_sizes_and_values() -> None:
    """A field is shown with its name, its type, the bytes that it takes, and its value."""
    nodes = tree(
        {"name": "Ada", "n": 3, "x": 1.5, "yes": True, "none": None, "when": date(2026, 1, 31), "b": b"\x00\xff"}
    )
    assert [(node.name, node.type, node.value, node.kind) for node in nodes] == [
        ("name", "str", "Ada", "text"),
        ("n", "int", "3", "whole number"),
        ("x", "float", "1.5", "number"),
        ("yes", "bool", "true", "true/false"),
        ("none", "None", "nothing", "nothing"),
        ("when", "date", "2026-01-31", "date"),
        ("b", "bytes", "00 ff", "bytes"),
    ]
    assert nodes[0].size == len(CODEC.encode("name", "Ada"))


def test_values_are_hidden_until_asked_for() -> None:
    """Without ``reveal`` no value is in the tree, at any depth, nor what is in a set; names, types and sizes are."""
    fields = {"a": "geheim-1", "b": {"c": ["geheim-2", {"d": "geheim-3"}]}, "s": {"geheim-4"}, "t": ("geheim-5",)}
    nodes = tree(fields, reveal=False)
    assert "geheim" not in repr(nodes)
    assert "geheim" not in json.dumps(as_tree(nodes))
    assert all(node.hidden for node in walk(nodes) if not node.children and node.type != "set")
    assert [node.name for node in walk(nodes)] == ["a", "b", "c", "[0]", "[1]", "d", "s", "t", "[0]"]
    assert find_node(nodes, at("b", ".c", "[0]")) is not None


def test_what_is_redacted_stays_hidden() -> None:
    """What a pattern matches is hidden although values are shown, with all that is in it, and without its size: in
    dicts, in lists of pairs, in objects, in widgets, under keys that are no text."""
    fields = {
        "password": "geheim",
        "user": {"Token": {"inner": "geheim"}, ("api", "password"): "geheim", b"secret": "geheim"},
        "headers": [["Authorization", "geheim"], {"name": "cookie", "value": "geheim"}],
        "pairs": {("password", "geheim")},
        "_live:w:x": {"kind": "text_input", "props": {"password": True, "value": "geheim"}},
        "_live:o:x": {"props": {"value": "geheim"}},
        "_tickets": {"geheim": 1.0},
        "obj": foreign("shop.User", {"name": "Ada", "password": "geheim"}),
    }
    nodes = tree(fields)
    assert "geheim" not in repr(nodes)
    assert "geheim" not in json.dumps(as_tree(nodes))
    redacted = [node for node in walk(nodes) if node.redacted]
    assert len(redacted) == 12
    assert {node.size for node in redacted} == {None}
    assert {node.children for node in redacted} == {()}
    assert {node.seen for node in redacted} == {""}


def test_an_id_of_a_session_is_never_shown() -> None:
    """Text, bytes and keys that hold a session id are hidden, whatever is around it; nor is the id in a path."""
    session_id = join(*mint())
    fields = {
        "text": f"see {session_id}",
        "bytes": session_id.encode(),
        "list": [session_id],
        "keys": {session_id: 1, f"x{session_id}": {"y": 2}},
        session_id: 1,
        "object": foreign("x.Y", session_id),
        "id type": foreign(session_id[:90], {}),
        "pair": {(session_id, 1): "x"},
    }
    nodes = tree(fields)
    secret = session_id.split(".")[1]
    assert secret not in repr(nodes)
    assert secret not in json.dumps(as_tree(nodes))
    for value in (fields["text"], fields["bytes"], fields["list"], fields["keys"], fields["pair"]):
        with pytest.raises(EditRefused) as refused:
            edit_text(session_of({"f": value}), at("f"), REDACTION)
        assert secret not in str(refused.value)


def test_types_of_the_application_are_opened_without_it() -> None:
    """An object of a class that is not registered in this process is shown with its type and its attributes; so is an
    enum's member, and a kind of text."""
    nodes = tree(
        {
            "cart": foreign("shop.Cart", {"items": ["tea"], "total": 3}),
            "colour": Raw(pack(Ext(int(Code.MEMBER), pack(["shop.Colour", "RED"])))),
            "html": foreign("shop.Html", "<b>"),
            "known": Cart(["tea"], Decimal("1.50")),
        }
    )
    cart, colour, html, known = nodes
    assert (cart.type, [child.name for child in cart.children]) == ("shop.Cart", ["items", "total"])
    assert cart.children[0].children[0].value == "tea"
    assert (colour.type, colour.value) == ("shop.Colour", "Colour.RED")
    assert (html.type, html.value) == ("shop.Html", "<b>")
    assert (known.type, known.children[1].value) == ("tests.Cart", "1.50")


RAN: list[str] = []


@register(name="tests.Loud")
@dataclass
class Loud:
    """A class that does something when it is made or shown."""

    name: str = ""

    def __post_init__(self) -> None:
        RAN.append("made")

    def __repr__(self) -> str:
        RAN.append("shown")
        return "loud"


def test_nothing_of_the_application_runs() -> None:
    """To show an object neither makes nor asks it."""
    data = CODEC.encode("x", Loud("a"))
    RAN.clear()
    nodes = tree({"x": Raw(data)})
    assert nodes[0].children[0].value == "a"
    assert RAN == []


DAMAGED = {
    "empty": b"",
    "cut": CODEC.encode("x", {"a": [1, 2, 3]})[:-1],
    "more": CODEC.encode("x", 1) + b"\x01",
    "reserved": b"\xc1",
    "no UTF-8": b"\xa2\xff\xfe",
    "nested": b"\x91" * 200_000 + b"\x01",
    "keys": b"\x81\x81\x01\x02\x03",
    "a huge length": b"\xdd\xff\xff\xff\xff",
    "extension": pack(Ext(99, b"x")),
    "no tuple": pack(Ext(int(Code.TUPLE), b"\xc1")),
    "a number as a tuple": pack(Ext(int(Code.TUPLE), pack(1))),
    "a set of no bytes": pack(Ext(int(Code.SET), pack([1, 2]))),
    "odd pairs": pack(Ext(int(Code.PAIRS), pack([1, 2, 3]))),
    "pairs with a dict as key": pack(Ext(int(Code.PAIRS), pack([{"a": 1}, 2]))),
    "a date of the 13th month": pack(Ext(int(Code.DATE), b"2026-13-01")),
    "no date": pack(Ext(int(Code.DATETIME), pack([1, 2, 3]))),
    "an object of a number": pack(Ext(int(Code.OBJECT), pack(7))),
    "an object of a list": pack(Ext(int(Code.OBJECT), pack(["x", [1]]))),
    "a member of nothing": pack(Ext(int(Code.MEMBER), b"")),
    "no UUID": pack(Ext(int(Code.UUID), b"123")),
    "no decimal": pack(Ext(int(Code.DECIMAL), b"x")),
    "a timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "deep pairs": pack(Ext(int(Code.PAIRS), pack([Ext(int(Code.PAIRS), pack([Ext(int(Code.DATE), b"x"), 1])), 2]))),
}


ODD_KEYS = {"pairs with a dict as key", "deep pairs"}  # which no dict could have


@pytest.mark.parametrize("reveal", [True, False], ids=["shown", "hidden"])
def test_damage_hides_nothing_else(reveal: bool) -> None:
    """A field that cannot be read says so, in words that tell none of it, and the others are shown."""
    fields = {name: Raw(data) for name, data in DAMAGED.items()}
    nodes = tree({"before": 1, **fields, "after": 2}, reveal=reveal)
    assert [node.name for node in nodes] == ["before", *DAMAGED, "after"]
    told = [any(one.problem for one in walk([node])) for node in nodes]
    for node, problem in zip(nodes[1:-1], told[1:-1], strict=True):
        assert problem or node.name in ODD_KEYS, node
    assert told[0] is told[-1] is False
    widgets.Tree(as_tree(nodes))


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_cannot_be_opened_for_editing(name: str) -> None:
    """What cannot be read is not offered for editing."""
    if name in ODD_KEYS:
        return  # it can be shown, and is refused when it is stored again
    with pytest.raises(EditRefused):
        edit_text(session_of({"f": Raw(DAMAGED[name])}), at("f"), REDACTION)


def test_a_part_that_is_damaged_hides_no_other() -> None:
    """Damage within a value is told at its place."""
    node = only({"x": Raw(pack({"good": 1, "bad": Ext(int(Code.DATE), b"x"), "too": 2}))})
    assert [(child.name, child.value, bool(child.problem)) for child in node.children] == [
        ("good", "1", False),
        ("bad", None, True),
        ("too", "2", False),
    ]


# --- Bounds ----------------------------------------------------------------------------------------------------------


def nested(depth: int, make: Any = lambda inner: [inner]) -> Any:
    """Something in something in something."""
    value: Any = "end"
    for _ in range(depth):
        value = make(value)
    return value


HUGE: dict[str, dict[str, Any]] = {
    "a long text": {"x": "ä" * 1_000_000},
    "a long name": {"n" * 500_000: 1, "m" * 500_000: 2},
    "long keys": {"x": {f"{at}" + "k" * 5_000: "v" * 5_000 for at in range(50)}},
    "many fields": {f"field {at}": at for at in range(5_000)},
    "many members": {"x": list(range(100_000))},
    "many of many": {f"f{at}": {f"k{one}": {"v": [1, 2, 3]} for one in range(100)} for at in range(100)},
    "lists as deep as is stored": {"x": nested(MAX_DEPTH - 1)},
    "dicts as deep as is stored": {"x": nested(MAX_DEPTH - 1, lambda inner: {"k" * 90: inner})},
    "tuples as deep as is stored": {"x": nested(MAX_DEPTH - 1, lambda inner: (inner,))},
    "a long integer": {"x": 10**9_000, "y": -(2**60_000)},
    "long bytes": {"x": b"\x00" * 1_000_000},
    "deep and large": {"x": nested(MAX_DEPTH - 2, lambda inner: {"a": inner, "b": ("x" * 1_000,) * 2})},
    "emoji": {f"{at}😀" * 30: "😀" * 300 for at in range(2_000)},
}


@pytest.mark.parametrize("name", HUGE)
def test_a_tree_is_bounded(name: str) -> None:
    """Whatever a session holds, its tree has few nodes of little text, is made quickly, says what is left out, and is
    what the widget takes."""
    session = session_of(HUGE[name])
    began = time.process_time()
    nodes = field_tree(session, reveal=True, redaction=REDACTION)
    shown = as_tree(nodes)
    assert time.process_time() - began < 1.0
    found = list(walk(nodes))
    assert len(found) <= MOST_NODES + 1
    assert max(len(node.path) for node in found) <= DEEPEST
    text = sum(len(f"{path_text(node.path)}{node.name}{node.value or ''}".encode()) for node in found)
    assert text <= MOST_BYTES
    assert len(msgspec.msgpack.encode(shown)) < 2 * MOST_BYTES
    widget = widgets.Tree(shown)
    assert widget.nodes["more"] == 0 or name == "many fields"


def test_what_is_left_out_is_counted() -> None:
    """At the end of a level stands how many there are more."""
    nodes = tree({"x": list(range(1_000))})
    assert len(nodes[0].children) + nodes[0].more == 1_000
    nodes = tree({f"f{number}": 1 for number in range(2_000)})
    assert nodes[-1].path == ()
    assert len(nodes) - 1 + nodes[-1].more == 2_000
    assert as_tree(nodes)[-1]["note"] == f"{nodes[-1].more:,} more"
    deep = list(walk(tree({"x": nested(90)})))[-1]
    assert (len(deep.path), deep.more) == (DEEPEST, 1)


def test_one_large_field_hides_no_other() -> None:
    """The tree is cut level by level: all fields come before what is in one."""
    nodes = tree({"big": {str(number): [1, 2] for number in range(500)}, **{f"f{number}": 1 for number in range(300)}})
    assert len(nodes) == 301
    many = {str(number): {str(one): {"x": 1} for one in range(90)} for number in range(90)}
    nodes = tree({"small": {"a": {"b": 1}}, "many": many, "too": {"a": {"b": 1}}})
    assert [find_node(nodes, at(name, ".a")) is not None for name in ("small", "too")] == [True, True]
    nodes = tree({"small": {"a": {"b": 1}}, "many": {str(number): many["0"] for number in range(3)}})
    assert find_node(nodes, at("small", ".a", ".b")) is not None


XSS = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</textarea><svg/onload=alert(1)>",
    "\u202e\u2028\x00\x1b[31m\ufeff",
    "__proto__",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("number", range(len(XSS)))
def test_script_is_text(number: int) -> None:
    """Text that is script to a browser stays the text that it is: as a name, a key, a value, and as the name of a type;
    and its path leads to it."""
    text = XSS[number]
    fields = {text: {text: [text]}, "object": foreign(text, {text: text})}
    session = session_of(fields)
    nodes = field_tree(session, reveal=True, redaction=REDACTION)
    field_, object_ = nodes
    assert (field_.name, field_.children[0].name) == (text, text)
    assert field_.children[0].children[0].value == text
    assert (object_.type, object_.children[0].value) == (text, text)
    for node in walk(nodes):
        assert find_node(nodes, path_of(path_text(node.path))) is node
    widgets.Tree(as_tree(nodes))


# --- For any value ---------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=8), values.VALUES, max_size=4), st.booleans())
def test_any_session_is_shown(fields: dict[str, Any], reveal: bool) -> None:
    """For whatever can be stored: no error, no problem, sizes that are right, ids that are there once and lead back."""
    session = session_of(fields)
    nodes = field_tree(session, reveal=reveal, redaction=Redaction(()))
    found = [node for node in walk(nodes) if node.path]
    assert [node.problem for node in found if node.problem] == []
    assert len({path_text(node.path) for node in found}) == len(found)
    assert [node.size for node in nodes] == [len(data) for data in session.record.fields.values()]
    widgets.Tree(as_tree(nodes))


@given(values.VALUES)
def test_any_value_can_be_edited_and_comes_back_as_it_is(value: Any) -> None:
    """What a form is filled with is read back as the very value, of the very type, for each kind of value and at each
    place in it."""
    session = session_of({"f": value})
    for node in walk(field_tree(session, reveal=True, redaction=Redaction(()))):
        if node.kind is None:
            continue
        text = edit_text(session, node.path, Redaction(()))
        again = parse_value(text, node.kind)
        steps = node.path[1:]

        def put(_: Any, new: Any = again) -> Any:
            return unpack(CODEC.encode("x", new))

        assert check(changed_at(unpack(CODEC.encode("f", value)), steps, put)) == CODEC.encode("f", value), (text, node)


@given(st.binary(max_size=200))
def test_any_bytes_are_shown(data: bytes) -> None:
    """For any bytes at all in a record there is a tree."""
    nodes = tree({"f": Raw(data), "g": 1})
    assert nodes[-1].value == "1"
    widgets.Tree(as_tree(nodes))


@given(st.text(max_size=300))
def test_any_text_that_is_no_path_is_refused(text: str) -> None:
    """What a browser sends as a place is a path, or is refused."""
    try:
        path = path_of(text)
    except EditRefused:
        return
    assert all(isinstance(step, str) and step for step in path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '"a"', "[1]", '[""]', "[" * 50_000, json.dumps(["a"] * 1_000), "null", "\ud800"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """Nothing but a list of steps is a path."""
    with pytest.raises(EditRefused):
        path_of(text)


# --- What is typed ---------------------------------------------------------------------------------------------------


GOOD = [
    ("text", "", ""),
    ("text", " 12 ", " 12 "),
    ("whole number", " -12 ", -12),
    ("whole number", "123456789012345678901234567890", 123456789012345678901234567890),
    ("number", "1", 1.0),
    ("number", "-2.5e-3", -0.0025),
    ("number", "inf", math.inf),
    ("true/false", "True", True),
    ("true/false", "false", False),
    ("nothing", "", None),
    ("JSON", '{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
    ("JSON", "123456789012345678901234567890", 123456789012345678901234567890),
    ("JSON", '{"$tuple": [1, {"$set": ["a"]}]}', (1, {"a"})),
    ("JSON", '{"$date": "2026-01-31"}', date(2026, 1, 31)),
    ("date and time", "2026-01-31T18:30:00", datetime(2026, 1, 31, 18, 30)),
    ("date and time", "2026-01-31T18:30:00+00:00", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
    (
        "date and time",
        "2026-01-31T18:30:00+01:00[Europe/Berlin]",
        datetime(2026, 1, 31, 18, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    ),
    ("date", "2026-01-31", date(2026, 1, 31)),
    ("duration", "90", timedelta(seconds=90)),
    ("duration", "-1 day, 1:30:00.5", timedelta(days=-1, hours=1, minutes=30, milliseconds=500)),
    ("decimal", "12.50", Decimal("12.50")),
    ("UUID", "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
    ("bytes", "00 ff", b"\x00\xff"),
]


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_what_is_typed_is_of_the_kind(number: int) -> None:
    """A text becomes a value of the kind that was chosen, and of that type."""
    kind, text, value = GOOD[number]
    found = parse_value(text, kind)
    assert type(found) is type(value)
    assert CODEC.encode("x", found) == CODEC.encode("x", value)


BAD = [
    ("whole number", "1.0"),
    ("whole number", ""),
    ("whole number", "1_000"),
    ("whole number", "1,000"),
    ("whole number", "٣"),
    ("whole number", "9" * 5_000),
    ("whole number", "true"),
    ("number", "1,5"),
    ("number", "0x10"),
    ("number", "1e400"),
    ("number", "infinity"),
    ("true/false", "1"),
    ("true/false", "yes"),
    ("nothing", "something"),
    ("JSON", ""),
    ("JSON", "{'a': 1}"),
    ("JSON", "NaN"),
    ("JSON", "[1e400]"),
    ("JSON", '{"a": 1, "a": 2}'),
    ("JSON", "[" * 5_000),
    ("JSON", '{"$date": "2026-13-01"}'),
    ("JSON", '{"$no": 1}'),
    ("JSON", '{"$raw": "wQ=="}'),
    ("JSON", '{"$object": ["shop.Unknown", {}]}'),
    ("JSON", '{"$enum": ["shop.Unknown", "X"]}'),
    ("JSON", '"\\ud800"'),
    ("JSON", '{"$set": [[1]]}'),
    ("date and time", "yesterday"),
    ("date and time", "2026-01-31T18:30:00+07:00[Europe/Berlin]"),
    ("date and time", "2026-01-31T18:30:00[../../etc/passwd]"),
    ("date", "2026-01-31T18:30:00"),
    ("date", "2026-02-30"),
    ("time", "25:00"),
    ("duration", ""),
    ("duration", "soon"),
    ("duration", "9" * 300),
    ("decimal", "1,5"),
    ("UUID", "123"),
    ("bytes", "0"),
    ("no such kind", "x"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_is_not_of_the_kind_is_refused(number: int) -> None:
    """A text that is no value of the kind is refused, in words that do not repeat it; none becomes another value."""
    kind, text = BAD[number]
    with pytest.raises(EditRefused) as refused:
        parse_value(text, kind)
    assert len(text) < 10 or text not in str(refused.value)


@given(st.text(max_size=40), st.sampled_from(KINDS))
def test_any_text_becomes_a_value_that_can_be_stored_or_is_refused(text: str, kind: str) -> None:
    """Whatever is typed, the outcome is a value that can be stored and read back, or `EditRefused`."""
    try:
        value = parse_value(text, kind)
    except EditRefused:
        return
    assert CODEC.encode("x", CODEC.decode("x", CODEC.encode("x", value))) == CODEC.encode("x", value)


def test_what_holds_secrets_is_not_handed_out_for_editing() -> None:
    """The text of an edit is refused for what is redacted, for what is in it, and for what it is in."""
    session = session_of(
        {"user": {"name": "Ada", "password": {"x": "geheim"}}, "token": "geheim", "pair": ["pin", "geheim"]}
    )
    for path in (
        at("user"),
        at("user", ".password"),
        at("user", ".password", ".x"),
        at("token"),
        at("pair"),
        at("pair", "[1]"),
        at("gone"),
        at("user", ".gone"),
        (),
    ):
        with pytest.raises(EditRefused) as refused:
            edit_text(session, path, REDACTION)
        assert "geheim" not in str(refused.value)
    assert edit_text(session, at("user", ".name"), REDACTION) == "Ada"
    assert edit_text(session, at("pair", "[0]"), REDACTION) == "pin"


def test_what_is_too_long_is_not_handed_out_for_editing() -> None:
    """A form is not filled with more than it can hold."""
    with pytest.raises(EditRefused, match="too long"):
        edit_text(session_of({"x": "a" * 100_000}), at("x"), REDACTION)
    assert len(edit_text(session_of({"x": "a" * 50_000}), at("x"), REDACTION)) == 50_000


def test_named_zones_and_fixed_offsets_stay_apart() -> None:
    """A time zone with a name keeps it, and one without gets none."""
    berlin = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    fixed = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    for moment in (berlin, fixed):
        text = edit_text(session_of({"x": moment}), at("x"), REDACTION)
        assert CODEC.encode("x", parse_value(text, "date and time")) == CODEC.encode("x", moment)
