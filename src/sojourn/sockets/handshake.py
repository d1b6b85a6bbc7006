"""Who is let in: the session of a handshake, and where its page comes from."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import cast
from urllib.parse import urlsplit

from ..cookie import host_name
from ..engine import Engine
from ..exchange import ANSWERED, Answer, Credentials, Exchange, answer_for
from .messages import AGAIN, POLICY, ASGIApp, Heartbeat, Receive, Scope, Send, reject
from .socket import Socket, SocketSession

__all__ = ["is_ours", "refuse", "serve_socket"]

log = logging.getLogger("sojourn")


async def serve_socket(
    exchange: Exchange,
    engine: Engine,
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    credentials: Credentials,
    *,
    allowed_origins: Collection[str] = (),
    heartbeat: Heartbeat | None = None,
) -> None:
    """Run an application for one WebSocket, with its session in ``scope["session"]``: the exchange's, which must be of
    a `SocketSession`. The handshake is answered with 503 if the session cannot be loaded, and with 403 if the cookie
    comes with a page of another site (an ``Origin`` that is neither the host's nor among those allowed)."""
    try:
        session = cast(SocketSession, await exchange.begin(credentials))
    except ANSWERED as error:
        log.warning("the session of a socket could not be loaded: %s", error)
        await reject(scope, receive, send, answer_for(error), AGAIN)
        return
    if exchange.transport == "cookie" and session.stored and not is_ours(scope, credentials.host, allowed_origins):
        session.close()
        await refuse(scope, receive, send)
        return
    socket = Socket(engine, exchange, scope, receive, send, heartbeat)
    session.socket = socket
    scope["session"] = session
    await socket.run(app)


def is_ours(scope: Scope, host: str, allowed: Collection[str]) -> bool:
    """Whether the page that opens a socket is of this host, on whatever port: cookies do not tell ports apart either.
    What has no ``Origin`` is no browser. If it is not, that is logged."""
    origin = _header(scope, b"origin")
    if not origin or origin in allowed:
        return True
    try:
        name = host_name(urlsplit(origin).netloc)
        ours = bool(name) and name == host_name(host)
    except ValueError:
        ours = False
    if not ours:
        log.warning(
            "a socket was refused: its page is of %s and the host is %s. If both are yours, set allowed_origins, or "
            "have the proxy pass on the Host header",
            origin,
            host,
        )
    return ours


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a handshake with 403."""
    await reject(scope, receive, send, Answer(403, "Forbidden", [("Content-Length", "0")], b""), POLICY)


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")
