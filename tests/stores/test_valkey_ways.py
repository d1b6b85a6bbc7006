"""What is the Valkey store's own: the ways to its servers, the server's clock, its memory, and indexes that heal."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any

import pytest

from servers.valkey import Certificate, Cluster, Sentinels, Valkey, fresh_prefix
from sojourn import AsyncSessionManager, ConfigurationError, MissingExtra, SessionManager, StoreUnavailable, open_store
from sojourn.blocking import run
from sojourn.record import Cap, Committed, Gone
from sojourn.stores.valkey import ValkeyStore
from sojourn.stores.valkey_servers import Replies, slot_of
from sojourn.testing import NOW, new_record, successor
from worlds import PATIENT, World

# --- Ways to a server ------------------------------------------------------------------------------------------------


async def _serves(world: World, url: str) -> None:
    sessions = world.sessions(url)
    async with sessions:
        session_id = await sessions.create_session("ada", {"n": 1})
        assert await sessions.update(session_id, "n", lambda n: n + 1) == 2
        assert await sessions.get_session(session_id) == {"n": 2}


async def test_over_tls(world: World, certificate: Certificate) -> None:
    """``valkeys://`` speaks TLS, and believes no server whose certificate it can't check."""
    with Valkey(tls=certificate) as server:
        await _serves(world, server.url())
        stranger = world.sessions(f"rediss://127.0.0.1:{server.port}?deadline=2")
        async with stranger:
            with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
                await stranger.create_session()


@pytest.mark.parametrize("login", [{"password": "s:cr/et"}, {"user": "ad@a", "password": "s:cr/et"}])
async def test_with_a_password(world: World, login: dict[str, str]) -> None:
    """User and password are those of the URL; with others the error says what to do, and shows no password."""
    with Valkey(**login) as server:
        await _serves(world, server.url())
        for userinfo in ("", ":wrong@"):
            stranger = world.sessions(f"redis://{userinfo}127.0.0.1:{server.port}?deadline=2")
            async with stranger:
                with pytest.raises(StoreUnavailable, match=r"NOAUTH|WRONGPASS") as caught:
                    await stranger.create_session()
            assert "wrong@" not in str(caught.value)


async def test_through_a_socket_and_in_a_database(world: World) -> None:
    """A unix socket serves as well, and the number of a database keeps sessions apart."""
    with Valkey(socket=True) as server:
        await _serves(world, server.socket_url())
        elsewhere = world.sessions(f"redis://127.0.0.1:{server.port}/3")
        async with elsewhere:
            assert (await elsewhere.stats()).sessions == 0
            await elsewhere.create_session()
            assert (await elsewhere.stats()).sessions == 1


async def test_the_primary_that_sentinels_name(world: World, sentinels: Sentinels) -> None:
    """Sentinels are asked for the primary; one that is gone is passed over; a service that they do not know is told."""
    sentinels.sentinels[0].kill()
    await _serves(world, sentinels.url())
    stranger = world.sessions(sentinels.url(deadline=1).replace("/mymaster", "/another"))
    async with stranger:
        with pytest.raises(StoreUnavailable, match="another"):
            await stranger.create_session()


async def test_a_node_of_a_cluster_says_so(world: World, valkey_cluster: Cluster) -> None:
    """Who names a node of a cluster as one server is told how to open the cluster."""
    slot = slot_of("0")  # of the one shard that one server has
    other = next(server for server in valkey_cluster.servers if slot not in valkey_cluster.slots_of(server))
    sessions = world.sessions(other.url())
    async with sessions:
        with pytest.raises(StoreUnavailable, match=r"valkey\+cluster://"):
            await sessions.create_session()


async def test_a_cluster_whose_slots_move(world: World, valkey_cluster: Cluster) -> None:
    """While a slot moves to another node, and after it has, sessions in it load and commit."""
    url = valkey_cluster.url(prefix=fresh_prefix())
    sessions = world.sessions(url)
    async with sessions:
        ids = [await sessions.create_session(data={"n": 0}) for _ in range(30)]
        store: Any = sessions.manager.store
        slot = store._space.shard_of(ids[0].split(".")[0]).slot
        names = {server.do("CLUSTER", "MYID"): server for server in valkey_cluster.servers}
        owner = next(
            names[first[2]]
            for start, end, first, *_ in valkey_cluster.servers[0].do("CLUSTER", "SLOTS")
            if start <= slot <= end
        )
        other = next(server for server in valkey_cluster.servers if server is not owner)
        other.do("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.do("CLUSTER", "MYID"))
        owner.do("CLUSTER", "SETSLOT", slot, "MIGRATING", other.do("CLUSTER", "MYID"))
        for session_id in ids:
            assert await sessions.update(session_id, "n", lambda n: n + 1) == 1
        while keys := owner.do("CLUSTER", "GETKEYSINSLOT", slot, 100):
            owner.do("MIGRATE", "127.0.0.1", other.port, "", 0, 5000, "KEYS", *keys)
        for session_id in ids:  # all keys have moved, and the slot has not: the owner says where to ask
            assert await sessions.update(session_id, "n", lambda n: n + 1) == 2
        for server in (other, owner, *valkey_cluster.servers):
            server.do("CLUSTER", "SETSLOT", slot, "NODE", other.do("CLUSTER", "MYID"))
        for session_id in ids:
            assert await sessions.update(session_id, "n", lambda n: n + 1) == 3
        assert {(await sessions.get_session(session_id))["n"] for session_id in ids} == {3}


async def test_a_name_that_nobody_resolves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs is waited for no longer than the deadline."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(4))
    sessions = world.sessions("redis://cache.example.org?deadline=1")
    async with sessions:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"cache\.example\.org"):
            await sessions.create_session()
        assert time.monotonic() - began < 1.9


async def test_a_host_of_several_addresses(world: World, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the addresses of a host the first that takes a connection serves."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.77", "127.0.0.1")]
    original = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **settings: Any) -> Any:
        return found if host == "cache.example.org" else original(host, *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    sessions = world.sessions(f"redis://cache.example.org:{valkey.port}?prefix={fresh_prefix()}")
    async with sessions:
        await sessions.create_session()
        assert (await sessions.stats()).sessions == 1


# --- A client of the user's own --------------------------------------------------------------------------------------


def test_over_a_blocking_client(valkey: Valkey) -> None:
    """A store over a ``redis.Redis`` serves blocking callers, also after its scripts were forgotten."""
    redis = pytest.importorskip("redis")
    with redis.Redis(port=valkey.port, socket_timeout=10) as client:
        with SessionManager(ValkeyStore.over(client, prefix=fresh_prefix(), deadline=10), config=PATIENT) as manager:
            session_id = manager.create_session("ada", {"n": 1})
            valkey.do("SCRIPT", "FLUSH")
            assert manager.update(session_id, "n", lambda n: n + 1) == 2
            assert len(manager.list_sessions("ada")) == 1
        assert client.ping()  # it is not closed with the store
        with pytest.raises(ConfigurationError, match="socket_timeout"):
            ValkeyStore.over(redis.Redis(port=valkey.port, socket_timeout=None))
        with pytest.raises(ConfigurationError, match="object"):
            ValkeyStore.over(object())


async def test_over_an_asynchronous_client(valkey: Valkey) -> None:
    """A store over a ``redis.asyncio.Redis`` serves tasks; a command that hangs ends with the deadline."""
    redis = pytest.importorskip("redis.asyncio")
    async with redis.Redis(port=valkey.port) as client:
        prefix = fresh_prefix()
        store = ValkeyStore.over(client, prefix=prefix, deadline=10)
        async with AsyncSessionManager(store, config=PATIENT) as manager:
            session_id = await manager.create_session(data={"n": 0})
            await asyncio.gather(*(manager.update(session_id, "n", lambda n: n + 1) for _ in range(50)))
            assert await manager.get_session(session_id) == {"n": 50}
            valkey.do("CLIENT", "PAUSE", 5000)
            try:
                async with AsyncSessionManager(ValkeyStore.over(client, prefix=prefix, deadline=1.5)) as hasty:
                    began = time.monotonic()
                    with pytest.raises(StoreUnavailable):
                        await hasty.get_session(session_id)
                    assert time.monotonic() - began < 4.0
            finally:
                await asyncio.to_thread(valkey.do, "PING")  # until the pause is over: others use this server, too
            assert await manager.get_session(session_id) == {"n": 50}


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hiredis is not installed, the error is the command that installs it."""
    import sys

    for name in [name for name in sys.modules if name.startswith("sojourn.stores.valkey")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sojourn\[valkey\]'"):
        open_store("redis://127.0.0.1")


# --- Time, memory, and what heals ------------------------------------------------------------------------------------


@pytest.fixture(params=["server", "cluster"])
def place(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A server, and a cluster: how a store is opened there, and the server to look at."""
    found = request.getfixturevalue("valkey" if request.param == "server" else "valkey_cluster")
    return request.param, found


def opened(server: Any, **options: Any) -> Any:
    return open_store(server.url(**{"prefix": fresh_prefix(), "deadline": 10} | options))


def test_the_servers_clock_decides(valkey: Valkey) -> None:
    """Whether a session is over is decided by the server's clock: a caller whose clock is behind, or ahead, neither
    keeps a dead session nor ends a living one, and can't put activity into the future."""
    store = opened(valkey)
    now = time.time()
    living, dead = new_record(at=now, idle=1000), new_record(at=now - 5000, idle=1000)
    for record in (living, dead):
        run(store.create(record, now))
    for clock in (now - 5000, now, now + 5000):
        assert run(store.commit(dead, successor(dead), clock)) == Gone()
        assert not run(store.touch(dead.handle, 0, clock, clock))
        assert run(store.touch(living.handle, 0, clock, clock))
    assert now <= run(store.load(living.handle)).accessed_at < now + 60
    ahead = successor(living, accessed_at=now + 5000)
    assert isinstance(run(store.commit(living, ahead, now + 5000)), Committed)
    assert run(store.load(living.handle)).accessed_at < now + 60
    assert [change.handle for change in run(store.purge_expired(now + 5000, 10))] == [dead.handle]
    run(store.close())


def test_the_servers_own_expiry_comes_long_after(valkey: Valkey) -> None:
    """Every record has a time after which the server removes it: a day after the session is over, also after a touch
    and a commit; a session without end has none."""
    prefix, now = fresh_prefix(), time.time()
    store = open_store(valkey.url(prefix=prefix, deadline=10))
    record, endless = (
        new_record(at=now - 500, idle=1000, lasts=1e6),
        new_record(idle_timeout=float("inf"), ends_at=float("inf")),
    )
    for one in (record, endless):
        run(store.create(one, now))

    def left(one: Any) -> float:
        return valkey.do("PTTL", f"{prefix}{{0}}:{one.handle}") / 1000

    assert 500 + 86_390 < left(record) <= 500 + 86_400
    run(store.touch(record.handle, 0, now, now))
    assert 1000 + 86_390 < left(record) <= 1000 + 86_400
    run(store.commit(record, successor(record, idle_timeout=90_000.0), now))
    assert 90_000 + 86_390 < left(record) <= 91_000 + 86_400
    assert left(endless) == -0.001
    run(store.close())


def test_a_session_takes_at_most_half_as_much_again_as_a_blob() -> None:
    """Beside a plain value of the same 180 bytes, under a key of 51 and with an expiry, a session takes at most 1.5
    times the server's memory, its place among the deadlines included."""
    with Valkey() as server:
        used = lambda: int(server.info("memory")["used_memory"])  # noqa: E731
        with server.client() as client:
            began = used()
            for number in range(3000):
                client.do("SET", f"session:{number:043}", b"x" * 180, "EX", 3600)
            plain = used() - began
            client.do("FLUSHALL")
        store = open_store(server.url(deadline=10))
        run(store.create(new_record(at=time.time()), time.time()))
        began = used()
        fields = {f"field {number}": b"x" * 28 for number in range(5)}  # 180 bytes, with their names
        for _ in range(3000):
            run(store.create(new_record(at=time.time(), idle=2000.0, lasts=86_400.0, fields=fields), time.time()))
        ours = used() - began - int(server.do("MEMORY", "USAGE", "sojourn{0}:log", "SAMPLES", 0))
        assert ours <= 1.5 * plain
        run(store.close())


def test_what_an_interrupted_creation_leaves_heals(place: tuple[str, Any]) -> None:
    """A session that was entered among its user's, and never came to be, is in no list, takes no place under the cap
    once it is too late for it to come, and is forgotten then."""
    _, server = place
    store = opened(server, clock="caller")
    ghost, ada = new_record(user_id="ada"), new_record(user_id="ada")
    run(store._space.ask(store._users.enlist(ghost, NOW)))
    run(store.create(ada, NOW))
    assert [row.handle for row in run(store.summaries(NOW, user_id="ada"))] == [ada.handle]
    later = NOW + 120
    again = new_record(at=later, user_id="ada")
    assert isinstance(run(store.create(again, later, Cap(per_user=2, refuse=True))), Committed)
    assert set(run(store._users.handles("ada"))) == {ada.handle, again.handle}
    run(store.close())


def test_a_creation_that_the_end_of_all_overtakes_ends_itself(place: tuple[str, Any]) -> None:
    """A session that was entered among its user's before all of them ended, and is made after, does not stay."""
    _, server = place
    store = opened(server, clock="caller")
    space = store._space
    record = new_record(user_id="ada")

    async def end_all_meanwhile(*arguments: Any, **settings: Any) -> Any:
        """Just before the record is written."""
        if len(arguments) == 3:
            (entered,) = await ask(arguments[0])
            assert await store.end_matching(NOW, user_id="ada") == ()
            return Replies([entered, *await ask(*arguments[1:])])
        return await ask(*arguments, **settings)

    ask, space.ask = space.ask, end_all_meanwhile
    outcome = run(store.create(record, NOW))
    space.ask = ask
    assert [(change.kind, change.reason) for change in outcome.facts] == [("created", None), ("ended", "revoked")]
    assert run(store.load(record.handle)) is None
    assert run(store.summaries(NOW, user_id="ada")) == []
    assert [change.reason for change in run(store.changes(0, 10))[1]] == [None, "revoked"]
    run(store.close())


def test_the_count_is_mended(valkey: Valkey) -> None:
    """Where no cleaner came for so long that the server removed records by itself, the next sweep counts anew."""
    prefix = fresh_prefix()
    store = open_store(valkey.url(prefix=prefix, clock="caller", deadline=10))
    records = [new_record() for _ in range(5)]
    for record in records:
        run(store.create(record, NOW))
    for record in records[:3]:
        valkey.do("DEL", f"{prefix}{{0}}:{record.handle}")
    assert run(store.stats()).sessions == 5
    living = records[3].handle
    far = NOW + 200_000
    run(store.create(new_record(at=far), far))
    told = run(store.purge_expired(far, 100))
    assert {change.handle for change in told} == {living, records[4].handle}
    assert run(store.stats()).sessions == 1
    run(store.close())


def test_a_server_that_evicts_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is set to evict what it holds when it is full is warned of, once."""
    with Valkey(maxmemory="100mb", maxmemory_policy="allkeys-lru") as server, caplog.at_level(logging.WARNING):
        store = open_store(server.url(deadline=10))
        for _ in range(3):
            run(store.purge_expired(time.time(), 10))
        run(store.close())
    assert [record.getMessage() for record in caplog.records].count(
        "the server evicts sessions when it is full (allkeys-lru): set maxmemory-policy noeviction"
    ) == 1


def test_the_keys_of_a_session_lie_in_one_slot(valkey_cluster: Cluster) -> None:
    """All keys of a shard are in its slot, and the shards are spread evenly over the slots."""
    store: Any = open_store(valkey_cluster.url())
    shards = store._space.shards
    assert len({shard.slot for shard in shards}) == len(shards) == 64
    for shard in shards:
        tag = shard.root.split("{")[1].split("}")[0]
        assert slot_of(tag) == shard.slot
        assert all(f"{{{tag}}}" in key for key in (shard.epoch, shard.log, shard.count, shard.due, shard.bucket(5)))
        assert shard.slot * 64 // 16384 == shard.number
    run(store.close())


# --- Large sessions --------------------------------------------------------------------------------------------------


async def test_of_a_large_session_only_what_changed_is_sent(world: World) -> None:
    """A commit to a session of 60 KB that changes one of its values sends a few of its slices; one that changes a
    length, or that meets other bytes than it knows, sends all of it. What is stored is the same."""
    with Valkey() as server:
        sessions = world.sessions(server.url())
        async with sessions:
            session_id = await sessions.create_session(data={f"document {n}": "x" * 300 for n in range(200)})
            store: Any = sessions.manager.store

            async def sent(name: str, value: str, *, forget: bool = False) -> int:
                async with sessions.session(session_id) as session:
                    session[name] = value
                    if forget:
                        for handle, blob in store._large.blobs.items():
                            store._large.blobs[handle] = blob[:1] + b"\0\0\0\0" + blob[5:]
                    before = int(server.info("stats")["total_net_input_bytes"])
                assert (await sessions.get_session(session_id))[name] == value
                return int(server.info("stats")["total_net_input_bytes"]) - before

            assert await sent("document 42", "y" * 300) < 8_000
            assert await sent("document 0", "z" * 300) < 8_000
            assert await sent("document 42", "longer" * 100) > 60_000
            assert await sent("document 42", "l0nger" * 100) < 8_000
            assert await sent("document 7", "w" * 300, forget=True) > 60_000
            fields = await sessions.get_session(session_id)
            assert (fields["document 0"], fields["document 42"]) == ("z" * 300, "l0nger" * 100)
            assert len(fields) == 200


# --- A full server ---------------------------------------------------------------------------------------------------


async def test_on_a_full_server_sessions_can_be_read_and_ended(world: World) -> None:
    """A server that is full serves reads, ends one session, all of a user, and all there are; what adds to it is
    refused, and says so."""
    with Valkey(maxmemory="100mb", maxmemory_policy="noeviction") as server:
        sessions = world.sessions(server.url())
        async with sessions:
            ids = [await sessions.create_session("ada", {"n": number}) for number in range(4)]
            others = [await sessions.create_session("bob") for _ in range(2)]
            server.do("CONFIG", "SET", "maxmemory", "1mb")
            assert await sessions.get_session(ids[0]) == {"n": 0}
            for refused in (sessions.create_session(), sessions.update(ids[0], "n", lambda n: n + 1)):
                with pytest.raises(StoreUnavailable, match="full"):
                    await refused
            await sessions.end_session(ids[0])
            assert not await sessions.is_session_active(ids[0])
            assert await sessions.end_user_sessions("ada") == 3
            assert await sessions.end_sessions() == 2
            assert not any([await sessions.is_session_active(one) for one in (*ids, *others)])


async def test_a_user_who_may_not_look_at_the_server(world: World) -> None:
    """A user without the right to INFO sweeps all the same."""
    with Valkey(user="app", password="secret") as server:
        server.do("ACL", "SETUSER", "app", "-info")
        sessions = world.sessions(server.url())
        async with sessions:
            assert await sessions.purge_expired() == 0


async def test_a_user_who_may_load_no_scripts(world: World) -> None:
    """A user without the right to load scripts is told so, at once."""
    with Valkey(user="app", password="secret") as server:
        server.do("ACL", "SETUSER", "app", "-script|load")
        sessions = world.sessions(server.url(deadline=5))
        async with sessions:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"takes no scripts|access rules"):
                await sessions.create_session()
            assert time.monotonic() - began < 4.5  # and who tries on would try for 5 seconds
