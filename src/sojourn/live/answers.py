"""How the events of each tab were answered: each is done once, and whoever sends it again is told so again. No I/O.

What was done is kept in the session's record, in the same commit as what the event did. What was answered by an error
changed nothing, and is known only here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from ..session import BaseSession
from .kept import TAB
from .protocol import Ack, ErrorFrame

__all__ = ["AlreadyDone", "Answers"]

_TABS: Final = 32  # tabs of which it is kept what was done, if they were not heard of for long,
_TAB_LIFE: Final = 3600.0  # seconds,
_MOST_TABS: Final = 256  # or at most, though they were heard of lately
_TABS_HERE: Final = 256  # tabs of which this process knows it
_ERRORS: Final = 256  # answers that are kept for tabs that may not have heard of them


class AlreadyDone(Exception):
    """The event was done, by another process."""


class Answers:
    """What became of the events of a session's tabs."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._errors: dict[tuple[str, int], ErrorFrame] = {}

    def __len__(self) -> int:
        return len(self._done)

    def last(self, tab: str) -> int:
        """The number of the last event of a tab that was answered; 0: none was."""
        return self._done.get(tab, 0)

    def again(self, tab: str, number: int) -> Ack | ErrorFrame:
        """The answer to an event that was answered before."""
        return self._errors.get((tab, number)) or Ack(number)

    def answered(self, tab: str, number: int) -> None:
        """An event is done."""
        self._done[tab] = number

    def failed(self, tab: str, number: int, frame: ErrorFrame) -> None:
        """An event was answered by an error."""
        self._done[tab] = number
        self._errors[tab, number] = frame
        if len(self._errors) > _ERRORS:
            del self._errors[next(iter(self._errors))]

    def told(self, tab: str, first: int) -> int:
        """What a page says is done: an event that was answered by an error is not, if the tab has not heard of it. It
        has heard of all before ``first`` (0: of all)."""
        unheard = [n for of, n in self._errors if of == tab and n >= first] if first else []
        return min((n - 1 for n in unheard), default=self.last(tab))

    def arrived(self, tab: str, first: int, here: Iterable[str], kept: Collection[str]) -> None:
        """A tab is here: of what is before ``first`` it has the answers, and will not send it again. Tabs that are
        neither here nor kept are forgotten when there are many."""
        if first > 1:
            self._done[tab] = max(self.last(tab), first - 1)
        if len(self._done) > _TABS_HERE:
            stay = {*here, tab}
            self._done = {one: done for one, done in self._done.items() if one in stay or TAB + one in kept}

    # --- In the record -----------------------------------------------------------------------------------------------

    def claim(self, fields: BaseSession, tab: str, number: int, now: float, here: Collection[str] = ()) -> None:
        """Put into a commit that an event is done; the commit raises `AlreadyDone` if it is by then. ``here`` are the
        tabs that are open."""
        name = TAB + tab
        if name not in fields.record.fields:
            _prune(fields, now, here)

        def done(kept: list[Any] | None) -> list[Any]:  # on what is stored then: another process may have it
            if kept is not None and kept[0] >= number:
                raise AlreadyDone
            return [number, now]

        fields.update(name, done)

    def learn(self, fields: Mapping[str, Any], names: Iterable[str]) -> None:
        """Take over what is kept under these names, as far as they are ours."""
        for name in names:
            if name.startswith(TAB) and (kept := fields.get(name)) is not None:
                tab = name.removeprefix(TAB)
                self._done[tab] = max(self.last(tab), kept[0])


def _prune(fields: BaseSession, now: float, here: Collection[str]) -> None:
    """Before a tab comes to be kept: those that were not heard of for long, and are not here, are forgotten."""
    tabs = [name for name in fields.record.fields if name.startswith(TAB)]
    if len(tabs) < _TABS:
        return
    tabs.sort(key=lambda name: float(fields[name][1]), reverse=True)
    for place, name in enumerate(tabs):
        old = place >= _MOST_TABS - 1 or (place >= _TABS and now - fields[name][1] > _TAB_LIFE)
        if old and name.removeprefix(TAB) not in here:
            del fields[name]
