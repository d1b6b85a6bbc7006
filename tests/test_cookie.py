"""The cookie header: what is read from it, and that browsers take what is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser import Jar, Rejected, parse
from sojourn import CookieConfig
from sojourn.cookie import clear_cookie, is_loopback, read_cookies, set_cookie
from sojourn.ids import join, mint

NAME = "__Host-session"
DEFAULT = CookieConfig()
DAY = 86400

_HEADERS: list[tuple[list[str], list[str]]] = [
    ([], []),
    ([""], []),
    ([";;; ; ="], []),
    (["a=b; c=d"], []),
    ([f"{NAME}=x"], ["x"]),
    ([f"a=b;{NAME}=x;c=d"], ["x"]),
    ([f"a=b;\t {NAME}=x \t; c=d"], ["x"]),
    ([f"{NAME}="], [""]),
    ([NAME], []),
    ([f"{NAME}=x=y"], ["x=y"]),
    ([f'{NAME}="x"'], ['"x"']),
    ([f"{NAME}=%41"], ["%41"]),
    ([f"{NAME}=x; {NAME}=x"], ["x"]),
    ([f"{NAME}=x; {NAME}=y"], ["x", "y"]),
    ([f"{NAME}=x", "a=b", f"{NAME}=y"], ["x", "y"]),
    ([f"{NAME}=x; {NAME}="], ["x", ""]),
    ([f"{NAME.lower()}=x; {NAME.upper()}=y; session=z; __Secure-session=w"], []),
    ([f"{NAME.lower()}=x; {NAME}=y; {NAME.upper()}=z"], ["y"]),
    ([f"x{NAME}=x; {NAME}x=y; {NAME} =z"], []),
    ([f"a={NAME}=x"], []),
    ([f"a=b,{NAME}=x"], []),
]


@pytest.mark.parametrize(("headers", "values"), _HEADERS, ids=repr)
def test_our_cookie_is_read_by_its_exact_name(headers: list[str], values: list[str]) -> None:
    """The values of our cookie are found by its exact name, as they are, without repeats; all if they differ."""
    assert read_cookies(headers, DEFAULT) == values


@pytest.mark.parametrize(
    "space", [chr(code) for code in range(256) if chr(code).isspace() and chr(code) not in " \t"], ids=repr
)
def test_no_other_white_space_hides_a_planted_name(space: str) -> None:
    """A name behind white space other than spaces and tabs, which browsers let any site set without a prefix's
    protection, is not ours."""
    assert read_cookies([f"a=b;{space}{NAME}=evil"], DEFAULT) == []
    assert read_cookies([f"{space}{NAME}=evil; {NAME}=x"], DEFAULT) == ["x"]


@given(st.lists(st.text(), max_size=5))
def test_no_header_is_too_strange_to_read(headers: list[str]) -> None:
    """Reading never fails, and what is found stood in a header after our name."""
    for value in read_cookies([*headers, *(f"{NAME}={header}" for header in headers)], DEFAULT):
        assert any(f"{NAME}={value}" in header for header in [*headers, *(f"{NAME}={header}" for header in headers)])


@st.composite
def configs(draw: st.DrawFn) -> CookieConfig:
    """Every cookie that may be configured."""
    insecure = draw(st.booleans())
    samesite = draw(st.sampled_from(["Lax", "Strict"] if insecure else ["Lax", "Strict", "None"]))
    return CookieConfig(
        name=draw(st.from_regex(r"[A-Za-z0-9!#$%&'*+.^`|~-][A-Za-z0-9_]{0,20}", fullmatch=True).filter(_is_free)),
        samesite=samesite,  # type: ignore[arg-type]
        domain=draw(st.sampled_from([None, "example.org", ".example.org"])),
        partitioned=samesite == "None" and draw(st.booleans()),
        insecure=insecure,
    )


def _is_free(name: str) -> bool:
    return not name.lower().startswith("__")


@given(configs(), st.none() | st.floats(-10, 10_000 * DAY))
def test_browsers_take_every_cookie_that_can_be_configured(config: CookieConfig, lasts: float | None) -> None:
    """Every configuration that is accepted makes a cookie that a browser accepts, sends back to us, and deletes when it
    is told to; every attribute is spelled out."""
    session_id = join(*mint())
    header = set_cookie(session_id, config, lasts)
    cookie = parse(header)
    assert cookie.value == session_id
    assert cookie.name == config.full_name
    assert {"path", "httponly", "samesite"} <= cookie.attributes.keys()
    assert ("secure" in cookie.attributes) is not config.insecure
    assert ("partitioned" in cookie.attributes) is config.partitioned
    assert cookie.attributes["samesite"] == config.samesite
    assert len(header) < 250
    jar = Jar("shop.example.org", lambda: 0.0, tls=not config.insecure)
    jar.receive([header])
    if lasts is None or lasts >= 1:
        assert read_cookies([str(jar.header)], config) == [session_id]
    jar.receive([clear_cookie(config)])
    assert jar.cookies == []
    assert parse(clear_cookie(config)).flags == cookie.flags


@pytest.mark.parametrize(
    ("lasts", "age"),
    [
        (None, None),
        (0.0, 0),
        (-5.0, 0),
        (0.9, 0),
        (59.99, 59),
        (400 * DAY, 400 * DAY),
        (401 * DAY, 400 * DAY),
        (1e12, 400 * DAY),
    ],
)
def test_a_cookie_never_outlives_its_session(lasts: float | None, age: int | None) -> None:
    """Max-Age is whole seconds, rounded down, from 0 to 400 days; without "remember me" there is none."""
    assert parse(set_cookie("x", DEFAULT, lasts)).attributes.get("max-age") == (None if age is None else str(age))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost:8000",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.9.9.9",
        "[::1]",
        "[::1]:8000",
        "a.localhost:1",
    ],
)
def test_this_machine_is_known(host: str) -> None:
    """Loopback addresses and names are this machine, with a port or without."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "", ":", "[", "]", "[]", "::", "example.org", "localhost.example.org", "127.0.0.1.example.org", "128.0.0.1",
        "10.0.0.1", "0.0.0.0", "[::]", "[::2]", "notlocalhost", "localhost@example.org", "2130706433", "127.1",
        "0x7f.0.0.1", "\x00", "é", "example.org/localhost", "x" * 100_000,
    ],
    ids=lambda host: repr(host)[:30],
)  # fmt: skip
def test_other_machines_are_not_this_one(host: str) -> None:
    """Whatever else a ``Host`` header says is another machine."""
    assert not is_loopback(host)


_REFUSED_BY_BROWSERS: dict[str, str] = {
    "__Host- without Secure": "__Host-a=b; Path=/",
    "__Host- with a Domain": "__Host-a=b; Path=/; Secure; Domain=example.org",
    "__Host- below the root": "__Host-a=b; Path=/shop; Secure",
    "__host- in lower case": "__host-a=b; Path=/",
    "__Secure- without Secure": "__Secure-a=b; Path=/",
    "SameSite=None without Secure": "a=b; SameSite=None",
    "Partitioned without Secure": "a=b; Partitioned",
    "too long": f"a={'b' * 4096}",
    "a line break": "a=b\r\nc",
    "no name": "=b",
}


@pytest.mark.parametrize("header", _REFUSED_BY_BROWSERS.values(), ids=_REFUSED_BY_BROWSERS)
def test_the_model_of_a_browser_is_strict(header: str) -> None:
    """The model that these tests trust drops what RFC 6265bis has browsers drop."""
    with pytest.raises(Rejected):
        parse(header)


def test_the_model_of_a_browser_forgets_on_time() -> None:
    """The model keeps a cookie for its Max-Age, 400 days at most, and one without until the browser closes."""
    now: dict[str, Any] = {"at": 0.0}
    jar = Jar("example.org", lambda: now["at"])
    jar.receive(["a=1; Max-Age=10", f"b=2; Max-Age={1000 * DAY}", "c=3"])
    now["at"] = 11.0
    assert jar.header == "b=2; c=3"
    jar.restart()
    assert jar.header == "b=2"
    now["at"] = 400.0 * DAY + 1
    assert jar.header is None
