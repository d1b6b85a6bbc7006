"""Litestar's WebSockets have the session of the page around them, live."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from litestar import Litestar, Request, WebSocket, get, websocket, websocket_listener
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import WebSocketDisconnect, WebSocketException
from litestar.security.session_auth import SessionAuth
from litestar.testing import TestClient
from litestar.types import Empty
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sojourn import AsyncSessionManager, CookieConfig, SessionConfig, StoreUnavailable
from sojourn.adapters.litestar import LitestarSocketSession, SojournSessionConfig, session_of
from sojourn.stores.memory import MemoryStore
from sojourn.users import login, logout
from sojourn.watching import hub, watch
from worlds import Through

AnySocket = WebSocket[Any, Any, Any]


@websocket_listener("/listener")
async def listener(data: str, socket: AnySocket) -> dict[str, Any]:
    """Adds a word to the session's, and says which there are."""
    socket.session.setdefault("words", []).append(data)
    return {"words": socket.session["words"]}


async def replace(socket: AnySocket) -> None:
    socket.set_session({"replaced": True})


async def change_and_fail(socket: AnySocket) -> None:
    socket.session["lost"] = True
    raise ValueError


async def change_and_close(socket: AnySocket) -> None:
    socket.session["kept"] = True
    raise WebSocketException(detail="enough", code=4001)


async def clear(socket: AnySocket) -> None:
    socket.clear_session()


async def forget(socket: AnySocket) -> None:
    socket.set_session(Empty)


async def read_anew(socket: AnySocket) -> None:
    session: Any = socket.session
    await session.refresh()


async def commit(socket: AnySocket) -> None:
    session: Any = socket.session
    session["n"] = 1
    await session.commit()


async def change(socket: AnySocket) -> None:
    socket.session["n"] = 1


ACTS = {
    act.__name__: act for act in (replace, change_and_fail, change_and_close, clear, forget, read_anew, commit, change)
}


@websocket("/acts")
async def acts(socket: AnySocket) -> None:
    """Does what it is told, and says what is in the session then."""
    await socket.accept()
    while True:
        await ACTS[await socket.receive_text()](socket)
        session: Any = socket.session
        await socket.send_json(dict(session) if session is not Empty else None)


@get("/see", sync_to_thread=False)
def see(request: Request[Any, Any, Any]) -> Any:
    return dict(request.session)


@get("/sign-in", sync_to_thread=False)
def sign_in(request: Request[Any, Any, Any]) -> None:
    login(session_of(request), "ada")
    request.session["name"] = "Ada"


@get("/leave", sync_to_thread=False)
def leave(request: Request[Any, Any, Any]) -> None:
    logout(session_of(request))


@get("/set", sync_to_thread=False)
def put(request: Request[Any, Any, Any]) -> None:
    request.session["put"] = True


HANDLERS: list[Any] = [listener, acts, see, sign_in, leave, put]


@pytest.fixture
def store() -> Through:
    """A store that can be made to fail."""
    return Through(MemoryStore())


@pytest.fixture
def client(store: Through) -> Iterator[TestClient[Litestar]]:
    """A visitor who is signed in."""
    config = SojournSessionConfig(AsyncSessionManager(store))
    app = Litestar(HANDLERS, middleware=[config.middleware], logging_config=None)
    with TestClient(app) as client:
        client.get("/sign-in")
        yield client


def code_of(socket: Any, act: str | None = None) -> int:
    """The code that a socket is closed with, after this was sent to it."""
    if act is not None:
        socket.send_text(act)
    try:
        while True:
            socket.receive_json()
    except WebSocketDisconnect as closed:
        return int(closed.code)


def test_what_a_listener_changes_is_there_for_the_next_request(client: TestClient[Litestar]) -> None:
    """When a listener's answer has arrived, the next request finds what was changed; nested changes included."""
    with client.websocket_connect("/listener") as socket:
        for words in (["one"], ["one", "two"]):
            socket.send_text(words[-1])
            assert socket.receive_json() == {"words": words}
            assert client.get("/see").json() == {"name": "Ada", "words": words}


def test_a_socket_sees_what_others_change(client: TestClient[Litestar]) -> None:
    """``await session.refresh()`` reads what a request has changed meanwhile; ``await session.commit()`` commits."""
    with client.websocket_connect("/acts") as socket:
        client.get("/set")
        socket.send_text("read_anew")
        assert socket.receive_json() == {"name": "Ada", "put": True}
        socket.send_text("commit")
        socket.receive_json()
        assert client.get("/see").json()["n"] == 1


def test_set_session_in_a_socket_is_kept(client: TestClient[Litestar]) -> None:
    """``socket.set_session`` replaces what is in the session, for the next request, too."""
    with client.websocket_connect("/acts") as socket:
        socket.send_text("replace")
        assert socket.receive_json() == {"replaced": True}
        assert client.get("/see").json() == {"replaced": True}
        socket.send_text("change")
        assert socket.receive_json() == {"replaced": True, "n": 1}


@pytest.mark.parametrize("act", ["clear", "forget"])
def test_clear_session_in_a_socket_signs_out(client: TestClient[Litestar], act: str) -> None:
    """``socket.clear_session()``, or `Empty`, ends the session, and with it the socket."""
    with client.websocket_connect("/acts") as socket:
        assert code_of(socket, act) == 1008
    assert client.get("/see").json() == {}


@pytest.fixture
def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not told is not found by the next look either, for a minute."""
    monkeypatch.setattr(hub, "TICK", 60)
    monkeypatch.setattr(watch, "TICK", 60)


@pytest.mark.usefixtures("no_look")
@pytest.mark.parametrize("path", ["/acts", "/listener"])
def test_who_signs_out_elsewhere_loses_the_socket(client: TestClient[Litestar], path: str) -> None:
    """When the session ends in a request, its sockets are closed with 1008 as soon as that is told, listeners and
    handlers."""
    with client.websocket_connect(path) as socket:
        client.get("/leave")
        began = time.monotonic()
        assert code_of(socket) == 1008
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("act", "code", "left"),
    [("change_and_fail", 4500, {"name": "Ada"}), ("change_and_close", 4001, {"name": "Ada", "kept": True})],
)
def test_a_handler_that_raises(client: TestClient[Litestar], act: str, code: int, left: dict[str, Any]) -> None:
    """What a handler changed before it raised what nobody foresaw is not committed; what it changed before it closed
    the socket by an exception of Litestar's is."""
    with client.websocket_connect("/acts") as socket:
        assert code_of(socket, act) == code
    assert client.get("/see").json() == left


def test_an_outage_closes_a_socket_for_now(client: TestClient[Litestar], store: Through) -> None:
    """A socket whose changes cannot be kept is closed with 1013, try again later, and the session stays what it was."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    with client.websocket_connect("/acts") as socket:
        store.before["commit"] = fail
        assert code_of(socket, "change") == 1013
    store.before.clear()
    assert client.get("/see").json() == {"name": "Ada"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a real server, with the sessions in a file."""
    config = SessionConfig(cookie=CookieConfig(insecure=True), deadline=10)
    manager = AsyncSessionManager(f"sqlite:///{tmp_path}/sessions.db", config=config)
    app = Litestar(
        HANDLERS, middleware=[SojournSessionConfig(manager).middleware], lifespan=[manager], logging_config=None
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.mark.usefixtures("no_look")
def test_a_real_server_closes_the_socket_of_who_has_left(served: str) -> None:
    """On uvicorn, too: what the socket changed is there for the next request, what another process ends closes it."""
    with httpx.Client(base_url=f"http://{served}", timeout=20) as http:
        http.get("/sign-in")
        cookie = f"session={http.cookies['session']}"
        with connect(f"ws://{served}/listener", additional_headers={"Cookie": cookie}) as client:
            client.send("one")
            answer = client.recv(20)
            assert isinstance(answer, str)
            assert json.loads(answer) == {"words": ["one"]}
            assert http.get("/see").json() == {"name": "Ada", "words": ["one"]}
            http.get("/leave")
            began = time.monotonic()
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(20)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            assert time.monotonic() - began < 10


def test_a_page_of_another_site_gets_no_socket(client: TestClient[Litestar]) -> None:
    """A handshake with the visitor's cookie from another site's page is refused."""
    with pytest.raises(WebSocketDisconnect):
        with client.websocket_connect("/acts", headers={"Origin": "https://evil.example"}) as socket:
            socket.receive_json()


async def retrieve(session: Any, connection: ASGIConnection[Any, Any, Any, Any]) -> Any:
    assert connection.scope["type"] == ScopeType.HTTP or isinstance(session, LitestarSocketSession)
    return session.user_id


def test_session_auth_lets_in_who_is_signed_in() -> None:
    """Litestar's `SessionAuth` knows who opens a socket, and closes that of a stranger."""
    config = SojournSessionConfig(AsyncSessionManager())
    auth = SessionAuth[Any, Any](retrieve_user_handler=retrieve, session_backend_config=config, exclude=["/sign-in"])
    app = Litestar(HANDLERS, on_app_init=[auth.on_app_init], logging_config=None)
    with TestClient(app) as client:
        with pytest.raises(WebSocketDisconnect):
            with client.websocket_connect("/acts") as socket:
                socket.receive_json()
        client.get("/sign-in")
        with client.websocket_connect("/acts") as socket:
            socket.send_text("change")
            assert socket.receive_json() == {"name": "Ada", "n": 1}
            client.get("/leave")
            assert code_of(socket) == 1008


def test_a_socket_brings_nothing_back(client: TestClient[Litestar]) -> None:
    """What a handler does after the end fails, and brings nothing back."""
    with client.websocket_connect("/acts") as socket:
        client.get("/leave")
        assert code_of(socket, "commit") == 1008
    assert client.get("/see").json() == {}
