"""Who is cancelled while waiting for a store: it is over, however near the answer was."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from servers.process import until
from sojourn import open_store
from sojourn.stores.readiness import readiness
from sojourn.testing import NOW, new_record


async def _cancelled_just_then(
    operation: Callable[[], Awaitable[object]], done: Callable[[], object] = lambda: True
) -> None:
    """Cancel an operation after its answer has come, and before it goes on: there is one turn of the loop for that.
    ``done``: whether what it does has been done."""

    async def waits() -> None:
        await operation()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    until(done, "what is to be done")
    time.sleep(0.2)  # a thread does it, and has the loop called, which is not there
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


async def test_a_write_in_a_file_is_cancelled(tmp_path: Path) -> None:
    """A task that is cancelled just as its write is done ends there; what it wrote stays."""
    store = open_store(f"sqlite:///{tmp_path}/sessions.db?deadline=10", world="async")
    await store.create(new_record(), NOW)
    record = new_record()
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as other:
        written = "SELECT 1 FROM session WHERE handle = ?"
        await _cancelled_just_then(
            lambda: store.create(record, NOW), lambda: other.execute(written, (record.handle,)).fetchone()
        )
    assert await store.load(record.handle) == record
    await store.close()


async def test_a_name_that_is_looked_up_is_cancelled() -> None:
    """A task that is cancelled just as a name is resolved ends there."""
    await _cancelled_just_then(lambda: readiness("async").call(lambda: "127.0.0.1", time.monotonic() + 5))
