"""Promises 1 and 2, on a Cluster: slots that move to another node under load, and a node that is away for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from places import Opened, at_once
from writing import add_one

import worlds
from servers.process import LOOPBACK
from servers.valkey import Cluster, Valkey
from sojourn import OutcomeUnknown, SessionConfig, StoreUnavailable

WRITERS, SESSIONS = 8, 24
DEADLINE = 2.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A Cluster of one test's own, which keeps what it holds when a node is killed."""
    with Cluster(appendonly="yes", appendfsync="always") as cluster:
        yield cluster


def _move_slots(cluster: Cluster, source: Valkey, target: Valkey) -> int:
    """Move every slot with keys in it from one node to another, key by key, as a resharding does; how many they
    were."""
    ids = {server.port: server.do("CLUSTER", "MYID") for server in cluster.servers}
    moved = 0
    with source.client() as giving, target.client() as taking:
        for slot in cluster.slots_of(source):
            if not giving.do("CLUSTER", "COUNTKEYSINSLOT", slot):
                continue
            taking.do("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
            giving.do("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
            while keys := giving.do("CLUSTER", "GETKEYSINSLOT", slot, 1):
                giving.do("MIGRATE", LOOPBACK, target.port, "", 0, 5000, "KEYS", *keys)
            if not moved:
                time.sleep(1.5 * DEADLINE)  # the keys are there, and the slot is still here
            for server in (target, source, *cluster.servers):
                server.do("CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])
            moved += 1
    return moved


@pytest.mark.battery
async def test_slots_that_move_under_load(world: worlds.World, opened: Opened, cluster: Cluster) -> None:
    """Writers count in sessions on all nodes while the slots of each node in turn move to the next: every count is
    exact, no session is lost or missed, and nobody is refused."""
    config = SessionConfig(deadline=DEADLINE)
    managers = [opened(cluster.url(), config=config) for _ in range(2)]
    ids = [await managers[0].create_session("ada", {"visits": 0}) for _ in range(SESSIONS)]
    going = [True]
    moved: list[int] = []

    async def caller(number: int) -> dict[int, int]:
        if number == WRITERS:
            try:
                for at in range(3):
                    source, target = cluster.servers[at], cluster.servers[(at + 1) % 3]
                    moved.append(
                        await world.aside(lambda source=source, target=target: _move_slots(cluster, source, target))
                    )
            finally:
                going.clear()
            return {}
        mine = dict.fromkeys(range(number, SESSIONS, WRITERS), 0)
        while going:
            for one in mine:
                async with managers[number % 2].session(ids[one]) as session:
                    session.update("visits", add_one)
                mine[one] += 1
        return mine

    done = {one: count for mine in await at_once(world, WRITERS + 1, caller) for one, count in mine.items()}
    print(f"{moved} slots moved, {sum(done.values())} writes")
    assert all(moved)
    assert min(done.values()) > 0
    for number, session_id in enumerate(ids):
        assert await managers[1].get_session(session_id) == {"visits": done[number]}
    assert len(await managers[1].list_sessions("ada")) == SESSIONS
    assert await managers[0].end_user_sessions("ada") == SESSIONS
    assert (await managers[1].stats()).sessions == 0


async def test_a_node_that_is_away(world: worlds.World, opened: Opened, cluster: Cluster) -> None:
    """A node is killed: whoever has a session there is answered within the deadline, nobody is told that there is none,
    and when it is back all that was acknowledged is there, with no restart."""
    deadline, slack = 1.2, 1.0
    sessions = opened(cluster.url(), config=SessionConfig(deadline=deadline))
    ids = [await sessions.create_session("ada", {"visits": 0}) for _ in range(SESSIONS)]
    away = cluster.servers[1]
    acknowledged, unknown = [0] * SESSIONS, [0] * SESSIONS

    async def caller(number: int) -> None:
        began = time.monotonic()
        try:
            await sessions.update(ids[number], "visits", add_one)
            acknowledged[number] += 1
        except OutcomeUnknown:
            unknown[number] += 1
        except StoreUnavailable:
            pass
        assert time.monotonic() - began < deadline + slack

    away.kill()
    for _ in range(3):
        await at_once(world, SESSIONS, caller)
    assert sum(acknowledged) < 3 * SESSIONS, "nobody had a session there"
    away.start()
    give_up = time.monotonic() + 30
    before = list(acknowledged)
    while not all(now > then for now, then in zip(acknowledged, before, strict=True)):
        assert time.monotonic() < give_up, "it did not recover"
        await at_once(world, SESSIONS, caller)
    for number, session_id in enumerate(ids):
        visits = (await sessions.get_session(session_id))["visits"]
        assert acknowledged[number] <= visits <= acknowledged[number] + unknown[number]
