"""How figures, times and facts are put. Pure."""

from __future__ import annotations

import time
from typing import Any, Final

from ...cli.humane import ago, safe, size, until
from ...live.widgets import Widget
from ..redaction import holds_an_id

__all__ = ["COLUMNS", "HIDDEN", "clock_time", "handle_in", "moment", "per_minute", "put", "seconds", "space", "text"]

COLUMNS: Final = ("Handle", "User", "Label", "Created", "Last seen", "Expires", "Size")
"""What a list of sessions can show of each."""

HIDDEN: Final = "••••••"
"""In place of what is not shown."""

_SHOWN: Final = 120  # characters of a text that anybody may have chosen


def put(widget: Widget, **values: Any) -> None:
    """Assign what is not so already: what is assigned is stored and sent."""
    for name, value in values.items():
        if getattr(widget, name) != value:
            setattr(widget, name, value)


def text(given: str | None, most: int = _SHOWN) -> str:
    """Text that somebody else chose, on a line; a dash for none. Not if there is a session id in it."""
    if given is None:
        return "–"
    if holds_an_id(given):
        return HIDDEN
    return safe(given if len(given) <= most else f"{given[:most]}…")


def handle_in(typed: str) -> str:
    """The handle in what somebody typed for one: who pastes a whole session id means it, and the secret goes no
    further."""
    return typed.strip().partition(".")[0]


def moment(at: float, now: float) -> str:
    """A time, as far from now: "3 min ago", "in 2 h"."""
    return until(at, now) if at > now else ago(at, now)


def clock_time(at: float, *, day: bool = False) -> str:
    """A time by the server's clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M:%S", time.localtime(at))


def seconds(length: float | None) -> str:
    """A short length of time: "0.4 ms", "1.2 s"; a dash where it is not known."""
    if length is None:
        return "–"
    return f"{length * 1000:.1f} ms" if length < 1 else f"{length:.1f} s"


def per_minute(number: float) -> str:
    """So many in a minute."""
    return f"{number:,.0f}"


def space(count: int | None) -> str:
    """Bytes; a dash where a store does not say."""
    return "–" if count is None else size(count)
