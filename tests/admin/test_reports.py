"""What processes say of themselves reaches a dashboard in another one, while one asks, and no longer than they live."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from crowd import store_url
from pulsing import read

from servers.valkey import Valkey
from sojourn import AsyncSessionManager, SessionConfig, SessionManager, StoreError
from sojourn.admin import pulse as pulses
from sojourn.admin import reports
from sojourn.admin.pulse import Pulse
from sojourn.admin.reports import HANDLE, Board, Report, Seen, meter_of, report, reporting
from sojourn.stores.memory import MemoryStore
from worlds import PATIENT, Through

_PROCESS = """
import os, sys, time
from sojourn import SessionConfig, SessionManager, StoreError
from sojourn.admin import reports
reports.EVERY = 0.1
url, forks = sys.argv[1], len(sys.argv) > 2
sessions = SessionManager(url, config=SessionConfig(deadline=1))
reporting = reports.report(sessions, sockets=lambda: 3)
if forks and os.fork():
    os.wait()
    os._exit(0)
session_id = sessions.create_session(data={"cart": {}})
for number in range(5):
    with sessions.session(session_id) as one, sessions.session(session_id) as other:
        one["cart"]["a"] = number
        other["cart"]["b"] = number
sessions.get_session("no id")
print("done", flush=True)
sys.stdin.readline()
if forks:
    os._exit(0)
reporting.stop()
sessions.close()
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done every few seconds is done more often."""
    monkeypatch.setattr(reports, "EVERY", 0.1)
    monkeypatch.setattr(pulses, "_PROBE", 0.1)
    monkeypatch.setattr(pulses, "_ASK", 0.3)
    monkeypatch.setattr(pulses, "_GONE", 1.0)


@pytest.fixture(params=["sqlite", "valkey", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Sessions that several processes share."""
    return store_url(request, request.param, tmp_path)


@contextmanager
def process(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that serves sessions, and has done what it does."""
    command = [sys.executable, "-c", _PROCESS, url, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout is not None
            assert one.stdout.readline() == "done\n"
            yield one
        finally:
            one.kill()


@pytest.mark.battery
async def test_another_process_is_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process counts, how long its loads and commits take and how many sockets it has are in the overview
    soon after that is opened. When it is killed it is not counted any more, what it has counted stays, and what it left
    in the store is taken away; one that stops takes that away by itself."""
    with process(url) as killed, process(url) as stopped:
        async with AsyncSessionManager(url) as shown:
            pulse = Pulse(shown)
            await pulse.start()
            found = await read(pulse, lambda found: found.processes == 2)
            assert (found.merged, found.conflicts, found.refused, found.unavailable) == (10, 10, 2, 0)
            assert found.sockets == 6
            killed.send_signal(signal.SIGKILL)
            found = await read(pulse, lambda found: found.processes == 1)
            assert (found.merged, found.refused, found.sockets) == (10, 2, 3)
            monkeypatch.setattr(pulses, "_BURIED", 1.0)
            stopped.communicate("\n")
            assert stopped.returncode == 0
            found = await read(pulse, lambda found: found.processes == 0)
            assert (found.merged, found.refused, found.sockets) == (10, 2, None)
            board = Board(shown)

            async def fields() -> dict[str, Any]:
                record = await board.load()
                assert record is not None
                return board.read(record, "says:")

            give_up = time.monotonic() + 10
            while await fields():
                assert time.monotonic() < give_up, "the dead are still there"
                await asyncio.sleep(0.05)
            await pulse.stop()


async def test_latencies_of_another_process() -> None:
    """The latencies that are shown are those of the processes' own loads and commits, as long as they are made."""
    store = Through(MemoryStore())

    async def slow(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0.05)

    async with AsyncSessionManager(store) as served, AsyncSessionManager(store.store) as shown:
        one = report(served)
        pulse = Pulse(shown)
        await pulse.start()
        session_id = await served.create_session()
        await read(pulse, lambda found: found.processes == 1)
        assert "dashboard" in pulse.reading().latency_source
        store.before["load"] = slow
        for number in range(10):
            await served.update(session_id, "n", lambda _, number=number: number)
        found = await read(pulse, lambda found: "loads and commits of one process" in found.latency_source)
        assert 0.04 < (found.latency_p99 or 0) < 5
        await pulse.stop()
        await one.stopped()


async def _turns(store: Through, number: int) -> None:
    """Wait until a process has looked at the board so often."""
    give_up = time.monotonic() + 10
    while store.calls.count("load") < number:
        assert time.monotonic() < give_up, "nobody looks"
        await asyncio.sleep(0.02)


async def test_while_nobody_asks() -> None:
    """While no dashboard is open a process looks whether one is, now and then; it writes nothing and measures nothing.
    The same when one was open, and was closed or died."""
    store = Through(MemoryStore())
    async with AsyncSessionManager(store) as served, AsyncSessionManager(store.store) as shown:
        one = report(served)
        assert report(served) is one
        assert reporting(served) is one
        meter = meter_of(served)
        await _turns(store, 3)
        assert set(store.calls) == {"load"}
        assert not meter.in_use
        pulse = Pulse(shown)
        await pulse.start()
        await read(pulse, lambda found: found.processes == 1)
        assert meter.in_use
        await pulse.stop()
        board = Board(shown)
        give_up = time.monotonic() + 10
        while (record := await board.load()) is None or record.fields:
            assert time.monotonic() < give_up, "something is left"
            await asyncio.sleep(0.02)
        assert not meter.in_use
        store.calls.clear()
        await _turns(store, 3)
        assert set(store.calls) == {"load"}
        await one.stopped()
        assert reporting(served) is None


@pytest.mark.battery
async def test_a_dashboard_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dashboard that was killed has asked for a while only."""
    monkeypatch.setattr(reports, "_ASKED_FOR", 0.5)
    store = Through(MemoryStore())
    async with AsyncSessionManager(store) as served, AsyncSessionManager(store.store) as shown:
        board = Board(shown)
        await board.make()
        record = await board.load()
        assert record is not None
        await board.put(record, {"asks:died": 7})
        one = report(served)
        give_up = time.monotonic() + 10
        while not store.writes or (record := await board.load()) is None or set(record.fields) != {"asks:died"}:
            assert time.monotonic() < give_up, "it is still asked"
            await asyncio.sleep(0.02)
        store.calls.clear()
        await _turns(store, 4)
        assert store.writes == []
        record = await board.load()
        assert record is not None
        assert set(record.fields) == {"asks:died"}
        await one.stopped()


async def test_two_dashboards_and_a_reader_of_the_same_process() -> None:
    """Each dashboard sees each process, once; one in a process that reports counts that once, too. When one of them is
    closed, the other is still told."""
    async with AsyncSessionManager() as served, AsyncSessionManager(served.store) as other:
        both = [report(served, sockets=lambda: 1), report(other)]
        mounted, apart = Pulse(served, (served,)), Pulse(AsyncSessionManager(served.store))
        await mounted.start()
        await apart.start()
        await served.get_session("no id")
        for pulse in (mounted, apart):
            found = await read(pulse, lambda found: found.processes == 2 and found.refused)
            assert (found.refused, found.sockets) == (1, 1)
        await mounted.stop()
        await served.get_session("no id")
        await read(apart, lambda found: found.refused == 2)
        await mounted.start()
        await read(mounted, lambda found: found.processes == 2 and found.refused == 2)
        await apart.stop()
        await mounted.stop()
        for one in both:
            await one.stopped()


def test_a_blocking_manager() -> None:
    """A blocking manager reports in a thread of its own, which ends when it is told to, and when the manager is
    closed."""
    before = set(threading.enumerate())
    sessions = SessionManager()
    one = report(sessions)
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"sojourn-report"}
    one.stop()
    one.stop()
    assert set(threading.enumerate()) <= before  # one of before may have ended meanwhile
    again = report(sessions)
    assert again is not one
    sessions.close()
    give_up = time.monotonic() + 10
    while not set(threading.enumerate()) <= before:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    assert reporting(sessions.engine) is None


@pytest.mark.battery
async def test_a_process_that_forks(tmp_path: Path) -> None:
    """Where a manager reports already when its process forks, as in a server that loads the application first, each
    child reports under a name of its own."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    with process(url, "forks"):
        async with AsyncSessionManager(url) as shown:
            pulse = Pulse(shown)
            await pulse.start()
            found = await read(pulse, lambda found: found.processes == 2)  # parent and child
            assert found.refused == 1
            await pulse.stop()


@pytest.mark.battery
@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_an_outage_that_only_another_process_saw(how: str) -> None:
    """An outage of the store that another process saw is told when that can report again, by how long ago it was."""
    with Valkey() as server, process(server.url()):
        await asyncio.sleep(0.3)
        began = time.time()
        if how == "killed":
            server.kill()
            await asyncio.sleep(2.5)  # longer than the other process waits
            server.start()
        else:
            server.hang()
            await asyncio.sleep(2.5)
            server.go_on()
        ended = time.time()
        async with AsyncSessionManager(server.url(), config=PATIENT) as shown:
            pulse = Pulse(shown)
            await pulse.start()
            found = await read(pulse, lambda found: found.outages)
            outage = found.outages[0]
            assert began - 1 <= outage.began <= ended
            assert outage.ended is not None
            assert ended - 1 <= outage.ended <= time.time()
            assert outage.why
            assert found.well
            await pulse.stop()


# --- What is on the board ---------------------------------------------------------------------------------------------


def test_a_report_is_a_value() -> None:
    """A report is read as it was written."""
    one = Report(number=3, counts={"commits": 5}, took={-80: 2, 4: 1}, outages=[Seen(5.0, 1.5, "no")], sockets=None)
    assert Report.unpacked(one.packed()) == one
    assert [(outage.began, outage.ended) for outage in one.outages_at(100.0)] == [(95.0, 96.5)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        {},
        {"number": 1},
        {"number": "1", "counts": {}, "took": [], "outages": []},
        {"number": 1, "counts": {"commits": "many"}, "took": [], "outages": []},
        {"number": 1, "counts": {}, "took": [[1]], "outages": []},
        {"number": 1, "counts": {}, "took": 5, "outages": []},
        {"number": 1, "counts": {}, "took": [], "outages": [{"ago": None}]},
        {1: 2},
    ],
    ids=range(10),
)
async def test_what_is_no_report(value: object) -> None:
    """What is no report, or one of another version, is passed over, and the others count."""
    assert Report.unpacked(value) is None
    async with AsyncSessionManager() as served, AsyncSessionManager(served.store) as shown:
        pulse = Pulse(shown)
        await pulse.start()
        board = Board(shown)
        record = await board.load()
        assert record is not None
        await board.put(record, {"says:other": value} if value is not None else {"says:other": [None]})
        one = report(served)
        found = await read(pulse, lambda found: found.processes == 1)
        assert found.merged == 0
        await one.stopped()
        await pulse.stop()


async def test_the_board_can_end() -> None:
    """When somebody ends all sessions, the board is made anew and the process goes on to report."""
    async with AsyncSessionManager() as served, AsyncSessionManager(served.store) as shown:
        one, pulse = report(served), Pulse(shown)
        await pulse.start()
        await read(pulse, lambda found: found.processes == 1)
        await shown.end_sessions()
        await read(pulse, lambda found: found.processes == 0)
        await served.get_session("no id")
        await read(pulse, lambda found: found.processes == 1 and found.refused == 1)
        await one.stopped()
        await pulse.stop()


async def test_the_board_is_in_no_count() -> None:
    """A process that does nothing but report has counted nothing, told nobody anything, and left nothing in the
    history but that the board began."""
    config = SessionConfig(record_changes=True)
    async with (
        AsyncSessionManager(config=config) as served,
        AsyncSessionManager(served.store, config=config) as shown,
    ):
        one, pulse = report(served), Pulse(shown)
        await pulse.start()
        await read(pulse, lambda found: found.processes == 1)
        await asyncio.sleep(0.5)
        assert dict(served.counts) == dict(shown.counts) == {}
        assert [(change.kind, change.handle) for change in (await shown.changes())[1]] == [("created", HANDLE)]
        await one.stopped()
        await pulse.stop()


async def test_a_store_that_fails_a_process() -> None:
    """Whatever the store does to a process that reports, that raises nothing and goes on."""
    store = Through(MemoryStore())

    failed: list[str] = []

    async def fails(*_: Any, **__: Any) -> None:
        failed.append("it is not there")
        raise StoreError(failed[-1])

    async with AsyncSessionManager(store) as served, AsyncSessionManager(store.store) as shown:
        one, pulse = report(served), Pulse(shown)
        await pulse.start()
        await read(pulse, lambda found: found.processes == 1)
        for operation in ("load", "commit"):
            failed.clear()
            store.before = {operation: fails}
            give_up = time.monotonic() + 10
            while len(failed) < 2:
                assert time.monotonic() < give_up, "it does not report"
                await asyncio.sleep(0.02)
            store.before = {}
            served.counts["refused"] += 1
            await read(pulse, lambda found: found.refused == served.counts["refused"])
        found = pulse.reading()
        assert [outage.why for outage in found.outages][-1] == "it is not there"
        await one.stopped()
        await pulse.stop()


async def test_a_meter_keeps_no_manager() -> None:
    """A meter that was asked for keeps its manager from nothing: two may ask, and the last one to leave stops it."""
    async with AsyncSessionManager() as served:
        meter, load = meter_of(served), served._load
        assert meter_of(served) is meter
        meter.begin()
        meter.begin()
        meter.end()
        session_id = await served.create_session(data={"n": 0})
        await served.update(session_id, "n", lambda n: n + 1)
        assert sum(meter.took.values()) == 2  # a load and a commit
        meter.end()
        await served.get_session(session_id)
        assert sum(meter.took.values()) == 2
        assert served._load == load


async def test_what_a_dead_process_left() -> None:
    """What one has left on the board that died before a dashboard was opened counts for nothing, and is taken away."""
    async with AsyncSessionManager() as shown:
        board = Board(shown)
        await board.make()
        record = await board.load()
        assert record is not None
        left = Report(number=7, counts={"merged": 5}, took={-30: 9}, outages=[], sockets=4)
        await board.put(record, {"says:dead": left.packed()})
        pulse = Pulse(shown)
        await pulse.start()
        await asyncio.sleep(0.3)
        found = pulse.reading()
        assert (found.processes, found.merged, found.sockets) == (0, 0, None)
        assert "dashboard" in found.latency_source
        pulse._processes["dead"].changed_at -= 100
        give_up = time.monotonic() + 10
        while (record := await board.load()) is not None and "says:dead" in record.fields:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.02)
        await pulse.stop()
