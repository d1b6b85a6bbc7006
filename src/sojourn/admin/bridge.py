"""An ASGI application in the hands of a server that is none: it runs in an event loop of its own, in a thread of its
own, and is handed one whole request at a time, and hands back one whole response.

There are no sockets here: the pages of live apps are told so, and use short exchanges (`sojourn.live.exchanging`).

- The thread begins with the first request, so in each process that serves: a server may fork after the application was
  imported.
- A request has a bounded body, and so many seconds. Whoever waits for it may be a thread of the server's: the
  application is told how long an exchange may wait there, and how many.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from msgspec import Struct

from ..errors import ConfigurationError
from ..live.exchanging import EXTENSION
from ..sockets import ASGIApp, Message, Scope

__all__ = ["BODY", "Bridge", "Waiting", "WholeResponse"]

T = TypeVar("T")
log = logging.getLogger("sojourn")

BODY: Final = 1024 * 1024
"""Bytes that the body of a request may have."""

_PATIENCE: Final = 10.0  # seconds that a request may take, before it is given up
_STARTING: Final = 10.0  # seconds that the application may take to start, and to stop


class Waiting(Struct, frozen=True, kw_only=True):
    """How exchanges may wait for news, where each keeps somebody busy meanwhile."""

    seconds: float
    """Of each; 0: they are answered at once, and come again a second later."""
    most: int
    """So many may wait at a time; others are answered at once."""


class WholeResponse(Struct, frozen=True):
    """A response. ``headers`` has names in small letters, and one more than once where it was said more than once."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def plain(cls, status: int, text: str, *headers: tuple[str, str]) -> WholeResponse:
        """One with a line of text."""
        body = f"{text}\n".encode()
        about = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        return cls(status, [*about, ("cache-control", "no-store"), *headers], body)


TOO_LARGE: Final = WholeResponse.plain(413, "Content Too Large")
_UNAVAILABLE: Final = WholeResponse.plain(503, "Service Unavailable", ("retry-after", "1"))


class Bridge:
    """Runs one ASGI application for callers in other threads and other event loops."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forked(me()))

    def respond(self, scope: Scope, body: bytes) -> WholeResponse:
        """The response to a request, for a caller in a thread. 503 if there is none in ten seconds."""
        future = self._begin(scope, body)
        try:
            return future.result(_PATIENCE)
        except concurrent.futures.TimeoutError:
            future.cancel()
            return _given_up()

    async def arespond(self, scope: Scope, body: bytes) -> WholeResponse:
        """`respond`, for a coroutine, in whatever event loop."""
        future = (
            await asyncio.to_thread(self._begin, scope, body) if self._running is None else self._begin(scope, body)
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            return _given_up()

    def _begin(self, scope: Scope, body: bytes) -> concurrent.futures.Future[WholeResponse]:
        return self._started().submit(_serve(self._app, scope, body))

    def _started(self) -> _Running:
        with self._lock:
            if self._closed:
                raise ConfigurationError("this was closed: it answers no more requests")
            if self._running is None:
                self._running = _Running(self._app)
            return self._running

    def close(self) -> None:
        """Stop the application and the thread; nothing if it has not begun, or was closed before."""
        with self._lock:
            running, self._running, self._closed = self._running, None, True
        if running is not None:
            running.stop()

    def forget(self) -> None:
        """This is another process: the thread stayed in the one that it was forked from, and so did who held the
        lock."""
        self._lock, self._running = threading.Lock(), None


def _forked(bridge: Bridge | None) -> None:
    if bridge is not None:
        bridge.forget()


def _given_up() -> WholeResponse:
    log.warning("a request was given up: the mounted application took longer than %g seconds", _PATIENCE)
    return _UNAVAILABLE


# --- In the thread ---------------------------------------------------------------------------------------------------


class _Running:
    """The thread, its event loop, and the application that was started in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sojourn bridge", daemon=True)
        self._thread.start()
        self._lifespan = _Lifespan(app)
        try:
            self.submit(self._lifespan.start()).result(_STARTING)
        except BaseException:  # whatever it is, it goes on to whoever asked: only the thread must not stay
            self._end()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Do this in the event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Stop the application, and the thread."""
        try:
            self.submit(self._lifespan.stop()).result(_STARTING)
        except concurrent.futures.TimeoutError:
            log.warning("the mounted application took longer than %g seconds to stop, and was left", _STARTING)
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STARTING)


class _Lifespan:
    """The application's start and stop, as ASGI has them. One that knows neither is none the worse."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())
        await self._tell("startup")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._tell("shutdown")
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        await self._app(scope, self._asked.get, self._said.put)

    async def _tell(self, what: str) -> None:
        assert self._task is not None  # noqa: S101 - it was started
        await self._asked.put({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self._said.get())
        await asyncio.wait((answer, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():  # it knows of no lifespan, or fails at it
            answer.cancel()
            error = None if self._task.cancelled() else self._task.exception()
            log.debug("the mounted application knows no lifespan: %r", error)
        elif answer.result()["type"].endswith("failed"):
            with contextlib.suppress(Exception):  # what it raises beside its answer, which is what is told
                await self._task
            raise RuntimeError(f"the mounted application failed at its {what}: {answer.result().get('message', '')}")


async def _serve(app: ASGIApp, scope: Scope, body: bytes) -> WholeResponse:
    """One request. What the application raises before it has responded is logged, and becomes a 500."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    start: Message = {}
    parts: list[bytes] = []

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.shield(over)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))
            if not message.get("more_body", False) and not over.done():
                over.set_result(None)

    try:
        await app(scope, receive, send)
    except Exception:  # whatever it is, the server's thread has an answer to give
        log.exception("the mounted application failed")
        return WholeResponse.plain(500, "Internal Server Error")
    if not start:
        log.error("the mounted application gave no response to a request")
        return WholeResponse.plain(500, "Internal Server Error")
    headers = [
        (bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1")) for name, value in start["headers"]
    ]
    return WholeResponse(start["status"], headers, b"" if scope["method"] == "HEAD" else b"".join(parts))


def extensions(waiting: Waiting) -> dict[str, dict[str, float]]:
    """What a scope says of exchanges, and with that, that there are no sockets."""
    return {EXTENSION: {"wait": waiting.seconds, "most": waiting.most}}
