"""FastAPI: the session as a typed dependency, and others that ask for a user, a fresh sign-in, a token.

app.add_middleware(SessionMiddleware, manager=sessions)   # of `sojourn.adapters.asgi`
app.include_router(device_router(sessions))

@app.get("/cart")
async def cart(session: SessionDep) -> list[str]: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias, cast
from urllib.parse import parse_qsl

from ..asgi_family import ASGISession, ASGISocketSession
from ..csrf import csrf_valid
from ..errors import ConfigurationError, MissingExtra
from ..exchange import Answer
from ..manager import AsyncSessionManager
from ..users import devices_answer

try:
    from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response, WebSocket
    from fastapi.requests import HTTPConnection
    from pydantic import BaseModel
except ImportError as error:
    raise MissingExtra("sojourn.adapters.fastapi", "fastapi") from error

__all__ = [
    "Device",
    "DeviceList",
    "Ended",
    "Problem",
    "SessionDep",
    "SocketSessionDep",
    "UserDep",
    "csrf_protected",
    "device_router",
    "fresh_sign_in",
    "get_session",
    "get_socket_session",
    "signed_in",
]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FIELD: Final = "csrf_token"

_Responses: TypeAlias = dict[int | str, dict[str, Any]]


# --- The session ------------------------------------------------------------------------------------------------------


async def get_session(request: Request) -> ASGISession:
    """The request's session. `ConfigurationError` without the middleware."""
    return cast(ASGISession, _found(request, ASGISession))


async def get_socket_session(websocket: WebSocket) -> ASGISocketSession:
    """The session of a WebSocket. `ConfigurationError` without the middleware."""
    return cast(ASGISocketSession, _found(websocket, ASGISocketSession))


SessionDep = Annotated[ASGISession, Depends(get_session)]
"""A parameter of this type is the request's session."""

SocketSessionDep = Annotated[ASGISocketSession, Depends(get_socket_session)]
"""A parameter of this type is the session of a WebSocket."""


# --- Who may ----------------------------------------------------------------------------------------------------------


async def signed_in(connection: HTTPConnection) -> str:
    """The id of the user who is signed in, in a request or in a WebSocket; 401 if nobody is, which refuses a
    WebSocket."""
    session = _found(connection, ASGISession, ASGISocketSession)
    if session.user_id is None:
        raise HTTPException(401, "sign in first")
    return session.user_id


UserDep = Annotated[str, Depends(signed_in)]
"""A parameter of this type is the id of the user who is signed in; there is a 401 for who is not."""


def fresh_sign_in(within: float = 300.0) -> Callable[[HTTPConnection], str]:
    """A dependency for what wants the password again: ``user: Annotated[str, Depends(fresh_sign_in(300))]`` is the id
    of a user who signed in at most so many seconds ago. 401 if nobody is signed in, 403 if it was longer ago: then the
    page asks for the password, and calls `login` again."""

    async def freshly_signed_in(connection: HTTPConnection) -> str:
        user_id = await signed_in(connection)
        age = _found(connection, ASGISession, ASGISocketSession).auth_age
        if age is None or age > within:
            raise HTTPException(403, "sign in again: this wants a fresh sign-in")
        return user_id

    return cast(Callable[[HTTPConnection], str], freshly_signed_in)


async def csrf_protected(
    request: Request,
    session: SessionDep,
    x_csrf_token: Annotated[str | None, Header(description="the token of the page (`csrf_token`)")] = None,
) -> None:
    """A dependency of what changes something: ``dependencies=[Depends(csrf_protected)]``, of a route, a router or the
    application. The token (`sojourn.csrf.csrf_token`) comes in the header ``X-CSRF-Token``, or in the field
    ``csrf_token`` of a form without files. 403 where it is missing, or none of this session's as it is now. ``GET`` and
    the like need none."""
    if request.method in _SAFE:
        return
    token = x_csrf_token if x_csrf_token is not None else await _token_of_the_form(request)
    if not csrf_valid(session, token):
        raise HTTPException(403, "the csrf_token is missing, or of another session: load the page again")


# --- Devices ----------------------------------------------------------------------------------------------------------


class Device(BaseModel):
    """One of the user's sessions. Times are in Unix seconds."""

    handle: str
    label: str | None
    created_at: float
    last_accessed_at: float
    current: bool


class DeviceList(BaseModel):
    """The user's sessions, the newest first, and the token to end some with."""

    csrf_token: str
    devices: list[Device]


class Ended(BaseModel):
    """How many sessions ended."""

    ended: int


class Problem(BaseModel):
    """Why it was refused."""

    error: str


def device_router(manager: AsyncSessionManager, *, prefix: str = "/devices") -> APIRouter:
    """The JSON interface of a user's devices (`sojourn.users`), in the OpenAPI document: ``GET`` lists, ``DELETE``
    below it with a handle ends one, ``DELETE`` of the whole ends all others."""
    router = APIRouter(prefix=prefix, tags=["devices"])
    refused: _Responses = {401: {"model": Problem, "description": "Nobody is signed in"}}
    untold: _Responses = {403: {"model": Problem, "description": "The token of the list is missing"}, **refused}
    unknown: _Responses = {404: {"model": Problem, "description": "The user has no such device"}, **untold}

    @router.get("", response_model=DeviceList, responses=refused)
    async def list_devices(session: SessionDep) -> Response:
        """The sessions of the user who is signed in."""
        return _response(await devices_answer(manager, session, "GET", None, ""))

    @router.delete("", response_model=Ended, responses=untold)
    async def end_other_devices(session: SessionDep, x_csrf_token: Annotated[str, Header()] = "") -> Response:
        """Sign out everywhere else."""
        return _response(await devices_answer(manager, session, "DELETE", None, x_csrf_token))

    @router.delete("/{handle}", response_model=Ended, responses=unknown)
    async def end_device(handle: str, session: SessionDep, x_csrf_token: Annotated[str, Header()] = "") -> Response:
        """Sign out on one device."""
        return _response(await devices_answer(manager, session, "DELETE", handle, x_csrf_token))

    return router


# --- Parts ------------------------------------------------------------------------------------------------------------


def _found(
    connection: HTTPConnection, *kinds: type[ASGISession | ASGISocketSession]
) -> ASGISession | ASGISocketSession:
    session = connection.scope.get("session")
    if not isinstance(session, kinds):
        raise ConfigurationError(
            "there is no session of Sojourn's here: app.add_middleware(sojourn.adapters.asgi.SessionMiddleware, "
            "manager=...)"
        )
    session.accessed = True
    return session


async def _token_of_the_form(request: Request) -> str | None:
    """The token in a form. The body is kept for whoever reads it next."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    pairs = parse_qsl((await request.body()).decode("latin-1"))
    return next((value for name, value in pairs if name == _FIELD), None)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
