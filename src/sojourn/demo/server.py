"""From a port to a running demo: one process, on the loopback address only."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import socket
import threading
import webbrowser
from contextlib import suppress
from typing import Final

import uvicorn

from ..cli.humane import safe
from ..cli.naming import public
from ..cli.parsing import DEMO_PORT, DEMO_STORE
from ..live import App
from ..live.loopback import Loopback
from ..live.running import AnnouncingServer, listen, options_for
from .app import make_app
from .devices import follow
from .online import keep_count

__all__ = ["serve"]

log = logging.getLogger("sojourn")

_HOST: Final = "127.0.0.1"
_LONGEST_FRAME: Final = 64 * 1024  # bytes that the app takes


def serve(*, port: int, store: str, browser: bool, as_json: bool = False) -> int:
    """Serve the demo until it is stopped. Port 0 takes any free one. Returns the exit code."""
    listening = listen(_HOST, port)
    with listening:
        port = listening.getsockname()[1]
        app, here = make_app(store, _command(port, public(store)), public(store))
        url = f"http://{_HOST}:{port}/"
        config = uvicorn.Config(Loopback(app), server_header=False, **options_for(_LONGEST_FRAME))
        server = _Server(config, _announcement(url, store, as_json), app, here, str(port))
        server.open_at = url if browser else None
        with suppress(KeyboardInterrupt):  # the ordinary way to end it
            server.run(sockets=[listening])
    return 0 if server.started else 1


class _Server(AnnouncingServer):
    """Keeps the page's lists right while it can be reached."""

    open_at: str | None = None

    def __init__(self, config: uvicorn.Config, announcement: str, app: App, here: set[str], name: str) -> None:
        super().__init__(config, announcement)
        self._app = app
        self._here = here
        self._name = name
        self._keepers: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        work = (keep_count(self._app, self._name), follow(self._app, self._here))
        self._keepers = [asyncio.create_task(one) for one in work]
        for keeper in self._keepers:
            keeper.add_done_callback(_look_at)
        if self.open_at is not None:
            threading.Thread(target=webbrowser.open, args=(self.open_at,), daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await super().shutdown(sockets)


def _look_at(keeper: asyncio.Task[None]) -> None:
    """It ends only when it is cancelled, unless there is a fault in it."""
    if not keeper.cancelled():
        log.error("the demo's page is kept right no more", exc_info=keeper.exception())


def _command(port: int, store: str) -> str:
    """What starts the same demo again."""
    parts = ["sojourn demo"]
    if port != DEMO_PORT:
        parts.append(f"--port {port}")
    if store != DEMO_STORE:
        parts.append(f"--store {shlex.quote(store)}")
    return " ".join(parts)


def _announcement(url: str, store: str, as_json: bool) -> str:
    if as_json:
        return json.dumps({"url": url, "pid": os.getpid(), "store": public(store)}) + "\n"
    where, pid = safe(public(store)), os.getpid()
    return f"Sojourn demo at {url} (sessions in {where}; Ctrl-C ends it, kill -9 {pid} does no harm)\n"
