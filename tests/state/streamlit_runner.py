"""Runs the apps of `streamlit_apps` step by step, and writes down what could be seen after each, as JSON.

    python streamlit_runner.py streamlit FOLDER      with Streamlit's own state, into FOLDER/streamlit.json
    python streamlit_runner.py sojourn FOLDER        with Sojourn's in its place, into FOLDER/sojourn.json
    python streamlit_runner.py stored FOLDER         with Sojourn's, bound to stored sessions, into FOLDER/stored.json

A process of its own, as Streamlit's warnings are none of our test run's, and as what is put in the place of something
cannot be put back. It plays the browser, too: which sends the states of all widgets it knows with a fragment's run, of
which `AppTest` knows nothing, and comes by back and forward.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import uuid
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import streamlit_apps
from google.protobuf.json_format import MessageToDict
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.testing.v1 import app_test, element_tree, local_script_runner

import sojourn

if TYPE_CHECKING:
    from collections.abc import Iterator


class Browser:
    """A visitor's browser, with an app open."""

    def __init__(self, app: streamlit_apps.App) -> None:
        self.test = app.open()
        self._away = WidgetStates()  # of widgets that are on the screen, and not among those of the last run
        self._fragments: dict[str, str] = {}  # by the id of a widget: the fragment that made it

    def do(self, step: streamlit_apps.Step) -> dict[str, Any]:
        """Take a step, and return all that can be seen afterwards."""
        with _counted_ids():
            for act in step.acts:
                act(self.test)
        states, here = WidgetStates(), self.test._tree.get_widget_states()
        if step.send:
            told = {one.id for one in here.widgets}
            states.widgets.extend(one for one in self._away.widgets if one.id not in told)
            states.widgets.extend(one for one in here.widgets if step.stay is None or _key(one) in step.stay)
        for widget_id, field, value in self.test.__dict__.pop("said", ()):
            states.widgets.append(WidgetState(id=widget_id, **{field: value}))
        fragment = self._fragment(step)
        with _request(fragment, step.history, self._fragments):
            self.test._run(states if step.send else None, timeout=30)
        self.test._page_hash = ""  # the browser is on the page that the last run ended on
        self._away = WidgetStates()
        if step.fragment is not None:
            for one in states.widgets:  # what the fragment does not show any more, the browser forgets
                if self._fragments.get(one.id) != fragment and one.WhichOneof("value") not in _EVENTS:
                    self._away.widgets.append(one)
        if isinstance(self.test._session_state._state, sojourn.SessionState):
            self.test._session_state._state.check_stored()
        return self.seen()

    def seen(self) -> dict[str, Any]:
        test = self.test
        return {
            "shown": [_shown(node) for node in test._tree if getattr(node, "proto", None) is not None],
            "state": {key: repr(value) for key, value in sorted(test.session_state.items())},
            "address": test.query_params,
            "sent": sorted(_message(one) for one in test._session_state.get_widget_states()),
        }

    def _fragment(self, step: streamlit_apps.Step) -> str | None:
        if step.fragment is None:
            return None
        return next(iter(self.test._fragment_storage._ids_by_target_key[step.fragment]))


@contextmanager
def _counted_ids() -> Iterator[None]:
    """The ids of files that are sent are random, and would never be the same."""
    by_chance = uuid.uuid4
    uuid.uuid4 = lambda: uuid.UUID(int=next(_numbers))
    try:
        yield
    finally:
        uuid.uuid4 = by_chance


_numbers = count(1)
_EVENTS = ("trigger_value", "string_trigger_value", "chat_input_value", "json_trigger_value")


@contextmanager
def _request(fragment: str | None, history: bool, fragments: dict[str, str]) -> Iterator[None]:
    """The request for a run that a browser makes, and `AppTest` does not. Which fragments have made which widgets is
    noted."""
    plain, parse = local_script_runner.RerunData, local_script_runner.parse_tree_from_messages

    def note(messages: list[Any]) -> Any:
        for delta in (one.delta for one in messages if one.WhichOneof("type") == "delta"):
            kind = delta.new_element.WhichOneof("type")
            if kind is not None:
                fragments[getattr(getattr(delta.new_element, kind), "id", "")] = delta.fragment_id
        return parse(messages)

    queue = [] if fragment is None else [fragment]
    local_script_runner.RerunData = partial(plain, fragment_id_queue=queue, is_history_navigation=history)
    local_script_runner.parse_tree_from_messages = note
    try:
        yield
    finally:
        local_script_runner.RerunData, local_script_runner.parse_tree_from_messages = plain, parse


def _key(state: Any) -> str:
    return state.id.split("-", 2)[-1]


def _shown(node: Any) -> list[Any]:
    """An element as the browser is told of it, and its value as `AppTest` has it."""
    if node.type == "exception":
        return [node.type, node.proto.type, node.proto.message]  # and not where in the code it was raised
    try:
        value = repr(node.value)
    except (AttributeError, NotImplementedError):
        value = None  # it has none: a container, a form
    return [node.type, MessageToDict(node.proto, preserving_proto_field_name=True), value]


def _message(state: Any) -> list[Any]:
    """A message for the wire, in its bytes: protobuf writes the fields in the order of their numbers."""
    return [state.id, state.SerializeToString(deterministic=True).hex()]


def main(kind: str, folder: Path) -> None:
    logging.disable(logging.WARNING)
    element_tree.Widget._assert_can_interact = lambda self: None  # a browser may send what nobody could have typed
    if kind != "streamlit":
        import streamlit_bridge

        streamlit_bridge.install(sojourn.SessionManager() if kind == "stored" else None)
    scripts = folder / kind
    scripts.mkdir()
    os.chdir(scripts)
    app_test.TMP_DIR = SimpleNamespace(name="")  # the ids of widgets depend on the path of the script: it is relative
    seen = {name: _all(app) for name, app in streamlit_apps.APPS.items()}
    (folder / f"{kind}.json").write_text(json.dumps(seen))


def _all(app: streamlit_apps.App) -> list[dict[str, Any]]:
    browser, seen = Browser(app), []
    try:
        for step in app.steps:
            seen.append(browser.do(step))
    except Exception as error:  # whatever it is: that step has no result, and the comparison tells it
        seen.append({"broke": f"{type(error).__name__}: {error}"})
    return seen


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
