"""Signing in and out, and a user's devices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sojourn import Handle, csrf_token, login, logout
from sojourn.testing import Clock
from sojourn.users import devices, devices_answer, end_device, end_other_devices
from worlds import Sessions, World


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(world: World, clock: Clock) -> Sessions:
    return world.sessions("memory://", clock=clock)


async def test_signing_in_rotates_and_keeps_the_cart(sessions: Sessions) -> None:
    """Signing in gives another id, kills the one before, keeps what the visitor had put in, and notes the device and
    whether to remember it."""
    before = await sessions.create_session(data={"cart": ["tea"]})
    async with sessions.session(before) as session:
        after = login(session, "ada", label="Firefox on Linux", remember=True)
    assert await sessions.get_session(before) is None
    async with sessions.session(after) as session:
        assert (session.user_id, session["cart"], session.label) == ("ada", ["tea"], "Firefox on Linux")
        assert session.record.persistent


async def test_what_another_user_left_is_not_the_next_ones(sessions: Sessions) -> None:
    """Where somebody else was signed in, nothing of theirs is left; signing in again as the same user keeps it."""
    session_id = await sessions.create_session("ada", {"diary": "secret"})
    async with sessions.session(session_id) as session:
        session_id = login(session, "ada")
    async with sessions.session(session_id) as session:
        assert session["diary"] == "secret"
        session_id = login(session, "eve")
    async with sessions.session(session_id) as session:
        assert (session.user_id, dict(session)) == ("eve", {})


async def test_signing_out_ends_the_session(sessions: Sessions) -> None:
    """Signing out ends the session, for good; nothing happens for who has none."""
    session_id = await sessions.create_session("ada")
    async with sessions.session(session_id) as session:
        logout(session)
    assert not await sessions.is_session_active(session_id)
    logout(sessions.engine.new())


async def test_how_long_ago_somebody_signed_in(sessions: Sessions, clock: Clock) -> None:
    """`auth_age` is None for nobody, nothing at the sign-in, and grows with time, whatever is done; signing in again
    makes it young."""
    session_id = await sessions.create_session()
    async with sessions.session(session_id) as session:
        assert session.auth_age is None
        session_id = session.login("ada")
        assert session.auth_age == 0
    clock.advance(301)
    async with sessions.session(session_id) as session:
        assert session.auth_age == 301
        session_id = session.rotate()
        assert session.auth_age == 301
    async with sessions.session(session_id) as session:
        session_id = session.login("ada")
        assert session.auth_age == 0
    async with sessions.session(session_id) as session:
        assert session.auth_age == 0


async def test_a_request_that_polls_is_no_activity(sessions: Sessions, clock: Clock) -> None:
    """A request that says that it is passive does not keep the session alive, unless it changes something."""
    session_id = await sessions.create_session(data={"a": 1})

    async def poll(*, passive: bool) -> None:
        clock.advance(600)
        async with sessions.session(session_id) as session:
            session.passive = passive
            session.get("a")

    await poll(passive=True)
    await poll(passive=True)
    await poll(passive=False)
    for _ in range(3):
        assert await sessions.is_session_active(session_id)
        await poll(passive=True)
    clock.advance(100)
    assert not await sessions.is_session_active(session_id)


async def test_what_is_done_from_outside_is_no_activity(sessions: Sessions, clock: Clock) -> None:
    """What an operator changes is there, and does not keep the session alive."""
    session_id = await sessions.create_session(data={"a": 1})
    for number in range(2):
        clock.advance(600)
        async with sessions.session(session_id) as session:
            session.outside = True
            session["a"] = number
    assert await sessions.get_session(Handle(session_id.partition(".")[0])) == {"a": 1}
    clock.advance(700)
    assert not await sessions.is_session_active(session_id)


async def test_devices(sessions: Sessions, clock: Clock) -> None:
    """The list has the user's sessions and nobody else's, the newest first, says which one asks, and holds no secret.
    Ending one or all others ends the user's own alone, and the one that stays gets another id."""
    ids = []
    for label in ("laptop", "phone", "tablet"):
        clock.advance(1)
        ids.append(await sessions.create_session("ada", label=label))
    eve = await sessions.create_session("eve", label="eve's")
    async with sessions.session(ids[0]) as session:
        rows = await devices(sessions.engine, session)
        assert [(row["label"], row["current"]) for row in rows] == [
            ("tablet", False),
            ("phone", False),
            ("laptop", True),
        ]
        assert not any(session_id.split(".")[1] in str(rows) for session_id in ids)
        assert await end_device(sessions.engine, session, rows[1]["handle"])
        assert not await end_device(sessions.engine, session, rows[1]["handle"])
        assert not await end_device(sessions.engine, session, eve.split(".")[0])
        assert await end_other_devices(sessions.engine, session) == 1
    assert [await sessions.is_session_active(session_id) for session_id in [*ids, eve]] == [False, False, False, True]
    assert [row.label for row in await sessions.list_sessions("ada")] == ["laptop"]


async def test_who_is_not_signed_in_has_no_devices(sessions: Sessions) -> None:
    """Nobody's list is empty, and nobody ends anything."""
    ada = await sessions.create_session("ada")
    async with sessions.session(await sessions.create_session()) as session:
        assert await devices(sessions.engine, session) == []
        assert not await end_device(sessions.engine, session, ada.split(".")[0])
        assert await end_other_devices(sessions.engine, session) == 0
    assert await sessions.is_session_active(ada)


async def test_the_interface_in_json(sessions: Sessions) -> None:
    """The list comes with a token; what ends something wants it, and says what became of it."""
    phone = await sessions.create_session("ada", label="phone")
    laptop = await sessions.create_session("ada", label="laptop")
    nobody = await sessions.create_session()

    async def ask(session_id: str, method: str, handle: str | None = None, token: str = "") -> tuple[int, Any]:
        async with sessions.session(session_id) as session:
            answer = await devices_answer(sessions.engine, session, method, handle, token)
        headers = dict(answer.headers)
        assert headers["Content-Type"] == "application/json"
        assert headers["Content-Length"] == str(len(answer.body))
        return answer.status, json.loads(answer.body)

    status, listed = await ask(laptop, "GET")
    assert (status, {row["label"] for row in listed["devices"]}) == (200, {"phone", "laptop"})
    token, handle = listed["csrf_token"], phone.split(".")[0]
    assert (await ask(nobody, "GET"))[0] == 401
    assert (await ask(nobody, "DELETE", handle, token))[0] == 401
    assert (await ask(laptop, "DELETE", handle))[0] == 403
    assert (await ask(laptop, "DELETE", handle, token.swapcase()))[0] == 403
    assert await sessions.is_session_active(phone)
    assert (await ask(laptop, "DELETE", "h" * 22, token))[0] == 404
    assert await ask(laptop, "DELETE", handle, token) == (200, {"ended": 1})
    assert not await sessions.is_session_active(phone)
    await sessions.create_session("ada")
    assert await ask(laptop, "DELETE", None, token) == (200, {"ended": 1})
    assert await sessions.get_session(laptop) is None  # it was given another id
    assert len(await sessions.list_sessions("ada")) == 1


async def test_a_device_can_sign_itself_out(sessions: Sessions) -> None:
    """Ending the device that asks signs it out."""
    session_id = await sessions.create_session("ada")
    async with sessions.session(session_id) as session:
        answer = await devices_answer(sessions.engine, session, "DELETE", session.handle, csrf_token(session))
        assert answer.status == 200
    assert not await sessions.is_session_active(Handle(session_id.split(".")[0]))
