"""A rate limit by session: ten guesses in a minute, however many come at once.

    pip install 'sojourn' fastapi uvicorn
    python examples/rate_limit.py

`manager.update` decides on the value as it is in the store and commits before it answers, so of a hundred requests at
once ten are let through: on one process or on twenty.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from fastapi import FastAPI, HTTPException, Request

from sojourn import AsyncSessionManager, CookieConfig, SessionConfig
from sojourn.adapters.asgi import SessionMiddleware

LIMIT, WINDOW = 10, 60.0  # guesses, seconds

manager = AsyncSessionManager("memory://", config=SessionConfig(cookie=CookieConfig(insecure=True)))
app = FastAPI()
app.add_middleware(SessionMiddleware, manager=manager)

Guess = tuple[float, str]


async def allowed(session_id: str) -> bool:
    """Whether one more guess is within the limit; it is counted, if so."""
    now, mine = time.time(), secrets.token_hex(4)

    def note(guesses: list[Guess] | None) -> list[Guess]:  # may run again, on what another request has left
        recent = [guess for guess in guesses or [] if guess[0] > now - WINDOW]
        return [*recent, (now, mine)] if len(recent) < LIMIT else recent

    return any(which == mine for _, which in await manager.update(session_id, "guesses", note))


@app.post("/start")
async def start(request: Request) -> dict[str, Any]:
    """Begin: who has no session has nothing to be limited by."""
    request.session["number"] = secrets.randbelow(100)
    return {"limit": LIMIT}


@app.post("/guess/{number}")
async def guess(number: int, request: Request) -> dict[str, Any]:
    if "number" not in request.session:
        raise HTTPException(409, "start first")
    if not await allowed(request.session.session_id):
        raise HTTPException(429, "wait a minute")
    return {"right": number == request.session["number"]}


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, port=8000)
