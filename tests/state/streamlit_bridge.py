"""Sojourn's state in the place of Streamlit's: what its script runner, its elements and its `AppTest` ask of theirs.

This is test code, for the version of Streamlit that `tools/constraints.txt` names, and no adapter to use. Rule: what a
value is, where it is looked up, what has changed, what is stale, what persists, and what the address says comes from
Sojourn alone. Here are names, conversions, and what is Streamlit's own business: to which page a parameter belongs, and
what becomes of an ``st.rerun()`` in a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from google.protobuf.message import Message
from streamlit.errors import StreamlitAPIException, StreamlitWidgetAlreadyInstantiatedError
from streamlit.proto import Common_pb2
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.scriptrunner import RerunData, RerunException
from streamlit.runtime.scriptrunner import script_runner as their_runner
from streamlit.runtime.scriptrunner_utils.script_requests import _has_active_trigger_value
from streamlit.runtime.scriptrunner_utils.script_run_context import RunLocation, ThreadState, get_script_run_ctx
from streamlit.runtime.state import common
from streamlit.runtime.state import session_state as theirs
from streamlit.testing.v1 import app_test as their_test

from sojourn import SessionManager
from sojourn import state as ours
from sojourn.codec import Codec
from sojourn.errors import UnsupportedValue, WidgetInstantiated

__all__ = ["SafeSessionState", "SessionState", "install"]


def install(manager: SessionManager | None = None) -> None:
    """From now on, apps that are tested in this process have Sojourn's state; bound to new sessions of this manager, if
    there is one."""
    SessionState.manager = manager
    their_test.SessionState = SessionState  # type: ignore[misc, assignment]
    their_test.SafeSessionState = SafeSessionState  # type: ignore[misc, assignment]
    their_runner.SafeSessionState = SafeSessionState  # type: ignore[misc, assignment]


def _current_run() -> ours.ScriptRun | None:
    """The run that Streamlit is in, as Sojourn wants to know it."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return None
    return ours.ScriptRun(
        page=context.page_script_hash,
        fragment_ids=tuple(context.fragment_ids_this_run or ()),
        widget_ids=set(context.shared.widget_ids_this_run.snapshot()),
        form_ids=set(context.shared.form_ids_this_run.snapshot()),
        history=context.is_history_navigation,
    )


def _tell_address(query_string: str) -> None:
    """Tell the browser what its address is to say."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is not None:
        message = ForwardMsg()
        message.page_info_changed.query_string = context.query_string = query_string
        context.enqueue(message)


@dataclass
class _Votes:
    """What the callbacks of one interaction want to be run."""

    reruns: list[RerunData] = field(default_factory=list)
    returned: bool = False
    """Whether one of them has returned, or wants the whole app to run."""


class SessionState(ours.SessionState):
    """As Streamlit calls it."""

    def __init__(self) -> None:
        session_id = None if self.manager is None else self.manager.create_session()
        super().__init__(session_id, current_run=_current_run, on_query_params=_tell_address)
        self.pages: dict[str, str] = {}  # by the id of a bound widget
        self._votes = _Votes()
        self._called: set[str] = set()  # ids of widgets whose callbacks have run before this run
        self._finished = True

    def __setitem__(self, key: str, value: Any) -> None:
        try:
            super().__setitem__(key, value)
        except WidgetInstantiated:
            raise StreamlitWidgetAlreadyInstantiatedError(key) from None

    def __delitem__(self, key: str) -> None:
        with _their_key_error(key):
            super().__delitem__(key)

    def register_widget(self, metadata: Any, user_key: str | None) -> Any:
        sent = None
        if not metadata.disabled and not (metadata.bind and get_script_run_ctx().is_history_navigation):
            sent = next((one for one in self.get_widget_states() if one.id == metadata.id), None)
        if metadata.bind is not None:
            self.pages[metadata.id] = ThreadState.get().active_script_hash
        result = super().register_widget(self._converted(metadata), user_key)
        field_name = None if sent is None else sent.WhichOneof("value")
        return common.RegisterWidgetResult(
            result.value,
            result.value_changed,
            sent.string_value if field_name == metadata.value_type == "string_value" else None,
            list(sent.string_array_value.data) if field_name == metadata.value_type == "string_array_value" else None,
        )

    def _converted(self, metadata: Any) -> ours.WidgetMetadata[Any]:
        assert metadata.callbacks is None, "components with several callbacks are not part of this test"
        assert metadata.presenter is None, "components that present another value are not part of this test"
        return ours.WidgetMetadata(
            id=metadata.id,
            deserializer=lambda value: metadata.deserializer(_their_message(value)),
            serializer=metadata.serializer,
            value_type=metadata.value_type,
            callback=None if metadata.callback is None else self._calling(metadata),
            callback_args=metadata.callback_args,
            callback_kwargs=metadata.callback_kwargs,
            fragment_id=metadata.fragment_id,
            bind=metadata.bind,
            persist_state=metadata.persist_state,
            disabled=metadata.disabled,
            options=None if metadata.formatted_options is None else tuple(metadata.formatted_options),
            clearable=metadata.clearable,
            max_items=metadata.max_array_length,
            repeats=metadata.allow_url_duplicates,
        )

    def on_script_finished(self, widget_ids_this_run: Collection[str], *, remove_stale_widgets: bool = True) -> None:
        super().on_script_finished(widget_ids_this_run, remove_stale_widgets=remove_stale_widgets)
        self._finished = True

    def check_stored(self) -> None:
        """Raise if the session that is stored does not hold what this state shows, except for events. A run that was
        broken off has stored nothing of its widgets."""
        if self.manager is None or self.session_id is None or not self._finished:
            return
        with self.manager.session(self.session_id) as session:
            stored = {key: value for key, value in session.items() if not key.startswith("$$")}
        shown = self.filtered_state
        wrong = [key for key in stored if key not in shown or stored[key] != shown[key]]
        missing = [key for key, value in shown.items() if key not in stored and _is_lasting(value)]
        assert not wrong, f"stored is another value of {wrong}"
        assert not missing, f"nothing is stored of {missing}"

    # --- Callbacks, and what they want to be run

    def _calling(self, metadata: Any) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            if metadata.id in self._called:
                return
            with ThreadState.scoped(run_location=RunLocation.CALLBACK, fragment_id=metadata.fragment_id):
                try:
                    metadata.callback(*args, **kwargs)
                except RerunException as rerun:
                    self._votes.reruns.append(rerun.rerun_data)
                    self._votes.returned |= not rerun.rerun_data.fragment_id_queue
                else:
                    self._votes.returned = True

        return call

    def begin(self, fresh: WidgetStates | None, replayed: WidgetStates | None) -> WidgetStates | None:
        """What comes in for this run: events whose callbacks ran before the last run was broken off come again."""
        self._votes, self._called, self._finished = _Votes(), set(), False
        firing = {one.id for one in _firing(fresh)}
        again = [one for one in _firing(replayed) if one.id not in firing]
        self._called = {one.id for one in again}
        if not again:
            return fresh
        whole = WidgetStates()
        whole.widgets.extend(one for one in (fresh.widgets if fresh else ()) if one.id not in self._called)
        whole.widgets.extend(again)
        return whole

    def queue(self, fresh: WidgetStates | None, replayed: WidgetStates | None) -> None:
        """Have run what the callbacks want."""
        context, wanted = get_script_run_ctx(), self._votes.reruns
        if context is None or context.script_requests is None or not wanted:
            return
        page = context.page_script_hash
        batch = sorted(wanted, key=lambda one: one.page_script_hash != page)
        targeted = any(one.fragment_id_queue for one in batch)
        leaving = batch[-1].page_script_hash != page
        if targeted and self._votes.returned and not context.fragment_ids_this_run and not leaving:
            batch.append(RerunData(query_string=context.query_string, page_script_hash=page))
        events = {one.id: one for one in [*_firing(replayed), *(_firing(fresh) if targeted else ())]}
        if events:
            again = WidgetStates()
            again.widgets.extend(events.values())
            batch[0] = replace(batch[0], replay_trigger_states=again)
        context.script_requests.request_rerun_batch(batch)


def _is_lasting(value: Any) -> bool:
    """Whether a value should be stored: it is no event, and of a type that can be."""
    try:
        Codec().encode("", value)
    except UnsupportedValue:
        return False
    return value not in (False, None)


def _their_message(value: Any) -> Any:
    """A message of ours as one of theirs, by its bytes; anything else as it is."""
    kind = getattr(Common_pb2, value.DESCRIPTOR.name) if isinstance(value, Message) else None
    return value if kind is None else kind.FromString(value.SerializeToString())


def _firing(states: WidgetStates | None) -> list[WidgetState]:
    return [one for one in (() if states is None else states.widgets) if _has_active_trigger_value(one)]


class SafeSessionState(ours.SafeSessionState):
    """As Streamlit calls it."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        with _their_key_error(key):
            return super().__getitem__(key)

    def on_script_will_rerun(
        self,
        fresh_widget_states: WidgetStates | None,
        *,
        replay_trigger_states: WidgetStates | None = None,
        replay_trigger_values: Mapping[str, Any] | None = None,
        is_history_navigation: bool = False,
    ) -> None:
        state = self._state
        incoming = state.begin(fresh_widget_states, replay_trigger_states)
        super().on_script_will_rerun(None if incoming is None else incoming.SerializeToString())
        if fresh_widget_states is not None:
            state.queue(fresh_widget_states, replay_trigger_states)

    @contextmanager
    def query_params(self) -> Iterator[Any]:
        with super().query_params() as params:
            yield _Params(params, self._state)


class _Params:
    """Query parameters as Streamlit calls them."""

    def __init__(self, params: ours.QueryParams, state: SessionState) -> None:
        self._params = params
        self._state = state

    def __getattr__(self, name: str) -> Any:
        return _in_their_words(getattr(self._params, name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def __str__(self) -> str:
        return str(self._params)

    def __contains__(self, key: object) -> bool:
        return key in self._params

    def __getitem__(self, key: str) -> str:
        return self._params[key]

    def __setitem__(self, key: str, value: Any) -> None:
        _in_their_words(self._params.__setitem__)(key, value)

    def __delitem__(self, key: str) -> None:
        _in_their_words(self._params.__delitem__)(key)

    def remove_param(self, key: str) -> bool:
        return self._params.put({key: []})

    def set_initial_query_params(self, query_string: str) -> None:
        """Sojourn has but one address."""

    def set_initial_query_params_from_current(self) -> None:
        """Sojourn has but one address."""

    def populate_from_query_string(self, query_string: str, valid_script_hashes: set[str] | None = None) -> None:
        """What the browser's address says, but for what belongs to widgets of other pages than these."""
        self._params.load(query_string)
        if valid_script_hashes is None:
            return
        owners = {key: self._params.bound_to(key) for key in self._params}
        foreign = {
            key: owner
            for key, owner in owners.items()
            if owner is not None and self._state.pages[owner] not in valid_script_hashes
        }
        if foreign:
            self._params.load(query_string, leave_out=foreign)
            for owner in foreign.values():
                self._params.unbind(owner)
            _tell_address(self._params.query_string)


def _in_their_words(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UnsupportedValue as refused:
            raise StreamlitAPIException(str(refused)) from None

    return call


@contextmanager
def _their_key_error(key: str) -> Iterator[None]:
    try:
        yield
    except KeyError:
        raise KeyError(theirs._missing_key_error_message(key)) from None
