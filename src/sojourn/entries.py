"""Values by key, each with an end of its own: what a framework calls a store, for its caches and its counters.

An entry is a record like a session's, under a handle that is made of its namespace and its key. It is no session: it
has no secret, so no cookie opens it. Its namespace stands where a session has its user, which is how all of a namespace
can be ended in one step. A later write replaces an earlier one as a whole; nothing is merged.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Final

from .codec import Codec
from .engine import Engine
from .errors import ConflictError
from .lanes import mint_version
from .policy import check_sizes, is_over, new_record
from .record import VERSION_BYTES, VERSIONS_KEPT, Committed, Record, replace

__all__ = ["Entries"]

_FIELD: Final = "value"
_NEVER: Final = 253402300800.0  # the end of the year 9999, in Unix seconds
_MARK: Final = "\x1d"  # begins the name of a namespace, and parts its levels: no user is called that
_KEPT: Final = (VERSIONS_KEPT - 1) * VERSION_BYTES
_SWEEP: Final = 100  # dead entries that a write may remove
_PAGE: Final = 1000


class Entries:
    """The entries of one namespace. ``path`` are the levels of its name."""

    def __init__(self, engine: Engine, path: tuple[str, ...]) -> None:
        self._engine = engine
        self._path = path
        self._name = _MARK + _MARK.join(path)
        self._codec = Codec()
        self._swept_at = time.monotonic()

    async def set(self, key: str, value: bytes, expires_in: float | timedelta | None = None) -> None:
        """Keep a value, for so many seconds; None or 0: until it is deleted. Raises `TooLarge` past
        ``max_field_bytes``, `StoreError`, and `ConflictError` where others write the same key all the while."""
        await self._sweep()
        engine, handle = self._engine, self._handle(key)
        data = self._codec.encode(_FIELD, value)
        fields, size = {_FIELD: data}, len(_FIELD) + len(data)
        check_sizes(fields, size, engine.config)
        for _ in self._attempts():
            current, now = await engine.store.load(handle), engine.clock()
            ends_at = _end(now, expires_in)
            if current is None:
                fresh = new_record(handle, b"", mint_version(), fields, now, engine.config)
                wanted = replace(_until(fresh, now, ends_at), user_id=self._name)
                await engine.store.create(wanted, now)  # if another was quicker, it is as if that one came after us
                return
            if is_over(current, now):
                await engine.store.end([handle], "expired", now)
            elif await self._replace(current, replace(current, fields=fields, size=size), now, ends_at):
                return

    async def get(self, key: str, renew_for: float | timedelta | None = None) -> bytes | None:
        """The value; None if there is none, or it has run out. With ``renew_for``, one that was to end ends in so many
        seconds from now."""
        for _ in self._attempts():
            record, now = await self._load(key), self._engine.clock()
            if record is None:
                return None
            renews = renew_for and record.ends_at < _NEVER
            if not renews or await self._replace(record, record, now, _end(now, renew_for)):
                value: bytes = self._codec.decode(_FIELD, record.fields[_FIELD])
                return value
        raise AssertionError  # the attempts end with an error

    async def left(self, key: str) -> float | None:
        """Seconds that a value has left; -1 if it has no end, None if there is none."""
        record = await self._load(key)
        if record is None:
            return None
        return -1.0 if record.ends_at >= _NEVER else record.ends_at - self._engine.clock()

    async def delete(self, key: str) -> None:
        """Delete a value. Nothing happens if there is none."""
        await self._engine.store.end([self._handle(key)], "ended", self._engine.clock())

    async def delete_all(self) -> None:
        """Delete all values of this namespace, in one step; then those of each namespace below it."""
        engine = self._engine
        for name in [self._name, *await self._below()]:
            await engine.store.end_matching(engine.clock(), user_id=name, reason="ended")

    def below(self, name: str) -> Entries:
        """The entries of a namespace below this one."""
        return Entries(self._engine, (*self._path, name))

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _handle(self, key: str) -> str:
        """Of a namespace and a key: no two of them have the same, short of a collision of SHA-256. The lengths keep
        levels and key apart, and lone surrogates are as good as other text."""
        parts = [part.encode("utf-8", "surrogatepass") for part in (*self._path, key)]
        whole = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return urlsafe_b64encode(sha256(whole).digest()).decode().rstrip("=")

    async def _load(self, key: str) -> Record | None:
        record = await self._engine.store.load(self._handle(key))
        return None if record is None or is_over(record, self._engine.clock()) else record

    async def _replace(self, current: Record, wanted: Record, now: float, ends_at: float) -> bool:
        """Whether nobody else was quicker."""
        versions = mint_version() + current.versions[:_KEPT]
        outcome = await self._engine.store.commit(
            current, replace(_until(wanted, now, ends_at), versions=versions), now, fields=(_FIELD,)
        )
        return isinstance(outcome, Committed)

    def _attempts(self) -> Iterator[None]:
        give_up = time.monotonic() + self._engine.config.deadline
        while time.monotonic() < give_up:
            yield
        raise ConflictError("others wrote the same key all the while: nothing was written. Try again")

    async def _below(self) -> list[str]:
        """The namespaces below this one that hold anything. Looks at every record of the store."""
        found: dict[str, None] = {}
        after = ""
        while rows := await self._engine.store.summaries(self._engine.clock(), after=after, limit=_PAGE):
            after = rows[-1].handle
            found |= {row.user_id: None for row in rows if (row.user_id or "").startswith(self._name + _MARK)}  # type: ignore[misc]
        return list(found)

    async def _sweep(self) -> None:
        """Where no cleaner runs, writes remove the dead."""
        if time.monotonic() - self._swept_at >= self._engine.config.cleanup_interval:
            self._swept_at = time.monotonic()
            self._engine.tell(await self._engine.store.purge_expired(self._engine.clock(), _SWEEP))


def _end(now: float, expires_in: float | timedelta | None) -> float:
    seconds = expires_in.total_seconds() if isinstance(expires_in, timedelta) else expires_in
    return now + seconds if seconds else _NEVER


def _until(record: Record, now: float, ends_at: float) -> Record:
    """The record with this end, and no other: it does not end for being idle."""
    return replace(record, accessed_at=now, idle_timeout=ends_at - now, touch_interval=0.0, ends_at=ends_at)
