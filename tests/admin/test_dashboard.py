"""The dashboard as a whole: on a real server, over a real store, which another manager writes as another process would.
What a browser draws of it is in `test_dashboard_in_browsers`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashing import PASSWORD, shown
from gated import Operator
from visiting import Site, Tab, served

from sojourn import AsyncSessionManager, ConfigurationError, Handle, SessionManager, StoreUnavailable
from sojourn.admin import Dashboard, Entry
from sojourn.admin.views import one
from sojourn.live import App
from sojourn.stores.sqlite import SQLiteStore


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[SessionManager]:
    with SessionManager(f"sqlite:///{tmp_path}/sessions.db?deadline=10") as manager:
        yield manager


@pytest.fixture
def url(sessions: SessionManager, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sessions.db?deadline=10"


@pytest.fixture
def audit() -> list[Entry]:
    return []


@pytest.fixture
def site(url: str, audit: list[Entry]) -> Iterator[Site]:
    with shown(url, audit=audit.append) as site:
        yield site


@pytest.fixture
def tab(site: Site) -> Tab:
    return entered(site)


def entered(site: Site) -> Tab:
    """An operator's tab."""
    ada = Operator(site.port)
    assert ada.sign_in(PASSWORD).status_code == 303
    return ada.tab()


def rows(tab: Tab, key: str) -> list[list[Any]]:
    """What a table shows."""
    found: list[list[Any]] = tab.shows(f"g:{key}")["data"]["rows"]
    return found


def column(tab: Tab, key: str, name: str) -> list[Any]:
    """One column of it."""
    names = [one["name"] for one in tab.shows(f"g:{key}")["data"]["columns"]]
    return [row[names.index(name)] for row in rows(tab, key)]


def labels(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """A tree, by its labels: values, or trees."""
    return {node["label"]: labels(node["children"]) if node.get("children") else node.get("value") for node in nodes}


def fields(tab: Tab) -> dict[str, Any]:
    """The fields of the session that is open."""
    return labels(tab.shows("g:one-fields")["nodes"]["nodes"])


def find(tab: Tab, **values: Any) -> None:
    """Search, and wait until all was looked at: a page that takes a moment is shown before."""
    whole = {"user": "", "handle": "", "label": "", "age": "any", "idle": "any", **values}
    tab.do("g:find", "submit", {f"g:find-{name}": value for name, value in whole.items()})
    tab.until(lambda model: model.find("g:find-progress") is None)


def open_one(tab: Tab, session_id: str, *, reveal: bool = True) -> str:
    """Open a session by its handle, which is returned."""
    handle = session_id.partition(".")[0]
    tab.do("g:nav", "select", "one")
    tab.do("g:goto", "submit", {"g:goto-handle": handle})
    if reveal:
        tab.click("g:one-reveal")
    return handle


def select(tab: Tab, *names: str) -> None:
    """Select what is there under these names, one in the other."""
    nodes = tab.shows("g:one-fields")["nodes"]["nodes"]
    node: dict[str, Any] = {}
    for name in names:
        node = next(one for one in nodes if one["label"] == name)
        nodes = node.get("children", [])
    tab.do("g:one-fields", "select", node["id"])


def save(tab: Tab, kind: str, value: str) -> None:
    tab.do("g:one-edit", "submit", {"g:one-kind": kind, "g:one-value": value})


# --- Coming in --------------------------------------------------------------------------------------------------------


def test_nobody_gets_in_by_default(url: str) -> None:
    """A dashboard has a password or a check, and not both."""
    for wrong in ({}, {"password": PASSWORD, "check": lambda request: "ada"}):
        with pytest.raises(ConfigurationError, match="nobody gets in by default"):
            Dashboard(url, **wrong)


def test_a_check_of_the_application_lets_in_whom_it_names(url: str, audit: list[Entry]) -> None:
    """With ``check`` there is no sign-in of the dashboard's own, and the audit has the name that it returned."""
    with shown(url, check=lambda request: request.headers.get("x-who"), audit=audit.append) as site:
        assert Operator(site.port).request("GET").status_code == 403
        tab = Operator(site.port, headers={"X-Who": "grace"}).tab()
        tab.do("g:nav", "select", "sessions")
        assert {one.operator for one in audit if one.what == "sessions"} == {"grace"}


# --- The overview -----------------------------------------------------------------------------------------------------


def test_the_overview_follows_the_store(sessions: SessionManager, tab: Tab) -> None:
    """Sessions that another manager creates and ends show in the charts within seconds, and so do users and sizes."""
    ids = [sessions.create_session(f"user{number % 3}", {"notes": "x" * number}) for number in range(20)]
    for session_id in ids[:5]:
        sessions.end_session(session_id)
    tab.until(lambda model: series(model.props("g:born"), "new") == 20)
    tab.until(lambda model: series(model.props("g:gone"), "ended") == 5)
    tab.until(lambda model: model.props("g:users")["value"] == "3")
    tab.until(lambda model: column(tab, "largest", "Session")[:1] == [ids[-1].partition(".")[0]])


def series(props: dict[str, Any], name: str) -> float:
    """The sum of a chart's series."""
    return sum(sum(one["values"]) for one in props["data"]["series"] if one["name"] == name)


# --- The list ---------------------------------------------------------------------------------------------------------


def test_sessions_are_found(sessions: SessionManager, tab: Tab) -> None:
    """By user, by the beginning of a handle, by a part of the label; and what is found can be opened."""
    for number in range(8):
        sessions.create_session("ada" if number < 3 else "bob", {"n": number}, label=f"Laptop {number}")
    tab.do("g:nav", "select", "sessions")
    assert len(rows(tab, "found")) == 8
    find(tab, user="ada")
    assert column(tab, "found", "User") == ["ada"] * 3
    find(tab, label="TOP 7")
    (handle,) = tab.shows("g:found")["keys"]
    find(tab, handle=handle[:6])
    assert tab.shows("g:found")["keys"] == [handle]
    find(tab, user="nobody")
    assert rows(tab, "found") == []
    find(tab, handle=handle)
    tab.do("g:found", "select", handle)
    assert tab.shows("g:one-name")["text"] == f"Session {handle}"


def test_pages_are_turned(sessions: SessionManager, tab: Tab) -> None:
    """Next and previous, until all were seen, each once."""
    handles = {sessions.create_session().partition(".")[0] for _ in range(120)}
    tab.do("g:nav", "select", "sessions")
    first, seen = tab.shows("g:found")["keys"], []
    while True:
        seen += tab.shows("g:found")["keys"]
        if tab.shows("g:find-after")["disabled"]:
            break
        tab.click("g:find-after")
    assert len(seen) == 120
    assert set(seen) == handles
    tab.click("g:find-before")
    tab.click("g:find-before")
    assert tab.shows("g:found")["keys"] == first


def test_sessions_are_sorted(sessions: SessionManager, tab: Tab) -> None:
    """By a click on a column, and the other way round by another."""
    sizes = [50, 4000, 700]
    ids = [sessions.create_session(data={"x": "x" * size}).partition(".")[0] for size in sizes]
    tab.do("g:nav", "select", "sessions")
    tab.do("g:found", "sort", "Size")
    tab.until(lambda model: model.props("g:found")["keys"] == [ids[0], ids[2], ids[1]])
    tab.do("g:found", "sort", "Size")
    tab.until(lambda model: model.props("g:found")["keys"] == [ids[1], ids[2], ids[0]])


def test_why_a_user_was_logged_out(sessions: SessionManager, tab: Tab) -> None:
    """A search by user also shows which of the user's sessions ended lately, and why."""
    gone = sessions.create_session("ada")
    sessions.end_user_sessions("ada")
    tab.do("g:nav", "select", "sessions")
    find(tab, user="ada")
    assert column(tab, "left", "Handle") == [gone.partition(".")[0]]
    assert "from outside" in column(tab, "left", "Why")[0]


# --- One session ------------------------------------------------------------------------------------------------------


def test_values_are_hidden_until_asked_for(sessions: SessionManager, tab: Tab, audit: list[Entry]) -> None:
    """And those under names of secrets then, too. Who asked is in the audit."""
    session_id = sessions.create_session(
        "ada", {"theme": "dark", "password": "hunter2", "deep": {"api_token": "t0k3n"}}
    )
    open_one(tab, session_id, reveal=False)
    assert fields(tab) == {"theme": None, "password": None, "deep": {"api_token": None}}
    tab.click("g:one-reveal")
    assert fields(tab) == {"theme": "dark", "password": None, "deep": {"api_token": None}}
    assert not any(secret in str(tab.frames) for secret in ("hunter2", "t0k3n"))
    assert "values" in {one.what for one in audit}


def test_an_edit_merges(sessions: SessionManager, tab: Tab) -> None:
    """What an operator changes in a field, and what a request changes beside it meanwhile, are both there."""
    session_id = sessions.create_session("ada", {"cart": {"items": 1, "coupon": "none"}})
    open_one(tab, session_id)
    select(tab, "cart", "coupon")
    with sessions.session(session_id) as session:
        session["cart"]["items"] = 7
        session["seen"] = True
    save(tab, "text", "SPRING")
    assert sessions.get_session(session_id) == {"cart": {"items": 7, "coupon": "SPRING"}, "seen": True}
    tab.until(lambda model: fields(tab) == {"cart": {"items": "7", "coupon": "SPRING"}, "seen": "true"})


def test_fields_are_added_and_deleted(sessions: SessionManager, tab: Tab) -> None:
    """By their names, with values of the type that was chosen."""
    session_id = sessions.create_session("ada", {"old": 1})
    open_one(tab, session_id)
    tab.do("g:one-add", "submit", {"g:one-new-name": "new", "g:one-new-kind": "whole number", "g:one-new-value": "42"})
    select(tab, "old")
    tab.click("g:one-delete")
    assert sessions.get_session(session_id) == {"new": 42}


def test_an_edit_of_what_was_changed_meanwhile_is_refused(sessions: SessionManager, tab: Tab) -> None:
    """The operator saw another value: nothing is written, and the page says so."""
    session_id = sessions.create_session("ada", {"limit": 1})
    open_one(tab, session_id)
    select(tab, "limit")
    sessions.update(session_id, "limit", lambda _: 5)
    save(tab, "whole number", "2")
    assert sessions.get_session(session_id) == {"limit": 5}
    assert "another value by now" in tab.shows("g:one-problem")["text"]


def test_what_is_done_to_a_session(sessions: SessionManager, tab: Tab, audit: list[Entry]) -> None:
    """Label, time, rotation, end, end of all the user's: done, and each a line of the audit."""
    session_id = sessions.create_session("ada", {"n": 1})
    handle = open_one(tab, session_id, reveal=False)
    tab.do("g:one-naming", "submit", {"g:one-label": "Found laptop"})
    tab.do("g:one-longer", "submit", {"g:one-idle": "a day", "g:one-absolute": "a week"})
    (row,) = sessions.list_sessions("ada")
    assert row.label == "Found laptop"
    assert row.expires_at - time.time() == pytest.approx(86400, abs=200)
    tab.click("g:one-rotate")
    assert not sessions.is_session_active(session_id)
    assert sessions.get_session(Handle(handle)) == {"n": 1}
    tab.click("g:one-end")
    assert sessions.get_session(Handle(handle)) is None
    assert "no such session any more" in tab.shows("g:one-over")["text"]
    other, _ = sessions.create_session("ada"), sessions.create_session("ada")
    open_one(tab, other, reveal=False)
    tab.click("g:one-end-user")
    assert sessions.list_sessions("ada") == []
    done = [(one.what, one.outcome) for one in audit if (one.kind == "act" and one.handle) or "user" in one.what]
    assert done == [("label", "done"), ("extend", "done"), ("rotate", "done"), ("end", "done"), ("end user", "done: 2")]


def test_an_open_session_is_followed(sessions: SessionManager, tab: Tab) -> None:
    """What another process changes shows by itself, and so does the end, with its reason."""
    session_id = sessions.create_session("ada", {"n": 1})
    open_one(tab, session_id)
    sessions.update(session_id, "n", lambda n: n + 1)
    tab.until(lambda model: fields(tab) == {"n": "2"})
    sessions.end_user_sessions("ada")
    tab.until(lambda model: "from outside" in str(rows(tab, "one-life")))


def test_following_begins_while_the_session_is_still_being_shown(
    sessions: SessionManager, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes to show a session, and however quickly it is followed: what changes shows by itself."""
    look = one.look

    async def look_slowly(desk: Any, session: Any, **how: Any) -> None:
        if not how.get("quietly"):
            await asyncio.sleep(0.5)
        await look(desk, session, **how)

    monkeypatch.setattr(one, "look", look_slowly)
    session_id = sessions.create_session("ada", {"n": 1})
    open_one(tab, session_id)
    sessions.update(session_id, "n", lambda n: n + 1)
    tab.until(lambda model: fields(tab) == {"n": "2"})


@pytest.mark.parametrize("where", [SQLiteStore, App])
def test_what_could_not_be_shown_is_shown_a_little_later(
    sessions: SessionManager, tab: Tab, monkeypatch: pytest.MonkeyPatch, where: type
) -> None:
    """A store that does not answer when a change is to be shown, of the sessions or of the operators, leaves the page
    behind for a moment, though nothing else changes."""
    session_id = sessions.create_session("ada", {"n": 1})
    open_one(tab, session_id)
    time.sleep(0.3)  # it is followed by now
    failing, name = ["now"], "load" if where is SQLiteStore else "in_session"
    real = getattr(where, name)

    async def fails_once(self: Any, handle: str, *rest: Any) -> Any:
        if failing and getattr(self, "world", "async") == "async" and (where is App or handle in session_id):
            raise StoreUnavailable(failing.pop())
        return await real(self, handle, *rest)

    monkeypatch.setattr(where, name, fails_once)
    sessions.update(session_id, "n", lambda n: n + 1)
    tab.until(lambda model: fields(tab) == {"n": "2"})
    assert not failing


def test_read_only_dashboards_change_nothing(url: str, sessions: SessionManager) -> None:
    """There is nothing to click, and who sends clicks all the same is refused."""
    session_id = sessions.create_session("ada", {"n": 1})
    with shown(url, read_only=True) as site:
        tab = entered(site)
        open_one(tab, session_id)
        assert fields(tab) == {"n": "1"}
        for key in ("one-end", "one-rotate", "one-delete", "one-end-user", "one-param-clear"):
            assert tab.refused(f"g:{key}", "click") == "unknown_widget"
        assert tab.refused("g:one-edit", "submit", {"g:one-kind": "text", "g:one-value": "x"}) == "unknown_widget"
    assert sessions.get_session(session_id) == {"n": 1}


# --- While nobody looks -----------------------------------------------------------------------------------------------


@pytest.mark.battery
def test_nothing_is_asked_of_the_store_while_nobody_looks(url: str, sessions: SessionManager) -> None:
    """With the last page the work stops: no probe, no feed, no walk."""
    dashboard = Dashboard(url, password=PASSWORD)
    asked: list[str] = []
    _spy(dashboard.engine.store, asked)
    with served(dashboard) as site:
        time.sleep(0.5)
        assert asked == []
        tab = entered(site)
        tab.until(lambda model: asked)
        tab.break_off()
        give_up = time.monotonic() + 20
        while asked and time.monotonic() < give_up:
            del asked[:]
            time.sleep(2.5)
        assert asked == []


def _spy(store: Any, asked: list[str]) -> None:
    for name in ("load", "walk", "position", "stats", "changes", "by_activity", "summaries", "feed", "load_many"):
        whole = getattr(store, name)

        def spied(*arguments: Any, _whole: Any = whole, _name: str = name, **named: Any) -> Any:
            asked.append(_name)
            return _whole(*arguments, **named)

        setattr(store, name, spied)


# --- Operators --------------------------------------------------------------------------------------------------------


def test_what_shows_by_itself_is_no_activity(url: str, sessions: SessionManager) -> None:
    """An operator whose open page follows a busy session is signed out in time all the same."""
    session_id = sessions.create_session("ada", {"n": 0})
    clock = Ahead()
    dashboard = Dashboard(AsyncSessionManager(url, clock=clock), password=PASSWORD)
    with served(dashboard) as site:
        tab = entered(site)
        open_one(tab, session_id)
        (before,) = site.do(dashboard.operators.list_sessions("operator"))
        clock.by = 600.0
        sessions.update(session_id, "n", lambda n: n + 1)
        tab.until(lambda model: fields(tab) == {"n": "1"})
        (after,) = site.do(dashboard.operators.list_sessions("operator"))
        assert after.last_accessed_at == before.last_accessed_at
        tab.do("g:nav", "select", "sessions")
        (active,) = site.do(dashboard.operators.list_sessions("operator"))
        assert active.last_accessed_at > before.last_accessed_at + 500
        site.do(dashboard.engine.close())


class Ahead:
    """A clock that can be set forward."""

    by = 0.0

    def __call__(self) -> float:
        return time.time() + self.by


def test_sockets_are_counted_where_processes_say_so(url: str, sessions: SessionManager) -> None:
    """An open session shows how many sockets and pages it has; and that nobody knows, where no process reports."""
    session_id = sessions.create_session("ada")
    with shown(url) as site:
        tab = entered(site)
        open_one(tab, session_id, reveal=False)
        assert "not known" in str(rows(tab, "one-facts"))
    with shown(sessions) as site:
        tab = entered(site)
        open_one(tab, session_id, reveal=False)
        tab.until(lambda model: ["Open sockets", "0, in the processes that are known"] in rows(tab, "one-facts"))
        with sessions.watch(session_id) as watch:
            watch.next(0)
            tab.until(lambda model: ["Open sockets", "1, in the processes that are known"] in rows(tab, "one-facts"))


def test_fields_of_sojourns_own_are_not_in_the_tree(sessions: SessionManager, tab: Tab) -> None:
    """The page of a live app, tickets and the like are counted, and not shown among the application's fields."""
    session_id = sessions.create_session("ada", {"n": 1, "_live:begun": True})
    open_one(tab, session_id)
    assert fields(tab) == {"n": "1"}
    assert "1 that are" in tab.shows("g:one-own")["text"]


def test_a_search_that_goes_on_is_one_look(
    url: str, sessions: SessionManager, audit: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sort that needs all sessions fills the page by itself, with the progress shown, and the audit has one line."""
    for number in range(2500):
        sessions.create_session(data={"n": number})
    monkeypatch.setattr("sojourn.admin.finding._PATIENCE", 0.0)
    with shown(url, audit=audit.append) as site:
        tab = entered(site)
        tab.do("g:nav", "select", "sessions")
        before = len(audit)
        tab.do("g:found", "sort", "Size")
        assert "no index for this" in tab.shows("g:find-told")["text"]
        tab.until(lambda model: model.find("g:find-progress") is None)
        assert len(tab.shows("g:found")["keys"]) == 50
        assert [one.what for one in audit[before:]] == ["sessions"]
