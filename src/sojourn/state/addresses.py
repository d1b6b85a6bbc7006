"""Widgets that are bound to the page's address: what it says becomes their value, and what they are, it says. Which of
the two counts is decided in `sojourn.state.binding`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .binding import mirror, seed
from .places import Places
from .query_params import QueryParams
from .widgets import WidgetMetadata
from .wire import Incoming

__all__ = ["Addresses"]


class Addresses:
    """The bound widgets of one state."""

    __slots__ = ("_outside", "_places", "bound", "params")

    def __init__(self, places: Places, on_change: Callable[[str], None] | None) -> None:
        self._places = places
        self.params = QueryParams(on_change=on_change)
        self.bound: set[str] = set()
        """The ids of widgets that asked for it, shown or not."""
        self._outside: set[str] = set()  # names of theirs that were set from outside, which they do not know yet

    def read(self, metadata: WidgetMetadata[Any], key: str, *, is_first: bool, history: bool) -> bool:
        """Let a widget be what the address says, where that counts. Returns whether it did."""
        widget_id, widgets, new = metadata.id, self._places.widgets, self._places.new
        if metadata.bind is None:
            self.release([widget_id])
            self.bound.discard(widget_id)
            return False
        self.bound.add(widget_id)
        self.params.bind(key, widget_id)
        if key in self._outside:
            self._outside.discard(key)
            history = True  # the address decides, as where the visitor went back to it
        found = seed(
            metadata,
            self.params.get_all(key),
            from_browser=widgets.sent(widget_id),
            from_code=key in new,
            is_first=is_first,
            history=history,
        )
        if found.texts is not None:
            self.params.put({key: found.texts})
        if found.source not in ("address", "default"):
            return False
        widgets.drop_sent(widget_id)
        widgets.fresh[widget_id] = new[key] = found.value
        return True

    def take(self, values: dict[str, str | list[str]], *, tell: bool) -> None:
        """Parameters were set from outside: the widgets that are bound to them are to be what they say."""
        changed = self.params.take(values, tell=tell)
        if tell:
            self._outside.update(key for key in changed if self.params.bound_to(key) is not None)

    def without_outside(self, incoming: Mapping[str, Incoming]) -> dict[str, Incoming]:
        """What the browser says of all other widgets than those whose parameters were set from outside."""
        if not self._outside:
            return dict(incoming)
        late = {self.params.bound_to(key) for key in self._outside}
        return {widget_id: one for widget_id, one in incoming.items() if widget_id not in late}

    def without_bound(self, incoming: Mapping[str, Incoming]) -> dict[str, Incoming]:
        """What the browser says of all other widgets: for where the address decides, and nobody has changed these."""
        return {widget_id: one for widget_id, one in incoming.items() if widget_id not in self.bound}

    def write(self, metadata: WidgetMetadata[Any], key: str, value: Any) -> None:
        """Let the address say what a widget is, if it is bound."""
        if metadata.bind is not None:
            texts = mirror(metadata, value, self.params.get_all(key))
            if texts is not None:
                self.params.put({key: texts})

    def release(self, widget_ids: Iterable[str]) -> None:
        """Let the address say nothing of these widgets."""
        for widget_id in widget_ids:
            key = self.params.unbind(widget_id) if widget_id in self.bound else None
            if key is not None:
                self.params.put({key: []})

    def clear(self) -> None:
        """No widget is bound any more."""
        self.release(list(self.bound))
        self.bound.clear()
        self._outside.clear()
