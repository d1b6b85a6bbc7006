"""What Quart's users are used to: the test client, messages to flash, ``clear()``, error handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import quart

from site_quart import Application
from sites import Reply, Site, Visitor, opener
from sojourn import ConfigurationError, SessionManager, StoreUnavailable
from sojourn.adapters.quart import QuartSession, Sojourn, SojournSessionInterface


@pytest.fixture
def site() -> Iterator[Site]:
    """A site in Quart."""
    with opener("quart") as open_site:
        yield open_site()


@pytest.fixture
def visitor(site: Site) -> Visitor:
    """A visitor who is signed in, and has something in the session."""
    visitor = site.visitor()
    visitor.do(lambda session: (session.login("ada"), session.set("name", "Ada")))
    return visitor


def who(visitor: Visitor) -> tuple[Any, Any]:
    return visitor.do(lambda session: (session.user_id, dict(session))).result


async def test_the_test_client_works_as_ever() -> None:
    """Quart's own test client keeps the cookie, ``session_transaction`` reads and writes the session, and a context
    that is kept has its session."""
    site = Application()
    site.view("/name", lambda session: session.get("name"))
    site.view("/set", lambda session: session.update(name="Bob"))
    async with site.client as client:
        assert await site.get("/name") == "None"
        async with client.session_transaction() as session:
            session["name"] = "Ada"
            assert session.new
        assert await site.get("/name") == "Ada"
        assert quart.session["name"] == "Ada"
        await site.get("/set")
        assert quart.session["name"] == "Bob"
        assert quart.session.modified
    await site.leave()


async def test_messages_to_flash() -> None:
    """A message is shown once."""
    site = Application()

    async def flash() -> str:
        await quart.flash("Hello")
        return ""

    site.app.add_url_rule("/flash", "flash", flash)
    site.view("/show", lambda session: quart.get_flashed_messages())
    await site.get("/flash")
    assert await site.get("/show") == "['Hello']"
    assert await site.get("/show") == "[]"
    await site.leave()


def test_clear_ends_the_session(visitor: Visitor) -> None:
    """``clear()`` signs out at the server; what is put in afterwards begins another session."""
    old = visitor.jar.header
    visitor.do(lambda session: (session.clear(), session.set("user", "bob")))
    assert who(visitor) == (None, {"user": "bob"})
    assert visitor.site.request(lambda session: session.user_id, old).result is None
    (cookie,) = visitor.do(lambda session: session.clear()).cookies
    assert (cookie.max_age, visitor.site.held) == (0, 0)


def test_the_attributes_of_a_quart_session(visitor: Visitor) -> None:
    """``new``, ``modified`` and ``permanent`` tell what they tell in Quart."""

    def look(session: QuartSession) -> Any:
        before = session.new, session.modified, session.permanent
        session.modified = True
        first = session.modified
        session["a"] = 1
        return before, first, session.modified

    assert visitor.do(look).result == ((False, False, False), False, True)
    assert visitor.site.visitor().do(lambda session: session.new).result is True


async def test_a_body_that_streams_may_change_the_session() -> None:
    """What a streamed body changes, by ``stream_with_context`` and ``quart.session``, is committed at its end; what one
    changes that raises is not."""
    site = Application()

    async def stream() -> quart.Response:
        quart.session["before"] = True

        @quart.stream_with_context
        async def parts() -> AsyncIterator[str]:
            yield str(quart.session["before"])
            quart.session["within"] = True
            yield "."
            if "fail" in quart.request.args:
                raise KeyError("fails")

        return quart.Response(parts())

    site.app.add_url_rule("/stream", "stream", stream)
    site.view("/see", lambda session: sorted(session))
    site.view("/delete", lambda session: session.pop("within"))
    assert await site.get("/stream") == "True."
    assert await site.get("/see") == "['before', 'within']"
    await site.get("/delete")
    with pytest.raises(KeyError):
        await site.get("/stream?fail=1")
    assert await site.get("/see") == "['before']"
    await site.leave()


def test_an_exception_that_is_handled_commits(visitor: Visitor) -> None:
    """An exception that the application handles is part of its work. One that nobody handles takes back what was
    changed before it."""
    app: quart.Quart = visitor.site.app  # type: ignore[attr-defined]
    app._got_first_request = False  # Quart would not let us any more

    @app.errorhandler(KeyError)
    async def handled(error: KeyError) -> str:
        quart.session["handled"] = True
        return "handled"

    def fail(session: Any, error: type[Exception]) -> None:
        session[error.__name__] = 1
        raise error

    assert visitor.do(lambda session: fail(session, KeyError)).body == b"handled"
    assert visitor.do(lambda session: (session.login("eve"), fail(session, ValueError))).body == b"sorry"
    assert who(visitor) == ("ada", {"name": "Ada", "KeyError": 1, "handled": True})


def test_abort_commits(visitor: Visitor) -> None:
    """``abort`` is a response like any other."""

    def leave(session: Any) -> Reply:
        session["a"] = 1
        quart.abort(403)

    assert visitor.do(leave).status == 403
    assert who(visitor)[1] == {"name": "Ada", "a": 1}


@pytest.mark.parametrize("how", ["before request", "after request", "no such address", "no such method"])
async def test_an_outage_meets_nobody_unprepared(how: str) -> None:
    """In an outage whatever runs around the view, and uses the session, ends in the same 503; unknown addresses too."""
    site = Application()
    seen: list[Any] = []
    site.view("/start", lambda session: session.update(a=1))
    site.view("/see", lambda session: seen.append("view"))

    async def use() -> None:
        if quart.request.path != "/start":
            seen.append(quart.session.get("name"))

    async def mark(response: Any) -> Any:
        response.headers["X-After"] = "1"
        return response

    if how == "before request":
        site.app.before_request(use)
    elif how == "after request":
        site.app.after_request(mark)
    await site.get("/start")

    def fail(*_: Any) -> None:
        raise StoreUnavailable("away")

    site.store.before["load"] = fail
    path = "/nowhere" if how == "no such address" else "/see"
    response = await site.client.open(path, method="POST" if how == "no such method" else "GET")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "Set-Cookie" not in response.headers
    assert seen == []
    site.store.before.clear()
    assert await site.get("/see") == "None"
    await site.leave()


@pytest.mark.parametrize("manager", [None, "memory://", SessionManager()], ids=["None", "URL", "blocking"])
def test_a_manager_of_the_wrong_kind_is_refused(manager: Any) -> None:
    """Anything but an asynchronous manager is refused at the start."""
    with pytest.raises(ConfigurationError, match="AsyncSessionManager"):
        SojournSessionInterface(manager)


async def test_the_extension_closes_what_it_made() -> None:
    """A manager that the extension made cleans while the application serves, and is closed when it stops; one that was
    handed in is its owner's."""
    app = quart.Quart(__name__)
    extension = Sojourn(app, "memory://")
    manager = extension.manager
    async with app.test_app():
        assert manager._cleaner is not None
    assert manager._cleaner is None
    site = Application()
    async with site.app.test_app():
        assert site.manager._cleaner is None
    await site.leave()
