"""The links to a Valkey or Redis server, below the store: whose reply is whose when somebody is late, which connection
is used again, and which server is believed to be the primary."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from servers.process import LOOPBACK, free_port, until
from servers.valkey import Sentinels, Valkey, fresh_prefix
from sojourn.blocking import run
from sojourn.stores import valkey_async, valkey_blocking
from sojourn.stores.valkey_async import TaskLink
from sojourn.stores.valkey_blocking import ThreadLink
from sojourn.stores.valkey_link import Address, Login, NoReply, NotSent
from worlds import World

PING = [("PING",)]


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


class Asked:
    """A request that the server answers when the test says so."""

    def __init__(self, server: Valkey) -> None:
        self._server = server
        self._key = fresh_prefix()
        self.requests = [("BLPOP", self._key, "30")]
        self.reply = [[self._key.encode(), b"now"]]

    def answer(self) -> None:
        self._server.do("RPUSH", self._key, "now")


@asynccontextmanager
async def linked(server: Valkey, kind: type[TaskLink | ThreadLink], **options: Any) -> AsyncIterator[Any]:
    link = kind(Address(LOOPBACK, server.port), Login(), **options)
    yield link
    link.close()


async def test_only_a_primary_is_spoken_to(world: World) -> None:
    """A link that is to a primary refuses a server that has become a replica, before anything is asked of it: what it
    would answer may be old."""
    kind = TaskLink if world.name == "async" else ThreadLink
    with Valkey() as primary, Valkey(replica_of=primary.port) as replica:
        until(primary.is_followed, "the first copy")
        async with linked(replica, kind, check_primary=True) as link:
            with pytest.raises(NotSent, match="READONLY"):
                await link.exchange(PING, soon())
        async with linked(primary, kind, check_primary=True) as link:
            assert await link.exchange(PING, soon()) == [b"PONG"]


async def test_a_sentinel_that_hangs_leaves_time_for_another(world: World, sentinels: Sentinels) -> None:
    """A Sentinel that hangs is given half of the time that is left: another one is asked within the deadline."""
    sentinels.sentinels[0].hang()
    sessions = world.sessions(sentinels.url(deadline=5))
    async with sessions:
        session_id = await sessions.create_session(data={"n": 1})
        assert await sessions.get_session(session_id) == {"n": 1}


async def test_a_server_that_only_reads_for_a_moment(world: World) -> None:
    """A write that meets a server which is a replica just now is sent again within its deadline: when the server is the
    primary again, the caller has heard of nothing."""
    with Valkey() as server:
        sessions = world.sessions(server.url(deadline=10))
        async with sessions:
            session_id = await sessions.create_session(data={"n": 0})
            server.do("REPLICAOF", LOOPBACK, free_port())  # nobody is there, so it keeps what it has
            back = threading.Timer(0.3, server.do, ("REPLICAOF", "NO", "ONE"))
            back.start()
            assert await sessions.update(session_id, "n", lambda n: n + 1) == 1
            back.join()


# --- One connection for all tasks ------------------------------------------------------------------------------------


async def test_who_is_late_does_not_take_the_others_down(valkey: Valkey) -> None:
    """A request whose time is up, on a connection that has answered others meanwhile, fails alone: the connection is
    kept, and the reply that comes later reaches nobody."""
    async with linked(valkey, TaskLink) as link:
        await link.exchange(PING, soon())
        connection, one, other = link._connection, Asked(valkey), Asked(valkey)
        first = asyncio.create_task(link.exchange(one.requests, soon(20)))
        late = asyncio.create_task(link.exchange(other.requests, soon(1.5)))
        after = asyncio.create_task(link.exchange([("ECHO", "after")], soon(20)))
        await asyncio.sleep(0)
        one.answer()
        assert await first == one.reply
        with pytest.raises(NoReply, match="in time"):
            await late
        other.answer()
        assert await after == [b"after"]
        assert await link.exchange([("ECHO", "mine")], soon()) == [b"mine"]
        assert link._connection is connection


async def test_a_connection_that_is_replaced_ends_with_its_last_reply(valkey: Valkey) -> None:
    """A connection that is given up in favour of another still brings the replies that are due on it, and closes then;
    one on which none is due closes at once."""
    async with linked(valkey, TaskLink) as link:
        await link.exchange(PING, soon())
        old, asked = link._connection, Asked(valkey)
        due = asyncio.create_task(link.exchange(asked.requests, soon(20)))
        await asyncio.sleep(0)
        link.drop()
        assert await link.exchange(PING, soon()) == [b"PONG"]
        assert link._connection is not old
        assert old.lost is None
        asked.answer()
        assert await due == asked.reply
        assert old.lost is not None
        new = link._connection
        link.drop()
        assert new.lost is not None


async def test_no_more_than_so_many_are_under_way(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """When very many requests are under way, one more is refused at once, and was not sent; the others are served."""
    async with linked(valkey, TaskLink) as link:
        await link.exchange(PING, soon())
        monkeypatch.setattr(valkey_async, "_MOST", 5)
        others = [asyncio.create_task(link.exchange(PING, soon())) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(NotSent, match="under way"):
            await link.exchange(PING, soon())
        assert await asyncio.gather(*others) == [[b"PONG"]] * 5
        assert await link.exchange(PING, soon()) == [b"PONG"]


def test_each_event_loop_has_a_connection_of_its_own(valkey: Valkey) -> None:
    """A link that was used in one event loop can be used in another: what belongs to the first is left alone."""
    link = TaskLink(Address(LOOPBACK, valkey.port), Login())
    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(link.exchange(PING, soon())) == [b"PONG"]
        theirs: Any = link._connection
        assert second.run(link.exchange(PING, soon())) == [b"PONG"]

        async def leave(connection: Any) -> None:
            connection.give_up("the test is over")
            await asyncio.sleep(0)

        first.run(leave(theirs))
        second.run(leave(link._connection))


# --- A pool of connections for threads -------------------------------------------------------------------------------


async def test_a_connection_on_which_a_reply_is_due_is_not_used_again(valkey: Valkey) -> None:
    """A thread whose time is up is told so then, and the reply that comes later is nobody's: the next one has another
    connection, and its own reply."""
    async with linked(valkey, ThreadLink, most=1) as link:
        await link.exchange(PING, soon())
        for _ in range(3):
            began, asked = time.monotonic(), Asked(valkey)
            with pytest.raises(NoReply):
                await link.exchange(asked.requests, soon(0.5))
            assert time.monotonic() - began < 5
            assert await link.exchange([("ECHO", "mine")], soon()) == [b"mine"]
            asked.answer()
            assert await link.exchange([("ECHO", "mine, too")], soon()) == [b"mine, too"]


async def test_who_finds_all_connections_in_use_waits_no_longer_than_he_may(valkey: Valkey) -> None:
    """A thread that gets no connection within its time has sent nothing; when one is given back, it is used again."""
    async with linked(valkey, ThreadLink, most=1) as link:
        asked = Asked(valkey)
        busy = asyncio.get_running_loop().run_in_executor(None, asyncio.run, link.exchange(asked.requests, soon(20)))
        until(lambda: link._permits.empty(), "the connection in use")
        with pytest.raises(NotSent, match="in use"):
            await link.exchange(PING, soon(0.1))
        asked.answer()
        assert await busy == asked.reply
        assert await link.exchange(PING, soon()) == [b"PONG"]
        assert len(link._idle) == 1


async def test_a_connection_that_was_closed_while_it_was_idle(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that the server closed while nobody used it costs nobody an unknown outcome."""
    monkeypatch.setattr(valkey_blocking, "_IDLE", 0.0)
    async with linked(valkey, ThreadLink) as link:
        (number,) = await link.exchange([("CLIENT", "ID")], soon())
        valkey.do("CLIENT", "KILL", "ID", number)
        assert await link.exchange(PING, soon()) == [b"PONG"]


async def test_what_is_in_use_at_the_close_is_closed_afterwards(valkey: Valkey) -> None:
    """A connection that is in use when the link is closed is closed when it comes back."""
    async with linked(valkey, ThreadLink) as link:
        asked = Asked(valkey)
        busy = asyncio.get_running_loop().run_in_executor(None, asyncio.run, link.exchange(asked.requests, soon(20)))
        until(lambda: link._permits.qsize() < 64, "the connection in use")
        link.close()
        asked.answer()
        assert await busy == asked.reply
        assert link._idle == []


def test_who_says_too_much_is_not_listened_to_again() -> None:
    """A server that answers more than it was asked is out of step: what it said is given to nobody."""
    with socket.create_server((LOOPBACK, 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                for replies in (b"+PONG\r\n", b"+PONG\r\n+PONG\r\n"):
                    connection.recv(1000)
                    connection.sendall(replies)
                connection.recv(1000)

        server = threading.Thread(target=answer)
        server.start()
        link = ThreadLink(Address(LOOPBACK, listening.getsockname()[1]), Login())
        with pytest.raises(NoReply, match="more than it was asked"):
            run(link.exchange(PING, soon()))
        assert link._idle == []
        link.close()
        server.join()
