"""The WebSocket that `live` clicks with: as small as can be, so that the client is not what is measured.

It is to the server what Chromium is: it offers permessage-deflate, compresses what it sends if the server agrees, and
answers pings. It reads no frames but whole ones. It masks by zeros: a mask that changes nothing, which the server
applies all the same.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable
from http.client import HTTPConnection

from .live_tabs import Page

HOST = "127.0.0.1"
_TAIL = b"\x00\x00\xff\xff"


class Lost(AssertionError):
    """What was clicked and what is shown differ, or a socket is closed."""


def visit(port: int, path: str = "/") -> Page:
    """A page, as one that has not been here before gets it."""
    connection = HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept": "text/html"})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise Lost(f"{path} answered {response.status}: {text[:200]}")
    cookies = [value.partition(";")[0] for name, value in response.getheaders() if name.lower() == "set-cookie"]
    return Page(text, "; ".join(cookies))


class Socket(asyncio.Protocol):
    """One WebSocket. ``heard`` is called with each message."""

    def __init__(self, request: bytes, heard: Callable[[bytes], None]) -> None:
        self._request = request
        self._heard = heard
        self._rest = b""
        self._inflate: zlib._Decompress | None = None
        self._deflate: zlib._Compress | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closing = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(Lost("the socket was refused"))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at = 0 if self.opened.done() else self._open(data)
        if at < 0:
            self._rest = data
            return
        end = len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length > 125:
                start += 2 if length == 126 else 8
                if end < start:
                    break
                length = int.from_bytes(data[at + 2 : start])
            if end < start + length:
                break
            first, at = data[at], start + length
            self._frame(first, data[start:at])
        self._rest = data[at:]

    def _open(self, data: bytes) -> int:
        """Where the first frame begins; -1 while the response is not whole."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return -1
        head = data[:end].decode("latin-1")
        if " 101 " not in head.partition("\r\n")[0]:
            self.opened.set_exception(Lost(f"no WebSocket: {head}"))
            self._transport.abort()  # type: ignore[attr-defined]
            return -1
        agreed = re.search(r"(?im)^sec-websocket-extensions: *permessage-deflate(.*)$", head)
        if agreed:
            bits = re.search(r"client_max_window_bits=(\d+)", agreed[1])
            self._inflate = zlib.decompressobj(-15)
            self._deflate = zlib.compressobj(1, zlib.DEFLATED, -int(bits[1]) if bits else -15)
        self.opened.set_result(None)
        return end + 4

    def _frame(self, first: int, payload: bytes) -> None:
        kind = first & 15
        if kind in (1, 2) and first & 0x80:
            if first & 0x40:
                assert self._inflate is not None
                payload = self._inflate.decompress(payload + _TAIL)
            self._heard(payload)
        elif kind == 9:
            self._write(0x8A, payload)
        elif kind == 8:
            self.close()
        elif kind != 10:
            raise Lost("a frame that is no whole message")

    def send(self, payload: bytes, binary: bool = False) -> None:
        """One message."""
        first = 0x82 if binary else 0x81
        if self._deflate is not None:
            payload = (self._deflate.compress(payload) + self._deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
            first |= 0x40
        self._write(first, payload)

    def _write(self, first: int, payload: bytes) -> None:
        length = len(payload)  # none of ours is longer than 64 KB
        head = bytes((first, length | 0x80)) if length < 126 else bytes((first, 254)) + length.to_bytes(2)
        self._transport.write(head + bytes(4) + payload)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Say so, and do not wait."""
        if not self.closing:
            self.closing = True
            self._write(0x88, b"\x03\xe9")
            self._transport.close()
