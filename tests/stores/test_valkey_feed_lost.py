"""How the feed of the Valkey store is lost, and that it always finds out."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from functools import partial
from typing import Any

import pytest
from valkey_feeds import AT_MOST, AT_ONCE, created, feed_of, listening, lost, opened, tells, told, wait_for_links

from servers.process import LOOPBACK, until
from servers.proxy import Proxy, through
from servers.valkey import Cluster, Sentinels, Valkey, fresh_prefix
from sojourn import OutcomeUnknown, StoreUnavailable, open_store
from sojourn.blocking import run
from sojourn.store import Hint
from sojourn.stores import valkey_feed
from sojourn.waiting import TaskWaiting
from worlds import ASYNC, BLOCKING, World

# --- How it is lost --------------------------------------------------------------------------------------------------


async def test_a_server_that_dies(world: World) -> None:
    """The death of the server is told at once; a new feed of the same store opens when it is back."""
    with Valkey() as server:
        async with listening(world, server.url()) as (store, feed):
            server.kill()
            await lost(feed, AT_ONCE)
            server.start()
            again = feed_of(world, store)
            await again.open()
            await again.follow((), everything=True)
            await told(again, Hint(""))
            await again.close()


async def test_a_server_that_hangs(world: World) -> None:
    """A server that hangs is found out within some seconds, and no wait is longer than it was asked for; to open a feed
    takes no longer than the store's deadline."""
    with Valkey() as server:
        async with listening(world, server.url(deadline=2)) as (store, feed):
            server.hang()
            try:
                await lost(feed, AT_MOST, "answer")
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await feed_of(world, store).open()
                assert time.monotonic() - began < 4.0
            finally:
                server.go_on()


@pytest.mark.parametrize("fault", ["reset", "swallow", "refuse"])
async def test_a_way_that_is_cut(world: World, valkey: Valkey, fault: str) -> None:
    """A connection that is cut is told at once, and one over which nothing comes any more within some seconds; until
    the way is free again no feed opens, and each says so within the deadline."""
    with Proxy(valkey.port) as proxy:
        async with listening(world, through(valkey.url(prefix=fresh_prefix(), deadline=2), proxy)) as (store, feed):
            await world.aside(getattr(proxy, fault))
            await lost(feed, AT_MOST if fault == "swallow" else AT_ONCE)
            if fault != "reset":
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await feed_of(world, store).open()
                assert time.monotonic() - began < 4.0
            await world.aside(proxy.pass_on)
            again = feed_of(world, store)
            await again.open()
            await again.close()


async def test_what_comes_byte_by_byte(world: World, valkey: Valkey) -> None:
    """What comes in pieces is understood when it is whole."""
    with Proxy(valkey.port) as proxy:
        proxy.drip()
        await tells(world, through(valkey.url(prefix=fresh_prefix(), deadline=10), proxy))


async def test_who_says_what_is_no_reply(world: World) -> None:
    """A server that speaks no RESP is given up, and the store says what came."""
    import socket

    with socket.create_server((LOOPBACK, 0)) as listening_at:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening_at.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        store = opened(world, f"redis://{LOOPBACK}:{listening_at.getsockname()[1]}?deadline=2")
        with pytest.raises(StoreUnavailable, match="Protocol error"):
            await feed_of(world, store).open()
        await store.close()
        listening_at.shutdown(socket.SHUT_RDWR)
    server.join(5)


async def test_a_quiet_feed_lives(world: World, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed to which nothing is said for long goes on, also if nobody asks it anything meanwhile."""
    monkeypatch.setattr(valkey_feed, "_QUIET", 0.05)
    monkeypatch.setattr(valkey_feed, "_PATIENCE", 1.5)
    async with listening(world, valkey.url(prefix=fresh_prefix())) as (store, feed):
        assert await feed.hints(0.7) == []
        for pause in (0.1, 2.0, 0.1, 0.1, 0.1):  # after the first it asks, and looks for the answer after the second
            await world.aside(partial(time.sleep, pause))
            assert await feed.hints(0) == []
        record = await created(store)
        await told(feed, Hint(record.handle, None, facts=True))


async def test_a_failover(world: World, sentinels: Sentinels) -> None:
    """When the primary dies, its feed is lost at once, and as soon as another is the primary, a new feed tells of what
    is written there."""
    async with listening(world, sentinels.url(deadline=5)) as (store, feed):
        dead = sentinels.master
        dead.kill()
        await lost(feed, AT_ONCE)
        until(lambda: sentinels.master is not dead, "another primary", 60)
        give_up = time.monotonic() + 40
        while True:
            again = feed_of(world, store)
            try:
                await again.open()
                await again.follow((), everything=True)
                await told(again, Hint(""))
                record = await created(store)
            except (StoreUnavailable, OutcomeUnknown):
                assert time.monotonic() < give_up
            else:
                break
            await again.close()
        await told(again, Hint(record.handle, None, facts=True))
        assert again._address.port == sentinels.master.port != dead.port
        await again.close()


async def test_a_primary_that_is_one_no_longer(world: World, sentinels: Sentinels) -> None:
    """A server that has become a replica without a word to its clients is found out within some seconds; and so is one
    that the store has left for another."""
    sentinels.set("down-after-milliseconds", 60_000)
    url = sentinels.url(deadline=10)
    async with listening(world, url) as (_, feed), listening(world, url) as (store, other):
        store._space._servers._topology._primary = type(other._address)(LOOPBACK, sentinels.servers[1].port)
        await lost(other, AT_MOST, "another primary")
        sentinels.first.do("REPLICAOF", LOOPBACK, sentinels.servers[1].port)
        await lost(feed, AT_MOST, "replica")


async def test_a_link_between_nodes_that_breaks(world: World, each_valkey: Valkey) -> None:
    """Where the link breaks over which another node tells what is published there, something may not have come: the
    feed is lost, although its own connection is not. A user who may not ask for the links is served all the same, and
    not told."""
    with Cluster(each_valkey.binary, enable_debug_command="yes") as cluster:
        wait_for_links(cluster)
        servers = {server.port: server for server in cluster.servers}
        url = cluster.url(prefix=fresh_prefix())
        for server in cluster.servers:
            server.do("ACL", "SETUSER", "shop", "on", ">secret", "~*", "&*", "+@all", "-cluster|links")
        blind = url.replace("://", "://shop:secret@")
        async with listening(world, url) as (_, feed), listening(world, blind) as (store, other):
            assert await feed.hints(2.5) == await other.hints(2.5) == []
            for node in {servers[each._address.port] for each in (feed, other)}:
                for server in cluster.servers:
                    if server is not node:
                        node.do("DEBUG", "CLUSTERLINK", "KILL", "FROM", server.do("CLUSTER", "MYID"))
            await lost(feed, AT_MOST, "bus")
            assert await other.hints(2.5) == []
            wait_for_links(cluster)
            await told(other, Hint((await created(store)).handle, None, facts=True))


def test_a_cluster_that_is_not_whole() -> None:
    """A node that has lost the others is found out: what is published there does not come."""
    with Cluster() as cluster:

        async def body() -> None:
            store: Any = open_store(cluster.url(deadline=4), world="async")
            feeds = []
            while len({feed._address for feed in feeds}) < 3:
                feed = store.feed(TaskWaiting())
                await feed.open()
                feeds.append(feed)
            for server in cluster.servers[1:]:
                server.kill()
            for feed in feeds:
                left = feed._address.port == cluster.servers[0].port
                await lost(feed, AT_MOST + 10.0 if left else 2.0, "CLUSTERDOWN|bus" if left else None)
            until(lambda: b"cluster_state:ok" not in cluster.servers[0].do("CLUSTER", "INFO"), "its end", 60)
            with pytest.raises(StoreUnavailable):
                await store.feed(TaskWaiting()).open()
            await store.close()

        asyncio.run(body())


# --- Closing, and forks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["feed", "store"])
async def test_who_waits_is_woken_by_the_end(world: World, valkey: Valkey, what: str) -> None:
    """Who waits for a feed that is closed, or whose store is, is woken at once, and told so."""
    async with listening(world, valkey.url(prefix=fresh_prefix())) as (store, feed):

        async def close() -> None:
            await (asyncio.sleep(0.2) if world.name == "async" else world.aside(lambda: time.sleep(0.2)))
            await (feed if what == "feed" else store).close()

        began = time.monotonic()
        woken, _ = await world.together([lambda: feed.hints(20), close])
        assert time.monotonic() - began < 8
        assert isinstance(woken, StoreUnavailable)
        assert "closed" in str(woken)
        assert feed._wire._socket.fileno() == -1
        await feed.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await feed.follow(["one"])
        late = feed_of(world, store)
        await late.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await late.open()


async def test_a_wait_that_is_given_up_loses_nothing(valkey: Valkey) -> None:
    """A task that is cancelled while it waits takes nothing away from who waits next."""
    world = ASYNC
    async with listening(world, valkey.url(prefix=fresh_prefix())) as (store, feed):
        for _ in range(20):
            waiting = asyncio.create_task(feed.hints(10))
            await asyncio.sleep(0.001)
            record = asyncio.create_task(created(store))
            await asyncio.sleep(0)
            waiting.cancel()
            heard = await asyncio.gather(waiting, return_exceptions=True)
            hint = Hint((await record).handle, None, facts=True)
            if isinstance(heard[0], BaseException):
                await told(feed, hint)
            else:
                assert heard[0] == [hint]


def test_in_the_child_of_a_fork(valkey: Valkey) -> None:
    """In the child of a fork a feed says that it is lost, also if a thread of the parent waits for it, and a new one
    can be opened; the parent's goes on."""
    world = BLOCKING

    async def child(store: Any, feed: Any) -> None:
        with pytest.raises(StoreUnavailable, match="forked"):
            await feed.hints(5)
        await feed.close()
        own = feed_of(world, store)
        await own.open()
        await own.follow((), everything=True)
        record = await created(store)
        await told(own, Hint(record.handle, None, facts=True))
        await own.close()

    async def body() -> None:
        async with listening(world, valkey.url(prefix=fresh_prefix())) as (store, feed):
            heard: list[Hint] = []
            waiting = threading.Thread(target=lambda: heard.extend(run(feed.hints(10))))
            waiting.start()
            time.sleep(0.1)
            pid = os.fork()
            if not pid:
                status = 1
                try:
                    run(child(store, feed))
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0
            waiting.join(5)
            assert [hint.facts for hint in heard] == [True]
            record = await created(store)
            await told(feed, Hint(record.handle, None, facts=True))

    run(body())
