"""Who may send a request, and what a browser may do with the answer: a middleware in plain ASGI.

- The demo speaks http on a loopback address only. A request for any other host is refused: another site could point
  its own name at 127.0.0.1 (DNS rebinding).
- A request that may change something must come from one of our own pages. SameSite=Lax says so already; this says it
  where no cookie is needed, too.
- The pages run no inline script and load nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..cookie import is_loopback

__all__ = ["Guard", "refusal"]

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # not "no-referrer": a form would then send "Origin: null"
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SAFE: Final = frozenset({"GET", "HEAD"})


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        problem = refusal(scope["method"], _texts(scope["headers"]))
        if problem:
            await _refuse(problem, with_headers)
        else:
            await self.app(scope, receive, with_headers)


def refusal(method: str, headers: MutableMapping[str, str]) -> str:
    """Why a request is refused; empty if it may pass."""
    host = headers.get("host", "")
    if not is_loopback(host):
        return "The demo answers on this machine only: open it as http://127.0.0.1 and its port."
    if method in _SAFE:
        return ""
    site = headers.get("sec-fetch-site")  # older browsers send Origin alone, and every browser sends that with a POST
    same = headers.get("origin") == f"http://{host}" if site is None else site == "same-origin"
    return "" if same else "This request does not come from a page of the demo."


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


async def _refuse(problem: str, send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": problem.encode()})
