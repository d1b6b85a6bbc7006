"""Promise 5: what an open page of the dashboard costs the requests of the site that it is mounted in. The whole of it,
in the site's own process: the worst place. (bench/watched.py measures what follows the store alone, for longer.)"""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from browsing import Guest, chromium
from costing import Client, Server, spent
from crowd import STORES, store_url
from playwright.sync_api import expect

from servers.process import LOOPBACK

_SERVER = """
import sys, time
import uvicorn
from sojourn.stores import sql

# Who has watched goes on to follow for a while, and writers tell for longer: shortened, or nobody would not be watched.
sql.WATCHED_FOR, sql.WATCH_AGAIN = 4.0, 2.0

from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from sojourn import AsyncSessionManager
from sojourn.adapters.asgi import SessionMiddleware
from sojourn.admin import Dashboard, desk
from sojourn.watching import hub

desk._LINGER, hub._LINGER, hub.TICK = 1, 0.1, 0.1
manager = AsyncSessionManager(sys.argv[2])
dashboard = Dashboard(manager, check=lambda request: "ada")

@asynccontextmanager
async def working(app):
    yield
    await dashboard.close()
    await manager.close()

async def change(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return PlainTextResponse("ok")

async def cpu(request):
    return PlainTextResponse(repr(time.process_time()))

site = Starlette(
    routes=[Route("/change", change), Route("/cpu", cpu)], middleware=[Middleware(SessionMiddleware, manager=manager)]
)
app = Starlette(routes=[Mount("/admin", dashboard), Mount("/", site)], lifespan=working)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""

ROUNDS, REQUESTS = 5, 2400


@pytest.mark.battery
@pytest.mark.soak
@pytest.mark.parametrize("where", ["memory", *STORES])
def test_what_an_open_page_costs(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A request that commits costs the server's process at most a tenth more CPU time while the overview is open in a
    browser, served by that very process: measured in one run, by turns, the least of each, as all else that a machine
    does only adds to what a round takes."""
    store = "memory://" if where == "memory" else store_url(request, where, tmp_path)
    with Server(_SERVER, store) as server, chromium() as browser:
        guest = Guest(browser, f"http://{LOOPBACK}:{server.port}/admin/")
        _measure(server)
        costs: dict[bool, list[float]] = {True: [], False: []}
        for number in range(ROUNDS):
            for on in (True, False) if number % 2 else (False, True):
                page = guest.open() if on else None
                time.sleep(1.5)  # what opening costs is over
                costs[on].append(_measure(server))
                if page is not None:
                    expect(page.locator("[data-id='g:heard']")).to_contain_text(re.compile(r"[1-9]"))  # of the commits
                    page.close()
                    time.sleep(7)  # and what follows the store has stopped
        assert guest.complaints == []
    print(
        where,
        *(f"{name} {[round(1e6 * one) for one in costs[on]]} us" for on, name in ((True, "open"), (False, "closed"))),
    )
    assert min(costs[True]) <= 1.10 * min(costs[False]), costs


def _measure(server: Server) -> float:
    async def measure() -> float:
        clients = [Client(server.port) for _ in range(9)]
        for client in clients:
            await client.open()
        try:
            return await spent(clients[1:], clients[0], REQUESTS)
        finally:
            for client in clients:
                client.close()

    with ThreadPoolExecutor(1) as aside:  # the browser has an event loop in this thread
        return aside.submit(lambda: asyncio.run(measure())).result()
