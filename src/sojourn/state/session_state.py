"""`SessionState`: what the user's script keeps, and what its widgets show, in one mapping that outlives the runs of the
script. Not for several threads at once by itself: that is what `SafeSessionState` is for.

A run is three steps: `on_script_will_rerun` (what was new is old; the browser's values come in; callbacks of widgets
that changed are called), the script, which makes its widgets with `register_widget`, and `on_script_finished` (events
are over; widgets that were not made again lose their values).

A state that is *bound* to a stored session shows and keeps its fields: the user's keys, and the values of widgets that
have a key. What is written is committed before the call returns, and only what changed is written. What others write
is seen at the beginning of a run, and outside of runs by every read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, MutableMapping
from functools import partial
from typing import Any, ClassVar, Final, Self, TypeVar, cast

from ..blocking import SessionManager
from ..codec import Codec
from ..errors import SessionNotFound, UnsupportedValue, WidgetInstantiated
from .addresses import Addresses
from .places import Places, own
from .query_params import QueryParams
from .runs import ScriptRun, current_run
from .sharing import Sharing
from .stored import Stored
from .values import MISSING, NoKey
from .widgets import RegisterWidgetResult, WidgetMetadata, is_hidden, is_widget_id
from .wire import States, read, write

__all__ = ["SessionState"]

T = TypeVar("T")

_default: Final[list[SessionManager]] = []
_making: Final = threading.Lock()
_codec: Final = Codec()


class SessionState(MutableMapping[str, Any]):
    """A mapping of the user's keys, and of widgets' values by their keys (or ids).

    ``SessionState()`` lives in this process. ``SessionState(session_id)`` is bound to a stored session of ``manager``,
    and `create` makes a new one; `SessionNotFound` if there is no such session. Without a manager it is the class's own
    ``manager``, and if that is None a store in memory that all of this process shares.

    A bound state raises what `SessionManager.session` raises on exit, by whatever is done: `SessionGone` once the
    session has ended, or its user has changed; `StoreUnavailable`, `OutcomeUnknown`. After an error the state shows
    what is stored. A list or dict that is changed in place goes out with the next write, `save`, or the end of the run.

    ``on_query_params`` is called with the new query string when the page's address is to say something else.
    ``keep_query_params`` keeps what the address says in the session, where there is one: another process shows it, and
    what is set there, the address says. All states of the session then have one address.
    ``enforce_serializable`` makes `maybe_check_serializable` check. ``current_run`` tells the run that the caller is
    in: `script_run`'s, unless the runs of another framework are to count.
    """

    manager: ClassVar[SessionManager | None] = None
    """Whose sessions states of this class are bound to, where nothing else is said."""

    def __init__(
        self,
        session_id: str | None = None,
        manager: SessionManager | None = None,
        *,
        enforce_serializable: bool = False,
        on_query_params: Callable[[str], None] | None = None,
        keep_query_params: bool = False,
        current_run: Callable[[], ScriptRun | None] = current_run,
    ) -> None:
        self.lock: Final = threading.RLock()
        """What all thread-safe views of this state share."""
        self.enforce_serializable: Final = enforce_serializable
        """Whether `maybe_check_serializable` checks."""
        self._current_run = current_run
        self._places = Places()
        self._new: Final = self._places.new
        self._told: Final = self._places.told
        self._ids: Final = self._places.keys.ids
        self._put: Final = self._places.put
        self._addresses = Addresses(self._places, on_query_params)
        self._shared: Sharing | None = None
        self.find: Callable[[str], Any] = self._places.find
        """The value under a key, or a widget's id; `MISSING` if there is none."""
        self._keeps_params: Final = keep_query_params and session_id is not None
        if session_id is not None:
            stored = Stored(manager or self._manager(), session_id)
            self._shared = Sharing(self._places, stored, self._addresses if keep_query_params else None)
            self.find = self._look_and_find

    @classmethod
    def create(cls, manager: SessionManager | None = None) -> Self:
        """A state that is bound to a new session. Raises as `SessionManager.create_session`."""
        manager = manager or cls._manager()
        return cls(manager.create_session(), manager)

    @classmethod
    def get_session(cls, session_id: str, manager: SessionManager | None = None) -> Self | None:
        """The state of a stored session; None if the id is unknown, malformed, or of one that ended or expired."""
        try:
            return cls(session_id, manager)
        except SessionNotFound:
            return None

    @classmethod
    def _manager(cls) -> SessionManager:
        if cls.manager is not None:
            return cls.manager
        with _making:
            if not _default:
                _default.append(SessionManager())
            return _default[0]

    # --- The mapping -------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        value = self.find(key)
        if value is MISSING:
            raise NoKey(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        run = self._current_run()
        if key not in self._new:
            self._check_key(key)
        if run is not None and (self._ids.get(key) in run.widget_ids or key in run.form_ids):
            raise WidgetInstantiated(key)  # as in `_check_writable`, whose calls cost a third of this
        if self._shared is not None:
            self._write(key, value)
        if key in self._told:
            self._put(key, value)
        else:
            self._new[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise NoKey(key)
        key = self._places.keys.keys.get(key, key)
        if self._shared is not None:
            self._shared.delete([key])
        self._places.forget(key)

    def __contains__(self, key: object) -> bool:
        return self.find(cast(str, key)) is not MISSING

    def __iter__(self) -> Iterator[str]:
        """All that is known, widgets by their ids, as they may have no key. See `filtered_state` for what is the
        user's."""
        return iter(self._places.names())

    def __len__(self) -> int:
        return len(self._places.names())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.filtered_state!r}>"

    __hash__ = None  # type: ignore[assignment]

    # --- By name, in one call: each is committed when it returns, and serves several threads -------------------------

    @property
    def session_id(self) -> str | None:
        """What the client carries, secret in whole; None for a state that is not stored."""
        return None if self._shared is None else self._shared.session_id

    @property
    def data(self) -> dict[str, Any]:
        """What is the user's, as a plain dict: see `filtered_state`."""
        with self.lock:
            return self.filtered_state

    def get(self, key: str, default: Any = None) -> Any:
        """The value; ``default`` if there is none. A stored None is a value."""
        with self.lock:
            value = self.find(key)
        return default if value is MISSING else value

    def set(self, key: str, value: Any) -> None:
        """``state[key] = value``. Raises `WidgetInstantiated` for the key of a widget or form that this run has made,
        and `UnsupportedValue` for what cannot be stored, or is no key."""
        with self.lock:
            self[key] = value

    def delete(self, key: str) -> None:
        """``del state[key]``, and nothing happens if it is not there."""
        with self.lock:
            if key in self:
                del self[key]

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """``update(key, function)``: change a value by a function of what it is (None where there is none), and return
        it. Exact, whoever else does so at the same time, in this process or in another; so the function may run more
        than once, and must depend on nothing but its argument. If it raises, nothing is done. Raises as `set`.

        ``update(mapping)``, ``update(pairs)`` and ``update(key=value)`` assign, as for any dict, and return None.
        """
        if not (len(args) == 2 and callable(args[1])):
            return MutableMapping.update(self, *args, **kwargs)
        with self.lock:
            return self.change(args[0], args[1])

    def change(self, key: str, function: Callable[[Any], Any]) -> Any:
        """What ``update(key, function)`` does, for who has the lock."""
        self._check_writable(key)
        if self._shared is None or is_hidden(key):
            value = self.find(key)
            value = function(None if value is MISSING else value)
        else:
            value = self._shared.update(key, function)
        self._put(key, value)
        return value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value, after giving the key this one if there is none: of two who find none, in whatever process, neither
        replaces the other's. Raises as `set`."""
        with self.lock:
            if key not in self:
                self._check_writable(key)
                local = self._shared is None or is_hidden(key)
                self._put(key, default if local else cast(Sharing, self._shared).setdefault(key, default))
            return self[key]

    def clear(self) -> None:
        """Forget everything, the widgets' values, too. Fields that others add to a stored session meanwhile stay."""
        with self.lock:
            if self._shared is not None:
                self._shared.delete(self._places.shown())
            self._places.clear()
            self._addresses.clear()

    def save(self) -> None:
        """Commit what was changed in place. Nothing happens if nothing was, or if the state is not stored."""
        with self.lock:
            if self._shared is not None:
                self._shared.save()

    # --- Widgets -----------------------------------------------------------------------------------------------------

    @property
    def filtered_state(self) -> dict[str, Any]:
        """The user's keys, and the values of widgets that have one, by key. Widgets without a key, and those that were
        not made since the browser sent their values, are left out."""
        self._look()
        find = self._places.find
        return {key: value for key in self._places.shown() if (value := find(key)) is not MISSING}

    @property
    def query_params(self) -> QueryParams:
        """What the page's address says after its "?"."""
        if self._keeps_params:
            self._look()
        return self._addresses.params

    def is_new_state_value(self, user_key: str) -> bool:
        """Whether the code has set this key in this run."""
        return user_key in self._new

    def reset_state_value(self, user_key: str, value: Any | None) -> None:
        """Set a key, though its widget was made: for the makers of widgets, who correct what they show, and tell the
        browser themselves."""
        self._write(user_key, value)
        self._put(user_key, value)
        self._told.add(user_key)

    def maybe_check_serializable(self) -> None:
        """Where ``enforce_serializable`` is on, check that each value could be stored: `UnsupportedValue`, with the
        path, for the first that could not."""
        if self.enforce_serializable:
            for key, value in self.filtered_state.items():
                _codec.encode(key, value)

    def register_widget(self, metadata: WidgetMetadata[T], user_key: str | None) -> RegisterWidgetResult[T]:
        """Tell that a widget is made in this run, and what it is. Returns what it is to show: what its key or the
        browser says, what it was, or its default; see `RegisterWidgetResult`. What its deserializer raises comes
        through."""
        places, widget_id, key = self._places, metadata.id, user_key
        widgets, run = places.widgets, self._current_run() or ScriptRun()
        run.widget_ids.add(widget_id)
        widgets.metadata[widget_id] = metadata
        is_first, decided = widget_id not in widgets.kept, False
        differs = metadata.disabled and widgets.drop_sent(widget_id) and key not in self._new
        if key is not None:
            places.bind(key, widget_id, run.page)
            differs |= self._shared is not None and self._shared.restore(metadata, key)
            if places.persisting.shown(metadata, key, run.page):
                differs |= places.drop_old(widget_id, key)
            decided = self._addresses.read(metadata, key, is_first=is_first, history=run.history)
        if places.find_widget(widget_id, key) is MISSING:
            widgets.fresh[widget_id] = own(metadata.deserializer(None))
        value = own(places.find_widget(widget_id, key))
        if key is not None:
            if not decided and not (is_first and key in self._new):
                self._addresses.write(metadata, key, value)
            differs |= key in self._new or places.comes_back(metadata, key, value)
            self._told.add(key)
        return RegisterWidgetResult(value, differs)

    def on_script_will_rerun(self, latest_widget_states: States | None) -> None:
        """Begin a run: take up what the browser says of its widgets (`sojourn.state.wire` tells the forms that are
        understood; None: nothing), and call the callbacks of those that changed. What a callback raises comes through,
        and those after it are not called."""
        for callback in self.prepare_rerun(latest_widget_states):
            callback()

    def prepare_rerun(self, latest_widget_states: States | None) -> list[Callable[[], Any]]:
        """As `on_script_will_rerun`, and leave it to the caller to call the callbacks."""
        incoming = {} if latest_widget_states is None else read(latest_widget_states)
        run = self._current_run()
        if run is not None and run.history:
            incoming = self._addresses.without_bound(incoming)
        self._places.end_events()
        self._places.turn()
        if self._shared is not None:
            self._shared.look()
            incoming = self._addresses.without_outside(incoming)
        changed = self._places.receive(incoming)
        return [
            partial(one.callback, *(one.callback_args or ()), **(one.callback_kwargs or {}))
            for one in changed
            if one.callback is not None
        ]

    def on_script_finished(self, widget_ids_this_run: Collection[str], *, remove_stale_widgets: bool = True) -> None:
        """End a run. Events are over. In a run (see `script_run`), widgets that were not made lose their values, except
        those of other fragments and those that persist. ``remove_stale_widgets=False`` where the script was broken off.
        A stored state commits what its widgets have become."""
        run = self._current_run()
        self._places.end_events()
        if run is not None and remove_stale_widgets:
            self._addresses.release(self._places.let_go(widget_ids_this_run, run, self._addresses.bound))
        if self._shared is not None:
            self._shared.keep_widgets()

    def get_widget_states(self) -> list[Any]:
        """What widgets are in this run, as messages for the wire. Raises `MissingExtra` without the extra
        "protobuf"."""
        return [write(*told) for told in self._places.widgets.outgoing()]

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See what others have written, unless a run is under way: it sees one state from its beginning to its end."""
        if self._shared is not None and self._current_run() is None:
            self._shared.look()

    def _look_and_find(self, key: str) -> Any:
        self._look()
        return self._places.find(key)

    def _write(self, key: str, value: Any) -> None:
        """Commit a value, where the state is stored and the key is the user's."""
        if self._shared is not None and not is_hidden(key):
            self._shared.write(key, value)

    def _check_key(self, key: str) -> None:
        if type(key) is not str or is_widget_id(key):
            raise UnsupportedValue(ascii(key), "the key of a state is a string, and no widget's id")

    def _check_writable(self, key: str) -> None:
        self._check_key(key)
        run = self._current_run()
        if run is not None and (self._ids.get(key) in run.widget_ids or key in run.form_ids):
            raise WidgetInstantiated(key)
