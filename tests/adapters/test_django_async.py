"""Asynchronous views in Django, and outages in both worlds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from django_ways import DJANGOS, REST, Work, do, put, see
from sojourn import StoreUnavailable
from sojourn.adapters.django import SessionStore, session_manager
from worlds import Through

# isort: split
from django.contrib.auth import aauthenticate, alogin, alogout, logout
from django.contrib.auth.models import User
from django.http import HttpRequest, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings

pytest_plugins = ["django_ways"]
pytestmark = pytest.mark.usefixtures("store")

# --- Asynchronous ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asgi", [False, True], ids=["WSGI", "ASGI"])
def test_asynchronous_views(asgi: bool, ada: User, tmp_path: Path) -> None:
    """Asynchronous views use the asynchronous names, sign in and out, and save, behind WSGI, and behind ASGI with an
    asynchronous manager on the same file; in one event loop after another."""
    steps: list[tuple[Callable[[HttpRequest], Any], Any]] = []

    async def begin(request: HttpRequest) -> Any:
        await request.session.aset("cart", [])
        (await request.session.aget("cart")).append("tea")
        await request.session.asave()
        return await request.session.aexists(request.session.session_key)

    async def enter(request: HttpRequest) -> None:
        await alogin(request, await aauthenticate(username="ada", password="x"))

    async def look(request: HttpRequest) -> Any:
        return [str(await request.auser()), await request.session.aget("cart"), request.session.get("cart")]

    async def leave(request: HttpRequest) -> None:
        await alogout(request)

    steps = [
        (begin, True),
        (look, ["AnonymousUser", ["tea"], ["tea"]]),
        (enter, None),
        (look, ["ada", ["tea"], ["tea"]]),
        (leave, None),
        (look, ["AnonymousUser", None, None]),
    ]
    with override_settings(SOJOURN={"STORE": f"sqlite:///{tmp_path}/sessions.db"}):
        client: Any = AsyncClient() if asgi else Client()
        for step, expected in steps:
            Work.aview = step
            response = asyncio.run(client.get("/async")) if asgi else client.get("/async")
            assert (response.status_code, response.json()["result"]) == (200, expected)
        assert session_manager().stats().sessions == 0


def test_the_settings_may_change_within_an_event_loop(ada: User) -> None:
    """A test that changes the settings while an event loop runs gets new managers, and the old ones are closed."""

    async def work(request: HttpRequest) -> int:
        count: int = await request.session.aget("n", 0)
        await request.session.aset("n", count + 1)
        return count

    async def whole() -> list[int]:
        client, seen = AsyncClient(), []
        for name in ("one", "one", "two"):
            with override_settings(SOJOURN={"STORE": "memory://", "CONFIG": {"handle_form": name + "{random}"}}):
                Work.aview = work
                seen.append((await client.get("/async")).json()["result"])
        return seen

    assert asyncio.run(whole()) == [0, 0, 0]


def test_an_asynchronous_body(ada: User) -> None:
    """What an asynchronous body changes while it streams is saved at its end."""

    async def body(session: SessionStore) -> AsyncIterator[bytes]:
        yield b"one"
        session["late"] = True
        yield b"two"

    async def respond(request: HttpRequest) -> StreamingHttpResponse:
        request.session["early"] = True
        return StreamingHttpResponse(body(request.session))

    async def whole() -> None:
        client = AsyncClient()
        Work.aview = respond
        response = await client.get("/async")
        assert b"".join([part async for part in response]) == b"onetwo"
        session = SessionStore(client.cookies["sessionid"].value)
        assert dict(await session.aitems()) == {"early": True, "late": True}

    asyncio.run(whole())


def test_an_asynchronous_body_that_raises(ada: User) -> None:
    """If an asynchronous body raises, what it changed is not saved, and what was saved before it stays."""

    async def body(session: SessionStore) -> AsyncIterator[bytes]:
        session["late"] = True
        yield b"one"
        raise ZeroDivisionError

    async def respond(request: HttpRequest) -> StreamingHttpResponse:
        request.session["early"] = True
        return StreamingHttpResponse(body(request.session))

    async def whole() -> None:
        client = AsyncClient()
        Work.aview = respond
        response = await client.get("/async")
        with pytest.raises(ZeroDivisionError):
            [part async for part in response]
        session = SessionStore(client.cookies["sessionid"].value)
        assert dict(await session.aitems()) == {"early": True}

    asyncio.run(whole())


def test_an_asynchronous_request_stays_on_its_event_loop(store: Through) -> None:
    """Under ASGI the store is asked from the event loop, whatever asks: the middleware, or ``asave`` in a view. A store
    made by hand asks from a thread."""
    threads: list[threading.Thread] = []
    for operation in ("load", "create", "commit"):
        store.before[operation] = lambda *_, **__: threads.append(threading.current_thread())

    async def work(request: HttpRequest) -> None:
        await request.session.aset("n", await request.session.aget("n", 0) + 1)
        await request.session.asave()

    async def whole() -> bool:
        client = AsyncClient()
        Work.aview = work
        for _ in range(2):
            assert (await client.get("/async")).status_code == 200
        here = set(threads) == {threading.current_thread()}
        await SessionStore(client.cookies["sessionid"].value).aget("n")
        return here and threads[-1] is not threading.current_thread()

    assert asyncio.run(whole())


# --- Outages ---------------------------------------------------------------------------------------------------------


def away(*_: Any, **__: Any) -> None:
    raise StoreUnavailable("away", retry_after=3)


_ACTS: dict[str, tuple[str, Callable[[HttpRequest], Any]]] = {
    "flush": ("end", lambda request: request.session.flush()),
    "logout": ("end", logout),
    "save": ("commit", lambda request: (put(a=1)(request), request.session.save())),
    "at the end": ("commit", put(a=1)),
}


@pytest.mark.parametrize(("operation", "act"), _ACTS.values(), ids=_ACTS)
def test_an_outage_in_a_view_is_no_error_of_the_view(
    client: Client, store: Through, operation: str, act: Callable[[HttpRequest], Any]
) -> None:
    """A store that fails within a view, or when its response is saved, is answered with 503 and Retry-After; nothing is
    saved, the cookie is left alone, and nobody is signed out."""
    do(client, put(name="Ada"))
    store.before[operation] = away
    Work.view = act
    response = client.get("/")
    assert (response.status_code, response.headers["Retry-After"], dict(response.cookies)) == (503, "3", {})
    store.before.clear()
    assert do(client, see) == {"name": "Ada"}


@pytest.mark.parametrize("asgi", [False, True], ids=["WSGI", "ASGI"])
def test_what_was_not_saved_is_not_saved_later(store: Through, asgi: bool) -> None:
    """The session of a request that was answered with 503 is dead: nobody can save it behind the client's back."""
    held: list[Any] = []

    def work(request: HttpRequest) -> None:
        request.session["a"] = 1
        held.append(request.session.sojourn)

    async def awork(request: HttpRequest) -> None:
        work(request)

    store.before["create"] = away
    Work.view, Work.aview = work, awork
    response = asyncio.run(AsyncClient().get("/async")) if asgi else Client().get("/")
    assert (response.status_code, held[0].closed) == (503, True)


def test_an_outage_behind_django_s_own_middleware_is_an_error(store: Through) -> None:
    """The engine alone raises what the store raises, which Django answers with 500; nobody becomes anonymous."""
    with override_settings(MIDDLEWARE=[DJANGOS, *REST]):
        client = Client(raise_request_exception=False)
        do(client, put(name="Ada"))
        store.before["load"] = away
        Work.view = see
        assert client.get("/").status_code == 500
        store.before.clear()
        assert do(client, see) == {"name": "Ada"}
