"""A run of the script, as far as the state must know of it: which widgets and forms it has made, where, and what for.

A run belongs to a context (one thread, one task). Other threads are in none: they may write what the script may not, as
the rule that a widget's value is not set behind its back is there to keep a script from contradicting itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ScriptRun", "current_run", "script_run"]


@dataclass(slots=True)
class ScriptRun:
    """One run, from its first line to its last."""

    page: str = ""
    """Which page of the application it shows."""

    fragment_ids: tuple[str, ...] = ()
    """The fragments that are run, and nothing else is; empty: the whole script."""

    widget_ids: set[str] = field(default_factory=set)
    """The widgets that it has made so far. `SessionState.register_widget` adds to them."""

    form_ids: set[str] = field(default_factory=set)
    """The forms that it has made so far. Their makers add to them."""

    history: bool = False
    """Whether the visitor came by the browser's back or forward button: the address then decides what bound widgets
    show."""


_current: Final[ContextVar[ScriptRun | None]] = ContextVar("sojourn_script_run", default=None)


current_run: Final[Callable[[], ScriptRun | None]] = _current.get
"""The run that this context is in; None: none."""


@contextmanager
def script_run(*, page: str = "", fragment_ids: Iterable[str] = (), history: bool = False) -> Iterator[ScriptRun]:
    """``with script_run() as run:`` around the calls that make up a run: `on_script_will_rerun`, the script,
    `on_script_finished(run.widget_ids)`."""
    run = ScriptRun(page, tuple(fragment_ids), history=history)
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)
