"""`App`: a live app, as its program declares and serves it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from ..asgi_family import credentials_of
from ..config import CookieConfig, SessionConfig, Transport, seconds
from ..cookie import read_cookies
from ..errors import ConfigurationError
from ..exchange import Exchange
from ..ids import Handle, split
from ..manager import AsyncSessionManager
from ..session import PlainAsyncSession
from ..sockets import Message, Receive, Scope, Send
from ..transport import cookie_on_loopback
from .callbacks import Callbacks, arguments
from .connection import Connection
from .everyone import Everyone
from .rooms import Limits, Rooms
from .runner import Runner
from .running import options_for, run
from .serving import router
from .session import Done, Session, in_loop
from .shared import Shared
from .turns import showing
from .widget import Widget
from .widgets import Adding

__all__ = ["App"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
W = TypeVar("W", bound=Widget)

log = logging.getLogger("sojourn")

_taken: weakref.WeakSet[AsyncSessionManager] = weakref.WeakSet()  # managers that have an app


class App(Adding):
    """A live app. It is an ASGI application: ``uvicorn module:app``, or mounted under a path, or `run`.

    ``title`` is the page's. ``store`` is where sessions live (memory, if none is named, which ends with the process);
    ``manager`` is an `AsyncSessionManager` in its place, whose configuration then counts, and who made it closes it.
    ``session_timeout`` and ``cleanup_interval`` are seconds: a session is over when nothing was done on its pages for
    so long (an open page alone is no activity); the dead are removed every so often.

    ``name`` tells apps apart that share a store or a host: it names the cookie, and the record of what all see; the
    title in letters that a cookie's name can have, if none is given. ``debug``: the page shows the tracebacks of
    callbacks. ``on_shutdown``: "keep" the sessions, or "end" them all, everybody's in this store ("end" in memory, else
    "keep"). ``allowed_origins`` are other sites' pages that may open sockets here. ``tickets``: for pages where cookies
    cannot be sent (embedded in another site's): the socket's URL has a ticket, good once. ``wide``: the page has up
    to 1,280 pixels, and not 896. ``limits`` is what one socket may do."""

    def __init__(
        self,
        title: str = "Live",
        *,
        store: str | None = None,
        session_timeout: float | timedelta = 300.0,
        cleanup_interval: float | timedelta = 60.0,
        manager: AsyncSessionManager | None = None,
        name: str | None = None,
        debug: bool = False,
        on_shutdown: Literal["keep", "end"] | None = None,
        allowed_origins: Collection[str] = (),
        transports: tuple[Transport, ...] = ("cookie",),
        tickets: bool = False,
        frame_ancestors: str = "'self'",
        lang: str = "en",
        wide: bool = False,
        limits: Limits | None = None,
    ) -> None:
        if manager is not None and store is not None:
            raise ConfigurationError("hand in a store or a manager, not both: the manager has a store")
        if manager is not None and manager in _taken:
            raise ConfigurationError("this manager has an app already: its sessions have one page each. Make another")
        name = name if name is not None else re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "app"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ConfigurationError("an app's name has 1 to 64 letters, digits, '-' and '_'")
        if on_shutdown not in (None, "keep", "end"):
            raise ConfigurationError(f'on_shutdown is "keep" or "end", not {on_shutdown!r}')
        self.name = name
        self.title_text = title
        self.debug = debug
        self.lang = lang
        self.wide = wide
        self.tickets = tickets
        self.ancestors = frame_ancestors
        self.allowed_origins = frozenset(allowed_origins)
        self._owned = manager is None
        self.engine = manager or AsyncSessionManager(
            store or "memory://",
            config=SessionConfig(
                idle_timeout=seconds(session_timeout, "session_timeout"),
                cleanup_interval=seconds(cleanup_interval, "cleanup_interval"),
                cookie=CookieConfig(name=f"live-{name}"),
                transports=transports,
            ),
        )
        """The manager of the sessions: for whatever else is to be done with them."""
        _taken.add(self.engine)
        ends = on_shutdown == "end" or (on_shutdown is None and self.engine.store.durability == "memory")
        self._ends_sessions = ends and self._owned
        self.callbacks = Callbacks(_caller())
        self.everyone = Everyone(name, title, self.engine, self._refer)
        self.beginners: list[Callable[..., Any]] = []
        self._arrivals: list[Callable[..., Any]] = []
        self._departures: list[Callable[..., Any]] = []
        self._limits = limits or Limits()
        self._rooms: Rooms | None = None
        self._starting: asyncio.Task[Rooms] | None = None
        self._router = router(self)

    # --- What all see ------------------------------------------------------------------------------------------------

    def add_widget(self, widget: W, into: Widget | str | None = None, before: Widget | str | None = None) -> W:
        """Show a widget to everybody: at the end of the app's page, in another widget, before one of those there. Any
        time, from any thread. `ConfigurationError` if its key is taken or it is somewhere already; KeyError if there is
        no widget of a key that is named. Returns the widget."""
        self.everyone.page.add(widget, self._found(into), self._found(before))
        return widget

    def widget(self, key: str) -> Any:
        """The widget of this key that all see; KeyError if there is none."""
        found = self.everyone.page.widgets.get(key)
        if found is None:
            raise KeyError(f"no widget has the key {key!r}")
        return found

    @property
    def widgets(self) -> tuple[Widget, ...]:
        """The widgets that all see, in their order; what is in them is in their ``children``."""
        return tuple(self.everyone.page.roots)

    @property
    def shared(self) -> Shared:
        """Values that all sessions share, in every process."""
        return self.everyone.shared

    @property
    def online(self) -> int:
        """How many sessions have a page open in this process."""
        return 0 if self._rooms is None else sum(1 for room in self._rooms.open.values() if room.connections)

    def is_online(self, handle: str) -> bool:
        """Whether the session of this handle has a page open in this process. False for what is no session's."""
        room = None if self._rooms is None else self._rooms.open.get(str(handle))
        return room is not None and bool(room.connections)

    # --- What happens ------------------------------------------------------------------------------------------------

    def on_session(self, function: F) -> F:
        """Call ``function(session)`` for each new visitor, before the first page is shown. If it raises, there is no
        page, and no session. Also a decorator."""
        arguments(function, 1)
        self.callbacks.root(function)
        self.beginners.append(function)
        return function

    def on_connect(self, function: F) -> F:
        """Call ``function(session)`` when a tab has opened its socket: after each load of the page, and each break of
        the network. Also a decorator."""
        arguments(function, 1)
        self.callbacks.root(function)
        self._arrivals.append(function)
        return function

    def on_disconnect(self, function: F) -> F:
        """Call ``function(session)`` when the socket of a tab is closed and the session lives on; one that takes no
        argument is called when the session has ended, too. A process that dies calls nothing. Also a decorator."""
        arguments(function, 1)
        self.callbacks.root(function)
        self._departures.append(function)
        return function

    def callback(self, function: F) -> F:
        """Make a function known that callbacks of sessions' widgets are, or are made in, where they would not be found
        by their names in a module: one that a function made. Also a decorator."""
        self.callbacks.root(function)
        return function

    # --- Sessions, from outside of their callbacks -------------------------------------------------------------------

    def add_widget_to_session(self, session_id: str, widget: Widget) -> Awaitable[None]:
        """Show a widget to one session, named by its id or its handle. In a thread of your own it is committed when
        this returns; in a coroutine, await it; in a callback (``def``) it is done soon after, and logged if it cannot
        be. Raises `SessionNotFound`, `StoreUnavailable`, `OutcomeUnknown`."""
        return self._do(self._add_to(session_id, widget))

    def end_session(self, session_id: str) -> Awaitable[None]:
        """End a session, named by its id or its handle: its sockets are closed, its pages cleared. Nothing happens if
        it is not there. As `add_widget_to_session` in threads and coroutines."""
        return self._do(self._end([session_id]))

    def end_sessions(self, session_ids: Iterable[str]) -> Awaitable[None]:
        """`end_session` for many."""
        return self._do(self._end(list(session_ids)))

    @overload
    async def in_session(self, session_id: str, function: Callable[[Session], Awaitable[T]]) -> T: ...
    @overload
    async def in_session(self, session_id: str, function: Callable[[Session], T]) -> T: ...
    async def in_session(self, session_id: str, function: Callable[[Session], Any]) -> Any:
        """Run ``function(session)`` in a turn of a session, named by its id or its handle, as a callback would be run:
        what it changes is committed and shown when it is done. Returns what it returned. Raises `SessionNotFound`, and
        what the function raises: then nothing is committed."""
        return await (await self.started()).run(session_id, function)

    @contextmanager
    def session(self, session_id: str) -> Iterator[Session]:
        """``with app.session(handle) as session:`` in a thread: a turn of this session, which is committed and shown
        when the block ends; if it raises, nothing is. Raises as `in_session`."""
        if in_loop():
            raise RuntimeError("this would block the event loop: use `await app.in_session(handle, function)`")
        rooms = self._running()
        with rooms.block(session_id) as session:
            yield session

    async def _add_to(self, session_id: str, widget: Widget) -> None:
        async def add(session: Session) -> None:
            session.add_widget(widget)

        await (await self.started()).run(session_id, add)

    async def _end(self, session_ids: list[str]) -> None:
        for session_id in session_ids:
            await self.engine.end_session(session_id)

    def _do(self, work: Coroutine[Any, Any, None]) -> Awaitable[None]:
        """In a thread wait until it is done; in a coroutine it goes on by itself, and can be awaited. In a callback it
        goes on by itself, too: two sessions that wait for each other would wait for ever."""
        if in_loop():
            return asyncio.ensure_future(work)
        try:
            rooms = self._running()
        except RuntimeError:
            work.close()
            raise
        done, turn = asyncio.run_coroutine_threadsafe(work, rooms.loop), showing.get()
        if turn is None or not turn.open:
            done.result()
        else:
            done.add_done_callback(_log_failure)
        return Done()

    def _running(self) -> Rooms:
        if self._rooms is None:
            raise RuntimeError("the app does not run yet: sessions can be reached when it serves")
        return self._rooms

    # --- Serving -----------------------------------------------------------------------------------------------------

    def run(self, host: str = "127.0.0.1", port: int = 8501, **options: Any) -> None:
        """Serve the app until it is stopped. ``options`` are uvicorn's, and win over what is chosen here."""
        run(self, host, port, {**options_for(self._limits.message_bytes), **options})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._router(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        try:
            await self.started()
        except Exception as error:  # whatever it is, the server is told, and does not start
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        message: Message = {"type": "lifespan.shutdown.complete"}
        try:
            await self.close()
        except Exception as error:  # likewise
            message = {"type": "lifespan.shutdown.failed", "message": str(error)}
        await send(message)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """For an application that this one is mounted in, which does not tell it of its start and its end."""
        await self.started()
        try:
            yield
        finally:
            await self.close()

    async def started(self) -> Rooms:
        """Start, if nobody did; the rooms. Raises `StoreError`."""
        if self._rooms is not None:
            return self._rooms
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        try:
            return await asyncio.shield(self._starting)
        except BaseException:  # whoever waits may be cancelled, too: it goes on to them
            if self._starting is not None and self._starting.done():
                self._starting = None  # the next one tries again
            raise

    async def _start(self) -> Rooms:
        rooms = Rooms(self, Runner(), self._limits)
        try:
            await self.everyone.start(rooms)
        except BaseException:  # whatever it is, it goes on: only the timer and the threads must not stay
            await rooms.close()
            raise
        self.engine.start_cleaner()
        self._rooms = rooms
        return rooms

    async def close(self) -> None:
        """Stop: sockets are closed (their tabs come again when there is a server), and sessions ended or kept, as
        ``on_shutdown`` says."""
        rooms, self._rooms, self._starting = self._rooms, None, None
        if rooms is not None:
            await self.everyone.close()
            await rooms.close()
            if self._ends_sessions:
                await self.engine.end_sessions(keep=Handle(self.everyone.handle))
        if self._owned:
            await self.engine.close()

    async def serve(self, connection: Connection, ticket: str) -> None:
        """Serve one socket, and tell the application that it came and went."""
        room = connection.room
        if not await connection.begin():
            return
        for function in self._arrivals:
            room.tell(function)
        with room.served():
            await connection.run(ticket)
            for function in self._departures:
                room.tell(function)

    # --- Parts -------------------------------------------------------------------------------------------------------

    def exchange(self, scope: Scope) -> Exchange:
        """The session's side of a request."""
        return Exchange(self.engine, PlainAsyncSession, self.cookie_for(scope))

    def cookie_for(self, scope: Scope) -> CookieConfig:
        """The cookie of a request: without TLS, and on this machine only, one that goes without."""
        return cookie_on_loopback(self.engine.config.cookie, credentials_of(scope))

    def handle_shown(self, scope: Scope) -> str | None:
        """The handle in the cookie of a request; None if there is none."""
        shown = read_cookies(credentials_of(scope).cookies, self.cookie_for(scope))
        parts = split(shown[0]) if len(shown) == 1 else None
        return None if parts is None else parts[0]

    def _refer(self, callback: Callable[..., Any]) -> Any:
        """What is kept of the callback of a widget that all see. The program's own need not be kept."""
        if self.everyone.page.declaring:
            self.callbacks.root(callback)
            return callback
        return self.callbacks.refer(callback)

    def _found(self, where: Widget | str | None) -> Widget | None:
        return self.widget(where) if isinstance(where, str) else where

    def __repr__(self) -> str:
        return f"<App {self.name}>"


def _log_failure(done: concurrent.futures.Future[None]) -> None:
    if not done.cancelled() and done.exception() is not None:
        log.warning("what a callback asked for another session could not be done: %r", done.exception())


def _caller() -> str:
    """The name of the module that makes the app."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return "__main__" if frame is None else str(frame.f_globals.get("__name__", "__main__"))
