"""When a request's session is loaded and committed; what Litestar's ways of changing it mean; the routes of a user's
devices.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec
from litestar import Request, Response, Router, delete, get
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, WebSocketException
from litestar.middleware.session.base import BaseBackendConfig, BaseSessionBackend, SessionMiddleware
from litestar.types import Empty

from ...asgi_family import Responding, credentials_of, respond
from ...cookie import TEST_HOST, host_name
from ...errors import ConfigurationError
from ...exchange import ANSWERED, Credentials, Exchange, answer_for, chosen_cookie
from ...manager import AsyncSessionManager
from ...session import BaseSession
from ...sockets import Heartbeat, SocketSession, serve_socket
from ...users import devices_answer
from .session import LitestarSession, LitestarSocketSession, Ways

if TYPE_CHECKING:
    from litestar.middleware import DefineMiddleware
    from litestar.types import Message, Receive, Scope, Scopes, Send

__all__ = [
    "SojournSessionBackend",
    "SojournSessionConfig",
    "SojournSessionMiddleware",
    "device_routes",
    "session_of",
]

log = logging.getLogger("sojourn")

_TEST_CLIENT: Final = "testserver.local"  # what Litestar's test client calls itself


class SojournSessionConfig(BaseBackendConfig["SojournSessionBackend"]):
    """The configuration of Litestar's session middleware: ``middleware=[SojournSessionConfig(manager).middleware]``, or
    ``SessionAuth(session_backend_config=SojournSessionConfig(manager), ...)``.

    ``manager`` holds the sessions and the configuration, cookie included; who made it closes it, as in
    ``lifespan=[manager]``. ``key`` (sent as it is), ``path``, ``domain``, ``secure``, ``httponly`` and ``samesite`` are
    Litestar's and win over the configuration where they are given; ``max_age`` (seconds) is the lifetime of the
    sessions that begin, or sign in, from now on, and of their cookies. Where that is weaker than Sojourn's defaults, a
    warning is logged. ``exclude``, ``exclude_opt_key`` and ``scopes`` are as for any of Litestar's.

    ``user_key`` is the field in which the application names who is signed in; None: it does so by `login` alone.

    A WebSocket with the cookie of a session is refused if its page is of another site; ``allowed_origins`` are origins
    that may. ``heartbeat`` tells which messages of a socket are no activity."""

    def __init__(
        self,
        manager: AsyncSessionManager,
        *,
        key: str | None = None,
        max_age: int | None = None,
        scopes: Scopes | None = None,
        path: str | None = None,
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool | None = None,
        samesite: Literal["lax", "strict", "none"] | None = None,
        exclude: str | list[str] | None = None,
        exclude_opt_key: str = "skip_session",
        user_key: str | None = "user_id",
        allowed_origins: Collection[str] = (),
        heartbeat: Heartbeat | None = None,
    ) -> None:
        if not isinstance(manager, AsyncSessionManager):
            raise ConfigurationError(f"SojournSessionConfig needs an AsyncSessionManager, not {type(manager).__name__}")
        if max_age is not None and max_age < 1:
            raise ConfigurationError(f"max_age must be a number of seconds above 0, not {max_age!r}")
        idle = manager.config.idle_timeout
        if max_age is not None and max_age > idle:
            log.warning(
                "SojournSessionConfig's settings are weaker than the manager's configuration: a session lives for %d "
                "seconds without activity, in place of %d, and its cookie outlives the browser",
                max_age,
                idle,
            )
        self._backend_class = SojournSessionBackend
        self.manager = manager
        self.cookie = cookie = chosen_cookie(
            manager.config.cookie,
            "SojournSessionConfig",
            name=key,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )
        self.lifetime = max_age
        self.max_age = max_age or int(manager.config.absolute_timeout)
        self.scopes = scopes or {ScopeType.HTTP, ScopeType.WEBSOCKET}
        self.key, self.path, self.domain = cookie.full_name, cookie.path, cookie.domain
        self.secure, self.httponly = not cookie.insecure, cookie.httponly
        self.samesite = cast(Literal["lax", "strict", "none"], cookie.samesite.lower())
        self.exclude = exclude
        self.exclude_opt_key = exclude_opt_key
        self.user_key = user_key
        self.allowed_origins = frozenset(allowed_origins)
        self.heartbeat = heartbeat

    @property
    def middleware(self) -> DefineMiddleware:
        """What goes into the ``middleware`` of a Litestar application, or of any layer of it."""
        defined = super().middleware
        defined.middleware = SojournSessionMiddleware
        return defined


class SojournSessionBackend(BaseSessionBackend[SojournSessionConfig]):
    """Sessions from beside a request: what Litestar's test client looks at and prepares them with
    (``TestClient(app, session_config=...)``)."""

    def get_session_id(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
        """The session's public name, which ``request.get_session_id()`` returns, too: the id itself is the client's
        secret. None for a visitor who has no session."""
        session: object = connection.scope.get("session")  # Litestar's own types know no such session
        return session.record.handle if isinstance(session, BaseSession) and session.stored else None

    async def load_from_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, Any]:
        """The fields of the session that this connection shows; empty if there is none. No activity. Raises
        `StoreError`."""
        session = await Exchange(self.config.manager, LitestarSession, self.config.cookie).begin(_shown_by(connection))
        return session.to_dict()

    async def store_in_message(self, scope_session: Any, message: Message, connection: Any) -> None:
        """Replace what is in the session that this connection shows, and add what the client is to be told to the
        response's headers. `Empty` ends the session. Raises as `AsyncSession.save`."""
        exchange = Exchange(self.config.manager, LitestarSession, self.config.cookie)
        await exchange.begin(_shown_by(connection))
        connection.scope["session"] = scope_session
        _Settling(self.config, exchange, connection).settle()
        headers = MutableScopeHeaders.from_message(message)
        for name, value in await exchange.commit():
            headers.add(name, value)
        exchange.session.close()


class SojournSessionMiddleware(SessionMiddleware[SojournSessionBackend]):
    """Litestar's session middleware, with sessions that commit. If the store does not answer, the response is 503 with
    Retry-After, and the cookie is left alone; 409 if another writer was there and the configuration refuses to
    overwrite it; 429 to an address that guesses ids."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket with its session in ``scope["session"]``."""
        connection = ASGIConnection[Any, Any, Any, Any](scope)
        if scope["type"] == ScopeType.WEBSOCKET:
            await self._serve_socket(connection, receive, send)
            return
        config = self.backend.config
        exchange = Exchange(config.manager, LitestarSession, config.cookie)
        try:
            session = await exchange.begin(_credentials(connection))
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            await respond(cast(Any, send), answer_for(error))
            return
        settling = _Settling(config, exchange, connection)
        settling.put_in()
        try:
            await self.app(scope, receive, cast(Any, _Answering(settling, cast(Any, send))))
            settling.settle()
        except BaseException:  # the client that has gone away, too: nothing is committed
            session.close()
            raise
        await exchange.finish()

    async def _serve_socket(self, connection: ASGIConnection[Any, Any, Any, Any], receive: Receive, send: Send) -> None:
        config = self.backend.config
        exchange = Exchange(config.manager, LitestarSocketSession, config.cookie)
        settling = _Settling(config, exchange, connection)

        async def application(scope: Any, receive: Any, send: Any) -> None:
            settling.put_in()

            async def receives() -> Any:
                settling.settle()
                return await receive()

            async def sends(message: Any) -> None:
                if message["type"] == "websocket.close":
                    settling.forget_failed()
                settling.settle()
                await send(message)

            await self.app(scope, receives, sends)
            settling.settle()

        await serve_socket(
            exchange,
            config.manager,
            application,
            cast(Any, connection.scope),
            cast(Any, receive),
            cast(Any, send),
            _credentials(connection),
            allowed_origins=config.allowed_origins,
            heartbeat=config.heartbeat,
        )


class _Settling:
    """What an application did in Litestar's ways, done to the session: before a commit, and as often as one likes."""

    def __init__(
        self, config: SojournSessionConfig, exchange: Exchange, connection: ASGIConnection[Any, Any, Any, Any]
    ) -> None:
        self.exchange = exchange
        self.state = connection._connection_state  # what `clear_session` leaves its mark in
        self._config = config
        self._scope = cast(dict[str, Any], connection.scope)
        self._handling = sys.exception()

    def put_in(self) -> None:
        """Put the session where Litestar looks for it."""
        session = self.exchange.session
        self._scope["session"] = session
        self.state.session_id = session.record.handle if session.stored else None

    def settle(self) -> None:
        """Take in what ``set_session`` and ``clear_session`` left in the scope; follow the user."""
        session = self.exchange.session
        if session.closed:
            return
        found, cleared = self._scope.get("session"), self.state.session_id is Empty
        if found is not session or cleared:
            self._take_in(session, None if found is session or found is Empty else found, cleared or found is Empty)
        if isinstance(session, LitestarSession) and not session.untouched:
            if self._config.user_key is not None:
                session.follow_user(self._config.user_key)
            self._set_lifetime(session)

    def forget_failed(self) -> None:
        """A handler has raised what nobody foresaw, and the framework is about to tell the client: nothing of what it
        changed is to be committed."""
        error = sys.exception()
        if error is self._handling or error is None or isinstance(error, (HTTPException, WebSocketException)):
            return
        if isinstance(error, ANSWERED) and self._scope["type"] == "websocket":
            raise error  # for `serve_socket` to close the socket by
        if not self.exchange.session.closed:
            self.exchange.forget()
            self._scope["session"] = self.exchange.session
            self.state.session_id = None

    def _take_in(self, session: BaseSession, value: Any, cleared: bool) -> None:
        self.put_in()
        session.accessed = True
        if isinstance(session, SocketSession):
            if cleared and not session.ended:
                session.end()
        elif cleared or session.ended:
            self.exchange.start_over()
        if value is not None and not session.ended:
            cast(Ways, session).replace(_fields_of(value, self._scope))

    def _set_lifetime(self, session: LitestarSession) -> None:
        lifetime, wanted = self._config.lifetime, session.amendment
        signs_in = wanted is not None and wanted.login
        if lifetime is None or session.ended or not (signs_in or (not session.stored and session.modified)):
            return
        chosen = wanted is not None and wanted.persistent is not None
        session.set_timeouts(idle=lifetime, absolute=lifetime, persistent=None if chosen else True)


class _Answering(Responding):
    """Litestar's ``send`` for a request."""

    def __init__(self, settling: _Settling, send: Any) -> None:
        super().__init__(settling.exchange, send)
        self._settling = settling

    async def start(self, message: Any) -> Any:
        try:
            if message["status"] >= 500:
                self._settling.forget_failed()
            self._settling.settle()
            return await super().start(message)
        except ANSWERED:
            raise
        except Exception:  # the application's own: a value that cannot be kept
            # Nothing has gone out: Litestar's error handling may respond, which takes a response that was handed over
            # for one that has begun.
            self._settling.state.response_started = False
            self._settling.exchange.forget()
            raise


def session_of(connection: ASGIConnection[Any, Any, Any, Any]) -> LitestarSession:
    """The session of a request, as what it is: to Litestar's types ``request.session`` is a dict. `ConfigurationError`
    if there is none: another middleware's, or one that ``set_session`` has put something else in the place of."""
    session: object = connection.session
    if not isinstance(session, LitestarSession):
        raise ConfigurationError(f"request.session is no session of Sojourn's here, but a {type(session).__name__}")
    return session


def device_routes(config: SojournSessionConfig, path: str = "/devices") -> Router:
    """The JSON interface of a user's devices (`sojourn.users`), for the ``route_handlers`` of an application that has
    these sessions: ``GET`` lists, ``DELETE`` below it with a handle ends one, ``DELETE`` of the whole ends all
    others."""

    async def answer(request: Request[Any, Any, Any], method: str, handle: str | None) -> Response[bytes]:
        token = request.headers.get("x-csrf-token", "")
        session = cast(BaseSession, request.session)
        made = await devices_answer(config.manager, session, method, handle, token)
        return Response(made.body, status_code=made.status, headers=dict(made.headers))

    @get("/")
    async def list_devices(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await answer(request, "GET", None)

    @delete("/", status_code=200)
    async def end_other_devices(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await answer(request, "DELETE", None)

    @delete("/{handle:str}", status_code=200)
    async def end_device(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await answer(request, "DELETE", request.path_params["handle"])

    return Router(path, route_handlers=[list_devices, end_other_devices, end_device])


def _credentials(connection: ASGIConnection[Any, Any, Any, Any]) -> Credentials:
    shown = credentials_of(cast(Any, connection.scope))
    if host_name(shown.host) == _TEST_CLIENT:
        return msgspec.structs.replace(shown, host=TEST_HOST)
    return shown


def _shown_by(connection: ASGIConnection[Any, Any, Any, Any]) -> Credentials:
    """As `_credentials`, of a connection that may have no headers, and cookies nevertheless: the test client's."""
    shown = _credentials(connection)
    if not shown.cookies:
        cookies = [f"{name}={value}" for name, value in connection.cookies.items()]
        server = connection.scope.get("server")
        shown = msgspec.structs.replace(shown, cookies=cookies, host=shown.host or (server[0] if server else ""))
    return shown


def _fields_of(value: Any, scope: Any) -> Mapping[str, Any]:
    """The fields in what was handed to ``set_session``: a model is taken as Litestar's own sessions keep it, in the
    words of JSON."""
    if isinstance(value, Mapping):
        return value
    return BaseSessionBackend.deserialize_data(BaseSessionBackend.serialize_data(value, scope))
