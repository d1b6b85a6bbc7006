"""The demo: a live app in browsers, on a real server that is killed and started again; and its rules, without one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import Guest, chromium, live, look
from playwright.sync_api import Browser, Page, expect
from visiting import Site, Tab, Visitor, served

from servers.process import LOOPBACK, free_port, until
from sojourn import AsyncSessionManager, Handle, SessionConfig, SessionGone, StoreUnavailable
from sojourn.cli import main
from sojourn.demo import words
from sojourn.demo.app import make_app
from sojourn.demo.devices import follow
from sojourn.demo.online import keep_count, noted, total
from sojourn.demo.race import WRITERS, Outcome, Whole, race
from sojourn.demo.server import _announcement, _command
from sojourn.live.loopback import Loopback

# --- The server ------------------------------------------------------------------------------------------------------


class Server:
    """The demo as a process of its own."""

    def __init__(self, store: Path, port: int = 0, stderr: int | None = None) -> None:
        command = ["demo", "--no-browser", "--json", "--port", str(port), "--store", f"sqlite:///{store}"]
        program = [sys.executable, "-m", "sojourn", *command]
        self.process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=stderr, text=True)
        give_up = threading.Timer(30, self.process.kill)
        give_up.start()
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        give_up.cancel()
        assert said, "the demo did not start"
        self.url: str = json.loads(said)["url"]
        assert json.loads(said)["pid"] == self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].strip("/"))

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


# --- Without a browser -----------------------------------------------------------------------------------------------


@contextmanager
def demo(store: str = "memory://", name: str = "one") -> Iterator[Site]:
    """The demo on a server in a thread of its own."""
    app, here = make_app(store, "sojourn demo")
    with served(Loopback(app)) as site:
        tasks = [
            site.call(lambda work=work: asyncio.ensure_future(work))
            for work in (keep_count(app, name), follow(app, here))
        ]
        site.app = app
        yield site
        for task in tasks:
            site.call(task.cancel)


def value(tab: Tab, key: str, name: str = "value") -> Any:
    return tab.shows(f"g:{key}")[name]


def enter(visitor: Visitor, name: str, device: str = "My laptop") -> Tab:
    """A tab of somebody who signs in."""
    tab = visitor.open()
    tab.do("g:sign-in", "submit", {"g:name": name, "g:device": device})
    return tab


def devices(tab: Tab) -> list[str]:
    """What is in the list of devices."""
    found = tab.model.find("g:devices")
    assert found is not None
    return [line["children"][0]["children"][0]["props"]["text"].split(",")[0] for line in found["children"]]


def button_for(tab: Tab, device: str) -> str:
    """The id of the button that signs a device out."""
    found = tab.model.find("g:devices")
    assert found is not None
    buttons = [one for line in found["children"] for one in line["children"][1]["children"]]
    (id_,) = [one["id"] for one in buttons if one["props"]["label"] == f"Sign out {device}"]
    return str(id_)


def test_what_is_yours_and_what_is_everybodys() -> None:
    """A counter and a note are the visitor's own, in all of its tabs; the other counter is everybody's."""
    with demo() as site:
        ada, eve = site.visitor(), site.visitor()
        one, two, other = ada.open(), ada.open(), eve.open()
        one.click("g:count-button")
        two.click("g:count-button")
        one.change("g:note", "mine")
        other.click("g:everybody-button")
        two.until(lambda page: page.props("g:count")["value"] == 2 and page.props("g:note")["value"] == "mine")
        one.until(lambda page: page.props("g:everybody")["value"] == 1)
        assert (value(other, "count"), value(other, "note")) == (0, "")


def test_no_page_holds_the_secret() -> None:
    """A page says the handle, which is public, and never the id."""
    with demo() as site:
        ada = site.visitor()
        ada.load()
        handle, secret = ada.session_id.split(".")
        assert handle in ada.html
        assert secret not in ada.html


def test_signing_in_replaces_the_secret() -> None:
    """Who signs in gets another id for the same session, and keeps what is in it; the id from before is dead."""
    with demo() as site:
        ada = site.visitor()
        ada.load()
        before = ada.session_id
        tab = ada.open()
        tab.click("g:count-button")
        tab.do("g:sign-in", "submit", {"g:name": " Ada ", "g:device": "Desk"})
        assert value(tab, "who", "text").startswith("You are signed in as Ada.")
        assert tab.model.find("g:sign-in") is None
        tab.until(lambda _: devices(tab) == ["Desk: this device"])
        (renew,) = [frame for frame in tab.frames if frame["t"] == "renew"]
        headers = {"Origin": f"http://{LOOPBACK}:{site.port}"}
        assert ada.request("POST", "/_live/renew", content=renew["ticket"], headers=headers).status_code == 204
        assert ada.session_id != before
        assert ada.session_id.split(".")[0] == before.split(".")[0]
        assert ada.load().props("g:count")["value"] == 1
        stale = site.visitor()
        stale.cookies = dict.fromkeys(ada.cookies, before)
        answer = stale.request("GET")
        assert answer.status_code == 503 or before.split(".")[0] not in answer.text


@pytest.mark.parametrize("name", ["Ada", "Zoë O'Neill-Smith", "नेहा", "李 小龙", "J. R. R.", "x" * 40])
def test_names(name: str) -> None:
    """Names of the world are names."""
    assert words.clean_name(f"  {name}  ") == name


NO_NAMES = ["", "   ", "x" * 41, "<b>Ada</b>", "a;b", "-Ada", "Ada\x00", "ada@example.org"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_no_names(name: str) -> None:
    """What is no name is none."""
    assert words.clean_name(name) is None


def test_no_name_signs_nobody_in() -> None:
    """What is no name, of a person or a device, is told in words and signs nobody in; a right one then does."""
    with demo() as site:
        tab = site.visitor().open()
        for sent in ({"g:name": "<b>", "g:device": "Desk"}, {"g:name": "Ada", "g:device": ""}, {}):
            tab.do("g:sign-in", "submit", sent)
            assert "A name has 1 to 40" in value(tab, "no-name", "text")
            assert tab.model.find("g:account") is None
        assert {row.user_id for row in site.do(site.app.engine.list_sessions())} == {None}
        tab.do("g:sign-in", "submit", {"g:name": "Ada", "g:device": "Desk"})
        assert tab.model.find("g:no-name") is None


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Hello,\tall \n of you ", "Hello, all of you"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("turned \u202eround\u2066 here", "turned round here"),
        ("no\x00thing\x1b[31m", "nothing[31m"),
        ("\u200b\u200d \ufeff", ""),
        ("क्‍ष 👩‍🚀", "क्‍ष 👩‍🚀"),
        ("e\u0301", "é"),
        ("x" * 500, "x" * 120),
        ("", ""),
    ],
)
def test_messages(typed: str, kept: str) -> None:
    """A message is one line of bounded length, without what cannot be seen."""
    assert words.clean_message(typed) == kept


def test_the_wall() -> None:
    """All see what anybody puts up, under the name of who is signed in; twelve messages stay, an empty one is none."""
    with demo() as site:
        ada, eve = enter(site.visitor(), "Ada"), site.visitor().open()
        for number in range(14):
            ada.do("g:wall-form", "submit", {"g:message": f"number {number}"})
        eve.do("g:wall-form", "submit", {"g:message": " \u200b "})
        eve.do("g:wall-form", "submit", {"g:message": "last"})
        assert value(eve, "message") == ""

        def wall(tab: Tab) -> list[str]:
            found = tab.model.find("g:wall")
            return [one["props"]["text"] for one in found["children"]] if found else []

        for tab in (ada, eve):
            tab.until(lambda page, tab=tab: len(wall(tab)) == 12 and wall(tab)[-1].endswith(": last"))
            assert wall(tab)[0].startswith("Ada, ")
            assert wall(tab)[0].endswith(": number 3")
            assert wall(tab)[-1].startswith("Visitor ")


def test_devices_of_one_user() -> None:
    """A user's devices see each other, whenever they come, and nobody else's; one that is signed out is gone from the
    lists, and its page is cleared within a second."""
    with demo() as site:
        desk, eve = enter(site.visitor(), "Ada", "Desk"), enter(site.visitor(), "Eve", "Desk")
        phone, tablet = enter(site.visitor(), "ADA", "Phone"), enter(site.visitor(), "ada", "Tablet")
        desk.until(lambda _: len(devices(desk)) == 3)
        assert [line.split(":")[0] for line in devices(desk)] == ["Desk", "Phone", "Tablet"]
        tablet.until(lambda _: len(devices(tablet)) == 3)
        assert devices(tablet)[0] == "Tablet: this device"
        began = time.monotonic()
        desk.click(button_for(desk, "Phone"))
        assert phone.closed() == 1008
        assert time.monotonic() - began < 3  # on a machine that has much else to do
        assert phone.model.ended is not None
        for tab in (desk, tablet):
            tab.until(lambda _, tab=tab: len(devices(tab)) == 2)
        tablet.click("g:end-others")
        assert desk.closed() == 1008
        tablet.until(lambda page: len(devices(tablet)) == 1 and page.find("g:end-others") is None)
        eve.quiet()
        assert devices(eve) == ["Desk: this device"]
        tablet.event("g:end", "click")
        assert tablet.closed() == 1008


def test_who_is_not_signed_in_ends_nothing() -> None:
    """What a visitor is not shown cannot be clicked, and no session is ended by it."""
    with demo() as site:
        ada, eve = enter(site.visitor(), "Ada"), site.visitor().open()
        for forged in ("g:end-others", "g:end", "s:device-x.end"):
            assert eve.refused(forged, "click") == "unknown_widget"
        ada.click("g:count-button")
        assert value(ada, "count") == 1


def test_lists_are_right_again_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the store gives no answer when somebody signs in, the lists are right a moment later."""
    with demo() as site:
        desk = enter(site.visitor(), "Ada", "Desk")
        store = site.app.engine.store
        summaries, failed = store.summaries, []

        async def fails(*args: Any, **options: Any) -> Any:
            if not failed and threading.current_thread().name == "served app" and "follow" in _callers():
                failed.append(True)
                raise StoreUnavailable("the disk is gone")
            return await summaries(*args, **options)

        monkeypatch.setattr(store, "summaries", fails)
        enter(site.visitor(), "Ada", "Phone")
        desk.until(lambda _: len(devices(desk)) == 2)
        assert failed


def _callers() -> set[str]:
    """The coroutines that the running task is in."""
    task = asyncio.current_task()
    assert task is not None
    return {frame.f_code.co_name for frame in task.get_stack()} | {task.get_coro().__qualname__}  # type: ignore[union-attr]


# --- The race ------------------------------------------------------------------------------------------------------


async def raced(manager: AsyncSessionManager, meanwhile: Any = None) -> tuple[str, Outcome]:
    session_id = await manager.create_session("ada")
    handle = session_id.split(".")[0]
    work = asyncio.ensure_future(race(manager, handle))
    if meanwhile is not None:
        await asyncio.sleep(0.1)
        await meanwhile(session_id)
    return session_id, await work


@pytest.mark.parametrize("store", ["memory://", "sqlite:///race.db"])
def test_fifty_of_fifty(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All fifty are acknowledged and kept, a store that saves whole sessions loses some, and nothing is left in the
    session."""
    monkeypatch.chdir(tmp_path)

    async def work() -> None:
        async with AsyncSessionManager(store) as manager:
            session_id, outcome = await raced(manager)
            assert (outcome.acknowledged, outcome.kept) == (WRITERS, WRITERS)
            assert 0 < outcome.whole < WRITERS
            assert await manager.get_session(session_id) == {}

    asyncio.run(work())


def test_what_is_acknowledged_is_kept() -> None:
    """Where somebody has the session to itself, writers are refused; what is kept is what was acknowledged."""

    async def work() -> None:
        async with AsyncSessionManager("memory://", config=SessionConfig(deadline=0.05)) as manager:

            async def keep_to_itself(session_id: str) -> None:
                async with manager.exclusive(session_id):
                    await asyncio.sleep(0.3)

            _, outcome = await raced(manager, keep_to_itself)
            assert outcome.kept == outcome.acknowledged < WRITERS

    asyncio.run(work())


def test_a_race_on_a_session_that_ends() -> None:
    """A session that ends in the midst stays ended, and the race says so."""

    async def work() -> None:
        async with AsyncSessionManager("memory://") as manager:
            with pytest.raises(SessionGone):
                await raced(manager, manager.end_session)
            assert (await manager.stats()).sessions == 0

    asyncio.run(work())


def test_a_race_that_a_server_did_not_live_to_end() -> None:
    """What a race has left is removed by a later one, but not what another has just begun."""

    async def work() -> None:
        async with AsyncSessionManager("memory://") as manager:
            now = manager.clock()
            lists = {f"race {now - 61:.0f} a": [1], f"race {now:.0f} b": [2], "racing": 3}
            session_id = await manager.create_session("ada", lists)
            await race(manager, Handle(session_id.split(".")[0]))
            assert await manager.get_session(session_id) == {f"race {now:.0f} b": [2], "racing": 3}

    asyncio.run(work())


def test_whole_saves() -> None:
    """The comparison is honest: two that load before either saves leave one; in turn, both."""
    whole = Whole()
    first, second = whole.load(), whole.load()
    whole.save([*first, 1])
    whole.save([*second, 2])
    assert whole.load() == [2]
    whole.save([*whole.load(), 3])
    assert whole.load() == [2, 3]


# --- Who is online, and who may come -------------------------------------------------------------------------------


def test_counts_of_servers() -> None:
    """The sum over servers; one that is started again counts once, and one that says nothing for a minute not at
    all."""
    counts = noted(noted(None, "one", 2, 100.0), "two", 3, 110.0)
    assert total(counts, 110.0) == 5
    assert total(noted(counts, "one", 1, 120.0), 120.0) == 4
    assert total(counts, 165.0) == 3
    assert noted(counts, "three", 1, 175.0) == {"three": [1, 175.0]}


def test_visitors_of_two_servers(tmp_path: Path) -> None:
    """Two servers on one store show the sum of their visitors, and share what is everybody's."""
    store = f"sqlite:///{tmp_path / 'demo.db'}"
    with demo(store) as one, demo(store, "two") as two:
        ada, eve = one.visitor().open(), two.visitor().open()
        for tab in (ada, eve):
            tab.until(lambda page: page.props("g:online")["value"] == 2)
        eve.click("g:everybody-button")
        ada.until(lambda page: page.props("g:everybody")["value"] == 1)
        eve.leave()
        ada.until(lambda page: page.props("g:online")["value"] == 1)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "192.0.2.1"])
def test_another_host(host: str) -> None:
    """A request under another host's name is refused with 403, page and socket, and nobody gets a session."""
    with demo() as site:
        visitor = site.visitor(Host=host)
        answer = visitor.request("GET")
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        assert "127.0.0.1" in answer.text
        assert _handshake(site.port, host) == 403
        assert _handshake(site.port, f"127.0.0.1:{site.port}") == 101
        assert site.do(site.app.engine.list_sessions()) == [
            row for row in site.do(site.app.engine.list_sessions()) if row.label
        ]


def _handshake(port: int, host: str) -> int:
    """The status that a socket's handshake is answered with."""
    lines = (
        "GET /_live/socket HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    with socket.create_connection((LOOPBACK, port), 10) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(client.recv(64).split()[1])


# --- The command ---------------------------------------------------------------------------------------------------


def test_the_command_that_starts_it_again() -> None:
    """The page says what starts the same demo again."""
    assert _command(8765, "sqlite:///sojourn-demo.db") == "sojourn demo"
    assert _command(80, "valkey://localhost/1?a b") == "sojourn demo --port 80 --store 'valkey://localhost/1?a b'"


@pytest.mark.parametrize("as_json", [True, False])
def test_no_password_is_told(as_json: bool) -> None:
    """What the demo says of its store has no password in it."""
    told = _announcement("http://127.0.0.1:1/", "postgresql://ada:secret@db/x", as_json)
    assert "secret" not in told
    assert str(os.getpid()) in told


def test_memory_is_told() -> None:
    """Where sessions end with the process, the page says so."""
    with demo() as site:
        site.visitor().load()
        assert "they end with it" in site.visitor().request("GET").text


def test_control_c(tmp_path: Path) -> None:
    """Ctrl-C ends the server quietly, though a page is open, whose tab is told to come again; the store is closed."""
    server = Server(tmp_path / "demo.db", stderr=subprocess.PIPE)
    tab = Visitor(server.port).open()
    tab.click("g:count-button")
    server.process.send_signal(signal.SIGINT)
    assert tab.closed() in (1012, 1013)
    out, err = server.process.communicate(timeout=20)
    assert (server.process.returncode, out, err) == (0, "", "")
    assert not (tmp_path / "demo.db-wal").exists()


def test_a_store_that_cannot_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that cannot be opened is told in a line."""
    code = main(["demo", "--no-browser", "--port", "0", "--store", f"sqlite:///{tmp_path / 'no' / 'demo.db'}"])
    captured = capsys.readouterr()
    assert (code, captured.out, captured.err.count("\n")) == (1, "", 1)


def test_a_taken_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is told in a line, with the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = main(["demo", "--no-browser", "--port", str(taken.getsockname()[1]), "--store", "memory://"])
    captured = capsys.readouterr()
    assert (code, captured.out, captured.err.count("\n")) == (1, "", 1)
    assert "--port" in captured.err


# --- In a browser ----------------------------------------------------------------------------------------------------

# These come last: a browser that is open has an event loop in this thread, so that the tests above could have none.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[Server]:
    server = Server(folder / "demo.db", port)
    try:
        yield server
    finally:
        server.kill()


def figure(page: Page, label: str) -> Any:
    """The value of a metric."""
    return page.locator(".metric").filter(has_text=label).locator(".value")


def sign_in(page: Page, name: str, device: str) -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_label("This device").fill(device)
    page.get_by_label("This device").press("Enter")
    expect(page.get_by_text(f"You are signed in as {name}.")).to_be_visible()


def run_race(page: Page) -> None:
    page.get_by_role("button", name="Let 50 writers loose").click()
    expect(figure(page, "Kept by Sojourn")).to_have_text("50 of 50")


@pytest.mark.battery
def test_two_browsers_and_two_tabs(tmp_path: Path, browser: Browser) -> None:
    """A second tab is the same visitor, and follows; a second browser is another, and sees what is everybody's
    alone."""
    with running(tmp_path) as server:
        ada, eve = Guest(browser, server.url), Guest(browser, server.url)
        one, two, other = ada.open(), ada.open(), eve.open()
        expect(figure(other, "Visitors online")).to_have_text("2")
        for page in (one, two, one):
            page.get_by_role("button", name="Count", exact=True).click()
        expect(figure(two, "Your counter")).to_have_text("3")
        one.get_by_label("A note of yours").press_sequentially("for my tabs")
        expect(two.get_by_label("A note of yours")).to_have_value("for my tabs")
        one.get_by_role("button", name="Count for everybody").click()
        expect(figure(other, "Everybody's counter")).to_have_text("1")
        other.get_by_label("A message to everybody").fill("<b>Hello</b> to all")
        other.get_by_label("A message to everybody").press("Enter")
        expect(one.get_by_text("<b>Hello</b> to all")).to_be_visible()
        expect(other.get_by_label("A message to everybody")).to_have_value("")
        expect(figure(other, "Your counter")).to_have_text("0")
        expect(other.get_by_label("A note of yours")).to_have_value("")
        eve.close()
        expect(figure(one, "Visitors online")).to_have_text("1")
        assert ada.complaints == eve.complaints == []
        ada.close()


@pytest.mark.battery
def test_the_race(tmp_path: Path, browser: Browser) -> None:
    """Fifty writers at once, and fifty are kept; a session that is saved whole would have lost some. Again, and in two
    tabs at once, too."""
    with running(tmp_path) as server:
        ada = Guest(browser, server.url)
        one, two = ada.open(), ada.open()
        run_race(one)
        expect(figure(two, "Kept by Sojourn")).to_have_text("50 of 50")
        whole = re.fullmatch(r"(\d+) of 50", figure(one, "saved whole").inner_text())
        assert whole is not None
        assert int(whole[1]) < 50
        for page in (one, two):
            page.get_by_role("button", name="Let 50 writers loose").click()
        for page in (one, two):
            expect(page.get_by_role("button", name="Let 50 writers loose")).not_to_have_attribute("aria-busy", "true")
            expect(page.get_by_text("50 acknowledged in")).to_be_visible()
        assert ada.complaints == []
        ada.close()


@pytest.mark.battery
def test_devices_and_kill(tmp_path: Path, browser: Browser) -> None:
    """Sign in on two devices: each sees the other, and one signs the other out, whose page is cleared within a second.
    Kill -9 and start again: the page goes on by itself, with all of it; a click from in between is done once."""
    server = Server(tmp_path / "demo.db", free_port())  # which is free when it is started again, too
    try:
        ada, phone = Guest(browser, server.url), Guest(browser, server.url)
        page, other = ada.open(), phone.open()
        look(page, tmp_path, "anonymous")
        page.set_viewport_size({"width": 1280, "height": 900})
        before = ada.cookie["value"]
        sign_in(page, "Ada Lovelace", "Desk")
        sign_in(other, "ada lovelace", "Phone")
        expect(page.get_by_role("button", name="Sign out Phone")).to_be_visible()
        expect(page.get_by_text("Desk: this device")).to_be_visible()
        expect(other.get_by_role("button", name="Sign out Desk")).to_be_visible()
        until(lambda: ada.cookie["value"] != before, "another cookie")
        assert ada.cookie["value"].split(".")[0] == before.split(".")[0]
        run_race(page)
        page.get_by_role("button", name="Count", exact=True).click()
        look(page, tmp_path, "signed-in")
        page.set_viewport_size({"width": 1280, "height": 900})

        clicked = time.monotonic()
        page.get_by_role("button", name="Sign out Phone").click()
        expect(other.get_by_role("heading", name="This session is over")).to_be_visible()
        print(f"cleared after {time.monotonic() - clicked:.2f} s")
        expect(page.get_by_role("button", name="Sign out Phone")).to_have_count(0)
        other.get_by_role("button", name="Start again").click()
        live(other)
        expect(other.get_by_label("Your name")).to_have_value("")

        expect(page.get_by_text(f"kill -9 {server.process.pid}")).to_be_visible()
        server.kill()
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        page.get_by_role("button", name="Count", exact=True).click()
        server = Server(tmp_path / "demo.db", server.port)
        live(page)
        expect(page.get_by_text("Your session is older")).to_be_visible()
        expect(figure(page, "Your counter")).to_have_text("2")
        expect(figure(page, "Visitors online")).to_have_text("2")
        expect(page.get_by_text("You are signed in as Ada Lovelace.")).to_be_visible()
        expect(page.get_by_text(f"kill -9 {server.process.pid}")).to_be_visible()
        look(page, tmp_path, "resumed")
        sign_in(other, "Ada Lovelace", "Phone")
        page.get_by_role("button", name="Sign out everywhere else").click()
        expect(other.get_by_role("heading", name="This session is over")).to_be_visible()
        page.reload()
        expect(figure(page, "Your counter")).to_have_text("2")
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(page.get_by_role("heading", name="This session is over")).to_be_visible()
        assert [line for line in ada.complaints if "WebSocket connection" not in line] == []
    finally:
        server.kill()
