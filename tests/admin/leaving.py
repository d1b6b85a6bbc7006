"""What leaves a process, all of it kept, and searched for what must not be in it.

    kept = Kept()
    with served(Overheard(dashboard, kept)) as site, kept.logs():
        ...
    assert kept.holding(needles_of(session_id)) == []

Kept are the answers and frames of an ASGI application (`Overheard`), what a browser asks for (`Kept.follow`), all log
records of all loggers at all levels (`Kept.logs`), and whatever a test adds. Two places are left out, as an operator's
own id is nowhere else: the headers Cookie and Set-Cookie.
"""

from __future__ import annotations

import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import BrowserContext, Page

from sojourn import ids

__all__ = ["Kept", "Overheard", "needles_of", "needles_of_digest"]

_TESTS = ("httpx", "httpcore", "websockets")  # the tests' own clients
_OWN = (b"cookie", b"set-cookie")


def needles_of(session_id: str) -> set[str]:
    """Whatever tells a session id, or a part of it that is worth something: whole, its secret alone, the secret's
    digest; as text, in hexadecimal, in base64."""
    secret = session_id.rpartition(".")[2]
    return {secret, secret.encode().hex(), b64encode(secret.encode()).decode()} | needles_of_digest(ids.digest(secret))


def needles_of_digest(digest: bytes) -> set[str]:
    """A digest in the forms in which it could be told."""
    plain, urlsafe = b64encode(digest).decode().rstrip("="), urlsafe_b64encode(digest).decode().rstrip("=")
    return {digest.hex(), digest.hex().upper(), plain, urlsafe, plain.replace("/", "\\/"), repr(digest)[2:-1]}


class Kept:
    """What left."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        """Where, and what."""

    def keep(self, where: str, what: object) -> None:
        """Something left."""
        self.told.append((where, what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)))

    def places(self) -> set[str]:
        """Where anything left at all."""
        return {where for where, what in self.told if what}

    def holding(self, needles: Iterable[str]) -> list[tuple[str, str]]:
        """Where a needle is, and what is around it."""
        found = []
        for where in sorted(self.places()):
            text = "\n".join(what for place, what in self.told if place == where)
            for needle in needles:
                if (at := text.find(needle)) >= 0:
                    found.append((where, text[max(0, at - 80) : at + len(needle) + 20]))
        return found

    @contextmanager
    def logs(self) -> Iterator[None]:
        """Keep what all loggers tell, at all levels."""
        root, kept = logging.getLogger(), self

        class Keeping(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.name.partition(".")[0] in _TESTS or _is_own(record.args):
                    return
                kept.keep(f"log {record.name.partition('.')[0]}", f"{record.__dict__} {self.format(record)}")

        handler, level = Keeping(1), root.level
        root.addHandler(handler)
        root.setLevel(1)
        try:
            yield
        finally:
            root.setLevel(level)
            root.removeHandler(handler)

    def follow(self, context: BrowserContext) -> None:
        """Keep what a browser asks for, and what its pages print."""

        def begin(page: Page) -> None:
            page.on(
                "request", lambda one: self.keep("request", f"{one.method} {one.url} {one.headers} {one.post_data}")
            )
            page.on("console", lambda message: self.keep("console", message.text))
            page.on("websocket", lambda socket: self.keep("request", socket.url))
            page.on("websocket", lambda socket: socket.on("framesent", lambda text: self.keep("frame sent", text)))

        context.on("page", begin)

    def shown(self, page: Page) -> None:
        """Keep what a page has in it, and where it keeps things."""
        self.keep("page", page.content())
        self.keep(
            "page", page.evaluate("JSON.stringify([location.href, localStorage, sessionStorage, document.cookie])")
        )


def _is_own(arguments: object) -> bool:
    """Whether this is a header of those two, as uvicorn's sockets log all that comes at DEBUG."""
    return isinstance(arguments, tuple) and str(arguments[:1]).lower() in [f"('{name.decode()}',)" for name in _OWN]


class Overheard:
    """An ASGI application, of which all that it answers is kept."""

    def __init__(self, app: Any, kept: Kept) -> None:
        self.app = app
        self.kept = kept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def told(message: Any) -> None:
            kind, kept = message["type"], self.kept
            for name, value in message.get("headers") or ():
                if name.lower() not in _OWN:
                    kept.keep("header", name + b": " + value)
            for part in ("body", "text", "bytes", "reason"):
                if message.get(part):
                    kept.keep("answer" if kind.startswith("http") else "frame", message[part])
            await send(message)

        await self.app(scope, receive, told)
