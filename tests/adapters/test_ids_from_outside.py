"""Whatever is in the cookie: no session that is not the client's own, no server error, no record, and, if it is not
even of the form of an id, no store access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sites import Site, Visitor
from sojourn.ids import join, mint

Open = Callable[..., Site]
NAME = "__Host-session"


def see(session: Any) -> Any:
    return session.get("name"), session.user_id, session.is_new


_NOBODY = (None, None, True)

_MALFORMED: dict[str, Callable[[str], str]] = {
    "empty": lambda live: f"{NAME}=",
    "name alone": lambda live: NAME,
    "null": lambda live: f"{NAME}=null",
    "deleted": lambda live: f"{NAME}=deleted",
    "a handle alone": lambda live: f"{NAME}={live.split('.')[0]}",
    "a handle and a dot": lambda live: f"{NAME}={live.split('.')[0]}.",
    "a secret alone": lambda live: f"{NAME}={live.split('.')[1]}",
    "too short": lambda live: f"{NAME}={live[:-1]}",
    "too long": lambda live: f"{NAME}={live}x",
    "handle too long": lambda live: f"{NAME}={'h' * 97}.{live.split('.')[1]}",
    "another alphabet": lambda live: f"{NAME}={live[:-1]}+",
    "a slash": lambda live: f"{NAME}=../../{live}",
    "percent": lambda live: f"{NAME}={live.replace('.', '%2E')}",
    "quoted": lambda live: f'{NAME}="{live}"',
    "inner space": lambda live: f"{NAME}={live.replace('.', ' .')}",
    "NUL": lambda live: f"{NAME}={live[:-1]}\0",
    "NUL after": lambda live: f"{NAME}={live}\0",
    "not ASCII": lambda live: f"{NAME}={live[:-1]}é",
    "another script's digits": lambda live: f"{NAME}={live[:-1]}{'٣'.encode().decode('latin-1')}",
    "a megabyte": lambda live: f"{NAME}={'x' * 1_000_000}",
    "a megabyte of handle": lambda live: f"{NAME}={'h' * 1_000_000}.{live.split('.')[1]}",
    "a megabyte of pairs": lambda live: "; ".join(["a=b"] * 200_000),
    "a line break": lambda live: f"{NAME}={live}\r\nSet-Cookie: {NAME}=evil",
    "an attribute": lambda live: f"{NAME}={live},Path=/",
    "two ids": lambda live: f"{NAME}={live},{live}",
    "another name": lambda live: f"session={live}",
    "another case": lambda live: f"{NAME.lower()}={live}",
    "a longer name": lambda live: f"x{NAME}={live}",
    "a space before the equals sign": lambda live: f"{NAME} ={live}",
    "another white space before the name": lambda live: f"\xa0{NAME}={live}",
    "a next line before the name": lambda live: f"a=b;\x85{NAME}={live}",
    "a file separator before the name": lambda live: f"a=b; \x1c{NAME}={live}",
    "an id in another cookie": lambda live: f"a={NAME}={live}",
    "JSON": lambda live: f'{NAME}={{"handle": "{live}"}}',
    "a pickle": lambda live: f"{NAME}=\x80\x04\x95",
    "no cookie at all": lambda live: ";;;===;;",
}


@pytest.mark.parametrize("header", _MALFORMED.values(), ids=_MALFORMED)
def test_what_is_no_id_never_reaches_the_store(visitor: Visitor, header: Callable[[str], str]) -> None:
    """What is not exactly of the form of an id: served as to a stranger, no cookie, no record and no store access,
    though a live id is part of it."""
    visitor.do(lambda session: session.set("name", "Ada"))
    site = visitor.site
    site.store.calls.clear()
    response = site.request(see, header(str(visitor.id)))
    assert (response.status, response.result, response.all("set-cookie")) == (200, _NOBODY, [])
    assert site.store.calls == []
    assert site.held == 1
    assert visitor.see("name") == "Ada"


def _wrong_secret(live: str, other: str) -> str:
    return f"{live.split('.')[0]}.{other.split('.')[1]}"


_UNKNOWN: dict[str, Callable[[str, str], str]] = {
    "unknown": lambda live, other: f"{NAME}={join(*mint())}",
    "right handle, another's secret": lambda live, other: f"{NAME}={_wrong_secret(live, other)}",
    "right handle, no such secret": lambda live, other: f"{NAME}={live.split('.')[0]}.{'s' * 43}",
    "right secret, another's handle": lambda live, other: f"{NAME}={_wrong_secret(other, live)}",
    "handle in another case": lambda live, other: f"{NAME}={live.split('.')[0].swapcase()}.{live.split('.')[1]}",
    "secret in another case": lambda live, other: f"{NAME}={live.split('.')[0]}.{live.split('.')[1].swapcase()}",
    "one character off": lambda live, other: f"{NAME}={live[:-1]}{'A' if live[-1] != 'A' else 'B'}",
}


@pytest.mark.parametrize("header", _UNKNOWN.values(), ids=_UNKNOWN)
def test_what_is_nobodys_id_opens_nothing(site: Site, header: Callable[[str, str], str]) -> None:
    """What has the form of an id and is none: one look in the store, no session, no cookie, no record, nothing
    written."""
    ada, bob = site.visitor(), site.visitor()
    ada.do(lambda session: session.set("name", "Ada"))
    bob.do(lambda session: session.set("name", "Bob"))
    site.store.calls.clear()
    response = site.request(see, header(str(ada.id), str(bob.id)))
    assert (response.status, response.result, response.all("set-cookie")) == (200, _NOBODY, [])
    assert site.store.calls == ["load"]
    assert (site.held, ada.see("name"), bob.see("name")) == (2, "Ada", "Bob")


@pytest.mark.parametrize("order", ["own first", "own last"])
def test_two_cookies_of_our_name_are_both_refused(site: Site, order: str) -> None:
    """Two different cookies of our name: somebody planted one, and neither is trusted. Nothing is looked up, and what
    is stored anew has an id of its own."""
    victim, attacker = site.visitor(), site.visitor()
    victim.do(lambda session: session.set("name", "Ada"))
    attacker.do(lambda session: session.set("name", "Eve"))
    pair = [str(victim.jar.header), str(attacker.jar.header)]
    header = "; ".join(pair if order == "own first" else reversed(pair))
    site.store.calls.clear()
    assert site.request(see, header).result == _NOBODY
    assert site.store.calls == []
    (cookie,) = site.request(lambda session: session.set("name", "new"), header).cookies
    assert cookie.value not in (victim.id, attacker.id)
    assert (victim.see("name"), attacker.see("name")) == ("Ada", "Eve")


def test_the_same_cookie_twice_is_one(visitor: Visitor) -> None:
    """The same cookie twice is one cookie, and the space around it does not matter."""
    visitor.do(lambda session: session.set("name", "Ada"))
    header = visitor.jar.header
    assert visitor.site.request(see, f"a=b;\t{header} ; {header};c").result == ("Ada", None, False)


def test_no_other_place_for_an_id_is_looked_at(visitor: Visitor) -> None:
    """An id in the query, in another header or in another cookie is ignored: it comes in our cookie or not at all."""
    visitor.do(lambda session: session.set("name", "Ada"))
    site, live = visitor.site, visitor.id
    query = f"{NAME}={live}&session={live}&session_id={live}&sid={live}"
    headers = [("authorization", f"Bearer {live}"), ("x-session-id", str(live)), (NAME.lower(), str(live))]
    assert site.request(see, f"session={live}; token={live}", query=query, headers=headers).result == _NOBODY


LATIN = st.text(st.characters(max_codepoint=255), max_size=60)


@given(LATIN, LATIN)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])  # the site stays as it was
def test_any_text_in_the_cookie_is_harmless(site: Site, before: str, value: str) -> None:
    """Any text at all in the ``Cookie`` header, before and in our cookie: served as to a stranger, no cookie, no
    record."""
    for header in (before, f"{NAME}={value}", f"{before};{NAME}={value}", f"{NAME}={value}.{'s' * 43}"):
        response = site.request(see, header)
        assert (response.status, response.result, response.all("set-cookie")) == (200, _NOBODY, [])
    assert site.held == 0
