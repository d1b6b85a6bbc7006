"""The gate: signing in and out, whom the host's check lets in, and what becomes of an open page when the right to be
there ends. That nobody gets past it is in test_trespass.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from gated import PASSWORD, SECRET, UNDER, Operator, gated, operators_in, page_for, token_on
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from visiting import Visitor, served

from servers.process import until
from sojourn import ConfigurationError, Handle, UnsupportedValue
from sojourn.admin.audit import Audit
from sojourn.admin.gate import Gate, HostCheck, Password
from sojourn.admin.guards import Attempts, Undecided, is_foreign, is_own_origin
from sojourn.admin.sign_in import root_of
from sojourn.testing import Clock

WRONG = "wrong horse battery"


class Host:
    """The host application's word, which a test changes: a name, None, or an error to raise."""

    def __init__(self, said: Any = "ada") -> None:
        self.said = said
        self.asked: list[HTTPConnection] = []

    def __call__(self, request: HTTPConnection) -> Any:
        self.asked.append(request)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


# --- The dashboard's own sign-in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("under", ["", UNDER])
def test_signing_in_and_out(under: str) -> None:
    """Who has no right sees the sign-in page and nothing else; with the password there are the page and its socket;
    after signing out the socket is closed, the cookie gone, and the sign-in page back. Each step is audited."""
    with gated(Password(PASSWORD), under=under) as site:
        ada = site.operator()
        first = ada.request("GET", "/")
        assert (first.status_code, SECRET in first.text) == (401, False)
        assert 'type="password"' in first.text
        done = ada.sign_in()
        assert (done.status_code, done.headers["location"]) == (303, f"{under}/")
        tab = ada.tab()
        assert tab.shows("s:greeting")["text"] == f"{SECRET}: operator"
        assert tab.click("s:button")["t"] == "changes"
        assert tab.shows("s:count")["text"] == "1"
        assert ada.sign_out().status_code == 303
        assert tab.closed() == 1008
        assert tab.model.ended == "ended"
        assert "dashboard" not in ada.cookies
        assert ada.request("GET", "/").status_code == 401
        assert site.told() == [
            ("operator", "sign in from 127.0.0.1", "done"),
            ("operator", "sign out", "done"),
        ]


def test_each_operator_has_a_name() -> None:
    """With a mapping of names to passwords the page asks for both; each name takes its own password and no other's,
    and is the `user_id` of the session."""
    with gated(Password({"ada": PASSWORD, "bob": f"{PASSWORD} too"}, pause=0)) as site:
        ada = site.operator()
        assert 'name="name"' in ada.request("GET", "/").text
        assert ada.sign_in(f"{PASSWORD} too", name="ada").status_code == 401
        assert ada.sign_in(PASSWORD, name="eve").status_code == 401
        assert ada.sign_in(PASSWORD).status_code == 401
        assert ada.sign_in(PASSWORD, name="ada").status_code == 303
        assert f"{SECRET}: ada" in ada.request("GET", "/").text
        (summary,) = site.site.do(site.operators.list_sessions("ada"))
        assert summary.handle == ada.handle
        assert [who for who, *_ in site.told()] == ["ada", "eve", "", "ada"]


def test_signing_in_again_ends_the_session_before() -> None:
    """Who signs in anew in the same browser gets another id, and the session before is over. Who is signed in and asks
    for the form is sent to the page."""
    with gated(Password(PASSWORD)) as site:
        ada, again = site.operator(), site.operator()
        assert ada.sign_in().status_code == 303
        before = ada.session_id
        assert ada.request("GET", "/_gate/sign-in").status_code == 303
        form = token_on(again.request("GET", "/").text)
        again.cookies["dashboard"] = before
        assert again.post("/_gate/sign-in", data={"token": form, "password": PASSWORD}).status_code == 303
        assert again.session_id.partition(".")[0] != before.partition(".")[0]
        assert ada.request("GET", "/").status_code == 401
        assert again.request("GET", "/").status_code == 200


def test_looking_at_the_sign_in_page_stores_nothing() -> None:
    """Fifty visits of the sign-in page, and fifty with made-up ids, leave no record in the store."""
    with gated(Password(PASSWORD)) as site, httpx.Client(verify=False, headers={"Connection": "close"}) as client:
        url = f"http://127.0.0.1:{site.site.port}/"
        before = site.site.do(site.operators.stats()).sessions
        for n in range(50):
            assert client.get(url).status_code == 401
            made_up = f"{n:022}.{'x' * 43}"
            assert client.get(url, headers={"Cookie": f"dashboard={made_up}"}).status_code == 401
        assert site.site.do(site.operators.stats()).sessions == before
        assert site.passed.requests == []


def test_a_session_ends_with_its_password(tmp_path: Path) -> None:
    """When the password has been changed, or the operator's name taken out, sessions that began with it are over, in a
    store that outlives the process, too; the others go on."""
    store = f"sqlite:///{tmp_path}/operators.db"
    both = {"ada": PASSWORD, "bob": f"{PASSWORD} of bob"}
    cookies: dict[str, dict[str, str]] = {}
    with gated(Password(both), operators=operators_in(store)) as site:
        for name, password in both.items():
            one = site.operator()
            assert one.sign_in(password, name=name).status_code == 303
            cookies[name] = one.cookies
    for changed, welcome in (
        (both, {"ada": 200, "bob": 200}),
        ({"ada": f"{PASSWORD}!", "bob": both["bob"]}, {"ada": 401, "bob": 200}),
        ({"ada": PASSWORD}, {"ada": 401, "bob": 401}),
    ):
        with gated(Password(changed), operators=operators_in(store)) as again:
            for name, status in welcome.items():
                one = again.operator()
                one.cookies = dict(cookies[name])
                assert one.request("GET", "/").status_code == status, (name, changed)


@pytest.mark.parametrize("password", ["", "short", "elevenchars", None, {}, {"ada": "short"}, {"": PASSWORD}])
def test_a_password_that_cannot_work_is_refused_at_once(password: Any) -> None:
    """An empty or short password, and a mapping that names nobody, are refused when the gate is made."""
    with pytest.raises((ConfigurationError, UnsupportedValue, TypeError)):
        Password(password)


def test_the_form_of_a_letter_does_not_matter() -> None:
    """A password is the same however a system writes its umlauts."""
    guard = Password("stra\u00dfe und \u00fcber")
    assert guard.name_for("", "stra\u00dfe und u\u0308ber") == "operator"
    assert guard.name_for("", "stra\u00dfe und uber") is None
    assert guard.name_for("", "\ud800" * 12) is None


def test_checking_a_password_takes_as_long_whatever_is_right_about_it() -> None:
    """A known name and an unknown one, a password that is nearly right and one that is not at all: all take the same
    time to be refused, within a third of it."""
    guard = Password({"ada": PASSWORD})
    tries = {
        "right": ("ada", PASSWORD),
        "nearly": ("ada", PASSWORD[:-1] + "Y"),
        "nothing right": ("ada", "x" * len(PASSWORD)),
        "nobody": ("eve", PASSWORD),
    }
    took: dict[str, float] = dict.fromkeys(tries, float("inf"))
    for _ in range(300):
        for what, (name, password) in tries.items():
            began = time.perf_counter()
            for _ in range(5):
                guard.name_for(name, password)
            took[what] = min(took[what], time.perf_counter() - began)
    assert max(took.values()) < min(took.values()) * 4 / 3, took


# --- Guessing --------------------------------------------------------------------------------------------------------


def test_guessing_is_slow_and_soon_over() -> None:
    """A wrong password is answered after a pause. Ten at once from one address, then 429 with ``Retry-After``, for the
    right one, too; they are told in the audit, and what was typed is not."""
    with gated(Password(PASSWORD, attempts=10)) as site:
        ada = site.operator()
        began = time.monotonic()
        assert ada.sign_in(WRONG).status_code == 401
        assert time.monotonic() - began >= 1

        def guess(n: int) -> int:
            return site.operator().sign_in(f"{WRONG} {n}").status_code

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(guess, range(20)))
        assert sorted(answers) == [401] * 9 + [429] * 11
        refused = ada.sign_in()
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert site.told() == [("operator", "sign in from 127.0.0.1", "refused")] * 10


def test_a_minute_later_it_can_be_tried_again() -> None:
    """The bound is of the last minute: of one address, of one household with IPv6, and ten times as much of all."""
    clock = Clock()
    attempts = Attempts(3, clock)
    assert [attempts.begin("192.0.2.1") for _ in range(3)] == [0, 0, 0]
    assert attempts.begin("192.0.2.1") == 60
    clock.now += 30
    assert attempts.begin("192.0.2.1") == 30
    assert attempts.begin("192.0.2.2") == 0
    clock.now += 30
    assert [attempts.begin("192.0.2.1") for _ in range(4)] == [0, 0, 0, 60]
    assert [attempts.begin(f"2001:db8::{n}") for n in range(4)] == [0, 0, 0, 60]
    assert [attempts.begin(where) for where in ("", "a unix socket", "?", "[")] == [0, 0, 0, 60]


def test_who_signs_in_is_not_counted() -> None:
    """Only what fails counts: who signs in a hundred times is never kept out."""
    attempts = Attempts(3, Clock())
    for _ in range(100):
        assert attempts.begin("192.0.2.1") == 0
        attempts.succeeded("192.0.2.1")
    assert [attempts.begin("192.0.2.1") for _ in range(4)] == [0, 0, 0, 60]


def test_strangers_cannot_keep_an_operator_out() -> None:
    """When many addresses together have used up what all may try, who has signed in from an address before can still do
    so there."""
    attempts = Attempts(3, Clock())
    assert attempts.begin("192.0.2.1") == 0
    attempts.succeeded("192.0.2.1")
    began = [attempts.begin(f"198.51.100.{n}") for n in range(40)]
    assert began == [0] * 30 + [60] * 10
    assert attempts.begin("203.0.113.1") == 60
    assert attempts.begin("192.0.2.1") == 0


def test_guessing_costs_bounded_memory() -> None:
    """A million addresses leave no more behind than the bound lets begin; a minute later nothing."""
    clock = Clock()
    attempts = Attempts(10, clock)
    for n in range(20_000):
        attempts.begin(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(attempts._sources) == len(attempts._all) == 100
    clock.now += 61
    attempts.begin("192.0.2.1")
    assert len(attempts._sources) == len(attempts._all) == 1


# --- The host's check ------------------------------------------------------------------------------------------------


def test_the_hosts_check_lets_in_by_itself() -> None:
    """Whom the host names is in at once, without a redirect: the page comes with a session that bears the name, and its
    socket works. The check gets the request, with the host's own cookies."""
    host = Host("ada")
    with gated(HostCheck(host), under=UNDER) as site:
        ada = site.operator()
        ada.cookies["host"] = "a cookie of the host's"
        tab = ada.tab()
        assert tab.shows("s:greeting")["text"] == f"{SECRET}: ada"
        handle = ada.handle
        assert {request.cookies["host"] for request in host.asked} == {"a cookie of the host's"}
        assert tab.click("s:button")["t"] == "changes"
        assert ada.request("GET", "/").status_code == 200
        assert ada.handle == handle
        assert site.told() == [("ada", "sign in, by the host's check", "done")]
        assert "Path=/; HttpOnly; SameSite=Strict" in site.operator().request("GET", "/").headers["set-cookie"]


def test_the_check_is_asked_with_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is asked again before an answer leaves, with the request as it came, the host's cookies included,
    although the app behind the gate is shown a cookie that the browser did not send."""
    monkeypatch.setattr("sojourn.admin.gate._FRESH", 0.0)
    asked = []

    def check(request: HTTPConnection) -> str | None:
        asked.append(dict(request.cookies))
        return request.cookies.get("host")

    with gated(HostCheck(check)) as site:
        ada = site.operator()
        ada.cookies["host"] = "ada"
        ada.load()
        assert asked == [{"host": "ada"}] * 2


async def _says_ada(request: HTTPConnection) -> str:
    await asyncio.sleep(0)
    return "ada"


class _Callable:
    async def __call__(self, request: HTTPConnection) -> str:
        return "ada"


@pytest.mark.parametrize("check", [_says_ada, _Callable(), lambda request: "ada"], ids=["async", "object", "plain"])
async def test_a_check_may_be_a_coroutine_function(check: Callable[[Any], Any]) -> None:
    """The check is a plain function, a coroutine function, or an object that is called like either."""
    assert await HostCheck(check).who({"type": "http", "headers": []}) == "ada"


@pytest.mark.parametrize("said", [None, False, True, "", 1, b"ada", ["ada"], "\ud800"], ids=ascii)
async def test_only_a_name_lets_in(said: Any, caplog: pytest.LogCaptureFixture) -> None:
    """None and False are "no"; anything but a name is refused as well, and logged: True is nobody's name."""
    assert await HostCheck(Host(said)).who({"type": "http", "headers": []}) is None
    assert ("returns a name" in caplog.text) == (said is not None and said is not False)


def test_whom_the_host_does_not_name_is_refused() -> None:
    """Who is nobody to the host gets 403, no cookie, and nothing of what is behind the gate."""
    with gated(HostCheck(Host(None))) as site:
        eve = site.operator()
        answer = eve.request("GET", "/")
        assert (answer.status_code, eve.cookies) == (403, {})
        assert site.passed.requests == []


def test_a_check_that_fails_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    """While the check raises, the answer is 503, to sockets as well, and an open socket is closed with 1013; sessions
    stay, and work again when it does."""
    host = Host("ada")
    with gated(HostCheck(host, every=0.05)) as site:
        ada = site.operator()
        tab = ada.tab()
        ada.load()
        host.said = RuntimeError("the database is away")
        assert tab.closed() == 1013
        assert tab.model.ended is None
        assert ada.request("GET", "/").status_code == 503
        assert ada.knock(f"?ticket={ada.ticket()}", **ada.origin) == 503
        host.said = "ada"
        assert ada.knock(f"?ticket={ada.ticket()}", **ada.origin) == 101
    assert "the database is away" in caplog.text


async def test_a_check_that_hangs_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that does not come to an end is given up."""
    monkeypatch.setattr("sojourn.admin.guards._PATIENCE", 0.05)
    forever = asyncio.Event()

    async def check(request: HTTPConnection) -> str:
        await forever.wait()
        return "ada"

    with pytest.raises(Undecided):
        await HostCheck(check).who({"type": "http", "headers": []})


def test_another_operator_in_the_same_browser() -> None:
    """When the host says another name than that of the session, the session is ended, and another begins: nobody sees
    another's page."""
    host = Host("ada")
    with gated(HostCheck(host, every=60)) as site:
        one = site.operator()
        tab = one.tab()
        tab.click("s:button")  # so that nothing is on its way
        before = one.handle
        host.said = "bob"
        assert one.load().find("s:greeting")["props"]["text"] == f"{SECRET}: bob"
        assert one.handle != before
        assert tab.closed() == 1008
        assert site.site.do(site.operators.list_sessions("ada")) == []


def test_signing_out_where_the_host_decides() -> None:
    """Signing out ends the dashboard's session and says so; the host's sign-in stays, and the next visit begins
    anew."""
    with gated(HostCheck(Host("ada"))) as site:
        ada = site.operator()
        tab = ada.tab()
        answer = ada.sign_out()
        assert (answer.status_code, "You have left" in answer.text) == (200, True)
        assert tab.closed() == 1008
        assert ada.cookies == {}
        assert "You have left" in ada.request("GET", "/_gate/sign-out").text
        ada.load()
        begun = "sign in, by the host's check"
        assert [what for _, what, _ in site.told()] == [begun, "sign out", begun]


def test_behind_a_hosts_own_middleware() -> None:
    """Mounted in an application, the check sees what the application's middleware has found out, of a page and of a
    socket."""

    class ByHeader(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> Any:
            name = conn.headers.get("x-user")
            return (AuthCredentials(), SimpleUser(name)) if name else None

    operators = operators_in()
    app = page_for(operators)
    check = HostCheck(lambda request: request.user.display_name or None)
    gate = Gate(app, operators, guard=check, audit=Audit(), title="Sessions")
    host = Starlette(routes=[Mount(UNDER, gate)], middleware=[Middleware(AuthenticationMiddleware, backend=ByHeader())])
    with served(host, UNDER) as site:
        assert Visitor(site.port, UNDER).request("GET").status_code == 403
        ada = Operator(site.port, UNDER, {"X-User": "ada"})
        assert ada.tab().shows("s:greeting")["text"] == f"{SECRET}: ada"
        site.do(app.close())
        site.do(operators.close())


def test_a_check_must_be_callable() -> None:
    """What cannot be called is refused when the gate is made."""
    with pytest.raises(ConfigurationError, match="callable"):
        HostCheck("ada")  # type: ignore[arg-type]


# --- A right that ends -----------------------------------------------------------------------------------------------


def test_a_right_that_ends_closes_the_page() -> None:
    """When the host takes the right away, the open page is cleared and its socket closed with 1008 soon after, although
    nothing is done on it; the session is over, and the next request is refused."""
    host = Host("ada")
    with gated(HostCheck(host, every=0.1)) as site:
        ada = site.operator()
        tab = ada.tab()
        tab.click("s:button")  # so that nothing is on its way
        handle = ada.handle
        host.said = None
        began = time.monotonic()
        assert tab.closed() == 1008
        assert time.monotonic() - began < 2
        assert (tab.model.ended, tab.model.children) == ("ended", [])
        assert ada.request("GET", "/").status_code == 403
        assert not site.site.do(site.operators.is_session_active(Handle(handle)))
        assert ("ada", "lose the right to be here", "signed out") in site.told()


@pytest.mark.parametrize("kind", ["password", "check"])
def test_a_session_that_ends_elsewhere_closes_the_page(kind: str) -> None:
    """When an operator's session is ended from outside, its socket is closed with 1008."""
    with gated(Password(PASSWORD) if kind == "password" else HostCheck(Host("ada"))) as site:
        ada = site.operator()
        if kind == "password":
            ada.sign_in()
        tab = ada.tab()
        site.end(ada.handle)
        assert tab.closed() == 1008


def test_a_socket_comes_through_the_host_again() -> None:
    """A socket that the host's check let in is closed with 1013 after a while, so that the tab comes through the host's
    middleware again; with the ticket that it was given, it goes on where it was."""
    with gated(HostCheck(Host("ada"), life=3.0)) as site:  # long enough for a click on a machine that pauses
        ada = site.operator()
        tab = ada.tab()
        assert tab.click("s:button")["t"] == "changes"
        (given,) = [frame["ticket"] for frame in tab.frames if frame["t"] == "ticket"]
        assert tab.closed() == 1013
        assert tab.model.ended is None
        tab.connect(query=f"?ticket={given}", headers=ada.origin)
        assert tab.click("s:button")["t"] == "changes"
        assert tab.shows("s:count")["text"] == "2"
        assert [frame["t"] for frame in tab.frames].count("page") == 0


def test_the_gate_leaves_nothing_behind() -> None:
    """When sockets have come and gone, none of the gate's tasks is left."""
    with gated(HostCheck(Host("ada"))) as site:
        ada = site.operator()
        for _ in range(5):
            ada.tab().leave()

        def rests() -> bool:
            return not [one for one in asyncio.all_tasks() if "AdmittedSocket" in repr(one)]

        until(lambda: site.site.call(rests), "rest")


# --- Where a request comes from --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "ours"),
    [
        ("http", "a.example", "http://a.example", True),
        ("http", "a.example", "https://a.example", True),  # behind a proxy that speaks TLS
        ("http", "A.example", "https://a.example:443", True),
        ("http", "a.example:80", "http://a.example", True),
        ("https", "a.example", "https://a.example", True),
        ("https", "a.example:8443", "https://a.example:8443", True),
        ("wss", "[::1]:8000", "https://[::1]:8000", True),
        ("https", "a.example", "http://a.example", False),
        ("wss", "a.example", "http://a.example", False),
        ("http", "a.example", "", False),
        ("http", "a.example", "null", False),
        ("http", "", "http://", False),
        ("http", "a.example", "http://b.example", False),
        ("http", "a.example", "http://a.example:8000", False),
        ("http", "a.example:8000", "http://a.example:8001", False),
        ("http", "a.example", "http://x.a.example", False),
        ("http", "a.example", "http://a.example.evil.example", False),
        ("http", "a.example", "http://a.example@evil.example", False),
        ("http", "a.example", "http://evil.example/a.example", False),
        ("http", "a.example", "http://evil.example#a.example", False),
        ("http", "a.example", "http://[a.example", False),
        ("http", "a.example", "ftp://a.example", False),
        ("http", "a.example", "chrome-extension://a.example", False),
        ("http", "a.example", "http://a.example http://evil.example", False),
    ],
)
def test_what_is_our_own_page(scheme: str, host: str, origin: str, ours: bool) -> None:
    """A page is ours if its origin is the one that the request is for, with its port, and with TLS where there is TLS.
    Nothing that says nothing is."""
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    assert is_own_origin({"scheme": scheme, "headers": headers}, ()) is ours
    assert is_own_origin({"scheme": scheme, "headers": [*headers, headers[1]]}, ()) is False
    assert is_own_origin({"scheme": scheme, "headers": [*headers, headers[0]]}, ()) is False
    assert is_own_origin({"scheme": scheme, "headers": headers[:1]}, ()) is False


def test_other_origins_can_be_allowed() -> None:
    """An origin that is allowed is ours, although the proxy passes on another host."""
    scope = {"scheme": "http", "headers": [(b"host", b"inside:8000"), (b"origin", b"https://admin.example")]}
    assert is_own_origin(scope, {"https://admin.example"})
    assert not is_own_origin(scope, {"https://admin.example.org"})


@pytest.mark.parametrize(
    ("site", "mode", "dest", "method", "foreign"),
    [
        ("", "", "", "GET", False),
        ("none", "navigate", "document", "GET", False),
        ("same-origin", "cors", "empty", "POST", False),
        ("cross-site", "navigate", "document", "GET", False),
        ("same-site", "navigate", "document", "HEAD", False),
        ("cross-site", "navigate", "document", "POST", True),
        ("cross-site", "navigate", "iframe", "GET", True),
        ("same-site", "navigate", "iframe", "GET", True),
        ("cross-site", "no-cors", "script", "GET", True),
        ("same-site", "cors", "empty", "GET", True),
    ],
)
def test_what_another_site_asks_for(site: str, mode: str, dest: str, method: str, foreign: bool) -> None:
    """Another site's page may link to the dashboard; it may not load anything of it as a part of itself."""
    told = {b"sec-fetch-site": site, b"sec-fetch-mode": mode, b"sec-fetch-dest": dest}
    headers = [(name, value.encode()) for name, value in told.items() if value]
    assert is_foreign({"method": method, "headers": headers}) is foreign


@pytest.mark.parametrize(
    ("root_path", "root"),
    [
        ("", "/"),
        ("/", "/"),
        ("/admin/sessions", "/admin/sessions/"),
        ("/admin/sessions/", "/admin/sessions/"),
        ("//evil.example", "/evil.example/"),
        ("/\\evil.example", "/evil.example/"),
        ("https://evil.example", "/https%3A//evil.example/"),
        ("/a\r\nSet-Cookie: x=1", "/a%0D%0ASet-Cookie%3A%20x%3D1/"),
        ('/"><script>', "/%22%3E%3Cscript%3E/"),
        ("/\u00fcber", "/%C3%BCber/"),
    ],
)
def test_nobody_is_sent_elsewhere(root_path: str, root: str) -> None:
    """Where the gate sends a browser is a path of this site, whatever the path of the request was."""
    assert root_of({"root_path": root_path}) == root
