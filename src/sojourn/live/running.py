"""From an app to a running server, which says where it is."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

import uvicorn

from ..errors import SojournError

if TYPE_CHECKING:
    from .app import App

__all__ = ["AnnouncingServer", "PortTaken", "listen", "options_for", "run"]


class PortTaken(SojournError):
    """Another program listens there."""


class AnnouncingServer(uvicorn.Server):
    """Says where it is once it can be reached."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(self._announcement)
            sys.stdout.flush()


def options_for(longest_frame: int) -> dict[str, Any]:
    """What uvicorn is set to for an app that takes frames of so many bytes."""
    return {
        "log_level": "warning",
        "access_log": False,
        "ws_max_size": 4 * longest_frame,  # a longer one than the app takes, so that the app can say so
        "ws_per_message_deflate": False,  # frames are short, and it would cost each socket its buffers
    }


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes any free one. Raises `PortTaken`."""
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle's algorithm on: 40 ms a page
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise PortTaken(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error
    return listening


def run(app: App, host: str, port: int, options: dict[str, Any]) -> None:
    """Serve an app until it is stopped."""
    kept = "" if app.engine.store.durability != "memory" else "; sessions end with this process"
    announcement = f"{app.title_text} is at http://{host}:{port}/ (Ctrl-C stops it{kept})\n"
    server = AnnouncingServer(uvicorn.Config(app, host=host, port=port, **options), announcement)
    try:
        server.run()
    except KeyboardInterrupt:
        return  # the ordinary way to end it
