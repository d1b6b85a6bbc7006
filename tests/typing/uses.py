"""How users write it, for mypy alone: each line says what type it must come to. Nothing here is run."""

from __future__ import annotations

from typing import Any, assert_type

from sojourn import AsyncSession, AsyncSessionManager, Change, Handle, Session, SessionManager, Summary


def blocking(sessions: SessionManager) -> None:
    session_id = sessions.create_session(user_id="ada", data={"n": 1})
    assert_type(session_id, str)
    assert_type(sessions.get_session(session_id), dict[str, Any] | None)
    with sessions.session(session_id) as session:
        assert_type(session, Session)
        session.update("n", lambda n: (n or 0) + 1)
        assert_type(session.handle, Handle)
        assert_type(session.rotate(), str)
        session.save()
    assert_type(sessions.update(session_id, "n", lambda n: int(n or 0) + 1), int)
    assert_type(sessions.transaction(session_id, lambda session: str(session["n"])), str)
    assert_type(sessions.list_sessions(user_id="ada"), list[Summary])
    assert_type(sessions.end_user_sessions("ada", keep=session_id), int)
    assert_type(sessions.changes(), tuple[int, list[Change]])


async def asynchronous(sessions: AsyncSessionManager) -> None:
    session_id = await sessions.create_session(user_id="ada", data={"n": 1})
    async with sessions.session(session_id) as session:
        assert_type(session, AsyncSession)
        await session.save()
    assert_type(await sessions.update(session_id, "n", lambda n: int(n or 0) + 1), int)
    assert_type(await sessions.is_session_active(session_id), bool)
