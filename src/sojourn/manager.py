"""`AsyncSessionManager`: every operation on sessions, written once.

Each operation is a coroutine over the store's. On an async store it suspends; on a blocking one it never does, and
`sojourn.blocking` runs the very same coroutine to its end for blocking callers.

The order in each: check what came from outside, load (one round trip), decide (pure), commit (at most one round trip,
none if nothing changed). What happens when two commits meet is the business of `sojourn.lanes`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from itertools import count
from typing import Any, ClassVar, Final, Self, TypeVar, cast

from . import facts, ids
from .codec import Codec
from .config import SessionConfig, seconds
from .errors import (
    ConfigurationError,
    ConflictError,
    OutcomeUnknown,
    SessionLeased,
    SessionNotFound,
    SojournError,
    StoreError,
    TooLarge,
    TooManySessions,
)
from .ids import Handle
from .lanes import Job, Lanes, backoff, mint_version, repeated
from .lifecycle import Closing, CookieAction, closing, cookie_action
from .opening import open_store
from .policy import amend, is_over, new_record, rotation_due, settling_due, shown, touch_due
from .record import Amendment, Cap, Change, ChangeKind, Delta, Record, Refused, Summary
from .session import AsyncSession, BaseSession, Context, Presented, check_sizes
from .store import NO_CAP, Stats, Store, World
from .waiting import Signal, TaskWaiting, Waiting

__all__ = ["AsyncSessionManager"]

T = TypeVar("T")
log = logging.getLogger("sojourn")

_SWEEP: Final = 1000  # dead records removed in one step of the cleaner
_SWEEP_BY_CREATION: Final = 100  # and by a creation, where no cleaner runs
_POLL: Final = 0.01  # seconds between two looks at a lease that somebody else holds
_PATIENCE: Final = 3  # attempts of a transaction before it starts to wait between them


class AsyncSessionManager:
    """Sessions for asynchronous callers: creates, loads, commits, rotates, ends and lists them.

    ``store`` is a URL (``memory://``, the default, or ``sqlite:///path``) or a store of your own, which the manager
    then closes with itself. ``expiration_time`` is the idle timeout in seconds and overrides `config`. ``clock``
    returns Unix seconds; only tests have a reason to set it.

    A session id from outside may be anything: what is not one is treated as unknown, and never reaches the store.
    Where an id is taken, a `Handle` serves too; a plain string is never taken for a handle.

    Any operation raises `StoreUnavailable` if the store does not answer within ``config.deadline`` (nothing was
    written) and `DamagedRecord` for a session whose record fails its check.
    """

    _world: ClassVar[World] = "async"
    _session_class: ClassVar[type[BaseSession]] = AsyncSession
    _waiting: ClassVar[Waiting] = TaskWaiting()

    def __init__(
        self,
        store: str | Store = "memory://",
        *,
        expiration_time: float | timedelta | None = None,
        config: SessionConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        config = config or SessionConfig()
        if expiration_time is not None:
            config = dataclasses.replace(config, idle_timeout=seconds(expiration_time, "expiration_time"))
        self.config = config
        self.store: Store = open_store(store, config, world=self._world) if isinstance(store, str) else store
        if self.store.world not in (self._world, "any"):
            raise ConfigurationError(
                f"the store was opened for {self.store.world} callers and this manager is {self._world}: "
                f"open it with world={self._world!r}, or hand in its URL"
            )
        self.counts: Counter[str] = Counter()
        """How often something happened that one may want to know: overwritten, refused, gone."""
        self._clock = clock
        self._codec = Codec()
        self._lanes = Lanes(self.store, self._codec, config, self._waiting, clock, self.tell)
        self._listeners: list[tuple[Callable[[Change], None], frozenset[str]]] = []
        bounded = config.max_sessions_per_user is not None or config.max_sessions is not None
        refuse = config.at_cap == "refuse"
        self._cap = Cap(config.max_sessions_per_user, refuse, config.max_sessions) if bounded else NO_CAP
        self._context = Context(self._codec, config, self._saver())
        self._blank = new_record("", b"", b"", {}, 0.0, config)
        self._cleaner: tuple[Signal, asyncio.Task[None]] | None = None
        self._swept_at = time.monotonic()

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
        handle, secret = ids.mint(self.config.handle_form, self._clock())
        amendment = None
        if user_id is not None or label is not None or idle_timeout or absolute_timeout or persistent:
            amendment = Amendment(
                login=user_id is not None,
                user_id=user_id,
                label=label[:200] if label else None,
                idle_timeout=None if idle_timeout is None else seconds(idle_timeout, "idle_timeout"),
                absolute_timeout=None if absolute_timeout is None else seconds(absolute_timeout, "absolute_timeout"),
                persistent=persistent,
            )
        await self._add(handle, secret, self._codec.encode_all(data) if data else {}, amendment)
        return ids.join(handle, secret)

    async def get_session(self, session_id: str) -> dict[str, Any] | None:
        """The session's fields as a plain dict that shares nothing with the store; None if it is unknown, malformed,
        ended or expired. Counts as activity, unless it is asked for by its handle."""
        session = await self.open(session_id)
        if session is None:
            return None
        if session.secret and touch_due(session.record, session.loaded_at):
            await self._touch(session)
        return {name: session[name] for name in session}

    async def is_session_active(self, session_id: str) -> bool:
        """Whether there is such a session, alive. Does not count as activity."""
        return await self.open(session_id) is not None

    async def end_session(self, session_id: str) -> None:
        """End a session, for good: nothing that was loaded before can bring it back. Nothing happens if it is not
        there."""
        if type(session_id) is Handle:  # without a look, so that a damaged record can be removed, too
            self.tell(await self.store.end([session_id], "ended", self._clock()))
        elif (session := await self.open(session_id)) is not None:
            self.tell(await self.store.end([session.record.handle], "ended", self._clock()))

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
        nobody else had been there. Returns what the function returned; if that raises, nothing is committed."""
        session = await self.require(session_id)
        deadline = time.monotonic() + self.config.deadline
        for attempt in count(1):
            result = function(cast(AsyncSession, session))
            if inspect.isawaitable(result):
                result = await result
            fresh = await self._attempt(session, deadline)
            session.close()
            if fresh is None:
                return cast(T, result)
            if time.monotonic() > deadline:
                raise ConflictError("the transaction met other writers until its time was up: nothing was written")
            if attempt > _PATIENCE:
                await self._waiting.sleep(backoff(attempt))
            session = self._session(fresh, session.secret, self._clock())
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
        ended = await self.store.end_matching(self._clock(), user_id=user_id, keep=_handle_of(keep))
        self.tell(ended)
        return len(ended)

    async def end_sessions(self, *, idle_for: float | timedelta | None = None, keep: str | None = None) -> int:
        """End all sessions that were idle for this many seconds, or simply all, except the one with the id or handle
        ``keep``. Returns how many ended."""
        now = self._clock()
        idle_since = None if idle_for is None else now - seconds(idle_for, "idle_for", zero=True)
        ended = await self.store.end_matching(now, idle_since=idle_since, keep=_handle_of(keep))
        self.tell(ended)
        return len(ended)

    async def list_sessions(self, user_id: str | None = None, *, after: str = "", limit: int = 1000) -> list[Summary]:
        """Live sessions of a user, or of all, in the order of their handles: handle, user, label, times and size, never
        an id. At most ``limit``; for the next page pass the last handle as ``after``."""
        return await self.store.summaries(self._clock(), user_id=user_id, after=after, limit=limit)

    async def purge_expired(self) -> int:
        """Remove dead records now. Returns how many. Takes as long as it takes, in small steps that let others work."""
        removed = 0
        while True:
            found = await self.store.purge_expired(self._clock(), _SWEEP)
            self.tell(found)
            removed += len(found)
            if len(found) < _SWEEP:
                return removed

    async def stats(self) -> Stats:
        """How many records the store holds, how much space they take, and what its acknowledgements promise."""
        return await self.store.stats()

    async def changes(self, since: int = 0, limit: int = 1000) -> tuple[int, list[Change]]:
        """Life-cycle facts that the store recorded after the position ``since``, in order, and the position to go on
        from. Kept up to a bound; 0 starts with the oldest kept."""
        return await self.store.changes(since, limit)

    # --- Facts ---------------------------------------------------------------------------------------------------

    def add_listener(self, listener: Callable[[Change], None], *kinds: ChangeKind) -> Callable[[], None]:
        """Call ``listener(change)`` for each fact of these kinds (none given: all) that this manager brings about or
        finds. Returns a function that removes it. It runs in the thread or task that met the fact, so it should be
        quick; if it raises, that is logged and nobody is disturbed."""
        entry = (listener, frozenset(kinds))
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    def tell(self, told: Iterable[Change]) -> None:
        """Count, log and hand on facts."""
        for change in told:
            if change.kind in ("overwritten", "refused"):
                self.counts[change.kind] += 1
                log.info("%s: session %s, %s", change.kind, change.handle or "-", change.reason)
            for listener, kinds in self._listeners:
                if not kinds or change.kind in kinds:
                    try:
                        listener(change)
                    except Exception:
                        log.exception("a listener failed on %s", change.id)

    # --- The cleaner ---------------------------------------------------------------------------------------------

    def start_cleaner(self) -> None:
        """Start removing dead records every ``cleanup_interval`` seconds, in a task of the running loop. Needless for
        correctness, as the dead are never served; without it, each creation removes some. Starting twice is once."""
        if self._cleaner is None:
            stop = self._waiting.signal()
            self._cleaner = (stop, asyncio.create_task(self.clean_until(stop), name="sojourn-cleaner"))

    async def stop_cleaner(self) -> None:
        """Stop the cleaner and wait until it has. Nothing happens if it does not run."""
        if self._cleaner is not None:
            stop, task = self._cleaner
            self._cleaner = None
            stop.set()
            await task

    async def clean_until(self, stop: Signal) -> None:
        """What the cleaner does."""
        while not await stop.wait(self.config.cleanup_interval):
            self._swept_at = time.monotonic()
            try:
                await self.purge_expired()
            except SojournError as error:
                log.warning("the cleaner could not sweep and will try again: %s", error)

    async def close(self) -> None:
        """Stop the cleaner and close the store. Closing twice is allowed."""
        await self.stop_cleaner()
        await self.store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- For blocks and adapters: open, work, finish ---------------------------------------------------------------

    def new(
        self, presented: Presented = "nothing", *, kind: type[BaseSession] | None = None
    ) -> BaseSession:
        """A session that is stored nowhere yet, and will be once there is something to store."""
        return self._session(self._blank, "", self._clock(), presented, kind)

    def refuse(self, handle: str, presented: Presented, *, kind: type[BaseSession] | None = None) -> BaseSession:
        """Tell that an id was refused; a new session."""
        self.tell([facts.refused(handle, presented, self._clock())])
        return self.new(presented, kind=kind)

    async def open(self, session_id: str) -> BaseSession | None:
        """Load a session; None if it is unknown, malformed, ended or expired."""
        session = await self.begin(session_id)
        return None if session.is_new else session

    async def require(self, session_id: str) -> BaseSession:
        """Load a session; `SessionNotFound` if there is none."""
        session = await self.begin(session_id)
        if session.is_new:
            raise SessionNotFound
        return session

    async def begin(self, session_id: object, *, kind: type[BaseSession] | None = None) -> BaseSession:
        """Load the session that a client presents; a new one if there is none. Its `presented` tells what the id was.
        Anything malformed is told apart without the store. ``kind`` is a session class of an adapter's own."""
        if type(session_id) is Handle:
            handle, secret = str(session_id), ""
            if not ids.is_handle(handle):
                return self.refuse("", "malformed", kind=kind)
        else:
            parts = ids.split(session_id)
            if parts is None:
                return self.refuse("", "malformed", kind=kind)
            handle, secret = parts
        record = await self.store.load(handle)
        now = self._clock()
        if record is None or is_over(record, now):
            return self.refuse(handle, "unknown", kind=kind)
        make = kind or self._session_class
        if not secret:
            return make(self._context, record, "", now, "nothing")
        seen = shown(record, ids.digest(secret), now)
        if seen == "dead":
            return self.refuse(handle, "superseded", kind=kind)
        session = make(self._context, record, secret, now, "live")
        if record.previous is not None and settling_due(record, seen):
            session.settle_secret()
        return session

    async def finish(self, session: BaseSession) -> Closing:
        """Carry out what a session object asks for; what that was. Raises as `session` on exit."""
        return await self._carry_out(session, session.delta(), session.amendment)

    async def finish_response(self, session: BaseSession) -> tuple[Closing, CookieAction]:
        """As `finish`, where the client can be sent another id, so that the secret may be replaced for age; and the session
        object goes on."""
        untouched = session.presented == "live" and not session.ended and not session.rotated
        if untouched and rotation_due(session.record, session.loaded_at, self.config.rotate_after):
            session.rotate_for_age()
        delta, amendment = session.delta(), session.amendment
        done = await self._carry_out(session, delta, amendment)
        action = cookie_action(session, done)
        if not session.ended:
            session.rebase(delta, amendment)
        return done, action

    async def save(self, session: BaseSession) -> None:
        """Commit what a session object changed so far, and let it go on."""
        delta, amendment = session.delta(), session.amendment
        if delta is None and amendment is None:
            return
        if session.is_new:
            await self._create(session, delta, amendment)
        else:
            session.committed(await self._lanes.commit(self._job(session, delta, amendment)))
        session.rebase(delta, amendment)

    async def acquire(self, session_id: str, wait: float, hold: float) -> BaseSession:
        """Load a session and take its lease."""
        session = await self.require(session_id)
        record, give_up = session.record, time.monotonic() + wait
        while True:
            if record.leased_until <= self._clock():
                job = Job(record, None, Amendment(lease_for=hold), time.monotonic() + self.config.deadline)
                taken = await self._lanes.attempt(job)
                if taken is not None:
                    session = self._session(taken, session.secret, self._clock(), session.presented)
                    session.fence = taken.fence
                    return session
            if time.monotonic() >= give_up:
                raise SessionLeased(f"another holder kept the session to itself for the {wait:g} s that you would wait")
            await self._waiting.sleep(min(_POLL, max(give_up - time.monotonic(), 0.0)))
            fresh = await self.store.load(record.handle)
            if fresh is None or is_over(fresh, self._clock()):
                raise SessionNotFound
            record = fresh

    async def leave(self, session: BaseSession, *, failed: bool) -> None:
        """The end of a block: commit, unless it failed; give a lease back in the same step."""
        try:
            if session.fence and not session.ended:
                await self._give_back(session, failed=failed)
            elif not failed and not (session.untouched and not touch_due(session.record, session.loaded_at)):
                await self._carry_out(session, session.delta(), session.amendment)
        finally:
            session.close()

    async def _give_back(self, session: BaseSession, *, failed: bool) -> None:
        if failed:
            session.discard()
        session.give_back()
        try:
            await self.finish(session)
        except SessionLeased:
            if not failed:  # else the block's own exception tells more
                raise

    # --- Parts ---------------------------------------------------------------------------------------------------

    def _saver(self) -> Callable[[BaseSession], Awaitable[None] | None]:
        """What `save` of a session object calls."""
        return self.save

    def _session(
        self,
        record: Record,
        secret: str,
        now: float,
        presented: Presented = "nothing",
        kind: type[BaseSession] | None = None,
    ) -> BaseSession:
        return (kind or self._session_class)(self._context, record, secret, now, presented)

    async def _carry_out(self, session: BaseSession, delta: Delta | None, amendment: Amendment | None) -> Closing:
        done = closing(session, delta, amendment)
        if done == "touch":
            if touch_due(session.record, session.loaded_at):
                await self._touch(session)
        elif done == "commit":
            session.committed(await self._lanes.commit(self._job(session, delta, amendment)))
        elif done == "create":
            await self._create(session, delta, amendment)
        elif done == "end":
            self.tell(await self.store.end([session.record.handle], "ended", self._clock()))
        elif done == "drop":
            self.counts["dropped"] += 1
            log.info("what was written under a superseded id was dropped: the client has, or is about to get, a newer one")
        return done

    def _job(self, session: BaseSession, delta: Delta | None, amendment: Amendment | None) -> Job:
        return Job(session.record, delta, amendment, time.monotonic() + self.config.deadline, session.fence)

    async def _attempt(self, session: BaseSession, deadline: float) -> Record | None:
        """Commit a transaction's session if nobody else was there; else the fresh record."""
        delta, amendment = session.delta(), session.amendment
        if session.ended or (delta is None and amendment is None):
            await self.finish(session)
            return None
        job = Job(session.record, delta, amendment, deadline)
        record = await self._lanes.attempt(job)
        if record is None:
            return job.current
        session.committed(record)
        return None

    async def _create(self, session: BaseSession, delta: Delta | None, amendment: Amendment | None) -> None:
        """Store a session that is new."""
        fields = {} if delta is None else {name: data for name, data in delta.local.items() if data is not None}
        session.identify()
        session.committed(await self._add(session.record.handle, session.secret, fields, amendment))

    async def _add(self, handle: str, secret: str, fields: dict[str, bytes], amendment: Amendment | None) -> Record:
        """Add a record."""
        now = self._clock()
        check_sizes(fields, self.config)
        record = new_record(handle, ids.digest(secret), mint_version(), fields, now, self.config)
        if record.size > self.config.max_session_bytes:
            raise TooLarge("the session", record.size, self.config.max_session_bytes, "max_session_bytes")
        if amendment is not None:
            record = amend(record, amendment, now, self.config)
        try:
            outcome = await self.store.create(record, now, self._cap)
        except OutcomeUnknown as unknown:
            outcome = await repeated(lambda: self.store.create(record, now, self._cap), self.config.deadline, unknown)
        if isinstance(outcome, Refused):
            raise TooManySessions("the user has as many sessions as max_sessions_per_user allows: end one first")
        if self._listeners:
            self.tell(outcome.facts)
        if self._cleaner is None and time.monotonic() - self._swept_at >= self.config.cleanup_interval:
            await self._sweep()
        return record

    async def _touch(self, session: BaseSession) -> None:
        """Record activity. If the store cannot write, a reader is still served: the session may end a little early."""
        record, now = session.record, session.loaded_at
        try:
            await self.store.touch(record.handle, record.generation, now, now)
        except StoreError as error:
            self.counts["untouched"] += 1
            log.warning("activity of session %s could not be recorded: %s", record.handle, error)

    async def _sweep(self) -> None:
        """Where no cleaner runs, creations remove the dead, a bounded number each: what is born pays for who died."""
        found = await self.store.purge_expired(self._clock(), _SWEEP_BY_CREATION)
        self.tell(found)
        if len(found) < _SWEEP_BY_CREATION:
            self._swept_at = time.monotonic()


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


def _handle_of(session_id: str | None) -> str | None:
    """The handle in a session id, or the handle itself; None for None and for what is neither."""
    if session_id is None or type(session_id) is Handle:
        return session_id
    parts = ids.split(session_id)
    return None if parts is None else parts[0]
