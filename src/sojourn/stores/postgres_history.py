"""The history of a PostgreSQL store: facts get their positions when somebody asks for them, and leave it in time."""

from __future__ import annotations

from ..errors import OutcomeUnknown, StoreUnavailable
from ..record import Change
from ..store import HISTORY, HISTORY_AGE
from .postgres_pool import Pool
from .postgres_schema import lock_number
from .postgres_statement import Step
from .postgres_steps import step, text_of_fact
from .sql import BATCH, page

__all__ = ["History"]


class History:
    """The facts that were recorded in a schema."""

    def __init__(self, pool: Pool, schema: str) -> None:
        self._pool = pool
        self._lock = lock_number(schema, "places")

    async def after(self, since: int, limit: int) -> tuple[int, list[Change]]:
        """Facts after a position, and where to go on."""
        await self._place()
        # What is kept is looked at later than the rows: nothing is missed.
        rows, (kept,) = await self._pool.read(step("changes", since=since, limit=limit), step("kept"))
        return page(since, [text_of_fact(row) for row in rows], *kept)

    async def newest(self) -> int:
        """The last position."""
        await self._place()
        (((_, newest),),) = await self._pool.read(step("kept"))
        return newest or 0

    async def tidy(self, moment: float | None) -> None:
        """Place what is fresh, and remove what is too old, some at a time; so, too, who stood in line."""
        (old,) = await self._pool.read(step("any_old", now=moment, age=HISTORY_AGE))
        await self._place(
            step("trim_old", now=moment, age=HISTORY_AGE, limit=BATCH),
            step("line_trim", now=moment, limit=BATCH),
            also=bool(old),
        )

    async def _place(self, *more: Step, also: bool = False) -> None:
        """Give positions to the facts that have none, and do more with them then; ``also``: even if all have one."""
        (((fresh,),),) = await self._pool.read(step("any_fresh"))
        if fresh or also:
            placing = (step("lock", lock=self._lock), step("place"), step("trim", limit=HISTORY))
            try:
                await self._pool.write(*placing, *more)
            except OutcomeUnknown as unknown:  # whoever asks again finds them placed, or places them
                raise StoreUnavailable(f"the history could not be read: {unknown.args[0]}") from unknown
