"""`Shared`: values that all sessions of an app share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedValue
from ..session import BaseSession
from .kept import FIELDS

if TYPE_CHECKING:
    from .everyone import Everyone

__all__ = ["Shared"]


class Shared:
    """Values that all sessions share, in every process. What is set is there at once, and committed soon after;
    `update` is exact under any concurrency. Any thread may use it, once the app has started."""

    def __init__(self, everyone: Everyone) -> None:
        self._everyone = everyone

    def get(self, name: str, default: Any = None) -> Any:
        """A copy of the value under a name; the default if there is none, or the app has not started."""
        with self._everyone.page.lock:
            view = self._everyone.values
            return default if view is None or name.startswith(FIELDS) else _copy(view, name, default)

    def set(self, name: str, value: Any) -> None:
        """Keep a value under a name."""
        _check(name)
        self._everyone.post(lambda fields: fields.set(name, value))

    def update(self, name: str, function: Callable[[Any], Any]) -> None:
        """Change a value by a function of it (None where there is none). It runs more than once, so it must depend on
        nothing but its argument."""
        _check(name)
        self._everyone.post(lambda fields: fields.update(name, function))

    def delete(self, name: str) -> None:
        """Delete what is under a name; nothing happens if there is nothing."""
        _check(name)
        self._everyone.post(lambda fields: _delete(fields, name))

    def keys(self) -> list[str]:
        """The names under which there is something."""
        return list(self)

    def __getitem__(self, name: str) -> Any:
        value = self.get(name, self)
        if value is self:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.delete(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, self) is not self

    def __iter__(self) -> Iterator[str]:
        with self._everyone.page.lock:
            view = self._everyone.values
            return iter([] if view is None else [name for name in view if not name.startswith(FIELDS)])


def _copy(view: BaseSession, name: str, default: Any) -> Any:
    return deepcopy(view[name]) if name in view else default


def _delete(fields: BaseSession, name: str) -> None:
    fields.delete(name)


def _check(name: str) -> None:
    if name.startswith(FIELDS):
        raise UnsupportedValue(name, f"names that begin with {FIELDS!r} are Sojourn's own")
