"""Live apps in Chromium: who sees what, how soon, and what is left after a reload, a break and a killed server."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import Guest, chromium, live, wake
from playwright.sync_api import Browser, Page, expect
from visiting import LiveProcess

from servers.process import LOOPBACK
from servers.proxy import Proxy

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "live"
TRIALS = 40

pytestmark = pytest.mark.battery


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@contextmanager
def visited(browser: Browser, name: str) -> Iterator[tuple[LiveProcess, Guest, Guest]]:
    """An example on a server of its own, with SQLite, and two browsers."""
    with LiveProcess(EXAMPLES / f"{name}.py") as server:
        ada, bob = (Guest(browser, f"http://{LOOPBACK}:{server.port}") for _ in range(2))
        yield server, ada, bob
        ada.close()
        bob.close()


def click(page: Page, times: int = 1) -> None:
    page.bring_to_front()  # a tab behind another draws about once a second, which a click waits for
    for _ in range(times):
        page.get_by_role("button", name="Click me").click()


def label(page: Page) -> Any:
    return page.locator("[data-id='s:label']")


def everybodys(page: Page) -> Any:
    return page.locator("[data-id='g:everybody'] .value")


def test_two_browsers_and_three_tabs(browser: Browser) -> None:
    """Two tabs of one browser are one visitor: what is typed and clicked in one is seen in the other. Another browser
    sees nothing of it, neither on its page nor in what comes to it, but what is everybody's."""
    with visited(browser, "counter") as (_, ada, bob):
        one, two, other = ada.open(), ada.open(), bob.open()
        one.get_by_label("Your name").fill("Ada-of-tab-one")
        expect(two.get_by_label("Your name")).to_have_value("Ada-of-tab-one")
        click(one, 2)
        click(two, 3)
        for tab in (one, two):
            expect(label(tab)).to_have_text("Ada-of-tab-one clicked 5 times.")
        expect(everybodys(other)).to_have_text("5")
        expect(label(other)).to_have_text("You clicked 0 times.")
        expect(other.get_by_label("Your name")).to_have_value("")
        click(other)
        expect(label(other)).to_have_text("You clicked 1 times.")
        for tab in (one, two):
            expect(everybodys(tab)).to_have_text("6")
            expect(label(tab)).to_have_text("Ada-of-tab-one clicked 5 times.")
        assert any("Ada-of-tab-one" in frame for frame in ada.frames)
        assert not any("Ada-of-tab-one" in frame for frame in bob.frames)
        assert ada.cookie["httpOnly"]
        assert ada.cookie["value"] != bob.cookie["value"]
        for guest, page in ((ada, one), (bob, other)):
            secrets = guest.cookie["value"].split(".")
            shown = [page.content(), *guest.frames]
            assert not any(secrets[-1] in text or guest.cookie["value"] in text for text in shown)
            assert guest.complaints == []


# When a node is another: the time of every change in it, by a clock that all tabs of this machine share.
_WATCH = """([selector]) => {
  const seen = (window.seen = []);
  const now = () => performance.timeOrigin + performance.now();
  new MutationObserver(() => seen.push(now())).observe(document.querySelector(selector),
    { childList: true, characterData: true, subtree: true });
}"""
_CLICK = """() => {
  const at = performance.timeOrigin + performance.now();
  document.querySelector(".button").click();
  return at;
}"""


def test_a_change_is_pushed_at_once(browser: Browser) -> None:
    """From a click in one tab until another tab shows it, on this machine and with each click committed to SQLite: far
    less than a second. The figure aimed at is 100 ms, for the median; it is printed (``pytest -s``)."""
    with visited(browser, "counter") as (_, ada, bob):
        clicked, same, other = ada.open(), ada.open(), bob.open()
        for where, page, selector in (
            ("another tab", same, "[data-id='s:label']"),
            ("another browser", other, "[data-id='g:everybody'] .value"),
        ):
            page.evaluate(_WATCH, [selector])
            took = []
            for trial in range(TRIALS):
                at = clicked.evaluate(_CLICK)
                page.wait_for_function("(least) => window.seen.length > least", arg=trial)
                took.append(page.evaluate("window.seen.at(-1)") - at)
            median = statistics.median(took)
            print(f"a click is seen in {where} after {median:.1f} ms (median of {TRIALS}; {max(took):.1f} at most)")
            assert 0 < median < 1000


def test_a_server_that_is_killed(browser: Browser) -> None:
    """Kill -9: the page says that it reconnects, and stays usable. What was clicked meanwhile is delivered once when
    the server is back, in the same page; what was typed is there. Widgets, values and callbacks survive."""
    with visited(browser, "counter") as (server, ada, bob):
        page, second, other = ada.open(), ada.open(), bob.open()
        click(page, 3)
        click(other)
        expect(label(second)).to_have_text("You clicked 3 times.")
        expect(everybodys(page)).to_have_text("4")
        server.kill()
        for tab in (page, second, other):
            expect(tab.get_by_text("Reconnecting…")).to_be_visible()
        page.get_by_label("Your name").fill("Ada")
        click(page)
        server.start()
        for tab in (page, second, other):
            wake(tab)
        for tab in (page, second):
            expect(label(tab)).to_have_text("Ada clicked 4 times.")
            expect(tab.get_by_text("Reconnecting…")).to_have_count(0)
            live(tab)
        expect(everybodys(other)).to_have_text("5")
        time.sleep(1)
        expect(label(page)).to_have_text("Ada clicked 4 times.")  # and no fifth comes later
        click(second)
        click(other)
        expect(label(page)).to_have_text("Ada clicked 5 times.")
        expect(label(other)).to_have_text("You clicked 2 times.")
        page.reload()
        live(page)
        expect(label(page)).to_have_text("Ada clicked 5 times.")
        expect(page.get_by_label("Your name")).to_have_value("Ada")
        expect(everybodys(page)).to_have_text("7")


def test_a_network_that_breaks(browser: Browser) -> None:
    """The network is gone for two seconds, while the server goes on: clicks made meanwhile are delivered once and in
    order, and what happened meanwhile is seen."""
    with visited(browser, "counter") as (server, ada, bob), Proxy(server.port) as network:
        page, second, other = ada.open(f"http://{LOOPBACK}:{network.port}"), ada.open(), bob.open()
        click(page)
        expect(label(page)).to_have_text("You clicked 1 times.")
        network.refuse()
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        click(page, 3)
        click(second, 2)
        click(other)
        expect(label(second)).to_have_text("You clicked 3 times.")
        time.sleep(2)
        expect(label(page)).to_have_text("You clicked 1 times.")
        network.pass_on()
        wake(page)
        for tab in (page, second):
            expect(label(tab)).to_have_text("You clicked 6 times.")
            expect(everybodys(tab)).to_have_text("7")


def test_signing_out_elsewhere(browser: Browser) -> None:
    """A session that ends in one tab is over in all tabs of this browser within a second: the page is cleared, and the
    socket does not come again. Another browser goes on. The old cookie is worth nothing."""
    with visited(browser, "login") as (_, ada, bob):
        page, second, other = ada.open(), ada.open(), bob.open()
        for tab in (page, other):
            tab.get_by_label("Name").fill("ada")
            tab.get_by_label("Password").fill("lovelace")
            tab.keyboard.press("Enter")
            expect(tab.get_by_role("heading", name="Welcome, Ada")).to_be_visible()
        expect(second.get_by_role("heading", name="Welcome, Ada")).to_be_visible()
        cookies = ada.context.cookies()
        second.evaluate(_WATCH, ["#app"])
        at = page.evaluate(_CLICK.replace(".button", ".button:not(.primary)"))
        for tab in (page, second):
            expect(tab.get_by_role("heading", name="This session is over")).to_be_visible()
            assert "Welcome" not in tab.locator("#app").inner_text()
        took = second.evaluate("window.seen[0]") - at
        print(f"a page is cleared {took:.0f} ms after a click elsewhere")
        assert 0 < took < 3000  # on a machine that has much else to do
        time.sleep(1)
        assert second.locator("html").get_attribute("data-state") == "ended"
        other.get_by_role("button", name="Count").click()
        expect(other.locator(".write")).to_have_text("1")
        ada.context.clear_cookies()
        ada.context.add_cookies(cookies)
        second.reload()
        live(second)
        expect(second.get_by_label("Password")).to_be_visible()


def test_signing_in_elsewhere_shows_nothing_of_it(browser: Browser) -> None:
    """Who signs in gets another id, and every tab of theirs goes on with it; the id from before opens nothing of it."""
    with visited(browser, "login") as (_, ada, bob):
        page, second = ada.open(), ada.open()
        before = ada.context.cookies()
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill("lovelace")
        page.keyboard.press("Enter")
        for tab in (page, second):
            expect(tab.get_by_role("heading", name="Welcome, Ada")).to_be_visible()
        page.wait_for_function("document.documentElement.dataset.state === 'open'")
        second.get_by_role("button", name="Count").click()
        expect(page.locator(".write")).to_have_text("1")
        bob.context.add_cookies(before)  # who knew the old id
        stranger = bob.context.new_page()
        stranger.goto(bob.url)
        assert "Welcome" not in stranger.content()
        assert stranger.locator("#page").count() == 0
