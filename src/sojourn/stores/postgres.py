"""The PostgreSQL store: many machines, one database to run.

What it promises of an acknowledged write: ``power`` (the default: it survives a power cut of the server, as far as the
server's own fsync does), ``replicated`` (a synchronous standby has it, too; the server must name one in
``synchronous_standby_names``), or ``process`` (synchronous_commit=off: it survives the death of the client, and a crash
of the server may take the last fraction of a second).

The server's clock decides who lives, unless ``clock="caller"`` says that the `now` of each call does, as in tests. The
statements stand in ``postgres.sql``; here is what each operation does with them. `postgres_pool` is how they reach the
server, and what its failures mean. Opening does no I/O: a server that is away is met by the first operation, and the
first that finds it makes the tables.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias, cast
from urllib.parse import SplitResult, parse_qsl, quote, urlencode

from ..config import SessionConfig, seconds
from ..errors import ConfigurationError, DamagedRecord
from ..facts import created
from ..policy import guard, lease_refusal
from ..record import Cap, Change, Committed, EndReason, Gone, Leased, Outcome, Record, Refused, Summary
from ..store import NO_CAP, Durability, Feed, Hint, Stats, World
from ..waiting import Waiting
from . import postgres_schema
from .postgres_feed import PostgresFeed
from .postgres_history import History
from .postgres_listener import Listener
from .postgres_pool import Pool
from .postgres_room import Room
from .postgres_schema import SYNCHRONOUS, ensure, lock_number, settings_of
from .postgres_statement import Row, Step
from .postgres_steps import commit, create, ending, lease, step, text, told
from .postgres_telling import Telling, channel_of, committed, ends_told
from .postgres_wire import Wire, parameters_of
from .sql import BATCH, PAGE, activity_page, check_row, disagreement, in_batches, readable, whole

__all__ = ["PostgresStore"]

WhoseClock: TypeAlias = Literal["server", "caller"]

_ATTEMPTS: Final = 5  # looks for the reason why nothing was changed, before the row itself is held to be the reason


class PostgresStore:
    """Records in tables of a PostgreSQL database.

    ``conninfo`` is what libpq takes: a URL, or ``host=... dbname=...``. The tables are in ``schema``. ``deadline``
    bounds each operation, in seconds, connecting and waiting for one of the ``pool`` connections included. Raises
    `ConfigurationError` for what cannot work; whether the server can be reached shows at the first operation.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        schema: str = "sojourn",
        durability: Durability = "power",
        clock: WhoseClock = "server",
        deadline: float = 1.0,
        pool: int = 10,
        world: World = "blocking",
    ) -> None:
        if durability not in SYNCHRONOUS:
            raise ConfigurationError(
                f'the durability of PostgreSQL is "power", "replicated" or "process", not {durability!r}'
            )
        if clock not in ("server", "caller"):
            raise ConfigurationError(f'the clock is "server" or "caller", not {clock!r}')
        if not schema or "\0" in schema or pool < 1:
            raise ConfigurationError("schema must be a name, and pool at least 1")
        self.durability: Durability = durability
        self.world: World = world
        self._schema = schema
        self._callers_clock = clock == "caller"
        self._upgrades = postgres_schema.UPGRADES
        self._settings = settings_of(schema, durability, deadline)
        self._pool = Pool(
            parameters_of(conninfo),
            self._prepare,
            size=pool,
            deadline=deadline,
            world=world,
            replicated=durability == "replicated",
        )
        self._telling = Telling(self._pool, schema)
        self._history = History(self._pool, schema)
        self._room = Room(self._pool, self._lock_of, lock_number(schema, "total"), self._seen)
        self._feeds: weakref.WeakSet[PostgresFeed] = weakref.WeakSet()

    async def _prepare(self, wire: Wire, until: float) -> None:
        """Make a new connection ready for use."""
        found = await ensure(wire, self._schema, self._settings, self._upgrades, until)
        if self.durability == "replicated" and not found.standbys:
            wire.unfit = (
                "durability=replicated needs a synchronous standby, and synchronous_standby_names of the server is "
                "empty: nothing was written. Set it, or choose durability=power"
            )

    async def migrate(self) -> int:
        """Make the tables, or bring them up to date, as the first operation would. Returns the version they have."""
        ((row,),) = await self._pool.read(step("version"))
        return cast(int, row[0])

    # --- One session ---------------------------------------------------------------------------------------------

    async def load(self, handle: str) -> Record | None:
        (rows,) = await self._pool.read(step("load", handle=handle))
        return self._whole(handle, *rows[0]) if rows else None

    async def create(self, record: Record, now: float, cap: Cap = NO_CAP) -> Committed | Refused:
        if cap.total is not None or (cap.per_user is not None and record.user_id is not None):
            began = time.monotonic()
            done = await self._room.create(record, self._creation(record, now), self._moment(now), cap)
            if isinstance(done, Refused):
                return done
            added, evicted = done
            await self._telling.tell([*ends_told(evicted), _begun(record)] if added else [], began, added)
            return await self._created(record, added, evicted)
        (rows,) = await self._telling.write([self._creation(record, now)], _begun(record), record.version)
        gone: tuple[Change, ...] = ()
        if not rows and await self.load(record.handle) is None:  # it ended with all others, and is not removed yet
            gone = await self._remove("clear_one", "revoked", now, handle=record.handle, version=record.version)
            (rows,) = await self._telling.write([self._creation(record, now)], _begun(record), record.version)
        return await self._created(record, rows, gone)

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
        replacement = [commit(base, wanted, self._moment(now), fence, facts)]
        if wanted.user_id is not None and wanted.user_id != base.user_id:
            if cap.per_user is not None:
                return await self._sign_in_under_cap(base, wanted, now, fence, facts, fields, cap)
            replacement.insert(0, step("lock_shared", lock=self._lock_of(wanted.user_id)))
        hint = committed(wanted, fields, facts)
        for _ in range(_ATTEMPTS):
            *_, done = await self._telling.write(replacement, hint, wanted.version)
            if done:
                return Committed(wanted, facts)
            current, at = await self._look(wanted.handle, now)
            refusal = guard(current, base, wanted, at, fence)
            if isinstance(refusal, Committed):
                await self._telling.tell_again(hint)
            if refusal is not None:
                return refusal
        raise disagreement(wanted.handle)

    async def _sign_in_under_cap(
        self,
        base: Record,
        wanted: Record,
        now: float,
        fence: int,
        facts: tuple[Change, ...],
        fields: tuple[str, ...],
        cap: Cap,
    ) -> Outcome:
        hint, began = committed(wanted, fields, facts), time.monotonic()
        for _ in range(_ATTEMPTS):
            done = await self._room.sign_in(base, wanted, self._moment(now), fence, facts, cap)
            if isinstance(done, Committed):
                await self._telling.tell_again(hint)
            if done is None:  # somebody came between
                continue
            if not isinstance(done, tuple):
                return done
            replaced, evicted = done
            await self._telling.tell([*ends_told(evicted), hint], began, replaced)
            return Committed(wanted, (*evicted, *facts))
        raise disagreement(wanted.handle)

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        activity = step("touch", handle=handle, generation=generation, accessed_at=at, now=self._moment(now))
        (rows,) = await self._pool.write(activity)
        return bool(rows)

    async def lease(
        self, handle: str, generation: int, hold: float, now: float, *, name: str = "", patience: float = 0.0
    ) -> Committed | Leased | Gone:
        if name:
            return await self._lease_by_name(handle, generation, hold, now, name, patience)
        taking = step("lease", handle=handle, generation=generation, hold=hold, now=self._moment(now))
        for _ in range(_ATTEMPTS):
            (rows,) = await self._pool.write(taking)
            if rows:
                return Committed(self._whole(handle, *rows[0]))
            current, at = await self._look(handle, now)
            refusal = lease_refusal(current, generation, at)
            if refusal is not None:
                return refusal
        raise disagreement(handle)

    async def _lease_by_name(
        self, handle: str, generation: int, hold: float, now: float, name: str, patience: float
    ) -> Committed | Leased | Gone:
        steps = lease(handle, generation, hold, self._moment(now), name, patience)
        *_, taken, _, ((at, held, *row),) = await self._pool.write(*steps)
        current, _ = self._seen(handle, (at, *row))
        refusal = lease_refusal(current, generation, at)
        if current is None or isinstance(refusal, Gone):
            return Gone()
        # Held by this name, and not taken just now: by an earlier attempt of the same.
        return Committed(current) if taken or (held and refusal is not None) else Leased(current)

    # --- Many sessions -------------------------------------------------------------------------------------------

    async def end(self, handles: Sequence[str], reason: EndReason, now: float) -> tuple[Change, ...]:
        return await self._remove("end", reason, now, handles=handles)

    async def end_matching(
        self,
        now: float,
        *,
        user_id: str | None = None,
        idle_since: float | None = None,
        keep: str | None = None,
        reason: EndReason = "revoked",
    ) -> tuple[Change, ...]:
        if user_id is not None:
            matching = {"user_id": user_id, "idle_since": idle_since, "keep": keep}
            alone = step("lock", lock=self._lock_of(user_id))
            began = time.monotonic()
            _, rows = await self._pool.write(alone, ending("end_of_user", reason, self._moment(now), **matching))
            return await self._ended(rows, began)
        if idle_since is not None:
            return await in_batches(
                lambda: self._remove("end_idle", reason, now, idle_since=idle_since, keep=keep, limit=BATCH)
            )
        # All are dead from here on, those included that are being created; the rest is tidying up.
        await self._pool.write(step("new_era"), *([step("keep", handle=keep)] if keep is not None else []))
        return await in_batches(lambda: self._remove("clear", reason, now, limit=BATCH), dead=True)

    async def summaries(
        self, now: float, *, user_id: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Summary]:
        bounds = {"after": after, "limit": limit, "now": self._moment(now)}
        name, of_user = ("summaries", {}) if user_id is None else ("summaries_of_user", {"user_id": user_id})
        (rows,) = await self._pool.read(step(name, **of_user, **bounds))
        return [Summary.of(record) for record in self._readable(rows)]

    async def by_activity(
        self, now: float, *, descending: bool = True, after: tuple[float, str] | None = None, limit: int = 1000
    ) -> list[Summary]:
        name, place = activity_page(self._moment(now), descending, after, limit)
        (rows,) = await self._pool.read(step(name, **place))
        return [Summary.of(record) for record in self._readable(rows)]

    async def load_many(self, handles: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for at in range(0, len(handles), PAGE):
            (rows,) = await self._pool.read(step("load_many", handles=handles[at : at + PAGE]))
            found |= {record.handle: record for record in self._readable(rows)}
        return found

    async def walk(self) -> AsyncIterator[list[Record]]:
        after = ""
        while True:
            (rows,) = await self._pool.read(step("walk", after=after, limit=PAGE))
            yield list(self._readable(rows))
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def purge_expired(self, now: float, limit: int) -> tuple[Change, ...]:
        (due,) = await self._pool.read(step("any_dead", now=self._moment(now)))
        ends: tuple[Change, ...] = ()
        if due:
            ends = await self._remove("purge", "expired", now, limit=limit)
            if len(ends) < limit:  # what a caller who ended all has left behind
                ends += await self._remove("clear", "revoked", now, limit=limit - len(ends))
        await self._history.tidy(self._moment(now))
        return ends

    # --- Facts ---------------------------------------------------------------------------------------------------

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        return await self._history.after(since, limit)

    async def position(self) -> int:
        return await self._history.newest()

    async def bookmark(
        self, reader: str, holder: str, now: float, *, hold: float, position: int | None = None
    ) -> int | None:
        at = None if position is None else str(position)
        (rows,) = await self._pool.write(
            step("bookmark", reader=reader, holder=holder, now=self._moment(now), hold=hold, position=at)
        )
        return int(rows[0][0]) if rows else None

    def feed(self, waiting: Waiting) -> Feed:
        feed = PostgresFeed(lambda: self._pool.beside(Listener), channel_of(self._schema), self._pool.deadline, waiting)
        self._feeds.add(feed)
        return feed

    # --- The whole -----------------------------------------------------------------------------------------------

    async def stats(self) -> Stats:
        (((held,),), ((size,),)) = await self._pool.read(step("held"), step("size"))
        return Stats(sessions=held, bytes=size, durability=self.durability)

    async def verify(self) -> list[str]:
        """Look at every record, and say what is damaged. Reads all of them. An empty list: all is well."""
        problems: list[str] = []
        after = ""
        while True:
            (rows,) = await self._pool.read(step("everything", after=after, limit=BATCH))
            for handle, body, version, generation, user_id, *others in rows:
                columns = (version, generation, text(user_id), *others)
                try:
                    check_row(handle, body, *columns, capped=not self._callers_clock)
                except DamagedRecord as error:
                    problems.append(str(error))
            if len(rows) < BATCH:
                return problems
            after = rows[-1][0]

    async def close(self) -> None:
        self._pool.close()
        for feed in list(self._feeds):
            await feed.close()

    # --- Parts ---------------------------------------------------------------------------------------------------

    def _moment(self, now: float) -> float | None:
        """The time that a statement is given; None: it takes the server's."""
        return now if self._callers_clock else None

    def _whole(self, handle: str, *row: Any) -> Record:
        return whole(handle, *row, capped=not self._callers_clock)

    def _readable(self, rows: list[Row]) -> Iterator[Record]:
        return readable(rows, capped=not self._callers_clock)

    def _lock_of(self, user_id: str) -> int:
        return lock_number(self._schema, "user", user_id)

    async def _look(self, handle: str, now: float) -> tuple[Record | None, float]:
        """The record as it is, and the time that counts."""
        ((row,),) = await self._pool.read(step("load_at", handle=handle, now=self._moment(now)))
        return self._seen(handle, row)

    def _seen(self, handle: str, row: Row) -> tuple[Record | None, float]:
        at, body, *columns = row
        return (None if body is None else self._whole(handle, body, *columns)), at

    def _creation(self, record: Record, now: float) -> Step:
        lock = None if record.user_id is None else self._lock_of(record.user_id)
        return create(record, self._moment(now), lock)

    async def _created(self, record: Record, rows: list[Row], ended: tuple[Change, ...]) -> Committed:
        if rows:
            return Committed(record, (*ended, created(record, rows[0][0])))
        await self._telling.tell_again(_begun(record))
        # An earlier attempt of the same creation. It may have ended meanwhile.
        return Committed(await self.load(record.handle) or record)

    async def _remove(self, name: str, reason: EndReason, now: float, **values: Any) -> tuple[Change, ...]:
        began = time.monotonic()
        (rows,) = await self._pool.write(ending(name, reason, self._moment(now), **values))
        return await self._ended(rows, began)

    async def _ended(self, rows: list[Row], began: float) -> tuple[Change, ...]:
        ends = told(rows)
        if ends:
            await self._telling.tell(ends_told(ends), began, rows)
        return ends


def _begun(record: Record) -> Hint:
    return Hint(record.handle, record.user_id, facts=True)


_OPTIONS: Final = frozenset({"schema", "durability", "clock", "deadline", "pool"})


def open_url(url: SplitResult, options: dict[str, str], config: SessionConfig, world: World) -> PostgresStore:
    """``postgresql://user:password@host:port/database``, as libpq has it. Options of ours: ``schema``, ``durability``
    (power, replicated or process), ``clock`` (server or caller), ``deadline`` in seconds and ``pool``; what else there
    is goes to libpq (``sslmode=verify-full``)."""
    theirs = [(name, value) for name, value in parse_qsl(url.query) if name not in _OPTIONS]
    try:
        deadline = seconds(float(options.get("deadline", config.deadline)), "deadline")
        pool = int(options.get("pool", "10"))
    except ValueError as error:
        raise ConfigurationError(
            f"deadline is a number of seconds, and pool a number of connections: {error}"
        ) from error
    return PostgresStore(
        f"postgresql://{url.netloc}{url.path}?{urlencode(theirs, quote_via=quote)}",
        schema=options.get("schema", "sojourn"),
        durability=cast(Durability, options.get("durability", "power")),
        clock=cast(WhoseClock, options.get("clock", "server")),
        deadline=deadline,
        pool=pool,
        world=world,
    )
