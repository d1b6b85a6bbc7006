"""Promise 2: what is over stays over, whatever was under way when it ended.

In a trial some requests have loaded a session, then it ends, and only then they finish, in any order: who wrote is told
that the session is gone, who only read is served, and nothing of it is ever there again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import pytest
from places import Meeting, Place, at_once
from writing import add_one

from sojourn import Handle, SessionConfig, SessionGone, SessionNotFound
from sojourn.testing import Clock
from worlds import Sessions

IDLE, LASTS, TOUCH = 1000.0, 3000.0, 60.0
SETTINGS = SessionConfig(
    idle_timeout=IDLE,
    absolute_timeout=LASTS,
    touch_interval=TOUCH,
    max_sessions_per_user=1,  # for the eviction
    deadline=10,
)
CART = {"cart": {"items": ["apple"]}, "tags": {"new"}, "visits": 1}


# --- What is under way -----------------------------------------------------------------------------------------------


def _assign(session: Any) -> None:
    session["late"] = "too late"


def _append(session: Any) -> None:
    session["cart"]["items"].append("late")


def _delete(session: Any) -> None:
    del session["cart"]


def _discard(session: Any) -> None:
    session["tags"].discard("new")


def _update(session: Any) -> None:
    session.update("visits", add_one)


def _rotate(session: Any) -> None:
    session.rotate()


def _login(session: Any) -> None:
    session.login("eve")


def _prolong(session: Any) -> None:
    session.set_timeouts(idle=100 * IDLE, absolute=100 * LASTS, persistent=True)


def _label(session: Any) -> None:
    session.label = "late"


def _read(session: Any) -> None:
    assert session["cart"]["items"] == ["apple"]
    assert session["tags"] == {"new"}


def _look_away(session: Any) -> None:
    pass


WRITERS = (_assign, _append, _delete, _discard, _update, _rotate, _login, _prolong, _label)
READERS = (_read, _look_away)


# --- How a session ends ----------------------------------------------------------------------------------------------

Ending = Callable[[Sessions, str, Clock], Awaitable[Any]]


async def logout(sessions: Sessions, session_id: str, clock: Clock) -> None:
    await sessions.end_session(session_id)


async def logout_by_handle(sessions: Sessions, session_id: str, clock: Clock) -> None:
    await sessions.end_session(Handle(session_id.partition(".")[0]))


async def logout_in_a_block(sessions: Sessions, session_id: str, clock: Clock) -> None:
    async with sessions.session(session_id) as session:
        session["cart"]["items"].append("and nothing of this is kept")
        session.end()


async def end_of_user(sessions: Sessions, session_id: str, clock: Clock) -> None:
    assert await sessions.end_user_sessions("ada") == 1


async def end_of_all(sessions: Sessions, session_id: str, clock: Clock) -> None:
    assert await sessions.end_sessions() == 1


async def end_of_idle(sessions: Sessions, session_id: str, clock: Clock) -> None:
    assert await sessions.end_sessions(idle_for=0) == 1


async def idle_too_long(sessions: Sessions, session_id: str, clock: Clock) -> None:
    clock.advance(IDLE + TOUCH)


async def too_old(sessions: Sessions, session_id: str, clock: Clock) -> None:
    clock.advance(LASTS)


async def eviction(sessions: Sessions, session_id: str, clock: Clock) -> None:
    clock.advance(1)
    await sessions.end_session(await sessions.create_session("ada"))


ENDS = (logout, logout_by_handle, logout_in_a_block, end_of_user, end_of_all, end_of_idle, eviction)
EXPIRIES = (idle_too_long, too_old)
each_end = pytest.mark.parametrize("end", ENDS + EXPIRIES, ids=lambda end: end.__name__)


class Request:
    """A block that is entered by one line of a test and left by another."""

    def __init__(self, sessions: Sessions, session_id: str, work: Callable[[Any], None]) -> None:
        self._block = sessions.session(session_id)
        self.work = work

    async def begin(self) -> None:
        self.session = await self._block.__aenter__()

    async def finish(self) -> None:
        self.work(self.session)
        await self._block.__aexit__(None, None, None)


async def _under_way(sessions: Sessions, session_id: str, random: Random) -> list[Request]:
    """Some requests that have loaded the session."""
    works = random.choices(WRITERS + READERS, k=random.randint(1, 4))
    requests = [Request(sessions, session_id, work) for work in works]
    for request in requests:
        await request.begin()
    random.shuffle(requests)
    return requests


async def _finish_too_late(requests: list[Request]) -> None:
    for request in requests:
        if request.work in READERS:
            await request.finish()
        else:
            with pytest.raises(SessionGone):
                await request.finish()


def _trials(place: Place, in_memory: int, in_a_file: int) -> Iterator[Random]:
    """A source of chance for each trial, the same in each run."""
    return (Random(seed) for seed in range(in_memory if place.name == "memory" else in_a_file))


async def _ends_for_good(place: Place, end: Ending, in_memory: int, in_a_file: int) -> None:
    clock = Clock()
    theirs, ours = (place.sessions(config=SETTINGS, clock=clock) for _ in range(2))
    for random in _trials(place, in_memory, in_a_file):
        session_id = await ours.create_session("ada", CART)
        handle = Handle(session_id.partition(".")[0])
        clock.advance(random.choice([0, TOUCH, IDLE]))  # whether their activity is to be recorded
        before = await ours.store.load(handle)
        requests = await _under_way(theirs, session_id, random)
        await end(ours, session_id, clock)
        await _finish_too_late(requests)
        for sessions in (theirs, ours):
            assert not await sessions.is_session_active(session_id)
            assert not await sessions.is_session_active(handle)
            assert await sessions.get_session(session_id) is None
            assert await sessions.list_sessions() == []
        assert await ours.store.load(handle) == (before if end in EXPIRIES else None)
        clock.advance(1)
        assert await ours.purge_expired() == (end in EXPIRIES)
    assert (await ours.stats()).sessions == 0


@each_end
async def test_what_ended_is_never_revived(place: Place, end: Ending) -> None:
    """Writers and readers under way when a session ends: the writers hear `SessionGone`, and nothing is written."""
    await _ends_for_good(place, end, 300, 25)


@pytest.mark.battery
@pytest.mark.soak
@each_end
async def test_what_ended_is_never_revived_in_many_trials(place: Place, end: Ending) -> None:
    """The same in 2,000 trials in memory and 200 in a file."""
    await _ends_for_good(place, end, 2000, 200)


async def _change_of_user(place: Place, in_memory: int, in_a_file: int) -> None:
    clock = Clock()
    theirs, ours = (place.sessions(config=SETTINGS, clock=clock) for _ in range(2))
    for random in _trials(place, in_memory, in_a_file):
        old_id = await ours.create_session(None, CART)
        clock.advance(random.choice([0, TOUCH, IDLE]))
        requests = await _under_way(theirs, old_id, random)
        new_id = await ours.login(old_id, "ada")
        record = await ours.store.load(Handle(new_id.partition(".")[0]))
        await _finish_too_late(requests)
        assert not await theirs.is_session_active(old_id)
        assert await theirs.get_session(new_id) == CART
        assert await ours.store.load(record.handle) == record
        await ours.end_sessions()


async def test_what_was_loaded_before_a_login_commits_nothing(place: Place) -> None:
    """Sign-in kills the old id at once, and cuts off what was under way: its writers hear `SessionGone`."""
    await _change_of_user(place, 300, 25)


@pytest.mark.battery
async def test_what_was_loaded_before_a_login_commits_nothing_in_many_trials(place: Place) -> None:
    """The same in 2,000 trials in memory and 200 in a file."""
    await _change_of_user(place, 2000, 200)


async def test_a_rotation_loses_nothing_that_is_under_way(place: Place) -> None:
    """Rotation kills the old id at once; who loaded before it commits all the same, and brings the old id not back."""
    clock = Clock()
    theirs, ours = (place.sessions(config=SETTINGS, clock=clock) for _ in range(2))
    for random in _trials(place, 300, 25):
        old_id = await ours.create_session("ada", CART)
        clock.advance(random.choice([0, TOUCH, IDLE]))
        requests = [Request(theirs, old_id, work) for work in (_append, _update, _assign, _read, _look_away)]
        for request in requests:
            await request.begin()
        new_id = await ours.rotate(old_id)
        random.shuffle(requests)
        for request in requests:
            await request.finish()
        assert not await theirs.is_session_active(old_id)
        assert await theirs.get_session(new_id) == CART | {
            "cart": {"items": ["apple", "late"]},
            "visits": 2,
            "late": "too late",
        }
        await ours.end_sessions()


async def test_a_true_race_has_one_end(place: Place) -> None:
    """Requests and a logout let loose at the same time, again and again: whoever came first, in the end the session is
    gone, and every request was either in time or told so."""
    managers = [place.sessions() for _ in range(3)]
    for _ in _trials(place, 60, 25):
        session_id = await managers[0].create_session("ada", CART)
        meeting = Meeting(place.world, 6)

        async def caller(number: int, session_id: str = session_id, meeting: Meeting = meeting) -> None:
            sessions = managers[number % 3]
            if number == 5:
                await meeting()
                await sessions.end_session(session_id)
            else:
                async with sessions.session(session_id) as session:
                    (_append, _read, _update, _label, _look_away)[number](session)
                    await meeting()

        await at_once(place.world, 6, caller, expected=SessionGone)
        assert not await managers[1].is_session_active(session_id)
        assert (await managers[1].stats()).sessions == 0


@pytest.mark.parametrize("whose", ["of a user", "of all"])
async def test_sessions_that_begin_while_all_end(place: Place, whose: str) -> None:
    """8 callers create sessions of one user, or sign visitors in, while another ends all of them, again and again: what
    was there before an end was asked for is dead after it, what began after the last one lives, and in between each
    session lives and is listed, or does neither."""
    managers = [place.sessions(config=SessionConfig(deadline=10)) for _ in range(3)]
    begun: list[tuple[float, float, str]] = []
    ended: list[tuple[float, float]] = []
    going = [True]

    async def caller(number: int) -> None:
        sessions = managers[number % 3]
        if number == 8:
            await place.world.until(lambda: begun)  # who opens the store is slow
            for _ in range(6):
                await place.pause(0.03)
                asked = time.monotonic()
                await (sessions.end_user_sessions("ada") if whose == "of a user" else sessions.end_sessions())
                ended.append((asked, time.monotonic()))
            await place.pause(0.03)
            going.clear()
        while going:
            await place.pause(0.001)
            asked = time.monotonic()
            if number % 2:
                session_id = await sessions.create_session("ada")
            else:
                try:
                    session_id = await sessions.login(await sessions.create_session(), "ada")
                except (SessionNotFound, SessionGone):
                    continue  # it ended before its visitor had signed in
            begun.append((asked, time.monotonic(), session_id))

    await at_once(place.world, 9, caller)
    living = {summary.handle for summary in await managers[0].list_sessions("ada")}
    assert {summary.handle for summary in await managers[0].list_sessions()} >= living
    alive = 0
    for asked, told, session_id in begun:
        active = await managers[1].is_session_active(session_id)
        assert active == (session_id.partition(".")[0] in living)
        assert not (active and any(told < end for end, _ in ended)), "it was there before an end, and outlived it"
        assert active or any(asked <= over for _, over in ended), "it began after the last end, and is dead"
        alive += active
    assert 0 < alive < len(begun)


async def test_a_reader_that_is_late_does_not_prolong_a_session_that_expired(place: Place) -> None:
    """A session expires while a page is made of it. Once it was found to be over, the end of that page's request, whose
    activity was still in time, does not bring it back."""
    clock = Clock()
    sessions = place.sessions(config=SETTINGS, clock=clock)
    session_id = await sessions.create_session("ada", CART)
    clock.advance(IDLE + TOUCH - 1)
    async with sessions.session(session_id) as session:
        assert session["visits"] == 1
        clock.advance(1)
        assert not await sessions.is_session_active(session_id)
    assert not await sessions.is_session_active(session_id)


async def test_an_age_rotation_logs_nobody_out(place: Place) -> None:
    """Parallel requests across a rotation for age: one rotates, all are served; the old id loads until 30 s after the
    new one was first seen, so a response that got lost costs nothing, and then it is dead."""
    clock = Clock()
    sessions = place.sessions(config=SessionConfig(rotate_after=100, deadline=10), clock=clock)
    old_id = await sessions.create_session("ada", CART)
    clock.advance(100)
    page = [await sessions.engine.begin(old_id) for _ in range(5)]
    done = [(await sessions.engine.finish_response(session))[1] for session in page]
    new_ids = {session.session_id for session in page} - {old_id}
    assert (done.count("set"), len(new_ids)) == (1, 1)
    clock.advance(1000)  # that response got lost: the browser goes on with the old id
    async with sessions.session(old_id) as session:
        session["visits"] = 2
    new_id = new_ids.pop()
    async with sessions.session(new_id) as session:
        assert session["visits"] == 2
    clock.advance(29)
    assert await sessions.is_session_active(old_id)
    clock.advance(1)
    assert not await sessions.is_session_active(old_id)
    assert await sessions.is_session_active(new_id)
