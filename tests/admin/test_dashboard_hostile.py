"""Whatever sessions hold, the dashboard shows it, and stays alive: script in disguise wherever a visitor's text can be,
values of a megabyte, values in values as deep as they can be stored, thousands of fields, types that this process does
not know, and records whose bytes are damaged. In Chromium, in all three views, with values shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from admin_storing import Raw, stored
from browsing import chromium, faults
from dashing import Operator, shown
from playwright.sync_api import Browser, expect
from test_hostile_values import _SAID as SAID
from test_hostile_values import CORPUS, check_inert
from visiting import Site

from servers.valkey import Valkey
from sojourn import SessionManager
from sojourn.codec import MAX_DEPTH

pytestmark = pytest.mark.battery

LONGEST_FRAME = 150_000  # characters
TEXTS = [text for text in CORPUS if text.isprintable()]
"""Those that are shown as they are: signs that cannot be seen are told in another way on a line."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


class Seen:
    """A dashboard, and an operator who looks at hostile sessions."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self.site = site
        self.operator = Operator(browser, site, viewport={"width": 1280, "height": 900})
        self.page = self.operator.enter()
        self.operator.complaints.clear()  # that the sign-in was needed

    def store(self, values: dict[str, Any], **given: Any) -> str:
        """The handle of a new session."""
        handle: str = self.site.do(stored(self.site.app.engine, values, **given))
        return handle

    def turn_to(self, view: int) -> None:
        self.page.get_by_role("navigation").get_by_role("button").nth(view).click()

    def open(self, handle: str) -> None:
        """One session, with its values."""
        self.turn_to(2)
        back = self.page.locator("[data-id='g:goto-handle']")
        if not back.is_visible():
            self.turn_to(1)
            self.search("handle", handle)
            expect(self.page.locator("[data-id='g:found'] tbody tr")).to_have_count(1)
            self.page.locator("[data-id='g:found'] tbody tr").get_by_role("button").first.click()
        else:
            back.locator("input").fill(handle)
            self.page.get_by_role("button", name="Open", exact=True).click()
        expect(self.page.locator("[data-id='g:one-name']")).to_contain_text(handle)
        self.page.get_by_role("button", name="Show values").click()
        expect(self.page.get_by_role("button", name="Hide values")).to_be_visible()

    def search(self, name: str, text: str) -> None:
        for other in ("user", "handle", "label"):
            self.page.locator(f"[data-id='g:find-{other}'] input").fill(text if other == name else "")
        self.page.get_by_role("button", name="Search", exact=True).click()

    def said(self, key: str) -> str:
        """All that a widget says."""
        text: str = self.page.evaluate(SAID)[f"g:{key}"]
        return text

    def check(self) -> None:
        """Nothing ran, nothing was fetched from elsewhere, the page is alive, and no frame is large."""
        check_inert(self.page, self.operator)
        assert self.page.locator("html").get_attribute("data-state") == "open"
        assert max(map(len, self.operator.frames)) < LONGEST_FRAME


@contextmanager
def seen(browser: Browser, url: str) -> Iterator[Seen]:
    with shown(url) as site:
        made = Seen(browser, site)
        yield made
        made.check()
        made.operator.close()


@pytest.fixture
def it(browser: Browser, tmp_path: Path) -> Iterator[Seen]:
    with seen(browser, f"sqlite:///{tmp_path}/sessions.db?deadline=10") as made:
        yield made


# --- Script in disguise ----------------------------------------------------------------------------------------------


def test_hostile_users_and_labels(it: Seen) -> None:
    """In the list, in what was found, in the facts of a session, and in the overview."""
    handles = {text: it.store({"n": 1}, user_id=text, label=text) for text in CORPUS}
    it.turn_to(1)
    expect(it.page.locator("[data-id='g:found'] tbody tr")).to_have_count(len(CORPUS))
    said = it.said("found")
    for text in TEXTS:
        assert text[:60] in said
    it.check()
    for text in CORPUS[::6]:
        it.turn_to(1)
        it.search("user", text)
        expect(it.page.locator("[data-id='g:found'] tbody tr")).to_have_count(1 if text.strip() == text else 0)
        it.check()
        it.open(handles[text])
        assert text not in TEXTS or text[:120] in it.said("one-facts")
        it.check()
    it.turn_to(0)
    expect(it.page.locator("[data-id='g:oldest'] tbody tr")).to_have_count(8)
    it.check()


def test_hostile_fields(it: Seen) -> None:
    """As names of fields, nested keys, members and values; when each is selected, in the form that edits it; and when
    it was saved, in the timeline."""
    handle = it.store({f"{text}": text for text in CORPUS})
    nested = it.store({"nested": {text: [text, {text: text}] for text in CORPUS}})
    it.open(handle)
    said = it.said("one-fields")
    for text in TEXTS:
        assert said.count(text) >= 2, text
    it.check()
    nodes = it.page.locator("[data-id='g:one-fields'] [role=treeitem] .node")
    for at, text in enumerate(CORPUS):
        nodes.nth(at).click()
        if "\x00" not in text and "\r" not in text:
            expect(it.page.locator("[data-id='g:one-value'] textarea")).to_have_value(text)
    it.page.get_by_role("button", name="Save", exact=True).click()
    expect(it.page.locator("[data-id='g:one-done']")).to_contain_text("saved")
    it.check()
    it.open(nested)
    for node in it.page.locator("[data-id='g:one-fields'] [role=treeitem] .node").all()[:8]:
        node.click()
        node.press("ArrowRight")
    it.check()
    for text in TEXTS[:6]:
        assert text in it.said("one-fields")


def test_hostile_panels(it: Seen) -> None:
    """As query parameters, and as labels, keys and values of widgets, of a live app and of a state."""
    widgets = {
        f"_live:w:{text}": {"kind": text, "props": {"label": text, "value": text}, "at": text} for text in CORPUS
    }
    live = it.store(widgets)
    state = it.store(
        {**{text: text for text in CORPUS}, "$$params": {text: [text] for text in CORPUS}, "$$widgets": list(CORPUS)}
    )
    for handle, key in ((live, "one-widgets"), (state, "one-widgets"), (state, "one-params")):
        it.open(handle)
        it.check()
        said = it.said(key)
        for text in TEXTS:
            assert text in said, (key, text)


def test_hostile_words_of_the_operator(it: Seen) -> None:
    """Typed as handles, searches, names and values; in what the page says of it, when it is refused."""
    handle = it.store({"n": 1})
    for text in CORPUS[::6]:
        it.turn_to(2)
        it.page.locator("[data-id='g:goto-handle'] input").fill(text)
        it.page.get_by_role("button", name="Open", exact=True).click()
        it.turn_to(1)
        it.search("label", text)
        it.search("handle", text[:90])
        it.check()
    it.open(handle)
    it.page.get_by_text("Add something").click()
    for text in CORPUS[::6]:
        it.page.locator("[data-id='g:one-new-name'] input").fill(text)
        it.page.locator("[data-id='g:one-new-value'] textarea").fill(text)
        it.page.get_by_role("button", name="Add", exact=True).click()
        expect(
            it.page.locator("[data-id='g:one-done'], [data-id='g:one-problem']").locator("visible=true")
        ).to_have_count(1)
        it.check()


# --- Large, deep, many, unknown --------------------------------------------------------------------------------------


def nest(depth: int, of: Any) -> Any:
    for level in range(depth):
        of = {f"level {level}": of} if level % 2 else [of]
    return of


LARGE: dict[str, dict[str, Any]] = {
    "megabytes": {"text": "x" * 1_000_000, "script": CORPUS[0] * 30_000, "bytes": bytes(range(256)) * 4000},
    "a name of 100,000 signs": {"n" * 100_000: 1},
    "deep": {"deep": nest(MAX_DEPTH - 2, "bottom"), "too": nest(MAX_DEPTH - 2, CORPUS[0])},
    "5,000 fields": {f"field {number}": number for number in range(5000)},
    "5,000 long names": {f"{number} {'é' * 150}": "é" * 1000 for number in range(5000)},
    "20,000 members": {"list": list(range(20_000)), "dict": {f"k{number}": [number] for number in range(20_000)}},
    "wide and deep": {f"f{number}": {f"k{other}": nest(20, other) for other in range(40)} for number in range(40)},
    "strange": {
        "huge": 10**300,
        "unknown": Raw(msgspec.msgpack.encode(msgspec.msgpack.Ext(77, b"?"))),
        "empty": "",
        "none": None,
        "": 1,
    },
    "damaged": {
        "cut": Raw(b"\xdb\xff\xff"),
        "no bytes": Raw(b""),
        "two": Raw(b"\x01\x02"),
        "_live:w:a": Raw(b"\xc1"),
        "_live:o:b": [1],
        "$$params": Raw(b"\xff"),
        "$$widgets": Raw(b"\xc1"),
    },
}


def test_large_and_strange_values(it: Seen) -> None:
    """Each of them is opened, its values are shown, and fields beside it are there; a part is selected, the panels are
    turned to, and it is ended."""
    for name, values in LARGE.items():
        it.open(it.store({"before": "here", **values, "after": "there"}))
        said = it.said("one-fields")
        assert "here" in said, name
        assert "there" in said or len(values) == 5000, name  # which are cut
        nodes = it.page.locator("[data-id='g:one-fields'] [role=treeitem] .node")
        nodes.nth(1).click()
        nodes.nth(1).press("ArrowRight")
        for tab in ("Widgets", "Query parameters", "Timeline"):
            it.page.get_by_role("tab", name=tab).click()
        it.check()
        assert faults(it.page) == [], name
        print(f"{name}: the longest frame has {max(map(len, it.operator.frames)):,} characters")
        it.page.get_by_role("button", name="End the session", exact=True).click()
        it.page.get_by_role("alertdialog").get_by_role("button").last.click()
        expect(it.page.get_by_text("no such session any more")).to_be_visible()


# --- Broken records --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_broken_records(kind: str, browser: Browser, tmp_path: Path) -> None:
    """Some records' bytes are damaged in the store: the list and the overview show the others, the page of a broken one
    says so, and it can be ended."""
    with ExitStack() as stack:
        server = stack.enter_context(Valkey()) if kind == "valkey" else None
        url = server.url(prefix="p", deadline=10) if server else f"sqlite:///{tmp_path}/sessions.db?deadline=10"
        with SessionManager(url) as manager:
            handles = [manager.create_session(f"user{n}", {"n": n}).partition(".")[0] for n in range(12)]
        broken = handles[::3]
        for number, handle in enumerate(broken):
            if server:
                server.do("SETRANGE", f"p{{0}}:{handle}", 70 - 20 * (number % 2), "damaged")
            else:
                with closing(sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)) as database:
                    damage = ("x'00'", "substr(body, 1, length(body) - 3)", "zeroblob(length(body))", "x''")[number]
                    database.execute(f"UPDATE session SET body = {damage} WHERE handle = ?", [handle])
        with seen(browser, url) as it:
            it.turn_to(1)
            rows = it.page.locator("[data-id='g:found'] tbody tr")
            expect(rows).to_have_count(len(handles) - len(broken))
            it.page.locator("[data-id='g:found'] th").get_by_role("button", name="Size").click()
            expect(rows).to_have_count(len(handles) - len(broken))
            it.check()
            for handle in broken:
                it.turn_to(2)
                it.page.locator("[data-id='g:goto-handle'] input").fill(handle)
                it.page.get_by_role("button", name="Open", exact=True).click()
                expect(it.page.locator("[data-id='g:one-trouble']")).to_contain_text("damaged")
                it.check()
                it.page.get_by_role("button", name="End the session", exact=True).click()
                it.page.get_by_role("alertdialog").get_by_role("button").last.click()
                expect(it.page.get_by_text("no such session any more")).to_be_visible()
            it.turn_to(0)
            expect(it.page.locator("[data-id='g:largest'] tbody tr")).to_have_count(8)
