"""The SQLite store: one file, many processes and threads on one machine. The embedded default.

What it promises of an acknowledged write: ``power`` (the default; WAL with synchronous=FULL: it survives a power
cut) or ``process`` (synchronous=NORMAL: it survives the death of the process, and a power cut may take the last
moments).

The statements stand in ``sqlite.sql``. Here is what each operation does with them; `sqlite_file` is how they reach the
file. In the asynchronous world reads run on the event loop, as they take microseconds and never wait for a writer,
and writes run in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final, cast
from urllib.parse import SplitResult, unquote

from ..config import SessionConfig, seconds
from ..errors import ConfigurationError, DamagedRecord, StoreDamaged
from ..facts import created, ended
from ..policy import guard, touched
from ..record import Cap, Change, Committed, EndReason, Outcome, Record, Refused, Summary
from ..store import NO_CAP, Durability, Stats, World
from .sealing import seal, unseal
from .sqlite_file import SQLiteFile
from .statements import read_statements

__all__ = ["SQLiteStore"]

log = logging.getLogger("sojourn")

_SQL: Final = read_statements("sqlite.sql")
_UPGRADES: Final[tuple[str, ...]] = ()  # the step from schema 1 to 2 comes first
_HISTORY: Final = 10_000  # facts kept for `changes`
_TRIM_EVERY: Final = 500
_ACCESSED_AT: Final = 4  # its place among the columns


class SQLiteStore:
    """Records in a SQLite file.

    ``path`` is created if it is not there (its folder must be). ``deadline`` bounds each operation, in seconds. Raises
    `StoreDamaged` for a file that is truncated, damaged, or another application's, and `StoreUnavailable` for one that
    cannot be opened; neither changes it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Durability = "power",
        deadline: float = 1.0,
        world: World = "blocking",
    ) -> None:
        if durability not in ("power", "process"):
            raise ConfigurationError(f'the durability of SQLite is "power" or "process", not {durability!r}')
        self.durability: Durability = durability
        self.world: World = world
        self._file = SQLiteFile(
            Path(path), _SQL["schema"], _UPGRADES, durability=durability, deadline=deadline, world=world
        )

    async def load(self, handle: str) -> Record | None:
        return self._file.read(lambda connection: _load(connection, handle))

    async def create(self, record: Record, now: float, cap: Cap = NO_CAP) -> Committed | Refused:
        body = seal(record)

        def act(connection: Connection) -> Committed | Refused:
            known = _load(connection, record.handle)
            if known is not None:
                return Committed(known)  # an earlier attempt of the same creation: handles are never chosen twice
            evicted = _make_room(connection, record, now, cap, adding=True)
            if evicted is None:
                return Refused()
            connection.execute(_SQL["create"], (record.handle, *_columns(record), body))
            return Committed(record, (*evicted, *_note(connection, created(record, now))))

        return await self._file.write(act, size=len(body))

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
        body = seal(wanted)
        if not facts and not fence and _same_columns(base, wanted):

            def act_on_fields(connection: Connection) -> Outcome:
                done = connection.execute(
                    _SQL["commit_fields"],
                    (wanted.version, body, wanted.handle, base.version, base.generation, now, now),
                )
                return Committed(wanted) if done.rowcount else _refusal(connection, base, wanted, now, fence)

            return await self._file.write(act_on_fields, single=True, size=len(body))

        def act(connection: Connection) -> Outcome:
            evicted: tuple[Change, ...] = ()
            if wanted.user_id is not None and wanted.user_id != base.user_id:
                current = _load(connection, wanted.handle)
                refusal = guard(current, base, wanted, now, fence)
                if refusal is not None:
                    return refusal
                room = _make_room(connection, wanted, now, cap, adding=False)
                if room is None:
                    return Refused()
                evicted = room
            done = connection.execute(_SQL["commit_all"], _commit_values(base, wanted, body, now, fence))
            if not done.rowcount:
                return _refusal(connection, base, wanted, now, fence)
            return Committed(wanted, (*evicted, *_note(connection, *facts)))

        return await self._file.write(act, size=len(body))

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        return await self._file.write(
            lambda connection: connection.execute(_SQL["touch"], (at, handle, generation, now)).rowcount > 0,
            single=True,
        )

    async def end(self, handles: Sequence[str], reason: EndReason, now: float) -> tuple[Change, ...]:
        return await self._file.write(lambda connection: _end(connection, handles, reason, now))

    async def end_matching(
        self,
        now: float,
        *,
        user_id: str | None = None,
        idle_since: float | None = None,
        keep: str | None = None,
        reason: EndReason = "revoked",
    ) -> tuple[Change, ...]:
        statement = _SQL["end_matching" if user_id is None else "end_of_user"]
        values = {"user_id": user_id, "idle_since": idle_since, "keep": keep}
        return await self._file.write(
            lambda connection: _note_ends(connection, connection.execute(statement, values).fetchall(), reason, now)
        )

    async def summaries(
        self, now: float, *, user_id: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Summary]:
        statement, of_user = ("summaries", ()) if user_id is None else ("summaries_of_user", (user_id,))
        rows = self._file.read(
            lambda connection: connection.execute(_SQL[statement], (*of_user, after, now, limit)).fetchall()
        )
        return [Summary.of(record) for record in _readable(rows)]

    async def purge_expired(self, now: float, limit: int) -> tuple[Change, ...]:
        due = self._file.read(lambda connection: connection.execute(_SQL["any_dead"], (now,)).fetchone())
        if due is None:
            return ()
        return await self._file.write(
            lambda connection: _note_ends(
                connection, connection.execute(_SQL["purge"], (now, limit)).fetchall(), "expired", now
            )
        )

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        rows = self._file.read(lambda connection: connection.execute(_SQL["changes"], (since, limit)).fetchall())
        found = [
            Change(id=name, kind=kind, at=at, handle=handle, user_id=user_id, reason=reason)
            for _, name, kind, at, handle, user_id, reason in rows
        ]
        return (rows[-1][0] if rows else since), found

    async def stats(self) -> Stats:
        held = self._file.read(lambda connection: connection.execute(_SQL["held"]).fetchone()[0])
        size = sum(path.stat().st_size for path in self._paths() if path.exists())
        return Stats(sessions=held, bytes=size, durability=self.durability)

    async def verify(self) -> list[str]:
        """Look at everything, and say what is damaged: SQLite's own check of the file, then the check of each record.
        Reads the whole file. An empty list: all is well."""
        problems: list[str] = []
        try:
            found = self._file.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
            problems += [problem for (problem,) in found if problem != "ok"]
            for row in self._file.read(lambda connection: connection.execute(_SQL["everything"]).fetchall()):
                try:
                    _check_row(*row)
                except DamagedRecord as error:
                    problems.append(str(error))
        except StoreDamaged as error:
            problems.append(str(error))
        return problems

    async def close(self) -> None:
        self._file.close()

    def _paths(self) -> Iterable[Path]:
        return (self._file.path, Path(f"{self._file.path}-wal"))


# --- In a transaction ----------------------------------------------------------------------------------------------


def _load(connection: Connection, handle: str) -> Record | None:
    row = connection.execute(_SQL["load"], (handle,)).fetchone()
    return None if row is None else _whole(handle, row[0], row[1])


def _whole(handle: str, body: bytes, accessed_at: Any) -> Record:
    """The record of a row: its body, with the one thing that a column may know better."""
    record = unseal(handle, body)
    if type(accessed_at) is not float or accessed_at < record.accessed_at:
        raise DamagedRecord(handle, "its columns and its body disagree")
    return touched(record, accessed_at)


def _check_row(handle: str, body: bytes, *columns: Any) -> None:
    """`DamagedRecord` if a row is not whole."""
    if _columns(_whole(handle, body, columns[_ACCESSED_AT])) != columns:
        raise DamagedRecord(handle, "its columns and its body disagree")


def _columns(record: Record) -> tuple[Any, ...]:
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


def _same_columns(base: Record, wanted: Record) -> bool:
    """Whether only fields change. (A secret, a label and the like stand in the body alone.)"""
    return (
        base.accessed_at == wanted.accessed_at
        and base.generation == wanted.generation
        and base.ends_at == wanted.ends_at
        and base.idle_for == wanted.idle_for
        and base.leased_until == wanted.leased_until
        and base.user_id == wanted.user_id
    )


def _commit_values(base: Record, wanted: Record, body: bytes, now: float, fence: int) -> dict[str, Any]:
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


def _refusal(connection: Connection, base: Record, wanted: Record, now: float, fence: int) -> Outcome:
    """Why the compare-and-set changed no row: the guard's answer on the record as it is."""
    answer = guard(_load(connection, wanted.handle), base, wanted, now, fence)
    if answer is None:
        raise DamagedRecord(wanted.handle, "its columns and its body disagree")
    return answer


def _end(connection: Connection, handles: Iterable[str], reason: EndReason, now: float) -> tuple[Change, ...]:
    rows = [row for handle in handles for row in connection.execute(_SQL["end_one"], (handle,)).fetchall()]
    return _note_ends(connection, rows, reason, now)


def _note_ends(
    connection: Connection, rows: Iterable[tuple[str, str | None, Any]], reason: EndReason, now: float
) -> tuple[Change, ...]:
    """Record the ends. One that had run out by itself is told as expired, whoever found it first. (A damaged one may
    have anything for a deadline.)"""

    def why(expires_at: Any) -> EndReason:
        return "expired" if isinstance(expires_at, (int, float)) and expires_at <= now else reason

    return _note(connection, *(ended(handle, user_id, why(expires_at), now) for handle, user_id, expires_at in rows))


def _note(connection: Connection, *told: Change) -> tuple[Change, ...]:
    for change in told:
        at = connection.execute(
            _SQL["note"], (change.id, change.kind, change.at, change.handle, change.user_id, change.reason)
        ).lastrowid
        if at is not None and at % _TRIM_EVERY == 0:
            connection.execute(_SQL["trim"], (at - _HISTORY,))
    return told


def _make_room(
    connection: Connection, record: Record, now: float, cap: Cap, *, adding: bool
) -> tuple[Change, ...] | None:
    """Evict what must go so that one more session of this user fits; None: refused."""
    leaving: list[str] = []
    if cap.per_user is not None and record.user_id is not None:
        rows = connection.execute(_SQL["user_oldest_first"], (record.user_id, now, record.handle)).fetchall()
        excess = len(rows) + 1 - cap.per_user
        if excess > 0 and cap.refuse:
            return None
        leaving = [row[0] for row in rows[: max(excess, 0)]]
    told = _end(connection, leaving, "evicted", now)
    if cap.total is not None and adding:
        excess = max(connection.execute(_SQL["held"]).fetchone()[0] + 1 - cap.total, 0)
        dead = connection.execute(_SQL["purge"], (now, excess)).fetchall() if excess else []
        told += _note_ends(connection, dead, "expired", now)
        rows = connection.execute(_SQL["least_used"], (excess - len(dead),)).fetchall()
        told += _end(connection, [row[0] for row in rows], "evicted", now)
    return told


def _readable(rows: Iterable[tuple[str, bytes, float]]) -> Iterable[Record]:
    """The records that pass their check. In a list one damaged record must not hide the others; it is logged, and
    `verify` tells of it."""
    for handle, body, accessed_at in rows:
        try:
            yield _whole(handle, body, accessed_at)
        except DamagedRecord as error:
            log.error("%s", error)  # noqa: TRY400 - the traceback would say nothing more


def open_url(url: SplitResult, options: dict[str, str], config: SessionConfig, world: World) -> SQLiteStore:
    """``sqlite:///relative/path`` or ``sqlite:////absolute/path``; options: ``durability=power`` or ``process``, and
    ``deadline`` in seconds."""
    path = unquote(url.path).removeprefix("/")
    if url.netloc or not path:
        raise ConfigurationError("a SQLite URL is sqlite:///relative/path or sqlite:////absolute/path")
    unknown = options.keys() - {"durability", "deadline"}
    if unknown:
        raise ConfigurationError(
            f"sqlite:// does not know the option {min(unknown)!r}: it takes durability and deadline"
        )
    try:
        deadline = seconds(float(options.get("deadline", config.deadline)), "deadline")
    except ValueError as error:
        raise ConfigurationError(f"deadline={options['deadline']!r} is not a number of seconds") from error
    durability = cast(Durability, options.get("durability", "power"))
    return SQLiteStore(path, durability=durability, deadline=deadline, world=world)
