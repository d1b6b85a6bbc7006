"""What ASGI allows an application, and what becomes of the session then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from browser import Jar
from sojourn import AsyncSessionManager, ConfigurationError, Handle, SessionManager, StoreUnavailable, TooLarge
from sojourn.adapters.asgi import SessionMiddleware
from sojourn.stores.memory import MemoryStore
from worlds import Through

Endpoint = Callable[[Request], Awaitable[Any]]


class Client:
    """A visitor of one application after another, on the same store."""

    def __init__(self) -> None:
        self.store = Through(MemoryStore())
        self.manager = AsyncSessionManager(self.store)  # type: ignore[arg-type]
        self.jar = Jar()

    async def ask(self, endpoint: Endpoint, **options: Any) -> httpx.Response:
        app = Starlette(routes=[Route("/", endpoint), Mount("/below", routes=[Route("/", endpoint)])], **options)
        app.add_middleware(SessionMiddleware, manager=self.manager)
        return await self.send(app)

    async def send(self, app: Any, path: str = "/") -> httpx.Response:
        headers = {"Cookie": self.jar.header} if self.jar.header else {}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        response = await transport.handle_async_request(
            httpx.Request("GET", f"https://testserver{path}", headers=headers)
        )
        await response.aread()
        self.jar.receive(response.headers.get_list("set-cookie"))
        return response

    async def stored(self) -> dict[str, Any] | None:
        return await self.manager.get_session(Handle(str(self.jar.value).split(".")[0]))


@pytest.fixture
def client() -> Client:
    """A visitor who has something in the session."""
    client = Client()

    async def endpoint(request: Request) -> PlainTextResponse:
        request.session["name"] = "Ada"
        return PlainTextResponse("ok")

    assert asyncio.run(client.ask(endpoint)).status_code == 200
    return client


async def test_a_background_task_may_go_on(client: Client) -> None:
    """What a background task changes is committed when it is done; what it reads is what others left."""

    async def later(session: Any) -> None:
        await client.manager.update(str(client.jar.value), "other", lambda _: 1)
        session["later"] = True

    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(later, request.session))

    assert (await client.ask(endpoint)).status_code == 200
    assert await client.stored() == {"name": "Ada", "other": 1, "later": True}


async def test_an_asynchronous_body_is_served_as_any_other(client: Client) -> None:
    """An asynchronous body finds the commit made, and adds to it."""

    async def body(session: Any) -> AsyncIterator[bytes]:
        assert await client.stored() == {"name": "Ada", "a": 1}
        yield b"one"
        session["b"] = 2
        yield b"two"

    async def endpoint(request: Request) -> StreamingResponse:
        request.session["a"] = 1
        return StreamingResponse(body(request.session))

    assert (await client.ask(endpoint)).content == b"onetwo"
    assert await client.stored() == {"name": "Ada", "a": 1, "b": 2}


async def test_an_http_exception_is_a_response(client: Client) -> None:
    """An exception that the framework turns into a response is one: what was changed is committed."""

    async def endpoint(request: Request) -> None:
        request.session["a"] = 1
        raise HTTPException(403)

    assert (await client.ask(endpoint)).status_code == 403
    assert await client.stored() == {"name": "Ada", "a": 1}


async def test_save_is_awaited(client: Client) -> None:
    """``await session.save()`` commits at once, and what follows is committed with the response."""
    found: list[Any] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        request.session["a"] = 1
        await request.session.save()
        found.append(await client.stored())
        request.session["b"] = 2
        return PlainTextResponse("ok")

    await client.ask(endpoint)
    assert found == [{"name": "Ada", "a": 1}]
    assert await client.stored() == {"name": "Ada", "a": 1, "b": 2}


async def test_save_tells_the_application_what_it_can_act_on(client: Client) -> None:
    """What a commit can fail with, ``save()`` raises where the application can catch it, and the response goes on
    without."""

    async def endpoint(request: Request) -> PlainTextResponse:
        request.session["text"] = "x" * 1_000_000
        with pytest.raises(TooLarge, match="text"):
            await request.session.save()
        del request.session["text"]
        request.session["a"] = 1
        return PlainTextResponse("ok")

    assert (await client.ask(endpoint)).status_code == 200
    assert await client.stored() == {"name": "Ada", "a": 1}


async def test_an_application_may_answer_for_what_was_refused(client: Client) -> None:
    """An application that catches what ``send`` raises can respond in its own way, and nothing is committed."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1
        scope["session"]["text"] = "x" * 1_000_000
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except TooLarge:
            await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    response = await client.send(SessionMiddleware(app, manager=client.manager))
    assert (response.status_code, response.content) == (413, b"done")
    assert await client.stored() == {"name": "Ada"}


async def test_a_client_that_goes_away_commits_nothing_more(client: Client) -> None:
    """A request that is cancelled before it responds commits nothing."""
    inside = asyncio.Event()

    async def endpoint(request: Request) -> PlainTextResponse:
        request.session["a"] = 1
        inside.set()
        await asyncio.sleep(10)
        return PlainTextResponse("never")

    task = asyncio.create_task(client.ask(endpoint))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await client.stored() == {"name": "Ada"}


async def test_an_application_without_a_response_still_commits(client: Client) -> None:
    """An application that returns without a response has its changes committed, short of a change of id."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1

    class Quiet(Exception):
        pass

    async def send(message: Any) -> None:
        raise Quiet

    headers = [(b"cookie", str(client.jar.header).encode()), (b"host", b"testserver")]
    scope = {"type": "http", "scheme": "https", "headers": headers}
    await SessionMiddleware(app, manager=client.manager)(scope, lambda: asyncio.sleep(0), send)  # type: ignore[arg-type, return-value]
    assert await client.stored() == {"name": "Ada", "a": 1}


async def test_what_is_neither_http_nor_a_socket_passes_through(client: Client) -> None:
    """Lifespan messages reach the application as they are."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    arguments: Any = ({"type": "lifespan"}, object(), object())
    await SessionMiddleware(app, manager=client.manager)(*arguments)
    assert seen == [arguments]
    assert "session" not in arguments[0]


async def test_a_mounted_application_has_the_same_session(client: Client) -> None:
    """An application below another, and middleware around it, see one session."""
    seen: list[Any] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(dict(request.session))
        request.session["below"] = True
        return PlainTextResponse("ok")

    class Around:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["session"]["before"] = True

            async def sends(message: Any) -> None:
                if message["type"] == "http.response.start":
                    scope["session"]["after"] = True
                await send(message)

            await self.app(scope, receive, sends)

    inner = Around(Starlette(routes=[Mount("/below", routes=[Route("/", endpoint)])]))
    response = await client.send(SessionMiddleware(inner, manager=client.manager), "/below/")
    assert response.status_code == 200
    assert seen == [{"name": "Ada", "before": True}]
    assert await client.stored() == {"name": "Ada", "before": True, "below": True, "after": True}


async def test_an_answer_in_an_outage_is_the_only_one(client: Client) -> None:
    """When the commit fails, nothing of the application's response goes out."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    async def endpoint(request: Request) -> StreamingResponse:
        request.session["a"] = 1
        return StreamingResponse(iter([b"one", b"two"]))

    client.store.before["commit"] = fail
    response = await client.ask(endpoint)
    assert response.status_code == 503
    assert response.content.startswith(b"The service is busy")


@pytest.mark.parametrize("manager", ["memory://", SessionManager()], ids=["URL", "blocking"])
def test_a_manager_of_the_wrong_kind_is_refused(manager: Any) -> None:
    """Anything but an asynchronous manager is refused at the start."""
    with pytest.raises(ConfigurationError, match="AsyncSessionManager"):
        SessionMiddleware(lambda scope, receive, send: asyncio.sleep(0), manager=manager)  # type: ignore[arg-type, return-value]
