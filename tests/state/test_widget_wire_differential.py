"""Messages, merging, query parameters and values in an address, beside Streamlit's own functions: the same cases, the
same results."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
import test_widget_wire as ours
from google.protobuf.descriptor import Descriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.errors import StreamlitAPIException
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.scriptrunner_utils.script_requests import _coalesce_widget_states
from streamlit.runtime.state.common import WidgetMetadata as TheirMetadata
from streamlit.runtime.state.common import unpack_widget_state_value
from streamlit.runtime.state.query_params import QueryParams as TheirParams
from streamlit.runtime.state.session_state import SessionState as TheirState

from sojourn.errors import UnsupportedValue
from sojourn.state import widget_states_pb2 as pb
from sojourn.state.binding import seed
from sojourn.state.query_params import QueryParams
from sojourn.state.widgets import TRIGGERS, ValueType, WidgetMetadata
from sojourn.state.wire import Incoming, coalesce, read, write_all

KINDS = {"WidgetState": WidgetState, "WidgetStates": WidgetStates}


# --- Messages --------------------------------------------------------------------------------------------------------


def _fields(message: Descriptor, seen: dict[str, Any]) -> dict[str, Any]:
    """Every message that this one is made of, by name: its fields by number."""
    if message.name not in seen:
        seen[message.name] = {
            one.number: (one.name, one.type, one.is_repeated, one.has_presence) for one in message.fields
        }
        for one in message.fields:
            if one.message_type is not None:
                _fields(one.message_type, seen)
    return seen


def test_the_messages_are_the_same() -> None:
    """Every message has the fields of Streamlit's, with the same numbers, names, types and presence."""
    assert _fields(pb.WidgetStates.DESCRIPTOR, {}) == _fields(WidgetStates.DESCRIPTOR, {})


def test_what_streamlit_writes_is_read_and_the_other_way_round() -> None:
    """The bytes of every kind of value are the same in both, and mean what Streamlit takes them for."""
    theirs = WidgetStates.FromString(ours.WHOLE)
    assert theirs.SerializeToString() == ours.WHOLE
    for state, incoming in zip(theirs.widgets, read(theirs).values(), strict=True):
        if incoming.field == "json_trigger_value":  # they leave it to the widget to parse it
            continue
        taken = unpack_widget_state_value(state)
        assert incoming.value == (list(taken) if isinstance(incoming.value, list) and taken else taken)
    assert write_all(read(theirs)).SerializeToString() == ours.WHOLE


states = st.dictionaries(
    st.sampled_from("abcd"),
    st.sampled_from([one for case in ours.MERGES for one in case[1:] if one is not None]),
)


@given(states, states)
def test_two_reruns_are_merged_as_by_streamlit(old: dict[str, Incoming], new: dict[str, Incoming]) -> None:
    """Two pending reruns of any widgets give the same messages in the same order."""

    def message(told: dict[str, Incoming]) -> Any:
        whole = WidgetStates()
        for widget_id, state in told.items():
            made = whole.widgets.add()
            made.CopyFrom(ours._message(state, KINDS))
            made.id = widget_id
        return whole

    theirs = _coalesce_widget_states(message(old), message(new))
    assert theirs is not None
    assert coalesce(message(old), message(new)).SerializeToString() == theirs.SerializeToString()
    assert set(TRIGGERS) == {"trigger_value", "string_trigger_value", "chat_input_value", "json_trigger_value"}


# --- Query parameters ------------------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "A", "é", "embed", "EMBED", "embed_options", ""])
texts = st.sampled_from(["", "x", "y z", "é", "1"])
values = texts | st.integers() | st.booleans() | st.lists(texts) | st.lists(texts).map(tuple) | st.just({"a": "b"})
operations = st.one_of(
    st.tuples(st.just("__setitem__"), names, values),
    st.tuples(st.just("__delitem__"), names),
    st.tuples(st.just("from_dict"), st.dictionaries(names, values, max_size=3)),
    st.tuples(st.just("clear")),
    st.tuples(st.just("pop"), names, st.none()),
    st.tuples(st.just("__getitem__"), names),
    st.tuples(st.just("get_all"), names),
    st.tuples(st.just("get"), names, st.none()),
    st.tuples(st.just("__contains__"), names),
    st.tuples(st.just("__len__")),
    st.tuples(st.just("to_dict")),
)
addresses = st.lists(st.tuples(names, texts), max_size=5).map(urlencode)


@given(addresses, st.lists(operations, max_size=8))
def test_query_parameters_do_what_streamlits_do(address: str, steps: list[tuple[Any, ...]]) -> None:
    """Whatever is done to them, one after the other, they answer, refuse and hold the same."""
    theirs, params = TheirParams(), QueryParams(address)
    theirs.populate_from_query_string(address)
    for name, *arguments in steps:
        assert _done(params, name, arguments) == _done(theirs, name, arguments)
        assert params.query_string == urlencode(theirs._query_params, doseq=True)
        assert list(params) == list(theirs)
        assert str(params) == str({key: theirs._query_params[key] for key in theirs})


def _done(params: Any, name: str, arguments: list[Any]) -> Any:
    try:
        return getattr(params, name)(*arguments)
    except KeyError:
        return KeyError
    except (UnsupportedValue, StreamlitAPIException):
        return "refused"


# --- Values in an address --------------------------------------------------------------------------------------------

WIDGETS: dict[ValueType, tuple[list[Any], list[str]]] = {
    "bool_value": ([False, True], ["", "true", "FALSE", "x"]),
    "int_value": ([0, 5], ["0", "1", "5", "-2"]),
    "double_value": ([0.0, 1.5], ["", "0", "1", "1.5", "-2", "x"]),
    "string_value": (["", "a"], ["", "a", "b", "x y", "é"]),
    "string_array_value": ([[], ["a"]], ["a", "b", "x y", "é"]),
    "int_array_value": ([[], [1]], ["0", "1", "5", "-2"]),
    "double_array_value": ([[0.0], [1.0, 2.0]], ["0", "1", "2.5", "2024-01-01", "12:00", "2024-01-01T10:00"]),
}
"""By kind: some defaults, and texts of which the two think alike. `test_binding` has those where they do not: text that
is no number stays text for Streamlit, which hands it to a widget of numbers, and so do infinities; and an empty text
after another empties a widget that cannot be cleared."""


@pytest.mark.parametrize("value_type", WIDGETS)
@settings(max_examples=300)
@given(st.data())
def test_a_widget_is_what_streamlit_makes_of_the_address(value_type: ValueType, data: st.DataObject) -> None:
    """On its first registration a bound widget has the value that it has in Streamlit, and leaves the same address,
    whether the script has set a value before or not."""
    defaults, pool = WIDGETS[value_type]
    default = data.draw(st.sampled_from(defaults))
    texts = data.draw(st.lists(st.sampled_from(pool), max_size=3).filter(lambda texts: len(texts) < 2 or texts[-1]))
    address = urlencode({"k": texts}, doseq=True)
    is_text = value_type.startswith("string")
    options = data.draw(st.none() | st.just(("a", "b", "x y"))) if is_text else None
    clearable, repeats, from_code = data.draw(st.booleans()), data.draw(st.booleans()), data.draw(st.booleans())
    max_items = data.draw(st.none() | st.integers(0, 2)) if value_type == "string_array_value" else None
    set_before = data.draw(st.sampled_from(defaults))

    def deserializer(wire: Any) -> Any:
        return default if wire is None else wire

    metadata = WidgetMetadata(
        "w", deserializer, _same, value_type, options=options, clearable=clearable, max_items=max_items, repeats=repeats
    )
    params = QueryParams(address)
    found = seed(metadata, params.get_all("k"), from_browser=False, from_code=from_code, is_first=True, history=False)
    if found.texts is not None:
        params.put({"k": found.texts})
    value = found.value if found.source == "address" else set_before if from_code else default

    state = TheirState()
    state.query_params.set_initial_query_params(address)
    state.query_params.populate_from_query_string(address)
    if from_code:
        state._new_session_state["k"] = set_before
    theirs = state.register_widget(
        TheirMetadata(
            "w",
            deserializer,
            _same,
            value_type,
            bind="query-params",
            formatted_options=None if options is None else list(options),
            clearable=clearable,
            max_array_length=max_items,
            allow_url_duplicates=repeats,
        ),
        "k",
    )
    assert (value, params.get_all("k")) == (theirs.value, state.query_params.get_all("k"))


def _same(value: Any) -> Any:
    return value


def test_where_streamlit_hands_text_to_a_widget_of_numbers() -> None:
    """A text that is no number becomes the value of Streamlit's widget of numbers; here the address is not listened
    to."""
    state = TheirState()
    state.query_params.set_initial_query_params("k=apple")
    theirs = state.register_widget(
        TheirMetadata("w", lambda wire: 0 if wire is None else wire, _same, "int_value", bind="query-params"), "k"
    )
    metadata: WidgetMetadata[int] = WidgetMetadata("w", lambda wire: 0 if wire is None else wire, _same, "int_value")
    found = seed(metadata, ["apple"], from_browser=False, from_code=False, is_first=True, history=False)
    assert theirs.value == "apple"
    assert (found.source, found.texts) == ("state", [])


@pytest.mark.parametrize("size", [1000, 1001])
def test_the_limits_are_streamlits(size: int) -> None:
    """An address with more parameters than Streamlit takes is taken for an empty one here, too."""
    theirs = TheirParams()
    address = "&".join("a=1" for _ in range(size))
    theirs.populate_from_query_string(address)
    assert QueryParams(address).get_all("a") == theirs.get_all("a")
