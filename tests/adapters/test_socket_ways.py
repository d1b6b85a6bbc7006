"""What may happen in a WebSocket, message by message: the application behind the middleware, and a server of this file
that says what it is told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from browser import parse
from sojourn import AsyncSessionManager, Handle, SessionClosed, SessionConfig, SessionGone, StoreUnavailable, TooLate
from sojourn.adapters.asgi import SessionMiddleware
from sojourn.stores.memory import MemoryStore
from sojourn.testing import Clock
from sojourn.tickets import TICKET_LIFE, ticket
from worlds import Through

Application = Callable[[WebSocket], Awaitable[None]]
_TIMEOUT = 10.0


class Wire:
    """One socket: what its client says, and what it hears."""

    def __init__(self, site: Site, app: Application | Any, scope: dict[str, Any]) -> None:
        self._in: asyncio.Queue[Any] = asyncio.Queue()
        self.out: asyncio.Queue[Any] = asyncio.Queue()
        self.scope = scope
        self.closed = False
        self._in.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(site.middleware(app)(scope, self._in.get, self._send))

    async def _send(self, message: Any) -> None:
        if self.closed:
            raise RuntimeError("a message after the close")  # as servers do
        self.closed = message["type"] == "websocket.close"
        self.out.put_nowait(message)

    def say(self, text: str) -> None:
        self._in.put_nowait({"type": "websocket.receive", "text": text})

    def go(self) -> None:
        """The client goes away."""
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def hear(self) -> Any:
        """The next message of the application: its text, or the whole of what is no text."""
        message = await asyncio.wait_for(self.out.get(), _TIMEOUT)
        return message["text"] if message["type"] == "websocket.send" else message

    async def ask(self, text: str) -> Any:
        self.say(text)
        return await self.hear()

    async def accepted(self) -> Any:
        message = await self.hear()
        assert message["type"] == "websocket.accept", message
        return message

    async def code(self) -> int:
        """The code that it is closed with."""
        while not isinstance(message := await self.hear(), dict) or message["type"] != "websocket.close":
            pass
        return int(message["code"])

    async def end(self) -> None:
        """Until the application has returned."""
        await asyncio.wait_for(self.task, _TIMEOUT)


class Site:
    """A store that can fail, a clock that stands still, and sockets in memory."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.store = Through(MemoryStore())
        config = SessionConfig(**settings)
        self.manager = AsyncSessionManager(self.store, config=config, clock=self.clock)  # type: ignore[arg-type]
        self.options: dict[str, Any] = {}
        self.sockets: list[Wire] = []

    def middleware(self, app: Application) -> Any:
        starlette = isinstance(app, Starlette)

        async def run(scope: Any, receive: Any, send: Any) -> None:
            await app(WebSocket(scope, receive, send))

        return SessionMiddleware(app if starlette else run, manager=self.manager, **self.options)  # type: ignore[arg-type]

    def open(
        self,
        app: Any,
        session_id: str = "",
        *,
        query: str = "",
        origin: str | None = None,
        host: str = "shop.example",
        extensions: bool = True,
        **more: Any,
    ) -> Wire:
        """A socket that comes with this cookie."""
        headers = [(b"host", host.encode())]
        if session_id:
            headers.append((b"cookie", f"__Host-session={session_id}".encode()))
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        scope = {
            "type": "websocket", "scheme": "wss", "path": "/", "raw_path": b"/", "headers": headers,
            "query_string": query.encode(), "client": ("192.0.2.7", 1), "subprotocols": [],
            "extensions": {"websocket.http.response": {}} if extensions else {}, **more,
        }  # fmt: skip
        self.sockets.append(Wire(self, app, scope))
        return self.sockets[-1]

    async def fields(self, session_id: str) -> dict[str, Any] | None:
        return await self.manager.get_session(Handle(session_id.partition(".")[0]))

    def break_down(self, *names: str) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise StoreUnavailable("away", retry_after=7)

        for name in names:
            self.store.before[name] = fail


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Site]:
    """A site. At its end nothing of its sockets may be left."""
    site, before = Site(**settings), asyncio.all_tasks()
    try:
        yield site
        for socket in site.sockets:
            socket.go()
            _, late = await asyncio.wait((socket.task,), timeout=_TIMEOUT)
            assert not late, "an application did not end"
            if not socket.task.cancelled():
                socket.task.exception()  # a disconnect, or what the test has seen already
    finally:
        await site.manager.close()
    left = asyncio.all_tasks() - before
    assert not left, left


async def echo(websocket: WebSocket) -> None:
    """Puts what it hears into the session, and says so."""
    await websocket.accept()
    async for text in websocket.iter_text():
        websocket.session.setdefault("heard", []).append(text)
        await websocket.send_text(text)


# --- The handshake ----------------------------------------------------------------------------------------------------


async def test_what_is_put_in_before_the_socket_is_accepted_begins_a_session() -> None:
    """What an application puts in before it accepts is committed by then, and the answer has the cookie; from then on
    the socket is that session's."""

    async def app(websocket: WebSocket) -> None:
        websocket.session["name"] = "Ada"
        await websocket.accept(headers=[(b"x-own", b"1")])
        websocket.session["later"] = True
        await websocket.receive_text()

    async with opened() as site:
        socket = site.open(app)
        headers = (await socket.accepted())["headers"]
        assert headers[0] == (b"x-own", b"1")
        (cookie,) = (parse(value.decode()) for name, value in headers if name == b"set-cookie")
        assert cookie.flags == {"path": "/", "secure": "", "httponly": "", "samesite": "Lax"}
        async with asyncio.timeout(_TIMEOUT):
            while await site.fields(cookie.value) != {"name": "Ada", "later": True}:
                await asyncio.sleep(0.01)  # what came later is committed as the application waits for a message
        await site.manager.end_session(cookie.value)
        assert await socket.code() == 1008


async def test_who_has_no_session_costs_nothing() -> None:
    """A visitor without a session gets no cookie, and no store is asked."""

    async def app(websocket: WebSocket) -> None:
        assert not websocket.session
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    async with opened() as site:
        socket = site.open(app)
        assert not [name for name, _ in (await socket.accepted())["headers"] if name == b"set-cookie"]
        assert await socket.ask("hello") == "hello"
        await socket.end()
        assert site.store.calls == []


@pytest.mark.parametrize("do", ["put in", "keep", "login"])
async def test_later_it_is_too_late_for_a_cookie(do: str) -> None:
    """In an open socket, a visitor who has no session can begin none: `TooLate`, where the application can catch it,
    and nothing is stored. The socket goes on."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        if do == "put in":
            session["name"] = "Ada"
        elif do == "keep":
            session.keep()
        with pytest.raises(TooLate):
            await session.commit() if do != "login" else session.login("ada")
        await websocket.receive_text()

    async with opened() as site:
        socket = site.open(app)
        await socket.accepted()
        socket.say("go on")
        await socket.end()
        assert site.store.writes == []


@pytest.mark.parametrize("do", ["login", "rotate"])
async def test_nobody_signs_in_in_an_open_socket(do: str) -> None:
    """Signing in and rotating raise `TooLate` in an open socket, and the id stays good."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        with pytest.raises(TooLate):
            session.login("eve") if do == "login" else session.rotate()
        session["after"] = True
        await websocket.receive_text()

    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        socket = site.open(app, session_id)
        await socket.accepted()
        socket.say("go on")
        await socket.end()
        assert await site.manager.get_session(session_id) == {"after": True}
        assert (await site.manager.list_sessions())[0].user_id == "ada"


async def test_signing_in_before_the_socket_is_accepted() -> None:
    """Before it accepts, an application may sign somebody in: the answer has the new id, other sockets of the session
    are closed, and this one is not."""

    async def app(websocket: WebSocket) -> None:
        websocket.session.login("ada")  # type: ignore[attr-defined]
        await echo(websocket)

    async with opened() as site:
        session_id = await site.manager.create_session(data={"cart": ["tea"]})
        earlier = site.open(echo, session_id)
        await earlier.accepted()
        site.store.after["commit"] = lambda *_, **__: asyncio.sleep(0.05)  # the feed is quicker than the answer
        socket = site.open(app, session_id)
        (cookie,) = [parse(v.decode()) for n, v in (await socket.accepted())["headers"] if n == b"set-cookie"]
        assert await earlier.code() == 1008
        assert await socket.ask("still here") == "still here"
        assert await site.manager.get_session(session_id) is None
        assert await site.manager.get_session(cookie.value) == {"cart": ["tea"], "heard": ["still here"]}


async def test_a_handshake_that_is_refused_rotates_nothing() -> None:
    """An application that signs somebody in, and then refuses the socket, is told that it is too late: the client's id
    stays good."""

    async def app(websocket: WebSocket) -> None:
        websocket.session.login("ada")  # type: ignore[attr-defined]
        with pytest.raises(TooLate):
            await websocket.close()

    async with opened() as site:
        session_id = await site.manager.create_session()
        await site.open(app, session_id).end()
        assert await site.manager.is_session_active(session_id)


async def test_a_handshake_may_be_refused_with_a_response() -> None:
    """A response to the handshake, with the extension for it, carries the cookie like any other."""

    async def app(websocket: WebSocket) -> None:
        websocket.session["name"] = "Ada"
        await websocket.send({"type": "websocket.http.response.start", "status": 402, "headers": []})
        await websocket.send({"type": "websocket.http.response.body", "body": b"pay"})

    async with opened() as site:
        socket = site.open(app)
        answer = await socket.hear()
        assert (answer["status"], [name for name, _ in answer["headers"]]) == (402, [b"set-cookie"])
        assert (await socket.hear())["body"] == b"pay"
        assert len(await site.manager.list_sessions()) == 1


@pytest.mark.parametrize("failing", ["load", "position", "commit", "save"])
@pytest.mark.parametrize("extensions", [True, False])
async def test_a_handshake_in_an_outage(failing: str, extensions: bool) -> None:
    """If the session cannot be loaded, watched or committed, the handshake is answered with 503 and Retry-After; where
    the server cannot do that, it is refused with 1013. The cookie is left alone."""

    async def app(websocket: WebSocket) -> None:
        websocket.session["a"] = 1
        if failing == "save":
            await websocket.session.save()  # type: ignore[attr-defined]
        await websocket.accept()
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive_text()

    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        site.break_down("commit" if failing == "save" else failing)
        socket = site.open(app, session_id, extensions=extensions)
        answer = await socket.hear()
        if extensions:
            assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 503)
            assert (b"retry-after", b"7") in answer["headers"]
            assert not [name for name, _ in answer["headers"] if name == b"set-cookie"]
            assert (await socket.hear())["body"].startswith(b"The service is busy")
        else:
            assert (answer["type"], answer["code"]) == ("websocket.close", 1013)
        await socket.end()
        site.store.before.clear()
        assert await site.manager.get_session(session_id) == {}


@pytest.mark.parametrize(
    ("origin", "allowed", "let_in"),
    [
        (None, (), True),  # no browser
        ("https://shop.example", (), True),
        ("https://shop.example:8443", (), True),  # cookies do not tell ports apart
        ("https://SHOP.example", (), True),
        ("https://evil.example", (), False),
        ("https://shop.example.evil.example", (), False),
        ("https://app.shop.example", (), False),
        ("https://app.shop.example", ("https://app.shop.example",), True),
        ("https://app.shop.example:444", ("https://app.shop.example",), False),
        ("null", (), False),
        ("null", ("null",), True),
        ("https://[", (), False),
        ("shop.example", (), False),
    ],
)
async def test_where_the_page_is_from(origin: str | None, allowed: tuple[str, ...], let_in: bool) -> None:
    """A socket with a session's cookie is let in from a page of the same host, whatever the port, and from those that
    are allowed by name; else it is refused with 403."""
    async with opened() as site:
        site.options = {"allowed_origins": allowed}
        socket = site.open(echo, await site.manager.create_session(), origin=origin)
        answer = await socket.hear()
        assert answer["type"] == ("websocket.accept" if let_in else "websocket.http.response.start")
        assert let_in or answer["status"] == 403


async def test_a_page_without_a_host_is_of_no_site() -> None:
    """Where there is no ``Host``, no page is of it."""
    async with opened() as site:
        socket = site.open(echo, await site.manager.create_session(), origin="null", host="")
        assert (await socket.hear())["status"] == 403


async def test_who_has_no_session_may_come_from_anywhere() -> None:
    """A page of another site may open a socket without a session: there is nothing to protect."""
    async with opened() as site:
        await site.open(echo, origin="https://elsewhere.example").accepted()
        await site.open(echo, "unknown", origin="https://elsewhere.example").accepted()


# --- Tickets ----------------------------------------------------------------------------------------------------------


async def draw(site: Site, session_id: str) -> str:
    async with site.manager.session(session_id) as session:
        return ticket(session)


async def name(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.session.get("name", "nobody"))
    await websocket.receive_text()


async def test_a_ticket_lets_one_socket_in() -> None:
    """A ticket opens one socket of its session, from whatever page; what changes there is the session's, and the next
    socket with the same ticket is nobody's."""
    async with opened() as site:
        session_id = await site.manager.create_session(data={"name": "Ada"})
        shown = await draw(site, session_id)
        socket = site.open(echo, query=f"ticket={shown}", origin="https://elsewhere.example")
        await socket.accepted()
        await socket.ask("hello")
        assert (await site.fields(session_id) or {})["heard"] == ["hello"]
        again = site.open(name, query=f"ticket={shown}")
        await again.accepted()
        assert await again.hear() == "nobody"


@pytest.mark.parametrize(("later", "found"), [(TICKET_LIFE - 1, "Ada"), (TICKET_LIFE, "nobody")])
async def test_a_ticket_lasts_for_seconds(later: float, found: str) -> None:
    """After 30 seconds, by the manager's clock, a ticket is worthless."""
    async with opened() as site:
        shown = await draw(site, await site.manager.create_session(data={"name": "Ada"}))
        site.clock.advance(later)
        socket = site.open(name, query=f"ticket={shown}")
        await socket.accepted()
        assert await socket.hear() == found


async def test_signing_in_makes_tickets_worthless() -> None:
    """Who drew a ticket before somebody signed in does not come in behind them."""
    async with opened() as site:
        session_id = await site.manager.create_session(data={"name": "Ada"})
        shown = await draw(site, session_id)
        await site.manager.login(session_id, "ada")
        socket = site.open(name, query=f"ticket={shown}")
        await socket.accepted()
        assert await socket.hear() == "nobody"


async def test_a_ticket_counts_where_there_is_nothing_else() -> None:
    """Beside a cookie a ticket is not looked at, and stays good."""
    async with opened() as site:
        ada = await site.manager.create_session(data={"name": "Ada"})
        eve = await site.manager.create_session(data={"name": "Eve"})
        shown = await draw(site, eve)
        socket = site.open(name, ada, query=f"ticket={shown}")
        await socket.accepted()
        assert await socket.hear() == "Ada"
        other = site.open(name, query=f"ticket={shown}")
        await other.accepted()
        assert await other.hear() == "Eve"


async def test_a_ticket_is_for_sockets() -> None:
    """In a plain request a ticket is not looked at, and stays good."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["session"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async with opened() as site:
        shown = await draw(site, await site.manager.create_session(data={"name": "Ada"}))
        headers = [(b"host", b"shop.example")]
        scope = {"type": "http", "scheme": "https", "query_string": f"ticket={shown}".encode(), "headers": headers}
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await SessionMiddleware(app, manager=site.manager)(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]
        assert seen == [{}]
        socket = site.open(name, query=f"ticket={shown}")
        await socket.accepted()
        assert await socket.hear() == "Ada"


async def test_who_came_with_a_ticket_can_be_sent_no_id() -> None:
    """With a ticket there is no cookie to replace: signing in and rotating raise `TooLate` from the beginning."""

    async def app(websocket: WebSocket) -> None:
        for do in (websocket.session.rotate, lambda: websocket.session.login("eve")):  # type: ignore[attr-defined]
            with pytest.raises(TooLate):
                do()
        await name(websocket)

    async with opened() as site:
        shown = await draw(site, await site.manager.create_session(data={"name": "Ada"}))
        socket = site.open(app, query=f"ticket={shown}")
        assert (await socket.accepted())["headers"] == []
        assert await socket.hear() == "Ada"


# --- What is committed, and when --------------------------------------------------------------------------------------


async def test_an_application_that_raises_commits_nothing_more() -> None:
    """What was changed since the last message, by an application that raises, is not committed."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.session["before"] = True
        await websocket.receive_text()
        websocket.session["after"] = True
        raise ZeroDivisionError

    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        socket.say("go on")
        with pytest.raises(ZeroDivisionError):
            await socket.end()
        assert await site.fields(session_id) == {"before": True}


async def test_what_is_left_at_the_end_is_committed() -> None:
    """What an application changed last is committed when it returns, and the session object is dead then."""
    kept: list[Any] = []

    async def app(websocket: WebSocket) -> None:
        kept.append(websocket.session)
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            await websocket.receive_text()
        websocket.session["last"] = True

    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        socket.go()
        await socket.end()
        assert await site.fields(session_id) == {"last": True}
        for use in (lambda: kept[0]["last"], lambda: asyncio.ensure_future(kept[0].commit())):
            with pytest.raises(SessionClosed):
                await asyncio.sleep(0, use()) if not asyncio.isfuture(found := use()) else await found


async def test_an_application_that_is_cancelled_commits_nothing_more() -> None:
    """A socket whose task is cancelled leaves what it had not committed, and no task."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.session["a"] = 1
        await asyncio.sleep(60)

    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        await asyncio.sleep(0.01)
        socket.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await socket.task
        assert await site.fields(session_id) == {}


async def test_an_outage_in_the_middle_can_be_caught() -> None:
    """An outage is raised where the application waits for a message, or commits; who catches it finds the changes still
    there, and they are committed once the store is back."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        assert await websocket.receive_text() == "break"
        site.break_down("commit")
        session["a"] = 1
        with pytest.raises(StoreUnavailable):
            await websocket.receive_text()
        with pytest.raises(StoreUnavailable):
            await session.commit()
        site.store.before.clear()
        await websocket.send_text(await websocket.receive_text())

    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        socket.say("break")
        assert await socket.ask("kept") == "kept"
        assert await site.fields(session_id) == {"a": 1}


async def test_an_outage_that_nobody_catches_closes_the_socket() -> None:
    """An outage that the application lets through closes the socket with 1013: the client may come again."""
    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(echo, session_id)
        await socket.accepted()
        site.break_down("commit")
        socket.say("lost")
        assert await socket.code() == 1013
        await socket.end()


async def test_a_wait_for_a_message_that_is_cancelled_loses_none() -> None:
    """``asyncio.wait_for(receive(), ...)`` that runs out takes no message with it, and no commit: of thirty messages
    each comes once, in order, and each change that was made between is kept once."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        heard: list[str] = []
        while len(heard) < 30:
            session.update("tries", lambda n: (n or 0) + 1)
            session.setdefault("list", []).append(tries[0])
            tries[0] += 1
            with suppress(TimeoutError):
                heard.append(await asyncio.wait_for(websocket.receive_text(), 0.005))
        await session.commit()
        await websocket.send_text(" ".join(heard))

    async def slowly(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0.006 if site.store.calls.count("commit") % 3 else 0)

    tries = [0]
    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        site.store.before["commit"] = site.store.after["commit"] = slowly
        for number in range(30):
            socket.say(str(number))
            await asyncio.sleep(0.002 * (number % 5))
        assert await socket.hear() == " ".join(map(str, range(30)))
        kept = await site.fields(session_id) or {}
        assert kept["tries"] == tries[0]
        assert kept["list"] == list(range(tries[0]))


@pytest.mark.parametrize("way", ["commit", "receive"])
async def test_a_commit_that_nobody_waits_for_any_more_is_made_once(way: str) -> None:
    """Where a wait is cancelled while the store has committed and not yet answered, the commit goes on, and the next
    one does not make it again."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        site.store.after["commit"] = lambda *_, **__: asyncio.sleep(0.05)
        session.update("n", lambda n: (n or 0) + 1)
        session["list"].append("once")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.commit() if way == "commit" else websocket.receive(), 0.02)
        session["list"].append("twice")
        await session.commit()
        await websocket.close()

    async with opened() as site:
        session_id = await site.manager.create_session(data={"list": []})
        socket = site.open(app, session_id)
        assert await socket.accepted()
        assert await socket.code() == 1000
        assert await site.fields(session_id) == {"n": 1, "list": ["once", "twice"]}


async def test_a_touch_that_is_cancelled_loses_no_message() -> None:
    """Nor does a wait that runs out while the activity is being recorded."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            with suppress(TimeoutError):
                await websocket.send_text(await asyncio.wait_for(websocket.receive_text(), 0.02))

    async def slowly(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0.05)

    async with opened() as site:
        socket = site.open(app, await site.manager.create_session())
        await socket.accepted()
        site.store.before["touch"] = slowly
        site.clock.advance(70)
        assert await socket.ask("hello") == "hello"


async def test_two_that_listen_are_given_each_message_once() -> None:
    """Two tasks that wait for messages share them out: none comes twice."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()

        async def listen() -> None:
            while (text := await websocket.receive_text()) != "end":
                heard.append(text)

        await asyncio.gather(listen(), listen())

    heard: list[str] = []
    async with opened() as site:
        socket = site.open(app, await site.manager.create_session())
        await socket.accepted()
        for number in range(50):
            socket.say(str(number))
        socket.say("end")
        socket.say("end")
        await socket.end()
        assert sorted(heard, key=int) == [str(number) for number in range(50)]


async def test_a_broadcast_commits_no_half_of_a_change() -> None:
    """Another task that sends on a socket does not commit what the socket's own task is in the middle of."""
    sockets: list[WebSocket] = []
    half, go_on = asyncio.Event(), asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        sockets.append(websocket)
        await websocket.receive_text()
        websocket.session["debit"] = 5
        half.set()
        await go_on.wait()
        websocket.session["credit"] = 5
        await websocket.send_text("done")

    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        socket.say("move")
        await half.wait()
        await sockets[0].send_text("news")
        assert await socket.hear() == "news"
        assert await site.fields(session_id) == {}
        go_on.set()
        assert await socket.hear() == "done"
        assert await site.fields(session_id) == {"debit": 5, "credit": 5}


# --- What others do ---------------------------------------------------------------------------------------------------


async def test_a_refresh_shows_what_others_wrote() -> None:
    """``refresh`` commits what is pending, and shows what others wrote, nested values too."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        assert (session["n"], session["list"]) == (0, [])
        session["own"] = True
        await site.manager.update(session_id, "n", lambda n: n + 1)
        await site.manager.update(session_id, "list", lambda kept: [*kept, 1])
        assert (session["n"], session["list"]) == (0, [])
        await session.refresh()
        assert session == {"n": 1, "list": [1], "own": True}
        await websocket.close()

    async with opened() as site:
        session_id = await site.manager.create_session(data={"n": 0, "list": []})
        await site.open(app, session_id).end()
        assert await site.fields(session_id) == {"n": 1, "list": [1], "own": True}


async def test_what_a_task_changes_during_a_refresh_is_kept() -> None:
    """What another task of the socket changes while a refresh is under way is neither lost nor thrown away by it: an
    assignment, a counter, a list, and what was being held on to."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        held = session["list"]

        async def meanwhile(*_: Any, **__: Any) -> None:
            site.store.after.clear()
            session["assigned"] = True
            session.update("n", lambda n: (n or 0) + 1)
            held.append("here")

        await site.manager.update(session_id, "n", lambda n: n + 10)
        await site.manager.update(session_id, "list", lambda kept: [*kept, "there"])
        site.store.after["load"] = meanwhile
        await session.refresh()
        held.append("late")
        await session.refresh()
        assert sorted(session["list"]) == ["here", "late", "there"]
        await websocket.close()

    async with opened() as site:
        session_id = await site.manager.create_session(data={"n": 0, "list": []})
        await site.open(app, session_id).end()
        kept = await site.fields(session_id) or {}
        assert (kept["n"], kept["assigned"], sorted(kept["list"])) == (11, True, ["here", "late", "there"])


async def test_what_is_held_on_to_is_brought_up_to_date() -> None:
    """A list, a dict and what is in it, taken out once and changed for as long as the socket lives, go on with what
    others do to them: nothing of either side is lost."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        cart, seen, deep = session["cart"], session["seen"], session["deep"]["er"]
        async for text in websocket.iter_text():
            cart.append(f"here {text}")
            seen.add(f"here {text}")
            deep[f"here {text}"] = 1
            await websocket.send_text(" ".join(cart))
            assert cart is session["cart"]
            assert deep is session["deep"]["er"]

    async with opened() as site:
        session_id = await site.manager.create_session(data={"cart": [], "seen": set(), "deep": {"er": {}}})
        socket = site.open(app, session_id)
        await socket.accepted()
        whole = []
        for number in range(5):
            async with site.manager.session(session_id) as session:
                session["cart"].append(f"there {number}")
                session["seen"].add(f"there {number}")
                session["deep"]["er"][f"there {number}"] = 1
            whole += [f"there {number}", f"here {number}"]
            assert await socket.ask(str(number))
        kept = await site.fields(session_id) or {}
        assert kept == {"cart": whole, "seen": set(whole), "deep": {"er": dict.fromkeys(whole, 1)}}


async def test_changes_tell_of_others_alone() -> None:
    """``changes()`` tells what others did, with the session read anew, and not what this socket commits itself."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        for number in range(5):
            session["own"] = number
            await session.commit()
        async for change in session.changes():
            session["own"] = change.id
            await session.commit()
            await websocket.send_text(f"{change.kind} {change.fields} {session['n']}")

    async with opened() as site:
        session_id = await site.manager.create_session(data={"n": 0})
        socket = site.open(app, session_id)
        await socket.accepted()
        for number in range(1, 4):
            await site.manager.update(session_id, "n", lambda n: n + 1)
            assert await socket.hear() == f"changed ('n',) {number}"
        await asyncio.sleep(0.05)
        assert socket.out.empty()
        await site.manager.end_session(session_id)
        assert await socket.code() == 1008
        await socket.end()


async def test_changes_before_the_first_line_are_told() -> None:
    """What others did between the load and the beginning of ``changes()`` is told first."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        await websocket.receive_text()
        async for _ in session.changes():
            await websocket.send_text(str(session["n"]))

    async with opened() as site:
        session_id = await site.manager.create_session(data={"n": 0})
        socket = site.open(app, session_id)
        await socket.accepted()
        await site.manager.update(session_id, "n", lambda n: n + 1)
        assert await socket.ask("follow") == "1"


async def test_a_change_that_came_with_ones_own_commit_is_told() -> None:
    """Where another's change was merged into this socket's own commit, who follows is told of it."""
    following = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()

        async def follow() -> None:
            async for _ in session.changes():
                await websocket.send_text(" ".join(session["list"]))

        task = asyncio.ensure_future(follow())
        await asyncio.sleep(0.05)
        following.set()
        await websocket.receive_text()
        session["list"].append("here")
        await site.manager.update(session_id, "list", lambda kept: [*kept, "there"])
        await session.commit()
        with suppress(WebSocketDisconnect):
            await websocket.receive_text()
        task.cancel()

    async with opened() as site:
        session_id = await site.manager.create_session(data={"list": []})
        socket = site.open(app, session_id)
        await socket.accepted()
        await following.wait()
        socket.say("go on")
        assert sorted((await socket.hear()).split()) == ["here", "there"]


async def test_changes_end_with_the_client() -> None:
    """An application that only follows, and never listens, ends when the client goes away; and one without a session
    too. A message that nobody waited for is not lost."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        async for _ in session.changes():
            pass
        ended.append(await websocket.receive())

    ended: list[Any] = []
    async with opened() as site:
        for session_id in (await site.manager.create_session(), ""):
            socket = site.open(app, session_id)
            await socket.accepted()
            await asyncio.sleep(0.05)
            assert not socket.task.done()
            socket.go()
            await socket.end()
        assert [message["type"] for message in ended] == ["websocket.disconnect"] * 2


async def test_changes_end_with_the_client_where_nobody_listens_any_more() -> None:
    """An application that has heard one message, and only follows from then on, ends when the client goes away."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()

        async def follow() -> None:
            async for _ in session.changes():
                pass

        following = asyncio.ensure_future(follow())
        await asyncio.sleep(0.05)
        await websocket.send_text(await websocket.receive_text())
        await following

    async with opened() as site:
        socket = site.open(app, await site.manager.create_session())
        await socket.accepted()
        assert await socket.ask("hello") == "hello"
        socket.go()
        await socket.end()


async def test_changes_of_a_session_that_has_just_ended() -> None:
    """``changes()`` of a session that ended a moment ago tells of nothing, and the socket is closed."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        await site.manager.end_session(session_id)
        assert [change async for change in session.changes()] == []

    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        assert await socket.code() == 1008
        await socket.end()


@hypothesis_settings(max_examples=15)
@given(steps=st.lists(st.sampled_from(["here", "there", "both", "refresh", "pause"]), max_size=40))
def test_two_tasks_of_a_socket_lose_nothing(steps: list[str]) -> None:
    """Whatever is changed from elsewhere, by the task that listens, and by the task that follows, in whatever order, is
    all kept; and who follows has seen the last of it."""
    asyncio.run(asyncio.wait_for(_in_turns(steps), 60))


async def _listen_and_follow(websocket: WebSocket, seen: list[int]) -> None:
    session: Any = websocket.session
    await websocket.accept()

    async def follow() -> None:
        async for _ in session.changes():
            session.update("followed", lambda n: (n or 0) + 1)
            seen.append(session["there"])

    following = asyncio.ensure_future(follow())
    async for text in websocket.iter_text():
        if text == "refresh":
            await session.refresh()
        else:
            session["here"] += 1
            session["list"].append(text)
        await websocket.send_text("ok")
    await following


async def _in_turns(steps: list[str]) -> None:
    seen = [0]
    async with opened() as site:
        session_id = await site.manager.create_session(data={"here": 0, "there": 0, "list": []})
        socket = site.open(lambda websocket: _listen_and_follow(websocket, seen), session_id)
        await socket.accepted()
        there = [f"there {number}" for number, step in enumerate(steps) if step in ("there", "both")]
        here = [f"here {number}" for number, step in enumerate(steps) if step in ("here", "both")]
        for number, step in enumerate(steps):
            if f"there {number}" in there:
                await site.manager.update(session_id, "there", lambda n: n + 1)
                await site.manager.update(session_id, "list", lambda kept, new=f"there {number}": [*kept, new])
            if f"here {number}" in here or step == "refresh":
                assert await socket.ask("refresh" if step == "refresh" else f"here {number}") == "ok"
            elif step == "pause":
                await asyncio.sleep(0.002)
        async with asyncio.timeout(_TIMEOUT):
            while seen[-1] != len(there):
                await asyncio.sleep(0.005)
        socket.go()
        await socket.end()
        kept = await site.fields(session_id) or {}
        assert (kept["here"], kept["there"], sorted(kept["list"])) == (len(here), len(there), sorted(here + there))
        assert kept.get("followed", 0) == len(seen) - 1


async def test_many_changes_from_everywhere() -> None:
    """Twenty sockets of one session, each with a task that listens and one that follows, and requests beside them:
    every change is kept, and all who follow see the last of them."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()

        async def follow() -> None:
            async for _ in session.changes():
                seen[number] = session["n"]

        number = len(seen)
        seen.append(0)
        following = asyncio.ensure_future(follow())
        async for text in websocket.iter_text():
            session.update("n", lambda n: n + 1)
            session["list"].append(text)
            await websocket.send_text("ok")
        await following

    seen: list[int] = []
    async with opened(deadline=20) as site:
        session_id = await site.manager.create_session(data={"n": 0, "list": []})
        sockets = [site.open(app, session_id) for _ in range(20)]
        for socket in sockets:
            await socket.accepted()

        async def talk(number: int) -> None:
            for turn in range(5):
                assert await sockets[number].ask(f"{number} {turn}") == "ok"
                await site.manager.update(session_id, "n", lambda n: n + 1)

        await asyncio.gather(*(talk(number) for number in range(20)))
        async with asyncio.timeout(_TIMEOUT):
            while set(seen) != {200}:
                await asyncio.sleep(0.01)
        for socket in sockets:
            socket.go()
            await socket.end()
        kept = await site.fields(session_id) or {}
        assert kept["n"] == 200
        assert sorted(kept["list"]) == sorted(f"{number} {turn}" for number in range(20) for turn in range(5))


# --- The end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["clear", "end"])
async def test_signing_out_in_a_socket(way: str) -> None:
    """``clear()`` and ``end()`` sign out: the session is over at the next message, and its sockets are closed with
    1008, this one too."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        getattr(websocket.session, way)()
        with pytest.raises(WebSocketDisconnect) as told:
            await websocket.receive_text()
        assert told.value.code == 1008

    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        socket, other = site.open(app, session_id), site.open(echo, session_id)
        await socket.accepted()
        await other.accepted()
        socket.say("out")
        assert await socket.code() == 1008
        assert await other.code() == 1008
        await socket.end()
        assert not await site.manager.is_session_active(session_id)


async def test_an_application_that_never_listens_is_closed_too() -> None:
    """The socket of an application that accepts, and then waits for something else, is closed when its session ends;
    the application learns it when it next sends, or uses the session."""
    go_on = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await go_on.wait()
        with pytest.raises(SessionClosed):
            websocket.session["a"] = 1
        with pytest.raises(SessionClosed):
            await websocket.session.commit()  # type: ignore[attr-defined]
        with pytest.raises(WebSocketDisconnect):
            await websocket.send_text("too late")
        await websocket.session.refresh()  # type: ignore[attr-defined]

    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        socket = site.open(app, session_id)
        await socket.accepted()
        await site.manager.end_user_sessions("ada")
        assert await socket.code() == 1008
        go_on.set()
        await socket.end()  # what it raises at last is how it was told, and no error


async def test_a_session_that_ends_between_its_load_and_its_watch() -> None:
    """A session that ends just after it was loaded for the handshake lets nobody in: the application does not run."""
    async with opened() as site:
        session_id = await site.manager.create_session("ada")

        async def end(*_: Any, **__: Any) -> None:
            site.store.after.clear()
            await site.manager.end_session(session_id)

        site.store.after["load"] = end
        socket = site.open(lambda websocket: pytest.fail("it ran"), session_id)
        assert await socket.code() == 1008
        await socket.end()


async def test_a_session_that_ends_before_the_socket_is_accepted() -> None:
    """A session that ends while the application thinks about the handshake refuses it; the application is stopped when
    it accepts."""

    async def app(websocket: WebSocket) -> None:
        await site.manager.end_session(session_id)
        assert await socket.code() == 1008
        await websocket.accept()
        pytest.fail("it was accepted")

    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        socket = site.open(app, session_id)
        await socket.end()


@pytest.mark.parametrize("how", ["commit", "refresh"])
async def test_a_session_that_ended_while_it_was_changed(how: str) -> None:
    """``commit`` and ``refresh`` of a session that has ended meanwhile raise `SessionGone`; at a boundary it is told by
    the end of the socket."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        session["a"] = 1
        await site.manager.end_session(session_id)
        with pytest.raises((SessionGone, SessionClosed)):
            await (session.commit() if how == "commit" else session.refresh())
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive_text()

    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        socket = site.open(app, session_id)
        await socket.accepted()
        assert await socket.code() == 1008
        await socket.end()


async def test_a_client_that_goes_as_the_session_ends() -> None:
    """A server that refuses to send a close after the client's disturbs nobody."""
    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        socket = site.open(echo, session_id)
        await socket.accepted()
        socket.closed = True  # the client was quicker, and the application does not know
        await site.manager.end_session(session_id)
        await socket.end()


async def test_sockets_of_a_manager_that_is_closed() -> None:
    """When the manager is closed, as the process stops, its sockets are closed with 1013, the waiting ones and those
    that follow; the sessions live on."""

    async def follow(websocket: WebSocket) -> None:
        await websocket.accept()
        async for _ in websocket.session.changes():  # type: ignore[attr-defined]
            pass

    async with opened() as site:
        session_id = await site.manager.create_session("ada")
        sockets = [site.open(app, session_id) for app in (echo, follow)]
        for socket in sockets:
            await socket.accepted()
        await asyncio.sleep(0.05)
        await site.manager.close()
        assert [await socket.code() for socket in sockets] == [1013, 1013]
        for socket in sockets:
            await socket.end()


async def test_who_stops_following_leaves_nothing_behind() -> None:
    """A loop over ``changes()`` that is left, one that raises and one that is cancelled leave no task and no watch."""

    async def app(websocket: WebSocket) -> None:
        session: Any = websocket.session
        await websocket.accept()
        async for _ in session.changes():
            break
        with suppress(ZeroDivisionError):
            async for _ in session.changes():
                raise ZeroDivisionError
        async with asyncio.timeout(0.05):
            async for _ in session.changes():
                pass

    async with opened() as site:
        session_id = await site.manager.create_session(data={"n": 0})
        socket = site.open(app, session_id)
        await socket.accepted()
        for _ in range(2):
            await asyncio.sleep(0.02)
            await site.manager.update(session_id, "n", lambda n: n + 1)
        with pytest.raises(TimeoutError):
            await socket.end()
        socket.task = asyncio.ensure_future(asyncio.sleep(0))
        assert not [watch for group in site.manager._hub._watches.values() for watch in group]


# --- Activity ---------------------------------------------------------------------------------------------------------


async def test_traffic_keeps_the_session_alive() -> None:
    """Messages that come in are activity: the session outlives its idle timeout by them, for one write in each touch
    interval, however many there are."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with opened(idle_timeout=600) as site:
        session_id = await site.manager.create_session()
        socket = site.open(app, session_id)
        await socket.accepted()
        for _ in range(20):
            site.clock.advance(61)
            for _ in range(100):
                await socket.ask("hello")
        assert site.store.calls.count("touch") == 20
        assert await site.manager.is_session_active(session_id)


async def test_a_heartbeat_is_no_activity() -> None:
    """Messages that the application calls heartbeats keep nobody signed in, nor do those that the session's owner
    calls passive; they arrive all the same."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            websocket.session.passive = text != "active"  # type: ignore[attr-defined]
            await websocket.send_text(text)

    async with opened(idle_timeout=600) as site:
        site.options = {"heartbeat": lambda message: message.get("text") == "ping"}
        socket = site.open(app, await site.manager.create_session())
        await socket.accepted()
        for text, touches in (("ping", 0), ("other", 0), ("active", 0), ("other", 1), ("ping", 1), ("other", 1)):
            site.clock.advance(61)
            assert await socket.ask(text) == text
            assert site.store.calls.count("touch") == touches, text


async def test_activity_that_cannot_be_recorded_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A store that cannot write is asked for a touch once an interval, and the socket goes on."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with opened() as site:
        socket = site.open(app, await site.manager.create_session())
        await socket.accepted()
        site.break_down("touch")
        site.clock.advance(61)
        with caplog.at_level(logging.WARNING):
            for _ in range(10):
                await socket.ask("hello")
        assert site.store.calls.count("touch") == 1
        assert caplog.text.count("could not be recorded") == 1


async def test_a_session_that_runs_out_closes_its_socket() -> None:
    """A socket that is silent for longer than the idle timeout is closed with 1008."""
    async with opened(idle_timeout=600) as site:
        socket = site.open(echo, await site.manager.create_session())
        await socket.accepted()
        site.clock.advance(700)
        assert await socket.code() == 1008


# --- Starlette's ways -------------------------------------------------------------------------------------------------


async def test_starlettes_endpoint_class() -> None:
    """`WebSocketEndpoint`, and a socket below a router, have the session like any other."""

    class Endpoint(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            websocket.session["heard"] = data
            await websocket.send_text(data)

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            websocket.session["left"] = close_code

    async with opened() as site:
        session_id = await site.manager.create_session()
        socket = site.open(Starlette(routes=[WebSocketRoute("/", Endpoint)]), session_id)
        await socket.accepted()
        assert await socket.ask("hello") == "hello"
        assert await site.fields(session_id) == {"heard": "hello"}
        socket.go()
        await socket.end()
        assert await site.fields(session_id) == {"heard": "hello", "left": 1001}
