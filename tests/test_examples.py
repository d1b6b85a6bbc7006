"""The examples do what they say: each is served as its first lines say, in an empty folder, and used."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from servers.process import free_port

EXAMPLES = Path(__file__).parent.parent / "examples"
_SERVER = {
    "cart": ["flask", "--app", "cart", "run", "--port"],
    "login": ["uvicorn", "--log-level", "warning", "login:app", "--port"],
    "lobby": ["uvicorn", "--log-level", "warning", "lobby:app", "--port"],
    "rate_limit": ["uvicorn", "--log-level", "warning", "rate_limit:app", "--port"],
}
Serve = Callable[[str], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves an example; its address."""
    servers: list[subprocess.Popen[bytes]] = []

    def serve_one(name: str) -> str:
        port = free_port()  # none that the system may give to somebody else before it is served
        path = os.pathsep.join([str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", *_SERVER[name], str(port)]
        servers.append(
            subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE)
        )
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up and servers[-1].poll() is None:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    return f"127.0.0.1:{port}"
            time.sleep(0.05)
        raise AssertionError(f"{name} does not serve")

    yield serve_one
    for server in servers:
        server.kill()
        server.communicate()


def test_every_example_is_tested() -> None:
    """There is no example that nothing runs."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == _SERVER.keys()


def test_a_hundred_guesses_at_once(serve: Serve) -> None:
    """rate_limit: of a hundred requests at once with one session, ten are let through, and no more later."""
    address = serve("rate_limit")
    with httpx.Client(base_url=f"http://{address}", timeout=30) as first:
        assert first.post("/guess/1").status_code == 409
        limit = first.post("/start").json()["limit"]
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in first.cookies.items())}

    async def all_guess() -> list[int]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=f"http://{address}", headers=cookie, limits=limits, timeout=60) as client:
            answers = await asyncio.gather(*(client.post(f"/guess/{number}") for number in range(100)))
        return [answer.status_code for answer in answers]

    answers = asyncio.run(all_guess())
    assert (answers.count(200), answers.count(429)) == (limit, 100 - limit) == (10, 90)
    assert httpx.post(f"http://{address}/guess/1", headers=cookie, timeout=30).status_code == 429


def test_a_cart_that_is_filled_at_once(serve: Serve) -> None:
    """cart: looking makes no cookie; forty requests at once are forty pieces; what is taken out is out."""
    address = f"http://{serve('cart')}"
    with httpx.Client(base_url=address, timeout=30) as client:
        assert client.get("/cart").cookies == httpx.Cookies()
        assert client.post("/cart/tea").json() == {"tea": 1}
        assert client.post("/cart/sofa").status_code == 404
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        with ThreadPoolExecutor(10) as pool:
            items = ["tea", "cup"] * 20
            add = partial(httpx.post, headers=cookies, timeout=30)
            answers = list(pool.map(lambda item: add(f"{address}/cart/{item}"), items))
        assert {answer.status_code for answer in answers} == {200}
        seen = client.get("/cart").json()
        assert (seen["cart"], seen["total"]) == ({"tea": 21, "cup": 20}, 21 * 4 + 20 * 9)
        assert seen["messages"]
        assert client.delete("/cart/tea").json() == {"cup": 20}
        assert client.get("/cart").json() == {"cart": {"cup": 20}, "total": 180, "messages": []}


class Device:
    """One of a user's devices."""

    def __init__(self, address: str, name: str) -> None:
        self.http = httpx.Client(base_url=f"http://{address}", headers={"User-Agent": name}, timeout=30)
        self.token = self.http.get("/").json()["csrf_token"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = self.http.request(method, path, headers={"X-CSRF-Token": self.token}, json=body or None)
        self.token = answer.json().get("csrf_token", self.token)
        return answer

    def sign_in(self, password: str = "lovelace") -> int:
        return self.ask("POST", "/sign-in", name="ada", password=password).status_code

    @property
    def user(self) -> str | None:
        page = self.http.get("/").json()
        self.token = page["csrf_token"]
        return page["user"]


def test_signing_in_on_three_devices(serve: Serve) -> None:
    """login: a wrong password, or no token, signs nobody in; the right one rotates the id; devices can be listed and
    signed out, one or all others; a new password signs the others out."""
    address = serve("login")
    with ExitStack() as stack:
        devices = [stack.enter_context(Device(address, name)) for name in ("laptop", "phone", "tablet")]
        _on_three_devices(*devices)


def _on_three_devices(laptop: Device, phone: Device, tablet: Device) -> None:
    devices = (laptop, phone, tablet)
    assert laptop.sign_in("wrong") == 401
    before = dict(laptop.http.cookies)
    assert laptop.http.post("/sign-in", json={"name": "ada", "password": "lovelace"}).status_code == 403
    assert [device.sign_in() for device in devices] == [200] * 3
    assert dict(laptop.http.cookies) != before
    assert [device.user for device in devices] == ["ada"] * 3
    rows = laptop.ask("GET", "/devices/").json()["devices"]
    assert {row["label"] for row in rows} == {"laptop", "phone", "tablet"}
    assert [row["label"] for row in rows if row["current"]] == ["laptop"]
    handle = next(row["handle"] for row in rows if row["label"] == "phone")
    assert laptop.http.delete(f"/devices/{handle}").status_code == 403
    assert laptop.ask("DELETE", f"/devices/{handle}").json() == {"ended": 1}
    assert (phone.user, tablet.user) == (None, "ada")
    assert laptop.ask("POST", "/password", name="ada", password="byron").json() == {"ended": 1}
    assert (laptop.user, tablet.user) == ("ada", None)
    assert (phone.sign_in(), phone.sign_in("byron")) == (401, 200)
    laptop.ask("POST", "/sign-out")
    assert (laptop.user, phone.user) == (None, "ada")


def test_a_lobby(serve: Serve) -> None:
    """lobby: nobody gets in without a session; who is there is told to all; wins are counted exactly in two tabs and
    are there for the next request; signing out closes the socket."""
    address = serve("lobby")
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{address}/room")
    assert refused.value.response.status_code == 403
    with httpx.Client(base_url=f"http://{address}", timeout=30) as ada:
        ada.post("/enter/ada")
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in ada.cookies.items())}
        with connect(f"ws://{address}/room", additional_headers=cookie) as one:
            assert json.loads(one.recv(10)) == {"here": ["ada"]}
            with connect(f"ws://{address}/room", additional_headers=cookie) as other:
                for number in range(10):
                    (one, other)[number % 2].send(json.dumps("won"))
                _until(one, {"won": "ada", "wins": 10})
                _until(other, {"won": "ada", "wins": 10})
                assert ada.get("/me").json() == {"name": "ada", "wins": 10}
                ada.post("/leave")
                for tab in (one, other):
                    with pytest.raises(ConnectionClosed) as closed:
                        _until(tab, None)
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == 1008


def _until(tab: Any, wanted: Any) -> None:
    """Listen until this is said."""
    while json.loads(tab.recv(10)) != wanted:
        pass
