"""Widget states as they travel: out of messages, into messages, and two pending reruns made one.

The messages are those of ``widget_states.proto``. Streamlit's, which have the same fields under the same numbers, are
read as well as ours. Rules: what came from a browser and makes no sense is a ValueError, and never anything else; how
many bytes it may be is the caller's to bound. protobuf (the extra ``[protobuf]``) is needed to read bytes and to make
messages. To read messages that somebody else has made, and to merge what was read, it is not: a transport of another
kind makes its own `Incoming`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar, get_args

from ..errors import MissingExtra, UnsupportedValue
from .widgets import TRIGGERS, ValueType

if TYPE_CHECKING:
    from . import widget_states_pb2 as messages

__all__ = ["Incoming", "States", "coalesce", "merge_incoming", "read", "write", "write_all"]

S = TypeVar("S")

_ARRAYS: Final = frozenset({"double_array_value", "int_array_value", "string_array_value"})
_JSON: Final = frozenset({"json_value", "json_trigger_value"})
_TEXT_OR_MESSAGE: Final = frozenset({"string_trigger_value", "chat_input_value"})
_MESSAGES: Final = frozenset({"arrow_value", "file_uploader_state_value"}) | _TEXT_OR_MESSAGE
_FIELDS: Final = frozenset(get_args(ValueType))


class Incoming(NamedTuple):
    """What came for one widget."""

    value: Any
    """As the widget's deserializer takes it. None: the widget was cleared, or its trigger did not fire."""

    field: ValueType | None = None
    """The field that it came in. None: it was cleared, or whoever told the value did not say."""

    @property
    def fired(self) -> bool:
        """Whether it is an event that happened: a button pressed, a text sent off. An empty text that was sent is one,
        too."""
        if self.field is None or self.field not in TRIGGERS:
            return False
        return bool(self.value) if TRIGGERS[self.field] is False else self.value is not None


class _Holder(Protocol):
    @property
    def widgets(self) -> Any: ...


States: TypeAlias = _Holder | Mapping[str, Any] | Iterable[Any] | bytes | bytearray | memoryview | None
"""The forms in which widget states may come: see `read`."""


# --- In --------------------------------------------------------------------------------------------------------------


def read(states: States) -> dict[str, Incoming]:
    """What came, by widget id, from a ``WidgetStates`` message (ours or Streamlit's), its bytes, some ``WidgetState``
    messages, or a mapping from ids to values or to `Incoming` (its values are taken as they are). None: nothing came.

    Arrays are lists, JSON is parsed, a trigger's text is text; tables, files and what a chat sent stay messages. Where
    an id comes twice, the later one counts. Raises ValueError for bytes that are no such message and for JSON that is
    none, `UnsupportedValue` for an object of another kind, `MissingExtra` for bytes where protobuf is not installed.
    """
    if states is None:
        return {}
    if isinstance(states, Mapping):
        return {name: one if isinstance(one, Incoming) else Incoming(one) for name, one in states.items()}
    return {state.id: _incoming(state) for state in _each_message(states)}


def _each_message(states: _Holder | Iterable[Any]) -> Iterator[Any]:
    if isinstance(states, (bytes, bytearray, memoryview)):
        states = _parse(bytes(states))
    widgets = getattr(states, "widgets", states)
    if isinstance(widgets, str) or not isinstance(widgets, Iterable):
        raise UnsupportedValue("the widget states", f"a {type(states).__name__} holds none")
    for state in widgets:
        if not callable(getattr(state, "WhichOneof", None)):
            raise UnsupportedValue("the widget states", f"a {type(state).__name__} is no WidgetState")
        yield state


def _parse(data: bytes) -> messages.WidgetStates:
    kind: type[messages.WidgetStates] = _generated().WidgetStates
    from google.protobuf.message import DecodeError

    try:
        parsed: messages.WidgetStates = kind.FromString(data)
    except (DecodeError, ValueError) as error:  # ValueError: text that is no UTF-8, in protobuf's Python form
        raise ValueError(f"these {len(data):,} bytes are no WidgetStates message: {error}") from None
    return parsed


def _incoming(state: Any) -> Incoming:
    field = state.WhichOneof("value")
    if field is None:
        return Incoming(None)
    value = getattr(state, field)
    if field in TRIGGERS and not _message_fired(state):
        return Incoming(TRIGGERS[field], field)
    if field in _ARRAYS:
        return Incoming(list(value.data), field)
    if field in _JSON:
        return Incoming(_parse_json(value), field)
    if field == "string_trigger_value":
        return Incoming(value.data, field)
    return Incoming(value, field)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON value of a widget is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"the JSON value of a widget is no JSON: {error}") from None


def _message_fired(state: Any) -> bool:
    """The same as `Incoming.fired`, without parsing."""
    field = state.WhichOneof("value")
    if field not in TRIGGERS:
        return False
    value = getattr(state, field)
    if field == "json_trigger_value":
        return value not in ("", "null")
    return bool(value.ListFields()) if field in _TEXT_OR_MESSAGE else bool(value)


# --- Out -------------------------------------------------------------------------------------------------------------


def write(widget_id: str, field: str | None, value: Any) -> messages.WidgetState:
    """A message with this value in this field (a `ValueType`): what `read` gives back. None: with no value, which is a
    widget that was cleared. What is a message stays one, of whatever package; for a trigger's or a chat's, text will
    do.

    Raises `UnsupportedValue` for a value that the field cannot hold, `MissingExtra` where protobuf is not installed.
    """
    state: messages.WidgetState = _generated().WidgetState()
    _fill(state, widget_id, field, value)
    return state


def write_all(states: Mapping[str, Incoming]) -> messages.WidgetStates:
    """A message with all of these, by their ids. Raises as `write` does."""
    whole: messages.WidgetStates = _generated().WidgetStates()
    for widget_id, (value, field) in states.items():
        _fill(whole.widgets.add(), widget_id, field, value)
    return whole


def _fill(state: messages.WidgetState, widget_id: str, field: str | None, value: Any) -> None:
    if value is not None and field not in _FIELDS:
        raise UnsupportedValue(f"widget {widget_id!a}", f"there is no field {field!a} for its value")
    try:
        state.id = widget_id
        if value is None or field is None:
            return
        if field in _ARRAYS:
            _fill_array(getattr(state, field), value)
        elif field in _MESSAGES:
            _fill_message(getattr(state, field), field, value)
        else:
            setattr(state, field, json.dumps(value) if field in _JSON else value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnsupportedValue(
            f"widget {widget_id!a}", f"a {type(value).__name__} does not go into {field}: {error}"
        ) from error


def _fill_array(array: Any, value: Any) -> None:
    if isinstance(value, (str, bytes)):
        raise TypeError("it is one text, and no list")
    array.data.extend(value)  # an empty list, too, is a value then, and not a widget that was cleared


def _fill_message(message: Any, field: str, value: Any) -> None:
    message.SetInParent()
    if isinstance(value, str) and field in _TEXT_OR_MESSAGE:
        message.data = value
    elif callable(getattr(value, "SerializeToString", None)):
        message.MergeFromString(value.SerializeToString())  # it may be of a class of Streamlit's
    else:
        raise TypeError("it is no message")


def _generated() -> Any:
    try:
        from . import widget_states_pb2
    except ImportError as error:
        raise MissingExtra("the wire form of widget states", "protobuf") from error
    return widget_states_pb2


# --- Two made one ----------------------------------------------------------------------------------------------------


def merge_incoming(
    old: Mapping[str, Incoming] | None, new: Mapping[str, Incoming] | None
) -> dict[str, Incoming] | None:
    """Two reruns that both wait, made one: the newer says what the widgets hold, and no event of the older is lost.

    An event that fired in ``old`` stays where ``new`` does not name the widget, or names it in the same field, unfired.
    Everything else of ``old`` is dropped: a browser tells all of its widgets each time, so one that it tells no more is
    gone. None: that rerun leaves the widgets as they are; two of these make a third.
    """
    return _merged(old, new, lambda one: one.field, lambda one: one.fired)


def coalesce(old: Any, new: Any) -> Any:
    """The same for two ``WidgetStates`` messages, ours or Streamlit's: the result is one of the class of ``new`` (of
    ``old`` where there is no ``new``). Neither is changed. None for None and None."""
    if old is None or new is None:
        return old if new is None else new
    merged = _merged(
        {state.id: state for state in old.widgets},
        {state.id: state for state in new.widgets},
        lambda state: state.WhichOneof("value"),
        _message_fired,
    )
    result = type(new)()
    for state in (merged or {}).values():
        result.widgets.add().MergeFromString(state.SerializeToString())  # the two may be of different classes
    return result


def _merged(
    old: Mapping[str, S] | None,
    new: Mapping[str, S] | None,
    field_of: Callable[[S], str | None],
    fired: Callable[[S], bool],
) -> dict[str, S] | None:
    if old is None or new is None:
        kept = old if new is None else new
        return None if kept is None else dict(kept)
    merged = dict(new)
    for widget_id, state in old.items():
        newer = new.get(widget_id)
        if fired(state) and (newer is None or (field_of(newer) == field_of(state) and not fired(newer))):
            merged[widget_id] = state
    return merged
