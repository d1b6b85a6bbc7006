"""A million sessions: whatever page of them is asked for is there within a third of a second, on each store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import crowds
import pytest

from servers.postgres import PostgreSQL
from servers.valkey import Valkey
from sojourn import AsyncSessionManager
from sojourn.admin.finding import Finder, Page, Search
from sojourn.admin.patrol import Patrol
from sojourn.admin.query import Query

MILLION = 1_000_000
MOST = 0.3


@pytest.fixture(params=["sqlite", "postgres", "valkey", "valkey-in-a-second"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store, on a server of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/sessions.db?durability=process&"
        for file in tmp_path.glob("sessions.db*"):  # half a gigabyte, which pytest would keep
            file.unlink()
    elif request.param.startswith("valkey"):
        with Valkey() as server:
            yield f"{server.url()}?"
    else:
        with PostgreSQL() as server:
            yield f"{server.url()}?"


@pytest.fixture
def url(request: pytest.FixtureRequest, empty: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with a million sessions. (In Valkey it makes a difference whether all have one deadline, as then a single
    list has all their handles.)"""
    if "in-a-second" in request.node.callspec.id:
        monkeypatch.setattr(crowds, "SPREAD", 1.0)

    async def make() -> None:
        async with AsyncSessionManager(f"{empty}deadline=120") as manager:
            await crowds.fill(manager.store, MILLION, time.time())

    asyncio.run(make())
    return empty


@pytest.mark.battery
@pytest.mark.soak
async def test_a_million(url: str) -> None:
    """Among a million sessions the first page, the next ones, a user's sessions and the session of a handle are there
    within 300 ms each, and so is the first answer of a search that looks at all; a step of the patrol takes less. No
    less so if all were active within a second, and so have one deadline."""
    async with AsyncSessionManager(f"{url}deadline=1") as manager:
        finder, slow = Finder(manager, lambda _: False), dict[str, float]()

        async def timed(what: str, search: Search, number: int) -> Page:
            began = time.perf_counter()
            page = await search.page(number)
            slow[what] = time.perf_counter() - began
            return page

        search = finder.search(Query())
        met: set[str] = set()
        for number in range(1, 8):
            page = await timed(f"page {number}", search, number)
            assert (len(page.rows), page.more, page.of) == (50, True, MILLION)
            assert not met & {row.handle for row in page.rows}
            met |= {row.handle for row in page.rows}
        assert (await timed("back", search, 1)).number == 1
        await search.close()
        expected: dict[str, tuple[Query, Callable[[Page], bool]]] = {
            "user": (
                Query(user=crowds.user_of(MILLION // 2 - 2) or ""),
                lambda page: len(page.rows) == 4 and page.done,
            ),
            "handle": (Query(handle=crowds.handle_of(77)), lambda page: len(page.rows) == 1 and page.done),
            "walk": (Query(sort="size", label="firefox"), lambda page: len(page.rows) == 50 and not page.done),
        }
        for what, (query, right) in expected.items():
            search = finder.search(query)
            assert right(await timed(what, search, 1)), what
            await search.close()
        patrol = Patrol(manager, lambda _: False)
        for number in range(10):
            began = time.perf_counter()
            await patrol.step()
            slow[f"step {number}"] = time.perf_counter() - began
        await patrol.close()
        assert {what: taken for what, taken in slow.items() if taken > MOST} == {}
