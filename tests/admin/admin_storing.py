"""Sessions whose fields are what a test says, byte for byte, on real stores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sojourn import AsyncSessionManager
from sojourn.admin.shapes import field_step
from sojourn.codec import Codec
from sojourn.ids import mint
from sojourn.record import Record
from sojourn.session import BaseSession

CODEC = Codec()


def encoded(values: Mapping[str, Any]) -> dict[str, bytes]:
    """Fields as they are stored; bytes in a `Raw` are taken as they are."""
    return {name: value.data if isinstance(value, Raw) else CODEC.encode(name, value) for name, value in values.items()}


class Raw:
    """Bytes that stand in a record as they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def session_of(values: Mapping[str, Any]) -> BaseSession:
    """A session object with these fields, of no store."""
    manager = AsyncSessionManager("memory://")
    return manager.resume(record_of(values))


def record_of(values: Mapping[str, Any], **given: Any) -> Record:
    """A record with these fields."""
    fields, now = encoded(values), time.time()
    size = sum(map(len, fields)) + sum(map(len, fields.values()))
    told = {
        "handle": mint()[0],
        "secret_digest": b"\0" * 32,
        "versions": b"\1" * 8,
        "user_id": None,
        "created_at": now,
        "authenticated_at": now,
        "rotated_at": now,
        "accessed_at": now,
        "idle_timeout": 1800.0,
        "touch_interval": 60.0,
        "ends_at": now + 86400.0,
        "size": size,
        "fields": fields,
    }
    return Record(**{**told, **given})


async def stored(manager: AsyncSessionManager, values: Mapping[str, Any], **given: Any) -> str:
    """The handle of a new session with these fields."""
    record = record_of(values, **given)
    await manager.store.create(record, manager.clock())
    return record.handle


async def fields_of(manager: AsyncSessionManager, handle: str) -> dict[str, Any]:
    """What a session holds now."""
    record = await manager.store.load(handle)
    assert record is not None
    return {name: CODEC.decode(name, data) for name, data in record.fields.items()}


def at(field: str, *steps: str) -> tuple[str, ...]:
    """A path."""
    return (field_step(field), *steps)
