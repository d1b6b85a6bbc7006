"""What the gate answers in the application's place, and the headers that every answer has."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from ..asgi_family import respond
from ..exchange import Answer
from ..live.protocol import Ended, encode
from ..sockets import POLICY, ASGIApp, Message, Receive, Scope, Send
from .guards import header

__all__ = ["UNDECIDED", "forbidden", "hardened", "over", "refused", "see", "sending"]

_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # not "no-referrer": browsers would say "Origin: null" of our own forms, then
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{sockets}; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def refused(status: int, reason: str) -> Answer:
    """The answer to a handshake that is refused."""
    headers = [("Content-Length", "0"), ("Cache-Control", "no-store")]
    if status == 503:
        headers.append(("Retry-After", "1"))
    return Answer(status, reason, headers, b"")


UNDECIDED: Final = refused(503, "Service Unavailable")
"""While nobody can tell whether there is the right."""


def sending(answer: Answer) -> ASGIApp:
    """An answer as an application that gives it."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, answer)

    return app


def forbidden(why: str) -> Response:
    """403, and why."""
    return PlainTextResponse(f"Forbidden: {why}\n", 403)


def over(status: int) -> Response:
    """What a page that asks by exchanges (`sojourn.live.exchanging`) takes for the end of its session."""
    frame = encode(Ended("unknown"))
    return Response(f'{{"frames":[{frame}],"close":{POLICY}}}', status, media_type="application/json")


def see(path: str) -> Response:
    """Sends a browser to another page of this site."""
    return RedirectResponse(path, 303)


def hardened(scope: Scope, send: Send) -> Send:
    """``send``, with the headers that every answer has. They stand in place of the application's own."""

    async def harden(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {**_ALWAYS, "content-security-policy": _policy(scope)}
            kept = [one for one in message.get("headers", ()) if one[0].decode("latin-1").lower() not in headers]
            added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return harden


def _policy(scope: Scope) -> str:
    host = header(scope, b"host")
    named = _HOST.fullmatch(host) is not None  # older browsers do not take 'self' for the sockets of a host
    return _POLICY.format(sockets=f" ws://{host} wss://{host}" if named else "")
