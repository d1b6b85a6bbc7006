"""One layer of a page: a tree of widgets, what changed in it since it was last told, and what of that is to be kept. No
I/O.

What is told is found from the state that it ends in, not from the steps that led there: a batch notes which widgets
came, went, changed and moved, and `operations` puts that into an order in which a browser can follow.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from typing import Any, Protocol

from ..errors import ConfigurationError
from .kept import OVERRIDE, WIDGET, Drop, Patch, Put, Step, Write
from .protocol import Add, Operation, Order, Remove, Replace, Update
from .widget import NESTED, Callback, EventName, Widget, check_free, check_place, copied

__all__ = ["Batch", "Layer", "View", "operations"]

_LONGEST_KEY = 200  # characters


class Batch:
    """What changed in a layer since it was last told."""

    __slots__ = ("added", "removed", "reordered", "replaced", "updated")

    def __init__(self) -> None:
        self.added: dict[Widget, None] = {}
        self.removed: dict[str, None] = {}
        self.replaced: dict[str, Widget] = {}
        self.updated: dict[Widget, set[str]] = {}
        self.reordered: dict[Widget | None, None] = {}

    def __bool__(self) -> bool:
        return bool(self.updated or self.added or self.removed or self.replaced or self.reordered)

    @property
    def is_plain(self) -> bool:
        """Whether nothing came, went or moved."""
        if self.added or self.removed or self.replaced or self.reordered:
            return False
        return not any("visible" in names for names in self.updated.values())

    def named(self) -> Iterator[str]:
        """The keys of all widgets that it tells of, in whatever way."""
        shown = (widget for widget, names in self.updated.items() if "visible" in names)  # told with all in them
        for widget in (*self.added, *self.replaced.values(), *shown):
            yield from (one._key for one in widget.walk())
        yield from (widget._key for widget in self.updated)
        yield from (one._key for parent in self.reordered if parent is not None for one in parent.walk())
        yield from (id_.partition(":")[2] for id_ in (*self.removed, *self.replaced))


class View(Protocol):
    """A page, as somebody sees it."""

    def id_of(self, widget: Widget) -> str:
        """The id of a widget."""

    def shown(self, widget: Widget) -> bool:
        """Whether it is visible, and all that it is in."""

    def render(self, widget: Widget) -> dict[str, Any]:
        """The widget as it goes to the browser, with what is in it."""

    def inside(self, parent: Widget | None) -> Sequence[Widget]:
        """What is in a widget, or on the page, in its order."""

    def props(self, widget: Widget) -> dict[str, Any]:
        """The properties of a widget that the browser is told of."""


def operations(batch: Batch, layer: Layer, view: View) -> list[Operation]:
    """What to tell who sees a page in this way."""
    later = layer.batch.added if layer.batch is not batch else {}  # while this was committed: no browser has these yet
    gone = list(batch.removed)  # a browser that has one of them not at all shrugs
    come = [widget for widget in batch.added if view.shown(widget)]
    for widget, names in batch.updated.items():
        if "visible" in names and widget._home is layer and widget not in batch.added:
            if view.shown(widget):
                come.append(widget)
            else:
                gone.append(view.id_of(widget))
    instead: dict[str, Widget] = {}
    for id_, widget in batch.replaced.items():
        if view is layer and view.shown(widget):
            instead[id_] = widget
        else:  # a session may not have seen what was there
            gone.append(id_)
            come += [widget] if view.shown(widget) else []
    whole = dict.fromkeys((*come, *instead.values()))
    ops: list[Operation] = [Remove(gone)] if gone else []
    ops += [Replace(id_, view.render(widget)) for id_, widget in instead.items() if not _within(widget, whole)]
    for widget in _in_their_order([widget for widget in dict.fromkeys(come) if not _within(widget, whole)], view):
        parent = widget._parent
        ops.append(Add("" if parent is None else view.id_of(parent), _before(widget, view, later), view.render(widget)))
    ops += [_order(parent, view, later) for parent in batch.reordered if parent is None or _stays(parent, whole, view)]
    updates: dict[str, dict[str, Any]] = {}
    for widget, names in batch.updated.items():
        if "visible" in names or widget._home is not layer or not _stays(widget, whole, view):
            continue
        if patch := _patch(view.props(widget), names):
            updates[view.id_of(widget)] = patch
    if updates:
        ops.append(Update(updates))
    return ops


def _order(parent: Widget | None, view: View, later: Container[Widget]) -> Order:
    ids = [view.id_of(child) for child in view.inside(parent) if view.shown(child) and child not in later]
    return Order("" if parent is None else view.id_of(parent), ids)


def _stays(widget: Widget, new: dict[Widget, None], view: View) -> bool:
    """Whether the browser has it, and does not get it whole."""
    return widget not in new and not _within(widget, new) and view.shown(widget)


def _patch(props: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Of all that the browser is told those that changed. One that is told under other names is told whole."""
    return {name: props[name] for name in names} if names <= props.keys() else props


def _within(widget: Widget, others: dict[Widget, None]) -> bool:
    parent = widget._parent
    while parent is not None:
        if parent in others:
            return True
        parent = parent._parent
    return False


def _in_their_order(widgets: list[Widget], view: View) -> list[Widget]:
    """So that what each comes after is there already."""
    if len(widgets) < 2:
        return widgets
    wanted, ordered = dict.fromkeys(widgets), []
    for parent in dict.fromkeys(widget._parent for widget in widgets):
        ordered += [widget for widget in view.inside(parent) if widget in wanted]
    return ordered


def _before(widget: Widget, view: View, later: Container[Widget]) -> str:
    """The id of the widget that is shown before it among its siblings, without those that are told later; empty: none
    is."""
    before = ""
    for sibling in view.inside(widget._parent):
        if sibling is widget:
            break
        if view.shown(sibling) and sibling not in later:
            before = view.id_of(sibling)
    return before


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
        raise NotImplementedError

    def within(self, widget: Widget) -> Sequence[Widget]:
        return widget._children

    def add(self, widget: Widget, into: Widget | None, before: Widget | None) -> None:
        check_free(widget)
        self._place(widget, into, before)
        for one in widget.walk():
            self.writes[WIDGET + one._key] = self._put(one)

    def _place(self, widget: Widget, parent: Widget | None, before: Widget | None) -> None:
        check_place(widget, parent)
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
        raise NotImplementedError

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
