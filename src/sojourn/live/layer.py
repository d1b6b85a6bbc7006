"""One layer of a page: a tree of widgets, what changed in it since it was last told, and what of that is to be kept. No
I/O.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError
from .kept import OVERRIDE, WIDGET, Drop, Patch, Put, Step, Write
from .telling import Batch
from .widget import NESTED, Callback, EventName, Widget, check_free, check_place, copied

__all__ = ["Layer"]

_LONGEST_KEY = 200  # characters


class Layer:
    """A tree of widgets, by key and in order."""

    prefix = ""

    def __init__(self, refer: Callable[[Callback], Any]) -> None:
        self.refer = refer
        """Makes of a callback what is kept of it."""
        self.widgets: dict[str, Widget] = {}
        self.roots: list[Widget] = []
        self.batch = Batch()
        self.writes: dict[str, Write] = {}
        self.strays: dict[str, dict[str, Any]] = {}
        """What is kept of widgets, by their keys, that are in one that is not there."""

    # --- What a page says of itself ------------------------------------------------------------------------------

    def siblings(self, parent: Widget | None) -> list[Widget]:
        """The list of this layer's widgets in a widget, or on the page."""
        return self.roots if parent is None else parent._children

    def id_of(self, widget: Widget) -> str:
        return f"{self.prefix}:{widget._key}"

    def shown(self, widget: Widget) -> bool:
        one: Widget | None = widget
        while one is not None:
            if one._home is None or not one._props["visible"]:
                return False
            one = one._parent
        return True

    def props(self, widget: Widget) -> dict[str, Any]:
        return widget.shown_props()

    def inside(self, parent: Widget | None) -> Sequence[Widget]:
        return self.siblings(parent)

    def render(self, widget: Widget) -> dict[str, Any]:
        rendered: dict[str, Any] = {"id": self.id_of(widget), "kind": widget.kind, "props": self.props(widget)}
        if widget.holds:
            rendered["children"] = [self.render(child) for child in self.inside(widget) if self._visible(child)]
        return rendered

    def _visible(self, widget: Widget) -> bool:
        return bool(widget._props["visible"])

    # --- What is done to it (as `Home` has it) -------------------------------------------------------------------

    def read(self, widget: Widget, name: str) -> Any:
        raise NotImplementedError  # whose value it is, each page says

    def within(self, widget: Widget) -> Sequence[Widget]:
        return widget._children

    def add(self, widget: Widget, into: Widget | None, before: Widget | None) -> None:
        check_free(widget)
        self._place(widget, into, before)
        for one in widget.walk():
            self.writes[WIDGET + one._key] = self._put(one)

    def _place(self, widget: Widget, parent: Widget | None, before: Widget | None) -> None:
        check_place(widget, parent)
        self._check_alone(widget)
        if before is not None and before not in self.siblings(parent):
            raise ConfigurationError(f"{before!r} is not there: nothing can be added before it")
        siblings = self.siblings(parent)
        at = len(siblings) if before is None else siblings.index(before)
        self._name_all(widget)
        ahead = siblings[at - 1]._at if at else 0.0
        widget._at = ahead + 1.0 if at == len(siblings) else (ahead + siblings[at]._at) / 2
        siblings.insert(at, widget)
        widget._parent = parent
        self._settle(widget)
        self.batch.added[widget] = None
        if at + 1 < len(siblings) and not ahead < widget._at < siblings[at + 1]._at:
            self._number(siblings)  # between the two there is no number any more

    def _check_alone(self, widget: Widget, leaving: Widget | None = None) -> None:
        """Raises `ConfigurationError` for another one of which a page has one at most."""
        if widget.alone and any(one.kind == widget.kind and one is not leaving for one in self.inside(None)):
            raise ConfigurationError(f"there is one {widget.kind} at most on a page")

    def _settle(self, widget: Widget) -> None:
        """A widget, with what is in it, is here now."""
        widget._home = self
        for those in widget._on.values():
            those[:] = [self.refer(one) if callable(one) else one for one in those]
        self.widgets[widget._key] = widget
        for at, child in enumerate(widget._children):
            child._parent, child._at = widget, at + 1.0
            self._settle(child)

    def _name_all(self, widget: Widget, leaving: Collection[str] = ()) -> None:
        """Give each a key, or refuse one that is taken, and not by those that leave."""
        named: set[str] = set()
        for one in widget.walk():
            key = one._key
            if not key:
                key = self._some_key(one)
                while key in self.widgets or key in named:
                    key = self._some_key(one)
                one._key = key
            elif (key in self.widgets and key not in leaving) or key in named:
                raise ConfigurationError(f"there is a widget with the key {key!r} already: each needs its own")
            elif len(key) > _LONGEST_KEY:
                raise ConfigurationError(f"a key has at most {_LONGEST_KEY} characters, this one {len(key)}")
            named.add(key)

    def _some_key(self, widget: Widget) -> str:
        """One that was never another's: a click that is under way must not hit what took its place."""
        return f"{widget.kind}-{secrets.token_hex(5)}"

    def remove(self, widget: Widget) -> None:
        self._take_out(widget)
        for one in widget.walk():
            self.writes[WIDGET + one._key] = Drop()

    def _take_out(self, widget: Widget) -> None:
        self.siblings(widget._parent).remove(widget)
        if widget in self.batch.added:
            del self.batch.added[widget]
        else:
            self.batch.removed[self.id_of(widget)] = None
        self._unsettle(widget)

    def _unsettle(self, widget: Widget) -> None:
        for one in widget.walk():
            del self.widgets[one._key]
            one._home = None
            self.batch.added.pop(one, None)
            self.batch.updated.pop(one, None)
        for id_ in [id_ for id_, one in self.batch.replaced.items() if one._home is None]:
            del self.batch.replaced[id_]
            self.batch.removed[id_] = None
        widget._parent = None

    def replace(self, widget: Widget, other: Widget) -> None:
        check_free(other)
        id_, shown, parent, at = self.id_of(widget), self.shown(widget), widget._parent, widget._at
        check_place(other, parent)
        self._check_alone(other, widget)
        keys = [one._key for one in widget.walk()]
        self._name_all(other, keys)
        siblings = self.siblings(parent)
        index = siblings.index(widget)
        batch = self.batch
        new = widget in batch.added
        flipped = "visible" in batch.updated.get(widget, ())
        first = next((first for first, one in batch.replaced.items() if one is widget), None)
        self._unsettle(widget)
        siblings[index], other._parent, other._at = other, parent, at
        self._settle(other)
        if first is not None:  # the browser has what was there before
            del batch.removed[first]
            batch.replaced[first] = other
        elif new or flipped or not shown:
            batch.added[other] = None
            if flipped:
                batch.removed[id_] = None
        else:
            batch.replaced[id_] = other
        self.writes.update((WIDGET + key, Drop()) for key in keys)
        self.writes.update((WIDGET + one._key, self._put(one)) for one in other.walk())

    def order(self, parent: Widget | None, children: Sequence[Widget]) -> None:
        siblings = self.siblings(parent)
        if len(children) != len(siblings) or set(children) != set(siblings):
            raise ConfigurationError("to order them, name all the widgets that are there, each once")
        siblings[:] = children
        self._number(siblings)
        self.batch.reordered[parent] = None

    def _number(self, siblings: Sequence[Widget]) -> None:
        """Note where each stands."""
        for at, child in enumerate(siblings):
            if child._at != at + 1.0:
                child._at = at + 1.0
                self._patch(child, Step(("at",), child._at))

    def assign(self, widget: Widget, name: str, value: Any) -> None:
        widget._props[name] = value
        self._updated(widget, name)
        self._patch(widget, Step(("props", name), value))

    def update(self, widget: Widget, name: str, function: Callable[[Any], Any]) -> None:
        before = widget._props[name]
        changed = function(copied(before) if type(before) in NESTED else before)  # which it may change, and then fail
        widget._props[name] = self._checked(widget, name, changed)
        self._updated(widget, name)
        self._patch(
            widget, Step(("props", name), None, self._checking(widget, name, function), widget.properties[name].default)
        )

    def _updated(self, widget: Widget, name: str) -> None:
        names = self.batch.updated.setdefault(widget, set())
        names.add(name)
        if name in widget.fits:
            names.add("value")

    def _checking(self, widget: Widget, name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The function as it is run on what is kept: what it returns is kept as it would be if it were assigned."""
        return lambda value: self._checked(widget, name, function(value))

    def _checked(self, widget: Widget, name: str, value: Any) -> Any:
        return widget.properties[name].accept(widget, value)

    def listen(self, widget: Widget, event: EventName, callback: Callback) -> None:
        widget._on.setdefault(event, []).append(self.refer(callback))

    def _patch_on(self, widget: Widget) -> None:
        self._patch(widget, Step(("on",), widget._on))

    def _patch(self, widget: Widget, step: Step) -> None:
        """Note what is to be written. What is written whole anyway is taken as it is then."""
        name = WIDGET + widget._key
        before = self.writes.get(name)
        if isinstance(before, Put):
            self.writes[name] = self._put(widget)
        else:
            steps = before.steps if isinstance(before, Patch) else ()
            self.writes[name] = Patch((*steps, step), creates=False)

    def _put(self, widget: Widget) -> Put:
        inside = "" if widget._parent is None else self.id_of(widget._parent)
        kept: dict[str, Any] = {"kind": widget.kind, "in": inside, "at": widget._at, "props": widget.kept_props()}
        if widget._on:
            kept["on"] = widget._on
        return Put(kept)

    # --- What others did -------------------------------------------------------------------------------------------

    def absorb(self, fields: Mapping[str, dict[str, Any] | None], kinds: Mapping[str, type[Widget]]) -> None:
        """Take over fields of the record as they are now; None: one is not there. A widget whose parent is not there
        is a stray: nowhere, until it comes."""
        come, self.strays = self.strays, {}
        for name, kept in fields.items():
            if name.startswith(OVERRIDE):
                self._absorb_override(name.removeprefix(OVERRIDE), kept or {})
            elif name.startswith(WIDGET):
                key = name.removeprefix(WIDGET)
                come.pop(key, None)
                if kept is not None and kept.get("kind") in kinds:
                    come[key] = kept
                elif key in self.widgets:
                    self._take_out(self.widgets[key])
        while come:
            ready = [key for key, kept in come.items() if not kept["in"] or self.find(kept["in"]) is not None]
            if not ready:
                break
            for key in ready:
                kept = come.pop(key)
                self._absorb_widget(key, kept, kinds[kept["kind"]])
        self.strays = come
        for key in come:
            if key in self.widgets:
                self._take_out(self.widgets[key])

    def _absorb_override(self, key: str, kept: dict[str, Any]) -> None:
        raise NotImplementedError  # what is below it, each page knows

    def _absorb_widget(self, key: str, kept: dict[str, Any], kind: type[Widget]) -> None:
        fresh, widget = kind.restore(key, kept["props"]), self.widgets.get(key)
        parent = self.find(kept["in"]) if kept["in"] else None
        if widget is not None and widget.kind == kind.kind:
            for name, value in fresh._props.items():
                if widget._props[name] != value:
                    widget._props[name] = value
                    self._updated(widget, name)
            widget._on = kept.get("on", {})
            if widget._parent is not parent or widget._at != kept["at"]:
                self.siblings(widget._parent).remove(widget)
                self.batch.removed[self.id_of(widget)] = None
                self._insert(widget, parent, kept["at"])
            return
        if widget is not None:
            fresh._children, widget._children = widget._children, []
            self._take_out(widget)
        fresh._on, fresh._home = kept.get("on", {}), self
        self.widgets[key] = fresh
        for child in fresh._children:
            child._parent = fresh
        self._insert(fresh, parent, kept["at"])

    def _insert(self, widget: Widget, parent: Widget | None, at: float) -> None:
        siblings, mine = self.siblings(parent), (at, widget._key)
        place = next((place for place, one in enumerate(siblings) if (one._at, one._key) > mine), len(siblings))
        siblings.insert(place, widget)
        widget._parent, widget._at = parent, at
        self.batch.added[widget] = None

    def find(self, id_: str) -> Widget | None:
        """The widget of an id; None if there is none."""
        prefix, _, key = id_.partition(":")
        return self.widgets.get(key) if prefix == self.prefix else None
