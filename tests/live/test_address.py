"""The query parameters of the page's address: what a program and a browser may say, over sockets, and in Chromium."""

from __future__ import annotations

import logging
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from browsing import Visits, chromium, live
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect
from test_browser_module import at, eventually, shown, update, widget
from visiting import Site, served

from sojourn import ConfigurationError, UnsupportedValue
from sojourn.codec import Codec
from sojourn.config import SessionConfig
from sojourn.live import App
from sojourn.live import widgets as w
from sojourn.live.kept import OVERRIDE
from sojourn.live.widget import Refused
from sojourn.live.widgets.address import LONGEST
from sojourn.manager import AsyncSessionManager

# --- What it can be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [5, None, b"a=1", "?a=1", "a b", "a=\u00fc", "a#b", "a='b'", 'a="', "a<b", "a\n", "\ud800", "\x7f", "a" * 4_001],
    ids=[
        *("number", "none", "bytes", "question mark", "space", "umlaut", "hash", "quote", "double quote", "less"),
        *("line break", "half a pair", "control", "long"),
    ],
)
def test_what_cannot_stand_in_an_address_is_refused(query: Any) -> None:
    """By a program and by a browser: what is no text, what browsers would write in another way, what is too long."""
    with pytest.raises(UnsupportedValue, match=r"^Address\.query: ."):
        w.Address(query)
    with pytest.raises(Refused) as refused:
        w.Address().take("change", query)
    assert refused.value.code == "wrong_value"


def test_the_bounds() -> None:
    """4,000 characters and 1,000 parameters are taken, and not one more."""
    assert w.Address("a" * LONGEST).query == "a" * 4_000
    assert len(w.Address("&".join(["a="] * 1_000)).params.get_all("a")) == 1_000
    with pytest.raises(UnsupportedValue, match="too many"):
        w.Address("&".join(["a="] * 1_001))
    address = w.Address("a=" + "x" * 3_998)
    with pytest.raises(UnsupportedValue, match="4,000"):
        address.params["b"] = 1
    assert address.query == "a=" + "x" * 3_998


@given(st.text(alphabet=string.printable + "\u00fc\u20ac\x00", max_size=30))
def test_what_is_taken_is_ascii_without_gaps(query: str) -> None:
    """What stands in it can stand in an address as it is: printable ASCII, and none that browsers rewrite."""
    try:
        taken = w.Address(query).query
    except UnsupportedValue:
        return
    assert taken == query
    assert all(33 <= ord(letter) < 127 and letter not in "\"#'<>" for letter in taken)


@given(st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5), min_size=1, max_size=3), max_size=4))
def test_whatever_is_set_by_name_is_read_back(params: dict[str, list[str]]) -> None:
    """Names and values of any text, in one order, are in the query, and in `params` when it is read again."""
    address = w.Address()
    for name, texts in params.items():
        address.params[name] = texts
    assert {name: address.params.get_all(name) for name in address.params} == params
    assert parse_qs(address.query, keep_blank_values=True) == params


def test_params_are_a_mapping() -> None:
    """They are read, set, deleted and cleared; those of the browser's stay. What is set changes that name alone."""
    address = w.Address("embed=true&a=1&b=2")
    params = address.params
    address.query += "&c=3"
    params["a"] = ["x", "y"]
    assert address.query == "embed=true&a=x&a=y&b=2&c=3"
    del params["b"]
    assert address.params.to_dict() == {"a": "y", "c": "3"}
    with pytest.raises(KeyError):
        params["c"]
    with pytest.raises(UnsupportedValue):
        params["embed"] = "false"
    address.params.clear()
    assert address.query == "embed=true"


def test_no_other_kind_has_a_query() -> None:
    """By the name of the property the dashboard knows what it is that a session has of its own."""
    assert [kind for kind, declared in w.KINDS.items() if "query" in declared.properties] == ["address"]


def test_there_is_one_at_most() -> None:
    """On the page itself, the app's or the session's own; one may be put in the place of another."""
    app = App(title="Address")
    first = app.address("a=1")
    with pytest.raises(ConfigurationError, match="one address at most"):
        app.address()
    with pytest.raises(ConfigurationError, match="belongs in a page"):
        app.container().add_widget(w.Address())
    with pytest.raises(ConfigurationError, match="one address at most"):
        app.text("x").replace(w.Address())
    assert first.replace(w.Address("b=2")).query == "b=2"


# --- Over the socket -------------------------------------------------------------------------------------------------


def noting(**options: Any) -> App:
    """An app that tells what its address says, and takes another at a click."""
    app = App(title="Address", **options)
    address = app.address(key="address")
    app.text("", key="told")
    other = app.button("Other", key="other")

    @address.on_change
    def come(session: Any, query: str) -> None:
        session.widget("told").text = f"{query} {sorted(address.params.items())}"
        if "bad" in address.params:
            raise ValueError("bad")

    @other.on_click
    def go(session: Any) -> None:
        address.params["page"] = 2

    return app


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with served(noting()) as site:
        yield site


def test_each_session_has_its_own(site: Site) -> None:
    """What a visitor's address says is told to the callback, kept, and shown in the visitor's other tabs; nobody else
    hears of it. What the program sets is told to all tabs of the session."""
    visitor = site.visitor()
    tab, second, other = visitor.open(), visitor.open(), site.visitor().open()
    tab.change("g:address", "a=1&b=%20")
    assert tab.shows("g:told")["text"] == "a=1&b=%20 [('a', '1'), ('b', ' ')]"
    second.until(lambda page: page.props("g:address")["value"] == "a=1&b=%20")
    second.click("g:other")
    tab.until(lambda page: page.props("g:address")["value"] == "a=1&b=+&page=2")
    assert visitor.load().props("g:address") == {"value": "a=1&b=+&page=2"}
    assert other.quiet() == []
    assert other.shows("g:address") == {"value": ""}


def test_none_beside_the_apps(site: Site) -> None:
    """Where the app has an address, a session is given none."""
    visitor = site.visitor()
    visitor.load()
    with pytest.raises(ConfigurationError, match="one address at most"):
        site.do(site.app.in_session(visitor.session_id, lambda session: session.address()))


def test_what_is_no_address_changes_nothing(site: Site) -> None:
    """It is refused, and no callback is called."""
    tab = site.visitor().open()
    tab.change("g:address", "a=1")
    for value in ("a b", "x" * 4_001, None, {"query": "a"}):
        assert tab.refused("g:address", "change", value) == "wrong_value"
    assert tab.refused("g:address", "click") == "not_allowed"
    assert (tab.shows("g:address")["value"], tab.shows("g:told")["text"]) == ("a=1", "a=1 [('a', '1')]")


def test_where_the_visitor_is_is_kept_though_a_callback_fails(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """As what was typed: it stands in the browser's address, too."""
    tab = site.visitor().open()
    with caplog.at_level(logging.CRITICAL, logger="sojourn"):
        assert tab.refused("g:address", "change", "bad=1") == "failed"
    assert tab.visitor.load().props("g:address") == {"value": "bad=1"}


def test_the_session_has_it_from_the_start(site: Site) -> None:
    """Of an app's address that says nothing yet there is a field in the session, so that the dashboard finds it."""
    visitor = site.visitor()
    visitor.load()

    async def fields() -> dict[str, bytes]:
        record = await site.app.engine.store.load(visitor.session_id.split(".")[0])
        assert record is not None
        return record.fields

    kept = site.do(fields())
    assert Codec().decode("x", kept[f"{OVERRIDE}address"]) == {"props": {"query": ""}}


def test_a_session_has_one_of_its_own(tmp_path: Path) -> None:
    """It is as the app's, and its callback is found again; beside one, its own or the app's, there is no other."""
    app = App(title="Own", store=f"sqlite:///{tmp_path / 's'}")
    problems: list[str] = []

    @app.on_session
    def start(session: Any) -> None:
        address = session.address("tab=one", key="address")
        address.on_change(lambda session, query: session.set("query", query))
        try:
            session.address()
        except ConfigurationError as error:
            problems.append(str(error))

    with served(app) as site:
        tab = site.visitor().open()
        assert tab.shows("s:address") == {"value": "tab=one"}
        tab.change("s:address", "tab=two")
        assert tab.shows("s:address") == {"value": "tab=two"}
        got = site.do(app.in_session(tab.visitor.session_id, lambda session: session["query"]))
    assert (got, problems) == ("tab=two", ["there is one address at most on a page"])


# --- In a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def search(page: Page) -> str:
    found: str = page.evaluate("location.search + location.hash")
    return found


def says(page: Page, wanted: str) -> None:
    page.wait_for_function("(wanted) => location.search + location.hash === wanted", arg=wanted)


@pytest.mark.battery
def test_the_address_follows(browser: Browser) -> None:
    """What the server says stands in the address, with the path and the hash as they were, and without a step in the
    history; nothing is seen, and nothing sent back."""
    with shown(browser, widget("text", "t", text="x"), widget("address", "a", value="kept=1")) as (server, page):
        says(page, "?kept=1")
        page.evaluate("location.hash = '#here'")
        length = page.evaluate("history.length")
        for number, query in enumerate(("a=1&b=%20", "a='/?:@!$()*,;=~[]{}|^`\\", "", "z=%zz&&=", "n=9"), 1):
            server.change("s", number, update(a={"value": query}))
            says(page, f"{f'?{query}' if query else ''}#here".replace("'", "%27"))
        assert page.evaluate("[history.length, location.pathname]") == [length, "/"]
        expect(at(page, "a")).to_be_hidden()
        assert at(page, "a").bounding_box() is None
        server.change("s", 6, update(a={"value": "it='s"}))
        says(page, "?it=%27s#here")
        page.evaluate("location.hash = '#there'")  # what the browser writes in another way is no news of the visitor's
        says(page, "?it=%27s#there")
        server.change("s", 7, update(t={"text": "y"}))
        expect(at(page, "t")).to_have_text("y")
        assert (server.events, server.loads) == ([], 1)


@pytest.mark.battery
def test_what_the_visitor_does_is_said(browser: Browser) -> None:
    """A load with another query, and a step back to one, is told; until that is answered the server's word waits. A
    load with the same query, or none, tells nothing, nor does a step to another place of the page."""
    with shown(browser, widget("address", "a", value="kept=1")) as (server, page):
        page.goto(f"{server.url}?kept=1#x")
        live(page)
        page.evaluate("location.hash = '#y'")
        assert server.events == []
        page.goto(f"{server.url}?a=1&b=%20#x")
        eventually(lambda: [one[1:] for one in server.events] == [("s:a", "change", "a=1&b=%20")])
        assert search(page) == "?a=1&b=%20#x"
        page.evaluate("history.pushState(null, '', '?a=2')")
        server.change("s", 1, update(a={"value": "a=3"}))
        says(page, "?a=3")
        server.answering = False
        page.evaluate("history.back()")
        eventually(lambda: [one[3] for one in server.events[1:]] == ["a=1&b=%20"])
        server.change("s", 2, update(a={"value": "late=1"}))
        page.evaluate("new Promise((done) => setTimeout(done, 100))")
        assert search(page) == "?a=1&b=%20#x"
        server.say({"t": "error", "n": server.events[-1][0], "code": "wrong_value", "message": "No."})
        says(page, "?late=1#x")
        expect(page.locator(".toast")).to_contain_text("No.")


@pytest.mark.battery
def test_one_that_is_gone_says_nothing(browser: Browser) -> None:
    """When the widget is taken away the address stays as it is; another that comes has its place."""
    with shown(browser, widget("address", "a", value="a=1")) as (server, page):
        says(page, "?a=1")
        page.evaluate("history.pushState(null, '', '?a=2'); history.pushState(null, '', '?a=3')")
        server.change("s", 1, {"op": "remove", "ids": ["s:a"]})
        expect(at(page, "a")).to_have_count(0)
        page.evaluate("history.back()")
        says(page, "?a=2")
        server.change("s", 2, {"op": "add", "into": "", "after": "", "widget": widget("address", "b", value="")})
        eventually(lambda: [one[1:] for one in server.events] == [("s:b", "change", "a=2")])


@pytest.mark.battery
def test_an_id_in_the_address_is_told_to_nobody(browser: Browser) -> None:
    """Where sessions go by the address, the id stays there and is no part of the query."""
    manager = AsyncSessionManager("memory://", config=SessionConfig(transports=("url",)))
    with Visits(browser, noting(manager=manager)) as visits:
        session_id = visits.site.do(manager.create_session())
        handle, secret = session_id.split(".")
        guest = visits.guest()
        page = guest.open(f"{guest.url}?session_id={session_id}&a=1")
        expect(page.locator("[data-id='g:told']")).to_have_text("a=1 [('a', '1')]")
        page.get_by_role("button", name="Other").click()
        says(page, f"?session_id={session_id}&a=1&page=2")
        assert not any(secret in frame for frame in guest.frames)
        record = visits.site.do(manager.store.load(handle))
        assert b"a=1&page=2" in b"".join(record.fields.values())
        assert secret.encode() not in b"".join(record.fields.values())
        visits.site.do(manager.close())


@pytest.mark.battery
def test_a_visit(browser: Browser) -> None:
    """From a link to what the callback shows; both tabs have one query; back and forward; a reload is as it was."""
    with Visits(browser, noting()) as visits:
        guest = visits.guest()
        page = guest.open(f"{guest.url}?a=1")
        expect(page.locator("[data-id='g:told']")).to_have_text("a=1 [('a', '1')]")
        second = guest.open()
        says(second, "?a=1")
        second.get_by_role("button", name="Other").click()
        says(page, "?a=1&page=2")
        page.evaluate("history.pushState(null, '', '?b=3'); history.back()")
        says(page, "?a=1&page=2")
        page.evaluate("history.forward()")
        says(second, "?b=3")
        page.reload()
        live(page)
        assert search(page) == "?b=3"
        expect(page.locator("[data-id='g:told']")).to_have_text("b=3 [('b', '3')]")
