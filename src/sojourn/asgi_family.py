"""What adapters of ASGI frameworks have in common: the session classes of Starlette's family, what a scope shows,
and a response with its session.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .exchange import ANSWERED, Answer, Credentials, Exchange, Headers, StartsOver, answer_for
from .session import STATE, AsyncSession, BaseSession
from .sockets import Message, Scope, Send, SocketSession

__all__ = ["ASGISession", "ASGISocketSession", "Responding", "credentials_of", "respond"]

log = logging.getLogger("sojourn")

_NO_STRING: Final = object()


class _Marks(BaseSession):
    """What Starlette's own session class can be told, and has no need to be."""

    __slots__ = ()

    def mark_accessed(self) -> None:
        """Note that the response depends on the session. Starlette calls it for ``request.session``."""
        self.accessed = True

    def mark_modified(self) -> None:
        """`mark_accessed`; what is modified is told from the values."""
        self.accessed = True


if TYPE_CHECKING:

    class _PassesForDict:
        """To a type checker it is a mapping."""

else:

    class _PassesForDict(dict):
        """Starlette's session is a dict, and ``json.dumps`` takes nothing else. Nothing is ever in the dict itself but
        a key that is no string, so that whoever reads it past the session's methods fails, and does not find it
        empty."""

        __slots__ = ()

        def __new__(cls, *_args, **_named):
            made = dict.__new__(cls)
            dict.__setitem__(made, _NO_STRING, None)
            return made

        __ne__ = object.__ne__


class ASGISession(_Marks, StartsOver, AsyncSession, _PassesForDict):
    """An `AsyncSession` with what Starlette's users know: ``session.clear()`` signs out, and what is put in afterwards
    begins another session. It passes for a dict."""

    __slots__ = (*STATE, "exchange")


class ASGISocketSession(_Marks, SocketSession):
    """A `SocketSession`, likewise."""

    __slots__ = ()


class Responding:
    """The application's ``send``: commits when the response starts, and adds the headers. If the session cannot be kept
    (`ANSWERED`), another answer goes out in place of the response."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self._refused = False

    async def __call__(self, message: Message) -> None:
        if self._refused:
            return  # another answer went out
        if message["type"] == "http.response.start":
            try:
                message = await self.start(message)
            except ANSWERED as error:
                log.warning("a session could not be committed: %s", error)
                self._refused = True
                self._exchange.session.close()
                await respond(self._send, answer_for(error))
                return
        await self._send(message)

    async def start(self, message: Message) -> Message:
        """Commit; the message with the headers added. The application's own stays as it is: a cache of responses below
        may have kept it, and would show one visitor's cookie to another."""
        added = await self._exchange.commit()
        if not self._exchange.session.accessed and not added:
            return message
        return {**message, "headers": _encoded(self._exchange.private(_decoded(message.get("headers", ())), added))}


async def respond(send: Send, answer: Answer) -> None:
    """Respond in the application's place."""
    await send({"type": "http.response.start", "status": answer.status, "headers": _encoded(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})


def credentials_of(scope: Scope) -> Credentials:
    """What a request, or the handshake of a WebSocket, shows of who it is."""
    cookies: list[str] = []
    authorization: list[str] = []
    host = ""
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookies.append(value.decode("latin-1"))
        elif name == b"host":
            host = value.decode("latin-1")
        elif name == b"authorization":
            authorization.append(value.decode("latin-1"))
    client = scope.get("client")
    return Credentials(
        cookies,
        authorization,
        query=scope.get("query_string", b"").decode("latin-1"),
        host=host,
        secure=scope.get("scheme") in ("https", "wss"),
        client=client[0] if client else "",
        socket=scope["type"] == "websocket",
    )


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
