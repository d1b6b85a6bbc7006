"""Who gets the lease of a session in the SQLite store, and in which order. In a transaction."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Final

from ..policy import lease_refusal
from ..record import Committed, Gone, Leased, Record
from .sql import disagreement, whole
from .statements import read_statements

__all__ = ["take_lease"]

_SQL: Final = read_statements("sqlite.sql")


def take_lease(
    connection: Connection,
    current: Record | None,
    handle: str,
    generation: int,
    hold: float,
    now: float,
    name: str,
    patience: float,
) -> Committed | Leased | Gone:
    """Take the lease of the session whose record is `current`, or stand in line for it."""
    refusal = lease_refusal(current, generation, now)
    if current is None or isinstance(refusal, Gone):
        return Gone()
    if (
        refusal is not None
        and name
        and connection.execute(_SQL["lease_held"], (handle, name, current.fence)).fetchone()
    ):
        return Committed(current)  # an earlier attempt of the same
    if refusal is not None or (name and not _is_next(connection, handle, name, now)):
        if name:
            _stand(connection, handle, name, now + patience, now)
        return Leased(current)
    rows = connection.execute(_SQL["lease"], (now + hold, handle, generation, now, now)).fetchall()
    if not rows:
        raise disagreement(handle)
    taken = whole(handle, *rows[0])
    if name:
        place = {"handle": handle, "name": name, "until": taken.leased_until, "fence": taken.fence, "now": now}
        connection.execute(_SQL["line_over"], place)
        connection.execute(_SQL["line_took"], place)
    return Committed(taken)


def _is_next(connection: Connection, handle: str, name: str, now: float) -> bool:
    """Whether nobody stands before this name."""
    first = connection.execute(_SQL["line_first"], (handle, now)).fetchone()
    return first is None or first[0] == name


def _stand(connection: Connection, handle: str, name: str, until: float, now: float) -> None:
    """Keep a place in line until then, or take one; leave it, if that is not later than now."""
    place = {"handle": handle, "name": name, "until": until, "now": now}
    if until <= now:
        connection.execute(_SQL["line_leave"], place)
    elif not connection.execute(_SQL["line_stay"], place).rowcount:
        connection.execute(_SQL["line_over"], place)
        connection.execute(_SQL["line_come"], place)
