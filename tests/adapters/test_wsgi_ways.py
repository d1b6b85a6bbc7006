"""What PEP 3333 allows an application, and what becomes of the session then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from browser import Jar
from sites import serve
from sojourn import AsyncSessionManager, ConfigurationError, SessionManager, StoreUnavailable
from sojourn.adapters.wsgi import SessionMiddleware
from sojourn.ids import Handle
from sojourn.stores.memory import MemoryStore
from worlds import Through

HEADERS = [("Content-Type", "text/plain")]
App = Callable[[Any, Any], Iterable[bytes]]


class Client:
    """A visitor of one application after another, on the same store."""

    def __init__(self) -> None:
        self.store = Through(MemoryStore())
        self.manager = SessionManager(self.store)  # type: ignore[arg-type]
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
