"""Tickets: good once, for seconds, for one session."""

from __future__ import annotations

import pytest

from sojourn import Handle, ticket
from sojourn.testing import Clock
from sojourn.tickets import TICKET_LIFE, redeem
from worlds import Sessions, World


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(world: World, clock: Clock) -> Sessions:
    return world.sessions("memory://", clock=clock)


async def drawn(sessions: Sessions, session_id: str) -> str:
    async with sessions.session(session_id) as session:
        return ticket(session)


async def test_a_ticket_is_good_once(sessions: Sessions) -> None:
    """A ticket opens its session, with what it holds and whose it is, once; the second time it is as any unknown id."""
    one = await drawn(sessions, await sessions.create_session("ada", {"name": "Ada"}))
    session = await redeem(sessions.engine, one)
    assert (session.user_id, session["name"]) == ("ada", "Ada")
    assert (await redeem(sessions.engine, one)).presented == "unknown"


async def test_a_ticket_lives_for_seconds(sessions: Sessions, clock: Clock) -> None:
    """A ticket that was not used is over after 30 seconds, and is not kept for longer than the next one."""
    session_id = await sessions.create_session()
    early, late = await drawn(sessions, session_id), await drawn(sessions, session_id)
    clock.advance(TICKET_LIFE - 1)
    assert (await redeem(sessions.engine, early)).stored
    clock.advance(2)
    assert not (await redeem(sessions.engine, late)).stored
    await drawn(sessions, session_id)
    async with sessions.session(session_id) as session:
        assert len(session["_tickets"]) == 1


async def test_who_signs_in_makes_earlier_tickets_worthless(sessions: Sessions) -> None:
    """A ticket that was drawn before somebody signed in does not come in behind the sign-in; one that is drawn with it
    does."""
    session_id = await sessions.create_session()
    before = await drawn(sessions, session_id)
    async with sessions.session(session_id) as session:
        session.login("ada")
        with_it = ticket(session)
    assert not (await redeem(sessions.engine, before)).stored
    assert (await redeem(sessions.engine, with_it)).user_id == "ada"


async def test_a_ticket_is_no_id(sessions: Sessions) -> None:
    """A ticket does not open the session where an id does, nor an id where a ticket does; and what the store keeps of a
    ticket is none."""
    session_id = await sessions.create_session()
    one = await drawn(sessions, session_id)
    assert await sessions.get_session(one) is None
    assert not (await redeem(sessions.engine, session_id)).stored
    kept = next(iter((await sessions.get_session(session_id))["_tickets"]))
    assert kept not in one
    assert not (await redeem(sessions.engine, f"{session_id.split('.')[0]}.{kept[:43]}")).stored


@pytest.mark.parametrize("shown", ["", "x", "a.b", f"{'h' * 22}.{'s' * 43}", "é" * 66])
async def test_what_is_no_ticket_opens_nothing(sessions: Sessions, shown: str) -> None:
    """Anything else opens a new session, which is stored nowhere."""
    assert not (await redeem(sessions.engine, shown)).stored


async def test_tickets_that_nobody_uses_are_bounded(sessions: Sessions) -> None:
    """Of many tickets that are drawn at once the newest are good; the session does not grow."""
    session_id = await sessions.create_session()
    tickets = [await drawn(sessions, session_id) for _ in range(100)]
    async with sessions.session(session_id) as session:
        assert len(session["_tickets"]) == 32
    assert (await redeem(sessions.engine, tickets[-1])).stored


async def test_of_many_who_show_one_ticket_one_is_let_in(world: World, sessions: Sessions) -> None:
    """Of twenty who show one ticket at the same time one is let in."""
    one = await drawn(sessions, await sessions.create_session())
    found = await world.together([lambda: redeem(sessions.engine, one)] * 20)
    assert sum(session.stored for session in found) == 1


async def test_a_ticket_of_a_session_that_ended_opens_nothing(sessions: Sessions) -> None:
    """A ticket dies with its session."""
    session_id = await sessions.create_session()
    one = await drawn(sessions, session_id)
    await sessions.end_session(Handle(session_id.split(".")[0]))
    assert not (await redeem(sessions.engine, one)).stored
