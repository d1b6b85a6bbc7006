"""`SafeSessionState`: where it yields, where it locks, and what it does over each kind of state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from making import number, run_of, text

from servers.process import until
from sojourn import NoWidgets, SafeSessionState, SessionManager, SessionState, UnsupportedValue, WidgetInstantiated
from sojourn.state import RegisterWidgetResult

Operation = Callable[[SafeSessionState], object]


def _params(state: SafeSessionState) -> None:
    with state.query_params() as params:
        params.get("page", 1)


def _misses(look: Callable[[], object]) -> None:
    with pytest.raises((KeyError, AttributeError)):
        look()


YIELDS: dict[str, Operation] = {
    "s[k]": lambda s: s["k"],
    "s[missing]": lambda s: _misses(lambda: s["missing"]),
    "s[k] =": lambda s: s.__setitem__("k", 2),
    "del s[k]": lambda s: s.__delitem__("k"),
    "k in s": lambda s: "k" in s,
    "s.k": lambda s: s.k,
    "s.missing": lambda s: _misses(lambda: s.missing),
    "s.k =": lambda s: setattr(s, "k", 2),
    "del s.k": lambda s: delattr(s, "k"),
    "get": lambda s: s.get("k"),
    "get missing": lambda s: s.get("missing"),
    "update": lambda s: s.update("k", lambda n: n + 1),
    "query_params": _params,
}
YIELDS_FOR_WIDGETS: dict[str, Operation] = {
    "register_widget": lambda s: s.register_widget(text("name"), "name"),
    "on_script_will_rerun": lambda s: s.on_script_will_rerun({}),
    "reset_state_value": lambda s: s.reset_state_value("k", 3),
}
SILENT: dict[str, Operation] = {
    "filtered_state": lambda s: s.filtered_state,
    "maybe_check_serializable": lambda s: s.maybe_check_serializable(),
    "repr": repr,
    "iter": list,
    "len": len,
}
SILENT_FOR_WIDGETS: dict[str, Operation] = {
    "on_script_finished": lambda s: s.on_script_finished(set()),
    "get_widget_states": lambda s: s.get_widget_states(),
    "is_new_state_value": lambda s: s.is_new_state_value("k"),
}
DISCONNECT: dict[str, Operation] = {"disconnect": lambda s: s.disconnect()}
ALL = YIELDS | YIELDS_FOR_WIDGETS | SILENT | SILENT_FOR_WIDGETS
WITH_WIDGETS = YIELDS_FOR_WIDGETS | SILENT_FOR_WIDGETS
COUNTED = [
    *((name, operation, 1) for name, operation in (YIELDS | YIELDS_FOR_WIDGETS).items()),
    *((name, operation, 0) for name, operation in (SILENT | SILENT_FOR_WIDGETS | DISCONNECT).items()),
]


def _kinds() -> dict[str, Any]:
    return {"plain": SessionState, "bound": SessionState.create, "mapping": dict}


@pytest.fixture(params=_kinds())
def behind(request: pytest.FixtureRequest) -> Any:
    """What is behind a view: a state, one that is bound to a stored session, a plain mapping."""
    return _kinds()[request.param]()


class Turnstile:
    """A yield callback that counts, and tells whether the lock could be taken meanwhile by somebody else."""

    def __init__(self) -> None:
        self.calls = 0
        self.held = 0
        self.view: SafeSessionState | None = None
        self.stop: Exception | None = None

    def __call__(self) -> None:
        if self.view is None:
            return
        self.calls += 1
        if not _could_be_taken(self.view._lock):
            self.held += 1
        if self.stop is not None:
            raise self.stop


def _could_be_taken(lock: Any) -> bool:
    taken = []

    def take() -> None:
        taken.append(lock.acquire(timeout=0.05))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]


def _view(behind: Any) -> tuple[SafeSessionState, Turnstile]:
    turnstile = Turnstile()
    view = SafeSessionState(behind, turnstile)
    view["k"] = 1
    turnstile.view = view
    return view, turnstile


# --- The table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "operation", "calls"), COUNTED, ids=[row[0] for row in COUNTED])
def test_each_operation_yields_once_or_not_at_all(name: str, operation: Operation, calls: int, behind: Any) -> None:
    """The yield callback is called once by what yields, never while the lock is held, and not at all by the rest."""
    view, turnstile = _view(behind)
    if isinstance(behind, dict) and name in WITH_WIDGETS:
        with pytest.raises(NoWidgets):
            operation(view)
    else:
        operation(view)
    assert (turnstile.calls, turnstile.held) == (calls, 0)


@pytest.mark.parametrize("kind", [SessionState, dict])
@pytest.mark.parametrize("name", [*ALL, "disconnect"])
def test_each_operation_takes_the_lock(name: str, kind: Callable[[], Any]) -> None:
    """Nothing is done while another thread holds the lock, and what yields has yielded by then."""
    view, turnstile = _view(kind())
    operation, done = (ALL | DISCONNECT)[name], threading.Event()
    turnstile.view = None
    calls = []
    object.__setattr__(view, "_yield_callback", lambda: calls.append(1))

    def work() -> None:
        try:
            operation(view)
        except NoWidgets:
            assert kind is dict
        done.set()

    with view._lock:
        thread = threading.Thread(target=work)
        thread.start()
        yields = int(name in YIELDS | YIELDS_FOR_WIDGETS)
        until(lambda: len(calls) == yields, "its turn to yield", 10)
        assert not done.wait(0.05)
        assert len(calls) == yields
    thread.join()
    assert done.is_set()


class Stopped(Exception):
    """What a runner raises to stop its script."""


@pytest.mark.parametrize("name", YIELDS | YIELDS_FOR_WIDGETS)
def test_nothing_changes_where_the_callback_raises(name: str) -> None:
    """If the yield callback raises, that comes through, and the state is as before."""
    state = SessionState()
    view, turnstile = _view(state)
    state.register_widget(text("name", default="Ada"), "name")
    state.on_script_finished(())
    before = (state.filtered_state, len(state), state.is_new_state_value("k"), state.get_widget_states())
    turnstile.stop = Stopped()
    with pytest.raises(Stopped):
        (YIELDS | YIELDS_FOR_WIDGETS)[name](view)
    assert (state.filtered_state, len(state), state.is_new_state_value("k"), state.get_widget_states()) == before


def test_the_lock_is_reentrant(behind: Any) -> None:
    """In the block of the query parameters, and in the function of an update, the state can be used."""
    view = SafeSessionState(behind, lambda: None)
    with view.query_params() as params:
        params["page"] = "2"
        view["page"] = params["page"]
        with view.query_params() as again:
            assert again.get("page") == "2"
    assert view.update("sum", lambda _: view["page"] + "!") == "2!"


def test_the_query_parameters_hold_the_lock() -> None:
    """Nobody else is in the state while the block of its query parameters runs."""
    view = SafeSessionState(SessionState(), lambda: None)
    with view.query_params():
        assert not _could_be_taken(view._lock)
    assert _could_be_taken(view._lock)


def test_callbacks_run_without_the_lock() -> None:
    """While a widget's callback runs, another thread reads."""
    state = SessionState()
    view = SafeSessionState(state, lambda: None)
    taken = []
    metadata = text("name", callback=lambda: taken.append(_could_be_taken(view._lock)))
    with run_of(view) as script:
        script.make(metadata)
    with run_of(view, {metadata.id: "Ada"}) as script:
        script.make(metadata)
    assert taken == [True]


@pytest.mark.parametrize("behind", [SessionState, dict])
def test_views_of_one_state_share_its_lock(behind: Any) -> None:
    """Two views of one state, or of one mapping, are in it one after the other."""
    same = behind()
    one, two = SafeSessionState(same), SafeSessionState(same)
    with one.query_params():
        assert not _could_be_taken(two._lock)
    assert _could_be_taken(SafeSessionState(behind())._lock)


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_items_and_attributes(behind: Any) -> None:
    """What is set as an item is there as an attribute, and the other way round; so is what is deleted."""
    state = SafeSessionState(behind, lambda: None)
    state["a"] = 1
    state.b = [2]
    assert (state.a, state["b"], "a" in state, state.get("c", 3)) == (1, [2], True, 3)
    del state.a
    del state["b"]
    assert ("a" in state, "b" in state, list(state), len(state)) == (False, False, [], 0)


def test_what_is_missing_is_named(behind: Any) -> None:
    """A missing item is a KeyError, and a missing attribute an AttributeError, that name the key."""
    state = SafeSessionState(behind, lambda: None)
    for error, miss in (
        (KeyError, lambda: state["nobody"]),
        (KeyError, lambda: state.__delitem__("nobody")),
        (AttributeError, lambda: state.nobody),
        (AttributeError, lambda: delattr(state, "nobody")),
    ):
        with pytest.raises(error, match="nobody"):
            miss()


def test_python_asks_the_view_and_not_the_state() -> None:
    """Questions that Python asks by names of its own do not yield, and find nothing."""
    view, turnstile = _view(SessionState())
    assert not hasattr(view, "__array__")
    assert turnstile.calls == 0


def test_users_values_are_themselves(behind: Any) -> None:
    """A user's list is handed out as the one that was put in."""
    state = SafeSessionState(behind, lambda: None)
    mine = [1]
    state["mine"] = mine
    assert state["mine"] is mine


def test_update_is_exact(behind: Any) -> None:
    """4 threads that each add one 500 times make 2000."""
    state = SafeSessionState(behind, lambda: None)
    state["count"] = 0

    def one_more(count: int) -> int:
        time.sleep(0)  # the moment at which another thread would come in
        return count + 1

    def add() -> None:
        for _ in range(500):
            state.update("count", one_more)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state["count"] == 2000


def test_an_update_that_fails_changes_nothing(behind: Any) -> None:
    """What the function raises comes through, and the value stays."""
    state = SafeSessionState(behind, lambda: None)
    state["count"] = 1
    with pytest.raises(ZeroDivisionError):
        state.update("count", lambda count: count / 0)
    assert state["count"] == 1
    assert state.update("new", lambda before: before) is None


def test_repr_shows_what_is_the_users(behind: Any) -> None:
    """repr is that of the user's dict."""
    state = SafeSessionState(behind, lambda: None)
    state["a"] = 1
    assert repr(state) == "{'a': 1}"


# --- Widgets, and none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_a_mapping_has_no_widgets(name: str) -> None:
    """Over a plain mapping, what is about widgets raises, and says what to do; the mapping stays as it is."""
    mapping = {"k": 1}
    with pytest.raises(NoWidgets, match="SessionState"):
        WITH_WIDGETS[name](SafeSessionState(mapping, lambda: None))
    assert mapping == {"k": 1}


def test_a_widgets_key_is_not_set_behind_its_back() -> None:
    """In a run, a key is not set after its widget was made; before it, in a callback and by other threads it is."""
    state = SafeSessionState(SessionState(), lambda: None)
    with run_of(state) as script:
        state["name"] = "Ada"
        assert script.make(text("name")) == RegisterWidgetResult("Ada", True)
        for write in (
            lambda: state.__setitem__("name", "Bob"),
            lambda: setattr(state, "name", "Bob"),
            lambda: state.update("name", lambda _: "Bob"),
        ):
            with pytest.raises(WidgetInstantiated, match="name"):
                write()
        assert state["name"] == "Ada"
        script.run.form_ids.add("form")
        with pytest.raises(WidgetInstantiated):
            state["form"] = 1
        other = threading.Thread(target=lambda: state.__setitem__("name", "Eve"))
        other.start()
        other.join()
        assert state["name"] == "Eve"


def test_the_check_for_what_can_be_stored() -> None:
    """Where it is asked for, the check names what cannot be stored; where it is not, nothing is checked."""
    state = SafeSessionState(SessionState(enforce_serializable=True), lambda: None)
    state["fine"] = {"a": (1, {2})}
    state.maybe_check_serializable()
    state["connection"] = {"lock": threading.Lock()}
    with pytest.raises(UnsupportedValue, match=r"connection\.lock"):
        state.maybe_check_serializable()
    unchecked = SafeSessionState(SessionState(), lambda: None)
    unchecked["connection"] = threading.Lock()
    unchecked.maybe_check_serializable()


# --- Letting go ------------------------------------------------------------------------------------------------------


def test_after_disconnect_reads_miss_and_writes_go_nowhere(behind: Any) -> None:
    """A view that let go sees nothing and changes nothing; the state, and other views of it, go on."""
    state, other = SafeSessionState(behind, lambda: None), SafeSessionState(behind, lambda: None)
    state["k"] = 1
    state.disconnect()
    state.disconnect()
    state["k"] = 2
    state.k = 3
    assert state.update("k", lambda _: pytest.fail("called")) is None
    state.reset_state_value("k", 4)
    state.on_script_will_rerun({"id": 1})
    state.on_script_finished(set())
    state.maybe_check_serializable()
    with state.query_params() as params:
        params["page"] = "2"
    assert state.register_widget(number("n", default=7), "n") == RegisterWidgetResult(7, False)
    assert ("k" in state, state.get("k"), state.filtered_state, repr(state), len(state)) == (False, None, {}, "{}", 0)
    assert (state.get_widget_states(), state.is_new_state_value("k")) == ([], False)
    for miss in (lambda: state["k"], lambda: state.__delitem__("k")):
        with pytest.raises(KeyError, match="k"):
            miss()
    for miss in (lambda: state.k, lambda: delattr(state, "k")):
        with pytest.raises(AttributeError):
            miss()
    assert other["k"] == 1
    with other.query_params() as params:
        assert dict(params) == {}


def test_disconnect_waits_for_what_is_under_way() -> None:
    """When disconnect returns, no operation of this view is in the state."""
    state = SafeSessionState(SessionState(), lambda: None)
    entered, go_on = threading.Event(), threading.Event()

    def slowly(_: object) -> int:
        entered.set()
        go_on.wait(5)
        return 1

    writer = threading.Thread(target=lambda: state.update("k", slowly))
    writer.start()
    entered.wait(5)
    letting_go = threading.Thread(target=state.disconnect)
    letting_go.start()
    letting_go.join(0.05)
    assert letting_go.is_alive()
    go_on.set()
    letting_go.join()
    writer.join()


def test_yielding_goes_on_after_disconnect() -> None:
    """A script whose view let go can still be stopped."""
    view, turnstile = _view(SessionState())
    view.disconnect()
    turnstile.stop = Stopped()
    with pytest.raises(Stopped):
        view.get("k")


def test_a_view_of_a_stored_state_shows_what_others_write() -> None:
    """A view of a state in a store shows what others wrote there."""
    manager = SessionManager()
    stored = SessionState.create(manager)
    view = SafeSessionState(stored, lambda: None)
    view["a"] = 1
    with manager.session(stored.session_id or "") as session:
        session["b"] = 2
    assert view.filtered_state == {"a": 1, "b": 2}
