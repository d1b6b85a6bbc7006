"""A client of Valkey and Redis as plain as can be: one connection, one command at a time, nothing hidden.

With it a test looks at a server, and breaks what it holds, from beside the store. It shares no code with the store.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any, Self

from .process import LOOPBACK

__all__ = ["Client", "ServerError", "facts"]


class ServerError(Exception):
    """What the server refused, in its words."""


class Client:
    """A connection. Raises `ServerError` for what the server refuses, and `OSError` where there is no answer."""

    def __init__(self, port: int, *, login: tuple[str, ...] = (), ca: Path | None = None, timeout: float = 5.0) -> None:
        plain = socket.create_connection((LOOPBACK, port), timeout)
        self._socket = plain
        if ca is not None:
            self._socket = ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=LOOPBACK)
        self._file = self._socket.makefile("rb")
        try:
            if login:
                self.do("AUTH", *login)
        except BaseException:  # an interrupt, too, leaves no connection open
            self.close()
            raise

    def do(self, *command: object) -> Any:
        """One command; its reply: bytes, an integer, None, or a list of them."""
        self.send(*command)
        return self.receive()

    def send(self, *command: object) -> None:
        """A command whose reply is fetched later, with `receive`."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self._socket.sendall(b"*%d\r\n%s" % (len(words), b"".join(parts)))

    def receive(self) -> Any:
        """The next reply."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise ServerError(text.decode())
        if kind == b"+":
            return text
        number = int(text)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"*":
            return [self.receive() for _ in range(number)]
        data = self._file.read(number + 2)
        if len(data) != number + 2:
            raise ConnectionError("the server closed the connection")
        return data[:-2]

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def facts(text: bytes) -> dict[str, str]:
    """What INFO and CLUSTER INFO say, by name."""
    pairs = (line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}
