"""`SessionState`: keys and widgets in one mapping, run after run."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
from making import button, choices, number, run_of, text

from sojourn import SessionState, UnsupportedValue, WidgetInstantiated
from sojourn.state import RegisterWidgetResult, WidgetMetadata, script_run, widget_id

NAME = text("name").id


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_keys_outlive_runs() -> None:
    """What the script sets is there in every later run, until it is deleted."""
    state = SessionState()
    with run_of(state):
        state["count"] = 1
    for _ in range(3):
        with run_of(state):
            state["count"] += 1
    assert state["count"] == 4
    del state["count"]
    with run_of(state):
        assert "count" not in state
        with pytest.raises(KeyError, match="count"):
            state["count"]


def test_it_is_a_mapping() -> None:
    """get, set, delete, pop, update, setdefault, clear and the rest work as for a dict."""
    state = SessionState()
    state.update({"a": 1}, b=2)
    state.set("c", None)
    assert (state.get("a"), state.get("zz"), state.get("zz", 5), state.get("c", 5)) == (1, None, 5, None)
    assert (state.pop("a"), state.pop("a", 7), sorted(state), len(state)) == (1, 7, ["b", "c"], 2)
    assert (state.setdefault("d", [1]), state.setdefault("b", 9)) == ([1], 2)
    state.delete("b")
    state.delete("b")
    assert state.data == {"c": None, "d": [1]}
    assert repr(state) == "<SessionState {'c': None, 'd': [1]}>"
    state.clear()
    assert (state.data, state.session_id) == ({}, None)


@pytest.mark.parametrize("key", [1, None, "$$ID-x-None", ("a",)])
def test_what_is_no_key_is_refused(key: Any) -> None:
    """A key is a string, and not a widget's id: else nothing is set."""
    state = SessionState()
    with pytest.raises(UnsupportedValue):
        state[key] = 1
    assert len(state) == 0


def test_an_update_of_a_key() -> None:
    """update(key, function) sets what the function makes of the value, or of None, and returns it."""
    state = SessionState()
    assert (state.update("n", lambda n: (n or 0) + 1), state.update("n", lambda n: n + 1), state["n"]) == (1, 2, 2)


# --- Where a value is looked up --------------------------------------------------------------------------------------


def test_the_order_of_look_up() -> None:
    """First what the code set in this run, then the browser's, then what the widget was, then what the code set
    before."""
    state = SessionState()
    with run_of(state):
        state["name"] = "set before"
    with run_of(state) as script:
        assert script.show(text("name")) == "set before"
    with run_of(state, {NAME: "sent"}) as script:
        assert state["name"] == state[NAME] == script.show(text("name")) == "sent"
    with run_of(state) as script:
        assert state["name"] == script.show(text("name")) == "sent"
    with run_of(state, {NAME: "sent again"}) as script:
        state["name"] = "set now"
        assert state["name"] == state[NAME] == script.show(text("name")) == "set now"
    assert state["name"] == "set now"


def test_a_widget_begins_with_its_default() -> None:
    """A widget of which nothing is known is its default, and the browser need not be told."""
    state = SessionState()
    with run_of(state) as script:
        assert script.make(text("name", default="Ada")) == RegisterWidgetResult("Ada", False)
        assert state["name"] == "Ada"
        assert not state.is_new_state_value("name")


def test_what_is_set_before_the_widget_is_sent_to_the_browser() -> None:
    """A value that the code has set wins, and counts as changed; also one of an earlier run."""
    state = SessionState()
    with run_of(state) as script:
        state["name"] = "Bob"
        assert state.is_new_state_value("name")
        assert script.make(text("name", default="Ada")) == RegisterWidgetResult("Bob", True)
    early = SessionState()
    early["name"] = "Bob"
    with run_of(early):
        pass
    with run_of(early) as script:
        assert script.make(text("name", default="Ada")) == RegisterWidgetResult("Bob", True)


def test_what_the_browser_says_of_a_widget_that_is_not_made_yet() -> None:
    """Until its widget is made, a value is not shown and counts; then it is what the browser says."""
    state = SessionState()
    with run_of(state, {NAME: "Eve"}) as script:
        assert ("name" in state, NAME in state, len(state), state.filtered_state) == (False, False, 1, {})
        assert script.make(text("name", default="Ada")) == RegisterWidgetResult("Eve", False)
        assert (state["name"], state.filtered_state) == ("Eve", {"name": "Eve"})


def test_filtered_state_is_what_the_user_named() -> None:
    """Widgets without a key, and names of the machinery, are left out; widgets with one stand under it."""
    state = SessionState()
    with run_of(state) as script:
        state["mine"] = 1
        state["$$MACHINERY"] = 2
        script.make(text(None, default="a"))
        script.make(text("name", default="b"))
        assert state.filtered_state == {"mine": 1, "name": "b"}
        assert state[text(None).id] == "a"
        assert len(state) == 4


def test_values_of_widgets_are_never_aliased() -> None:
    """Who changes what a widget returned, or what its key shows, has changed nothing; so with the default."""
    default = ["a"]
    metadata = WidgetMetadata(
        widget_id("x", "tags"), lambda sent: default if sent is None else sent, list, "json_value"
    )
    state = SessionState()
    for sent in (None, {metadata.id: ["b"]}):
        with run_of(state, sent) as script:
            shown = script.show(metadata)
            before = list(shown)
            shown.append("mine")
            state["tags"].append("mine")
            state[metadata.id].append("mine")
            state.filtered_state["tags"].append("mine")
            assert state["tags"] == before == script.show(metadata)
    assert default == ["a"]


# --- Changes ---------------------------------------------------------------------------------------------------------


def test_callbacks_are_called_for_what_changed() -> None:
    """A callback runs before the script, with its arguments, once for each change, and sees the new value."""
    state, seen = SessionState(), []

    def changed(*args: object, **kwargs: object) -> None:
        seen.append((state["name"], args, kwargs))

    metadata = text("name", callback=changed, callback_args=(1,), callback_kwargs={"two": 2})
    for sent in (None, {NAME: ""}, {NAME: "Ada"}, {NAME: "Ada"}, None, {NAME: "Bob"}):
        with run_of(state, sent) as script:
            script.make(metadata)
    assert seen == [("Ada", (1,), {"two": 2}), ("Bob", (1,), {"two": 2})]


def test_a_callback_may_set_what_the_script_may_not() -> None:
    """In a callback the widgets of the run are still to come: their keys can be set."""
    state = SessionState()
    clear = button("clear", callback=lambda: state.set("name", ""))
    for sent in (None, {NAME: "Ada"}, {NAME: "Ada", clear.id: True}):
        with run_of(state, sent) as script:
            script.make(clear)
            result = script.make(text("name"))
    assert result == RegisterWidgetResult("", True)


def test_a_callback_that_raises_stops_those_after_it() -> None:
    """What a callback raises comes through, and the callbacks after it are not called."""
    state, called = SessionState(), []

    def fail() -> None:
        raise ZeroDivisionError

    one, two = text("one", callback=fail, name="one"), text("two", callback=lambda: called.append(2), name="two")
    with run_of(state) as script:
        script.make(one)
        script.make(two)
    with script_run(), pytest.raises(ZeroDivisionError):
        state.on_script_will_rerun({one.id: "a", two.id: "b"})
    assert called == []
    assert (state["one"], state["two"]) == ("a", "b")


def test_values_that_cannot_be_compared_count_as_changed() -> None:
    """A value whose comparison has no truth (an array, say) calls the callback, and nothing breaks."""

    class Array(UserDict[str, int]):
        def __ne__(self, other: object) -> bool:
            raise ValueError("which of them?")

        def __eq__(self, other: object) -> bool:
            raise ValueError("which of them?")

        __hash__ = None  # type: ignore[assignment]

    state, called = SessionState(), []
    metadata = WidgetMetadata(
        widget_id("x", "array"), lambda sent: Array(a=sent or 0), dict, "int_value", callback=lambda: called.append(1)
    )
    for sent in (None, {metadata.id: 1}):
        with run_of(state, sent) as script:
            script.make(metadata)
    assert called == [1]


def test_a_value_that_a_widget_refuses_is_forgotten() -> None:
    """What a deserializer raises comes through once; the next run is as if the value had not been sent."""
    state = SessionState()
    metadata = number("n", default=3)
    with run_of(state) as script:
        script.make(metadata)
    with script_run(), pytest.raises(ValueError, match="no number"):
        state.on_script_will_rerun({metadata.id: "no number"})
    with run_of(state) as script:
        assert script.show(metadata) == 3


def test_a_disabled_widget_does_not_listen() -> None:
    """What the browser says of a disabled widget is not taken up, calls nothing, and is corrected there."""
    state, called = SessionState(), []
    metadata = text("name", default="Ada", disabled=True, callback=lambda: called.append(1))
    with run_of(state) as script:
        script.make(metadata)
    with run_of(state, {NAME: "forged"}) as script:
        assert script.make(metadata) == RegisterWidgetResult("Ada", True)
    assert (state["name"], called) == ("Ada", [])


# --- Events ----------------------------------------------------------------------------------------------------------


def test_a_button_is_pressed_for_one_run() -> None:
    """A press is there in its run, for its callback and the script, and over when the run ends; the next press counts
    again."""
    state, called = SessionState(), []
    metadata = button("go", callback=lambda: called.append(state["go"]))
    pressed = []
    for sent in (None, {metadata.id: True}, None, {metadata.id: True}, {metadata.id: True}):
        with run_of(state, sent) as script:
            pressed.append(script.show(metadata))
        assert state["go"] is False
    assert pressed == [False, True, False, True, True]
    assert called == [True, True, True]


def test_a_press_is_over_though_the_run_was_broken_off() -> None:
    """Where a run never came to its end, its events are over when the next one begins."""
    state = SessionState()
    metadata = button("go")
    with run_of(state) as script:
        script.make(metadata)
    with script_run():
        state.on_script_will_rerun({metadata.id: True})
        assert state.register_widget(metadata, "go").value is True
    with run_of(state) as script:
        assert script.show(metadata) is False


@pytest.mark.parametrize("earlier", [False, True])
def test_an_event_that_the_code_made_up_is_over_like_any_other(earlier: bool) -> None:
    """A button's key that the code has set, in this run or before there was a button, is a press for one run; and no
    other when the button has gone and comes back."""
    state = SessionState()
    metadata = button("go")
    if earlier:
        with run_of(state):
            state["go"] = True
    pressed = []
    for at in range(3):
        with run_of(state) as script:
            if at == 0 and not earlier:
                state["go"] = True
            pressed.append(script.show(metadata))
        assert state["go"] is False
    with run_of(state):
        pass
    with run_of(state) as script:
        assert script.show(metadata) is False
    assert pressed == [True, False, False]


@pytest.mark.parametrize("kind", ["string_trigger_value", "chat_input_value", "json_trigger_value"])
def test_other_events_become_nothing(kind: Any) -> None:
    """A message that was sent is None when its run is over."""
    state = SessionState()
    metadata = WidgetMetadata(widget_id("chat", "said"), lambda sent: sent, lambda said: said, kind)
    with run_of(state) as script:
        assert script.show(metadata) is None
    with run_of(state, {metadata.id: "hello"}) as script:
        assert script.show(metadata) == "hello"
    assert state["said"] is None


# --- Widgets that are not made again ---------------------------------------------------------------------------------


def test_a_widget_that_is_gone_takes_its_value_with_it() -> None:
    """When a run does not make a widget, its value is gone, and it comes back as its default."""
    state = SessionState()
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
    with run_of(state):
        assert state["name"] == "Ada"
    assert "name" not in state
    with run_of(state) as script:
        assert script.make(text("name")) == RegisterWidgetResult("", False)


def test_what_the_code_sets_after_a_widget_has_gone_stays() -> None:
    """A key whose widget is gone is the code's: its value is not lost with the widget."""
    state = SessionState()
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
    with run_of(state):
        state["name"] = "set"
    for _ in range(3):
        with run_of(state):
            assert state["name"] == "set"


def test_without_a_run_nothing_is_stale() -> None:
    """Outside of a run nobody knows what the script has made: nothing is dropped, and everything can be written."""
    state = SessionState()
    state.register_widget(text("name", default="Ada"), "name")
    state.on_script_finished(set())
    state["name"] = "Bob"
    assert state["name"] == "Bob"


def test_a_run_that_was_broken_off_drops_nothing() -> None:
    """remove_stale_widgets=False leaves the widgets that the run did not come to."""
    state = SessionState()
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
    with script_run() as run:
        state.on_script_will_rerun({NAME: "Bob"})
        state.on_script_finished(run.widget_ids, remove_stale_widgets=False)
    assert state["name"] == "Bob"


def test_a_run_of_a_fragment_leaves_the_others() -> None:
    """In a run of some fragments, only their widgets go if they are not made."""
    state = SessionState()
    mine, other, whole = (
        text("mine", name="1", fragment_id="f1"),
        text("other", name="2", fragment_id="f2"),
        text("whole", name="3"),
    )
    with run_of(state) as script:
        for metadata in (mine, other, whole):
            script.make(metadata)
    with run_of(state, fragments=("f1",)):
        pass
    assert list(state.filtered_state) == ["other", "whole"]
    with run_of(state):
        pass
    assert state.filtered_state == {}


def test_what_is_known_of_widgets_does_not_grow() -> None:
    """Widgets that were made once and never again leave nothing behind."""
    state = SessionState()
    for at in range(50):
        with run_of(state) as script:
            script.make(text(f"key{at}", name=f"w{at}"))
    assert (len(state), len(state._places.widgets.metadata), len(state._places.keys.ids)) == (1, 1, 1)


def test_a_key_that_moves_to_another_widget() -> None:
    """A key belongs to the widget that has it now, and shows what that one is."""
    state = SessionState()
    with run_of(state) as script:
        script.make(text("name", name="one", default="first"))
    with run_of(state) as script:
        assert script.show(text("name", name="two", default="second")) == "second"
        assert state["name"] == "second"


def test_deleting_a_widgets_key() -> None:
    """A deleted key is gone with its widget's value; the widget begins anew."""
    state = SessionState()
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
    del state["name"]
    assert ("name" in state, len(state)) == (False, 0)
    with pytest.raises(KeyError, match="name"):
        del state["name"]
    with run_of(state) as script:
        assert script.show(text("name")) == ""
    del state[NAME]
    assert "name" not in state


def test_a_widgets_key_may_be_set_once_a_run_is_over() -> None:
    """The rule against setting a key behind its widget's back holds for the run that made it, and for that one
    only."""
    state = SessionState()
    with run_of(state) as script:
        script.make(text("name"))
        with pytest.raises(WidgetInstantiated):
            state["name"] = "no"
        state.reset_state_value("name", "corrected")
        assert state["name"] == "corrected"
    with run_of(state) as script:  # its maker has told the browser
        assert script.make(text("name")) == RegisterWidgetResult("corrected", False)
    state["name"] = "between"
    with run_of(state):
        state["name"] = "next"


# --- What persists ---------------------------------------------------------------------------------------------------


def _gone_and_back(scope: Any, pages: list[tuple[str, bool]]) -> list[tuple[Any, Any]]:
    """What the key shows after each run, and what the widget returns if it is made; the pages are (page, made)."""
    state, seen = SessionState(), []
    metadata = text("name", persist_state=scope)
    with run_of(state, {NAME: "Ada"}, page="home") as script:
        script.make(metadata)
    for page, made in pages:
        with run_of(state, page=page) as script:
            result = script.make(metadata) if made else None
        seen.append((state.get("name"), result and (result.value, result.value_changed)))
    return seen


def test_a_value_that_persists_for_good() -> None:
    """persist_state="session": the value stays without its widget, on all pages, and comes back with it."""
    seen = _gone_and_back("session", [("home", False), ("other", False), ("other", True)])
    assert seen == [("Ada", None), ("Ada", None), ("Ada", ("Ada", True))]


def test_a_value_that_persists_on_its_page() -> None:
    """persist_state="page": the value stays without its widget while the page does, and not on another."""
    assert _gone_and_back("page", [("home", False), ("home", True)]) == [("Ada", None), ("Ada", ("Ada", True))]
    assert _gone_and_back("page", [("home", False), ("other", False), ("home", True)])[1:] == [
        (None, None),
        ("", ("", False)),
    ]


def test_a_value_of_another_page_is_not_taken_back_from_the_browser() -> None:
    """What the browser still sends for a widget whose page was left is not taken up when it comes back."""
    state = SessionState()
    metadata = text("name", persist_state="page")
    with run_of(state, {NAME: "Ada"}, page="home") as script:
        script.make(metadata)
    with run_of(state, page="other"):
        pass
    with run_of(state, {NAME: "Ada"}, page="home") as script:
        assert script.make(metadata) == RegisterWidgetResult("", True)


def test_a_value_that_stopped_persisting() -> None:
    """A widget that no longer asks for it loses its value like any other."""
    state = SessionState()
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name", persist_state="session"))
    with run_of(state) as script:
        script.make(text("name"))
    with run_of(state):
        pass
    assert "name" not in state


def test_a_persistent_value_passes_to_the_next_widget_with_its_key() -> None:
    """A widget that becomes another (its options have changed) under the same key goes on with a value that
    persists, and without one begins anew."""
    for scope, result in (("session", RegisterWidgetResult(7, True)), (None, RegisterWidgetResult(0, False))):
        state = SessionState()
        metadata = number("n", name="to 10", persist_state=scope)
        with run_of(state, {metadata.id: 7}) as script:
            script.make(metadata)
        with run_of(state) as script:
            assert script.make(number("n", name="to 20", persist_state=scope)) == result
        with run_of(state) as script:
            assert script.show(number("n", name="to 20", persist_state=scope)) == result.value


# --- The address -----------------------------------------------------------------------------------------------------


def _bound(**more: Any) -> WidgetMetadata[int]:
    return number("n", default=1, bind="query-params", **more)


def test_a_bound_widget_begins_with_what_the_address_says() -> None:
    """On its first registration a bound widget is what the address says, even over what the code set."""
    state = SessionState()
    state.query_params.load("n=5&other=x")
    with run_of(state) as script:
        state["n"] = 3
        assert script.make(_bound()) == RegisterWidgetResult(5, True)
        assert state["n"] == 5
    assert state.query_params.to_dict() == {"n": "5", "other": "x"}


@pytest.mark.parametrize("query", ["n=five", "n=", "n"])
def test_an_address_that_makes_no_sense_is_put_right(query: str) -> None:
    """What the widget cannot be is taken out of the address, and the widget is its default."""
    state = SessionState()
    state.query_params.load(query)
    with run_of(state) as script:
        assert script.make(_bound()) == RegisterWidgetResult(1, False)
    assert state.query_params.to_dict() == {}


def test_the_address_follows_a_bound_widget() -> None:
    """What the visitor or the code makes of a bound widget is in the address, and its default is not; each change is
    told once."""
    told: list[str] = []
    state = SessionState(on_query_params=told.append)
    metadata = _bound()
    for sent in (None, {metadata.id: 2}, {metadata.id: 3}, {metadata.id: 3}, {metadata.id: 1}):
        with run_of(state, sent) as script:
            script.make(metadata)
    with run_of(state) as script:
        state["n"] = 8
        script.make(metadata)
    assert told == ["n=2", "n=3", "", "n=8"]


def test_by_the_back_button_the_address_decides() -> None:
    """Who comes by back or forward sees what the address says, or the default where it says nothing; what the browser
    still says of the widget calls nothing."""
    state = SessionState()
    metadata = _bound(callback=lambda: pytest.fail("called"))
    with run_of(state, {metadata.id: 2}) as script:
        script.make(metadata)
    for query, value in (("n=7", 7), ("", 1)):
        state.query_params.load(query)
        with script_run(history=True) as run:
            state.on_script_will_rerun({metadata.id: 3})
            assert state.register_widget(metadata, "n") == RegisterWidgetResult(value, True)
            state.on_script_finished(run.widget_ids)


def test_a_bound_widget_that_is_gone_leaves_the_address() -> None:
    """The address says nothing of a widget that is not shown; when it comes back, so does its value, in both."""
    state = SessionState()
    metadata = _bound()
    with run_of(state, {metadata.id: 2}) as script:
        script.make(metadata)
    with run_of(state):
        pass
    assert (state.query_params.to_dict(), state["n"]) == ({}, 2)
    with run_of(state) as script:
        assert script.make(metadata) == RegisterWidgetResult(2, True)
    assert state.query_params.to_dict() == {"n": "2"}


def test_a_widget_that_is_no_longer_bound_leaves_the_address() -> None:
    """A widget that stopped asking for it is not in the address, and keeps its value."""
    state = SessionState()
    metadata = _bound()
    with run_of(state, {metadata.id: 2}) as script:
        script.make(metadata)
    with run_of(state) as script:
        assert script.show(number("n", default=1)) == 2
    assert state.query_params.to_dict() == {}


# --- The wire --------------------------------------------------------------------------------------------------------


def test_what_widgets_are_can_be_sent_and_taken_up_again() -> None:
    """What get_widget_states tells of a run, another state takes up, as if the browser had sent it."""
    state = SessionState()
    made = [text("name", default="Ada"), number("n", default=3), choices("tags"), button("go")]
    with run_of(state, {choices("tags").id: ["a", "b"]}) as script:
        for metadata in made:
            script.make(metadata)
        told = state.get_widget_states()
    other = SessionState()
    with script_run():
        other.on_script_will_rerun(told)
        values = [other.register_widget(metadata, None).value for metadata in made]
    assert values == ["Ada", 3, ["a", "b"], False]


# --- What is set while the widget is away ----------------------------------------------------------------------------


def test_what_is_set_between_runs_is_not_replaced_by_what_the_browser_still_says() -> None:
    """A value that a thread gives to a widget between two runs is there in the next one, though the browser says the
    old one again; the browser is told, and no callback is called."""
    state, called = SessionState(), []
    metadata = text("name", callback=lambda: called.append(state["name"]))
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(metadata)
    for value in ("Bob", "Eve"):
        said = state["name"]
        state["name"] = value
        with run_of(state, {NAME: said}) as script:
            assert script.make(metadata) == RegisterWidgetResult(value, True)
    with run_of(state, {NAME: "Eve"}) as script:
        assert script.make(metadata) == RegisterWidgetResult("Eve", False)
    assert called == []


def test_what_is_set_for_a_widget_outside_of_the_fragment_waits_for_it() -> None:
    """What a fragment's run sets for a widget that it does not make is there in the next run that makes it."""
    state = SessionState()
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(text("name"))
    with run_of(state, {NAME: "Ada"}, fragments=("f1",)):
        state["name"] = "Bob"
    with run_of(state, {NAME: "Ada"}, fragments=("f1",)):
        assert state["name"] == "Bob"
    with run_of(state, {NAME: "Ada"}) as script:
        assert script.make(text("name")) == RegisterWidgetResult("Bob", True)


def test_a_visitor_who_decides_wins_over_what_was_set_before() -> None:
    """If the visitor has changed the widget meanwhile, his value counts, and its callback is called."""
    state, called = SessionState(), []
    metadata = text("name", callback=lambda: called.append(state["name"]))
    with run_of(state, {NAME: "Ada"}) as script:
        script.make(metadata)
    state["name"] = "Bob"
    with run_of(state, {NAME: "typed"}) as script:
        assert script.make(metadata) == RegisterWidgetResult("typed", False)
    assert called == ["typed"]
