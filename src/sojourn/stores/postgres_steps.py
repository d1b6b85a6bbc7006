"""What the PostgreSQL store sends, as values: the statements of ``postgres.sql`` with their parameters, and facts as
they come back. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from ..facts import ended
from ..record import Cap, Change, EndReason, Record
from .postgres_schema import SQL
from .postgres_statement import Row, Statement, Step
from .sealing import seal
from .sql import commit_values, fact_columns, record_values, same_columns

__all__ = ["commit", "create", "ending", "lease", "leaving", "step", "text", "text_of_fact", "told"]

_ENDS: Final = ("end", "end_of_user", "end_idle", "clear", "clear_one", "purge", "least_used")
_PARTS: Final = ("schema", "upgrade_to_2", "describe", "about", "tell_ends", "watched")  # what is sent otherwise
_STATEMENTS: Final[Mapping[str, Statement]] = {
    name: Statement(
        name,
        (SQL["tell_ends"].replace("@gone@", text) if name in _ENDS else text).replace("@watched@", SQL["watched"]),
    )
    for name, text in SQL.items()
    if name not in _PARTS
}


def step(name: str, /, **values: Any) -> Step:
    """A statement with its parameters."""
    return _STATEMENTS[name], values


def create(record: Record, moment: float | None, lock: int | None) -> Step:
    """Add a record, unless it is there. ``lock``: that of its user."""
    return _STATEMENTS["create"], record_values(record) | {"body": seal(record), "now": moment, "lock": lock}


def commit(base: Record, wanted: Record, moment: float | None, fence: int, facts: tuple[Change, ...]) -> Step:
    """Replace a record, if it is as it was."""
    body = seal(wanted)
    if facts or fence or not same_columns(base, wanted):
        return _STATEMENTS["commit_all"], commit_values(base, wanted, body, moment, fence) | fact_columns(facts)
    return step(
        "commit_fields",
        version=wanted.version,
        body=body,
        handle=wanted.handle,
        base_version=base.version,
        base_generation=base.generation,
        now=moment,
    )


def lease(
    handle: str, generation: int, hold: float, moment: float | None, name: str, patience: float
) -> tuple[Step, ...]:
    """Take a lease by name, or stand in line for it, or leave the line. The third answer tells whether it was
    taken, and the last how it is."""
    place = {"handle": handle, "name": name, "now": moment}
    standing = step("line_stand", **place, generation=generation, patience=patience)
    return (
        step("lease_lock", handle=handle),
        step("line_over", handle=handle, now=moment),
        step("lease_named", **place, generation=generation, hold=hold),
        standing if patience > 0 else step("line_leave", handle=handle, name=name),
        step("lease_look", **place),
    )


def ending(name: str, reason: EndReason, moment: float | None, **values: Any) -> Step:
    """Remove records, and note the facts."""
    return step(name, reason=reason, now=moment, **values)


def leaving(mine: list[Row], cap: Cap) -> list[str] | None:
    """Which sessions of a user, oldest first, must go so that one more fits; None: it is refused."""
    excess = 0 if cap.per_user is None else len(mine) + 1 - cap.per_user
    if excess > 0 and cap.refuse:
        return None
    return [handle for (handle,) in mine[: max(excess, 0)]]


def told(rows: Iterable[Row]) -> tuple[Change, ...]:
    """The facts of records that were removed."""
    return tuple(ended(handle, text(user), cast(EndReason, text(why)), at) for handle, user, why, at, _ in rows)


def text(data: bytes | None) -> str | None:
    """What stands in a column of bytes that holds text."""
    return None if data is None else data.decode()


def text_of_fact(row: Row) -> Row:
    """The row of a fact, for `sojourn.stores.sql.page`."""
    position, name, kind, at, handle, user_id, reason, names = row
    return position, text(name), kind, at, handle, text(user_id), text(reason), names
