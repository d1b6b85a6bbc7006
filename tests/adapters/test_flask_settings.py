"""The settings and the extension of Flask and of Quart, which are the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import flask
import pytest
import quart

import sojourn.adapters.flask
import sojourn.adapters.quart
from browser import Cookie, Jar, parse
from sojourn import (
    AsyncSessionManager,
    ConfigurationError,
    CookieConfig,
    SessionConfig,
    SessionManager,
    StoreUnavailable,
)
from sojourn.stores.memory import MemoryStore
from sojourn.testing import Clock
from sojourn.users import login
from worlds import Through

Handler = Callable[[Any], Any]


class Framework:
    """Flask or Quart: an application whose only view does what a test hands in, and a browser on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.adapter: Any = {"flask": sojourn.adapters.flask, "quart": sojourn.adapters.quart}[name]
        self.module: Any = {"flask": flask, "quart": quart}[name]
        self.manager_class: Any = {"flask": SessionManager, "quart": AsyncSessionManager}[name]
        self.clock = Clock()
        self.jar = Jar("localhost", self.clock)
        self._loop = asyncio.new_event_loop()
        self._work: Handler = bool

    def app(self, **settings: Any) -> Any:
        """An application with these settings."""
        app = self.module.Flask(__name__) if self.name == "flask" else self.module.Quart(__name__)
        app.config.update(TESTING=True, **settings)
        if self.name == "flask":
            app.add_url_rule("/", "view", lambda: str(self._work(flask.session)))
        else:

            async def view() -> str:
                return str(self._work(quart.session))

            app.add_url_rule("/", "view", view)
        return app

    def extended(self, *, config: SessionConfig | None = None, store: Any = None, **settings: Any) -> Any:
        """An application with the extension and a manager of the test's clock."""
        app = self.app(**settings)
        manager = self.manager_class(store or "memory://", config=config, clock=self.clock)
        self.adapter.Sojourn(app, manager=manager)
        return app

    def get(self, app: Any, handler: Handler = bool, path: str = "/", **arguments: Any) -> Any:
        """A request over https, its cookies taken."""
        self._work = handler
        headers = dict(arguments.pop("headers", {}))
        if self.jar.header:
            headers["Cookie"] = self.jar.header
        method = arguments.pop("method", "GET")
        client = app.test_client(use_cookies=False)
        if self.name == "flask":
            response = client.open(path, method=method, base_url="https://localhost", headers=headers)
        else:
            response = self.run(client.open(path, method=method, scheme="https", headers=headers))
        response.text_of_it = response.text if self.name == "flask" else self.run(response.get_data(as_text=True))
        self.jar.receive(response.headers.getlist("Set-Cookie"))
        return response

    def cookie(self, app: Any, handler: Handler) -> Cookie:
        """The cookie that a request is answered with."""
        (header,) = self.get(app, handler).headers.getlist("Set-Cookie")
        return parse(header)

    def run(self, operation: Any) -> Any:
        return self._loop.run_until_complete(operation) if asyncio.iscoroutine(operation) else operation

    def close(self) -> None:
        self._loop.close()


@pytest.fixture(params=["flask", "quart"])
def framework(request: pytest.FixtureRequest) -> Iterator[Framework]:
    """Each framework in turn."""
    framework = Framework(request.param)
    yield framework
    framework.close()


def put(session: Any) -> None:
    session["name"] = "Ada"


_FLAGS = {"path": "/", "secure": "", "httponly": "", "samesite": "Lax"}
_SAID: dict[str, tuple[dict[str, Any], str, dict[str, str], int]] = {
    "nothing": ({}, "__Host-session", _FLAGS, 0),
    "name": ({"SESSION_COOKIE_NAME": "sid"}, "sid", _FLAGS, 1),
    "prefixed name": ({"SESSION_COOKIE_NAME": "__Host-sid"}, "__Host-sid", _FLAGS, 0),
    "domain": ({"SESSION_COOKIE_DOMAIN": "localhost"}, "__Secure-session", _FLAGS | {"domain": "localhost"}, 1),
    "path": ({"SESSION_COOKIE_PATH": "/shop"}, "__Secure-session", _FLAGS | {"path": "/shop"}, 0),
    "root": ({"APPLICATION_ROOT": "/shop"}, "__Secure-session", _FLAGS | {"path": "/shop"}, 0),
    "scripts": (
        {"SESSION_COOKIE_HTTPONLY": False},
        "__Host-session",
        {"path": "/", "secure": "", "samesite": "Lax"},
        1,
    ),
    "strict": ({"SESSION_COOKIE_SAMESITE": "Strict"}, "__Host-session", _FLAGS | {"samesite": "Strict"}, 0),
    "lower case": ({"SESSION_COOKIE_SAMESITE": "strict"}, "__Host-session", _FLAGS | {"samesite": "Strict"}, 0),
    "embedded": (
        {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_PARTITIONED": True},
        "__Host-session",
        _FLAGS | {"samesite": "None", "partitioned": ""},
        1,
    ),
    "secure": ({"SESSION_COOKIE_SECURE": True}, "__Host-session", _FLAGS, 0),
    "refresh": ({"SESSION_REFRESH_EACH_REQUEST": False}, "__Host-session", _FLAGS, 0),
}


@pytest.mark.parametrize(("settings", "name", "attributes", "warnings"), _SAID.values(), ids=_SAID)
def test_what_the_framework_s_settings_say_wins(
    framework: Framework,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    name: str,
    attributes: dict[str, str],
    warnings: int,
) -> None:
    """Each of the framework's own settings for the cookie is honoured where it was set, and what is weaker than
    Sojourn's default is told at the start, once."""
    app = framework.extended(**settings)
    assert len(caplog.records) == warnings
    cookie = framework.cookie(app, put)
    assert (cookie.name, cookie.attributes) == (name, attributes)
    framework.get(app)
    assert len(caplog.records) == warnings
    if attributes["path"] == "/":
        assert framework.get(app, lambda session: session["name"]).text_of_it == "Ada"
        cleared = framework.cookie(app, lambda session: session.clear())
        assert (cleared.name, cleared.value, cleared.flags, cleared.max_age) == (name, "", attributes, 0)


def test_where_the_settings_say_nothing_the_configuration_stands(framework: Framework) -> None:
    """The framework's defaults do not touch the cookie of the manager; each setting changes its own attribute only."""
    config = SessionConfig(cookie=CookieConfig(name="sid", samesite="Strict"))
    cookie = framework.cookie(framework.extended(config=config), put)
    assert (cookie.name, cookie.attributes) == ("__Host-sid", _FLAGS | {"samesite": "Strict"})
    framework.jar = Jar("localhost", framework.clock)
    cookie = framework.cookie(framework.extended(config=config, SESSION_COOKIE_SAMESITE="Lax"), put)
    assert (cookie.name, cookie.attributes) == ("__Host-sid", _FLAGS)


def test_secure_wins_over_insecure(framework: Framework) -> None:
    """``SESSION_COOKIE_SECURE=True`` takes ``insecure=True`` of the configuration back."""
    config = SessionConfig(cookie=CookieConfig(insecure=True))
    assert framework.cookie(framework.extended(config=config), put).name == "session"
    framework.jar = Jar("localhost", framework.clock)
    app = framework.extended(config=config, SESSION_COOKIE_SECURE=True)
    assert framework.cookie(app, put).name == "__Host-session"


_IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "no SameSite": ({"SESSION_COOKIE_SAMESITE": "sometimes"}, "samesite"),
    "no name": ({"SESSION_COOKIE_NAME": "a name"}, "cookie name"),
    "no path": ({"SESSION_COOKIE_PATH": "shop"}, "path"),
    "no such prefix here": ({"SESSION_COOKIE_NAME": "__Secure-sid"}, "__Host-sid"),
    "prefix and domain": ({"SESSION_COOKIE_NAME": "__Host-sid", "SESSION_COOKIE_DOMAIN": "a.example"}, "__Secure-sid"),
}


@pytest.mark.parametrize(("settings", "told"), _IMPOSSIBLE.values(), ids=_IMPOSSIBLE)
def test_what_browsers_would_drop_is_refused_at_the_start(
    framework: Framework, settings: dict[str, Any], told: str
) -> None:
    """Settings that make a cookie which browsers do not take are refused by ``init_app``."""
    with pytest.raises(ConfigurationError, match=told):
        framework.extended(**settings)


def test_settings_may_change_and_depend_on_the_request(framework: Framework) -> None:
    """What is set after ``init_app`` counts from the next request, and an interface may override ``get_cookie_name``
    and the like, as with the framework's own."""
    app = framework.extended()
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    assert framework.cookie(app, put).attributes["samesite"] == "Strict"

    class Own(framework.adapter.SojournSessionInterface):  # type: ignore[misc,name-defined]
        def get_cookie_name(self, app: Any) -> str:
            return "__Host-mine"

    app.session_interface = Own(app.session_interface.manager)
    framework.jar = Jar("localhost", framework.clock)
    assert framework.cookie(app, put).name == "__Host-mine"


# --- Permanent sessions ---------------------------------------------------------------------------------------------


def permanent(session: Any) -> None:
    session.permanent = True
    session.setdefault("name", "Ada")


@pytest.mark.parametrize("lifetime", [300, timedelta(minutes=5)], ids=["seconds", "timedelta"])
def test_a_short_lifetime_counts_from_the_last_activity(framework: Framework, lifetime: Any) -> None:
    """With ``PERMANENT_SESSION_LIFETIME`` a permanent session ends when it was idle for so long, and not before;
    whoever is active is not cut off by it."""
    app = framework.extended(PERMANENT_SESSION_LIFETIME=lifetime)
    assert framework.cookie(app, permanent).max_age == 86400
    for _ in range(10):
        framework.clock.advance(290)
        assert framework.get(app, lambda session: session.get("name")).text_of_it == "Ada"
    framework.clock.advance(400)
    assert framework.get(app, lambda session: session.get("name")).text_of_it == "None"


def test_a_long_lifetime_lasts(framework: Framework) -> None:
    """A lifetime of weeks outlasts the configuration's timeouts, and a closed browser; signing in begins it anew."""
    app = framework.extended(PERMANENT_SESSION_LIFETIME=timedelta(days=20))
    assert framework.cookie(app, permanent).max_age == 20 * 86400
    framework.clock.advance(19 * 86400)
    framework.jar.restart()
    assert framework.cookie(app, lambda session: session.login("ada")).max_age == 20 * 86400
    framework.clock.advance(19 * 86400)
    assert framework.get(app, lambda session: session.user_id).text_of_it == "ada"
    framework.clock.advance(2 * 86400)
    assert framework.get(app, lambda session: session.user_id).text_of_it == "None"


def test_signing_in_with_remember_me_lasts(framework: Framework) -> None:
    """``login(..., remember=True)`` makes the session permanent, for the lifetime that was set; signing in without it
    takes that back."""
    app = framework.extended(PERMANENT_SESSION_LIFETIME=timedelta(days=20))

    def sign_in(session: Any, *, remember: bool) -> None:
        login(session._get_current_object(), "ada", remember=remember)

    assert framework.cookie(app, lambda session: sign_in(session, remember=True)).max_age == 20 * 86400
    framework.clock.advance(19 * 86400)
    assert framework.get(app, lambda session: session.user_id).text_of_it == "ada"
    assert framework.cookie(app, lambda session: sign_in(session, remember=False)).max_age is None
    framework.clock.advance(3600)
    assert framework.get(app, lambda session: session.user_id).text_of_it == "None"


def test_permanent_can_be_taken_back(framework: Framework) -> None:
    """``permanent = False`` gives the session the configuration's timeouts again, and the cookie no age."""
    app = framework.extended(PERMANENT_SESSION_LIFETIME=timedelta(days=20))
    framework.get(app, permanent)
    assert framework.cookie(app, lambda session: setattr(session, "permanent", False)).max_age is None
    framework.clock.advance(3600)
    assert framework.get(app, lambda session: session.get("name")).text_of_it == "None"


def test_the_default_lifetime_is_the_configuration_s(framework: Framework) -> None:
    """Where ``PERMANENT_SESSION_LIFETIME`` was not set, permanent means "remember me", for the absolute timeout."""
    cookie = framework.cookie(framework.extended(), permanent)
    assert cookie.max_age == 86400
    assert "expires" in cookie.attributes


def test_permanent_with_each_request_costs_nothing(framework: Framework) -> None:
    """``session.permanent = True`` before each request, as many applications have it, writes once, and keeps nothing
    for whom nothing else is kept."""
    store = Through(MemoryStore())
    app = framework.extended(store=store, PERMANENT_SESSION_LIFETIME=600)
    always = lambda session: setattr(session, "permanent", True)  # noqa: E731
    framework.get(app, always)
    assert store.calls == []
    framework.get(app, permanent)
    store.calls.clear()
    for _ in range(3):
        assert framework.get(app, always).headers.getlist("Set-Cookie") == []
    assert set(store.calls) == {"load"}


# --- The extension ----------------------------------------------------------------------------------------------------


def test_the_store_is_named_by_the_argument_or_a_setting(framework: Framework, tmp_path: Any) -> None:
    """``SOJOURN_STORE`` goes before the argument, which is the code's default; without either the extension says what
    to do."""
    of_code, of_settings = (f"sqlite:///{tmp_path / name}.db" for name in ("code", "settings"))
    extension = framework.adapter.Sojourn(framework.app(), of_code)
    assert [path.name for path in tmp_path.glob("*.db")] == ["code.db"]
    app = framework.app(SOJOURN_STORE=of_settings)
    other = framework.adapter.Sojourn(store=of_code)
    other.init_app(app)
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["code.db", "settings.db"]
    assert app.extensions["sojourn"] is other
    framework.get(app, put)
    assert framework.run(other.manager.stats()).sessions == 1
    for one in (extension, other):
        framework.run(one.manager.close())
    with pytest.raises(ConfigurationError, match="SOJOURN_STORE"):
        framework.adapter.Sojourn(framework.app())


def test_settings_make_the_configuration(framework: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """``SOJOURN_`` with the name of a field sets it, from the environment too; what is not set is as in ``config``."""
    monkeypatch.setenv("APP_SOJOURN_IDLE_TIMEOUT", "600")
    monkeypatch.setenv("APP_SOJOURN_COOKIE__INSECURE", "true")
    monkeypatch.setenv("APP_SOJOURN_TRANSPORTS", '["header", "cookie"]')
    app = framework.app(SOJOURN_STORE="memory://", SOJOURN_MAX_SESSIONS_PER_USER=3)
    app.config.from_prefixed_env("APP")
    config = SessionConfig(idle_timeout=1, absolute_timeout=7200, cookie=CookieConfig(name="sid"))
    extension = framework.adapter.Sojourn(app, config=config)
    assert extension.manager.config == SessionConfig(
        idle_timeout=600,
        absolute_timeout=7200,
        max_sessions_per_user=3,
        transports=("header", "cookie"),
        cookie=CookieConfig(name="sid", insecure=True),
    )


_WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "misspelled": ({"SOJOURN_IDLE_TIME": 600}, "SOJOURN_IDLE_TIME: there are .*SOJOURN_IDLE_TIMEOUT"),
    "misspelled cookie": ({"SOJOURN_COOKIE": {"secure": False}}, "insecure"),
    "impossible": ({"SOJOURN_IDLE_TIMEOUT": 0}, "idle_timeout"),
}


@pytest.mark.parametrize(("settings", "told"), _WRONG.values(), ids=_WRONG)
def test_a_wrong_setting_is_refused_at_the_start(framework: Framework, settings: dict[str, Any], told: str) -> None:
    """A setting that is not known, or cannot work, is refused, and the message names it."""
    with pytest.raises(ConfigurationError, match=told):
        framework.adapter.Sojourn(framework.app(SOJOURN_STORE="memory://", **settings))


def test_a_manager_is_all_or_nothing(framework: Framework) -> None:
    """A manager that is handed in is used as it is; a store beside it, or one of the wrong kind, is refused."""
    manager = framework.manager_class()
    extension = framework.adapter.Sojourn(framework.app(), manager=manager)
    assert extension.manager is manager
    for others in ({"store": "memory://"}, {"config": SessionConfig()}):
        with pytest.raises(ConfigurationError, match="leave them out"):
            framework.adapter.Sojourn(manager=manager, **others)
    wrong: Any = AsyncSessionManager() if framework.name == "flask" else SessionManager()
    with pytest.raises(ConfigurationError, match="needs a"):
        framework.adapter.Sojourn(framework.app(), manager=wrong)


def test_one_extension_serves_several_applications(framework: Framework) -> None:
    """Each application that a factory makes has a manager of its own; ``manager`` is that of the application at hand,
    or else of the last one."""
    extension = framework.adapter.Sojourn(store="memory://")
    with pytest.raises(ConfigurationError, match="init_app"):
        _ = extension.manager
    first, last = framework.app(), framework.app()
    extension.init_app(first)
    of_first = extension.manager
    extension.init_app(last)
    assert extension.manager is last.session_interface.manager is not of_first
    seen: list[Any] = []
    framework.get(first, lambda session: seen.append(extension.manager))
    assert seen == [of_first]


# --- The device routes -----------------------------------------------------------------------------------------------


def test_the_devices_of_a_user(framework: Framework) -> None:
    """The routes list the user's devices, end one, and sign out everywhere else; nobody else's are seen, and what
    changes something needs the token of the list."""
    store = Through(MemoryStore())
    app = framework.extended(store=store)
    app.register_blueprint(framework.adapter.device_routes(), url_prefix="/me/devices")
    manager = app.session_interface.manager
    assert framework.get(app, path="/me/devices").status_code == 401
    framework.get(app, lambda session: login(session._get_current_object(), "ada", label="laptop"))
    framework.run(manager.create_session("ada", label="phone"))
    framework.run(manager.create_session("bob", label="bob's"))
    listed = _json(framework.get(app, path="/me/devices"))
    assert {row["label"]: row["current"] for row in listed["devices"]} == {"laptop": True, "phone": False}
    phone = next(row["handle"] for row in listed["devices"] if row["label"] == "phone")
    assert framework.get(app, path=f"/me/devices/{phone}", method="DELETE").status_code == 403
    token = {"X-CSRF-Token": listed["csrf_token"]}
    assert framework.get(app, path=f"/me/devices/{'x' * 22}", method="DELETE", headers=token).status_code == 404
    assert framework.get(app, path=f"/me/devices/{phone}", method="DELETE", headers=token).status_code == 200
    framework.run(manager.create_session("ada", label="tablet"))
    assert _json(framework.get(app, path="/me/devices", method="DELETE", headers=token)) == {"ended": 1}
    assert [row["label"] for row in _json(framework.get(app, path="/me/devices"))["devices"]] == ["laptop"]
    assert framework.run(manager.stats()).sessions == 2

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    store.before["summaries"] = fail
    assert framework.get(app, path="/me/devices").status_code == 503


def _json(response: Any) -> Any:
    return flask.json.loads(response.text_of_it)


def test_nothing_of_the_settings_is_logged_without_need(framework: Framework, caplog: pytest.LogCaptureFixture) -> None:
    """A plain application with the extension logs nothing."""
    with caplog.at_level(logging.DEBUG, "sojourn"):
        framework.get(framework.extended(), put)
    assert caplog.records == []
