"""The rooms of one app in one process: which are open, and what keeps them in order: one timer for all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from ..engine import Engine
from ..errors import SessionNotFound
from ..ids import Handle, split
from ..sockets import AGAIN
from .callbacks import Pending, arguments, is_async
from .page import SessionPage
from .room import Room
from .runner import Runner
from .session import Session
from .turns import showing
from .widget import EventName, Widget

if TYPE_CHECKING:
    from .app import App

__all__ = ["Limits", "Rooms"]

T = TypeVar("T")
log = logging.getLogger("sojourn")

_TICK: Final = 1.0  # seconds


class _Left(Exception):
    """A block was left by an exception: nothing of it is committed."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one socket may do."""

    message_bytes: int = 64 * 1024
    """The longest frame that is taken."""
    events_per_second: float = 500.0
    """Frames that are taken in a second and on the average; beyond, the socket is not read for a while."""
    burst: float = 1000.0
    """And at once."""
    patience: float = 10.0
    """Seconds for which a frame may be on its way, before a socket that does not read is dropped; and for which it may
    take to say hello."""
    linger: float = 15.0
    """Seconds for which a room is kept when its last socket has gone: so long who comes again gets what was missed, and
    not a whole page."""


class Rooms:
    """The sessions that are open in this process."""

    def __init__(self, app: App, runner: Runner, limits: Limits) -> None:
        self.engine: Engine = app.engine
        self.everyone = app.everyone
        self.runner = runner
        self.limits = limits
        self.debug = app.debug
        self._app = app
        self.loop = asyncio.get_running_loop()
        self.open: dict[str, Room] = {}
        self._opening: dict[str, asyncio.Task[Room]] = {}
        self._timer = self.loop.call_later(_TICK, self._tick)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.serving: set[asyncio.Future[None]] = set()
        """The ends of sockets that are served."""

    async def enter(self, handle: str) -> Room:
        """The room of a session; `SessionNotFound` if there is no such session, `StoreError` if nobody can tell."""
        room = self.open.get(handle)
        if room is not None:
            room.left_at = self.loop.time()
            return room
        opening = self._opening.get(handle)
        if opening is None:
            opening = self._opening[handle] = self.loop.create_task(self._enter(handle))
            opening.add_done_callback(lambda _: self._opening.pop(handle, None))
        return await asyncio.shield(opening)

    async def _enter(self, handle: str) -> Room:
        watch, record = await self.engine.following(handle)
        if record is None:
            raise SessionNotFound
        room = self.open[handle] = Room(self, record, watch)
        return room

    async def run(self, session_id: str, function: Callable[[Session], Any]) -> Any:
        """Run a function with a session (by its id or handle), in a turn of its own; its result."""
        room, turn = await self.enter(await self.handle_of(session_id)), showing.get()
        if turn is not None and turn.open and turn.page is room.page:
            raise RuntimeError("a callback would wait for itself: use the session that it was given")
        return await room.run(function)

    async def handle_of(self, session_id: str) -> str:
        """The handle of a session that is named by its id or its handle; `SessionNotFound` if it is neither."""
        if type(session_id) is Handle:
            return str(session_id)
        if split(session_id) is None:
            raise SessionNotFound
        return (await self.engine.require(session_id)).record.handle

    @contextmanager
    def block(self, session_id: str) -> Iterator[Session]:
        """A turn of a session, for the length of a block in a thread."""
        entered: concurrent.futures.Future[tuple[Session, asyncio.Future[None]]] = concurrent.futures.Future()

        async def hold(session: Session) -> None:
            left: asyncio.Future[None] = self.loop.create_future()
            entered.set_result((session, left))
            await left

        def never_entered(done: concurrent.futures.Future[None]) -> None:
            if not entered.done():
                entered.set_exception(done.exception() or SessionNotFound())

        done = asyncio.run_coroutine_threadsafe(self.run(session_id, hold), self.loop)
        done.add_done_callback(never_entered)
        session, left = entered.result()
        token = showing.set(session)
        try:
            yield session
        except BaseException:  # the block's own, an interrupt, too: it goes on, and nothing is committed
            self.loop.call_soon_threadsafe(left.set_exception, _Left())
            concurrent.futures.wait([done])
            raise
        else:
            self.loop.call_soon_threadsafe(left.set_result, None)
            done.result()
        finally:
            showing.reset(token)

    def new_page(self) -> SessionPage:
        """The page of a session that has nothing of its own."""
        return SessionPage(self.everyone.page, self._app.callbacks.refer)

    async def ticket_for(self, room: Room) -> str:
        """A ticket for the next socket of a session, whenever that comes."""

        async def give(session: Session) -> str:
            return session.ticket(room.record.idle_timeout)

        return str(await room.run(give))

    def forget(self, room: Room) -> None:
        """A room is left for good."""
        if self.open.get(room.record.handle) is room:
            del self.open[room.record.handle]
        self.begin(room.watch.close())

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Have this done in the background."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tick(self) -> None:
        now = self.loop.time()
        self._timer = self.loop.call_later(_TICK, self._tick)
        self.engine.keep_watching()
        for room in list(self.open.values()):
            if room.watch.behind:
                room.look()
            if not room.connections and room.at_rest() and now - room.left_at > self.limits.linger:
                self.forget(room)
            for connection in tuple(room.connections):
                if connection.sending_since and now - connection.sending_since > self.limits.patience:
                    log.info("a socket of session %s was dropped: it took nothing", room.record.handle)
                    connection.drop()
        self.everyone.tick()

    async def close(self) -> None:
        """Leave all rooms; their tabs may come again."""
        self._timer.cancel()
        rooms = list(self.open.values())
        for room in rooms:
            for connection in tuple(room.connections):
                connection.close(AGAIN)
            self.forget(room)
        await self._have_left(rooms, 1.0)
        for room in rooms:
            for connection in tuple(room.connections):  # it takes nothing, not even its end
                connection.drop()
        await self._have_left(rooms, 4.0)
        await asyncio.to_thread(self.runner.close)  # which waits for callbacks that are under way

    async def _have_left(self, rooms: list[Room], within: float) -> None:
        """Wait, so many seconds at most, until all have left these rooms, and the application has been told of it."""
        give_up = self.loop.time() + within
        while (left := give_up - self.loop.time()) > 0:  # who leaves begins more
            under_way = {*self._tasks, *self.serving, *(room.work for room in rooms if room.work is not None)}
            under_way.discard(asyncio.current_task())  # a callback may have asked for it
            if not under_way:
                return
            await asyncio.wait(under_way, timeout=left)

    async def welcome(self, session: Session) -> None:
        """Have the application's functions put on the page what it shows to a new visitor, once."""
        if not session.begun:
            for function in self._app.beginners:
                await self.call(function, *(session,)[: arguments(function, 1)])
            session.page.begin()
            session.begun = True

    # --- Callbacks ---------------------------------------------------------------------------------------------------

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the application's: in the loop if it is a coroutine function, else in a thread."""
        if is_async(function):
            return await function(*args)
        result = await self.runner.submit(self.loop, function, *args)
        return await result if isawaitable(result) else result

    def callbacks_of(self, session: Session, widget: Widget, event: EventName) -> list[Any]:
        """The functions to call for an event of a widget. Raises `CallbackLost`."""
        found: list[Any] = []
        for one in widget._on.get(event, ()):
            if isinstance(one, Pending):
                found.append(one.function)
            elif callable(one):
                found.append(one)
            else:
                found.append(self._app.callbacks.resolve(one, lambda name: self._named(session, name)))
        return found

    def finish_callbacks(self, session: Session | None, those: list[Any]) -> list[Any]:
        """References in the place of functions, for what is kept of a session (None: of the app)."""
        finish = self._app.callbacks.finish
        return [finish(one, lambda it: self._name(session, it)) if isinstance(one, Pending) else one for one in those]

    def _name(self, session: Session | None, it: Any) -> list[Any] | None:
        """What is kept of something that a callback refers to, if it is one of ours."""
        if it is self._app:
            return ["app"]
        if it is self.everyone.shared:
            return ["shared"]
        if session is not None and isinstance(it, Session) and it.page is session.page:
            return ["session"]
        if isinstance(it, Widget) and it.key:
            home = it._home
            if home is self.everyone.page:
                return ["global", it.key]
            if home is None or (session is not None and home is session.page):
                return ["widget", it.key]
        return None

    def _named(self, session: Session, name: list[Any]) -> Any:
        kind, *rest = name
        if kind == "app":
            return self._app
        if kind == "shared":
            return self.everyone.shared
        if kind == "session":
            return session
        if kind == "global":
            return self._app.widget(rest[0])
        if kind == "widget":
            return session.widget(rest[0])
        raise LookupError(f"nothing is called {kind!r}")
