"""The messages: each frame goes out and comes in as the table says, and what is no frame is told from one."""

from __future__ import annotations

import json
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.live.protocol import (
    VERSION,
    Ack,
    Add,
    Changes,
    ClientFrame,
    Ended,
    ErrorCode,
    ErrorFrame,
    Event,
    Hello,
    Malformed,
    Operation,
    Order,
    PageFrame,
    Ping,
    Pong,
    Remove,
    Renew,
    Replace,
    ServerFrame,
    TicketFrame,
    Update,
    decode,
    encode,
)

TEXT = st.text(max_size=20)
IDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=512)
NUMBERS = st.integers(0, 2**53 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
PROPS = st.dictionaries(TEXT, JSON, max_size=4)
WIDGETS = st.recursive(
    st.fixed_dictionaries({"id": IDS, "kind": TEXT, "props": PROPS}),
    lambda inner: st.fixed_dictionaries(
        {"id": IDS, "kind": TEXT, "props": PROPS, "children": st.lists(inner, max_size=3)}
    ),
    max_leaves=4,
)
POSITIONS = st.tuples(TEXT, NUMBERS)
TABS = st.text("abcXYZ019_-", min_size=16, max_size=32)
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Update, st.dictionaries(IDS, PROPS, max_size=3)),
    st.builds(Add, IDS, IDS, WIDGETS),
    st.builds(Remove, st.lists(IDS, max_size=3)),
    st.builds(Replace, IDS, WIDGETS),
    st.builds(Order, IDS, st.lists(IDS, max_size=3)),
)
CLIENT: st.SearchStrategy[ClientFrame] = st.one_of(
    st.builds(Hello, st.integers(), TABS, st.none() | POSITIONS, st.none() | POSITIONS, NUMBERS),
    st.builds(
        Event, st.integers(1, 2**53 - 1), IDS, st.sampled_from(["click", "change", "submit", "select", "sort"]), JSON
    ),
    st.builds(Ping),
)
SERVER: st.SearchStrategy[ServerFrame] = st.one_of(
    st.builds(PageFrame, st.just(VERSION), TEXT, POSITIONS, POSITIONS, st.lists(WIDGETS, max_size=3), NUMBERS),
    st.builds(Changes, st.lists(OPERATIONS, max_size=4), s=NUMBERS, by=st.tuples(TABS, NUMBERS)),
    st.builds(Changes, st.lists(OPERATIONS, max_size=4), g=NUMBERS),
    st.builds(Ack, NUMBERS),
    st.builds(ErrorFrame, st.sampled_from(typing.get_args(ErrorCode)), TEXT),
    st.builds(ErrorFrame, st.sampled_from(typing.get_args(ErrorCode)), TEXT, n=NUMBERS, detail=TEXT),
    st.builds(Pong),
    st.builds(TicketFrame, TEXT),
    st.builds(Renew, TEXT),
    st.builds(Ended, TEXT),
)

GOOD = {
    "hello": {"t": "hello", "v": 1, "tab": "t" * 16, "s": ["a", 0], "g": ["b", 7], "n": 1},
    "event": {"t": "event", "n": 1, "id": "s:a", "event": "click", "value": None},
    "ping": {"t": "ping"},
}


@given(CLIENT)
def test_what_a_browser_sends_is_read_back(frame: ClientFrame) -> None:
    """Each frame of a browser's, written as JSON, is decoded to itself, from text and from bytes."""
    message = msgspec.json.encode(frame)
    assert decode(message) == frame
    assert decode(message.decode()) == frame


@given(SERVER)
def test_what_the_server_sends_can_be_read(frame: ServerFrame) -> None:
    """Each frame of the server's is one JSON object in one line, named by its "t", and read back it is the same."""
    text = encode(frame)
    assert "\n" not in text
    assert isinstance(json.loads(text)["t"], str)
    assert msgspec.json.decode(text, type=type(frame)) == frame


def test_the_table_is_whole() -> None:
    """The words on the wire are those of the table, and each belongs to one frame."""
    client = [msgspec.json.decode(msgspec.json.encode(one))["t"] for one in (Hello(1, "t" * 16), Ping())]
    assert client == ["hello", "ping"]
    server = {one.__struct_config__.tag for one in typing.get_args(ServerFrame)}
    assert server == {"page", "changes", "ack", "error", "pong", "place", "ticket", "renew", "ended"}
    ops = {one.__struct_config__.tag for one in typing.get_args(Operation)}
    assert ops == {"update", "add", "remove", "replace", "order"}


def test_what_is_left_out_has_its_default() -> None:
    """A hello of a page that has nothing yet names its version and its tab; an event without a value has None. What a
    frame of the server's does not have is not in it."""
    assert decode('{"t":"hello","v":1,"tab":"0123456789abcdef"}') == Hello(1, "0123456789abcdef", None, None, 1)
    assert decode('{"t":"event","n":1,"id":"s:a","event":"click"}') == Event(1, "s:a", "click", None)
    assert json.loads(encode(Changes([], s=3))) == {"t": "changes", "ops": [], "s": 3}
    assert json.loads(encode(ErrorFrame("failed", "no"))) == {"t": "error", "code": "failed", "message": "no"}


def changed(frame: dict[str, Any], **parts: Any) -> str:
    return json.dumps({**frame, **parts})


MALFORMED: list[str | bytes] = [
    "",
    "{",
    "null",
    "[]",
    '"hello"',
    "7",
    "{}",
    '{"t":"nothing"}',
    '{"t":null}',
    '{"t":["event"]}',
    b"\xff\xfe",
    b"\x00",
    "{" * 10_000,
    '{"t":"event","n":1,"id":"a","event":"click","value":' + "[" * 100_000,
    '{"t":"event","n":1,"id":"a","event":"click","value":' + "[" * 5_000 + "]" * 5_000 + "}",
    '{"t":"ping"} {"t":"ping"}',
    '{"t":"event","n":1,"id":"a","event":"click","value":NaN}',
    '{"t":"event","n":1,"id":"a","event":"click","value":"\\ud800"}',
    *(changed(GOOD["event"], n=n) for n in (0, -1, 1.5, "1", None, True, 2**53, 10**400)),
    *(changed(GOOD["event"], id=id_) for id_ in (None, 5, ["s:a"], "x" * 513)),
    *(changed(GOOD["event"], event=event) for event in ("", "login", "Click", None, 1, ["click"])),
    changed(GOOD["event"], extra=1),
    changed(GOOD["ping"], extra=1),
    *(changed(GOOD["hello"], tab=tab) for tab in ("", "short", "x" * 33, "x" * 15 + "\n", "ä" * 20, None, 16)),
    *(changed(GOOD["hello"], s=at) for at in ("a", ["a"], ["a", "1"], [1, 1], ["a", 1, 2], {})),
    *(changed(GOOD["hello"], v=v) for v in ("1", None, 1.5)),
    *(changed(GOOD["hello"], n=n) for n in ("1", None, 1.5)),
]


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: repr(message[:40]))
def test_what_is_no_frame(message: str | bytes) -> None:
    """What is no frame of a browser's raises `Malformed`, whatever it is, and nothing else."""
    with pytest.raises(Malformed):
        decode(message)


@given(st.binary(max_size=200) | st.text(max_size=200) | JSON.map(json.dumps))
def test_anything_is_a_frame_or_malformed(message: str | bytes) -> None:
    """Any bytes, any text and any JSON decode to a frame or raise `Malformed`."""
    try:
        frame = decode(message)
    except Malformed:
        return
    assert isinstance(frame, Hello | Event | Ping)


@given(st.sampled_from(list(GOOD.values())), st.data())
def test_a_frame_with_a_part_of_another_type_is_malformed_or_a_frame(
    frame: dict[str, Any], data: st.DataObject
) -> None:
    """A frame of which one part is any JSON is a frame whose parts have their types, or raises `Malformed`."""
    part = data.draw(st.sampled_from(list(frame)))
    try:
        got = decode(json.dumps({**frame, part: data.draw(JSON)}))
    except Malformed:
        return
    if isinstance(got, Event):
        assert (type(got.n), type(got.id)) == (int, str)
        assert got.event in ("click", "change", "submit", "select", "sort")
    if isinstance(got, Hello):
        assert (type(got.v), type(got.tab), type(got.n)) == (int, str, int)
