"""A session's page: the app's, with some properties of its own (what was typed, what is hidden), and its own widgets:
at the end, or inside a widget of the app's. No I/O.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from msgspec import Struct

from ..errors import ConfigurationError
from .app_page import AppPage
from .kept import OVERRIDE, WIDGET, Patch, Step
from .layer import Layer
from .protocol import Operation
from .telling import Batch, operations
from .turns import page_here
from .widget import Callback, EventName, Refused, Widget
from .widgets import Address, Form, Input

__all__ = ["SessionPage", "Taken"]

M = TypeVar("M", bound=Callable[..., None])


def _in_a_turn(method: M) -> M:
    """A change of a session's page: a part of the turn that goes on, or made in one of its own."""

    @wraps(method)
    def change(page: SessionPage, *args: Any) -> None:
        if page_here() is page:
            method(page, *args)
        else:
            page.elsewhere(lambda: change(page, *args))

    return cast(M, change)


class Taken(Struct, frozen=True):
    """What a visitor did."""

    widget: Widget
    assigned: dict[Widget, Any]
    """The inputs that have another value now."""
    value: Any
    """What the callbacks are given: of a form, the values of all its inputs that are shown, sent or not."""


class SessionPage(Layer):
    """What one session sees. One event at a time may change it."""

    prefix = "s"

    def __init__(self, below: AppPage, refer: Callable[[Callback], Any]) -> None:
        super().__init__(refer)
        self.below = below
        self.overrides: dict[str, dict[str, Any]] = {}
        """What is different for this session, of widgets of the app's, by their keys."""
        self.guests: dict[str, list[Widget]] = {}
        """The session's own widgets inside widgets of the app's."""
        self._views: dict[str, Widget] = {}
        self._changed_below: dict[Widget, set[str]] = {}
        self.elsewhere: Callable[[Callable[[], None]], None] = _refuse
        """How a change is made that is no part of a turn, by a thread of the application's own."""

    def widget(self, key: str) -> Widget | None:
        """The widget of a key: the session's own, or the app's as this session sees it."""
        own = self.widgets.get(key)
        if own is not None:
            return own
        widget = self.below.widgets.get(key)
        return None if widget is None else self.view(widget)

    def view(self, widget: Widget) -> Widget:
        """A widget of the app's, as this session sees it: what is assigned to it is for this session only."""
        key = widget._key
        view = self._views.get(key)
        if view is None or view._props.maps[1] is not widget._props:  # type: ignore[attr-defined]
            view = self._views[key] = type(widget).restore(key, {})
            view._props = ChainMap(self.overrides.setdefault(key, {}), widget._props)
            view._home, view._parent = self, widget._parent
            view._children, view._on = widget._children, widget._on
        return view

    def take(self, id_: str, event: EventName, value: Any) -> Taken:
        """What a visitor did to a widget, and what it means; raises `Refused`, also where there is no such widget, or
        it is not shown."""
        widget = self._taken_by(id_)
        if event not in widget.events:
            raise Refused("not_allowed", f"a {widget.kind} knows no {event}")
        form = self._form_of(widget)
        if isinstance(widget, Form):
            return self._take_form(widget, widget.take(event, value))
        if form is not None and isinstance(widget, Input):
            raise Refused("not_allowed", "what is in a form is sent with the form")
        value = widget.take(event, value)
        return Taken(widget, {widget: value} if event == "change" else {}, value)

    def begin(self) -> None:
        """Keep what is the session's own of the app's address also where nothing is different about it: so that who
        looks at the session from outside finds it."""
        for widget in list(self.below.roots):
            if isinstance(widget, Address):
                view = self.view(widget)
                self.assign(view, "query", view._props["query"])

    def _take_form(self, form: Form, sent: dict[str, Any]) -> Taken:
        """The values of a form, one by one: all of them, or none."""
        assigned: dict[Widget, Any] = {}
        for id_, value in sent.items():
            widget = self._taken_by(id_)
            inside = self._form_of(widget)
            if not isinstance(widget, Input) or inside is None or inside._key != form._key:
                raise Refused("unknown_widget", "there is no such input in the form")
            if widget.disabled or widget.read_only:
                continue  # the browser says what it shows; nothing is changed by it
            assigned[widget] = widget.take("change", value)
        values = {one._key: cast(Any, one).value for one in form.inputs() if self.shown(one)}
        values.update((widget._key, value) for widget, value in assigned.items())
        return Taken(form, assigned, values)

    def _taken_by(self, id_: str) -> Widget:
        widget = self.find(id_)
        if widget is None or not self.shown(widget):
            raise Refused("unknown_widget", "there is no such widget")
        return widget if widget._home is self else self.view(widget)

    def _form_of(self, widget: Widget) -> Form | None:
        parent = widget._parent
        while parent is not None and not isinstance(parent, Form):
            parent = parent._parent
        return parent

    def find(self, id_: str) -> Widget | None:
        prefix, _, key = id_.partition(":")
        return self.below.widgets.get(key) if prefix == "g" else super().find(id_)

    # --- What it looks like ------------------------------------------------------------------------------------------

    def children(self) -> list[dict[str, Any]]:
        """The whole page, as it goes to the browser."""
        return [self.render(widget) for widget in self.inside(None) if self._visible(widget)]

    def id_of(self, widget: Widget) -> str:
        return f"g:{widget._key}" if self._is_below(widget) else f"s:{widget._key}"

    def inside(self, parent: Widget | None) -> Sequence[Widget]:
        if parent is None:
            return [*self.below.roots, *self.roots]
        guests = self.guests.get(parent._key) if self._is_below(parent) else None
        return [*parent._children, *guests] if guests else parent._children

    def props(self, widget: Widget) -> dict[str, Any]:
        if widget._home is not self and self.overrides.get(widget._key):
            widget = self.view(widget)
        return widget.shown_props()

    def shown(self, widget: Widget) -> bool:
        one: Widget | None = widget
        while one is not None:
            if one._home is None or not self._visible(one):
                return False
            one = one._parent
            if one is not None and not one.holds:
                return False  # another kind has come under the key of what held it
        return True

    def _visible(self, widget: Widget) -> bool:
        if widget._home is self.below and self.overrides:
            own = self.overrides.get(widget._key)
            if own is not None and "visible" in own:
                return bool(own["visible"])
        return bool(widget._props["visible"])

    def siblings(self, parent: Widget | None) -> list[Widget]:
        if parent is not None and self._is_below(parent):
            return self.guests.setdefault(parent._key, [])
        return super().siblings(parent)

    def _is_below(self, widget: Widget) -> bool:
        return widget._home is not self or self._views.get(widget._key) is widget  # also one that is gone by now

    def concerns(self, batch: Batch) -> bool:
        """Whether this session may see what changed in the app's page in another way than others do. What it hides, or
        has put among the app's widgets, matters for all around it, too."""
        own = list(self.overrides.values())  # a callback in a thread may change them right now
        if any(list(self.guests.values())) or any("visible" in one for one in own):
            return True
        return bool(self.overrides) and any(self.overrides.get(key) for key in batch.named())

    def of_app(self, batch: Batch) -> list[Operation]:
        """What changed in the app's page, as this session sees it."""
        for widget in (one for top in (*batch.added, *batch.replaced.values()) for one in top.walk()):
            for guest in self.guests.get(widget._key, ()) if widget.holds else ():
                guest._parent = widget  # it may have been in one that is gone
        return operations(batch, self.below, self)

    def take_operations(self) -> list[Operation]:
        """What changed in this page since this was last asked."""
        ops: list[Operation] = []
        if self._changed_below:
            below = Batch()
            below.updated, self._changed_below = self._changed_below, {}
            ops = operations(below, self.below, self)
        if self.batch:
            batch, self.batch = self.batch, Batch()
            ops += operations(batch, self, self)
        return ops

    # --- Home: a change is part of a turn, or made in one of its own ----------------------------------------------

    def read(self, widget: Widget, name: str) -> Any:
        return widget._props[name]

    def within(self, widget: Widget) -> Sequence[Widget]:
        """What is in a widget: of the app's as this session sees them, or changes there would be everybody's."""
        return [child if child._home is self else self.view(child) for child in self.inside(widget)]

    @_in_a_turn
    def add(self, widget: Widget, into: Widget | None, before: Widget | None) -> None:
        if into is not None and self._views.get(into._key) is into:
            into = self.below.widgets[into._key]
        super().add(widget, into, before)

    @_in_a_turn
    def remove(self, widget: Widget) -> None:
        """Take one of its own away; one of the app's is hidden from this session."""
        if self._is_below(widget):
            self.assign(widget, "visible", False)
        else:
            super().remove(widget)

    @_in_a_turn
    def replace(self, widget: Widget, other: Widget) -> None:
        if self._is_below(widget):
            raise ConfigurationError(f"{widget!r} is the app's: hide it for this session, and add another")
        super().replace(widget, other)

    @_in_a_turn
    def order(self, parent: Widget | None, children: Sequence[Widget]) -> None:
        super().order(parent, children)

    @_in_a_turn
    def assign(self, widget: Widget, name: str, value: Any) -> None:
        if self._is_below(widget):
            self._override(widget._key, name, value, Step(("props", name), value))
        else:
            super().assign(widget, name, value)

    @_in_a_turn
    def update(self, widget: Widget, name: str, function: Callable[[Any], Any]) -> None:
        if self._is_below(widget):
            key = widget._key
            declared = self.below.widgets[key]._props[name]
            value = self._checked(widget, name, function(self.overrides.get(key, {}).get(name, declared)))
            self._override(
                key, name, value, Step(("props", name), None, self._checking(widget, name, function), declared)
            )
        else:
            super().update(widget, name, function)

    @_in_a_turn
    def listen(self, widget: Widget, event: EventName, callback: Callback) -> None:
        if self._is_below(widget):
            raise ConfigurationError(f"{widget!r} is the app's: its callbacks are given where it is declared")
        super().listen(widget, event, callback)
        self._patch_on(widget)

    def _override(self, key: str, name: str, value: Any, step: Step) -> None:
        self.overrides.setdefault(key, {})[name] = value
        widget = self.below.widgets[key]
        self._changed_below.setdefault(widget, set()).update(("value", name) if name in widget.fits else (name,))
        field = OVERRIDE + key
        before = self.writes.get(field)
        self.writes[field] = Patch((*(before.steps if isinstance(before, Patch) else ()), step), creates=True)

    def _absorb_override(self, key: str, kept: Mapping[str, Any]) -> None:
        widget = self.below.widgets.get(key)
        props = dict(kept.get("props", {}))
        mine = self.overrides.setdefault(key, {})
        for name in mine.keys() | props.keys():
            if mine.get(name, _MISSING) != props.get(name, _MISSING) and widget is not None:
                self._changed_below.setdefault(widget, set()).add(name)
        mine.clear()
        mine.update(props)

    def become(self, kept: Mapping[str, dict[str, Any]], kinds: Mapping[str, type[Widget]]) -> None:
        """Be as it is kept, and forget what was changed: nothing of that is to be told or kept."""
        self.writes.clear()
        self.strays.clear()
        gone = dict.fromkeys(
            name
            for name in (*(WIDGET + key for key in self.widgets), *(OVERRIDE + key for key in self.overrides))
            if name not in kept
        )
        self.absorb({**gone, **kept}, kinds)
        self.batch = Batch()
        self._changed_below = {}


_MISSING = object()


def _refuse(change: Callable[[], None]) -> None:
    raise ConfigurationError("this page is nobody's yet")
