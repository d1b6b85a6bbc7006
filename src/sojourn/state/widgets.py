"""What a widget is to the state: its id, how its value comes and goes, and what is to happen when it changes. Pure.

A widget is made anew in each run of the script, under an id that is made of what it is. It may have a *key*, the
user's name for it, under which the state shows its value. Ids look like ``$$ID-<hash>-<key>``, with ``None`` where
there is no key, as Streamlit's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from ..errors import UnsupportedValue

__all__ = [
    "ID_PREFIX",
    "INTERNAL_PREFIX",
    "TRIGGERS",
    "RegisterWidgetResult",
    "ValueType",
    "WidgetMetadata",
    "is_hidden",
    "is_widget_id",
    "widget_id",
]

T = TypeVar("T")

ValueType: TypeAlias = Literal[
    "trigger_value",
    "bool_value",
    "double_value",
    "int_value",
    "string_value",
    "double_array_value",
    "int_array_value",
    "string_array_value",
    "json_value",
    "arrow_value",
    "bytes_value",
    "file_uploader_state_value",
    "string_trigger_value",
    "chat_input_value",
    "json_trigger_value",
]
"""The kinds of values that widgets have, by the names of their fields on the wire."""

TRIGGERS: Final[Mapping[str, Any]] = {
    "trigger_value": False,
    "string_trigger_value": None,
    "chat_input_value": None,
    "json_trigger_value": None,
}
"""The kinds that are events, and hold for one run only, with what they are when nothing happened."""

ID_PREFIX: Final = "$$ID"
INTERNAL_PREFIX: Final = "$$"
"""What begins like this is no key of the user's, and is not shown."""


@dataclass(frozen=True, slots=True)
class WidgetMetadata(Generic[T]):
    """What the state must know of a widget. It is told anew in each run."""

    id: str
    """See `widget_id`."""

    deserializer: Callable[[Any], T] = field(repr=False)
    """From what came over the wire (None: the widget was cleared, or nothing came yet) to the value that the script
    sees. ``deserializer(None)`` is the default."""

    serializer: Callable[[T], Any] = field(repr=False)
    """The way back."""

    value_type: ValueType

    callback: Callable[..., Any] | None = field(default=None, repr=False)
    """Called with the arguments below, before the script runs, when the widget's value has changed."""
    callback_args: tuple[Any, ...] | None = field(default=None, repr=False)
    callback_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)

    fragment_id: str | None = None
    """The fragment that makes this widget, if one does: runs of other fragments leave it alone."""

    bind: Literal["query-params"] | None = None
    """Keep the value in the address, too, under the widget's key: it begins with what is there, and what it becomes is
    put there. A value that is the default is left out."""

    persist_state: Literal["page", "session"] | None = None
    """Keep the value while the widget is not shown: as long as the visitor stays on its page, or for good. None: the
    value goes with the widget."""

    disabled: bool = False
    """Whatever comes over the wire for it is not listened to: nobody can have clicked there."""

    options: tuple[str, ...] | None = None
    """What an address may say where the widget has a fixed choice. None: anything."""

    clearable: bool = False
    """Whether an address may say that it is empty."""

    max_items: int | None = None
    """How many of a list an address may say; more are cut off."""

    repeats: bool = False
    """Whether a list in an address may say the same twice; if not, the second is left out."""


@dataclass(frozen=True, slots=True)
class RegisterWidgetResult(Generic[T]):
    """What a widget is to show."""

    value: T
    """Its value, which is the caller's own: to change it changes nothing in the state."""

    value_changed: bool
    """Whether it is another than the browser has, and so must be sent."""

    @classmethod
    def failure(cls, deserializer: Callable[[Any], T]) -> RegisterWidgetResult[T]:
        """The default, where the value cannot be known."""
        return cls(deserializer(None), False)


def widget_id(digest: str, key: str | None) -> str:
    """The id of a widget: of a hash of what it is, and its key. Raises `UnsupportedValue` for a key that is empty or
    begins like an id."""
    if key is not None and (not key or is_widget_id(key)):
        raise UnsupportedValue(ascii(key), f"the key of a widget is not empty, and does not begin with {ID_PREFIX}")
    return f"{ID_PREFIX}-{digest}-{key}"


def is_widget_id(name: str) -> bool:
    """Whether this has the form of a widget's id."""
    return name.startswith(ID_PREFIX)


def is_hidden(name: str) -> bool:
    """Whether a name in the state is none of the user's: a widget's without a key, or one of the machinery's."""
    return name.startswith(INTERNAL_PREFIX)
