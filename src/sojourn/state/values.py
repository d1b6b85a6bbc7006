"""The values of widgets, by widget id: what the browser sent for this run, and what is known from before.

What comes over the wire is read when it is first asked for: only then is it known how, as widgets tell it when they are
made. Until a widget was made once, what the browser says of it is kept and not shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from .widgets import TRIGGERS, WidgetMetadata
from .wire import Incoming

__all__ = ["MISSING", "NoKey", "WidgetValues", "differ"]

MISSING: Final[Any] = object()
"""Stands for the value of what is not there."""


class NoKey(KeyError):
    """There is nothing under this key. (Put into words only when somebody wants to read it.)"""

    def __str__(self) -> str:
        return f"the session state has no key {self.args[0]!r}: set it first, or make its widget first"


class WidgetValues:
    """Values and what is known of their widgets."""

    __slots__ = ("_wire", "fresh", "kept", "metadata")

    def __init__(self) -> None:
        self.metadata: dict[str, WidgetMetadata[Any]] = {}
        """As the widgets last told it."""
        self.fresh: dict[str, Any] = {}
        """Of this run."""
        self.kept: dict[str, Any] = {}
        """Of the runs before."""
        self._wire: dict[str, Incoming] = {}  # of this run, and not read yet

    def receive(self, incoming: Mapping[str, Incoming]) -> None:
        """Take up what the browser sent."""
        for widget_id, value in incoming.items():
            self.fresh.pop(widget_id, None)
            self._wire[widget_id] = value

    def sent(self, widget_id: str) -> bool:
        """Whether there is a value of this run."""
        return widget_id in self.fresh or widget_id in self._wire

    def of_this_run(self, widget_id: str) -> Any:
        """The value of this run; `MISSING` if there is none that can be read. A value that its widget's deserializer
        refuses is forgotten, and what that raises comes through."""
        if widget_id in self._wire and widget_id in self.metadata:
            sent = self._wire.pop(widget_id)
            self.fresh[widget_id] = self.metadata[widget_id].deserializer(sent.value)
        return self.fresh.get(widget_id, MISSING)

    def find(self, widget_id: str) -> Any:
        """The newest value; `MISSING` if there is none."""
        value = self.of_this_run(widget_id)
        return self.kept.get(widget_id, MISSING) if value is MISSING else value

    def ids(self) -> set[str]:
        """Of all widgets of which something is known or was sent."""
        return self.fresh.keys() | self._wire.keys() | self.kept.keys()

    def changed(self) -> Iterator[WidgetMetadata[Any]]:
        """Widgets for which the browser sent another value than was known, in the order in which it did."""
        for widget_id in [*self.fresh, *self._wire]:
            metadata = self.metadata.get(widget_id)
            if metadata is None or metadata.disabled:
                continue
            value = self.of_this_run(widget_id)
            if value is not MISSING and differ(value, self.kept.get(widget_id)):
                yield metadata

    def turn(self) -> None:
        """What was of this run is from before now. What could not be read is forgotten: it never came to be."""
        for widget_id in self.ids():
            value = self.of_this_run(widget_id)
            if value is not MISSING:
                self.kept[widget_id] = value
        self.fresh.clear()
        self._wire.clear()

    def reset_triggers(self) -> None:
        """Events are over."""
        for widget_id in [*self.fresh, *self._wire]:
            metadata = self.metadata.get(widget_id)
            if metadata is not None and metadata.value_type in TRIGGERS:
                self._wire.pop(widget_id, None)
                self.fresh[widget_id] = TRIGGERS[metadata.value_type]

    def is_stale(self, widget_id: str, active: Collection[str], fragments: Collection[str]) -> bool:
        """Whether a widget is no longer shown: nobody knows it, or it was not made in a run that should have."""
        metadata = self.metadata.get(widget_id)
        if metadata is None:
            return True
        if widget_id in active:
            return False
        return not fragments or metadata.fragment_id in fragments

    def drop(self, widget_id: str) -> bool:
        """Forget a widget's value. Returns whether there was one."""
        known = (self.fresh, self._wire, self.kept)
        return sum(values.pop(widget_id, MISSING) is not MISSING for values in known) > 0

    def drop_sent(self, widget_id: str) -> bool:
        """Forget what the browser sent for a widget. Returns whether it did."""
        known = (self.fresh, self._wire)
        return sum(values.pop(widget_id, MISSING) is not MISSING for values in known) > 0

    def forget(self, widget_id: str) -> None:
        """Forget a widget: what its key is set to from now on is none of its values."""
        self.drop(widget_id)
        self.metadata.pop(widget_id, None)

    def outgoing(self) -> Iterator[tuple[str, str | None, Any]]:
        """For each widget with a value of this run that can be told: its id, the field of its value on the wire, and
        the value there. Of a widget that was not made it may not be known what field that is."""
        for widget_id, sent in self._wire.items():
            metadata = self.metadata.get(widget_id)
            field = sent.field if sent.field or metadata is None else metadata.value_type
            if field is not None or sent.value is None:
                yield widget_id, field, sent.value
        for widget_id, value in self.fresh.items():
            metadata = self.metadata.get(widget_id)
            if metadata is not None:
                yield widget_id, metadata.value_type, metadata.serializer(value)

    def clear(self) -> None:
        """Forget all values. What is known of the widgets stays: they may be on the visitor's screen."""
        self.fresh.clear()
        self.kept.clear()
        self._wire.clear()


def differ(one: Any, other: Any) -> bool:
    """Whether two values are not the same. What cannot be compared (an array) counts as different."""
    if one is other:
        return False
    try:
        return bool(one != other)
    except (TypeError, ValueError):
        return True
