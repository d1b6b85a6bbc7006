"""The pulse: what the overview is told of a store, on each store; what an outage looks like; and what it costs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from crowd import store_url
from pulsing import read

from servers.postgres import PostgreSQL
from servers.process import Process
from servers.valkey import Valkey
from sojourn import AsyncSessionManager, SessionConfig, SessionManager, StoreError, StoreUnavailable
from sojourn.admin import figures
from sojourn.admin import pulse as pulses
from sojourn.admin.figures import Overview
from sojourn.admin.pulse import Pulse
from sojourn.admin.reports import HANDLE, meter_of
from sojourn.store import HISTORY
from sojourn.stores.memory import MemoryStore
from sojourn.watching import hub
from worlds import PATIENT, Through

IMPATIENT = SessionConfig(deadline=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done every second is done more often."""
    monkeypatch.setattr(pulses, "_PROBE", 0.1)
    monkeypatch.setattr(pulses, "_DRAIN", 0.05)
    monkeypatch.setattr(pulses, "_STATS", 0.2)
    monkeypatch.setattr(hub, "_LINGER", 0.1)
    monkeypatch.setattr(hub, "TICK", 0.2)


@pytest.fixture(params=["memory", "sqlite", "valkey", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Sessions in each store."""
    return "memory://" if request.param == "memory" else store_url(request, request.param, tmp_path)


@pytest.fixture(params=["memory", "sqlite"])
def near(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Sessions where they are quick: for what the store does not decide."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/sessions.db"


@asynccontextmanager
async def two(url: str, **settings: Any) -> AsyncIterator[tuple[AsyncSessionManager, AsyncSessionManager]]:
    """The manager whose sessions are shown, and the visitors', with a connection and locks of its own; in memory they
    share the store."""
    settings = {"config": PATIENT} | settings
    shown = AsyncSessionManager(url, **settings)
    visitors = AsyncSessionManager(shown.store if url == "memory://" else url, **settings)
    try:
        yield shown, visitors
    finally:
        await visitors.close()
        await shown.close()


def total(found: Overview) -> tuple[int, Counter[str], int]:
    """Of all minutes: created, ended by reason, commits. (A minute may end during a test.)"""
    ended: Counter[str] = Counter()
    for minute in found.minutes:
        ended.update(minute.ended)
    return sum(minute.created for minute in found.minutes), ended, sum(minute.commits for minute in found.minutes)


async def test_what_happens_is_told(url: str) -> None:
    """What other processes do is in the overview, each thing once: sessions that begin, that end, and why, commits,
    values that are overwritten; and so is what happened before anybody looked. The store is well and answers."""
    async with two(url) as (shown, visitors):
        ids = [await visitors.create_session(user, data={"n": 0}) for user in ("ada", "ada", "bob", "eve")]
        await visitors.end_session(ids[3])
        pulse = Pulse(shown)
        assert not pulse.reading().well
        await pulse.start()
        found = await read(pulse, lambda found: total(found)[0] == 4)
        assert total(found) == (4, {"ended": 1}, 0)
        for _ in range(10):
            await visitors.update(ids[2], "n", lambda n: n + 1)
        async with visitors.session(ids[2]) as later:
            later["n"] = "mine"
            async with visitors.session(ids[2]) as first:
                first["n"] = "theirs"
        assert await visitors.end_user_sessions("ada") == 2
        short = await visitors.create_session("tim", idle_timeout=0.05)
        found = await read(pulse, lambda found: total(found)[1]["revoked"] == 2 and total(found)[1]["expired"] == 1)
        found = await read(pulse, lambda found: total(found)[2] == 12 and found.overwritten == 1)
        assert total(found) == (5, {"ended": 1, "revoked": 2, "expired": 1}, 12)
        assert not await visitors.is_session_active(short)
        found = await read(pulse, lambda found: found.sessions == 1)
        assert (found.well, found.why, found.outages) == (True, "", ())
        assert found.since is not None
        assert found.since <= found.at
        assert 0 < (found.latency_p50 or 0) <= (found.latency_p99 or 0) < 10
        assert "by the dashboard" in found.latency_source
        assert (found.bytes is None) == (url == "memory://" or url.startswith(("valkey", "redis")))
        assert (found.processes, found.merged, found.sockets) == (0, 0, None)
        await pulse.stop()


async def test_evictions_are_told(near: str) -> None:
    """Sessions that give way to newer ones are counted as evicted."""
    async with two(near, config=SessionConfig(deadline=10, max_sessions_per_user=1)) as (shown, visitors):
        pulse = Pulse(shown)
        await pulse.start()
        for _ in range(3):
            await visitors.create_session("ada")
        found = await read(pulse, lambda found: total(found)[1]["evicted"] == 2 and total(found)[0] == 3)
        assert total(found)[:2] == (3, {"evicted": 2})
        await pulse.stop()


async def test_what_this_process_counts(near: str) -> None:
    """What managers of this process count and how long their loads and commits take is there without a report, of
    blocking ones, too."""
    async with two(near) as (shown, visitors):
        blocking = SessionManager(MemoryStore())
        pulse = Pulse(shown, (visitors, blocking.engine))
        await pulse.start()
        session_id = await visitors.create_session(data={"cart": {}})
        async with visitors.session(session_id) as one, visitors.session(session_id) as other:
            one["cart"]["a"] = 1
            other["cart"]["b"] = 2
        with blocking.session(blocking.create_session(data={"n": 0})) as session:
            session["n"] = 1
        assert await visitors.get_session("no id") is None
        assert blocking.get_session("no id") is None
        found = await read(pulse, lambda found: found.refused == 2)
        assert (found.processes, found.merged, found.conflicts, found.unavailable) == (1, 1, 1, 0)
        assert "loads and commits of one process" in found.latency_source
        await pulse.stop()
        blocking.close()


async def test_what_is_counted_while_nobody_looks(near: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pulse that is stopped asks the store for nothing, and leaves no task; started again, it knows what happened
    meanwhile, and counts nothing twice, however long ago it was told."""
    monkeypatch.setattr(figures, "_REPEATS", 1)
    async with two(near) as (_, visitors):
        through = Through(visitors.store)
        shown = AsyncSessionManager(through)
        before = asyncio.all_tasks()
        pulse = Pulse(shown, (visitors,))
        await pulse.start()
        await visitors.create_session()
        await visitors.create_session()
        await read(pulse, lambda found: total(found)[0] == 2)
        await pulse.stop()
        await pulse.stop()
        assert not meter_of(visitors).in_use
        give_up = time.monotonic() + 10
        while asyncio.all_tasks() != before:
            assert time.monotonic() < give_up, "somebody still works"
            await asyncio.sleep(0.01)
        through.calls.clear()
        ended = await visitors.create_session()
        await visitors.end_session(ended)
        await asyncio.sleep(0.3)
        assert through.calls == []
        await pulse.start()
        await pulse.start()
        found = await read(pulse, lambda found: total(found)[0] >= 3 and total(found)[1])
        assert total(found)[:2] == (3, {"ended": 1})
        assert asyncio.all_tasks() > before
        await pulse.stop()


async def test_commits_while_many_are_made(url: str) -> None:
    """Every commit is counted, once, also when hundreds are made at a time."""
    async with two(url) as (shown, visitors):
        pulse = Pulse(shown)
        await pulse.start()
        ids = [await visitors.create_session(data={"n": 0}) for _ in range(20)]

        async def work(session_id: str) -> None:
            for number in range(25):
                async with visitors.session(session_id) as session:
                    session["n"] = number

        await asyncio.gather(*map(work, ids))
        await read(pulse, lambda found: total(found)[2] >= 500 and total(found)[0] >= 20)
        await asyncio.sleep(0.1)
        found = pulse.reading() if url != "memory://" else await read(pulse, lambda found: found.heard_per_minute)
        assert total(found)[::2] == (20, 500)
        await pulse.stop()


async def _calls(sessions: int) -> tuple[Counter[str], int, Counter[str]]:
    """What a pulse asks of a store with so many sessions: to begin, and then while 20 looks are made."""
    store = MemoryStore()
    visitors = AsyncSessionManager(store)
    for number in range(sessions):
        await visitors.create_session(f"user {number}")
    through = Through(store)
    async with AsyncSessionManager(through) as shown:
        pulse = Pulse(shown, (visitors,))
        await pulse.start()
        await read(pulse, lambda found: total(found)[0] >= min(sessions, 9_990))
        await asyncio.sleep(0.1)
        begun = Counter(through.calls)
        through.calls.clear()
        rows = 0

        def count(_: int, limit: int) -> None:
            nonlocal rows
            rows += limit

        through.before["changes"] = count
        for number in range(20):
            await visitors.update(await visitors.create_session(), "n", lambda _, number=number: number)
            await pulse._probe()
            await pulse._weigh()
        await read(pulse, lambda found: found.commits_since and total(found)[2] == 20)
        asked = Counter(through.calls)
        await pulse.stop()
        return begun, rows, asked


async def test_what_it_costs_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the overview asks of a store is the same for 100 sessions and for 10,000: it never lists them, and reads at
    most as much of the past as the history keeps."""
    monkeypatch.setattr(pulses, "_PROBE", 1000.0)
    monkeypatch.setattr(pulses, "_STATS", 1000.0)
    monkeypatch.setattr(pulses, "_ASK", 1000.0)
    few_begun, few_read, few = await _calls(100)
    many_begun, many_read, many = await _calls(10_000)
    for name in ("load", "commit", "stats"):
        assert few[name] == many[name] == (0 if name == "commit" else 20)
    assert abs(many["changes"] - few["changes"]) <= 20  # a look at the history more or less, as time has it
    assert abs(many_read - few_read) <= 20 * 500
    assert many_begun["changes"] <= HISTORY / 500 + 5
    for calls in (few, many, few_begun, many_begun):
        assert set(calls) <= {"changes", "commit", "create", "load", "position", "purge_expired", "stats"}


# --- Outages ----------------------------------------------------------------------------------------------------------


async def test_a_store_that_fails() -> None:
    """A store that does not answer is an outage, with the store's own words, from the first question that it failed to
    the first that it answers; nothing is raised, and the figures of before stay."""
    store = Through(MemoryStore())

    async def fails(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the disk is full")

    async with AsyncSessionManager(store) as shown:
        await shown.create_session()
        pulse = Pulse(shown, (shown,))
        await pulse.start()
        await read(pulse, lambda found: total(found)[0] == 1)
        store.before = {"load": fails, "stats": fails, "changes": fails, "position": fails, "commit": fails}
        found = await read(pulse, lambda found: not found.well)
        assert found.why == "the disk is full"
        assert [(outage.ended, outage.why) for outage in found.outages] == [(None, "the disk is full")]
        store.before = {}
        found = await read(pulse, lambda found: found.well)
        assert found.outages[0].ended is not None
        assert found.outages[0].began <= found.outages[0].ended <= found.at
        assert total(found)[0] == 1
        assert found.unavailable == 0  # its own probes are nobody's requests
        store.before = {"load": fails}
        with pytest.raises(Exception, match="disk"):
            await shown.get_session(await shown.create_session())
        store.before = {}
        await read(pulse, lambda found: found.unavailable == 1)
        await pulse.stop()


def servers() -> list[Callable[[], Process]]:
    return [Valkey, PostgreSQL]


@pytest.mark.battery
@pytest.mark.parametrize("make", servers(), ids=["valkey", "postgres"])
async def test_a_server_that_is_killed(make: Callable[[], Valkey | PostgreSQL]) -> None:
    """A server that is killed, and one that hangs, is an outage until it is back; then what happens is told again, with
    no restart of ours. A pulse that starts while the server is down says so, and goes on when it is there."""
    with make() as server:
        # Valkey keeps nothing without a disk, so what is there after the kill is what is made after it.
        async with two(server.url(), config=IMPATIENT) as (shown, visitors):
            await visitors.create_session()
            pulse = Pulse(shown)
            await pulse.start()
            await read(pulse, lambda found: found.well and total(found)[0] == 1)
            killed_at = time.time()
            server.kill()
            found = await read(pulse, lambda found: not found.well)
            assert killed_at - 2 <= found.outages[0].began <= time.time()
            late = Pulse(shown)
            began = time.monotonic()
            await late.start()
            assert time.monotonic() - began < 8  # it asks twice
            assert not late.reading().well
            assert late.reading().sessions is None
            server.start()
            back_at = time.time()
            found = await read(pulse, lambda found: found.well)
            assert killed_at - 2 <= found.outages[0].began < back_at
            assert (found.outages[0].ended or 0) >= back_at - 3
            await read(late, lambda found: found.well and found.sessions is not None)
            before = total(pulse.reading())
            session_id = await _again(lambda: visitors.create_session(data={"n": 0}))
            await read(pulse, lambda found: total(found)[0] == before[0] + 1)
            give_up = time.monotonic() + 10
            while total(pulse.reading())[2] == before[2]:  # what is committed before the feed is back is not counted
                assert time.monotonic() < give_up
                await _again(lambda: visitors.update(session_id, "n", lambda n: n + 1))
                await asyncio.sleep(0.1)
            await read(late, lambda found: total(found)[0] >= 1)
            server.hang()
            await read(pulse, lambda found: not found.well)
            server.go_on()
            found = await read(pulse, lambda found: found.well)
            assert len(found.outages) == 2
            await late.stop()
            await pulse.stop()


async def _again(operation: Callable[[], Any]) -> Any:
    """The operation, tried until the store is there."""
    give_up = time.monotonic() + 10
    while True:
        try:
            return await operation()
        except StoreError:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.1)


async def test_a_manager_that_is_closed() -> None:
    """When the manager is closed the pulse works no more, and stopping it is still allowed."""
    shown = AsyncSessionManager()
    pulse = Pulse(shown)
    await pulse.start()
    await shown.close()
    give_up = time.monotonic() + 10
    while not all(task.done() for task in pulse._tasks):
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)
    assert not pulse.reading().well
    await pulse.stop()


async def test_the_board_is_no_session(near: str) -> None:
    """The record in which processes report is counted nowhere: not among the sessions, those that begin, the commits
    and what changed."""
    async with two(near, config=SessionConfig(deadline=10, record_changes=True)) as (shown, visitors):
        pulse = Pulse(shown)
        await pulse.start()
        assert await shown.store.load(HANDLE) is not None
        pulse._asked_at = None
        await pulse._probe()
        await asyncio.sleep(0.3)
        found = await read(pulse, lambda found: found.sessions == 0)
        assert total(found) == (0, {}, 0)
        assert [change.kind for change in (await shown.changes())[1]] == ["created"]
        await visitors.end_sessions()  # and with them the board
        await read(pulse, lambda found: found.sessions == 0)
        await pulse._probe()
        assert await shown.store.load(HANDLE) is not None
        assert total(pulse.reading()) == (0, {}, 0)
        assert Counter(shown.counts) == {}
        await pulse.stop()
