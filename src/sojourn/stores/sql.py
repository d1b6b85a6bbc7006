"""What the SQL stores share: a record as a row and back, its check, and facts as rows. Pure: no database is spoken to.

A row is the sealed body and, beside it, the columns that a statement must see to decide. The body has them again, under
its check; three of them may be newer in the column than in the body, as a touch and a lease write nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NoReturn

from ..errors import DamagedRecord
from ..facts import ended
from ..policy import touched
from ..record import Change, EndReason, Record, replace
from .sealing import unseal

__all__ = [
    "HISTORY",
    "check_row",
    "columns",
    "commit_values",
    "disagree",
    "ends",
    "fact_row",
    "page",
    "readable",
    "same_columns",
    "whole",
]

log = logging.getLogger("sojourn")

HISTORY: Final = 10_000
"""Facts kept for `changes`."""


def columns(record: Record) -> tuple[Any, ...]:
    """What stands beside the body, in the order of the table."""
    return (
        record.version,
        record.generation,
        record.user_id,
        record.authenticated_at,
        record.accessed_at,
        record.idle_for,
        record.ends_at,
        record.fence,
        record.leased_until,
    )


def whole(handle: str, body: bytes, accessed_at: Any, fence: Any, leased_until: Any) -> Record:
    """The record of a row: its body, with what the columns may know better. `DamagedRecord` if the body fails its
    check, or a column is older than it."""
    record = unseal(handle, body)
    if fence != record.fence:
        # A lease is taken when the one before it is over: number and end grow together.
        newer = type(fence) is int and type(leased_until) is float and leased_until > record.leased_until
        if not newer or fence < record.fence:
            disagree(handle)
        record = replace(record, fence=fence, leased_until=leased_until)
    elif leased_until != record.leased_until:
        disagree(handle)
    if accessed_at != record.accessed_at:
        if type(accessed_at) is not float or not accessed_at > record.accessed_at:
            disagree(handle)
        record = touched(record, accessed_at)
    return record


def check_row(handle: str, body: bytes, *row: Any) -> None:
    """`DamagedRecord` if a row is not whole: its body, and its `columns`."""
    *_, accessed_at, _, _, fence, leased_until = row
    if columns(whole(handle, body, accessed_at, fence, leased_until)) != row:
        disagree(handle)


def disagree(handle: str) -> NoReturn:
    """`DamagedRecord`: the database decides otherwise by the columns than the body says."""
    raise DamagedRecord(handle, "its columns and its body disagree")


def readable(rows: Iterable[Sequence[Any]]) -> Iterator[Record]:
    """The records of rows (a handle, and the arguments of `whole`) that pass their check. In a list one damaged record
    must not hide the others; it is logged."""
    for row in rows:
        try:
            yield whole(*row)
        except DamagedRecord as error:
            log.error("%s", error)  # noqa: TRY400 - the traceback would say nothing more


# --- A commit --------------------------------------------------------------------------------------------------------


def same_columns(base: Record, wanted: Record) -> bool:
    """Whether only fields change. (A secret, a label and the like stand in the body alone.)"""
    return (
        base.accessed_at == wanted.accessed_at
        and base.generation == wanted.generation
        and base.ends_at == wanted.ends_at
        and base.idle_for == wanted.idle_for
        and base.fence == wanted.fence
        and base.leased_until == wanted.leased_until
        and base.user_id == wanted.user_id
    )


def commit_values(base: Record, wanted: Record, body: bytes, now: float | None, fence: int) -> dict[str, Any]:
    """The parameters of `commit_all`."""
    return {
        "version": wanted.version,
        "generation": wanted.generation,
        "user_id": wanted.user_id,
        "authenticated_at": wanted.authenticated_at,
        "accessed_at": wanted.accessed_at,
        "idle_for": wanted.idle_for,
        "ends_at": wanted.ends_at,
        "fence": wanted.fence,
        "leased_until": wanted.leased_until,
        "body": body,
        "handle": wanted.handle,
        "base_version": base.version,
        "base_generation": base.generation,
        "held_fence": fence,
        "now": now,
    }


# --- Facts -----------------------------------------------------------------------------------------------------------


def ends(rows: Iterable[Sequence[Any]], reason: EndReason, now: float) -> list[Change]:
    """The facts of records that were removed: rows of a handle, a user and a deadline. One that had run out by itself
    is told as expired, whoever found it first. (A damaged one may have anything for a deadline.)"""

    def why(expires_at: Any) -> EndReason:
        return "expired" if isinstance(expires_at, (int, float)) and expires_at <= now else reason

    return [ended(handle, user_id, why(expires_at), now) for handle, user_id, expires_at in rows]


def fact_row(change: Change) -> tuple[Any, ...]:
    """A fact in the order of its table, without its position."""
    return (change.id, change.kind, change.at, change.handle, change.user_id, change.reason)


def page(since: int, rows: Sequence[Sequence[Any]]) -> tuple[int, list[Change]]:
    """What `changes` answers, from rows of a position and a fact."""
    found = [
        Change(id=name, kind=kind, at=at, handle=handle, user_id=user_id, reason=reason)
        for _, name, kind, at, handle, user_id, reason in rows
    ]
    return (rows[-1][0] if rows else since), found
