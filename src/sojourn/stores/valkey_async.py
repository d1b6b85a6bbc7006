"""A link to a Valkey or Redis server for tasks: one connection for all of them.

What tasks ask for while the event loop turns once leaves in one write, and the replies are matched to the requests in
their order. That order is kept by one queue: a task that is cancelled, or whose time is up, leaves its place in it, and
the reply that comes for it is dropped. So no reply can reach another task.

A connection on which time ran out, and nothing at all came back meanwhile, is given up: the server hangs, or the way to
it is cut. All that waited on it are told at once.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast

from .readiness import addresses_of, readiness
from .valkey_link import (
    Address,
    Login,
    NoReply,
    NotSent,
    Reply,
    ReplyError,
    TooLate,
    new_reader,
    opening,
    pack,
    refusal,
)

__all__ = ["TaskLink"]

_LOOK: Final = 0.02  # seconds between two looks whether somebody's time is up
_MOST: Final = 10_000  # requests under way

_links: weakref.WeakSet[TaskLink] = weakref.WeakSet()


class _Place:
    """A place in the queue of those who wait for replies."""

    __slots__ = ("count", "future", "replies", "sent_at", "until")

    def __init__(self, future: asyncio.Future[list[Reply]], count: int, until: float, sent_at: float) -> None:
        self.future = future
        self.count = count
        self.until = until
        self.sent_at = sent_at
        self.replies: list[Reply] = []


class _Connection(asyncio.Protocol):
    """One connection, shared by all tasks of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._reader = new_reader()
        self._queue: deque[_Place] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._retired = False
        self._waiting: asyncio.Future[Any] | None = None
        self._waited_for = False
        self.lost: str | None = None
        """Why it can't be used any more; None: it can."""

    def ask(self, requests: Sequence[tuple[Any, ...]], until: float) -> asyncio.Future[list[Reply]]:
        """Send requests together; a future of their replies."""
        if self.lost is not None:
            raise NotSent(self.lost)
        if len(self._queue) >= _MOST:
            raise NotSent(f"{_MOST} requests are under way, and the server is not answering as fast as they come")
        future: asyncio.Future[list[Reply]] = self.loop.create_future()
        self._queue.append(_Place(future, len(requests), until, self.loop.time()))
        if not self._unsent:
            self.loop.call_soon(self._send)  # together with what other tasks ask for until then
        self._unsent.extend(map(pack, requests))
        if self._watch is None:
            self._watch = self.loop.call_later(_LOOK, self._look)
        return future

    async def ask_and_wait(
        self, requests: Sequence[tuple[Any, ...]], wait: tuple[Any, ...], until: float
    ) -> list[Reply]:
        """Send requests, and wait for the replicas: the replies, and the reply to the WAIT. A WAIT holds up its
        connection, and counts for all that was written before it: so there is one at a time, for all who wrote."""
        replies = self.ask(requests, until)
        if self._waiting is None:
            self._waiting = self.loop.create_future()
            if not self._waited_for:
                self.loop.call_soon(self._wait, wait, until)
        waiting = self._waiting
        found = await replies
        await asyncio.wait([waiting], timeout=max(until - time.monotonic(), 0.0))
        if not waiting.done():
            raise NoReply("the server did not answer in time")
        reply = waiting.result()
        if isinstance(reply, Exception) and not isinstance(reply, ReplyError):
            raise NoReply(str(reply))
        return [*found, reply]

    def _wait(self, wait: tuple[Any, ...], until: float) -> None:
        """Begin a WAIT for all who have written so far."""
        waiting, self._waiting = self._waiting, None
        self._waited_for = True

        def done(reply: asyncio.Future[list[Reply]]) -> None:
            self._waited_for = False
            error = reply.exception()
            assert waiting is not None  # noqa: S101 - somebody has asked for it
            waiting.set_result(reply.result()[0] if error is None else error)
            if self._waiting is not None:
                self._wait(wait, max(until, time.monotonic() + wait[2] / 1000))

        try:
            self.ask([wait], until).add_done_callback(done)
        except NotSent as error:
            self._waited_for = False
            if waiting is not None:
                waiting.set_result(error)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and self.lost is None:
            self._transport.write(b"".join(unsent))

    def _look(self) -> None:
        """Tell those whose time is up."""
        self._watch = None
        now = time.monotonic()
        for place in self._queue:
            if place.until <= now and not place.future.done():
                place.future.set_exception(NoReply("the server did not answer in time"))
                if self._heard_at < place.sent_at:
                    self.give_up("the server did not answer in time")
                    return
        if self._queue:
            self._watch = self.loop.call_later(_LOOK, self._look)

    def retire(self) -> None:
        """Close when those who wait have their replies."""
        self._retired = True
        if not self._queue:
            self.give_up("another connection took its place")

    def give_up(self, reason: str) -> None:
        """Close, and tell all who wait."""
        if self.lost is None:
            self.lost = reason
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
        while self._queue:
            place = self._queue.popleft()
            if not place.future.done():
                place.future.set_exception(NoReply(reason))

    # --- What the event loop calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # as create_connection makes: uvloop's is of no such class
        self._transport.set_write_buffer_limits(high=(1 << 31) - 1)  # `_MOST` and the deadlines are the limit

    def data_received(self, data: bytes) -> None:
        if self.lost is not None:
            return
        self._heard_at = self.loop.time()
        reader, queue = self._reader, self._queue
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not ...:
                place = queue[0]
                place.replies.append(reply)
                if len(place.replies) == place.count:
                    queue.popleft()
                    if not place.future.done():
                        place.future.set_result(place.replies)
            if self._retired and not queue:
                self.give_up("another connection took its place")
        except Exception as error:  # what comes is no reply, or nobody's: nothing after it can be trusted
            self.give_up(f"the server sent what is no reply: {error!r}")

    def connection_lost(self, error: Exception | None) -> None:
        self.give_up("the connection was lost" if error is None else f"the connection was lost: {error}")


class TaskLink:
    """The connection to one server, made when it is needed, and made anew when it is lost."""

    def __init__(self, address: Address, login: Login, *, check_primary: bool = False) -> None:
        self.address = address
        self._login = login
        self._check_primary = check_primary
        self._closed = False
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        _links.add(self)

    async def exchange(self, requests: Sequence[tuple[Any, ...]], until: float) -> list[Reply]:
        connection = self._connection
        if connection is None or connection.lost is not None or connection.loop is not asyncio.get_running_loop():
            connection = await self._connect(until)
        try:
            if requests[-1][0] == "WAIT":
                return await connection.ask_and_wait(requests[:-1], requests[-1], until)
            return await connection.ask(requests, until)
        except (NotSent, NoReply) as error:
            raise type(error)(f"{self.address}: {error}") from None

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.loop.is_closed():
            connection.retire()

    def close(self) -> None:
        self._closed = True
        if self._connecting is not None and not self._connecting.get_loop().is_closed():
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None and not connection.loop.is_closed():
            connection.give_up("the store was closed")

    def forked(self) -> None:
        """In the child of a fork: the connection is the parent's."""
        self._connection = self._connecting = None

    async def _connect(self, until: float) -> _Connection:
        """The connection, made by one task for all who need it."""
        if self._closed:
            raise NotSent("the store was closed")
        loop = asyncio.get_running_loop()
        if self._connecting is None or self._connecting.done() or self._connecting.get_loop() is not loop:
            self._connecting = loop.create_task(self._dial(until), name="sojourn-connect")
            self._connecting.add_done_callback(_look_at)  # those who waited may all have gone meanwhile
        connecting = self._connecting
        await asyncio.wait([connecting], timeout=max(until - time.monotonic(), 0.0))
        if not connecting.done():
            raise TooLate(f"{self.address}: the server could not be reached in time")
        if connecting.cancelled():
            raise NotSent(f"{self.address}: connecting was interrupted")
        error = connecting.exception()
        if error is not None:
            raise (TooLate if isinstance(error, TooLate) else NotSent)(f"{self.address}: {error}") from error
        return connecting.result()

    async def _dial(self, until: float) -> _Connection:
        loop = asyncio.get_running_loop()
        connection = _Connection(loop)
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0.0)):
                if self.address.path:
                    await loop.create_unix_connection(lambda: connection, self.address.path, ssl=self._login.tls)
                else:
                    await self._reach(connection, until)
                opened = await connection.ask(opening(self._login, check_primary=self._check_primary), until)
        except BaseException as error:
            connection.give_up("it was never opened")
            if not isinstance(error, (OSError, TimeoutError, NoReply)):
                raise
            if isinstance(error, (TimeoutError, NoReply)):
                raise TooLate("the server could not be reached in time") from error
            raise NotSent(str(error)) from error
        problem = refusal(opened)
        if problem is not None or self._closed:
            connection.give_up("it was never opened")
            raise NotSent(problem or "the store was closed")
        self._connection = connection
        return connection

    async def _reach(self, connection: _Connection, until: float) -> None:
        """Connect to the first of the host's addresses that takes a connection."""
        problem: OSError = OSError(f"{self.address.host} has no address")
        for host in await addresses_of(self.address.host, readiness("async"), until):
            tls = None if self._login.tls is None else self.address.host
            try:
                await connection.loop.create_connection(
                    lambda: connection, host, self.address.port, ssl=self._login.tls, server_hostname=tls
                )
            except OSError as error:
                problem = error
            else:
                return
        raise problem


def _look_at(connecting: asyncio.Task[_Connection]) -> None:
    if not connecting.cancelled():
        connecting.exception()


def _after_fork() -> None:
    for link in list(_links):
        link.forked()


os.register_at_fork(after_in_child=_after_fork)
