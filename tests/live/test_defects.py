"""What goes wrong in the system whose idea this is, and must not here: one test each, in Chromium."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from browsing import Guest, Visits, chromium, live
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from servers.process import LOOPBACK, until
from sojourn.live import App
from sojourn.live import widgets as w

pytestmark = pytest.mark.battery


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


# Says something to the server over a socket of the page's own making, and gives back what it answers.
_SAY = """([path, frames, wanted]) => new Promise((done) => {
  const socket = new WebSocket(new URL(path, location.href).href.replace("http", "ws"));
  const heard = [];
  setTimeout(() => done([...heard, "no more"]), 8000);
  socket.onopen = () => frames.forEach((frame) => socket.send(JSON.stringify(frame)));
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data)) >= wanted && done(heard);
  socket.onclose = ({ code }) => done([...heard, { closed: code }]);
})"""


def hello(page: Page) -> dict[str, Any]:
    """The first frame of a tab that has seen this page, under a name of its own."""
    first = json.loads(page.locator("#page").text_content() or "")
    return {"t": "hello", "v": 1, "tab": "another-tab-of-its-own", "s": first["s"], "g": first["g"]}


def test_1_what_is_typed_is_there_when_a_button_is_clicked(browser: Browser) -> None:
    """1. What is typed into an input is the server's value by the time that the callback of a button runs, also if the
    click follows at once: so somebody can sign in."""
    app = App(title="Defect 1")
    app.title("Sign in", key="title")
    name = app.text_input("Name", key="name")
    enter = app.button("Enter", key="enter")

    @enter.on_click
    def sign_in(session: Any) -> None:
        if name.value.strip():
            for key in ("title", "name", "enter"):
                session.hide(key)
            session.title(f"Welcome, {name.value}")

    with Visits(browser, app) as visits:
        page, other = visits.guest().open(), visits.guest().open()
        button(page, "Enter").click()
        page.get_by_label("Name").fill("Ada")
        button(page, "Enter").evaluate("(one) => one.click()")  # the focus stays in the input
        expect(page.get_by_role("heading", name="Welcome, Ada")).to_be_visible()
        expect(page.get_by_label("Name")).to_have_count(0)
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


def test_2_a_callback_that_assigns_is_not_called_by_that(browser: Browser) -> None:
    """2. A callback may assign the value of the input whose callback it is: it is called once for what the visitor did,
    and not for what it assigned, whatever the first value was."""
    app = App(title="Defect 2")
    calls: list[str] = []

    @app.on_session
    def start(session: Any) -> None:
        name = session.text_input("Name", "not empty", key="name")

        @name.on_change
        def changed(session: Any, value: str) -> None:
            calls.append(value)
            session.widget("name").value = value.upper()

        @session.add_widget(w.Button("Again")).on_click
        def again(session: Any) -> None:
            calls.append("click")
            session.widget("name").value += "!"

    with Visits(browser, app) as visits:
        page = visits.guest().open()
        field = page.get_by_label("Name")
        button(page, "Again").click()
        expect(field).to_have_value("not empty!")
        field.fill("ada")
        field.blur()
        expect(field).to_have_value("ADA")
        button(page, "Again").click()
        expect(field).to_have_value("ADA!")
        assert calls == ["click", "ada", "click"]


def test_3_a_forged_event_runs_nothing(browser: Browser) -> None:
    """3. A browser cannot have a callback run that its page does not offer: not by an event that does not exist, on a
    widget of another session, one that is hidden or disabled, or with a kind of event that is another widget's."""
    app = App(title="Defect 3")
    ran: list[str] = []
    app.button("Hidden", key="hidden", visible=False).on_click(lambda: ran.append("hidden"))
    app.button("Disabled", key="disabled", disabled=True).on_click(lambda: ran.append("disabled"))
    app.text_input("Shown", key="shown").on_change(lambda: ran.append("shown"))

    @app.on_session
    def start(session: Any) -> None:
        @session.add_widget(w.Button("Mine", key=f"mine-{session.handle}")).on_click
        def clicked() -> None:
            ran.append("mine")

    with Visits(browser, app) as visits:
        victim, page = visits.guest().open(), visits.guest().open()
        theirs = victim.locator(".button[data-id^='s:']").get_attribute("data-id")
        forged = [
            ("g:shown", "login", None, "malformed"),
            (theirs, "click", None, "unknown_widget"),
            ("g:hidden", "click", None, "unknown_widget"),
            ("g:disabled", "click", None, "not_allowed"),
            ("g:shown", "click", None, "not_allowed"),
            ("g:shown", "submit", {}, "not_allowed"),
            ("g:shown", "change", {"a": 1}, "wrong_value"),
            ("", "click", None, "unknown_widget"),
        ]
        events, number = [], 0
        for id_, event, value, code in forged:
            number += code != "malformed"
            events.append({"t": "event", "n": max(1, number), "id": id_, "event": event, "value": value})
        heard = page.evaluate(_SAY, ["_live/socket", [hello(page), *events], len(events)])
        assert [frame.get("code") for frame in heard] == [code for *_, code in forged]
        assert ran == []
        button(victim, "Mine").click()
        until(lambda: ran == ["mine"], "the click")


def test_4_a_frame_is_one_message(browser: Browser) -> None:
    """4. However much is told at once, each frame is one JSON message, and all of it arrives."""
    app = App(title="Defect 4")

    @app.on_session
    def start(session: Any) -> None:
        @session.add_widget(w.Button("Add")).on_click
        def add(session: Any) -> None:
            for number in range(50):
                session.text(f"line\n{number}")
                app.text(f"everybody\n{number}")
                session.commit()

    with Visits(browser, app) as visits:
        guest = visits.guest()
        page = guest.open()
        button(page, "Add").click()
        expect(page.locator("p.text")).to_have_count(100)
        assert all(isinstance(json.loads(frame), dict) for frame in guest.frames)
        assert len(guest.frames) >= 50


def test_5_what_was_changed_or_replaced_still_works(browser: Browser) -> None:
    """5. A button that was updated, moved, or put in the place of another does what it is for; and so do its
    neighbours."""
    app = App(title="Defect 5")
    box = app.container(key="box")

    @app.on_session
    def start(session: Any) -> None:
        session.set("count", 0)
        session.add_widget(w.Button("Count: 0", key="count"), into="box").on_click(count)
        session.button("Replace", key="replace").on_click(replace)
        session.button("Move", key="move").on_click(move)

    def count(session: Any) -> None:
        session.update("count", lambda number: number + 1)
        session.widget("count").label = f"Count: {session['count']}"

    def replace(session: Any) -> None:
        session.widget("count").replace(w.Button("Count: new", key="count")).on_click(count)

    def move(session: Any) -> None:
        session.remove_widget("replace")
        session.add_widget(w.Button("Replace", key="replace"), before="move").on_click(replace)
        box.text("moved")

    for function in (count, replace, move):
        app.callback(function)
    with Visits(browser, app) as visits:
        page = visits.guest().open()
        for number in range(3):
            button(page, f"Count: {number}").click()
        button(page, "Replace").click()
        button(page, "Count: new").click()
        button(page, "Count: 4").click()
        button(page, "Move").click()
        expect(page.get_by_text("moved")).to_be_visible()
        button(page, "Replace").click()
        button(page, "Count: new").click()
        expect(button(page, "Count: 6")).to_be_visible()


def test_6_an_assigned_property_is_pushed(browser: Browser) -> None:
    """6. What is assigned to a property of a widget that all see is pushed to everybody, from a thread of the program's
    own; for a session's widget, to its tabs."""
    app = App(title="Defect 6")
    title, value, metric = app.title("Before"), app.write({"before": 1}), app.metric("Figure", 1)
    handles: list[Any] = []

    @app.on_session
    def start(session: Any) -> None:
        session.text("Before, for one", key="own")
        handles.append(session.handle)

    with Visits(browser, app) as visits:
        one, other = visits.guest(), visits.guest()
        pages = [one.open(), one.open(), other.open()]

        def change() -> None:
            title.text = "After"
            value.value = {"after": [1, 2]}
            metric.value, metric.delta = 2, "-1"
            with app.session(handles[0]) as session:
                session.widget("own").text = "After, for one"

        thread = threading.Thread(target=change)
        thread.start()
        for page in pages:
            expect(page.get_by_role("heading", name="After")).to_be_visible()
            expect(page.get_by_text("after:")).to_be_visible()
            expect(page.locator(".value")).to_have_text("2")
            expect(page.locator(".delta")).to_contain_text("-1")
        for page in pages[:2]:
            expect(page.get_by_text("After, for one")).to_be_visible()
        expect(pages[2].get_by_text("Before, for one")).to_be_visible()
        thread.join(10)


def test_7_a_reload_shows_the_sessions_own_widgets(browser: Browser) -> None:
    """7. A reload shows what the session has, by its cookie alone: no id is in the address. Each visitor has a session
    of their own from the first page on."""
    app = App(title="Defect 7")

    @app.on_session
    def start(session: Any) -> None:
        session.text(f"I am {session.handle}", key="who")

        @session.add_widget(w.Button("Add")).on_click
        def add(session: Any) -> None:
            session.text("Added")

    with Visits(browser, app) as visits:
        pages = [visits.guest().open() for _ in range(3)]
        who = [page.locator("[data-id='s:who']").inner_text() for page in pages]
        assert len(set(who)) == 3
        button(pages[0], "Add").click()
        expect(pages[0].get_by_text("Added")).to_be_visible()
        for page, one in zip(pages, who, strict=True):
            page.reload()
            live(page)
            assert page.locator("[data-id='s:who']").inner_text() == one
            assert "?" not in page.url
        expect(pages[0].get_by_text("Added")).to_be_visible()
        expect(pages[1].get_by_text("Added")).to_have_count(0)
        raw = httpx.get(f"http://{LOOPBACK}:{visits.site.port}/", cookies=_cookies(visits.guests[0])).text
        assert "Added" in raw


def _cookies(guest: Guest) -> dict[str, str]:
    return {one["name"]: one["value"] for one in guest.context.cookies()}


def test_8_an_id_that_the_browser_chose_is_not_adopted(browser: Browser) -> None:
    """8. An id that the server did not make opens nothing and becomes nobody's: the visitor gets another. So nobody can
    have somebody else work in a session that they know."""
    app = App(title="Defect 8")
    app.text("Hello")
    with Visits(browser, app) as visits:
        first = visits.guest()
        first.open()
        name, real = first.cookie["name"], first.cookie["value"]
        handle, secret = real.split(".")
        for chosen in (
            "default-session-id",
            f"{'A' * len(handle)}.{'B' * len(secret)}",
            f"{handle}.{'B' * len(secret)}",
        ):
            guest = visits.guest()
            cookie = {"name": name, "value": chosen, "domain": LOOPBACK, "path": "/"}
            guest.context.add_cookies([{**cookie, "httpOnly": True}])
            page = guest.context.new_page()
            page.goto(f"{guest.url}?sessionId={chosen}&session_id={chosen}")
            (now,) = [one["value"] for one in guest.context.cookies()]
            if chosen.startswith(handle):  # half of it is real: it opens nothing, and says nothing
                assert page.locator("#page").count() == 0
            else:
                live(page)
                assert now not in (chosen, real)
                assert now.split(".")[0] != handle


def test_9_children_get_events_and_are_shown_once(browser: Browser) -> None:
    """9. A widget in a container in a container gets its events, however deep it is, of the app's as of the session's;
    and each is shown once."""
    app = App(title="Defect 9")
    ran: list[str] = []
    deep = app.expander("Outer", expanded=True).container(border=True).columns(2)[1].tabs(["One", "Two"])[0]
    deep.button("Deep").on_click(lambda: ran.append("deep"))
    inner = deep.container(key="inner")

    @app.on_session
    def start(session: Any) -> None:
        own = session.add_widget(w.Expander("Own", expanded=True), into=inner).columns([2, 1])[0].container()

        @own.add_widget(w.Button("Deeper")).on_click
        def clicked() -> None:
            ran.append("deeper")

        @own.add_widget(w.Checkbox("Deepest")).on_change
        def ticked(session: Any, value: bool) -> None:
            ran.append(f"deepest {value}")

    with Visits(browser, app) as visits:
        page = visits.guest().open()
        for name in ("Deep", "Deeper"):
            expect(button(page, name)).to_have_count(1)
            button(page, name).click()
        page.get_by_label("Deepest").check()
        until(lambda: ran == ["deep", "deeper", "deepest True"], "the events")


def test_10_who_is_active_stays(browser: Browser) -> None:
    """10. What a visitor does on the page is activity: the session goes on, far longer than its timeout, over the
    socket alone. An open page alone is none: then the session is over, and the page is cleared."""
    app = App(title="Defect 10", session_timeout=4.0, cleanup_interval=0.5)

    @app.on_session
    def start(session: Any) -> None:
        session.set("count", 0)
        session.text("0", key="count")

        @session.add_widget(w.Button("Count")).on_click
        def count(session: Any) -> None:
            session.update("count", lambda number: number + 1)
            session.widget("count").text = str(session["count"])

    with Visits(browser, app) as visits:
        page = visits.guest().open()
        for number in range(1, 11):
            button(page, "Count").click()
            expect(page.locator("[data-id='s:count']")).to_have_text(str(number))
            time.sleep(1.0)
        expect(page.get_by_role("heading", name="This session is over")).to_be_visible()
        expect(page.get_by_role("button")).to_have_count(1)
        button(page, "Start again").click()
        expect(page.locator("[data-id='s:count']")).to_have_text("0")


def test_11_full_queues_two_apps_and_strange_origins(browser: Browser) -> None:
    """11. A tab that takes nothing for a while harms nobody, and catches up. Two apps in one process are two. A page of
    another site cannot open a socket, whatever cookie the browser sends with it."""
    one, two = App(title="Defect 11"), App(title="Another")
    figure = one.text("-", key="figure")
    other = two.text_input("Name")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with one.lifespan(), two.lifespan():
            yield

    both = Starlette(routes=[Mount("/one", one), Mount("/two", two)], lifespan=lifespan)
    elsewhere = Starlette(routes=[Route("/", lambda _: HTMLResponse("<p>Hello"))])
    with Visits(browser, both) as visits, Visits(browser, elsewhere) as stranger:
        guest = visits.guest("/one/")
        page, quick = guest.open(), visits.guest("/one/").open()
        second = guest.open(guest.url.replace("/one/", "/two/"))
        assert len(guest.context.cookies()) == 2

        def flood() -> None:
            for number in range(3000):
                figure.text = f"{number} " + "x" * 2000
                if not number % 50:
                    time.sleep(0.001)
            figure.text = "the end"

        thread = threading.Thread(target=flood)
        thread.start()
        page.evaluate("() => { const end = Date.now() + 1500; while (Date.now() < end); }")
        second.get_by_label("Name").fill("Ada")
        for tab in (quick, page):
            expect(tab.get_by_text("the end")).to_be_visible()
        thread.join(30)
        assert other.key

        # two hosts of one site: the browser sends the cookie along
        near = visits.guest()
        near.url = f"http://ours.site.localhost:{visits.site.port}/one/"
        address, page = f"{near.url}_live/socket", near.open()
        assert page.evaluate(_SAY, [address, [hello(page), {"t": "ping"}], 1]) == [{"t": "pong"}]
        away = near.context.new_page()
        away.goto(f"http://strange.site.localhost:{stranger.site.port}/")
        assert away.evaluate(_SAY, [address, [], 1]) == [{"closed": 1006}]
