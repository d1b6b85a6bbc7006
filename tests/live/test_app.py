"""What users write, on a real server: the app, its sessions, their callbacks, and how it is served."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from visiting import Site, Tab, Visitor, new_tab, served, settled
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sojourn import AsyncSessionManager, ConfigurationError, SessionClosed, SessionNotFound, UnsupportedValue, ids
from sojourn.live import App, Session
from sojourn.live import widgets as w
from sojourn.testing import Clock


def counter(**options: Any) -> App:
    """The app of the issue."""
    app = App(title="Counter", **options)
    app.title("Everybody sees this")
    app.text_input("Your name", key="name")

    @app.on_session
    def start(session: Session) -> None:
        session.set("count", 0)
        session.add_widget(w.Text("Clicked 0 times", key="label"))

        @session.add_widget(w.Button("Click me", key="b")).on_click
        def clicked(session: Session) -> None:
            session.update("count", lambda n: n + 1)
            session.widget("label").text = f"Clicked {session['count']} times"

    app.add_widget(w.Metric("Online", 0, key="online"))
    return app


def ran(site: Site, tab: Tab, function: Any) -> Any:
    """Run a function in a turn of the tab's session."""
    return site.do(site.app.in_session(tab.visitor.session_id, function))


@pytest.fixture(autouse=True)
def _no_errors(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged as an error, but where a test looks at the log itself."""
    yield
    looks = "caplog" in inspect.signature(request.function).parameters
    errors = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    refused = "ASGI callable returned without completing handshake."  # uvicorn's word for a handshake that we refused
    errors = [error for error in errors if error != refused]
    assert looks or not errors


# --- Sessions --------------------------------------------------------------------------------------------------------


def test_the_app_of_the_issue() -> None:
    """The app of the issue counts each visitor's clicks: the tabs of one browser see each other's, and another browser
    sees nothing of them."""
    with served(counter()) as site:
        ada, ben = site.visitor(), site.visitor()
        one, two, other = ada.open(), ada.open(), ben.open()
        assert one.model.title == "Counter"
        assert [child["kind"] for child in one.model.children] == ["title", "text_input", "metric", "text", "button"]
        for n in range(1, 4):
            frame = one.click("s:b")
            assert frame["t"] == "changes"
            assert one.shows("s:label")["text"] == f"Clicked {n} times"
        two.until(lambda page: page.props("s:label")["text"] == "Clicked 3 times")
        assert two.shows("g:name") == one.shows("g:name")
        assert other.shows("s:label")["text"] == "Clicked 0 times"
        assert other.quiet() == []
        assert ada.load().children == one.model.children


def test_on_session_is_called_once_a_session() -> None:
    """`on_session` runs for a new visitor, in the order of its declaration, in a thread or, as a coroutine function, in
    the event loop; a second page, a second tab and a reload call nothing."""
    app, calls = App(), []

    @app.on_session
    def first(session: Session) -> None:
        calls.append(("first", threading.current_thread() is threading.main_thread()))
        session.set("from", "first")

    @app.on_session
    async def second(session: Session) -> None:
        asyncio.get_running_loop()
        calls.append(("second", session["from"]))
        session.text("hello", key="hello")

    with served(app) as site:
        visitor = site.visitor()
        for _ in range(2):
            assert visitor.load().props("s:hello")["text"] == "hello"
        visitor.open()
        assert calls == [("first", False), ("second", "first")]
        site.visitor().load()
        assert len(calls) == 4


def test_on_session_that_fails_leaves_no_session(caplog: pytest.LogCaptureFixture) -> None:
    """If `on_session` raises there is no page, no cookie and no session; the next try begins anew."""
    app, fails = App(), [True]

    @app.on_session
    def start(session: Session) -> None:
        session.text("half", key="half")
        if fails:
            raise ValueError("not today")

    with served(app) as site:
        visitor = site.visitor()
        response = visitor.request("GET")
        assert response.status_code == 500
        assert "not today" not in response.text
        assert "set-cookie" not in response.headers
        assert visitor.cookies == {}
        fails.clear()
        assert visitor.load().ids() == ["s:half"]
        assert caplog.text.count("ValueError: not today") == 1


def test_values_of_a_session() -> None:
    """get, set, has, delete, clear, update, [] and `in` do what they say, and what a turn did is there in the next."""
    app = App()
    with served(app) as site:
        tab = site.visitor().open()

        def fill(session: Session) -> None:
            session.set("a", [1, 2])
            session["b"] = None
            session.update("c", lambda n: (n or 0) + 5)
            assert session.has("b")
            assert "b" in session
            assert not session.has("missing")
            assert session.get("missing", 7) == 7
            assert session["c"] == 5
            with pytest.raises(KeyError):
                session["missing"]
            with pytest.raises(UnsupportedValue):
                session.set("_live:w:x", 1)

        def look(session: Session) -> list[Any]:
            assert sorted(session) == ["a", "b", "c"]
            assert session.delete("b")
            assert not session.delete("b")
            assert "_live:w:x" not in session
            return [session["a"], session.get("c"), len(session)]

        ran(site, tab, fill)
        assert ran(site, tab, look) == [[1, 2], 5, 2]
        ran(site, tab, lambda session: session.clear())
        assert ran(site, tab, lambda session: list(session)) == []


def test_times_of_a_session() -> None:
    """`created_at`, `last_accessed_at` and `expires_at` are there, and events are activity."""
    with served(counter(session_timeout=100)) as site:
        tab = site.visitor().open()
        began = time.time()
        created, accessed, expires = ran(
            site, tab, lambda session: (session.created_at, session.last_accessed_at, session.expires_at)
        )
        assert began - 5 < created <= accessed <= time.time()
        assert 90 < expires - time.time() <= 100
        assert isinstance(ran(site, tab, lambda session: session.handle), str)


def test_a_session_object_is_for_one_turn() -> None:
    """Used after its callback, a session object raises `SessionClosed`, and so does what it gave out."""
    app, kept = App(), []
    app.on_session(kept.append)
    with served(app) as site:
        site.visitor().load()
        for use in (
            lambda session: session.get("a"),
            lambda session: session.set("a", 1),
            lambda session: session.widget("x"),
            lambda session: session.text("x"),
            lambda session: session.widgets,
            lambda session: session.commit(),
        ):
            with pytest.raises(SessionClosed):
                use(kept[0])


# --- Callbacks -------------------------------------------------------------------------------------------------------


def test_callbacks_take_what_they_want() -> None:
    """Callbacks are given the session and the value, as many as they take: none, one or both; they are functions or
    coroutine functions, and all of a widget are called, in their order."""
    app = App()
    calls: list[Any] = []
    box = app.text_input("Text", key="text")

    @box.on_change
    def nothing() -> None:
        calls.append("nothing")

    @box.on_change
    def one(session: Session) -> None:
        calls.append(("one", session.handle != ""))

    @box.on_change
    async def both(session: Session, value: str) -> None:
        await asyncio.sleep(0)
        calls.append(("both", value, box.value))

    @box.on_change
    def more(session: Session, value: str, extra: int = 3) -> None:
        calls.append(("more", value, extra))

    with served(app) as site:
        assert site.visitor().open().change("g:text", "hi")["t"] == "changes"
        assert calls == ["nothing", ("one", True), ("both", "hi", "hi"), ("more", "hi", 3)]


def test_everybodys_widgets_have_values_of_ones_own() -> None:
    """What is typed into a widget that all see is each session's own: there `name.value` is what this visitor typed,
    outside of a callback it is what was declared."""
    app = App()
    name = app.text_input("Name", "nobody", key="name")
    seen: list[str] = []

    @app.button("Go", key="go").on_click
    def go(session: Session) -> None:
        seen.append(name.value)
        assert session.widget("name").value == name.value
        name.value = name.value.upper()

    with served(app) as site:
        ada, ben = site.visitor(), site.visitor()
        a, a2, b = ada.open(), ada.open(), ben.open()
        a.change("g:name", "Ada")
        b.change("g:name", "Ben")
        a.click("g:go")
        b.click("g:go")
        assert seen == ["Ada", "Ben"]
        assert name.value == "nobody"
        a2.until(lambda page: page.props("g:name")["value"] == "ADA")
        assert a.shows("g:name")["value"] == "ADA"
        assert b.shows("g:name")["value"] == "BEN"
        assert site.visitor().load().props("g:name")["value"] == "nobody"
        assert ada.load().props("g:name")["value"] == "ADA"


def test_widgets_at_any_depth_get_events() -> None:
    """A button in a column in an expander in a tab in a container gets its clicks, whether it is everybody's or the
    session's own, also when it was put into a widget of the app's."""
    app = App()
    calls: list[str] = []
    inner = app.container(key="c").tabs(["a", "b"], key="t")[1].expander("e", key="e").columns(2, key="cs")[0]
    inner.button("deep", key="deep").on_click(lambda session: calls.append("everybody's"))

    @app.on_session
    def start(session: Session) -> None:
        own = w.Button("own", key="own")
        session.add_widget(own, into="cs.1")

        @own.on_click
        def clicked(session: Session) -> None:
            session.widget("own").label = "clicked"

        box = session.container(key="box")
        box.form(key="f").columns(1, key="fc")[0].checkbox("yes", key="yes")

        @session.widget("f").on_submit
        def sent(session: Session, values: dict[str, Any]) -> None:
            session.set("sent", values)

    with served(app) as site:
        tab = site.visitor().open()
        column = tab.model.find("g:cs.1")
        assert column is not None
        assert [child["id"] for child in column["children"]] == ["s:own"]
        assert tab.click("g:deep")["t"] == "ack"
        assert calls == ["everybody's"]
        tab.click("s:own")
        assert tab.shows("s:own")["label"] == "clicked"
        tab.do("s:f", "submit", {"s:yes": True})
        assert ran(site, tab, lambda session: session["sent"]) == {"yes": True}


def test_forms_are_assigned_whole_or_not_at_all() -> None:
    """A form's values come together: if one is refused nothing is assigned, and inputs in a form take no changes of
    their own. With `clear_on_submit` they are empty afterwards."""
    app = App()
    form = app.form("Send", key="f", clear_on_submit=True)
    name = form.text_input("Name", key="name", max_length=5)
    age = form.number_input("Age", 7, min=0, max=120, key="age")
    got: list[Any] = []
    form.on_submit(lambda session, values: got.append((values, name.value, age.value)))
    with served(app) as site:
        tab = site.visitor().open()
        assert tab.refused("g:name", "change", "Ada") == "not_allowed"
        assert tab.refused("g:f", "submit", {"g:name": "Ada", "g:age": 500}) == "wrong_value"
        assert tab.refused("g:f", "submit", {"g:name": "Ada", "g:f": 5}) in ("unknown_widget", "wrong_value")
        assert tab.refused("g:f", "submit", ["g:name"]) == "wrong_value"
        assert tab.shows("g:name")["value"] == ""
        assert got == []
        assert tab.do("g:f", "submit", {"g:name": "Ada", "g:age": 36})["t"] in ("changes", "ack")
        assert got == [({"name": "Ada", "age": 36}, "Ada", 36)]
        assert tab.visitor.load().props("g:name")["value"] == ""


def test_a_failing_callback_keeps_nothing_but_what_was_typed(caplog: pytest.LogCaptureFixture) -> None:
    """When a callback raises nothing that it changed is kept or shown, but what the visitor typed is; the next event
    is handled as ever. What went wrong is in the log, and in the page only in debug mode."""
    for debug in (False, True):
        app = App(debug=debug)
        box = app.text_input("Text", key="text")

        @box.on_change
        def fail(session: Session, value: str) -> None:
            session.set("half", value)
            session.text("half", key="half")
            if value == "bad":
                raise ValueError("a secret detail")

        with served(app) as site:
            tab = site.visitor().open()
            other = tab.visitor.open()
            frame = tab.change("g:text", "bad")
            assert (frame["t"], frame["code"]) == ("error", "failed")
            assert ("a secret detail" in json.dumps(frame)) is debug
            for one in (tab, other):
                one.until(lambda page: page.props("g:text")["value"] == "bad")
                assert one.model.ids() == ["g:text"]
            assert ran(site, tab, lambda session: session.has("half")) is False
            assert tab.visitor.load().props("g:text")["value"] == "bad"
            assert tab.change("g:text", "good")["t"] == "changes"
            assert ran(site, tab, lambda session: session["half"]) == "good"
        assert "a secret detail" in caplog.text
        caplog.clear()


def test_a_slow_callback_hurts_nobody_else() -> None:
    """While one session's callback blocks, and another's computes, all others are served; the session's own events
    wait, and are handled in their order."""
    app = App()
    free, order = threading.Event(), []

    @app.button("Slow", key="slow").on_click
    def slow(session: Session) -> None:
        free.wait(20)
        order.append("slow")

    quick = app.text_input("Quick", key="quick")
    quick.on_change(lambda session, value: order.append(value))
    with served(app) as site:
        stuck, other = site.visitor().open(), site.visitor().open()
        last = [stuck.event("g:slow", "click"), *(stuck.event("g:quick", "change", f"{n}") for n in range(20))][-1]
        for n in range(30):
            began = time.monotonic()
            other.change("g:quick", f"other {n}")
            assert time.monotonic() - began < 5
        assert order == [f"other {n}" for n in range(30)]
        assert stuck.quiet(0.05) == []
        free.set()
        stuck.answer(last)
        assert order[30:] == ["slow", *(f"{n}" for n in range(20))]
        assert stuck.shows("g:quick")["value"] == "19"


def test_different_sessions_are_handled_in_parallel() -> None:
    """Callbacks of ten sessions that each wait for all the others get there: they run at the same time, in threads."""
    app = App()
    meeting = threading.Barrier(10)

    @app.button("Meet", key="meet").on_click
    def meet(session: Session) -> None:
        meeting.wait(10)

    with served(app) as site:
        tabs = [site.visitor().open() for _ in range(10)]
        sent = [tab.event("g:meet", "click") for tab in tabs]
        assert [tab.answer(n)["t"] for tab, n in zip(tabs, sent, strict=True)] == ["ack"] * 10


@pytest.mark.parametrize("way", ["def", "async def"])
def test_commit_in_a_long_callback(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """`commit()` keeps and shows what was done so far, in the midst of a callback; what comes after it is lost alone if
    the callback fails then."""
    app = App()
    go_on = threading.Event()

    def step(session: Session) -> None:
        session.set("step", 1)
        session.text("half way", key="half")

    @app.button("def", key="def").on_click
    def blocking(session: Session) -> None:
        step(session)
        session.commit()
        assert go_on.wait(10)
        session.set("step", 2)
        raise ValueError("it fails in the end")

    @app.button("async def", key="async def").on_click
    async def suspending(session: Session) -> None:
        step(session)
        await session.commit()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        session.set("step", 2)
        raise ValueError("it fails in the end")

    with served(app) as site:
        tab = site.visitor().open()
        n = tab.event(f"g:{way}", "click")
        tab.until(lambda page: page.find("s:half"))
        assert n in tab.waiting
        go_on.set()
        assert tab.answer(n)["code"] == "failed"
        tab.quiet()
        assert tab.model.find("s:half") is not None
        assert ran(site, tab, lambda session: session["step"]) == 1
    assert caplog.text.count("ValueError: it fails in the end") == 1


def test_replacing_and_reordering_keep_listeners() -> None:
    """Whatever is replaced, moved or hidden and shown around it, a button keeps its callback; the one that was replaced
    is gone."""
    app = App()
    calls: list[str] = []

    @app.on_session
    def start(session: Session) -> None:
        for name in ("a", "b", "c"):

            def clicked(session: Session, name: str = name) -> None:
                session.set("last", name)

            session.button(name, key=name).on_click(clicked)

    def shuffle(session: Session) -> None:
        a, b, c = session.widgets
        session.page.order(None, [c, a, b])
        session.widget("b").replace(w.Text("gone", key="instead"))
        session.hide("c")

    with served(app) as site:
        tab = site.visitor().open()
        ran(site, tab, shuffle)
        tab.until(lambda page: page.ids() == ["s:a", "s:instead"])
        assert tab.click("s:a")["t"] == "ack"
        assert ran(site, tab, lambda session: session["last"]) == "a"
        assert tab.refused("s:b", "click") == "unknown_widget"
        assert tab.refused("s:c", "click") == "unknown_widget"
        ran(site, tab, lambda session: session.show("c"))
        tab.until(lambda page: page.ids() == ["s:c", "s:a", "s:instead"])
        assert tab.click("s:c")["t"] == "ack"
        assert ran(site, tab, lambda session: session["last"]) == "c"
        assert calls == []


def test_hide_and_show() -> None:
    """A widget of everybody's that a session hides is not in its page or frames, takes no events of it, and is
    everybody else's as ever; shown again it is at its place."""
    app = App()
    app.text("first", key="first")
    button = app.button("b", key="b")
    app.text("last", key="last")
    clicks: list[str] = []
    button.on_click(lambda session: clicks.append(session.handle))
    with served(app) as site:
        tab, other = site.visitor().open(), site.visitor().open()
        ran(site, tab, lambda session: session.hide("b"))
        tab.until(lambda page: page.ids() == ["g:first", "g:last"])
        assert tab.refused("g:b", "click") == "unknown_widget"
        assert tab.visitor.load().ids() == ["g:first", "g:last"]
        assert other.click("g:b")["t"] == "ack"
        button.label = "changed"
        other.until(lambda page: page.props("g:b")["label"] == "changed")
        ran(site, tab, lambda session: session.show("b"))
        tab.until(lambda page: page.ids() == ["g:first", "g:b", "g:last"])
        assert tab.shows("g:b")["label"] == "changed"
        button.visible = False  # for all who did not say for themselves
        other.until(lambda page: page.ids() == ["g:first", "g:last"])
        assert tab.visitor.load().ids() == ["g:first", "g:b", "g:last"]
        with pytest.raises(KeyError):
            ran(site, tab, lambda session: session.hide("missing"))
        assert len(clicks) == 1


# --- From outside of callbacks ---------------------------------------------------------------------------------------


def test_a_widget_for_one_session_by_id_and_by_handle() -> None:
    """`add_widget_to_session` takes an id or a handle, in a thread and in a coroutine; an unknown one raises
    `SessionNotFound`. Nobody else sees it."""
    app = App()
    with served(app) as site:
        tab, other = site.visitor().open(), site.visitor().open()
        handle = ran(site, tab, lambda session: session.handle)
        app.add_widget_to_session(tab.visitor.session_id, w.Text("by id", key="id"))
        app.add_widget_to_session(handle, w.Text("by handle", key="handle"))

        async def from_a_coroutine() -> None:
            await app.add_widget_to_session(handle, w.Text("awaited", key="awaited"))

        site.do(from_a_coroutine())
        tab.until(lambda page: page.ids() == ["s:id", "s:handle", "s:awaited"])
        assert other.quiet() == []
        for nobody in ("x" * 64, "", str(handle)[:10]):
            with pytest.raises(SessionNotFound):
                app.add_widget_to_session(nobody, w.Text("nobody's"))


def test_a_block_for_background_work() -> None:
    """`with app.session(handle)` in a thread is a turn: committed and shown when it ends, nothing of it if it raises.
    In the event loop it is refused."""
    with served(counter()) as site:
        app, tab = site.app, site.visitor().open()
        handle = ran(site, tab, lambda session: session.handle)
        with app.session(handle) as session:
            session["count"] = 41
            session.widget("label").text = "from a thread"
            assert tab.quiet(0.05) == []
        tab.until(lambda page: page.props("s:label")["text"] == "from a thread")
        with suppress(ZeroDivisionError), app.session(tab.visitor.session_id) as session:
            session["count"] = 1
            session.widget("label").text = "never"
            raise ZeroDivisionError
        tab.click("s:b")
        assert tab.shows("s:label")["text"] == "Clicked 42 times"
        with pytest.raises(SessionNotFound), app.session("nobody"):
            pass

        async def in_the_loop() -> None:
            with pytest.raises(RuntimeError, match="in_session"), app.session(handle):
                pass

        site.do(in_the_loop())
        with pytest.raises(KeyError):
            ran(site, tab, lambda session: session.widget("missing"))


def test_ending_sessions() -> None:
    """`end_session` and `end_sessions` close the sockets of these and clear their pages, within a second; others stay.
    Who comes again with the old cookie is a new visitor."""
    with served(counter()) as site:
        tabs = [site.visitor().open() for _ in range(4)]
        tabs[0].click("s:b")
        again = tabs[0].visitor.open()
        began = time.monotonic()
        site.app.end_session(tabs[0].visitor.session_id)
        site.app.end_sessions([ran(site, tabs[1], lambda session: session.handle), tabs[2].visitor.session_id])
        for tab in (*tabs[:3], again):
            assert tab.closed() == 1008
            assert tab.model.ended
            assert tab.model.children == []
        assert time.monotonic() - began < 4  # it is a second where the machine does nothing else
        assert tabs[3].click("s:b")["t"] == "changes"
        site.app.end_session("nobody")
        before = tabs[0].visitor.session_id
        assert tabs[0].visitor.load().props("s:label")["text"] == "Clicked 0 times"
        assert tabs[0].visitor.session_id != before


def test_a_session_that_ends_itself() -> None:
    """`session.end()` in a callback closes all its tabs, and the page that is loaded next is another session's."""
    app = App()
    app.button("Out", key="out").on_click(lambda session: session.end())
    with served(app) as site:
        tab = site.visitor().open()
        other = tab.visitor.open()
        tab.event("g:out", "click")
        assert tab.closed() == other.closed() == 1008
        assert tab.model.ended == other.model.ended == "ended"
        with pytest.raises(SessionNotFound):
            ran(site, tab, lambda session: None)


def test_shared_values() -> None:
    """`app.shared` is a mapping for all sessions: what is set is there at once, `update` is exact from many threads,
    and names of Sojourn's own are refused."""
    app = App()
    app.button("+", key="more").on_click(lambda session: app.shared.update("n", lambda n: (n or 0) + 1))
    with served(app) as site:
        shared = app.shared
        shared["a"] = [1]
        shared["a"].append(2)
        assert shared["a"] == [1]
        assert "a" in shared
        assert list(shared) == ["a"]
        assert shared.get("missing", 3) == 3
        with pytest.raises(KeyError):
            shared["missing"]
        with pytest.raises(KeyError):
            del shared["missing"]
        with pytest.raises(UnsupportedValue):
            shared["_live:w:x"] = 1
        tabs = [site.visitor().open() for _ in range(5)]
        threads = [threading.Thread(target=lambda tab=tab: [tab.click("g:more") for _ in range(20)]) for tab in tabs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shared["n"] == 100
        del shared["n"]
        assert "n" not in shared
        settled(site)
        assert "n" not in shared


def test_a_shared_value_that_cannot_be_kept_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A value that cannot be kept, and a function that fails, are refused or logged; what others share goes on."""
    app = App()
    app.button("b", key="b").on_click(lambda session: None)
    with served(app) as site:
        tab = site.visitor().open()
        with pytest.raises(UnsupportedValue):
            app.shared["bad"] = object()
        with pytest.raises(ZeroDivisionError):
            app.shared.update("bad", lambda n: 1 / 0)
        app.shared["good"] = 1
        settled(site)
        assert app.shared["good"] == 1
        assert "bad" not in app.shared
        assert tab.click("g:b")["t"] == "ack"


def test_widgets_are_changed_from_threads() -> None:
    """A thread of the program's changes a widget that all see: each browser is told, in order. `update` is exact from
    many threads and callbacks at once. One session's widget, kept from its turn, is changed by a thread, too."""
    app = App()
    label, metric = app.text("0", key="label"), app.metric("n", 0, key="n")
    app.button("+", key="more").on_click(lambda session: metric.update("value", lambda n: n + 1))
    with served(app) as site:
        tabs = [site.visitor().open() for _ in range(3)]

        def work() -> None:
            for n in range(1, 101):
                label.text = f"{n}"
                metric.update("value", lambda n: n + 1)

        thread = threading.Thread(target=work)
        thread.start()
        for tab in tabs:
            for _ in range(10):
                tab.click("g:more")
        thread.join()
        for tab in tabs:
            tab.until(lambda page: page.props("g:label")["text"] == "100" and page.props("g:n")["value"] == 130)
            told = [
                int(op["widgets"]["g:label"]["text"])
                for frame in tab.frames
                for op in frame.get("ops", ())
                if op["op"] == "update" and "g:label" in op["widgets"]
            ]
            assert told == sorted(set(told))
        own: list[Any] = []
        ran(site, tabs[0], lambda session: own.append(session.text("mine", key="mine")))
        own[0].text = "from a thread"
        tabs[0].until(lambda page: page.find("s:mine") and page.props("s:mine")["text"] == "from a thread")
        own[0].remove()
        tabs[0].until(lambda page: page.find("s:mine") is None)
        extra = app.add_widget(w.Text("later", key="later"), before="label")
        tabs[1].until(lambda page: page.ids()[0] == "g:later")
        extra.replace(w.Text("instead", key="instead"))
        tabs[1].until(lambda page: page.ids()[0] == "g:instead")


def test_on_connect_and_on_disconnect() -> None:
    """`on_connect` runs when a tab's socket opens, `on_disconnect` when it closes; one that fails is logged, and the
    tab lives on."""
    app = App()
    online = app.metric("Online", 0, key="online")

    @app.on_connect
    def come(session: Session) -> None:
        online.update("value", lambda n: n + 1)

    @app.on_disconnect
    async def go(session: Session) -> None:
        online.update("value", lambda n: n - 1)

    with served(app) as site:
        tab = site.visitor().open()
        other = tab.visitor.open()
        third = site.visitor().open()
        tab.until(lambda page: page.props("g:online")["value"] == 3)
        assert app.online == 2
        other.leave()
        third.break_off()
        tab.until(lambda page: page.props("g:online")["value"] == 1)
        assert app.online == 1


# --- Signing in and out ----------------------------------------------------------------------------------------------


def signing_in(**options: Any) -> App:
    app = App(title="Login", **options)
    app.text_input("Name", key="name")

    @app.button("Sign in", key="in").on_click
    def sign_in(session: Session) -> None:
        session.set("before", session.widget("name").value)
        session.login(session.widget("name").value)
        session.text(f"Welcome {session.user_id}", key="welcome")

    app.button("Sign out", key="out").on_click(lambda session: session.end())
    return app


def renewed(tab: Tab) -> tuple[str, httpx.Response]:
    """Do as the page does when another cookie waits: the ticket, and the server's answer."""
    if not any(frame["t"] == "renew" for frame in tab.frames):
        while tab.next()["t"] != "renew":
            pass
    (ticket,) = [frame["ticket"] for frame in tab.frames if frame["t"] == "renew"]
    return ticket, tab.visitor.request("POST", "/_live/renew", content=ticket)


def test_a_login_renews_the_cookie() -> None:
    """Signing in gives the session another id. The browser fetches the new cookie with a ticket that is good once, and
    only for who has the old cookie; values and widgets stay, and the old cookie leads nowhere."""
    with served(signing_in()) as site:
        visitor = site.visitor()
        tab = visitor.open()
        before = dict(visitor.cookies)
        tab.change("g:name", "ada")
        tab.click("g:in")
        tab.until(lambda page: page.find("s:welcome"))
        while not any(frame["t"] == "renew" for frame in tab.frames):
            tab.next()
        (ticket,) = [frame["ticket"] for frame in tab.frames if frame["t"] == "renew"]
        thief = site.visitor()
        thief.load()
        assert thief.request("POST", "/_live/renew", content=ticket).status_code == 403
        assert httpx.post(f"{site.visitor().root}/_live/renew", content=ticket).status_code == 403
        evil = visitor.request("POST", "/_live/renew", content=ticket, headers={"Origin": "https://evil.example"})
        assert evil.status_code == 403
        assert "set-cookie" not in evil.headers
        answer = visitor.request("POST", "/_live/renew", content=ticket)
        assert answer.status_code == 204
        assert visitor.cookies.keys() == before.keys()
        assert visitor.cookies != before
        assert visitor.request("POST", "/_live/renew", content=ticket).status_code in (403, 409)
        assert visitor.load().props("s:welcome")["text"] == "Welcome ada"
        again = visitor.open()
        assert ran(site, again, lambda session: (session.user_id, session["before"])) == ("ada", "ada")
        old = site.visitor()
        old.cookies = before
        response = old.request("GET")
        assert "Welcome" not in response.text


def test_logout_clears_every_tab() -> None:
    """Signing out ends the session in all its tabs; another browser of the same user is as it was."""
    with served(signing_in()) as site:
        one, other = site.visitor(), site.visitor()
        tabs = []
        for visitor in (one, other):
            tab = visitor.open()
            tab.change("g:name", "ada")
            tab.click("g:in")
            assert renewed(tab)[1].status_code == 204
            tabs += [visitor.open(), visitor.open()]
        tabs[0].event("g:out", "click")
        assert [tab.closed() for tab in tabs[:2]] == [1008, 1008]
        assert tabs[2].change("g:name", "still")["t"] == "changes"


def test_an_idle_session_expires_and_a_busy_one_does_not() -> None:
    """A session with nothing but an open page is over after its timeout, and its page is cleared; one that is clicked
    in lives on. A ping is no activity."""
    with served(counter(session_timeout=3.0, cleanup_interval=0.2)) as site:
        idle, busy = site.visitor().open(), site.visitor().open()
        until = time.monotonic() + 4.5
        while time.monotonic() < until:
            busy.click("s:b")
            if idle.model.ended is None:
                try:
                    idle.send({"t": "ping"})
                    idle.next(0.05)
                except (TimeoutError, ConnectionClosed):
                    pass
            time.sleep(0.05)
        assert idle.closed() == 1008
        assert idle.model.ended == "expired"
        assert busy.click("s:b")["t"] == "changes"


# --- How it is served ------------------------------------------------------------------------------------------------


def test_unknown_and_superseded_cookies() -> None:
    """A cookie that nobody gave out is not adopted: the page is a new session's, with an id of the server's. A socket
    with it is told that the session is unknown, and closed; so is one without any cookie. A cookie with the handle of a
    session and another secret, as before a renewal, is told to wait, and shows nothing."""
    with served(counter()) as site:
        visitor = site.visitor()
        model = visitor.load()
        (name,) = visitor.cookies
        for made_up in ("A" * len(visitor.session_id), "mine", "x" * 300):
            thief = site.visitor()
            thief.cookies = {name: made_up}
            tab = Tab(thief, new_tab(), deepcopy(model)).connect()
            assert tab.closed() == 1008
            assert tab.model.ended == "unknown"
            thief.load()
            assert thief.session_id not in (made_up, visitor.session_id)
        tab = Tab(site.visitor(), new_tab(), deepcopy(model)).connect()
        assert tab.closed() == 1008
        assert tab.model.ended == "unknown"
        late = site.visitor()
        late.cookies = {name: visitor.session_id[:-8] + "AAAAAAAA"}
        response = late.request("GET")
        assert response.status_code == 503
        assert "set-cookie" not in response.headers
        assert "label" not in response.text
        tab = Tab(late, new_tab(), deepcopy(model)).connect()
        assert tab.closed() == 1013
        assert tab.frames == []
        assert visitor.open().click("s:b")["t"] == "changes"


def test_the_id_is_in_no_page_and_no_frame() -> None:
    """The session's id is in its cookie alone: not in the page, not in the frames, not in what errors say."""
    with served(signing_in(debug=True, tickets=True)) as site:
        visitor = site.visitor()
        tab = visitor.open()
        secrets = [visitor.session_id]
        tab.change("g:name", "ada")
        tab.click("g:in")
        tab.refused("g:nothing", "click")
        tab.raw("{")
        renewed(tab)
        secrets.append(visitor.session_id)
        page = visitor.request("GET").text
        told = page + visitor.html + "".join(map(json.dumps, tab.frames))
        for secret in secrets:
            assert len(secret) > 30
            assert secret not in told
            handle_and_secret = ids.split(secret)
            assert handle_and_secret is not None
            assert handle_and_secret[1] not in told


def test_cookie_attributes() -> None:
    """Over plain HTTP on this machine the cookie goes without TLS; over https it is `__Host-`, Secure and HttpOnly.
    Over plain HTTP from elsewhere none is set that a browser would take."""
    with served(counter(), forwarded_allow_ips="127.0.0.1", proxy_headers=True) as site:
        plain = site.visitor().request("GET").headers.get_list("set-cookie")
        assert len(plain) == 1
        assert plain[0].startswith("live-counter=")
        assert "httponly" in plain[0].lower()
        assert "samesite=lax" in plain[0].lower()
        assert "secure" not in plain[0].lower()
        headers = {"X-Forwarded-Proto": "https", "Host": "shop.example"}
        (secure,) = site.visitor().request("GET", headers=headers).headers.get_list("set-cookie")
        assert secure.startswith("__Host-live-counter=")
        assert {"secure", "httponly", "path=/"} <= {part.strip().lower() for part in secure.split(";")}
        assert "domain" not in secure.lower()
        (elsewhere,) = site.visitor().request("GET", headers={"Host": "shop.example"}).headers.get_list("set-cookie")
        assert elsewhere.startswith("__Host-")
        assert "secure" in elsewhere.lower()


def test_pages_of_other_sites_open_no_sockets() -> None:
    """A handshake whose Origin is another site is refused with 403; its own host, an allowed origin and none at all
    are taken."""
    with served(counter(allowed_origins=["https://partner.example"])) as site:
        visitor = site.visitor()
        visitor.load()
        for evil in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{site.port}"):
            with pytest.raises(InvalidStatus) as refused:
                visitor.connect(headers={"Origin": evil})
            assert refused.value.response.status_code == 403
        for good in (f"http://127.0.0.1:{site.port}", "https://partner.example"):
            assert visitor.open(headers={"Origin": good}).click("s:b")["t"] == "changes"


def test_tickets() -> None:
    """With ``tickets`` the page has a ticket that lets one socket in without a cookie, once; the socket gets the next
    one. Where they are off, none is given out or taken."""
    app = App(tickets=True)
    app.button("b", key="b")
    with served(app) as site:
        visitor = site.visitor()
        model = visitor.load()
        ticket = visitor.ticket()
        assert ticket
        visitor.cookies.clear()
        tab = Tab(visitor, new_tab(), model).connect(query=f"?ticket={ticket}")
        assert tab.click("g:b")["t"] == "ack"
        (following,) = [frame["ticket"] for frame in tab.frames if frame["t"] == "ticket"]
        assert following not in (ticket, "")
        again = Tab(visitor, new_tab(), model).connect(query=f"?ticket={ticket}")
        assert again.closed() == 1008
        assert Tab(visitor, new_tab(), visitor_model(model)).connect(query=f"?ticket={following}").click("g:b")
    with served(counter()) as site:
        visitor = site.visitor()
        visitor.load()
        assert visitor.ticket() == ""


def visitor_model(model: Any) -> Any:
    model.s = model.g = None
    return model


def test_health_static_files_and_methods() -> None:
    """`/health` says that it is well, and how many are here; the module and the style are served with their types;
    what is not there is not there."""
    with served(counter()) as site:
        visitor = site.visitor()
        assert visitor.request("GET", "/health").json() == {"status": "ok", "sessions": 0, "sockets": 0}
        assert visitor.cookies == {}
        tab = visitor.open()
        tab.click("s:b")  # its hello has been heard, too
        assert visitor.request("GET", "/health").json() == {"status": "ok", "sessions": 1, "sockets": 1}
        for name, kind in (("live.js", "text/javascript"), ("live.css", "text/css")):
            response = visitor.request("GET", f"/_live/{name}")
            assert response.status_code == 200
            assert response.headers["content-type"].startswith(kind)
            again = visitor.request("GET", f"/_live/{name}", headers={"If-None-Match": response.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            (address,) = [part for part in visitor.html.split('"') if f"/_live/{name}?" in part]
            assert "immutable" in visitor.request("GET", address).headers["cache-control"]
        for path in ("/_live/app.py", "/_live/%2e%2e/app.py", "/nothing"):
            assert visitor.request("GET", path).status_code == 404
        assert visitor.request("POST").status_code == 405
        head = visitor.request("HEAD")
        assert head.status_code == 200
        assert head.text == ""
        page = visitor.request("GET")
        assert "no-store" in page.headers["cache-control"]
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        tab.leave()


def test_several_apps_in_one_process() -> None:
    """Two apps side by side, also with one cookie jar, have nothing to do with each other."""
    one, two = counter(), App(title="Other")
    two.text("two", key="two")
    with served(one) as first, served(two) as second:
        visitor = first.visitor()
        tab = visitor.open()
        tab.click("s:b")
        other = second.visitor()
        other.cookies = visitor.cookies
        assert other.load().ids() == ["g:two"]
        assert len(visitor.cookies) == 2
        assert visitor.load().props("s:label")["text"] == "Clicked 1 times"


def mounted(way: str, app: App, second: App) -> Any:
    """Two apps below paths of another application."""
    if way == "starlette":

        @asynccontextmanager
        async def lifespan(_: Any) -> Any:
            async with app.lifespan(), second.lifespan():
                yield

        return Starlette(routes=[Mount("/live", app), Mount("/other", second)], lifespan=lifespan)
    if way == "fastapi":
        from fastapi import FastAPI

        outer = FastAPI()  # it tells what is mounted in it nothing of its start
        outer.mount("/live", app)
        outer.mount("/other", second)
        return outer
    from django.core.asgi import get_asgi_application
    from django.test.utils import override_settings

    import site_django  # Django is set up once in a process, by whoever comes first

    assert site_django
    with override_settings(MIDDLEWARE=[]):  # that of the sites there is for these alone
        django = get_asgi_application()

    async def beside(scope: Any, receive: Any, send: Any) -> None:
        for prefix, one in (("/live", app), ("/other", second)):
            if scope["type"] != "lifespan" and scope["path"].startswith(prefix + "/"):
                await one({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)
                return
        if scope["type"] == "http":
            await django(scope, receive, send)

    return beside


@pytest.mark.parametrize("way", ["starlette", "fastapi", "django"])
def test_mounted_under_a_path(way: str) -> None:
    """Two apps are mounted under paths of a Starlette or FastAPI application, or stand beside Django's: pages, sockets,
    files and the addresses in the page are below the path."""
    app, second = counter(), App(title="Other")
    second.text("two", key="two")
    try:
        with served(mounted(way, app, second)) as site:
            visitor = site.visitor("/live")
            tab = visitor.open()
            assert tab.click("s:b")["t"] == "changes"
            assert f'data-root="{visitor.path}/"' in visitor.html
            assert '"/live/_live/live.js?' in visitor.html
            assert visitor.request("GET", "/_live/live.js").status_code == 200
            assert visitor.request("GET", "/health").json()["sockets"] == 1
            other = Visitor(site.port, "/other")
            other.cookies = visitor.cookies
            assert other.load().ids() == ["g:two"]
            assert visitor.load().props("s:label")["text"] == "Clicked 1 times"
            for one in (app, second):
                site.do(one.close())
    finally:
        assert app._rooms is None


def test_without_a_lifespan_it_starts_when_it_is_asked() -> None:
    """A server that tells nothing of its start gets an app that starts with the first request, once."""
    app = counter()
    with served(app, lifespan="off") as site:
        visitors = [site.visitor() for _ in range(5)]
        threads = [threading.Thread(target=visitor.load) for visitor in visitors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({visitor.session_id for visitor in visitors}) == 5
        assert visitors[0].open().click("s:b")["t"] == "changes"
        site.do(app.close())


@pytest.mark.parametrize("ends", [False, True])
def test_on_shutdown(ends: bool, tmp_path: Any) -> None:
    """Stopped with "keep", an app has its sessions when it starts again: values, widgets and their callbacks. With
    "end" they are over, and everybody's page is as it was left. Open sockets are closed with a code that lets them come
    again."""
    store = f"sqlite:///{tmp_path}/live.db"
    options: dict[str, Any] = {"on_shutdown": "end"} if ends else {}
    first = counter(store=store, **options)
    with served(first) as site:
        visitor = site.visitor()
        tab = visitor.open()
        tab.click("s:b")
        tab.change("g:name", "Ada")
        first.widget("online").value = 7
        tab.until(lambda page: page.props("g:online")["value"] == 7)
    assert tab.closed() in (1001, 1012, 1013)
    with served(counter(store=store)) as site:
        visitor.port, visitor.root = site.port, f"http://127.0.0.1:{site.port}"
        again = visitor.open()
        assert again.shows("g:online")["value"] == 7
        assert again.shows("g:name")["value"] == ("" if ends else "Ada")
        again.click("s:b")
        assert again.shows("s:label")["text"] == f"Clicked {1 if ends else 2} times"


def test_declaring_it_wrongly() -> None:
    """What an app cannot be is refused when it is made, with what is wrong."""
    for options, why in (
        ({"name": "no spaces please"}, "letters"),
        ({"on_shutdown": "maybe"}, "keep"),
        ({"session_timeout": -1}, "timeout"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            App(**options)  # type: ignore[arg-type]
    app = App()
    app.text("a", key="a")
    with pytest.raises(ConfigurationError, match="key"):
        app.text("b", key="a")
    with pytest.raises(KeyError):
        app.widget("missing")
    with pytest.raises(RuntimeError, match="run"):
        app.add_widget_to_session("x", w.Text("x"))
    with pytest.raises(ConfigurationError, match="arguments"):
        app.button("b").on_click(lambda a, b, c: None)


def test_what_the_program_does_by_itself_may_be_no_activity() -> None:
    """A turn that says that it is ``passive`` shows what it changes, and does not keep the session alive."""
    clock = Clock()
    app = App("Quiet", manager=AsyncSessionManager(clock=clock))

    @app.on_session
    def start(session: Session) -> None:
        session.text("0", key="count")

    def push(session: Session, *, passive: bool) -> None:
        session.passive = passive
        session.widget("count").text += "!"

    with served(app) as site:
        tab = site.visitor().open()
        (row,) = [one for one in site.do(app.engine.list_sessions()) if one.label is None]
        seen = []
        for passive in (True, False):
            clock.advance(600)
            site.do(app.in_session(row.handle, partial(push, passive=passive)))
            seen.append(site.do(app.engine.list_sessions()))
        tab.until(lambda model: model.props("s:count")["text"] == "0!!")
        ages = [next(one.last_accessed_at for one in rows if one.handle == row.handle) for rows in seen]
        assert ages == [row.last_accessed_at, pytest.approx(row.last_accessed_at + 1200)]
        site.do(app.close())
        site.do(app.engine.close())
