"""The tables of the PostgreSQL store: made and upgraded by whoever comes first, one at a time.

`about` holds the version of the schema, and the oldest version whose programs it still works with. A step that only adds
leaves that one alone, so that processes of the version before go on beside it while an upgrade is rolled out; a step that
they could not live with raises it, and they refuse to start. A schema that is too new is refused and not touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ..errors import StoreDamaged
from .postgres_wire import Refusal, Wire
from .statements import read_statements

__all__ = ["SQL", "UPGRADES", "Upgrade", "ensure", "lock_number", "quoted"]

SQL: Final = read_statements("postgres.sql")


class Upgrade(Struct, frozen=True):
    """A step to the next version of the schema."""

    script: str
    works_with: int
    """The oldest version whose programs go on working after it."""


UPGRADES: Final[tuple[Upgrade, ...]] = ()
"""The step from version 1 to 2 comes first."""

_MISSING: Final = ("42P01", "3F000")  # there is no such table, no such schema


async def ensure(wire: Wire, schema: str, setting: str, upgrades: Sequence[Upgrade], until: float) -> int:
    """Make a connection ready: ``setting`` is a script that sets what holds for it. Where the tables are missing or older,
    they are made, or brought up to date. Returns the version. Raises as `Wire.execute`, and `StoreDamaged`."""
    newest = len(upgrades) + 1
    look = f"{setting}; {SQL['about']}"
    for attempt in range(2):
        try:
            found = await _look(wire, look, schema, newest, until)
        except Refusal as refusal:
            if refusal.state not in _MISSING or attempt:
                raise
            found = 0
        if found >= newest:
            return found
        await wire.execute(await _bring_up(wire, schema, upgrades, until), until)
    return await _look(wire, look, schema, newest, until)
