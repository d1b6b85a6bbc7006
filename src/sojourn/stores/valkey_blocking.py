"""A link to a Valkey or Redis server for threads: a pool of connections, each used by one thread at a time.

Its coroutines never suspend: they block the thread (see `sojourn.blocking`). A connection that was idle is looked at
before it is used, so that one which the server closed meanwhile costs nobody an unknown outcome.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import time
import weakref
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final

from .readiness import addresses_of, readiness
from .valkey_link import (
    CHUNK,
    Address,
    Login,
    NoReply,
    NotSent,
    ProtocolError,
    Reply,
    TooLate,
    new_reader,
    opening,
    pack,
    refusal,
)

__all__ = ["ThreadLink"]

_IDLE: Final = 0.25  # seconds without use after which a connection is looked at first

_links: weakref.WeakSet[ThreadLink] = weakref.WeakSet()


class _Connection:
    """One connection, used by one thread at a time.

    The time is watched by the kernel (SO_RCVTIMEO): Python's own timeouts cost two more system calls for each that is
    needed. Over TLS they are used all the same, as its library reads where it likes.
    """

    __slots__ = ("_buffer", "_patience", "_reader", "_socket", "_tls", "used_at")

    def __init__(self, raw: socket.socket) -> None:
        self._socket = raw
        self._tls = isinstance(raw, ssl.SSLSocket)
        if not self._tls:
            raw.settimeout(None)
        self._patience = 0.0
        self._reader = new_reader()
        self._buffer = bytearray(CHUNK)
        self.used_at = 0.0

    def talk(self, requests: Sequence[tuple[Any, ...]], until: float) -> list[Reply]:
        """Send, and read as many replies. OSError if that does not succeed in time, `ProtocolError` for what is no
        reply."""
        self._allow(until - time.monotonic())
        connection, reader, buffer = self._socket, self._reader, self._buffer
        replies: list[Reply] = []
        missing = len(requests)
        try:
            connection.sendall(pack(requests[0]) if missing == 1 else b"".join(map(pack, requests)))
            while missing > 0:
                received = connection.recv_into(buffer)
                if not received:
                    raise ConnectionError("the server closed the connection")
                reader.feed(buffer, 0, received)  # type: ignore[arg-type]  # it takes any buffer
                while (reply := reader.gets()) is not ...:
                    replies.append(reply)
                    missing -= 1
                self.used_at = time.monotonic()
                if missing > 0:
                    if self.used_at >= until:
                        raise TimeoutError("the time was up")
                    self._allow(until - self.used_at)
        except BlockingIOError as error:
            raise TimeoutError("the server did not answer in time") from error
        if missing < 0 or reader.has_data():
            raise ProtocolError("the server answered more than it was asked")
        return replies

    def _allow(self, left: float) -> None:
        """Let the next steps take so many seconds, at most; a tenth more or less is not worth a system call."""
        if 0.9 * self._patience < left <= self._patience:
            return
        left = max(1.05 * left, 0.001)
        if self._tls:
            self._socket.settimeout(left)
        else:
            interval = struct.pack("@ll", int(left), int(left % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)
            self._patience = left

    def is_open(self) -> bool:
        """Whether the server has neither closed the connection nor sent what nobody asked for."""
        look = select.poll()
        look.register(self._socket, select.POLLIN)
        return not look.poll(0)

    def close(self) -> None:
        self._socket.close()

    __del__ = close


class _Permit:
    """The right to use a connection. One that nobody gave back is given back when nobody holds it any more, so that an
    exception out of a signal handler, which may come between any two steps, loses none."""

    __slots__ = ("_link", "_queue", "_spent")

    def __init__(self, link: weakref.ref[ThreadLink], queue: SimpleQueue[_Permit]) -> None:
        self._link = link
        self._queue = queue
        self._spent = False
        queue.put(self)

    def give_back(self) -> None:
        """Let another have it."""
        if not getattr(self, "_spent", True) and self._link() is not None:  # without its link, the queue goes as well
            _Permit(self._link, self._queue)
        self._spent = True

    def __del__(self) -> None:
        self.give_back()


class ThreadLink:
    """Connections to one server, at most `most`."""

    def __init__(self, address: Address, login: Login, *, most: int = 64, check_primary: bool = False) -> None:
        self.address = address
        self._login = login
        self._most = most
        self._check_primary = check_primary
        self._closed = False
        self.forked()
        _links.add(self)

    def forked(self) -> None:
        """Begin anew, with no connection: in the child of a fork they are the parent's."""
        self._idle: list[_Connection] = []
        self._permits: SimpleQueue[_Permit] = SimpleQueue()
        for _ in range(self._most):
            _Permit(weakref.ref(self), self._permits)

    async def exchange(self, requests: Sequence[tuple[Any, ...]], until: float) -> list[Reply]:
        try:
            permit = self._permits.get(timeout=max(until - time.monotonic(), 0.0))
        except Empty:
            raise NotSent(f"all {self._most} connections were in use past the deadline") from None
        try:
            connection = await self._take(until)
            try:
                replies = connection.talk(requests, until)
            except BaseException as error:
                connection.close()  # its reply may still come, and is nobody's
                if isinstance(error, (OSError, ProtocolError)):
                    raise NoReply(f"{self.address}: {error}") from error
                raise
            self._idle.append(connection)
        finally:
            permit.give_back()
        if self._closed:
            self.drop()
        return replies

    def drop(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        self._closed = True
        self.drop()

    async def _take(self, until: float) -> _Connection:
        """A connection that is open: the one used last, or a new one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return await self._connect(until)
            if time.monotonic() - connection.used_at < _IDLE or connection.is_open():
                return connection
            connection.close()

    async def _connect(self, until: float) -> _Connection:
        left = until - time.monotonic()
        if self._closed:
            raise NotSent("the store was closed")
        if left <= 0:
            raise TooLate(f"{self.address}: no time was left to connect")
        try:
            connection = _Connection(await self._dial(until))
        except TimeoutError as error:
            raise TooLate(f"{self.address}: the server could not be reached in time") from error
        except OSError as error:
            raise NotSent(f"{self.address}: {error}") from error
        try:
            problem = refusal(connection.talk(opening(self._login, check_primary=self._check_primary), until))
        except (OSError, ProtocolError) as error:
            problem = str(error)
        if problem is not None:
            connection.close()
            raise NotSent(f"{self.address}: {problem}")
        return connection

    async def _dial(self, until: float) -> socket.socket:
        """A new connection, to the first of the host's addresses that takes one."""
        if self.address.path:
            return _connected(socket.socket(socket.AF_UNIX), self.address.path, until)
        problem: OSError = OSError(f"{self.address.host} has no address")
        for host in await addresses_of(self.address.host, readiness("blocking"), until):
            raw = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            try:
                _connected(raw, (host, self.address.port), until)
            except OSError as error:
                problem = error
                continue
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return raw if self._login.tls is None else self._secured(raw, self._login.tls)
        raise problem

    def _secured(self, raw: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        try:
            return tls.wrap_socket(raw, server_hostname=self.address.host)
        except BaseException:  # an interrupt, too, leaves no socket open
            raw.close()
            raise


def _connected(raw: socket.socket, to: Any, until: float) -> socket.socket:
    try:
        raw.settimeout(max(until - time.monotonic(), 0.001))
        raw.connect(to)
    except BaseException:  # an interrupt, too, leaves no socket open
        raw.close()
        raise
    return raw


def _after_fork() -> None:
    for link in list(_links):
        link.forked()


os.register_at_fork(after_in_child=_after_fork)
