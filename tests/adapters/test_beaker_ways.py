"""Applications made for Beaker work as they are: ``environ["beaker.session"]``, and what its documentation does with
it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from browser import Jar, parse
from sites import serve
from sojourn import SessionConfig, SessionManager
from sojourn.adapters.wsgi import SessionMiddleware, WSGISession
from sojourn.testing import Clock

Work = Callable[[WSGISession], Any]


class Site:
    """An application made for Beaker, and one visitor of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.manager = SessionManager(clock=self.clock, config=SessionConfig(touch_interval=0))
        self.jar = Jar(clock=self.clock)
        self.set_cookies: list[str] = []

    def do(self, work: Work) -> Any:
        """A request that does this with its session; what came of it."""
        results: list[Any] = []

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            results.append(work(environ["beaker.session"]))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok"]

        sent = [("host", "testserver"), *([("cookie", self.jar.header)] if self.jar.header else [])]
        status, headers, _ = serve(SessionMiddleware(app, manager=self.manager), "/", "", sent)
        assert status == 200
        self.set_cookies = [value for name, value in headers if name == "Set-Cookie"]
        self.jar.receive(self.set_cookies)
        return results[0]

    @property
    def stored(self) -> list[dict[str, Any]]:
        return [self.manager.get_session(row.handle) or {} for row in self.manager.list_sessions()]


@pytest.fixture
def site() -> Site:
    """A site, and a visitor who has nothing."""
    return Site()


def test_an_application_as_beaker_documents_it(site: Site) -> None:
    """Looking whether somebody is logged in, and putting in who it is, works without a word to save it."""

    def app(session: WSGISession) -> bool:
        logged_in = "logged_in" in session
        session["user_id"] = 10
        session["logged_in"] = True
        return logged_in

    assert [site.do(app) for _ in range(2)] == [False, True]
    assert site.stored == [{"user_id": 10, "logged_in": True}]


@pytest.mark.parametrize("save", [WSGISession.save, WSGISession.persist], ids=["save", "persist"])
def test_save_commits_at_once(site: Site, save: Work) -> None:
    """``session.save()``, and ``session.persist()``, commit where they stand; the response brings the cookie."""

    def app(session: WSGISession) -> Any:
        session["name"] = "Fred"
        save(session)
        return site.stored

    assert site.do(app) == [{"name": "Fred"}]
    assert site.do(lambda session: session["name"]) == "Fred"


def test_saving_the_access_alone_is_no_saving(site: Site) -> None:
    """``save(accessed_only=True)`` commits nothing of what was changed; the response does."""

    def app(session: WSGISession) -> Any:
        session["name"] = "Fred"
        session.save(accessed_only=True)
        return site.stored

    assert (site.do(app), site.stored) == ([], [{"name": "Fred"}])


@pytest.mark.parametrize("end", [WSGISession.delete, WSGISession.invalidate], ids=["delete", "invalidate"])
def test_a_session_can_be_ended(site: Site, end: Work) -> None:
    """``session.delete()``, and ``session.invalidate()``, end the session at the server and clear the cookie; for who
    has none they store nothing."""
    site.do(end)
    assert (site.stored, site.set_cookies) == ([], [])
    site.do(lambda session: session.update(name="Fred"))
    old = site.jar.header
    site.do(end)
    (cookie,) = site.set_cookies
    assert (parse(cookie).max_age, site.stored, site.jar.header) == (0, [], None)
    site.jar.receive([f"{old}; Path=/; Secure"])
    assert site.do(lambda session: session.get("name")) is None


def test_what_is_put_in_after_invalidate_is_in_another_session(site: Site) -> None:
    """``session.invalidate()`` at sign-in gives a new id, and nothing of what was there before."""
    site.do(lambda session: session.update(cart=["tea"]))
    before = site.jar.value

    def sign_in(session: WSGISession) -> None:
        session.invalidate()
        session["user"] = "fred"

    site.do(sign_in)
    assert site.stored == [{"user": "fred"}]
    assert str(site.jar.value).split(".")[0] != str(before).split(".")[0]


def test_the_id_can_be_regenerated(site: Site) -> None:
    """``session.regenerate_id()`` gives another id to the same session, and the old one is dead."""
    site.do(lambda session: session.update(name="Fred"))
    old = str(site.jar.value)
    site.do(lambda session: session.regenerate_id())
    assert site.jar.value != old
    assert not site.manager.is_session_active(old)
    assert site.do(lambda session: session["name"]) == "Fred"


def test_changes_can_be_taken_back(site: Site) -> None:
    """``session.revert()`` leaves the session as it was loaded, nested values included."""
    site.do(lambda session: session.update(name="Fred", cart=["tea"]))

    def app(session: WSGISession) -> Any:
        session["name"] = "Bob"
        session["cart"].append("milk")
        session.revert()
        return dict(session)

    assert site.do(app) == {"name": "Fred", "cart": ["tea"]}
    assert site.stored == [{"name": "Fred", "cart": ["tea"]}]


def test_what_a_session_tells_of_itself(site: Site) -> None:
    """``id`` is the public name, which is no way in; ``created`` and ``last_accessed`` are times, and there was no
    access before the first."""
    began = site.clock()
    assert site.do(lambda session: (session.created, session.last_accessed)) == (began, None)
    assert site.stored == []
    site.do(lambda session: session.update(name="Fred"))
    site.clock.advance(60)
    found = site.do(lambda session: (session.id, session.created, session.last_accessed, session.has_key("name")))
    assert found == (str(site.jar.value).split(".")[0], began, began, True)
    assert not site.manager.is_session_active(str(found[0]))
    assert site.manager.is_session_active(found[0])
    site.clock.advance(60)
    assert site.do(lambda session: (session.last_accessed, session.has_key("no such"))) == (began + 60, False)


def test_a_field_is_deleted_by_its_name(site: Site) -> None:
    """``session.delete(name)`` is not Beaker's, and deletes a field, as everywhere."""
    site.do(lambda session: session.update(a=1, b=2))
    assert site.do(lambda session: (session.delete("a"), session.delete("a"))) == (True, False)
    assert site.stored == [{"b": 2}]


def test_beakers_own_session_is_left_alone(site: Site) -> None:
    """Where something has put a ``beaker.session`` into the environ already, it stays."""
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        seen.append((environ["beaker.session"], type(environ["sojourn.session"])))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    def around(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["beaker.session"] = "theirs"
        return SessionMiddleware(app, manager=site.manager)(environ, start_response)

    serve(around, "/", "", [("host", "testserver")])
    assert seen == [("theirs", WSGISession)]
