"""ASGI: a middleware that puts a session into ``scope["session"]``, where Starlette and FastAPI look for
``request.session``. It takes the place of Starlette's own, with the same arguments.

    app.add_middleware(SessionMiddleware, manager=AsyncSessionManager("sqlite:///sessions.db"))

The session commits before the first byte of the response, so that who has read the response finds it in the store. What
a streaming body or a background task changes later is committed when the application returns; then the object is dead.
If the application raises before it responds, nothing is committed. A WebSocket has the same session, live
(`sojourn.sockets`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from types import EllipsisType
from typing import Final, Literal

from msgspec.structs import replace

from ..asgi_family import ASGISession, ASGISocketSession, Responding, credentials_of, respond
from ..config import SessionConfig
from ..errors import ConfigurationError
from ..exchange import ANSWERED, Answer, Credentials, Exchange, Headers, answer_for, chosen_cookie
from ..manager import AsyncSessionManager
from ..sockets import ASGIApp, Heartbeat, Message, Receive, Scope, Send, serve_socket
from ..users import devices_answer

__all__ = ["ASGISession", "ASGISocketSession", "SessionMiddleware", "device_routes"]

log = logging.getLogger("sojourn")

_AT_ONCE: Final = 1e-6  # seconds: the age of sessions that are over when they have begun


class SessionMiddleware:
    """Sessions for an ASGI application.

    ``manager`` holds the store and the configuration, cookie included; who made it closes it. In its place ``store``
    may be a URL, or nothing: then it is the environment's ``SOJOURN_STORE``, or else the memory of this process; that
    manager is closed when the application shuts down.

    ``session_cookie``, ``path``, ``same_site``, ``https_only``, ``domain`` and ``partitioned`` are Starlette's and win
    over the configuration where they are given; ``max_age`` (seconds) is the lifetime of sessions and of their cookies,
    None ends cookies with the browser. Where that is weaker than Sojourn's defaults, a warning is logged. What is not
    given is Sojourn's default, not Starlette's. ``secret_key`` is not needed: nothing is signed, as ids are random.

    If the store does not answer, the response is 503 with Retry-After, and the cookie is left alone; 409 if another
    writer was there and the configuration refuses to overwrite it; 429 to an address that guesses ids.

    A WebSocket with the cookie of a session is refused if its page is of another site; ``allowed_origins`` are origins
    (``https://app.example``) that may. ``heartbeat`` tells which messages of a socket are no activity:
    ``lambda message: message.get("text") == "ping"``."""

    def __init__(
        self,
        app: ASGIApp,
        secret_key: object = None,
        session_cookie: str | None = None,
        max_age: int | EllipsisType | None = ...,
        path: str | None = None,
        same_site: Literal["lax", "strict", "none"] | None = None,
        https_only: bool | None = None,
        domain: str | None = None,
        partitioned: bool | None = None,
        *,
        manager: AsyncSessionManager | None = None,
        store: str | None = None,
        allowed_origins: Collection[str] = (),
        heartbeat: Heartbeat | None = None,
    ) -> None:
        if isinstance(secret_key, AsyncSessionManager):
            raise ConfigurationError("hand the manager in by its name: SessionMiddleware(app, manager=...)")
        if manager is not None and not isinstance(manager, AsyncSessionManager):
            raise ConfigurationError(f"SessionMiddleware needs an AsyncSessionManager, not {type(manager).__name__}")
        if manager is not None and (store is not None or max_age is not ...):
            raise ConfigurationError("store and max_age are for the middleware's own manager: set them on yours")
        self.app = app
        self._owned = manager is None
        self.manager = manager or _manager(store, max_age)
        self._cookie = chosen_cookie(
            self.manager.config.cookie,
            "SessionMiddleware",
            name=session_cookie,
            path=path,
            samesite=same_site,
            secure=https_only,
            domain=domain,
            partitioned=partitioned,
        )
        self._https_only = https_only is True
        self._allowed_origins = frozenset(allowed_origins)
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await serve_socket(
                _Exchange(self.manager, ASGISocketSession, self._cookie),
                self.manager,
                self.app,
                scope,
                receive,
                send,
                self._credentials(scope),
                allowed_origins=self._allowed_origins,
                heartbeat=self._heartbeat,
            )
        elif scope["type"] == "lifespan" and self._owned:
            await self.app(scope, receive, self._until_shutdown(send))
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(self.manager, ASGISession, self._cookie)
        try:
            scope["session"] = session = await exchange.begin(self._credentials(scope))
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            await respond(send, answer_for(error))
            return
        try:
            await self.app(scope, receive, Responding(exchange, send))
        except BaseException:  # the client that has gone away, too: nothing is committed
            session.close()
            raise
        await exchange.finish()

    def _credentials(self, scope: Scope) -> Credentials:
        """What is shown. Where the application itself asks for https, test clients get no cookie without it either."""
        credentials = credentials_of(scope)
        return replace(credentials, secure=True) if self._https_only else credentials

    def _until_shutdown(self, send: Send) -> Send:
        """Close the manager that is ours when the application has shut down."""

        async def sends(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.manager.start_cleaner()
            elif message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.manager.close()
            await send(message)

        return sends


class _Exchange(Exchange):
    """An exchange whose cookie is spelled as Starlette spells it: what applications' tests look for."""

    async def commit(self) -> Headers:
        return [(name, _respelled(value) if name == "Set-Cookie" else value) for name, value in await super().commit()]


def device_routes(manager: AsyncSessionManager) -> ASGIApp:
    """The JSON interface of a user's devices (`sojourn.users`), to be mounted somewhere behind the middleware, as in
    ``app.mount("/devices", device_routes(manager))``: ``GET`` lists, ``DELETE`` below it with a handle ends one,
    ``DELETE`` of the whole ends all others."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": ""})  # which refuses the handshake
            return
        method = scope["method"]
        if method not in ("GET", "DELETE"):
            headers = [("Allow", "GET, DELETE"), ("Content-Length", "0")]
            await respond(send, Answer(405, "Method Not Allowed", headers, b""))
            return
        handle = scope["path"].removeprefix(scope.get("root_path", "")).strip("/") or None
        token = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-csrf-token"), "")
        await respond(send, await devices_answer(manager, scope["session"], method, handle, token))

    return application


def _manager(store: str | None, max_age: int | EllipsisType | None) -> AsyncSessionManager:
    """The middleware's own manager."""
    url = store or os.environ.get("SOJOURN_STORE", "")
    if not url:
        log.warning(
            "sessions are kept in the memory of this process alone: hand in store='sqlite:///sessions.db', or set "
            "SOJOURN_STORE"
        )
    if max_age is None or max_age is ...:
        return AsyncSessionManager(url or "memory://")
    default = SessionConfig().idle_timeout
    if max_age > default:
        log.warning(
            "SessionMiddleware's settings are weaker than Sojourn's defaults: a session lives for %d seconds without "
            "activity, in place of %d, and its cookie outlives the browser",
            max_age,
            default,
        )
    lifetime = max(max_age, _AT_ONCE)
    config = SessionConfig(idle_timeout=lifetime, absolute_timeout=lifetime, persistent=True)
    return AsyncSessionManager(url or "memory://", config=config)


def _respelled(set_cookie: str) -> str:
    """The names of attributes in small letters, but for ``Max-Age``. Browsers do not tell them apart."""
    pair, *attributes = set_cookie.split("; ")
    split = (attribute.partition("=") for attribute in attributes)
    spelled = (("Max-Age" if name == "Max-Age" else name.lower()) + is_ + value for name, is_, value in split)
    return "; ".join([pair, *spelled])
