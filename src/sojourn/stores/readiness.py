"""How callers of each world wait for a socket, and for a name to be resolved: with a deadline, and so that nothing is
left behind when the wait is given up.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final, Protocol

from ..store import World

__all__ = ["READ", "WRITE", "Readiness", "addresses_of", "is_name", "readiness"]

READ: Final = select.POLLIN
WRITE: Final = select.POLLOUT


class Readiness(Protocol):
    """How callers of one world wait for a socket, and for a name to be resolved."""

    async def wait(self, handle: int, events: int, until: float) -> None:
        """Wait until the socket can be read or written (POLLIN, POLLOUT). TimeoutError if it cannot before `until`."""

    async def call(self, function: Callable[[], Any], until: float) -> Any:
        """The result of a function that may block, called in a thread. TimeoutError as above."""


class _Call:
    """A function that runs in a thread of its own, which nobody has to wait for."""

    def __init__(self, function: Callable[[], Any], done: Callable[[], object]) -> None:
        self._function = function
        self._done = done
        self._result: Any = None
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="sojourn-resolver", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except Exception as error:  # it is raised where it is waited for
            self._error = error
        self._done()

    def outcome(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class _ThreadReadiness:
    async def wait(self, handle: int, events: int, until: float) -> None:
        poller = select.poll()
        poller.register(handle, events)
        left = until - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            raise TimeoutError

    async def call(self, function: Callable[[], Any], until: float) -> Any:
        done = threading.Event()
        call = _Call(function, done.set)
        if not done.wait(max(until - time.monotonic(), 0.0)):
            raise TimeoutError
        return call.outcome()


class _TaskReadiness:
    async def wait(self, handle: int, events: int, until: float) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(max(until - time.monotonic(), 0.0), _expire, ready)
        if events & READ:
            loop.add_reader(handle, _resolve, ready)
        if events & WRITE:
            loop.add_writer(handle, _resolve, ready)
        try:
            await ready
        finally:
            timer.cancel()
            if events & READ:
                loop.remove_reader(handle)
            if events & WRITE:
                loop.remove_writer(handle)

    async def call(self, function: Callable[[], Any], until: float) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop was closed, and with it whoever waited
                loop.call_soon_threadsafe(_resolve, done)

        # Not the loop's own threads: the end of the loop would wait for one that hangs.
        call = _Call(function, tell)
        async with asyncio.timeout(max(until - time.monotonic(), 0.0)):
            await done
        return call.outcome()


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _expire(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_exception(TimeoutError())


async def addresses_of(host: str, ready: Readiness, until: float) -> list[str]:
    """The addresses of a host: its own, if it is one. Raises TimeoutError, and OSError for a name that nobody knows."""
    if not is_name(host):
        return [host]
    found = await ready.call(lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM), until)
    return list(dict.fromkeys(address[0] for *_, address in found))


def is_name(host: str) -> bool:
    """Whether a host is given by a name that must be resolved."""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def readiness(world: World) -> Readiness:
    """How callers of this world wait."""
    return _TaskReadiness() if world == "async" else _ThreadReadiness()
