"""The SQLite store: one file, many processes and threads on one machine. The embedded default.

What it promises of an acknowledged write: ``power`` (the default; WAL with synchronous=FULL: it survives a power
cut) or ``process`` (synchronous=NORMAL: it survives the death of the process, and a power cut may take the last
moments).

The statements stand in ``sqlite.sql``. Here is what each operation does with them; `sqlite_file` is how they reach the
file. In the asynchronous world reads run on the event loop, as they take microseconds and never wait for a writer,
and writes run in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final, cast
from urllib.parse import SplitResult, unquote

from ..config import SessionConfig, seconds
from ..errors import ConfigurationError, DamagedRecord, StoreDamaged
from ..facts import created
from ..policy import guard
from ..record import Cap, Change, Committed, EndReason, Gone, Leased, Outcome, Record, Refused, Summary
from ..store import HISTORY, HISTORY_AGE, NO_CAP, Durability, Feed, Stats, World
from ..waiting import Waiting
from .sealing import seal
from .sql import (
    BATCH,
    PAGE,
    activity_page,
    check_row,
    columns,
    commit_values,
    disagreement,
    ends,
    fact_row,
    in_batches,
    names_of,
    page,
    readable,
    same_columns,
    whole,
)
from .sqlite_feed import SQLiteFeed
from .sqlite_file import SQLiteFile
from .sqlite_line import take_lease
from .statements import read_statements

__all__ = ["SQLiteStore"]

_SQL: Final = read_statements("sqlite.sql")
_UPGRADES: Final = (_SQL["upgrade_to_2"], _SQL["upgrade_to_3"])  # the step from schema 1 to 2 comes first
_TRIM_EVERY: Final = 500


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
                return Committed(known)  # as a rule an earlier attempt of the same creation
            evicted = _make_room(connection, record, now, cap, adding=True)
            if evicted is None:
                return Refused()
            gone = _remove(connection, "clear_one", (record.handle, record.version), "revoked", now)
            done = connection.execute(_SQL["create"], (record.handle, *columns(record), body))
            if not done.rowcount:  # an earlier attempt; it ended together with all others, and is not removed yet
                return Committed(record)
            return Committed(record, (*evicted, *gone, *_note(connection, created(record, now))))

        return await self._file.write(act, size=len(body))

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
        body = seal(wanted)
        told = _told(wanted, fields)
        if not facts and not fence and same_columns(base, wanted):

            def act_on_fields(connection: Connection) -> Outcome:
                done = connection.execute(
                    _SQL["commit_fields"],
                    (wanted.version, body, told, wanted.handle, base.version, base.generation, now, now),
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
            values = commit_values(base, wanted, body, now, fence) | {"fields": told}
            done = connection.execute(_SQL["commit_all"], values)
            if not done.rowcount:
                return _refusal(connection, base, wanted, now, fence)
            return Committed(wanted, (*evicted, *_note(connection, *facts)))

        return await self._file.write(act, size=len(body))

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        return await self._file.write(
            lambda connection: connection.execute(_SQL["touch"], (at, handle, generation, now)).rowcount > 0,
            single=True,
        )

    async def lease(
        self, handle: str, generation: int, hold: float, now: float, *, name: str = "", patience: float = 0.0
    ) -> Committed | Leased | Gone:
        return await self._file.write(
            lambda connection: take_lease(
                connection, _load(connection, handle), handle, generation, hold, now, name, patience
            )
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
        matching = {"user_id": user_id, "idle_since": idle_since, "keep": keep}
        if user_id is not None:
            return await self._file.write(lambda connection: _remove(connection, "end_of_user", matching, reason, now))
        if idle_since is not None:
            return await self._file.write(lambda connection: _remove(connection, "end_idle", matching, reason, now))
        # All are dead from here on; the rest is tidying up.
        await self._file.write(lambda connection: _begin_era(connection, keep))
        return await in_batches(
            lambda: self._file.write(lambda connection: _remove(connection, "clear", (BATCH,), reason, now)), dead=True
        )

    async def summaries(
        self, now: float, *, user_id: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Summary]:
        statement, of_user = ("summaries", ()) if user_id is None else ("summaries_of_user", (user_id,))
        rows = self._file.read(
            lambda connection: connection.execute(_SQL[statement], (*of_user, after, now, limit)).fetchall()
        )
        return [Summary.of(record) for record in readable(rows)]

    async def by_activity(
        self, now: float, *, descending: bool = True, after: tuple[float, str] | None = None, limit: int = 1000
    ) -> list[Summary]:
        statement, place = activity_page(now, descending, after, limit)
        rows = self._file.read(lambda connection: connection.execute(_SQL[statement], place).fetchall())
        return [Summary.of(record) for record in readable(rows)]

    async def load_many(self, handles: Sequence[str]) -> dict[str, Record]:
        def act(connection: Connection) -> list[tuple[Any, ...]]:
            found = ((handle, connection.execute(_SQL["load"], (handle,)).fetchone()) for handle in handles)
            return [(handle, *row) for handle, row in found if row is not None]

        return {record.handle: record for record in readable(self._file.read(act))}

    async def walk(self) -> AsyncIterator[list[Record]]:
        rows: list[tuple[Any, ...]] = []
        while not rows or len(rows) == PAGE:
            bounds = (rows[-1][0] if rows else "", PAGE)
            rows = self._file.read(partial(_page, bounds))
            if not rows:
                return
            yield list(readable(rows))

    async def purge_expired(self, now: float, limit: int) -> tuple[Change, ...]:
        old = {"now": now, "horizon": now - HISTORY_AGE, "limit": BATCH}
        due, tidy = self._file.read(
            lambda connection: [
                connection.execute(_SQL[name], values).fetchone()
                for name, values in (("any_dead", (now,)), ("any_old", old))
            ]
        )
        if tidy is not None:
            await self._file.write(lambda connection: _tidy(connection, old))
        if due is None:
            return ()
        return await self._file.write(lambda connection: _bury(connection, now, limit))

    # --- Facts ---------------------------------------------------------------------------------------------------

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        def act(connection: Connection) -> tuple[int, list[Change]]:
            rows = connection.execute(_SQL["changes"], (since, limit)).fetchall()
            return page(since, rows, *connection.execute(_SQL["kept"]).fetchone())  # looked at later: nothing is missed

        return self._file.read(act)

    async def position(self) -> int:
        return self._file.read(lambda connection: connection.execute(_SQL["kept"]).fetchone()[1]) or 0

    async def bookmark(
        self, reader: str, holder: str, now: float, *, hold: float, position: int | None = None
    ) -> int | None:
        values = {
            "reader": reader,
            "holder": holder,
            "now": now,
            "until": now + hold,
            "position": None if position is None else str(position),
        }
        rows = await self._file.write(
            lambda connection: connection.execute(_SQL["bookmark"], values).fetchall(), single=True
        )
        return int(rows[0][0]) if rows else None

    def feed(self, waiting: Waiting) -> Feed:
        return SQLiteFeed(self._file, waiting)

    # --- The whole -----------------------------------------------------------------------------------------------

    async def stats(self) -> Stats:
        held = self._file.read(lambda connection: connection.execute(_SQL["held"]).fetchone()[0])
        size = sum(path.stat().st_size for path in self._paths() if path.exists())
        return Stats(sessions=held, bytes=size, durability=self.durability)

    async def migrate(self) -> int:
        """The version of the schema, which opening the file has brought up to date."""
        version: int = self._file.read(lambda connection: connection.execute("PRAGMA user_version").fetchone()[0])
        return version

    async def verify(self) -> list[str]:
        """Look at everything, and say what is damaged: SQLite's own check of the file, then the check of each record.
        Reads the whole file. An empty list: all is well."""
        problems: list[str] = []
        try:
            found = self._file.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
            problems += [problem for (problem,) in found if problem != "ok"]
            for row in self._file.read(lambda connection: connection.execute(_SQL["everything"]).fetchall()):
                try:
                    check_row(*row)
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


def _page(bounds: tuple[str, int], connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(_SQL["walk"], bounds).fetchall()


def _load(connection: Connection, handle: str) -> Record | None:
    row = connection.execute(_SQL["load"], (handle,)).fetchone()
    return None if row is None else whole(handle, *row)


def _refusal(connection: Connection, base: Record, wanted: Record, now: float, fence: int) -> Outcome:
    """Why the compare-and-set changed no row: the guard's answer on the record as it is."""
    answer = guard(_load(connection, wanted.handle), base, wanted, now, fence)
    if answer is None:
        raise disagreement(wanted.handle)
    return answer


def _told(wanted: Record, fields: tuple[str, ...]) -> bytes | None:
    """What a commit leaves for the feed: the names of the fields, and which commit they are of."""
    names = names_of(fields)
    return None if names is None else wanted.version + names


def _tidy(connection: Connection, old: Any) -> None:
    """Remove facts that are too old, and who stood in line and does no longer, some at a time."""
    connection.execute(_SQL["trim_old"], old)
    connection.execute(_SQL["line_trim"], old)


def _begin_era(connection: Connection, keep: str | None) -> None:
    connection.execute(_SQL["new_era"])
    connection.execute(_SQL["keep"], (keep,))


def _bury(connection: Connection, now: float, limit: int) -> tuple[Change, ...]:
    """Remove up to so many of the dead, those included that a caller who ended all has left behind."""
    told = _remove(connection, "purge", (now, limit), "expired", now)
    return (*told, *_remove(connection, "clear", (limit - len(told),), "revoked", now))


def _remove(connection: Connection, name: str, values: Any, reason: EndReason, now: float) -> tuple[Change, ...]:
    return _note_ends(connection, connection.execute(_SQL[name], values).fetchall(), reason, now)


def _end(connection: Connection, handles: Iterable[str], reason: EndReason, now: float) -> tuple[Change, ...]:
    rows = [row for handle in handles for row in connection.execute(_SQL["end_one"], (handle,)).fetchall()]
    return _note_ends(connection, rows, reason, now)


def _note_ends(
    connection: Connection, rows: Iterable[tuple[str, str | None, Any]], reason: EndReason, now: float
) -> tuple[Change, ...]:
    return _note(connection, *ends(rows, reason, now))


def _note(connection: Connection, *told: Change) -> tuple[Change, ...]:
    for change in told:
        at = connection.execute(_SQL["note"], fact_row(change)).lastrowid
        if at is not None and at % _TRIM_EVERY == 0:
            connection.execute(_SQL["trim"], (at - HISTORY,))
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
        dead = _bury(connection, now, excess) if excess else ()
        told += dead
        rows = connection.execute(_SQL["least_used"], (excess - len(dead),)).fetchall()
        told += _end(connection, [row[0] for row in rows], "evicted", now)
    return told


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
