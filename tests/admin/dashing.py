"""Dashboards that tests look at: on real servers, with an operator in a real browser, and the sessions of a store that
another manager writes, as another process would.

    with shown(url) as site:
        ada = Operator(browser, site)
        page = ada.enter()
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from browsing import Guest, live
from playwright.sync_api import Browser, Page
from visiting import Site, served

from servers.process import LOOPBACK, Process
from sojourn.admin import Dashboard

__all__ = ["PASSWORD", "Elsewhere", "Operator", "shown"]

PASSWORD: Final = "correct-horse-battery"


@contextmanager
def shown(sessions: Any, **options: Any) -> Iterator[Site]:
    """A dashboard on a server. ``sessions`` and ``options`` are `Dashboard`'s; with a password, unless there is a
    check."""
    if "check" not in options:
        options.setdefault("password", PASSWORD)
    with served(Dashboard(sessions, **options)) as site:
        yield site


class Operator(Guest):
    """An operator with a browser profile of their own."""

    def __init__(self, browser: Browser, site: Site, path: str = "/", **options: Any) -> None:
        super().__init__(browser, f"http://{LOOPBACK}:{site.port}{path}", **options)

    def enter(self, password: str = PASSWORD) -> Page:
        """Sign in, and open the dashboard."""
        page = self.context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and self._complain(message.text))
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("dialog", lambda dialog: (self._complain(f"it ran: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self._asks(request.url))
        page.on("websocket", lambda socket: socket.on("framereceived", lambda text: self.frames.append(str(text))))
        page.goto(self.url)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        live(page)
        return page


class Elsewhere(Process):
    """`elsewhere_app.py`, in a process of its own: with this store, it has sessions of all sorts."""

    def __init__(self, store: str) -> None:
        super().__init__()
        self.store = store

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("elsewhere_app.py")), str(self.port), self.store]

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.root}/live/health", timeout=2, verify=False).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def root(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def has(self, what: str, **named: Any) -> dict[str, Any]:
        """Have it do something; what it answers."""
        response = httpx.post(f"{self.root}/test/{what}", json=named, timeout=20, verify=False)
        assert response.status_code == 200, (what, response.text)
        found: dict[str, Any] = response.json()
        return found
