"""Live apps that tests visit: an app on a real server, and browsers without a screen that do what the page's module
does: they load the page, keep its cookie, open the socket, and keep a model of what is shown.

    with served(app) as site:
        ada = site.visitor()
        tab = ada.open()
        tab.do("s:button", "click")
        assert tab.shows("s:label")["text"] == "Clicked once"

`Model` is pure: it is given frames, from wherever they come. It is not the page's module: where that shrugs at an
operation that makes no sense, a strict model fails.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from html import unescape
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from servers.process import LOOPBACK, Process, until

__all__ = ["LiveProcess", "Model", "Site", "Tab", "Visitor", "embedded", "new_tab", "served", "settled"]

PATIENCE = 10.0  # seconds for what takes milliseconds on an idle machine

Frame = dict[str, Any]


# --- The app ---------------------------------------------------------------------------------------------------------


class Site:
    """An app that is served, and where."""

    def __init__(self, app: Any, port: int, loop: asyncio.AbstractEventLoop, path: str = "") -> None:
        self.app = app
        self.port = port
        self.loop = loop
        self.path = path

    def visitor(self, path: str | None = None, **headers: str) -> Visitor:
        """Somebody who was never here."""
        return Visitor(self.port, self.path if path is None else path, headers)

    def do(self, work: Any) -> Any:
        """Run a coroutine in the server's event loop; its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the server's event loop; its result."""

        async def work() -> Any:
            return function()

        return self.do(work())


@contextmanager
def served(app: Any, path: str = "", **config: Any) -> Iterator[Site]:
    """An ASGI application on a real server, in a thread of its own. ``path``: where the live app is in it. ``config``
    is uvicorn's. At the end it is stopped as by a signal, and its thread ends."""
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # named, or Nagle's algorithm stays on
    listening.bind((LOOPBACK, 0))
    quiet = {"log_level": "warning", "ws_ping_interval": None, "ws_per_message_deflate": False}  # as `App.run` has it
    options = {**quiet, "log_config": None, "timeout_graceful_shutdown": 5, **config}  # what it logs, tests see
    server = uvicorn.Server(uvicorn.Config(app, **options))
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[listening])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="served app")
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "the server")
        assert server.started, "the server did not start"
        yield Site(app, listening.getsockname()[1], loops[0], path)
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"


class LiveProcess(Process):
    """``module:app``, a file in a folder, served by uvicorn in a process of its own on a port that stays its own, so
    that it comes back where it was. ``options`` are uvicorn's."""

    def __init__(self, module: Path, *options: str, app: str = "app") -> None:
        super().__init__()
        self._module, self._options, self._app = module, options, app

    def command(self) -> list[str]:
        where = ["--app-dir", str(self._module.parent), "--host", LOOPBACK, "--port", str(self.port)]
        quiet = ["--log-level", "warning", *self._options]
        return [sys.executable, "-m", "uvicorn", *where, *quiet, f"{self._module.stem}:{self._app}"]

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://{LOOPBACK}:{self.port}/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def visitor(self) -> Visitor:
        """Somebody who was never here."""
        return Visitor(self.port)


# --- Who visits it ---------------------------------------------------------------------------------------------------


def new_tab() -> str:
    """A name for a tab."""
    return secrets.token_urlsafe(16)


def embedded(page: str) -> Frame:
    """The frame in a page's HTML."""
    found = re.search(r'<script type="application/json" id="page">(.*?)</script>', page, re.DOTALL)
    assert found, page[:500]
    frame: Frame = json.loads(found[1])
    return frame


class Visitor:
    """A browser: its cookies, and the pages that it opens."""

    def __init__(self, port: int, path: str = "", headers: dict[str, str] | None = None) -> None:
        self.port = port
        self.path = path
        self.root = f"http://{LOOPBACK}:{port}{path}"
        self.headers = dict(headers or {})
        self.cookies: dict[str, str] = {}
        self.html = ""
        """The last page."""

    def request(self, method: str, path: str = "/", **options: Any) -> httpx.Response:
        """What the server answers; cookies that it sets are kept."""
        headers = {**self.headers, **self.cookie_header(), **options.pop("headers", {})}
        options = {
            "timeout": PATIENCE,
            "verify": False,
            **options,
        }  # there is no TLS, whose authorities take long to load
        response = httpx.request(method, self.root + path, headers=headers, **options)
        for name, value in response.cookies.items():
            self.cookies[name] = value
        for line in response.headers.get_list("set-cookie"):
            if "max-age=0" in line.lower():
                self.cookies.pop(line.partition("=")[0], None)
        return response

    def cookie_header(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}

    @property
    def session_id(self) -> str:
        """The secret that the cookie holds."""
        (value,) = self.cookies.values()
        return value

    def load(self) -> Model:
        """The page, as it is shown when it has loaded."""
        response = self.request("GET")
        assert response.status_code == 200, (response.status_code, response.text[:300])
        self.html = response.text
        model = Model()
        model.take(embedded(response.text))
        return model

    def ticket(self) -> str:
        """The ticket that the last page holds; empty: none."""
        found = re.search(r'data-ticket="([^"]*)"', self.html)
        return unescape(found[1]) if found else ""

    def connect(self, query: str = "", **options: Any) -> ClientConnection:
        """A socket, before its hello."""
        headers = {**self.headers, **self.cookie_header(), **options.pop("headers", {})}
        url = self.root.replace("http", "ws", 1) + "/_live/socket" + query
        options = {"open_timeout": PATIENCE, "close_timeout": 1, "ping_interval": None, **options}
        made = connect(url, additional_headers=headers, **options)
        return made.__enter__()  # it is closed by the tab, or by the server

    def open(self, name: str = "", model: Model | None = None, **options: Any) -> Tab:
        """A tab: the page, unless it is loaded already, and its socket."""
        return Tab(self, name or new_tab(), model or self.load()).connect(**options)


class Tab:
    """One tab: its model of the page, its socket, and the events that were not answered yet."""

    def __init__(self, visitor: Visitor, name: str, model: Model) -> None:
        self.visitor = visitor
        self.name = name
        self.model = model
        self.frames: list[Frame] = []
        """All that came."""
        self.sent = 0
        """The number of the last event."""
        self.waiting: dict[int, Frame] = {}
        """Events that were not answered yet, by their number."""
        self.answers: dict[int, Frame] = {}
        """What answered the others."""
        self.socket: ClientConnection | None = None

    def connect(self, **options: Any) -> Self:
        """Open the socket, say hello, and send again what was not answered."""
        self.socket = self.visitor.connect(**options)
        first = min(self.waiting, default=self.sent + 1)
        with suppress(ConnectionClosed):  # who is not let in is told at once
            self.send({"t": "hello", "v": 1, "tab": self.name, "s": self.model.s, "g": self.model.g, "n": first})
            for event in list(self.waiting.values()):
                self.send(event)
        return self

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        self.raw(json.dumps(frame))

    def raw(self, text: str | bytes) -> None:
        """Send whatever it is."""
        assert self.socket is not None
        self.socket.send(text)

    def next(self, patience: float = PATIENCE) -> Frame:
        """The next frame, when the model has taken it; TimeoutError if none comes, ConnectionClosed at the end."""
        assert self.socket is not None
        text = self.socket.recv(patience)
        assert isinstance(text, str)
        assert "\n" not in text
        frame: Frame = json.loads(text)
        self.frames.append(frame)
        self.model.take(frame)
        by = frame.get("by")
        done = frame["n"] if frame["t"] in ("ack", "error") and "n" in frame else 0
        if by is not None and by[0] == self.name:
            done = by[1]
        for n in [n for n in self.waiting if n <= (frame["done"] if frame["t"] == "page" else done)]:
            self.answers[n] = frame
            del self.waiting[n]
        return frame

    def event(self, id_: str, event: str, value: Any = None) -> int:
        """Send an event; its number."""
        self.sent += 1
        self.waiting[self.sent] = {"t": "event", "n": self.sent, "id": id_, "event": event, "value": value}
        self.send(self.waiting[self.sent])
        return self.sent

    def answer(self, n: int, patience: float = PATIENCE) -> Frame:
        """What answers an event."""
        while n not in self.answers:
            self.next(patience)
        return self.answers[n]

    def do(self, id_: str, event: str, value: Any = None) -> Frame:
        """Send an event; what answers it."""
        return self.answer(self.event(id_, event, value))

    def click(self, id_: str) -> Frame:
        return self.do(id_, "click")

    def change(self, id_: str, value: Any) -> Frame:
        return self.do(id_, "change", value)

    def refused(self, id_: str, event: str, value: Any = None) -> str:
        """Send an event that must be refused; the code of the error."""
        frame = self.do(id_, event, value)
        assert frame["t"] == "error", frame
        code: str = frame["code"]
        return code

    def shows(self, id_: str) -> dict[str, Any]:
        """The properties of a widget that is shown."""
        return self.model.props(id_)

    def until(self, condition: Callable[[Model], object], patience: float = PATIENCE) -> Model:
        """Take frames until the page is so."""
        give_up = time.monotonic() + patience
        while not condition(self.model):
            try:
                self.next(max(0.0, give_up - time.monotonic()))
            except TimeoutError:
                raise AssertionError(f"it never came; the page is {self.model.children}") from None
        return self.model

    def quiet(self, seconds: float = 0.15) -> list[Frame]:
        """What comes until nothing has come for so long."""
        came: list[Frame] = []
        while True:
            try:
                came.append(self.next(seconds))
            except TimeoutError:
                return came

    def closed(self, patience: float = PATIENCE) -> int:
        """Take frames until the server closes the socket; its code."""
        assert self.socket is not None
        with pytest.raises(ConnectionClosed) as closed:
            self._follow(patience)
        assert closed.value.rcvd is not None, "it broke off"
        return closed.value.rcvd.code

    def _follow(self, patience: float) -> None:
        while True:
            self.next(patience)

    def break_off(self) -> None:
        """The network breaks: no closing handshake."""
        assert self.socket is not None
        with suppress(OSError):  # the other side was quicker
            self.socket.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def leave(self) -> None:
        """The tab is closed."""
        if self.socket is not None:
            self.socket.close()


def settled(site: Site) -> None:
    """Wait until no turn goes on or waits, and all that was told is committed."""

    def rests() -> bool:
        everyone = site.app.everyone
        busy = everyone._flushing or everyone._scheduled or everyone.page.writes or everyone._posted
        return not busy and all(room.at_rest() for room in site.app._rooms.open.values())

    until(lambda: site.call(rests), "rest")


# --- What is shown ---------------------------------------------------------------------------------------------------


class Model:
    """What a browser shows: pure. A strict one fails at operations that make no sense; else it does as the page's
    module does."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.title = ""
        self.children: list[dict[str, Any]] = []
        self.s: list[Any] | None = None
        """The session's stream, and how far we are in it."""
        self.g: list[Any] | None = None
        self.ended: str | None = None
        """Why the session is over."""

    def take(self, frame: Frame) -> None:
        """A frame from the server."""
        if frame["t"] == "page":
            self.title, self.children = frame["title"], deepcopy(frame["children"])
            self.s, self.g = list(frame["s"]), list(frame["g"])
        elif frame["t"] == "changes":
            self._step(frame)
        elif frame["t"] == "ended":
            self.ended, self.children = frame["reason"], []

    def _step(self, frame: Frame) -> None:
        for stream, at in (("s", self.s), ("g", self.g)):
            if stream not in frame:
                continue
            assert at is not None, "changes came before any page"
            if frame[stream] <= at[1]:
                return  # it is no news
            assert frame[stream] == at[1] + 1, f"{stream}: {frame[stream]} came after {at[1]}"
            at[1] = frame[stream]
        self.operate(frame["ops"])

    def operate(self, ops: list[dict[str, Any]]) -> None:
        """Operations, one after the other."""
        for op in deepcopy(ops):
            getattr(self, "_" + op["op"])(op, ops)

    def _update(self, op: dict[str, Any], _: Any) -> None:
        for id_, changed in op["widgets"].items():
            found = self.find(id_)
            if found is not None:
                found["props"].update(changed)
            assert found is not None or not self.strict, f"{id_} is updated and not there"

    def _add(self, op: dict[str, Any], _: Any) -> None:
        self._take_out(op["widget"]["id"])
        siblings = self._inside(op["into"])
        if siblings is None:
            return
        ids = [one["id"] for one in siblings]
        assert not self.strict or not op["after"] or op["after"] in ids, f"{op['after']} is not in {op['into']!r}"
        at = 0 if not op["after"] else ids.index(op["after"]) + 1 if op["after"] in ids else len(ids)
        siblings.insert(at, op["widget"])

    def _remove(self, op: dict[str, Any], ops: list[dict[str, Any]]) -> None:
        for id_ in op["ids"]:
            self._take_out(id_)

    def _replace(self, op: dict[str, Any], _: Any) -> None:
        found = self._where(op["id"])
        come = self.find(op["widget"]["id"])  # with all that it is in
        assert found or come or not self.strict, f"{op['id']} is replaced and not there"
        if found is None:
            return
        siblings, at = found
        if op["widget"]["id"] != op["id"]:
            self._take_out(op["widget"]["id"])
        at = next(at for at, one in enumerate(siblings) if one["id"] == op["id"])
        siblings[at] = op["widget"]

    def _order(self, op: dict[str, Any], _: Any) -> None:
        siblings = self._inside(op["into"])
        if siblings is None:
            return
        there = {one["id"]: one for one in siblings}
        assert not self.strict or set(op["ids"]) <= set(there), f"{op['ids']} are ordered, {list(there)} are there"
        named = [there[id_] for id_ in op["ids"] if id_ in there]
        others = [one for one in siblings if one not in named]
        shared = [one for one in others if one["id"].startswith("g:")]
        siblings[:] = [*shared, *named, *(one for one in others if one not in shared)]

    # --- Looking -----------------------------------------------------------------------------------------------------

    def walk(self) -> Iterator[dict[str, Any]]:
        """All widgets."""
        waiting = list(self.children)
        while waiting:
            one = waiting.pop(0)
            yield one
            waiting[:0] = one.get("children", [])

    def find(self, id_: str) -> dict[str, Any] | None:
        """The widget of an id; None if it is not shown."""
        return next((one for one in self.walk() if one["id"] == id_), None)

    def props(self, id_: str) -> dict[str, Any]:
        """The properties of a widget, which must be shown."""
        found = self.find(id_)
        assert found is not None, f"{id_} is not shown, but {[one['id'] for one in self.walk()]}"
        props: dict[str, Any] = found["props"]
        return props

    def ids(self) -> list[str]:
        """The ids of all widgets, from top to bottom."""
        return [one["id"] for one in self.walk()]

    def _inside(self, into: str) -> list[dict[str, Any]] | None:
        if not into:
            return self.children
        found = self.find(into)
        assert found is not None or not self.strict, f"something comes into {into}, which is not there"
        return None if found is None else found["children"]

    def _where(self, id_: str) -> tuple[list[dict[str, Any]], int] | None:
        for siblings in (self.children, *(one["children"] for one in self.walk() if "children" in one)):
            for at, one in enumerate(siblings):
                if one["id"] == id_:
                    return siblings, at
        return None

    def _take_out(self, id_: str) -> None:
        found = self._where(id_)
        if found is not None:
            del found[0][found[1]]
