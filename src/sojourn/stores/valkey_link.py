"""What the two kinds of links to a Valkey or Redis server share: where it is, how a conversation begins, and how a link
fails.

A link sends requests to one server and returns their replies. There is one for each world: `valkey_blocking` has a
pool of connections, each used by one thread at a time; `valkey_async` has one connection for all tasks. Both speak
RESP through hiredis, and both keep these rules:

- An exchange ends within its deadline, connecting and waiting for a connection included.
- `NotSent` means that the server can't have done anything; `NoReply` that it may have.
- Replies are handed out in the order of the requests, and a connection on which one is missing is never used again.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from ..errors import MissingExtra

try:
    import hiredis
except ImportError as missing:
    raise MissingExtra("valkey:// and redis://", "valkey") from missing

__all__ = [
    "CHUNK",
    "Address",
    "Link",
    "Login",
    "NoReply",
    "NotSent",
    "ProtocolError",
    "Push",
    "Reply",
    "ReplyError",
    "TooLate",
    "new_reader",
    "opening",
]

CHUNK = 65536
"""Bytes read at once."""

_PACKED = (bytes, str)

Reply: TypeAlias = Any
"""bytes, int, None, a list of replies, or a `ReplyError`."""

ReplyError = hiredis.ReplyError
ProtocolError = hiredis.ProtocolError
Push = hiredis.PushNotification
"""A list that came without being asked for, in RESP3."""


class NotSent(Exception):
    """The server was not reached: it can't have done what was asked."""


class TooLate(NotSent):
    """There was no time left: what stood in the way before is more telling."""


class NoReply(Exception):
    """The request was sent, and its reply did not come: the server may have done what was asked, or not."""


class Address(Struct, frozen=True):
    """Where a server listens: a host and a port, or the path of a unix socket."""

    host: str
    port: int = 6379
    path: str = ""

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


class Login(Struct, frozen=True):
    """How a conversation begins."""

    user: str = ""
    password: str = ""
    database: int = 0
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, database={self.database})"  # no password


class Link(Protocol):
    """A way to one server."""

    address: Address

    async def exchange(self, requests: Sequence[tuple[Any, ...]], until: float) -> list[Reply]:
        """Send these requests together and return their replies, in order; ended at `until`, in monotonic seconds.
        Raises `NotSent` and `NoReply`."""

    def drop(self) -> None:
        """Close what is open: the server is another one now. The next exchange connects anew."""

    def close(self) -> None:
        """Close for good."""


def opening(login: Login, *, check_primary: bool) -> list[tuple[Any, ...]]:
    """The requests with which a conversation begins. Each is to be answered without an error."""
    requests: list[tuple[Any, ...]] = []
    if login.password:
        requests.append(("AUTH", login.user, login.password) if login.user else ("AUTH", login.password))
    if login.database:
        requests.append(("SELECT", login.database))
    if check_primary:
        requests.append(("ROLE",))
    return requests or [("PING",)]


def pack(arguments: tuple[Any, ...]) -> bytes:
    """A request as bytes. (hiredis makes text of numbers by itself, but crashes if a signal handler raises then.)"""
    texts: Any = tuple([one if type(one) in _PACKED else str(one) for one in arguments])
    packed: bytes = hiredis.pack_command(texts)
    return packed


def refusal(replies: Sequence[Reply]) -> str | None:
    """Why a conversation can't begin, by the replies to its opening; None: it can."""
    for reply in replies:
        if isinstance(reply, ReplyError):
            return str(reply)
        if isinstance(reply, list) and reply and reply[0] in (b"slave", b"sentinel"):
            return "READONLY it is a replica"
    return None


def new_reader() -> hiredis.Reader:
    """A parser of replies. It returns `...` where a reply is not complete."""
    return hiredis.Reader(notEnoughData=...)
