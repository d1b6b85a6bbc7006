"""A socket that the gate has let in, and the right that it was let in by: asked for again with each frame that comes
in, and by a clock. When the right ends, the page is told to clear itself, the socket is closed with 1008, and nothing
passes any more, in either direction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ..exchange import ANSWERED
from ..live.protocol import Ended, encode
from ..sockets import AGAIN, POLICY, ASGIApp, Message, Receive, Scope, Send
from .guards import Undecided

__all__ = ["AdmittedSocket"]

log = logging.getLogger("sojourn")

_CLOSING: Final = 2.0  # seconds that the last word to a client may take


class AdmittedSocket:
    """The socket. ``still`` tells whether the right is there, or raises `Undecided` or a store's error: then the socket
    is closed with 1013, and may come again. ``every`` seconds it is asked; after ``life`` the socket comes again in any
    case."""

    def __init__(
        self, still: Callable[[], Awaitable[bool]], every: float, life: float, receive: Receive, send: Send
    ) -> None:
        self._still = still
        self._every = every
        self._life = life
        self._receive = receive
        self._send = send
        self._over = asyncio.get_running_loop().create_future()
        self._receiving: asyncio.Task[Message] | None = None
        self._clock: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[object] | None = None  # who closes it

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Run the application for it."""
        try:
            await app(scope, self.receive, self.send)
        finally:
            tasks = [task for task in (self._clock, self._receiving) if task is not None]
            if self._clock is not None and self._closing is self._clock:
                await asyncio.wait((self._clock,), timeout=_CLOSING)  # it says the last word
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def receive(self) -> Message:
        """The application's ``receive``. If it is cancelled, the next call has the message."""
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._receive())
        await asyncio.wait((self._receiving, self._over), return_when=asyncio.FIRST_COMPLETED)
        if not self._over.done():
            message = self._receiving.result()
            if message["type"] != "websocket.receive" or await self._ask():
                self._receiving = None
                return message
        return {"type": "websocket.disconnect", "code": self._over.result(), "reason": ""}

    async def send(self, message: Message) -> None:
        """The application's ``send``. What it says when the right is gone goes nowhere."""
        if self._over.done():
            return
        if message["type"] == "websocket.accept":
            self._clock = asyncio.ensure_future(self._keep_asking())
        await self._send(message)

    async def _keep_asking(self) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._life
        while loop.time() < ends_at:
            await asyncio.sleep(min(self._every, max(ends_at - loop.time(), 0.0)))
            if not await self._ask():
                return
        await self._close(AGAIN)

    async def _ask(self) -> bool:
        """Whether the right is still there; if not, the socket is closed."""
        try:
            if await self._still():
                return not self._over.done()
        except (*ANSWERED, Undecided) as error:
            log.warning("a socket of the dashboard was closed, as nobody can tell whether it may stay: %r", error)
            await self._close(AGAIN)
        except Exception:  # whatever it is, nobody stays whose right could not be looked up
            log.exception("a socket of the dashboard was closed: its right could not be looked up")
            await self._close(AGAIN)
        else:
            await self._close(POLICY)
        return False

    async def _close(self, code: int) -> None:
        if self._over.done():
            return
        self._over.set_result(code)
        self._closing = asyncio.current_task()
        try:
            if code == POLICY:
                await self._send({"type": "websocket.send", "text": encode(Ended("ended"))})
            await self._send({"type": "websocket.close", "code": code, "reason": ""})
        except Exception as failure:  # the client was quicker: each server has an error of its own for it
            log.debug("a socket could not be closed: %s", failure)
