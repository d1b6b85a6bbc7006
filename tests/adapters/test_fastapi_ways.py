"""What users of FastAPI get: typed dependencies, and routes that are in the OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from sojourn import AsyncSessionManager, ConfigurationError, StoreUnavailable, TooLate
from sojourn.adapters.asgi import ASGISocketSession, SessionMiddleware
from sojourn.adapters.fastapi import (
    SessionDep,
    SocketSessionDep,
    UserDep,
    csrf_protected,
    device_router,
    fresh_sign_in,
)
from sojourn.csrf import csrf_token
from sojourn.stores.memory import MemoryStore
from sojourn.testing import Clock
from sojourn.users import login, logout
from worlds import Through


class Site:
    """An application with every dependency, on a store that can fail and a clock that stands still."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = Through(MemoryStore())
        self.manager = AsyncSessionManager(self.store, clock=self.clock)  # type: ignore[arg-type]
        self.app = app = FastAPI()
        app.add_middleware(SessionMiddleware, manager=self.manager)
        app.include_router(device_router(self.manager))
        app.add_api_route("/add/{item}", add, methods=["POST"])
        app.add_api_route("/cart", cart)
        app.add_api_route("/whole", whole)
        app.add_api_route("/hello", hello)
        app.add_api_route("/sign-in", sign_in, methods=["POST"])
        app.add_api_route("/sign-out", sign_out, methods=["POST"])
        app.add_api_route("/me", me)
        app.add_api_route("/token", token)
        app.add_api_route("/email", email, methods=["PUT"])
        protected = [Depends(csrf_protected)]
        app.add_api_route("/change", change, methods=["POST"], dependencies=protected)
        app.add_api_route("/changed", changed, dependencies=protected)
        app.add_api_route("/form", form, methods=["POST"], dependencies=protected)
        app.add_api_websocket_route("/talk", talk)
        app.add_api_websocket_route("/members", members)

    def visitor(self) -> TestClient:
        return TestClient(self.app)


async def add(item: str, session: SessionDep) -> list[str]:
    session.setdefault("cart", []).append(item)
    return list(session["cart"])


def cart(session: SessionDep) -> list[str]:
    return list(session.get("cart", []))


async def hello(session: SessionDep) -> str:
    return "hello"


async def whole(session: SessionDep) -> dict[str, Any]:
    return session  # type: ignore[return-value]  # it passes for a dict


async def sign_in(session: SessionDep, label: str = "laptop") -> None:
    login(session, "ada", label=label)


async def sign_out(session: SessionDep) -> None:
    logout(session)


async def me(user: UserDep) -> str:
    return user


async def token(session: SessionDep) -> str:
    return csrf_token(session)


async def email(user: Annotated[str, Depends(fresh_sign_in(60))]) -> str:
    return user


async def change(session: SessionDep) -> str:
    session["changed"] = True
    return "changed"


async def changed(session: SessionDep) -> bool:
    return "changed" in session


async def form(request: Request, session: SessionDep) -> str:
    session["changed"] = True
    return (await request.body()).decode()


async def talk(websocket: WebSocket, session: SocketSessionDep) -> None:
    assert isinstance(session, ASGISocketSession)
    await websocket.accept()
    async for text in websocket.iter_text():
        session["said"] = text
        await session.commit()
        await websocket.send_text("ok")


async def members(websocket: WebSocket, user: UserDep, sure: Annotated[str, Depends(fresh_sign_in(60))]) -> None:
    await websocket.accept()
    await websocket.send_text(user)
    with pytest.raises(TooLate):
        websocket.session.login("eve")  # type: ignore[attr-defined]
    await websocket.close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    asyncio.run(made.manager.close())


def test_the_session_is_a_parameter(site: Site) -> None:
    """``session: SessionDep`` is the visitor's session, in coroutines and in functions that run in threads; it is the
    one of ``request.session``."""
    visitor, other = site.visitor(), site.visitor()
    assert visitor.post("/add/tea").json() == ["tea"]
    assert visitor.post("/add/milk").json() == ["tea", "milk"]
    assert visitor.get("/cart").json() == ["tea", "milk"]
    assert other.get("/cart").json() == []
    assert visitor.get("/whole").json() == {"cart": ["tea", "milk"]}


def test_a_look_by_the_parameter_is_a_look(site: Site) -> None:
    """A response that may depend on the session is not for caches, even where the parameter was only asked for."""
    assert site.visitor().get("/hello").headers["cache-control"] == "no-store"
    assert site.visitor().get("/openapi.json").headers.get("cache-control") is None


def test_who_is_signed_in(site: Site) -> None:
    """``user: UserDep`` is who is signed in; who is not gets 401."""
    visitor = site.visitor()
    refused = visitor.get("/me")
    assert (refused.status_code, refused.json()) == (401, {"detail": "sign in first"})
    visitor.post("/sign-in")
    assert visitor.get("/me").json() == "ada"
    visitor.post("/sign-out")
    assert visitor.get("/me").status_code == 401


def test_a_fresh_sign_in(site: Site) -> None:
    """What wants a fresh sign-in refuses with 401 who is not signed in, and with 403 who did so too long ago, however
    active they were since; signing in again helps."""
    visitor = site.visitor()
    assert visitor.put("/email").status_code == 401
    visitor.post("/sign-in")
    site.clock.advance(60)
    assert visitor.put("/email").json() == "ada"
    visitor.post("/add/tea")
    site.clock.advance(1)
    refused = visitor.put("/email")
    assert (refused.status_code, refused.json()["detail"][:13]) == (403, "sign in again")
    visitor.post("/sign-in")
    assert visitor.put("/email").json() == "ada"


def test_a_token_in_a_header_or_in_a_form(site: Site) -> None:
    """What changes something wants this session's token, in the header or in a form; else it is 403, and nothing is
    changed. A look wants none."""
    visitor, other = site.visitor(), site.visitor()
    good, others = visitor.get("/token").json(), other.get("/token").json()
    for wrong in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": others}, {"X-CSRF-Token": good[:-1]}):
        assert visitor.post("/change", headers=wrong).status_code == 403
    assert visitor.get("/changed").json() is False
    assert visitor.post("/change", headers={"X-CSRF-Token": good}).json() == "changed"
    assert visitor.post("/form", data={"name": "Ada", "csrf_token": good}).json().startswith("name=Ada&csrf_token=")
    for data in ({"name": "Ada"}, {"csrf_token": others}):
        assert visitor.post("/form", data=data).status_code == 403
    assert visitor.post("/form", json={"csrf_token": good}).status_code == 403  # another site can send no such body
    visitor.post("/sign-in")
    assert visitor.post("/change", headers={"X-CSRF-Token": good}).status_code == 403


def test_devices_are_in_the_document(site: Site) -> None:
    """`device_router` lists and ends devices, and the OpenAPI document says what it takes and answers."""
    laptop, phone = site.visitor(), site.visitor()
    assert laptop.get("/devices").json() == {"error": "sign in first"}
    laptop.post("/sign-in")
    phone.post("/sign-in", params={"label": "phone"})
    listed = laptop.get("/devices").json()
    token = {"X-CSRF-Token": listed["csrf_token"]}
    assert sorted(device["label"] for device in listed["devices"]) == ["laptop", "phone"]
    (handle,) = (device["handle"] for device in listed["devices"] if not device["current"])
    assert laptop.delete(f"/devices/{handle}").status_code == 403
    assert laptop.delete(f"/devices/{handle}", headers=token).json() == {"ended": 1}
    assert laptop.delete(f"/devices/{handle}", headers=token).status_code == 404
    assert phone.get("/me").status_code == 401
    assert laptop.delete("/devices", headers=token).json() == {"ended": 0}
    document = laptop.get("/openapi.json").json()
    listing = document["paths"]["/devices"]["get"]
    assert listing["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/DeviceList")
    assert set(document["paths"]["/devices/{handle}"]["delete"]["responses"]) == {"200", "401", "403", "404", "422"}
    fields = document["components"]["schemas"]["Device"]["properties"]
    assert set(fields) == set(listed["devices"][0])


def test_nothing_of_the_session_is_in_the_document(site: Site) -> None:
    """The session is no parameter of the API: the document shows none."""
    document = site.visitor().get("/openapi.json").json()
    assert "parameters" not in document["paths"]["/cart"]["get"]


def test_a_socket_has_the_session_as_a_parameter(site: Site) -> None:
    """``session: SocketSessionDep`` is the visitor's session, live: the next request sees what was committed."""
    visitor = site.visitor()
    visitor.post("/add/tea")
    with visitor.websocket_connect("/talk") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "ok"
        assert visitor.get("/whole").json() == {"cart": ["tea"], "said": "hello"}


def test_a_socket_for_members(site: Site) -> None:
    """The dependencies that ask for a user refuse a WebSocket's handshake with the same status as a request."""
    visitor = site.visitor()
    with pytest.raises(WebSocketDenialResponse) as refused:
        visitor.websocket_connect("/members").__enter__()
    assert refused.value.status_code == 401
    visitor.post("/sign-in")
    with visitor.websocket_connect("/members") as socket:
        assert socket.receive_text() == "ada"
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()
    site.clock.advance(61)
    with pytest.raises(WebSocketDenialResponse) as refused:
        visitor.websocket_connect("/members").__enter__()
    assert refused.value.status_code == 403


def test_an_outage(site: Site) -> None:
    """In an outage a route that takes the session is answered with 503, before FastAPI runs it."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    visitor = site.visitor()
    visitor.post("/add/tea")
    site.store.before["load"] = fail
    assert visitor.get("/cart").status_code == 503
    site.store.before.clear()
    assert visitor.get("/cart").json() == ["tea"]


def test_without_the_middleware_it_says_so() -> None:
    """Without the middleware, or with Starlette's own, the dependencies say what to add."""
    app = FastAPI()
    app.add_api_route("/cart", cart)
    with pytest.raises(ConfigurationError, match="add_middleware"):
        TestClient(app).get("/cart")


def test_an_application_may_override_it(site: Site) -> None:
    """Tests may put another session in the place of the dependency's, as with any dependency."""
    from sojourn.adapters.fastapi import get_session

    class Fake(dict[str, Any]):
        pass

    site.app.dependency_overrides[get_session] = lambda: Fake(cart=["fake"])
    assert site.visitor().get("/cart").json() == ["fake"]
