"""A `SessionStore` in a file, when the processes that use it are killed, and when several use it at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from sojourn import SessionStatus, SessionStore, SessionStoreConfig, StorageError

WRITER = Path(__file__).with_name("dictwriter.py")
KILLS, KILLS_QUICK = 60, 8


@contextmanager
def child(path: Path, job: str, argument: object) -> Iterator[subprocess.Popen[str]]:
    """A process at a job, gone when the block is over."""
    command = [sys.executable, str(WRITER), str(path), job, str(argument)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert hear(process) == "ready"
    process.stdin.write("go\n")
    process.stdin.flush()


def opened(path: Path) -> SessionStore:
    return SessionStore(SessionStoreConfig(persistence_path=path, backup_interval=None, cleanup_interval=None))


def _kill_again_and_again(path: Path, kills: int) -> None:
    random = Random(6)
    last = [0, 0, 0]
    told = 0
    snapshot = path.with_name(f"{path.name}.snapshot.json")
    for _ in range(kills):
        with child(path, "write", max(last)) as process:
            lines = [hear(process)]
            time.sleep(random.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            lines += [line for line in process.stdout.read().splitlines() if line]
        acknowledged: dict[tuple[int, int], int] = {}
        for line in lines:
            mine, number = map(int, line.split())
            acknowledged[mine, number % 40] = number
            last[mine] = number
        told += len(lines)
        with opened(path) as store:
            for (mine, place), number in acknowledged.items():
                found = store[mine, place]
                assert len(found) == 50, "it is torn"
                assert len(set(found)) == 1, "it is torn"
                assert found[0] in (number, last[mine] + 1), "an acknowledged set is lost"
            assert len(store) == len(list(store))
        if snapshot.exists():
            assert json.loads(snapshot.read_text())["format"], "a snapshot is torn"
    print(f"{told} acknowledged sets in {kills} processes")
    assert told > kills


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A process is killed while three of its threads set and its fourth writes snapshots: each `set` that returned is
    in the file, whole, and so is the snapshot."""
    _kill_again_and_again(tmp_path / "sessions.db", KILLS_QUICK)


@pytest.mark.battery
@pytest.mark.soak
def test_sixty_killed_processes_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The same, more often."""
    _kill_again_and_again(tmp_path / "sessions.db", KILLS)


def test_the_lock_of_a_killed_process_keeps_others_out_until_it_runs_out(tmp_path: Path) -> None:
    """Another process finds the entry locked, cannot unlock it, and gets it with a greater fence when the time is
    over."""
    path = tmp_path / "sessions.db"
    with opened(path) as store:
        store.set("n", 1)
        with child(path, "hold", 4) as process:
            fence = int(hear(process))
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert store.get_status("n") is SessionStatus.LOCKED
        assert store.lock("n") is False
        assert store.unlock("n") is False
        with pytest.raises(StorageError, match="locked"):
            store.set("n", 2)
        until = time.monotonic() + 20
        while not store.lock("n", 10) and time.monotonic() < until:
            time.sleep(0.02)
        assert store.unlock("n")
        with store.locked("n") as entry:
            assert entry.fence > fence
            assert entry.value == 1


def test_processes_that_count_under_a_lock_lose_no_step(tmp_path: Path) -> None:
    """Three processes count to 90 under a lock, and no two of their locks have the same fence."""
    path = tmp_path / "sessions.db"
    with opened(path) as store:
        store.set("n", 0)
        with child(path, "count", 30) as one, child(path, "count", 30) as two, child(path, "count", 30) as three:
            for process in (one, two, three):
                go(process)
            fences = [hear(process) for process in (one, two, three) for _ in range(30)]
        assert store["n"] == 90
        assert len(set(fences)) == 90


def test_of_processes_that_pop_one_gets_it(tmp_path: Path) -> None:
    """What is popped by two processes at once is got by one of them, each time."""
    path = tmp_path / "sessions.db"
    with opened(path) as store:
        store.update(dict.fromkeys(range(40), "value"))
        with child(path, "pop", 40) as one, child(path, "pop", 40) as two:
            go(one)
            go(two)
            got = [line for process in (one, two) for line in process.stdout.read().split()]  # type: ignore[union-attr]
        assert sorted(map(int, got)) == list(range(40))
        assert len(store) == 0


def test_the_bound_holds_for_processes_that_fill_a_file_together(tmp_path: Path) -> None:
    """Three processes set 90 new keys each, where 200 fit: when they are done there are 200, the newest of each,
    whoever was first."""
    path = tmp_path / "sessions.db"
    with opened(path) as store:
        with child(path, "fill", 90) as one, child(path, "fill", 90) as two, child(path, "fill", 90) as three:
            for process in (one, two, three):
                go(process)
            for process in (one, two, three):
                assert process.wait(timeout=60) == 0
            last = {(process.pid, 89) for process in (one, two, three)}
        assert len(store) == len(list(store)) == 200
        assert last <= set(store)
