"""The gate: an ASGI application in front of the dashboard's. Nothing passes without the right to be there: no page, no
file, no socket, no frame.

    no right            401 and the sign-in page (`Password`), or 403 (`HostCheck`); sockets are refused unaccepted
    another site's page 403, whoever's browser it runs in: changes and sockets must show our own ``Origin``
    a socket            a ticket besides, which the page was given, is used up, and is of the same session as the cookie
    a right that ends   every frame that comes in asks again, and so does a clock: the page is cleared, the socket
                        closed with 1008; a response that has not begun is taken back

Operators have sessions of a manager of their own, with the operator's name for `user_id`; the application behind finds
the same session by the same cookie. What is decided, and by whom, is in `sojourn.admin.guards`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .. import ids
from ..asgi_family import credentials_of, respond
from ..config import CookieConfig
from ..csrf import csrf_token, csrf_valid
from ..exchange import ANSWERED, Answer, Credentials, Exchange, answer_for
from ..ids import Handle
from ..manager import AsyncSessionManager
from ..policy import is_over
from ..record import replace
from ..session import BaseSession, PlainAsyncSession
from ..sockets import AGAIN, POLICY, ASGIApp, Message, Receive, Scope, Send, reject
from ..tickets import redeem
from ..transport import cookie_on_loopback, headers_to_clear, headers_to_set
from .admitted import AdmittedSocket
from .answers import UNDECIDED, forbidden, hardened, over, refused, see, sending
from .audit import Audit
from .guards import HostCheck, Password, Undecided, header, is_foreign, is_own_origin
from .sign_in import SIGN_IN, SIGN_OUT, STYLES, Forms, left, root_of, sheet, sign_in_page, sign_out_page, typed

__all__ = ["Gate", "HostCheck", "Password"]

log = logging.getLogger("sojourn")

_SAFE_METHODS: Final = ("GET", "HEAD")
_MARK: Final = "_gate"  # the field that tells by which password the operator came in
_FRESH: Final = 1.0  # seconds for which the host's word holds for a response that is on its way
_EXCHANGE: Final = "/_live/exchange"


class Standing(Struct, frozen=True):
    """The right to be here, as it was found."""

    operator: str
    handle: str
    """The operator's session; empty: there is none yet."""
    generation: int
    asked_at: float
    """By the loop's clock."""


class Gate:
    """The gate in front of ``app``. ``operators`` is the manager of the operators' sessions, which ``app`` uses, too.
    ``allowed_origins`` are origins that are ours besides the one that a request is for: where a proxy does not pass on
    the ``Host``. A store that does not answer is a 503, and nobody passes."""

    def __init__(
        self,
        app: ASGIApp,
        operators: AsyncSessionManager,
        *,
        guard: Password | HostCheck,
        audit: Audit,
        title: str,
        allowed_origins: Collection[str] = (),
    ) -> None:
        self._app = app
        self._operators = operators
        self._guard = guard
        self._audit = audit
        self._title = title
        self._allowed = frozenset(allowed_origins)
        self._forms = Forms(operators.config.cookie)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, hardened(scope, send))
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            raise ValueError(f"the dashboard does not speak {scope['type']!r}")

    # --- Requests ----------------------------------------------------------------------------------------------------

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive, send)
        except ANSWERED as error:
            log.warning("the dashboard's gate could not look up who asks: %s", error)
            await respond(send, answer_for(error))
        except Undecided:
            await respond(send, UNDECIDED)
        else:
            if answer is not None:
                await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """The gate's own answer; None: it was let through, and is answered."""
        path, guard = _path(scope), self._guard
        if is_foreign(scope):
            return forbidden("another site's page has asked for this")
        if scope["method"] not in _SAFE_METHODS and not is_own_origin(scope, self._allowed):
            log.info("a request to the dashboard was refused: its page is of %a", header(scope, b"origin"))
            return forbidden("this comes from no page of the dashboard")
        if isinstance(guard, Password):
            if path in STYLES and scope["method"] in _SAFE_METHODS:
                return sheet(path)
            if path == SIGN_IN and scope["method"] == "POST":
                return await self._sign_in(Request(scope, receive), guard)
        standing = await self._standing(scope)
        if standing is None:
            return self._refusal(scope)
        if path == SIGN_IN and scope["method"] in _SAFE_METHODS:
            return see(root_of(scope))
        if path == SIGN_OUT:
            return await self._sign_out(Request(scope, receive), standing)
        if path in STYLES and scope["method"] in _SAFE_METHODS:
            return sheet(path)
        await self._pass(scope, receive, send, standing)
        return None

    async def _pass(self, scope: Scope, receive: Receive, send: Send, standing: Standing) -> None:
        """Let a request through, and its answer back if the right is still there."""
        asked, added = scope, b""  # the host's check is asked with what came
        if not standing.handle:
            if scope["method"] not in _SAFE_METHODS:
                first = forbidden("there is no session yet: open the page first")
                await (over(403) if _path(scope) == _EXCHANGE else first)(scope, receive, send)
                return
            if scope["method"] == "GET" and _path(scope) in ("", "/"):
                standing, scope, added = await self._begin(scope, standing)
        is_taken_back = False

        async def answer(message: Message) -> None:
            nonlocal is_taken_back
            if is_taken_back:
                return
            if message["type"] == "http.response.start":
                instead = await self._taken_back(asked, standing)
                if instead is not None:
                    is_taken_back = True
                    await instead(asked, receive, send)
                    return
                if added:
                    message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", added)]}
            await send(message)

        behind = {name: value for name, value in scope.items() if name != "app"}  # or a 404 is left to the host
        await self._app(behind, receive, answer)

    async def _begin(self, scope: Scope, standing: Standing) -> tuple[Standing, Scope, bytes]:
        """A session for an operator whom the host lets in: the request goes on as if its cookie had come with it."""
        session_id = await self._operators.create_session(standing.operator)
        self._audit.act(standing.operator, "sign in, by the host's check")
        cookie = self._cookie(credentials_of(scope))
        ((_, set_cookie),) = headers_to_set("cookie", session_id, cookie, None)
        shown = f"{cookie.full_name}={session_id}".encode("ascii")
        others = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        record = (await self._operators.require(session_id)).record
        begun = replace(standing, handle=record.handle, generation=record.generation)
        return begun, {**scope, "headers": [*others, (b"cookie", shown)]}, set_cookie.encode("latin-1")

    async def _taken_back(self, scope: Scope, standing: Standing) -> ASGIApp | None:
        """What is answered in place of the application, where the right has ended meanwhile; None: it has not."""
        try:
            return None if await self._still(scope, standing, _FRESH) else self._refusal(scope)
        except ANSWERED as error:
            log.warning("an answer of the dashboard was taken back: %s", error)
            return sending(answer_for(error))
        except Undecided:
            return sending(UNDECIDED)

    def _refusal(self, scope: Scope) -> Response:
        """The answer to who has not the right to be here. An open page that asks by exchanges is told that it is
        over."""
        if scope["method"] == "POST" and _path(scope) == _EXCHANGE:
            return over(401 if isinstance(self._guard, Password) else 403)
        if not isinstance(self._guard, Password):
            return forbidden("you are not among those who may look at this")
        if scope["method"] not in _SAFE_METHODS:
            return PlainTextResponse("Unauthorized: sign in first\n", 401, {"WWW-Authenticate": "Cookie"})
        return self._form(scope, self._guard, "", 401)

    # --- Signing in and out ------------------------------------------------------------------------------------------

    def _form(self, scope: Scope, guard: Password, note: str, status: int) -> Response:
        credentials = credentials_of(scope)
        cookie = self._cookie(credentials)
        secret = self._forms.secret(credentials, cookie)
        return sign_in_page(scope, self._forms, guard, self._title, secret, cookie, note, status)

    async def _sign_in(self, request: Request, guard: Password) -> Response:
        scope, credentials = request.scope, credentials_of(request.scope)
        cookie = self._cookie(credentials)
        secret, fields = self._forms.secret(credentials, cookie), await typed(request)
        if not secret:
            return self._form(scope, guard, "Your browser keeps no cookie here: this page needs https.", 403)
        token = fields.get("token", "")
        if not self._forms.fits(secret, token):
            return self._form(scope, guard, "This page was out of date. Please try again.", 403)
        wait = guard.attempts.begin(credentials.client)
        if wait:
            response = self._form(scope, guard, "Too many attempts. Please try again in a minute.", 429)
            response.headers["Retry-After"] = str(int(wait) + 1)
            return response
        self._forms.use(token)
        given = fields.get("name", "") if guard.asks_for_name else "operator"
        name = guard.name_for(given, fields.get("password", ""))
        if name is None:
            self._audit.act(given, f"sign in from {credentials.client or 'somewhere'}", outcome="refused")
            await asyncio.sleep(guard.pause)
            return self._form(scope, guard, "That is not right. Please try again.", 401)
        guard.attempts.succeeded(credentials.client)
        former = await self._shown(credentials, cookie)
        if former.stored:
            await self._operators.end_session(former.handle)
        session_id = await self._operators.create_session(name, {_MARK: guard.mark(name)})
        self._audit.act(name, f"sign in from {credentials.client or 'somewhere'}")
        response = see(root_of(scope))
        for header_name, value in headers_to_set("cookie", session_id, cookie, None):
            response.headers.append(header_name, value)
        self._forms.clear(response, cookie)
        return response

    async def _sign_out(self, request: Request, standing: Standing) -> Response:
        credentials = credentials_of(request.scope)
        cookie = self._cookie(credentials)
        session = await self._shown(credentials, cookie)
        if request.method in _SAFE_METHODS:
            if not session.stored:
                return left(request.scope, self._title)
            return sign_out_page(request.scope, self._title, standing.operator, csrf_token(session))
        if request.method != "POST":
            return PlainTextResponse("Method Not Allowed\n", 405, {"Allow": "GET, HEAD, POST"})
        if not csrf_valid(session, (await typed(request)).get("token")):
            return forbidden("this page was out of date")
        await self._operators.end_session(session.handle)
        self._audit.act(standing.operator, "sign out")
        own = isinstance(self._guard, Password)
        response = see(root_of(request.scope)) if own else left(request.scope, self._title)
        for header_name, value in headers_to_clear("cookie", cookie):
            response.headers.append(header_name, value)
        return response

    # --- Who it is ---------------------------------------------------------------------------------------------------

    async def _standing(self, scope: Scope) -> Standing | None:
        """The right of who asks; None: there is none. A session whose owner has lost the right is ended. Raises
        `StoreError`, `TooManyGuesses` and `Undecided`."""
        credentials = credentials_of(scope)
        session = await self._shown(credentials, self._cookie(credentials))
        record = session.record if session.stored else None
        shown = None if record is None else record.user_id
        if isinstance(self._guard, Password):
            name = shown if self._guard.knows(shown, session.get(_MARK)) else None
        else:
            name = await self._guard.who(scope)
        session.close()
        if record is not None and (name is None or name != shown):
            await self._expel(record.handle, shown or "")
            record = None
        if name is None:
            return None
        now = asyncio.get_running_loop().time()
        return Standing(name, record.handle if record else "", record.generation if record else 0, now)

    async def _still(self, scope: Scope, standing: Standing, fresh: float = 0.0) -> bool:
        """Whether the right is still there. Raises as `_standing`. The host is not asked again within ``fresh``
        seconds."""
        if standing.handle:
            record = await self._operators.store.load(standing.handle)
            if record is None or is_over(record, self._operators.clock()) or record.generation != standing.generation:
                return False
        recent = asyncio.get_running_loop().time() - standing.asked_at < fresh
        if isinstance(self._guard, Password) or recent:
            return True
        if await self._guard.who(scope) == standing.operator:
            return True
        if standing.handle:
            await self._expel(standing.handle, standing.operator)
        return False

    async def _expel(self, handle: str, operator: str) -> None:
        await self._operators.end_session(Handle(handle))
        self._audit.act(operator, "lose the right to be here", outcome="signed out")

    async def _shown(self, credentials: Credentials, cookie: CookieConfig) -> BaseSession:
        """The session that is shown by cookie; a new one if there is none."""
        by_cookie = replace(credentials, query="", authorization=())
        return await Exchange(self._operators, PlainAsyncSession, cookie).begin(by_cookie)

    def _cookie(self, credentials: Credentials) -> CookieConfig:
        return cookie_on_loopback(self._operators.config.cookie, credentials)

    # --- Sockets -----------------------------------------------------------------------------------------------------

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            admitted = await self._admit(scope)
        except ANSWERED as error:
            log.warning("the dashboard's gate could not look up who opens a socket: %s", error)
            await reject(scope, receive, send, answer_for(error), AGAIN)
        except Undecided:
            await reject(scope, receive, send, UNDECIDED, AGAIN)
        else:
            if isinstance(admitted, Answer):
                await reject(scope, receive, send, admitted, POLICY)
                return
            standing, opened = admitted
            guard = self._guard
            socket = AdmittedSocket(lambda: self._still(scope, standing), guard.every, guard.life, receive, send)
            await socket.run(self._app, opened)

    async def _admit(self, scope: Scope) -> tuple[Standing, Scope] | Answer:
        """The right of who opens a socket, and the scope as the application gets it; or why not."""
        if not is_own_origin(scope, self._allowed):
            log.info("a socket of the dashboard was refused: its page is of %a", header(scope, b"origin"))
            return refused(403, "Forbidden")
        standing = await self._standing(scope)
        if standing is None:
            own = isinstance(self._guard, Password)
            return refused(401, "Unauthorized") if own else refused(403, "Forbidden")
        pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        tickets = [value for name, value in pairs if name == "ticket"]
        shown = ids.split(tickets[0]) if len(tickets) == 1 else None
        if shown is None or shown[0] != standing.handle:
            return refused(403, "Forbidden")
        session = await redeem(self._operators, tickets[0], PlainAsyncSession)
        good = session.stored
        session.close()
        if not good:
            return refused(403, "Forbidden")
        query = urlencode([(name, value) for name, value in pairs if name != "ticket"]).encode("ascii")
        return standing, {**scope, "query_string": query}


def _path(scope: Scope) -> str:
    """The path within the dashboard."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path
