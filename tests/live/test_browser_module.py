"""The browser's side of a live app: the module and the styles as they are, and in Chromium against a server that says
what a test has it say."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browsing import chromium, live, look
from playwright.sync_api import Browser, Locator, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import sojourn.live.widgets as widgets
from sojourn.live import protocol
from sojourn.live.widget import Widget

STATIC = Path(protocol.__file__).with_name("static")
MODULE, CHART, STYLES, MORE, MORE_STYLES = (
    (STATIC / name).read_text("utf-8") for name in ("live.js", "chart.js", "live.css", "more.js", "more.css")
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https: http:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; require-trusted-types-for 'script'"
)
PAGE = """<!doctype html>
<html lang="en" data-root="/"$ticket><head><meta charset="utf-8"><title>-</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/_live/live.css"><link rel="icon" href="data:,">
<script type="module" src="/_live/live.js"></script></head>
<body><main id="app"></main><script type="application/json" id="page">$page</script></body></html>"""
TYPES = {".js": "text/javascript", ".css": "text/css"}

Frame = dict[str, Any]

# --- As they are ----------------------------------------------------------------------------------------------------


def entries(name: str) -> set[str]:
    """The names in one of the module's tables."""
    found = re.search(rf"^const {name} = \{{\n(.*?)^\}};", MODULE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return set(re.findall(r"^  (\w+)(?=[(:,])", found[1], re.MULTILINE))


def test_the_page_is_small() -> None:
    """What every page loads is below 60 KB with 1.5 KB for the page itself, before any compression; one that has
    everything loads 25 KB more."""
    assert len(MODULE.encode()) + len(CHART.encode()) + len(STYLES.encode()) < 58_500
    assert len(MORE.encode()) + len(MORE_STYLES.encode()) < 25_000


def test_nothing_becomes_markup_or_code() -> None:
    """The module knows no way from text to markup, code or style rules."""
    ways = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML|"
        r"\beval\b|\bFunction\(|cssText|insertRule|setAttribute\(\s*[\"']style|setAttributeNS|createPolicy|"
        r"setTimeout\(\s*[\"'`]|\.on\w+ = [\"'`]|importScripts|new Worker|postMessage"
    )
    for text in (MODULE, CHART, MORE):
        assert re.findall(ways, text) == []
    assert re.findall(r"https?://[^\s\"')]+", MODULE + STYLES + MORE + MORE_STYLES) == []
    assert re.findall(r"url\(|@import|expression\(", STYLES + MORE_STYLES) == []
    imported = re.compile(r"import\((.*?)\)|^import .*", re.MULTILINE)
    assert set(imported.findall(MODULE)) <= {'"./more.js"', '"./exchange.js"'}
    assert imported.findall(MORE) == ['"./chart.js"']


def test_each_kind_can_be_shown() -> None:
    """Each widget that can be declared has a renderer, and there is no other."""
    declared = {one.kind for one in vars(widgets).values() if isinstance(one, type) and issubclass(one, Widget)}
    assert entries("KINDS") == declared - {""}


def test_each_frame_and_each_operation_is_known() -> None:
    """The module's tables are those of the protocol."""
    frames = protocol.ServerFrame.__args__
    operations = protocol.Operation.__args__
    assert entries("FRAMES") == {frame.__struct_config__.tag for frame in frames}
    assert entries("OPERATIONS") == {one.__struct_config__.tag for one in operations}
    assert f"v: {protocol.VERSION}," in MODULE


# --- In a browser ---------------------------------------------------------------------------------------------------


class Server:
    """Serves one page, keeps what the browser says, and says what it is told to."""

    def __init__(self, *children: Frame) -> None:
        self.children = list(children)
        self.ticket = ""
        self.open = self.answering = True
        self.frames: list[Frame] = []
        self.queries: list[str] = []
        self.renewed: list[bytes] = []
        self.sockets: list[WebSocket] = []
        self.loads = 0
        routes = [
            Route("/", self._page),
            Route("/_live/renew", self._renew, methods=["POST"]),
            Route("/_live/{name}", self._static),
            WebSocketRoute("/_live/socket", self._socket),
        ]
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        quiet = {"log_level": "critical", "log_config": None}  # the loggers of this process are as they were
        config = uvicorn.Config(Starlette(routes=routes), lifespan="off", ws="websockets-sansio", **quiet)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def page(self, **other: Any) -> Frame:
        return {
            "t": "page",
            "v": 1,
            "title": "A page",
            "s": ["S", 0],
            "g": ["G", 0],
            "children": self.children,
            "done": 0,
            **other,
        }

    async def _page(self, request: Request) -> Response:
        self._loop = asyncio.get_running_loop()
        self.loads += 1
        ticket = f' data-ticket="{self.ticket}"' if self.ticket else ""
        body = PAGE.replace("$ticket", ticket).replace("$page", json.dumps(self.page()).replace("<", "\\u003c"))
        return Response(body, 200, {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}, "text/html")

    async def _renew(self, request: Request) -> Response:
        self.renewed.append(await request.body())
        return Response(status_code=204)

    async def _static(self, request: Request) -> Response:
        path = STATIC / request.path_params["name"]
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])

    async def _socket(self, socket: WebSocket) -> None:
        if not self.open:
            await socket.close()
            return
        await socket.accept()
        self.sockets.append(socket)
        self.queries.append(socket.url.query)
        try:
            while True:
                frame = json.loads(await socket.receive_text())
                is_answered = frame["t"] == "event" and self.answering  # before a test sees it, and says otherwise
                self.frames.append(frame)
                if is_answered:
                    await socket.send_text(json.dumps({"t": "ack", "n": frame["n"]}))
        except WebSocketDisconnect:
            self.sockets.remove(socket)

    def say(self, *frames: Frame | str) -> None:
        for frame in frames:
            for one in tuple(self.sockets):
                text = frame if isinstance(frame, str) else json.dumps(frame)
                asyncio.run_coroutine_threadsafe(one.send_text(text), self._loop).result(5)

    def change(self, stream: str, n: int, *operations: Frame, **other: Any) -> None:
        self.say({"t": "changes", "ops": operations, stream: n, **other})

    def drop(self) -> None:
        for one in tuple(self.sockets):
            asyncio.run_coroutine_threadsafe(one.close(), self._loop).result(5)

    @property
    def hellos(self) -> list[Frame]:
        return [frame for frame in self.frames if frame["t"] == "hello"]

    @property
    def events(self) -> list[tuple[int, str, str, Any]]:
        return [(one["n"], one["id"], one["event"], one["value"]) for one in self.frames if one["t"] == "event"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def shown(browser: Browser, *children: Frame, quiet: bool = True, **options: Any) -> Iterator[tuple[Server, Page]]:
    """A page with these widgets, once its socket is open. ``quiet``: the browser must have nothing to complain of."""
    server = Server(*children)
    try:
        with browser.new_context(**options) as context:
            page = context.new_page()
            page.set_default_timeout(20_000)
            complaints: list[str] = []
            bad = ("error", "warning") if quiet else ("error",)
            page.on("console", lambda one: complaints.append(one.text) if one.type in bad else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(server.url)
            live(page)
            eventually(lambda: bool(server.hellos))
            yield server, page
            assert [one for one in complaints if not EXPECTED(one)] == []
    finally:
        server.stop()


def eventually(check: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not check():
        assert time.monotonic() < give_up, "it does not come about"
        time.sleep(0.01)


def widget(kind: str, key: str, /, *children: Frame, layer: str = "s", **props: Any) -> Frame:
    described: Frame = {"id": f"{layer}:{key}", "kind": kind, "props": props}
    return {**described, "children": list(children)} if kind in HOLDERS else described


EXPECTED = re.compile("WebSocket connection|Failed to load resource").search
HOLDERS = {"container", "columns", "column", "sidebar", "expander", "tabs", "tab", "form"}


def input_(kind: str, key: str, value: Any, **props: Any) -> Frame:
    common = {"label": key.capitalize(), "disabled": False, "read_only": False, "help": ""}
    return widget(kind, key, **{**common, "value": value, **props})


def update(**widgets: Frame) -> Frame:
    return {"op": "update", "widgets": {f"s:{key}": props for key, props in widgets.items()}}


def at(page: Page, key: str) -> Locator:
    return page.locator(f'[data-id="s:{key}"]')


def _by_our_clock(page: Page) -> None:
    """From now on the page's timers stand still, until they are told to run."""
    page.clock.install()
    page.clock.pause_at(time.time() + 10)


@pytest.mark.battery
def test_typing_is_never_fought(browser: Browser) -> None:
    """What is typed is sent 200 ms after the last key; what the server says meanwhile waits until it has answered, and
    is shown then, with the caret where it was. The browser's timers go by the test's clock."""
    with shown(browser, input_("text_input", "name", "")) as (server, page):
        _by_our_clock(page)
        server.answering = False
        box = page.get_by_label("Name")
        for letter in "Ada":
            page.clock.run_for(190)
            box.press_sequentially(letter)
        server.change("s", 1, update(name={"value": "from elsewhere"}))
        page.clock.run_for(190)
        assert server.events == []
        page.clock.run_for(10)
        eventually(lambda: server.events == [(1, "s:name", "change", "Ada")])
        server.change("s", 2, update(name={"value": "from elsewhere, too", "label": "Your name"}))
        box = page.get_by_label("Your name")
        expect(box).to_have_value("Ada")
        tab = server.hellos[0]["tab"]
        server.change("s", 3, update(name={"value": "ADA"}), by=[tab, 1])
        expect(box).to_have_value("ADA")
        box.press("Home")
        box.press_sequentially("z")
        page.clock.run_for(200)
        eventually(lambda: len(server.events) == 2)
        box.press("Backspace")
        box.press_sequentially("x")
        page.clock.run_for(200)
        server.change("s", 4, update(name={"value": "no"}))
        eventually(lambda: [value for *_, value in server.events[1:]] == ["zADA", "xADA"])
        server.say({"t": "ack", "n": 2}, {"t": "ack", "n": 3})
        page.wait_for_timeout(50)
        expect(box).to_have_value("xADA")
        assert box.evaluate("(box) => box.selectionStart") == 1
        server.change("s", 5, update(name={"value": "yADA"}))
        expect(box).to_have_value("yADA")
        assert box.evaluate("(box) => box.selectionStart") == 1


@pytest.mark.battery
def test_what_was_typed_goes_before_a_click(browser: Browser) -> None:
    """A click sends first what was typed; Enter and leaving the input send at once."""
    inputs = (input_("text_input", "name", ""), input_("text_area", "more", ""), widget("button", "go", label="Go"))
    with shown(browser, *inputs) as (server, page):
        page.get_by_label("Name").fill("Ada")
        page.get_by_role("button", name="Go").evaluate("(button) => button.click()")
        eventually(lambda: len(server.events) == 2)
        assert server.events == [(1, "s:name", "change", "Ada"), (2, "s:go", "click", None)]
        page.get_by_label("Name").fill("Bea")
        page.keyboard.press("Enter")
        page.get_by_label("More").fill("x")
        page.get_by_label("More").blur()
        eventually(lambda: len(server.events) == 4)
        assert [value for *_, value in server.events[2:]] == ["Bea", "x"]


@pytest.mark.battery
def test_a_letter_that_is_composed_is_not_sent_in_pieces(browser: Browser) -> None:
    """Nothing is sent, and nothing put over it, while an input method composes a letter."""
    with shown(browser, input_("text_input", "name", "")) as (server, page):
        box = page.get_by_label("Name")
        box.focus()
        keyboard = page.context.new_cdp_session(page)
        keyboard.send("Input.imeSetComposition", {"text": "に", "selectionStart": 1, "selectionEnd": 1})
        page.wait_for_timeout(300)
        server.change("s", 1, update(name={"value": "no"}))
        page.wait_for_timeout(50)
        assert server.events == []
        expect(box).to_have_value("に")
        keyboard.send("Input.insertText", {"text": "日本"})
        eventually(lambda: server.events == [(1, "s:name", "change", "日本")])


@pytest.mark.battery
def test_events_outlive_the_socket(browser: Browser) -> None:
    """Clicks during a break are kept, and sent after the next hello, once, in order; those that were not answered are
    sent again with their numbers; the hello says how far the page is."""
    with shown(browser, widget("button", "go", label="Go"), widget("text", "label", text="0")) as (server, page):
        server.change("s", 1, update(label={"text": "1"}))
        server.change(
            "g", 1, {"op": "add", "into": "", "after": "", "widget": widget("text", "top", layer="g", text="t")}
        )
        page.get_by_role("button").click()
        eventually(lambda: len(server.events) == 1)
        server.open, server.answering = False, False
        page.get_by_role("button").click()
        eventually(lambda: len(server.events) == 2)
        server.drop()
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        page.get_by_role("button").click()
        page.get_by_role("button").click()
        server.open = server.answering = True
        eventually(lambda: len(server.events) == 5)
        assert [n for n, *_ in server.events] == [1, 2, 2, 3, 4]
        first, *_, last = server.hellos
        assert (first["s"], first["g"], first["n"]) == (["S", 0], ["G", 0], 1)
        assert (last["s"], last["g"], last["n"], last["tab"]) == (["S", 1], ["G", 1], 2, first["tab"])
        expect(page.get_by_text("Reconnecting…")).to_have_count(0)
        server.drop()
        eventually(lambda: len(server.hellos) > 2 and page.evaluate("document.documentElement.dataset.state") == "open")
        assert server.hellos[-1]["n"] == 5
        assert len(server.events) == 5


@pytest.mark.battery
def test_typing_during_a_break(browser: Browser) -> None:
    """What is typed without a socket is sent once, as it is at the end; a page says what was done already; and what was
    typed last is sent when the page is left, and after it has come back."""
    with shown(browser, input_("text_input", "name", "")) as (server, page):
        server.open = False
        server.drop()
        page.wait_for_selector("html[data-state=lost]")
        box = page.get_by_label("Name")
        for text in ("A", "Ad", "Ada"):
            box.fill(text)
            page.wait_for_timeout(250)
        server.open = True
        eventually(lambda: server.events == [(1, "s:name", "change", "Ada")])
        expect(box).to_have_value("Ada")
        box.fill("Bea")
        page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
        eventually(lambda: server.events[1:] == [(2, "s:name", "change", "Bea")] and not server.sockets)
        page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        eventually(lambda: len(server.hellos) == 3)
        server.answering = False
        box.fill("Cleo")
        eventually(lambda: server.events[-1] == (3, "s:name", "change", "Cleo"))
        server.children = [input_("text_input", "name", "CLEO")]
        server.say(server.page(done=3))
        expect(box).to_have_value("CLEO")
        server.drop()
        eventually(lambda: len(server.hellos) == 4)
        assert server.hellos[-1]["n"] == 4


@pytest.mark.battery
def test_a_silent_server_is_left(browser: Browser) -> None:
    """A ping goes out every 25 s; a socket on which nothing comes for 10 s after it is given up for another."""
    with shown(browser) as (server, page):
        page.clock.install()
        with page.expect_websocket() as opened:
            page.reload()
        eventually(lambda: len(server.hellos) == 2)
        page.clock.run_for(25_000)
        eventually(lambda: server.frames[-1] == {"t": "ping"})
        with opened.value.expect_event("framereceived"):  # it has come before time goes on
            server.say({"t": "pong"})
        page.clock.run_for(20_000)
        assert len(server.hellos) == 2
        page.clock.run_for(5_000)
        eventually(lambda: server.frames[-2:] == [{"t": "ping"}] * 2)
        page.clock.run_for(10_400)
        eventually(lambda: len(server.hellos) == 3)


@pytest.mark.battery
def test_numbers_that_do_not_agree(browser: Browser) -> None:
    """A server that expects another number, or does not take so much, is met with a new name and number 1."""
    with shown(browser, widget("button", "go", label="Go")) as (server, page):
        server.answering = False
        page.get_by_role("button").click()
        eventually(lambda: len(server.events) == 1)
        server.say({"t": "error", "code": "out_of_order", "n": 1, "message": "No."})
        eventually(lambda: len(server.hellos) == 2)
        assert server.hellos[1]["tab"] != server.hellos[0]["tab"]
        page.get_by_role("button", name="Go").click()
        eventually(lambda: len(server.events) == 2)
        assert server.events[1][0] == 1


@pytest.mark.battery
@pytest.mark.parametrize("way", ["moveBefore", "insertBefore"])
def test_a_page_is_reconciled(browser: Browser, way: str) -> None:
    """Another page in place of what is shown keeps the elements of the widgets that stay: focus, caret, what is typed,
    open expanders and tabs."""
    tabs = widget(
        "tabs", "tabs", widget("tab", "a", label="A"), widget("tab", "b", widget("text", "in", text="in b"), label="B")
    )
    parts = (
        widget("text", "gone", text="gone"),
        widget("expander", "more", widget("text", "inside", text="inside"), label="More", expanded=False),
        tabs,
        input_("text_input", "name", "Ada"),
    )
    with shown(browser, *parts) as (server, page):
        server.answering = False
        page.evaluate("(way) => way === 'insertBefore' && delete Element.prototype.moveBefore", way)
        page.get_by_text("More").click()
        page.get_by_role("tab", name="A").focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="B")).to_be_focused()
        box = page.get_by_label("Name")
        box.focus()
        box.press("Home")
        box.press_sequentially("x")
        box.evaluate("(box) => (box.mine = true)")
        server.children = [parts[3], widget("text", "new", text="new"), tabs, parts[1]]
        server.say(server.page(s=["T", 7]))
        expect(page.get_by_text("new")).to_be_visible()
        expect(page.get_by_text("gone")).to_have_count(0)
        expect(box).to_be_focused()
        assert box.evaluate("(box) => [box.mine, box.value, box.selectionStart]") == [True, "xAda", 1]
        expect(page.get_by_text("inside")).to_be_visible()
        expect(page.get_by_text("in b")).to_be_visible()
        order = page.locator("#app > *").evaluate_all("(all) => all.map((one) => one.dataset.id)")
        assert order == ["s:name", "s:new", "s:tabs", "s:more"]
        server.change("s", 8, {"op": "order", "into": "", "ids": ["s:more", "s:new", "s:tabs", "s:name"]})
        expect(page.locator("#app > *").last).to_have_attribute("data-id", "s:name")
        expect(box).to_be_focused()
        assert box.evaluate("(box) => [box.mine, box.value, box.selectionStart]") == [True, "xAda", 1]


@pytest.mark.battery
def test_operations(browser: Browser) -> None:
    """Widgets come, go, change places and are replaced, at any depth, and what replaces a button can be clicked."""
    box = widget("container", "box", widget("button", "go", label="Go"), border=False)
    with shown(browser, widget("text", "top", layer="g", text="top"), box) as (server, page):
        text = {"op": "add", "into": "s:box", "after": "s:go", "widget": widget("text", "t", text="after")}
        first = {"op": "add", "into": "s:box", "after": "", "widget": widget("text", "f", text="first")}
        server.change("s", 1, text, first)
        expect(at(page, "box").locator("> *")).to_have_text(["first", "Go", "after"])
        other = {"op": "replace", "id": "s:go", "widget": widget("button", "other", label="Other")}
        server.change("s", 2, other, {"op": "remove", "ids": ["s:f"]})
        expect(at(page, "box").locator("> *")).to_have_text(["Other", "after"])
        page.get_by_role("button", name="Other").click()
        eventually(lambda: server.events == [(1, "s:other", "click", None)])
        moved = {"op": "add", "into": "", "after": "g:top", "widget": widget("button", "other", label="Moved")}
        at(page, "other").evaluate("(one) => (one.mine = true)")
        server.change("s", 3, {"op": "remove", "ids": ["s:other"]}, moved)
        expect(page.locator("#app > *")).to_have_text(["top", "Moved", "after"])
        assert at(page, "other").evaluate("(one) => one.mine") is True
        server.change("g", 1, {"op": "order", "into": "", "ids": ["g:top"]})
        server.change("s", 3, {"op": "remove", "ids": ["s:other"]})  # it is not news
        server.change("s", 4, update(other={"label": "Still"}))
        expect(page.locator("#app > *")).to_have_text(["top", "Still", "after"])
        server.change("s", 6, update(other={"label": "A gap"}))
        eventually(lambda: len(server.hellos) == 2)
        assert server.hellos[1]["s"] is None
        server.say(server.page(s=["S", 6]))
        expect(page.locator("#app > *")).to_have_text(["top", "Go"])


@pytest.mark.battery
def test_a_form_is_sent_whole(browser: Browser) -> None:
    """The inputs of a form send nothing by themselves; Enter sends all of them, but not what is no value. A refusal
    leaves what is typed."""
    inputs = (input_("text_input", "name", ""), input_("number_input", "age", None, min=0, step=1, whole=True))
    form = widget("form", "form", widget("container", "c", *inputs), submit_label="Send", border=True)
    with shown(browser, form, quiet=False) as (server, page):
        page.get_by_label("Name").fill("Ada")
        page.get_by_label("Age").fill("-3")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_label("Age")).to_be_focused()
        expect(page.get_by_text("Please enter a whole number from 0.")).to_be_visible()
        page.wait_for_timeout(300)
        assert server.events == []
        server.answering = False
        page.get_by_label("Age").fill("36")
        page.get_by_label("Name").press("Enter")
        values = {"s:name": "Ada", "s:age": 36}
        eventually(lambda: server.events == [(1, "s:form", "submit", values)])
        server.say({"t": "error", "n": 1, "code": "failed", "message": "It failed.", "detail": "Traceback"})
        expect(page.get_by_role("alert")).to_contain_text("It failed.")
        expect(page.get_by_label("Name")).to_have_value("Ada")
        expect(page.get_by_label("Age")).to_have_value("36")
        page.get_by_role("button", name="Send").click()
        eventually(lambda: len(server.events) == 2)
        server.change("s", 1, update(name={"value": ""}, age={"value": None}), by=[server.hellos[0]["tab"], 2])
        expect(page.get_by_label("Name")).to_have_value("")
        expect(page.get_by_label("Age")).to_have_value("")


@pytest.mark.battery
def test_values_of_inputs(browser: Browser) -> None:
    """Each input sends its value as JSON; what is refused goes back to what the server has; nothing is sent that is no
    number."""
    inputs = (
        input_("number_input", "seats", 2, min=1, max=9, step=1, whole=True),
        input_("slider", "volume", 30, min=0, max=100, step=5),
        input_("checkbox", "agree", False),
        input_("selectbox", "colour", None, options=["red", "green"]),
        input_("multiselect", "days", ["Tue"], options=["Mon", "Tue"]),
        input_("text_input", "off", "x", disabled=True),
        input_("text_input", "fixed", "x", read_only=True, help="For ever."),
    )
    with shown(browser, *inputs) as (server, page):
        _by_our_clock(page)
        page.get_by_label("Seats").fill("3")
        page.get_by_label("Seats").fill("")
        page.get_by_label("Seats").press_sequentially("-", delay=0)
        page.clock.run_for(300)
        page.clock.resume()
        page.wait_for_timeout(50)
        assert server.events == []
        page.get_by_label("Seats").blur()
        expect(page.get_by_label("Seats")).to_have_value("2")
        page.get_by_label("Volume").press("ArrowRight")
        page.get_by_label("Agree").check()
        page.get_by_label("Colour").select_option("green")
        page.get_by_label("Mon").check()
        page.get_by_label("Seats").fill("")
        page.get_by_label("Seats").blur()
        eventually(lambda: len(server.events) == 5)
        assert [value for *_, value in server.events] == [35, True, "green", ["Mon", "Tue"], None]
        expect(page.get_by_label("Off")).to_be_disabled()
        expect(page.get_by_label("Fixed")).to_have_attribute("readonly", "")
        expect(page.get_by_label("Fixed")).to_have_accessible_description("For ever.")
        server.answering = False
        page.get_by_label("Agree").uncheck()
        eventually(lambda: len(server.events) == 6)
        server.say({"t": "error", "n": 6, "code": "not_allowed", "message": "No."})
        expect(page.get_by_label("Agree")).to_be_checked()


@pytest.mark.battery
def test_a_slider_is_the_hand_s_while_it_is_held(browser: Browser) -> None:
    """Values are sent during a drag, at most one in 50 ms; what the server says meanwhile does not move the slider."""
    with shown(browser, input_("slider", "volume", 0, min=0, max=1000, step=1)) as (server, page):
        slider = page.get_by_role("slider")
        box = slider.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
        page.mouse.down()
        begun = time.monotonic()
        while len(server.events) < 3 or time.monotonic() - begun < 0.5:
            assert time.monotonic() - begun < 20, "nothing is sent while it moves"
            page.mouse.move(box["x"] + 8 + (time.monotonic() - begun) % 1 * 300, box["y"] + box["height"] / 2)
        took = time.monotonic() - begun
        eventually(lambda: bool(server.events) and server.events[-1][3] == int(slider.input_value()))
        assert len(server.events) <= took / 0.05 + 3
        held = slider.input_value()
        server.change("s", 1, update(volume={"value": 999, "label": "Loudness"}))
        expect(page.get_by_label("Loudness")).to_have_value(held)
        page.mouse.up()
        expect(slider).to_have_value("999")


@pytest.mark.battery
def test_a_sidebar_makes_way_on_a_phone(browser: Browser) -> None:
    """On a phone a sidebar is closed at first, whatever the app says, and opens by its button; elsewhere it is open."""
    side = widget("sidebar", "side", widget("text", "in", text="inside"), expanded=True)
    with shown(browser, side) as (_, page):
        expect(page.get_by_text("inside")).to_be_visible()
        page.set_viewport_size({"width": 360, "height": 700})
        page.reload()
        button = page.get_by_role("button", name="Open sidebar")
        expect(button).to_have_attribute("aria-expanded", "false")
        expect(page.get_by_text("inside")).to_be_hidden()
        button.press("Enter")
        expect(page.get_by_text("inside")).to_be_visible()


@pytest.mark.battery
def test_the_end(browser: Browser) -> None:
    """An ended session clears the page, says so, and offers to start again; there is no other socket. A page that is
    older than the server loads itself anew, once."""
    with shown(browser, widget("text", "secret", text="secret")) as (server, page):
        server.say({"t": "error", "code": "version", "message": "another"})
        eventually(lambda: len(server.hellos) == 2)
        assert server.loads == 2
        live(page)
        server.say({"t": "ended", "reason": "expired"})
        expect(page.get_by_role("heading", name="This session is over")).to_be_focused()
        expect(page.get_by_text("secret")).to_have_count(0)
        page.evaluate("dispatchEvent(new Event('online')) && document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(700)
        assert len(server.hellos) == 2
        page.get_by_role("button", name="Start again").click()
        eventually(lambda: len(server.hellos) == 3)
        live(page)
        server.say({"t": "error", "code": "version", "message": "another"})
        expect(page.get_by_role("alert")).to_contain_text("Please load it anew.")
        assert server.loads == 3


@pytest.mark.battery
def test_tickets(browser: Browser) -> None:
    """The ticket of the page lets the first socket in, and each that comes the next; a renewal is fetched."""
    with shown(browser) as (server, page):
        server.ticket = "first&ticket"
        page.reload()
        eventually(lambda: len(server.hellos) == 2)
        assert server.queries == ["", "ticket=first%26ticket"]
        server.say({"t": "ticket", "ticket": "next"}, {"t": "renew", "ticket": "waits"})
        eventually(lambda: server.renewed == [b"waits"])
        server.drop()
        eventually(lambda: len(server.hellos) == 3)
        assert server.queries[2] == "ticket=next"


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "\u0001java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "__proto__",
)


@pytest.mark.battery
def test_hostile_data_is_harmless(browser: Browser) -> None:
    """No property of any kind runs anything, whatever is in it, under the policy and without a violation of it; what is
    no widget or frame is passed over, and the rest is there."""
    names = {
        "text", "label", "value", "anchor", "source", "alt", "caption", "title", "help", "options", "placeholder", "as",
        "content", "language", "data", "nodes", "delta", "better", "level", "submit_label", "min", "max", "step",
        "rows", "ratios", "width", "height", "max_length", "divider", "password", "expanded", "items", "current",
        "selected", "keys", "sortable", "sorted_by", "empty", "confirm", "danger", "stacked", "row",
    }  # fmt: skip
    kinds = [one for one in sorted(entries("KINDS")) if one != "tabs"]
    all_: list[Frame] = []
    for which, bad in enumerate((*HOSTILE, None, -1, 1e308, [], {}, [[[]]], {"__proto__": {"x": 1}}, [None], True)):
        all_ += [widget(kind, f"{kind}{which}", **dict.fromkeys(names, bad)) for kind in kinds]
    evil = [
        ["script", {}, ["alert(1)"]],
        ["a", {"href": HOSTILE[4], "onclick": "alert(1)", "style": "color:red"}, ["link"]],
        ["img", {"src": HOSTILE[5], "onerror": "alert(1)"}, []],
        ["p", {"id": "app", "class": "x"}, [["iframe", {"src": "//x"}, []], "kept"]],
        ["constructor", None, None], None, 5, ["p"], ["p", 1, 1],
    ]  # fmt: skip
    all_ += [widget("markdown", "evil", nodes=evil), widget("toString", "method")]
    all_ += [None, 7, {}, {"id": "s:x"}, {"id": 5, "kind": "text"}, {"id": "s:y", "kind": "__proto__", "props": {}}]  # type: ignore[list-item]
    deep: Any = "deep"
    for _ in range(400):
        deep = ["blockquote", {}, [deep]]
    all_.append(widget("markdown", "deep", nodes=[deep]))
    all_.append(widget("text", "last", text="the last one"))
    with shown(browser, quiet=False) as (server, page):
        page.evaluate("() => { window.hits = []; window.alert = () => hits.push('alert'); }")
        watch = "document.addEventListener('securitypolicyviolation', (event) => hits.push(event.violatedDirective))"
        page.evaluate(watch)
        page.route(re.compile(r"^(?!http://127)"), lambda route: route.abort())
        server.children = all_
        server.say(server.page())
        expect(page.get_by_text("the last one")).to_be_visible()
        expect(page.get_by_text("This cannot be shown: toString")).to_be_visible()
        expect(page.locator("[aria-busy]")).to_have_count(0)
        server.say("", "null", "[]", "{", '{"t":"__proto__"}', '{"t":"toString"}', {"t": "changes"}, {"t": "page"})
        server.say({"t": "changes", "ops": [None, 5, {"op": "toString"}, {"op": "add", "into": "s:no", "widget": 1}]})
        server.children = [*all_, widget("text", "more", text="and still")]
        server.say(server.page(s=["S", 0]))
        expect(page.get_by_text("and still")).to_be_visible()
        found = """() => [hits, {}.x,
            [...document.querySelectorAll('script, iframe, object, embed, [onerror], [onclick], [onload]')].length,
            [...document.querySelectorAll('a[href], img[src]')].map((one) => one.href ?? one.src)
                .filter((url) => !/^(http:|https:)/.test(url)),
            document.querySelectorAll('#app').length, document.querySelectorAll('[style*=url]').length]"""
        assert page.evaluate(found) == [[], None, 2, [], 1, 0]  # the scripts are the page's own two


@pytest.mark.battery
@pytest.mark.parametrize(
    "values", [[5], [7, 7, 7], [-3, None, -8], [], [0], [1e308, -1e308], [1e17, 1e17 + 16], [5e-324], list(range(1000))]
)
def test_charts(browser: Browser, values: list[float | None]) -> None:
    """Lines and bars are drawn for one point, equal, negative, missing, huge and many values; each chart has a name and
    a table."""
    data = {"labels": [f"l{at}" for at in range(len(values))], "series": [{"name": "n", "values": values}]}
    charts = [widget(kind, kind, title="Sales", data=data) for kind in ("line_chart", "bar_chart")]
    with shown(browser, *charts) as (_, page):
        for name in ("Line chart: Sales", "Bar chart: Sales"):
            expect(page.get_by_role("img", name=name)).to_be_visible()
        drawn = page.evaluate("[...document.querySelectorAll('svg *')].map((one) => one.outerHTML).join('')")
        assert not re.search("NaN|Infinity|undefined", drawn)
        assert page.locator("svg rect").count() == len([value for value in values if value is not None])
        assert page.locator(".unseen table").first.locator("tbody tr").count() == min(200, len(values))


@pytest.mark.battery
def test_how_it_looks(browser: Browser, tmp_path: Path) -> None:
    """All kinds at phone and desktop width, light and dark: nothing is cut off or faint, all has a name and a size, and
    the keyboard gets everywhere."""
    with shown(browser, *EVERYTHING) as (_, page):
        look(page, tmp_path, "everything")


TABLE = {
    "columns": [{"name": "City", "align": "left"}, {"name": "Visitors", "align": "right"}],
    "rows": [["Lisbon", 12480], ["Göteborg", None]],
    "more": 12,
}
NODES = [
    {"id": "a", "label": "user", "note": "text", "value": "Ada", "hidden": False, "children": [], "more": 0},
    {"id": "b", "label": "cart", "note": "list", "value": None, "hidden": False, "more": 2, "children": [
        {"id": "c", "label": "0", "note": "text", "value": None, "hidden": True, "children": [], "more": 0},
    ]},
]  # fmt: skip
SERIES = [{"name": "Lisbon", "values": [12, 15, None]}, {"name": "Oslo", "values": [-4, -3, 1]}]
EVERYTHING = (
    widget("sidebar", "side", input_("checkbox", "only", value=True), expanded=True),
    widget("title", "title", text="Harbour office"),
    widget("text", "lead", text="A " + "very" * 40 + " long word."),
    widget("header", "header", text="Figures", divider=True),
    widget("columns", "cols", *(
        widget("column", f"col{at}", widget("metric", f"m{at}", label="Online", value=128, delta=delta, better="up"))
        for at, delta in enumerate(("+12", -3, ""))
    ), ratios=[1, 1, 2]),
    widget("line_chart", "line", title="Temperatures", data={"labels": ["a", "b", "c"], "series": SERIES}),
    widget("bar_chart", "piles", title="Piles", data={"labels": ["a", "b", "c"], "series": SERIES}, stacked=True),
    widget("progress", "progress", value=0.4, text=""),
    widget("progress", "unknown", value=None, text=""),
    input_("text_input", "name", "", placeholder="Ada", help="As on your ticket."),
    input_("text_area", "more", "x", rows=2),
    input_("number_input", "seats", 2, min=1, max=9, step=1),
    input_("slider", "volume", 30, min=0, max=100, step=5),
    input_("checkbox", "agree", value=False, help="Read it first."),
    input_("selectbox", "colour", None, options=["red", "green"]),
    input_("multiselect", "days", ["Tue"], options=["Mon", "Tue", "an option of many words that is longer than most"]),
    input_("text_input", "off", "x", disabled=True),
    input_("multiselect", "fixed", ["a"], options=["a"], read_only=True),
    widget("button", "go", label="Go", primary=True),
    widget("button", "no", label="No", disabled=True),
    widget("button", "away", label="Away", danger=True, primary=True, confirm="Really?"),
    widget("nav", "nav", items=[["a", "Overview"], ["b", "Sessions"]], current="b", label="Pages"),
    widget("form", "form", input_("text_input", "mail", ""), submit_label="Send", border=True),
    widget("expander", "exp", widget("text", "in", text="inside"), label="More about it", expanded=True),
    widget("tabs", "tabs", widget("tab", "t0", label="First"), widget("tab", "t1", label="Second")),
    widget("table", "table", data=TABLE),
    widget("dataframe", "frame", data=TABLE, height=120),
    widget("table", "used", data=TABLE, keys=["a", "b"], sortable=["City"], sorted_by="City"),
    widget("tree", "tree", nodes={"nodes": NODES, "more": 3}, selected="c", label="Fields"),
    widget("json", "json", value={"a": [1, "x", None, True]}, expanded=True),
    widget("code", "code", text="x" * 200, language="python"),
    widget("markdown", "md", nodes=[["p", {}, ["A ", ["a", {"href": "x"}, ["link"]], ["code", {}, ["code"]]]]]),
    *(widget("write", f"w{name}", **{"as": name, "content": content}) for name, content in (
        ("text", "42"), ("json", [1]), ("table", TABLE), ("alert", {"level": "error", "text": "ValueError: no"}),
    )),
    *(widget("alert", level, text="A message.", level=level) for level in ("info", "success", "warning", "error")),
)  # fmt: skip
