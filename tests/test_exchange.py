"""One request's session, whatever the framework: the order of things, the headers, and the answers in an outage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import (
    ConflictError,
    DamagedRecord,
    OutcomeUnknown,
    SessionLeased,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
)
from sojourn.exchange import ANSWERED, Credentials, Exchange, answer_for, with_privacy
from sojourn.stores.memory import MemoryStore
from sojourn.testing import Clock
from worlds import Sessions, Through, World

NAME = "__Host-session"


class Site:
    """A manager on a store that counts, and exchanges on it."""

    def __init__(self, world: World) -> None:
        self.clock, self.store = Clock(), Through(MemoryStore())
        self.sessions: Sessions = world.sessions(self.store, clock=self.clock)  # type: ignore[arg-type]

    async def begin(self, *cookies: str) -> Exchange:
        exchange = Exchange(self.sessions.engine)
        await exchange.begin(Credentials(cookies=cookies, host="localhost"))
        return exchange

    async def cookie(self) -> str:
        """The cookie of a session in which `name` is "Ada"."""
        return f"{NAME}={await self.sessions.create_session(data={'name': 'Ada'})}"


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


async def test_a_request_takes_a_load_and_a_commit(site: Site) -> None:
    """A request that changes its session makes one load and one commit; finishing makes nothing more, and closes the
    object."""
    exchange = await site.begin(await site.cookie())
    site.store.calls.clear()
    exchange.session["a"] = 1
    assert await exchange.commit() == []
    await exchange.finish()
    assert site.store.calls == ["commit"]
    assert exchange.session.closed
    await exchange.finish()
    assert site.store.calls == ["commit"]


async def test_without_a_cookie_there_is_no_store_access(site: Site) -> None:
    """Without a cookie of ours, or with two that differ, the store is not asked."""
    for cookies in ((), ("a=b",), (f"{NAME}=x; {NAME}=y",), (f"{NAME}=x", f"{NAME}=y"), (f"{NAME}=x",)):
        exchange = await site.begin(*cookies)
        assert exchange.session.is_new
        assert await exchange.commit() == []
        await exchange.finish()
    assert site.store.calls == []
    assert site.sessions.counts["refused"] == 3


async def test_what_happens_between_commit_and_finish_is_committed(site: Site) -> None:
    """Changes between the commit and the end are committed at the end."""
    cookie = await site.cookie()
    exchange = await site.begin(cookie)
    exchange.session["a"] = [1]
    await exchange.commit()
    exchange.session["a"].append(2)
    await exchange.finish()
    assert (await site.begin(cookie)).session["a"] == [1, 2]


async def test_an_end_between_commit_and_finish_is_carried_out(site: Site) -> None:
    """A session that is ended after the response has begun ends."""
    cookie = await site.cookie()
    exchange = await site.begin(cookie)
    await exchange.commit()
    exchange.session.end()
    await exchange.finish()
    assert (await site.begin(cookie)).session.is_new


_LATE: dict[str, Callable[[Any], Any]] = {
    "a value that cannot be stored": lambda session: session["list"].append(object()),
    "too large": lambda session: session.set("text", "x" * 1_000_000),
    "a replay that raises": lambda session: session.update("name", lambda name: 1 if name == "Ada" else 1 / 0),
    "sign-in": lambda session: session.login("eve"),
    "rotation": lambda session: session.rotate(),
}


@pytest.mark.parametrize("late", _LATE.values(), ids=_LATE)
async def test_finishing_raises_nothing(
    site: Site, late: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be committed after the response has left is logged and dropped; the session goes on as it was."""
    session_id = await site.sessions.create_session(data={"name": "Ada", "list": []})
    exchange = await site.begin(f"{NAME}={session_id}")
    await exchange.commit()
    late(exchange.session)
    await site.sessions.update(session_id, "name", lambda _: "Bob")
    await exchange.finish()
    assert exchange.session.closed
    assert caplog.records[-1].levelno >= logging.WARNING
    assert await site.sessions.get_session(session_id) == {"name": "Bob", "list": []}


async def test_finishing_in_an_outage_raises_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails after the response has left is logged."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    exchange = await site.begin(await site.cookie())
    await exchange.commit()
    exchange.session["a"] = 1
    site.store.before["commit"] = fail
    await exchange.finish()
    assert exchange.session.closed
    assert "away" in caplog.text


async def test_a_failed_commit_forgets_the_changes(site: Site) -> None:
    """If the commit raises what is the application's own error, the application can respond with its word about it: the
    second commit is of nothing but what it puts in then."""
    cookie = await site.cookie()
    exchange = await site.begin(cookie)
    exchange.session.login("eve")
    exchange.session["text"] = "x" * 1_000_000
    with pytest.raises(ValueError, match="text"):
        await exchange.commit()
    assert exchange.session.session_id == cookie.split("=")[1]
    exchange.session["word"] = "sorry"
    assert await exchange.commit() == []
    exchange.session["late"] = True
    await exchange.finish()
    session = (await site.begin(cookie)).session
    assert (dict(session), session.user_id) == ({"name": "Ada", "word": "sorry", "late": True}, None)


@pytest.mark.parametrize("put", [False, True])
async def test_starting_over_ends_one_session_and_begins_another(site: Site, put: bool) -> None:
    """Starting over ends the session, with whatever others add to it meanwhile; what is put in afterwards is in
    another, which is nobody's, and without anything the cookie is cleared."""
    session_id = await site.sessions.create_session("ada", {"name": "Ada"})
    cookie = f"{NAME}={session_id}"
    exchange = await site.begin(cookie)
    session = exchange.session
    exchange.start_over()
    assert (len(session), session.user_id, session.is_new) == (0, None, True)
    if put:
        session["message"] = "bye"
    await site.sessions.update(session_id, "late", lambda _: 1)
    ((name, value),) = await exchange.commit()
    await exchange.finish()
    assert name == "Set-Cookie"
    assert (await site.begin(cookie)).session.is_new
    if put:
        after = (await site.begin(value.split(";")[0])).session
        assert (dict(after), after.user_id) == ({"message": "bye"}, None)
        assert after.handle != session_id.split(".")[0]
    else:
        assert "Max-Age=0" in value
        assert await site.sessions.list_sessions() == []


async def test_what_is_forgotten_is_not_started_over(site: Site) -> None:
    """If the application fails after it started over, the session lives on."""
    cookie = await site.cookie()
    exchange = await site.begin(cookie)
    exchange.start_over()
    exchange.session["a"] = 1
    exchange.forget()
    assert await exchange.commit() == []
    await exchange.finish()
    assert dict((await site.begin(cookie)).session) == {"name": "Ada"}


_ANSWERS: dict[str, tuple[Any, int, str | None]] = {
    "no answer": (StoreUnavailable("away"), 503, "1"),
    "for a while": (StoreUnavailable("being moved", retry_after=17), 503, "17"),
    "unknown": (OutcomeUnknown("no reply"), 503, "1"),
    "a record": (DamagedRecord("h" * 22, "its check fails"), 503, "1"),
    "the store": (StoreDamaged("truncated"), 503, "1"),
    "any other": (StoreError("odd"), 503, "1"),
    "conflict": (ConflictError("another writer"), 409, None),
    "lease": (SessionLeased("another holder"), 409, None),
}


@pytest.mark.parametrize(("error", "status", "retry_after"), _ANSWERS.values(), ids=_ANSWERS)
def test_every_failure_of_a_store_has_its_answer(error: Any, status: int, retry_after: str | None) -> None:
    """503 with Retry-After for a store that fails, 409 for writers that met: plain text, in no cache, without a word
    about the session or the cookie."""
    assert isinstance(error, ANSWERED)
    answer = answer_for(error)
    headers = dict(answer.headers)
    assert (answer.status, headers.get("Retry-After")) == (status, retry_after)
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Length"] == str(len(answer.body))
    assert "Set-Cookie" not in headers
    assert str(error).encode() not in answer.body


NAMES = st.sampled_from(["Vary", "vary", "Cache-Control", "CACHE-CONTROL", "Set-Cookie", "X-Own"])
VALUES = st.lists(
    st.sampled_from(
        ["Cookie", "cookie", "*", "Accept", "no-store", "private", "Private", "max-age=9", 'private="x"', "public", ""]
    ),
    max_size=3,
).map(", ".join)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans(), st.booleans())
def test_headers_keep_a_page_private_and_everything_else_as_it_is(
    headers: list[tuple[str, str]], looked: bool, sets: bool
) -> None:
    """Whatever headers an application has: where its session was looked at or a cookie set, no cache may show the page
    to somebody else; all other headers stay, in order; doing it twice is doing it once; and else nothing is changed."""
    added = [("Set-Cookie", "ours")] if sets else []
    given_ones = list(headers)
    result = with_privacy(headers, looked_at=looked, added=added)
    assert headers == given_ones
    if not looked and not sets:
        assert result == headers
        return
    parts: dict[str, set[str]] = {"vary": set(), "cache-control": set()}
    for name, value in result:
        if name.lower() in parts:
            parts[name.lower()] |= {part.strip().lower() for part in value.split(",")}
    assert parts["vary"] & {"cookie", "*"}
    assert parts["cache-control"] & {"no-store", "private"}
    before = {part.strip().lower() for name, value in headers if name.lower() == "vary" for part in value.split(",")}
    assert before <= parts["vary"]
    others = ("vary", "cache-control")
    assert [h for h in result if h[0].lower() not in others] == [
        *(h for h in headers if h[0].lower() not in others),
        *added,
    ]
    assert with_privacy(result, looked_at=looked, added=[]) == result
