"""What Flask's users are used to: the test client, messages to flash, ``permanent``, ``clear()``, error handlers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

from browser import parse
from sites import Reply, Site, Visitor, opener
from sojourn import AsyncSessionManager, ConfigurationError, SessionManager, StoreUnavailable
from sojourn.adapters.flask import FlaskSession, SojournSessionInterface


@pytest.fixture
def site() -> Iterator[Site]:
    """A site in Flask."""
    with opener("flask") as open_site:
        yield open_site()


@pytest.fixture
def visitor(site: Site) -> Visitor:
    """A visitor who is signed in, and has something in the session."""
    visitor = site.visitor()
    visitor.do(lambda session: (session.login("ada"), session.set("name", "Ada")))
    return visitor


def app_of(visitor: Visitor) -> Any:
    """The Flask application, to which more may be added."""
    app: Any = visitor.site.app  # type: ignore[attr-defined]
    app._got_first_request = False  # Flask would not let us any more
    return app


def who(visitor: Visitor) -> tuple[Any, Any]:
    return visitor.do(lambda session: (session.user_id, dict(session))).result


def test_the_test_client_works_as_ever(site: Any) -> None:
    """Flask's own test client keeps the cookie, and ``session_transaction`` reads and writes the session."""
    site.app.add_url_rule("/see/name", view_func=lambda: str(flask.session.get("name")))
    with site.app.test_client() as client:
        assert client.get("/see/name").text == "None"
        with client.session_transaction() as session:
            session["name"] = "Ada"
            assert session.new
        assert client.get("/see/name").text == "Ada"
        assert flask.session["name"] == "Ada"
        with client.session_transaction() as session:
            assert not session.new
            assert session.pop("name") == "Ada"
        assert client.get("/see/name").text == "None"


def test_a_message_to_flash_signs_nobody_out(visitor: Visitor) -> None:
    """Showing a message takes the last field out of a session, and leaves it and its user alone."""
    visitor.do(lambda session: session.delete("name"))
    visitor.do(lambda session: flask.flash("Hello"))
    before = visitor.id
    assert visitor.do(lambda session: flask.get_flashed_messages()).result == ["Hello"]
    assert visitor.do(lambda session: flask.get_flashed_messages()).result == []
    assert (who(visitor), visitor.id) == (("ada", {}), before)


def test_clear_ends_the_session(visitor: Visitor) -> None:
    """``clear()`` with nothing put in afterwards ends the session at the server and clears the cookie."""
    old = visitor.jar.header
    (cookie,) = visitor.do(lambda session: session.clear()).cookies
    assert (cookie.value, cookie.max_age, visitor.jar.cookies) == ("", 0, [])
    assert visitor.site.held == 0
    assert visitor.site.request(lambda session: session.user_id, old).result is None


_AFTERWARDS: dict[str, tuple[Callable[[Any], Any], tuple[Any, Any]]] = {
    "message": (lambda session: flask.flash("Bye"), (None, {"_flashes": [("message", "Bye")]})),
    "user": (lambda session: session.set("user", "bob"), (None, {"user": "bob"})),
    "login": (lambda session: session.login("bob"), ("bob", {})),
    "login and user": (lambda session: (session.login("bob"), session.set("user", "bob")), ("bob", {"user": "bob"})),
}


@pytest.mark.parametrize(("put", "after"), _AFTERWARDS.values(), ids=_AFTERWARDS)
def test_what_is_put_in_after_clear_begins_another_session(
    visitor: Visitor, put: Callable[[Any], Any], after: tuple[Any, Any]
) -> None:
    """``clear()`` signs the user out; what is put in afterwards is in a session of its own, under a new handle, and
    nothing of the old one is: nor what a request in flight writes, nor what one has written meanwhile."""
    old = visitor.jar.header
    with visitor.in_flight(lambda session: session.set("late", "ada's")) as late:
        with visitor.in_flight(lambda session: (session.clear(), put(session))) as clearing:
            visitor.do(lambda session: session.set("meanwhile", "ada's"))
            visitor.receive(clearing.land())
        assert late.land().all("set-cookie") == []
    assert who(visitor) == after
    assert str(visitor.id).split(".")[0] not in str(old)
    assert visitor.site.request(lambda session: session.user_id, old).result is None
    assert visitor.site.held == 1


def test_a_form_sent_twice_leaves_nobody_out(visitor: Visitor) -> None:
    """Two sign-ins with ``clear()`` at the same time: whichever response arrives last, its cookie is good."""
    for last in (0, 1):
        with visitor.in_flight(lambda session: (session.clear(), session.login("bob"))) as one:
            with visitor.in_flight(lambda session: (session.clear(), session.login("bob"))) as other:
                responses = [one.land(), other.land()]
        visitor.receive(responses[1 - last])
        visitor.receive(responses[last])
        assert who(visitor) == ("bob", {})


def test_clear_while_the_body_streams_ends_the_session(visitor: Visitor) -> None:
    """``clear()`` in a body that streams still signs out; what is put in after it is dropped, as no cookie can be
    set."""

    def respond(session: Any) -> Reply:
        def body() -> Iterator[bytes]:
            yield b"one"
            session.clear()
            session["late"] = True

        return Reply(body=body())

    assert visitor.do(respond).body == b"one"
    assert visitor.site.held == 0
    assert who(visitor) == (None, {})


def test_clear_on_nothing_is_nothing(site: Site) -> None:
    """``clear()`` for a stranger stores nothing and sets no cookie; with something put in, that is all there is."""
    visitor = site.visitor()
    assert visitor.do(lambda session: (session.login("eve"), session.clear())).cookies == []
    assert site.held == 0
    visitor.do(lambda session: (session.set("a", 1), session.clear(), session.set("b", 2)))
    assert who(visitor) == (None, {"b": 2})


def test_signing_in_works_under_a_superseded_id(visitor: Visitor) -> None:
    """Who lost the response that carried their new id can sign in, in the way of Flask."""
    visitor.send(lambda session: session.rotate())  # the response is lost
    assert who(visitor) == (None, {})
    visitor.do(lambda session: (session.clear(), session.set("user", "ada")))
    assert who(visitor) == (None, {"user": "ada"})


def test_permanent_is_remember_me(visitor: Visitor) -> None:
    """``session.permanent`` is "remember me"; to read it, or to set it as it is, changes nothing."""
    assert visitor.do(lambda session: session.permanent).result is False
    (cookie,) = visitor.do(lambda session: setattr(session, "permanent", True)).cookies
    assert cookie.max_age == 86400
    response = visitor.do(lambda session: (session.permanent, setattr(session, "permanent", True)))
    assert (response.result[0], response.cookies, response.private) == (True, [], True)
    (cookie,) = visitor.do(lambda session: setattr(session, "permanent", False)).cookies
    assert cookie.max_age is None


def test_the_attributes_of_a_flask_session(visitor: Visitor) -> None:
    """``new`` and ``modified`` tell what they tell in Flask; setting ``modified`` is allowed and does nothing."""

    def look(session: FlaskSession) -> Any:
        before = session.new, session.modified
        session.modified = True
        first = session.modified
        session["a"] = 1
        return before, first, session.modified

    assert visitor.do(look).result == ((False, False), False, True)
    assert visitor.site.visitor().do(lambda session: session.new).result is True


def test_an_exception_that_is_handled_commits(visitor: Visitor) -> None:
    """An exception that the application handles is part of its work: what was changed is committed. One that nobody
    handles takes back what was changed before it, and the handler for 500 may put in something of its own."""
    app = app_of(visitor)

    @app.errorhandler(KeyError)
    def handled(error: KeyError) -> str:
        flask.session["handled"] = True
        return "handled"

    @app.errorhandler(500)
    def unhandled(error: Any) -> tuple[str, int]:
        flask.session["unhandled"] = True
        return "sorry", 500

    def fail(session: Any, error: type[Exception]) -> None:
        session[error.__name__] = 1
        raise error

    assert visitor.do(lambda session: fail(session, KeyError)).body == b"handled"
    assert visitor.do(lambda session: (session.login("eve"), fail(session, ValueError))).body == b"sorry"
    assert who(visitor) == ("ada", {"name": "Ada", "KeyError": 1, "handled": True, "unhandled": True})


def test_abort_commits(visitor: Visitor) -> None:
    """``abort`` and redirects are responses like any other."""
    assert visitor.do(lambda session: (session.set("a", 1), flask.abort(403))).status == 403
    assert who(visitor)[1] == {"name": "Ada", "a": 1}


@pytest.mark.parametrize("how", ["before request", "after request", "no such address", "context"])
def test_an_outage_meets_nobody_unprepared(visitor: Visitor, how: str) -> None:
    """In an outage whatever runs around the view, and uses the session, ends in the same 503; unknown addresses too."""
    app = app_of(visitor)
    seen: list[Any] = []

    def use(response: Any = None) -> Any:
        seen.append(flask.session.get("name"))
        return response

    if how == "before request":
        app.before_request(use)
    elif how == "after request":
        app.after_request(lambda response: (response.headers.set("X-After", "1"), response)[1])
    elif how == "context":
        app.teardown_request(lambda error: seen.append("teardown"))

    def fail(*_: Any) -> None:
        raise StoreUnavailable("away")

    visitor.site.store.before["load"] = fail
    if how == "no such address":
        assert app.test_client(use_cookies=False).post("/1", headers={"Cookie": visitor.jar.header}).status_code == 503
    response = visitor.do(lambda session: seen.append("view"))
    assert (response.status, response.all("retry-after"), response.all("set-cookie")) == (503, ["1"], [])
    assert seen == (["teardown"] if how == "context" else [])


def test_files_are_sent_as_files(visitor: Visitor) -> None:
    """A response that goes out as a file stays one, and is private if the session was looked at."""
    app = app_of(visitor)

    @app.route("/a/file")
    def send() -> Any:
        flask.session["seen"] = True
        return flask.send_file(io.BytesIO(b"content"), mimetype="text/plain", max_age=3600)

    response = app.test_client(use_cookies=False).get("/a/file", headers={"Cookie": visitor.jar.header})
    assert response.data == b"content"
    assert response.headers["Vary"] == "Cookie"
    assert response.headers["Cache-Control"] == "no-store"
    response.close()
    assert who(visitor)[1] == {"name": "Ada", "seen": True}


def test_two_applications_do_not_disturb_each_other() -> None:
    """Two applications with managers of their own: an exception in one takes back nothing of the other."""
    apps = [flask.Flask(name) for name in ("one", "two")]
    for app in apps:
        app.logger.disabled = True
        app.session_interface = SojournSessionInterface(SessionManager())

    def inner() -> str:
        flask.session["a"] = 1
        return "ok"

    def outer() -> str:
        flask.session["b"] = 1
        assert apps[0].test_client().get("/fails").status_code == 500
        return apps[0].test_client().get("/").headers["Set-Cookie"]

    apps[0].add_url_rule("/", view_func=inner)
    apps[0].add_url_rule("/fails", view_func=lambda: (flask.session.update(c=1), 1 / 0)[1])  # type: ignore[func-returns-value]
    apps[1].add_url_rule("/", view_func=outer)
    response = apps[1].test_client().get("/")
    assert parse(response.text).value != parse(response.headers["Set-Cookie"]).value
    for app in apps:
        assert app.session_interface.manager.stats().sessions == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("manager", [None, "memory://", AsyncSessionManager()], ids=["None", "URL", "async"])
def test_a_manager_of_the_wrong_kind_is_refused(manager: Any) -> None:
    """Anything but a blocking manager is refused at the start."""
    with pytest.raises(ConfigurationError, match="SessionManager"):
        SojournSessionInterface(manager)


def test_a_setting_that_breaks_later_is_an_error_of_the_application(site: Any) -> None:
    """A setting that is broken after the start is answered with 500 by each request, and nothing is stored."""
    site.app.config["SESSION_COOKIE_SAMESITE"] = "sometimes"
    response = site.request(lambda session: session.set("a", 1))
    assert (response.status, response.cookies, site.held) == (500, [], 0)
    assert [type(error) for error in site.errors] == [ConfigurationError]


def test_a_body_that_streams_may_change_the_session(site: Any) -> None:
    """What a streamed body changes, by ``stream_with_context`` and ``flask.session``, is committed at its end; what one
    changes that raises is not."""

    @site.app.route("/a/stream")
    def stream() -> Any:
        flask.session["before"] = True

        @flask.stream_with_context
        def parts() -> Iterator[str]:
            yield str(flask.session["before"])
            flask.session["within"] = True
            yield "."
            if "fail" in flask.request.args:
                raise KeyError("fails")

        return flask.Response(parts())

    site.app.add_url_rule("/a/list", "list", lambda: sorted(flask.session))
    site.app.add_url_rule("/a/delete", "delete", lambda: str(flask.session.pop("within")))
    client = site.app.test_client()
    assert client.get("/a/stream", buffered=True).text == "True."
    assert client.get("/a/list").json == ["before", "within"]
    client.get("/a/delete")
    with pytest.raises(KeyError):
        client.get("/a/stream?fail=1", buffered=True)
    assert client.get("/a/list").json == ["before"]


def test_modified_stays_true_after_the_commit(site: Any) -> None:
    """A test that keeps the request's context finds that the session was modified, or that it was not."""
    site.app.add_url_rule("/a/set", "set", lambda: str(flask.session.update(a=1)))
    site.app.add_url_rule("/a/get", "get", lambda: str(flask.session["a"]))
    with site.app.test_client() as client:
        client.get("/a/set")
        assert flask.session.modified
        client.get("/a/get")
        assert not flask.session.modified


def test_a_host_that_is_not_trusted_gets_flask_s_answer(site: Any) -> None:
    """With ``TRUSTED_HOSTS`` a request for another host is answered with 400, as by Flask alone."""
    site.app.config["TRUSTED_HOSTS"] = ["shop.example"]
    assert site.request(lambda session: session.get("a"), host="evil.example").status == 400
    assert site.request(lambda session: session.get("a"), host="shop.example").status == 200
