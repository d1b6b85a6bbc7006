"""Messages for the next page."""

from __future__ import annotations

from sojourn import flash, flashed
from worlds import World


async def test_a_message_is_shown_once(world: World) -> None:
    """Messages wait for the next page, in order and with their categories, are shown there, and are gone."""
    sessions = world.sessions("memory://")
    session_id = await sessions.create_session()
    async with sessions.session(session_id) as session:
        flash(session, "Saved.", "success")
        flash(session, "By the way ...")
    async with sessions.session(session_id) as session:
        assert flashed(session) == [("success", "Saved."), ("message", "By the way ...")]
        assert flashed(session) == []
    async with sessions.session(session_id) as session:
        assert flashed(session) == []


async def test_one_that_comes_while_others_are_shown_is_kept(world: World) -> None:
    """A message that another request adds while a page shows those before it is shown by the next page; and two that
    are added at the same time are both shown."""
    sessions = world.sessions("memory://")
    session_id = await sessions.create_session()
    async with sessions.session(session_id) as session:
        flash(session, "first")
    async with sessions.session(session_id) as page:
        assert flashed(page) == [("message", "first")]
        async with sessions.session(session_id) as here, sessions.session(session_id) as there:
            flash(here, "second")
            flash(there, "third")
    async with sessions.session(session_id) as session:
        assert sorted(text for _, text in flashed(session)) == ["second", "third"]


async def test_messages_that_nobody_looks_at_are_bounded(world: World) -> None:
    """Of messages that no page shows, the last hundred are kept."""
    sessions = world.sessions("memory://")
    async with sessions.session(await sessions.create_session()) as session:
        for number in range(300):
            flash(session, str(number))
        assert [text for _, text in flashed(session)] == [str(number) for number in range(200, 300)]
