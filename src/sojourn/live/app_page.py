"""The app's page: what everybody sees. It is what the program declares, and what was changed since, by whatever
process. No I/O."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .kept import OVERRIDE, Patch, Step
from .layer import Layer
from .telling import Batch
from .turns import page_here
from .widget import Callback, EventName, Widget

if TYPE_CHECKING:
    from .page import SessionPage

__all__ = ["AppPage"]


class AppPage(Layer):
    """What everybody sees. Any thread may change it; `changed` is called after each change."""

    prefix = "g"

    def __init__(self, refer: Callable[[Callback], Any], changed: Callable[[], None]) -> None:
        super().__init__(refer)
        self.lock = threading.RLock()
        self._changed = changed
        self.declaring = True
        """Whether the program still declares it: nothing of that is kept, as each process declares it anew."""
        self._counted: Counter[str] = Counter()
        self._declared: dict[str, Widget] = {}
        self._overridden: dict[str, dict[str, Any]] = {}

    def declared(self) -> None:
        """The program has declared what it has: what comes now is told and kept."""
        if self.declaring:
            self.declaring = False
            self._declared = dict(self.widgets)
            self.batch = Batch()
            self.writes.clear()

    def take_batch(self) -> Batch:
        """What changed since this was last asked."""
        batch, self.batch = self.batch, Batch()
        return batch

    # --- Home --------------------------------------------------------------------------------------------------------

    def read(self, widget: Widget, name: str) -> Any:
        page = page_here()
        if page is not None and page.below is self:
            own = page.overrides.get(widget._key)
            if own is not None and name in own:
                return own[name]
        return widget._props[name]

    def _page_of_own(self, widget: Widget, name: str) -> SessionPage | None:
        """The session's page whose own this property is here; None: it is everybody's."""
        page = page_here()
        return page if page is not None and page.below is self and widget.properties[name].own else None

    def assign(self, widget: Widget, name: str, value: Any) -> None:
        page = self._page_of_own(widget, name)
        if page is not None:
            page.assign(widget, name, value)
            return
        with self.lock:
            self._remember(widget, name)
            super().assign(widget, name, value)
        self._changed()

    def update(self, widget: Widget, name: str, function: Callable[[Any], Any]) -> None:
        page = self._page_of_own(widget, name)
        if page is not None:
            page.update(widget, name, function)
            return
        with self.lock:
            self._remember(widget, name)
            super().update(widget, name, function)
        self._changed()

    def add(self, widget: Widget, into: Widget | None, before: Widget | None) -> None:
        with self.lock:
            super().add(widget, into, before)
        self._changed()

    def remove(self, widget: Widget) -> None:
        with self.lock:
            super().remove(widget)
            for one in widget.walk():
                if one._key in self._declared:
                    self.writes[OVERRIDE + one._key] = Patch((Step(("gone",), True),), creates=True)
        self._changed()

    def replace(self, widget: Widget, other: Widget) -> None:
        with self.lock:
            if any(one._key in self._declared for one in widget.walk()) and not self.declaring:
                raise ConfigurationError(
                    f"{widget!r} is declared by the program: change its properties, or hide it and add another"
                )
            super().replace(widget, other)
        self._changed()

    def order(self, parent: Widget | None, children: Sequence[Widget]) -> None:
        with self.lock:
            super().order(parent, children)
        self._changed()

    def listen(self, widget: Widget, event: EventName, callback: Callback) -> None:
        with self.lock:
            super().listen(widget, event, callback)
            self._patch_on(widget)
        self._changed()

    def _some_key(self, widget: Widget) -> str:
        """While the program declares it, the same in each process."""
        if not self.declaring:
            return super()._some_key(widget)
        self._counted[widget.kind] += 1
        return f"{widget.kind}-{self._counted[widget.kind]}"

    def _patch(self, widget: Widget, step: Step) -> None:
        if self.declaring:
            return
        if self._declared.get(widget._key) is not widget:
            super()._patch(widget, step)
            return
        if step.path == ("on",):
            return  # what is declared has its callbacks from the program, in each process
        if step.function is not None:
            as_declared = self._overridden[widget._key][step.path[-1]]
            step = Step(step.path, step.value, step.function, as_declared)
        name = OVERRIDE + widget._key
        before = self.writes.get(name)
        self.writes[name] = Patch((*(before.steps if isinstance(before, Patch) else ()), step), creates=True)

    def _remember(self, widget: Widget, name: str) -> None:
        """Note how a widget was declared, before that is changed."""
        if not self.declaring and self._declared.get(widget._key) is widget:
            self._overridden.setdefault(widget._key, {}).setdefault(name, widget._props[name])

    def _absorb_override(self, key: str, kept: dict[str, Any]) -> None:
        """What was changed about a declared widget, by whatever process."""
        widget = self.widgets.get(key)
        if widget is None or self._declared.get(key) is not widget:
            return
        if kept.get("gone"):
            self._take_out(widget)
            return
        for name, value in {**self._overridden.get(key, {}), **kept.get("props", {})}.items():
            if name in widget.properties and widget._props[name] != value:
                self._remember(widget, name)
                widget._props[name] = value
                self._updated(widget, name)
        if "at" in kept and kept["at"] != widget._at:
            widget._at = kept["at"]
            self.siblings(widget._parent).sort(key=lambda one: (one._at, one._key))
            self.batch.reordered[widget._parent] = None
