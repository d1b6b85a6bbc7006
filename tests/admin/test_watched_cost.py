"""Promise 5: what it costs a site that its overview is open. (bench/watched.py has more of it, for every store.)"""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

import pytest
from costing import Client, Server, spent

_SERVER = """
import sys, time
import uvicorn
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from sojourn import AsyncSessionManager
from sojourn.adapters.asgi import SessionMiddleware
from sojourn.admin.pulse import Pulse
from sojourn.admin.reports import report
from sojourn.stores import sqlite_feed
from sojourn.watching import hub

# Who has watched goes on to follow for a while, and writers tell for longer: shortened, or nobody would not be watched.
hub._LINGER, hub.TICK, sqlite_feed.WATCHED_FOR, sqlite_feed.WATCH_AGAIN = 0.1, 0.1, 1.0, 0.5

manager = AsyncSessionManager(sys.argv[2])
pulse = Pulse(manager, [manager])

@asynccontextmanager
async def working(app):
    one = report(manager)
    yield
    await one.stopped()
    await pulse.stop()

async def change(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return PlainTextResponse("ok")

async def cpu(request):
    return PlainTextResponse(repr(time.process_time()))

async def watch(request):
    await pulse.start()
    return PlainTextResponse(str(sum(minute.commits for minute in pulse.reading().minutes)))

async def unwatch(request):
    await pulse.stop()
    return PlainTextResponse("ok")

app = Starlette(
    routes=[Route(f"/{view.__name__}", view) for view in (change, cpu, watch, unwatch)],
    middleware=[Middleware(SessionMiddleware, manager=manager)],
    lifespan=working,
)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""

ROUNDS, REQUESTS = 9, 800


@pytest.mark.battery
@pytest.mark.soak
@pytest.mark.parametrize("where", ["memory", "sqlite"])
async def test_what_it_costs_to_be_watched(where: str, tmp_path: Path) -> None:
    """A request that commits costs the server's process at most a tenth more CPU time while the overview is open:
    measured in one run, by turns, the median of the rounds' ratios. The overview has heard of every one of the
    commits."""
    store = "memory://" if where == "memory" else f"sqlite:///{tmp_path}/sessions.db?durability=process"
    with Server(_SERVER, store) as server:
        clients = [Client(server.port) for _ in range(8)]
        desk = Client(server.port)
        for client in (*clients, desk):
            await client.open()

        await spent(clients, desk, REQUESTS)
        ratios = []
        for number in range(ROUNDS):
            took = {}
            for on in (True, False) if number % 2 else (False, True):
                if on:
                    await desk.ask("watch")
                    await asyncio.sleep(0.5)
                    heard = int(await desk.ask("watch"))
                took[on] = await spent(clients, desk, REQUESTS)
                if on:
                    await asyncio.sleep(0.5)
                    assert int(await desk.ask("watch")) == heard + REQUESTS
                    await desk.ask("unwatch")
                    await asyncio.sleep(1.5)
            ratios.append(took[True] / took[False])
        for client in (*clients, desk):
            client.close()
    assert statistics.median(ratios) <= 1.10, ratios
