"""The check: it keeps what it promises on our stores, and it finds a store that breaks a promise."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sojourn import SessionManager, StoreUnavailable, check
from sojourn.check import Bench, Result, surviving
from sojourn.cli import main
from sojourn.policy import touched
from sojourn.record import Committed, Record, replace
from sojourn.store import Store
from sojourn.stores.memory import MemoryStore

WRITING = {"disjoint-writes", "nested-appends", "exact-counter", "async-tasks"}
ENDING = {"logout-beats-writer", "logout-beats-reader", "rotation", "login-cuts-off", "expiry"}


class Broken:
    """A store that is as good as the one inside, but for what a subclass breaks."""

    breaks: frozenset[str]

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.seen: dict[str, Record] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def load(self, handle: str) -> Record | None:
        record = await self.inner.load(handle)
        if record is not None:
            self.seen[handle] = record
        return record


class WritesAnyway(Broken):
    """A commit replaces whatever is there, as a store without compare-and-set does."""

    breaks = frozenset(WRITING | {"logout-beats-writer", "login-cuts-off"})

    async def commit(self, base: Record, wanted: Record, now: float, **options: Any) -> Any:
        current = await self.inner.load(wanted.handle)
        if current is None:
            return await self.inner.create(wanted, now)
        return await self.inner.commit(current, wanted, now, **options)


class RevivesByReading(Broken):
    """A touch puts the whole record back, as libraries do that save after each request."""

    breaks = frozenset({"logout-beats-reader"})

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        if not await self.inner.touch(handle, generation, at, now):
            await self.inner.create(self.seen[handle], now)
        return True


class KeepsTheOldSecret(Broken):
    """Rotation changes nothing."""

    breaks = frozenset({"rotation", "login-cuts-off"})

    async def commit(self, base: Record, wanted: Record, now: float, **options: Any) -> Any:
        return await self.inner.commit(base, replace(wanted, secret_digest=base.secret_digest), now, **options)


class ForgetsGenerations(Broken):
    """A sign-in cuts nothing off."""

    breaks = frozenset({"login-cuts-off"})

    async def commit(self, base: Record, wanted: Record, now: float, **options: Any) -> Any:
        return await self.inner.commit(base, replace(wanted, generation=base.generation), now, **options)


class NeverExpires(Broken):
    """Every load counts as activity."""

    breaks = frozenset({"expiry"})

    async def load(self, handle: str) -> Record | None:
        record = await super().load(handle)
        return None if record is None else touched(record, time.time())


class ExpiresEarly(Broken):
    """Sessions die at half of their time."""

    breaks = frozenset({"expiry"})

    async def load(self, handle: str) -> Record | None:
        record = await super().load(handle)
        return None if record is None else replace(record, idle_timeout=record.idle_timeout / 2)


class LosesCommits(Broken):
    """One commit in three is acknowledged and forgotten."""

    breaks = frozenset(WRITING)
    count = 0

    async def commit(self, base: Record, wanted: Record, now: float, **options: Any) -> Any:
        self.count += 1
        return await self.inner.commit(base, wanted, now, **options) if self.count % 3 else Committed(wanted)


class EndsNothing(Broken):
    """An end is acknowledged and not made."""

    breaks = frozenset({"logout-beats-writer", "logout-beats-reader", "tidiness"})

    async def end(self, handles: Any, reason: Any, now: float) -> tuple[()]:
        return ()


class IsDown(Broken):
    """Nothing can be created."""

    breaks = frozenset(WRITING | ENDING)

    async def create(self, record: Record, now: float, cap: Any = None) -> Any:
        raise StoreUnavailable("the disk is full")


class KnowsOfDamage(Broken):
    """Its own verification finds something."""

    breaks = frozenset({"integrity"})

    async def verify(self) -> list[str]:
        return ["page 7 is torn"]


def battery(make: Callable[[], Any], names: frozenset[str] | None = None) -> dict[str, Result]:
    """The results by name, of the whole battery or of some promises."""
    bench = Bench(lambda world: make())
    try:
        if names is None:
            found = check.run(bench)
        else:
            found = [check.keep(promise, bench) for promise in check.promises_for(bench) if promise.name in names]
    finally:
        bench.close()
    return {result.name: result for result in found}


@pytest.mark.parametrize("broken", Broken.__subclasses__())
def test_a_broken_promise_is_found(broken: type[Broken]) -> None:
    """A store that breaks a promise is told so, promise by promise, with what went wrong."""
    found = battery(broken, broken.breaks)
    assert found.keys() == broken.breaks
    assert {name for name, result in found.items() if result.kept is False} == broken.breaks
    assert all(result.problem for result in found.values())


def test_a_broken_promise_spoils_no_other() -> None:
    """What one promise broke does not colour the verdict on the next."""
    found = battery(KeepsTheOldSecret)
    assert {name for name, result in found.items() if result.kept is False} == KeepsTheOldSecret.breaks


def test_memory_keeps_all_and_does_not_promise_survival() -> None:
    """The memory store keeps its promises, and is not blamed for what it never promised."""
    found = battery(MemoryStore)
    assert {result.kept for name, result in found.items() if name != "durability"} == {True}
    assert (found["durability"].kept, found["durability"].figures) == (None, "not promised: memory")
    assert found["disjoint-writes"].figures == "100 of 100 kept"


# --- On a SQLite file that is in use -------------------------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[str, SessionManager, list[str]]]:
    """A store with sessions in it that are none of the check's business."""
    url = f"sqlite:///{tmp_path / 'live.db'}"
    with SessionManager(url) as sessions:
        yield url, sessions, [sessions.create_session(f"user{n}", {"n": n}) for n in range(5)]


def ran(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["check", *argv])
    return code, capsys.readouterr().out


def test_sqlite_in_use(
    live: tuple[str, SessionManager, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a file that is in use every promise is kept, live sessions are left alone, and nothing stays behind."""
    url, sessions, ids = live
    before, files = sessions.list_sessions(), {path.name for path in tmp_path.iterdir()}
    code, out = ran(capsys, url, "--json")
    document = json.loads(out)
    assert (code, document["kept"], document["durability"], document["note"]) == (0, True, "power", "")
    names = [row["name"] for row in document["promises"]]
    assert set(names) == WRITING | ENDING | {"durability", "integrity", "tidiness"}
    assert all(row["kept"] is True for row in document["promises"])
    assert all(row.keys() == set(Result.__struct_fields__) for row in document["promises"])
    assert sessions.list_sessions() == before
    assert [sessions.get_session(session_id) for session_id in ids] == [{"n": n} for n in range(5)]
    assert {path.name for path in tmp_path.iterdir()} == files


def test_a_new_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there yet is not made: it is tried beside its place, which is left as it was."""
    url = f"sqlite:///{tmp_path / 'new.db'}?durability=process"
    code, out = ran(capsys, url)
    assert code == 0
    assert "All 12 promises kept" in out
    assert "(process)" in out
    assert "not there yet" in out
    assert list(tmp_path.iterdir()) == []


def test_a_place_without_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the folder is missing, too, that is told in a line."""
    assert main(["check", f"sqlite:///{tmp_path / 'no' / 'new.db'}"]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "cannot be created" in captured.err


def test_the_table_of_a_broken_store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken promise is a cross, its problem is told, and the exit code is 1."""
    monkeypatch.setattr(Bench, "at", lambda url: Bench(lambda world: KeepsTheOldSecret()))
    code, out = ran(capsys, "memory://")
    assert code == 1
    assert out.count("✗") == 2
    assert out.count("✓") == 8
    assert "an old id still opens its session" in out
    assert "2 of 10 promises broken" in out


def test_an_interrupted_check_cleans_up(live: tuple[str, SessionManager, list[str]]) -> None:
    """Whoever stops the check half way finds nothing of it in the store."""
    url, sessions, ids = live
    bench, begun = Bench.at(url), []

    def starting(promise: object) -> None:
        begun.append(promise)
        if len(begun) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check.run(bench, starting)
    bench.close()
    assert len(bench.handles) >= 3
    assert sessions.stats().sessions == len(ids)


# --- Durability can be seen to fail --------------------------------------------------------------------------------

LIAR = """
import sys
for number in range(1000):
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
sys.stdin.read()
"""
QUITTER = "print(0); print('StoreUnavailable: the disk is full')"
SILENT = "import time; time.sleep(60)"


@pytest.mark.parametrize(
    ("program", "says"), [(LIAR, "missing"), (QUITTER, "the disk is full"), (SILENT, "stopped by itself")]
)
def test_durability_can_fail(
    program: str, says: str, live: tuple[str, SessionManager, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes that were acknowledged and are not there, and a writer that gives up, break the promise."""
    monkeypatch.setattr(surviving, "WRITER", (sys.executable, "-c", program))
    if program == SILENT:  # the others are given the time that a busy machine takes to start them
        monkeypatch.setattr(surviving, "_GIVE_UP", 0.5)
    bench = Bench.at(live[0])
    try:
        result = check.keep(surviving.DURABILITY, bench)
    finally:
        bench.clear()
        bench.close()
    assert result.kept is False
    assert says in result.problem


def test_stores_are_still_stores() -> None:
    """The broken stores of these tests have all that a store has: it is their behaviour that is found out."""
    wanted = {name for name in vars(Store) if not name.startswith("_")}
    assert all(hasattr(broken(), name) for broken in Broken.__subclasses__() for name in wanted)
