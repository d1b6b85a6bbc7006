"""From what changed on a page to what a browser is told. No I/O.

What is told is found from the state that it ends in, not from the steps that led there: a batch notes which widgets
came, went, changed and moved, and `operations` puts that into an order in which a browser can follow.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .protocol import Add, Operation, Order, Remove, Replace, Update
from .widget import Widget

if TYPE_CHECKING:
    from .layer import Layer

__all__ = ["Batch", "View", "operations"]


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
    if batch.is_plain:  # as nearly always
        return _updates(batch, layer, view, {})
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
    return ops + _updates(batch, layer, view, whole)


def _updates(batch: Batch, layer: Layer, view: View, whole: dict[Widget, None]) -> list[Operation]:
    """What changed about widgets that the browser has, and does not get whole."""
    updates: dict[str, dict[str, Any]] = {}
    for widget, names in batch.updated.items():
        if "visible" in names or widget._home is not layer or not _stays(widget, whole, view):
            continue
        if patch := _patch(view.props(widget), names):
            updates[view.id_of(widget)] = patch
    return [Update(updates)] if updates else []


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
