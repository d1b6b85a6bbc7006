"""Writers of several processes take fair turns, those of one share transactions, and no event loop waits for either."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sojourn import AsyncSessionManager, SessionConfig
from sojourn.stores.sqlite import SQLiteStore
from sojourn.stores.turnstile import Turnstile

PROCESSES = 8
WRITER = """
import sys, time
from sojourn import SessionConfig, SessionManager
with SessionManager(sys.argv[1], config=SessionConfig(deadline=10.0)) as sessions:
    session_id = sessions.create_session(data={"n": 0, "rest": "x" * 1500})
    print("ready", flush=True)
    until, made = float(sys.stdin.readline()), 0
    while time.time() < until:
        sessions.update(session_id, "n", lambda n: n + 1)
        made += 1
    print(made, flush=True)
"""


@pytest.mark.battery
@pytest.mark.parametrize("durability", ["power", "process"])
def test_processes_take_fair_turns(tmp_path: Path, durability: str) -> None:
    """Of 8 processes that write without pause, none gets less than half of the mean."""
    url = f"sqlite:///{tmp_path}/sessions.db?durability={durability}"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        until = time.time() + 4.0
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(f"{until}\n")
            writer.stdin.flush()
        made = [int(writer.communicate(timeout=30)[0]) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert min(made) >= sum(made) / PROCESSES / 2, made


def test_an_event_loop_goes_on_while_writers_wait(tmp_path: Path) -> None:
    """While the disk keeps 64 writers waiting the loop goes on, and reads are served; then they share transactions."""
    asyncio.run(_writers_behind_a_closed_turnstile(tmp_path / "sessions.db"))


async def _writers_behind_a_closed_turnstile(path: Path) -> None:
    store = SQLiteStore(path, world="async", deadline=10.0)
    turns = _counted(store)
    async with AsyncSessionManager(store, config=SessionConfig(deadline=10.0)) as sessions:
        ids = [await sessions.create_session(data={"n": 0}) for _ in range(64)]
        closed = Turnstile(path)
        closed.acquire(time.monotonic() + 1)
        turns.clear()
        writers = [asyncio.create_task(sessions.update(session_id, "n", lambda n: n + 1)) for session_id in ids]
        ticks = 0
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            await asyncio.sleep(0.001)
            ticks += 1
        assert not any(writer.done() for writer in writers)
        assert await sessions.get_session(ids[0]) == {"n": 0}
        closed.release()
        closed.close()
        assert await asyncio.gather(*writers) == [1] * 64
        assert ticks > 50, "the loop was held up"
        assert len(turns) < 10, "the writes were not grouped"


def _counted(store: SQLiteStore) -> list[float]:
    """When the store took its turns."""
    turns: list[float] = []
    turnstile: Any = store._file._turnstile
    acquire = turnstile.acquire

    def counting(until: float) -> None:
        acquire(until)
        turns.append(time.monotonic())

    turnstile.acquire = counting
    return turns
