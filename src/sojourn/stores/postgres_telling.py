"""How commits are told to those who watch, through PostgreSQL's NOTIFY: on one channel a schema, as short JSON.

Whoever notifies holds a lock of the whole server while it commits. So nobody does unless somebody watches, which each
write learns in its own statement, and nobody does in the transaction of the write, whose commit waits for the disk: a
transaction of its own comes after it, in the same round trip. Only a write that learns that somebody watches, or
learns only from its answer what it did, takes another trip.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ..record import Change, Record
from ..store import Hint
from .postgres_pool import Pool
from .postgres_schema import lock_number
from .postgres_statement import Row, Step
from .postgres_steps import step
from .sql import WATCHED_FOR

__all__ = ["Telling", "channel_of", "committed", "ends_told", "hints_in"]

_LONGEST: Final = 7900  # bytes in a notification; PostgreSQL takes less than 8000
_MOST: Final = 1000  # hints of one write; more become one, to look at everything
_ALL: Final = Hint("")
_Told = tuple[str, str | None, bytes | None, tuple[str, ...] | None, bool, bool]

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[_Told]).decode


class Telling:
    """What one store knows of those who watch, and tells them."""

    def __init__(self, pool: Pool, schema: str) -> None:
        self._pool = pool
        self._channel = channel_of(schema)
        self._said: float | None = None  # until when somebody watches, by the server's clock
        self._watched_until = 0.0  # the same by our clock, or later

    async def write(self, steps: Sequence[Step], hint: Hint, version: bytes) -> list[list[Row]]:
        """Run steps that write one record, and tell of it: the last of them returns until when somebody watches,
        last in its row, or no row if it wrote nothing. ``version``: that of the record then."""
        began = time.monotonic()
        if began >= self._watched_until:
            found = await self._pool.write(*steps)
            done = False
        else:
            (payload,) = _payloads([hint])
            then = step("tell_commit", channel=self._channel, payload=payload, handle=hint.handle, version=version)
            found, done = await self._pool.write_and(steps, then)
        if found[-1]:
            self._learn(found[-1])
            if not done and began < self._watched_until:
                await self.tell([hint], began)
        return found

    async def tell(self, hints: Iterable[Hint], began: float, rows: Sequence[Row] = ()) -> None:
        """Tell of writes that were made, if somebody watches, within the deadline of what `began` then. ``rows``: those
        that the writes returned."""
        self._learn(rows)
        if began < self._watched_until:
            told = step("tell", channel=self._channel, payloads=_payloads(list(hints)))
            await self._pool.write_aside(told, began + self._pool.deadline)

    async def tell_again(self, hint: Hint) -> None:
        """Tell of a write that an earlier attempt has made, which may not have come to tell of it."""
        began = time.monotonic()
        (rows,) = await self._pool.read(step("is_watched"))
        await self.tell([hint], began, rows)

    def _learn(self, rows: Sequence[Row]) -> None:
        if rows and (said := rows[0][-1]) != self._said:
            # It was said at this moment at the latest.
            self._said = said
            self._watched_until = time.monotonic() + WATCHED_FOR


def channel_of(schema: str) -> str:
    """The channel of a schema. (A name may have 63 bytes.)"""
    return f"sojourn_{lock_number(schema, 'feed'):x}"


def committed(wanted: Record, fields: tuple[str, ...], facts: tuple[Change, ...]) -> Hint:
    """The hint of a commit."""
    return Hint(wanted.handle, wanted.user_id, wanted.version, fields, bool(facts))


def ends_told(ends: Iterable[Change]) -> list[Hint]:
    """The hints of sessions that have ended."""
    return [Hint(change.handle, change.user_id, facts=True, ended=True) for change in ends]


def hints_in(payload: bytes) -> list[Hint]:
    """What a notification says. One that is none of ours says to look at everything."""
    try:
        return [Hint(*told) for told in _decode(payload)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [_ALL]


def _payloads(hints: list[Hint]) -> list[str]:
    """Hints as few notifications. What is too long for one is left out of it."""
    payloads: list[str] = []
    parts: list[bytes] = []
    room = 0
    for hint in hints if len(hints) <= _MOST else (_ALL,):
        part = _short(hint)
        room -= len(part) + 1
        if room < 0:
            payloads += _joined(parts)
            parts, room = [], _LONGEST - len(part)
        parts.append(part)
    return payloads + _joined(parts)


def _joined(parts: list[bytes]) -> list[str]:
    return [f"[{b','.join(parts).decode()}]"] if parts else []


def _short(hint: Hint) -> bytes:
    for shorter in (
        hint,
        Hint(hint.handle, hint.user_id, hint.version, None, hint.facts, hint.ended),
        Hint(hint.handle),
    ):
        data = _encode((shorter.handle, shorter.user_id, shorter.version, shorter.fields, shorter.facts, shorter.ended))
        if len(data) < _LONGEST:
            return data
    return _short(_ALL)
