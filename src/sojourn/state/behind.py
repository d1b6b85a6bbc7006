"""What there can be behind a `SafeSessionState`: a state with widgets, a plain mapping, or nothing any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, MutableMapping
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

from ..errors import NoWidgets
from .query_params import QueryParams
from .values import MISSING, NoKey
from .widgets import RegisterWidgetResult, WidgetMetadata
from .wire import States

__all__ = ["Nothing", "Plain", "State", "lock_of"]

T = TypeVar("T")


class State(Protocol):
    """What a view asks of what is behind it. See `SessionState` for what each is."""

    def find(self, key: str, /) -> Any: ...
    def __setitem__(self, key: str, value: Any, /) -> None: ...
    def __delitem__(self, key: str, /) -> None: ...
    def change(self, key: str, function: Callable[[Any], Any], /) -> Any: ...
    def register_widget(self, metadata: WidgetMetadata[T], user_key: str | None, /) -> RegisterWidgetResult[T]: ...
    def prepare_rerun(self, latest_widget_states: States | None, /) -> list[Callable[[], Any]]: ...
    def on_script_finished(self, widget_ids_this_run: Collection[str], /, *, remove_stale_widgets: bool) -> None: ...
    def get_widget_states(self) -> list[Any]: ...
    def is_new_state_value(self, user_key: str, /) -> bool: ...
    def reset_state_value(self, user_key: str, value: Any | None, /) -> None: ...
    def maybe_check_serializable(self) -> None: ...
    @property
    def filtered_state(self) -> dict[str, Any]: ...
    @property
    def query_params(self) -> QueryParams: ...


class Plain:
    """A mapping of keys, without widgets."""

    __slots__ = ("_mapping", "query_params")

    def __init__(self, mapping: MutableMapping[str, Any]) -> None:
        self._mapping = mapping
        self.query_params = QueryParams()

    def find(self, key: str) -> Any:
        return self._mapping.get(key, MISSING)

    def __setitem__(self, key: str, value: Any) -> None:
        self._mapping[key] = value

    def __delitem__(self, key: str) -> None:
        del self._mapping[key]

    def change(self, key: str, function: Callable[[Any], Any]) -> Any:
        value = self._mapping[key] = function(self._mapping.get(key))
        return value

    @property
    def filtered_state(self) -> dict[str, Any]:
        return dict(self._mapping)

    def maybe_check_serializable(self) -> None:
        """Nobody has asked a mapping to."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NoWidgets

    register_widget = prepare_rerun = on_script_finished = _refuse
    get_widget_states = is_new_state_value = reset_state_value = _refuse


class Nothing:
    """What is read is not there, and what is written goes nowhere."""

    __slots__ = ()

    def find(self, key: str) -> Any:
        return MISSING

    def __setitem__(self, key: str, value: Any) -> None:
        pass

    def __delitem__(self, key: str) -> None:
        raise NoKey(key)

    def change(self, key: str, function: Callable[[Any], Any]) -> Any:
        return None

    def register_widget(self, metadata: WidgetMetadata[T], user_key: str | None) -> RegisterWidgetResult[T]:
        return RegisterWidgetResult.failure(metadata.deserializer)

    def prepare_rerun(self, latest_widget_states: States | None) -> list[Callable[[], Any]]:
        return []

    def on_script_finished(self, widget_ids_this_run: Collection[str], *, remove_stale_widgets: bool) -> None:
        pass

    def get_widget_states(self) -> list[Any]:
        return []

    def is_new_state_value(self, user_key: str) -> bool:
        return False

    def reset_state_value(self, user_key: str, value: Any | None) -> None:
        pass

    def maybe_check_serializable(self) -> None:
        pass

    @property
    def filtered_state(self) -> dict[str, Any]:
        return {}

    @property
    def query_params(self) -> QueryParams:
        return QueryParams()


def lock_of(mapping: MutableMapping[str, Any]) -> threading.RLock:
    """The lock of all views of a mapping: the same for as long as there is one. (By its address, as dicts have no
    hash; a view holds mapping and lock alike.)"""
    with _giving:
        lock: threading.RLock = _locks.setdefault(id(mapping), threading.RLock())
        return lock


_giving: Final = threading.Lock()
_locks: Final[WeakValueDictionary[int, Any]] = WeakValueDictionary()
