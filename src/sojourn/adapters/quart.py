"""Quart: an extension, so that ``quart.session`` is a Sojourn session.

    app = Quart(__name__)
    Sojourn(app, "sqlite:///sessions.db")

As in Flask: the session commits before the response goes out, and what a streaming body changes is committed when the
response is over. If the application raises, and only Quart's answer of last resort (500) takes care of it, nothing is
committed. ``session.clear()`` ends the session, and what is put in afterwards begins another, under a new id.

In a WebSocket the session is live (`sojourn.sockets`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from ..asgi_family import credentials_of
from ..codec import register
from ..config import SessionConfig
from ..engine import Engine
from ..errors import MissingExtra, SessionClosed, SessionGone
from ..exchange import Answer, Exchange, followed_async
from ..flask_family import (
    FamilyExtension,
    FamilyInterface,
    FamilySession,
    StoreOrURL,
    UnavailableSession,
)
from ..manager import AsyncSessionManager
from ..session import AsyncSession
from ..sockets import Heartbeat, SocketSession, serve_socket

try:
    import quart
    from markupsafe import Markup
    from quart.sessions import SessionInterface, SessionMixin
    from quart.signals import got_request_exception, got_websocket_exception
    from quart.wrappers.response import DataBody, ResponseBody
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response as PlainResponse
except ImportError as error:
    raise MissingExtra("sojourn.adapters.quart", "quart") from error

if TYPE_CHECKING:
    from quart import Quart

__all__ = ["QuartSession", "QuartSocketSession", "Sojourn", "SojournSessionInterface", "device_routes"]

register(Markup, name="Markup")  # messages are often text of this kind


class QuartSession(FamilySession, AsyncSession, SessionMixin):  # type: ignore[override]
    """An `AsyncSession` with the attributes that Quart's users know: ``permanent``, ``new``, ``modified``, and a
    ``clear()`` that ends it."""


class QuartSocketSession(SocketSession, FamilySession, SessionMixin):  # type: ignore[override]
    """A `SocketSession`, likewise. Its ``clear()`` signs out, which closes the socket."""


class _UnavailableSession(UnavailableSession, QuartSession):  # type: ignore[override]
    """Stands in for a session that could not be loaded."""


class SojournSessionInterface(FamilyInterface, SessionInterface):
    """Sessions for a Quart application. ``manager`` holds the store and the configuration. If the store does not
    answer, the response is 503 with Retry-After, and the cookie is left alone; 409 if another writer was there and the
    configuration refuses to overwrite it; 429 to an address that guesses ids. Without the extension (`Sojourn`), a
    WebSocket's session is committed when the socket is over."""

    framework = "Quart"
    manager_class = AsyncSessionManager
    unavailable_class = _UnavailableSession
    manager: AsyncSessionManager

    def __init__(self, manager: AsyncSessionManager) -> None:
        super().__init__(manager)
        got_request_exception.connect(_forget_changes)
        got_websocket_exception.connect(_forget_changes)

    @property
    def engine(self) -> Engine:
        """The manager's operations, as coroutines."""
        return self.manager

    def response_exception(self, answer: Answer) -> HTTPException:
        """An exception that Quart answers with this response."""
        return HTTPException(response=_plain_response(answer))

    async def open_session(self, app: Quart, request: Any) -> Any:
        """Load the session of a request, or hand out that of a socket."""
        session = request.scope.get("session")
        if isinstance(session, QuartSocketSession):
            return session
        return await self.open(app, request, credentials_of(request.scope), QuartSession)

    async def save_session(self, app: Quart, session: Any, response: Any) -> None:
        """Commit, and write the headers."""
        if isinstance(session, QuartSocketSession):  # committed as the socket goes on
            return
        if response is None:  # the end of a socket
            await session.exchange.finish()
        elif await self.commit(session, response):
            if isinstance(response, quart.Response):
                response.response = _Body(response.response, session, kept=_is_kept())
            else:
                await session.exchange.finish()


class Sojourn(FamilyExtension):
    """`FamilyExtension`, and two arguments more for WebSockets: one that has the cookie of a session is refused if its
    page is of another site, and ``allowed_origins`` are origins (``https://app.example``) that may; ``heartbeat`` tells
    which messages are no activity: ``lambda message: message.get("text") == "ping"``. A manager that the extension made
    is closed when the application stops serving."""

    interface_class = SojournSessionInterface

    def __init__(
        self,
        app: Quart | None = None,
        store: StoreOrURL | None = None,
        *,
        manager: AsyncSessionManager | None = None,
        config: SessionConfig | None = None,
        allowed_origins: Collection[str] = (),
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._allowed_origins = frozenset(allowed_origins)
        self._heartbeat = heartbeat
        super().__init__(app, store, manager=manager, config=config)

    def init_app(self, app: Quart) -> None:
        """Set sessions up for this application, by its settings as they are now."""
        super().init_app(app)
        app.asgi_websocket_class = self._live(app.asgi_websocket_class)
        if self._given is None:
            manager = self.manager_of(app)
            app.before_serving(_starter(manager))
            app.after_serving(manager.close)

    def _live(self, base: Any) -> Any:
        """Quart's way to run a WebSocket, with a session around it."""
        extension = self

        class LiveConnection(base):  # type: ignore[misc]
            def __init__(self, app: Quart, scope: Any) -> None:
                super().__init__(app, scope)
                self.queue = _Messages(scope)

            async def send_data(self, send: Any, data: Any) -> None:
                await _commit(self.scope["session"])
                await super().send_data(send, data)

            async def __call__(self, receive: Any, send: Any) -> None:
                interface = cast(SojournSessionInterface, self.app.session_interface)
                exchange = Exchange(interface.manager, QuartSocketSession, interface.cookie_config(self.app))
                run = super().__call__

                async def application(scope: Any, receive: Any, send: Any) -> None:
                    interface.adopt(self.app, scope["session"], exchange)
                    await run(receive, send)

                await serve_socket(
                    exchange,
                    interface.manager,
                    application,
                    self.scope,
                    receive,
                    send,
                    credentials_of(self.scope),
                    allowed_origins=extension._allowed_origins,
                    heartbeat=extension._heartbeat,
                )

        return LiveConnection

    @property
    def manager(self) -> AsyncSessionManager:
        """The manager of the current application; outside of every application context, of the one that was set up
        last."""
        app = quart.current_app._get_current_object() if quart.has_app_context() else None  # type: ignore[attr-defined]
        return cast(AsyncSessionManager, self.manager_of(app))


def device_routes(name: str = "devices") -> quart.Blueprint:
    """A blueprint with the JSON interface of a user's devices (`sojourn.users`): ``GET`` lists, ``DELETE`` below it
    with a handle ends one, ``DELETE`` of the whole ends all others. It is found below ``/devices`` unless it is
    registered with another ``url_prefix``."""
    routes = quart.Blueprint(name, __name__, url_prefix="/devices")

    @routes.route("", methods=["GET", "DELETE"])
    @routes.route("/<handle>", methods=["DELETE"])
    async def devices(handle: str | None = None) -> PlainResponse:
        interface = cast(SojournSessionInterface, quart.current_app.session_interface)
        return _plain_response(await interface.devices(quart.session, quart.request, handle))

    return routes


# --- Parts --------------------------------------------------------------------------------------------------------


async def _forget_changes(app: Quart, **_: Any) -> None:
    """The application raised, and nobody took care of it: what it changed is not committed."""
    session: Any = quart.session._get_current_object()  # type: ignore[attr-defined]
    if isinstance(session, FamilySession) and not session.closed:
        session.exchange.forget()


class _Messages(asyncio.Queue[Any]):
    """The messages that have come in by a socket. Quart reads them ahead, in a task of its own: it is here that the
    application waits for one."""

    def __init__(self, scope: Any) -> None:
        super().__init__()
        self._scope = scope

    async def get(self) -> Any:
        await _commit(self._scope["session"])
        return await super().get()


async def _commit(session: QuartSocketSession) -> None:
    """Commit at a boundary. If the session has ended, so has the socket, which Quart learns by itself."""
    with suppress(SessionGone, SessionClosed):
        await session.commit()


class _Body(ResponseBody):
    """A body; when it has been sent, the session is finished. If it raises, what it changed is not committed. Quart's
    test client may keep the request's context for the test to look at: the session stays open with it."""

    def __init__(self, body: ResponseBody, session: Any, *, kept: bool) -> None:
        self._body = body
        self._session = session
        self._kept = kept and isinstance(body, DataBody)  # nothing of the application's runs any more

    async def __aenter__(self) -> AsyncIterable[Any]:
        return followed_async(await self._body.__aenter__(), self._session)

    async def __aexit__(self, *raised: object) -> None:
        try:
            await self._body.__aexit__(*cast(Any, raised))
        finally:
            if not self._kept:
                await self._session.exchange.finish()


def _is_kept() -> bool:
    """Whether Quart's test client keeps the request's context."""
    return quart.has_request_context() and bool(quart.request.scope.get("_quart._preserve_context"))


def _plain_response(answer: Answer) -> PlainResponse:
    return PlainResponse(answer.body, answer.status, answer.headers)


def _starter(manager: AsyncSessionManager) -> Any:
    async def start_cleaner() -> None:
        manager.start_cleaner()

    return start_cleaner
