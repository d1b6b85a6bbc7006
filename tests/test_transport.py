"""How an id comes with a request, and how another goes back: one transport counts, and nothing else is looked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import CookieConfig
from sojourn.cookie import read_cookies
from sojourn.transport import Credentials, cookie_for, find, headers_to_clear, headers_to_set, varies_with

COOKIE = CookieConfig()
EVERYWHERE = Credentials(
    cookies=["__Host-session=by-cookie"],
    authorization=["Bearer by-header"],
    query="session_id=by-url&ticket=by-ticket",
    socket=True,
)


@pytest.mark.parametrize(
    ("transports", "found"),
    [
        (("cookie",), ("cookie", "by-cookie")),
        (("header",), ("header", "by-header")),
        (("url",), ("url", "by-url")),
        (("cookie", "header", "url"), ("cookie", "by-cookie")),
        (("header", "cookie"), ("header", "by-header")),
        (("url", "header"), ("url", "by-url")),
    ],
)
def test_the_first_that_is_used_counts(transports: tuple[str, ...], found: tuple[str, str]) -> None:
    """Of ids in several places the first transport that is configured counts, and the others are not looked at."""
    shown = find(EVERYWHERE, transports, COOKIE)  # type: ignore[arg-type]
    assert (shown.transport, *shown.ids) == found


def test_one_that_is_not_used_gives_way() -> None:
    """A transport that the request does not use gives way to the next; where none is used, the answer goes by the
    first."""
    by_header = Credentials(cookies=["other=1"], authorization=["Bearer a"])
    assert find(by_header, ("cookie", "header"), COOKIE).transport == "header"
    assert find(Credentials(), ("header", "cookie"), COOKIE).transport == "header"
    assert find(Credentials(), ("header", "cookie"), COOKIE).ids == ()


@pytest.mark.parametrize(
    ("headers", "ids"),
    [
        (["Bearer a"], ["a"]),
        (["bearer a"], ["a"]),
        (["BEARER   a "], ["a"]),
        (["Bearer a", "Bearer a"], ["a"]),
        (["Bearer a", "Bearer b"], ["a", "b"]),
        (["Basic a"], []),
        (["Basic a", "Bearer b"], ["b"]),
        (["Bearer"], [""]),
        (["Bearera"], []),
        ([""], []),
        ([], []),
    ],
)
def test_bearers(headers: list[str], ids: list[str]) -> None:
    """The header is ``Authorization: Bearer ID``; other schemes are not ours; of two that differ none is trusted."""
    assert list(find(Credentials(authorization=headers), ("header",), COOKIE).ids) == ids


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("session_id=a", ["a"]),
        ("x=1&session_id=a&y=2", ["a"]),
        ("session_id=a&session_id=a", ["a"]),
        ("session_id=a&session_id=b", ["a", "b"]),
        ("session_id=%61", ["a"]),
        ("session_id=", [""]),
        ("xsession_id=a", []),
        ("session_id", [""]),
        ("", []),
    ],
)
def test_parameters(query: str, ids: list[str]) -> None:
    """The parameter of the query is ``session_id``, as any parameter is read."""
    assert list(find(Credentials(query=query), ("url",), COOKIE).ids) == ids


def test_a_ticket_is_for_sockets_that_show_nothing_else() -> None:
    """A ticket counts on a WebSocket, and only where no id is shown; in a request it is nothing."""
    query = "ticket=t"
    assert find(Credentials(query=query, socket=True), ("cookie",), COOKIE).transport == "ticket"
    assert find(Credentials(query=query), ("cookie",), COOKIE).ids == ()
    with_cookie = Credentials(cookies=["__Host-session=a"], query=query, socket=True)
    assert find(with_cookie, ("cookie",), COOKIE).transport == "cookie"


@given(st.text(), st.text(), st.text())
def test_whatever_comes_is_read(cookie: str, header: str, query: str) -> None:
    """Nothing that a client sends makes the reading fail."""
    shown = Credentials(cookies=[cookie], authorization=[header], query=query, socket=True)
    for transports in (("cookie",), ("header",), ("url",)):
        find(shown, transports, COOKIE)  # type: ignore[arg-type]


def test_the_way_back() -> None:
    """An id goes back the way that it came; in a URL it goes nowhere, as the application writes the links."""
    assert headers_to_set("cookie", "ID", COOKIE, None)[0][1].startswith("__Host-session=ID; ")
    assert headers_to_set("header", "ID", COOKIE, None) == [("Session-Id", "ID")]
    assert headers_to_set("url", "ID", COOKIE, None) == []
    assert "Max-Age=0" in headers_to_clear("cookie", COOKIE)[0][1]
    assert headers_to_clear("header", COOKIE) == [("Session-Id", "")]
    assert headers_to_clear("ticket", COOKIE) == []
    assert varies_with(("cookie", "header", "url")) == ("Cookie", "Authorization")


@pytest.mark.parametrize(
    ("host", "secure", "name"),
    [
        ("testserver", False, "session"),
        ("TestServer:80", False, "session"),
        ("testserver", True, "__Host-session"),
        ("localhost", False, "__Host-session"),
        ("testserver.example", False, "__Host-session"),
        ("example.com", False, "__Host-session"),
        ("", False, "__Host-session"),
    ],
)
def test_test_clients_get_a_cookie_that_they_can_keep(host: str, secure: bool, name: str) -> None:
    """Only over plain http, and only for the host that test clients call themselves, the cookie has no prefix and no
    Secure."""
    chosen = cookie_for(CookieConfig(samesite="None", partitioned=True), Credentials(host=host, secure=secure))
    assert chosen.full_name == name
    assert bool(chosen.insecure) == (name == "session")
    assert read_cookies([f"{name}=a"], chosen) == ["a"]
