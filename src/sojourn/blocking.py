"""`SessionManager`: the same operations for blocking callers. There is no second implementation.

The one clever thing in this code base is `run`. An operation is a coroutine over a store's coroutines. A blocking
store's never suspend: where an async one would await the network, they block the thread and return. A coroutine that
never suspends runs from its first line to its return in a single ``send(None)``, which raises StopIteration with
the result: no event loop, no thread, half a microsecond.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self, TypeVar, cast

from .config import SessionConfig, seconds
from .engine import Engine
from .errors import SessionNotFound
from .manager import AsyncSessionManager
from .record import Change, ChangeKind, Summary
from .session import BaseSession, Session
from .store import Stats, Store, World
from .waiting import Signal, ThreadWaiting, Waiting

__all__ = ["SessionManager", "run"]

T = TypeVar("T")


def run(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result. RuntimeError if it does suspend."""
    try:
        operation.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    operation.close()
    raise RuntimeError("the store is asynchronous: use AsyncSessionManager and await it, or open it blocking")


class _Engine(AsyncSessionManager):
    """The operations, waiting as threads wait."""

    _world: ClassVar[World] = "blocking"
    _session_class: ClassVar[type[BaseSession]] = Session
    _waiting: ClassVar[Waiting] = ThreadWaiting()

    def _saver(self) -> Callable[[BaseSession], None]:
        return lambda session: run(self.save(session))


class SessionManager:
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
        self.counts = self.engine.counts
        """How often something happened that one may want to know: overwritten, refused, gone (dropped, as the
        session ended meanwhile), dropped (written under a superseded id), untouched (activity that could not be
        recorded)."""
        self._cleaner: tuple[Signal, threading.Thread] | None = None

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
        from. Kept up to a bound; 0 starts with the oldest kept."""
        return run(self.engine.changes(since, limit))

    def add_listener(self, listener: Callable[[Change], None], *kinds: ChangeKind) -> Callable[[], None]:
        """Call ``listener(change)`` for each fact of these kinds (none given: all) that this manager brings about or
        finds. Returns a function that removes it. It runs in the thread that met the fact, so it should be quick; if it
        raises, that is logged and nobody is disturbed."""
        return self.engine.add_listener(listener, *kinds)

    # --- The cleaner, and the end --------------------------------------------------------------------------------

    def start_cleaner(self) -> None:
        """Start removing dead records every ``cleanup_interval`` seconds, in a daemon thread. Needless for correctness,
        as the dead are never served; without it, each creation removes some. Starting twice is once."""
        if self._cleaner is None:
            stop = ThreadWaiting().signal()
            thread = threading.Thread(
                target=lambda: run(self.engine.clean_until(stop)), name="sojourn-cleaner", daemon=True
            )
            self._cleaner = (stop, thread)
            thread.start()

    def stop_cleaner(self) -> None:
        """Stop the cleaner and wait until it has. Nothing happens if it does not run."""
        if self._cleaner is not None:
            stop, thread = self._cleaner
            self._cleaner = None
            stop.set()
            thread.join()

    def close(self) -> None:
        """Stop the cleaner and close the store. Closing twice is allowed."""
        self.stop_cleaner()
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
