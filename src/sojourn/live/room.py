"""A room: one session while somebody has it open in this process. Its record, its page, its sockets, and its turns.

Turns come one after the other, whatever asks for them: an event of a tab, a change that another process made, a block
of the application. A turn works on a session object of its own, made from the record as it was last seen, so nothing
has to be loaded; it ends with one commit, and only what is committed is shown. A turn that fails leaves nothing: the
page is made anew from the record.

What is shown is put into a log that all sockets of the session read from, each at its own pace.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from msgspec import UNSET

from ..errors import ConflictError, OutcomeUnknown, SessionGone, StoreError
from ..record import Change, Record
from ..session import BaseSession
from ..watching import Watch
from .callbacks import arguments
from .kept import OVERRIDE, TAB, WIDGET, write_fields
from .log import Log
from .page import SessionPage, Taken, showing
from .protocol import VERSION, Ack, Changes, Ended, ErrorCode, ErrorFrame, Event, PageFrame, Renew, encode
from .session import Done, Session, in_loop
from .widget import Refused, Widget
from .widgets import KINDS, Form, TextInput

if TYPE_CHECKING:
    from .connection import Connection
    from .rooms import Rooms

__all__ = ["Room"]

T = TypeVar("T")
By: TypeAlias = "tuple[Connection, int]"
"""Whose event a turn handles, and its number."""

log = logging.getLogger("sojourn")

_TABS: Final = 32  # tabs of which it is kept what was done
_MOST_TABS: Final = 256  # or at most, though they were heard of lately
_TABS_HERE: Final = 256  # and of which this process knows it
_TAB_LIFE: Final = 3600.0  # seconds for which that is kept at least
_ERRORS: Final = 256  # answers that are kept for tabs that may not have heard of them


class Room:
    """One session that is open here."""

    def __init__(self, rooms: Rooms, record: Record, watch: Watch) -> None:
        self._rooms = rooms
        self.record = record
        self.watch = watch
        watch.knows = self._knows
        watch.woken = self._woken
        self.connections: set[Connection] = set()
        self.left_at = rooms.loop.time()
        """Since when nobody is here, by the loop's clock."""
        self.ended = ""
        """Why the session is over; empty: it is not."""
        self.log = Log(rooms.everyone.position)
        self._done: dict[str, int] = {}
        self._errors: dict[tuple[str, int], ErrorFrame] = {}
        """How events were answered that were not done, by tab and number: if they come again, that is the answer."""
        self._jobs: deque[Coroutine[Any, Any, None]] = deque()
        self._working: asyncio.Task[None] | None = None
        self._looking = False
        self.page = rooms.new_page()
        self.page.elsewhere = self._change
        self._load_page()

    # --- Turns -------------------------------------------------------------------------------------------------------

    def begin(self, job: Coroutine[Any, Any, None]) -> None:
        """Have this done when its turn comes. It raises nothing."""
        self._jobs.append(job)
        if self._working is None:
            self._working = self._rooms.loop.create_task(self._work())

    async def _work(self) -> None:
        jobs = self._jobs
        while jobs:
            try:
                await jobs.popleft()
            except Exception:  # whatever it is, the jobs of others go on
                log.exception("a turn of session %s failed", self.record.handle)
        self._working = None

    def run(self, function: Callable[[Session], Any]) -> asyncio.Future[Any]:
        """Run a function in a turn of its own, with the session, and commit what it changed; a future of its result."""
        done: asyncio.Future[Any] = self._rooms.loop.create_future()

        async def job() -> None:
            try:
                result = await self._turn(lambda session: self._rooms.call(function, session))
            except BaseException as error:  # for whoever waits for it
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self.begin(job())
        return done

    async def _turn(self, work: Callable[[Session], Awaitable[T]], by: By | None = None) -> T:
        self._check()
        session, told = Session(self._rooms.engine.resume(self.record), self.page, self), self.log.app
        token = showing.set(session)
        try:
            try:
                result = await work(session)
            finally:
                showing.reset(token)
            await self._commit(session, by)
            return result
        except BaseException:
            self._load_page()
            for connection in self.connections if self.log.app != told else ():
                connection.show_all()  # what all see changed meanwhile, and was told as this turn had it
            raise
        finally:
            session.close()

    async def _commit(self, session: Session, by: By | None = None, *, goes_on: bool = False) -> None:
        """Commit what a turn changed, and show it."""
        engine, fields, page = self._rooms.engine, session._fields, self.page
        if fields.ended:
            await engine.finish(fields)
            self.end("ended")
            return
        write_fields(fields, page.writes, partial(self._rooms.finish_callbacks, session))
        page.writes.clear()
        if by is not None:
            self._note_done(fields, by)
        try:
            others = await (engine.save_seeing(fields) if goes_on else engine.finish_seeing(fields))
        except SessionGone:
            await self._is_over()
            raise
        self.record = fields.record
        if others:
            self._absorb(others)
        self._show(by)
        if session.renewal:
            self._renew(session, by)

    def _note_done(self, fields: BaseSession, by: By) -> None:
        """Keep what the last event of a tab was. Of tabs that were not heard of for long it is forgotten."""
        now, name = self._rooms.engine.clock(), TAB + by[0].tab
        if name not in self.record.fields:
            tabs = [one for one in self.record.fields if one.startswith(TAB)]
            if len(tabs) >= _TABS:
                tabs.sort(key=lambda one: float(fields[one][1]), reverse=True)
                for one in tabs[_TABS:]:
                    if now - fields[one][1] > _TAB_LIFE or one in tabs[_MOST_TABS:]:
                        del fields[one]
        number = by[1]

        def claim(kept: list[Any] | None) -> list[Any]:  # on what is stored, at the commit: another process may have it
            if kept is not None and kept[0] >= number:
                raise _AlreadyDone
            return [number, now]

        fields.update(name, claim)

    def _show(self, by: By | None) -> None:
        """Tell all tabs what changed."""
        ops = self.page.take_operations()
        if by is not None:
            self._done[by[0].tab] = by[1]
        if ops:
            answers = UNSET if by is None else (by[0].tab, by[1])
            self._push(Changes(ops, s=self.log.next(), by=answers))
        elif by is not None:
            by[0].say(Ack(by[1]))

    def _renew(self, session: Session, by: By | None) -> None:
        """The session has another id: have one tab fetch the cookie."""
        connection = by[0] if by is not None else next(iter(self.connections), None)
        if connection is not None:
            connection.say(Renew(session.renewal))
        session.renewal = ""

    def commit_now(self, session: Session) -> Awaitable[None]:
        """Commit in the midst of a turn."""
        if in_loop():
            return self._commit_within(session)
        asyncio.run_coroutine_threadsafe(self._commit_within(session), self._rooms.loop).result()
        return Done()

    async def _commit_within(self, session: Session) -> None:
        await self._commit(session, goes_on=True)
        session._check()

    def _change(self, change: Callable[[], None]) -> None:
        """A thread of the application's changes a widget, in no turn: make one for it, and wait for its end."""
        if in_loop():
            raise RuntimeError(
                "a session's widget was changed in the event loop, outside of its callbacks: use "
                "`await app.in_session(handle, function)`, or do it in a thread"
            )
        asyncio.run_coroutine_threadsafe(self._changed_in_a_turn(change), self._rooms.loop).result()

    async def _changed_in_a_turn(self, change: Callable[[], None]) -> None:
        async def work(_: Session) -> None:
            change()

        await self.run(work)

    # --- Events ------------------------------------------------------------------------------------------------------

    def event(self, connection: Connection, event: Event) -> None:
        """A visitor did something."""
        self.begin(self._event(connection, event))

    async def _event(self, connection: Connection, event: Event) -> None:
        try:
            if self.ended:
                return
            if event.n > self._done.get(connection.tab, 0) + 1:
                await self._refresh()  # the tab may come from another process
            done = self._done.get(connection.tab, 0)
            if event.n <= done:
                connection.say(self._errors.get((connection.tab, event.n)) or Ack(event.n))  # it did not arrive
            elif event.n != done + 1:
                connection.say(ErrorFrame("out_of_order", f"the next event is {done + 1}", n=event.n))
            else:
                await self._handle(connection, event)
        finally:
            connection.handled()

    async def _handle(self, connection: Connection, event: Event) -> None:
        by = (connection, event.n)
        try:
            taken = self.page.take(event.id, event.event, event.value)
        except Refused as refused:
            self._answer(connection, event, refused.code, str(refused))
            return
        try:
            await self._turn(lambda session: self._react(session, taken, event), by)
        except _AlreadyDone:
            await self._refresh()
            connection.say(Ack(event.n))
        except (StoreError, ConflictError) as error:
            await self._not_kept(connection, event, error)
        except SessionGone:
            if not self.ended:
                raise
        except Exception as error:  # the application's own: told, logged, and nobody else is hurt
            log.exception("a callback of %r failed", taken.widget)
            self._failed(connection, event, error)
            if taken.assigned:
                await self._keep_value(connection, event)

    async def _react(self, session: Session, taken: Taken, event: Event) -> None:
        """Assign what was typed, and call the callbacks."""
        _assign(taken.assigned)
        for callback in self._rooms.callbacks_of(session, taken.widget, event.event):
            await self._rooms.call(callback, *(session, taken.value)[: arguments(callback)])
        if isinstance(taken.widget, Form):
            clears = taken.widget.clear_on_submit
            _empty(widget for widget in taken.assigned if clears or _is_secret(widget))

    async def _keep_value(self, connection: Connection, event: Event) -> None:
        """What a visitor typed is kept, though the callback has failed: it stands in the browser, too."""

        async def work(session: Session) -> None:
            assigned = self.page.take(event.id, event.event, event.value).assigned
            _assign({widget: value for widget, value in assigned.items() if not _is_secret(widget)})

        try:
            await self._turn(work, (connection, event.n))
        except Exception as error:  # the failure itself was told; of this one it is enough to log it
            log.warning("what was typed into %s could not be kept: %s", event.id, error)

    async def _not_kept(self, connection: Connection, event: Event, error: StoreError | ConflictError) -> None:
        """The store did not take what an event did, or did not say so: the page shows what is stored."""
        log.warning("an event of session %s was not kept: %s", self.record.handle, error)
        await self._refresh()
        if event.n <= self._done.get(connection.tab, 0):
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
        self._done[connection.tab] = event.n
        self._errors[connection.tab, event.n] = frame
        if len(self._errors) > _ERRORS:
            del self._errors[next(iter(self._errors))]
        connection.say(frame)

    # --- What happens elsewhere --------------------------------------------------------------------------------------

    def _knows(self, version: bytes) -> bool:
        return self.record.knows(version)

    def _woken(self) -> None:
        if not self._looking:
            self._looking = True
            self._rooms.loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self.begin(self._take_changes())

    def look(self) -> None:
        """See what others did, if the watch has something to tell."""
        self._woken()

    def look_again(self) -> None:
        """Read the record anew: somebody has seen another one."""
        self.begin(self._refresh())

    def tell(self, function: Callable[..., Any]) -> None:
        """Call a function of the application's in a turn of its own, for what it does: if it fails, that is logged. One
        that takes no session is called when there is none any more, too."""
        self.begin(self._told(function))

    async def _told(self, function: Callable[..., Any]) -> None:
        try:
            if not arguments(function, 1):
                await self._rooms.call(function)
            elif not self.ended:
                await self._turn(lambda session: self._rooms.call(function, session))
        except SessionGone:
            return  # it has ended before its turn came
        except Exception:  # the application's own: logged, and nobody else is hurt
            log.exception("%r failed", function)

    async def _take_changes(self) -> None:
        self._looking = False
        refresh = False
        try:
            while (change := await self.watch.next(0)) is not None:
                if change.kind == "ended":
                    self.end(change.reason or "ended")
                    return
                refresh = True
            if (refresh or self.watch.behind) and not self.ended:  # one that is behind keeps to itself what it hears
                await self._refresh()
        except StoreError as error:
            log.info(
                "what others did to session %s could not be read, it is tried again: %s", self.record.handle, error
            )
            self._rooms.loop.call_later(1.0, self._woken)

    async def _refresh(self) -> None:
        """Read the record anew, and show what others did."""
        fields = self._rooms.engine.resume(self.record)
        try:
            others = await self._rooms.engine.refresh(fields)
        except SessionGone:
            await self._is_over()
            return
        except StoreError:
            return  # the watch tells again, or the next turn finds it
        self.record = fields.record
        if others:
            self._absorb(others)
            self._show(None)

    async def _is_over(self) -> None:
        """The session has ended, or its id was replaced for another user: who has the new cookie may come again."""
        try:
            record = await self._rooms.engine.store.load(self.record.handle)
        except StoreError:
            record = None
        if record is not None and record.generation != self.record.generation:
            self.end("")
        else:
            change: Change | None = await self.watch.next(0.5)
            while change is not None and change.kind != "ended":
                change = await self.watch.next(0.5)
            self.end("ended" if change is None else change.reason or "ended")

    def _absorb(self, names: set[str]) -> None:
        """Take over what is kept under these names. It is read from the record: the object of a turn goes on showing
        what it was asked for before its commit."""
        fields = self._rooms.engine.resume(self.record)
        kept = {name: fields.get(name) for name in names if name.startswith((WIDGET, OVERRIDE))}
        if kept:
            self.page.absorb(kept, KINDS)
        self._learn_done(fields, (name for name in names if name.startswith(TAB)))

    def _load_page(self) -> None:
        """Make the page as the record has it."""
        self.page.become(self._kept_page(), KINDS)
        fields = self._rooms.engine.resume(self.record)
        self._learn_done(fields, (name for name in self.record.fields if name.startswith(TAB)))

    def _learn_done(self, fields: BaseSession, names: Iterable[str]) -> None:
        """Take over what the last events of tabs were, as it is kept."""
        for name in names:
            tab, kept = name.removeprefix(TAB), fields.get(name)
            if kept is not None:
                self._done[tab] = max(self._done.get(tab, 0), kept[0])

    def settled_page(self) -> SessionPage:
        """The page as it is kept: while a turn goes on, which may take long, one that is made for it."""
        if self.at_rest():
            return self.page
        page = self._rooms.new_page()
        page.become(self._kept_page(), KINDS)
        return page

    def _kept_page(self) -> dict[str, Any]:
        """What the record has of the page."""
        fields = self._rooms.engine.resume(self.record)
        return {name: fields[name] for name in self.record.fields if name.startswith((WIDGET, OVERRIDE))}

    # --- What is told ------------------------------------------------------------------------------------------------

    def push_app(self, number: int, text: str) -> None:
        """The app's page changed."""
        self.log.push_app(number, text)
        self._kick()
        if self.page.strays:
            self.begin(self._place_strays())

    async def _place_strays(self) -> None:
        """Widgets of this session that are in one of the app's may have their place now."""
        self.page.absorb({}, KINDS)
        self._show(None)

    def _push(self, changes: Changes) -> None:
        self.log.push(encode(changes))
        self._kick()

    def _kick(self) -> None:
        for connection in self.connections:
            connection.kick()

    def page_frame(self, tab: str = "", first: int = 0) -> PageFrame:
        """The whole page, as it is kept. ``first``: the first event that the tab has heard nothing of; one that was
        answered by an error is not called done."""
        everyone, done = self._rooms.everyone, self._done.get(tab, 0)
        unheard = [n for of, n in self._errors if of == tab and n >= first] if first else []
        return PageFrame(
            VERSION,
            everyone.title,
            self.log.own,
            self.log.app,
            self.settled_page().children(),
            min((n - 1 for n in unheard), default=done),
        )

    def at_rest(self) -> bool:
        """Whether no turn goes on or waits."""
        return self._working is None

    def framed(self, tab: str = "", first: int = 0) -> tuple[str, int]:
        """The page as a message (see `page_frame`), and from where on the log goes on after it."""
        frame = self.page_frame(tab, first)
        return encode(frame), self.log.end

    def arrived(self, connection: Connection, next_event: int) -> None:
        """A tab is here: what it has had answered, it will not send again."""
        if next_event > 1:
            self._done[connection.tab] = max(self._done.get(connection.tab, 0), next_event - 1)
        if len(self._done) > _TABS_HERE:
            kept = {one.tab for one in self.connections} | {connection.tab}
            self._done = {
                tab: done for tab, done in self._done.items() if tab in kept or TAB + tab in self.record.fields
            }

    # --- The end -----------------------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """The session is over: clear its pages and close its sockets. Empty: it only has another id, and its tabs may
        come again."""
        if self.ended:
            return
        self.ended = reason or "renewed"
        self.page.elsewhere = _too_late
        for connection in tuple(self.connections):
            connection.finish(Ended(reason) if reason else None)
        self._rooms.forget(self)

    def _check(self) -> None:
        if self.ended:
            raise SessionGone("the session has ended")


def _assign(values: dict[Widget, Any]) -> None:
    for widget, value in values.items():
        widget.value = value  # type: ignore[attr-defined]


def _is_secret(widget: Widget) -> bool:
    """Whether it is a password, which is for the callback of its form, and not to be kept."""
    return isinstance(widget, TextInput) and widget.password


def _empty(widgets: Iterable[Widget]) -> None:
    for widget in widgets:
        if widget._home is not None:
            widget.value = widget.empty()  # type: ignore[attr-defined]


class _AlreadyDone(Exception):
    """The event was done, by another process."""


def _too_late(change: Callable[[], None]) -> None:
    raise SessionGone("the session has ended")
