"""One connection to a PostgreSQL server, with a deadline on everything. Written once, for both worlds.

psycopg's own connections wait as long as the server makes them: one that hangs in the middle of a query hangs its
client, and the cancel request that follows hangs, too. So this speaks through psycopg's libpq wrapper (`psycopg.pq`),
which never waits, and does the waiting itself, in the way of its world (`Readiness`).

Rules: several steps that are run together are one transaction and one round trip (libpq's pipeline mode). A connection
on which anything but a plain refusal of the server happened is broken, and is never used again. Nothing here retries,
and nothing here knows what the statements say.
"""

from __future__ import annotations

import os
import select
import weakref
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from ..errors import ConfigurationError, MissingExtra
from .postgres_statement import Row, Statement, Step
from .readiness import READ, WRITE, Readiness, addresses_of, is_name

try:
    from psycopg import Error, pq
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
except ImportError as error:
    raise MissingExtra("postgresql://", "postgres") from error

__all__ = ["Failed", "Refusal", "Room", "Wire", "connect", "parameters_of"]


class Failed(Exception):
    """There is no connection, it broke (`lost`), or the time was up. `sent`: whether the server may have acted on the
    request."""

    def __init__(self, message: str, *, sent: bool, lost: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.lost = lost


class Refusal(Exception):
    """The server refused, and did nothing. `state` is its SQLSTATE; `fatal`: it has closed the connection as well."""

    def __init__(self, message: str, state: str, *, fatal: bool) -> None:
        super().__init__(message)
        self.state = state
        self.fatal = fatal


# --- The connection --------------------------------------------------------------------------------------------------

_OUTDATED: Final = frozenset({"26000", "0A000", "42P01", "3F000", "42883", "42703"})
_OK: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Room:
    """Room for one connection among those of a pool."""


class Wire:
    """An open connection. One caller at a time."""

    def __init__(self, connection: pq.abc.PGconn, readiness: Readiness) -> None:
        connection.nonblocking = 1
        this = weakref.ref(self)  # one that nobody holds is gone at once, and makes room
        connection.notice_handler = lambda notice: wire._notice(notice) if (wire := this()) is not None else None
        self._connection = connection
        self._readiness = readiness
        self._prepared: set[bytes] = set()
        self._poller = select.poll()
        self._poller.register(connection.socket, READ)
        self._sent = False
        self.room = Room()
        """What it takes among those of its pool."""
        self.broken = False
        """Whether it is not to be used again."""
        self.outdated = False
        """Whether what was prepared on it is not, or no longer, there."""
        self.unfit = ""
        """Why nothing is to be written through it; "": it may."""
        self.warned = False
        """Whether the server warned of something in the last run."""
        self.then_done = False
        """Whether what was to come after the last run found something to do, and did it."""

    def usable(self) -> bool:
        """Whether the next caller can use it: it is idle, and the server has not spoken meanwhile, as it does to say
        good-bye."""
        return self.idle() and not self._poller.poll(0)

    def idle(self) -> bool:
        """Whether it is in order, and in no transaction."""
        return not (self.broken or self.outdated) and self._connection.transaction_status == pq.TransactionStatus.IDLE

    async def run(self, steps: Sequence[Step], until: float, then: Step | None = None) -> list[list[Row]]:
        """Run steps in one transaction and one round trip; the rows of each. Raises `Failed` and `Refusal`. ``then``:
        a step for a transaction of its own after it, in the same round trip; whatever becomes of it changes nothing,
        and `then_done` tells."""
        self.broken, self._sent, self.warned, self.then_done = True, False, False, False
        statement, values = steps[0]
        try:
            if then is None and len(steps) == 1 and statement.name in self._prepared:
                self._connection.send_query_prepared(statement.name, statement.write(values), statement.formats, 1)
                await self._flush(until)
                found = [statement.read(await self._only_result(until))]
                self.broken = False
            else:
                found = await self._run_in_pipeline(steps, until, then)
        except TimeoutError:
            raise Failed("the server gave no answer within the deadline", sent=self._sent) from None
        except Error as error:
            raise self._loss(str(error)) from error
        except Refusal as refusal:
            self.outdated |= refusal.state in _OUTDATED
            raise
        return found

    async def execute(self, script: str, until: float) -> list[list[tuple[str | None, ...]]]:
        """Run statements without parameters in one transaction and one round trip; the rows of each, as text. Raises as
        `run`."""
        self.broken, self._sent = True, False
        found: list[list[tuple[str | None, ...]]] = []
        try:
            self._connection.send_query(script.encode())
            await self._flush(until)
            refusal: Refusal | None = None
            while (result := await self._next(until)) is not None:
                if result.status in _OK:
                    found.append(_texts(result))
                else:
                    refusal = self._refusal(result)
        except TimeoutError:
            raise Failed("the server gave no answer within the deadline", sent=self._sent) from None
        except Error as error:
            raise self._loss(str(error)) from error
        self.broken = False
        if refusal is not None:
            raise refusal
        return found

    def close(self) -> None:
        """Say good-bye, without waiting."""
        self.broken = True
        self._connection.finish()

    def abandon(self) -> None:
        """In the child of a fork: part with the connection without a word, as it is the parent's."""
        self.broken = True
        os.close(self._connection.socket)

    # --- Parts ---------------------------------------------------------------------------------------------------

    async def _run_in_pipeline(self, steps: Sequence[Step], until: float, then: Step | None) -> list[list[Row]]:
        connection, prepared = self._connection, self._prepared.copy()
        connection.enter_pipeline_mode()
        plan = self._send(steps, prepared)
        after = [] if then is None else self._send([then], prepared)
        await self._flush(until)
        found: list[list[Row]] = []
        refusal: Refusal | None = None
        for statement, preparing in plan:
            result = await self._next(until)
            if result is None:
                raise self._loss("the server's answers are not those that were asked for")
            if result.status in _OK:
                if preparing:
                    self._prepared.add(statement.name)
                else:
                    found.append(statement.read(result))
            elif result.status != pq.ExecStatus.PIPELINE_ABORTED and refusal is None:
                refusal = self._refusal(result)
            await self._next(until)  # None: the end of this step's answer
        end = await self._next(until)
        if end is not None and end.status != pq.ExecStatus.PIPELINE_SYNC:  # refused when it was to be committed
            refusal = self._refusal(end, done=True)
            await self._next(until)  # None: the end of that answer
            await self._next(until)  # the end of the transaction
        if await self._afterwards(after, until):
            connection.exit_pipeline_mode()
            self.broken = False
        if refusal is not None:
            raise refusal
        return found

    def _send(self, steps: Sequence[Step], prepared: set[bytes]) -> list[tuple[Statement, bool]]:
        """Send the steps of a transaction, those first that prepare them; what comes back for them, in order."""
        connection = self._connection
        plan: list[tuple[Statement, bool]] = []
        for statement, values in steps:
            if statement.name not in prepared:
                connection.send_prepare(statement.name, statement.text, statement.types)
                prepared.add(statement.name)
                plan.append((statement, True))
            connection.send_query_prepared(statement.name, statement.write(values), statement.formats, 1)
            plan.append((statement, False))
        connection.pipeline_sync()
        return plan

    async def _afterwards(self, plan: list[tuple[Statement, bool]], until: float) -> bool:
        """Read what became of the transaction that came after the one that counts. Returns whether the connection is
        in order; nothing that happens here is a failure of what was asked."""
        warned = self.warned
        try:
            for statement, preparing in plan:
                result = await self._next(until)
                done = result is not None and result.status in _OK
                if done and preparing:
                    self._prepared.add(statement.name)
                elif done and result is not None:
                    self.then_done = bool(result.ntuples)
                elif result is not None:
                    self.outdated |= (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode() in _OUTDATED
                if result is not None:
                    await self._next(until)  # None: the end of this step's answer
            if plan:
                end = await self._next(until)
                if end is not None and end.status != pq.ExecStatus.PIPELINE_SYNC:  # refused when it was to be committed
                    self.then_done = False
                    await self._next(until)
                    await self._next(until)
        except (TimeoutError, Error):
            self.then_done = False
            return False
        finally:
            self.warned = warned
        return self._connection.status == pq.ConnStatus.OK

    async def _only_result(self, until: float) -> pq.abc.PGresult:
        """The result of the one statement that was sent, once the server is done: it tells of the statement first, and
        then commits."""
        first = result = await self._next(until)
        while result is not None:
            if result.status not in _OK:
                refusal = self._refusal(result, done=result is not first)
                while await self._next(until) is not None:
                    pass
                self.broken = False
                raise refusal
            result = await self._next(until)
        if first is None:
            raise self._loss("the server's answers are not those that were asked for")
        return first

    async def _next(self, until: float) -> pq.abc.PGresult | None:
        connection = self._connection
        while connection.is_busy():
            await self._readiness.wait(connection.socket, READ, until)
            connection.consume_input()
        return connection.get_result()

    async def _flush(self, until: float) -> None:
        """Send what is to be sent. Once all of it is, the server may act on it."""
        connection = self._connection
        while connection.flush():
            await self._readiness.wait(connection.socket, READ | WRITE, until)
            connection.consume_input()
        self._sent = True

    def _refusal(self, result: pq.abc.PGresult, *, done: bool = False) -> Refusal:
        """What a result that is none says. Raises it if the connection is over with it; `done`: the statements had
        been run, so that a connection which is over may have committed them."""
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        if state is None:  # libpq's own words: the connection was lost
            raise self._loss(result.get_error_message())
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
        severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        refusal = Refusal(message.decode("utf-8", "replace"), state.decode(), fatal=severity != b"ERROR")
        if refusal.fatal:
            raise self._loss(str(refusal)) if done else refusal
        return refusal

    def _loss(self, message: str) -> Failed:
        return Failed(" ".join(message.split()), sent=self._sent, lost=True)

    def _notice(self, result: pq.abc.PGresult) -> None:
        self.warned |= result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) == b"WARNING"


def _texts(result: pq.abc.PGresult) -> list[tuple[str | None, ...]]:
    return [
        tuple(
            None if (data := result.get_value(row, column)) is None else data.decode()
            for column in range(result.nfields)
        )
        for row in range(result.ntuples)
    ]


W = TypeVar("W", bound=Wire)

# --- Connecting ------------------------------------------------------------------------------------------------------


def parameters_of(conninfo: str) -> dict[str, Any]:
    """What a URL or a string of settings says, as libpq understands it; `ConfigurationError` if it does not."""
    try:
        found = conninfo_to_dict(conninfo)
    except Error as error:
        raise ConfigurationError(f"that is no URL of a PostgreSQL database: {str(error).strip()}") from error
    return {"fallback_application_name": "sojourn", **found, "client_encoding": "UTF8"}


async def connect(parameters: dict[str, Any], readiness: Readiness, until: float, kind: type[W]) -> W:
    """Open a connection of this kind. Raises `Failed`; nothing was asked of the server then."""
    try:
        resolved = await _resolved(parameters, readiness, until)
        connection = pq.PGconn.connect_start(make_conninfo(**resolved).encode())
        try:
            await _establish(connection, readiness, until)
            return kind(connection, readiness)
        except BaseException:  # also when it is cancelled: the socket must not stay open
            connection.finish()
            raise
    except TimeoutError:
        raise Failed("no connection could be made within the deadline", sent=False) from None
    except (Error, OSError) as error:
        raise Failed(f"no connection could be made: {error}", sent=False) from error


async def _establish(connection: pq.abc.PGconn, readiness: Readiness, until: float) -> None:
    state: int = pq.PollingStatus.WRITING
    while state != pq.PollingStatus.OK:
        if state == pq.PollingStatus.FAILED or connection.status == pq.ConnStatus.BAD:
            message = " ".join(connection.get_error_message().split())
            raise Failed(f"no connection could be made: {message}", sent=False)
        events = READ if state == pq.PollingStatus.READING else WRITE
        await readiness.wait(connection.socket, events, until)
        state = connection.connect_poll()


async def _resolved(parameters: dict[str, Any], readiness: Readiness, until: float) -> dict[str, Any]:
    """The parameters with addresses for names: libpq would wait for the resolver as long as that takes."""
    hosts = str(parameters.get("host") or os.environ.get("PGHOST", "")).split(",")
    if "hostaddr" in parameters or not any(map(_is_name, hosts)):
        return parameters
    ports = str(parameters.get("port") or os.environ.get("PGPORT", "")).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    found: list[tuple[str, str, str]] = []
    for host, port in zip(hosts, ports, strict=True):
        found += [(host, address, port) for address in await _addresses(host, readiness, until)]
    host, address, port = (",".join(column) for column in zip(*found, strict=True))
    return parameters | {"host": host, "hostaddr": address, "port": port}


async def _addresses(host: str, readiness: Readiness, until: float) -> list[str]:
    if not _is_name(host):
        return ["" if host.startswith(("/", "@")) else host]
    return await addresses_of(host, readiness, until)


def _is_name(host: str) -> bool:
    """Whether it is neither an address nor a socket's path."""
    return bool(host) and not host.startswith(("/", "@")) and is_name(host)
