"""What one watcher is told, and who waits for a lease. Both are made, and told, by the hub.

A watch begins behind: it reads the history by itself until it is where the hub is, and then the hub feeds it. One that
does not keep up falls behind again. So what waits for a slow watcher is bounded, and no fact is lost to it either, as
long as the store keeps it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from .. import facts
from ..errors import HistoryTrimmed, StoreError
from ..record import Change, replace
from ..waiting import Signal

if TYPE_CHECKING:
    from .hub import Hub

__all__ = ["ALL", "FACTS", "PAGE", "TICK", "Topic", "Turn", "Watch"]

log = logging.getLogger("sojourn")

TICK: Final = 1.0
"""Seconds between two looks when the feed says nothing."""

PAGE: Final = 500
"""Facts read at a time."""

_MOST: Final = 1000  # changes that wait for a watcher

Topic: TypeAlias = tuple[Literal["session", "user", "all", "facts"], str]
"""What is watched: a session by its handle, a user's sessions, or all; or the facts of all sessions, without changes of
fields."""

ALL: Final[Topic] = ("all", "")
FACTS: Final[Topic] = ("facts", "")


class Watch:
    """What one watcher is told. Made by `Hub.watch`."""

    def __init__(self, hub: Hub, topic: Topic, since: int) -> None:
        self._hub = hub
        self.topic = topic
        self._position = since  # where it is in the history, while it is behind
        self._behind = True
        self._pending: dict[str, Change] = {}
        self._said: dict[str, Change] = {}  # what is said while it is behind, and comes after what it has yet to read
        self._gone: Change | None = None  # the end of its session, if the history turns out not to tell it
        self._signal: Signal | None = None
        self._ended = False
        self._patient_until: float | None = None  # for the hub, which is not as far as the history tells
        self.live = False
        """Whether the feed has told of all that it watches, without a break."""
        self.aside = False
        """Whether it is nobody's socket or page, and not to be counted among them."""
        self.woken: Callable[[], None] | None = None
        """Called when there may be something to take with ``next(0)``: for who watches many sessions and would not have
        a task wait for each. It is called under the hub's lock, so it must only note that."""
        self.knows: Callable[[bytes], bool] | None = None
        """Whether a version is one of the watcher's own commits, or one that it has seen: of that it is not told."""

    async def next(self, timeout: float | None = None) -> Change | None:
        """The next change, as soon as there is one; None if there was none for so many seconds, or if the session that
        is watched has ended. Raises `StoreUnavailable` once the store was closed."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            self._hub.check_open()
            with self._hub.lock:
                if self._pending:
                    return self._pending.pop(next(iter(self._pending)))
                if self._ended:
                    return None
                self._signal = signal = self._hub.waiting.signal()
                behind = self._behind
            if behind and await self.catch_up():
                continue
            left = TICK if until is None else min(until - time.monotonic(), TICK)
            if left <= 0:
                return None
            await signal.wait(left)
            self._hub.go_on()

    @property
    def behind(self) -> bool:
        """Whether it is to read the history by itself, which `next` does."""
        return self._behind

    @property
    def over(self) -> bool:
        """Whether there will be no other change, as the session that is watched has ended."""
        return self._ended and not self._pending

    async def close(self) -> None:
        """Tell it nothing any more."""
        await self._hub.leave(self.topic, self)

    # --- What the hub says, under its lock ---------------------------------------------------------------------------

    def tell(self, before: int, told: Iterable[Change]) -> None:
        """Facts that come after this position of the history."""
        if not self._behind:
            mine = [change for change in told if self._wants(change)]
            if len(self._pending) + len(mine) > _MOST:
                self._behind, self._position = True, before
            else:
                self._take(mine)
        self.wake()

    def end(self, change: Change) -> None:
        """The session that is watched is gone, and the hub knows no fact of it. One that is behind may yet read it."""
        if self._behind:
            self._gone = change
        else:
            self._take([change])
        self.wake()

    def say(self, change: Change) -> None:
        """Fields changed, or something was missed. Together with what waits of the same kind it is one change."""
        if self._ended:
            return
        waiting = self._said if self._behind else self._pending
        key = _key(change)
        before = waiting.get(key)
        if before is not None:
            waiting[key] = _together(before, change)
        elif len(waiting) < _MOST:
            waiting[key] = change
        else:
            waiting["missed::changes"] = facts.missed("changes", change.at)
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        if self._signal is not None:
            self._signal.set()
            self._signal = None
        if self.woken is not None:
            self.woken()

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _wants(self, change: Change) -> bool:
        kind, name = self.topic
        return kind in ("all", "facts") or name == (change.handle if kind == "session" else change.user_id)

    def _take(self, told: Iterable[Change]) -> None:
        for change in told:
            if not self._ended:
                self._pending[change.id] = change
                self._ended = change.kind == "ended" and self.topic[0] == "session"

    def _hand_on(self, said: Iterable[Change]) -> None:
        """Put what was said while it was behind in its place."""
        for change in tuple(said):
            key = _key(change)
            del self._said[key]
            before = self._pending.get(key)
            self._pending[key] = change if before is None else _together(before, change)

    def _waits_for_hub(self, position: int) -> bool:
        """Whether the hub may yet say what changed before an end that the history tells up to this position. It wakes
        us when it is there, and for much else; where it can't get there, nobody waits for long."""
        if self._hub.position is not None and self._hub.position >= position:
            return False
        now = time.monotonic()
        if self._patient_until is None:
            self._patient_until = now + TICK
        return now < self._patient_until

    async def catch_up(self) -> bool:
        """Read a page of the history. Returns whether there was something to tell."""
        hub = self._hub
        try:
            position, told = await hub.store.changes(self._position, PAGE)
        except HistoryTrimmed as gap:
            with hub.lock:
                missed = facts.missed("history", hub.clock())
                self._pending[missed.id] = missed
                self._position = gap.position
            return True
        except StoreError as error:
            hub.check_open()
            log.info("a watcher could not read the history and will try again: %s", error)
            return False
        with hub.lock:
            mine = [change for change in told if self._wants(change)]
            if any(change.kind == "ended" for change in mine) and self._waits_for_hub(position):
                return bool(self._pending)
            self._patient_until = None
            for change in mine:
                if change.kind == "ended":  # what was said of it came before
                    self._hand_on(said for said in self._said.values() if said.handle == change.handle)
                self._take([change])
            self._position = position
            if position == hub.position:
                self._behind = False
                if self._gone is not None:
                    self._take([self._gone])
                for change in self._said.values():
                    if not hub.has_ended(change.handle):
                        self.say(change)
                self._said = {}
        return bool(told or self._pending)


class Turn:
    """Wakes who waits for the lease of a session. Made by `Hub.turn`."""

    def __init__(self, hub: Hub, handle: str) -> None:
        self._hub = hub
        self._topic: Topic = ("session", handle)
        self._signal: Signal | None = None

    def arm(self) -> None:
        """From here on, whatever is said of the session ends the next `wait`."""
        self._signal = self._hub.waiting.signal()

    async def wait(self, timeout: float) -> None:
        """Until something is said of the session; at most so many seconds."""
        if self._signal is not None:
            await self._signal.wait(timeout)

    def wake(self) -> None:
        """Something was said of the session."""
        if self._signal is not None:
            self._signal.set()

    async def close(self) -> None:
        """Nobody waits any more."""
        await self._hub.leave(self._topic, self)


def _key(change: Change) -> str:
    """What waits of the same kind of the same session is one change."""
    return f"{change.kind}:{change.handle}:{change.reason}"


def _together(before: Change, after: Change) -> Change:
    """Two changes of a session as one."""
    if before.fields is None or after.fields is None:
        return replace(after, fields=None)
    return replace(after, fields=tuple(dict.fromkeys(before.fields + after.fields)))
