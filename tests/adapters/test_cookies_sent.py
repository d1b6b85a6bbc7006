"""When a response sets the cookie, and exactly which cookie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sites import HANDLE, SECRET, Reply, Site, Visitor
from sojourn import ConfigurationError, CookieConfig

Open = Callable[..., Site]


def put(session: Any) -> None:
    session["name"] = "Ada"


_NOTHING_PUT_IN: dict[str, Callable[[Any], Any]] = {
    "look": lambda session: session.get("name"),
    "set and delete": lambda session: (session.set("a", 1), session.delete("a")),
    "clear": lambda session: session.clear(),
    "end": lambda session: session.end(),
    "delete": lambda session: session.delete("a"),
    "rotate": lambda session: session.rotate(),
    "label": lambda session: setattr(session, "label", "phone"),
    "timeouts": lambda session: session.set_timeouts(persistent=True),
    "handle": lambda session: session.handle,
}


@pytest.mark.parametrize("act", _NOTHING_PUT_IN.values(), ids=_NOTHING_PUT_IN)
def test_nothing_is_kept_for_whom_nothing_is_stored(visitor: Visitor, act: Callable[[Any], Any]) -> None:
    """A visitor for whom nothing is stored causes no record, no cookie and no store access, whatever the application
    does."""
    for _ in range(3):
        response = visitor.do(act)
        assert (response.status, response.cookies, visitor.jar.header) == (200, [], None)
    assert visitor.site.held == 0
    assert visitor.site.store.calls == []


def test_a_request_that_leaves_the_session_alone_leaves_the_response_alone(visitor: Visitor) -> None:
    """A request whose application does not touch the session gets the application's headers and no others, with a
    session or without."""
    plain = Reply(headers=[("Vary", "Accept"), ("Cache-Control", "public, max-age=60")])
    for _ in range(2):
        response = visitor.do(None, reply=plain)
        assert (response.all("vary"), response.all("cache-control")) == (["Accept"], ["public, max-age=60"])
        assert response.cookies == []
        visitor.do(put)


def test_the_cookie_comes_with_the_first_thing_stored(visitor: Visitor) -> None:
    """The first thing stored sets the cookie: prefixed, for this host alone, over TLS only, out of scripts' reach, and
    gone with the browser. It holds two random texts and is not sent again while it stays good."""
    (cookie,) = visitor.do(put).cookies
    assert cookie.name == "__Host-session"
    assert cookie.attributes == _FLAGS
    handle, _, secret = cookie.value.partition(".")
    assert HANDLE.fullmatch(handle)
    assert SECRET.fullmatch(secret)
    assert visitor.see("name") == "Ada"
    assert visitor.do(lambda session: session.update("n", lambda n: (n or 0) + 1)).cookies == []
    visitor.jar.restart()
    assert visitor.id is None


_FLAGS = {"path": "/", "secure": "", "httponly": "", "samesite": "Lax"}
_COOKIES: dict[str, tuple[CookieConfig, str, dict[str, str]]] = {
    "named": (CookieConfig(name="sid"), "__Host-sid", _FLAGS),
    "strict": (CookieConfig(samesite="Strict"), "__Host-session", _FLAGS | {"samesite": "Strict"}),
    "domain": (CookieConfig(domain="testserver"), "__Secure-session", _FLAGS | {"domain": "testserver"}),
    "partitioned": (
        CookieConfig(samesite="None", partitioned=True),
        "__Host-session",
        _FLAGS | {"samesite": "None", "partitioned": ""},
    ),
    "embedded": (CookieConfig(samesite="None"), "__Host-session", _FLAGS | {"samesite": "None"}),
    "insecure": (CookieConfig(insecure=True), "session", {"path": "/", "httponly": "", "samesite": "Lax"}),
}


@pytest.mark.parametrize(("config", "name", "attributes"), _COOKIES.values(), ids=_COOKIES)
def test_a_cookie_is_deleted_as_it_was_set(
    open_site: Open, config: CookieConfig, name: str, attributes: dict[str, str]
) -> None:
    """Each configuration sets the cookie that browsers take for it, and deletes it with the same attributes."""
    visitor = open_site(cookie=config).visitor()
    (set_one,) = visitor.do(put).cookies
    assert (set_one.name, set_one.attributes) == (name, attributes)
    assert visitor.see("name") == "Ada"
    (cleared,) = visitor.do(lambda session: session.end()).cookies
    assert (cleared.name, cleared.value, cleared.flags, cleared.max_age) == (name, "", attributes, 0)
    assert visitor.jar.cookies == []
    assert visitor.site.held == 0


@pytest.mark.parametrize("lifetime", [3600.0, 86400.0, 800 * 86400.0])
@pytest.mark.parametrize("signed_in", [False, True])
def test_remember_me_outlives_the_browser(open_site: Open, lifetime: float, signed_in: bool) -> None:
    """With "remember me" the cookie has a Max-Age: as long as the session can live, 400 days at most, and never more.
    The session is over at the server when its time is up, whatever the browser still sends."""
    site = open_site(idle_timeout=lifetime, absolute_timeout=lifetime)
    visitor = site.visitor()

    def remember(session: Any) -> None:
        put(session)
        if signed_in:
            session.login("ada")
        session.set_timeouts(persistent=True)

    (cookie,) = visitor.do(remember).cookies
    assert cookie.max_age == min(lifetime, 400 * 86400)
    site.clock.advance(1000)
    (again,) = visitor.do(lambda session: session.rotate()).cookies
    assert again.max_age == min(lifetime - 1000, 400 * 86400)
    visitor.jar.restart()
    assert visitor.see("name") == "Ada"
    site.clock.advance(lifetime - 1000)
    visitor.jar.receive([f"__Host-session={again.value}; Path=/; Secure"])
    assert visitor.see("name") is None


def test_remember_me_can_be_chosen_and_taken_back_later(visitor: Visitor) -> None:
    """Choosing "remember me", or taking it back, in the middle of a session sends the same id again with and without a
    Max-Age."""
    visitor.do(put)
    before = visitor.id
    (kept,) = visitor.do(lambda session: session.set_timeouts(persistent=True)).cookies
    assert (kept.value, kept.max_age) == (before, 86400)
    (not_kept,) = visitor.do(lambda session: session.set_timeouts(persistent=False)).cookies
    assert (not_kept.value, not_kept.max_age) == (before, None)


def test_a_big_session_has_a_small_cookie(visitor: Visitor) -> None:
    """8 KB in the session, and the cookie takes less than 200 bytes."""
    response = visitor.do(lambda session: session.set("text", "x" * 8192))
    assert len(response.all("set-cookie")[0]) < 200
    assert len(visitor.see("text")) == 8192


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "app.localhost"])
def test_an_insecure_cookie_goes_to_this_machine(open_site: Open, host: str) -> None:
    """With ``insecure=True`` a request for a loopback address gets its cookie."""
    site = open_site(cookie=CookieConfig(insecure=True))
    (cookie,) = site.request(put, host=host).cookies
    assert "secure" not in cookie.attributes


@pytest.mark.parametrize("host", ["example.org", "192.168.1.5:8000", "localhost.example.org", "127.0.0.1.example.org"])
def test_an_insecure_cookie_goes_nowhere_else(open_site: Open, host: str) -> None:
    """With ``insecure=True`` a request for any other host is refused a cookie: the error says so, and nothing is
    stored."""
    site = open_site(cookie=CookieConfig(insecure=True))
    response = site.request(put, host=host)
    assert (response.status, response.cookies, site.held) == (500, [], 0)
    assert [type(error) for error in site.errors] == [ConfigurationError]
    assert site.request(lambda session: session.get("name"), host=host).status == 200


def test_what_is_saved_early_has_its_cookie(visitor: Visitor) -> None:
    """``save()`` in the middle of a request, on a new session, at sign-in or for "remember me", changes nothing about
    the cookie: the response sets it."""
    site = visitor.site
    visitor.do(lambda session: (put(session), site.save(session)))
    first = visitor.id
    assert visitor.see("name") == "Ada"
    visitor.do(lambda session: (session.login("ada"), site.save(session)))
    assert visitor.id not in (None, first)
    assert visitor.see("name") == "Ada"
    (cookie,) = visitor.do(lambda session: (session.set_timeouts(persistent=True), site.save(session))).cookies
    assert (cookie.value, cookie.max_age) == (visitor.id, 86400)
    assert visitor.do(lambda session: (put(session), site.save(session))).cookies == []
    assert visitor.do(lambda session: (put(session), site.save(session), session.end())).cookies[0].max_age == 0
    assert site.held == 0
