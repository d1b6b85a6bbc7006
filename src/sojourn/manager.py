"""`AsyncSessionManager`: the operations on sessions that users call by name. What they are made of is
`sojourn.engine`'s; the same for blocking callers is `sojourn.blocking`'s.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from itertools import count
from typing import Any, Final, Self, TypeVar, cast

from . import ids
from .config import seconds
from .engine import Engine
from .errors import (
    ConflictError,
)
from .ids import Handle
from .lanes import backoff
from .listeners import Hooks
from .policy import touch_due
from .record import Amendment, Change, ChangeKind, Summary
from .session import AsyncSession, checked_label, checked_user_id
from .store import Stats
from .watching import Watch

__all__ = ["AsyncSessionManager", "AsyncWatch"]

T = TypeVar("T")
_PATIENCE: Final = 3  # attempts of a transaction before it starts to wait between them


class AsyncSessionManager(Engine, Hooks):
    """Sessions for asynchronous callers: creates, loads, commits, rotates, ends and lists them.

    ``store`` is a URL (``memory://``, the default, or ``sqlite:///path``) or a store of your own, which the manager
    then closes with itself. ``expiration_time`` is the idle timeout in seconds and overrides `config`. ``clock``
    returns Unix seconds; only tests have a reason to set it.

    A session id from outside may be anything: what is not one is treated as unknown, and never reaches the store.
    Where an id is taken, a `Handle` serves too; a plain string is never taken for a handle.

    Any operation raises `StoreUnavailable` if the store does not answer within ``config.deadline`` (nothing was
    written) and `DamagedRecord` for a session whose record fails its check.
    """

    # --- Sessions ------------------------------------------------------------------------------------------------

    async def create_session(
        self,
        user_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        label: str | None = None,
        idle_timeout: float | timedelta | None = None,
        absolute_timeout: float | timedelta | None = None,
        persistent: bool = False,
    ) -> str:
        """Create a session and return its id, which is the secret that the client carries.

        ``data`` are its first fields. ``label`` is what lists show for it (a device, say; 200 characters at most). The
        timeouts are seconds and hold for this session only. Raises `UnsupportedValue` and `TooLarge` for data that
        cannot be kept, and `TooManySessions` at the user's cap if that refuses.
        """
        amendment = None
        if (user_id, label, idle_timeout, absolute_timeout, persistent) != (None, None, None, None, False):
            amendment = Amendment(
                login=user_id is not None,
                user_id=None if user_id is None else checked_user_id(user_id),
                label=None if label is None else checked_label(label),
                idle_timeout=None if idle_timeout is None else seconds(idle_timeout, "idle_timeout"),
                absolute_timeout=None if absolute_timeout is None else seconds(absolute_timeout, "absolute_timeout"),
                persistent=persistent,
            )
        handle, secret = ids.mint(self.config.handle_form, self.clock())
        await self.add(handle, secret, self._codec.encode_all(data) if data else {}, amendment)
        return ids.join(handle, secret)

    async def get_session(self, session_id: str) -> dict[str, Any] | None:
        """The session's fields as a plain dict that shares nothing with the store; None if it is unknown, malformed,
        ended or expired. Counts as activity, unless it is asked for by its handle."""
        session = await self.open(session_id)
        if session is None:
            return None
        if session.secret and touch_due(session.record, session.loaded_at):
            await self.touch(session)
        return {name: session[name] for name in session}

    async def is_session_active(self, session_id: str) -> bool:
        """Whether there is such a session, alive. Does not count as activity."""
        return await self.open(session_id) is not None

    async def end_session(self, session_id: str) -> None:
        """End a session, for good: nothing that was loaded before can bring it back. Nothing happens if it is not
        there."""
        if type(session_id) is Handle:  # without a look, so that a damaged record can be removed, too
            if ids.is_handle(session_id):
                self.tell(await self.store.end([session_id], "ended", self.clock()))
        elif (session := await self.open(session_id)) is not None:
            self.tell(await self.store.end([session.record.handle], "ended", self.clock()))

    def session(self, session_id: str) -> AsyncSessionBlock:
        """``async with manager.session(id) as session:`` loads, and commits what changed when the block ends; if the
        block raises, nothing is committed. Raises `SessionNotFound` on entry; on exit `SessionGone` if the session
        ended meanwhile, `ConflictError`, `UnsupportedValue`, `TooLarge`, `StoreUnavailable` (nothing written) or
        `OutcomeUnknown`."""
        return AsyncSessionBlock(self, session_id)

    def exclusive(self, session_id: str, *, wait: float = 2.0, hold: float = 10.0) -> AsyncExclusiveBlock:
        """As `session`, with the session to yourself: others read, and their commits wait. ``wait`` seconds at most for
        the turn, else `SessionLeased`. The lease ends with the block, or after ``hold`` seconds if you are late: then
        another holder may come, and your commit raises `SessionLeased`. ``session.fence`` is a number that grows with
        each lease: hand it to systems that must refuse an older holder."""
        return AsyncExclusiveBlock(self, session_id, seconds(wait, "wait", zero=True), seconds(hold, "hold"))

    async def update(self, session_id: str, name: str, function: Callable[[Any], T]) -> T:
        """Change one field by a function of its current value (None where there is none), commit it now, and return the
        committed value. Exact under any concurrency. The function may run more than once, and in another thread:
        it must depend on nothing but its argument. Raises `SessionNotFound`, and as `session` on exit."""
        session = await self.require(session_id)
        session.update(name, function)
        job = self._job(session, session.delta(), session.amendment)
        await self._lanes.commit(job)
        data = job.values[name]
        return cast(T, None if data is None else self._codec.decode(name, data))

    async def transaction(self, session_id: str, function: Callable[[AsyncSession], T | Awaitable[T]]) -> T:
        """Run ``function(session)`` and commit what it changed only if nobody else committed to the session meanwhile;
        else run it again on the fresh session, until the deadline, then `ConflictError`. Serialisable: it is as if
        nobody else had been there. Returns what the function returned; if that raises, nothing is committed. Raises
        `SessionNotFound`, and as `session` on exit."""
        session = await self.require(session_id)
        deadline = time.monotonic() + self.config.deadline
        for attempt in count(1):
            try:
                result = function(cast(AsyncSession, session))
                if inspect.isawaitable(result):
                    result = await result
                fresh = await self._attempt(session, deadline)
            finally:
                session.close()
            if fresh is None:
                return cast(T, result)
            if time.monotonic() > deadline:
                raise ConflictError("the transaction met other writers until its time was up: nothing was written")
            if attempt > _PATIENCE:
                await self._waiting.sleep(backoff(attempt))
            session = self._session(fresh, session.secret, self.clock())
        raise AssertionError  # count() has no end

    async def rotate(self, session_id: str) -> str:
        """Replace the session's secret and return its new id. The old id is dead at once; session, handle and fields
        stay, and what others have under way commits. Raises `SessionNotFound`, and as `session` on exit."""
        async with self.session(session_id) as session:
            return session.rotate()

    async def login(self, session_id: str, user_id: str) -> str:
        """The session's user changes: rotate, and cut off whatever was loaded before. Returns the new id; the old one
        is dead at once. Fields stay. Raises `SessionNotFound`, `TooManySessions`, and as `session` on exit."""
        async with self.session(session_id) as session:
            return session.login(user_id)

    # --- Many sessions -------------------------------------------------------------------------------------------

    async def end_user_sessions(self, user_id: str, *, keep: str | None = None) -> int:
        """End all sessions of a user, except the one with the id or handle ``keep``. Returns how many ended."""
        ended = await self.store.end_matching(self.clock(), user_id=user_id, keep=_handle_of(keep))
        self.tell(ended)
        return len(ended)

    async def end_sessions(self, *, idle_for: float | timedelta | None = None, keep: str | None = None) -> int:
        """End all sessions that were idle for this many seconds, or simply all, except the one with the id or handle
        ``keep``. Returns how many ended."""
        now = self.clock()
        idle_since = None if idle_for is None else now - seconds(idle_for, "idle_for", zero=True)
        ended = await self.store.end_matching(now, idle_since=idle_since, keep=_handle_of(keep))
        self.tell(ended)
        return len(ended)

    async def list_sessions(self, user_id: str | None = None, *, after: str = "", limit: int = 1000) -> list[Summary]:
        """Live sessions of a user, or of all, in the order of their handles: handle, user, label, times and size, never
        an id. At most ``limit``; for the next page pass the last handle as ``after``."""
        return await self.store.summaries(self.clock(), user_id=user_id, after=after, limit=limit)

    async def stats(self) -> Stats:
        """How many records the store holds, how much space they take, and what its acknowledgements promise."""
        return await self.store.stats()

    async def changes(self, since: int = 0, limit: int = 1000) -> tuple[int, list[Change]]:
        """Life-cycle facts that the store recorded after the position ``since``, in order, and the position to go on
        from. Kept up to a bound, of some 10,000 facts and of a week; 0 starts with the oldest kept. Raises
        `HistoryTrimmed` if facts after ``since`` are no longer there."""
        return await self.store.changes(since, limit)

    def watch(self, session: str | None = None, *, user: str | None = None, since: int | None = None) -> AsyncWatch:
        """``async for change in manager.watch(session=id)``: what happens to a session (by its id or handle), to all
        sessions of a user, or to all, as it happens, in whatever process: created, changed (``change.fields``),
        rotated, ended (``change.reason``), overwritten. From now on, or from a position of the history (`changes`).

        Facts of the life of sessions come in order for each session, at least once; ``change.id`` tells one apart that
        comes twice. Changes of fields that follow each other quickly come as one. Where the watcher is too slow, or was
        cut off, for longer than the history is kept, or for changes of fields while it watches more than one session,
        there comes a change of the kind "missed": look at the sessions themselves. The watch of one session always
        ends with its newest state told, and ends when the session does. Sessions that run out are told within a second
        or so.

        ``async with manager.watch() as changes`` watches from its first line; else the loop begins it. Raises
        `SessionNotFound` where there is no such session, and `StoreUnavailable` when the manager is closed."""
        return AsyncWatch(self, session, user, since)

    # --- Facts ---------------------------------------------------------------------------------------------------

    def add_listener(self, listener: Callable[[Change], None], *kinds: ChangeKind) -> Callable[[], None]:
        """Call ``listener(change)`` for each fact of these kinds (none given: all) that this manager brings about or
        finds. Returns a function that removes it. It runs in the thread or task that met the fact, so it should be
        quick; if it raises, that is logged and nobody is disturbed."""
        entry = (listener, frozenset(kinds))
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    async def stop_listeners(self) -> None:
        """Call no listener any more in this process, and wait until the call that is under way has ended."""
        await self._listening.stop()

    # --- The cleaner ---------------------------------------------------------------------------------------------

    def start_cleaner(self) -> None:
        """Start removing dead records every ``cleanup_interval`` seconds, in a task of the running loop. Needless for
        correctness, as the dead are never served; without it, each creation removes some. Starting twice is once."""
        if self._cleaner is None:
            stop = self._waiting.signal()
            self._cleaner = (stop, self._waiting.start(lambda: self.clean_until(stop), "sojourn-cleaner"))

    async def stop_cleaner(self) -> None:
        """Stop the cleaner and wait until it has. Nothing happens if it does not run."""
        if self._cleaner is not None:
            stop, cleaner = self._cleaner
            self._cleaner = None
            stop.set()
            await cleaner.finished()

    async def close(self) -> None:
        """Stop the cleaner, the listeners and the watches, and close the store. Closing twice is allowed."""
        await self.stop_cleaner()
        await self._listening.stop()
        await self._hub.close()
        await self.store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncSessionBlock:
    """What `AsyncSessionManager.session` returns: to be entered with ``async with``, once."""

    __slots__ = ("_id", "_manager", "_session")

    def __init__(self, manager: AsyncSessionManager, session_id: str) -> None:
        self._manager = manager
        self._id = session_id

    async def __aenter__(self) -> AsyncSession:
        self._session = await self._manager.require(self._id)
        return cast(AsyncSession, self._session)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._manager.leave(self._session, failed=kind is not None)


class AsyncExclusiveBlock(AsyncSessionBlock):
    """What `AsyncSessionManager.exclusive` returns."""

    __slots__ = ("_hold", "_wait")

    def __init__(self, manager: AsyncSessionManager, session_id: str, wait: float, hold: float) -> None:
        super().__init__(manager, session_id)
        self._wait = wait
        self._hold = hold

    async def __aenter__(self) -> AsyncSession:
        self._session = await self._manager.acquire(self._id, self._wait, self._hold)
        return cast(AsyncSession, self._session)


class AsyncWatch:
    """What `AsyncSessionManager.watch` returns: an asynchronous iterator of changes."""

    __slots__ = ("_manager", "_of", "_watch")

    def __init__(self, manager: Engine, session: str | None, user: str | None, since: int | None) -> None:
        self._manager = manager
        self._of = (session, user, since)
        self._watch: Watch | None = None

    async def next(self, timeout: float | None = None) -> Change | None:
        """The next change; None if there was none for ``timeout`` seconds, or will be no other, as the session has
        ended."""
        if self._watch is None:
            self._watch = await self._manager.watching(*self._of)
        return await self._watch.next(timeout)

    async def close(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            await self._watch.close()

    async def __aenter__(self) -> Self:
        self._watch = await self._manager.watching(*self._of)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        change = await self.next()
        if change is None:
            raise StopAsyncIteration
        return change


def _handle_of(session_id: str | None) -> str | None:
    """The handle in a session id, or the handle itself; None for None and for what is neither."""
    if session_id is None or type(session_id) is Handle:
        return session_id
    parts = ids.split(session_id)
    return None if parts is None else parts[0]
