"""WebSockets have the same session, live: real servers and clients, and what happens elsewhere happens in another
process."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from lobby import make
from places import SHARED
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from servers.shared import shared_url
from sojourn import SessionManager
from sojourn.stores.memory import MemoryStore
from worlds import PATIENT, Through

_TIMEOUT = 20.0


@contextmanager
def serving(url: str, **environment: str) -> Iterator[str]:
    """The address of a server, while it runs."""
    command = [sys.executable, str(Path(__file__).with_name("lobby.py")), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as server:
        try:
            assert server.stdout is not None
            yield f"127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


class Browser:
    """A visitor's browser, on two processes of one site."""

    def __init__(self, here: str, there: str, url: str = "") -> None:
        self.here = here
        self.there = there
        self.url = url
        self.user = secrets.token_hex(4)
        self._there = httpx.Client(base_url=f"http://{there}", timeout=_TIMEOUT)
        self._sockets = ExitStack()

    def ask(self, path: str) -> Any:
        """A request to the other process."""
        response = self._there.get(path)
        response.raise_for_status()
        return response.json()

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._there.cookies.items())

    def open(self, path: str, *, cookie: str | None = None, **options: Any) -> ClientConnection:
        """A socket to this process."""
        cookie = self.cookie if cookie is None else cookie
        headers = {"Cookie": cookie} if cookie else {}
        made = connect(f"ws://{self.here}{path}", additional_headers=headers, open_timeout=_TIMEOUT, **options)
        return self._sockets.enter_context(made)

    def close(self) -> None:
        self._sockets.close()
        self._there.close()


def tell(socket: ClientConnection, do: str, **more: Any) -> Any:
    """Say something, and hear the answer."""
    socket.send(json.dumps({"do": do, **more}))
    return json.loads(socket.recv(_TIMEOUT))


def closing(socket: ClientConnection) -> int | None:
    """The code that the socket is closed with."""
    with pytest.raises(ConnectionClosed) as closed:
        for _ in iter(lambda: socket.recv(_TIMEOUT), None):
            pass
    return _code(closed.value)


def _code(closed: ConnectionClosed) -> int | None:
    return None if closed.rcvd is None else closed.rcvd.code


@pytest.fixture(scope="module", params=["sqlite", *SHARED])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Two processes, and the store that they share, of each kind."""
    path = tmp_path_factory.mktemp("site") / "sessions.db"
    url = f"sqlite:///{path}" if request.param == "sqlite" else shared_url(request, request.param)
    with serving(url) as here, serving(url) as there:
        yield here, there, url


@pytest.fixture
def browser(site: tuple[str, str, str]) -> Iterator[Browser]:
    """A visitor who is signed in."""
    browser = Browser(*site)
    try:
        browser.ask(f"/sign_in?user={browser.user}")
        yield browser
    finally:
        browser.close()


def test_what_a_socket_writes_is_there_when_it_is_acknowledged(browser: Browser) -> None:
    """What an application changes in a socket is there for the next request, in another process, when the client has
    heard of it; and the changes of both sides, made in turns, are all kept."""
    socket = browser.open("/talk")
    for number in range(20):
        assert tell(socket, "set", name=f"socket{number}", value=number) == "ok"
        assert browser.ask("/see")[f"socket{number}"] == number
        browser.ask(f"/write?request{number}={number}")
        tell(socket, "append", value=number)
    kept = browser.ask("/see")
    assert kept["list"] == list(range(20))
    assert len([name for name in kept if name.startswith(("socket", "request"))]) == 40


def test_what_others_write_is_seen_after_a_refresh(browser: Browser) -> None:
    """``await session.refresh()`` shows what requests have written since, and loses nothing of the socket's own."""
    socket = browser.open("/talk")
    browser.ask("/write?name=Ada")
    assert tell(socket, "set", name="mine", value=1) == "ok"
    assert tell(socket, "see") == {"name": "Ada", "mine": 1}


def test_changes_are_told(browser: Browser) -> None:
    """``session.changes()`` tells of what others do, with the session as they left it."""
    socket = browser.open("/follow")
    assert json.loads(socket.recv(_TIMEOUT)) == "watching"
    deadline, told = time.monotonic() + _TIMEOUT, []
    time.sleep(0.2)
    browser.ask("/write?name=Ada")
    while time.monotonic() < deadline and ["changed", {"name": "Ada"}] not in told:
        told.append(json.loads(socket.recv(_TIMEOUT)))
    assert told == [["changed", {"name": "Ada"}]]


def _revoke(browser: Browser) -> None:
    with SessionManager(browser.url, config=PATIENT) as sessions:
        assert sessions.end_user_sessions(browser.user) == 1


_ENDS = {
    "signed out": lambda browser: browser.ask("/sign_out"),
    "signed out everywhere": _revoke,
    "another user": lambda browser: browser.ask("/sign_in?user=eve"),
}


@pytest.mark.parametrize("path", ["/talk", "/push", "/follow"])
@pytest.mark.parametrize("end", _ENDS.values(), ids=_ENDS)
def test_the_end_of_a_session_closes_its_sockets(browser: Browser, end: Any, path: str) -> None:
    """A logout, "sign out everywhere", or another user's sign-in, anywhere, closes the sockets of the session within a
    second, with 1008, whether the application listens, speaks or waits; and they do not come back."""
    socket, cookie = browser.open(path), browser.cookie
    if path != "/talk":
        socket.recv(_TIMEOUT)
    end(browser)
    began = time.monotonic()
    assert closing(socket) == 1008
    assert time.monotonic() - began < 1.5  # a second, and what a machine may pause
    again = browser.open("/talk", cookie=cookie)
    assert tell(again, "see") == {}


def test_a_socket_that_signs_out_itself_is_closed(browser: Browser) -> None:
    """``session.end()`` in a socket signs out, closes the socket, and is final."""
    socket = browser.open("/talk")
    socket.send(json.dumps({"do": "end"}))
    assert closing(socket) == 1008
    assert browser.ask("/see")["user"] is None


def test_an_open_socket_cannot_sign_in(browser: Browser) -> None:
    """Signing in inside an open socket is refused, as the client could not be sent the new id; the session stays."""
    assert tell(browser.open("/talk"), "login") == "TooLate"
    assert browser.ask("/see")["user"] == browser.user


def test_a_socket_of_a_session_that_runs_out_is_closed(url: str) -> None:
    """A socket on which only heartbeats come does not keep its session alive: it is closed when the idle timeout is up.
    One on which messages come does."""
    with serving(url, IDLE="4") as here, serving(url, IDLE="4") as there:
        quiet, lively = Browser(here, there), Browser(here, there)
        try:
            for browser in (quiet, lively):
                browser.ask("/sign_in")
            silent, busy = quiet.open("/talk"), lively.open("/talk")
            until, code = time.monotonic() + 20, None
            while time.monotonic() < until:
                assert tell(busy, "see") == {}
                if code is None:
                    try:
                        tell(silent, "ping")
                    except ConnectionClosed as closed:
                        code, until = _code(closed), time.monotonic() + 2  # in which the other would run out, too
                time.sleep(0.1)
            assert code == 1008
            assert lively.ask("/see")["user"] == "ada"
        finally:
            quiet.close()
            lively.close()


def test_a_ticket_lets_one_socket_in(browser: Browser) -> None:
    """A ticket in the query opens the session for one socket that has no cookie. The second time it opens nothing."""
    ticket = browser.ask("/draw")
    socket = browser.open(f"/talk?ticket={ticket}", cookie="")
    tell(socket, "set", name="by", value="ticket")
    assert browser.ask("/see")["by"] == "ticket"
    stranger = browser.open(f"/talk?ticket={ticket}", cookie="")
    assert tell(stranger, "see") == {}


def test_twenty_sockets_and_one_ticket(browser: Browser) -> None:
    """Of twenty sockets that show one ticket at the same time, to two processes, one is let in."""
    ticket = browser.ask("/draw")

    async def come(number: int) -> Any:
        address = browser.here if number % 2 else browser.there
        async with connect_async(f"ws://{address}/talk?ticket={ticket}", open_timeout=_TIMEOUT) as socket:
            await socket.send(json.dumps({"do": "see"}))
            return json.loads(await socket.recv())

    async def all_come() -> list[Any]:
        return await asyncio.gather(*(come(number) for number in range(20)))

    browser.ask("/write?name=Ada")
    found = asyncio.run(all_come())
    assert sum("name" in fields for fields in found) == 1


def test_a_page_of_another_site_opens_no_socket(browser: Browser) -> None:
    """A socket that comes with the cookie, and from a page of another site, is refused with 403; from a page of this
    one it is not."""
    with pytest.raises(InvalidStatus) as refused:
        browser.open("/talk", origin="https://evil.example")
    assert refused.value.response.status_code == 403
    assert tell(browser.open("/talk", origin=f"http://{browser.here}"), "see") == {}


async def test_a_thousand_idle_sockets_ask_the_store_for_nothing() -> None:
    """A thousand sockets that are open and quiet cause no store access each: all together as many as ten do. They are
    all closed within a second when their user is signed out everywhere."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
    store = Through(MemoryStore())
    app, manager = make(store)  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws_ping_interval=None))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        cookies = [f"session={await manager.create_session('ada')}" for _ in range(20)]

        async def open_one(number: int) -> Any:
            headers = {"Cookie": cookies[number % len(cookies)]}
            return await connect_async(
                f"ws://127.0.0.1:{port}/talk", additional_headers=headers, open_timeout=60, ping_interval=None
            )

        sockets = [await open_one(number) for number in range(10)]
        quiet = await _calls_in(store, 3)
        for batch in range(10):
            sockets += await asyncio.gather(*(open_one(number) for number in range(99)))
            assert batch < 10
        assert len(sockets) == 1000
        assert await _calls_in(store, 3) <= quiet + 10  # a few looks of the one who looks for all: no thousand
        began = time.monotonic()
        await manager.end_user_sessions("ada")
        await asyncio.gather(*(socket.wait_closed() for socket in sockets))
        assert time.monotonic() - began < 10  # a thousand closing handshakes of both sides in one process
        assert {socket.close_code for socket in sockets} == {1008}
    finally:
        server.should_exit = True
        await serving
        await manager.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _calls_in(store: Any, seconds: float) -> int:
    store.calls.clear()
    await asyncio.sleep(seconds)
    return len(store.calls)
