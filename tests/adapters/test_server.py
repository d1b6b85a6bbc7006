"""Over real sockets, with a real server in a process of its own, on a real file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from browser import Jar

_REQUESTS = 50


@contextmanager
def serving(url: str) -> Iterator[str]:
    """The application's address, while its server runs. It is killed with SIGKILL at the end."""
    command = [sys.executable, str(Path(__file__).with_name("served.py")), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


async def _fire(address: str, cookie: str) -> list[int]:
    """Send all requests at once; their statuses."""
    limits = httpx.Limits(max_connections=_REQUESTS)
    async with httpx.AsyncClient(base_url=address, headers={"Cookie": cookie}, limits=limits, timeout=30) as client:
        responses = await asyncio.gather(*(client.get("/add", params={"n": at}) for at in range(_REQUESTS)))
    return [response.status_code for response in responses]


def test_fifty_requests_at_once_and_a_kill(tmp_path: Path) -> None:
    """Fifty HTTP requests at once with one cookie append to one list: fifty of fifty are there. After kill -9 and a new
    start the visitor is still signed in, with all of them."""
    url, jar = f"sqlite:///{tmp_path}/sessions.db", Jar("127.0.0.1", tls=False)
    with serving(url) as address:
        signed_in = httpx.get(f"{address}/sign-in", timeout=30)  # it listens, and may yet be starting
        jar.receive(signed_in.headers.get_list("set-cookie"))
        assert asyncio.run(_fire(address, str(jar.header))) == [200] * _REQUESTS
        before = httpx.get(f"{address}/see", headers={"Cookie": str(jar.header)}, timeout=30).json()
        assert sorted(before["cart"]["items"]) == list(range(_REQUESTS))
        assert (before["user"], before["hits"]) == ("ada", _REQUESTS)
    with serving(url) as address:
        response = httpx.get(f"{address}/see", headers={"Cookie": str(jar.header)}, timeout=30)
    assert response.json() == before
    assert response.headers.get_list("set-cookie") == []
