"""A live page over plain HTTP, where a socket cannot be had: under WSGI, behind proxies that let none through.

``POST _live/exchange`` is a short socket of its own. The browser says hello, as on a socket, and what the visitor did;
the answer is the frames that a socket would have had, at once if there are any, else after a few seconds. Each hello
says how far the page is, so any process that shares the store can answer the next one:

    asked      {"hello": a frame, "events": [frames], "page": what the last answer said, "wait": true, "leave": false}
    answered   {"frames": [frames], "page": a digest of what is shown then, "taken": number, "pause": seconds,
               "close": a socket's code}

- ``page`` tells a process that knows nothing of the tab whether it would show the same: then no page is sent, but where
  this process's streams are (``place``).
- ``taken`` is the last event that is in hand here. The browser does not send it again for a while, so that no other
  process begins with it, too. That it is *kept* once is seen to where it is committed, as on a socket.
- ``pause``: come again after so long. Nobody may wait here now.
- An exchange without events is no activity of the visitor's.

Between its exchanges a tab is a connection of its room, and for ten seconds after the last: what is said to it waits,
and it counts as being there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from ..asgi_family import credentials_of, respond
from ..errors import SessionNotFound
from ..exchange import ANSWERED, answer_for
from ..record import Record
from ..session import BaseSession
from ..sockets import AGAIN, POLICY, Receive, Scope, Send, is_ours
from .connection import TOO_BIG
from .line import GONE, PAUSE, Answer, Line, raw
from .protocol import VERSION, Ended, ErrorFrame, Hello, Malformed, ServerFrame, decode, encode

if TYPE_CHECKING:
    from .app import App
    from .room import Room
    from .rooms import Rooms

__all__ = ["EXTENSION", "Exchanges", "is_plain"]

log = logging.getLogger("sojourn")

EXTENSION: Final = "sojourn.exchange"
"""In ``scope["extensions"]``: there are no sockets here. ``wait`` is for how many seconds an exchange may wait, and
``most`` how many may at a time."""

_WAIT: Final = 5.0  # seconds that an exchange waits for news,
_MOST: Final = 10_000  # and so many in a process
_EACH: Final = 3  # and of one session: a browser has six connections to a host, and its other pages need some
_TABS: Final = 64  # of one session that are here
_FRAMES: Final = 4  # of the greatest size, that the body of an exchange may have in all


class _Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an exchange."""

    hello: Raw
    events: list[Raw] = []
    page: str = ""
    wait: bool = True
    leave: bool = False


_asked: msgspec.json.Decoder[_Asked] = msgspec.json.Decoder(_Asked)


def is_plain(scope: Scope) -> bool:
    """Whether whoever asks in this way can have no socket."""
    return EXTENSION in (scope.get("extensions") or {})


class Exchanges:
    """``POST /_live/exchange``."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lines: dict[tuple[str, str], Line] = {}
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._response(Request(scope, receive))
        except ANSWERED as error:
            log.warning("an exchange could not be answered: %s", error)
            await respond(send, answer_for(error))
            return
        except ClientDisconnect:
            return  # there is nobody to answer
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        if not is_ours(request.scope, request.headers.get("host", ""), self._app.allowed_origins):
            return PlainTextResponse("Forbidden\n", 403)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return PlainTextResponse("Unsupported Media Type\n", 415)  # a form of another site's can send no JSON
        rooms, body = await self._app.started(), b""
        most = rooms.limits.message_bytes
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FRAMES * most:
                return _refused("too_large", f"a frame has at most {most} bytes", 413, TOO_BIG)
        try:
            asked = _asked.decode(body)
            hello = decode(bytes(asked.hello))
            if not isinstance(hello, Hello):
                return _refused("malformed", "the first frame is hello")
        except (Malformed, msgspec.DecodeError, RecursionError, UnicodeError) as error:
            return _refused("malformed", str(error))
        if hello.v != VERSION:
            return _refused("version", f"this server speaks version {VERSION}")
        return _json(await self._answer(request.scope, rooms, asked, hello))

    async def _answer(self, scope: Scope, rooms: Rooms, asked: _Asked, hello: Hello) -> Answer:
        app = self._app
        fields = await app.exchange(scope).begin(credentials_of(scope))
        if not fields.stored:
            return self._nobody(scope, fields, hello)
        try:
            room = await rooms.enter(fields.record.handle)
        except SessionNotFound:
            return self._nobody(scope, fields, hello)
        if fields.amendment is not None:  # a new secret has arrived, say
            await app.engine.finish(fields)
        fields.close()
        line = self._lines.get((room.record.handle, hello.tab))
        if line is None or line.room is not room or line.over:
            if asked.leave and not asked.events:
                return Answer()
            line = self._open(rooms, room, hello.tab)
        if line.is_news_from_elsewhere(hello):
            await _catch_up(room, fields.record)
        wait = self._may_wait(scope, line) if asked.wait and not asked.leave else 0.0
        self._waiting += wait > 0
        try:
            answer = await line.exchange(hello, asked.events, asked.page, wait)
        finally:
            self._waiting -= wait > 0
        if asked.leave:
            line.leave()
        if asked.wait and not wait and not answer.pause:
            answer = msgspec.structs.replace(answer, pause=PAUSE)
        return answer

    def _nobody(self, scope: Scope, fields: BaseSession, hello: Hello) -> Answer:
        """There is no such session: it has ended, or the cookie is about to be replaced. A tab that was told why finds
        that here."""
        no_cookie = self._app.tickets and fields.presented == "nothing"  # it may have a ticket, for a socket
        if fields.presented == "superseded" or no_cookie:
            return Answer(close=AGAIN)
        line = self._lines.pop((self._app.handle_shown(scope) or "", hello.tab), None)
        last = [] if line is None else line.last_words()
        return Answer(last or [raw(encode(Ended("unknown")))], close=POLICY)

    def _may_wait(self, scope: Scope, line: Line) -> float:
        """For how long this exchange may wait for news, in seconds. Another of the same tab's has come to its end."""
        said: Mapping[str, Any] = (scope.get("extensions") or {}).get(EXTENSION, {})
        others = sum(1 for one in line.room.connections if isinstance(one, Line) and one.waits and one is not line)
        if self._waiting - line.waits >= said.get("most", _MOST) or others >= _EACH:
            return 0.0
        return min(_WAIT, float(said.get("wait", _WAIT)))

    def _open(self, rooms: Rooms, room: Room, tab: str) -> Line:
        """A tab that was not here, or not for long."""
        here = [one for one in room.connections if isinstance(one, Line)]
        if len(here) >= _TABS:
            min(here, key=lambda one: one.seen).leave()
        line, name = Line(room, rooms), (room.record.handle, tab)
        self._lines[name] = line

        def forget() -> None:
            if self._lines.get(name) is line:
                del self._lines[name]

        async def serve() -> None:
            await self._app.serve(line, "")
            if line.was_told_all:
                forget()
            else:  # for who comes and asks why
                rooms.loop.call_later(GONE, forget)

        rooms.begin(serve())
        return line


async def _catch_up(room: Room, record: Record) -> None:
    """A tab comes from another process, which has told it of what was committed there: know it, too."""
    if room.record.knows(record.version):
        return
    done = asyncio.get_running_loop().create_future()

    async def look() -> None:
        try:
            await room.refresh()
        finally:
            if not done.done():
                done.set_result(None)

    room.begin(look())
    await asyncio.wait([done], timeout=1.0)  # a callback may go on for long: then it is told later


def _refused(code: Any, message: str, status: int = 400, close: int = POLICY) -> Response:
    frame: ServerFrame = ErrorFrame(code, message)
    return _json(Answer([raw(encode(frame))], close=close), status)


def _json(answer: Answer, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type="application/json")
