"""Servers of `crowd_app` in processes of their own, and the browsers that use them: a client of the protocol that keeps
its events until they are answered, comes again after each break, and checks every frame."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Self

import pytest
from visiting import Frame, Model, embedded, new_tab
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from servers.process import LOOPBACK, Process
from servers.shared import shared_url
from sojourn import AsyncSessionManager, Handle

__all__ = ["STORES", "Browser", "Live", "Tab", "eventually", "kept", "store_url"]

STORES = ("sqlite", "valkey", "postgres")
"""Where sessions are kept that survive a process, and that several can share."""

_PATIENCE = 20.0  # seconds for what takes a fraction of one on an idle machine
_APP = Path(__file__).with_name("crowd_app.py")
_secret = re.compile(r"secret-[0-9a-f]{16}")


def store_url(request: pytest.FixtureRequest, name: str, folder: Path) -> str:
    """A store of one test's own."""
    if name == "sqlite":
        return f"sqlite:///{folder}/live.db"
    return shared_url(request, name)


async def kept(store: str, browser: Browser) -> dict[str, Any] | None:
    """What the store has of a browser's session, read past the app; None: nothing."""
    async with AsyncSessionManager(store) as sessions:
        return await sessions.get_session(browser.session_id)


async def eventually(condition: Callable[[], Any], what: str, patience: float = _PATIENCE) -> None:
    """Wait for a condition; fails, saying what did not come, when the patience is over."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + patience
    while not condition():
        assert loop.time() < give_up, f"within {patience:g} s: {what} never came"
        await asyncio.sleep(0.01)


class Live(Process):
    """A process that serves `crowd_app`, with these settings of it."""

    def __init__(self, store: str, **settings: float) -> None:
        super().__init__()
        self.store = store
        self.settings = settings
        self.deaths = 0

    def command(self) -> list[str]:
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        return [sys.executable, str(_APP), str(self.port), self.store, *settings]

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    async def begin(self) -> Self:
        """Start it, and let others go on meanwhile."""
        await asyncio.to_thread(self.start)
        return self

    async def stay(self) -> None:
        """Start it again whenever it has died, until this is cancelled."""
        while True:
            if self._process is None or self._process.poll() is not None:
                self.deaths += 1
                self.kill()
                await self._come_up()
            await asyncio.sleep(0.01)

    async def _come_up(self) -> None:
        """Start it, and wait until it answers, or has died again."""
        self.start(wait=False)
        while self._process is not None and self._process.poll() is None:
            if await asyncio.to_thread(self.answers):
                return
            await asyncio.sleep(0.02)

    async def ask(self, what: str, about: str = "") -> Any:
        """Ask a route of the test's own."""
        status, _, body = await request(self.port, f"/test/{what}?{about}")
        assert status == 200, body
        return json.loads(body)

    @property
    def complaints(self) -> str:
        """What it logged: warnings and worse."""
        return self.log.read_text(errors="replace")


async def request(
    port: int, path: str, cookie: str = "", method: str = "GET", body: str = ""
) -> tuple[int, list[str], str]:
    """One request on a connection of its own: the status, the cookies that are set, the body. OSError if it fails."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}", "Connection: close"]
        lines += [f"Origin: http://{LOOPBACK}:{port}", f"Content-Length: {len(body)}"] if method == "POST" else []
        lines += [f"Cookie: {cookie}"] if cookie else []
        writer.write("\r\n".join([*lines, "", body]).encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)).decode()
        first, *fields = head.rstrip().split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (field.partition(": ") for field in fields)]
        content = await asyncio.wait_for(reader.readexactly(int(dict(headers).get("content-length", 0))), _PATIENCE)
    except (asyncio.IncompleteReadError, TimeoutError) as error:
        raise ConnectionError("no answer") from error
    finally:
        writer.transport.abort()
    return int(first.split()[1]), [value for name, value in headers if name == "set-cookie"], content.decode()


class Browser:
    """A browser: one cookie jar. Tabs of it may be at different servers."""

    def __init__(self) -> None:
        self.cookie = ""
        self.secret = ""

    @classmethod
    def again(cls, other: Browser) -> Self:
        """One with the same cookie."""
        browser = cls()
        browser.cookie, browser.secret = other.cookie, other.secret
        return browser

    @property
    def session_id(self) -> str:
        """The id in the cookie."""
        return self.cookie.partition("=")[2]

    @property
    def handle(self) -> Handle:
        """The public part of it."""
        return Handle(self.session_id.partition(".")[0])

    def takes(self, cookies: list[str]) -> None:
        """Keep the cookies of an answer."""
        for text in cookies:
            for name, morsel in SimpleCookie(text).items():
                self.cookie = f"{name}={morsel.value}" if morsel.value else ""

    async def load(self, port: int) -> Frame:
        """Load the page; the frame that is in it. Tries again while nobody serves."""
        for _ in range(1000):
            with suppress(OSError):
                status, cookies, body = await request(port, "/", self.cookie)
                if status == 200:
                    self.takes(cookies)
                    self.secret = self.secret or _secret.findall(body)[0]
                    self.check(body)
                    return embedded(body)
            await asyncio.sleep(0.02)
        raise AssertionError("no page came")

    def check(self, text: str) -> None:
        """A frame holds no secret but this session's, and never that of its id."""
        assert set(_secret.findall(text)) <= {self.secret}, f"another session's: {text}"
        assert self.session_id.partition(".")[2] not in text, text

    async def tab(self, port: int) -> Tab:
        """Open the page in a tab, connected."""
        tab = Tab(self, port, await self.load(port))
        await tab.open()
        return tab


class Tab:
    """A tab of a browser. It comes again after each break, until it is closed or told that the session is over."""

    def __init__(self, browser: Browser, port: int, page: Frame) -> None:
        self.browser = browser
        self.port = port
        self.name = new_tab()
        self.model = Model(strict=True)
        """What is shown."""
        self.frames = 0
        self.comings = 0
        """How often it has connected."""
        self.pages = 0
        """How often it was shown a whole page."""
        self.codes: list[int | None] = []
        """With which codes sockets were closed."""
        self.ended = ""
        """Why the session is over; empty: it is not."""
        self.renewed = 0
        self.refused: dict[int, str] = {}
        """The codes of the events that were answered with an error."""
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[str]]] = {}
        self._sent = 0
        self._sending = asyncio.Lock()
        self._socket: ClientConnection | None = None
        self._work: asyncio.Task[None] | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self.model.take(page)

    # --- What a test does --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and stay connected."""
        self._work = asyncio.create_task(self._stay())
        await eventually(lambda: self._socket is not None or self.ended or self._failed(), "the socket")
        self._failed()

    async def close(self) -> None:
        """Leave. Fails with what went wrong in the background."""
        for task in (self._work, *self._aside):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for _, answer in self._waiting.values():
            answer.cancel()

    def event(self, id_: str, event: str = "click", value: Any = None) -> asyncio.Future[str]:
        """Do something to a widget. The future has "" when that is done, or the code of the error."""
        number = next(self._numbers)
        text = json.dumps({"t": "event", "n": number, "id": id_, "event": event, "value": value})
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[number] = text, answer
        self._later(self._pump())
        return answer

    async def does(self, id_: str, event: str = "click", value: Any = None) -> None:
        """Do something, which has to be done in a while."""
        answer = await asyncio.wait_for(self.event(id_, event, value), _PATIENCE)
        assert not answer, f"{id_}: {answer}"

    def drop(self) -> None:
        """Break the connection, without a word."""
        if self._socket is not None:
            self._socket.transport.abort()

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def unanswered(self) -> int:
        return len(self._waiting)

    def prop(self, id_: str, name: str) -> Any:
        """What is shown of a widget; None if it is not."""
        found = self.model.find(id_)
        return None if found is None else found["props"].get(name)

    async def sees(self, id_: str, name: str, value: Any, patience: float = _PATIENCE) -> None:
        """Wait until a widget shows this."""
        try:
            await eventually(lambda: self.prop(id_, name) == value or self._failed(), "", patience)
        except AssertionError:
            self._failed()
            raise AssertionError(f"{id_} shows {self.prop(id_, name)!r}, not {value!r}, after {patience} s") from None

    @property
    def count(self) -> int:
        """The number in the label."""
        return int(self.prop("s:label", "text").partition(" ")[0])

    # --- In the background -------------------------------------------------------------------------------------------

    async def _stay(self) -> None:
        while not self.ended:
            try:
                socket = await connect(
                    f"ws://{LOOPBACK}:{self.port}/_live/socket",
                    additional_headers={"Cookie": self.browser.cookie},
                    compression=None,
                    ping_interval=None,
                    open_timeout=5,
                    close_timeout=1,
                    proxy=None,
                )
            except (OSError, EOFError, InvalidHandshake, TimeoutError):  # nobody serves, or it died just now
                await asyncio.sleep(0.05)
                continue
            try:
                await self._talk(socket)
            except (ConnectionClosed, OSError):
                self.codes.append(socket.close_code)
            finally:
                self._socket = None
                socket.transport.abort()
            await asyncio.sleep(0.02)

    async def _talk(self, socket: ClientConnection) -> None:
        first = min(self._waiting, default=self._next_number())
        self._sent = first - 1
        hello = {"t": "hello", "v": 1, "tab": self.name, "s": self.model.s, "g": self.model.g, "n": first}
        await socket.send(json.dumps(hello))
        self.comings += 1
        self._socket = socket
        await self._pump()
        async for text in socket:
            assert isinstance(text, str)
            self._take(text)
        self.codes.append(socket.close_code)

    def _next_number(self) -> int:
        number = next(self._numbers)
        self._numbers = itertools.count(number)
        return number

    async def _pump(self) -> None:
        """Send what was not sent on this socket, in its order."""
        async with self._sending:
            while (socket := self._socket) is not None and self._sent + 1 in self._waiting:
                self._sent += 1
                with suppress(ConnectionClosed, OSError):
                    await socket.send(self._waiting[self._sent][0])

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._done_aside)

    def _done_aside(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._aside.discard(task)

    def _failed(self) -> bool:
        """Raises what went wrong in the background."""
        for task in (self._work, *self._aside):
            if task is not None and task.done() and not task.cancelled():
                task.result()
        return False

    def _take(self, text: str) -> None:
        self.frames += 1
        self.browser.check(text)
        frame = json.loads(text)
        self.model.take(frame)
        getattr(self, f"_on_{frame['t']}")(frame)

    def _on_page(self, frame: Frame) -> None:
        self.pages += 1
        self._answered(frame["done"])

    def _on_changes(self, frame: Frame) -> None:
        if frame.get("by", ("", 0))[0] == self.name:
            self._answered(frame["by"][1])

    def _on_ack(self, frame: Frame) -> None:
        self._answered(frame["n"])

    def _on_error(self, frame: Frame) -> None:
        assert "n" in frame, frame
        if frame["n"] in self._waiting:
            self.refused[frame["n"]] = frame["code"]
            self._answered(frame["n"] - 1)
            self._answered(frame["n"], frame["code"])

    def _on_renew(self, frame: Frame) -> None:
        self._later(self._renew(frame["ticket"]))

    def _on_ended(self, frame: Frame) -> None:
        self.ended = frame["reason"]

    async def _renew(self, ticket: str) -> None:
        status, cookies, body = await request(self.port, "/_live/renew", self.browser.cookie, "POST", ticket)
        assert status == 204, body
        self.browser.takes(cookies)
        self.renewed += 1

    def _answered(self, last: int, code: str = "") -> None:
        for number in [number for number in self._waiting if number <= last]:
            _, answer = self._waiting.pop(number)
            if not answer.done():
                answer.set_result(code)
