"""A `SessionState` that is bound to a stored session: what it writes is there, what others write is seen."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from making import button, number, run_of, text

from sojourn import (
    ConfigurationError,
    SafeSessionState,
    SessionGone,
    SessionManager,
    SessionNotFound,
    SessionState,
    StoreUnavailable,
    UnsupportedValue,
)
from sojourn.state import RegisterWidgetResult, WidgetMetadata, widget_id
from sojourn.stores.memory import MemoryStore
from worlds import PATIENT

NAME = text("name").id


@pytest.fixture
def store() -> MemoryStore:
    """A store that counts its commits, and can be made to fail."""
    return CountingStore()


class CountingStore(MemoryStore):
    """A memory store that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = self.commits = 0
        self.fails = False

    async def load(self, handle: str) -> Any:
        self.loads += 1
        return await super().load(handle)

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        self.commits += 1
        if self.fails:
            raise StoreUnavailable("the store is away")
        return await super().commit(*args, **kwargs)


@pytest.fixture
def manager(store: CountingStore) -> SessionManager:
    """A manager over it."""
    return SessionManager(store, config=PATIENT)


def _stored(manager: SessionManager, state: SessionState) -> dict[str, Any]:
    found = manager.get_session(state.session_id or "")
    assert found is not None
    return found


# --- The pattern -----------------------------------------------------------------------------------------------------


def test_each_call_is_committed_when_it_returns(manager: SessionManager) -> None:
    """set, update, setdefault, delete and clear are in the store when they return, and get sees the store."""
    state = SessionState.create(manager)
    state.set("cart", [])
    assert _stored(manager, state) == {"cart": []}
    assert state.update("n", lambda n: (n or 0) + 1) == 1
    assert state.setdefault("m", 5) == 5
    assert state.setdefault("m", 6) == 5
    state["k"] = "v"
    assert _stored(manager, state) == {"cart": [], "n": 1, "m": 5, "k": "v"} == state.data
    state.delete("cart")
    state.delete("cart")
    del state["k"]
    assert state.pop("m") == 5
    assert _stored(manager, state) == {"n": 1} == state.data
    manager.update(state.session_id or "", "n", lambda n: n + 1)
    assert (state.get("n"), state["n"], "n" in state) == (2, 2, True)
    state.clear()
    assert _stored(manager, state) == {}


def test_get_session(manager: SessionManager) -> None:
    """A state is found by its id, and None where there is none; the constructor raises there."""
    state = SessionState.create(manager)
    state.set("cart", ["apple"])
    found = SessionState.get_session(state.session_id or "", manager)
    assert found is not None
    assert (found.data, SessionState(state.session_id, manager).data) == ({"cart": ["apple"]}, {"cart": ["apple"]})
    manager.end_session(state.session_id or "")
    for session_id in (state.session_id or "", "nonsense", ""):
        assert SessionState.get_session(session_id, manager) is None
        with pytest.raises(SessionNotFound):
            SessionState(session_id, manager)


def test_without_a_manager() -> None:
    """Without a manager, states of this process share a store in memory, subclasses theirs if they have one."""

    class Ours(SessionState):
        manager = SessionManager()

    state, ours = SessionState.create(), Ours.create()
    state.set("a", 1)
    found = SessionState.get_session(state.session_id or "")
    assert found is not None
    assert found.data == {"a": 1}
    assert isinstance(ours, Ours)
    assert SessionState.get_session(ours.session_id or "") is None
    assert Ours.get_session(ours.session_id or "") is not None


def test_a_stored_none_is_a_value(manager: SessionManager) -> None:
    """A key that holds None is there."""
    state = SessionState.create(manager)
    state.set("nothing", None)
    assert ("nothing" in state, state.get("nothing", 1), state.get("missing", 1)) == (True, None, 1)


def test_only_a_blocking_manager_will_do() -> None:
    """A manager for async callers is refused, with what to do."""
    from sojourn import AsyncSessionManager

    with pytest.raises(ConfigurationError, match="SessionManager"):
        SessionState("an id", AsyncSessionManager())  # type: ignore[arg-type]


def test_two_states_of_one_session_lose_nothing(manager: SessionManager) -> None:
    """Two states write by turns and at the same time: each sees the other's, and every update counts."""
    one = SessionState.create(manager)
    two = SessionState(one.session_id, manager)
    for at in range(10):
        one["n"] = one.get("n", 0) + 1
        two["n"] = two["n"] + 1
        one[f"one{at}"] = two[f"two{at}"] = at
    assert (one["n"], two["n"], one.data) == (20, 20, two.data)

    def add(state: SessionState) -> None:
        for _ in range(200):
            state.update("sum", lambda n: (n or 0) + 1)

    threads = [threading.Thread(target=add, args=(state,)) for state in (one, one, two, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one["sum"] == two["sum"] == 800


def test_what_changes_in_place_goes_out_with_the_next_commit(manager: SessionManager) -> None:
    """A list that is appended to is stored with the next write, with save, or at the end of the run; and merges with
    what others appended."""
    one = SessionState.create(manager)
    one["cart"] = []
    mine = one["cart"]
    mine.append("apple")
    one.save()
    two = SessionState(one.session_id, manager)
    two["cart"].append("pear")
    two.save()
    mine.append("plum")
    one["other"] = 1
    assert _stored(manager, one) == {"cart": ["apple", "pear", "plum"], "other": 1}
    assert one["cart"] == mine == ["apple", "pear", "plum"]
    with run_of(one):
        one["cart"].append("fig")
    assert two["cart"][-1] == "fig"


def test_of_two_who_find_none_neither_replaces_the_others(manager: SessionManager) -> None:
    """What two put into a list that both made with setdefault is all there."""
    one = SessionState.create(manager)
    two = SessionState(one.session_id, manager)
    with run_of(one), run_of(two):  # neither looks at the store again
        one.setdefault("found", []).append(1)
        two.setdefault("found", []).append(2)
    assert sorted(one["found"]) == sorted(two["found"]) == [1, 2]


# --- Round trips -----------------------------------------------------------------------------------------------------


def test_what_it_costs(store: CountingStore, manager: SessionManager) -> None:
    """A write is one commit; a run is one load, and one commit if its widgets changed, none if not."""
    state = SessionState.create(manager)
    for sent, commits in ((None, 1), (None, 0), ({NAME: "Ada"}, 1), ({NAME: "Ada"}, 0)):
        store.loads = store.commits = 0
        with run_of(state, sent) as script:
            script.make(text("name"))
            script.make(number("n"))
            script.make(button("go"))
            assert (state["name"], state.get("n"), "zz" in state) == ((sent or {}).get(NAME, ""), 0, False)
        assert (store.loads, store.commits) == (1, commits)
    store.loads = store.commits = 0
    state["k"] = 1
    assert (store.loads, store.commits) == (0, 1)


# --- Widgets ---------------------------------------------------------------------------------------------------------


def test_keyed_widgets_survive_a_restart(manager: SessionManager) -> None:
    """In another process, a widget with a key is what it was, and the browser is told; an event and a widget without a
    key are not kept."""
    state = SessionState.create(manager)
    state["mine"] = 1
    go, nameless = button("go"), text(None)
    with run_of(state, {NAME: "Ada", go.id: True, nameless.id: "x"}) as script:
        for metadata in (text("name"), go, nameless):
            script.make(metadata)
    other = SessionState(state.session_id, manager)
    assert other.data == {"mine": 1, "name": "Ada"}
    with run_of(other) as script:
        assert script.make(text("name", name="made otherwise")) == RegisterWidgetResult("Ada", True)
        assert script.show(go) is False
        assert script.show(nameless) == ""
    with run_of(other) as script:
        assert script.make(text("name", name="made otherwise")) == RegisterWidgetResult("Ada", False)


def test_what_the_browser_says_counts_after_a_restart(manager: SessionManager) -> None:
    """A browser that comes back to another process says what its widgets are, and is believed."""
    state = SessionState.create(manager)
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
    other = SessionState(state.session_id, manager)
    with run_of(other, {NAME: "Bob"}) as script:
        assert script.make(text("name")) == RegisterWidgetResult("Bob", False)
    assert state["name"] == "Bob"


def test_a_widget_that_is_gone_is_gone_from_the_store(manager: SessionManager) -> None:
    """When a widget is not made any more where it was, its value goes from the store, too, unless it persists; a user's
    key stays."""
    state = SessionState.create(manager)
    state["mine"] = 1
    kept = text("kept", name="2", persist_state="session", default="x")
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
        script.make(kept)
    other = SessionState(state.session_id, manager)
    with run_of(other) as script:
        script.make(text("name"))
        script.make(kept)
    with run_of(other):
        pass
    assert _stored(manager, other) == {"mine": 1, "kept": "x", "$$widgets": []}
    assert other.data == SessionState(state.session_id, manager).data == {"mine": 1, "kept": "x"}


def test_what_went_with_its_page_is_gone_from_the_store(manager: SessionManager) -> None:
    """A value that persists on its page is stored while the visitor is there, shown or not, and no longer when the page
    was left: no other process brings it back."""
    state = SessionState.create(manager)
    name = text("name", persist_state="page")
    with run_of(state, {name.id: "Ann"}, page="one") as script:
        script.make(name)
    with run_of(state, page="one"):
        pass
    assert _stored(manager, state)["name"] == "Ann"
    with run_of(state, page="two"):
        pass
    assert "name" not in state
    assert "name" not in _stored(manager, state)


def test_the_widgets_of_two_pages_that_are_open_at_once(manager: SessionManager) -> None:
    """Two processes that show different widgets of one session leave each other's alone."""
    one = SessionState.create(manager)
    two = SessionState(one.session_id, manager)
    for _ in range(3):
        with run_of(one, {NAME: "Ada"}) as script:
            script.make(text("name"))
        with run_of(two, {number("n").id: 5}) as script:
            script.make(number("n"))
    assert _stored(manager, one) == {"name": "Ada", "n": 5, "$$widgets": ["n", "name"]}
    with run_of(one):
        pass
    assert _stored(manager, one) == {"n": 5, "$$widgets": ["n"]}


def test_what_others_make_of_a_widget_is_shown(manager: SessionManager) -> None:
    """A value that another process gave to a widget is its value in the next run, and the browser is told; unless the
    visitor has changed the widget meanwhile."""
    state = SessionState.create(manager)
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
    manager.update(state.session_id or "", "name", lambda _: "Bob")
    with run_of(state, {NAME: "Ada"}) as script:
        assert script.make(text("name")) == RegisterWidgetResult("Bob", True)
    manager.update(state.session_id or "", "name", lambda _: "Eve")
    assert state["name"] == "Eve"  # seen between two runs
    with run_of(state, {NAME: "Bob"}) as script:
        assert script.make(text("name")) == RegisterWidgetResult("Eve", True)
    manager.update(state.session_id or "", "name", lambda _: "Joe")
    with run_of(state, {NAME: "typed"}) as script:
        assert script.make(text("name")) == RegisterWidgetResult("typed", False)
    assert manager.get_session(state.session_id or "") == {"name": "typed", "$$widgets": ["name"]}


def test_an_update_of_a_widgets_value(manager: SessionManager) -> None:
    """update begins with what the widget is, though that is not stored yet."""
    state = SessionState.create(manager)
    metadata = number("n")
    with run_of(state, {metadata.id: 5}) as script:
        script.make(metadata)
    with run_of(state, {metadata.id: 7}) as script:
        assert state.update("n", lambda n: n * 2) == 14
        assert script.make(metadata) == RegisterWidgetResult(14, True)
    assert _stored(manager, state)["n"] == 14


def test_a_widget_whose_value_cannot_be_stored(manager: SessionManager, caplog: pytest.LogCaptureFixture) -> None:
    """Such a value stays in the process, which is said once; all else is stored."""
    state = SessionState.create(manager)
    upload = WidgetMetadata(widget_id("f", "file"), lambda _: frozenset({object}), lambda _: None, "bytes_value")
    with caplog.at_level(logging.WARNING, "sojourn"):
        for _ in range(3):
            with run_of(state, {NAME: "Ada"}) as script:
                script.make(upload)
                script.make(text("name"))
    assert len(caplog.records) == 1
    assert "file" in caplog.text
    assert _stored(manager, state) == {"name": "Ada", "$$widgets": ["name"]}


# --- When it goes wrong ----------------------------------------------------------------------------------------------


def test_a_widget_whose_value_can_no_longer_be_stored(manager: SessionManager) -> None:
    """When a widget's value becomes one that no store can hold, what was stored of it goes: it would be of before. When
    it can be stored again, it is."""
    state = SessionState.create(manager)
    upload: WidgetMetadata[Any] = WidgetMetadata(
        widget_id("upload", "file"),
        lambda sent: object() if sent == "a file" else sent,
        str,
        "string_value",
        persist_state="session",
    )
    for sent, stored in (("text", {"file": "text"}), ("a file", {}), ("again", {"file": "again"})):
        with run_of(state, {upload.id: sent}) as script:
            script.make(upload)
        fields = _stored(manager, state)
        assert fields.pop("$$widgets") == list(stored)
        assert fields == stored
    with run_of(state, {upload.id: "a file"}):
        pass  # it is not shown, and its value persists
    assert "file" in state
    assert "file" not in _stored(manager, state)


def test_a_value_that_cannot_be_stored_is_refused(manager: SessionManager) -> None:
    """Such a value raises, with its path, and the state shows what is stored, which is as before."""
    state = SessionState.create(manager)
    state["cart"] = {"items": []}
    with pytest.raises(UnsupportedValue, match="cart"):
        state["cart"] = {"items": [threading.Lock()]}
    with pytest.raises(UnsupportedValue):
        state.update("cart", lambda _: object())
    assert state["cart"] == {"items": []}
    state["cart"]["items"].append(object())
    with pytest.raises(UnsupportedValue, match="items"):
        state["other"] = 1
    assert state.data == _stored(manager, state) == {"cart": {"items": []}}
    state["other"] = 2
    assert state.data == _stored(manager, state) == {"cart": {"items": []}, "other": 2}


def test_a_store_that_is_away(store: CountingStore, manager: SessionManager) -> None:
    """A write that could not be made raises, and is not made later; the state shows what is stored."""
    state = SafeSessionState(SessionState.create(manager), lambda: None)
    state["a"] = 1
    state["list"] = []
    store.fails = True
    with pytest.raises(StoreUnavailable):
        state["a"] = 2
    with pytest.raises(StoreUnavailable):
        state.update("a", lambda _: 3)
    with pytest.raises(StoreUnavailable):
        del state["a"]
    store.fails = False
    assert state.filtered_state == {"a": 1, "list": []}
    state["b"] = 1
    assert state.filtered_state == {"a": 1, "b": 1, "list": []}


@pytest.mark.parametrize("how", ["ended", "changed hands", "expired"])
def test_a_session_that_is_over(how: str) -> None:
    """Once its session has ended, or is another user's, whatever is done with a state raises, and writes nothing."""
    now = [1000.0]
    manager = SessionManager(clock=lambda: now[0])
    state = SessionState.create(manager)
    state["a"] = 1
    session_id = state.session_id or ""
    if how == "ended":
        manager.end_session(session_id)
    elif how == "expired":
        now[0] += 10_000
    else:
        session_id = manager.login(session_id, "somebody")
    for use in (
        lambda: state["a"],
        lambda: state.get("a"),
        lambda: "a" in state,
        lambda: state.data,
        lambda: state.set("a", 2),
        lambda: state.update("a", lambda _: 3),
        lambda: state.delete("a"),
        lambda: state.on_script_will_rerun({}),
    ):
        with pytest.raises(SessionGone):
            use()
    assert manager.get_session(session_id) == ({"a": 1} if how == "changed hands" else None)


def test_use_is_activity() -> None:
    """A session that is used through its state does not run out."""
    now = [1000.0]
    manager = SessionManager(clock=lambda: now[0], expiration_time=600)
    state = SessionState.create(manager)
    for _ in range(10):
        now[0] += 500
        state.get("a")
    assert manager.is_session_active(state.session_id or "")
    now[0] += 700
    assert not manager.is_session_active(state.session_id or "")
