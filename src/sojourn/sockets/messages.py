"""ASGI's messages, as far as a socket needs them, and the answer to a handshake in place of the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from ..exchange import Answer

__all__ = [
    "AGAIN",
    "POLICY",
    "ASGIApp",
    "Heartbeat",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "answer_handshake",
    "reject",
]

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Heartbeat: TypeAlias = Callable[[Message], bool]
"""Whether a message that came in is no activity of the visitor's."""

POLICY: Final = 1008
"""The close code for who may not stay (RFC 6455, section 7.4.1)."""

AGAIN: Final = 1013
"""And for who may come again later."""


async def reject(scope: Scope, receive: Receive, send: Send, answer: Answer, code: int) -> None:
    """Answer a handshake in place of the application."""
    await receive()  # websocket.connect
    await answer_handshake(scope, send, answer, code)


async def answer_handshake(scope: Scope, send: Send, answer: Answer, code: int) -> None:
    """A response to a handshake, where the server can send one; else it makes a 403 of the close."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": code, "reason": ""})
        return
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
