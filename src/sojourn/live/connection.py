"""A connection: one socket of one tab. What comes in is checked, bounded and handed to the room; what goes out is read
from the room's log, at the pace of this socket.

Nothing piles up for a slow reader: the log is the room's and bounded, and who has fallen behind it gets a whole page in
place of what was missed. Who takes nothing at all for a while is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..sockets import AGAIN, POLICY, Receive, Send
from .protocol import (
    VERSION,
    Ended,
    ErrorFrame,
    Event,
    Hello,
    Malformed,
    Ping,
    Pong,
    ServerFrame,
    TicketFrame,
    decode,
    encode,
)

if TYPE_CHECKING:
    from .room import Room
    from .rooms import Limits

__all__ = ["TOO_BIG", "Connection", "size_of"]

log = logging.getLogger("sojourn")

TOO_BIG: Final = 1009
"""The close code for who sends a frame that is too large (RFC 6455, section 7.4.1)."""

_WAITING: Final = 64  # events of one socket that wait for their turn, before no more are read
_SAYING: Final = 256  # frames that wait for one socket, before it is dropped
_PATIENCE: Final = 20  # frames that are none of ours, before the socket is closed


class Connection:
    """One socket."""

    def __init__(self, room: Room, receive: Receive, send: Send, limits: Limits) -> None:
        self.room = room
        self.tab = ""
        self.sending_since = 0.0
        """Since when a frame is on its way that is not taken, by the loop's clock; 0: none is."""
        self._receive = receive
        self._send = send
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._next = 0  # the place in the room's log
        self._page_due = False
        self._first = 0  # for the first page that it is shown: the first event that it has heard nothing of
        self._outbox: deque[str] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._room_for_more: asyncio.Future[None] | None = None
        self._waiting = 0
        self._close: tuple[int, str] | None = None
        self._tokens = limits.burst
        self._filled_at = self._loop.time()
        self._strange = 0
        self._writer: asyncio.Task[None] | None = None

    # --- In ----------------------------------------------------------------------------------------------------------

    async def begin(self) -> bool:
        """Hear the first frame of the socket, whose handshake was accepted. Returns whether it is to be served."""
        if not await self._hello():
            return False
        self.room.connections.add(self)
        return True

    async def run(self, ticket: str = "") -> None:
        """Serve the socket, which has begun, until it is closed."""
        room = self.room
        if ticket:
            self.say(TicketFrame(ticket))
        if room.ended:  # while the socket was opened
            self.finish(None if room.ended == "renewed" else Ended(room.ended))
        self._writer = self._loop.create_task(self._write())
        reader = self._loop.create_task(self._read())
        try:
            await asyncio.wait((reader, self._writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            room.connections.discard(self)
            room.left_at = self._loop.time()
            reader.cancel()
            self._writer.cancel()
            await asyncio.gather(reader, self._writer, return_exceptions=True)

    async def _hello(self) -> bool:
        """The first frame. Returns whether it is one."""
        try:
            async with asyncio.timeout(self._limits.patience):
                message = await self._receive()
        except TimeoutError:
            await self._turn_away(ErrorFrame("malformed", "the first frame is hello, and none came"))
            return False
        if message["type"] != "websocket.receive":
            return False
        text = _text(message)
        if size_of(text) > self._limits.message_bytes:
            await self._turn_away(self._too_large(), TOO_BIG)
            return False
        try:
            frame = decode(text)
        except Malformed as error:
            await self._turn_away(ErrorFrame("malformed", str(error)))
            return False
        if not isinstance(frame, Hello):
            await self._turn_away(ErrorFrame("malformed", "the first frame is hello"))
            return False
        if frame.v != VERSION:
            await self._turn_away(ErrorFrame("version", f"this server speaks version {VERSION}"))
            return False
        self._stand(frame)
        return True

    def _stand(self, hello: Hello) -> None:
        """Go on from where the tab is."""
        self.tab = hello.tab
        self.room.arrived(self, hello.n)
        place = self.room.log.place_after(hello.s, hello.g)
        self._page_due, self._first = (True, hello.n) if place is None else (False, 0)
        self._next = self.room.log.end if place is None else place

    async def _turn_away(self, frame: ErrorFrame, code: int = POLICY) -> None:
        with suppress(Exception):  # the client was quicker: each server has an error of its own for it
            await self._send({"type": "websocket.send", "text": encode(frame)})
            await self._send({"type": "websocket.close", "code": code, "reason": frame.code})

    def _too_large(self) -> ErrorFrame:
        return ErrorFrame("too_large", f"a frame has at most {self._limits.message_bytes} bytes")

    async def _read(self) -> None:
        """Take what comes, until the socket is closed or there is too much that is none of ours."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return None
            text = _text(message)
            if size_of(text) > self._limits.message_bytes:
                self.say(self._too_large())
                self.close(TOO_BIG)
                return await self._closing()
            self._tokens -= 1
            if self._tokens < 0:
                await self._slow_down()
            try:
                frame = decode(text)
                if isinstance(frame, Hello):
                    raise Malformed("hello is the first frame only")  # noqa: TRY301 - it is answered as all that is
            except Malformed as error:
                self._strange += 1
                self.say(ErrorFrame("malformed", str(error)))
                if self._strange > _PATIENCE:
                    self.close(POLICY)
                    return await self._closing()
                continue
            if isinstance(frame, Ping):
                self.say(Pong())
            else:
                await self._take(frame)

    async def _take(self, event: Event) -> None:
        self._waiting += 1
        self.room.event(self, event)
        if self._waiting >= _WAITING:
            self._room_for_more = self._loop.create_future()
            await self._room_for_more

    async def _slow_down(self) -> None:
        """Who sends more than the rate allows is not read for a while: nothing is lost, and it has to wait."""
        rate, now = self._limits.events_per_second, self._loop.time()
        self._tokens = min(self._tokens + (now - self._filled_at) * rate, self._limits.burst)
        self._filled_at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / rate)

    def handled(self) -> None:
        """An event was handled."""
        self._waiting -= 1
        if self._room_for_more is not None and not self._room_for_more.done():
            self._room_for_more.set_result(None)

    async def _closing(self) -> None:
        """Wait until the writer has closed the socket."""
        await asyncio.sleep(self._limits.patience)

    # --- Out ---------------------------------------------------------------------------------------------------------

    def say(self, frame: ServerFrame) -> None:
        """Tell this socket alone."""
        if len(self._outbox) >= _SAYING:
            self.close(POLICY)
            return
        self._outbox.append(encode(frame))
        self.kick()

    def show_all(self) -> None:
        """Show this socket the whole page again."""
        self._page_due = True
        self.kick()

    def finish(self, last: Ended | None) -> None:
        """The session is over: say so, and close. None: the tab may come again."""
        if last is not None:
            self._outbox.append(encode(last))
        self.close(POLICY if last is not None else AGAIN)

    def close(self, code: int, reason: str = "") -> None:
        """Close the socket, after what was said."""
        if self._close is None:
            self._close = (code, reason)
            self.kick()

    def drop(self) -> None:
        """Leave a socket that takes nothing."""
        if self._writer is not None:
            self._writer.cancel()

    def kick(self) -> None:
        """There is something to send."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _news(self) -> str | None:
        """What is to be sent next; None: nothing is. What was said comes first, and when the socket is to be closed,
        nothing else comes."""
        room = self.room
        if self._outbox:
            return self._outbox.popleft()
        if self._close is not None:
            return None
        if self._page_due or self._next < room.log.first:
            self._page_due = False
            text, self._next = room.framed(self.tab, self._first)
            self._first = 0
            return text
        if self._next < room.log.end:
            self._next += 1
            return room.log.entry(self._next - 1)
        return None

    async def _write(self) -> None:
        while True:
            text = self._news()
            if text is None and self._close is not None:
                await self._shut(*self._close)
                return
            if text is None:
                self._idle = self._loop.create_future()
                await self._idle
                continue
            self.sending_since = self._loop.time()
            try:
                await self._send({"type": "websocket.send", "text": text})
            except Exception as error:  # the client went: each server has an error of its own for it
                log.debug("a frame was not taken: %s", error)
                return
            self.sending_since = 0.0

    async def _shut(self, code: int, reason: str) -> None:
        with suppress(Exception):  # the client was quicker
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


def _text(message: Any) -> str | bytes:
    text = message.get("text")
    return text if text is not None else message.get("bytes") or b""


def size_of(text: str | bytes) -> int:
    """How many bytes a message has."""
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode("utf-8", "surrogatepass"))
