"""From an app to a running server, which says where it is."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from .app import App

__all__ = ["AnnouncingServer", "options_for", "run"]


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


def run(app: App, host: str, port: int, options: dict[str, Any]) -> None:
    """Serve an app until it is stopped."""
    kept = "" if app.engine.store.durability != "memory" else "; sessions end with this process"
    announcement = f"{app.title_text} is at http://{host}:{port}/ (Ctrl-C stops it{kept})\n"
    server = AnnouncingServer(uvicorn.Config(app, host=host, port=port, **options), announcement)
    try:
        server.run()
    except KeyboardInterrupt:
        return  # the ordinary way to end it
