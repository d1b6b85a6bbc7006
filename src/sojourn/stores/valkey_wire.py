"""A connection to a Valkey or Redis server that is listened to: what comes over it was not asked for one by one.

The same for both worlds: the socket never blocks, and whoever waits for it waits in his own way. One reads; meanwhile
others may send, and close it, in any thread or task.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from .readiness import READ, WRITE, Readiness, addresses_of
from .valkey_link import CHUNK, Address, ProtocolError, Reply, new_reader, pack

__all__ = ["Wire", "connect"]

_CHUNKS: Final = 16  # that are read before what they say is handed out


class Wire:
    """One connection. Whatever fails on it raises OSError, and then it is lost."""

    def __init__(self, raw: socket.socket, ready: Readiness) -> None:
        self._socket = raw
        self._ready = ready
        self._reader = new_reader()
        self._lock = threading.Lock()  # a TLS connection takes no two calls at once
        self._came: list[Reply] = []
        self._unsent = bytearray()
        self._sending = False
        self._waiting = 0
        self.lost = ""
        """Why it can't be used any more; empty: it can."""

    async def send(self, requests: Sequence[tuple[Any, ...]], until: float) -> None:
        """Send requests."""
        self.put(requests)
        await self.flush(until)

    def put(self, requests: Sequence[tuple[Any, ...]]) -> None:
        """Have these requests sent by the next `flush`, after those that were put before."""
        with self._lock:
            self._check()
            self._unsent += b"".join(map(pack, requests))

    async def flush(self, until: float) -> None:
        """Send what was put. Where another is sending just now, that one sends all of it."""
        with self._lock:
            if self._sending:
                return
            self._sending = True
        try:
            while (blocked := self._step(self._send, WRITE)) is not None:
                await self._wait(blocked, until)
        except BaseException as error:
            self._sending = False
            if isinstance(error, TimeoutError):
                self.give_up("the server did not take in time what was sent")
            raise

    async def read(self, until: float) -> list[Reply]:
        """What has come: something. TimeoutError if nothing comes before then: that alone does the connection no
        harm."""
        while True:
            blocked = None
            for _ in range(_CHUNKS):
                blocked = self._step(self._receive, READ)
                if blocked is not None:
                    break
            if self._came:
                came, self._came = self._came, []
                return came
            if blocked is not None:
                await self._wait(blocked, until)

    async def secure(self, tls: ssl.SSLContext, name: str, until: float) -> None:
        """Speak TLS from now on."""
        secured = tls.wrap_socket(self._socket, server_hostname=name, do_handshake_on_connect=False)
        self._socket = secured
        while (blocked := self._step(secured.do_handshake, READ)) is not None:
            await self._wait(blocked, until)

    async def wait_until_open(self, until: float) -> None:
        """Wait for the server to take the connection, which was asked for. Raises OSError."""
        await self._wait(WRITE, until)
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def give_up(self, reason: str) -> None:
        """Close it. Who waits for it is woken."""
        with self._lock:
            self.lost = self.lost or reason
            with suppress(OSError):  # it was never open, or is not any more
                self._socket.shutdown(socket.SHUT_RDWR)
            if not self._waiting:  # else its number could be another's when who waits looks
                self._socket.close()

    def forked(self) -> None:
        """In the child of a fork: the connection is the parent's, and goes on there."""
        self._lock = threading.Lock()
        self.lost = self.lost or "the process was forked"
        self._socket.close()

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _step(self, step: Callable[[], object], blocked: int) -> int | None:
        """Do what does not wait. What to wait for, if it could not be done yet."""
        try:
            with self._lock:
                self._check()
                step()
        except ssl.SSLWantReadError:
            return READ
        except ssl.SSLWantWriteError:
            return WRITE
        except BlockingIOError:
            return blocked
        except (OSError, ProtocolError) as error:
            self.give_up(str(error))
            raise ConnectionError(self.lost) from error
        return None

    def _send(self) -> None:
        while self._unsent:
            sent = self._socket.send(self._unsent)
            del self._unsent[:sent]
        self._sending = False

    def _receive(self) -> None:
        received = self._socket.recv(CHUNK)
        if not received:
            raise ConnectionError("the server closed the connection")
        reader = self._reader
        reader.feed(received)
        while (reply := reader.gets()) is not ...:
            self._came.append(reply)

    def _check(self) -> None:
        if self.lost:
            raise ConnectionError(self.lost)

    async def _wait(self, events: int, until: float) -> None:
        with self._lock:
            self._check()
            handle = self._socket.fileno()
            self._waiting += 1
        try:
            await self._ready.wait(handle, events, until)
        finally:
            with self._lock:
                self._waiting -= 1
                if self.lost and not self._waiting:
                    self._socket.close()


async def connect(address: Address, tls: ssl.SSLContext | None, ready: Readiness, until: float) -> Wire:
    """A connection to the first of a server's addresses that takes one. Raises OSError, TimeoutError among them."""
    if address.path:
        return await _connected(socket.AF_UNIX, address.path, ready, until)
    problem: OSError = OSError(f"{address.host} has no address")
    for host in await addresses_of(address.host, ready, until):
        try:
            wire = await _connected(
                socket.AF_INET6 if ":" in host else socket.AF_INET, (host, address.port), ready, until
            )
        except OSError as error:
            problem = error
            continue
        if tls is not None:
            try:
                await wire.secure(tls, address.host, until)
            except BaseException:  # a cancelled task, too, leaves no connection open
                wire.give_up("it was never opened")
                raise
        return wire
    raise problem


async def _connected(family: int, to: Any, ready: Readiness, until: float) -> Wire:
    raw = socket.socket(family)
    wire = Wire(raw, ready)
    try:
        raw.setblocking(False)
        if family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):  # it is under way
            raw.connect(to)
        await wire.wait_until_open(until)
    except BaseException:  # a cancelled task, too, leaves no connection open
        wire.give_up("it was never opened")
        raise
    return wire
