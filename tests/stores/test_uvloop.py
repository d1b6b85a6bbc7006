"""The asynchronous stores under uvloop, the event loop that uvicorn takes where it is installed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from servers.postgres import Database
from servers.valkey import Valkey, fresh_prefix
from sojourn import AsyncSessionManager
from worlds import PATIENT


async def _use(url: str) -> None:
    async with AsyncSessionManager(url, config=PATIENT) as sessions:
        session_id = await sessions.create_session("ada", {"n": 0, "long": "x" * 200_000})

        async def add() -> None:
            await sessions.update(session_id, "n", lambda n: n + 1)

        async with sessions.watch(session_id) as changes:
            await asyncio.gather(*(add() for _ in range(50)))
            change = await changes.next(10)
            assert change is not None
            assert change.kind == "changed"
            await sessions.end_session(session_id)
            while change is not None and change.kind != "ended":
                change = await changes.next(10)
            assert change is not None
        assert await sessions.get_session(session_id) is None


def _run(url: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_use(url))


@pytest.mark.parametrize("durability", ["process", "power"])
def test_sqlite(tmp_path: Path, durability: str) -> None:
    """Sessions are created, updated by fifty at once, watched and ended: on SQLite."""
    _run(f"sqlite:///{tmp_path / 'sessions.db'}?durability={durability}")


def test_memory() -> None:
    """Likewise in memory."""
    _run("memory://")


def test_valkey(valkey: Valkey) -> None:
    """Likewise on Valkey."""
    _run(valkey.url(prefix=fresh_prefix()))


def test_postgresql(database: Database) -> None:
    """Likewise on PostgreSQL."""
    _run(database.url())
