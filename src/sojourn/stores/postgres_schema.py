"""The tables of the PostgreSQL store: made and upgraded by whoever comes first, one at a time.

`about` holds the version of the schema, and the oldest version whose programs it still works with. A step that only
adds leaves that one alone, so that processes of the version before go on beside it while an upgrade is rolled out; a
step that they could not live with raises it, and they refuse to start. A schema that is too new is refused and not
touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ..errors import StoreDamaged
from .postgres_wire import Refusal, Wire
from .statements import read_statements

__all__ = ["SQL", "SYNCHRONOUS", "UPGRADES", "Found", "Upgrade", "ensure", "lock_number", "quoted", "settings_of"]

SQL: Final = read_statements("postgres.sql")


class Upgrade(Struct, frozen=True):
    """A step to the next version of the schema."""

    script: str
    works_with: int
    """The oldest version whose programs go on working after it."""


UPGRADES: Final[tuple[Upgrade, ...]] = (Upgrade(SQL["upgrade_to_2"], works_with=1),)
"""The step from version 1 to 2 comes first."""

SYNCHRONOUS: Final = {"power": "on", "process": "off", "replicated": "on"}
"""The level of each durability on the server."""

_MISSING: Final = ("42P01", "3F000")  # there is no such table, no such schema


class Found(Struct, frozen=True):
    """What a server says of itself."""

    version: int
    works_with: int
    standbys: str
    """Its synchronous standbys; "" where none is set."""


async def ensure(wire: Wire, schema: str, settings: str, upgrades: Sequence[Upgrade], until: float) -> Found:
    """Make a connection ready: ``settings`` is a script that sets what holds for it. Where the tables are missing or
    older, they are made, or brought up to date. Raises as `Wire.execute`, and `StoreDamaged`."""
    newest = len(upgrades) + 1
    look = f"{settings} {SQL['about']}"
    try:
        found = _found(await wire.execute(look, until))
    except Refusal as refusal:
        if refusal.state not in _MISSING:
            raise
        found = None
    if found is None or found.version < newest:
        await wire.execute(settings, until)
        await _bring_up(wire, schema, upgrades, until)
        found = _found(await wire.execute(look, until))
    if found.works_with > newest:
        raise StoreDamaged(
            f"the tables in {schema} are of version {found.version}, and this version of Sojourn knows {newest}: "
            "upgrade Sojourn. Nothing in them was touched"
        )
    return found


async def _bring_up(wire: Wire, schema: str, upgrades: Sequence[Upgrade], until: float) -> None:
    """Make the tables, or take the steps that are missing, in one transaction, while everybody else who would waits."""
    name = quoted(schema)
    await wire.execute(
        f"BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({lock_number(schema)})", until
    )
    (_, (exists,)) = await wire.execute(
        f"SET LOCAL search_path TO {name}, pg_temp; SELECT to_regclass('about') IS NOT NULL", until
    )
    steps: list[str] = []
    version = 0
    if exists == ("t",):
        version = _found(await wire.execute(SQL["about"], until)).version
    else:
        steps = [f"CREATE SCHEMA IF NOT EXISTS {name}", SQL["schema"].replace("@schema@", name)]
    works_with = 1
    for number, upgrade in enumerate(upgrades, 2):
        works_with = max(works_with, upgrade.works_with)
        if number > version:
            steps.append(upgrade.script.replace("@schema@", name))
    if steps:
        described = (
            SQL["describe"].replace("@version@", str(len(upgrades) + 1)).replace("@works_with@", str(works_with))
        )
        await wire.execute(";".join([*steps, described]), until)
    await wire.execute("COMMIT", until)


def _found(results: list[list[tuple[str | None, ...]]]) -> Found:
    version, works_with, standbys = results[-1][0]
    return Found(int(version or 0), int(works_with or 0), standbys or "")


def lock_number(*names: str) -> int:
    """The number of an advisory lock, which is what PostgreSQL knows it by. Two names may meet in one number: they wait
    for each other then, and that is all."""
    digest = hashlib.blake2b(repr(names).encode(), digest_size=8, person=b"sojourn").digest()
    return int.from_bytes(digest, "big", signed=True)


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def settings_of(schema: str, durability: str, deadline: float) -> str:
    """What holds for each connection, as a script."""
    # The server gives up a little before its client does, who then knows that nothing was written.
    patience = max(int(deadline * 900), 1)
    return (
        f"SET search_path TO {quoted(schema)}, pg_temp; SET statement_timeout = {patience}; "
        f"SET idle_in_transaction_session_timeout = {max(int(deadline * 2000), 1)}; "
        f"SET synchronous_commit = {SYNCHRONOUS[durability]}; SET default_transaction_isolation = 'read committed'; "
        # One plan for all, that suits a large table also while it is small.
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;"
    )
