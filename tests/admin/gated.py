"""A gate on a real server, with a small live app behind it, and what gets through to that; operators with manners of
a browser: they keep cookies, and say which page they come from.

    with gated(Password(PASSWORD)) as site:
        ada = site.operator()
        ada.sign_in()
        tab = ada.tab()
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount
from visiting import Site, Tab, Visitor, new_tab, served

from sojourn import AsyncSessionManager, CookieConfig, SessionConfig
from sojourn.admin.audit import Audit, Entry
from sojourn.admin.gate import Gate
from sojourn.live import App, Session

__all__ = ["PASSWORD", "UNDER", "Gated", "Operator", "gated", "operators_in", "page_for"]

PASSWORD: Final = "correct horse battery"
UNDER: Final = "/admin/sessions"
SECRET: Final = "only for operators"
"""What is on the page behind the gate, and nowhere else."""


def operators_in(store: Any = "memory://", **settings: Any) -> AsyncSessionManager:
    """A manager of operators' sessions."""
    return AsyncSessionManager(
        store, config=SessionConfig(cookie=CookieConfig(name="dashboard", samesite="Strict"), **settings)
    )


def page_for(operators: AsyncSessionManager) -> App:
    """The app behind the gate: it greets, and it counts what is clicked."""
    app = App("Gated", manager=operators, name="dashboard", tickets=True, frame_ancestors="'none'")

    @app.on_session
    def start(session: Session) -> None:
        session.text(f"{SECRET}: {session.user_id}", key="greeting")
        session.set("clicks", 0)
        count = session.text("0", key="count")
        button = session.button("Click", key="button")

        @button.on_click
        def clicked(session: Session) -> None:
            session.set("clicks", session["clicks"] + 1)
            session.widget(count.key).text = str(session["clicks"])

    return app


class Passed:
    """What the gate let through: requests and sockets, and the frames that came in."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.requests: list[str] = []
        self.frames: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def heard() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                self.frames.append(message.get("text") or message.get("bytes"))
            return message

        if scope["type"] != "lifespan":
            self.requests.append(f"{scope.get('method', 'SOCKET')} {scope['path']}?{scope['query_string'].decode()}")
        await self.app(scope, heard, send)


class Gated:
    """The site."""

    def __init__(
        self, site: Site, operators: AsyncSessionManager, app: App, passed: Passed, audit: list[Entry]
    ) -> None:
        self.site = site
        self.operators = operators
        self.app = app
        self.passed = passed
        self.audit = audit

    def operator(self, **headers: str) -> Operator:
        """Somebody who was never here."""
        return Operator(self.site.port, self.site.path, headers)

    def end(self, handle: str) -> None:
        """End an operator's session, from outside."""
        from sojourn import Handle

        self.site.do(self.operators.end_session(Handle(handle)))

    def told(self) -> list[tuple[str, str, str]]:
        """What the audit says: who, what, with what outcome."""
        return [(one.operator, one.what, one.outcome) for one in self.audit]


class Operator(Visitor):
    """A browser that says which page it comes from."""

    @property
    def origin(self) -> dict[str, str]:
        return {"Origin": f"http://127.0.0.1:{self.port}"}

    @property
    def session_id(self) -> str:
        return self.cookies["dashboard"]

    @property
    def handle(self) -> str:
        return self.session_id.partition(".")[0]

    def post(self, path: str, **options: Any) -> httpx.Response:
        """As a form of our own page does."""
        return self.request("POST", path, headers={**self.origin, **options.pop("headers", {})}, **options)

    def token(self, path: str = "/") -> str:
        """The token of the form on a page."""
        return token_on(self.request("GET", path).text)

    def sign_in(self, password: str = PASSWORD, **fields: str) -> httpx.Response:
        """Fill in the form, and send it."""
        return self.post("/_gate/sign-in", data={"token": self.token(), "password": password, **fields})

    def sign_out(self) -> httpx.Response:
        return self.post("/_gate/sign-out", data={"token": self.token("/_gate/sign-out")})

    def tab(self, **options: Any) -> Tab:
        """The page, and its socket."""
        tab = Tab(self, new_tab(), self.load())
        return tab.connect(query=f"?ticket={self.ticket()}", headers=self.origin, **options)

    def knock(self, query: str = "", **headers: str) -> int:
        """The status that a socket is refused with; 101 if it is let in."""
        from websockets.exceptions import InvalidStatus

        try:
            socket = self.connect(query, headers=headers)
        except InvalidStatus as refused:
            return refused.response.status_code
        socket.close()
        return 101


def token_on(page: str) -> str:
    """The token of the form on a page."""
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found, page[:300]
    return unescape(found[1])


@contextmanager
def gated(
    guard: Any, *, under: str = "", operators: AsyncSessionManager | None = None, behind: Any = None, **options: Any
) -> Iterator[Gated]:
    """The site. ``under``: mounted in another application. ``behind``: makes what is behind the gate of the app that
    would be."""
    operators = operators or operators_in()
    app, told = page_for(operators), []
    passed = Passed(behind(app) if behind else app)
    gate = Gate(passed, operators, guard=guard, audit=Audit(told.append), title="Sessions", **options)
    outer = Starlette(routes=[Mount(under, gate)]) if under else gate
    with served(outer, under) as site:
        try:
            yield Gated(site, operators, app, passed, told)
        finally:
            site.do(app.close())
            site.do(operators.close())
