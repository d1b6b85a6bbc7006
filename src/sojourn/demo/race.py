"""Fifty writers at once on one session; and the other way, for comparison: a session that is loaded whole and saved
whole, the last writer winning.

Each writer does what a request does: it loads the session, works a little, appends to a list in it, and commits. None
waits for another. Beside that each does the same, with the same timing, to a copy of the whole, as a session library
hands it out: it takes the copy when it begins, and puts it back when it is done.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from contextlib import suppress
from typing import Final

from msgspec import Struct

from ..engine import Engine
from ..errors import ConflictError, SessionGone
from ..session import BaseSession

__all__ = ["WRITERS", "Outcome", "race"]

WRITERS: Final = 50

_ARRIVAL: Final = 0.2  # seconds within which all writers begin,
_WORK: Final = (0.02, 0.12)  # and for which each pretends to work, so that they overlap as real requests do
_FIELD: Final = "race "  # what the names of the lists begin with; then when, and what tells two races apart
_LEFT_BEHIND: Final = 60.0  # seconds after which a list is one of a server that was killed in the midst


class Outcome(Struct, frozen=True):
    """How a race ended."""

    acknowledged: int
    """Writers whose commit was answered; the others were told that it was not made."""
    kept: int
    """Writers whose entry is in the session."""
    whole: int
    """Writers whose entry is in what was loaded and saved as a whole."""
    seconds: float


class Whole:
    """A session that is loaded whole and saved whole."""

    def __init__(self) -> None:
        self._kept: tuple[int, ...] = ()

    def load(self) -> list[int]:
        """A copy of it."""
        return list(self._kept)

    def save(self, entries: list[int]) -> None:
        """Put it back: whatever was saved in between is overwritten."""
        self._kept = tuple(entries)


async def race(engine: Engine, handle: str) -> Outcome:
    """Run the fifty writers on a session. Raises `SessionGone` if it ends meanwhile, and `StoreError`."""
    name = f"{_FIELD}{engine.clock():.0f} {secrets.token_hex(4)}"
    await _begin(engine, handle, name)
    whole, began = Whole(), time.perf_counter()
    ends = await asyncio.gather(*(_write(engine, handle, name, number, whole) for number in range(WRITERS)))
    took = time.perf_counter() - began
    session = await _load(engine, handle)
    kept = len(set(session.get(name, ())))
    session.delete(name)
    with suppress(ConflictError):  # a later race removes it
        await engine.save(session)
    return Outcome(sum(ends), kept, len(set(whole.load())), took)


async def _write(engine: Engine, handle: str, name: str, number: int, whole: Whole) -> bool:
    """One of the writers. Returns whether its commit was acknowledged."""
    await asyncio.sleep(random.uniform(0, _ARRIVAL))  # noqa: S311 - not a secret
    session, copy = await _load(engine, handle), whole.load()
    await asyncio.sleep(random.uniform(*_WORK))  # noqa: S311 - likewise
    session[name].append(number)
    whole.save([*copy, number])
    try:
        await engine.save(session)
    except ConflictError:  # it is said to have failed, so it is counted as one that was not kept
        return False
    return True


async def _begin(engine: Engine, handle: str, name: str) -> None:
    """An empty list, and none of a race that a server did not live to end."""
    session = await _load(engine, handle)
    for other in [other for other in session if other.startswith(_FIELD)]:
        if float(other.split()[1]) < engine.clock() - _LEFT_BEHIND:
            session.delete(other)
    session[name] = []
    await engine.save(session)


async def _load(engine: Engine, handle: str) -> BaseSession:
    record = await engine.store.load(handle)
    if record is None:
        raise SessionGone("the session has ended")
    return engine.resume(record)
