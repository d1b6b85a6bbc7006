"""The session in Quart's WebSockets: live with the extension, committed at the end without."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import quart
from quart.testing.connections import WebsocketDisconnectError, WebsocketResponseError

from site_quart import Application
from sojourn import StoreUnavailable
from sojourn.errors import TooLate
from sojourn.watching import hub, watch


async def count(session: Any) -> None:
    """Count the messages in the session, and answer each with the number."""
    while True:
        await quart.websocket.receive()
        session["n"] = session.get("n", 0) + 1
        await quart.websocket.send(str(session["n"]))


async def test_what_a_socket_acknowledges_is_in_the_session() -> None:
    """A socket has the session of the page. Whoever was sent an answer finds in the next request what was changed
    before it."""
    site = Application()
    site.socket("/count", count)
    site.view("/start", lambda session: session.update(n=10))
    site.view("/n", lambda session: session["n"])
    await site.get("/start")
    async with site.client.websocket("/count") as socket:
        for n in (11, 12, 13):
            await socket.send("more")
            assert await socket.receive() == str(n)
            assert await site.get("/n") == str(n)
    assert site.errors == []
    await site.leave()


async def test_a_socket_commits_before_it_waits() -> None:
    """What a socket changes is committed when it waits for the next message, though it answers nothing."""
    site = Application()

    async def count_silently(session: Any) -> None:
        while True:
            await quart.websocket.receive()
            session["n"] += 1

    site.socket("/count", count_silently)
    site.view("/start", lambda session: session.update(n=0))
    site.view("/n", lambda session: session["n"])
    await site.get("/start")
    async with site.client.websocket("/count") as socket:
        for n in (1, 2):
            await socket.send("more")
            async with asyncio.timeout(10):
                while await site.get("/n") != str(n):
                    await asyncio.sleep(0.01)
    await site.leave()


async def test_a_socket_sees_what_requests_write() -> None:
    """``await session.refresh()`` reads what requests wrote meanwhile; nothing of either is lost."""
    site = Application()

    async def look(session: Any) -> None:
        while True:
            await quart.websocket.receive()
            await session.refresh()
            await quart.websocket.send(str(sorted(session)))

    site.socket("/look", look)
    site.view("/start", lambda session: session.update(a=1))
    site.view("/more", lambda session: session.update(b=1))
    await site.get("/start")
    async with site.client.websocket("/look") as socket:
        await socket.send("")
        assert await socket.receive() == "['a']"
        await site.get("/more")
        await socket.send("")
        assert await socket.receive() == "['a', 'b']"
    await site.leave()


async def test_a_socket_may_begin_a_session() -> None:
    """What is put in before the socket is accepted begins a session, whose cookie comes with the handshake. Later it is
    too late, and an error says so."""
    site = Application()

    async def begin(session: Any) -> None:
        session["n"] = 1
        await count(session)

    async def too_late(session: Any) -> None:
        await quart.websocket.accept()
        session["n"] = 1
        await session.commit()

    site.socket("/begin", begin)
    site.socket("/too-late", too_late)
    async with site.client.websocket("/begin") as socket:
        await socket.send("more")
        assert await socket.receive() == "2"
        assert [cookie.partition("=")[0] for cookie in socket.set_cookie] == ["__Host-session"]  # type: ignore[attr-defined]
    async with site.client.websocket("/too-late") as socket:
        with pytest.raises(WebsocketDisconnectError):
            await socket.receive()
    assert [type(error) for error in site.errors] == [TooLate]
    assert (await site.manager.stats()).sessions == 1
    await site.leave()


@pytest.mark.parametrize("how", ["clear", "revoked", "another user"])
async def test_signing_out_closes_the_socket(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the session ends or its user changes, in a request or by whoever ends it, the socket is closed with 1008 as
    soon as that is told, though its application waits for something else; what it writes then is not kept."""
    monkeypatch.setattr(hub, "TICK", 60)  # so that it is not found by the next look
    monkeypatch.setattr(watch, "TICK", 60)
    site = Application()

    async def stay(session: Any) -> None:
        await quart.websocket.accept()
        await quart.websocket.send("here")
        await asyncio.sleep(30)

    site.socket("/stay", stay)
    site.view("/sign-in", lambda session: session.login("ada"))
    site.view("/clear", lambda session: session.clear())
    site.view("/switch", lambda session: session.login("eve"))
    await site.get("/sign-in")
    async with site.client.websocket("/stay") as socket:
        assert await socket.receive() == "here"
        if how == "revoked":
            await site.manager.end_user_sessions("ada")
        else:
            await site.get("/clear" if how == "clear" else "/switch")
        with pytest.raises(WebsocketDisconnectError) as closed:
            await socket.receive()
    assert closed.value.args == (1008,)
    await site.leave()


async def test_a_socket_that_outlives_its_session_is_told_by_its_end() -> None:
    """An application whose session ended under its hands finds nothing wrong while it waits for a message, and the
    socket is closed; only what it still sends meets a connection that is gone."""
    site = Application()

    async def wait(session: Any) -> None:
        await quart.websocket.accept()
        await site.manager.end_user_sessions("ada")
        session["late"] = True
        await quart.websocket.receive()

    async def send(session: Any) -> None:
        try:
            await wait(session)
        except asyncio.CancelledError:
            await quart.websocket.send("bye")

    site.socket("/wait", wait)
    site.socket("/send", send)
    site.view("/sign-in", lambda session: session.login("ada"))
    for path, errors in (("/wait", []), ("/send", [ConnectionResetError])):
        await site.get("/sign-in")
        async with site.client.websocket(path) as socket:
            with pytest.raises(WebsocketDisconnectError) as closed:
                await socket.receive()
        assert closed.value.args == (1008,)
        assert [type(error) for error in site.errors] == errors
    assert (await site.manager.stats()).sessions == 0
    await site.leave()


async def test_a_socket_whose_application_fails_keeps_nothing() -> None:
    """If the application of a socket raises, what it changed since the last boundary is not committed."""
    site = Application()

    async def fail(session: Any) -> None:
        await quart.websocket.receive()
        session["kept"] = True
        await quart.websocket.send("kept")
        session["not kept"] = True
        raise KeyError("fails")

    site.socket("/fail", fail)
    site.view("/start", lambda session: session.update(a=1))
    site.view("/see", lambda session: sorted(session))
    await site.get("/start")
    async with site.client.websocket("/fail") as socket:
        await socket.send("go")
        assert await socket.receive() == "kept"
        with pytest.raises((WebsocketDisconnectError, KeyError)):
            await socket.receive()
    assert await site.get("/see") == "['a', 'kept']"
    await site.leave()


async def test_a_socket_that_is_refused_commits() -> None:
    """``abort`` before the socket is accepted is a response, which carries the cookie of a session that was begun."""
    site = Application()

    async def refuse(session: Any) -> None:
        session["tries"] = 1
        quart.abort(403)

    site.socket("/refuse", refuse)
    async with site.client.websocket("/refuse") as socket:
        with pytest.raises(WebsocketResponseError) as refused:
            await socket.receive()
    assert refused.value.response.status_code == 403
    assert refused.value.response.headers["Set-Cookie"].startswith("__Host-session=")
    assert (await site.manager.stats()).sessions == 1
    await site.leave()


async def test_an_outage_refuses_sockets() -> None:
    """If the session of a socket cannot be loaded the handshake is answered with 503, and the application does not
    run."""
    site = Application()
    ran: list[bool] = []

    async def run(session: Any) -> None:
        ran.append(True)

    def fail(*_: Any) -> None:
        raise StoreUnavailable("away")

    site.socket("/run", run)
    site.view("/start", lambda session: session.update(a=1))
    await site.get("/start")
    site.store.before["load"] = fail
    async with site.client.websocket("/run") as socket:
        with pytest.raises(WebsocketResponseError) as refused:
            await socket.receive()
    assert (refused.value.response.status_code, ran) == (503, [])
    site.store.before.clear()
    await site.leave()


@pytest.mark.parametrize(("origin", "answer"), [("https://evil.example", 403), ("https://partner.example", None)])
async def test_sockets_of_other_sites_pages_are_refused(origin: str, answer: int | None) -> None:
    """A page of another site cannot open a socket with the visitor's cookie, unless its origin is allowed."""
    site = Application()
    site.socket("/count", count)
    site.view("/start", lambda session: session.update(n=1))
    await site.get("/start")
    async with site.client.websocket("/count", headers={"Origin": origin}) as socket:
        await socket.send("more")
        if answer is None:
            assert await socket.receive() == "2"
        else:
            with pytest.raises(WebsocketResponseError) as refused:
                await socket.receive()
            assert refused.value.response.status_code == answer
    await site.leave()


async def test_without_the_extension_a_socket_commits_at_its_end() -> None:
    """An interface alone, as Quart knows it, loads the session of a socket and commits it when the socket is over."""
    site = Application()
    site.app.asgi_websocket_class = type(site.app).asgi_websocket_class
    site.socket("/count", count)

    async def once(session: Any) -> None:
        await quart.websocket.receive()
        session["n"] += 1
        await quart.websocket.send("done")

    site.socket("/once", once)
    site.view("/start", lambda session: session.update(n=1))
    site.view("/n", lambda session: session["n"])
    await site.get("/start")
    async with site.client.websocket("/once") as socket:
        await socket.send("more")
        assert await socket.receive() == "done"
        with pytest.raises(WebsocketDisconnectError):
            await socket.receive()
    assert await site.get("/n") == "2"
    await site.leave()
