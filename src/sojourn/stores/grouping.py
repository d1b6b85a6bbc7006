"""Group commit: writes of concurrent callers share one transaction, and so one fsync.

Uncontended, a write runs inline in its caller's thread: a hand-over to another thread would cost as much again. Under
load, whoever comes while a transaction runs waits, and the next transaction takes all that wait.

A piece of work is a function of a connection. It is run in a transaction together with others; it may fail by itself
only before it wrote anything.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from sqlite3 import Connection
from typing import Any, Final, Protocol, TypeVar

from msgspec import Struct

from ..errors import OutcomeUnknown, StoreUnavailable

__all__ = ["InlineWriter", "ThreadWriter", "Work", "Writer"]

T = TypeVar("T")
UNDONE: Final = object()
_MOST: Final = 256  # pieces of work in one transaction


class Work(Struct):
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


Execute = Callable[[list[Work]], None]
"""Runs a batch in one transaction and notes each result. Never raises for what belongs to a piece of work."""


class Writer(Protocol):
    """How work reaches the database."""

    async def write(self, work: Work) -> Any:
        """Do the work; its result."""

    def close(self) -> None:
        """Finish what was begun and release threads."""


class _Waiting(Struct):
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
        woken = waiting.signal.acquire(timeout=max(waiting.work.until - time.monotonic(), 0.0))
        if not woken:
            with self._lock:
                if waiting in self._queue:
                    self._queue.remove(waiting)
                    raise StoreUnavailable("the database was busy past the deadline: nothing was written")
            if waiting.batch is None:
                # It is in a transaction that is being made: a little patience tells more than "unknown" would.
                if not waiting.signal.acquire(timeout=1.0):
                    raise OutcomeUnknown("the write was under way when the time was up")
            else:
                waiting.signal.acquire()
        if waiting.batch is not None:
            self._lead([member.work for member in waiting.batch], waiting.batch[1:])

    def _lead(self, batch: list[Work], others: Any) -> None:
        try:
            self._execute(batch)
        finally:
            successor = None
            with self._lock:
                if self._queue:
                    successor = self._queue[0]
                    successor.batch = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST))]
                else:
                    self._busy = False
            if successor is not None:
                successor.signal.release()
            for member in others:
                member.signal.release()

    def close(self) -> None:
        """Nothing to release."""


class ThreadWriter:
    """For asynchronous callers: a thread does the work, so that no event loop waits for an fsync."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._queue: SimpleQueue[tuple[Work, asyncio.Future[None], asyncio.AbstractEventLoop] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    async def write(self, work: Work) -> Any:
        if self._thread is None:
            self._start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put((work, done, loop))
        patience = work.until - time.monotonic() + 1.0
        try:
            await asyncio.wait_for(done, max(patience, 1.0))
        except TimeoutError:
            raise OutcomeUnknown("the write was under way when the time was up") from None
        return work.outcome()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sojourn-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < _MOST and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    self._queue.put(None)  # the end, for the next round
                    break
                batch.append(more)
            self._execute([work for work, _, _ in batch])
            for loop in {loop for _, _, loop in batch}:
                _wake(loop, [done for _, done, owner in batch if owner is loop])
            del first, batch  # hold nobody's results while waiting

    def close(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None


def _wake(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]) -> None:
    def resolve() -> None:
        for future in futures:
            if not future.done():
                future.set_result(None)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:  # the loop was closed, and those who waited with it
        pass
