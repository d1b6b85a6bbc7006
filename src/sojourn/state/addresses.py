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

    __slots__ = ("_places", "bound", "params")

    def __init__(self, places: Places, on_change: Callable[[str], None] | None) -> None:
        self._places = places
        self.params = QueryParams(on_change=on_change)
        self.bound: set[str] = set()
        """The ids of widgets that asked for it, shown or not."""

    def read(self, metadata: WidgetMetadata[Any], key: str, *, is_first: bool, history: bool) -> bool:
        """Let a widget be what the address says, where that counts. Returns whether it did."""
        widget_id, widgets, new = metadata.id, self._places.widgets, self._places.new
        if metadata.bind is None:
            self.release([widget_id])
            self.bound.discard(widget_id)
            return False
        self.bound.add(widget_id)
        self.params.bind(key, widget_id)
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
