"""What a room has told: a bounded log that all sockets of a session read from, each at its own pace. No I/O.

It has two streams, each numbered without a gap: "s" of what is the session's own, "g" of what all see. Who has come
up to a number in each has read the log up to one place.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import Final, Literal

from .protocol import Position

__all__ = ["Log"]

_ENTRIES: Final = 32  # that are kept for who comes again,
_CHARACTERS: Final = 64 * 1024  # and so many in all, but for the newest entry


class Log:
    """The last frames that a room has told. ``app`` is the place in the app's stream where it begins."""

    def __init__(self, app: Position) -> None:
        self._entries: deque[tuple[Literal["s", "g"], int, str]] = deque()
        self._characters = 0
        self._stream = secrets.token_urlsafe(6)
        self._number = 0
        self._app_stream, self._app_number = app
        self.first = 0
        """The place of the oldest entry that is kept, counted since the room was opened."""

    @property
    def end(self) -> int:
        """The place after the newest entry."""
        return self.first + len(self._entries)

    @property
    def own(self) -> Position:
        """Where the session's stream is."""
        return self._stream, self._number

    @property
    def app(self) -> Position:
        """Where the app's stream is, as this room has told it."""
        return self._app_stream, self._app_number

    def next(self) -> int:
        """The number of what is told next of the session's own."""
        return self._number + 1

    def push(self, text: str) -> None:
        """Something of the session's own is told, under the next number."""
        self._number += 1
        self._add("s", self._number, text)

    def push_app(self, number: int, text: str) -> None:
        """Something that all see is told."""
        self._app_number = number
        self._add("g", number, text)

    def _add(self, stream: Literal["s", "g"], number: int, text: str) -> None:
        entries = self._entries
        entries.append((stream, number, text))
        self._characters += len(text)
        while len(entries) > _ENTRIES or (self._characters > _CHARACTERS and len(entries) > 1):
            self._characters -= len(entries.popleft()[2])
            self.first += 1

    def entry(self, place: int) -> str:
        """What was told at a place, which is one that is kept."""
        return self._entries[place - self.first][2]

    def place_after(self, own: Position | None, app: Position | None) -> int | None:
        """From which place on somebody who has come this far is to be told; None: what they missed is not kept, or they
        were told by another room."""
        if own is None or app is None or own[0] != self._stream or app[0] != self._app_stream:
            return None
        if not 0 <= own[1] <= self._number or not 0 <= app[1] <= self._app_number:
            return None
        missed = self._number - own[1] + self._app_number - app[1]
        if missed > len(self._entries):
            return None
        newest = list(self._entries)[len(self._entries) - missed :]
        if any(number <= (own[1] if stream == "s" else app[1]) for stream, number, _ in newest):
            return None  # no room has told these two together
        return self.end - missed
