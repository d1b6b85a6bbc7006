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
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from msgspec import UNSET

from ..errors import SessionGone, StoreError
from ..record import Change, Record
from ..watching import Watch
from .answers import Answers
from .callbacks import arguments
from .events import Events, empty
from .kept import OVERRIDE, WIDGET, write_fields
from .log import Log
from .page import SessionPage
from .protocol import VERSION, Ack, Changes, Ended, Event, PageFrame, Renew, encode
from .session import Done, Session, in_loop
from .turns import showing
from .widgets import KINDS

if TYPE_CHECKING:
    from .connection import Connection
    from .rooms import Rooms

__all__ = ["Room"]

T = TypeVar("T")
By: TypeAlias = "tuple[Connection, int]"
"""Whose event a turn handles, and its number."""

log = logging.getLogger("sojourn")


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
        self.answers = Answers()
        self._events = Events(self, rooms, self.answers)
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

    @contextmanager
    def served(self) -> Iterator[None]:
        """A socket is served meanwhile: whoever closes the rooms waits for its end."""
        left: asyncio.Future[None] = self._rooms.loop.create_future()
        self._rooms.serving.add(left)
        try:
            yield
        finally:
            self._rooms.serving.discard(left)
            left.set_result(None)

    @property
    def work(self) -> asyncio.Task[None] | None:
        """What is under way; None: nothing."""
        return None if self._working is None or self._working.done() else self._working

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
                result = await self.turn(lambda session: self._rooms.call(function, session))
            except BaseException as error:  # for whoever waits for it
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self.begin(job())
        return done

    async def turn(self, work: Callable[[Session], Awaitable[T]], by: By | None = None) -> T:
        """Do this as a turn, within a job that was begun: no other goes on. What it changed is committed and shown; if
        it raises, nothing is."""
        self._check()
        session, told = Session(self._rooms.engine.resume(self.record), self.page, self), self.log.app
        token = showing.set(session)
        try:
            try:
                result = await work(session)
                empty(session.secrets)
            finally:
                showing.reset(token)
            await self._commit(session, by)
            return result
        except BaseException:  # a cancellation, too: it goes on, and leaves nothing of the turn
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
            here = {connection.tab for connection in self.connections}
            self.answers.claim(fields, by[0].tab, by[1], engine.clock(), here)
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

    def _show(self, by: By | None) -> None:
        """Tell all tabs what changed."""
        ops = self.page.take_operations()
        if by is not None:
            self.answers.answered(by[0].tab, by[1])
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
        empty(session.secrets)
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

    def event(self, connection: Connection, event: Event) -> None:
        """A visitor did something."""
        self.begin(self._events.handle(connection, event))

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
        self.begin(self.refresh())

    def tell(self, function: Callable[..., Any]) -> None:
        """Call a function of the application's in a turn of its own, for what it does: if it fails, that is logged. One
        that takes no session is called when there is none any more, too."""
        self.begin(self._told(function))

    async def _told(self, function: Callable[..., Any]) -> None:
        try:
            if not arguments(function, 1):
                await self._rooms.call(function)
            elif not self.ended:
                await self.turn(lambda session: self._rooms.call(function, session))
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
                await self.refresh()
        except StoreError as error:
            log.info(
                "what others did to session %s could not be read, it is tried again: %s", self.record.handle, error
            )
            self._rooms.loop.call_later(1.0, self._woken)

    async def refresh(self) -> None:
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
        self.answers.learn(fields, names)

    def _load_page(self) -> None:
        """Make the page as the record has it."""
        self.page.become(self._kept_page(), KINDS)
        fields = self._rooms.engine.resume(self.record)
        self.answers.learn(fields, self.record.fields)

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
        everyone = self._rooms.everyone
        return PageFrame(
            VERSION,
            everyone.title,
            self.log.own,
            self.log.app,
            self.settled_page().children(),
            self.answers.told(tab, first),
        )

    def at_rest(self) -> bool:
        """Whether no turn goes on or waits."""
        return self._working is None

    def framed(self, tab: str = "", first: int = 0) -> tuple[str, int]:
        """The page as a message (see `page_frame`), and from where on the log goes on after it."""
        frame = self.page_frame(tab, first)
        return encode(frame), self.log.end

    def arrived(self, connection: Connection, first: int) -> None:
        """A tab is here, which has the answers to its events before this one."""
        here = (one.tab for one in self.connections)
        self.answers.arrived(connection.tab, first, here, self.record.fields)

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


def _too_late(change: Callable[[], None]) -> None:
    raise SessionGone("the session has ended")
