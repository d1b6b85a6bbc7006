"""This machine's browsers only: a middleware in plain ASGI.

The demo and the dashboard's command speak http on a loopback address. A request for any other host is refused: another
site could point its own name at 127.0.0.1 (DNS rebinding). That sockets are opened by our own pages alone is the live
app's own affair.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from ..cookie import is_loopback
from ..sockets import ASGIApp, Receive, Scope, Send, refuse

__all__ = ["Loopback"]

_REFUSAL = "This answers on its own machine only: open it as http://127.0.0.1 and its port.\n"


class Loopback:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_loopback(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse(scope, receive, send)
        else:
            await PlainTextResponse(_REFUSAL, 403)(scope, receive, send)
