"""The edges of an app: what is too large to be kept, passwords, sessions that reach for each other, functions that take
too much, visitors who come by the side door, and what a session changes about what is the app's."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from visiting import Model, Site, Tab, Visitor, new_tab, served, settled

from servers.process import LOOPBACK, free_port
from sojourn import AsyncSessionManager, ConfigurationError, SessionConfig
from sojourn.live import App, Session
from sojourn.live import widgets as w
from sojourn.live.connection import Connection
from sojourn.live.protocol import VERSION

SECRET = "correct-horse-battery"
TABS = "_live:t:"  # what the names of the fields begin with that note a tab's last event


def ran(site: Site, tab: Tab, function: Any) -> Any:
    """Run a function in a turn of the tab's session."""
    return site.do(site.app.in_session(tab.visitor.session_id, function))


def inside(tab: Tab, id_: str) -> list[str]:
    """The ids of what is in a widget that is shown."""
    found = tab.model.find(id_)
    assert found is not None
    return [child["id"] for child in found["children"]]


def sessions(site: Site) -> int:
    """How many records there are."""
    return len(site.do(site.app.engine.list_sessions()))


def told(tab: Tab, id_: str) -> list[Any]:
    """The values of a widget that the tab was told of, in changes and in whole pages."""
    values: list[Any] = []
    for frame in tab.frames:
        for op in frame.get("ops", ()):
            props = op.get("widgets", {}).get(id_, {}) if op["op"] == "update" else {}
            values += [props["value"]] if "value" in props else []
        if frame["t"] == "page":
            page = Model()
            page.take(frame)
            values.append(page.props(id_)["value"])
    return values


# --- What cannot be kept ---------------------------------------------------------------------------------------------


def test_what_is_too_large_is_undone_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A change of what all see that is too large to be kept is logged once and undone; other changes of the same
    moment, of a widget and of a shared value, are kept and told, and so is what comes later."""
    app = App()
    small, big = app.text("small", key="small"), app.text("as declared", key="big")

    def shared() -> dict[str, Any]:
        return {name: app.shared[name] for name in app.shared}

    with served(app) as site:
        tab = site.visitor().open()

        def at_once() -> None:
            big.text = "x" * 300_000
            small.text = "changed"
            app.shared["a"] = 1

        site.call(at_once)
        tab.until(lambda page: page.props("g:small")["text"] == "changed")
        settled(site)
        tab.quiet(0.05)
        for page in (tab.model, site.visitor().load()):
            assert page.props("g:small")["text"] == "changed"
            assert page.props("g:big")["text"] == "as declared"
        assert (small.text, big.text, shared()) == ("changed", "as declared", {"a": 1})
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert "undone" in errors[0]
        big.text = "short"
        app.shared["b"] = 2
        tab.until(lambda page: page.props("g:big")["text"] == "short")
        settled(site)
        assert shared() == {"a": 1, "b": 2}


# --- Forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True], ids=["done", "fails"])
@pytest.mark.parametrize("whose", ["g", "s"], ids=["of-all", "ones-own"])
def test_passwords_are_for_the_callback_alone(
    whose: str, fails: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A password in a form reaches its callback, is never written to the store, and is in no page and no frame
    afterwards; the browser is told to empty it. Other inputs of the form are kept. All this is so when the callback
    raises, too."""
    app, got = App("Login", store=f"sqlite:///{tmp_path / 'login.db'}"), []

    def sent(session: Session, values: dict[str, Any]) -> None:
        got.append((values, session.widget("word").value))
        if fails:
            raise ValueError("not today")

    def declare(where: Any) -> None:
        form = where.form(key="f")
        form.text_input("Name", key="name")
        form.text_input("Password", password=True, key="word")
        form.on_submit(app.callback(sent))

    declare(app) if whose == "g" else app.on_session(declare)
    name, word = f"{whose}:name", f"{whose}:word"
    with served(app) as site:
        tab = site.visitor().open()
        other = tab.visitor.open()
        frame = tab.do(f"{whose}:f", "submit", {name: "ada-lovelace", word: SECRET})
        assert frame["t"] == ("error" if fails else "changes")
        for one in (tab, other):
            one.until(lambda page: page.props(name)["value"] == "ada-lovelace")
        settled(site)
        tab.quiet(0.05)
        other.quiet(0.05)
        assert got == [({"name": "ada-lovelace", "word": SECRET}, SECRET)]
        assert told(tab, word)[-1:] == [""]
        for one in (tab, other):
            assert SECRET not in str(one.frames)
            assert (one.shows(name)["value"], one.shows(word)["value"]) == ("ada-lovelace", "")
        assert tab.visitor.load().props(name)["value"] == "ada-lovelace"
        assert SECRET not in tab.visitor.html
        assert ran(site, tab, lambda session: session.widget("word").value) == ""
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"ada-lovelace" in stored
        assert SECRET.encode() not in stored
    assert SECRET not in caplog.text


@pytest.mark.parametrize("fails", [False, True], ids=["done", "fails"])
def test_a_commit_in_a_forms_callback_keeps_no_password(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What a form's callback commits before it is done has no password in it either: none is stored or told."""
    app = App()
    form = app.form(key="f")
    form.text_input("Password", password=True, key="word")

    @form.on_submit
    def sent(session: Session) -> None:
        session["step"] = 1
        session.commit()
        if fails:
            raise ValueError("not today")

    with served(app) as site:
        tab = site.visitor().open()
        tab.do("g:f", "submit", {"g:word": SECRET})
        tab.quiet(0.05)
        assert SECRET not in str(tab.frames)
        assert tab.visitor.load().props("g:word")["value"] == ""
        handle = ran(site, tab, lambda session: session.handle)
        assert SECRET.encode() not in b"".join(site.do(app.engine.store.load(handle)).fields.values())


def test_a_form_without_some_of_its_inputs() -> None:
    """A form that was sent without some of its inputs, as no browser does, gives its callback what is kept of those: it
    finds all of them."""
    app, got = App(), []
    form = app.form(key="f")
    form.text_input("Name", "nobody", key="name")
    form.number_input("Age", 7, key="age")
    form.text_input("Password", password=True, key="word")
    form.on_submit(lambda session, values: got.append(values))
    with served(app) as site:
        tab = site.visitor().open()
        tab.do("g:f", "submit", {})
        tab.do("g:f", "submit", {"g:name": "Ada", "g:word": SECRET})
        tab.do("g:f", "submit", {"g:age": 36})
    assert got == [
        {"name": "nobody", "age": 7, "word": ""},
        {"name": "Ada", "age": 7, "word": SECRET},
        {"name": "Ada", "age": 36, "word": ""},
    ]


# --- Sessions that reach for each other ------------------------------------------------------------------------------


def test_two_sessions_give_each_other_widgets() -> None:
    """`add_widget_to_session` in a callback does not wait: two sessions that do it to each other at the same time are
    both answered, and both get their widgets. Outside of callbacks the widget is there when it returns, though the
    session was busy."""
    app, handles, meeting = App(), [], threading.Barrier(2)
    busy, order = threading.Event(), []

    @app.on_session
    def start(session: Session) -> None:
        handles.append(session.handle)

    @app.button("Give", key="give").on_click
    def give(session: Session) -> None:
        (other,) = [handle for handle in handles if handle != session.handle]
        meeting.wait(10)
        app.add_widget_to_session(other, w.Text("a present", key="present"))
        meeting.wait(10)  # both have asked, and neither session's turn has ended

    @app.button("Slow", key="slow").on_click
    def slow() -> None:
        busy.set()
        time.sleep(0.2)
        order.append("the callback")

    with served(app) as site:
        tabs = [site.visitor().open() for _ in range(2)]
        for tab, n in [(tab, tab.event("g:give", "click")) for tab in tabs]:
            assert tab.answer(n, 5)["t"] in ("ack", "changes")
        for tab in tabs:
            tab.until(lambda page: page.find("s:present"), 5)
        tabs[0].event("g:slow", "click")
        assert busy.wait(10)
        app.add_widget_to_session(handles[0], w.Text("more", key="more"))
        order.append("the widget")
        assert order == ["the callback", "the widget"]
        assert tabs[0].visitor.load().ids() == ["g:give", "g:slow", "s:present", "s:more"]
        assert tabs[1].visitor.load().ids() == ["g:give", "g:slow", "s:present"]


def test_a_callback_does_not_wait_for_itself() -> None:
    """`in_session` and a block for one's own session, in one's own callback, raise RuntimeError; in that of another
    session they do not."""
    app, refused, handles = App(), [], []
    app.on_session(lambda session: handles.append(session.handle))

    @app.button("A coroutine", key="coroutine").on_click
    async def coroutine(session: Session) -> None:
        for handle in handles:
            try:
                await app.in_session(handle, lambda other: other.text("from a coroutine"))
            except RuntimeError:
                refused.append(handle)

    @app.button("A thread", key="thread").on_click
    def thread(session: Session) -> None:
        for handle in handles:
            try:
                with app.session(handle) as other:
                    other.text("from a thread")
            except RuntimeError:
                refused.append(handle)

    with served(app) as site:
        tab, other = site.visitor().open(), site.visitor().open()
        for id_ in ("g:coroutine", "g:thread"):
            assert tab.answer(tab.event(id_, "click"), 5)["t"] == "ack"
        assert refused == [handles[0]] * 2
        other.until(lambda page: len(page.children) == 4)
        assert [child["props"]["text"] for child in other.model.children[2:]] == ["from a coroutine", "from a thread"]


# --- Functions that are given --------------------------------------------------------------------------------------


def test_functions_without_arguments_hear_of_tabs() -> None:
    """`on_connect` and `on_disconnect` functions that take no argument are called, coroutine functions too; the latter
    also when the session has ended, of which one that takes the session hears nothing."""
    app = App()
    calls: list[str] = []
    app.on_connect(lambda: calls.append("come"))
    app.on_disconnect(lambda: calls.append("gone"))
    app.on_disconnect(lambda session: calls.append("gone, and the session lives"))

    @app.on_connect
    async def come() -> None:
        calls.append("come, in the loop")

    @app.on_disconnect
    async def gone() -> None:
        calls.append("gone, in the loop")

    def heard(*expected: str) -> None:
        give_up = time.monotonic() + 10
        while len(calls) < len(expected) and time.monotonic() < give_up:
            time.sleep(0.01)
        settled(site)
        assert tuple(calls) == expected
        calls.clear()

    with served(app) as site:
        visitor = site.visitor()
        tab, other = visitor.open(), visitor.open()
        heard("come", "come, in the loop", "come", "come, in the loop")
        other.leave()
        heard("gone", "gone, and the session lives", "gone, in the loop")
        app.end_session(visitor.session_id)
        assert tab.closed() == 1008
        heard("gone", "gone, in the loop")


def test_functions_that_take_too_much_are_refused() -> None:
    """A function that needs more arguments than it is given is refused where it is handed in, not when it is called:
    two for a tab that comes or goes, or a click; three for a change. What has a default is no argument."""
    app = App()

    def two(session: Session, value: Any) -> None: ...
    def three(session: Session, value: Any, more: Any) -> None: ...
    def enough(session: Session, value: Any = 1, more: Any = 2) -> None: ...

    own = w.Button("of nobody yet")
    box, form = app.text_input("t"), app.form()
    for register, function in (
        (app.on_connect, two),
        (app.on_disconnect, two),
        (app.button("b").on_click, two),
        (own.on_click, two),
        (box.on_change, three),
        (form.on_submit, three),
    ):
        with pytest.raises(ConfigurationError, match="needs more arguments"):
            register(function)
        assert register(enough) is enough
    assert box.on_change(two) is two


# --- Sessions that begin elsewhere, or not at all --------------------------------------------------------------------


def test_a_manager_has_one_app() -> None:
    """A second app on a manager is refused when it is made; one on another manager is not."""
    manager = AsyncSessionManager()
    app = App(manager=manager)
    with pytest.raises(ConfigurationError, match="has an app already"):
        App("Another", manager=manager)
    with pytest.raises(ConfigurationError, match="has an app already"):
        App("Another", manager=App("Its own").engine)
    assert App("Another", manager=AsyncSessionManager()).engine is not app.engine


def test_a_session_that_was_made_elsewhere_is_welcomed_once() -> None:
    """A session that the manager has made is welcomed by `on_session` at its first page, exactly once, though four
    pages ask at the same time; they all show what that put there, and what the session had is kept."""
    app, welcomed = App(manager=AsyncSessionManager()), []

    @app.on_session
    def start(session: Session) -> None:
        time.sleep(0.05)
        welcomed.append(session.handle)
        session.text(f"Hello {session.get('who', 'stranger')}", key="hello")

    with served(app) as site:
        stranger = site.visitor()
        assert stranger.load().props("s:hello")["text"] == "Hello stranger"
        (cookie,) = stranger.cookies
        welcomed.clear()
        made = site.do(app.engine.create_session(data={"who": "Ada"}))
        visitors = [site.visitor() for _ in range(4)]
        pages: list[list[Any]] = []

        def load(visitor: Visitor) -> None:
            visitor.cookies = {cookie: made}
            pages.append([child["props"]["text"] for child in visitor.load().children])

        threads = [threading.Thread(target=load, args=(visitor,)) for visitor in visitors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pages == [["Hello Ada"]] * 4
        assert [visitor.session_id for visitor in visitors] == [made] * 4
        assert visitors[0].open().model.ids() == ["s:hello"]
        assert len(welcomed) == 1
        site.do(app.engine.close())


def test_who_lost_the_cookie_of_a_renewal_can_start_again() -> None:
    """A page that is asked for with an id whose successor got lost answers 503 and offers a way out; ``POST
    /_live/forget`` clears the cookie and leads to the page, where a new session begins. A page of another site cannot
    have it cleared."""
    app = App()
    app.button("Sign in", key="in").on_click(lambda session: session.login("ada"))
    with served(app) as site:
        visitor = site.visitor()
        visitor.open().click("g:in")  # and the cookie is never fetched
        before = visitor.session_id
        page = visitor.request("GET")
        assert page.status_code == 503
        assert page.headers["retry-after"] == "1"
        assert '<form method="post" action="/_live/forget"><button>' in page.text
        assert "set-cookie" not in page.headers
        evil = visitor.request("POST", "/_live/forget", headers={"Origin": "https://evil.example"})
        assert evil.status_code == 403
        assert "set-cookie" not in evil.headers
        own = visitor.request("POST", "/_live/forget", headers={"Origin": site.visitor().root})
        assert (own.status_code, own.headers["location"]) == (303, "/")
        assert visitor.cookies == {}
        assert visitor.load().ids() == ["g:in"]
        assert visitor.session_id.partition(".")[0] != before.partition(".")[0]
        assert ran(site, visitor.open(), lambda session: session.user_id) is None


def test_a_head_makes_no_session() -> None:
    """A HEAD of the page is answered with 200, no body and no cookie, and makes no session."""
    app, begun = App(), []
    app.on_session(lambda session: begun.append(session.handle))
    with served(app) as site:
        before = sessions(site)
        head = site.visitor().request("HEAD")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/html")
        assert "set-cookie" not in head.headers
        assert (sessions(site), begun) == (before, [])
        site.visitor().load()
        assert (sessions(site), len(begun)) == (before + 1, 1)


@pytest.mark.parametrize("debug", [False, True])
def test_a_welcome_that_fails(debug: bool, caplog: pytest.LogCaptureFixture) -> None:
    """If an `on_session` function raises, the answer is 500, there is no session and no cookie, and the traceback is in
    the log; in the answer only with debug."""
    app = App(debug=debug)

    @app.on_session
    def start(session: Session) -> None:
        session["half"] = True
        raise ValueError("a secret detail")

    with served(app) as site:
        before = sessions(site)
        visitor = site.visitor()
        response = visitor.request("GET")
        assert response.status_code == 500
        assert response.headers["content-type"].startswith("text/plain")
        assert ("a secret detail" in response.text, "Traceback" in response.text) == (debug, debug)
        assert "set-cookie" not in response.headers
        assert sessions(site) == before
    assert "ValueError: a secret detail" in caplog.text


# --- In the app's widgets --------------------------------------------------------------------------------------------


def test_a_widget_waits_for_what_it_is_in(tmp_path: Path) -> None:
    """A session's widget in a container of the app's that this process does not have is not shown, and nothing else is
    the worse; it appears when another process's app adds the container, with its callback."""
    store = f"sqlite:///{tmp_path / 'live.db'}"

    def clicked(session: Session) -> None:
        session.widget("own").label = "clicked"

    def an_app() -> App:
        app = App("One", store=store)
        app.callback(clicked)
        app.text("there", key="there")
        return app

    old = an_app()
    old.container(key="box")

    @old.on_session
    def start(session: Session) -> None:
        session.add_widget(w.Button("own", key="own"), into="box").on_click(clicked)
        session.text("mine", key="mine")

    with served(old) as site:
        visitor = site.visitor()
        assert inside(visitor.open(), "g:box") == ["s:own"]
    here, there = an_app(), an_app()
    with served(here) as site, served(there):
        visitor.port, visitor.root = site.port, site.visitor().root
        tab = visitor.open()
        tab.model.strict = True
        assert tab.model.ids() == ["g:there", "s:mine"]
        assert tab.refused("s:own", "click") == "unknown_widget"
        there.add_widget(w.Container(key="box"))
        tab.until(lambda page: page.find("s:own"))
        assert tab.model.ids() == ["g:there", "g:box", "s:own", "s:mine"]
        assert inside(tab, "g:box") == ["s:own"]
        tab.click("s:own")
        assert tab.shows("s:own")["label"] == "clicked"
        assert visitor.load().children == tab.model.children


def test_showing_a_widget_is_the_sessions_own_word() -> None:
    """What was hidden from a session, by itself or by the app, and is shown by ``session.show(key)``, stays shown there
    whatever the app says of it later, in its next page too. All others see what the app says."""
    app = App()
    news, hidden = app.text("news", key="news"), app.text("hidden", key="hidden")
    hidden.visible = False
    with served(app) as site:
        tab, other = site.visitor().open(), site.visitor().open()
        ran(site, tab, lambda session: session.hide("news"))
        tab.until(lambda page: page.ids() == [])

        def show(session: Session) -> None:
            session.show("news")
            session.show("hidden")
            assert session.widget("hidden").visible

        ran(site, tab, show)
        tab.until(lambda page: page.ids() == ["g:news", "g:hidden"])
        assert hidden.visible is False
        news.visible = False
        hidden.visible = True
        other.until(lambda page: page.ids() == ["g:hidden"])
        hidden.visible = False
        other.until(lambda page: page.ids() == [])
        settled(site)
        tab.quiet(0.05)
        assert tab.model.ids() == tab.visitor.load().ids() == ["g:news", "g:hidden"]
        assert other.visitor.load().ids() == site.visitor().load().ids() == []


def test_a_session_in_the_apps_containers() -> None:
    """What a session reaches through a container of the app's is as this session sees it: what it assigns to a child
    there, at any depth, and what it adds to a column, is its own, and goes with the column. All others see what they
    saw."""
    app = App()
    box = app.container(key="box")
    box.text("everybody's", key="line")
    box.expander("More", key="more").text("deep", key="deep")
    app.columns(2, key="columns")[1].text("right", key="right")
    with served(app) as site:
        tab, other = site.visitor().open(), site.visitor().open()
        before = deepcopy(other.model.children)

        def change(session: Session) -> None:
            line, more = session.widget("box").children
            line.text = "mine"
            more.children[0].text = "mine, deep"
            first, second = session.widget("columns")
            first.button("left", key="left")
            session.widget("columns")[1].add_widget(w.Text("below", key="below"))
            assert [child.key for child in second.children] == ["right", "below"]

        ran(site, tab, change)
        tab.until(lambda page: page.find("s:below"))
        settled(site)
        assert [tab.shows(id_)["text"] for id_ in ("g:line", "g:deep")] == ["mine", "mine, deep"]
        assert (inside(tab, "g:columns.0"), inside(tab, "g:columns.1")) == (["s:left"], ["g:right", "s:below"])
        assert tab.visitor.load().children == tab.model.children
        assert other.quiet(0.05) == []
        assert other.visitor.load().children == site.visitor().load().children == before
        assert (app.widget("line").text, app.widget("deep").text) == ("everybody's", "deep")
        assert [widget.key for column in app.widget("columns") for widget in column.children] == ["right"]
        assert tab.click("s:left")["t"] == "ack"
        app.widget("columns").remove()
        tab.until(lambda page: page.ids() == ["g:box", "g:line", "g:more", "g:deep"])
        assert tab.refused("s:left", "click") == "unknown_widget"


# --- Upkeep ----------------------------------------------------------------------------------------------------------


@contextmanager
def many_tabs() -> Iterator[tuple[Callable[[], Tab], Callable[[], set[str]], list[float], list[int]]]:
    """One session on a server: what opens a tab of it that clicks, what says of which tabs the last event is kept, the
    time, and the clicks."""
    now, clicks = [1_000_000.0], [0]
    config = SessionConfig(idle_timeout=100_000.0, absolute_timeout=200_000.0)
    app = App(manager=AsyncSessionManager(config=config, clock=lambda: now[0]))

    @app.button("b", key="b").on_click
    def clicked() -> None:
        clicks[0] += 1

    with served(app) as site:
        visitor = site.visitor()
        page = visitor.load()
        handle = site.do(app.in_session(visitor.session_id, lambda session: session.handle))

        def come() -> Tab:
            now[0] += 1
            tab = Tab(visitor, new_tab(), deepcopy(page)).connect()
            assert tab.click("g:b")["t"] == "ack"
            return tab

        def noted() -> set[str]:
            record = site.do(app.engine.store.load(handle))
            return {name.removeprefix(TABS) for name in record.fields if name.startswith(TABS)}

        yield come, noted, now, clicks
        site.do(app.engine.close())


def test_what_is_kept_of_tabs_is_pruned() -> None:
    """The fields that note the last events of tabs do not pile up: there may be many of tabs that were heard of within
    an hour; of others they go, when there are many. None of their events is done twice."""
    with many_tabs() as (come, noted, now, clicks):
        gone = [come() for _ in range(40)]
        assert noted() == {tab.name for tab in gone}
        for tab in gone:
            tab.leave()
        now[0] += 3_000
        few = [come() for _ in range(10)]
        assert noted() == {tab.name for tab in (*gone, *few)}
        now[0] += 1_000
        later = [come() for _ in range(30)]
        assert noted() == {tab.name for tab in (*few, *later)}
        assert clicks[0] == 80
        few[0].sent = 0
        assert few[0].click("g:b")["t"] == "ack"  # its first event once more, as if the answer was lost
        assert clicks[0] == 80


def test_what_is_kept_of_a_silent_tab_stays() -> None:
    """The field that notes the last event of a tab that is here stays, however long the tab was silent, and however
    many others came."""
    with many_tabs() as (come, noted, now, _):
        silent = come()
        now[0] += 4_000
        for _ in range(40):
            come().leave()
        assert silent.name in noted()


# --- A process of its own --------------------------------------------------------------------------------------------


def test_run_says_where_it_is(tmp_path: Path) -> None:
    """`App.run` says where the app is, once it can be reached there, and that its sessions end with it; stopped from
    the keyboard it ends with 0 and no complaint."""
    port = free_port()
    program = tmp_path / "program.py"
    program.write_text(
        f'from sojourn.live import App\napp = App("Here")\napp.text("hi", key="hi")\napp.run(port={port})\n'
    )
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == f"Here is at http://{LOOPBACK}:{port}/ (Ctrl-C stops it; sessions end with this process)\n"
        assert Visitor(port).load().ids() == ["g:hi"]
        os.kill(process.pid, signal.SIGINT)
        out, complaints = process.communicate(timeout=20)
        assert (process.returncode, out, complaints) == (0, "", "")
    finally:
        process.kill()
        process.communicate()


async def test_a_socket_has_left_when_the_app_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Where a server ends its application before it has closed its sockets, the application's functions are told of
    them before there is nobody left who could call them."""
    app, told = App(title="Leaving"), list[str]()
    app.on_connect(lambda: told.append("came"))
    app.on_disconnect(lambda: told.append("went"))
    rooms = await app.started()
    session_id = await app.engine.create_session()
    hello = json.dumps({"t": "hello", "v": VERSION, "tab": new_tab(), "n": 1})
    received = iter([{"type": "websocket.receive", "text": hello}])

    async def receive() -> Any:
        return next(received, None) or await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            await asyncio.sleep(0.3)  # a browser that takes its time

    room = await rooms.enter(session_id.partition(".")[0])
    serving = asyncio.create_task(app.serve(Connection(room, receive, send, rooms.limits), ""))
    while told != ["came"]:
        await asyncio.sleep(0.01)
    await app.close()
    assert told == ["came", "went"]
    await serving
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []
