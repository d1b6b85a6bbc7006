"""The connections of this process to PostgreSQL: opened when they are needed, used by one caller at a time, gone after
a fork; and what a failure means to a caller.

A stack of idle connections and a queue of those who wait for one. A connection in use that fails is closed, and the
next caller opens another: so recovery needs no restart, and nobody ever meets what was left for somebody else.
The connection used last is used first, as its server process is warm.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from msgspec import Struct

from ..errors import OutcomeUnknown, StoreDamaged, StoreError, StoreUnavailable
from ..store import World
from ..waiting import LOOK, Signal, TaskWaiting, ThreadWaiting, Waiting
from .postgres_statement import Row, Step
from .postgres_wire import Failed, Refusal, Room, Wire, connect
from .readiness import Readiness, readiness

__all__ = ["Pool"]

W = TypeVar("W", bound=Wire)
log = logging.getLogger("sojourn")

_PAUSE: Final = 0.002  # seconds before a transaction that met another is tried again
_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})  # two transactions in each other's way: nothing was written
_STALE: Final = frozenset({"26000", "0A000"})  # a prepared statement that is gone or out of date
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_inherited: list[Wire] = []  # of the parent: not touched here, not even by the garbage collector


class _Place(Struct, eq=False):
    """Somebody who waits for a connection: in the end it is given, or the right to open one."""

    signal: Signal
    served: bool = False
    wire: Wire | None = None
    room: Room | None = None
    """What it has, once it is served."""


class Pool:
    """At most `size` connections. ``prepare`` makes a new one ready for use; it raises `Failed` and `Refusal`."""

    def __init__(
        self,
        parameters: dict[str, Any],
        prepare: Callable[[Wire, float], Awaitable[None]],
        *,
        size: int,
        deadline: float,
        world: World,
        replicated: bool = False,
    ) -> None:
        self.deadline = deadline
        self._parameters = parameters
        self._prepare = prepare
        self._size = size
        self._replicated = replicated
        self._readiness: Readiness = readiness(world)
        self._waiting: Waiting = TaskWaiting() if world == "async" else ThreadWaiting()
        self._closed = False
        self._begin_anew()
        _pools.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()  # a task of a loop that was closed gives back when it is collected: anywhere
        self._idle: list[Wire] = []
        self._queue: deque[_Place] = deque()
        self._rooms: weakref.WeakSet[Room] = weakref.WeakSet()
        """One for each connection that is open, or is being opened. A signal handler may raise wherever something is
        called, and what was under way is dropped, with nobody to count it: so they are not counted, but seen."""

    # --- Running statements --------------------------------------------------------------------------------------

    async def read(self, *steps: Step) -> list[list[Row]]:
        """Run steps that write nothing: the rows of each. Raises `StoreUnavailable`, `StoreDamaged`."""
        found, _ = await self._run(steps, writing=False)
        return found

    async def write(self, *steps: Step) -> list[list[Row]]:
        """Run steps in one transaction: the rows of each. Raises `StoreUnavailable`, `StoreDamaged` (nothing was
        written) and `OutcomeUnknown`."""
        found, _ = await self._run(steps, writing=True)
        return found

    async def write_and(self, steps: Sequence[Step], then: Step | None) -> tuple[list[list[Row]], bool]:
        """The same, and a step after it in a transaction of its own, which costs no trip: whether that found something
        to do, and did it. Whatever becomes of it, what was written is written."""
        return await self._run(steps, writing=True, then=then)

    async def write_aside(self, step: Step, until: float) -> None:
        """Run a step that is no part of what the caller asks for, and that may fail."""
        try:
            await self._run([step], writing=True, until=until)
        except StoreError as error:
            log.warning("those who watch could not be told of a write: %s", error)

    async def _run(
        self, steps: Sequence[Step], *, writing: bool, then: Step | None = None, until: float | None = None
    ) -> tuple[list[list[Row]], bool]:
        until = until or time.monotonic() + self.deadline
        while True:
            try:
                wire = await self._take(until)
                try:
                    if writing:
                        _check_fit(wire)
                    found = await wire.run(steps, until, then)
                    if wire.warned and self._replicated:
                        raise Failed("the server did not wait for its standby", sent=True)
                    return found, wire.then_done
                finally:
                    self._give_back(wire)
            except (Failed, Refusal) as error:
                if not self._worth_another(error, writing=writing) or time.monotonic() + _PAUSE >= until:
                    raise self._meaning(error, writing=writing) from error
            await self._waiting.sleep(_PAUSE)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Callable[..., Awaitable[list[list[Row]]]]]:
        """Several round trips on one connection: what is yielded runs steps, the first of which begins a transaction
        and the last of which ends it. What was left open is rolled back. Raises as `write`."""
        until = time.monotonic() + self.deadline
        try:
            wire = await self._take(until)
            try:
                _check_fit(wire)
                yield lambda *steps: wire.run(steps, until)
                if not wire.idle():
                    await wire.execute("ROLLBACK", until)
            finally:
                self._give_back(wire)
        except (Failed, Refusal) as error:
            raise self._meaning(error, writing=True) from error

    async def beside(self, kind: type[W]) -> W:
        """A connection beside the pool, for one who keeps it. Raises `StoreUnavailable`, `StoreDamaged`."""
        if self._closed:
            raise StoreUnavailable("the store was closed")
        until = time.monotonic() + self.deadline
        wire = None
        try:
            wire = await connect(self._parameters, self._readiness, until, kind)
            await self._prepare(wire, until)
        except BaseException as error:
            if wire is not None:
                wire.close()
            if isinstance(error, (Failed, Refusal)):
                raise self._meaning(error, writing=False) from error
            raise
        return wire

    def close(self) -> None:
        """Close what is idle now, and the others when they come back. Whoever waits hears of it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            waiting, self._queue = self._queue, deque()
        for wire in idle:
            wire.close()
        for place in waiting:
            place.signal.set()

    def forked(self) -> None:
        """In the child of a fork: what is open is the parent's."""
        for wire in self._idle:
            wire.abandon()
        _inherited.extend(self._idle)
        self._begin_anew()

    # --- Taking and giving back ----------------------------------------------------------------------------------

    async def _take(self, until: float) -> Wire:
        """An idle connection, or a new one. Raises `Failed`, and `StoreUnavailable` if it is nobody's turn in time."""
        while True:
            wire = place = room = None
            with self._lock:
                if self._closed:
                    raise StoreUnavailable("the store was closed")
                if self._idle:
                    wire = self._idle.pop()
                elif (room := self._enter()) is None:
                    place = _Place(self._waiting.signal())
                    self._queue.append(place)
            if place is not None:
                await self._wait(place, until)
                wire, room = place.wire, place.room
            if wire is None:
                assert room is not None  # noqa: S101 - who was served without a connection has room for one
                return await self._connect(room, until)
            if wire.usable():
                return wire
            self._close(wire)

    async def _connect(self, room: Room, until: float) -> Wire:
        """A new connection, where there is room for it."""
        wire = None
        try:
            wire = await connect(self._parameters, self._readiness, until, Wire)
            wire.room = room
            await self._prepare(wire, until)
        except BaseException as error:
            if wire is not None:
                wire.close()
            self._vacate(room)
            if isinstance(error, Failed):  # whatever was sent, it was not what the caller asks for
                raise Failed(str(error), sent=False, lost=error.lost) from error
            raise
        return wire

    async def _wait(self, place: _Place, until: float) -> None:
        """Wait for one's turn, for which the place is served."""
        try:
            while not await place.signal.wait(min(until - time.monotonic(), LOOK)):
                if self._look(place) or until <= time.monotonic():
                    break
        except BaseException:  # cancelled, or interrupted: nobody may hand this place a connection any more
            self._leave(place)
            raise
        if not self._leave(place, keep=True):
            raise StoreUnavailable(
                "the store was closed"
                if self._closed
                else f"all {self._size} connections were in use past the deadline: raise pool= in the URL"
            )

    def _look(self, place: _Place) -> bool:
        """Whether a place was served, should nobody have come to say so; it is now, if it can be."""
        with self._lock:
            if not place.served and not self._closed:
                if place not in self._queue:
                    self._queue.appendleft(place)
                wire = self._idle.pop() if self._idle else None
                room = self._enter() if wire is None else wire.room
                if room is not None:
                    self._serve_next(wire, room)
            return place.served

    def _leave(self, place: _Place, *, keep: bool = False) -> bool:
        """Stop waiting. Returns whether this place was served; unless it is kept, what it got goes to the next."""
        with self._lock:
            if not place.served:
                if place in self._queue:
                    self._queue.remove(place)
                return False
        if not keep:
            if place.wire is not None:
                self._give_back(place.wire)
            elif place.room is not None:
                self._vacate(place.room)
        return True

    def _give_back(self, wire: Wire) -> None:
        if wire.idle():
            with self._lock:
                if not self._closed:
                    if not self._serve_next(wire, wire.room):
                        self._idle.append(wire)
                    return
        self._close(wire)

    def _close(self, wire: Wire) -> None:
        wire.close()
        self._vacate(wire.room)

    def _enter(self) -> Room | None:
        """Room for one more connection; under the lock. None: there are as many as there may be."""
        if len(self._rooms) >= self._size:
            return None
        room = Room()
        self._rooms.add(room)
        return room

    def _vacate(self, room: Room) -> None:
        """There is room for one more connection."""
        with self._lock:
            if not self._serve_next(None, room):
                self._rooms.discard(room)

    def _serve_next(self, wire: Wire | None, room: Room) -> bool:
        """Hand on to the first who waits; under the lock. Returns whether there was anybody."""
        while self._queue:
            place = self._queue.popleft()
            place.wire, place.room, place.served = wire, room, True
            if place.signal.set():
                return True
            place.wire, place.room, place.served = None, None, False  # its loop is closed: it gives nothing back
        return False

    # --- Errors --------------------------------------------------------------------------------------------------

    def _worth_another(self, error: Failed | Refusal, *, writing: bool) -> bool:
        """Whether another attempt may help, and does no harm."""
        if isinstance(error, Failed):
            return error.lost and not (writing and error.sent)
        if error.fatal:
            return not (writing and self._replicated)
        return error.state in _AGAIN or error.state in _STALE

    def _meaning(self, error: Failed | Refusal, *, writing: bool) -> StoreError:
        """What a failure means to a caller."""
        if isinstance(error, Failed):
            if writing and error.sent:
                return OutcomeUnknown(f"{error}: the write may or may not have been made")
            return StoreUnavailable(f"{error}: nothing was written. {_remedy_of(str(error))}")
        if writing and self._replicated and error.state.startswith("57P"):
            return OutcomeUnknown(f"{error}: the write may have been made, and not have reached the standby")
        if error.state in _DAMAGED:
            return StoreDamaged(f"PostgreSQL reports damage ({error}): restore the database from a backup")
        return StoreUnavailable(f"{error}: nothing was written. {_REMEDIES.get(error.state, _REMEDY)}")


def _check_fit(wire: Wire) -> None:
    """`StoreUnavailable` if nothing is to be written through a connection; the next one may be better."""
    if wire.unfit:
        wire.outdated = True
        raise StoreUnavailable(wire.unfit)


_DAMAGED: Final = ("XX001", "XX002")
_REMEDY: Final = "Look into the server's log"
_FULL: Final = "Raise max_connections of the server, or lower pool= in the URL or the number of processes"
_NOT_NOW: Final = "It starts or stops: try again"
_REMEDIES: Final = {
    "25006": "The server only reads: name the primary, or both hosts with target_session_attrs=read-write",
    "40001": "Too many writers were in each other's way: try again",
    "40P01": "Too many writers were in each other's way: try again",
    "42501": "Grant the role what it needs on the schema, or let another role run sojourn migrate",
    "53100": "The server's disk is full: make room",
    "53200": "The server has no memory left",
    "53300": _FULL,
    "55P03": "Somebody holds a lock for too long",
    "57014": "It took too long: the server is busy, or somebody holds a lock",
    "57P01": _NOT_NOW,
    "57P02": _NOT_NOW,
    "57P03": _NOT_NOW,
}


def _remedy_of(message: str) -> str:
    """What to do about a connection that could not be made: of that libpq tells in words only."""
    if "too many" in message or "connection slots" in message:
        return _FULL
    if "starting up" in message or "shutting down" in message or "recovery" in message:
        return _NOT_NOW
    return "Check that the server runs and can be reached"


def _after_fork() -> None:
    for pool in list(_pools):
        pool.forked()


os.register_at_fork(after_in_child=_after_fork)
