"""Django over real sockets, with real servers in processes of their own, on real files."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from browser import Jar

_REQUESTS = 20


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[str]:
    """The site's address, while its server runs. It is killed with SIGKILL at the end."""
    command = [sys.executable, str(Path(__file__).with_name("served_django.py")), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
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


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_requests_at_once_and_a_kill(kind: str, tmp_path: Path) -> None:
    """Twenty HTTP requests at once with one cookie append to one list: twenty of twenty are there, behind the server of
    ``runserver`` and behind an ASGI server. After kill -9 and a new start the visitor is still signed in, with all of
    them."""
    jar = Jar("127.0.0.1", tls=False)
    with serving(kind, tmp_path) as address:
        signed_in = httpx.get(f"{address}/sign-in", timeout=30)  # it listens, and may yet be starting
        jar.receive(signed_in.headers.get_list("set-cookie"))
        assert asyncio.run(_fire(address, str(jar.header))) == [200] * _REQUESTS
        before = httpx.get(f"{address}/see", headers={"Cookie": str(jar.header)}, timeout=30).json()
        assert (before["user"], sorted(before["cart"]["items"])) == ("ada", list(range(_REQUESTS)))
    with serving(kind, tmp_path) as address:
        response = httpx.get(f"{address}/see", headers={"Cookie": str(jar.header)}, timeout=30)
    assert response.json() == before
    assert response.headers.get_list("set-cookie") == []
