"""Changes of sessions as lines for people. Needs the extra ``[cli]``, and has no word for its absence: import it after
`sojourn.cli.console`.
"""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.text import Text

from ..record import Change, ChangeKind
from .humane import safe

__all__ = ["Lines"]

_HANDLE: Final = 22  # columns: all of a handle of the usual form, and the end of a longer one
_USER: Final = 12
_DAY: Final = "%Y-%m-%d"
_KINDS: Final[dict[ChangeKind, tuple[str, str]]] = {
    "created": ("+", "green"),
    "changed": ("~", "blue"),
    "rotated": ("↻", "magenta"),
    "ended": ("×", "red"),
    "refused": ("!", "yellow"),
    "overwritten": ("!", "bold yellow"),
    "missed": ("?", "bold yellow"),
}
_MISSED: Final = {
    "history": "facts that are no longer kept",
    "changes": "there may have been changes of fields",
}


class Lines:
    """Shows changes, a line each, under the day when they happened."""

    def __init__(self, console: Console, store: str) -> None:
        self._console = console
        self._day = time.strftime(_DAY)
        if self._console.is_terminal:
            self._console.print(Text(f"What happens in {safe(store)}, until Ctrl-C:", style="dim"))

    def show(self, change: Change) -> None:
        """One change."""
        at = time.localtime(change.at)
        day = time.strftime(_DAY, at)
        if day != self._day:
            self._day = day
            self._console.print(Text(day, style="dim bold"))
        mark, style = _KINDS[change.kind]
        handle = safe(change.handle)
        if len(handle) > _HANDLE:
            handle = f"…{handle[1 - _HANDLE :]}"
        line = Text.assemble((time.strftime("%H:%M:%S", at), "dim"), "  ", (f"{mark} {change.kind:<11}", style), "  ")
        line.append(f"{handle:<{_HANDLE}}", style="cyan").append("  ")
        user = "–" if change.user_id is None else safe(change.user_id)
        more = _more(change)
        line.append(f"{user:<{_USER}}  " if more else user, style="" if change.user_id else "dim")
        self._console.print(line.append(more, style=style), soft_wrap=True)


def _more(change: Change) -> str:
    """Why, or what; empty if there is nothing to say."""
    if change.kind == "changed":
        return "fields" if change.fields is None else safe(", ".join(change.fields))
    reason = change.reason or ""
    return safe(_MISSED.get(reason, reason) if change.kind == "missed" else reason)
