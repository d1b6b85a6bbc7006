"""Many records at once, as a copy and an import have them: gathered into batches, written side by side, and a store
that does not answer for a moment asked again. For asynchronous stores: what is under way together shares their group
commits and their round trips.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from .errors import DamagedRecord, OutcomeUnknown, StoreUnavailable
from .record import Record, Refused
from .store import Store

__all__ = ["BATCH", "PAUSES", "add", "closing", "create", "each", "in_batches", "patiently"]

log = logging.getLogger("sojourn")

T = TypeVar("T")

BATCH: Final = 1000
"""Records that are handled together, or fewer, if they are large."""
PAUSES: Final = (0.1, 0.3, 1.0, 2.0, 4.0)
"""Seconds before a store that did not answer is asked again."""

_BATCH_BYTES: Final = 8 << 20
_AT_ONCE: Final = 256  # writes under way: as many as a group commit takes


async def in_batches(pages: AsyncIterator[list[Record]]) -> AsyncIterator[list[Record]]:
    """The same records in lists of a good size, whatever the pages are."""
    batch: list[Record] = []
    size = 0
    async with closing(pages):
        async for page in pages:
            for record in page:
                batch.append(record)
                size += record.size
                if len(batch) == BATCH or size > _BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch


@asynccontextmanager
async def closing(walk: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """A walk that is closed when it is left, by whatever way: what it holds is given back there, and not some day."""
    try:
        yield walk
    finally:
        if isinstance(walk, AsyncGenerator):
            await walk.aclose()


async def patiently(operation: Callable[[], Awaitable[T]]) -> T:
    """Do what is safe to repeat, again and again while the store does not answer, for some seconds. Raises what the
    last attempt raised."""
    for pause in PAUSES:
        try:
            return await operation()
        except (StoreUnavailable, OutcomeUnknown) as error:
            log.info("a store did not answer, and is asked again in %g s: %s", pause, error)
            await asyncio.sleep(pause)
    return await operation()


async def add(store: Store, records: Sequence[Record], now: float) -> int:
    """Create those of these sessions that are not there, under no cap. Returns how many were created."""
    made = 0

    async def one(record: Record) -> None:
        nonlocal made
        try:
            found = await create(store, record, now)
            made += found.versions == record.versions  # (others add to it during an await)
        except DamagedRecord as error:  # there is one, such as it is
            log.error("%s", error)  # noqa: TRY400 - the traceback would say nothing more

    await each(records, one)
    return made


async def create(store: Store, record: Record, now: float) -> Record:
    """Add a record, if there is none. Returns the one that is there then."""
    outcome = await patiently(partial(store.create, record, now))
    if isinstance(outcome, Refused):  # it was asked for without a cap
        raise StoreUnavailable("the store refused a session")
    return outcome.record


async def each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for each item, many at a time. If one fails, the rest is left, and its error raised."""
    rest = iter(items)

    async def some() -> None:
        for item in rest:
            await work(item)

    workers = [asyncio.create_task(some()) for _ in range(min(len(items), _AT_ONCE))]
    try:
        await asyncio.gather(*workers)
    except BaseException:  # the interrupting kind included: nothing may go on behind it
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        raise
