"""ASGI: a middleware that puts a session into ``scope["session"]``, where Starlette and FastAPI look for
``request.session``.

    app.add_middleware(SessionMiddleware, manager=AsyncSessionManager("sqlite:///sessions.db"))

The session commits before the first byte of the response, so that who has read the response finds it in the store. What
a streaming body or a background task changes later is committed when the application returns; then the object is dead.
If the application raises before it responds, nothing is committed. WebSockets pass through.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ..errors import ConfigurationError
from ..exchange import ANSWERED, Answer, Exchange, answer_for, with_privacy
from ..manager import AsyncSessionManager

__all__ = ["SessionMiddleware"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
log = logging.getLogger("sojourn")


class SessionMiddleware:
    """Sessions for an ASGI application. ``manager`` holds the store and the configuration, cookie included; who made it
    closes it. If the store does not answer, the response is 503 with Retry-After, and the cookie is left alone; 409 if
    another writer was there and the configuration refuses to overwrite it."""

    def __init__(self, app: ASGIApp, manager: AsyncSessionManager) -> None:
        if not isinstance(manager, AsyncSessionManager):
            raise ConfigurationError(f"SessionMiddleware needs an AsyncSessionManager, not {type(manager).__name__}")
        self.app = app
        self.manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        cookies, host = _request_headers(scope)
        exchange = Exchange(self.manager)
        try:
            scope["session"] = session = await exchange.begin(cookies, host)
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            await _respond(send, answer_for(error))
            return
        responding = _Responding(exchange, send)
        try:
            await self.app(scope, receive, responding)
        except BaseException:
            session.close()
            raise
        await exchange.finish()


class _Responding:
    """The application's ``send``: commits when the response starts, and adds the headers."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self._refused = False

    async def __call__(self, message: Message) -> None:
        if self._refused:
            return  # another answer went out in place of this response
        if message["type"] == "http.response.start":
            try:
                added = await self._exchange.commit()
            except ANSWERED as error:
                log.warning("a session could not be committed: %s", error)
                self._refused = True
                self._exchange.session.close()
                await _respond(self._send, answer_for(error))
                return
            looked_at = self._exchange.session.accessed
            if looked_at or added:
                headers = _decoded(message.get("headers", ()))
                message["headers"] = _encoded(with_privacy(headers, looked_at=looked_at, added=added))
        await self._send(message)


def _request_headers(scope: Scope) -> tuple[list[str], str]:
    cookies: list[str] = []
    host = ""
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookies.append(value.decode("latin-1"))
        elif name == b"host":
            host = value.decode("latin-1")
    return cookies, host


async def _respond(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": _encoded(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
