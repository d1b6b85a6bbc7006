"""The only ways to wait, and to work in the background: a thread blocks, a task suspends.

Shared code never waits by itself. Where it must (for a turn, before another try), it awaits one of these: the blocking
kind returns without suspending, after having blocked the thread, so the same coroutine serves both worlds.

The one clever thing in this code base is `run`. An operation is a coroutine over a store's coroutines. A blocking
store's never suspend: where an async one would await the network, they block the thread and return. A coroutine that
never suspends runs from its first line to its return in a single ``send(None)``, which raises StopIteration with
the result: no event loop, no thread, half a microsecond.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from traceback import walk_tb
from typing import Any, Final, Protocol, TypeVar, cast

from .errors import SojournError

__all__ = ["LOOK", "Background", "Signal", "TaskWaiting", "ThreadWaiting", "Waiting", "run"]

T = TypeVar("T")
LOOK: Final = 0.25  # seconds between two looks of one who waits: who was to wake it may have been interrupted
_OURS: Final = __name__.partition(".")[0] + "."


def run(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result. RuntimeError if it does suspend."""
    try:
        operation.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    except SojournError:
        raise
    except BaseException as error:
        _let_go(error)
        raise
    operation.close()
    raise RuntimeError("the store is asynchronous: use AsyncSessionManager and await it, or open it blocking")


def _let_go(error: BaseException) -> None:
    """An exception out of a signal handler comes anywhere, and who catches it may keep it, and by its traceback our
    frames: what these hold, a connection, say, is nobody's any more, and is to be seen to be."""
    errors, seen = [error], {id(error)}
    for one in errors:  # and those in whose handling it came
        for other in (one.__context__, one.__cause__):
            if other is not None and id(other) not in seen:
                errors.append(other)
                seen.add(id(other))
        for frame, _ in walk_tb(one.__traceback__):
            if str(frame.f_globals.get("__name__")).startswith(_OURS):
                with suppress(RuntimeError):  # it is under way, as that of our caller
                    frame.clear()


class Signal(Protocol):
    """A flag that one waits for and another sets, once."""

    async def wait(self, timeout: float) -> bool:
        """Wait until it is set, at most `timeout` seconds. Returns whether it was set."""

    def set(self) -> bool:
        """Set it; from any thread. False if nobody can be waiting any more: its event loop is closed."""


class Background(Protocol):
    """Work that goes on beside its starter."""

    async def finished(self) -> None:
        """Wait until it has ended. Returns at once to the work itself."""


class Waiting(Protocol):
    """How callers of one world wait."""

    async def sleep(self, delay: float) -> None:
        """Let `delay` seconds pass."""

    def signal(self) -> Signal:
        """A new signal."""

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Background:
        """Start work in the background: a daemon thread, or a task of the running loop."""

    async def settle(self, result: Awaitable[T]) -> T:
        """Await what a user's function returned; for a thread, in an event loop of its own."""


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


class _Thread:
    __slots__ = ("_thread",)

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread

    async def finished(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()


class ThreadWaiting:
    """Waiting by blocking the thread."""

    async def sleep(self, delay: float) -> None:
        time.sleep(delay)

    def signal(self) -> Signal:
        return _ThreadSignal()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Background:
        thread = threading.Thread(target=lambda: run(work()), name=name, daemon=True)
        thread.start()
        return _Thread(thread)

    async def settle(self, result: Awaitable[T]) -> T:
        async def wait() -> T:
            return await result

        return asyncio.run(wait())


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


class _Task:
    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def finished(self) -> None:
        loop = asyncio.get_running_loop()
        if self._task.get_loop() is loop and self._task is not asyncio.current_task(loop):
            await asyncio.wait([self._task])


class TaskWaiting:
    """Waiting by suspending the task. Signals may be set from other threads and other loops."""

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)

    def signal(self) -> Signal:
        return _TaskSignal()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Background:
        return _Task(asyncio.create_task(work(), name=name))

    async def settle(self, result: Awaitable[T]) -> T:
        return await result
