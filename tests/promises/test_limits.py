"""Promises 1 and 2, where sessions are counted or kept to oneself: the cap per user, and `exclusive`."""

from __future__ import annotations

from typing import Any

import pytest
from places import Meeting, Place, at_once
from writing import add_one

from sojourn import SessionConfig, SessionLeased, TooManySessions
from sojourn.testing import Clock

CAP, CALLERS = 5, 20

one_or_many = pytest.mark.parametrize("managers", [1, 4], ids=["one manager", "four managers"])


# --- The cap per user ------------------------------------------------------------------------------------------------


@one_or_many
@pytest.mark.parametrize("login", [True, False], ids=["login", "create"])
@pytest.mark.parametrize("at_cap", ["evict-oldest", "refuse"])
async def test_parallel_logins_meet_the_cap(place: Place, at_cap: Any, login: bool, managers: int) -> None:
    """20 logins at once under a cap of 5 leave exactly 5 live sessions. Evicting, all of them succeed and 15 sessions
    end; refusing, exactly 5 succeed."""
    config = SessionConfig(max_sessions_per_user=CAP, at_cap=at_cap, deadline=10)
    sessions = [place.sessions(config=config) for _ in range(managers)]
    visitors = [await sessions[0].create_session(data={"visitor": number}) for number in range(CALLERS)]
    meeting = Meeting(place.world, CALLERS)

    async def caller(number: int) -> str:
        mine = sessions[number % managers]
        await meeting()
        return await (mine.login(visitors[number], "ada") if login else mine.create_session("ada"))

    ids = await at_once(place.world, CALLERS, caller, expected=TooManySessions)
    live = {session_id for session_id in ids if await sessions[0].is_session_active(session_id)}
    assert len(ids) == (CALLERS if at_cap == "evict-oldest" else CAP)
    assert len(live) == CAP
    assert {session.handle for session in await sessions[0].list_sessions("ada")} == {one.split(".")[0] for one in live}
    _, told = await sessions[0].changes()
    assert sum(change.reason == "evicted" for change in told) == len(ids) - CAP


# --- A session to oneself --------------------------------------------------------------------------------------------


@one_or_many
async def test_one_at_a_time(place: Place, managers: int) -> None:
    """20 callers of `exclusive`: never are two inside, each sees what the one before left, and the fence grows with
    every turn."""
    sessions = [place.sessions(config=SessionConfig(deadline=10)) for _ in range(managers)]
    session_id = await sessions[0].create_session(data={"visits": 0})
    inside: list[int] = []
    fences: list[int] = []

    async def caller(number: int) -> None:
        async with sessions[number % managers].exclusive(session_id, wait=30, hold=30) as session:
            inside.append(number)
            seen = session["visits"]
            fences.append(session.fence)
            await place.pause(0.001)
            session["visits"] = seen + 1
            assert inside == [number]
            inside.remove(number)

    await at_once(place.world, CALLERS, caller)
    assert await sessions[0].get_session(session_id) == {"visits": CALLERS}
    assert fences == sorted(set(fences))


async def test_who_holds_a_session_too_long_has_lost_it(place: Place) -> None:
    """A holder whose time ran out, and after whom another came, commits nothing: the other's work stands."""
    clock = Clock()
    theirs, ours = (place.sessions(clock=clock) for _ in range(2))
    session_id = await ours.create_session(data={"visits": 0})
    block = theirs.exclusive(session_id, hold=10)
    late = await block.__aenter__()
    late["visits"] = 100
    clock.advance(10)
    async with ours.exclusive(session_id, hold=10) as session:
        assert session.fence > late.fence
        session.update("visits", add_one)
    with pytest.raises(SessionLeased):
        await block.__aexit__(None, None, None)
    assert await ours.get_session(session_id) == {"visits": 1}


async def test_others_wait_and_read(place: Place) -> None:
    """While one holds the session others read it at once; a commit waits for the end of the hold, and is refused with
    nothing written if that does not come within the deadline."""
    theirs, ours, impatient = place.sessions(), place.sessions(), place.sessions(config=SessionConfig(deadline=1.0))
    session_id = await ours.create_session(data={"visits": 0})
    async with theirs.exclusive(session_id) as session:
        session["visits"] = 10
        assert await ours.get_session(session_id) == {"visits": 0}
        with pytest.raises(SessionLeased):
            await impatient.update(session_id, "visits", add_one)
        with pytest.raises(SessionLeased):
            async with ours.exclusive(session_id, wait=0.05):
                pass

    async def caller(number: int) -> None:
        if number:
            async with theirs.exclusive(session_id) as session:
                await meeting()
                await place.pause(0.05)
                session["visits"] = 20
        else:
            await meeting()
            await ours.update(session_id, "visits", add_one)

    meeting = Meeting(place.world, 2)
    await at_once(place.world, 2, caller)
    assert await ours.get_session(session_id) == {"visits": 21}


async def test_a_session_that_has_left_its_user_takes_no_place(place: Place) -> None:
    """One that was a user's a moment ago, and is another's now, counts towards the cap of the other only."""
    clock = Clock()
    sessions = place.sessions(clock=clock, config=SessionConfig(max_sessions_per_user=3, deadline=10))
    ids = []
    for user in ("bob", "ada", "bob"):
        clock.advance(0.2)
        ids.append(await sessions.create_session(user))
    for number, user in ((2, "ada"), (1, "bob")):
        clock.advance(0.2)
        await sessions.login(ids[number], user)
    clock.advance(0.2)
    await sessions.create_session("bob")
    assert [len(await sessions.list_sessions(user)) for user in ("ada", "bob")] == [1, 3]


async def test_nor_does_one_that_ended_elsewhere(place: Place) -> None:
    """One that was a user's a moment ago, became another's and ended there, takes no place under the cap of the
    first."""
    clock = Clock()
    sessions = place.sessions(clock=clock, config=SessionConfig(max_sessions_per_user=2, deadline=10))
    moving, staying = await sessions.create_session("bob"), await sessions.create_session("bob")
    moving = await sessions.login(moving, "ada")
    await sessions.end_session(moving)
    await sessions.create_session("bob")
    assert len(await sessions.list_sessions("bob")) == 2
    assert await sessions.is_session_active(staying)


async def test_who_comes_back_to_a_user_takes_a_place_again(place: Place) -> None:
    """One that was a user's, another's, and the first one's again counts, and is found to be ended."""
    sessions = place.sessions(config=SessionConfig(max_sessions_per_user=2, deadline=10))
    session_id = await sessions.create_session("bob")
    for user in ("ada", "bob"):
        session_id = await sessions.login(session_id, user)
    await sessions.create_session("bob")
    await sessions.create_session("bob")
    assert not await sessions.is_session_active(session_id)
    assert await sessions.end_user_sessions("bob") == 2
