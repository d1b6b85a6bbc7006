"""What a session state holds, and where a key's value is looked up. No store, no run, no lock.

The first place that has a value:

    1  new         what the code set under the key in this run
    2  widgets     what the browser sent for the key's widget in this run
    3              what that widget was in the runs before
    4  user        what the code set under the key in earlier runs
"""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from typing import Any

from ..codec import ATOMS
from .keys import Keys
from .persisting import Persisting
from .runs import ScriptRun
from .values import MISSING, WidgetValues, differ
from .widgets import WidgetMetadata, is_hidden

__all__ = ["Places", "own"]


class Places:
    """The places where values are."""

    __slots__ = ("keys", "new", "persisting", "user", "widgets")

    def __init__(self) -> None:
        self.new: dict[str, Any] = {}
        self.user: dict[str, Any] = {}
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

    def shown(self) -> list[str]:
        """The keys that a user may see."""
        keys = dict.fromkeys((*self.user, *self.new, *self.keys.ids))
        return [key for key in keys if not is_hidden(key)]

    def names(self) -> list[str]:
        """Of all that is known, widgets by their ids."""
        ids = self.keys.ids
        names = dict.fromkeys(ids.get(key, key) for key in (*self.user, *self.new))
        return list(names | dict.fromkeys(self.widgets.ids()))

    def turn(self) -> None:
        """A run begins: what was new is old, under its widget where the key has one."""
        ids, kept = self.keys.ids, self.widgets.kept
        self.widgets.turn()
        for key, value in self.new.items():
            if key in ids:
                kept[ids[key]] = value
            else:
                self.user[key] = value
        self.new.clear()
        for key, widget_id in self.keys:
            if widget_id not in kept and key in self.user:
                kept[widget_id] = self.user[key]

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
        for widget_id in stale & keys.keys.keys():
            key = keys.keys[widget_id]
            value = self.find_widget(widget_id, key)
            if value is not MISSING and (widget_id in bound or persisting.stays(widget_id, run.page)):
                self.user[key] = value
                persisting.keep(widget_id, key)
        for widget_id in persisting.left(run.page, is_gone):
            if widget_id in keys.keys and widget_id not in bound:
                self.user.pop(keys.keys[widget_id], None)
        for widget_id in stale:
            widgets.drop(widget_id)
            if widget_id not in bound and keys.keys.get(widget_id) not in self.user:
                keys.forget_id(widget_id)  # what the code sets under this key from now on is the code's
                widgets.metadata.pop(widget_id, None)
        persisting.prune(keys.keys, self.user)
        return stale

    def clear(self) -> None:
        """Forget everything but what widgets there are."""
        self.new.clear()
        self.user.clear()
        self.widgets.clear()
        self.keys.clear()
        self.persisting.clear()


def own(value: Any) -> Any:
    """A value to be handed out, which shares nothing with the one that is held."""
    return value if type(value) in ATOMS else deepcopy(value)
