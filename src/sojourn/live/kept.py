"""How widgets are kept in a record: one field each, so that what different writers do to different widgets, and to
different properties of one, merges. Pure.

    _live:w:<key>   a widget: {"kind", "in", "at", "props", "on"}; "in" is the id of what it is in, "" for the page
    _live:o:<key>   what is different about a widget of the layer below: {"props"}, or {"gone": True}
    _live:t:<tab>   the last event of a tab that was done, and when: [number, seconds]
    _live:begun     that the application has put on the page what it shows to a new visitor

What is written to such a field is one of these.

    Put     the whole of it
    Drop    nothing any more
    Patch   parts of it, by value or by a function of what is there
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from msgspec import Struct

from ..session import BaseSession

__all__ = [
    "BEGUN",
    "FIELDS",
    "OVERRIDE",
    "TAB",
    "WIDGET",
    "Drop",
    "Patch",
    "Put",
    "Step",
    "Write",
    "write_fields",
]

FIELDS: Final = "_live:"
"""What the names of all our fields begin with."""

WIDGET: Final = "_live:w:"
OVERRIDE: Final = "_live:o:"
TAB: Final = "_live:t:"
BEGUN: Final = "_live:begun"


class Put(Struct, frozen=True):
    """The field is set."""

    value: dict[str, Any]


class Drop(Struct, frozen=True):
    """The field is deleted."""


class Step(Struct, frozen=True):
    """One property, or one part of the record, is set, or changed by a function."""

    path: tuple[str, ...]
    value: Any = None
    function: Callable[[Any], Any] | None = None
    otherwise: Any = None
    """What the function is given where nothing is kept."""


class Patch(Struct, frozen=True):
    """The field is changed."""

    steps: tuple[Step, ...]
    creates: bool
    """Whether it is made where it is not there: else it stays away, as somebody removed the widget meanwhile."""


Write: TypeAlias = Put | Drop | Patch


def write_fields(fields: BaseSession, writes: Mapping[str, Write], finish: Callable[[list[Any]], list[Any]]) -> None:
    """Put what is to be written into a session object, to be committed with the rest. ``finish`` makes references of
    the callbacks of a widget."""
    for name, write in writes.items():
        if isinstance(write, Put):
            _finish(write.value.get("on"), finish)
            fields[name] = write.value
        elif isinstance(write, Drop):
            fields.delete(name)
        else:
            for step in write.steps:
                if step.path == ("on",):
                    _finish(step.value, finish)
            fields.update(name, patched(write))


def _finish(on: dict[str, list[Any]] | None, finish: Callable[[list[Any]], list[Any]]) -> None:
    """Where they stand: the widget has them from then on, too."""
    for those in (on or {}).values():
        those[:] = finish(those)


def patched(patch: Patch) -> Callable[[Any], Any]:
    """The patch as a function of what is kept."""

    def apply(kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if kept is None and not patch.creates:
            return None
        changed = dict(kept or {})
        for step in patch.steps:
            inner = changed
            for name in step.path[:-1]:
                inner[name] = inner = dict(inner.get(name, {}))
            last = step.path[-1]
            inner[last] = step.value if step.function is None else step.function(inner.get(last, step.otherwise))
        return changed

    return apply
