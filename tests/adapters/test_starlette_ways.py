"""What users of Starlette's sessions know, works as they know it: its arguments, its test client, its documentation's
examples with another import."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from browser import parse
from sojourn import AsyncSessionManager, ConfigurationError, SessionConfig
from sojourn.adapters.asgi import ASGISession, SessionMiddleware, device_routes
from sojourn.csrf import csrf_token
from sojourn.stores.memory import MemoryStore
from sojourn.users import login


async def view(request: Request) -> JSONResponse:
    return JSONResponse({"session": request.session})


async def write(request: Request) -> JSONResponse:
    request.session.update(await request.json())
    return JSONResponse({"session": request.session})


async def clear(request: Request) -> JSONResponse:
    request.session.clear()
    return JSONResponse({"session": request.session})


ROUTES = [Route("/view", view), Route("/write", write, methods=["POST"]), Route("/clear", clear, methods=["POST"])]


def client(base_url: str = "http://testserver", routes: Any = ROUTES, **arguments: Any) -> TestClient:
    """Starlette's test client of an application with these arguments for the middleware."""
    app = Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, **arguments)])
    return TestClient(app, base_url=base_url)


def at_work(handler: Callable[[Any], Any]) -> Any:
    """What a handler finds in a request."""
    found: list[Any] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        found.append(handler(request.session))
        return PlainTextResponse("ok")

    assert client(routes=[Route("/", endpoint)]).get("/").status_code == 200
    return found[0]


# --- As Starlette's ---------------------------------------------------------------------------------------------------


def test_the_middleware_takes_the_place_of_starlettes() -> None:
    """With the import changed and nothing else, an application keeps what it puts in, and its test client on
    ``http://testserver`` too, until it clears the session."""
    visitor = client(secret_key="example")
    assert visitor.get("/view").json() == {"session": {}}
    assert visitor.post("/write", json={"some": ["data"]}).json() == {"session": {"some": ["data"]}}
    assert visitor.get("/view").json() == {"session": {"some": ["data"]}}
    assert visitor.post("/clear").json() == {"session": {}}
    assert visitor.get("/view").json() == {"session": {}}


def test_a_cookie_for_the_test_client_is_for_it_alone() -> None:
    """On ``http://testserver`` the cookie has no prefix and no ``Secure``; on any other host it has both."""
    sent = client(secret_key="example").post("/write", json={"a": 1}).headers["set-cookie"]
    assert sent.startswith("session=")
    assert parse(sent).flags == {"path": "/", "httponly": "", "samesite": "Lax"}
    sent = client("http://shop.example", secret_key="example").post("/write", json={"a": 1}).headers["set-cookie"]
    assert sent.startswith("__Host-session=")
    assert parse(sent).flags == {"path": "/", "secure": "", "httponly": "", "samesite": "Lax"}


def test_the_arguments_are_honoured(caplog: pytest.LogCaptureFixture) -> None:
    """Each of Starlette's arguments shapes the cookie as it says; what is weaker than Sojourn's defaults is warned of
    when the application starts."""
    visitor = client(
        "https://shop.example",
        secret_key="example",
        session_cookie="shop",
        max_age=1800,
        path="/",
        same_site="strict",
        https_only=True,
        domain="shop.example",
    )
    cookie = parse(visitor.post("/write", json={"a": 1}).headers["set-cookie"])
    assert cookie.name == "shop"
    assert cookie.flags == {"domain": "shop.example", "path": "/", "secure": "", "httponly": "", "samesite": "Strict"}
    assert 1740 < (cookie.max_age or 0) <= 1800
    warned = [record.getMessage() for record in caplog.records if "weaker" in record.getMessage()]
    assert len(warned) == 2
    assert "every subdomain can read and set the cookie" in warned[0]
    assert "its name has no prefix" in warned[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"https_only": False}, "over plain http"),
        ({"same_site": "none"}, "other sites' requests"),
        ({"max_age": 14 * 86400}, "a session lives for 1209600 seconds without activity, in place of 1800"),
        ({"session_cookie": "shop"}, "no prefix"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_weaker_is_warned_of(arguments: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture) -> None:
    """An argument that makes a session weaker than Sojourn's default is honoured, and logged at the start."""
    SessionMiddleware(Starlette(), store="memory://", **arguments)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert said in caplog.text


def test_what_is_as_strong_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Sojourn's defaults, and what is stricter, are silent."""
    SessionMiddleware(Starlette(), store="memory://")
    SessionMiddleware(Starlette(), "secret", max_age=None, same_site="strict", https_only=True, store="memory://")
    SessionMiddleware(Starlette(), "secret", max_age=900, path="/", store="memory://")
    assert caplog.text == ""


def test_the_age_is_that_of_the_session_and_of_its_cookie() -> None:
    """``max_age`` is how long a session lasts, and its cookie; zero and less are over at once; None ends the cookie
    with the browser."""
    sent = client(secret_key="example", max_age=1209600).post("/write", json={"a": 1}).headers["set-cookie"]
    assert 1209540 < (parse(sent).max_age or 0) <= 1209600
    sent = client(secret_key="example", max_age=None).post("/write", json={"a": 1}).headers["set-cookie"]
    assert parse(sent).max_age is None
    for age in (0, -1):
        visitor = client(secret_key="example", max_age=age)
        sent = visitor.post("/write", json={"a": 1}).headers["set-cookie"]
        assert parse(sent).max_age == 0
        assert visitor.get("/view", headers={"Cookie": sent.partition(";")[0]}).json() == {"session": {}}


def test_https_only_holds_for_test_clients_too() -> None:
    """Where the application itself asks for https, the test client keeps no session without it, as with Starlette's
    own."""
    visitor = client(secret_key="example", https_only=True)
    assert visitor.post("/write", json={"a": 1}).headers["set-cookie"].startswith("__Host-session=")
    assert visitor.get("/view").json() == {"session": {}}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"same_site": "none", "https_only": False}, "needs Secure"),
        ({"partitioned": True}, "samesite"),
        ({"session_cookie": "a cookie"}, "no cookie name"),
        ({"manager": AsyncSessionManager(), "max_age": 60}, "set them on yours"),
        ({"secret_key": AsyncSessionManager()}, "by its name"),
    ],
    ids=["none without https", "partitioned without none", "name", "two ages", "manager in place of the key"],
)
def test_what_cannot_work_is_refused_at_the_start(arguments: dict[str, Any], said: str) -> None:
    """Arguments that browsers would not take, or that contradict each other, are refused when the application
    starts."""
    with pytest.raises(ConfigurationError, match=said):
        SessionMiddleware(Starlette(), **arguments)


def test_without_a_store_it_warns(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Where nobody says where sessions are kept, it is the memory of the process, and a line says so; the environment
    may say it."""
    monkeypatch.delenv("SOJOURN_STORE", raising=False)
    SessionMiddleware(Starlette(), "secret")
    assert "in the memory of this process alone" in caplog.text
    caplog.clear()
    monkeypatch.setenv("SOJOURN_STORE", f"sqlite:///{tmp_path}/sessions.db")
    with TestClient(Starlette(routes=ROUTES, middleware=[Middleware(SessionMiddleware, "secret")])) as visitor:
        visitor.post("/write", json={"a": 1})
    with TestClient(Starlette(routes=ROUTES, middleware=[Middleware(SessionMiddleware, "secret")])) as again:
        again.cookies = visitor.cookies
        assert again.get("/view").json() == {"session": {"a": 1}}
    assert [record for record in caplog.records if record.name == "sojourn"] == []


# --- request.session --------------------------------------------------------------------------------------------------


def test_what_starlettes_session_can_be_asked() -> None:
    """``accessed`` and ``modified`` are told as Starlette's session tells them, and its two marks can be set."""

    def handler(session: ASGISession) -> Any:
        told = [session.accessed, session.modified]
        session["a"] = {"b": 1}
        told.append(session.modified)
        session.mark_accessed()
        session.mark_modified()
        return told

    assert at_work(handler) == [True, False, True]


def test_a_look_is_no_change_and_a_nested_change_is_one() -> None:
    """``modified`` after each method of a dict: those that only look leave it False."""
    changes: list[Callable[[Any], Any]] = [
        lambda session: session.pop("a"), lambda session: session.popitem(), lambda session: session.setdefault("n", 1),
        lambda session: session.update(n=1), lambda session: session.__ior__({"n": 1}),
        lambda session: session.__delitem__("a"), lambda session: session["list"].append(1),
    ]  # fmt: skip
    looks: list[Callable[[Any], Any]] = [
        lambda session: session.get("a"), lambda session: session.pop("none", None), lambda session: dict(session),
        lambda session: session.setdefault("a", 5), lambda session: json.dumps(session), lambda session: session.copy(),
        lambda session: session | {"n": 1}, lambda session: list(reversed(session)), lambda session: session["list"],
    ]  # fmt: skip
    found: list[bool] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        session: Any = request.session
        for look in looks:
            look(session)
        found.append(session.modified)
        changes[int(request.query_params["n"])](session)
        found.append(session.modified)
        session.discard()
        return PlainTextResponse("ok")

    visitor = client(routes=[Route("/", endpoint), *ROUTES])
    visitor.post("/write", json={"a": 1, "list": []})
    for number in range(len(changes)):
        visitor.get("/", params={"n": number})
    assert found == [False, True] * len(changes)


def test_a_session_is_a_dict_for_those_who_ask() -> None:
    """What takes dicts alone takes a session: ``json.dumps``, ``isinstance``, ``|``, ``**``, ``==``; and what it makes
    of it is a plain dict, with the fields as they are now."""

    def handler(session: Any) -> Any:
        session["a"] = 1
        session |= {"b": [2]}
        made = [json.loads(json.dumps(session)), json.loads(json.dumps(session, indent=1)), session | {}, {} | session]
        made += [{**session}, dict(session), session.copy(), dict(session.items())]
        assert all(type(one) is dict for one in made)
        assert isinstance(session, dict)
        assert session == {"a": 1, "b": [2]}
        assert session != {"a": 1}
        assert session | {"a": 3} == {"a": 3, "b": [2]}
        assert {"a": 3} | session == {"a": 1, "b": [2]}
        assert list(reversed(session)) == ["b", "a"]
        assert session.popitem() == ("b", [2])
        session.pop("a")
        assert not session
        assert json.dumps({"session": session}) == '{"session": {}}'
        with pytest.raises(KeyError):
            session.popitem()
        return made

    assert at_work(handler) == [{"a": 1, "b": [2]}] * 8


def test_who_reads_the_dict_past_its_methods_fails() -> None:
    """Code that reads the memory of a dict, and not its methods, finds no empty session there: it fails."""

    def handler(session: Any) -> Any:
        session["a"] = 1
        with pytest.raises(TypeError):
            msgspec.json.encode(session)
        return True

    assert at_work(handler)


# --- The documentation's examples, and what others build on the session -----------------------------------------------


def test_a_login_that_keeps_the_user_in_the_session() -> None:
    """What login libraries do (a state that is set before a redirect and taken out after it, the user in a field,
    ``pop`` at the sign-out) works as with a dict."""

    async def leave(request: Request) -> RedirectResponse:
        request.session["_state_idp_x1"] = {"data": {"redirect_uri": "/back"}, "exp": 1e10}
        return RedirectResponse("/back")

    async def back(request: Request) -> RedirectResponse:
        for key in [key for key in request.session if key.startswith("_state_")]:
            request.session.pop(key)
        request.session["user"] = {"name": "Ada", "groups": ["a"]}
        return RedirectResponse("/")

    async def home(request: Request) -> PlainTextResponse:
        user = request.session.get("user")
        return PlainTextResponse(json.dumps(user) if user else "nobody")

    async def leave_for_good(request: Request) -> RedirectResponse:
        request.session.pop("user", None)
        return RedirectResponse("/")

    routes = [Route("/login", leave), Route("/back", back), Route("/", home), Route("/logout", leave_for_good)]
    visitor = client(routes=routes, secret_key="some-random-string")
    assert visitor.get("/").text == "nobody"
    assert visitor.get("/login").json() == {"name": "Ada", "groups": ["a"]}
    assert visitor.get("/logout").text == "nobody"


def test_an_application_under_another_has_its_own_cookie() -> None:
    """A mounted application with a middleware of its own, and a path, has its own session beside the outer one's."""
    inner = Starlette(
        routes=ROUTES, middleware=[Middleware(SessionMiddleware, "key", session_cookie="inner", path="/in")]
    )
    visitor = client(routes=[*ROUTES, Mount("/in", app=inner)], secret_key="key")
    visitor.post("/write", json={"who": "outer"})
    visitor.post("/in/write", json={"who": "inner"})
    assert visitor.get("/view").json() == {"session": {"who": "outer"}}
    assert visitor.get("/in/view").json() == {"session": {"who": "inner"}}
    assert visitor.cookies.get("inner", path="/in")


def test_sockets_of_the_test_client() -> None:
    """The test client's WebSockets have the visitor's session, one after another, and the next request sees what they
    wrote."""

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            websocket.session.setdefault("said", []).append(text)
            await websocket.send_text("ok")

    visitor = client(routes=[*ROUTES, WebSocketRoute("/talk", talk)], secret_key="key")
    visitor.post("/write", json={"said": []})
    for word in ("one", "two"):
        with visitor.websocket_connect("/talk") as socket:
            socket.send_text(word)
            assert socket.receive_text() == "ok"
    assert visitor.get("/view").json() == {"session": {"said": ["one", "two"]}}


def test_devices_can_be_listed_and_ended() -> None:
    """``device_routes`` lists the user's devices, ends one, ends all others, and refuses what is none of that."""
    manager = AsyncSessionManager(MemoryStore(), config=SessionConfig())

    async def sign_in(request: Request) -> PlainTextResponse:
        session: Any = request.session
        login(session, "ada", label=request.query_params["label"])
        return PlainTextResponse(csrf_token(session))

    app = Starlette(
        routes=[Route("/sign-in", sign_in), Mount("/devices", app=device_routes(manager))],
        middleware=[Middleware(SessionMiddleware, manager=manager)],
    )
    laptop, phone, tablet = (TestClient(app) for _ in range(3))
    assert laptop.get("/devices").status_code == 401
    for visitor, label in ((laptop, "laptop"), (phone, "phone"), (tablet, "tablet")):
        visitor.get("/sign-in", params={"label": label})
    listed = laptop.get("/devices").json()
    token = {"X-CSRF-Token": listed["csrf_token"]}
    handles = {device["label"]: device["handle"] for device in listed["devices"]}
    assert [device["label"] for device in listed["devices"] if device["current"]] == ["laptop"]
    assert laptop.delete(f"/devices/{handles['phone']}").status_code == 403
    assert laptop.delete(f"/devices/{handles['phone']}", headers=token).json() == {"ended": 1}
    assert laptop.delete(f"/devices/{handles['phone']}", headers=token).status_code == 404
    assert phone.get("/devices").status_code == 401
    assert laptop.delete("/devices", headers=token).json() == {"ended": 1}
    assert tablet.get("/devices").status_code == 401
    assert len(laptop.get("/devices").json()["devices"]) == 1
    refused = laptop.post("/devices")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, DELETE")
