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
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from .record import Cap, Change, Committed, EndReason, Gone, Leased, Outcome, Record, Refused, Summary

__all__ = ["NO_CAP", "Durability", "Stats", "Store", "World"]

Durability: TypeAlias = Literal["memory", "process", "server", "power", "replicated"]
"""What an acknowledged write survives: nothing; the death of the process; what the server it is on is set to survive;
a power cut; the loss of the primary."""

World: TypeAlias = Literal["blocking", "async", "any"]
"""Which callers a store serves. "any": its operations neither block nor suspend."""

NO_CAP = Cap()


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
        used, live sessions are evicted in the same step and their facts returned; or `Refused`."""

    async def commit(
        self,
        base: Record,
        wanted: Record,
        now: float,
        *,
        fence: int = 0,
        facts: tuple[Change, ...] = (),
        cap: Cap = NO_CAP,
    ) -> Outcome:
        """Replace the record by `wanted`, which was made from `base`, if `sojourn.policy.guard` lets it pass; else the
        guard's answer. `accessed_at` is merged by maximum. `facts` are recorded in the same step. `cap` holds for
        commits that change the user."""

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        """Record activity: raise `accessed_at` to `at` if the session is alive and of this generation. Changes no
        version. Returns whether it is alive and of this generation."""

    async def lease(self, handle: str, generation: int, hold: float, now: float) -> Committed | Leased | Gone:
        """Take the lease for `hold` seconds, whatever the version: `fence` goes up by one, and `leased_until` becomes
        `now + hold`. `Committed` with the record as it is then; `Leased` if somebody else holds it; `Gone` if the
        session is not alive or of another generation. Changes no version."""

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

    async def purge_expired(self, now: float, limit: int) -> tuple[Change, ...]:
        """Delete up to `limit` dead records. The facts "ended" (expired), each told to one caller only. Costs in
        proportion to what died."""

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        """Recorded facts after the position `since` (0: from the oldest kept), in order, and the position to go on
        from. History is kept up to a bound."""

    async def stats(self) -> Stats:
        """Size and level."""

    async def close(self) -> None:
        """Release connections, files and threads. Closing twice is allowed; any other use afterwards raises
        `StoreUnavailable`."""
