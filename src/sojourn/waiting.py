"""The only ways to wait: a thread blocks, a task suspends.

Shared code never waits by itself. Where it must (for a turn, before another try), it awaits one of these: the blocking
kind returns without suspending, after having blocked the thread, so the same coroutine serves both worlds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Protocol

__all__ = ["Signal", "TaskWaiting", "ThreadWaiting", "Waiting"]


class Signal(Protocol):
    """A flag that one waits for and another sets, once."""

    async def wait(self, timeout: float) -> bool:
        """Wait until it is set, at most `timeout` seconds. Returns whether it was set."""

    def set(self) -> bool:
        """Set it; from any thread. False if nobody can be waiting any more: its event loop is closed."""


class Waiting(Protocol):
    """How callers of one world wait."""

    async def sleep(self, delay: float) -> None:
        """Let `delay` seconds pass."""

    def signal(self) -> Signal:
        """A new signal."""


class _ThreadSignal:
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a held lock is the lightest thing that a thread can wait for
        self._lock.acquire()

    async def wait(self, timeout: float) -> bool:
        return self._lock.acquire(timeout=max(timeout, 0.0))

    def set(self) -> bool:
        with suppress(RuntimeError):  # it was set before
            self._lock.release()
        return True


class ThreadWaiting:
    """Waiting by blocking the thread."""

    async def sleep(self, delay: float) -> None:
        time.sleep(delay)

    def signal(self) -> Signal:
        return _ThreadSignal()


class _TaskSignal:
    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    async def wait(self, timeout: float) -> bool:
        done, _ = await asyncio.wait([self._future], timeout=max(timeout, 0.0))
        return bool(done)

    def set(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:  # the loop was closed, and its tasks with it
            return False
        return True

    def _resolve(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class TaskWaiting:
    """Waiting by suspending the task. Signals may be set from other threads and other loops."""

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)

    def signal(self) -> Signal:
        return _TaskSignal()
