"""What a session state holds, and where a key's value is looked up. No store, no run, no lock.

The first place that has a value:

    1  new         what the code set under the key in this run
    2  widgets     what the browser sent for the key's widget in this run
    3              what that widget was in the runs before
    4  user        what the code set under the key in earlier runs
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

from ..codec import ATOMS
from .keys import Keys
from .persisting import Persisting
from .runs import ScriptRun
from .values import MISSING, WidgetValues, differ
from .widgets import TRIGGERS, WidgetMetadata, is_hidden
from .wire import Incoming

__all__ = ["Places", "own"]


class Places:
    """The places where values are."""

    __slots__ = ("dropped", "keys", "new", "persisting", "told", "user", "widgets")

    def __init__(self) -> None:
        self.new: dict[str, Any] = {}
        self.told: set[str] = set()
        """Keys of widgets that were made since the code set them: their browsers know."""
        self.user: dict[str, Any] = {}
        self.dropped: set[str] = set()
        """Keys whose values went with the page that was left."""
        self.widgets = WidgetValues()
        self.keys = Keys()
        self.persisting = Persisting()

    def find(self, key: str) -> Any:
        """The value under a key, or a widget's id; `MISSING` if there is none. A widget's is a copy: nobody changes a
        widget by changing what it gave."""
        if key in self.new:
            return self.new[key]
        widget_id = self.keys.ids.get(key)
        if widget_id is not None:
            value = self.widgets.find(widget_id)
            return self.user.get(key, MISSING) if value is MISSING else own(value)
        value = self.user.get(key, MISSING)
        if value is MISSING and key in self.widgets.metadata:
            return own(self.find_widget(key, self.keys.keys.get(key)))
        return value

    def find_widget(self, widget_id: str, key: str | None) -> Any:
        """The value of a widget, the very object; `MISSING` if there is none."""
        if key is not None and key in self.new:
            return self.new[key]
        value = self.widgets.find(widget_id)
        return self.user.get(key, MISSING) if value is MISSING and key is not None else value

    def widget_of(self, key: str) -> str | None:
        """The id of the widget that has this key and was there in the last run; None: the key is the code's."""
        widget_id = self.keys.ids.get(key)
        return widget_id if widget_id in self.widgets.metadata else None

    def shown(self) -> list[str]:
        """The keys that a user may see."""
        keys = dict.fromkeys((*self.user, *self.new, *self.keys.ids))
        return [key for key in keys if not is_hidden(key)]

    def names(self) -> list[str]:
        """Of all that is known, widgets by their ids."""
        ids = self.keys.ids
        names = dict.fromkeys(ids.get(key, key) for key in (*self.user, *self.new))
        return list(names | dict.fromkeys(self.widgets.ids()))

    def end_events(self) -> None:
        """Events are over, those that the code made up, too."""
        widgets = self.widgets
        widgets.reset_triggers()
        for key in self.told:
            metadata = widgets.metadata.get(self.keys.ids.get(key, ""))
            if metadata is not None and metadata.value_type in TRIGGERS and (key in self.new or key in self.user):
                self.new.pop(key, None)
                self.user.pop(key, None)
                widgets.kept[metadata.id] = TRIGGERS[metadata.value_type]

    def turn(self) -> None:
        """A run begins: what was new is old, under its widget where the key has one. But what was set for a widget that
        was not made since stays new, or what the browser still says of it would replace it."""
        kept, known, untold = self.widgets.kept, self.widgets.metadata, {}
        self.widgets.turn()
        for key, value in self.new.items():
            widget_id = self.widget_of(key)
            if widget_id is None:
                self.user[key] = value
            elif key in self.told:
                kept[widget_id] = value
            else:
                untold[key] = value
        for key, widget_id in self.keys:
            if widget_id in known and widget_id not in kept and key in self.user:
                kept[widget_id] = self.user[key]
        self.new.clear()
        self.new.update(untold)
        self.told.clear()

    def receive(self, incoming: Mapping[str, Incoming]) -> list[WidgetMetadata[Any]]:
        """Take up what the browser sent. Returns the widgets that the visitor has changed: for these, what was set
        before is over, as he has seen something else and decided."""
        self.widgets.receive(incoming)
        changed = [metadata for metadata in self.widgets.changed() if self._is_decided(metadata.id)]
        for metadata in changed:
            self.new.pop(self.keys.keys.get(metadata.id, ""), None)
        return changed

    def _is_decided(self, widget_id: str) -> bool:
        key = self.keys.keys.get(widget_id)
        return key not in self.new or differ(self.widgets.of_this_run(widget_id), self.new[key])

    def put(self, key: str, value: Any) -> None:
        """Set a key in this run."""
        if key in self.told:
            self.told.discard(key)
            widget_id = self.widget_of(key)
            if widget_id is not None and key in self.new:
                self.widgets.drop_sent(widget_id)
                self.widgets.kept[widget_id] = self.new[key]  # what the browser was told, and may say again
        self.new[key] = value

    def bind(self, key: str, widget_id: str, page: str) -> None:
        """Give a key its widget. If it had another until now (one with other options is another), whose value persists,
        that value stays under the key."""
        former = self.keys.ids.get(key)
        if former is not None and former != widget_id and self.persisting.stays(former, page):
            value = self.find_widget(former, key)
            if value is not MISSING:
                self.user[key] = value
                self.persisting.keep(former, key)
        self.keys.bind(key, widget_id)

    def forget(self, key: str) -> None:
        """Forget a key, with its widget's value."""
        self.new.pop(key, None)
        self.user.pop(key, None)
        self.widgets.drop(self.keys.ids.get(key, key))
        self.keys.forget_key(key)

    def drop_old(self, widget_id: str, key: str) -> bool:
        """Forget what a widget was, unless the code has set it in this run. Returns whether it was anything."""
        dropped = self.widgets.drop(widget_id)
        return self.user.pop(key, MISSING) is not MISSING or dropped

    def comes_back(self, metadata: WidgetMetadata[Any], key: str, value: Any) -> bool:
        """Whether a widget shows what is known here and not to the browser, which would show the default."""
        if self.widgets.sent(metadata.id):
            return False
        known = key in self.user or (metadata.persist_state is not None and metadata.id in self.widgets.kept)
        return known and differ(value, metadata.deserializer(None))

    def let_go(self, active: Collection[str], run: ScriptRun, bound: Collection[str]) -> set[str]:
        """Forget the values of widgets that were not made in a run, and return their ids. Those that persist, or are
        bound to the address, leave theirs under their keys."""
        widgets, keys, persisting = self.widgets, self.keys, self.persisting

        def is_gone(widget_id: str) -> bool:
            return widgets.is_stale(widget_id, active, run.fragment_ids)

        stale = {widget_id for widget_id in widgets.ids() if is_gone(widget_id)}
        for key, widget_id in keys:
            if widget_id not in stale:
                continue
            value = self.find_widget(widget_id, key)
            if value is not MISSING and (widget_id in bound or persisting.stays(widget_id, run.page)):
                self.user[key] = value
                persisting.keep(widget_id, key)
        for widget_id in persisting.left(run.page, is_gone):
            if widget_id in keys.keys and widget_id not in bound:
                key = keys.keys[widget_id]
                self.user.pop(key, None)
                self.dropped.add(key)
        for widget_id in stale:
            widgets.forget(widget_id)
            if widget_id not in bound and not persisting.knows(widget_id):
                keys.forget_id(widget_id)
        persisting.prune(keys.keys, self.user)
        self.dropped.intersection_update(keys.ids)
        return stale

    def clear(self) -> None:
        """Forget everything but what widgets there are."""
        self.new.clear()
        self.told.clear()
        self.user.clear()
        self.dropped.clear()
        self.widgets.clear()
        self.keys.clear()
        self.persisting.clear()


def own(value: Any) -> Any:
    """A value to be handed out, which shares nothing with the one that is held."""
    return value if type(value) in ATOMS else deepcopy(value)
