"""A proxy on the loopback address that spoils what passes between a client and a server, when a test says so.

It knows no protocol: it sees requests (towards the server) and replies (back) as chunks of bytes. A fault holds from
the moment a method returns until `pass_on`, or as often as it was asked for.

    delay       each chunk arrives so much later, each way; what is in a hurry is not held up by what came before
    drip        replies come byte by byte
    hold        nothing arrives while it holds; all of it arrives, late, afterwards
    swallow     nothing arrives, now or ever, on the connections that are there and on those that come meanwhile
    cut_reply   the connection is reset in the midst of the next reply: the server has done what it was asked
    cut_request the connection is reset before the next request arrives: the server knows nothing of it
    reset       all connections are reset, now; new ones are served
    refuse      all connections are reset, and new ones are refused
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from .process import LOOPBACK, free_port

__all__ = ["Proxy", "before", "through"]

T = TypeVar("T")

_RESET: Final = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset


class _Cut:
    """A reset that is due: on the first connection that sends a request with these bytes in it."""

    def __init__(self, kind: str, request: bytes, after: int, times: int, skip: int) -> None:
        self.kind = kind
        self.request = request
        self.after = after
        self.times = times
        self.skip = skip


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.ends = (client, server)
        self.swallowed = proxy.swallowing
        self.left: int | None = None
        """How many bytes of the reply may still pass before the connection is cut; None: all of them."""

    def reset(self) -> None:
        for end in self.ends:
            with suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()

    def passes_request(self, chunk: bytes) -> bool:
        cut = self.proxy.due
        if cut is not None and cut.request in chunk:
            cut.skip -= 1
            if cut.skip >= 0:
                return True
            cut.times -= 1
            self.proxy.cuts += 1
            if cut.times == 0:
                self.proxy.due = None
            if cut.kind == "request":
                self.reset()
                return False
            self.left = cut.after
        return True

    def passes_reply(self, chunk: bytes) -> bytes:
        if self.left is None:
            return chunk
        whole, self.left = self.left, max(self.left - len(chunk), 0)
        return chunk[:whole]


class Proxy:
    """The proxy, in a thread of its own. ``port`` is where clients find it; ``cuts`` counts what it has cut."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.cuts = 0
        self.accepted = 0
        """How many connections it has taken so far."""
        self.due: _Cut | None = None
        self.swallowing = False
        self._delay = 0.0
        self._dripping = False
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None

    # --- What a test says --------------------------------------------------------------------------------------------

    def delay(self, seconds: float) -> None:
        self._delay = seconds

    def drip(self) -> None:
        self._dripping = True

    def hold(self) -> None:
        self._call(self._hold)

    def swallow(self) -> None:
        self._call(self._swallow)

    def cut_reply(self, after: int = 0, *, request: bytes = b"", times: int = 1, skip: int = 0) -> None:
        """After so many bytes of what comes back once a request with these bytes in it was sent; the first `skip` such
        requests are answered."""
        self.due = _Cut("reply", request, after, times, skip)

    def cut_request(self, *, request: bytes = b"", times: int = 1, skip: int = 0) -> None:
        self.due = _Cut("request", request, 0, times, skip)

    def reset(self) -> None:
        self._call(self._reset)

    def refuse(self) -> None:
        self._call(self._refuse)

    def pass_on(self) -> None:
        """Whatever was wrong is over, but for connections that were swallowed: nobody will hear of them again."""
        self.due, self.swallowing, self._delay, self._dripping = None, False, 0.0, False
        self._call(self._listen)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._links)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._call(self._begin)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._finish)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # --- In its thread -----------------------------------------------------------------------------------------------

    def _call(self, method: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(method(), self._loop).result(10)

    async def _begin(self) -> None:
        self._open = asyncio.Event()
        await self._listen()

    async def _listen(self) -> None:
        self._open.set()
        if self._listening is None:
            self._listening = socket.create_server((LOOPBACK, self.port), backlog=512)
            self._listening.setblocking(False)
            self._loop.add_reader(self._listening, self._accept, self._listening)

    async def _hold(self) -> None:
        self._open.clear()

    async def _swallow(self) -> None:
        self.swallowing = True
        for link in self._links:
            link.swallowed = True

    async def _reset(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _refuse(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            self._loop.remove_reader(listening)
            listening.close()
        await self._reset()

    async def _finish(self) -> None:
        await self._refuse()
        await asyncio.sleep(0)  # for those that were accepted just now
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for what is closed to be closed

    def _accept(self, listening: socket.socket) -> None:
        """Take a connection. (Not by `asyncio.start_server`: one that comes while that is closed is left open.)"""
        with suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = listening.accept()
            self.accepted += 1
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        reader, client = await asyncio.open_connection(sock=connection)
        try:
            with suppress(OSError, asyncio.CancelledError):  # a server that is down, or the end of the test
                await self._join(reader, client)
        finally:
            client.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        back, server = await asyncio.open_connection(LOOPBACK, self.target)
        link = _Link(self, client, server)
        self._links.add(link)
        ways = [
            asyncio.ensure_future(self._carry(reader, server, link, replies=False)),
            asyncio.ensure_future(self._carry(back, client, link, replies=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            link.reset()
            self._links.discard(link)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link, *, replies: bool
    ) -> None:
        """One way of one connection, to its end. What arrives is sent on by another task, so that a delay is a
        delay, and no brake."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(queue, writer, link, replies=replies))
        try:
            while chunk := await reader.read(65536):
                if sender.done():
                    break
                if replies or link.passes_request(chunk):
                    queue.put_nowait((loop.time() + self._delay, chunk))
            queue.put_nowait((loop.time() + self._delay, b""))
            await sender
        finally:
            sender.cancel()

    async def _send(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, link: _Link, *, replies: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await queue.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await self._open.wait()
            if not chunk:
                return
            if link.swallowed:
                continue
            data = link.passes_reply(chunk) if replies else chunk
            for part in [data[at : at + 1] for at in range(len(data))] if replies and self._dripping else [data]:
                writer.write(part)
                await writer.drain()
                if self._dripping:
                    await asyncio.sleep(0)
            if link.left == 0:
                await asyncio.sleep(0.001)  # so that what was to pass is not overtaken by the reset
                link.reset()
                return


def before(url: str) -> Proxy:
    """A proxy before the server of this URL."""
    port = urlsplit(url).port
    assert port is not None, url
    return Proxy(port)


def through(url: str, proxy: Proxy) -> str:
    """The URL of what the proxy stands before, as seen through it."""
    assert f":{proxy.target}" in url
    return url.replace(f":{proxy.target}", f":{proxy.port}", 1)
