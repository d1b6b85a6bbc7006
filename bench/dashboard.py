"""The dashboard's list of sessions: what finding costs in a store of a million, on SQLite, Valkey and PostgreSQL.

    first     the first page of all sessions, as the list opens
    next      the page after it; and the five hundredth (turned to one after the other)
    user      the sessions of a user
    handle    the session of a handle
    idle      those without activity for ten minutes (at once where the store keeps that order)
    label     sessions by a part of their label: the first answer, and until all were looked at
    patrol    a step of the patrol that counts users and finds the oldest and the largest sessions

Each is what a page takes once the store has been opened; the first is measured with nothing warm but the connection.
The same with a twentieth of the sessions stands beside it. While all are looked at, what else the process does
has to wait: for how long at most is a line of its own. The store is filled by its own means (tests/admin/crowds.py).
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.admin.crowds import fill, handle_of, user_of

from sojourn import AsyncSessionManager
from sojourn.admin.finding import Finder
from sojourn.admin.patrol import Patrol
from sojourn.admin.query import Query

from .report import Section, Table, Verdict
from .servers import PostgreSQL, valkey
from .timing import median

MILLION = 1_000_000
FEW = 20  # times as few, for the other column
MOST = 0.3
"""Seconds that a page may take."""
PROMISED = ("first", "next", "page 500", "user", "handle")
STORES = ("SQLite", "Valkey", "PostgreSQL")


@dataclass
class Found:
    """What was measured on one store, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)
    held: int = 0


def bench(*, quick: bool) -> Section:
    """All stores, one after the other."""
    total = MILLION // 20 if quick else MILLION
    section = Section("dashboard")
    found = {(name, size): asyncio.run(_measure(name, size)) for name in STORES for size in (total // FEW, total)}
    rows = [
        [what, *(_shown(found[name, size].seconds[what]) for name in STORES for size in (total // FEW, total))]
        for what in found["SQLite", total].seconds
    ]
    columns = ["milliseconds", *(f"{name} {size:,}" for name in STORES for size in (total // FEW, total))]
    section.tables = [Table("finding sessions", columns, rows, "medians; the first of each: with nothing read before")]
    section.figures = {f"{name} {size}": each.seconds for (name, size), each in found.items()}
    for name in STORES:
        slowest = max(PROMISED, key=lambda what: found[name, total].seconds[what])
        seconds = found[name, total].seconds[slowest]
        wanted = f"{name}: each page among {total:,} sessions in {MOST * 1000:.0f} ms"
        section.verdicts.append(Verdict(wanted, f"{_shown(seconds)} ms ({slowest})", seconds < MOST))
    return section


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"


@contextmanager
def store_url(name: str) -> Iterator[str]:
    """An empty store on a server of its own, while it is needed."""
    if name == "SQLite":
        folder = tempfile.mkdtemp(prefix="sojourn-bench-")
        try:
            yield f"sqlite:///{folder}/sessions.db?durability=process"
        finally:
            shutil.rmtree(folder)
        return
    server: Any = valkey() if name == "Valkey" else PostgreSQL(shared_buffers="128MB", autovacuum="on")
    with server:
        yield server.url()


async def _measure(name: str, total: int) -> Found:
    now, found = time.time(), Found()
    with store_url(name) as url:
        async with AsyncSessionManager(f"{url}{'&' if '?' in url else '?'}deadline=60") as manager:
            await fill(manager.store, total, now)
        async with AsyncSessionManager(url) as manager:
            await _pages(manager, total, found)
            await _walk(manager, found)
            await _patrol(manager, found)
    return found


async def _pages(manager: AsyncSessionManager, total: int, found: Found) -> None:
    finder, seconds = Finder(manager, lambda _: False), found.seconds
    search = finder.search(Query())
    found.held = (await search.page(1)).of or 0
    await search.close()
    assert found.held == total, f"{found.held} of {total} are there"
    search = finder.search(Query())
    seconds["first"] = await _seconds(lambda: search.page(1))
    seconds["next"] = await _seconds(lambda: search.page(2))
    for number in range(3, 500):
        await search.page(number)
    seconds["page 500"] = await _seconds(lambda: search.page(500))
    await search.close()
    for what, queries in {
        "user": [Query(user=user_of(3 * number) or "") for number in range(1, 12)],
        "handle": [Query(handle=handle_of(number)) for number in range(1, 12)],
        "idle": [Query(idle_for_more=600.0 + number) for number in range(5)],
        "label": [Query(label=f"firefox {number}", sort="created") for number in range(70, 73)],
    }.items():
        seconds[what] = median([await _first(finder, query) for query in queries])


async def _first(finder: Finder, query: Query) -> float:
    search = finder.search(query)
    taken = await _seconds(lambda: search.page(1))
    await search.close()
    return taken


async def _walk(manager: AsyncSessionManager, found: Found) -> None:
    search = Finder(manager, lambda _: False).search(Query(label="firefox 77", sort="created"))
    began, late = time.perf_counter(), 0.0
    while not (await search.page(1)).done:
        for _ in range(20):
            at = time.perf_counter()
            await asyncio.sleep(0.01)
            late = max(late, time.perf_counter() - at - 0.01)
    found.seconds["label, all looked at"] = time.perf_counter() - began
    found.seconds["meanwhile others wait"] = late
    await search.close()


async def _patrol(manager: AsyncSessionManager, found: Found) -> None:
    patrol = Patrol(manager, lambda _: False)
    found.seconds["patrol, first step"] = await _seconds(patrol.step)
    found.seconds["patrol, a step"] = median([await _seconds(patrol.step) for _ in range(50)])
    await patrol.close()


async def _seconds(act: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await act()
    return time.perf_counter() - began
