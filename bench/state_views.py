"""What `bench.state` compares: the thread-safe view of a state in Streamlit and in Sojourn, each within a run of a
script and outside of any; and the floor, a dict behind a lock, which knows neither widgets nor where to stop a script.

Streamlit's view is called as its own script runner does, with a run's context on the thread. It has no ``get`` and no
``update``: in their place stands what its users write, an update that loses what others add meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner_utils.script_run_context import (
    SCRIPT_RUN_CONTEXT_ATTR_NAME,
    ScriptRunContext,
    add_script_run_ctx,
)
from streamlit.runtime.state import SafeSessionState as TheirView
from streamlit.runtime.state import SessionState as TheirState
from streamlit.runtime.state.common import WidgetMetadata as TheirMetadata

from sojourn import SafeSessionState, SessionState
from sojourn.state import WidgetMetadata, script_run, widget_id

WIDGETS = 20
"""That a run makes: every second one a slider, the others text inputs, all of them with a key."""


class View:
    """One thread-safe view, with some keys set before its last run, and some since. It serves as the floor: subclasses
    say what is different."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        self.view = self.make()
        self.metadata = [self.widget(number) for number in range(WIDGETS)]
        self._set(old)
        self.turn()
        self._set(new)

    def _set(self, keys: Sequence[str]) -> None:
        for number, key in enumerate(keys):
            self.view[key] = number

    def turn(self) -> None:
        """Begin a run, so that what is new is old."""

    def make(self) -> Any:
        return LockedDict()

    def widget(self, number: int) -> Any:
        """What the view is told of a widget."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Around what is measured."""
        yield

    def get(self, key: str) -> Any:
        return self.view.get(key)

    def update(self, key: str, function: Callable[[Any], Any]) -> Any:
        return self.view.update(key, function)


class LockedDict(dict[str, Any]):
    """The least that several threads can share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __getitem__(self, key: str) -> Any:
        with self.lock:
            return dict.__getitem__(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        with self.lock:
            dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        with self.lock:
            dict.__delitem__(self, key)

    def __contains__(self, key: object) -> bool:
        with self.lock:
            return dict.__contains__(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        with self.lock:
            return dict.get(self, key, default)

    def update(self, key: str, function: Callable[[Any], Any]) -> Any:  # type: ignore[override]
        with self.lock:
            value = function(dict.get(self, key))
            dict.__setitem__(self, key, value)
            return value


class Ours(View):
    """Outside of any run."""

    def make(self) -> Any:
        return SafeSessionState(SessionState(), lambda: None)

    def widget(self, number: int) -> WidgetMetadata[Any]:
        name = widget_id(f"{number:032x}", f"widget{number}")
        if number % 2:
            return WidgetMetadata(name, lambda sent: sent or "", str, "string_value")
        return WidgetMetadata(name, lambda sent: sent or 0, int, "int_value")

    def turn(self) -> None:
        self.view.on_script_will_rerun(None)


class OursInRun(Ours):
    """Within a run."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        with script_run():
            yield

    def whole_run(self, sent: WidgetStates) -> None:
        """Begin, make all the widgets, finish."""
        view = self.view
        with script_run() as run:
            view.on_script_will_rerun(sent)
            for number, metadata in enumerate(self.metadata):
                view.register_widget(metadata, f"widget{number}")
            view.on_script_finished(run.widget_ids)


class Theirs(View):
    """Outside of any run: a thread of the application's own, say."""

    def _set(self, keys: Sequence[str]) -> None:
        with Theirs.entered(self):
            super()._set(keys)

    def make(self) -> Any:
        return TheirView(TheirState(), lambda: None)

    def widget(self, number: int) -> TheirMetadata[Any]:
        name = widget_id(f"{number:032x}", f"widget{number}")
        if number % 2:
            return TheirMetadata(name, lambda sent: sent or "", str, "string_value")
        return TheirMetadata(name, lambda sent: sent or 0, int, "int_value")

    @contextmanager
    def entered(self) -> Iterator[None]:
        logging.disable(logging.WARNING)  # it warns at each call that there is no run
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)

    def get(self, key: str) -> Any:
        try:
            return self.view[key]
        except KeyError:
            return None

    def update(self, key: str, function: Callable[[Any], Any]) -> Any:
        value = self.view[key] = function(self.view[key])
        return value

    def turn(self) -> None:
        self.view.on_script_will_rerun(None)


class TheirsInRun(Theirs):
    """Within a run."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(old, new)
        self._context = ScriptRunContext(
            session_id="bench",
            _enqueue=lambda message: None,
            query_string="",
            session_state=self.view,
            uploaded_file_mgr=MemoryUploadedFileManager("/"),
            main_script_path="app.py",
            user_info={},
            fragment_storage=MemoryFragmentStorage(),
            pages_manager=PagesManager("app.py"),
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        thread = threading.current_thread()
        add_script_run_ctx(thread, self._context)
        try:
            yield
        finally:
            delattr(thread, SCRIPT_RUN_CONTEXT_ATTR_NAME)

    def whole_run(self, sent: WidgetStates) -> None:
        """Begin, make all the widgets, finish. (What notes the ids of a run's widgets in Streamlit is not its state,
        and is left out.)"""
        view = self.view
        view.on_script_will_rerun(sent)
        for number, metadata in enumerate(self.metadata):
            view.register_widget(metadata, f"widget{number}")
        view.on_script_finished(frozenset(metadata.id for metadata in self.metadata))


def messages(count: int) -> list[WidgetStates]:
    """What a browser would send, each time with the value of another widget changed. The same for both."""
    sent = []
    for number in range(count):
        whole = WidgetStates()
        for at in range(WIDGETS):
            state = whole.widgets.add()
            state.id = widget_id(f"{at:032x}", f"widget{at}")
            value = number if number % WIDGETS == at else at
            if at % 2:
                state.string_value = f"text {value}"
            else:
                state.int_value = value
        sent.append(whole)
    return sent
