"""The feed of the Valkey store: whom it tells what, and over which ways to a server."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from valkey_feeds import committed, created, feed_of, listening, news, opened, tells, told, useless, wait_for_links

from servers.process import LOOPBACK
from servers.valkey import Certificate, Cluster, Valkey, fresh_prefix
from sojourn import StoreUnavailable
from sojourn.record import Committed
from sojourn.store import Hint
from sojourn.stores.valkey import ValkeyStore
from sojourn.stores.valkey_hints import news_of, pattern_of
from sojourn.testing import new_record, successor
from sojourn.waiting import TaskWaiting, ThreadWaiting
from worlds import World

# --- Whom it tells what ----------------------------------------------------------------------------------------------


async def test_who_follows_one_hears_of_that_one(world: World, each_valkey: Valkey) -> None:
    """A feed tells of the sessions that it follows and of no other, from the moment in which it says so, until it
    forgets them."""
    url = each_valkey.url(prefix=fresh_prefix())
    store = opened(world, url)
    one, other = await created(store), await created(store)
    async with listening(world, url, one.handle) as (_, feed):
        other = await committed(store, other)
        one = await committed(store, one, "n")
        assert await feed.hints(2) == [news(one, "n")]
        assert await feed.follow([one.handle])
        assert not await feed.follow([one.handle, other.handle])
        assert not await feed.follow([other.handle])
        assert await feed.hints(2) == [Hint(other.handle)]
        assert await feed.follow([one.handle, other.handle])
        await feed.forget([one.handle, "nobody"])
        one = await committed(store, one)
        other = await committed(store, other)
        assert await feed.hints(2) == [news(other)]
        assert await feed.hints(0) == []
        for _ in range(3):
            await feed.forget([other.handle])
            assert not await feed.follow([other.handle])
        await told(feed, *[Hint(other.handle)] * 3)
        assert await feed.follow([other.handle])
        await told(feed, news(await committed(store, other)))
    await store.close()


async def test_who_follows_all_is_told_once(world: World, valkey: Valkey) -> None:
    """Who followed some sessions and then all is told everything once, also of those; forgetting them changes nothing,
    and following more says nothing."""
    url = valkey.url(prefix=fresh_prefix())
    store = opened(world, url)
    record = await created(store)
    async with listening(world, url, record.handle) as (_, feed):
        assert not await feed.follow([], everything=True)
        assert not await feed.follow([record.handle])
        assert await feed.hints(2) == [Hint("")]
        await feed.forget([record.handle])
        assert await feed.follow([record.handle, "another"])
        assert await feed.follow([], everything=True)
        newer = await committed(store, record)
        await created(store)
        assert (await feed.hints(2))[0] == news(newer)
        while found := await feed.hints(0.2):
            assert news(newer) not in found
    await store.close()


async def test_what_was_followed_before_it_was_open_is_followed(world: World, valkey: Valkey) -> None:
    """What a feed is asked to follow before it is open it follows from then on; before that it says nothing."""
    store = opened(world, valkey.url(prefix=fresh_prefix()))
    record, other = await created(store), await created(store)
    for everything in (False, True):
        feed = feed_of(world, store)
        await feed.follow([record.handle, other.handle], everything=everything)
        await feed.forget([other.handle])
        with pytest.raises(StoreUnavailable, match="never opened"):
            await feed.hints(0.1)
        await feed.open()
        await told(feed, Hint("" if everything else record.handle))
        other, record = await committed(store, other), await committed(store, record)
        await told(feed, *([news(other)] if everything else []), news(record))
        assert await feed.hints(0.1) == []
        await feed.close()
    await store.close()


async def test_the_end_of_all_is_told_to_all(world: World, each_valkey: Valkey) -> None:
    """Who follows a single session is told that one should look at everything when all sessions end, and that this one
    has ended."""
    url = each_valkey.url(prefix=fresh_prefix())
    store = opened(world, url)
    record = await created(store, user_id="ada")
    async with listening(world, url, record.handle) as (_, feed):
        await store.end_matching(time.time())
        await told(feed, Hint(""), Hint(record.handle, "ada", facts=True, ended=True))
    await store.close()


async def test_it_can_follow_very_many(world: World, valkey: Valkey) -> None:
    """A feed can follow tens of thousands of sessions, asked for at once while it is listened to, and says of each when
    it does."""
    url = valkey.url(prefix=fresh_prefix())
    store = opened(world, url)
    handles = [new_record().handle for _ in range(30_000)]
    async with listening(world, url, "none") as (_, feed):
        missing = set(handles)

        async def listen() -> None:
            give_up = time.monotonic() + 50
            while missing and time.monotonic() < give_up:
                missing.difference_update({hint.handle for hint in await feed.hints(1)})

        assert await world.together([listen, lambda: feed.follow(handles)]) == [None, False]
        assert missing == set()
        last = await created(store, handle=handles[-1])
        await told(feed, Hint(last.handle, None, facts=True))
        await feed.forget(handles)
    await store.close()


async def test_what_it_does_not_understand_is_a_reason_to_look(world: World, valkey: Valkey) -> None:
    """A message that is none of ours says no more than that one should look at the session."""
    prefix = fresh_prefix()
    async with listening(world, valkey.url(prefix=prefix)) as (_, feed):
        for message in (b"", b"\xc1", b"hello", b"\x94\x01\x02\x03\x04"):
            valkey.do("PUBLISH", f"{prefix}:news:somebody", message)
            assert await feed.hints(2) == [Hint("somebody")]


async def test_stores_are_kept_apart(world: World, valkey: Valkey) -> None:
    """A feed of all tells nothing of the sessions in another database, or under another prefix, also where a prefix
    looks like a pattern."""
    prefix = fresh_prefix() + "[ab]*?\\"
    places = [
        valkey.url(prefix=prefix),
        valkey.url(prefix=prefix).replace("/0?", "/3?"),
        valkey.url(prefix=prefix.replace("[ab]*?\\", "axx\\")),
    ]
    for place in places:
        async with listening(world, place) as (store, feed):
            for other in places:
                if other != place:
                    elsewhere = opened(world, other)
                    await created(elsewhere)
                    await elsewhere.close()
            record = await created(store)
            assert await feed.hints(2) == [Hint(record.handle, None, facts=True)]


def test_the_names_of_channels() -> None:
    """A channel is named by the prefix, the database unless it is 0, and the session; in the pattern of all, what would
    be special is not."""
    assert (news_of("shop", 0), news_of("shop", 3)) == ("shop:news:", "shop{3}:news:")
    assert pattern_of(news_of("shop", 0)) == "shop:news:*"
    assert pattern_of("a*[b]?\\:news:") == "a\\*\\[b]\\?\\\\:news:*"


async def test_a_write_that_changes_nothing_is_not_told(world: World, valkey: Valkey) -> None:
    """A commit or a creation that is repeated, and a commit that is refused, tell nothing; neither do a lease, a place
    in its line, and a bookmark."""
    url = valkey.url(prefix=fresh_prefix())
    store = opened(world, url)
    record = await created(store)
    newer = await committed(store, record)
    async with listening(world, url) as (_, feed):
        now = time.time()
        assert isinstance(await store.commit(record, newer, now), Committed)
        assert isinstance(await store.create(newer, now), Committed)
        assert not isinstance(await store.commit(record, successor(record), now), Committed)
        for name in ("one", "other"):
            await store.lease(record.handle, 0, 10.0, now, name=name, patience=1.0)
        await store.bookmark("mail", "one", now, hold=1.0, position=5)
        assert await feed.hints(0.3) == []
    await store.close()


# --- Ways to a server ------------------------------------------------------------------------------------------------


async def test_over_tls_and_with_a_password(world: World, certificate: Certificate) -> None:
    """A feed speaks TLS and gives its password as the store does, and believes no server whose certificate it can't
    check."""
    with Valkey(tls=certificate, user="ad@a", password="s:cr/et") as server:
        await tells(world, server.url())
        store = opened(world, server.url(deadline=5).partition("?")[0] + "?deadline=5")
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await feed_of(world, store).open()
        await store.close()
        store = opened(world, server.url(deadline=5).replace("s%3Acr%2Fet", "wrong"))
        with pytest.raises(StoreUnavailable, match="WRONGPASS"):
            await feed_of(world, store).open()
        await store.close()


async def test_through_a_socket_and_a_name(world: World) -> None:
    """A unix socket serves, and so does a host that is given by its name."""
    with Valkey(socket=True) as server:
        await tells(world, server.socket_url())
        await tells(world, server.url().replace(LOOPBACK, "localhost"))


async def test_in_a_cluster_any_node_tells_all(world: World, valkey_cluster: Cluster) -> None:
    """Whichever node of a cluster a feed is connected to, it tells of sessions in all shards."""
    wait_for_links(valkey_cluster)
    url = valkey_cluster.url(prefix=fresh_prefix())
    store = opened(world, url)
    feeds = [feed_of(world, store) for _ in range(12)]
    for feed in feeds:
        await feed.open()
        await feed.follow((), everything=True)
        await told(feed, Hint(""))
    assert len({feed._address for feed in feeds}) > 1
    records = [await created(store) for _ in range(10)]
    for feed in feeds:
        missing = {record.handle for record in records}
        give_up = time.monotonic() + 30
        while missing and time.monotonic() < give_up:
            missing -= {hint.handle for hint in await feed.hints(0.5)}
        assert missing == set()
        await feed.close()
    await store.close()


async def test_in_a_cluster_whose_slots_move(world: World, valkey_cluster: Cluster) -> None:
    """A feed goes on when the slot of its question is another node's."""
    async with listening(world, valkey_cluster.url(prefix=fresh_prefix())) as (store, feed):
        addresses = {store._space._servers._topology.known(slot) for slot in range(0, 16384, 500)} - {None}
        assert len(addresses) == 3
        for _ in range(4):  # of whichever node it is, two of three do not have that slot
            feed._asked_at = 0.0
            await feed.hints(0.2)
            give_up = time.monotonic() + 10
            while not feed._answered:
                assert time.monotonic() < give_up
                await feed.hints(0.2)
        record = await created(store)
        await told(feed, Hint(record.handle, None, facts=True))


@pytest.mark.parametrize("kind", ["blocking", "async"])
async def test_over_a_client_of_ones_own(valkey: Valkey, kind: str) -> None:
    """A store over a client has a feed that says four times a second that one should look at everything; and a server
    that does not answer is told at its opening."""
    module = pytest.importorskip("redis" if kind == "blocking" else "redis.asyncio")
    client = module.Redis(port=valkey.port, socket_timeout=10)
    retry = pytest.importorskip(f"{module.__name__}.retry").Retry(pytest.importorskip("redis.backoff").NoBackoff(), 0)
    silent = module.Redis(port=valkey.port, socket_timeout=0.1, retry=retry)
    store: Any = ValkeyStore.over(client, prefix=fresh_prefix(), deadline=10)
    feed = store.feed(ThreadWaiting() if kind == "blocking" else TaskWaiting())
    await feed.open()
    await feed.follow(["one"])
    at = [time.monotonic()]
    for _ in range(4):
        assert await feed.hints(5) == [Hint("")]
        at.append(time.monotonic())
    assert at[-1] - at[0] > 0.9
    assert min(later - before for before, later in pairwise(at)) < 0.4
    feed._due = time.monotonic() + 60
    assert await feed.hints(0.01) == []
    await store.close()
    await useless(feed, "closed")
    store = ValkeyStore.over(silent, prefix=fresh_prefix(), deadline=0.5)
    valkey.do("CLIENT", "PAUSE", 3000)
    try:
        with pytest.raises(StoreUnavailable):
            await store.feed(ThreadWaiting() if kind == "blocking" else TaskWaiting()).open()
    finally:
        valkey.do("PING")  # until the pause is over: others use this server, too
    await store.close()
    for one in (client, silent):
        closed = one.close() if kind == "blocking" else one.aclose()
        if closed is not None:
            await closed


# --- Rights ----------------------------------------------------------------------------------------------------------

_RIGHTS = """resetkeys resetchannels -@all +auth +select +ping +info +time +type +exists +get +set +getrange +setrange
 +del +incr +decr +incrby +pexpire +persist +pttl +rpush +lrem +lrange +zadd +zrem +zrange +zscore +zincrby
 +xadd +xrange +evalsha +script|load"""
_NEWER = "+xrevrange +xtrim"
_TO_LISTEN = "+publish +subscribe +psubscribe +unsubscribe"


async def _lives(world: World, url: str) -> None:
    """Sessions are made, written, leased, watched for facts and ended."""
    store = opened(world, url)
    record = await committed(store, await created(store, user_id="ada"), "n")
    assert isinstance(await store.lease(record.handle, 0, 10.0, time.time(), name="one", patience=5.0), Committed)
    assert await store.bookmark("mail", "one", time.time(), hold=10.0) == 0
    position = await store.position()
    assert [fact.kind for fact in await store.end([record.handle], "ended", time.time())] == ["ended"]
    assert len((await store.changes(position, 10))[1]) == 1
    await created(store)
    assert len(await store.end_matching(time.time())) == 1
    assert await store.purge_expired(time.time(), 10) == ()
    await store.close()


async def test_a_user_who_may_not_publish_writes_all_the_same(world: World, each_valkey: Valkey) -> None:
    """A user whom the access rules allow no channels writes as before; a feed of his says which rights it wants, at
    once. With these it is served."""
    with Valkey(each_valkey.binary) as server:
        url = server.url(deadline=5).replace("://", "://shop:secret@")
        for rights in ("", _TO_LISTEN):  # the commands without the channels are not enough either
            server.do("ACL", "SETUSER", "shop", "on", ">secret", *f"{_RIGHTS} {_NEWER} {rights} ~sojourn{{*".split())
            await _lives(world, url)
            store = opened(world, url)
            began = time.monotonic()
            for everything in (False, True):
                feed = feed_of(world, store)
                await feed.follow(["one"], everything=everything)
                with pytest.raises(StoreUnavailable, match=r"&sojourn:news:\* and \+publish"):
                    await feed.open()
            assert time.monotonic() - began < 4.5  # and who tries on would try for 5 seconds each time
            await store.close()
        server.do("ACL", "SETUSER", "shop", "&sojourn:news:*")
        await _lives(world, url)
        await tells(world, url)
        record = new_record()
        async with listening(world, url, record.handle) as (store, feed):
            await feed.follow([], everything=True)
            await created(store, handle=record.handle)
            await told(feed, Hint(record.handle, None, facts=True))
