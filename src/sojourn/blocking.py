"""`SessionManager`: the same operations for blocking callers. There is no second implementation: `run` takes
the same coroutines, over a blocking store, to their ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self, TypeVar, cast

from .config import SessionConfig, seconds
from .engine import Engine
from .errors import SessionNotFound
from .listeners import Hooks
from .manager import AsyncSessionManager, AsyncWatch
from .record import Change, ChangeKind, Summary
from .session import BaseSession, PlainSession, Session
from .store import Stats, Store, World
from .waiting import ThreadWaiting, Waiting, run

__all__ = ["SessionManager", "run"]

T = TypeVar("T")


class _Engine(AsyncSessionManager):
    """The operations, waiting as threads wait."""

    _world: ClassVar[World] = "blocking"
    _session_class: ClassVar[type[BaseSession]] = PlainSession
    _waiting: ClassVar[Waiting] = ThreadWaiting()

    def _saver(self) -> Callable[[BaseSession], None]:
        return lambda session: run(self.save(session))


class SessionManager(Hooks):
    """Sessions for blocking callers: creates, loads, commits, rotates, ends and lists them. Safe to share between
    threads, and to use after a fork.

    ``store`` is a URL (``memory://``, the default, or ``sqlite:///path``) or a store of your own, which the manager
    then closes with itself. ``expiration_time`` is the idle timeout in seconds and overrides `config`. ``clock``
    returns Unix seconds; only tests have a reason to set it.

    A session id from outside may be anything: what is not one is treated as unknown, and never reaches the store.
    Where an id is taken, a `Handle` serves too; a plain string is never taken for a handle.

    Any operation raises `StoreUnavailable` if the store does not answer within ``config.deadline`` (nothing was
    written) and `DamagedRecord` for a session whose record fails its check.
    """

    def __init__(
        self,
        store: str | Store = "memory://",
        *,
        expiration_time: float | timedelta | None = None,
        config: SessionConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = _Engine(store, expiration_time=expiration_time, config=config, clock=clock)
        """The operations themselves, for adapters: to be run with `run`."""
        self.config = self.engine.config
        self.store = self.engine.store
        self._listening = self.engine._listening
        self.counts = self.engine.counts
        """How often something happened that one may want to know: commits, merged (commits whose changes were merged
        with another writer's), conflicts (attempts that met another commit, and were made again), overwritten, refused,
        gone (dropped, as the session ended meanwhile), dropped (written under a superseded id), untouched (activity
        that could not be recorded), undelivered (facts that a listener could not be told), unavailable (loads and
        writes that the store failed)."""

    # --- Sessions ------------------------------------------------------------------------------------------------

    def create_session(
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
        return run(
            self.engine.create_session(
                user_id,
                data,
                label=label,
                idle_timeout=idle_timeout,
                absolute_timeout=absolute_timeout,
                persistent=persistent,
            )
        )

    def get_session(self, session_id: str) -> dict[str, Any] | None:
        """The session's fields as a plain dict that shares nothing with the store; None if it is unknown, malformed,
        ended or expired. Counts as activity, unless it is asked for by its handle."""
        return run(self.engine.get_session(session_id))

    def is_session_active(self, session_id: str) -> bool:
        """Whether there is such a session, alive. Does not count as activity."""
        return run(self.engine.is_session_active(session_id))

    def end_session(self, session_id: str) -> None:
        """End a session, for good: nothing that was loaded before can bring it back. Nothing happens if it is not
        there."""
        run(self.engine.end_session(session_id))

    def session(self, session_id: str) -> SessionBlock:
        """``with manager.session(id) as session:`` loads, and commits what changed when the block ends; if the block
        raises, nothing is committed. Raises `SessionNotFound` on entry; on exit `SessionGone` if the session ended
        meanwhile, `ConflictError`, `UnsupportedValue`, `TooLarge`, `StoreUnavailable` (nothing written) or
        `OutcomeUnknown`."""
        return SessionBlock(self.engine, session_id)

    def exclusive(self, session_id: str, *, wait: float = 2.0, hold: float = 10.0) -> ExclusiveBlock:
        """As `session`, with the session to yourself: others read, and their commits wait. ``wait`` seconds at most for
        the turn, else `SessionLeased`. The lease ends with the block, or after ``hold`` seconds if you are late: then
        another holder may come, and your commit raises `SessionLeased`. ``session.fence`` is a number that grows with
        each lease: hand it to systems that must refuse an older holder."""
        return ExclusiveBlock(self.engine, session_id, seconds(wait, "wait", zero=True), seconds(hold, "hold"))

    def update(self, session_id: str, name: str, function: Callable[[Any], T]) -> T:
        """Change one field by a function of its current value (None where there is none), commit it now, and return the
        committed value. Exact under any concurrency. The function may run more than once, and in another thread:
        it must depend on nothing but its argument. Raises `SessionNotFound`, and as `session` on exit."""
        return run(self.engine.update(session_id, name, function))

    def transaction(self, session_id: str, function: Callable[[Session], T]) -> T:
        """Run ``function(session)`` and commit what it changed only if nobody else committed to the session meanwhile;
        else run it again on the fresh session, until the deadline, then `ConflictError`. Serialisable: it is as if
        nobody else had been there. Returns what the function returned; if that raises, nothing is committed. Raises
        `SessionNotFound`, and as `session` on exit."""
        return run(self.engine.transaction(session_id, cast(Callable[[Any], T], function)))

    def rotate(self, session_id: str) -> str:
        """Replace the session's secret and return its new id. The old id is dead at once; session, handle and fields
        stay, and what others have under way commits. Raises `SessionNotFound`, and as `session` on exit."""
        return run(self.engine.rotate(session_id))

    def login(self, session_id: str, user_id: str) -> str:
        """The session's user changes: rotate, and cut off whatever was loaded before. Returns the new id; the old one
        is dead at once. Fields stay. Raises `SessionNotFound`, `TooManySessions`, and as `session` on exit."""
        return run(self.engine.login(session_id, user_id))

    # --- Many sessions -------------------------------------------------------------------------------------------

    def end_user_sessions(self, user_id: str, *, keep: str | None = None) -> int:
        """End all sessions of a user, except the one with the id or handle ``keep``. Returns how many ended."""
        return run(self.engine.end_user_sessions(user_id, keep=keep))

    def end_sessions(self, *, idle_for: float | timedelta | None = None, keep: str | None = None) -> int:
        """End all sessions that were idle for this many seconds, or simply all, except the one with the id or handle
        ``keep``. Returns how many ended."""
        return run(self.engine.end_sessions(idle_for=idle_for, keep=keep))

    def list_sessions(self, user_id: str | None = None, *, after: str = "", limit: int = 1000) -> list[Summary]:
        """Live sessions of a user, or of all, in the order of their handles: handle, user, label, times and size, never
        an id. At most ``limit``; for the next page pass the last handle as ``after``."""
        return run(self.engine.list_sessions(user_id, after=after, limit=limit))

    def purge_expired(self) -> int:
        """Remove dead records now. Returns how many. Takes as long as it takes, in small steps that let others work."""
        return run(self.engine.purge_expired())

    def stats(self) -> Stats:
        """How many records the store holds, how much space they take, and what its acknowledgements promise."""
        return run(self.engine.stats())

    def changes(self, since: int = 0, limit: int = 1000) -> tuple[int, list[Change]]:
        """Life-cycle facts that the store recorded after the position ``since``, in order, and the position to go on
        from. Kept up to a bound, of some 10,000 facts and of a week; 0 starts with the oldest kept. Raises
        `HistoryTrimmed` if facts after ``since`` are no longer there."""
        return run(self.engine.changes(since, limit))

    def watch(self, session: str | None = None, *, user: str | None = None, since: int | None = None) -> Watch:
        """``for change in manager.watch(session=id)``: what happens to a session (by its id or handle), to all sessions
        of a user, or to all, as it happens, in whatever process: created, changed (``change.fields``), rotated, ended
        (``change.reason``), overwritten. From now on, or from a position of the history (`changes`).

        Facts of the life of sessions come in order for each session, at least once; ``change.id`` tells one apart that
        comes twice. Changes of fields that follow each other quickly come as one. Where the watcher is too slow, or was
        cut off, for longer than the history is kept, or for changes of fields while it watches more than one session,
        there comes a change of the kind "missed": look at the sessions themselves. The watch of one session always
        ends with its newest state told, and ends when the session does. Sessions that run out are told within a second
        or so.

        ``with manager.watch() as changes`` watches from its first line; else the loop begins it. Raises
        `SessionNotFound` where there is no such session, and `StoreUnavailable` when the manager is closed."""
        return Watch(self.engine.watch(session, user=user, since=since))

    def add_listener(self, listener: Callable[[Change], None], *kinds: ChangeKind) -> Callable[[], None]:
        """Call ``listener(change)`` for each fact of these kinds (none given: all) that this manager brings about or
        finds. Returns a function that removes it. It runs in the thread that met the fact, so it should be quick; if it
        raises, that is logged and nobody is disturbed."""
        return self.engine.add_listener(listener, *kinds)

    def stop_listeners(self) -> None:
        """Call no listener any more in this process, and wait until the call that is under way has ended."""
        run(self.engine.stop_listeners())

    # --- The cleaner, and the end --------------------------------------------------------------------------------

    def start_cleaner(self) -> None:
        """Start removing dead records every ``cleanup_interval`` seconds, in a daemon thread. Needless for correctness,
        as the dead are never served; without it, each creation removes some. Starting twice is once."""
        self.engine.start_cleaner()

    def stop_cleaner(self) -> None:
        """Stop the cleaner and wait until it has. Nothing happens if it does not run."""
        run(self.engine.stop_cleaner())

    def close(self) -> None:
        """Stop the cleaner, the listeners and the watches, and close the store. Closing twice is allowed."""
        run(self.engine.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SessionBlock:
    """What `SessionManager.session` returns: to be entered with ``with``, once."""

    __slots__ = ("_engine", "_id", "_session")

    def __init__(self, engine: Engine, session_id: str) -> None:
        self._engine = engine
        self._id = session_id

    def __enter__(self) -> Session:
        self._session = session = run(self._engine.begin(self._id))
        if not session.stored:
            raise SessionNotFound
        return cast(Session, session)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        run(self._engine.leave(self._session, failed=kind is not None))


class ExclusiveBlock(SessionBlock):
    """What `SessionManager.exclusive` returns."""

    __slots__ = ("_hold", "_wait")

    def __init__(self, engine: Engine, session_id: str, wait: float, hold: float) -> None:
        super().__init__(engine, session_id)
        self._wait = wait
        self._hold = hold

    def __enter__(self) -> Session:
        self._session = run(self._engine.acquire(self._id, self._wait, self._hold))
        return cast(Session, self._session)


class Watch:
    """What `SessionManager.watch` returns: an iterator of changes."""

    __slots__ = ("_watch",)

    def __init__(self, watch: AsyncWatch) -> None:
        self._watch = watch

    def next(self, timeout: float | None = None) -> Change | None:
        """The next change; None if there was none for ``timeout`` seconds, or will be no other, as the session has
        ended."""
        return run(self._watch.next(timeout))

    def close(self) -> None:
        """Watch no more."""
        run(self._watch.close())

    def __enter__(self) -> Self:
        run(self._watch.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        change = self.next()
        if change is None:
            raise StopIteration
        return change
