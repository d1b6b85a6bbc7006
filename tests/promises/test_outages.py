"""Promise 2, on Valkey and Redis: when the server fails there is an answer within the deadline, in the words of this
library; nothing that was not there is served, nothing is applied twice; and when the server is back, so is everybody,
with no restart."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from outages import OUTAGES, Outage, Way
from places import Opened, at_once
from writing import add_one

import worlds
from servers.process import LOOPBACK, until
from servers.proxy import Proxy, through
from servers.valkey import Valkey
from sojourn import OutcomeUnknown, SessionConfig, StoreError, StoreUnavailable
from worlds import Sessions

DEADLINE, SLACK = 1.2, 1.0  # twice the deadline is too long, and would be noticed
IMPATIENT = SessionConfig(deadline=DEADLINE)
ROUNDS, CALLERS = 2, 10

each_outage = pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)


@contextmanager
def way(**settings: str) -> Iterator[Way]:
    """A server of one's own, and the way there."""
    with Valkey(**settings) as server, Proxy(server.port) as proxy, server.client() as admin:
        yield Way(server, proxy, admin)


class Ledger:
    """What callers were told of the writes that they asked for, by session or by what the caller is."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.said: Counter[str] = Counter()

    async def timed(self, who: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        """Run one operation. It must end in time, be made or refused; and which of them is noted."""
        began = time.monotonic()
        result = None
        try:
            result = await operation()
            self.made[who] += 1
        except (StoreUnavailable, OutcomeUnknown) as error:
            self.unknown[who] += isinstance(error, OutcomeUnknown)
            self.said[f"{type(error).__name__}: {error}"] += 1
        took = time.monotonic() - began
        assert took < DEADLINE + SLACK, f"an answer to {who} after {took:.2f} s: {dict(self.said)}"
        return result


@each_outage
async def test_an_outage(world: worlds.World, opened: Opened, outage: Outage) -> None:
    """10 callers at once write, and others read, create, end and ask for ids that nobody has, while the server is away:
    all are answered in time, and nobody is told of a session that there is none. Afterwards the same manager goes on,
    and each write that was acknowledged is there once, each that was refused is not."""
    with way(appendonly="yes", appendfsync="always") as there:
        sessions = opened(through(there.server.url(), there.proxy), config=IMPATIENT)
        ids = [await sessions.create_session("ada", {"visits": 0}) for _ in range(CALLERS)]
        leaving = [await sessions.create_session("eve") for _ in range(ROUNDS)]
        told = Ledger()
        outage.begin(there)
        for turn in range(ROUNDS):
            await _everybody(sessions, world, told, ids, leaving[turn], outage)
        outage.end(there)
        assert told.said, "nobody noticed"
        await _recovered(sessions, ids[0])
        for session_id in ids:
            visits = (await sessions.get_session(session_id))["visits"] - (session_id == ids[0])
            assert told.made[session_id] <= visits <= told.made[session_id] + told.unknown[session_id], told.said
        assert await sessions.is_session_active(leaving[0]) <= (told.made[leaving[0]] == 0)
        print(dict(told.said))


async def _everybody(
    sessions: Sessions, world: worlds.World, told: Ledger, ids: list[str], leaving: str, outage: Outage
) -> None:
    seen: list[Any] = []

    async def read(session_id: str) -> Any:
        seen.append(found := await sessions.get_session(session_id))
        return found

    def write(number: int) -> Callable[[], Awaitable[Any]]:
        return lambda: sessions.update(ids[number], "visits", add_one)

    async def caller(number: int) -> None:
        if number < CALLERS:
            await told.timed(ids[number], write(number))
        elif number == CALLERS:
            await told.timed("a reader", lambda: read(ids[0]))
        elif number == CALLERS + 1:
            await told.timed("a creator", lambda: sessions.create_session("ada"))
        else:
            await told.timed(leaving, lambda: sessions.end_session(leaving))

    await at_once(world, CALLERS + 3, caller)
    assert len(seen) == outage.reads
    assert None not in seen


async def _recovered(sessions: Sessions, session_id: str) -> None:
    """Within some seconds, with nothing done to the manager, a write succeeds; from then on all do."""
    give_up = time.monotonic() + 10
    while True:
        try:
            before = await sessions.get_session(session_id)
            assert await sessions.update(session_id, "visits", add_one) == before["visits"] + 1
            return
        except (StoreUnavailable, OutcomeUnknown):
            assert time.monotonic() < give_up, "it did not recover"


async def test_a_short_break_is_not_noticed(world: worlds.World, opened: Opened) -> None:
    """All connections are reset, the server is restarted, and its scripts are flushed, again and again while it is
    idle: nobody hears of it."""
    with way(appendonly="yes", appendfsync="always") as there:
        sessions = opened(through(there.server.url(), there.proxy), config=SessionConfig(deadline=5))
        session_id = await sessions.create_session(data={"visits": 0})
        breaks = (there.proxy.reset, there.server.restart, lambda: there.server.do("SCRIPT", "FLUSH"))
        for turn in range(12):
            breaks[turn % 3]()
            assert (await sessions.get_session(session_id))["visits"] == turn
            breaks[turn % 3]()
            assert await sessions.update(session_id, "visits", add_one) == turn + 1


async def test_nobody_there_at_first(world: worlds.World, opened: Opened) -> None:
    """A manager that is made while the server is away says so when it is asked, and works when the server has come."""
    server = Valkey()
    try:
        sessions = opened(server.url(), config=IMPATIENT)
        with pytest.raises(StoreUnavailable):
            await sessions.create_session()
        server.start()
        assert await sessions.is_session_active(await sessions.create_session())
    finally:
        server.close()


# --- No server at all ------------------------------------------------------------------------------------------------


@contextmanager
def _full_backlog() -> Iterator[int]:
    """A port that takes no more connections and refuses none."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(listening.getsockname())
            yield listening.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


@contextmanager
def _answers(words: bytes) -> Iterator[int]:
    """Something else listens there, and says this to everybody."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                try:
                    connection.recv(1000)
                    connection.sendall(words)
                    connection.recv(1000)
                except OSError:
                    continue

    with socket.create_server((LOOPBACK, 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


_STRANGERS: dict[str, Callable[[], Any]] = {
    "takes no connection": _full_backlog,
    "speaks HTTP": lambda: _answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "says nothing sensible": lambda: _answers(bytes(range(256))),
    "closes": lambda: _answers(b""),
    "says too much": lambda: _answers(b"+PONG\r\n" * 50 + b"$5\r\nwrong\r\n" * 50),
    "begins and stops": lambda: _answers(b"$1000000\r\nabc"),
}


@pytest.mark.parametrize("stranger", _STRANGERS.values(), ids=_STRANGERS)
async def test_somebody_else_listens_there(world: worlds.World, opened: Opened, stranger: Callable[[], Any]) -> None:
    """What listens at the address is no such server: that is said, within the deadline, and nothing else happens."""
    with stranger() as port:
        sessions = opened(f"redis://{LOOPBACK}:{port}/0", config=IMPATIENT)
        unknown = f"{'h' * 22}.{'s' * 43}"
        operations = (
            lambda: sessions.get_session(unknown),
            lambda: sessions.create_session("ada"),
            lambda: sessions.list_sessions("ada"),
            lambda: sessions.end_session(unknown),
        )

        async def caller(number: int) -> None:
            began = time.monotonic()
            with pytest.raises(StoreError):
                await operations[number]()
            assert time.monotonic() - began < DEADLINE + SLACK

        for _ in range(2):
            await at_once(world, len(operations), caller)


async def test_more_callers_than_connections(world: worlds.World, opened: Opened) -> None:
    """150 callers at once, while nothing comes back: all are answered within the deadline; and all are served when it
    is over."""
    with way() as there:
        sessions = opened(through(there.server.url(), there.proxy), config=IMPATIENT)
        session_id = await sessions.create_session(data={"name": "Ada"})
        told = Ledger()
        there.proxy.hold()
        await at_once(world, 150, lambda number: told.timed("", lambda: sessions.get_session(session_id)))
        there.proxy.pass_on()
        assert not told.made
        patient = opened(through(there.server.url(), there.proxy), config=SessionConfig(deadline=10))
        for each in (sessions, patient):
            found = await at_once(world, 150, lambda number, each=each: each.get_session(session_id))
            assert found == [{"name": "Ada"}] * 150


# --- Replicas --------------------------------------------------------------------------------------------------------


async def test_replicas_that_do_not_answer(world: worlds.World, opened: Opened) -> None:
    """At ``durability=replicated``, while the replica hangs: 10 writers at once hear within the deadline that the
    outcome is unknown, never that it is done; readers are served at once, beside them; and when the replica goes on,
    each write of before is there, and new ones are acknowledged."""
    with Valkey() as primary, Valkey(replica_of=primary.port) as replica:
        until(primary.is_followed, "the first copy")
        deadline = 3.0
        sessions = opened(primary.url(durability="replicated", replicas=1), config=SessionConfig(deadline=deadline))
        ids = [await sessions.create_session("ada", {"visits": 0}) for _ in range(10)]
        replica.hang()
        waited: list[float] = []

        async def caller(number: int) -> None:
            began = time.monotonic()
            if number < 10:
                with pytest.raises(OutcomeUnknown):
                    await sessions.update(ids[number], "visits", add_one)
                assert time.monotonic() - began < deadline + SLACK
            else:
                assert await sessions.get_session(ids[number - 10])
                waited.append(time.monotonic() - began)

        await at_once(world, 20, caller)
        assert max(waited) < deadline / 2
        replica.go_on()
        await _recovered(sessions, await sessions.create_session(data={"visits": 0}))
        assert [(await sessions.get_session(one))["visits"] for one in ids] == [1] * 10
        assert await at_once(world, 10, lambda number: sessions.update(ids[number], "visits", add_one)) == [2] * 10


# --- A server that lost everything -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["flushed", "restarted empty"])
async def test_an_emptied_server(
    world: worlds.World, opened: Opened, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that has lost its data is not taken for one on which nobody is signed in: who had seen the data says so
    once, and logs it; then it goes on with nothing. Nothing of before comes back."""
    with way() as there:
        sessions = opened(through(there.server.url(), there.proxy), config=SessionConfig(deadline=5))
        session_id = await sessions.create_session("ada", {"name": "Ada"})
        if how == "flushed":
            there.server.do("FLUSHALL")
        else:
            there.server.kill()
            there.server.start()
        with caplog.at_level(logging.WARNING, "sojourn"), pytest.raises(StoreUnavailable):
            await sessions.get_session(session_id)
        assert [record.levelname for record in caplog.records if record.name.startswith("sojourn")]
        assert await sessions.get_session(session_id) is None
        assert await sessions.list_sessions() == []
        new_id = await sessions.create_session("eve")
        assert await sessions.is_session_active(new_id)
        assert [session.user_id for session in await sessions.list_sessions()] == ["eve"]
