"""The contract between the engine and a store. A store can be written from this page alone; `sojourn.testing` is the
same contract as tests.

A store keeps records by handle and answers a handful of operations, each one round trip, each a coroutine. A
*blocking* store's coroutines never suspend: they block the calling thread, and the engine runs them to their end in
one step (see `sojourn.blocking`). An *async* store's suspend. Both are the same protocol.

Rules for every operation:
- Atomic: all of it happens, or none; what is acknowledged has the durability that the store names.
- Bounded: an answer within the store's deadline, else `StoreUnavailable` (nothing was written) or, where the request
  was sent and the reply did not come, `OutcomeUnknown`.
- Time is the argument `now` (Unix seconds). A store that several machines share uses its own clock instead.
- Safe to repeat: the same commit, created record or end a second time changes nothing and answers the same.
- A record that fails its check is reported as `DamagedRecord`, and never served.

Beside the operations stands the *feed*: it says when to look, and keeps nothing. What must not be missed, the facts of
the life of sessions, is in the history, which `changes` reads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from .record import Cap, Change, Committed, EndReason, Gone, Leased, Outcome, Record, Refused, Summary
from .waiting import Waiting

__all__ = ["HISTORY", "HISTORY_AGE", "NO_CAP", "ByActivity", "Durability", "Feed", "Hint", "Stats", "Store", "World"]

Durability: TypeAlias = Literal["memory", "process", "server", "power", "replicated"]
"""What an acknowledged write survives: nothing; the death of the process; what the server it is on is set to survive;
a power cut; the loss of the primary."""

World: TypeAlias = Literal["blocking", "async", "any"]
"""Which callers a store serves. "any": its operations neither block nor suspend."""

NO_CAP = Cap()

HISTORY: Final = 10_000
"""Facts kept for `Store.changes`, about."""

HISTORY_AGE: Final = 7 * 86400.0
"""Seconds for which a fact is kept at most. The last one that is older stays: it tells who has read it that nothing was
missed."""


class Stats(Struct, frozen=True, kw_only=True):
    """What a store says of itself."""

    sessions: int
    """Records held, dead ones that were not yet purged included."""
    bytes: int | None
    """Space taken, in bytes; None where it is not known."""
    durability: Durability


class Store(Protocol):
    """Where records live."""

    @property
    def world(self) -> World:
        """Which callers it serves."""

    @property
    def durability(self) -> Durability:
        """What an acknowledged write survives."""

    async def load(self, handle: str) -> Record | None:
        """The record, dead or alive; None if there is none. Writes nothing."""

    async def create(self, record: Record, now: float, cap: Cap = NO_CAP) -> Committed | Refused:
        """Add a record, with the fact "created". At the cap of the user or of the store the oldest, or least recently
        used, live sessions are evicted in the same step and their facts returned; or `Refused`. If a record of this
        handle is there, that one is returned, and nothing changes; one that has ended with all others makes way, unless
        it is the very same."""

    async def commit(
        self,
        base: Record,
        wanted: Record,
        now: float,
        *,
        fence: int = 0,
        facts: tuple[Change, ...] = (),
        fields: tuple[str, ...] = (),
        cap: Cap = NO_CAP,
    ) -> Outcome:
        """Replace the record by `wanted`, which was made from `base`, if `sojourn.policy.guard` lets it pass; else the
        guard's answer. `accessed_at` is merged by maximum. `facts` are recorded in the same step, and the feed is told
        of the commit, with the names of the `fields` that it changes. `cap` holds for commits that change the user."""

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        """Record activity: raise `accessed_at` to `at` if the session is alive and of this generation. Changes no
        version. Returns whether it is alive and of this generation."""

    async def lease(
        self, handle: str, generation: int, hold: float, now: float, *, name: str = "", patience: float = 0.0
    ) -> Committed | Leased | Gone:
        """Take the lease for `hold` seconds, whatever the version: `fence` goes up by one, and `leased_until` becomes
        `now + hold`. `Committed` with the record as it is then; `Leased` if somebody else holds it, or comes before;
        `Gone` if the session is not alive or of another generation. Changes no version.

        Who comes with a `name` and has to wait stands in line under it for `patience` seconds from now (0: leaves the
        line), and asking again keeps the place: the lease is given in the order of the line. With a name it is safe to
        repeat: who holds the lease by this name is told so again. Without one, the line is passed by."""

    async def end(self, handles: Sequence[str], reason: EndReason, now: float) -> tuple[Change, ...]:
        """Delete these records, whatever their state. The facts "ended" of those that were there: with this reason if
        they were alive, as "expired" if they had run out by themselves."""

    async def end_matching(
        self,
        now: float,
        *,
        user_id: str | None = None,
        idle_since: float | None = None,
        keep: str | None = None,
        reason: EndReason = "revoked",
    ) -> tuple[Change, ...]:
        """Delete all records that match: of this user (None: of all), without activity since `idle_since` (None:
        however active), except the handle `keep`. One step: no session that matched before it is alive after it."""

    async def summaries(
        self, now: float, *, user_id: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Summary]:
        """Live sessions (of this user, or of all) whose handle sorts after `after`, in the order of handles."""

    async def load_many(self, handles: Sequence[str]) -> dict[str, Record]:
        """Those of these records that there are, dead or alive, by handle. A damaged one is left out, and logged."""

    def walk(self) -> AsyncIterator[list[Record]]:
        """All records, dead or alive, some at a time and in any order: each that is there throughout comes at least
        once. A damaged one is left out, and logged. Operations may come in between."""

    async def purge_expired(self, now: float, limit: int) -> tuple[Change, ...]:
        """Delete up to `limit` dead records. The facts "ended" (expired), each told to one caller only. Costs in
        proportion to what died."""

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        """Recorded facts after the position `since` (0: from the oldest kept), in order, and the position to go on
        from. History is kept up to a bound, of `HISTORY` facts and `HISTORY_AGE`, which `purge_expired` sees to:
        `HistoryTrimmed` if facts after `since` are gone."""

    async def position(self) -> int:
        """Of the newest recorded fact: where a reader begins who wants none of the past."""

    async def bookmark(
        self, reader: str, holder: str, now: float, *, hold: float, position: int | None = None
    ) -> int | None:
        """The position up to which the named reader has read, kept for it by the store, which `holder` holds for `hold`
        seconds from now (0: gives it back); None while another holder has it. With a `position`, it is moved there
        first. A new reader's is 0."""

    def feed(self, waiting: Waiting) -> Feed:
        """A feed for callers who wait in this way. Nothing is connected yet."""

    async def stats(self) -> Stats:
        """Size and level."""

    async def close(self) -> None:
        """Release connections, files and threads. Closing twice is allowed; any other use afterwards raises
        `StoreUnavailable`."""


@runtime_checkable
class ByActivity(Protocol):
    """A store that keeps sessions in order: by their last activity, and by their handles. Whoever lists them a page at
    a time pays for that page, however many there are, here and in `Store.summaries`. A store need not be one."""

    async def by_activity(
        self, now: float, *, descending: bool = True, after: tuple[float, str] | None = None, limit: int = 1000
    ) -> list[Summary]:
        """Live sessions in the order of their last activity, and those of the same moment by their handles; the
        latest first, or last. For the next page pass the activity and the handle of the last one as ``after`` (which
        may have ended meanwhile): who was active in between has moved towards the latest."""


class Hint(Struct, frozen=True, gc=False):
    """What a feed says: a session was written. With a `version`, its fields were, or its metadata, in that commit; with
    `facts`, something of its life was recorded, of which `ended` tells that it is over. With none of them: look at it.
    Without a `handle`: look at everything."""

    handle: str
    user_id: str | None = None
    version: bytes | None = None
    fields: tuple[str, ...] | None = None
    """The names of the fields that changed; None: not known."""
    facts: bool = False
    ended: bool = False


class Feed(Protocol):
    """Says when to look, as soon as it can. One connection, or none; what it says is lost when that breaks, and then
    each operation raises `StoreUnavailable`: another feed is opened, and everything is looked at anew.

    One caller at a time waits in `hints`; meanwhile others may `follow`, in any thread or task.
    """

    async def open(self) -> None:
        """Connect, within the store's deadline. Once it returns, whatever is written is told."""

    async def follow(self, handles: Iterable[str], *, everything: bool = False) -> bool:
        """Tell of these sessions, too; or of all. A feed may tell of others as well. Returns whether it does from now
        on; else it says of each of these sessions, or without a handle of all, that one should look, once it does."""

    async def forget(self, handles: Iterable[str]) -> None:
        """No longer tell of these sessions, unless it follows all."""

    async def hints(self, timeout: float) -> list[Hint]:
        """Wait until there is something to say, at most so many seconds. Nothing, if there was nothing."""

    async def close(self) -> None:
        """Part with the connection; who waits in `hints` is woken, and told `StoreUnavailable`. Closing twice is
        allowed."""
