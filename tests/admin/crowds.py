"""Very many sessions in a store, quickly: written by the store's own means, many at a time, and without facts.

What there is, is the same in every run: session `number` was last active `number * APART` seconds ago (so that they are
spread over the last twenty minutes), every third is nobody's, and each user has four. They live for another ten minutes
at least by the clock that is given.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from itertools import islice

import psycopg

from sojourn import ids
from sojourn.facts import created
from sojourn.record import Record, replace
from sojourn.store import Store
from sojourn.stores.postgres import PostgresStore
from sojourn.stores.sealing import seal
from sojourn.stores.sql import columns
from sojourn.stores.sqlite import _SQL, SQLiteStore
from sojourn.stores.valkey import ValkeyStore

SPREAD = 1200.0
"""Seconds over which the last activity is spread."""

_COLUMNS = (
    "handle, version, generation, user_id, authenticated_at, accessed_at, idle_for, ends_at, fence, leased_until, body"
)
_FIELDS = {"cart": b"\x81\xa5items\x90" + b"\xc0" * 150, "theme": b"\xa4dark"}
_PATTERN = Record(
    handle="",
    secret_digest=ids.digest("s" * 43),
    versions=b"12345678",
    user_id=None,
    created_at=0.0,
    authenticated_at=0.0,
    rotated_at=0.0,
    accessed_at=0.0,
    idle_timeout=1800.0,
    touch_interval=60.0,
    ends_at=0.0,
    size=0,
    fields=_FIELDS,
)


def handle_of(number: int) -> str:
    """The handle of a session: spread evenly, as random ones are."""
    return urlsafe_b64encode(hashlib.sha256(number.to_bytes(8)).digest())[:22].decode()


def user_of(number: int) -> str | None:
    """The user of a session; None: it is nobody's."""
    return None if number % 3 == 2 else f"user-{number // 6}"


def record_of(number: int, total: int, now: float) -> Record:
    """Session `number` of so many."""
    seen = now - number * SPREAD / total
    return replace(
        _PATTERN,
        handle=handle_of(number),
        user_id=user_of(number),
        label=f"Firefox {number % 100}" if number % 2 else None,
        created_at=seen - 3600.0 - number % 7,
        authenticated_at=seen - 3600.0,
        rotated_at=seen - 3600.0,
        accessed_at=seen,
        ends_at=now + 86400.0,
        size=200 + number % 1000,
    )


def records(total: int, now: float) -> Iterator[Record]:
    """All of them."""
    return (record_of(number, total, now) for number in range(total))


async def fill(store: Store, total: int, now: float, *, batch_size: int = 100_000) -> None:
    """Add so many sessions to an empty store. A batch must be written before the store's deadline."""
    crowd = records(total, now)
    await store.stats()  # which makes the tables, where there are none yet
    if isinstance(store, PostgresStore):
        await _copy(store, crowd)
        return
    while batch := list(islice(crowd, batch_size)):
        if isinstance(store, SQLiteStore):
            rows = sorted((record.handle, *columns(record), seal(record)) for record in batch)  # twice as quick
            await store._file.write(lambda connection, rows=rows: connection.executemany(_SQL["create"], rows))
        elif isinstance(store, ValkeyStore):
            await _send(store, batch, now)
        else:
            for record in batch:
                await store.create(record, now)


async def _copy(store: PostgresStore, crowd: Iterator[Record]) -> None:
    """With COPY, on a connection of its own, and with the count of records that is kept beside them."""
    with psycopg.connect(**store._pool._parameters, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {store._schema}")
        with connection.cursor().copy(f"COPY session ({_COLUMNS}) FROM STDIN") as copy:
            for record in crowd:
                handle, version, generation, user_id, *others = record.handle, *columns(record)
                user = None if user_id is None else user_id.encode()
                copy.write_row((handle, version, generation, user, *others, seal(record)))
        connection.execute("UPDATE held SET sessions = (SELECT count(*) FROM session)")
        connection.execute("ANALYZE session")


async def _send(store: ValkeyStore, batch: list[Record], now: float) -> None:
    """With the scripts that create sessions, many in a request."""
    space = store._space
    for at in range(0, len(batch), 500):
        requests = []
        for record in batch[at : at + 500]:
            shard = space.shard_of(record.handle)
            if record.user_id is not None:
                requests.append(store._users.enlist(record, now))
            requests.append(store._creation(shard, record, created(record, now), now))
        await space.ask(*requests)
