"""The demos of live apps do what they say: each is served as its first lines say, in an empty folder, and used in
Chromium. What each looks like at phone and desktop width, light and dark, is in the folder of its test, to be looked
at."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import Guest, chromium, live, look
from playwright.sync_api import Browser, Page, expect
from visiting import LiveProcess

from servers.process import LOOPBACK

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "live"
NAMES = ("chat", "counter", "dashboard", "hello", "login", "session_widgets")

pytestmark = pytest.mark.battery


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


class Program(LiveProcess):
    """A demo as a program, as its first lines say, but on a port of the tests' choice. (That uvicorn serves them, too,
    `test_in_browsers` shows.)"""

    def command(self) -> list[str]:
        run = (
            "import functools, runpy, sojourn.live as live; "
            f"live.App.run = functools.partialmethod(live.App.run, port={self.port}); "
            f"runpy.run_path({str(self._module)!r}, run_name='__main__')"
        )
        return [sys.executable, "-c", run]


@contextmanager
def visited(browser: Browser, name: str) -> Iterator[tuple[Program, Guest, Guest]]:
    """A demo in a process of its own, and two who visit it. Neither a page nor the server complains of anything."""
    with Program(EXAMPLES / f"{name}.py") as server:
        guests = [Guest(browser, f"http://{LOOPBACK}:{server.port}") for _ in range(2)]
        yield server, *guests
        for guest in guests:
            assert guest.complaints == []
            guest.close()
        lines = server.log.read_text().splitlines()
        assert [line for line in lines if f"is at http://{LOOPBACK}:{server.port}/" not in line] == []


def test_every_demo_is_tested() -> None:
    """There is no demo that nothing runs, and each says how it is run."""
    demos = sorted(EXAMPLES.glob("*.py"))
    assert tuple(path.stem for path in demos) == NAMES
    for path in demos:
        assert f"python examples/live/{path.name}" in path.read_text()
        assert f"uvicorn {path.stem}:app" in path.read_text()


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def test_hello(browser: Browser, tmp_path: Path) -> None:
    """hello: who types a name is greeted by it, in both of their tabs; nobody else is."""
    with visited(browser, "hello") as (_, ada, bob):
        page, other_tab, other = ada.open(), ada.open(), bob.open()
        page.get_by_label("Your name").fill("Ada")
        for tab in (page, other_tab):
            expect(tab.get_by_text("Nice to meet you, Ada.")).to_be_visible()
        expect(other_tab.get_by_label("Your name")).to_have_value("Ada")
        expect(other.get_by_text("whoever you are")).to_be_visible()
        look(page, tmp_path, "hello")


def test_counter(browser: Browser, tmp_path: Path) -> None:
    """counter: each visitor has a count of their own, which two tabs share; the sum and the number of visitors are
    everybody's. All of it outlives a restart of the server."""
    with visited(browser, "counter") as (server, ada, bob):
        page, other = ada.open(), bob.open()
        page.get_by_label("Your name").fill("Ada")
        for _ in range(3):
            button(page, "Click me").click()
        button(other, "Click me").click()
        expect(page.get_by_text("Ada clicked 3 times.")).to_be_visible()
        expect(other.get_by_text("You clicked 1 times.")).to_be_visible()
        for tab in (page, other):
            expect(figure(tab, "Clicks of everybody")).to_have_text("4")
            expect(figure(tab, "Visitors online")).to_have_text("2")
        bob.context.close()
        expect(figure(page, "Visitors online")).to_have_text("1")
        look(page, tmp_path, "counter")
        server.restart()
        button(page, "Click me").click()
        expect(page.get_by_text("Ada clicked 4 times.")).to_be_visible()
        expect(figure(page, "Clicks of everybody")).to_have_text("5")
        ada.complaints[:] = [one for one in ada.complaints if "ERR_CONNECTION_REFUSED" not in one]


def figure(page: Page, label: str) -> Any:
    """The value of a metric."""
    return page.locator(".metric", has=page.get_by_text(label, exact=True)).locator(".value")


def test_session_widgets(browser: Browser, tmp_path: Path) -> None:
    """session_widgets: what one adds only they see, also after a reload; what is in it can be ticked and removed; the
    sum is everybody's; a reminder comes by itself."""
    with visited(browser, "session_widgets") as (_, ada, bob):
        page, other = ada.open(), bob.open()
        for what in ("Water the plants", "Call Grace", "Read"):
            page.get_by_label("What is to be done?").fill(what)
            page.keyboard.press("Enter")
            expect(page.get_by_label(f"{what} (today)")).to_be_visible()
            expect(page.get_by_label("What is to be done?")).to_have_value("")
        page.get_by_label("Call Grace").check()
        expect(figure(other, "Things done")).to_have_text("1")
        button(page, "Remove Read").click()
        expect(page.get_by_role("checkbox")).to_have_count(2)
        expect(other.get_by_role("checkbox")).to_have_count(0)
        expect(other.get_by_text("Nothing to do yet.")).to_be_visible()
        page.get_by_text("Remind me", exact=True).click()
        page.get_by_label("In how many seconds?").fill("1")
        button(page, "Set the reminder").click()
        expect(page.get_by_text("This is your reminder.")).to_be_visible()
        expect(other.get_by_text("This is your reminder.")).to_have_count(0)
        page.reload()
        live(page)
        expect(page.get_by_label("Call Grace (today)")).to_be_checked()
        page.get_by_label("Call Grace").uncheck()
        expect(figure(other, "Things done")).to_have_text("0")
        look(page, tmp_path, "session-widgets")


def test_login(browser: Browser, tmp_path: Path) -> None:
    """login: a wrong password is refused, and typed again; the right one clears the page and welcomes, in all tabs of
    this browser and in no other; the id is another then. The counter counts. Signing out clears all tabs."""
    with visited(browser, "login") as (_, ada, bob):
        page, second, other = ada.open(), ada.open(), bob.open()
        look(other, tmp_path, "login-form")
        before = ada.cookie["value"]
        page.get_by_label("Name").fill("Ada")
        page.get_by_label("Password").fill("byron")
        button(page, "Sign in").click()
        expect(page.get_by_text("Wrong name or password.")).to_be_visible()
        expect(page.get_by_label("Password")).to_have_value("")
        expect(page.get_by_label("Name")).to_have_value("Ada")
        page.get_by_label("Password").fill("lovelace")
        page.keyboard.press("Enter")
        for tab in (page, second):
            expect(tab.get_by_role("heading", name="Welcome, Ada")).to_be_visible()
            expect(tab.get_by_label("Password")).to_have_count(0)
        for tab in (page, second):
            tab.bring_to_front()
            button(tab, "Count").click()
        for tab in (page, second):
            expect(tab.locator(".write")).to_have_text("2")
        look(page, tmp_path, "login-welcome")
        page.wait_for_function("document.documentElement.dataset.state === 'open'")
        assert ada.cookie["value"] != before
        page.reload()
        live(page)
        expect(page.locator(".write")).to_have_text("2")
        expect(other.get_by_label("Password")).to_be_visible()
        expect(other.get_by_text("Wrong name or password.")).to_have_count(0)
        assert not any("lovelace" in frame or "byron" in frame for frame in (*ada.frames, *bob.frames))
        page.bring_to_front()
        button(page, "Sign out").click()
        for tab in (page, second):
            expect(tab.get_by_role("heading", name="This session is over")).to_be_visible()
            expect(tab.get_by_text("Welcome")).to_have_count(0)
        look(second, tmp_path, "login-over")
        button(second, "Start again").click()
        expect(second.get_by_label("Password")).to_be_visible()


def test_chat(browser: Browser, tmp_path: Path) -> None:
    """chat: what one says all see, newest first, and no more than the last thirty; a message without a name is not
    lost; neither is what somebody types while others talk; the count of one's own words is private."""
    with visited(browser, "chat") as (_, ada, bob):
        page, other = ada.open(), bob.open()
        page.get_by_label("Message").fill("Is anybody here?")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Please enter your name first.")).to_be_visible()
        expect(page.get_by_label("Message")).to_have_value("Is anybody here?")
        page.get_by_label("Your name").fill("Ada")
        button(page, "Say it").click()
        expect(other.get_by_text("Ada: Is anybody here?")).to_be_visible()
        expect(page.get_by_text("Please enter your name first.")).to_have_count(0)
        expect(page.get_by_text("You have spoken 1 times.")).to_be_visible()
        expect(other.get_by_text("You have not spoken yet.")).to_be_visible()

        other.get_by_label("Your name").fill("Bob")
        message = other.get_by_label("Message")
        message.press_sequentially("I type slowly", delay=5)
        for number in range(32):
            page.get_by_label("Message").fill(f"Word {number}")
            button(page, "Say it").click()
            expect(page.get_by_label("Message")).to_have_value("")
        message.press_sequentially(", but I am here", delay=5)
        expect(message).to_have_value("I type slowly, but I am here")
        other.keyboard.press("Enter")
        lines = page.locator("[data-id='g:room'] > *")
        expect(lines.nth(0)).to_have_text("Bob: I type slowly, but I am here")
        expect(lines.nth(1)).to_have_text("Ada: Word 31")
        expect(lines).to_have_count(30)
        look(page, tmp_path, "chat")


def test_dashboard(browser: Browser, tmp_path: Path) -> None:
    """dashboard: the figures, the charts and the table change by themselves, for all alike; a limit that one sets warns
    everybody."""
    with visited(browser, "dashboard") as (_, ada, bob):
        page, other = ada.open(), bob.open()
        expect(page.locator("figure.chart svg").first).to_be_visible()
        page.get_by_role("tab", name="Data").click()
        rows = page.locator("tbody tr:visible")
        expect(rows.nth(3)).to_be_visible()
        was = rows.nth(0).inner_text()
        expect(rows.nth(0)).not_to_have_text(re.compile(re.escape(was)))
        expect(figure(page, "Valley, °C")).to_have_text(re.compile(r"^-?\d+(\.\d)?$"))
        page.get_by_label("Warn everybody above").fill("-30")
        for tab in (page, other):
            expect(tab.get_by_role("alert")).to_contain_text("which is above -30")
            expect(tab.get_by_text("Warn everybody above -30 °C")).to_be_visible()
        for name in ("Course", "Now", "Data"):
            page.get_by_role("tab", name=name).click()
            look(page, tmp_path, f"dashboard-{name.lower()}")
