"""From a port to a running demo: one process, on the loopback address only."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from typing import Final

import uvicorn

from ..cli.humane import safe
from ..cli.parsing import DEMO_PORT, DEMO_STORE
from ..config import CookieConfig, SessionConfig
from ..errors import SojournError
from ..manager import AsyncSessionManager
from .app import make_app

__all__ = ["CONFIG", "serve"]

_HOST: Final = "127.0.0.1"
CONFIG: Final = SessionConfig(cookie=CookieConfig(name="sojourn_demo", insecure=True))


class PortTaken(SojournError):
    """Another program listens there."""


def serve(*, port: int, store: str, browser: bool, as_json: bool = False) -> int:
    """Serve the demo until it is stopped. Port 0 takes any free one. Returns the exit code."""
    listening = _listen(port)
    with listening:
        manager = AsyncSessionManager(store, config=CONFIG)
        url = f"http://{_HOST}:{listening.getsockname()[1]}/"
        app = make_app(manager, store, _command(listening.getsockname()[1], store))
        server = _Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
        server.announcement = _announcement(url, store, as_json)
        server.open_at = url if browser else None
        with suppress(KeyboardInterrupt):  # the ordinary way to end it
            server.run(sockets=[listening])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Says where it is once it can be reached."""

    announcement = ""
    open_at: str | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(self.announcement)
            sys.stdout.flush()
        if self.started and self.open_at is not None:
            threading.Thread(target=webbrowser.open, args=(self.open_at,), daemon=True).start()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle's algorithm on: 40 ms a page
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise PortTaken(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error
    return listening


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
        return json.dumps({"url": url, "pid": os.getpid(), "store": store}) + "\n"
    return f"Sojourn demo at {url} (sessions in {safe(store)}; Ctrl-C ends it, kill -9 {os.getpid()} does no harm)\n"
