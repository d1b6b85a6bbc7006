"""Signing in and out, with a token against forged requests, a fresh sign-in for what is sensitive, a list of devices,
and "sign out everywhere".

    pip install 'sojourn' fastapi uvicorn
    python examples/login.py
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

from sojourn import AsyncSessionManager, CookieConfig, SessionConfig, csrf_token, csrf_valid, login, logout
from sojourn.adapters.asgi import SessionMiddleware, device_routes

FRESH = 300.0  # seconds after a sign-in in which the password may be changed


def hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


_salt = os.urandom(16)
users = {"ada": (_salt, hashed("lovelace", _salt))}  # yours are in a database

config = SessionConfig(cookie=CookieConfig(insecure=True), max_sessions_per_user=5)
manager = AsyncSessionManager("sqlite:///login.db", config=config)
app = FastAPI()
app.add_middleware(SessionMiddleware, manager=manager)
app.mount("/devices", device_routes(manager))


class Credentials(BaseModel):
    name: str
    password: str
    remember: bool = False


async def checked(request: Request, x_csrf_token: Annotated[str, Header()] = "") -> Any:
    """The session of a request that comes from a page of ours."""
    if not csrf_valid(request.session, x_csrf_token):
        raise HTTPException(403, "get a token at / and send it in X-CSRF-Token")
    return request.session


Checked = Annotated[Any, Depends(checked)]


@app.get("/")
async def page(request: Request) -> dict[str, Any]:
    """What a page would show: who is signed in, and the token for its forms."""
    return {"user": request.session.user_id, "csrf_token": csrf_token(request.session)}


@app.post("/sign-in")
async def sign_in(given: Credentials, session: Checked, request: Request) -> dict[str, Any]:
    salt, stored = users.get(given.name, (_salt, b""))
    if not hmac.compare_digest(hashed(given.password, salt), stored):
        raise HTTPException(401, "wrong name or password")
    login(session, given.name, label=request.headers.get("user-agent", "unknown"), remember=given.remember)
    return {"user": given.name, "csrf_token": csrf_token(session)}  # another id, so another token


@app.post("/sign-out")
async def sign_out(session: Checked) -> dict[str, Any]:
    logout(session)
    return {}


@app.post("/password")
async def change_password(given: Credentials, session: Checked) -> dict[str, Any]:
    """For who signed in a moment ago. All other devices are signed out, and this one gets another id."""
    if session.user_id is None or session.auth_age > FRESH:
        raise HTTPException(401, "sign in again first")
    salt = os.urandom(16)
    users[session.user_id] = (salt, hashed(given.password, salt))
    ended = await manager.end_user_sessions(session.user_id, keep=session.handle)
    session.rotate()
    return {"ended": ended}


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, port=8000)
