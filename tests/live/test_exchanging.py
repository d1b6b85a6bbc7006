"""Live pages without a socket: what an exchange does, how each event is done once whichever process it comes to, and
what is refused and bounded. The page's module in Chromium does the same, and finds out by itself that it has to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import Guest, chromium
from plain import PlainTab
from playwright.sync_api import Browser, expect
from visiting import Site, served

from servers.process import LOOPBACK, until
from sojourn.live import App, Limits, Session, exchanging, line
from sojourn.live import widgets as w
from sojourn.sockets import ASGIApp, Receive, Scope, Send


def counter(**options: Any) -> App:
    """Clicks that are counted, a callback that fails, and a text that all see."""
    app = App(title="Counter", **options)
    app.text("Nobody", key="who")

    @app.add_widget(w.Button("I am Ada", key="ada")).on_click
    def tell_all(session: Session) -> None:
        app.widget("who").text = "Ada"

    @app.on_session
    def start(session: Session) -> None:
        session.set("count", 0)
        session.add_widget(w.Text("Clicked 0 times", key="label"))
        session.add_widget(w.TextInput("Note", key="note"))
        session.add_widget(w.Button("Quiet", key="quiet"))

        @session.add_widget(w.Button("Click me", key="b")).on_click
        def clicked(session: Session) -> None:
            session.update("count", lambda n: n + 1)
            session.widget("label").text = f"Clicked {session['count']} times"

        @session.add_widget(w.Button("Fail", key="fail")).on_click
        def fails(session: Session) -> None:
            raise ValueError("it fails")

        @session.add_widget(w.Button("Sign in", key="login")).on_click
        def sign_in(session: Session) -> None:
            session.login("ada")

    return app


def of(scope_key: dict[str, float], app: ASGIApp) -> ASGIApp:
    """An app behind a server that says how exchanges may wait, as the bridge of WSGI does."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "extensions": {exchanging.EXTENSION: scope_key}}
        await app(scope, receive, send)

    return plain


def label(tab: PlainTab) -> str:
    text: str = tab.shows("s:label")["text"]
    return text


def waits(site: Site, *tabs: PlainTab) -> None:
    """Go on when an exchange of each of these tabs waits for news."""

    def there() -> bool:
        lines = [one for room in site.app._rooms.open.values() for one in room.connections]
        return {tab.name for tab in tabs} <= {one.tab for one in lines if isinstance(one, line.Line) and one.waits}

    until(lambda: site.call(there), "their wait")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with served(counter()) as site:
        yield site


def test_a_page_without_a_socket_is_as_live_as_one_with(site: Site) -> None:
    """A click is answered by what it changed; a tab with a socket sees it, and what is done there ends the wait of the
    tab without one at once; another visitor sees nothing of it."""
    visitor, stranger = site.visitor(), PlainTab(site.visitor())
    tab, other = PlainTab(visitor), visitor.open()
    with ThreadPoolExecutor(1) as pool:
        frame = tab.click("s:b")
        assert (frame["t"], frame["by"], label(tab)) == ("changes", [tab.name, 1], "Clicked 1 times")
        other.until(lambda page: page.props("s:label")["text"] == "Clicked 1 times")
        waiting = pool.submit(tab.exchange)
        waits(site, tab)
        time.sleep(0.1)
        assert not waiting.done()
        began = time.monotonic()
        other.click("s:b")
        waiting.result(5)
        assert time.monotonic() - began < 3.0  # and not the 5 s that it waits
    tab.until(lambda page: page.props("s:label")["text"] == "Clicked 2 times")
    assert tab.click("g:ada")["t"] == "ack"
    stranger.until(lambda page: page.props("g:who")["text"] == "Ada")
    assert label(stranger) == "Clicked 0 times"
    other.leave()


def test_an_event_is_done_once_and_its_answer_is_told_until_it_is_heard(site: Site) -> None:
    """An answer that was lost is told again, the error of one that failed, too; the event is done once, though it comes
    three times."""
    tab = PlainTab(site.visitor())
    tab.event("s:b", "click")
    for _ in range(2):
        assert tab.post(tab.body()).status_code == 200  # and nobody hears it
    tab.answer(1)
    tab.until(lambda page: page.props("s:label")["text"] == "Clicked 1 times")
    tab.event("s:b", "click")
    tab.event("s:b", "click")
    tab.answer(3)
    assert label(tab) == "Clicked 3 times"
    assert tab.do("s:quiet", "click")["t"] == "ack"
    assert tab.do("s:no", "click")["code"] == "unknown_widget"
    tab.event("s:no", "click")
    tab.post(tab.body())
    assert tab.answer(6)["code"] == "unknown_widget"


def test_a_callback_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What a callback raises becomes an error, and nothing of it is kept."""
    with served(counter()) as site:
        tab = PlainTab(site.visitor())
        frame = tab.click("s:fail")
        assert (frame["t"], frame["code"]) == ("error", "failed")
        tab.click("s:b")
        assert label(tab) == "Clicked 1 times"
    assert "it fails" in caplog.text


def test_what_takes_long_holds_no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event whose callback goes on for longer is said to be taken, and of those after it a hundred in all; nothing
    is sent twice, and the answers come when there are any."""
    monkeypatch.setattr(line, "_WORK", 0.2)
    monkeypatch.setattr(exchanging, "_WAIT", 0.2)
    app, calls, goes_on = slow()
    with served(app) as site:
        tab = PlainTab(site.visitor())
        tab.event("g:slow", "click")
        for _ in range(149):
            tab.event("s:quiet", "click")
        answer = tab.exchange()
        assert (answer["taken"], answer["frames"]) == (100, [])
        assert tab.body()["events"] == []
        assert tab.exchange()["taken"] == 100
        tab.taken = 0  # as if it had waited for too long
        assert len(tab.body()["events"]) == 150
        assert tab.exchange()["taken"] == 100
        goes_on.set()
        assert {tab.answer(n)["t"] for n in range(1, 151)} == {"ack"}
        assert calls == [1]


def slow(**options: Any) -> tuple[App, list[int], threading.Event]:
    """An app with a button whose callback waits, the list of its calls, and what it waits for."""
    app, goes_on, calls = counter(**options), threading.Event(), []

    @app.add_widget(w.Button("Slow", key="slow")).on_click
    def wait(session: Session) -> None:
        calls.append(1)
        goes_on.wait(10)

    return app, calls, goes_on


def test_the_end_of_a_session_is_told(site: Site) -> None:
    """A session that ends is told at once to who waits, and later, with the reason, to who was away for a moment; a
    session that nobody knows has ended."""
    tab, away = PlainTab(site.visitor()), PlainTab(site.visitor())
    away.exchange(wait=False)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(tab.exchange)
        waits(site, tab)
        began = time.monotonic()
        site.do(site.app.engine.end_session(tab.visitor.session_id))
        answer = waiting.result(5)
        assert time.monotonic() - began < 3.0  # and not the 5 s that it waits
    assert (answer["close"], tab.model.ended) == (1008, "ended")
    room = site.app._rooms.open[away.visitor.session_id.partition(".")[0]]
    site.do(site.app.engine.end_session(away.visitor.session_id))
    until(lambda: room.ended, "the end, as it is told here")
    assert (away.exchange()["close"], away.model.ended) == (1008, "ended")
    tab.visitor.cookies.clear()
    assert tab.exchange()["frames"] == [{"t": "ended", "reason": "unknown"}]


def test_an_open_page_alone_is_no_activity() -> None:
    """Exchanges without events do not keep a session alive, and those with events do."""
    with served(counter(session_timeout=4)) as site:  # and not less: who is busy may be held up for a second or two
        idle, busy = PlainTab(site.visitor()), PlainTab(site.visitor())
        give_up = time.monotonic() + 15
        while idle.model.ended is None and time.monotonic() < give_up:
            idle.exchange(wait=False)
            busy.click("s:b")
            time.sleep(0.1)
        assert idle.model.ended in ("expired", "unknown")
        assert busy.model.ended is None


def test_signing_in_goes_on_with_the_new_cookie(site: Site) -> None:
    """A new id is fetched with the ticket that an exchange brings; with the old cookie the tab is told to come again,
    with the new one it goes on."""
    tab = PlainTab(site.visitor())
    tab.click("s:login")
    (renew,) = [frame for frame in tab.frames if frame["t"] == "renew"]
    assert tab.exchange()["close"] == 1013
    response = tab.visitor.request("POST", "/_live/renew", content=renew["ticket"])
    assert response.status_code == 204
    tab.click("s:b")
    assert label(tab) == "Clicked 1 times"


def test_exchanges_go_by_the_cookie() -> None:
    """A page that has tickets for sockets goes by its cookie; one that can send none is told to come again, and not
    that its session is over: a socket may have it."""
    with served(counter(tickets=True)) as site:
        tab = PlainTab(site.visitor())
        tab.click("s:b")
        assert label(tab) == "Clicked 1 times"
        tab.visitor.cookies.clear()
        answer = tab.exchange()
        assert (answer["frames"], answer["close"]) == ([], 1013)


# --- Several processes -----------------------------------------------------------------------------------------------


@contextmanager
def two(folder: Path) -> Iterator[tuple[Site, Site]]:
    """Two servers of an app that have nothing in common but the store: as two processes."""
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/live.db"
        yield stack.enter_context(served(counter(store=url))), stack.enter_context(served(counter(store=url)))


def test_exchanges_go_to_any_process(tmp_path: Path) -> None:
    """A tab whose exchanges are spread over two processes clicks twenty times: each is done once and shown. Where both
    show the same, no page is sent, but where the other's streams are, and the wait is a wait."""
    with two(tmp_path) as (here, there):
        visitor = here.visitor()
        tab, roots = PlainTab(visitor), (here.visitor().root, there.visitor().root)
        tab.exchange(wait=False)
        for n in range(20):
            tab.root = roots[n % 2]
            tab.click("s:b")
            assert label(tab) == f"Clicked {n + 1} times"
        pages = [frame["t"] for frame in tab.frames].count("page")
        assert "place" in [frame["t"] for frame in tab.frames]
        assert pages <= 4, f"{pages} pages were sent"
        seen = len(tab.frames)
        for n in range(6):
            tab.root = roots[n % 2]
            tab.exchange(wait=False)
        later = {(frame["t"], frame.get("n")) for frame in tab.frames[seen:]}
        assert later <= {("place", None), ("ack", tab.sent)}  # the last click may have been answered twice
        assert tab.model.children == visitor.load().children


def test_an_event_that_comes_to_two_processes_is_kept_once(tmp_path: Path) -> None:
    """An event whose answer was lost is sent to another process: it is done once, and answered there."""
    with two(tmp_path) as (here, there):
        tab = PlainTab(here.visitor())
        tab.exchange(wait=False)
        for n in range(4):
            tab.event("s:b", "click")
            tab.root = here.visitor().root
            tab.post(tab.body())
            tab.root = there.visitor().root
            tab.answer(n + 1)
            tab.until(lambda page, n=n: page.props("s:label")["text"] == f"Clicked {n + 1} times")  # type: ignore[misc]
        with ThreadPoolExecutor(2) as pool:  # both at once
            tab.event("s:b", "click")
            body = tab.body()
            other = PlainTab(tab.visitor)
            other.root = here.visitor().root
            list(pool.map(lambda one: one.post(body), (tab, other)))
        tab.answer(5)
        assert tab.visitor.load().props("s:label")["text"] == "Clicked 5 times"


def test_what_one_process_is_at_another_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that one process has taken is not sent to the other, which answers it when it is done, though there is
    nothing to see of it."""
    monkeypatch.setattr(line, "_WORK", 0.2)
    monkeypatch.setattr(exchanging, "_WAIT", 0.2)
    url = f"sqlite:///{tmp_path}/live.db"
    (app, calls, goes_on), (other, others, _) = slow(store=url), slow(store=url)
    with served(app) as here, served(other) as there:
        tab = PlainTab(here.visitor())
        tab.event("g:slow", "click")
        assert tab.exchange()["taken"] == 1
        tab.root = there.visitor().root
        assert tab.exchange()["taken"] == 0
        goes_on.set()
        assert tab.answer(1)["t"] == "ack"
        assert (calls, others) == ([1], [])


# --- Who is there ----------------------------------------------------------------------------------------------------


def test_a_tab_is_there_between_its_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    """It connects once and disconnects once, whatever number of exchanges it makes: when it says that it leaves, or
    does not come any more."""
    app, told = counter(), []
    app.on_connect(lambda session: told.append("came"))
    app.on_disconnect(lambda session: told.append("went"))
    with served(app) as site:
        tab = PlainTab(site.visitor())
        for _ in range(3):
            tab.exchange(wait=False)
            assert site.app.online == 1
        tab.event("s:b", "click")
        tab.exchange(wait=False, leave=True)
        until(lambda: told == ["came", "went"], "its end", 5)
        assert site.app.online == 0
        assert tab.visitor.load().props("s:label")["text"] == "Clicked 1 times"
        monkeypatch.setattr(line, "GONE", 0.5)
        tab.exchange(wait=False)
        until(lambda: told == ["came", "went"] * 2, "its end, as it does not come")


def test_a_tab_has_left_when_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    """It disconnects, and the app's functions are told of it before there is nobody left who could call them."""
    app, told = counter(), []
    app.on_connect(lambda: told.append("came"))
    app.on_disconnect(lambda: told.append("went"))
    app.on_disconnect(lambda session: told.append("with a session"))
    with served(app) as site:
        PlainTab(site.visitor()).exchange(wait=False)
        until(lambda: told == ["came"], "its beginning")
    assert sorted(told) == ["came", "went", "with a session"]
    assert [record.getMessage() for record in caplog.records if record.name.startswith("sojourn")] == []


def test_the_newest_exchange_of_a_tab_counts(site: Site) -> None:
    """One that waits is answered at once when the same tab comes again."""
    tab = PlainTab(site.visitor())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(tab.post, tab.body())
        waits(site, tab)
        began = time.monotonic()
        tab.click("s:b")
        assert waiting.result(5).json().get("frames", []) == []
        assert time.monotonic() - began < 3.0  # and not the 5 s that it waits


# --- What is refused, and what is bounded ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://evil.example:80@x", "garbage"]
)
def test_other_sites_are_refused(site: Site, origin: str) -> None:
    """What another site's page posts is answered with 403, and nothing is done."""
    tab = PlainTab(site.visitor())
    tab.event("s:b", "click")
    assert tab.post(tab.body(), Origin=origin).status_code == 403
    assert tab.visitor.load().props("s:label")["text"] == "Clicked 0 times"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(site: Site, kind: str) -> None:
    """What a form, or a request without a preflight, could send is refused."""
    tab = PlainTab(site.visitor())
    assert tab.post(tab.body(), **{"Content-Type": kind}).status_code == 415


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"hello":1}', b'{"hello":{"t":"ping"}}', b'{"events":[]}', b"[" * 10_000, b"\xff"],
    ids=["empty", "broken", "list", "null", "number", "ping", "no hello", "deep", "no text"],
)
def test_what_is_no_exchange_is_refused(site: Site, body: bytes) -> None:
    """It is answered with 400 and an error frame, and closes the line."""
    response = PlainTab(site.visitor()).post(body)
    assert response.status_code == 400
    assert (response.json()["frames"][0]["code"], response.json()["close"]) == ("malformed", 1008)


def test_another_version_and_other_methods(site: Site) -> None:
    """Another version of the protocol is told so; nothing but POST is an exchange."""
    tab = PlainTab(site.visitor())
    body = tab.body()
    body["hello"]["v"] = 99
    assert tab.post(body).json()["frames"][0]["code"] == "version"
    assert tab.visitor.request("GET", "/_live/exchange").status_code in (404, 405)


def test_sizes_are_bounded() -> None:
    """A frame has the size that a frame may have on a socket, a body four times that, and of one tab a hundred events
    wait; frames that are none of ours are answered, and many of them close the line."""
    with served(counter(limits=Limits(message_bytes=4096))) as site:
        tab = PlainTab(site.visitor())
        assert tab.post(b" " * 20_000).status_code == 413
        tab.event("s:note", "change", "x" * 5000)
        answer = tab.exchange()
        assert (answer["frames"][-1]["code"], answer["close"]) == ("too_large", 1009)
        other = PlainTab(site.visitor())
        answer = other.exchange(events=[0] * 1000)
        assert answer["close"] == 1008
        assert len(answer["frames"]) <= 257
        many = PlainTab(site.visitor())
        for _ in range(150):
            many.event("s:b", "click")
        body = json.dumps({**many.body(), "wait": False}).encode()
        assert len(body) < 4 * 4096
        many.answer(150)
        assert label(many) == "Clicked 150 times"


def test_few_exchanges_wait() -> None:
    """On a server that says so, only so many wait at a time; others are answered at once and told to pause; and of one
    session three do."""
    app = counter()
    with served(of({"wait": 3.0, "most": 2}, app)) as site, ThreadPoolExecutor(2) as pool:
        site.app = app
        tabs = [PlainTab(site.visitor()) for _ in range(4)]
        for tab in tabs:
            assert 'data-transport="exchange"' in tab.visitor.html
            assert tab.exchange(wait=False)["pause"] == 0
        began = time.monotonic()
        waiting = [pool.submit(tab.exchange) for tab in tabs[:2]]
        waits(site, *tabs[:2])
        assert [tab.exchange()["pause"] for tab in tabs[2:]] == [1, 1]
        assert not any(one.done() for one in waiting)
        assert [one.result(10)["pause"] for one in waiting] == [0, 0]
        assert time.monotonic() - began > 2.9
    app = counter()
    with served(of({"wait": 5.0, "most": 100}, app)) as site, ThreadPoolExecutor(3) as pool:
        site.app = app
        visitor = site.visitor()
        tabs = [PlainTab(visitor) for _ in range(5)]
        waiting = [pool.submit(tab.exchange) for tab in tabs[:3]]
        waits(site, *tabs[:3])
        assert [tab.exchange()["pause"] for tab in tabs[3:]] == [1, 1]
        assert not any(one.done() for one in waiting)
        tabs[4].click("s:b")  # of which all are told
        assert [one.result(10)["pause"] for one in waiting] == [0, 0, 0]


def test_tabs_of_one_session_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names a visitor makes up, sixty-four tabs are there at most (four, in this test): those that were
    not heard of for longest go."""
    assert exchanging._TABS == 64
    monkeypatch.setattr(exchanging, "_TABS", 4)
    with served(counter()) as site:
        visitor = site.visitor()
        model = visitor.load()
        tabs = [PlainTab(visitor, model) for _ in range(7)]
        for tab in tabs:
            tab.exchange(wait=False)
        (room,) = site.app._rooms.open.values()
        last = {tab.name for tab in tabs[3:]}
        until(lambda: site.call(lambda: {one.tab for one in room.connections}) == last, "the bound")


# --- The page's module -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def deaf(app: ASGIApp) -> ASGIApp:
    """An app behind a proxy that lets no socket through."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await app(scope, receive, send)

    return proxy


@pytest.mark.battery
@pytest.mark.parametrize("way", ["told", "found out"])
def test_the_module_goes_without_a_socket(browser: Browser, way: str) -> None:
    """A page that is told, and one whose sockets are refused twice, works by exchanges: clicks, typing, several tabs,
    what others do within a second, the end of the session; and it has nothing to complain of."""
    app = counter(tickets=True)
    with served(
        of({"wait": 5.0, "most": 9}, app) if way == "told" else deaf(app)
    ) as site:  # one that has tickets for sockets, too
        guest = Guest(browser, f"http://{LOOPBACK}:{site.port}/")
        try:
            other, page = guest.open(), guest.open()
            for n in range(5):
                page.get_by_role("button", name="Click me").click()
                expect(page.get_by_text(f"Clicked {n + 1} times")).to_be_visible()
            soon = 4000  # ms: sooner than an exchange ends that waits in vain
            expect(other.get_by_text("Clicked 5 times")).to_be_visible(timeout=soon)
            other.get_by_label("Note").fill("from the other tab")
            expect(page.get_by_label("Note")).to_have_value("from the other tab", timeout=soon)
            for _ in range(30):
                page.get_by_role("button", name="Click me").click(no_wait_after=True)
            expect(page.get_by_text("Clicked 35 times")).to_be_visible()
            expect(other.get_by_text("Clicked 35 times")).to_be_visible()
            assert app.online == 1
            other.get_by_label("Note").fill("typed, and left at once")
            other.close(run_before_unload=True)
            expect(page.get_by_label("Note")).to_have_value("typed, and left at once", timeout=soon)
            (room,) = app._rooms.open.values()  # type: ignore[union-attr]
            site.do(app.engine.end_session(room.record.handle and guest.cookie["value"]))
            expect(page.get_by_role("heading", name="This session is over")).to_be_visible(timeout=soon)
            complaints = [one for one in guest.complaints if "WebSocket" not in one]
            assert complaints == []
            assert bool(guest.complaints) == (way == "found out")
        finally:
            guest.close()


@pytest.mark.battery
def test_the_module_comes_back_after_a_break(browser: Browser) -> None:
    """While there is no server the page says so and keeps what is clicked; when it is back, each click was done
    once."""
    with served(of({"wait": 3.0, "most": 9}, counter())) as site:
        guest = Guest(browser, f"http://{LOOPBACK}:{site.port}/")
        try:
            page = guest.open()
            page.get_by_role("button", name="Click me").click()
            expect(page.get_by_text("Clicked 1 times")).to_be_visible()
            guest.context.set_offline(True)
            page.get_by_role("button", name="Click me").click()
            page.get_by_role("button", name="Click me").click()
            expect(page.get_by_text("Reconnecting…")).to_be_visible()
            guest.context.set_offline(False)
            expect(page.get_by_text("Clicked 3 times")).to_be_visible()
            expect(page.get_by_text("Reconnecting…")).to_be_hidden()
        finally:
            guest.close()
