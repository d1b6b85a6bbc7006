"""`SafeSessionState`: a state that several threads may use at once, and in which one of them can be interrupted.

Each operation that may change what the script sees *yields* first: it calls ``yield_callback``, in which a runner may
raise to stop the script. It does so before it takes the lock, never while it holds it, and once. If the callback
raises, nothing was changed.

    yields                   [] []= del in, the same as attributes, get, update, register_widget,
                             on_script_will_rerun, query_params, reset_state_value
    does not yield           on_script_finished, maybe_check_serializable, get_widget_states, is_new_state_value,
                             filtered_state, iteration, len, repr, disconnect

All views of one state share one lock. Callbacks of widgets run without it: a slow one keeps nobody from reading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeVar

from .behind import Nothing, Plain, State, lock_of
from .query_params import QueryParams
from .session_state import SessionState
from .values import MISSING, NoKey
from .widgets import RegisterWidgetResult, WidgetMetadata
from .wire import States

__all__ = ["SafeSessionState"]

T = TypeVar("T")


class SafeSessionState:
    """The thread-safe view of a state: a `SessionState`, or a plain mapping, which has no widgets (what is about them
    raises `NoWidgets`).

    ``state.key`` is ``state["key"]``, for names that are not the view's own. What is missing raises KeyError, or
    AttributeError; other errors are those of the state.
    """

    __slots__ = ("_lock", "_state", "_yield_callback")

    _state: State
    _lock: threading.RLock
    _yield_callback: Callable[[], None]

    def __init__(
        self, state: SessionState | MutableMapping[str, Any], yield_callback: Callable[[], None] = lambda: None
    ) -> None:
        keep = object.__setattr__  # an attribute of a view is a key of its state
        keep(self, "_state", state if isinstance(state, SessionState) else Plain(state))
        keep(self, "_lock", state.lock if isinstance(state, SessionState) else lock_of(state))
        keep(self, "_yield_callback", yield_callback)

    # --- Keys --------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        self._yield_callback()
        with self._lock:
            value = self._state.find(key)
        if value is MISSING:
            raise NoKey(key)  # here and not below, as an error costs by the calls that it comes through
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._yield_callback()
        with self._lock:
            self._state[key] = value

    def __delitem__(self, key: str) -> None:
        self._yield_callback()
        with self._lock:
            del self._state[key]

    def __contains__(self, key: str) -> bool:
        self._yield_callback()
        with self._lock:
            return self._state.find(key) is not MISSING

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":  # Python's own questions are none to the state
            raise AttributeError(name)
        self._yield_callback()
        with self._lock:
            value = self._state.find(name)
        if value is MISSING:
            raise AttributeError(str(NoKey(name)))
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError as error:
            raise AttributeError(str(error)) from None

    def get(self, key: str, default: Any = None) -> Any:
        """The value; ``default`` if there is none."""
        self._yield_callback()
        with self._lock:
            value = self._state.find(key)
        return default if value is MISSING else value

    def update(self, key: str, function: Callable[[Any], T]) -> T | None:
        """Change a value by a function of what it is (None where there is none), and return it: exact, however many
        threads do so. The function runs under the lock, so it should be quick; it may use this state. If it raises,
        nothing is done. None, without a call, after `disconnect`."""
        self._yield_callback()
        with self._lock:
            value: T | None = self._state.change(key, function)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.filtered_state)

    def __len__(self) -> int:
        return len(self.filtered_state)

    def __repr__(self) -> str:
        with self._lock:
            return repr(self._state.filtered_state)

    @property
    def filtered_state(self) -> dict[str, Any]:
        """What is the user's, as a dict of its own: keys, and the values of widgets that have one."""
        with self._lock:
            return self._state.filtered_state

    # --- Widgets and runs: see `SessionState` ------------------------------------------------------------------------

    def register_widget(self, metadata: WidgetMetadata[T], user_key: str | None) -> RegisterWidgetResult[T]:
        """Tell that a widget is made in this run; what it is to show."""
        self._yield_callback()
        with self._lock:
            return self._state.register_widget(metadata, user_key)

    def on_script_will_rerun(self, latest_widget_states: States | None) -> None:
        """Begin a run: take up what the browser sent, then call the callbacks of widgets that changed, without the
        lock. What a callback raises comes through, and those after it are not called."""
        self._yield_callback()
        with self._lock:
            callbacks = self._state.prepare_rerun(latest_widget_states)
        for callback in callbacks:
            callback()

    def on_script_finished(self, widget_ids_this_run: Collection[str], *, remove_stale_widgets: bool = True) -> None:
        """End a run: events are over, and widgets that were not made go."""
        with self._lock:
            self._state.on_script_finished(widget_ids_this_run, remove_stale_widgets=remove_stale_widgets)

    def get_widget_states(self) -> list[Any]:
        """What widgets are in this run, as messages for the wire."""
        with self._lock:
            return self._state.get_widget_states()

    def is_new_state_value(self, user_key: str) -> bool:
        """Whether the code has set this key in this run."""
        with self._lock:
            return self._state.is_new_state_value(user_key)

    def reset_state_value(self, user_key: str, value: Any | None) -> None:
        """Set a key, though its widget was made."""
        self._yield_callback()
        with self._lock:
            self._state.reset_state_value(user_key, value)

    def maybe_check_serializable(self) -> None:
        """Where the state is told to, check that each value could be stored; `UnsupportedValue` if one could not."""
        with self._lock:
            self._state.maybe_check_serializable()

    @contextmanager
    def query_params(self) -> Iterator[QueryParams]:
        """``with state.query_params() as params:`` what the page's address says, with the lock held throughout."""
        self._yield_callback()
        with self._lock:
            yield self._state.query_params

    def disconnect(self) -> None:
        """Let go of the state: from now on, through this view, what is read is not there, and what is written goes
        nowhere. For the view of a script that goes on though another run has taken over. Waits until the operation
        that is under way has ended. Twice is once."""
        with self._lock:
            object.__setattr__(self, "_state", Nothing())
