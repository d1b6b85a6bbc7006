"""The gate's own pages: sign in, and sign out. Plain HTML with a form and two style sheets, no script.

A page for who has no session yet must be bound to something: a cookie of its own holds a random secret, and the form a
token of it (`sojourn.csrf`), good once. Nothing is stored for who merely looks at the page.
"""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from functools import cache
from importlib.resources import files
from typing import Final
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .. import ids, live
from ..config import CookieConfig
from ..cookie import clear_cookie, read_cookies, set_cookie
from ..csrf import token_fits, token_of
from ..sockets import Scope
from ..transport import Credentials
from .guards import Password, header

__all__ = [
    "SIGN_IN",
    "SIGN_OUT",
    "STYLES",
    "Forms",
    "left",
    "root_of",
    "sheet",
    "sign_in_page",
    "sign_out_page",
    "typed",
]

SIGN_IN: Final = "/_gate/sign-in"
SIGN_OUT: Final = "/_gate/sign-out"
STYLES: Final = {
    "/_gate/live.css": (live.__name__, "live.css"),
    "/_gate/sign-in.css": (__package__, "sign_in.css"),
}
"""The style sheets, and where they are."""

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # as `sojourn.ids.mint_secret` makes them
_MOST: Final = 4096  # bytes of a form
_USED: Final = 10_000  # tokens that were used and are remembered: the bound on attempts lets that many in for hours
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="stylesheet" href="{root}_gate/live.css">
<link rel="stylesheet" href="{root}_gate/sign-in.css">
<link rel="icon" href="data:,">
</head>
<body>
<main id="app">
<h1 class="title">{title}</h1>
{body}
</main>
</body>
</html>
"""
_SIGN_IN: Final = """{note}<form class="form border" method="post" action="{root}_gate/sign-in">
<input type="hidden" name="token" value="{token}">
{name}<div class="field"><label class="label" for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{focus}></div>
<button class="button primary">Sign in</button>
</form>"""
_NAME: Final = """<div class="field"><label class="label" for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus></div>
"""
_NO_NAME: Final = """<label for="name" hidden>Name</label>
<input id="name" name="name" value="operator" autocomplete="username" hidden>
"""
_SIGN_OUT: Final = """<form class="form border" method="post" action="{root}_gate/sign-out">
<input type="hidden" name="token" value="{token}">
<p class="text">You are signed in as {name}. All pages of the dashboard in this browser will close.</p>
<button class="button primary">Sign out</button>
</form>"""
_LEFT: Final = """<p class="text">You have left the dashboard.</p>
<p class="text"><a href="{root}">Open it again</a></p>"""


class Forms:
    """The sign-in form of one dashboard, as far as it is bound to a browser."""

    def __init__(self, cookie: CookieConfig) -> None:
        self._name = f"{cookie.name}-form"
        self._used: OrderedDict[str, None] = OrderedDict()

    def secret(self, credentials: Credentials, cookie: CookieConfig) -> str:
        """What this browser's cookie holds; empty if there is none, or none that can be trusted."""
        shown = read_cookies(credentials.cookies, self._cookie(cookie))
        return shown[0] if len(shown) == 1 and _SECRET.fullmatch(shown[0]) else ""

    def set(self, response: Response, secret: str, cookie: CookieConfig) -> None:
        """Have the browser keep this."""
        response.headers.append("Set-Cookie", set_cookie(secret, self._cookie(cookie), None))

    def clear(self, response: Response, cookie: CookieConfig) -> None:
        """Have it forget."""
        response.headers.append("Set-Cookie", clear_cookie(self._cookie(cookie)))

    def fits(self, secret: str, token: str) -> bool:
        """Whether this is a token of this browser's, that was not used yet."""
        return token_fits(secret, token) and token not in self._used

    def use(self, token: str) -> None:
        """It is not good any more."""
        self._used[token] = None
        if len(self._used) > _USED:
            self._used.popitem(last=False)

    def _cookie(self, cookie: CookieConfig) -> CookieConfig:
        return CookieConfig(name=self._name, samesite="Strict", insecure=cookie.insecure)


def sign_in_page(
    scope: Scope, forms: Forms, guard: Password, title: str, secret: str, cookie: CookieConfig, note: str, status: int
) -> Response:
    """The sign-in page, with a form that is bound to this browser. ``note`` says what was wrong; empty: nothing."""
    fresh = secret or ids.mint_secret()
    body = _SIGN_IN.format(
        note=f'<p class="note" role="alert">{html.escape(note)}</p>\n' if note else "",
        root=html.escape(root_of(scope)),
        token=html.escape(token_of(fresh)),
        name=_NAME if guard.asks_for_name else _NO_NAME,
        focus="" if guard.asks_for_name else " autofocus",
    )
    response = _page(scope, title, body, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Cookie realm="dashboard"'  # a scheme that makes browsers ask nothing
    if not secret:
        forms.set(response, fresh, cookie)
    return response


def sign_out_page(scope: Scope, title: str, operator: str, token: str) -> Response:
    """Asks whether to sign out: a link alone must not do it."""
    body = _SIGN_OUT.format(root=html.escape(root_of(scope)), token=html.escape(token), name=html.escape(operator))
    return _page(scope, title, body, 200)


def left(scope: Scope, title: str) -> Response:
    """Says that one has signed out, where the host's check would let one in again at once."""
    return _page(scope, title, _LEFT.format(root=html.escape(root_of(scope))), 200)


def _page(scope: Scope, title: str, body: str, status: int) -> Response:
    return HTMLResponse(_PAGE.format(title=html.escape(title), root=html.escape(root_of(scope)), body=body), status)


def root_of(scope: Scope) -> str:
    """The path that the dashboard is mounted under, with a slash at its end: never another host, never a line break,
    whatever the path of a request was."""
    path = str(scope.get("root_path", "")).strip("/\\")
    return f"/{quote(path, safe='/')}/" if path else "/"


def sheet(path: str) -> Response:
    """A style sheet."""
    return Response(_content(*STYLES[path]), 200, media_type="text/css")


@cache
def _content(package: str, name: str) -> bytes:
    return files(package).joinpath("static", name).read_bytes()


async def typed(request: Request) -> dict[str, str]:
    """The fields of a form; empty for anything that is no form, too long, or malformed. Of a field that is there twice,
    none counts."""
    if header(request.scope, b"content-type").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST:
            return {}
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError:
        return {}
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}
