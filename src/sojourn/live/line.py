"""A tab that comes by exchanges (`exchanging.py`): a connection of its room that lasts from one exchange to the next.

What is said to it between two of them waits for the next, which reads the room's log from where the tab is. A tab that
does not come for ten seconds is not there any more.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct

from ..sockets import Message
from .connection import TOO_BIG, Connection, size_of
from .protocol import Ended, ErrorFrame, Event, Hello, Malformed, Ping, Place, Pong, decode

if TYPE_CHECKING:
    from .room import Room
    from .rooms import Rooms

__all__ = ["GONE", "PAUSE", "Answer", "Line", "raw"]

GONE: Final = 10.0
"""Seconds without an exchange, after which a tab is not there any more."""

PAUSE: Final = 1.0
"""Seconds until those come again that cannot wait."""

_WORK: Final = 3.0  # seconds for which an exchange waits for its own events
_GATHER: Final = 0.02  # seconds in which frames go together
_EVENTS: Final = 100  # of one tab that wait for their turn


class Answer(Struct, frozen=True):
    """What an exchange is answered."""

    frames: list[Raw] = []
    page: str = ""
    taken: int = 0
    pause: float = 0.0
    close: int = 0


class Line(Connection):
    """A tab that comes by exchanges: a connection of its room that lasts from one to the next, and is read from when
    there is one."""

    def __init__(self, room: Room, rooms: Rooms) -> None:
        super().__init__(room, _no_receive, _no_send, rooms.limits)
        self._everyone = rooms.everyone
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._inside: int = 0  # the newest exchange; older ones have nothing more to say
        self._there = 0  # exchanges under way
        self._queued = 0  # the last event that was taken
        self._marked: tuple[Any, str] = None, ""
        self.seen = self._loop.time()
        """When the tab was here last, by the loop's clock."""
        self.waits = False
        """Whether an exchange waits for news."""
        room.connections.add(self)

    @property
    def over(self) -> bool:
        """Whether it can be used no more."""
        return self._gone.done()

    # --- As long as the tab is there ---------------------------------------------------------------------------------

    async def begin(self) -> bool:
        """It has begun."""
        return True

    async def run(self, ticket: str = "") -> None:
        """Until the tab has not come for a while, or it is closed."""
        if self.room.ended:
            self.finish(None if self.room.ended == "renewed" else Ended(self.room.ended))
        try:
            while not self._gone.done():
                left = self.seen + GONE - self._loop.time()
                if left <= 0 and not self._there and not self._waiting:
                    self.leave()
                await asyncio.wait([self._gone], timeout=max(left, 1.0))
        finally:
            self.leave()
            self.room.connections.discard(self)
            self.room.left_at = self._loop.time()

    def leave(self) -> None:
        """The tab is not there any more."""
        if not self._gone.done():
            self._gone.set_result(None)

    def drop(self) -> None:
        """`leave`."""
        self.leave()

    def close(self, code: int, reason: str = "") -> None:
        """Close it, after what was said."""
        super().close(code, reason)
        self.leave()

    def handled(self) -> None:
        """An event was handled."""
        super().handled()
        self.kick()

    @property
    def was_told_all(self) -> bool:
        """Whether nothing was said that the tab has not heard."""
        return not self._outbox

    def last_words(self) -> list[Raw]:
        """What the tab was not told."""
        return [raw(self._outbox.popleft()) for _ in range(len(self._outbox))]

    # --- One exchange ------------------------------------------------------------------------------------------------

    def is_news_from_elsewhere(self, hello: Hello) -> bool:
        """Whether the tab has a page that another process has told it."""
        return hello.s is not None and hello.s[0] != self.room.log.own[0]

    async def exchange(self, hello: Hello, events: list[Raw], page: str, wait: float) -> Answer:
        """Hear a tab, and answer it: as soon as there is something to tell, and after ``wait`` seconds at the latest;
        with events, after three."""
        self._inside += 1
        mine = self._inside
        self.kick()  # who waits has nothing more to wait for: the tab has come again
        strange = self._find_place(hello, page)
        if self.room.answers.last(self.tab) >= hello.n or not self.room.at_rest():
            self.room.begin(self._say_again(hello.n))
        self._there += 1
        self.waits = wait > 0
        try:
            await self._take_all(events)
            frames = await self._frames(mine, _WORK if events else wait)
        finally:
            self._there -= 1
            self.seen = self._loop.time()
            if mine == self._inside:
                self.waits = False
        if mine != self._inside:
            return Answer(frames)
        over = self._close is not None and not self._outbox
        return Answer(
            frames,
            page=self._mark() if self._is_told() else "",
            taken=self._queued if self._waiting else 0,
            pause=PAUSE / 2 if strange and not events else 0.0,
            close=self._close[0] if over and self._close is not None else 0,
        )

    def _find_place(self, hello: Hello, page: str) -> bool:
        """Go on from where the tab is. Returns whether that is another process's page, and another page than here."""
        self._stand(hello)
        if not self._page_due or hello.s is None:
            return False
        if page and page == self._mark():
            self._page_due, self._first, self._next = False, 0, self.room.log.end
            self.say(Place(self.room.log.own, self.room.log.app))
            return False
        return True

    async def _say_again(self, first: int) -> None:
        """Answer once more what was answered when the tab could not hear it, and by another process."""
        answers = self.room.answers
        last = answers.last(self.tab)
        for n in range(max(first, last - _EVENTS + 1), last + 1):
            self.say(answers.again(self.tab, n))

    async def _take_all(self, events: list[Raw]) -> None:
        for event in events:
            if self._close is not None:
                return
            self._tokens -= 1
            if self._tokens < 0:
                await self._slow_down()
            self._take_one(bytes(event))

    def _take_one(self, text: bytes) -> None:
        if size_of(text) > self._limits.message_bytes:
            self.say(self._too_large())
            self.close(TOO_BIG)
            return
        try:
            frame = decode(text)
            if isinstance(frame, Hello):
                raise Malformed("hello is the first frame only")  # noqa: TRY301 - it is answered as all that is
        except Malformed as error:
            self.say(ErrorFrame("malformed", str(error)))
            return
        if isinstance(frame, Ping):
            self.say(Pong())
        elif self._waiting < _EVENTS and not (self._waiting and frame.n <= self._queued):  # else it is in hand
            self._put_in_line(frame)

    def _put_in_line(self, event: Event) -> None:
        self._queued = event.n
        self._waiting += 1
        self.room.event(self, event)

    async def _frames(self, mine: int, patience: float) -> list[Raw]:
        """What there is to tell, as soon as there is something."""
        frames: list[Raw] = []
        give_up = self._loop.time() + patience
        while True:
            while mine == self._inside and (text := self._news()) is not None:
                if not frames and self._waiting:
                    give_up = min(give_up, self._loop.time() + _GATHER)
                frames.append(raw(text))
            left = give_up - self._loop.time()
            if mine != self._inside or self._close is not None or left <= 0 or (frames and not self._waiting):
                return frames
            self._idle = idle = self._loop.create_future()
            await asyncio.wait([idle], timeout=left)

    def _is_told(self) -> bool:
        """Whether the tab has all that there is."""
        return self._close is None and not self._outbox and not self._page_due and self._next == self.room.log.end

    def _mark(self) -> str:
        """What the page shows, in short: the same in every process that shows the same. Empty while it changes."""
        room = self.room
        if not (room.at_rest() and self._everyone.at_rest()):
            return ""
        told = (room.log.own, room.log.app)
        if self._marked[0] != told:
            shown = (self._everyone.title, room.settled_page().children())
            self._marked = told, hashlib.sha256(msgspec.json.encode(shown, order="sorted")).hexdigest()[:32]
        return self._marked[1]


async def _no_receive() -> Message:
    raise AssertionError("a tab without a socket is not read from")


async def _no_send(message: Message) -> None:
    raise AssertionError("a tab without a socket is not sent to")


def raw(text: str) -> Raw:
    """A frame as it is told."""
    return Raw(text.encode())
