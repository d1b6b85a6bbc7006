"""One commit in flight per session in this process: whoever comes meanwhile waits, and all that wait are merged into
the next commit. 200 writers of one session then take a few dozen compare-and-sets instead of thousands.

Each session that is being committed has a lane. The first to enter it leads: it commits its own job, then wakes one of
those who came meanwhile, who leads the next commit for all of them. Nobody is captive: a leader serves one batch. On
conflict with another process the batch is replayed onto the fresh record; after three conflicts the leader takes a
turn: a lease of a moment, in which nobody else's commit passes, and which ends with its own. So a process that is far
from the store comes through beside one that is near. The bound is each job's deadline.

A commit is safe to repeat, because its version is a random id that the record remembers. So a cut reply is answered by
sending the same commit again, and when a leader is cancelled in mid-flight, the next one can tell whether the jobs of
its batch were made.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from os import urandom
from typing import Final, Literal, TypeAlias, TypeVar

from msgspec import structs

from . import facts
from .codec import Codec
from .config import SessionConfig
from .errors import (
    ConflictError,
    OutcomeUnknown,
    SessionGone,
    SessionLeased,
    SojournError,
    StoreError,
    StoreUnavailable,
    TooManySessions,
)
from .merge import replay
from .policy import amend, check_sizes, touch_due
from .record import (
    VERSION_BYTES,
    VERSIONS_KEPT,
    Amendment,
    Cap,
    Change,
    Committed,
    Conflict,
    Delta,
    Gone,
    Leased,
    Outcome,
    Record,
)
from .store import NO_CAP, Store
from .waiting import LOOK, Signal, Waiting

__all__ = ["Job", "Lanes", "backoff", "mint_version", "repeated"]

T = TypeVar("T")
log = logging.getLogger("sojourn")

_REPEATS: Final = 3  # how often one commit is sent when its reply does not come
_GRACE: Final = 1.0  # seconds past its deadline for which a job waits for the end of a commit that is under way with it
_PATIENCE: Final = 3  # conflicts before a leader takes a turn
_TURN: Final = 0.25  # seconds that a turn lasts at most: enough for a commit to arrive, and little if it never does
_KEPT: Final = (VERSIONS_KEPT - 1) * VERSION_BYTES


_names = random.Random(urandom(32))  # noqa: S311 - names, not secrets; seeded anew in a forked child
_all: weakref.WeakSet[Lanes] = weakref.WeakSet()


def _after_fork() -> None:
    _names.seed(urandom(32))
    for lanes in list(_all):
        lanes.forked()


os.register_at_fork(after_in_child=_after_fork)


def mint_version() -> bytes:
    """A new version: 8 random bytes. It is a name, not a secret."""
    return _names.getrandbits(8 * VERSION_BYTES).to_bytes(VERSION_BYTES, "big")


Send: TypeAlias = Callable[..., Awaitable[Outcome]]
"""As `Store.commit`."""

_State: TypeAlias = Literal["waiting", "leading", "driven", "done"]
"""Of a job. "driven": it is in the batch of a leader. (Looking into an Enum takes 90 ns in Python 3.11, and this is
done a few times a commit; a literal costs nothing and is checked as well.)"""


class Job:
    """One writer's commit: what it loaded, what it changed, and in the end what became of it."""

    # What an uncontended job never sets stands on the class.
    followers: list[Job] | None = None
    signal: Signal | None = None
    tried: tuple[bytes, ...] = ()
    """The versions under which it was sent and that nobody heard of: it may have been made."""
    merged = False
    """Whether others had committed since its load, and what it changed was merged with that."""
    outside = False
    """Whether it is no activity of the session's."""
    is_over = False
    """Whether its caller has gone on: it leads nobody any more."""
    result: Record | None = None
    error: Exception | None = None

    def __init__(
        self, base: Record, delta: Delta | None, amendment: Amendment | None, deadline: float, fence: int = 0
    ) -> None:
        self.base = base
        self.delta = delta
        self.amendment = amendment
        self.deadline = deadline
        self.fence = fence
        self.state: _State = "leading"
        self.current = base
        """The newest record that is known where this job leads."""
        self.others: list[Job] = []
        """Who is served together with this job when it leads. (Not itself: jobs are many, and a cycle would be left to
        the garbage collector.)"""
        self.values: dict[str, bytes | None] = {}
        """The value of each field it touched, as it was right after this job."""

    def finish(self, result: Record | None, error: Exception | None = None) -> None:
        self.result = result
        self.error = error
        self.state = "done"
        if self.signal is not None:
            self.signal.set()

    def outcome(self) -> Record:
        """The record as it is after this job; raises what the job failed with."""
        if self.error is not None:
            raise self.error
        assert self.result is not None  # noqa: S101 - a job that is done has a result or an error
        return self.result


class Lanes:
    """Commits of many writers, one at a time per session."""

    def __init__(
        self,
        store: Store,
        codec: Codec,
        config: SessionConfig,
        waiting: Waiting,
        clock: Callable[[], float],
        tell: Callable[[Iterable[Change]], None],
        counts: Counter[str],
    ) -> None:
        self._store = store
        self._codec = codec
        self._config = config
        self._waiting = waiting
        self._clock = clock
        self._tell = tell
        self._counts = counts
        self.send: Send = store.commit
        """What commits are made with."""
        self._cap = (
            Cap(config.max_sessions_per_user, config.at_cap == "refuse") if config.max_sessions_per_user else NO_CAP
        )
        self._begin_anew()
        _all.add(self)

    def forked(self) -> None:
        """In the child of a fork: whoever led a lane is not here."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._lanes: dict[str, Job] = {}
        self._lock = threading.RLock()  # a task of a loop that was closed parts when it is collected: anywhere

    async def commit(self, job: Job) -> Record:
        """Make the commit; the record as it is then. Raises `SessionGone`, `ConflictError`, `SessionLeased`,
        `TooManySessions`, `TooLarge`, `StoreUnavailable`, `OutcomeUnknown`, and what an update's function raises."""
        if job.fence:
            await self._settle(job)  # who holds the lease must not queue behind those who wait for its end
            return job.outcome()
        handle = job.base.handle
        try:
            if self._lanes.setdefault(handle, job) is not job and not self._join(handle, job):
                await self._wait(handle, job)
            if job.state == "leading":
                await self._settle(job)
        finally:
            job.is_over = True  # before anything is called: a signal handler may raise there
            if self._lanes.get(handle) is job or job.state != "done":
                self._part(handle, job)
        return job.outcome()

    async def attempt(self, job: Job) -> Record | None:
        """Make the commit if nobody else was there since the load, and without merging; None: somebody was, and
        `job.current` is the session as it is now. Otherwise as `commit`."""
        now = self._clock()
        wanted, told, fields, taken = self._fold(job.base, [job], now)
        if not taken:
            return job.outcome()
        outcome = await self._send(job.base, wanted, now, job.fence, told, fields, taken)
        if isinstance(outcome, (Conflict, Leased)):
            self._counts["conflicts"] += 1
            job.current = outcome.record
            return None
        self._close(outcome, job, taken)
        return job.outcome()

    # --- The lane ------------------------------------------------------------------------------------------------

    def _join(self, handle: str, job: Job) -> bool:
        """Follow whoever leads; True if the lane has emptied meanwhile and this job leads."""
        with self._lock:
            self._relieve(handle)
            leader = self._lanes.setdefault(handle, job)
            if leader is job:
                return True
            job.state = "waiting"
            job.signal = self._waiting.signal()
            if leader.followers is None:
                leader.followers = []
            leader.followers.append(job)
            return False

    async def _wait(self, handle: str, job: Job) -> None:
        """Wait until this job is done, or leads."""
        assert job.signal is not None  # noqa: S101 - set when it joined
        while not await job.signal.wait(min(job.deadline - time.monotonic(), LOOK)):
            with self._lock:
                self._relieve(handle)
            if job.state in ("leading", "done"):  # and nobody came to say so
                return
            if job.deadline <= time.monotonic():
                break
        else:
            return
        if job.state == "driven" and await job.signal.wait(_GRACE):
            return
        state = self._part(handle, job)
        if state == "waiting":
            raise ConflictError("the session is busy and this commit did not get its turn in time: nothing was written")
        if state == "driven":
            raise OutcomeUnknown("the commit was under way when the time was up: load the session and look")

    def _part(self, handle: str, job: Job) -> _State:
        """Nobody may count on this job's caller any more: it is done, or gave up, or was interrupted. What the job was
        by then; a look at it after this might find that its leader left, too, and that it seems to lead."""
        with self._lock:
            leader = self._lanes.get(handle)
            if job.state == "waiting" and leader is not None and leader.followers and job in leader.followers:
                leader.followers.remove(job)
            if job.state == "driven":
                job.signal = None  # it is not to lead, should its leader leave, too
            state = job.state
            self._relieve(handle)
            return state

    def _relieve(self, handle: str) -> None:
        """Under the lock: if whoever led is over, the next one leads, with all that wait as its batch; or the lane is
        empty."""
        job = self._lanes.get(handle)
        if job is None or not job.is_over:
            return
        following = [other for other in (*job.others, *(job.followers or ())) if other.state != "done"]
        if self._lanes.get(handle) is not job:  # a task that was collected just now has done it
            return
        for at, successor in enumerate(following):
            if successor.signal is None or successor.is_over:
                continue
            successor.current = job.current
            successor.others = following[at + 1 :]
            successor.state = "leading"
            for other in successor.others:
                other.state = "driven"
            self._lanes[handle] = successor
            if successor.signal.set() or self._lanes.get(handle) is not successor:
                return
        self._lanes.pop(handle, None)

    # --- The commit ----------------------------------------------------------------------------------------------

    async def _settle(self, leader: Job) -> None:
        """Bring every job of the leader's batch to its end."""
        conflicts, turn = 0, 0
        while True:
            now = self._clock()
            batch = [job for job in (leader, *leader.others) if job.state != "done"] if leader.others else [leader]
            if leader.fence and leader.current.fence != leader.fence:
                _fail(batch, SessionLeased, "the lease ran out and another holder has the session: nothing was written")
                return
            wanted, told, fields, taken = self._fold(leader.current, batch, now)
            if not taken:
                return
            base, fence = leader.current, leader.fence or turn
            if turn:
                wanted = structs.replace(wanted, leased_until=0.0)  # it ends with this commit
            outcome = await self._send(base, wanted, now, fence, told, fields, taken)
            if isinstance(outcome, (Conflict, Leased)):
                leader.current = outcome.record
                conflicts += 1
                self._counts["conflicts"] += 1
                for job in taken:
                    job.tried = job.tried[:-1]  # this one was refused for certain
                if _drop_late(taken, leased=isinstance(outcome, Leased)):
                    return
                turn = await self._turn(leader) if conflicts > _PATIENCE and not leader.fence else 0
                if not turn and (isinstance(outcome, Leased) or conflicts > _PATIENCE):
                    await self._waiting.sleep(backoff(conflicts))
                    leader.current = await self._store.load(base.handle) or leader.current  # it has aged meanwhile
            elif self._close(outcome, leader, taken):
                return

    async def _turn(self, leader: Job) -> int:
        """Take a turn: its number, or 0 if somebody else has one."""
        current = leader.current
        try:
            outcome = await self._store.lease(current.handle, current.generation, _TURN, self._clock())
        except StoreError as error:
            log.debug("no turn was to be had: %s", error)  # the next commit meets the same, and tells it
            return 0
        if isinstance(outcome, Gone):
            return 0  # as the next commit is told
        leader.current = outcome.record
        return outcome.record.fence if isinstance(outcome, Committed) else 0

    def _close(self, outcome: Outcome, leader: Job, taken: list[Job]) -> bool:
        """Bring jobs to their end by a final answer. False: some of them are to be tried again without the others."""
        if isinstance(outcome, Committed):
            leader.current = outcome.record
            if outcome.facts:
                self._tell(outcome.facts)
            self._counts["commits"] += len(taken)
            for job in taken:
                job.finish(outcome.record)
            return True
        if isinstance(outcome, Gone):
            _fail(taken, SessionGone, "the session ended or changed its user meanwhile: nothing was written")
            return True
        logins = [job for job in taken if job.amendment is not None and job.amendment.login]
        _fail(logins, TooManySessions, "the user has as many sessions as max_sessions_per_user allows: end one first")
        return len(logins) == len(taken)

    def _fold(
        self, current: Record, batch: list[Job], now: float
    ) -> tuple[Record, tuple[Change, ...], tuple[str, ...], list[Job]]:
        """Apply the jobs to a record, one after the other: the record to commit, the facts that go with it, the names
        of the fields that change, and the jobs in it. A job that cannot be applied fails by itself."""
        version = mint_version()
        record, fields, size = current, current.fields, current.size
        overwritten: list[str] = []
        taken: list[Job] = []
        for job in batch:
            if job.tried and any(map(current.knows, job.tried)):
                self._counts["commits"] += 1
                job.finish(current)
                continue
            try:
                if job.base.generation != record.generation:
                    raise SessionGone("the session changed its user meanwhile: nothing was written")  # noqa: TRY301
                if job.delta is not None:
                    lost = self._changes(job, job.delta, fields)
                    fields, size = self._with_values(fields, size, job.values)
                    overwritten += lost
                if job.amendment is not None:
                    record = self._amended(record, job, job.amendment, now)
            except Exception as error:  # its function may raise anything, and it concerns nobody else
                job.finish(None, error)
            else:
                job.tried = (*job.tried, version)
                taken.append(job)
        versions = version + current.versions[:_KEPT]
        seen = touch_due(current, now) and not all(job.outside for job in taken)
        accessed_at = now if seen else current.accessed_at
        wanted = structs.replace(record, versions=versions, accessed_at=accessed_at, fields=fields, size=size)
        names = _names_of(taken)
        if not overwritten and record is current and not self._config.record_changes:
            return wanted, (), names, taken
        told = [facts.overwritten(wanted, path, now) for path in overwritten]
        if wanted.secret_digest != current.secret_digest:
            told.append(facts.rotated(wanted, now))
        if names and self._config.record_changes:
            told.append(facts.changed(wanted.handle, wanted.user_id, wanted.version, names, now))
        return wanted, tuple(told), names, taken

    def _changes(self, job: Job, delta: Delta, fields: dict[str, bytes]) -> tuple[str, ...]:
        """Find the values that a job's fields become; the paths that it overwrites."""
        if fields is delta.base:
            job.values = delta.local  # nobody else was there: what is here is what it becomes
            return ()
        merged = replay(self._codec, fields, delta)
        if merged.overwritten and self._config.same_key == "refuse":
            raise ConflictError(f"another writer changed {', '.join(merged.overwritten)}: nothing was written")
        job.values = merged.values
        if not job.merged:
            job.merged = True
            self._counts["merged"] += 1
        return merged.overwritten

    def _with_values(
        self, fields: dict[str, bytes], size: int, values: dict[str, bytes | None]
    ) -> tuple[dict[str, bytes], int]:
        """The fields with these values, and their size."""
        changed = fields.copy()
        before = size
        for name, data in values.items():
            old = changed.pop(name, None) if data is None else changed.get(name)
            if old is not None:
                size -= len(name) + len(old)
            if data is not None:
                size += len(name) + len(data)
                changed[name] = data
        if size > before:  # what shrinks is welcome, whatever it is
            check_sizes(values, size, self._config)
        return changed, size

    def _amended(self, record: Record, job: Job, wanted: Amendment, now: float) -> Record:
        if wanted.for_age and record.rotated_at != job.base.rotated_at:
            wanted = structs.replace(wanted, secret_digest=None)  # a parallel request has just done it
        return amend(record, wanted, now, self._config)

    async def _send(
        self,
        base: Record,
        wanted: Record,
        now: float,
        fence: int,
        told: tuple[Change, ...],
        fields: tuple[str, ...],
        taken: list[Job],
    ) -> Outcome:
        """Commit; if the reply does not come, the same once more: made twice, it counts once."""
        commit, cap = self.send, self._cap
        try:
            try:
                return await commit(base, wanted, now, fence=fence, facts=told, fields=fields, cap=cap)
            except OutcomeUnknown as unknown:
                if unknown.final:
                    raise
                outcome = await repeated(
                    lambda: commit(base, wanted, now, fence=fence, facts=told, fields=fields, cap=cap),
                    taken[0].deadline - time.monotonic(),
                    unknown,
                )
                if isinstance(outcome, (Conflict, Leased)) and not outcome.record.knows(base.version):
                    raise  # so many commits later that the record does not remember whether this one was among them
                return outcome
        except StoreError as final:
            self._counts["unavailable"] += 1
            for job in taken:
                job.finish(None, _twin(final))
            raise


def _names_of(jobs: list[Job]) -> tuple[str, ...]:
    """The names of the fields that jobs change."""
    if len(jobs) == 1:
        delta = jobs[0].delta
        return () if delta is None else tuple(delta.ops)
    return tuple(dict.fromkeys(name for job in jobs if job.delta is not None for name in job.delta.ops))


async def repeated(send: Callable[[], Awaitable[T]], within: float, unknown: OutcomeUnknown) -> T:
    """Send again a write whose reply did not come, and that is safe to repeat: a few times, within so many seconds.
    Raises `unknown` if no reply ever comes."""
    give_up = time.monotonic() + within
    for _ in range(_REPEATS - 1):
        if time.monotonic() > give_up:
            break
        try:
            return await send()
        except (OutcomeUnknown, StoreUnavailable) as error:
            unknown.add_note(f"sent again: {error}")
    raise unknown


def _twin(error: StoreError) -> StoreError:
    """The same failure once more, as each is raised in another thread or task."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin


def _fail(jobs: Iterable[Job], kind: type[SojournError], message: str) -> None:
    """Fail each job with an exception of its own, as each is raised in another thread or task."""
    for job in jobs:
        job.finish(None, kind(message))


def backoff(conflicts: int) -> float:
    """Seconds to wait after so many conflicts: growing, bounded, and different for everybody."""
    return random.uniform(0.5, 1.5) * 0.001 * min(conflicts, 20)  # noqa: S311 - no secret


def _drop_late(jobs: list[Job], *, leased: bool) -> bool:
    """Fail the jobs whose time is up. Returns whether that was all of them."""
    late = [job for job in jobs if time.monotonic() > job.deadline]
    if leased:
        _fail(late, SessionLeased, "another holder kept the session to itself past the deadline: nothing was written")
    else:
        _fail(late, ConflictError, "too many writers at once and the time was up: nothing was written. Try again")
    return len(late) == len(jobs)
