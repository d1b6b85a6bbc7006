"""What visitors do, from a frame to its answer: is it the next event of its tab, is it one that the widget takes, what
do the callbacks make of it, and what is said if that fails. What it changes is a turn of its room.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..errors import ConflictError, OutcomeUnknown, SessionGone, StoreError
from .answers import AlreadyDone, Answers
from .callbacks import arguments
from .page import Taken
from .protocol import Ack, ErrorCode, ErrorFrame, Event
from .session import Session
from .widget import Refused, Widget
from .widgets import Form, TextInput

if TYPE_CHECKING:
    from .connection import Connection
    from .room import Room
    from .rooms import Rooms

__all__ = ["Events", "empty"]

log = logging.getLogger("sojourn")


class Events:
    """The events of one session."""

    def __init__(self, room: Room, rooms: Rooms, answers: Answers) -> None:
        self._room = room
        self._rooms = rooms
        self._answers = answers

    async def handle(self, connection: Connection, event: Event) -> None:
        """A visitor did something. Nobody else's turn goes on meanwhile."""
        try:
            if not self._room.ended:
                await self._in_order(connection, event)
        finally:
            connection.handled()

    async def _in_order(self, connection: Connection, event: Event) -> None:
        answers, tab = self._answers, connection.tab
        if event.n > answers.last(tab) + 1:
            await self._room.refresh()  # the tab may come from another process
        if event.n <= answers.last(tab):
            connection.say(answers.again(tab, event.n))  # the answer did not arrive
        elif event.n > answers.last(tab) + 1:
            connection.say(ErrorFrame("out_of_order", f"the next event is {answers.last(tab) + 1}", n=event.n))
        else:
            await self._take(connection, event)

    async def _take(self, connection: Connection, event: Event) -> None:
        try:
            taken = self._room.page.take(event.id, event.event, event.value)
        except Refused as refused:
            self._answer(connection, event, refused.code, str(refused))
            return
        try:
            await self._room.turn(lambda session: self._react(session, taken, event), (connection, event.n))
        except AlreadyDone:
            await self._room.refresh()
            connection.say(Ack(event.n))
        except (StoreError, ConflictError) as error:
            await self._not_kept(connection, event, error)
        except SessionGone:
            if not self._room.ended:
                raise
        except Exception as error:  # the application's own: told, logged, and nobody else is hurt
            log.exception("a callback of %r failed", taken.widget)
            self._failed(connection, event, error)
            if taken.assigned:
                await self._keep_value(connection, event)

    async def _react(self, session: Session, taken: Taken, event: Event) -> None:
        """Assign what was typed, and call the callbacks."""
        _assign(taken.assigned)
        if isinstance(taken.widget, Form):
            session.secrets = [widget for widget in taken.assigned if _is_secret(widget)]
        for callback in self._rooms.callbacks_of(session, taken.widget, event.event):
            await self._rooms.call(callback, *(session, taken.value)[: arguments(callback)])
        if isinstance(taken.widget, Form) and taken.widget.clear_on_submit:
            empty(taken.assigned)

    # --- When it fails -----------------------------------------------------------------------------------------------

    async def _keep_value(self, connection: Connection, event: Event) -> None:
        """What a visitor typed is kept, though the callback has failed: it stands in the browser, too."""

        async def work(session: Session) -> None:
            assigned = self._room.page.take(event.id, event.event, event.value).assigned
            _assign({widget: value for widget, value in assigned.items() if not _is_secret(widget)})

        try:
            await self._room.turn(work, (connection, event.n))
        except Exception as error:  # the failure itself was told; of this one it is enough to log it
            log.warning("what was typed into %s could not be kept: %s", event.id, error)

    async def _not_kept(self, connection: Connection, event: Event, error: StoreError | ConflictError) -> None:
        """The store did not take what an event did, or did not say so: the page shows what is stored."""
        log.warning("an event of session %s was not kept: %s", self._room.record.handle, error)
        await self._room.refresh()
        if event.n <= self._answers.last(connection.tab):
            connection.say(Ack(event.n))  # it was, after all
        elif isinstance(error, OutcomeUnknown):
            self._failed(connection, event, error, "unavailable", "The server cannot tell whether this was kept.")
        else:
            self._failed(connection, event, error, "unavailable", "The server could not keep this. Please try again.")
        connection.show_all()

    def _failed(
        self,
        connection: Connection,
        event: Event,
        error: Exception,
        code: ErrorCode = "failed",
        message: str = "Something went wrong.",
    ) -> None:
        """An event is answered by an error, and the tab shows what is kept."""
        self._answer(connection, event, code, message, "".join(traceback.format_exception(error)))
        connection.show_all()

    def _answer(self, connection: Connection, event: Event, code: ErrorCode, message: str, detail: str = "") -> None:
        """The end of an event that was not done."""
        shown = detail if detail and self._rooms.debug else UNSET
        frame = ErrorFrame(code, message, n=event.n, detail=shown)
        self._answers.failed(connection.tab, event.n, frame)
        connection.say(frame)


def _assign(values: dict[Widget, Any]) -> None:
    for widget, value in values.items():
        setattr(widget, widget.assigns, value)


def _is_secret(widget: Widget) -> bool:
    """Whether it is a password, which is for the callback of its form, and not to be kept."""
    return isinstance(widget, TextInput) and widget.password


def empty(widgets: Iterable[Widget]) -> None:
    """Empty inputs, as far as they are still there."""
    for widget in widgets:
        if widget._home is not None:
            widget.value = widget.empty()  # type: ignore[attr-defined]
