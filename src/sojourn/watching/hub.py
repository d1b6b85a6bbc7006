"""The hub: follows the feed, reads the history, and tells all who watch with one manager, while there are any."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterator
from itertools import chain
from typing import Final, TypeVar

from .. import facts
from ..errors import HistoryTrimmed, StoreError, StoreUnavailable
from ..policy import is_over
from ..record import Change
from ..store import Feed, Hint, Store
from ..waiting import Background, Signal, Waiting
from .watch import ALL, FACTS, PAGE, TICK, Topic, Turn, Watch

__all__ = ["Hub"]

log = logging.getLogger("sojourn")

T = TypeVar("T")

_LOOK: Final = 30.0  # seconds between two looks at the sessions themselves: what a writer that died did not say is seen
_PATIENCE: Final = 1.0  # seconds for which the beginning of a watch waits for the feed
_GRACE: Final = 0.5  # seconds for which the feed may be behind the history: only a writer that died says nothing
_LINGER: Final = 5.0  # seconds for which the feed is kept when nobody watches any more
_FIRST_PAUSE: Final = 0.02  # seconds before another feed is opened,
_LONGEST_PAUSE: Final = 1.0  # and at most
_ENDED_KEPT: Final = 1000  # sessions of which nothing is told any more
_GATHER: Final = 0.05  # seconds between two looks at the feed where facts alone are watched


class _Said:
    """What the feed has said, and of that the changes that were not told yet."""

    __slots__ = ("changed", "hints")

    def __init__(self, hints: list[Hint]) -> None:
        self.hints: list[Hint] = []
        self.changed: list[Hint] = []
        self.add(hints)

    def add(self, hints: list[Hint]) -> None:
        self.hints += hints
        self.changed += [hint for hint in hints if hint.handle and hint.version is not None]


_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()
_inherited: list[Feed] = []  # in a forked child: feeds of the parent, which are not the child's to close


class Hub:
    """Follows the feed for all who watch with one manager. `sweep` removes the dead: that a session ran out becomes a
    fact when somebody looks, and who watches wants to know."""

    def __init__(
        self, store: Store, waiting: Waiting, clock: Callable[[], float], sweep: Callable[[], Awaitable[object]]
    ) -> None:
        self.store = store
        self.waiting = waiting
        self.clock = clock
        self._sweep = sweep
        self.apart: frozenset[str] = frozenset()
        """Handles of records that are nobody's sessions: their commits are not in `heard`."""
        self._closed = False
        self._begin_anew()
        _hubs.add(self)

    def _begin_anew(self) -> None:
        self.lock = threading.Lock()
        self.position: int | None = None
        """Up to where the history was read; None: nobody reads it."""
        self.heard = 0
        """Commits that the feed told of, of all sessions in whatever process, while facts or all were watched. Of those
        that it lost, as it broke or there were too many, nobody knows the number."""
        self._watches: dict[Topic, weakref.WeakSet[Watch]] = {}
        self._turns: dict[Topic, weakref.WeakSet[Turn]] = {}
        self._followed: set[str] = set()  # the sessions that the feed was asked to tell of
        self._seen: dict[str, bytes] = {}  # the versions at which sessions that are watched were seen; b"": not yet
        self._ended: dict[str, None] = {}  # the last sessions whose end was told
        self._ready: list[tuple[Topic, Signal]] = []  # who waits for a feed that tells of this
        self._feed: Feed | None = None
        self._work: Background | None = None
        self._shift = 0  # counts how often work began

    # --- Coming and going --------------------------------------------------------------------------------------------

    async def watch(self, topic: Topic, since: int | None = None) -> Watch:
        """A new watch, from this position of the history on; None: from now on. Returns when the feed tells of it, or
        can't be had at once. Load a session that is to be watched after this, and say so to `saw`."""
        self.check_open()
        watch = Watch(self, topic, await self.store.position() if since is None else since)
        with self.lock:
            _add(self._watches, topic, watch)
            if topic[0] == "session":
                self._seen.setdefault(topic[1], b"")
            entry = (topic, self.waiting.signal())
            self._ready.append(entry)
        if await self._join(topic):
            watch.live = True
        else:
            await entry[1].wait(_PATIENCE)
        with self.lock:
            if entry in self._ready:
                self._ready.remove(entry)
        if since is None:
            await watch.catch_up()  # as a rule it is where the hub is then, and is told everything in the hub's order
        return watch

    def saw(self, handle: str, version: bytes) -> None:
        """A session that is watched was loaded: whatever comes after this version is a change."""
        with self.lock:
            self._ended.pop(handle, None)  # it is there, again: the record of a live app has the same handle each time
            if self._seen.get(handle) == b"":
                self._seen[handle] = version

    async def turn(self, handle: str) -> Turn:
        """A new wait for the lease of a session."""
        self.check_open()
        turn = Turn(self, handle)
        with self.lock:
            _add(self._turns, ("session", handle), turn)
        await self._join(("session", handle))
        return turn

    def watchers(self, handle: str | None = None) -> int:
        """How many watch this session, or any; those aside who are no sockets and no pages."""
        with self.lock:
            groups = [
                group
                for (kind, name), group in self._watches.items()
                if kind == "session" and (handle is None or name == handle)
            ]
            return sum(not watch.aside for group in groups for watch in group)

    async def leave(self, topic: Topic, one: Watch | Turn) -> None:
        """A watch, or a wait, is over."""
        with self.lock:
            for group in (self._watches.get(topic), self._turns.get(topic)):
                if group is not None:
                    group.discard(one)  # type: ignore[arg-type]
        await self._forget()

    async def close(self) -> None:
        """Stop working. Who waits in a watch is woken, and told that the store was closed."""
        with self.lock:
            self._closed = True
            feed, work = self._feed, self._work
            for watch in _members(self._watches):
                watch.wake()
        if feed is not None:
            await feed.close()
        if work is not None:
            await work.finished()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def check_open(self) -> None:
        """Raises `StoreUnavailable` after `close`."""
        if self._closed:
            raise StoreUnavailable("the store was closed")

    def has_ended(self, handle: str) -> bool:
        """Whether the end of a session was told, lately."""
        return handle in self._ended

    def forked(self) -> None:
        """In the child of a fork: who worked is not here, and the feed is the parent's."""
        if self._feed is not None:
            _inherited.append(self._feed)
        self._begin_anew()

    def go_on(self) -> None:
        """See to it that somebody works."""
        with self.lock:
            if self._work is None and not self._closed:
                self._shift += 1
                shift = self._shift
                self._work = self.waiting.start(lambda: self._follow(shift), "sojourn-watch")

    async def _join(self, topic: Topic) -> bool:
        """Have the feed tell of this. Returns whether it does from now on."""
        session = topic[0] == "session"
        with self.lock:
            feed = self._feed
            if session:
                self._followed.add(topic[1])
        self.go_on()
        try:
            return feed is not None and await feed.follow([topic[1]] if session else [], everything=not session)
        except StoreError as error:
            log.debug("the feed broke: %s", error)  # as is noticed where it is listened to
            return False

    async def _forget(self) -> None:
        """Stop following sessions that nobody watches any more."""
        with self.lock:
            for groups in (self._watches, self._turns):
                for topic in [topic for topic, group in groups.items() if not group]:
                    del groups[topic]
            sessions = self._sessions()
            gone = self._followed - sessions
            self._followed &= sessions
            self._seen = {handle: version for handle, version in self._seen.items() if handle in sessions}
            feed = self._feed
        if feed is not None and gone:
            try:
                await feed.forget(gone)
                with self.lock:
                    back = gone & self._sessions()
                if back:  # somebody came just now, whom the feed may have promised to tell before it forgot
                    await feed.follow(back)
            except StoreError as error:
                log.debug("the feed broke: %s", error)  # as is noticed where it is listened to

    def _sessions(self) -> set[str]:
        return {name for kind, name in chain(self._watches, self._turns) if kind == "session"}

    # --- The work ----------------------------------------------------------------------------------------------------

    async def _follow(self, shift: int) -> None:
        """Follow one feed after another, while somebody watches."""
        pause = _FIRST_PAUSE
        try:
            while not self._closed:
                feed = self.store.feed(self.waiting)
                try:
                    await feed.open()
                    pause = _FIRST_PAUSE
                    await self._begin(feed)
                    await self._listen(feed)
                    break  # nobody watches any more
                except StoreError as error:
                    if not self._closed:
                        log.info("the feed broke, and what it may have said is looked up: %s", error)
                finally:
                    if self._feed is feed:
                        self._feed = None
                    await feed.close()
                with self.lock:
                    if self._is_over():
                        return
                await self.waiting.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            if self._shift == shift:
                self._work = None

    def _is_over(self) -> bool:
        """Whether nothing is left to do: this is closed, or nobody watches, and who comes next begins anew. To be asked
        with the lock, as who comes now looks whether somebody works."""
        if self._watches or self._turns:
            return self._closed
        self._feed = self._work = self.position = None
        return True

    async def _begin(self, feed: Feed) -> None:
        """A feed was opened: follow what is watched, and see what happened while there was none."""
        if self.position is None:
            self.position = await self.store.position()
        with self.lock:
            self._feed = feed
            sessions = self._sessions()
            everything = any(kind != "session" for kind, _ in self._watches)
        follows = await feed.follow(sessions, everything=everything)
        await self._look_at_everything(follows=follows)

    async def _listen(self, feed: Feed) -> None:
        """Take what the feed says, until nobody has watched for a while."""
        left_at: float | None = None
        read_at = looked_at = time.monotonic()
        while not self._closed:
            await self._take(_Said(await feed.hints(TICK)), feed)
            if self._counts_only:
                # Many commits are then taken at once, and each costs whoever makes it next to nothing.
                await self.waiting.sleep(_GATHER)
            now = time.monotonic()
            if now - read_at < TICK:
                continue
            read_at = now
            await self._take(_Said([]), feed, read=True)
            if now - looked_at >= _LOOK:
                looked_at = now
                await self._look_at(dict(self._seen))
            await self._bury()
            await self._forget()
            with self.lock:
                if self._watches or self._turns:
                    left_at = None
                elif left_at is None:
                    left_at = now
                elif now - left_at > _LINGER and self._is_over():
                    return

    async def _bury(self) -> None:
        """Make facts of those that ran out."""
        if self._watches:
            try:
                await self._sweep()
            except StoreError as error:  # the cleaners of others may do better
                log.info("what has expired could not be removed: %s", error)

    async def _take(self, said: _Said, feed: Feed, *, read: bool = False) -> None:
        """Do what the feed has said. ``read``: read the history, though nothing of that was said."""
        to_look_at: dict[str, bytes] = {}
        if read or any(hint.facts for hint in said.hints):
            await self._keep_up(said, feed)
        counts_only = self._counts_only
        for hint in said.changed:
            self._tell_change(hint)
        for hint in said.hints:
            if counts_only and hint.handle:
                continue
            with self.lock:
                for turn in _members(self._turns) if not hint.handle else self._turns.get(("session", hint.handle), ()):
                    turn.wake()
            if not hint.handle:
                await self._look_at_everything()
            elif hint.version is None and not hint.facts and hint.handle in self._seen:
                to_look_at[hint.handle] = self._seen[hint.handle]
        if to_look_at:
            await self._look_at(to_look_at)
            self._now_ready(lambda topic: topic[1] in to_look_at)

    def _now_ready(self, which: Callable[[Topic], bool]) -> None:
        """The feed tells of these, and what it did not tell has been looked up."""
        with self.lock:
            ready = [entry for entry in self._ready if which(entry[0])]
        for _, signal in ready:
            signal.set()

    async def _keep_up(self, said: _Said, feed: Feed) -> None:
        """Read the history. Where facts in it were lost, ends may have been among them: look at the sessions."""
        if not await self._read(said, feed):
            await self._look_at(dict(self._seen))

    async def _hear_out(self, told: list[Change], said: _Said, feed: Feed) -> None:
        """The history may be ahead of the feed, which says what changed before the end of a session, and then that: so
        wait for that, a little."""
        ended = {change.handle for change in told if change.kind == "ended"}
        ended -= {hint.handle for hint in said.hints if hint.ended}
        if all(kind == "session" for kind, _ in list(self._watches)):
            ended &= self._seen.keys()  # of others it may say nothing
        left, give_up = _GRACE, time.monotonic() + _GRACE
        while ended and left > 0:  # the first time in any case: this process may have paused
            more = await feed.hints(left)
            said.add(more)
            ended -= {hint.handle for hint in more if hint.ended}
            if any(not hint.handle for hint in more):
                return  # it does not name them one by one
            left = give_up - time.monotonic()

    def _tell_changes(self, changed: list[Hint], handles: Collection[str]) -> None:
        """Tell of the changes of these sessions, and take them from the list."""
        for hint in [hint for hint in changed if hint.handle in handles]:
            changed.remove(hint)
            self._tell_change(hint)

    def _spread(self, before: int, told: list[Change], position: int) -> None:
        """Tell facts that come after ``before`` to whom they concern; the history was read up to ``position``."""
        with self.lock:
            self.position = position
            concerned = {watch for change in told for watch in self._concerned(change.handle, change.user_id)}
            for watch in chain(concerned, self._watches.get(FACTS, ())):
                watch.tell(before, told)

    async def _read(self, said: _Said | None = None, feed: Feed | None = None) -> bool:
        """Read the history to its end, and tell of it. What the feed has ``said`` that changed is told, and taken from
        there, before the end of its session, but never before its creation. Returns whether the history was whole."""
        whole = True
        changed = [] if said is None else said.changed
        while True:
            before = self.position or 0
            try:
                after, told = await self.store.changes(before, PAGE)
            except HistoryTrimmed as gap:
                with self.lock:
                    self.position = gap.position
                    for watch in _members(self._watches):
                        watch.say(facts.missed("history", self.clock()))
                whole = False
                continue
            if not told:
                return whole
            before_this = {hint.handle for hint in changed}  # of later ones the creation may still be unread
            if said is not None and feed is not None:
                await self._hear_out(told, said, feed)
            born = {change.handle for change in told if change.kind == "created"}
            self._tell_changes(changed, before_this - born)
            begun = 0
            for at, change in enumerate(told):
                if change.kind == "ended" and any(hint.handle == change.handle for hint in changed):
                    self._spread(before, told[begun:at], before)  # born, changed and ended within a page
                    begun = at
                    self._tell_changes(changed, {change.handle})
            self._spread(before, told[begun:], after)
            for change in told:
                if change.kind == "ended":
                    self._ended[change.handle] = None
                elif change.kind == "created":  # anew, under a handle that is no session's id
                    self._ended.pop(change.handle, None)
            while len(self._ended) > _ENDED_KEPT:
                del self._ended[next(iter(self._ended))]

    async def _look_at_everything(self, *, follows: bool = True) -> None:
        """Hints may have been lost: read the history, look at the sessions that are watched, and say to those who watch
        more than one that they may have missed something. ``follows``: the feed tells of all that is watched now."""
        await self._read()
        await self._look_at(dict(self._seen))
        with self.lock:
            for watch in _members(self._watches):
                if watch.topic[0] not in ("session", "facts") and watch.live:
                    watch.say(facts.missed("changes", self.clock()))
                watch.live = follows
        if follows:
            self._now_ready(lambda topic: True)

    async def _look_at(self, seen: dict[str, bytes]) -> None:
        """See whether sessions are as they were."""
        found = await self.store.load_many(list(seen)) if seen else {}
        gone = [handle for handle in seen if handle not in found]
        if gone:
            await self._read()
        for handle in gone:
            if handle not in self._ended:  # nobody keeps why
                with self.lock:
                    for watch in self._watches.get(("session", handle), ()):
                        watch.end(facts.ended(handle, None, "ended", self.clock()))
        for handle, record in found.items():
            if not is_over(record, self.clock()):  # else it is about to be swept
                self._changed(handle, record.user_id, record.version, None)

    @property
    def _counts_only(self) -> bool:
        """Whether nobody wants to know of single sessions what changed, or waits for one."""
        return not self._turns and len(self._watches) == 1 and FACTS in self._watches

    def _tell_change(self, hint: Hint) -> None:
        assert hint.version is not None  # noqa: S101 - only such are told
        if hint.handle not in self.apart:
            self.heard += 1
        if self._counts_only:
            return
        self._changed(hint.handle, hint.user_id, hint.version, hint.fields)

    def _changed(self, handle: str, user_id: str | None, version: bytes, fields: tuple[str, ...] | None) -> None:
        with self.lock:
            seen = self._seen.get(handle)
            if seen is not None:
                self._seen[handle] = version
                if seen == version or (seen == b"" and fields is None):
                    return  # told before; or its watcher has yet to load it
            if fields == () or handle in self._ended:
                return
            watches = [
                watch for watch in self._concerned(handle, user_id) if watch.knows is None or not watch.knows(version)
            ]
            if watches:
                change = facts.changed(handle, user_id, version, fields, self.clock())
                for watch in watches:
                    watch.say(change)

    def _concerned(self, handle: str, user_id: str | None) -> Iterator[Watch]:
        """Who watches this session, its user, or all."""
        yield from self._watches.get(("session", handle), ())
        if user_id is not None:
            yield from self._watches.get(("user", user_id), ())
        yield from self._watches.get(ALL, ())


def _add(groups: dict[Topic, weakref.WeakSet[T]], topic: Topic, one: T) -> None:
    group = groups.get(topic)
    if group is None:
        group = groups[topic] = weakref.WeakSet()
    group.add(one)


def _members(groups: dict[Topic, weakref.WeakSet[T]]) -> Iterator[T]:
    return chain.from_iterable(groups.values())


def _after_fork() -> None:
    for hub in list(_hubs):
        hub.forked()


os.register_at_fork(after_in_child=_after_fork)
