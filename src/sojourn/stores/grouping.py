"""Group commit: writes of concurrent callers share one transaction, and so one fsync.

Uncontended, a write runs inline in its caller's thread: a hand-over to another thread would cost as much again. Under
load, whoever comes while a transaction runs waits, and the next transaction takes all that wait.

A piece of work is a function of a connection. It is run in a transaction together with others; it may fail by itself
only before it wrote anything.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from sqlite3 import Connection
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from ..errors import OutcomeUnknown, StoreUnavailable
from ..waiting import LOOK

__all__ = ["UNDONE", "InlineWriter", "ThreadWriter", "Work", "Writer"]

T = TypeVar("T")
log = logging.getLogger("sojourn")

UNDONE: Final = object()
_MOST: Final = 256  # pieces of work in one transaction
_PATIENCE: Final = 1.0  # seconds past its deadline for which a caller waits for the end of a transaction that was begun


class Work(Struct, eq=False):
    """One piece of work and what became of it."""

    act: Callable[[Connection], Any]
    single: bool
    """Whether it is one statement, which needs no BEGIN and COMMIT when it is alone."""
    until: float
    """Its deadline, in monotonic seconds."""
    weight: int = 0
    """About how many bytes it writes."""
    result: Any = UNDONE
    error: Exception | None = None

    def outcome(self) -> Any:
        """What the work returned; raises what it failed with."""
        if self.error is not None:
            raise self.error
        if self.result is UNDONE:
            raise OutcomeUnknown("whoever made this write was interrupted: load the session and look")
        return self.result


_Queued: TypeAlias = "tuple[Work, asyncio.Future[None], asyncio.AbstractEventLoop]"
Execute = Callable[[list[Work]], None]
"""Runs a batch in one transaction and notes each result. Never raises for what belongs to a piece of work."""


class Writer(Protocol):
    """How work reaches the database."""

    async def write(self, work: Work) -> Any:
        """Do the work; its result."""

    def close(self) -> None:
        """Finish what was begun and release threads."""


class _Waiting(Struct, eq=False):
    """A caller that waits for its turn, or for somebody to have done its work."""

    work: Work
    signal: threading.Lock


class InlineWriter:
    """For blocking callers: one of those who wait does the work of all.

    A signal handler may raise in any of them, wherever something is called. So who leads takes its turn and gives it
    back by plain assignments, all within one ``try``; what an exception leaves undone after that is a wake-up at most,
    and who waits looks by itself now and then.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._lock = threading.Lock()
        self._leader: Work | None = None
        """The work of whoever has its turn; None: nobody."""
        self._taken: list[_Waiting] = []
        """Those whose work it does beside its own."""
        self._queue: list[_Waiting] = []

    async def write(self, work: Work) -> Any:
        if not self._lead(work):
            self._wait(_Waiting(work, threading.Lock()))
        return work.outcome()

    def _lead(self, work: Work, waiting: _Waiting | None = None) -> bool:
        """Do this work and that of all that wait. False: somebody else leads; or has led, if this one is ``waiting``,
        too, and does not wait any more."""
        taken: list[_Waiting] = []
        try:
            with self._lock:
                if self._leader is not None or (waiting is not None and waiting not in self._queue):
                    return False
                taken = self._queue[:_MOST]
                self._leader, self._taken, self._queue = work, taken, self._queue[_MOST:]
            batch = [one.work for one in taken]
            self._execute(batch if waiting is not None else [*batch, work])
        finally:
            if self._leader is work:
                self._taken = []
                self._leader = None
                if taken or self._queue:
                    self._rouse(taken)
        return True

    def _wait(self, waiting: _Waiting) -> None:
        """Wait until somebody has done the work, or do it when nobody is at it."""
        work = waiting.work
        waiting.signal.acquire()
        try:
            with self._lock:
                self._queue.append(waiting)
            while not self._is_over(waiting):
                if not self._lead(work, waiting):
                    left = work.until - time.monotonic()
                    waiting.signal.acquire(timeout=min(left, LOOK) if left > 0 else LOOK)
        finally:
            with self._lock:
                self._drop(waiting)
            self._rouse(())  # it may have been woken to lead

    def _is_over(self, waiting: _Waiting) -> bool:
        """Whether the work was done. `StoreUnavailable` or `OutcomeUnknown` if it took too long."""
        with self._lock:
            late = time.monotonic() - waiting.work.until
            if late > 0 and self._drop(waiting):  # in one step with the look: or it might yet be taken
                raise StoreUnavailable("the database was busy past the deadline: nothing was written")
            if waiting not in self._taken:
                return waiting not in self._queue
        # It is in a transaction that is being made: a little patience tells more than "unknown" would.
        if late > _PATIENCE:
            raise OutcomeUnknown("the write was under way when the time was up")
        return False

    def _drop(self, waiting: _Waiting) -> bool:
        """Nobody is to do this one's work any more. False: it does not wait for that."""
        waits = waiting in self._queue
        if waits:
            self._queue.remove(waiting)
        return waits

    def _rouse(self, done: Sequence[_Waiting]) -> None:
        """Wake those whose work was done, and, if nobody leads, the next one to lead."""
        with self._lock:
            for waiting in (*done, *(self._queue[:1] if self._leader is None else ())):
                if waiting.signal.locked():  # else it was woken before, and has yet to look
                    waiting.signal.release()

    def close(self) -> None:
        """Nothing to release."""


class ThreadWriter:
    """For asynchronous callers: a thread does the work, so that no event loop waits for an fsync."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._queue: SimpleQueue[_Queued | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    async def write(self, work: Work) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._lock:  # against a `close` in another thread: what comes after it finds a new queue
            if self._thread is None:
                self._start()
            self._queue.put((work, done, loop))
        try:
            async with asyncio.timeout(max(work.until - time.monotonic(), 0.0) + _PATIENCE):
                await done
        except TimeoutError:
            raise OutcomeUnknown("the write was under way when the time was up") from None
        return work.outcome()

    def _start(self) -> None:
        self._queue = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(self._queue,), name="sojourn-writer", daemon=True)
        self._thread.start()

    def _run(self, queue: SimpleQueue[_Queued | None]) -> None:
        while (first := queue.get()) is not None:
            batch = [first]
            while len(batch) < _MOST and not queue.empty():
                more = queue.get()
                if more is None:
                    queue.put(None)  # the end, for the next round
                    break
                batch.append(more)
            try:
                self._execute([work for work, _, _ in batch])
            except Exception:  # those who wait are told that it cannot be known, and the others are served
                log.exception("the writer failed")
            for loop in {loop for _, _, loop in batch}:
                _wake(loop, [done for _, done, owner in batch if owner is loop])
            del first, batch  # hold nobody's results while waiting

    def close(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._queue.put(None)
        if thread is not None:
            thread.join()


def _wake(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]) -> None:
    def resolve() -> None:
        for future in futures:
            if not future.done():
                future.set_result(None)

    with suppress(RuntimeError):  # the loop was closed, and those who waited with it
        loop.call_soon_threadsafe(resolve)
