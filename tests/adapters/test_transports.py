"""How the id travels, in every framework: by the cookie unless another way is asked for by name, and one way a
request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sites import Response, Site

Open = Callable[..., Site]


def start(session: Any) -> None:
    session["name"] = "Ada"


def see(session: Any) -> Any:
    return session.get("name")


def given(response: Response) -> str:
    """The id in the response's own header."""
    (session_id,) = response.all("session-id")
    assert response.all("set-cookie") == []
    return session_id


def bearer(session_id: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {session_id}")]


def test_by_the_header(open_site: Open) -> None:
    """With the transport "header" a client that is no browser is sent its id in ``Session-Id``, shows it as a bearer
    token, gets the next one when it rotates, and an empty one at the end. No cookie is set, and none is looked at."""
    site = open_site(transports=("header",))
    first = given(site.request(start))
    response = site.request(see, headers=bearer(first))
    assert (response.result, response.all("session-id")) == ("Ada", [])
    assert "authorization" in response.all("vary")[0].lower()
    assert site.request(see, f"__Host-session={first}").result is None
    second = given(site.request(lambda session: session.rotate(), headers=bearer(first)))
    assert second != first
    assert site.request(see, headers=bearer(first)).result is None
    assert given(site.request(lambda session: session.end(), headers=bearer(second))) == ""
    assert site.held == 0


def test_by_the_url(open_site: Open) -> None:
    """With the transport "url" the query has the id, and the response sees to it that links on the page do not tell
    it."""
    site = open_site(transports=("url",))
    response = site.request(lambda session: (start(session), session.session_id)[1])
    assert (response.all("set-cookie"), response.all("session-id")) == ([], [])
    again = site.request(see, query=f"session_id={response.result}")
    assert again.result == "Ada"
    assert again.all("referrer-policy") == ["no-referrer"]
    assert site.request(see, f"__Host-session={response.result}").result is None


def test_an_id_elsewhere_is_not_looked_at(open_site: Open) -> None:
    """By default nothing but the cookie counts: the same id in a header or in the query opens nothing, and costs no
    store access."""
    site = open_site()
    visitor = site.visitor()
    visitor.do(start)
    site.store.calls.clear()
    assert site.request(see, headers=bearer(str(visitor.id))).result is None
    assert site.request(see, query=f"session_id={visitor.id}&ticket={visitor.id}").result is None
    assert site.store.calls == []
    assert visitor.see("name") == "Ada"


def test_of_two_ids_the_first_way_counts(open_site: Open) -> None:
    """Where two ways are configured and a request uses both, the first counts alone, even if what it shows is nothing
    any more; and the answer goes back that way."""
    site = open_site(transports=("header", "cookie"))
    ada = given(site.request(start))
    eve = given(site.request(lambda session: session.set("name", "Eve")))
    assert site.request(see, f"__Host-session={eve}", headers=bearer(ada)).result == "Ada"
    assert site.request(see, f"__Host-session={eve}").result == "Eve"
    assert site.request(see, f"__Host-session={eve}", headers=bearer(ada[:-1])).result is None
    given(site.request(lambda session: session.rotate(), f"__Host-session={eve}", headers=bearer(ada)))
    by_cookie = site.request(lambda session: session.rotate(), f"__Host-session={eve}")
    assert (len(by_cookie.all("set-cookie")), by_cookie.all("session-id")) == (1, [])


@pytest.mark.parametrize("shown", ["", "x", "Bearer", "é" * 66, "a.b", "x" * 100_000])
def test_what_is_no_id_is_nobody(open_site: Open, shown: str) -> None:
    """Whatever comes as a bearer token: nobody's session, no error, no store access."""
    site = open_site(transports=("header",))
    response = site.request(see, headers=bearer(shown.encode().decode("latin-1")))
    assert (response.status, response.result, site.store.calls) == (200, None, [])


def test_a_session_may_be_kept_for_who_put_nothing_in(open_site: Open) -> None:
    """``session.keep()`` gives a visitor a session, and the cookie, though nothing was put in."""
    visitor = open_site().visitor()
    (cookie,) = visitor.do(lambda session: session.keep()).cookies
    assert cookie.name == "__Host-session"
    assert visitor.do(lambda session: session.keep()).cookies == []
    assert visitor.site.held == 1
