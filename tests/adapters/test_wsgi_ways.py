"""What PEP 3333 allows an application, and what becomes of the session then."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import shift_path_info
from wsgiref.validate import validator

import pytest

from browser import Jar
from sites import serve
from sojourn import AsyncSessionManager, ConfigurationError, SessionManager, StoreUnavailable
from sojourn.adapters.wsgi import SessionMiddleware, device_routes
from sojourn.ids import Handle
from sojourn.stores.memory import MemoryStore
from worlds import Through

HEADERS = [("Content-Type", "text/plain")]
App = Callable[[Any, Any], Iterable[bytes]]


class Client:
    """A visitor of one application after another, on the same store."""

    def __init__(self) -> None:
        self.store = Through(MemoryStore())
        self.manager = SessionManager(self.store)
        self.jar = Jar()

    def ask(self, app: App, **options: Any) -> tuple[int, bytes]:
        sent = [("host", "testserver"), *([("cookie", self.jar.header)] if self.jar.header else [])]
        status, headers, body = serve(SessionMiddleware(app, self.manager, **options), "/", "", sent)
        self.jar.receive(value for name, value in headers if name == "Set-Cookie")
        return status, body

    @property
    def stored(self) -> dict[str, Any] | None:
        return self.manager.get_session(Handle(str(self.jar.value).split(".")[0]))


@pytest.fixture
def client() -> Client:
    """A visitor who has something in the session."""
    client = Client()

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["sojourn.session"]["name"] = "Ada"
        start_response("200 OK", HEADERS)
        return [b"ok"]

    assert client.ask(app) == (200, b"ok")
    return client


def test_an_application_may_be_a_generator(client: Client) -> None:
    """An application that starts to respond when it is iterated is served as any other: committed before its first
    byte."""
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        environ["sojourn.session"]["a"] = 1
        start_response("200 OK", HEADERS)
        seen.append(client.stored)
        yield b"one"
        environ["sojourn.session"]["b"] = 2
        yield b"two"

    assert client.ask(app) == (200, b"onetwo")
    assert seen == [{"name": "Ada", "a": 1}]
    assert client.stored == {"name": "Ada", "a": 1, "b": 2}


def test_a_generator_that_raises_commits_nothing(client: Client) -> None:
    """A generator that raises before it responds commits nothing."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        environ["sojourn.session"]["a"] = 1
        yield str(1 / 0).encode()

    assert client.ask(app)[0] == 500
    assert client.stored == {"name": "Ada"}


def test_an_error_takes_back_what_was_changed_before_it(client: Client) -> None:
    """An application that reports an error with ``exc_info`` commits nothing of what it changed before."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        try:
            environ["sojourn.session"]["a"] = 1
            environ["sojourn.session"].login("eve")
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Sorry", HEADERS, sys.exc_info())
            return [b"sorry"]

    assert client.ask(app) == (500, b"sorry")
    assert client.stored == {"name": "Ada"}


def test_an_error_after_a_sign_in_does_not_lose_the_cookie(client: Client) -> None:
    """If the headers of a sign-in are replaced by those of an error, before anything was sent, the new id goes with
    them."""
    old = client.jar.value

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["sojourn.session"].login("ada")
        start_response("200 OK", HEADERS)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Sorry", HEADERS, sys.exc_info())
            return [b"sorry"]

    assert client.ask(app) == (500, b"sorry")
    assert client.jar.value != old
    assert client.manager.is_session_active(str(client.jar.value))


def test_the_callable_that_writes_works(client: Client) -> None:
    """An application may write its body instead of returning it."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["sojourn.session"]["a"] = 1
        write = start_response("200 OK", HEADERS)
        write(b"written ")
        return [b"returned"]

    assert client.ask(app) == (200, b"written returned")
    assert client.stored == {"name": "Ada", "a": 1}


def test_an_answer_in_an_outage_is_the_only_one(client: Client) -> None:
    """When the commit fails, nothing of the application's response goes out, whatever way it has of responding."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["sojourn.session"]["a"] = 1
        write = start_response("200 OK", HEADERS)
        write(b"written")
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Sorry", HEADERS, sys.exc_info())(b"written")
        return [b"returned"]

    client.store.before["commit"] = fail
    status, body = client.ask(app)
    assert status == 503
    assert body.startswith(b"The service is busy")
    client.store.before.clear()
    assert client.stored == {"name": "Ada"}


def test_a_body_is_closed(client: Client) -> None:
    """The application's body is closed before the session is, and may still change it."""

    class Body:
        def __init__(self, session: Any) -> None:
            self._session = session

        def __iter__(self) -> Iterator[bytes]:
            yield b"part"

        def close(self) -> None:
            self._session["closed"] = True

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", HEADERS)
        return Body(environ["sojourn.session"])

    assert client.ask(app) == (200, b"part")
    assert client.stored == {"name": "Ada", "closed": True}


def test_the_environ_is_what_the_standard_says(client: Client) -> None:
    """What the middleware hands to the application, and takes from it, is in order; the session may be given another
    place."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        assert "sojourn.session" not in environ
        environ["our.session"]["a"] = 1
        start_response("200 OK", [*HEADERS])
        return [b"ok"]

    assert client.ask(validator(app), key="our.session") == (200, b"ok")
    assert client.stored == {"name": "Ada", "a": 1}


@pytest.mark.parametrize("manager", [None, "memory://", AsyncSessionManager()], ids=["None", "URL", "async"])
def test_a_manager_of_the_wrong_kind_is_refused(manager: Any) -> None:
    """Anything but a blocking manager is refused at the start."""
    with pytest.raises(ConfigurationError, match="SessionManager"):
        SessionMiddleware(lambda environ, start_response: [], manager)


# --- Devices ---------------------------------------------------------------------------------------------------------


class Device:
    """One of a user's devices, on a site that shows them at ``/devices``."""

    def __init__(self, manager: SessionManager, user: str | None = "ada") -> None:
        self.jar = Jar()
        self._app = SessionMiddleware(self._application, manager)
        self._routes = device_routes(manager)
        self._user = user
        self.ask("POST", "/sign-in")

    def _application(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/sign-in":
            if self._user is not None:
                environ["sojourn.session"].login(self._user)
            start_response("200 OK", HEADERS)
            return [b"{}"]
        shift_path_info(environ)
        return self._routes(environ, start_response)

    def ask(self, method: str, path: str, token: str = "", *, plain: bool = False) -> tuple[int, Any]:
        sent = [("host", "testserver"), ("X-CSRF-Token", token)]
        sent += [("cookie", self.jar.header)] if self.jar.header else []

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            return self._app({**environ, "REQUEST_METHOD": method}, start_response)

        status, headers, body = serve(app, path, "", sent)
        self.jar.receive(value for name, value in headers if name == "Set-Cookie")
        assert path == "/sign-in" or status == 405 or dict(headers)["Cache-Control"] == "no-store"
        return status, json.loads(body) if body and not plain else body


def test_devices_can_be_listed_and_ended() -> None:
    """``device_routes`` lists the user's devices; who shows the token of the list ends one of them, or all others and
    gets another id. Nobody else's is in reach."""
    manager = SessionManager()
    phone, laptop, tablet, eve = (Device(manager, user) for user in ("ada", "ada", "ada", "eve"))
    status, listed = laptop.ask("GET", "/devices")
    assert (status, len(listed["devices"])) == (200, 3)
    (eves,) = eve.ask("GET", "/devices")[1]["devices"]
    gone = str(phone.jar.value).split(".")[0]
    token = listed["csrf_token"]
    assert laptop.ask("DELETE", f"/devices/{gone}")[0] == 403
    assert laptop.ask("DELETE", f"/devices/{eves['handle']}", token)[0] == 404
    assert laptop.ask("DELETE", f"/devices/{gone}", token) == (200, {"ended": 1})
    assert phone.ask("GET", "/devices")[0] == 401
    before = laptop.jar.value
    assert laptop.ask("DELETE", "/devices", token) == (200, {"ended": 1})
    assert laptop.jar.value != before
    assert [device.ask("GET", "/devices")[0] for device in (laptop, tablet, eve)] == [200, 401, 200]


def test_devices_are_for_who_is_signed_in_and_for_what_is_asked() -> None:
    """A stranger gets 401 and no session; another method gets 405."""
    manager = SessionManager()
    stranger = Device(manager, None)
    assert stranger.ask("GET", "/devices")[0] == 401
    assert stranger.ask("POST", "/devices")[0] == 405
    assert (manager.list_sessions(), stranger.jar.header) == ([], None)


def test_an_outage_is_answered_for_the_devices() -> None:
    """If the store fails while the devices are listed, the answer is 503, and nobody is signed out."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    store = Through(MemoryStore())
    device = Device(SessionManager(store))
    store.before["summaries"] = fail
    assert device.ask("GET", "/devices", plain=True)[0] == 503
    store.before.clear()
    assert device.ask("GET", "/devices")[0] == 200
