"""Commits that meet: one in flight per session, and what waits goes together; nothing is lost and nothing is made
twice, whatever is cut, cancelled or late."""

# ruff: noqa: PT012 - a block under test is more than one statement

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sojourn import (
    AsyncSessionManager,
    ConflictError,
    DamagedRecord,
    OutcomeUnknown,
    SessionConfig,
    SessionGone,
    SessionLeased,
    SessionManager,
    StoreError,
    StoreUnavailable,
    TooLarge,
)
from sojourn.blocking import run
from sojourn.lanes import Job, mint_version
from sojourn.record import Committed, Leased
from sojourn.stores.memory import MemoryStore
from sojourn.testing import NOW, Clock, new_record, successor
from sojourn.waiting import TaskWaiting, ThreadWaiting
from worlds import ASYNC, BLOCKING, Sessions, Through, World

PATIENT = SessionConfig(deadline=30)


def increment(value: int | None) -> int:
    return (value or 0) + 1


def followers(sessions: Sessions) -> int:
    """How many wait in the lane of the only session."""
    return sum(len(leader.followers or ()) for leader in list(sessions.leaders.values()))


def held(world: World, sessions: Sessions, waiters: int, commits: int = 1) -> Callable[..., Any]:
    """Something to do before a commit: hold each of the first `commits` until so many writers wait behind it."""
    count = iter(range(commits))

    async def hold(*_: Any, **__: Any) -> None:
        if next(count, None) is not None:
            await world.until(lambda: followers(sessions) >= waiters)

    return hold


async def opened(world: World, config: SessionConfig = PATIENT) -> tuple[Through, Sessions, str]:
    store = Through(MemoryStore())
    sessions = world.sessions(store, config=config, clock=Clock())
    return store, sessions, await sessions.create_session(data={"items": [], "n": 0})


# --- Batching --------------------------------------------------------------------------------------------------------


async def test_two_hundred_writers_take_two_commits(world: World) -> None:
    """While one commit is in flight, whoever comes waits, and all that wait go together in the next: 200 writers whose
    first commit takes its time take two, and every change is made."""
    store, sessions, session_id = await opened(world)
    store.before["commit"] = held(world, sessions, 199)

    async def write(number: int) -> None:
        async with sessions.session(session_id) as session:
            session[f"field {number}"] = number
            session["items"].append(number)
            session.update("n", increment)

    assert await world.together([lambda n=n: write(n) for n in range(200)]) == [None] * 200
    saved = await sessions.get_session(session_id)
    assert saved is not None
    assert sorted(saved.pop("items")) == list(range(200))
    assert saved == {"n": 200} | {f"field {number}": number for number in range(200)}
    assert store.calls.count("commit") == 2
    assert sessions.leaders == {}


async def test_writers_of_other_sessions_do_not_wait(world: World) -> None:
    """A commit that takes its time holds up nobody else's session."""
    store, sessions, first = await opened(world)
    second = await sessions.create_session()
    done: list[str] = []

    async def hold(base: Any, *_: Any, **__: Any) -> None:
        if base.handle == first.partition(".")[0]:
            await world.until(lambda: done)

    store.before["commit"] = hold

    async def write(session_id: str) -> None:
        await sessions.update(session_id, "n", increment)
        done.append(session_id)

    await world.together([lambda: write(first), lambda: write(second)])
    assert done == [second, first]


async def test_each_of_a_batch_gets_its_own_value(world: World) -> None:
    """Every one of many updates in one commit returns the value as it was right after it."""
    store, sessions, session_id = await opened(world)
    store.before["commit"] = held(world, sessions, 19)
    values = await world.together([lambda: sessions.update(session_id, "n", increment)] * 20)
    assert sorted(values) == list(range(1, 21))


async def test_who_cannot_be_served_fails_alone(world: World) -> None:
    """Of a batch, one whose function raises or whose data grows too large gets that error; the others are committed."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=30, max_session_bytes=5_000))
    store.before["commit"] = held(world, sessions, 9)
    runs = Counter[str]()

    def fail(value: Any) -> Any:
        runs["fail"] += 1
        if runs["fail"] > 1:  # the first run is in the block, the next in the batch
            raise LookupError("no")

    def grow(value: Any) -> Any:
        runs["grow"] += 1
        return "x" * 5_000 if runs["grow"] > 1 else "x"

    async def write(name: str, function: Callable[[Any], Any], *, leads: bool = False) -> None:
        await world.until(lambda: leads or sessions.leaders)
        await sessions.update(session_id, name, function)

    results = await world.together(
        [
            lambda: write("n", increment, leads=True),
            lambda: write("bad", fail),
            lambda: write("large", grow),
            *[lambda: write("n", increment)] * 7,
        ]
    )
    assert [type(result) for result in results] == [type(None), LookupError, TooLarge, *[type(None)] * 7]
    assert await sessions.get_session(session_id) == {"items": [], "n": 8}


async def test_a_field_that_grew_by_merging_is_refused(world: World) -> None:
    """The limit of a field holds for what it becomes, not only for what one writer made of it."""
    _, sessions, session_id = await opened(world, SessionConfig(max_field_bytes=1_000))
    with pytest.raises(TooLarge, match="max_field_bytes"):
        async with sessions.session(session_id) as session:
            session["items"].append("x" * 600)
            async with sessions.session(session_id) as other:
                other["items"].append("y" * 600)
    assert (await sessions.get_session(session_id))["items"] == ["y" * 600]


async def test_a_login_in_a_batch_cuts_off_those_behind_it(world: World) -> None:
    """Of jobs that wait together, those that come after a change of user were loaded before it, and are gone; those
    before it hold."""
    store, sessions, session_id = await opened(world)
    names = ["first", "before", "login", "after"]
    order: list[str] = []

    async def write(name: str) -> None:
        async with sessions.session(session_id) as session:
            session[name] = 1
            if name == "login":
                session.login("ada")
            order.append(name)
            await world.until(lambda: len(order) == 4)  # all are loaded
            await world.until(lambda: names.index(name) <= followers(sessions) + len(sessions.leaders))

    store.before["commit"] = held(world, sessions, 3)
    results = await world.together([lambda n=name: write(n) for name in names])
    assert [type(result) for result in results] == [type(None), type(None), type(None), SessionGone]
    summary = (await sessions.list_sessions("ada"))[0]
    saved = await sessions.get_session(summary.handle)
    assert saved == {"items": [], "n": 0, "first": 1, "before": 1, "login": 1}


@pytest.mark.parametrize("managers", [1, 4])
async def test_counters_are_exact(world: World, managers: int) -> None:
    """However many count at once, in one manager or in several on one store, every increment counts once."""
    store = Through(MemoryStore())
    for name in ("load", "commit"):
        store.before[name] = lambda *_, **__: world.pause()
    several = [world.sessions(store, config=PATIENT, clock=Clock()) for _ in range(managers)]
    session_id = await several[0].create_session()

    async def count(sessions: Sessions) -> None:
        for _ in range(5):
            await sessions.update(session_id, "n", increment)
            async with sessions.session(session_id) as session:
                session.update("m", increment)

    assert await world.together([lambda n=n: count(several[n % managers]) for n in range(16)]) == [None] * 16
    assert await several[0].get_session(session_id) == {"n": 80, "m": 80}


def test_one_manager_may_serve_several_loops() -> None:
    """An async manager whose callers are in several event loops, each in a thread of its own, loses nothing."""
    store = Through(MemoryStore())
    store.before["commit"] = lambda *_, **__: asyncio.sleep(0.001)
    manager = AsyncSessionManager(store, config=PATIENT, clock=Clock())
    session_id = asyncio.run(manager.create_session())

    async def count() -> None:
        await asyncio.gather(*(manager.update(session_id, "n", increment) for _ in range(20)))

    errors = run(BLOCKING.together([lambda: _in_a_loop(count)] * 4))
    assert errors == [None] * 4
    assert asyncio.run(manager.get_session(session_id)) == {"n": 80}


async def _in_a_loop(body: Callable[[], Any]) -> None:
    asyncio.run(body())


# --- A reply that is cut ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_cut_reply_applies_once(world: World, moment: str, times: int) -> None:
    """A commit whose reply does not come is sent again, whether it arrived or not, and counts once."""
    store, sessions, session_id = await opened(world)
    cuts = iter(range(times))

    def cut(*_: Any, **__: Any) -> None:
        if next(cuts, None) is not None:
            raise OutcomeUnknown("cut")

    getattr(store, moment)["commit"] = cut
    assert await sessions.update(session_id, "n", increment) == 1
    async with sessions.session(session_id) as session:
        session["items"].append("apple")
    assert await sessions.get_session(session_id) == {"items": ["apple"], "n": 1}
    assert store.calls.count("commit") == 2 + times


async def test_an_outcome_that_stays_unknown_is_told(world: World) -> None:
    """If no reply comes at all, `OutcomeUnknown` is raised: neither success nor failure; and the change is made at most
    once."""
    store, sessions, session_id = await opened(world)

    def cut(*_: Any, **__: Any) -> None:
        raise OutcomeUnknown("cut")

    store.after["commit"] = cut
    with pytest.raises(OutcomeUnknown):
        await sessions.update(session_id, "n", increment)
    assert store.calls.count("commit") == 3
    store.after.clear()
    assert await sessions.get_session(session_id) == {"items": [], "n": 1}
    assert await sessions.update(session_id, "n", increment) == 2


async def test_nothing_is_sent_again_when_no_time_is_left(world: World) -> None:
    """A reply that does not come before the time is up is not asked for again: its outcome is unknown."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=0.05))

    def cut(*_: Any, **__: Any) -> None:
        time.sleep(0.1)
        raise OutcomeUnknown("cut")

    store.after["commit"] = cut
    with pytest.raises(OutcomeUnknown):
        await sessions.update(session_id, "n", increment)
    assert store.calls.count("commit") == 1


async def test_a_cut_reply_to_a_batch_applies_once(world: World) -> None:
    """The same for a commit that carries many writers' changes, also when others got in between on another manager."""
    store, sessions, session_id = await opened(world)
    elsewhere = world.sessions(store.store, config=PATIENT, clock=Clock())
    store.before["commit"] = held(world, sessions, 19)

    async def cut_and_overtake(*_: Any, **__: Any) -> None:
        if store.calls.count("commit") == 2:
            await elsewhere.update(session_id, "n", increment)
            raise OutcomeUnknown("cut")

    store.after["commit"] = cut_and_overtake
    await world.together([lambda: sessions.update(session_id, "n", increment)] * 20)
    assert (await sessions.get_session(session_id))["n"] == 21


async def test_a_cut_reply_that_nobody_remembers_is_unknown(world: World) -> None:
    """A commit whose reply was cut, and after which so many others came that the record forgot it, is not made again:
    it is told as unknown."""
    store, sessions, session_id = await opened(world)
    elsewhere = world.sessions(store.store, config=PATIENT, clock=Clock())

    async def cut_and_overtake(*_: Any, **__: Any) -> None:
        if store.calls.count("commit") == 1:
            for _ in range(20):
                await elsewhere.update(session_id, "n", increment)
            raise OutcomeUnknown("cut")

    store.after["commit"] = cut_and_overtake
    with pytest.raises(OutcomeUnknown):
        await sessions.update(session_id, "n", increment)
    assert (await sessions.get_session(session_id))["n"] == 21


async def test_a_cut_reply_to_a_creation_makes_one_session(world: World) -> None:
    """A creation whose reply is cut is sent again, and makes one session."""
    store, sessions, _ = await opened(world)

    def cut(*_: Any, **__: Any) -> None:
        if store.calls.count("create") == 2:
            raise OutcomeUnknown("cut")

    store.after["create"] = cut
    session_id = await sessions.create_session(user_id="ada", data={"n": 5})
    assert await sessions.get_session(session_id) == {"n": 5}
    assert len(await sessions.list_sessions("ada")) == 1


# --- A store that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [StoreUnavailable("full", retry_after=10), DamagedRecord("h", "its check"), RuntimeError("bug")], ids=repr
)
async def test_a_failure_reaches_each_who_waits(world: World, error: Exception) -> None:
    """When the store fails, each writer of the batch gets an exception of its own that says the same; nobody hangs,
    nothing is written, and the next commit is as if nothing had been."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=10))

    async def fail(*_: Any, **__: Any) -> None:
        await world.until(lambda: followers(sessions) >= 9 or store.calls.count("commit") > 1)
        raise error

    store.before["commit"] = fail
    began = time.monotonic()
    results = await world.together([lambda: sessions.update(session_id, "n", increment)] * 10)
    assert time.monotonic() - began < 5
    assert [type(result) for result in results] == [type(error)] * 10
    assert {str(result) for result in results} == {str(error)}
    if isinstance(error, StoreError):
        assert store.calls.count("commit") == 2  # the first of all, and one for those who waited
    if isinstance(error, StoreUnavailable):
        assert {result.retry_after for result in results} == {10}
        assert len({id(result) for result in results}) >= 9
    store.before.clear()
    assert sessions.leaders == {}
    assert await sessions.update(session_id, "n", increment) == 1


# --- Deadlines -------------------------------------------------------------------------------------------------------


async def test_past_the_deadline_nothing_is_written(world: World) -> None:
    """A writer that meets others until its time is up gets `ConflictError`, and nothing of it is written."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=0.05))

    async def overtake(base: Any, *_: Any, **__: Any) -> None:
        current = await store.store.load(base.handle)
        assert current is not None
        fence = current.fence if current.leased_until > NOW else 0
        assert isinstance(await store.store.commit(current, successor(current), NOW, fence=fence), Committed)

    async def be_first(handle: str, generation: int, *_: Any) -> None:
        await store.store.lease(handle, generation, 10.0, NOW)

    store.before["commit"], store.before["lease"] = overtake, be_first
    began = time.monotonic()
    with pytest.raises(ConflictError, match="nothing was written"):
        await sessions.update(session_id, "n", increment)
    assert 0.05 <= time.monotonic() - began < 5
    store.before.clear()
    assert (await sessions.get_session(session_id))["n"] == 0


async def test_who_is_always_overtaken_takes_a_turn(world: World) -> None:
    """A writer that somebody is quicker than each time takes a turn after three conflicts: then the other waits, and
    the turn is over with the commit."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=5))
    answers: list[Any] = []

    async def overtake(base: Any, *_: Any, **__: Any) -> None:
        current = await store.store.load(base.handle)
        assert current is not None
        answers.append(await store.store.commit(current, successor(current), NOW))

    store.before["commit"] = overtake
    assert await sessions.update(session_id, "n", increment) == 1
    assert [type(answer) for answer in answers] == [Committed] * 4 + [Leased]
    assert store.calls.count("lease") == 1
    current = answers[-1].record
    after = await store.store.load(current.handle)
    assert (after.fence, after.leased_until) == (current.fence, 0.0)
    assert isinstance(await store.store.commit(after, successor(after), NOW), Committed)


async def test_a_holder_who_lost_the_lease_is_told_at_once(world: World) -> None:
    """A holder after whom another came is told so as soon as it is known, and not when its time is up."""
    store, clock = Through(MemoryStore()), Clock()
    theirs, ours = (world.sessions(store, config=SessionConfig(deadline=2), clock=clock) for _ in range(2))
    session_id = await ours.create_session(data={"n": 0})
    block = theirs.exclusive(session_id, hold=10)
    late = await block.__aenter__()
    late["n"] = 100
    clock.advance(10)
    async with ours.exclusive(session_id, hold=10) as session:
        session["n"] = 1
        before = store.calls.count("commit")
        with pytest.raises(SessionLeased, match="the lease ran out"):
            await block.__aexit__(None, None, None)
        assert store.calls.count("commit") - before <= 1
    assert await ours.get_session(session_id) == {"n": 1}


@pytest.mark.parametrize("error", [StoreUnavailable("down"), OutcomeUnknown("cut")], ids=repr)
async def test_without_a_turn_it_tries_on(world: World, error: Exception) -> None:
    """A turn that could not be had is no reason to give up: the writer tries on as before."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=5))

    async def overtake(base: Any, *_: Any, **__: Any) -> None:
        if store.calls.count("commit") < 7:
            current = await store.store.load(base.handle)
            assert current is not None
            await store.store.commit(current, successor(current), NOW)

    def fail(*_: Any) -> None:
        raise error

    store.before["commit"], store.before["lease"] = overtake, fail
    assert await sessions.update(session_id, "n", increment) == 1
    assert store.calls.count("lease") == 3


async def test_who_waits_past_the_deadline_writes_nothing(world: World) -> None:
    """A writer that does not get its turn in time gets `ConflictError`; the one in flight is committed, and those that
    come later are, too."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=0.05))
    results: list[Any] = []

    async def hold(*_: Any, **__: Any) -> None:
        if store.calls.count("commit") == 1:
            await world.until(lambda: len(results) == 4)

    store.before["commit"] = hold

    async def write() -> None:
        try:
            results.append(await sessions.update(session_id, "n", increment))
        except ConflictError as error:
            results.append(type(error))

    await world.together([write] * 5)
    assert results == [ConflictError] * 4 + [1]
    assert await sessions.update(session_id, "n", increment) == 2
    assert sessions.leaders == {}


async def test_who_is_under_way_when_time_is_up_is_told_so(world: World) -> None:
    """A writer whose change is in another's commit when its time is up gets `OutcomeUnknown`, not a refusal: it may be
    made."""
    store, sessions, session_id = await opened(world, SessionConfig(deadline=3))  # all three come within it
    results: list[Any] = []

    async def hold(*_: Any, **__: Any) -> None:
        if store.calls.count("commit") == 1:
            await world.until(lambda: followers(sessions) == 2)
        else:
            await world.until(lambda: OutcomeUnknown in results)

    store.before["commit"] = hold

    async def write() -> None:
        try:
            results.append(await sessions.update(session_id, "n", increment))
        except OutcomeUnknown as error:
            results.append(type(error))

    await world.together([write] * 3)
    assert results == [1, OutcomeUnknown, 2]
    assert (await sessions.get_session(session_id))["n"] == 3


# --- Cancellation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lands", ["if waited for", "anyhow"])
@pytest.mark.parametrize("cancelled", [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}])
def test_a_cancelled_writer_takes_nobody_down(cancelled: set[int], lands: str) -> None:
    """Tasks cancelled at any moment, leaders and followers, lose nothing of the others' and make nothing twice: a
    leader's work is handed over. That holds for stores that stop when they are cancelled, and for those that finish
    what was begun."""

    for moment in range(200):
        if asyncio.run(_cancel_at(moment, cancelled, lands)):
            return
    raise AssertionError("the writers never came to an end")


def _slow(store: MemoryStore, lands: str) -> Callable[..., Any]:
    """A commit that takes its time, before and after it is made."""

    async def commit(*args: Any, **kwargs: Any) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        outcome = await MemoryStore.commit(store, *args, **kwargs)
        for _ in range(3):
            await asyncio.sleep(0)
        return outcome

    async def finished_anyhow(*args: Any, **kwargs: Any) -> Any:
        return await asyncio.shield(asyncio.ensure_future(commit(*args, **kwargs)))

    return commit if lands == "if waited for" else finished_anyhow


async def _cancel_at(moment: int, cancelled: set[int], lands: str) -> bool:
    """Five writers, some of which are cancelled at a moment. Returns whether they were all done by then."""
    store = MemoryStore()
    store.commit = _slow(store, lands)  # type: ignore[method-assign]
    manager = AsyncSessionManager(store, config=PATIENT, clock=Clock())
    session_id = await manager.create_session(data={"items": []})

    async def write(number: int) -> None:
        async with manager.session(session_id) as session:
            session["items"].append(number)
            session.update("n", increment)

    tasks = [asyncio.create_task(write(number)) for number in range(5)]
    for _ in range(moment):
        await asyncio.sleep(0)
    all_done = all(task.done() for task in tasks)
    for number in cancelled:
        tasks[number].cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    for _ in range(10):
        await asyncio.sleep(0)  # what was begun is finished
    saved = await manager.get_session(session_id)
    assert saved is not None
    assert manager._lanes._lanes == {}
    made = Counter(saved["items"])
    assert made == dict.fromkeys(made, 1), f"made twice at {moment}: {made}"
    assert saved["n"] == len(made)
    assert {number for number, result in enumerate(results) if result is None} <= set(made)
    assert {number for number, result in enumerate(results) if result is not None} <= cancelled
    return all_done


# --- Parts -----------------------------------------------------------------------------------------------------------


def test_one_leads_however_many_come_at_once() -> None:
    """A session's lane has one leader: also if somebody enters just as another finds the lane empty."""
    manager = SessionManager(clock=Clock())
    lanes = manager.engine._lanes
    record = new_record()
    leading: list[Job] = []
    joining, passing = (Job(record, None, None, 0.0) for _ in range(2))

    class Table(dict[str, Job]):
        """At each look, somebody who enters without waiting for the lock comes first."""

        def _pass(self) -> None:
            if not leading and dict.setdefault(self, record.handle, passing) is passing:
                leading.append(passing)

        def get(self, *args: Any) -> Any:
            found = dict.get(self, *args)
            self._pass()
            return found

    lanes._lanes = Table()
    if lanes._join(record.handle, joining):
        leading.append(joining)
    assert leading == [lanes._lanes[record.handle]]


def test_who_gave_up_leads_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that let go of its place, as its time was up, leads no batch: also if its leader leaves in the very next
    moment, with nothing done."""
    lanes, record = SessionManager(clock=Clock()).engine._lanes, new_record()
    leader, late = (Job(record, None, None, 0.0) for _ in range(2))
    assert lanes._join(record.handle, leader)
    assert not lanes._join(record.handle, late)
    leader.followers, leader.others, late.state = None, [late], "driven"
    part = lanes._part

    def part_first(handle: str, job: Job) -> Any:
        found = part(handle, job)
        leader.is_over = True
        part(handle, leader)
        return found

    monkeypatch.setattr(lanes, "_part", part_first)
    monkeypatch.setattr("sojourn.lanes._GRACE", 0.0)
    with pytest.raises(OutcomeUnknown):
        run(lanes._wait(record.handle, late))
    assert lanes._lanes == {}


def test_a_writer_of_a_closed_loop_may_be_collected_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task of a loop that was closed parts with its lane when it is collected, be it by a thread that has hold of
    the lanes just then."""
    manager = AsyncSessionManager(config=PATIENT)
    lanes = manager._lanes

    async def stick() -> str:
        session_id = await manager.create_session(data={"n": 0})
        monkeypatch.setattr(lanes, "send", lambda *_, **__: asyncio.sleep(3600))
        writing = asyncio.create_task(manager.update(session_id, "n", lambda n: n + 1))
        await asyncio.sleep(0.05)
        assert not writing.done()
        monkeypatch.undo()
        return session_id

    gc.disable()  # but for once, below
    try:
        loop = asyncio.new_event_loop()
        session_id = loop.run_until_complete(stick())
        loop.set_exception_handler(lambda *_: None)  # a task was destroyed: that is what is tried here
        loop.close()
        del loop
        assert len(lanes._lanes) == 1
        relieve = lanes._relieve

        def collect(handle: str) -> None:
            monkeypatch.undo()
            gc.collect()
            relieve(handle)

        monkeypatch.setattr(lanes, "_relieve", collect)
        assert asyncio.run(manager.update(session_id, "n", lambda n: n + 1)) == 1
        assert not lanes._lanes
    finally:
        gc.enable()


def test_a_signal_may_be_set_again() -> None:
    """A job that was told to lead just as its time was up, and is then done, is told twice: that is no error."""
    signal = ThreadWaiting().signal()
    assert not run(signal.wait(0))
    assert signal.set()
    assert signal.set()
    assert run(signal.wait(0))


def test_a_signal_wakes_who_waits() -> None:
    """A signal set in another thread wakes who waits; one for a loop that is closed says that nobody is there."""
    signal = ThreadWaiting().signal()
    thread = threading.Thread(target=signal.set)
    thread.start()
    assert run(signal.wait(10))
    thread.join()

    async def body() -> Any:
        signal = TaskWaiting().signal()
        assert not await signal.wait(0)
        thread = threading.Thread(target=signal.set)
        thread.start()
        assert await signal.wait(10)
        thread.join()
        return TaskWaiting().signal()

    left_behind = ASYNC.run(body())
    assert not left_behind.set()


def test_versions_differ() -> None:
    """Versions are eight bytes, do not repeat, and differ in a forked child."""
    assert len({mint_version() for _ in range(10_000)}) == 10_000
    assert len(mint_version()) == 8
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, mint_version())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) != mint_version()
    os.close(read)
    os.close(write)
