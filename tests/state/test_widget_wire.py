"""Widget states as they travel: read from every form, written back, merged; and the messages' own definition."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from sojourn.errors import MissingExtra, UnsupportedValue
from sojourn.state import widget_states_pb2 as pb
from sojourn.state import wire
from sojourn.state.widgets import TRIGGERS
from sojourn.state.wire import Incoming, coalesce, merge_incoming, read, write, write_all

FOLDER = Path(wire.__file__).parent

FIELDS = {
    "trigger_value": (2, "bool"),
    "bool_value": (3, "bool"),
    "double_value": (4, "double"),
    "int_value": (5, "sint64"),
    "string_value": (6, "string"),
    "double_array_value": (7, "DoubleArray"),
    "int_array_value": (8, "SInt64Array"),
    "string_array_value": (9, "StringArray"),
    "json_value": (10, "string"),
    "arrow_value": (11, "ArrowTable"),
    "bytes_value": (12, "bytes"),
    "file_uploader_state_value": (13, "FileUploaderState"),
    "string_trigger_value": (14, "StringTriggerValue"),
    "chat_input_value": (15, "ChatInputValue"),
    "json_trigger_value": (16, "string"),
}
"""Read off the descriptors of Streamlit 1.67.0; those of 1.39.0 are the same up to 14, and have no more."""

PARTS = {
    "DoubleArray": {"data": (1, "double")},
    "SInt64Array": {"data": (1, "sint64")},
    "StringArray": {"data": (1, "string")},
    "StringTriggerValue": {"data": (1, "string")},
    "ChatInputValue": {
        "data": (1, "string"),
        "file_uploader_state": (2, "FileUploaderState"),
        "audio_file_info": (3, "UploadedFileInfo"),
    },
    "FileUploaderState": {"uploaded_file_info": (2, "UploadedFileInfo")},
    "UploadedFileInfo": {
        "name": (2, "string"),
        "size": (3, "uint64"),
        "file_id": (4, "string"),
        "file_urls": (5, "FileURLs"),
    },
    "FileURLs": {"file_id": (1, "string"), "upload_url": (2, "string"), "delete_url": (3, "string")},
    "ArrowTable": {
        "data": (1, "bytes"),
        "index": (2, "bytes"),
        "columns": (3, "bytes"),
        "styler": (5, "ArrowTableStyler"),
    },
    "ArrowTableStyler": {
        "uuid": (1, "string"),
        "caption": (2, "string"),
        "styles": (3, "string"),
        "display_values": (4, "bytes"),
    },
}

chat = pb.ChatInputValue(data="hello", audio_file_info=pb.UploadedFileInfo(name="a.wav", size=2**40))
files = pb.FileUploaderState(uploaded_file_info=[pb.UploadedFileInfo(name="a.txt", size=3, file_id="f1")])
table = pb.ArrowTable(data=b"\xff\x00", styler=pb.ArrowTableStyler(uuid="u"))

VALUES: dict[str, list[Any]] = {
    "trigger_value": [True, False],
    "bool_value": [True, False],
    "double_value": [0.0, -1.5, 1e300, math.inf],
    "int_value": [0, -1, 2**63 - 1, -(2**63)],
    "string_value": ["", "née\0"],
    "double_array_value": [[], [0.5, -2.0]],
    "int_array_value": [[], [1, -(2**63)]],
    "string_array_value": [[], ["", "a", "a"]],
    "json_value": [{"a": [1, None, "x"]}, [], 0, "text"],
    "arrow_value": [table, pb.ArrowTable()],
    "bytes_value": [b"", b"\xff\x00"],
    "file_uploader_state_value": [files, pb.FileUploaderState()],
    "string_trigger_value": ["", "sent"],
    "chat_input_value": [chat, pb.ChatInputValue(data="")],
    "json_trigger_value": [{"event": "submit"}, [], 0, False, ""],
}
CASES = [(field, value) for field, values in VALUES.items() for value in values]


# --- The definition --------------------------------------------------------------------------------------------------


def _name(field: Any) -> str:
    if field.message_type is not None:
        return str(field.message_type.name)
    return descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def test_the_fields_have_the_numbers_and_types_of_streamlits() -> None:
    """Each field has the number and the type that it has in Streamlit, and there is none that Streamlit has not."""
    assert {one.name: (one.number, _name(one)) for one in pb.WidgetState.DESCRIPTOR.oneofs[0].fields} == FIELDS
    assert {one.name: one.number for one in pb.WidgetState.DESCRIPTOR.fields if one.name not in FIELDS} == {"id": 1}
    assert [(one.name, one.number) for one in pb.WidgetStates.DESCRIPTOR.fields] == [("widgets", 1)]
    told = {
        name: {one.name: (one.number, _name(one)) for one in message.fields}
        for name, message in pb.DESCRIPTOR.message_types_by_name.items()
    }
    assert {name: told[name] for name in PARTS} == PARTS
    assert pb.DESCRIPTOR.package == "sojourn.state"


def test_the_generated_code_is_of_this_definition() -> None:
    """Neither the .proto file nor the code that was made of it was changed without the other: `make proto`."""
    code = (FOLDER / "widget_states_pb2.py").read_bytes()
    *_, of_source, of_code = code.splitlines(keepends=True)
    made = code.removesuffix(of_source + of_code)
    assert of_source.decode().split()[-1] == sha256((FOLDER / "widget_states.proto").read_bytes()).hexdigest()
    assert of_code.decode().split()[-1] == sha256(made).hexdigest()


def test_the_generated_code_asks_for_no_version() -> None:
    """The generated code does not check the version of protobuf that it meets, so that any from 5.26 on will do."""
    code = (FOLDER / "widget_states_pb2.py").read_text()
    assert "Protobuf Python Version: 5.26.1" in code
    assert "ValidateProtobufRuntimeVersion" not in code


def test_the_definition_speaks_of_every_message() -> None:
    """The .proto file and the descriptor have the same fields, name by name and number by number."""
    text = re.sub(r"//.*", "", (FOLDER / "widget_states.proto").read_text())
    told = {(name, int(number)) for name, number in re.findall(r"(\w+) = (\d+);", text)}
    fields = [one for message in pb.DESCRIPTOR.message_types_by_name.values() for one in message.fields]
    assert told == {(one.name, one.number) for one in fields}


# --- Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "value"), CASES)
def test_what_is_written_is_read_again(field: str, value: Any) -> None:
    """Every kind of value comes back from a message, from its bytes and from a list of messages, with its field."""
    states = {"w": Incoming(value, field)}  # type: ignore[arg-type]
    message = write_all(states)
    for form in (
        message,
        message.SerializeToString(),
        bytearray(message.SerializeToString()),
        [write("w", *states["w"][::-1])],
    ):
        assert read(form) == states
        assert type(read(form)["w"].value) is type(value)


@given(st.dictionaries(st.text(), st.sampled_from(CASES)))
def test_many_at_once(states: dict[str, tuple[str, Any]]) -> None:
    """Any widgets together come back in their order."""
    incoming = {name: Incoming(value, field) for name, (field, value) in states.items()}  # type: ignore[arg-type]
    again = read(write_all(incoming).SerializeToString())
    assert again == incoming
    assert list(again) == list(incoming)


def test_a_cleared_widget() -> None:
    """A widget that was cleared comes as None, in no field; and None is written as such, in whatever field."""
    assert read(pb.WidgetStates(widgets=[pb.WidgetState(id="w")])) == {"w": Incoming(None, None)}
    for field in FIELDS:
        assert write("w", field, None).WhichOneof("value") is None


@pytest.mark.parametrize("field", TRIGGERS)
def test_a_trigger_that_did_not_fire(field: str) -> None:
    """A trigger that holds nothing comes as what `TRIGGERS` says, and in its field."""
    state = pb.WidgetState(id="w")
    if field in ("trigger_value", "json_trigger_value"):
        setattr(state, field, getattr(state, field))
    else:
        getattr(state, field).SetInParent()
    assert state.WhichOneof("value") == field
    assert read([state]) == {"w": Incoming(TRIGGERS[field], field)}  # type: ignore[arg-type]
    assert not read([state])["w"].fired


@pytest.mark.parametrize(("field", "value"), CASES)
def test_what_has_fired(field: str, value: Any) -> None:
    """Triggers with a value have fired, an empty text among them; other widgets never have."""
    (read_again,) = read([write("w", field, value)]).values()
    assert read_again.fired is (field in TRIGGERS and (field, value) != ("trigger_value", False))
    assert not Incoming(value).fired


def test_an_id_twice() -> None:
    """Where an id comes twice, the later one counts."""
    assert read([write("w", "int_value", 1), write("w", "int_value", 2)]) == {"w": Incoming(2, "int_value")}


def test_a_mapping_is_taken_as_it_is() -> None:
    """A plain mapping needs no protobuf: its values are taken as they are, and it is not kept."""
    given = {"a": 1, "b": Incoming("x", "string_value"), "c": None}
    assert read(given) == {"a": Incoming(1), "b": Incoming("x", "string_value"), "c": Incoming(None)}
    assert read(None) == read({}) == read([]) == read(b"") == {}


def test_a_list_is_the_readers_own() -> None:
    """What is read of an array is a list of its own: to change it changes no message."""
    state = write("w", "int_array_value", [1])
    read([state])["w"].value.append(2)
    assert list(state.int_array_value.data) == [1]


@pytest.mark.parametrize("form", ["", "text", 1, object(), [1], ["w"], [None], [{"id": "w"}], pb.WidgetState(id="w")])
def test_what_is_no_form_of_states(form: Any) -> None:
    """An object of another kind is refused, with its type."""
    with pytest.raises(UnsupportedValue, match="widget states"):
        read(form)


@pytest.mark.parametrize("text", ["", "{", "nul", "[" * 100_000, "9" * 5_000, "\0", '{"a":}', '"\ud7ff'])
@pytest.mark.parametrize("field", ["json_value", "json_trigger_value"])
def test_json_that_is_none(text: str, field: str) -> None:
    """JSON that is none is a ValueError that says so, however deep or long it is. (An empty trigger is one that did not
    fire.)"""
    state = pb.WidgetState(id="w", **{field: text})
    if not text and field == "json_trigger_value":
        assert read([state]) == {"w": Incoming(None, field)}
        return
    with pytest.raises(ValueError, match="JSON"):
        read([state])


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are read, or are a ValueError."""
    _read_or_refuse(data)


WHOLE = write_all({f"w{i}": Incoming(value, field) for i, (field, value) in enumerate(CASES)}).SerializeToString()  # type: ignore[arg-type]


@given(st.data())
def test_damaged_messages(data: st.DataObject) -> None:
    """A message that was cut, or whose bytes were changed, is read or is a ValueError."""
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    _read_or_refuse(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))


def _read_or_refuse(data: bytes) -> None:
    try:
        states = read(data)
    except ValueError:
        return
    assert all(isinstance(one, Incoming) for one in states.values())


def test_bytes_that_are_no_message() -> None:
    """The error tells how many bytes it was, and nothing of them."""
    with pytest.raises(ValueError, match="5 bytes are no WidgetStates") as raised:
        read(b"\xffsec!")
    assert "sec" not in str(raised.value)


def test_with_protobuf_in_python() -> None:
    """The same holds where protobuf has no compiled part."""
    program = f"""
import random
from google.protobuf.internal import api_implementation
from sojourn.state.wire import read, write
assert api_implementation.Type() == "python"
whole = bytes.fromhex("{WHOLE.hex()}")
assert len(read(whole)) == {len(CASES)}
assert write("w", "string_array_value", []).WhichOneof("value") == "string_array_value"
chance = random.Random(1)
refused = 0
for _ in range(2000):
    damaged = bytearray(whole)
    for _ in range(chance.randint(1, 3)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    try:
        read(damaged)
    except ValueError:
        refused += 1
print(0 < refused < 2000)
"""
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


# --- Messages of others ----------------------------------------------------------------------------------------------


def _foreign() -> dict[str, Any]:
    """The same messages in no package, made at run time: other classes, as Streamlit's are."""
    file = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    file.name, file.package = "somebody_elses.proto", ""
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(".sojourn.state.", ".")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = pb.DESCRIPTOR.message_types_by_name
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


FOREIGN = _foreign()


def test_somebody_elses_messages_are_read() -> None:
    """Messages of another package are read as ours are, and what is a message within them stays of its class."""
    states = FOREIGN["WidgetStates"].FromString(WHOLE)
    again = read(states)
    assert len(again) == len(CASES)
    for (field, value), one in zip(CASES, again.values(), strict=True):
        assert one.field == field
        if hasattr(value, "SerializeToString"):
            assert type(one.value) is FOREIGN[type(value).__name__]
            assert one.value.SerializeToString() == value.SerializeToString()
        else:
            assert one.value == value
    assert write_all(again).SerializeToString() == WHOLE


# --- Writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bool_value", "yes"),
        ("double_value", "1"),
        ("int_value", 2**63),
        ("int_value", 1.5),
        ("string_value", 1),
        ("string_value", "\ud800"),
        ("string_array_value", "text"),
        ("string_array_value", [1]),
        ("int_array_value", 5),
        ("int_array_value", [1, None]),
        ("double_array_value", b"12"),
        ("json_value", object()),
        ("json_trigger_value", {1j: 1}),
        ("bytes_value", [1]),
        ("arrow_value", b"bytes"),
        ("arrow_value", "text"),
        ("file_uploader_state_value", []),
        ("chat_input_value", 1),
        ("no_such_value", 1),
        ("id", "other"),
        (None, 1),
    ],
)
def test_what_a_field_cannot_hold(field: str | None, value: Any) -> None:
    """A value that its field cannot hold is refused, with the widget and the field."""
    with pytest.raises(UnsupportedValue, match=r"widget 'w'.*") as raised:
        write("w", field, value)
    assert str(field) in str(raised.value)


def test_json_without_an_end_is_refused() -> None:
    """A list that holds itself is refused, and so is one that is nested too deep."""
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(UnsupportedValue):
            write("w", "json_value", value)


def test_text_for_a_chat() -> None:
    """A chat's value may be given as its text."""
    assert read([write("w", "chat_input_value", "hello")])["w"].value == pb.ChatInputValue(data="hello")


def test_json_stays_json_both_ways() -> None:
    """JSON is made once and parsed once, a trigger's too. (Streamlit's is text of text after it was written again.)"""
    for field in ("json_value", "json_trigger_value"):
        state = write("w", field, {"event": "x"})
        assert json.loads(getattr(state, field)) == {"event": "x"}
        assert read([state])["w"].value == {"event": "x"}


# --- Two reruns made one ---------------------------------------------------------------------------------------------

button = Incoming(True, "trigger_value")
idle = Incoming(False, "trigger_value")
text = Incoming("go", "string_trigger_value")
no_text = Incoming(None, "string_trigger_value")
empty_text = Incoming("", "string_trigger_value")
said = Incoming(chat, "chat_input_value")
unsaid = Incoming(None, "chat_input_value")
event = Incoming({"event": "x"}, "json_trigger_value")
no_event = Incoming(None, "json_trigger_value")
one, two = Incoming(1, "int_value"), Incoming(2, "int_value")
cleared = Incoming(None)

MERGES: list[tuple[str, Incoming | None, Incoming | None, Incoming | None]] = [
    ("the newest value wins", one, two, two),
    ("a value that is told no more is gone", one, None, None),
    ("a new value comes", None, two, two),
    ("a press that is told no more stays", button, None, button),
    ("a press stays over a button that is not pressed", button, idle, button),
    ("a press of the newer", idle, button, button),
    ("a button that was not pressed is gone", idle, None, None),
    ("two presses are one", button, button, button),
    ("a widget that is no button any more", button, two, two),
    ("a widget that was cleared after it was pressed", button, cleared, cleared),
    ("a cleared widget is gone", cleared, None, None),
    ("a text that was sent stays", text, None, text),
    ("a text that was sent stays over none", text, no_text, text),
    ("a newer text wins", text, empty_text, empty_text),
    ("an empty text was sent, too", empty_text, no_text, empty_text),
    ("no text was sent", no_text, None, None),
    ("another kind of trigger wins", text, idle, idle),
    ("what was said stays", said, unsaid, said),
    ("what was said is told no more", said, None, said),
    ("nothing was said", unsaid, None, None),
    ("an event stays", event, no_event, event),
    ("an event is told no more", event, None, event),
    ("no event happened", no_event, None, None),
    ("a cleared widget, told again", cleared, two, two),
]
"""For one widget: what it is about, what the older and the newer rerun say (None: nothing), and what they say together.
Streamlit's own function gives the same for each."""


def _message(state: Incoming, kinds: Mapping[str, Any]) -> Any:
    """As a browser would send it: a trigger that did not fire is in its field all the same."""
    made = write("w", state.field, state.value)
    if state.field == "string_trigger_value" and state.value is None:
        made.string_trigger_value.SetInParent()
    if state.field == "chat_input_value" and state.value is None:
        made.chat_input_value.SetInParent()
    if state.field == "json_trigger_value" and state.value is None:
        made.json_trigger_value = ""
    return kinds["WidgetState"].FromString(made.SerializeToString())


@pytest.mark.parametrize(("old", "new", "merged"), [case[1:] for case in MERGES], ids=[case[0] for case in MERGES])
def test_two_reruns_made_one(old: Incoming | None, new: Incoming | None, merged: Incoming | None) -> None:
    """The newest value wins, and no event of the older rerun is lost: in plain values and in messages, of one class or
    of two."""

    def plain(state: Incoming | None) -> dict[str, Incoming]:
        return {} if state is None else {"w": state}

    assert merge_incoming(plain(old), plain(new)) == plain(merged)
    ours = {name: getattr(pb, name) for name in FOREIGN}
    for older in (ours, FOREIGN):
        for newer in (ours, FOREIGN):
            told = coalesce(
                older["WidgetStates"](widgets=[_message(one, older) for one in plain(old).values()]),
                newer["WidgetStates"](widgets=[_message(one, newer) for one in plain(new).values()]),
            )
            assert type(told) is newer["WidgetStates"]
            expected = [_message(one, newer) for one in plain(merged).values()]
            assert list(told.widgets) == expected


def test_where_one_of_two_is_missing() -> None:
    """A rerun that leaves the widgets as they are takes nothing from the other; two of them say nothing."""
    states = pb.WidgetStates(widgets=[write("w", "int_value", 1)])
    assert coalesce(None, None) is None
    assert coalesce(states, None) == coalesce(None, states) == states
    assert merge_incoming(None, None) is None
    plain = {"w": one}
    for merged in (merge_incoming(plain, None), merge_incoming(None, plain)):
        assert merged == plain
        assert merged is not plain


def test_neither_is_changed() -> None:
    """To merge two changes neither."""
    old, new = {"b": button, "n": one}, {"n": two}
    assert merge_incoming(old, new) == {"n": two, "b": button}
    assert (old, new) == ({"b": button, "n": one}, {"n": two})


kinds = st.sampled_from([button, idle, text, no_text, empty_text, event, no_event, one, two, cleared])
reruns = st.dictionaries(st.sampled_from("abcd"), kinds)


@given(st.lists(reruns, min_size=1))
def test_no_press_is_lost(pending: list[dict[str, Incoming]]) -> None:
    """However many reruns wait: the last event that fired is there, unless a later rerun says that the widget holds
    something else; every other widget is as the last rerun says."""
    merged: dict[str, Incoming] | None = None
    for states in pending:
        merged = merge_incoming(merged, states)
    assert merged is not None
    for widget_id in "abcd":
        told = [states.get(widget_id) for states in pending]
        fired = [index for index, state in enumerate(told) if state is not None and state.fired]
        expected = told[-1]
        if fired:
            event, later = told[fired[-1]], told[fired[-1] + 1 :]
            if all(state is None or state.field == event.field for state in later):  # type: ignore[union-attr]
                expected = event
        assert merged.get(widget_id) == expected


# --- Without the extra -----------------------------------------------------------------------------------------------


def test_without_protobuf() -> None:
    """Without protobuf, plain values and others' messages are read and merged; bytes and new ones name the extra."""
    program = """
import sys
sys.modules["google"] = sys.modules["google.protobuf"] = None
from sojourn.errors import MissingExtra
from sojourn.state.wire import Incoming, merge_incoming, read, write, write_all

class State:
    id, int_value = "w", 5
    def WhichOneof(self, name): return "int_value"

assert read([State()]) == {"w": Incoming(5, "int_value")}
assert merge_incoming(read({"a": 1}), read({"b": 2})) == {"b": Incoming(2)}
for act in (lambda: read(b""), lambda: write("w", "int_value", 1), lambda: write_all({})):
    try:
        act()
    except MissingExtra as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.count("pip install 'sojourn[protobuf]'") == 3
    assert issubclass(MissingExtra, ImportError)
