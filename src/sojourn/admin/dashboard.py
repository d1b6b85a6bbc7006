"""`Dashboard`: an application that shows the sessions of a store to its operators, by itself or mounted in another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from ..blocking import SessionManager
from ..config import CookieConfig, SessionConfig
from ..engine import Engine
from ..errors import ConfigurationError
from ..live import App, Session
from ..manager import AsyncSessionManager
from ..sockets import ASGIApp, Message, Receive, Scope, Send
from .audit import Audit, Entry
from .desk import Desk
from .gate import Gate, HostCheck, Password
from .pulse import Pulse
from .redaction import PATTERNS, Redaction
from .reports import HANDLE
from .views import one, overview, sessions
from .wsgi import Mounted, mounted

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from django.urls import URLPattern

__all__ = ["Dashboard"]

_NAV: Final = (("overview", "Overview"), ("sessions", "Sessions"), ("one", "Session"))
_IDLE: Final = 1800.0  # seconds after which an operator who does nothing is signed out
_SHIFT: Final = 12 * 3600.0  # seconds after which every operator is


class Dashboard:
    """The sessions of a store, to look at and to act on: an ASGI application.

        app.mount("/admin/sessions", Dashboard(manager, check=who_is_admin))

    ``sessions`` is the manager whose sessions are shown, or the URL of a store. ``check`` is the application's own
    word on who may look: it is called with each request (``starlette.requests.HTTPConnection``; under WSGI and Django
    it can be read in the same way) and returns the operator's name, or None for "not you"; it may be ``async``. Or
    there is a ``password`` of 12 characters or more, or one for each name, and the dashboard asks for it itself.
    `ConfigurationError` without either, and with both: nobody gets in by default.

    ``read_only``: nothing can be changed. ``redact`` are patterns of names whose values are never shown. ``audit`` is
    called with an `Entry` for each look and each action, beside the line on the logger ``sojourn.audit``. ``store`` is
    where the operators' own sessions live: in this process's memory, unless a URL is given, which several processes
    can share. ``name`` tells dashboards apart that share a host: it names the cookie. ``allowed_origins`` are the
    origins at which browsers see it, where a proxy does not pass on the host."""

    def __init__(
        self,
        sessions: AsyncSessionManager | SessionManager | str,
        *,
        password: str | Mapping[str, str] | None = None,
        check: Callable[[Any], Any] | None = None,
        read_only: bool = False,
        redact: Sequence[str] = PATTERNS,
        audit: Callable[[Entry], object] | None = None,
        store: str | None = None,
        title: str = "Dashboard",
        name: str = "sojourn-dashboard",
        allowed_origins: Collection[str] = (),
    ) -> None:
        if (password is None) == (check is None):
            raise ConfigurationError(
                "a dashboard needs a password=, or check=, the application's own word on who may look: nobody gets in "
                "by default"
            )
        self.engine, self._owned = _opened(sessions)
        self.operators = AsyncSessionManager(
            store or "memory://",
            config=SessionConfig(
                idle_timeout=_IDLE,
                absolute_timeout=_SHIFT,
                cookie=CookieConfig(name=name, samesite="Strict"),
            ),
            clock=self.engine.clock,
        )
        """The manager of the operators' own sessions."""
        self.app = App(
            title,
            manager=self.operators,
            name=name,
            allowed_origins=allowed_origins,
            frame_ancestors="'none'",
            tickets=True,
            wide=True,
        )
        record = Audit(audit)
        serving: Engine | None = sessions.engine if isinstance(sessions, SessionManager) else None
        if isinstance(sessions, AsyncSessionManager):
            serving = sessions
        self._desk = Desk(
            self.app,
            self.engine,
            pulse=Pulse(self.engine, counted=() if serving is None else (serving,), clock=self.engine.clock),
            audit=record,
            redaction=Redaction(redact),
            read_only=read_only,
            hide=HANDLE.__eq__,
        )
        guard = Password(password) if password is not None else HostCheck(check) if check is not None else None
        assert guard is not None  # noqa: S101 - one of them is there
        self._gate: ASGIApp = Gate(
            self.app, self.operators, guard=guard, audit=record, title=title, allowed_origins=allowed_origins
        )
        _declare(self.app, self._desk, signs_in=password is not None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._gate(scope, receive, send)
            return

        async def heard() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._desk.close()  # first, as it works with pages
            return message

        async def told(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await self.close()  # last, as pages say good-bye to the stores; later, nobody waits for it
            await send(message)

        await self._gate(scope, heard, told)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """For an application that the dashboard is mounted in, which does not tell it of its end:
        ``Starlette(lifespan=dashboard.lifespan)``. Without it the dashboard's work ends with the event loop."""
        try:
            yield
        finally:
            await self.close()

    def wsgi(self, app: WSGIApplication, at: str) -> Mounted:
        """The WSGI application, with the dashboard under the path ``at``:
        ``app.wsgi_app = dashboard.wsgi(app.wsgi_app, "/admin/sessions")`` in Flask. `ConfigurationError` for a path
        that does not begin with a slash, and for "/" alone."""
        return mounted(app, self, at)

    @property
    def urls(self) -> list[URLPattern]:
        """For Django: ``path("admin/sessions/", include(dashboard.urls))``."""
        from .django import urls  # no other application needs Django

        return urls(self)

    async def close(self) -> None:
        """Stop all work. The sessions' manager is closed if it was made here. Closing twice is allowed."""
        await self._desk.close()
        await self.app.close()
        await self.operators.close()
        if self._owned:
            await self.engine.close()


def _declare(app: App, desk: Desk, *, signs_in: bool) -> None:
    head = app.container(row=True)
    head.title(app.title_text)
    leave = head.button("Sign out", visible=signs_in)
    app.alert("", "error", key="trouble", visible=False)
    nav = app.nav(list(_NAV), "overview", key="nav")
    overview.build(app, desk)
    sessions.build(app, desk)
    one.build(app, desk)

    @nav.on_select
    async def turn_to(session: Session, view: str) -> None:
        await desk.turn_to(session, view)

    @leave.on_click
    def sign_out(session: Session) -> None:
        session.end()

    @app.on_session
    def began(session: Session) -> None:
        if session.user_id is None:  # the gate lets nobody through who has no session of an operator
            raise RuntimeError("a page of the dashboard was asked for behind its gate")

    @app.on_connect
    async def arrived(session: Session) -> None:
        await desk.arrive(session)


def _opened(sessions: AsyncSessionManager | SessionManager | str) -> tuple[AsyncSessionManager, bool]:
    """A manager for this event loop, and whether it is ours to close."""
    if isinstance(sessions, AsyncSessionManager):
        return sessions, False
    if isinstance(sessions, str):
        return AsyncSessionManager(sessions), True
    engine = sessions.engine
    if engine.store.world == "any":
        return AsyncSessionManager(engine.store, config=engine.config, clock=engine.clock), False
    if engine.store_url is None:
        raise ConfigurationError(
            "this manager was given a store that serves blocking callers only: name the store by its URL"
        )
    return AsyncSessionManager(engine.store_url, config=engine.config, clock=engine.clock), True
