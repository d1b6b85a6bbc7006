"""Room for one more session of a PostgreSQL store, under a cap of a user or of the store: counted, made and taken in
one transaction, in which no other session of the user comes or goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..policy import guard
from ..record import Cap, Change, EndReason, Outcome, Record, Refused
from .postgres_pool import Pool
from .postgres_statement import Row, Step
from .postgres_steps import commit, ending, leaving, step, told

__all__ = ["Room"]

# Who leaves, in this order, so that one more session fits into the store.
_ROOM: Final[dict[str, EndReason]] = {"purge": "expired", "clear": "revoked", "least_used": "evicted"}


class Room:
    """Makes it. ``lock_of`` is the lock of a user, ``total`` that of the store, and ``seen`` reads what `load_at`
    returns."""

    def __init__(
        self,
        pool: Pool,
        lock_of: Callable[[str], int],
        total: int,
        seen: Callable[[str, Row], tuple[Record | None, float]],
    ) -> None:
        self._pool = pool
        self._lock_of = lock_of
        self._total = total
        self._seen = seen

    async def create(
        self, record: Record, creation: Step, moment: float | None, cap: Cap
    ) -> tuple[list[Row], tuple[Change, ...]] | Refused:
        """Run the creation of a record: what it returned (nothing, if an earlier attempt has created it), and the ends
        of those who had to leave."""
        total = [] if cap.total is None else [step("lock", lock=self._total)]
        async with self._pool.transaction() as run:
            *_, mine, ((held,),), (known,) = await run(
                *self._with_the_user_locked(record),
                *total,
                self._others_of_user(record, moment),
                step("held"),
                step("load_at", handle=record.handle, now=moment),
            )
            current, _ = self._seen(record.handle, known)
            if current is not None:
                return [], ()
            going = leaving(mine, cap)
            if going is None:
                return Refused()
            gone, rows = await run(
                ending("clear_one", "revoked", moment, handle=record.handle, version=record.version),
                ending("end", "evicted", moment, handles=going),
            )
            rows += gone
            excess = 0 if cap.total is None else held + 1 - len(rows) - cap.total
            for name, reason in _ROOM.items() if excess > 0 else ():
                (more,) = await run(ending(name, reason, moment, limit=excess))
                excess -= len(more)
                rows += more
            added, _ = await run(creation, step("commit"))
        return added, told(rows)

    async def sign_in(
        self, base: Record, wanted: Record, moment: float | None, fence: int, facts: tuple[Change, ...], cap: Cap
    ) -> tuple[list[Row], tuple[Change, ...]] | Outcome | None:
        """Replace a record by one of another user: what that returned, and the ends of those who had to leave; or why
        not; or None, if somebody came between."""
        async with self._pool.transaction() as run:
            *_, mine, (row,) = await run(
                *self._with_the_user_locked(wanted),
                self._others_of_user(wanted, moment),
                step("load_at", handle=wanted.handle, now=moment),
            )
            current, at = self._seen(wanted.handle, row)
            refusal = guard(current, base, wanted, at, fence)
            if refusal is not None:
                return refusal
            going = leaving(mine, cap)
            if going is None:
                return Refused()
            evicted, done = await run(
                ending("end", "evicted", moment, handles=going), commit(base, wanted, moment, fence, facts)
            )
            if not done:
                return None
            await run(step("commit"))
        return done, told(evicted)

    def _with_the_user_locked(self, record: Record) -> list[Step]:
        """The beginning of a transaction in which no other session of the record's user comes or goes."""
        steps = [step("begin")]
        if record.user_id is not None:
            steps.append(step("lock", lock=self._lock_of(record.user_id)))
        return steps

    def _others_of_user(self, record: Record, moment: float | None) -> Step:
        return step("user_oldest_first", user_id=record.user_id, handle=record.handle, now=moment)
