"""No cache shows one visitor's page to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sites import Reply, Response, Site, Visitor

Open = Callable[..., Site]


def start(session: Any) -> None:
    session["name"] = "Ada"
    session.label = "phone"


_LOOKS: dict[str, Callable[[Any], Any]] = {
    "get": lambda session: session.get("name"),
    "get nothing": lambda session: session.get("no such"),
    "item": lambda session: session["name"] if len(session) else None,
    "in": lambda session: "name" in session,
    "has": lambda session: session.has("name"),
    "len": len,
    "bool": bool,
    "iterate": list,
    "keys": lambda session: list(session.keys()),
    "values": lambda session: list(session.values()),
    "items": lambda session: list(session.items()),
    "equal": lambda session: session == {"name": "Ada"},
    "unequal": lambda session: session != {"name": "Ada"},
    "to_dict": lambda session: session.to_dict(),
    "setdefault": lambda session: session.setdefault("name", "Ada"),
    "pop": lambda session: session.pop("name", None),
    "update": lambda session: session.update("n", lambda n: (n or 0) + 1),
    "set": lambda session: session.set("a", 1),
    "delete": lambda session: session.delete("a"),
    "clear": lambda session: session.clear(),
    "repr": repr,
    "is_new": lambda session: session.is_new,
    "user_id": lambda session: session.user_id,
    "handle": lambda session: session.handle,
    "session_id": lambda session: session.session_id,
    "label": lambda session: session.label,
    "created_at": lambda session: session.created_at,
    "authenticated_at": lambda session: session.authenticated_at,
    "last_accessed_at": lambda session: session.last_accessed_at,
    "expires_at": lambda session: session.expires_at,
    "rotate": lambda session: session.rotate(),
    "login": lambda session: session.login("ada"),
    "end": lambda session: session.end(),
    "timeouts": lambda session: session.set_timeouts(idle=600),
}


@pytest.mark.parametrize("look", _LOOKS.values(), ids=_LOOKS)
@pytest.mark.parametrize("signed_in", [False, True], ids=["anonymous", "visitor"])
def test_whoever_looks_gets_a_page_of_their_own(visitor: Visitor, look: Callable[[Any], Any], signed_in: bool) -> None:
    """Every way of looking into a session, and every change of it, adds ``Vary: Cookie`` and ``Cache-Control:
    no-store``, for those who have a session and for those who have none."""
    if signed_in:
        visitor.do(start)
    response = visitor.do(look)
    assert response.status == 200
    assert (response.all("vary"), response.all("cache-control")) == (["Cookie"], ["no-store"])


_HEADERS: dict[str, tuple[list[tuple[str, str]], list[str], list[str]]] = {
    "none": ([], ["Cookie"], ["no-store"]),
    "vary": ([("Vary", "Accept-Encoding")], ["Accept-Encoding, Cookie"], ["no-store"]),
    "vary twice": ([("Vary", "Accept"), ("vary", "Origin")], ["Accept, Origin, Cookie"], ["no-store"]),
    "vary cookie": ([("Vary", "Accept, cookie")], ["Accept, cookie"], ["no-store"]),
    "vary all": ([("Vary", "*")], ["*"], ["no-store"]),
    "vary cookie-like": ([("Vary", "X-Cookie")], ["X-Cookie, Cookie"], ["no-store"]),
    "public": ([("Cache-Control", "public, max-age=60")], ["Cookie"], ["no-store"]),
    "no-cache": ([("Cache-Control", "no-cache")], ["Cookie"], ["no-store"]),
    "private": ([("Cache-Control", "private, max-age=60")], ["Cookie"], ["private, max-age=60"]),
    "Private": ([("cache-control", "max-age=60, Private")], ["Cookie"], ["max-age=60, Private"]),
    "no-store": ([("Cache-Control", "no-store, no-transform")], ["Cookie"], ["no-store, no-transform"]),
    "private field": ([("Cache-Control", 'public, private="set-cookie"')], ["Cookie"], ["no-store"]),
    "private fields": ([("Cache-Control", 'max-age=9, private="x, y"')], ["Cookie"], ["no-store"]),
    "private-like": ([("Cache-Control", "max-age=60, x-private")], ["Cookie"], ["no-store"]),
}


@pytest.mark.parametrize(("given", "vary", "cache"), _HEADERS.values(), ids=_HEADERS)
def test_the_application_s_own_headers_are_respected(
    visitor: Visitor, given: list[tuple[str, str]], vary: list[str], cache: list[str]
) -> None:
    """An application's own Vary is added to, its ``private`` or ``no-store`` stands, and its other headers are not
    touched."""
    reply = Reply(headers=[("X-Own", "1"), *given, ("Set-Cookie", "theme=dark")])
    response = visitor.do(lambda session: session.get("name"), reply=reply)
    assert (response.all("vary"), response.all("cache-control")) == (vary, cache)
    assert (response.all("x-own"), response.all("set-cookie")) == (["1"], ["theme=dark"])


def test_a_cookie_that_is_sent_unasked_is_private_too(open_site: Open) -> None:
    """A response whose application did not look, and that carries a new cookie for the age of the old one, is
    private."""
    site = open_site(rotate_after=600)
    visitor = site.visitor()
    visitor.do(start)
    site.clock.advance(601)
    response = visitor.do(None, reply=Reply(headers=[("Cache-Control", "public, max-age=60")]))
    assert len(response.cookies) == 1
    assert response.private


class _Cache:
    """A shared cache that keeps whatever it may, by the method of RFC 9111."""

    def __init__(self) -> None:
        self._held: list[tuple[tuple[str, ...], str | None, Response]] = []
        self.hits = 0

    def ask(self, visitor: Visitor, handler: Callable[[Any], Any] | None, reply: Reply) -> Response:
        cookie = visitor.jar.header
        for vary, asked_with, response in self._held:
            if "cookie" not in vary or asked_with == cookie:
                self.hits += 1
                return response
        response = visitor.do(handler, reply=reply)
        directives = {part.strip().lower() for value in response.all("cache-control") for part in value.split(",")}
        vary = tuple(part.strip().lower() for value in response.all("vary") for part in value.split(","))
        if not directives & {"no-store", "private"} and "*" not in vary:
            self._held.append((vary, cookie, response))
        return response


@pytest.mark.parametrize("handler", [lambda session: session.get("name"), None], ids=["looks", "does not look"])
def test_a_shared_cache_crosses_no_pages(site: Site, handler: Callable[[Any], Any] | None) -> None:
    """Two visitors and a stranger behind a shared cache, on an application that calls its pages public: nobody is shown
    another's page, and pages that do not depend on a session are cached."""
    ada, bob, stranger = site.visitor(), site.visitor(), site.visitor()
    ada.do(lambda session: session.set("name", "Ada"))
    bob.do(lambda session: session.set("name", "Bob"))
    cache, public = _Cache(), Reply(headers=[("Cache-Control", "public, max-age=60")])
    for _ in range(3):
        seen = [cache.ask(who, handler, public).result for who in (ada, stranger, bob, ada)]
        assert seen == (["Ada", None, "Bob", "Ada"] if handler else [None] * 4)
    assert cache.hits == (0 if handler else 11)
