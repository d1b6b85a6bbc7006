"""The engine: what becomes of one session object, from its load to its commit. Written once, for both worlds.

Every operation is a coroutine over the store's. On an async store it suspends; on a blocking one it never does, and
`sojourn.blocking` runs the very same coroutine to its end for blocking callers.

The order in each: check what came from outside, load (one round trip), decide (pure), commit (at most one round trip,
none if nothing changed). What happens when two commits meet is the business of `sojourn.lanes`.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import ClassVar, Final, ParamSpec, TypeVar

from . import facts, ids
from .codec import Codec
from .config import SessionConfig, seconds
from .errors import (
    ConfigurationError,
    OutcomeUnknown,
    SessionClosed,
    SessionGone,
    SessionLeased,
    SessionNotFound,
    SojournError,
    StoreError,
    TooManySessions,
)
from .guesses import Guesses
from .ids import Handle
from .lanes import Job, Lanes, mint_version, repeated
from .lifecycle import Closing, CookieAction, closing, cookie_action
from .listeners import Listeners
from .opening import open_store
from .policy import amend, check_sizes, is_over, new_record, rotation_due, settling_due, shown, touch_due
from .record import Amendment, Cap, Change, Committed, Delta, Gone, Leased, Record, Refused
from .session import BaseSession, Context, PlainAsyncSession, Presented, checked_user_id
from .store import NO_CAP, Store, World
from .waiting import Background, Signal, TaskWaiting, Waiting
from .watching import ALL, FACTS, Hub, Watch

__all__ = ["Engine"]

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("sojourn")

_SWEEP: Final = 1000  # dead records removed in one step of the cleaner
_SWEEP_BY_CREATION: Final = 100  # and by a creation, where no cleaner runs
_LOOK: Final = 0.25  # seconds between two looks at a lease that somebody else holds, if the feed says nothing
_PLACE: Final = (
    1.0  # seconds for which a place in line is kept after each look: one who died holds up the others so long
)


class Engine:
    """Opens, finishes and saves session objects over a store. Managers add the operations that users call by name, and
    adapters work with `begin`, `finish_response` and `finish`."""

    _world: ClassVar[World] = "async"
    _session_class: ClassVar[type[BaseSession]] = PlainAsyncSession
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
        self.store_url = store if isinstance(store, str) else None
        """The URL that the store was opened by, with whatever password is in it; None if it was handed in."""
        if self.store.world not in (self._world, "any"):
            raise ConfigurationError(
                f"the store was opened for {self.store.world} callers and this manager is {self._world}: "
                f"open it with world={self._world!r}, or hand in its URL"
            )
        self.counts: Counter[str] = Counter()
        """How often something happened that one may want to know: commits, merged (commits whose changes were merged
        with another writer's), conflicts (attempts that met another commit, and were made again), overwritten, refused,
        gone (dropped, as the session ended meanwhile), dropped (written under a superseded id), untouched (activity
        that could not be recorded), undelivered (facts that a listener could not be told), unavailable (loads and
        writes that the store failed)."""
        self.clock = clock
        self.guesses = Guesses(config.guesses_per_second)
        """Which addresses showed ids of no session, for adapters."""
        self._codec = Codec()
        self._load: Callable[[str], Awaitable[Record | None]] = self.store.load  # found once: every request's way
        self._lanes = Lanes(self.store, self._codec, config, self._waiting, clock, self.tell, self.counts)
        self._listeners: list[tuple[Callable[[Change], None], frozenset[str]]] = []
        self._hub = Hub(self.store, self._waiting, clock, self.purge_expired)
        self._listening = Listeners(
            self.store, self._waiting, clock, self.counts, self.purge_expired, config.cleanup_interval
        )
        bounded = config.max_sessions_per_user is not None or config.max_sessions is not None
        refuse = config.at_cap == "refuse"
        self._cap = Cap(config.max_sessions_per_user, refuse, config.max_sessions) if bounded else NO_CAP
        self._context = Context(self._codec, config, self._saver())
        self._blank = new_record("", b"", b"", {}, 0.0, config)
        self._cleaner: tuple[Signal, Background] | None = None
        self._swept_at = time.monotonic()

    # --- Open, work, finish ------------------------------------------------------------------------------------------

    def new(self, presented: Presented = "nothing", *, kind: type[BaseSession] | None = None) -> BaseSession:
        """A session that is stored nowhere yet, and will be once there is something to store."""
        return self._session(self._blank, "", self.clock(), presented, kind)

    def refuse(self, handle: str, presented: Presented, *, kind: type[BaseSession] | None = None) -> BaseSession:
        """Tell that an id was refused, and as what; a new session."""
        self.tell([facts.refused(handle, presented, self.clock())])
        return self.new(presented, kind=kind)

    async def open(self, session_id: str) -> BaseSession | None:
        """Load a session; None if it is unknown, malformed, ended or expired."""
        session = await self.begin(session_id)
        return session if session.stored else None

    async def require(self, session_id: str) -> BaseSession:
        """Load a session; `SessionNotFound` if there is none."""
        session = await self.begin(session_id)
        if not session.stored:
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
        load = self._load  # (as a method is called, what is an attribute is found slowly)
        try:
            if self._listening.idle:
                await self._listening.begin()
            record = await load(handle)
        except StoreError:
            self.counts["unavailable"] += 1
            raise
        now = self.clock()
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

    def resume(self, record: Record) -> BaseSession:
        """A session object of a record that was loaded before. What others committed since is merged at its commit."""
        return self._session_class(self._context, record, "", self.clock(), "nothing")

    async def finish(self, session: BaseSession) -> Closing:
        """Carry out what a session object asks for; what that was. Raises as `session` on exit."""
        return await self._carry_out(session, session.delta(), session.amendment)

    async def finish_response(self, session: BaseSession) -> tuple[Closing, CookieAction]:
        """As `finish`, where the client can be sent another id, so that the secret may be replaced for age; and the
        session object goes on."""
        untouched = session.presented == "live" and not session.ended and not session.rotated
        if untouched and self._rotation_due(session):
            session.rotate_for_age()
        delta, amendment = session.delta(), session.amendment
        done = await self._carry_out(session, delta, amendment)
        action = cookie_action(session, done)
        session.unsent = False
        if not session.ended:
            session.rebase(delta, amendment)
        return done, action

    def _rotation_due(self, session: BaseSession) -> bool:
        just_seen = session.amendment is not None and session.amendment.settled
        return rotation_due(session.record, session.loaded_at, self.config.rotate_after, seen=just_seen)

    async def save(self, session: BaseSession) -> None:
        """Commit what a session object changed so far, and let it go on."""
        await self._save(session, session.delta())

    async def save_seeing(self, session: BaseSession) -> set[str]:
        """As `save`. Returns the names of the fields in which others have changed something, as it shows now."""
        delta, before = session.delta(), session.record.fields
        await self._save(session, delta)
        return _differing(before if delta is None else {**before, **delta.local}, session.record.fields)

    async def finish_seeing(self, session: BaseSession) -> set[str]:
        """As `finish`, of a session object that was made with `resume`. Returns as `save_seeing`."""
        delta, before = session.delta(), session.record.fields
        await self._carry_out(session, delta, session.amendment)
        return _differing(before if delta is None else {**before, **delta.local}, session.record.fields)

    async def _save(self, session: BaseSession, delta: Delta | None) -> None:
        amendment = session.amendment
        if delta is None and amendment is None and (session.stored or not session.kept):
            return
        done = await self._carry_out(session, delta, amendment)
        if done != "nothing":
            session.unsent = session.unsent or cookie_action(session, done) == "set"
            session.rebase(delta, amendment)

    async def refresh(self, session: BaseSession) -> set[str]:
        """Read a stored session anew; what was changed here and is not committed stays to be committed. Returns the
        names of the fields in which others have changed something. Raises `SessionGone` if it has ended or its user
        has changed, and `SessionClosed` if the object was closed meanwhile."""
        record, before = await self.store.load(session.record.handle), session.record
        if session.closed:
            raise SessionClosed("the session object was closed while it was read anew")
        if record is None or is_over(record, self.clock()) or record.generation != before.generation:
            raise SessionGone("the session has ended, or its user has changed")
        if record is before:
            return set()
        session.renew(record)
        return _differing(before.fields, record.fields)

    async def acquire(self, session_id: str, wait: float, hold: float) -> BaseSession:
        """Load a session and take its lease."""
        session = await self.require(session_id)
        name, give_up = secrets.token_hex(8), time.monotonic() + wait
        outcome = await self._lease(session.record, hold, name, wait)
        if isinstance(outcome, Leased) and wait:
            outcome = await self._stand_in_line(session.record, hold, name, give_up)
        if isinstance(outcome, Gone):
            raise SessionNotFound
        if isinstance(outcome, Leased):
            raise SessionLeased(f"another holder kept the session to itself for the {wait:g} s that you would wait")
        session = self._session(outcome.record, session.secret, self.clock(), session.presented)
        session.fence = outcome.record.fence
        return session

    async def _stand_in_line(self, record: Record, hold: float, name: str, give_up: float) -> Committed | Leased | Gone:
        """Ask for a lease whenever something is said of its session."""
        turn = await self._hub.turn(record.handle)
        try:
            while True:
                turn.arm()
                left = max(give_up - time.monotonic(), 0.0)
                outcome = await self._lease(record, hold, name, left)
                if not isinstance(outcome, Leased) or not left:
                    return outcome
                runs_out = outcome.record.leased_until - self.clock()
                await turn.wait(min(left, _LOOK, runs_out if runs_out > 0 else _LOOK))
        finally:
            await turn.close()

    async def _lease(self, record: Record, hold: float, name: str, patience: float) -> Committed | Leased | Gone:
        def ask() -> Awaitable[Committed | Leased | Gone]:
            place = min(patience, _PLACE)
            return self.store.lease(record.handle, record.generation, hold, self.clock(), name=name, patience=place)

        try:
            return await ask()
        except OutcomeUnknown as unknown:
            if unknown.final:
                raise
            return await repeated(ask, self.config.deadline, unknown)

    async def leave(self, session: BaseSession, *, failed: bool) -> None:
        """The end of a block: commit, unless it failed; give a lease back in the same step."""
        try:
            if session.fence and (failed or not session.ended):
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
        except SojournError as error:
            if not failed:
                raise
            log.info("session %s: its lease could not be given back: %s", session.record.handle, error)

    # --- Watching ----------------------------------------------------------------------------------------------------

    async def watching(self, session_id: str | None, user_id: str | None, since: int | None) -> Watch:
        """Begin to watch."""
        if session_id is None:
            return await self._hub.watch(ALL if user_id is None else ("user", checked_user_id(user_id)), since)
        if user_id is not None:
            raise ConfigurationError("watch a session, or a user, or neither: a session is one user's anyway")
        if since is not None and type(session_id) is Handle:
            handle = str(session_id)  # it may have ended since
        else:
            handle = (await self.require(session_id)).record.handle
        return (await self.following(handle, since))[0]

    async def facts(self, since: int | None = None) -> Watch:
        """Begin to watch the facts of the life of all sessions, without the changes of fields: for who shows what goes
        on, and is to cost a busy site next to nothing. From this position of the history on (0: from the oldest kept);
        None: from now on. They come up to some 50 ms late. Raises `StoreUnavailable`."""
        return await self._hub.watch(FACTS, since)

    @property
    def heard(self) -> int:
        """How many commits the feed has told of, of all sessions and in whatever process, while facts were watched. It
        only grows. What the feed lost, as it broke, is not in it; of a feed that does not say what was written (a
        Valkey client of the user's own) it hears nothing."""
        return self._hub.heard

    def watchers(self, handle: str | None = None) -> int:
        """How many watch this session, or any one session, in this process: an open socket is one, and so is a session
        of a live app with open pages."""
        return self._hub.watchers(handle)

    def set_apart(self, handle: str) -> None:
        """The commits of this record, which is nobody's session, are not to be in `heard`."""
        self._hub.apart |= {handle}

    def keep_watching(self) -> None:
        """See to it that the feed is followed, for those who watch without waiting in `Watch.next`."""
        self._hub.go_on()

    async def following(self, handle: str, since: int | None = None) -> tuple[Watch, Record | None]:
        """Begin to watch a session; the watch, and the record as it is from when on the feed tells of it. None, where
        it has ended ``since``; `SessionNotFound` if there is no such session now."""
        watch = await self._hub.watch(("session", handle), since)
        record = await self.store.load(handle)
        if record is not None and not is_over(record, self.clock()):
            self._hub.saw(handle, record.version)
            return watch, record
        if since is None:
            await watch.close()
            raise SessionNotFound
        return watch, None

    # --- Measuring ---------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> Waiting:
        """How this world's callers wait, and work in the background."""
        return self._waiting

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._hub.closed

    def measure(self, note: Callable[[float], None] | None) -> None:
        """Tell how long each load and each commit takes from now on, in seconds: in the thread or task that made it, so
        it must be quick. Those that fail are not told. None: tell no more, which costs nothing."""
        store = self.store
        self._load = store.load if note is None else _timed(store.load, note)
        self._lanes.send = store.commit if note is None else _timed(store.commit, note)

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
            if touch_due(session.record, session.loaded_at) and not (session.passive or session.outside):
                await self.touch(session)
        elif done == "commit":
            session.committed(await self._lanes.commit(self._job(session, delta, amendment)))
        elif done == "create":
            await self._create(session, delta, amendment)
        elif done == "end":
            try:
                told = await self.store.end([session.record.handle], "ended", self.clock())
            except StoreError:
                self.counts["unavailable"] += 1
                raise
            self.tell(told)
        elif done == "drop":
            self.counts["dropped"] += 1
            log.info(
                "what was written under a superseded id was dropped: the client has, or is about to get, a newer one"
            )
        return done

    def _job(self, session: BaseSession, delta: Delta | None, amendment: Amendment | None) -> Job:
        job = Job(session.record, delta, amendment, time.monotonic() + self.config.deadline, session.fence)
        if session.outside:
            job.outside = True
        return job

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
        session.committed(await self.add(session.record.handle, session.secret, fields, amendment))

    async def add(self, handle: str, secret: str, fields: dict[str, bytes], amendment: Amendment | None) -> Record:
        """Add a record under this handle; nothing happens if there is one."""
        now = self.clock()
        record = new_record(handle, ids.digest(secret), mint_version(), fields, now, self.config)
        if record.size > self.config.max_field_bytes or record.size > self.config.max_session_bytes:
            check_sizes(fields, record.size, self.config)
        if amendment is not None:
            record = amend(record, amendment, now, self.config)
        give_up = time.monotonic() + self.config.deadline
        try:
            if self._listening.idle:
                await self._listening.begin()
            try:
                outcome = await self.store.create(record, now, self._cap)
            except OutcomeUnknown as unknown:
                if unknown.final:
                    raise
                left = give_up - time.monotonic()
                outcome = await repeated(lambda: self.store.create(record, now, self._cap), left, unknown)
        except StoreError:
            self.counts["unavailable"] += 1
            raise
        if isinstance(outcome, Refused):
            raise TooManySessions("the user has as many sessions as max_sessions_per_user allows: end one first")
        if self._listeners or self._listening.awake:
            self.tell(outcome.facts)
        if self._cleaner is None and time.monotonic() - self._swept_at >= self.config.cleanup_interval:
            await self._sweep()
        return record

    async def touch(self, session: BaseSession) -> None:
        """Record activity. If the store cannot write, a reader is still served: the session may end a little early."""
        record = session.record
        try:
            await self.store.touch(record.handle, record.generation, session.loaded_at, self.clock())
        except StoreError as error:
            self.counts["untouched"] += 1
            self.counts["unavailable"] += 1
            log.warning("activity of session %s could not be recorded: %s", record.handle, error)

    async def _sweep(self) -> None:
        """Where no cleaner runs, creations remove the dead, a bounded number each: what is born pays for who died."""
        try:
            found = await self.store.purge_expired(self.clock(), _SWEEP_BY_CREATION)
        except StoreError as error:
            log.warning("a creation could not remove the dead, the next one will try again: %s", error)
            return
        self.tell(found)
        if len(found) < _SWEEP_BY_CREATION:
            self._swept_at = time.monotonic()

    # --- Facts, and the dead ----------------------------------------------------------------------------------------

    def tell(self, told: Iterable[Change]) -> None:
        """Count, log and hand on facts."""
        self._listening.wake()
        for change in told:
            if change.kind in ("overwritten", "refused"):
                self.counts[change.kind] += 1
                log.info("%s: session %s, %s", change.kind, change.handle or "-", change.reason)
            for listener, kinds in tuple(self._listeners):  # one may remove itself
                if not kinds or change.kind in kinds:
                    try:
                        listener(change)
                    except Exception:  # the application's own: logged, and nobody else is disturbed
                        log.exception("a listener failed on %s", change.id)

    async def purge_expired(self) -> int:
        """Remove dead records now. Returns how many. Takes as long as it takes, in small steps that let others work."""
        removed = 0
        while True:
            found = await self.store.purge_expired(self.clock(), _SWEEP)
            self.tell(found)
            removed += len(found)
            if len(found) < _SWEEP:
                return removed

    async def clean_until(self, stop: Signal) -> None:
        """What the cleaner does."""
        while not await stop.wait(self.config.cleanup_interval):
            self._swept_at = time.monotonic()
            try:
                await self.purge_expired()
            except SojournError as error:
                log.warning("the cleaner could not sweep and will try again: %s", error)


def _timed(operation: Callable[P, Awaitable[T]], note: Callable[[float], None]) -> Callable[P, Awaitable[T]]:
    """The same operation, with a note of how long it takes."""

    async def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.perf_counter()
        result = await operation(*args, **kwargs)
        note(time.perf_counter() - began)
        return result

    return timed


def _differing(expected: Mapping[str, bytes | None], found: Mapping[str, bytes]) -> set[str]:
    """The names under which there is something else, or nothing; None: nothing is expected there."""
    if found == expected:  # as nearly always
        return set()
    return {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}
