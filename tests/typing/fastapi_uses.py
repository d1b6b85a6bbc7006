"""How users of FastAPI write it, for mypy alone: each line says what type it must come to. Nothing here is run."""

from __future__ import annotations

from typing import Annotated, assert_type

from fastapi import APIRouter, Depends, FastAPI

from sojourn import AsyncSessionManager, Change
from sojourn.adapters.asgi import ASGISession, ASGISocketSession, SessionMiddleware
from sojourn.adapters.fastapi import (
    SessionDep,
    SocketSessionDep,
    UserDep,
    csrf_protected,
    device_router,
    fresh_sign_in,
)
from sojourn.users import login, logout

sessions = AsyncSessionManager("sqlite:///sessions.db")
app = FastAPI(lifespan=None)
app.add_middleware(SessionMiddleware, manager=sessions)
app.add_middleware(SessionMiddleware, secret_key="secret", max_age=None, same_site="strict", https_only=True)
assert_type(device_router(sessions, prefix="/me/devices"), APIRouter)


@app.get("/cart")
async def cart(session: SessionDep) -> list[str]:
    assert_type(session, ASGISession)
    assert_type(session.user_id, str | None)
    assert_type(session.auth_age, float | None)
    await session.save()
    kept: list[str] = session.get("cart", [])
    return kept


@app.post("/sign-in", dependencies=[Depends(csrf_protected)])
def sign_in(session: SessionDep) -> None:
    assert_type(login(session, "ada", remember=True), str)
    logout(session)


@app.get("/me")
def me(user: UserDep, sure: Annotated[str, Depends(fresh_sign_in(60))]) -> str:
    assert_type(user, str)
    return sure


@app.websocket("/lobby")
async def lobby(session: SocketSessionDep, user: UserDep) -> None:
    assert_type(session, ASGISocketSession)
    await session.commit()
    await session.refresh()
    async for change in session.changes():
        assert_type(change, Change)
