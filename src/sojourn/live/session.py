"""`Session`: what a callback is given. The visitor's data, and the widgets that only this visitor sees.

It belongs to one turn: the handling of one event, or a block that asked for one. Turns of a session come one after the
other; what a turn changed is committed in one step when it ends, and only then shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import SessionClosed, UnsupportedValue
from ..ids import Handle
from ..session import TICKETS, BaseSession
from ..tickets import TICKET_LIFE, ticket
from .kept import BEGUN, FIELDS
from .page import SessionPage
from .widget import Widget
from .widgets import Adding

if TYPE_CHECKING:
    from .room import Room

__all__ = ["Done", "Session", "in_loop"]

W = TypeVar("W", bound=Widget)


class Session(Adding):
    """One visitor, for the length of one callback. After it every use raises `SessionClosed`."""

    def __init__(self, fields: BaseSession, page: SessionPage, room: Room | None = None) -> None:
        self._fields = fields
        self._room = room
        self.page = page
        """The page of this session (for the parts of this package)."""
        self.open = True
        """Whether its turn goes on."""
        self.secrets: list[Any] = []
        """The passwords of the form that it handles: they are emptied before a commit."""
        self.renewal = ""
        """The ticket with which the browser fetches the cookie of a new id."""

    # --- The visitor's data --------------------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """The value under a name; the default if there is none."""
        return default if name.startswith(FIELDS) else self._fields.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Keep a value under a name. `UnsupportedValue` for what cannot be kept."""
        self._fields[_own(name)] = value

    def update(self, name: str, function: Callable[[Any], Any]) -> None:
        """Change a value by a function of it (None where there is none), exact under any concurrency. It may run more
        than once, so it must depend on nothing but its argument."""
        self._fields.update(_own(name), function)

    def delete(self, name: str) -> bool:
        """Delete what is under a name. Returns whether there was something."""
        return self._fields.delete(_own(name))

    def has(self, name: str) -> bool:
        """Whether there is something under a name; a None that was kept counts."""
        return name in self

    def clear(self) -> None:
        """Delete all values. Widgets stay: see `clear_widgets`."""
        for name in list(self):
            del self._fields[name]

    def __getitem__(self, name: str) -> Any:
        if name.startswith(FIELDS):
            raise KeyError(name)
        return self._fields[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        if not self.delete(name):
            raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and not name.startswith(FIELDS) and name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._fields if not name.startswith(FIELDS) and name != TICKETS])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # --- Who it is -----------------------------------------------------------------------------------------------

    @property
    def handle(self) -> Handle:
        """The session's public name: safe to log, and what `App.session` and its like take. There is no id to be had
        here: it is the visitor's cookie alone."""
        return self._fields.handle

    @property
    def user_id(self) -> str | None:
        """Who is signed in; None: nobody."""
        return self._fields.user_id

    @property
    def created_at(self) -> float:
        """When the session was created, in Unix seconds."""
        return self._fields.created_at

    @property
    def last_accessed_at(self) -> float:
        """The last recorded activity before this one, in Unix seconds: exact to the touch interval."""
        return self._fields.last_accessed_at

    @property
    def expires_at(self) -> float:
        """When the session is over if nothing more happens, in Unix seconds."""
        return self._fields.expires_at

    @property
    def label(self) -> str | None:
        """What lists show for the device. May be set."""
        return self._fields.label

    @label.setter
    def label(self, label: str | None) -> None:
        self._fields.label = label

    def login(self, user_id: str) -> None:
        """Sign the visitor in: the session gets another id, which the browser fetches by itself. The old one is dead
        when the callback is done. Values and widgets stay."""
        self._fields.login(user_id)
        self.renewal = ticket(self._fields) if self._fields.stored else ""

    def end(self) -> None:
        """End the session, for good: its sockets are closed and its pages cleared. Any further use raises."""
        self._fields.end()

    @property
    def passive(self) -> bool:
        """Whether what is done in this callback is no activity of the visitor's, which would keep the session alive:
        for what the program does by itself. May be set. False at first."""
        return self._fields.outside

    @passive.setter
    def passive(self, passive: bool) -> None:
        self._fields.outside = passive

    # --- What the visitor sees -----------------------------------------------------------------------------------

    def add_widget(self, widget: W, into: Widget | str | None = None, before: Widget | str | None = None) -> W:
        """Show a widget to this session only: at the end of the page, in another widget (``into``: it or its key; of
        the app's, too), before one of those there. `ConfigurationError` if its key is taken or it is somewhere
        already; KeyError if there is no widget of a key that is named. Returns the widget."""
        self._check()
        self.page.add(widget, self._found(into), self._found(before))
        return widget

    def widget(self, key: str) -> Any:
        """The widget of this key: the session's own, or the app's as this session sees it: what is assigned to that is
        for this session only. KeyError if there is none."""
        self._check()
        found = self.page.widget(key)
        if found is None:
            raise KeyError(f"no widget has the key {key!r}")
        return found

    def has_widget(self, key: str) -> bool:
        """Whether there is a widget of this key."""
        return self.page.widget(key) is not None

    @property
    def widgets(self) -> tuple[Widget, ...]:
        """The session's own widgets, in their order; what is in them is in their ``children``."""
        self._check()
        return (*self.page.roots, *(guest for guests in self.page.guests.values() for guest in guests))

    def remove_widget(self, key: str) -> None:
        """Take a widget away; one of the app's is hidden from this session. KeyError if there is none."""
        self.widget(key).remove()

    def clear_widgets(self) -> None:
        """Take all the session's own widgets away."""
        for widget in self.widgets:
            self.page.remove(widget)

    def hide(self, key: str) -> None:
        """Hide a widget from this session. KeyError if there is none."""
        self._see(key, visible=False)

    def show(self, key: str) -> None:
        """Show a widget again that was hidden. KeyError if there is none."""
        self._see(key, visible=True)

    def ticket(self, life: float = TICKET_LIFE) -> str:
        """What lets one socket of this session in, within ``life`` seconds of the end of the callback: for a page that
        is embedded where cookies cannot be sent. It is not the session's id."""
        return ticket(self._fields, life)

    def _see(self, key: str, *, visible: bool) -> None:
        """The session's own word on it, also where it is no other than everybody's: that may change."""
        self.page.assign(self.widget(key), "visible", visible)

    @property
    def begun(self) -> bool:
        """Whether the functions that `App.on_session` names were called for it."""
        return BEGUN in self._fields

    @begun.setter
    def begun(self, done: bool) -> None:
        self._fields[BEGUN] = done

    # --- When ----------------------------------------------------------------------------------------------------

    def commit(self) -> Awaitable[None]:
        """Commit and show what changed so far, in the midst of a long callback. In a thread (``def``) it is done when
        this returns; in a coroutine (``async def``) await it. Raises as the end of a callback would: `SessionGone`,
        `ConflictError`, `StoreUnavailable`, `OutcomeUnknown`, `UnsupportedValue`, `TooLarge`."""
        self._check()
        if self._room is None:
            raise SessionClosed("the session is stored when on_session is done: there is nothing to commit to yet")
        return self._room.commit_now(self)

    def close(self) -> None:
        """Make every further use raise."""
        self.open = False
        self._fields.close()

    def _check(self) -> None:
        if not self.open:
            raise SessionClosed(
                "this session object was used after its callback: keep its handle, and use app.session(handle)"
            )

    def _found(self, where: Widget | str | None) -> Widget | None:
        return self.widget(where) if isinstance(where, str) else where

    def __repr__(self) -> str:
        return f"<Session {self._fields.record.handle}{'' if self.open else ', closed'}>"


def _own(name: str) -> str:
    if isinstance(name, str) and (name.startswith(FIELDS) or name == TICKETS):
        raise UnsupportedValue(name, f"names that begin with {FIELDS!r} are Sojourn's own")
    return name


def in_loop() -> bool:
    """Whether this is an event loop's thread, which must not block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Done:
    """What is done already. It can be awaited, and need not be."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
