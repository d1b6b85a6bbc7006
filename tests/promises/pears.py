"""The ways to write: each puts a pear into a session's cart, as users would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from worlds import Sessions

Write = Callable[[Sessions, str], Awaitable[None]]


async def append(sessions: Sessions, session_id: str) -> None:
    async with sessions.session(session_id) as session:
        session["cart"].append("pear")


async def save(sessions: Sessions, session_id: str) -> None:
    async with sessions.session(session_id) as session:
        session["cart"].append("pear")
        await sessions.save(session)


async def update(sessions: Sessions, session_id: str) -> None:
    assert await sessions.update(session_id, "cart", lambda cart: [*cart, "pear"]) == ["apple", "pear"]


async def transaction(sessions: Sessions, session_id: str) -> None:
    await sessions.transaction(session_id, lambda session: session["cart"].append("pear"))


async def exclusive(sessions: Sessions, session_id: str) -> None:
    async with sessions.exclusive(session_id) as session:
        session["cart"].append("pear")


async def rotate(sessions: Sessions, session_id: str) -> None:
    async with sessions.session(session_id) as session:
        session["cart"].append("pear")
        session.rotate()


async def login(sessions: Sessions, session_id: str) -> None:
    async with sessions.session(session_id) as session:
        session["cart"].append("pear")
        session.login("ada")


WAYS: tuple[Write, ...] = (append, save, update, transaction, exclusive, rotate, login)


def each_of(*ways: Write) -> pytest.MarkDecorator:
    """Run a test with each of these ways in turn, as its argument ``write``."""
    return pytest.mark.parametrize("write", ways, ids=lambda write: write.__name__)
