"""Quart, for `sites`; and, for tests of its own ways, an application of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import quart
from quart.testing.connections import TestWebsocketConnection as Connection

from sites import Pairs, Response, Site, _Starlette
from sojourn import AsyncSessionManager
from sojourn.adapters.quart import Sojourn, SojournSessionInterface
from sojourn.stores.memory import MemoryStore
from worlds import Through

_TIMEOUT = 10  # seconds after which a socket has hung


class _Quart(_Starlette):
    kind = "quart"

    def _application(self) -> quart.Quart:
        app = quart.Quart(__name__)
        app.logger.disabled = True
        app.session_interface = SojournSessionInterface(self.manager)
        app.add_url_rule("/<path:name>", view_func=self._view)
        app.register_error_handler(500, self._sorry)
        return app

    async def _view(self, name: str) -> quart.Response:
        session: Any = quart.session._get_current_object()  # type: ignore[attr-defined]
        reply = await asyncio.to_thread(self._perform, name, lambda: session)
        response = quart.Response(reply.body, reply.status)
        response.headers.extend(reply.headers)
        return response

    def _send(self, path: str, query: str, sent: Pairs) -> Response:
        # No server lets a line break in a header through, and Quart's own class for headers would fail over one.
        return super()._send(path, query, [(name, re.sub(r"[\r\n]", " ", value)) for name, value in sent])

    async def _sorry(self, error: Any) -> tuple[str, int]:
        self.errors.append(error.original_exception)
        return "sorry", 500


KINDS: dict[str, type[Site]] = {"quart": _Quart}


class _Connects(Connection):
    """Quart's own test connection, which says first, as a server does, that somebody connects; and keeps what the
    handshake was answered with."""

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, scope)
        self.set_cookie: list[str] = []
        self._send_queue.put_nowait({"type": "websocket.connect"})

    async def _asgi_send(self, message: Any) -> None:
        if message["type"] == "websocket.accept":
            self.set_cookie = [value.decode() for name, value in message["headers"] if name == b"set-cookie"]
        await super()._asgi_send(message)

    async def receive(self) -> str | bytes:
        return await asyncio.wait_for(super().receive(), _TIMEOUT)

    async def __aexit__(self, *raised: object) -> None:
        async with asyncio.timeout(_TIMEOUT):
            await super().__aexit__(*raised)


class Application:
    """A Quart application with the extension, over a store that can be made to fail."""

    def __init__(self) -> None:
        self.store = Through(MemoryStore())
        self.manager = AsyncSessionManager(self.store)
        self.app = quart.Quart(__name__)
        self.app.logger.disabled = True
        Sojourn(self.app, manager=self.manager, allowed_origins=["https://partner.example"])
        self.client = self.app.test_client()
        self.client.websocket_connection_class = _Connects
        self.errors: list[BaseException] = []

    def view(self, path: str, view: Callable[[Any], Any]) -> None:
        """A route that runs a function of its session."""

        async def run() -> str:
            return str(view(quart.session))

        self.app.add_url_rule(path, path, run)

    def socket(self, path: str, handler: Callable[[Any], Any]) -> None:
        """A socket that runs a coroutine function of its session, and keeps the error that it ends with."""

        async def run() -> None:
            try:
                await handler(quart.session._get_current_object())  # type: ignore[attr-defined]
            except Exception as error:
                self.errors.append(error)
                raise

        self.app.add_websocket(path, path, run)

    async def get(self, path: str) -> str:
        return await (await self.client.get(path)).get_data(as_text=True)

    async def leave(self) -> None:
        await self.manager.close()
