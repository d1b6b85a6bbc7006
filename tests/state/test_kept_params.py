"""Query parameters that a state keeps in its session: what one process sets, another shows, and the browser is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sojourn import SafeSessionState, SessionManager, SessionState, StoreUnavailable
from sojourn.state import WidgetMetadata, script_run, widget_id
from sojourn.stores.memory import MemoryStore
from worlds import PATIENT


class Failing(MemoryStore):
    """A store that can be made to fail."""

    fails = False

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        if self.fails:
            raise StoreUnavailable("the store is away")
        return await super().commit(*args, **kwargs)


@pytest.fixture
def store() -> Failing:
    return Failing()


@pytest.fixture
def manager(store: Failing) -> Iterator[SessionManager]:
    with SessionManager(store) as manager:
        yield manager


class Page:
    """A page that is open: a state, and what its browser was told."""

    def __init__(self, manager: SessionManager, session_id: str, *, keep: bool = True) -> None:
        self.told: list[str] = []
        self.state = SessionState(session_id, manager, on_query_params=self.told.append, keep_query_params=keep)
        self.view = SafeSessionState(self.state)

    def says(self) -> dict[str, list[str]]:
        """The parameters as a script sees them."""
        with self.view.query_params() as params:
            return {key: params.get_all(key) for key in params}

    def load(self, query_string: str) -> bool:
        """The browser's address comes in."""
        with self.view.query_params() as params:
            return params.load(query_string)

    def set(self, **values: Any) -> None:
        """The script sets some."""
        with self.view.query_params() as params:
            params.update(values)


@pytest.fixture
def session_id(manager: SessionManager) -> str:
    return manager.create_session()


def kept(manager: SessionManager, session_id: str) -> Any:
    """What the session keeps."""
    found = manager.get_session(session_id)
    assert found is not None
    return found.get("$$params")


def outside(manager: SessionManager, session_id: str, **values: list[str]) -> None:
    """Somebody else sets parameters; an empty list clears one."""

    def change(params: Any) -> Any:
        return {name: texts for name, texts in {**(params or {}), **values}.items() if texts}

    manager.update(session_id, "$$params", change)


def test_they_are_kept_if_the_state_is_told_to(manager: SessionManager, session_id: str) -> None:
    """What the script sets, and what the browser's address says, is in the session, where the state is told to keep it;
    else it stays in the process."""
    page = Page(manager, session_id)
    assert kept(manager, session_id) == {}
    page.set(page="2", tag=["a", "b"])
    assert kept(manager, session_id) == {"page": ["2"], "tag": ["a", "b"]}
    page.load("?page=3&tag=a&tag=b")
    assert kept(manager, session_id) == {"page": ["3"], "tag": ["a", "b"]}
    with page.view.query_params() as params:
        params.clear()
    assert kept(manager, session_id) == {}
    other = manager.create_session()
    Page(manager, other, keep=False).set(page="2")
    assert kept(manager, other) is None


def test_a_state_without_a_session_keeps_none() -> None:
    """``keep_query_params`` changes nothing where nothing is stored."""
    told: list[str] = []
    state = SessionState(on_query_params=told.append, keep_query_params=True)
    state.query_params["a"] = "1"
    state.query_params.load("b=2")
    assert (told, state.query_params.to_dict()) == (["a=1"], {"b": "2"})


def test_what_is_set_outside_is_seen_and_told(manager: SessionManager, session_id: str) -> None:
    """What another process sets or clears is there at the next look, and the browser is told of it once."""
    page = Page(manager, session_id)
    page.set(a="1")
    outside(manager, session_id, b=["2", "3"], a=[])
    assert page.says() == {"b": ["2", "3"]}
    assert page.says() == {"b": ["2", "3"]}
    assert page.told == ["a=1", "b=2&b=3"]


def test_a_run_sees_one_address(manager: SessionManager, session_id: str) -> None:
    """What is set outside during a run is seen by the next."""
    page = Page(manager, session_id)
    with script_run() as run:
        page.view.on_script_will_rerun(None)
        outside(manager, session_id, a=["1"])
        assert page.says() == {}
        page.view.on_script_finished(run.widget_ids)
    with script_run():
        page.view.on_script_will_rerun(None)
        assert page.says() == {"a": ["1"]}
    assert page.told == ["a=1"]


def test_what_both_change_merges(manager: SessionManager, session_id: str) -> None:
    """The script sets one parameter and another process another, at the same time: both hold."""
    page, other = Page(manager, session_id), Page(manager, session_id)
    with script_run():
        page.view.on_script_will_rerun(None)
        other.view.on_script_will_rerun(None)
        page.set(a="1")
        other.set(b="2")
        assert kept(manager, session_id) == {"a": ["1"], "b": ["2"]}
    assert page.says() == other.says() == {"a": ["1"], "b": ["2"]}
    assert {*page.told[-1].split("&")} == {*other.told[-1].split("&")} == {"a=1", "b=2"}


def test_an_old_address_undoes_nothing(manager: SessionManager, session_id: str) -> None:
    """A browser that was not told yet sends its address with the next rerun: what was set outside meanwhile stays, what
    it has changed itself holds, and it is told of the whole."""
    page = Page(manager, session_id)
    page.load("a=1&c=3")
    outside(manager, session_id, b=["2"], a=["5"])
    page.load("a=1&c=4")
    assert page.says() == {"a": ["5"], "b": ["2"], "c": ["4"]}
    assert {*page.told[-1].split("&")} == {"a=5", "b=2", "c=4"}
    page.load(page.told[-1])
    page.load("b=2")
    assert page.says() == {"b": ["2"]}
    assert kept(manager, session_id) == {"b": ["2"]}


def test_a_page_that_comes_later_has_the_same_address(manager: SessionManager, session_id: str) -> None:
    """A state in another process begins with what is kept: a browser that comes with an empty address is told, and one
    that says more adds to it."""
    Page(manager, session_id).set(a="1")
    page = Page(manager, session_id)
    assert (page.says(), page.told) == ({"a": ["1"]}, [])
    page.load("")
    assert page.told == ["a=1"]
    page = Page(manager, session_id)
    page.load("?b=2&a=7")
    assert page.says() == {"a": ["7"], "b": ["2"]}


def test_what_is_the_browsers_stays_with_it(manager: SessionManager, session_id: str) -> None:
    """Reserved parameters are of one browser, and not of the session."""
    page, other = Page(manager, session_id), Page(manager, session_id)
    page.load("embed=true&a=1")
    assert kept(manager, session_id) == {"a": ["1"]}
    outside(manager, session_id, b=["2"])
    page.says()
    assert page.told == ["a=1&b=2&embed=true"]
    other.says()
    assert other.told == ["a=1&b=2"]


def test_what_is_not_kept_is_not_shown(store: Failing, manager: SessionManager, session_id: str) -> None:
    """Where the store fails, the caller is told, and the parameters are as they are stored."""
    page = Page(manager, session_id)
    page.set(a="1")
    store.fails = True
    with pytest.raises(StoreUnavailable):
        page.set(b="2")
    with pytest.raises(StoreUnavailable):
        page.load("c=3")
    store.fails = False
    assert page.says() == {"a": ["1"]}
    assert page.told == ["a=1"]


def test_what_is_too_long_stays_in_the_process(
    manager: SessionManager, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An address that is longer than is kept works as before, and a warning says so, once, without its content."""
    caplog.set_level(logging.WARNING)
    page = Page(manager, session_id)
    page.set(a="1")
    page.set(long="geheim" * 20_000)
    page.set(long="geheim" * 20_001)
    assert len(page.says()["long"][0]) == 120_006
    assert kept(manager, session_id) == {"a": ["1"]}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "geheim" not in caplog.text
    assert page.load("x=" * 600_000) is False
    assert page.says()["a"] == ["1"]


@pytest.mark.parametrize(
    "odd",
    [None, 7, [], "x", {"a": "text"}, {"a": [1], "b": ["x"]}, {1: ["x"]}],
    ids=["none", "number", "list", "text", "no list", "mixed", "no name"],
)
def test_what_is_kept_in_another_form_is_left_out(manager: SessionManager, session_id: str, odd: Any) -> None:
    """Whatever somebody has written there, the state works, and puts it right with its next change."""
    with manager.session(session_id) as session:
        session["$$params"] = odd
    page = Page(manager, session_id)
    good = {"b": ["x"]} if isinstance(odd, dict) and "b" in odd else {}
    assert page.says() == good
    page.set(c="1")
    assert kept(manager, session_id) == {**good, "c": ["1"]}


def test_they_are_no_keys_of_the_user(manager: SessionManager, session_id: str) -> None:
    """The field is not among what is the user's, and clearing that leaves it."""
    page = Page(manager, session_id)
    page.set(a="1")
    page.state.set("mine", 1)
    assert page.state.filtered_state == {"mine": 1}
    page.state.clear()
    assert kept(manager, session_id) == {"a": ["1"]}


def bound(key: str, callback: Any = None) -> WidgetMetadata[str]:
    """A text input that is bound to the address."""
    return WidgetMetadata(
        widget_id("x", key),
        lambda wire: "default" if wire is None else wire,
        lambda value: value,
        "string_value",
        bind="query-params",
        callback=callback,
    )


def run_of(page: Page, key: str, sent: Any = None) -> str:
    """A run of a script that makes one widget; what that is."""
    with script_run() as run:
        page.view.on_script_will_rerun(None if sent is None else {widget_id("x", key): sent})
        value = page.view.register_widget(bound(key), key).value
        page.view.on_script_finished(run.widget_ids)
    return value


def test_a_bound_widget_follows_what_is_set_outside(manager: SessionManager, session_id: str) -> None:
    """A parameter that is set outside is what its widget becomes, and one that is cleared gives it its default back,
    though the browser still sends what it showed; then the visitor's next change holds."""
    page = Page(manager, session_id)
    assert run_of(page, "q") == "default"
    assert run_of(page, "q", "typed") == "typed"
    assert kept(manager, session_id) == {"q": ["typed"]}
    outside(manager, session_id, q=["set"])
    assert run_of(page, "q", "typed") == "set"
    assert kept(manager, session_id) == {"q": ["set"]}
    assert page.told[-1] == "q=set"
    assert run_of(page, "q", "again") == "again"
    outside(manager, session_id, q=[])
    assert run_of(page, "q") == "default"
    assert run_of(page, "q") == "default"
    assert kept(manager, session_id) == {}


def test_what_comes_too_late_calls_nobody(manager: SessionManager, session_id: str) -> None:
    """Where the visitor changes a widget whose parameter was set outside meanwhile, what was set outside holds, and no
    callback is called for the other."""
    page, called = Page(manager, session_id), []

    def run_with(sent: Any) -> str:
        with script_run() as run:
            page.view.on_script_will_rerun(None if sent is None else {widget_id("x", "q"): sent})
            value = page.view.register_widget(bound("q", lambda: called.append("called")), "q").value
            page.view.on_script_finished(run.widget_ids)
        return value

    assert [run_with(None), run_with("first")] == ["default", "first"]
    outside(manager, session_id, q=["set"])
    assert run_with("late") == "set"
    assert len(called) == 1
    assert run_with("next") == "next"
    assert len(called) == 2


def test_two_processes_share_an_address(tmp_path: Path) -> None:
    """On a store of a file, two managers see what the other has set."""
    url = f"sqlite:///{tmp_path / 's'}"
    with SessionManager(url, config=PATIENT) as one, SessionManager(url, config=PATIENT) as two:
        session_id = one.create_session()
        first, second = Page(one, session_id), Page(two, session_id)
        first.set(a="1")
        assert second.says() == {"a": ["1"]}
        second.set(b="2")
        assert first.says() == {"a": ["1"], "b": ["2"]}
        assert (first.told, second.told) == (["a=1", "a=1&b=2"], ["a=1", "a=1&b=2"])
