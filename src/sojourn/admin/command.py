"""``sojourn dashboard URL``: one process, on the loopback address only.

The password is that of ``SOJOURN_DASHBOARD_PASSWORD``; else one is made up and told on the terminal, good until the
process ends. It is never part of an address, which would stay in the browser's history.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import uvicorn

from ..cli.humane import safe
from ..cli.naming import public
from ..errors import StoreUnavailable
from ..live.loopback import Loopback
from ..live.running import AnnouncingServer, listen, options_for
from .dashboard import Dashboard
from .redaction import PATTERNS

__all__ = ["PASSWORD_VARIABLE", "serve"]

PASSWORD_VARIABLE: Final = "SOJOURN_DASHBOARD_PASSWORD"  # noqa: S105 - the name of a variable

_HOST: Final = "127.0.0.1"
_LONGEST_FRAME: Final = 64 * 1024  # bytes that the page may send at once


def serve(store: str, *, port: int, read_only: bool, redact: Sequence[str], browser: bool, as_json: bool) -> int:
    """Serve the dashboard until it is stopped. Port 0 takes any free one. Returns the exit code. Raises `PortTaken`,
    and `StoreUnavailable` for a store that is of one process alone."""
    if store.startswith("memory:"):
        raise StoreUnavailable(
            "a store in memory is seen by its own process only: mount the dashboard in that application"
        )
    password = os.environ.get(PASSWORD_VARIABLE) or secrets.token_urlsafe(12)
    dashboard = Dashboard(store, password=password, read_only=read_only, redact=(*PATTERNS, *redact))
    listening = listen(_HOST, port)
    with listening:
        url = f"http://{_HOST}:{listening.getsockname()[1]}/"
        config = uvicorn.Config(Loopback(dashboard), server_header=False, **options_for(_LONGEST_FRAME))
        _set_up_logs()
        server = _Server(config, _announcement(url, store, password, as_json), dashboard)
        server.open_at = url if browser else None
        with suppress(KeyboardInterrupt):  # the ordinary way to end it
            server.run(sockets=[listening])
    return 0 if server.started else 1


def _set_up_logs() -> None:
    """The audit goes to the terminal: there is no application here that would set up logs."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    audit = logging.getLogger("sojourn.audit")
    audit.setLevel(logging.INFO)
    audit.addHandler(shown)
    logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """uvicorn takes a socket that the gate answers with a 401 for one that was not answered, and tells of an error."""
    return "without completing handshake" not in record.getMessage()


class _Server(AnnouncingServer):
    """Opens a browser when it can be reached, and closes the dashboard when it stops."""

    open_at: str | None = None

    def __init__(self, config: uvicorn.Config, announcement: str, dashboard: Dashboard) -> None:
        super().__init__(config, announcement)
        self._dashboard = dashboard

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.open_at is not None:
            threading.Thread(target=webbrowser.open, args=(self.open_at,), daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._dashboard.close()


def _announcement(url: str, store: str, password: str, as_json: bool) -> str:
    made_up = PASSWORD_VARIABLE not in os.environ
    if as_json:
        document = {"url": url, "pid": os.getpid(), "store": public(store)}
        return json.dumps({**document, "password": password} if made_up else document) + "\n"
    told = f"password: {password}" if made_up else f"password: that of ${PASSWORD_VARIABLE}"
    return f"Sessions of {safe(public(store))} at {url}\n{told}\n(Ctrl-C ends it)\n"
