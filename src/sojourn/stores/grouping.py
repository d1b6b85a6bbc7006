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
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from sqlite3 import Connection
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from ..errors import OutcomeUnknown, StoreUnavailable

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
    signal: Any
    batch: list[_Waiting] | None = None


class InlineWriter:
    """For blocking callers: one of those who wait does the work of all."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._lock = threading.Lock()
        self._busy = False
        self._queue: deque[_Waiting] = deque()

    async def write(self, work: Work) -> Any:
        with self._lock:
            waiting = None if not self._busy else _Waiting(work, threading.Lock())
            self._busy = True
            if waiting is not None:
                waiting.signal.acquire()
                self._queue.append(waiting)
        if waiting is None:
            self._lead([work], ())
        else:
            self._wait(waiting)
        return work.outcome()

    def _wait(self, waiting: _Waiting) -> None:
        try:
            self._wait_for_turn(waiting)
        except BaseException:  # an interrupt, too, lets go of its place
            self._leave(waiting)
            raise
        if waiting.batch is not None:
            self._lead([member.work for member in waiting.batch], waiting.batch[1:])

    def _wait_for_turn(self, waiting: _Waiting) -> None:
        """Wait until somebody has done the work, or it is this caller's turn to do it."""
        if waiting.signal.acquire(timeout=max(waiting.work.until - time.monotonic(), 0.0)):
            return
        with self._lock:
            queued, chosen = waiting in self._queue, waiting.batch is not None
        if queued:
            raise StoreUnavailable("the database was busy past the deadline: nothing was written")
        # It is in a transaction that is being made: a little patience tells more than "unknown" would.
        if not chosen and not waiting.signal.acquire(timeout=_PATIENCE):
            raise OutcomeUnknown("the write was under way when the time was up")

    def _leave(self, waiting: _Waiting) -> None:
        """Nobody may count on this caller any more: it gave up, or was interrupted."""
        with self._lock:
            if waiting in self._queue:
                self._queue.remove(waiting)
            if waiting.batch is None:
                return
            self._queue.extendleft(reversed(waiting.batch[1:]))
        self._hand_over()

    def _lead(self, batch: list[Work], others: Sequence[_Waiting]) -> None:
        try:
            self._execute(batch)
        finally:
            self._hand_over()
            for member in others:
                member.signal.release()

    def _hand_over(self) -> None:
        """Wake the next to lead, with all that wait as its batch."""
        successor = None
        with self._lock:
            if self._queue:
                successor = self._queue[0]
                successor.batch = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST))]
            else:
                self._busy = False
        if successor is not None:
            successor.signal.release()

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
