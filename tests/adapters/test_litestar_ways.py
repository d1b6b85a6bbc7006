"""What Litestar's users are used to: its test client, ``set_session`` and ``clear_session``, `SessionAuth`, guards,
messages to flash, dependencies, exclusions, its own settings, its error handling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pydantic
import pytest
from litestar import Litestar, Request, Response, delete, get, post
from litestar.background_tasks import BackgroundTask
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware
from litestar.plugins.flash import FlashConfig, FlashPlugin, flash
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.security.session_auth import SessionAuth
from litestar.template import TemplateConfig
from litestar.testing import TestClient
from litestar.types import Empty

from browser import parse
from sojourn import AsyncSessionManager, ConfigurationError, CookieConfig, SessionConfig, SessionManager, TooLarge
from sojourn.adapters.litestar import LitestarSession, SojournSessionConfig, device_routes, session_of
from sojourn.tickets import redeem, ticket
from sojourn.users import login, logout

AnyRequest = Request[Any, Any, Any]


class Site:
    """An application with one handler, ``/``, that does what a test wants done, and a client of it."""

    def __init__(self, manager: AsyncSessionManager | None = None, **settings: Any) -> None:
        self.manager = manager or AsyncSessionManager()
        self.config = SojournSessionConfig(self.manager, **settings)
        self.work: Any = None
        self.options: dict[str, Any] = {}

    def client(self, *handlers: Any) -> TestClient[Litestar]:
        """A client with a cookie jar of its own. (Each has a loop of its own, which memory does not mind.)"""

        @get("/", sync_to_thread=False)
        def work(request: AnyRequest) -> Any:
            return self.work(request)

        options = {"middleware": [self.config.middleware], "logging_config": None, **self.options}
        app = Litestar([work, *handlers], **options)
        return TestClient(app, session_config=self.config, raise_server_exceptions=False)

    def do(self, client: TestClient[Litestar], work: Any, **kwargs: Any) -> Any:
        self.work = work
        return client.get("/", **kwargs)

    @property
    def held(self) -> list[dict[str, Any]]:
        """What is in each of the sessions that there are."""

        async def look() -> list[dict[str, Any]]:
            rows = await self.manager.list_sessions()
            return [await self.manager.get_session(row.handle) or {} for row in rows]

        return asyncio.run(look())

    @property
    def users(self) -> list[str | None]:
        """Whose they are."""
        return [row.user_id for row in asyncio.run(self.manager.list_sessions())]


@pytest.fixture
def site() -> Site:
    """A site with the default settings."""
    return Site()


def put(**fields: Any) -> Any:
    def work(request: AnyRequest) -> None:
        request.session.update(fields)

    return work


def set_session(value: Any) -> Any:
    def work(request: AnyRequest) -> None:
        request.set_session(value)

    return work


def look(request: AnyRequest) -> dict[str, Any]:
    return dict(request.session)


# --- The test client, set_session and clear_session -------------------------------------------------------------------


def test_the_test_client_keeps_the_session(site: Site) -> None:
    """Litestar's test client, which speaks plain http, keeps the cookie; what it looks at and what it prepares are the
    session's own fields."""
    with site.client() as client:
        assert client.get_session_data() == {}
        site.do(client, put(name="Ada"))
        assert client.get_session_data() == {"name": "Ada"}
        client.set_session_data({"name": "Bob", "n": 1})
        assert site.do(client, look).json() == {"name": "Bob", "n": 1}
        client.set_session_data(Empty)  # type: ignore[arg-type]
        assert (client.get_session_data(), site.held) == ({}, [])
    with site.client() as client:
        client.set_session_data({"name": "Eve"})
        assert site.do(client, look).json() == {"name": "Eve"}


@dataclass
class Cart:
    items: list[str]


class Basket(msgspec.Struct):
    items: list[str]


class Trolley(pydantic.BaseModel):
    items: list[str]


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({"a": {1, 2}, "b": None}, {"a": {1, 2}, "b": None}),
        (Cart(["tea"]), {"items": ["tea"]}),
        (Basket(["tea"]), {"items": ["tea"]}),
        (Trolley(items=["tea"]), {"items": ["tea"]}),
        ({}, {}),
    ],
    ids=["dict", "dataclass", "struct", "pydantic", "empty"],
)
def test_set_session_replaces_what_is_in_the_session(site: Site, value: Any, fields: dict[str, Any]) -> None:
    """``set_session`` leaves nothing of what was there, keeps the types of a dict's values, takes a model as its
    fields, and leaves the cookie alone; who looks at ``request.session`` in the same request finds what was set."""
    with site.client() as client:
        site.do(client, put(old=1))
        response = site.do(client, lambda request: (request.set_session(value), request.session is value)[1])
        assert (response.json(), response.headers.get("set-cookie"), site.held) == (True, None, [fields])


def test_set_session_keeps_what_others_add(site: Site) -> None:
    """What another request adds while ``set_session`` is under way stays, and a value that is handed back as it was is
    no assignment: both writers' nested changes are kept."""
    with site.client() as client:
        site.do(client, put(cart=["tea"], old=1))
        handle = asyncio.run(site.manager.list_sessions())[0].handle

        def work(request: AnyRequest) -> None:
            async def meanwhile() -> None:
                async with site.manager.session(handle) as other:
                    other["other"] = True
                    other["cart"].append("milk")

            cart = request.session["cart"]
            cart.append("rice")
            asyncio.run(meanwhile())
            request.set_session({"cart": cart})

        @get("/replace", sync_to_thread=True)
        def replace(request: AnyRequest) -> None:
            work(request)

        with site.client(replace) as other:
            other.cookies.update(client.cookies)
            assert other.get("/replace").status_code == 200
        (left,) = site.held
        assert (sorted(left.pop("cart")), left) == (["milk", "rice", "tea"], {"other": True})


def test_clear_session_ends_the_session(site: Site) -> None:
    """``clear_session`` ends the session at the server and clears the cookie; a visitor who has none gets no record and
    no cookie."""
    with site.client() as client:
        assert site.do(client, AnyRequest.clear_session).headers.get("set-cookie") is None
        site.do(client, put(name="Ada"))
        response = site.do(client, lambda request: request.clear_session())
        assert parse(response.headers["set-cookie"]).max_age == 0
        assert (site.held, dict(client.cookies)) == ([], {})


@pytest.mark.parametrize("how", ["clear_session", "Empty", "logout"])
def test_what_is_set_after_the_end_is_in_another_session(site: Site, how: str) -> None:
    """What is set after ``clear_session``, or after a sign-out, in the same request is in another session, under
    another id, and nobody is signed in there."""
    with site.client() as client:
        site.do(client, lambda request: (login(session_of(request), "ada"), request.session.update(a=1))[1])
        before = client.cookies["session"]

        def work(request: AnyRequest) -> None:
            if how == "logout":
                logout(session_of(request))
            else:
                request.clear_session() if how == "clear_session" else request.set_session(Empty)
            if how != "Empty":
                request.set_session({"b": 2})

        site.do(client, work)
        if how == "Empty":
            site.do(client, set_session({"b": 2}))
        assert (site.held, site.users) == ([{"b": 2}], [None])
        assert client.cookies["session"].split(".")[0] != before.split(".")[0]


def test_get_session_id_is_the_public_name(site: Site) -> None:
    """``request.get_session_id()`` is the handle, which is safe to log, and None for who has no session."""
    with site.client() as client:
        assert site.do(client, lambda request: {"id": request.get_session_id()}).json() == {"id": None}
        site.do(client, put(a=1))
        found = site.do(client, lambda request: {"id": request.get_session_id()}).json()["id"]
        assert found == client.cookies["session"].split(".")[0]


# --- Signing in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["set_session", "field"])
def test_signing_in_as_litestar_documents_it_rotates(site: Site, how: str) -> None:
    """``set_session({"user_id": ...})``, and ``session["user_id"] = ...``, sign in: an id that somebody planted is dead
    afterwards, and the session is listed as the user's."""
    with site.client() as attacker, site.client() as victim:
        site.do(attacker, put(planted=True))
        victim.cookies.update(attacker.cookies)
        site.do(victim, set_session({"user_id": 7}) if how == "set_session" else put(user_id=7))
        assert site.do(attacker, look).json() == {}
        assert site.do(victim, look).json()["user_id"] == 7
        assert site.users == ["7"]
        before = victim.cookies["session"]
        site.do(victim, set_session({"user_id": 7, "n": 1}))  # the same user: no other sign-in
        assert victim.cookies["session"] == before


def test_another_user_finds_nothing_of_the_one_before(site: Site) -> None:
    """A sign-in over a session of another user leaves nothing of that one, but what the request itself put in."""
    with site.client() as client:
        site.do(client, put(user_id="ada", diary="mine"))
        before = client.cookies["session"]
        site.do(client, put(user_id="bob", seen=True))
        assert (site.held, site.users) == ([{"user_id": "bob", "seen": True}], ["bob"])
        assert client.cookies["session"] != before


def test_who_is_named_no_more_is_signed_out(site: Site) -> None:
    """Taking the field out signs out: the id is dead, and what is left goes on under another."""
    with site.client() as client, site.client() as thief:
        site.do(client, put(user_id="ada", theme="dark"))
        thief.cookies.update(client.cookies)
        site.do(client, lambda request: request.session.pop("user_id"))
        assert (site.held, site.users) == ([{"theme": "dark"}], [None])
        assert site.do(thief, look).json() == {}
        assert site.do(client, look).json() == {"theme": "dark"}


@pytest.mark.parametrize("value", [True, "", {"a": 1}, 1.5], ids=repr)
def test_what_names_nobody_signs_nobody_in(site: Site, value: Any) -> None:
    """A value that is no id of a user signs nobody in."""
    with site.client() as client:
        site.do(client, put(user_id=value))
        assert (site.held, site.users) == ([{"user_id": value}], [None])


def test_login_goes_before_the_field() -> None:
    """After `login` in the same request the field is a field like any other; with ``user_key=None`` it always is, and
    another name may take its place."""
    for settings, user in (({}, "ada"), ({"user_key": None}, None), ({"user_key": "id"}, "9")):
        site = Site(**settings)
        with site.client() as client:

            def work(request: AnyRequest, named: Any = user) -> None:
                if named == "ada":
                    login(session_of(request), "ada")
                request.session.update(user_id=7, id=9)

            site.do(client, work)
            assert site.users == [user]


def test_the_same_name_again_is_no_sign_in(site: Site) -> None:
    """A field that is put in again as it was signs nobody in, though it is not the name that `login` was told."""

    def work(request: AnyRequest) -> None:
        login(session_of(request), "ada")
        request.session["user_id"] = 7

    with site.client() as client:
        site.do(client, work)
        before = client.cookies["session"]
        site.do(client, put(user_id=7))
        assert (site.users, client.cookies["session"]) == (["ada"], before)


def test_set_session_keeps_the_tickets_of_sockets(site: Site) -> None:
    """A ticket that a page has been given opens its socket, though the session is set anew meanwhile."""
    with site.client() as client:
        site.do(client, put(a=1))
        given = site.do(client, lambda request: ticket(session_of(request))).text
        site.do(client, set_session({"b": 2}))
        session = asyncio.run(redeem(site.manager, given))
        assert session["b"] == 2


async def retrieve_user(session: dict[str, Any], connection: ASGIConnection[Any, Any, Any, Any]) -> Any:
    return {"name": session.get("user_id")} if session.get("user_id") != "nobody" else None


def authenticated(site: Site, retrieve: Any = retrieve_user) -> TestClient[Litestar]:
    auth = SessionAuth[Any, Any](
        retrieve_user_handler=retrieve, session_backend_config=site.config, exclude=["/login", "/schema"]
    )

    @post("/login", sync_to_thread=False)
    def sign_in(request: AnyRequest) -> None:
        request.set_session({"user_id": request.query_params["name"]})

    @post("/login/helper", sync_to_thread=False)
    def sign_in_by_helper(request: AnyRequest) -> None:
        login(session_of(request), "ada", label="phone")

    @get("/user", sync_to_thread=False)
    def user(request: AnyRequest) -> Any:
        return {**request.user, "auth is the session": request.auth is request.session}

    @delete("/user", sync_to_thread=False)
    def leave(request: AnyRequest) -> None:
        request.clear_session()

    app = Litestar(
        [sign_in, sign_in_by_helper, user, leave, device_routes(site.config)],
        on_app_init=[auth.on_app_init],
        logging_config=None,
    )
    return TestClient(app, session_config=site.config)


def test_session_auth_end_to_end(site: Site) -> None:
    """Litestar's `SessionAuth`: strangers get 401 and no record; who signs in is the user, until they leave; a session
    of a user who is no more ends, as it does there. The OpenAPI schema names our cookie."""
    with authenticated(site) as client:
        response = client.get("/user")
        assert (response.status_code, response.headers.get("set-cookie"), site.held) == (401, None, [])
        assert client.post("/login?name=ada").status_code == 201
        assert client.get("/user").json() == {"name": "ada", "auth is the session": True}
        assert site.users == ["ada"]
        assert client.delete("/user").status_code == 204
        assert (client.get("/user").status_code, site.held) == (401, [])
        client.post("/login?name=nobody")
        assert len(site.held) == 1
        response = client.get("/user")
        assert (response.status_code, parse(response.headers["set-cookie"]).max_age, site.held) == (401, 0, [])
        schemes = client.get("/schema/openapi.json").json()["components"]["securitySchemes"]
        assert schemes["sessionCookie"]["name"] == "__Host-session"


def test_session_auth_knows_who_signed_in_by_login(site: Site) -> None:
    """A session with a user and nothing in it is no empty one for `SessionAuth`, and tells its handler who it is."""

    def retrieve(session: Any, connection: Any) -> Any:
        return {"name": session.user_id}

    with authenticated(site, retrieve) as client:
        assert client.post("/login/helper").status_code == 201
        assert client.get("/user").json()["name"] == "ada"


def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if "user" not in connection.session:
        raise NotAuthorizedException


class Authentication(AbstractAuthenticationMiddleware):
    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        connection.session["looked"] = True
        return AuthenticationResult(user=connection.session.get("user"), auth=connection.session)


def test_guards_and_authentication_have_the_session(site: Site) -> None:
    """``connection.session`` in a guard, and in a middleware of `AbstractAuthenticationMiddleware`'s kind, is the
    session: what is put in there is committed, though the guard refuses."""

    @get("/guarded", guards=[guard], sync_to_thread=False)
    def guarded(request: AnyRequest) -> Any:
        return request.user

    site.options = {"middleware": [site.config.middleware, DefineMiddleware(Authentication)]}
    with site.client(guarded) as client:
        assert client.get("/guarded").status_code == 401
        assert site.held == [{"looked": True}]
        site.do(client, put(user="ada"))
        assert client.get("/guarded").text == "ada"


def test_devices_can_be_listed_and_ended(site: Site) -> None:
    """``device_routes`` lists the user's devices and ends them, for who is signed in and has the token of the list."""
    with authenticated(site) as phone, authenticated(site) as laptop:
        assert phone.get("/devices").status_code == 401
        phone.post("/login?name=ada")
        laptop.post("/login?name=ada")
        listed = laptop.get("/devices").json()
        assert [row["current"] for row in listed["devices"]].count(True) == 1
        assert "no-store" in laptop.get("/devices").headers["cache-control"]
        other = next(row["handle"] for row in listed["devices"] if not row["current"])
        token = {"X-CSRF-Token": listed["csrf_token"]}
        assert laptop.delete(f"/devices/{other}").status_code == 403
        assert laptop.delete(f"/devices/{'x' * 22}", headers=token).status_code == 404
        assert laptop.delete(f"/devices/{other}", headers=token).json() == {"ended": 1}
        assert phone.get("/user").status_code == 401
        phone.post("/login?name=ada")
        assert laptop.delete("/devices", headers=token).json() == {"ended": 1}
        assert (phone.get("/user").status_code, laptop.get("/user").status_code) == (401, 200)


# --- Flash, dependencies, exclusions ---------------------------------------------------------------------------------


def test_messages_flash(site: Site, tmp_path: Path) -> None:
    """Litestar's flash messages are shown once, and who only looks at an empty page gets no record."""
    (tmp_path / "page.html").write_text(
        "{% for message in get_flashes() %}{{ message.category }}: {{ message.message }}{% endfor %}"
    )
    template = TemplateConfig(directory=tmp_path, engine=JinjaTemplateEngine)
    site.options = {"template_config": template, "plugins": [FlashPlugin(FlashConfig(template))]}

    @get("/page", sync_to_thread=False)
    def page() -> Template:
        return Template("page.html")

    with site.client(page) as client:
        assert (client.get("/page").text, site.held) == ("", [])
        site.do(client, lambda request: flash(request, "Saved.", "success"))
        assert client.get("/page").text == "success: Saved."
        assert client.get("/page").text == ""


def provide_session(request: AnyRequest) -> LitestarSession:
    return session_of(request)


def test_the_session_can_be_a_dependency(site: Site) -> None:
    """A dependency may provide the session itself, typed."""

    @get("/count", dependencies={"session": Provide(provide_session, sync_to_thread=False)}, sync_to_thread=False)
    def count(session: NamedDependency[LitestarSession]) -> int:
        session.update("n", lambda n: (n or 0) + 1)
        return int(session["n"])

    with site.client(count) as client:
        assert [client.get("/count").json() for _ in range(3)] == [1, 2, 3]


def test_what_is_no_session_is_not_taken_for_one(site: Site) -> None:
    """`session_of` refuses what `set_session` has put in the session's place, as it has nothing of a session."""

    def work(request: AnyRequest) -> str:
        request.set_session({"a": 1})
        with pytest.raises(ConfigurationError, match="dict"):
            session_of(request)
        return "refused"

    with site.client() as client:
        assert site.do(client, work).text == "refused"


@pytest.mark.parametrize("how", ["path", "option", "own option", "scopes"])
def test_what_is_excluded_has_no_session(how: str) -> None:
    """Excluded paths and handlers, and connections of another kind than the scopes name, cost no look into the store,
    and there is no session there."""
    every: dict[str, dict[str, Any]] = {
        "path": {"exclude": ["north"]},
        "option": {},
        "own option": {"exclude_opt_key": "bare"},
        "scopes": {"scopes": {"websocket"}},
    }
    site = Site(**every[how])
    options: dict[str, Any] = {"option": {"skip_session": True}, "own option": {"bare": True}}

    @get("/north", sync_to_thread=False, **options.get(how, {}))
    def north(request: AnyRequest) -> bool:
        return "session" in request.scope

    with site.client(north) as client:
        assert client.get("/north").json() is False
        if how != "scopes":
            assert site.do(client, lambda request: "session" in request.scope).json() is True


# --- Settings --------------------------------------------------------------------------------------------------------


def test_litestars_settings_win(caplog: pytest.LogCaptureFixture) -> None:
    """What Litestar's own settings say of the cookie wins over the configuration, what they do not say is as there, and
    a warning at the start names what is weaker."""
    manager = AsyncSessionManager(config=SessionConfig(cookie=CookieConfig(name="other", samesite="Strict")))
    with caplog.at_level(logging.WARNING, "sojourn"):
        config = SojournSessionConfig(manager, key="sid", path="/app", secure=False, httponly=False, max_age=3600)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "a session lives for 3600 seconds without activity, in place of 1800, and its cookie outlives the browser",
        "the cookie goes over plain http",
        "scripts can read the cookie",
    ]
    assert (config.key, config.path, config.samesite, config.max_age) == ("sid", "/app", "strict", 3600)
    assert (config.secure, config.httponly, config.domain) == (False, False, None)
    caplog.clear()
    plain = SojournSessionConfig(AsyncSessionManager(), key="__Host-sid", secure=True, samesite="lax")
    assert (plain.key, caplog.records) == ("__Host-sid", [])
    with pytest.raises(ConfigurationError, match="prefix"):
        SojournSessionConfig(AsyncSessionManager(), key="__Http-sid")


def test_the_cookie_is_what_the_settings_say() -> None:
    """The cookie goes out with the name, the path and the age that the settings say; the session is over when that age
    is, and signing in begins it anew."""
    now = [1_000_000.0]
    site = Site(AsyncSessionManager(clock=lambda: now[0]), key="sid", path="/", max_age=600)
    with site.client() as client:
        response = site.do(client, put(a=1), headers={"host": "shop.example"})
        cookie = parse(response.headers["set-cookie"])
        assert (cookie.name, cookie.max_age, "secure" in cookie.attributes) == ("sid", 600, True)
        sent = {"host": "shop.example", "cookie": f"sid={cookie.value}"}
        now[0] += 500
        response = site.do(client, put(user_id=7), headers=sent)
        cookie = parse(response.headers["set-cookie"])
        assert cookie.max_age == 600
        sent["cookie"] = f"sid={cookie.value}"
        now[0] += 599
        assert site.do(client, look, headers=sent).json() == {"a": 1, "user_id": 7}
        now[0] += 2
        assert site.do(client, look, headers=sent).json() == {}


def test_remember_me_goes_before_the_age() -> None:
    """Who signs in without "remember me" has a cookie that ends with the browser, whatever ``max_age`` says of its age;
    with it, the age is that."""
    site = Site(AsyncSessionManager(clock=lambda: 1_000_000.0), max_age=600)
    with site.client() as client:
        for remember, age in ((False, None), (True, 600)):

            def work(request: AnyRequest, remember: bool = remember) -> None:
                login(session_of(request), "ada", remember=remember)

            assert parse(site.do(client, work).headers["set-cookie"]).max_age == age


@pytest.mark.parametrize("manager", ["memory://", SessionManager(), None], ids=["URL", "blocking", "None"])
def test_a_manager_of_the_wrong_kind_is_refused(manager: Any) -> None:
    """Anything but an asynchronous manager is refused at the start, and so is an age that ends before it begins."""
    with pytest.raises(ConfigurationError, match="AsyncSessionManager"):
        SojournSessionConfig(manager)
    with pytest.raises(ConfigurationError, match="max_age"):
        SojournSessionConfig(AsyncSessionManager(), max_age=0)


def test_the_manager_closes_with_the_application(site: Site, tmp_path: Path) -> None:
    """``lifespan=[manager]`` closes the manager, its files and threads, when the application shuts down."""
    site = Site(AsyncSessionManager(f"sqlite:///{tmp_path}/sessions.db"))
    site.options = {"lifespan": [site.manager]}
    with site.client() as client:
        site.do(client, put(a=1))
        assert site.do(client, look).json() == {"a": 1}
    with SessionManager(f"sqlite:///{tmp_path}/sessions.db") as manager:
        assert len(manager.list_sessions()) == 1


# --- What raises, and what comes late --------------------------------------------------------------------------------


class Foreseen(Exception):
    pass


def answer_foreseen(request: AnyRequest, error: Exception) -> Response[str]:
    request.session["answered"] = True
    return Response("foreseen", status_code=400)


def answer_too_large(request: AnyRequest, error: Exception) -> Response[str]:
    return Response("too large", status_code=413)


@pytest.fixture
def failing(site: Site) -> Iterator[tuple[Site, TestClient[Litestar]]]:
    """A visitor with something in the session, of a site that foresees two kinds of errors."""
    site.options = {"exception_handlers": {Foreseen: answer_foreseen, TooLarge: answer_too_large}}
    with site.client() as client:
        site.do(client, put(a=1))
        yield site, client


def raises(error: BaseException) -> Any:
    def work(request: AnyRequest) -> None:
        request.session["b"] = 2
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "left"),
    [
        (ValueError(), 500, {"a": 1}),
        (HTTPException(status_code=403), 403, {"a": 1, "b": 2}),
        (HTTPException(status_code=503), 503, {"a": 1, "b": 2}),
        (Foreseen(), 400, {"a": 1, "b": 2, "answered": True}),
    ],
    ids=["unforeseen", "403", "503", "foreseen"],
)
def test_what_raises_commits_as_far_as_it_was_foreseen(
    failing: tuple[Site, TestClient[Litestar]], error: BaseException, status: int, left: dict[str, Any]
) -> None:
    """An exception that is a response, or that the application has a handler for, commits; what nobody foresaw commits
    nothing."""
    site, client = failing
    assert site.do(client, raises(error)).status_code == status
    assert site.held == [left]


def test_an_error_around_the_application_is_none_of_its(failing: tuple[Site, TestClient[Litestar]]) -> None:
    """A 500 that the application responds with, and an application that is run while somebody handles an exception, are
    responses like any other."""
    site, client = failing
    assert site.do(client, lambda request: (put(b=2)(request), Response("", status_code=500))[1]).status_code == 500
    site.work = lambda request: (put(c=3)(request), Response("", status_code=500))[1]

    async def serve_while_something_is_handled() -> None:
        transport, cookie = httpx.ASGITransport(client.app), f"session={client.cookies['session']}"
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver.local") as other:
            try:
                raise ValueError
            except ValueError:
                assert (await other.get("/", headers={"cookie": cookie})).status_code == 500

    asyncio.run(serve_while_something_is_handled())
    assert site.held == [{"a": 1, "b": 2, "c": 3}]


def test_what_cannot_be_kept_is_the_applications_to_answer(failing: tuple[Site, TestClient[Litestar]]) -> None:
    """What the commit refuses is raised into Litestar's error handling, which may respond in its own way; nothing is
    stored of that request, and its cookie is left alone."""
    site, client = failing
    response = site.do(client, put(b=2, text="x" * 1_000_000))
    assert (response.status_code, response.text, site.held) == (413, "too large", [{"a": 1}])
    assert site.do(client, set_session({"thing": object()})).status_code == 500
    assert site.held == [{"a": 1}]
    assert site.do(client, put(c=3)).status_code == 200


def test_what_comes_after_the_response_is_kept(site: Site) -> None:
    """What a background task changes, in any of Litestar's ways, is committed when it is done; ``clear_session`` there
    ends the session."""
    with site.client() as client:
        site.do(client, put(a=1))
        for late, left in (
            (lambda request: request.session.update(b=2), [{"a": 1, "b": 2}]),
            (lambda request: request.set_session({"c": 3}), [{"c": 3}]),
            (lambda request: request.clear_session(), []),
        ):

            def work(request: AnyRequest, late: Any = late) -> Response[None]:
                return Response(None, background=BackgroundTask(late, request))

            assert site.do(client, work).status_code == 200
            assert site.held == left


def test_a_cached_response_carries_nobodys_cookie(site: Site) -> None:
    """Litestar's response cache keeps what lies below the session: a visitor's cookie never comes out of it."""

    @get("/cached", cache=True, sync_to_thread=False)
    def cached(request: AnyRequest) -> str:
        request.session["a"] = 1
        return "the same for all"

    with site.client(cached) as client:
        assert "set-cookie" in client.get("/cached").headers
        client.cookies.clear()
        response = client.get("/cached")
        assert (response.text, response.headers.get("set-cookie")) == ("the same for all", None)
        assert len(site.held) == 1
