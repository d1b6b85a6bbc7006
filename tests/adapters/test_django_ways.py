"""What Django's users are used to: what is saved and when, stores made by hand, `set_expiry`, the test client."""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_ways import OWN, Work, do, key_of, put, see, sign_in, who
from sites import Visitor, opener
from sojourn import UnsupportedValue
from sojourn.adapters.django import SessionMiddleware, SessionStore, session_manager

# isort: split
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.test import Client, RequestFactory, override_settings
from django.views.debug import ExceptionReporter

pytest_plugins = ["django_ways"]
pytestmark = pytest.mark.usefixtures("store")

# --- What is saved ---------------------------------------------------------------------------------------------------


def test_a_nested_change_is_saved(middleware: str, client: Client) -> None:
    """A change within a value is saved with no ``modified = True``."""
    do(client, put(cart={"items": []}))
    do(client, lambda request: request.session["cart"]["items"].append("tea"))
    assert do(client, see) == {"cart": {"items": ["tea"]}}


def test_two_requests_at_once_keep_both_changes(middleware: str, client: Client) -> None:
    """Of two requests that overlap both changes are kept, in the same list, too, and neither gets 400."""
    do(client, put(items=[]))
    other = Client()
    other.cookies = client.cookies

    def slow(request: HttpRequest) -> Any:
        request.session["items"].append("slow")
        Work.view = lambda request: (request.session["items"].append("quick"), put(quick=1)(request))[1]
        assert other.get("/").status_code == 200
        return put(slow=1)(request)

    do(client, slow)
    assert do(client, see) == {"items": ["quick", "slow"], "quick": 1, "slow": 1}


def test_a_late_save_is_no_bad_request(middleware: str, client: Client, ada: User) -> None:
    """A request that is under way when its user signs out elsewhere answers as if nothing was, not with 400; what it
    saves is dropped and counted, and brings nothing back."""
    do(client, sign_in)
    before, other = key_of(client), Client()
    other.cookies.load({"sessionid": before})

    def slow(request: HttpRequest) -> str:
        request.session["late"] = True
        Work.view = lambda request: logout(request)
        assert other.get("/").status_code == 200
        return str(request.user)

    Work.view = slow
    response = client.get("/")
    assert (response.status_code, response.json()) == (200, {"result": "ada"})
    assert session_manager().stats().sessions == 0
    assert session_manager().counts["gone"] == 1
    if middleware == OWN:
        assert "sessionid" not in response.cookies
    client.cookies.load({"sessionid": before})
    assert do(client, who) == "AnonymousUser"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_store_by_hand_brings_nothing_back(asynchronous: bool) -> None:
    """A store whose session was ended elsewhere saves nothing, says nothing of it, and is empty when loaded."""

    async def save(session: SessionStore) -> SessionStore:
        await session.asave()
        found: SessionStore = await session.aload()
        return found

    session = SessionStore()
    session["a"] = 1
    session.save(must_create=True)
    SessionStore(session.session_key).delete()
    session["a"] = 2
    if asynchronous:
        assert asyncio.run(save(session)) == {}
    else:
        session.save()
        assert session.load() == {}
    assert session.session_key is None
    assert session_manager().stats().sessions == 0


def test_modified_is_told_from_the_values(client: Client) -> None:
    """``modified`` tells of nested changes and of ones that were taken back; set to False, it gives up what was changed
    until then, and only that; set to True, it changes nothing."""

    def look(request: HttpRequest) -> list[bool]:
        session, seen = request.session, [request.session.modified]
        session["cart"].append("tea")
        seen.append(session.modified)
        session["cart"].pop()
        seen.append(session.modified)
        session.modified = True
        return [*seen, session.modified]

    do(client, put(cart=[]))
    assert do(client, look) == [False, True, False, True]
    do(client, lambda request: (put(given_up=1)(request), setattr(request.session, "modified", False)))
    assert do(client, see) == {"cart": []}

    def later(request: HttpRequest) -> None:
        request.session["first"] = 1
        request.session.modified = False
        request.session["second"] = 2

    do(client, later)
    assert do(client, see) == {"cart": [], "first": 1, "second": 2}


@pytest.mark.parametrize("status", [500, 503, 403, 302])
def test_a_response_of_5xx_saves_nothing(client: Client, status: int) -> None:
    """As with Django's own middleware, a response of 5xx saves nothing, and any other does."""
    Work.view = lambda request: (put(a=1)(request), HttpResponse(status=status))[1]
    assert client.get("/").status_code == status
    assert do(client, see) == ({} if status >= 500 else {"a": 1})


def test_the_request_can_be_looked_at_afterwards(client: Client, ada: User) -> None:
    """A test that looks at the request's session, or at its user, after the response, finds them, and may go on with
    the session as with one made by hand."""
    Work.view = lambda request: HttpResponse(engines["django"].from_string("ok").render({}, request))
    client.force_login(ada)
    response = client.get("/")
    assert response.wsgi_request.user == ada
    assert response.context["user"] == ada
    session = response.wsgi_request.session
    session["a"] = 1
    session.save()
    assert client.session["a"] == 1


_NAMES: dict[str, dict[str, Any]] = {
    "default": {},
    "name": {"SESSION_COOKIE_NAME": "sid"},
    "prefixed name": {"SESSION_COOKIE_NAME": "__Host-sid"},
    "in CONFIG": {"SOJOURN": {"STORE": "memory://", "CONFIG": {"cookie": {"name": "sid"}}}},
    "always secure": {"SESSION_COOKIE_SECURE": True},
    "never secure": {"SESSION_COOKIE_SECURE": False},
}


@pytest.mark.parametrize("given", _NAMES.values(), ids=_NAMES)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_the_test_client_finds_the_session(client: Client, given: dict[str, Any], secure: bool) -> None:
    """Whatever the cookie's name, ``client.session`` is the session that the last request had, and the next one
    has."""
    with override_settings(**given):
        do(client, put(a=1), secure=secure)
        session = client.session
        assert session["a"] == 1
        session["b"] = 2
        session.save()
        assert do(client, see, secure=secure) == {"a": 1, "b": 2}


def test_who_only_looks_like_the_test_client_gets_no_weaker_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that turns the CSRF check off, in the way that the test client does, has the cookie with its
    prefix."""
    monkeypatch.delattr(mail, "outbox")  # as outside of tests
    request = RequestFactory().get("/", secure=True)
    request._dont_enforce_csrf_checks = True
    response = SessionMiddleware(lambda request: (put(a=1)(request), HttpResponse())[1])(request)
    assert list(response.cookies) == ["__Host-sessionid"]


def test_the_test_client_s_session(client: Client, ada: User) -> None:
    """``client.session`` reads and writes the session that the next request has, over http and https; ``login`` and
    ``logout`` of the client sign in and out."""
    session = client.session
    session["a"] = 1
    session.save()
    assert do(client, see) == {"a": 1}
    assert client.login(username="ada", password="x")
    assert (do(client, who), do(client, who, secure=True)) == ("ada", "ada")
    do(client, put(b=2), secure=True)
    assert (client.session["a"], client.session["b"]) == (1, 2)
    signed_in = key_of(client)
    client.logout()
    assert not SessionStore().exists(signed_in)
    assert do(client, who) == "AnonymousUser"


def test_a_streamed_body_signs_nobody_else_in(client: Client, ada: User) -> None:
    """A body may end its session while it streams, with ``flush``; what it puts in afterwards is dropped, as no cookie
    can be set; and it cannot take the visitor's id away."""
    do(client, sign_in)

    def body(session: SessionStore, act: str) -> Iterator[bytes]:
        yield b"one"
        getattr(session, act)()
        session["late"] = 1
        yield b"two"

    before = key_of(client)
    Work.view = lambda request: StreamingHttpResponse(body(request.session, "cycle_key"))
    assert b"".join(client.get("/")) == b"onetwo"
    assert SessionStore().exists(before)
    Work.view = lambda request: StreamingHttpResponse(body(request.session, "flush"))
    assert b"".join(client.get("/")) == b"onetwo"
    assert session_manager().stats().sessions == 0


def test_an_end_ends(middleware: str, client: Client) -> None:
    """``request.session.sojourn.end()`` ends the session, behind Django's own middleware, too."""
    do(client, put(a=1))
    do(client, lambda request: request.session.sojourn.end())
    assert session_manager().stats().sessions == 0
    assert do(client, see) == {}


def test_an_error_report_hides_the_cookie() -> None:
    """The report of an error that Django writes or mails shows no session id, whatever the cookie's name; the
    application finds the cookie under the name that Django's settings say."""
    reports: list[str] = []

    def fail(request: HttpRequest) -> None:
        reports.append(request.COOKIES["sessionid"])
        reports.append(ExceptionReporter(request, *_an_error()).get_traceback_text())

    session = SessionStore()
    session.save()
    cookie = {"Cookie": f"__Host-sessionid={session.session_key}", "Host": "www.example.org"}
    request = RequestFactory().get("/", secure=True, headers=cookie)
    SessionMiddleware(lambda request: (fail(request), HttpResponse())[1])(request)
    found, report = reports
    assert found == session.session_key
    assert "sessionid" in report
    assert session.session_key.split(".")[1] not in report


def _an_error() -> Any:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        return sys.exc_info()


def test_a_file_goes_out_as_a_file() -> None:
    """A response that is a file stays one, and is private where the session was looked at."""
    file = FileResponse(io.BytesIO(b"content"), filename="a.txt")
    response = SessionMiddleware(lambda request: (put(a=1)(request), file)[1])(RequestFactory().get("/"))
    assert response.file_to_stream is not None
    assert (response.headers["Vary"], response.headers["Cache-Control"]) == ("Cookie", "no-store")
    assert b"".join(response) == b"content"
    response.close()
    assert SessionStore(response.cookies["sessionid"].value)["a"] == 1


def test_another_store_may_take_the_place(client: Client) -> None:
    """A view that puts another store in the place of its session has the client sent that one's key."""

    def replace(request: HttpRequest) -> str:
        request.session = SessionStore()
        request.session["a"] = 1
        request.session.save()
        return request.session.session_key

    do(client, put(old=1))
    assert do(client, replace) == key_of(client)
    assert do(client, see) == {"a": 1}


# --- Stores made by hand ---------------------------------------------------------------------------------------------


def test_sessions_outside_of_views() -> None:
    """What Django's documentation does with sessions outside of views: create, load by the key, delete."""
    first = SessionStore()
    first["last_login"] = 1376587691
    assert first.session_key is None
    first.create()
    again = SessionStore(session_key=first.session_key)
    assert again["last_login"] == 1376587691
    assert list(again.keys()) == ["last_login"]
    again.delete()
    assert not first.exists(first.session_key)


def test_a_new_session_with_the_same_fields() -> None:
    """``create`` makes another session, with another handle and the fields of the first, which stays; a user who is in
    them is its user."""
    first = SessionStore()
    first.update({"a": [1], "_auth_user_id": "7"})
    first.save()
    key = first.session_key
    first.create()
    assert first.session_key is not None
    assert first.session_key.split(".")[0] != str(key).split(".")[0]
    assert (first["a"], SessionStore(key)["a"]) == ([1], [1])
    assert len(session_manager().list_sessions("7")) == 2


def test_values_keep_their_types() -> None:
    """What cannot be stored is refused with its path; ``SESSION_SERIALIZER`` does not matter: what goes in comes out
    with its type."""
    session = SessionStore()
    session["cart"] = {"price": object()}
    with pytest.raises(UnsupportedValue, match=r"cart\.price"):
        session.save()
    session = SessionStore()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    session["kept"] = {1: (moment, {2, 3}, b"4")}
    session.save()
    assert SessionStore(session.session_key)["kept"] == {1: (moment, {2, 3}, b"4")}


def test_what_counts_as_looking() -> None:
    """To ask whether a session is empty, or for its key, is not to look into it; to read a field is."""
    session = SessionStore()
    session["a"] = 1
    for empty in (False, True):
        if empty:
            del session["a"]
        session.accessed = False
        assert (session.is_empty(), session.session_key, session.accessed) == (empty, None, False)
    assert session.get("a") is None
    assert session.accessed


def test_setdefault_replaces_nobody_s() -> None:
    """Two who both find a field missing and give it a list keep what both put in."""
    first = SessionStore()
    first.save()
    second = SessionStore(first.session_key)
    second.setdefault("items", []).append("b")
    first.setdefault("items", []).append("a")
    first.save()
    second.save()
    assert sorted(SessionStore(first.session_key)["items"]) == ["a", "b"]


# --- Expiry ----------------------------------------------------------------------------------------------------------


def _in_three_hours() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)


_EXPIRIES: dict[str, tuple[Any, float, float, bool]] = {
    "a number": (600, 600, 86400, True),
    "longer than a day": (7 * 86400, 7 * 86400, 7 * 86400, True),
    "a time from now": (timedelta(hours=3), 3 * 3600, 3 * 3600, True),
    "a date": (_in_three_hours, 3 * 3600, 3 * 3600, True),
    "the browser": (0, 1800, 86400, False),
    "the default": (None, 1800, 86400, False),
}


@pytest.mark.parametrize(("value", "idle", "absolute", "persistent"), _EXPIRIES.values(), ids=_EXPIRIES)
@pytest.mark.parametrize("signed_in", [False, True])
def test_an_expiry_is_a_timeout(value: Any, idle: float, absolute: float, persistent: bool, signed_in: bool) -> None:
    """``set_expiry`` with a number of seconds is the session's idle timeout, a date its end, 0 a cookie that ends with
    the browser, None the defaults. It stays so when the user signs in afterwards."""
    session = SessionStore()
    session.set_expiry(5)
    session.save()
    given = value() if callable(value) else value
    session.set_expiry(given)
    if signed_in:
        session["_auth_user_id"] = "7"
    session.save()
    record = SessionStore(session.session_key).sojourn.record
    near = pytest.approx
    assert record.idle_timeout == near(idle, abs=60)
    assert record.ends_at - time.time() == near(absolute, abs=60)
    assert record.persistent is persistent
    assert session.get_expire_at_browser_close() is not persistent
    if isinstance(given, datetime):
        assert record.ends_at == near(given.timestamp(), abs=0.001)
        assert session.get_expiry_date() == given


@pytest.mark.parametrize("value", [-10, -timedelta(seconds=10), datetime(2020, 1, 1, tzinfo=UTC)], ids=repr)
def test_an_expiry_in_the_past_is_now(value: Any) -> None:
    """A session whose expiry is in the past is over, and ``manage.py clearsessions`` removes it, and no other."""
    over, alive = SessionStore(), SessionStore()
    for session in (over, alive):
        session["a"] = 1
    over.set_expiry(value)
    over.save()
    alive.save()
    assert not over.exists(over.session_key)
    assert "a" not in SessionStore(over.session_key)
    assert session_manager().stats().sessions == 2
    give_up = time.monotonic() + 10
    while session_manager().stats().sessions == 2:  # what is over is found by the second
        assert time.monotonic() < give_up
        call_command("clearsessions")
    assert session_manager().stats().sessions == 1
    assert SessionStore(alive.session_key)["a"] == 1


def test_an_expiry_lets_the_cookie_outlive_the_browser(client: Client) -> None:
    """With an expiry the cookie has a Max-Age, without one it has none."""
    Work.view = put(a=1)
    assert client.get("/").cookies["sessionid"]["max-age"] == ""
    Work.view = lambda request: request.session.set_expiry(1209600)
    assert int(client.get("/").cookies["sessionid"]["max-age"]) == pytest.approx(1209600, abs=60)


# --- A site of the table ---------------------------------------------------------------------------------------------


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    """A visitor of a site like those of the table of behaviours, whose clock can be moved."""
    with override_settings(MIDDLEWARE=["site_django.sessions"], ROOT_URLCONF="site_django"):
        with opener("django") as open_site:
            yield open_site().visitor()


def test_set_expiry_is_inactivity(visitor: Visitor) -> None:
    """``set_expiry(600)`` ends a session that is left alone for ten minutes, and none that is used."""
    visitor.do(lambda session: (session.set("a", 1), session._store.set_expiry(600)))
    for _ in range(5):
        visitor.site.clock.advance(500)
        assert visitor.see("a") == 1
    visitor.site.clock.advance(700)
    assert visitor.see("a") is None


def test_a_date_stays_when_the_user_signs_in(visitor: Visitor) -> None:
    """A session that was given a date ends then, though a sign-in starts the absolute timeout anew."""
    end = datetime.fromtimestamp(visitor.site.clock() + 7200, UTC)
    visitor.do(lambda session: session._store.set_expiry(end))
    visitor.site.clock.advance(1000)
    visitor.do(lambda session: session.set("_auth_user_id", "7"))
    visitor.do(lambda session: session._store.set_expiry(end))
    assert visitor.do(lambda session: session.record.ends_at).result == pytest.approx(end.timestamp(), abs=0.001)
    visitor.do(lambda session: session.set("_auth_user_id", "7"))
    assert visitor.do(lambda session: session.record.ends_at).result == pytest.approx(end.timestamp(), abs=0.001)


def test_a_sign_in_is_told(visitor: Visitor) -> None:
    """Whatever sets ``_auth_user_id`` signs the session's user in."""
    visitor.do(lambda session: session.set("_auth_user_id", "7"))
    assert [row.user_id for row in visitor.site.sessions.list_sessions("7")] == ["7"]
