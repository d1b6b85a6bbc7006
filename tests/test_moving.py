"""Copying between stores: what becomes of each session, and that nothing is lost, doubled or brought back to life."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sojourn import (
    AsyncSessionManager,
    ConfigurationError,
    Handle,
    OutcomeUnknown,
    SessionConfig,
    StoreUnavailable,
    bulk,
    open_store,
)
from sojourn.moving import MARK, Copying, Decision, copied, decide, is_untouched
from sojourn.record import Committed, Outcome, Record, Refused, replace
from sojourn.stores.memory import MemoryStore

NOW = 1_800_000_000.0
IDLE = 1860.0  # seconds after which a session of these tests has run out


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PAUSES", (0.001, 0.001, 0.001))


class Clock:
    """The time, set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Move:
    """A site that is to move from one store to another."""

    def __init__(self, source: Any = None, target: Any = None) -> None:
        self.source = source or MemoryStore()
        self.target = target or MemoryStore()
        self.clock = Clock()
        self.before = AsyncSessionManager(self.source, clock=self.clock)
        self.after = AsyncSessionManager(self.target, clock=self.clock)

    async def copy(self, **settings: Any) -> Copying:
        copying = Copying(self.source, self.target, clock=self.clock, **settings)
        await copying.run()
        return copying


@pytest.fixture
def move() -> Move:
    return Move()


def handle_of(session_id: str) -> Handle:
    return Handle(session_id.partition(".")[0])


def counts(copying: Copying) -> dict[str, int]:
    """What it did, without the zeros."""
    told = {
        "created": copying.created,
        "there": copying.there,
        "renewed": copying.renewed,
        "ended": copying.ended,
        "both": len(copying.both),
        "failed": len(copying.failed),
    }
    return {name: number for name, number in told.items() if number}


async def write(manager: AsyncSessionManager, session_id: str, **fields: Any) -> None:
    async with manager.session(session_id) as session:
        session.update(fields)


# --- Decisions -------------------------------------------------------------------------------------------------------


def version(number: int) -> bytes:
    return number.to_bytes(8, "big")


def at(*versions: int, **changes: Any) -> Record:
    """A session of these versions, the newest first."""
    made = Record(
        handle="h" * 22,
        secret_digest=bytes(32),
        versions=b"".join(map(version, versions)),
        user_id=None,
        created_at=NOW,
        authenticated_at=NOW,
        rotated_at=NOW,
        accessed_at=NOW,
        idle_timeout=1800.0,
        touch_interval=60.0,
        ends_at=NOW + 86400,
        size=0,
        fields={},
    )
    return replace(made, **changes)


def touched_copy(*versions: int, **changes: Any) -> Record:
    """A copy, and commits in the target after it, the newest first."""
    made = at(*versions, **changes)
    return replace(made, versions=made.versions + MARK)


@pytest.mark.parametrize(
    ("source", "target", "decision"),
    [
        (at(1), None, "create"),
        (at(2, 1), copied(at(2, 1)), "nothing"),
        (at(2, 1), at(2, 1), "nothing"),
        (at(3, 2, 1), copied(at(2, 1)), "renew"),
        (at(*range(40, 24, -1)), copied(at(2, 1)), "renew"),
        (at(3, 2, 1), at(2, 1), "renew"),
        (at(1), touched_copy(2, 1), "leave"),
        (at(*range(15, 0, -1)), touched_copy(20, *range(15, 1, -1)), "leave"),
        (at(3, 1), touched_copy(2, 1), "both"),
        (at(3, 1), touched_copy(*range(40, 24, -1)), "both"),
        (at(3, 1), at(2, 1), "both"),
        (at(1, accessed_at=NOW + 60), copied(at(1)), "touch"),
        (at(1), copied(at(1, accessed_at=NOW + 60)), "nothing"),
        (at(1, fence=2), copied(at(1, fence=1)), "renew"),
        (at(1, fence=1), copied(at(1, fence=2)), "nothing"),
        (at(1, accessed_at=NOW), copied(at(1, accessed_at=NOW - IDLE)), "revive"),
        (at(2, 1, accessed_at=NOW), copied(at(1, accessed_at=NOW - IDLE)), "revive"),
        (at(1, accessed_at=NOW), touched_copy(2, 1, accessed_at=NOW - IDLE), "leave"),
        (at(3, 1, accessed_at=NOW), touched_copy(2, 1, accessed_at=NOW - IDLE), "both"),
    ],
)
def test_decisions(source: Record, target: Record | None, decision: Decision) -> None:
    """What becomes of a session follows from its two records: the newer one stands, and of two that have both gone on,
    the target's."""
    assert decide(source, target, NOW) == decision


def test_a_copy_is_told_at_sight() -> None:
    """A copy is untouched until somebody commits to it, and is no one's lease."""
    copy = copied(at(2, 1, fence=5, leased_until=NOW + 10))
    assert (copy.version, copy.versions[8:], copy.fence, copy.leased_until) == (version(2), MARK, 5, 0.0)
    assert is_untouched(copy)
    assert is_untouched(copied(copy))
    assert not any(map(is_untouched, (at(1), at(2, 1), touched_copy(3, 2))))
    assert len(MARK) == 8
    assert not MARK.endswith(b"\0")  # a store may fill up with those


# --- What is copied --------------------------------------------------------------------------------------------------


async def test_ids_hold(move: Move) -> None:
    """Everything of a session is in the target, and its id opens it there."""
    settings = {"label": "Firefox", "idle_timeout": 600, "absolute_timeout": 9000, "persistent": True}
    session_id = await move.before.create_session("ada", {"cart": ["apple"], "set": {1, 2}}, **settings)
    anonymous = await move.before.create_session()
    assert counts(await move.copy()) == {"created": 2}
    assert await move.after.get_session(session_id) == {"cart": ["apple"], "set": {1, 2}}
    assert await move.after.get_session(anonymous) == {}
    source, target = [await store.load(handle_of(session_id)) for store in (move.source, move.target)]
    assert replace(source, versions=b"") == replace(target, versions=b"")
    assert await move.after.list_sessions("ada") == await move.before.list_sessions("ada")
    assert await move.after.end_user_sessions("ada") == 1


async def test_the_second_run_finds_nothing_to_do(move: Move) -> None:
    """What is there already is left alone, at one walk."""
    for _ in range(30):
        await move.before.create_session()
    assert (await move.copy()).passes == 2
    again = await move.copy()
    assert (counts(again), again.passes) == ({"there": 30}, 1)


async def test_the_dead_are_not_copied(move: Move) -> None:
    """A session that has run out stays where it is."""
    await move.before.create_session()
    move.clock.now += IDLE
    living = await move.before.create_session()
    copying = await move.copy()
    assert (counts(copying), copying.total) == ({"created": 1}, 2)
    assert await move.after.is_session_active(living)


async def test_what_changed_is_renewed(move: Move) -> None:
    """What was written, rotated and signed in since is brought, under the id that is good now."""
    written, rotated, signed_in = [await move.before.create_session(data={"n": 0}) for _ in range(3)]
    await move.copy()
    await write(move.before, written, n=1)
    new_rotated = await move.before.rotate(rotated)
    new_signed_in = await move.before.login(signed_in, "ada")
    assert counts(await move.copy()) == {"renewed": 3}
    assert await move.after.get_session(written) == {"n": 1}
    for old, new in ((rotated, new_rotated), (signed_in, new_signed_in)):
        assert not await move.after.is_session_active(old)
        assert await move.after.is_session_active(new)
    assert [row.handle for row in await move.after.list_sessions("ada")] == [handle_of(signed_in)]


async def test_very_many_changes(move: Move) -> None:
    """A session is renewed also after more commits than a record remembers."""
    session_id = await move.before.create_session(data={"n": 0})
    await move.copy()
    for number in range(40):
        await write(move.before, session_id, n=number)
    assert counts(await move.copy()) == {"renewed": 1}
    assert await move.after.get_session(session_id) == {"n": 39}


async def test_activity_is_brought(move: Move) -> None:
    """Activity in the source keeps the copy alive, and is no change."""
    session_id = await move.before.create_session()
    await move.copy()
    for _ in range(4):
        move.clock.now += IDLE / 2
        await move.before.get_session(session_id)
        assert counts(await move.copy()) == {"there": 1}
    assert await move.after.is_session_active(session_id)


async def test_a_copy_that_ran_out_is_revived(move: Move) -> None:
    """A copy that ran out while the session went on is made anew; one that was written to in the target is not."""
    session_id, written = [await move.before.create_session() for _ in range(2)]
    await move.copy()
    await write(move.after, written, n=1)
    for _ in range(4):
        move.clock.now += IDLE / 2
        await move.before.get_session(session_id)
        await move.before.get_session(written)
    assert counts(await move.copy()) == {"renewed": 1, "there": 1}
    assert await move.after.is_session_active(session_id)
    assert not await move.after.is_session_active(written)


async def test_leases_stay_behind(move: Move) -> None:
    """The lease of a session is nobody's in the target, and its number goes on growing there."""
    session_id = await move.before.create_session()
    await move.copy()
    async with move.before.exclusive(session_id) as session:
        first = session.fence
        assert counts(await move.copy()) == {"renewed": 1}
        async with move.after.exclusive(session_id, wait=0) as copy:
            assert copy.fence == first + 1


async def test_history_of_two_moves(move: Move) -> None:
    """A site that moved back and forth has each time what was newest."""
    session_id = await move.before.create_session(data={"n": 0})
    back = Move(move.target, move.source)
    back.clock = move.clock
    for number in range(1, 5):
        await move.copy()
        await write(move.after, session_id, n=number)
        assert counts(await back.copy()) == {"renewed": 1}
        assert await move.before.get_session(session_id) == {"n": number}
        await write(move.before, session_id, n=-number)


# --- What has ended --------------------------------------------------------------------------------------------------


async def reasons(store: MemoryStore) -> dict[str, str | None]:
    _, told = await store.changes(0, 1000)
    return {change.handle: change.reason for change in told if change.kind == "ended"}


async def test_what_ended_is_ended(move: Move) -> None:
    """A copy of what has ended since is ended, with the reason that the source tells."""
    left, revoked, other = [await move.before.create_session("ada") for _ in range(3)]
    await move.copy()
    await move.before.end_session(left)
    await move.before.end_user_sessions("ada", keep=other)
    assert counts(await move.copy()) == {"there": 1, "ended": 2}
    assert [await move.after.is_session_active(one) for one in (left, revoked, other)] == [False, False, True]
    assert await reasons(move.target) == {handle_of(left): "ended", handle_of(revoked): "revoked"}


async def test_what_no_history_tells(move: Move) -> None:
    """A copy of what is not in the source any more is ended also where the source's history says nothing of it."""
    session_id = await move.before.create_session()
    await move.copy()
    await move.before.end_session(session_id)
    move.source._history.clear()
    assert counts(await move.copy()) == {"ended": 1}
    assert await reasons(move.target) == {handle_of(session_id): "revoked"}


async def test_what_ran_out_has_its_own_deadline(move: Move) -> None:
    """What ran out in the source, and is in use in the target, lives there until its own deadline."""
    session_id = await move.before.create_session()
    await move.copy()
    move.clock.now += IDLE / 2
    await move.after.get_session(session_id)  # the site uses the target now
    move.clock.now += IDLE / 2 + 2
    assert await move.before.purge_expired() == 1
    assert counts(await move.copy()) == {}
    assert await move.after.is_session_active(session_id)


async def test_ended_there_and_written_here(move: Move) -> None:
    """What ended in the source is ended in the target also if it was written to there since it was copied; one that
    began in the target is none of the source's."""
    session_id = await move.before.create_session()
    await move.copy()
    await write(move.after, session_id, n=1)
    own = await move.after.create_session()
    await move.before.end_session(session_id)
    assert counts(await move.copy()) == {"ended": 1}
    assert not await move.after.is_session_active(session_id)
    assert await move.after.is_session_active(own)


async def test_other_sessions_of_the_target_stay(move: Move) -> None:
    """Sessions that are not copies are never ended, nor changed."""
    own = await move.after.create_session("ada", {"n": 1})
    await write(move.after, own, n=2)
    await move.before.create_session("ada")
    assert counts(await move.copy()) == {"created": 1}
    assert await move.after.get_session(own) == {"n": 2}


async def test_an_end_during_the_copy(move: Move) -> None:
    """What ends between the walk that copied it and the end of the command is not alive in the target."""
    session_ids = [await move.before.create_session() for _ in range(20)]
    ending = iter(session_ids[:5])

    class Busy(MemoryStore):
        async def load_many(self, handles: Sequence[str]) -> dict[str, Record]:
            for session_id in ending:
                await move.before.end_session(session_id)
            return await super().load_many(handles)

    move.target = Busy()
    copying = await move.copy()
    assert (copying.created, copying.ended) == (20, 5)
    assert {row.handle for row in await move.target.summaries(NOW)} == set(map(handle_of, session_ids[5:]))


# --- Both sides are written to ---------------------------------------------------------------------------------------


async def test_the_target_is_newer(move: Move) -> None:
    """What was written in the target since, and not in the source, stands."""
    session_id = await move.before.create_session(data={"n": 0})
    await move.copy()
    await write(move.after, session_id, n=1)
    assert counts(await move.copy()) == {"there": 1}
    assert await move.after.get_session(session_id) == {"n": 1}


async def test_changed_in_both(move: Move, caplog: pytest.LogCaptureFixture) -> None:
    """What was written in both stands as it is in the target, is counted once, and is named in the log."""
    session_id, other = [await move.before.create_session(data={"n": 0}) for _ in range(2)]
    await move.copy()
    await write(move.after, session_id, n=1)
    await write(move.before, session_id, n=2)
    await write(move.before, other, n=2)
    copying = await move.copy()
    assert counts(copying) == {"renewed": 1, "both": 1}
    assert copying.both == {handle_of(session_id)}
    assert await move.after.get_session(session_id) == {"n": 1}
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"session {handle_of(session_id)} has changed in both stores: the target's stays as it is"
    ]


@pytest.mark.parametrize("before", ["commit", "create", "touch"])
async def test_somebody_comes_between(before: str) -> None:
    """Who writes in the target between the decision and its writing is not overruled."""
    move = Move()
    session_id = await move.before.create_session(data={"n": 0})
    if before != "create":
        await move.copy()
        move.clock.now += 100
        if before == "commit":
            await write(move.before, session_id, n=1)
        else:
            await move.before.get_session(session_id)

    async def come() -> None:
        move.target.reach = {}
        if before == "create":
            record = await move.source.load(handle_of(session_id))
            await MemoryStore.create(move.target, copied(record), NOW)
        await write(move.after, session_id, n=5)

    store = move.target = Reached.over(move.target)
    move.after = AsyncSessionManager(store, clock=move.clock)
    store.reach = {before: come}
    copying = await move.copy()
    assert copying.both == ({handle_of(session_id)} if before == "commit" else set())
    assert await move.after.get_session(session_id) == {"n": 5}
    assert not copying.failed


class Reached(MemoryStore):
    """A store in whose operations a test reaches in: what `reach` has for one is done before it."""

    reach: dict[str, Callable[[], Any]]

    @classmethod
    def over(cls, store: MemoryStore) -> Reached:
        store.__class__ = cls
        store.reach = {}
        return store

    async def _reached(self, name: str) -> None:
        if name in self.reach:
            await self.reach[name]()

    async def create(self, *args: Any, **kwargs: Any) -> Committed | Refused:
        await self._reached("create")
        return await super().create(*args, **kwargs)

    async def commit(self, *args: Any, **kwargs: Any) -> Outcome:
        await self._reached("commit")
        return await super().commit(*args, **kwargs)

    async def touch(self, *args: Any, **kwargs: Any) -> bool:
        await self._reached("touch")
        return await super().touch(*args, **kwargs)

    async def load(self, handle: str) -> Record | None:
        await self._reached("load")
        return await super().load(handle)

    async def load_many(self, handles: Sequence[str]) -> dict[str, Record]:
        await self._reached("load_many")
        return await super().load_many(handles)

    async def walk(self) -> AsyncIterator[list[Record]]:
        async for page in super().walk():
            await self._reached("walk")
            yield page

    async def end(self, *args: Any, **kwargs: Any) -> Any:
        await self._reached("end")
        return await super().end(*args, **kwargs)


async def test_held_in_the_target(move: Move) -> None:
    """A session that somebody holds to himself in the target is not written over; it is told as not brought, and the
    next run brings it."""
    session_id = await move.before.create_session(data={"n": 0})
    await move.copy()
    await write(move.before, session_id, n=1)
    await move.target.lease(handle_of(session_id), 0, 10.0, move.clock())
    assert counts(await move.copy()) == {"failed": 1}
    assert await move.after.get_session(session_id) == {"n": 0}
    move.clock.now += 11
    assert counts(await move.copy()) == {"renewed": 1}
    assert await move.after.get_session(session_id) == {"n": 1}


async def test_a_busy_source(move: Move) -> None:
    """Walk follows walk, until one brings little, or not much less than the one before it."""
    for _ in range(100):
        await move.before.create_session(data={"n": 0})
    coming = iter([60, 48, 20, 12, 5, 50, 100, 100, 100])
    walks = 0

    async def work() -> None:
        nonlocal walks
        walks += 1
        for row in (await move.before.list_sessions())[: next(coming)]:
            await write(move.before, row.handle, n=walks)

    Reached.over(move.source).reach = {"walk": work}
    copying = await move.copy()
    assert copying.passes == 2, "the first brought 100, the second 60"
    assert (copying.created, copying.there, copying.renewed) == (100, 0, 60)
    assert (await move.copy()).passes == 3, "48, 20, and 12"
    assert (await move.copy()).passes == 1, "5"
    assert (await move.copy()).passes == 2, "50, 100"


# --- Trouble ---------------------------------------------------------------------------------------------------------


def failing(times: int, error: type[Exception] = StoreUnavailable) -> Callable[[], Any]:
    left = times

    async def fail() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error("it does not answer")

    return fail


@pytest.mark.parametrize("error", [StoreUnavailable, OutcomeUnknown])
@pytest.mark.parametrize("name", ["create", "commit", "touch", "load", "load_many", "walk", "end"])
async def test_a_store_that_fails_for_a_moment(name: str, error: type[Exception]) -> None:
    """A store that does not answer for a moment is asked again, and nothing is lost, or counted twice."""
    move = Move()
    session_ids = [await move.before.create_session(data={"n": 0}) for _ in range(50)]
    await move.copy()
    move.clock.now += 100
    for session_id in session_ids[:20]:
        await write(move.before, session_id, n=1)
    await move.before.get_session(session_ids[30])
    await move.before.end_session(session_ids[40])
    new = await move.before.create_session(data={"n": 0})
    for store in (Reached.over(move.source), Reached.over(move.target)):
        store.reach = {name: failing(3, error)}
    copying = await move.copy()
    assert counts(copying) == {"created": 1, "there": 29, "renewed": 20, "ended": 1}
    move.target.reach = {}
    for number, session_id in enumerate([*session_ids, new]):
        expected = None if number == 40 else {"n": 1 if number < 20 else 0}
        assert await move.after.get_session(session_id) == expected


@pytest.mark.parametrize("name", ["create", "load_many", "walk"])
async def test_a_store_that_is_gone(name: str) -> None:
    """A store that stays away ends the copy with an error that says that another run goes on, and it does."""
    move = Move()
    for _ in range(2500):
        await move.before.create_session()
    seen = 0
    store = Reached.over(move.target)
    later = failing(10**9)

    async def fail_later() -> None:
        nonlocal seen
        seen += 1
        if seen > (1500 if name == "create" else 1):
            await later()

    store.reach = {name: fail_later}
    copying = Copying(move.source, move.target, clock=move.clock)
    tasks = asyncio.all_tasks()
    with pytest.raises(StoreUnavailable, match="run it again, and it goes on"):
        await copying.run()
    assert asyncio.all_tasks() == tasks, "something goes on behind it"
    store.reach = {}
    again = await move.copy()
    assert again.created + again.there == 2500
    assert again.there >= (1500 if name == "create" else 1000)
    assert len(await move.target.summaries(NOW, limit=10_000)) == 2500


async def test_a_walk_that_is_cut_off(move: Move) -> None:
    """A walk that breaks in its midst begins anew, and what it had copied is not told as having been there."""
    for _ in range(2500):
        await move.before.create_session()
    pages = iter([False, False, True])

    async def fail_once() -> None:
        if next(pages, False):
            raise StoreUnavailable("it does not answer")

    Reached.over(move.source).reach = {"walk": fail_once}
    assert counts(await move.copy()) == {"created": 2500}


async def test_one_that_fails_stops_the_others() -> None:
    """When one of many writes fails for good, no other is begun."""
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0.001)
        if number == 5:
            raise StoreUnavailable("it does not answer")

    with pytest.raises(StoreUnavailable):
        await bulk.each(range(5000), work)
    assert len(begun) < 1000


async def test_a_store_that_is_not_there() -> None:
    """Where one of the stores cannot be reached, that is told at once, and as it is."""
    move = Move()
    await move.target.close()
    with pytest.raises(StoreUnavailable, match=r"^the store was closed$"):
        await move.copy()


async def test_interrupted(move: Move) -> None:
    """A copy that is cancelled leaves nothing behind that goes on."""
    for _ in range(100):
        await move.before.create_session()
    store = Reached.over(move.target)
    store.reach = {"create": asyncio.Event().wait}
    tasks = asyncio.all_tasks()
    copying = asyncio.create_task(move.copy())
    await asyncio.sleep(0.01)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert asyncio.all_tasks() == tasks


async def test_the_same_store_twice(tmp_path: Path) -> None:
    """A store is not copied into itself, by whatever names it is called."""
    config = SessionConfig()
    for url in (f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/../{tmp_path.name}/a.db?durability=process"):
        first, second = [open_store(one, config, world="async") for one in (f"sqlite:///{tmp_path}/a.db", url)]
        with pytest.raises(ConfigurationError, match="the same store"):
            await Copying(first, second).run()
        await first.close()
        await second.close()
    store = MemoryStore()
    with pytest.raises(ConfigurationError, match="the same store"):
        await Copying(store, store).run()


async def test_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy of what is damaged in the source stays, for it may be all that is left; what is damaged in the target is
    told. The others are copied."""
    stores = [open_store(f"sqlite:///{tmp_path}/{name}.db", world="async") for name in ("source", "target")]
    config = SessionConfig()
    before, after = [AsyncSessionManager(store, config=config) for store in stores]
    session_ids = [await before.create_session(data={"n": 0}) for _ in range(4)]
    await Copying(*stores).run()
    broken_there, broken_here, written, plain = session_ids
    for session_id in (broken_here, written):
        await write(before, session_id, n=1)
    for name, session_id in (("source", broken_there), ("target", broken_here)):
        with sqlite3.connect(tmp_path / f"{name}.db") as connection:
            connection.execute("UPDATE session SET body = ? WHERE handle = ?", (b"garbage", handle_of(session_id)))
        connection.close()
    copying = Copying(*stores)
    await copying.run()
    assert counts(copying) == {"there": 1, "renewed": 1, "failed": 1}
    assert copying.failed == {handle_of(broken_here)}
    assert handle_of(broken_there) in caplog.text
    assert [await after.get_session(one) for one in (broken_there, written, plain)] == [{"n": 0}, {"n": 1}, {"n": 0}]
    for store in stores:
        await store.close()


# --- A dry run -------------------------------------------------------------------------------------------------------


async def test_a_dry_run_writes_nothing(move: Move) -> None:
    """A dry run counts what would be done, and neither store is written to."""
    copied_before = [await move.before.create_session(data={"n": 0}) for _ in range(9)]
    await move.copy()
    for session_id in copied_before[:2]:
        await write(move.before, session_id, n=1)
    await write(move.after, copied_before[1], n=2)
    await move.before.end_session(copied_before[2])
    for _ in range(7):
        await move.before.create_session()

    def state() -> Any:
        return [(dict(store._records), store._position, store._bookmarks) for store in (move.source, move.target)]

    before = state()
    copying = await move.copy(dry_run=True)
    assert counts(copying) == {"created": 7, "there": 6, "renewed": 1, "both": 1, "ended": 1}
    assert state() == before
    assert counts(await move.copy()) == counts(copying)


async def test_progress_is_told(move: Move) -> None:
    """While it goes on, it tells how far it is."""
    for _ in range(2500):
        await move.before.create_session()
    told: list[tuple[int, bool, int, int]] = []
    await move.copy(told=lambda c: told.append((c.passes, c.ending, c.looked_at, c.total)))
    once = [1000, 2000, 2500]
    walks = [(0, False), (1, False), (2, True)]
    assert told == [(passes, ending, number, 2500) for passes, ending in walks for number in once]


async def test_large_sessions_go_in_smaller_batches() -> None:
    """Not more than some megabytes are held at a time."""
    large, small = at(1, size=3 << 20), at(2, size=10)

    async def pages() -> AsyncIterator[list[Record]]:
        yield [large] * 7
        yield [small] * 1500

    assert [len(batch) async for batch in bulk.in_batches(pages())] == [3, 3, 1000, 501]
