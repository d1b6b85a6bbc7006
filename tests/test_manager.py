"""The managers: every public operation, in both worlds, on memory and on SQLite."""

# ruff: noqa: PT012 - a block under test is more than one statement

from __future__ import annotations

import inspect
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sojourn import (
    AsyncSession,
    AsyncSessionManager,
    ConfigurationError,
    ConflictError,
    Handle,
    OutcomeUnknown,
    Session,
    SessionClosed,
    SessionConfig,
    SessionGone,
    SessionLeased,
    SessionManager,
    SessionNotFound,
    StoreUnavailable,
    TooLarge,
    TooManySessions,
    UnsupportedValue,
    ids,
    open_store,
)
from sojourn.blocking import run
from sojourn.policy import GRACE
from sojourn.session import BaseSession, PlainAsyncSession, PlainSession
from sojourn.stores.memory import MemoryStore
from sojourn.testing import NOW, Clock
from worlds import ASYNC, BLOCKING, Sessions, Through, World

Opens = Callable[..., Sessions]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def opens(request: pytest.FixtureRequest, world: World, tmp_path: Path, clock: Clock) -> Iterator[Opens]:
    """A function that makes managers, all on one store."""
    url = (
        "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/sessions.db?durability=process&deadline=10"
    )
    store = Through(open_store(url, world=world.name))  # type: ignore[arg-type]

    made: list[Sessions] = []

    def make(**settings: Any) -> Sessions:
        made.append(world.sessions(store, config=SessionConfig(**{"deadline": 5, **settings}), clock=clock))
        return made[-1]

    yield make
    for sessions in made if world is BLOCKING else ():
        sessions.manager.close()  # type: ignore[unused-coroutine]
    world.run(store.close())


@pytest.fixture
def sessions(opens: Opens) -> Sessions:
    return opens()


def store_of(sessions: Sessions) -> Through:
    return sessions.store


def increment(value: int | None) -> int:
    return (value or 0) + 1


def secret_of(session_id: str) -> str:
    return session_id.partition(".")[2]


def handle_of(session_id: str) -> Handle:
    return Handle(session_id.partition(".")[0])


# --- Create, get, end ------------------------------------------------------------------------------------------------


async def test_the_life_of_a_session(sessions: Sessions) -> None:
    """A session is created, read, changed, and ended."""
    session_id = await sessions.create_session(
        user_id="54321", data={"role": "admin", "preferences": {"theme": "dark"}}
    )
    assert ids.split(session_id) is not None
    data = await sessions.get_session(session_id)
    assert data == {"role": "admin", "preferences": {"theme": "dark"}}
    assert type(data) is dict
    assert await sessions.is_session_active(session_id)
    async with sessions.session(session_id) as session:
        session["preferences"]["theme"] = "light"
    assert (await sessions.get_session(session_id))["preferences"] == {"theme": "light"}
    await sessions.end_session(session_id)
    assert await sessions.get_session(session_id) is None
    assert not await sessions.is_session_active(session_id)
    await sessions.end_session(session_id)


async def test_what_is_returned_is_independent(sessions: Sessions) -> None:
    """`get_session` returns a plain dict that shares nothing with the store, nor does what a session was created
    with."""
    given = {"cart": {"items": [1]}}
    session_id = await sessions.create_session(data=given)
    given["cart"]["items"].append(2)
    data = await sessions.get_session(session_id)
    data["cart"]["items"].append(3)
    assert await sessions.get_session(session_id) == {"cart": {"items": [1]}}


async def test_an_empty_session_is_a_session(sessions: Sessions) -> None:
    """A session may be created with nothing in it."""
    session_id = await sessions.create_session()
    assert await sessions.get_session(session_id) == {}
    assert (await sessions.stats()).sessions == 1


async def test_what_a_session_is_created_with(sessions: Sessions, clock: Clock) -> None:
    """User, label and timeouts are those that were given; a label is cut at 200 characters."""
    session_id = await sessions.create_session(
        "ada", label="x" * 300, idle_timeout=timedelta(minutes=10), absolute_timeout=3600, persistent=True
    )
    async with sessions.session(session_id) as session:
        assert (session.user_id, session.label) == ("ada", "x" * 200)
        assert (session.created_at, session.authenticated_at, session.last_accessed_at) == (NOW, NOW, NOW)
        assert session.expires_at == NOW + 600
        assert session.record.ends_at == NOW + 3600
        assert session.record.persistent


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"data": {"a": {"b": object()}}}, UnsupportedValue),
        ({"data": {5: 1}}, UnsupportedValue),
        ({"data": {"\ud800": 1}}, UnsupportedValue),
        ({"user_id": ""}, UnsupportedValue),
        ({"user_id": 5}, UnsupportedValue),
        ({"user_id": "\ud800"}, UnsupportedValue),
        ({"label": "\ud800"}, UnsupportedValue),
        ({"data": {"a": b"x" * 300_000}}, TooLarge),
        ({"data": {str(n): b"x" * 200_000 for n in range(6)}}, TooLarge),
        ({"idle_timeout": 0}, ConfigurationError),
        ({"absolute_timeout": -1}, ConfigurationError),
    ],
    ids=lambda given: ascii(given)[:30] if isinstance(given, dict) else given.__name__,
)
async def test_what_cannot_be_created_leaves_nothing(
    sessions: Sessions, given: dict[str, Any], error: type[Exception]
) -> None:
    """A creation that is refused leaves no record."""
    with pytest.raises(error):
        await sessions.create_session(**given)
    assert store_of(sessions).writes == []
    assert (await sessions.stats()).sessions == 0


async def test_nothing_in_the_store_logs_anybody_in(sessions: Sessions) -> None:
    """The store holds the secret's digest, and the secret nowhere: not in the record, the facts, or the list."""
    session_id = await sessions.create_session("ada", {"a": 1})
    record = await store_of(sessions).load(handle_of(session_id))
    held = [record, await sessions.changes(), await sessions.list_sessions()]
    assert secret_of(session_id) not in repr(held)
    assert record is not None
    assert record.secret_digest == ids.digest(secret_of(session_id))


@pytest.mark.parametrize("form", [{}, {"handle_form": "session_{timestamp}_{random}"}], ids=["plain", "timestamped"])
async def test_the_form_of_the_handle(opens: Opens, form: dict[str, Any]) -> None:
    """The handle has the configured form; ids of that form work."""
    sessions = opens(**form)
    session_id = await sessions.create_session(data={"a": 1})
    assert session_id.startswith(f"session_{int(NOW)}_") == bool(form)
    assert await sessions.get_session(session_id) == {"a": 1}
    assert await sessions.get_session(handle_of(session_id)) == {"a": 1}


# --- Ids from outside ------------------------------------------------------------------------------------------------

_MALFORMED: list[Any] = [
    "", ".", "null", "x" * 66, "x" * 1_000_000, "h" * 22, f"{'h' * 22}.{'s' * 42}", f"{'h' * 22}.{'s' * 43}\0",
    f"{'h' * 21}é.{'s' * 43}", f"{'h' * 22}.{'s' * 43}\n", "'; DROP TABLE session; --", "\ud800",
    None, 5, b"x" * 66, [],
    Handle(""), Handle("short"), Handle("h" * 22 + "\0"), Handle("\ud800" * 22),
]  # fmt: skip

_BY_ID: dict[str, Callable[[Sessions, Any], Awaitable[Any]]] = {
    "get_session": lambda sessions, sid: sessions.get_session(sid),
    "is_session_active": lambda sessions, sid: sessions.is_session_active(sid),
    "end_session": lambda sessions, sid: sessions.end_session(sid),
    "session": lambda sessions, sid: sessions.session(sid).__aenter__(),
    "exclusive": lambda sessions, sid: sessions.exclusive(sid, wait=0).__aenter__(),
    "update": lambda sessions, sid: sessions.update(sid, "n", increment),
    "transaction": lambda sessions, sid: sessions.transaction(sid, len),
    "rotate": lambda sessions, sid: sessions.rotate(sid),
    "login": lambda sessions, sid: sessions.login(sid, "ada"),
}
_ANSWERS = {"get_session": None, "is_session_active": False, "end_session": None}


@pytest.mark.parametrize("operation", _BY_ID)
async def test_what_is_no_id_reaches_no_store(sessions: Sessions, operation: str) -> None:
    """Anything that is not of the form of an id is treated as unknown, whatever it is, without asking the store."""
    for outside in _MALFORMED:
        if operation in _ANSWERS:
            assert await _BY_ID[operation](sessions, outside) is _ANSWERS[operation]
        else:
            with pytest.raises(SessionNotFound, match="no such session"):
                await _BY_ID[operation](sessions, outside)
        assert store_of(sessions).calls == [], outside


@pytest.mark.parametrize("operation", _BY_ID)
async def test_an_unknown_id_is_never_adopted(sessions: Sessions, operation: str, clock: Clock) -> None:
    """An id that names no session, an ended one or an expired one, or has a wrong secret, or is a handle as plain text,
    is unknown; nothing is written for it."""
    ended, expired, live = [await sessions.create_session(data={"n": 5}) for _ in range(3)]
    await sessions.end_session(ended)
    async with sessions.session(expired) as session:
        session.set_timeouts(idle=10)
    clock.advance(11)
    store = store_of(sessions)
    store.calls.clear()
    planted = ids.join("attacker" * 3, "s" * 43)
    wrong_secret = ids.join(handle_of(live), "s" * 43)
    other_secret = ids.join(handle_of(live), secret_of(ended))
    for outside in (planted, ended, expired, wrong_secret, other_secret, str(handle_of(live))):
        if operation in _ANSWERS:
            assert await _BY_ID[operation](sessions, outside) is _ANSWERS[operation]
        else:
            with pytest.raises(SessionNotFound):
                await _BY_ID[operation](sessions, outside)
    assert store.writes == []
    assert await sessions.get_session(live) == {"n": 5}


async def test_a_handle_serves_in_place_of_an_id(sessions: Sessions) -> None:
    """Where a session is looked at, changed or ended from outside, a `Handle` serves; the plain text of one never
    does."""
    session_id = await sessions.create_session("ada", {"n": 1})
    handle = (await sessions.list_sessions("ada"))[0].handle
    assert type(handle) is Handle
    assert await sessions.get_session(handle) == {"n": 1}
    assert await sessions.is_session_active(handle)
    assert await sessions.update(handle, "n", increment) == 2
    async with sessions.session(handle) as session:
        assert session.session_id == ""
        session["m"] = 1
    for text in (str(handle), f"{handle}.", f".{handle}"):
        assert await sessions.get_session(text) is None
        await sessions.end_session(text)
    assert await sessions.get_session(session_id) == {"n": 2, "m": 1}
    await sessions.end_session(Handle(str(handle)))
    assert await sessions.get_session(session_id) is None


# --- Blocks ----------------------------------------------------------------------------------------------------------


async def test_a_block_commits_when_it_ends(sessions: Sessions, world: World) -> None:
    """What changed in a block is there when the block is over, and not before; nested changes need no flag."""
    session_id = await sessions.create_session(data={"cart": {"items": []}})
    async with sessions.session(session_id) as session:
        assert isinstance(session, Session if world is BLOCKING else AsyncSession)
        assert type(session) is (PlainSession if world is BLOCKING else PlainAsyncSession)
        session["cart"]["items"].append("apple")
        session.update("visits", increment)
        assert await sessions.get_session(session_id) == {"cart": {"items": []}}
    assert await sessions.get_session(session_id) == {"cart": {"items": ["apple"]}, "visits": 1}
    with pytest.raises(SessionClosed):
        session["cart"]


async def test_a_block_that_raises_commits_nothing(sessions: Sessions) -> None:
    """If the block raises, that comes out, and nothing of it is committed: not even an end."""
    session_id = await sessions.create_session(data={"n": 1})
    for change in (lambda s: s.set("n", 2), lambda s: s.rotate(), lambda s: s.login("ada"), lambda s: s.end()):
        with pytest.raises(LookupError, match="mine"):
            async with sessions.session(session_id) as session:
                change(session)
                raise LookupError("mine")
        with pytest.raises(SessionClosed):
            session["n"]
    assert await sessions.get_session(session_id) == {"n": 1}
    assert await sessions.list_sessions("ada") == []


async def test_a_block_that_changes_nothing_writes_nothing(sessions: Sessions) -> None:
    """A block that only read costs a load and no write."""
    session_id = await sessions.create_session(data={"cart": {"items": [{"a": {1, 2}}]}})
    store_of(sessions).calls.clear()
    async with sessions.session(session_id) as session:
        assert session["cart"]["items"][0]["a"] == {1, 2}
    await sessions.get_session(session_id)
    assert store_of(sessions).calls == ["load", "load"]


async def test_a_change_costs_one_round_trip(sessions: Sessions) -> None:
    """A block that changed something costs a load and a commit."""
    session_id = await sessions.create_session(data={"a": 1})
    store_of(sessions).calls.clear()
    async with sessions.session(session_id) as session:
        session["a"] = 2
        session.label = "phone"
    assert store_of(sessions).calls == ["load", "commit"]


async def test_a_block_may_save_and_go_on(sessions: Sessions) -> None:
    """`save` commits what changed so far; the block goes on, and a failure after it takes nothing back."""
    session_id = await sessions.create_session(data={"a": 1})
    with pytest.raises(LookupError):
        async with sessions.session(session_id) as session:
            session["a"] = 2
            await sessions.save(session)
            assert await sessions.get_session(session_id) == {"a": 2}
            session["a"] = 3
            raise LookupError
    assert await sessions.get_session(session_id) == {"a": 2}


async def test_a_block_may_end_its_session(sessions: Sessions) -> None:
    """A session ended in its block is ended when the block is over."""
    session_id = await sessions.create_session(data={"a": 1})
    async with sessions.session(session_id) as session:
        session["a"] = 2
        session.end()
    assert await sessions.get_session(session_id) is None
    assert [change.reason for change in (await sessions.changes())[1]] == [None, "ended"]


async def test_what_cannot_be_kept_harms_nothing(sessions: Sessions) -> None:
    """A block whose changes cannot be kept raises, and the stored session stays as it was."""
    session_id = await sessions.create_session(data={"cart": {"items": [1]}})
    with pytest.raises(UnsupportedValue, match=r"cart\.items\[1\]\.price: cannot store <object>"):
        async with sessions.session(session_id) as session:
            session["other"] = 1
            session["cart"]["items"].append({"price": object()})
    with pytest.raises(TooLarge, match="max_session_bytes"):
        async with sessions.session(session_id) as session:
            session.update({str(number): b"x" * 200_000 for number in range(6)})
    assert await sessions.get_session(session_id) == {"cart": {"items": [1]}}


async def test_sizes_are_limited(opens: Opens) -> None:
    """A field, or a session, past its limit is refused with both sizes, when it is created, committed, saved or
    updated; one of just that size is not; and a session that is too large by now may still shrink."""
    sessions = opens(max_field_bytes=100, max_session_bytes=200)
    session_id = await sessions.create_session(data={"a": b"x" * 98})
    large: list[Callable[[], Awaitable[Any]]] = [
        lambda: sessions.create_session(data={"a": b"x" * 99}),
        lambda: sessions.update(session_id, "a", lambda _: b"x" * 99),
        lambda: sessions.transaction(session_id, lambda session: session.set("a", b"x" * 99)),
    ]
    for attempt in large:
        with pytest.raises(TooLarge, match=r"'a' takes 101 bytes and max_field_bytes allows 100") as caught:
            await attempt()
        assert (caught.value.size, caught.value.limit) == (101, 100)
    async with sessions.session(session_id) as session:
        session["b"] = b"x" * 96  # 101 and 99 with the names
        await sessions.save(session)
        session["c"] = 1
        with pytest.raises(TooLarge, match=r"the session takes 202 bytes and max_session_bytes allows 200"):
            await sessions.save(session)
        del session["c"]
    with pytest.raises(TooLarge):
        await sessions.create_session(data={"a": b"x" * 98, "b": b"x" * 96, "c": 1})
    narrow = opens(max_session_bytes=100)
    await narrow.update(session_id, "b", lambda _: b"x" * 50)
    with pytest.raises(TooLarge):
        await narrow.update(session_id, "b", lambda _: b"x" * 51)


async def test_two_blocks_at_once_lose_nothing(sessions: Sessions) -> None:
    """Two blocks that were open together both hold: fields, nested keys, appended items, members, deletions."""
    data = {"cart": {"items": [0]}, "prefs": {"old": 1, "kept": 1}, "tags": {"a", "b"}, "gone": 1}
    session_id = await sessions.create_session(data=data)
    async with sessions.session(session_id) as one, sessions.session(session_id) as other:
        one["cart"]["items"].append(1)
        other["cart"]["items"].append(2)
        one["prefs"]["new"] = 2
        del other["prefs"]["old"]
        one["tags"].add("c")
        other["tags"].discard("a")
        del one["gone"]
        other["field"] = 3
    saved = await sessions.get_session(session_id)
    assert sorted(saved["cart"].pop("items")) == [0, 1, 2]
    assert saved == {"cart": {}, "prefs": {"kept": 1, "new": 2}, "tags": {"b", "c"}, "field": 3}


async def test_an_overwritten_change_is_told(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    """Of two who changed the same thing the later wins; it is counted, logged with its path, told to listeners, and
    recorded."""
    told: list[Any] = []
    sessions.add_listener(told.append, "overwritten")
    session_id = await sessions.create_session(data={"prefs": {"theme": "dark"}, "n": 0})
    with caplog.at_level(logging.INFO, "sojourn"):
        async with sessions.session(session_id) as later:
            later["prefs"]["theme"] = "red"
            later["n"] = 1
            async with sessions.session(session_id) as first:
                first["prefs"]["theme"] = "light"
                first["n"] = 2
    assert await sessions.get_session(session_id) == {"prefs": {"theme": "red"}, "n": 1}
    assert sorted(change.reason for change in told) == ["n", "prefs.theme"]
    assert {change.handle for change in told} == {handle_of(session_id)}
    assert sessions.counts["overwritten"] == 2
    assert "prefs.theme" in caplog.text
    assert [change for change in (await sessions.changes())[1] if change.kind == "overwritten"] == told


async def test_an_overwrite_can_be_refused(opens: Opens) -> None:
    """With ``same_key="refuse"`` the later of two who changed the same thing gets `ConflictError`, and nothing of it is
    written; changes of different things still merge."""
    sessions = opens(same_key="refuse")
    session_id = await sessions.create_session(data={"n": 0, "a": 0})
    with pytest.raises(ConflictError, match=r"another writer changed n: nothing was written"):
        async with sessions.session(session_id) as later:
            later["n"] = 1
            later["a"] = 1
            async with sessions.session(session_id) as first:
                first["n"] = 2
    async with sessions.session(session_id) as later:
        later["a"] = 1
        async with sessions.session(session_id) as first:
            first["b"] = 1
    assert await sessions.get_session(session_id) == {"n": 2, "a": 1, "b": 1}
    assert sessions.counts["overwritten"] == 0


async def test_what_is_counted(opens: Opens) -> None:
    """Commits are counted, each once; those whose changes met another writer's and were merged; and the attempts that
    were made again as somebody had been there. What changes nothing is no commit, and neither is a creation."""
    sessions = opens()
    twin = sessions.twin()
    session_id = await sessions.create_session(data={"cart": {}, "n": 0})
    assert dict(sessions.counts) == {}
    for _ in range(3):
        await sessions.update(session_id, "n", lambda n: n + 1)
    async with sessions.session(session_id) as session:
        session.get("cart")
    assert dict(sessions.counts) == {"commits": 3}
    async with sessions.session(session_id) as later:
        later["cart"]["mine"] = 1
        async with twin.session(session_id) as first:
            first["cart"]["theirs"] = 1
    assert dict(sessions.counts) == {"commits": 4, "conflicts": 1, "merged": 1}
    assert dict(twin.counts) == {"commits": 1}
    await sessions.transaction(session_id, lambda session: session.set("n", 0))
    assert sessions.counts["commits"] == 5


async def test_commits_that_go_together_are_counted_one_by_one(world: World) -> None:
    """Many who commit at once are served together, and each is a commit."""
    store = Through(MemoryStore())

    async def slowly(*_: Any, **__: Any) -> None:
        await world.pause()

    store.before["commit"] = slowly
    async with world.sessions(store) as sessions:
        session_id = await sessions.create_session(data={"n": 0})

        async def count() -> None:
            await sessions.update(session_id, "n", lambda n: n + 1)

        await world.together([count] * 20)
        assert (await sessions.get_session(session_id) or {})["n"] == 20
        assert store.calls.count("commit") < 20
        assert sessions.counts["commits"] == 20


async def test_what_the_store_fails_is_counted(world: World) -> None:
    """Each load, commit, creation, end and touch that the store fails is counted, once."""
    store, clock = Through(MemoryStore()), Clock()

    async def fails(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("it is not there")

    async def end() -> None:
        async with sessions.session(session_id) as session:
            session.end()

    async with world.sessions(store, clock=clock) as sessions:
        session_id = await sessions.create_session(data={"n": 0})
        for operation, use in (
            ("load", lambda: sessions.get_session(session_id)),
            ("commit", lambda: sessions.update(session_id, "n", lambda n: n + 1)),
            ("create", sessions.create_session),
            ("end", end),
        ):
            before = sessions.counts["unavailable"]
            store.before = {operation: fails}
            with pytest.raises(StoreUnavailable):
                await use()
            store.before = {}
            assert sessions.counts["unavailable"] == before + 1, operation
        clock.advance(600)
        store.before = {"touch": fails}
        assert await sessions.get_session(session_id) == {"n": 0}
        assert (sessions.counts["unavailable"], sessions.counts["untouched"]) == (5, 1)
        assert sessions.counts["commits"] == 0


async def test_what_loads_and_commits_take(world: World) -> None:
    """While somebody measures, he is told how long each load and commit took, and of none that failed; then no more."""
    store = Through(MemoryStore())
    took: list[float] = []
    async with world.sessions(store) as sessions:
        session_id = await sessions.create_session(data={"n": 0})
        sessions.engine.measure(took.append)
        await sessions.update(session_id, "n", lambda n: n + 1)
        assert len(took) == 2
        store.before["load"] = lambda *_: time.sleep(0.02)
        await sessions.get_session(session_id)
        assert 0.02 <= took[2] < 10  # in seconds, not in milliseconds

        async def fails(*_: Any) -> None:
            raise StoreUnavailable("it is not there")

        store.before["load"] = fails
        with pytest.raises(StoreUnavailable):
            await sessions.get_session(session_id)
        store.before = {}
        sessions.engine.measure(None)
        await sessions.update(session_id, "n", lambda n: n + 1)
        assert len(took) == 3


# --- update and transaction ------------------------------------------------------------------------------------------


async def test_update_returns_what_it_committed(sessions: Sessions) -> None:
    """`update` commits at once and returns the committed value, also None and a value with types of its own."""
    session_id = await sessions.create_session()
    assert await sessions.update(session_id, "n", increment) == 1
    assert await sessions.update(session_id, "n", increment) == 2
    assert await sessions.update(session_id, "tags", lambda tags: (tags or set()) | {"a"}) == {"a"}
    assert await sessions.update(session_id, "nothing", lambda value: value) is None
    assert await sessions.get_session(session_id) == {"n": 2, "tags": {"a"}, "nothing": None}


async def test_update_works_on_what_is_there_when_it_commits(sessions: Sessions) -> None:
    """An update that others came before is run again on what they left, and returns that value."""
    session_id = await sessions.create_session(data={"n": 0})
    store = store_of(sessions)

    async def overtake(*_: Any, **__: Any) -> None:
        if store.calls.count("commit") == 1:
            await elsewhere.update(session_id, "n", lambda n: n + 10)

    elsewhere = sessions.twin()
    store.before["commit"] = overtake
    assert await sessions.update(session_id, "n", increment) == 11


async def test_what_a_function_raises_comes_out(sessions: Sessions) -> None:
    """What the function of an update or a transaction raises comes out, and nothing is committed."""
    session_id = await sessions.create_session(data={"n": 1})
    held: list[Any] = []

    def fail(value: Any) -> Any:
        held.append(value)
        if isinstance(value, BaseSession):
            value["n"] = 5
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await sessions.update(session_id, "n", fail)
    with pytest.raises(LookupError, match="mine"):
        await sessions.transaction(session_id, fail)
    assert await sessions.get_session(session_id) == {"n": 1}
    with pytest.raises(SessionClosed):
        held[1]["n"]


async def test_a_transaction_is_run_again_when_others_were_there(sessions: Sessions) -> None:
    """A transaction commits only if the session is as it was loaded; else its function runs again on what is there, on
    a new session object. It returns what the function returned."""
    session_id = await sessions.create_session(data={"a": 10, "b": 0})
    store, elsewhere = store_of(sessions), sessions.twin()
    seen: list[Any] = []

    async def overtake(*_: Any, **__: Any) -> None:
        if len(seen) < 3:
            await elsewhere.update(session_id, "other", increment)

    def move(session: Any) -> int:
        seen.append(session)
        session["a"] -= 1
        session["b"] += 1
        return session["a"] + session.get("other", 0)

    store.before["commit"] = _except_nested(overtake)
    assert await sessions.transaction(session_id, move) == 11
    assert len(seen) == 3
    assert all(session.closed for session in seen)
    assert await sessions.get_session(session_id) == {"a": 9, "b": 1, "other": 2}


def _except_nested(hook: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    inside = []

    async def once_at_a_time(*args: Any, **kwargs: Any) -> None:
        if not inside:
            inside.append(True)
            try:
                await hook(*args, **kwargs)
            finally:
                inside.clear()

    return once_at_a_time


async def test_transactions_are_serialisable(sessions: Sessions, world: World) -> None:
    """Transactions that read one thing and write another never act on what another has changed: of ten who each take
    the last seat, one gets it."""
    session_id = await sessions.create_session(data={"seats": 1})
    store_of(sessions).before["commit"] = lambda *_, **__: world.pause()

    def take(session: Any) -> bool:
        if session["seats"] < 1:
            return False
        session["seats"] -= 1
        session["taken"] = [*session.get("taken", []), "me"]
        return True

    results = await world.together([lambda: sessions.transaction(session_id, take)] * 10)
    assert Counter(results) == {True: 1, False: 9}
    assert await sessions.get_session(session_id) == {"seats": 0, "taken": ["me"]}


async def test_a_transaction_gives_up_at_the_deadline(opens: Opens) -> None:
    """A transaction that meets others each time raises `ConflictError` when its time is up, and nothing of it is
    written."""
    sessions = opens(deadline=0.1)
    session_id = await sessions.create_session(data={"n": 0})
    elsewhere = sessions.twin()
    store_of(sessions).before["commit"] = _except_nested(
        lambda *_, **__: elsewhere.update(session_id, "other", increment)
    )
    began = time.monotonic()
    with pytest.raises(ConflictError, match="nothing was written"):
        await sessions.transaction(session_id, lambda session: session.update(n=5))
    assert time.monotonic() - began < 5
    assert (await sessions.get_session(session_id))["n"] == 0


async def test_a_transaction_may_only_read_or_end(sessions: Sessions) -> None:
    """A transaction that changes nothing commits nothing; one that ends the session ends it."""
    session_id = await sessions.create_session(data={"n": 1})
    store_of(sessions).calls.clear()
    assert await sessions.transaction(session_id, lambda session: session["n"]) == 1
    assert store_of(sessions).writes == []
    await sessions.transaction(session_id, lambda session: session.end())
    assert await sessions.get_session(session_id) is None


def test_a_transaction_may_be_a_coroutine_function() -> None:
    """The function of an async manager's transaction may be a coroutine function."""

    async def body() -> None:
        manager = AsyncSessionManager(clock=Clock())
        session_id = await manager.create_session()

        async def change(session: AsyncSession) -> str:
            session["n"] = 1
            return "done"

        assert await manager.transaction(session_id, change) == "done"
        assert await manager.get_session(session_id) == {"n": 1}

    ASYNC.run(body())


# --- exclusive -------------------------------------------------------------------------------------------------------


async def test_who_has_a_session_exclusively_is_alone(opens: Opens) -> None:
    """While a lease is held others read, and their commits wait; `SessionLeased` when they wait too long. When the
    block is over, its changes are committed and the session is free."""
    sessions, hurried = opens(), opens(deadline=0.05)
    session_id = await sessions.create_session(data={"n": 0})
    async with sessions.exclusive(session_id) as session:
        assert session.fence == 1
        assert await sessions.get_session(session_id) == {"n": 0}
        for attempt in (
            lambda: hurried.update(session_id, "n", increment),
            lambda: _enter(hurried.exclusive(session_id, wait=0.02)),
        ):
            with pytest.raises(SessionLeased):
                await attempt()
        session["n"] = 5
        await sessions.save(session)
        session["m"] = 1
    assert await sessions.get_session(session_id) == {"n": 5, "m": 1}
    assert await hurried.update(session_id, "n", increment) == 6
    async with sessions.exclusive(session_id, wait=0) as session:
        assert session.fence == 2


async def _enter(block: Any) -> Any:
    return await block.__aenter__()


async def test_commits_wait_for_the_end_of_a_lease(sessions: Sessions, world: World) -> None:
    """A commit made while somebody holds the session is made when the lease is given back."""
    session_id = await sessions.create_session(data={"n": 0})
    block = sessions.exclusive(session_id, wait=0)
    holder = await block.__aenter__()
    refused = len(store_of(sessions).calls)

    async def hold() -> None:
        await world.until(lambda: store_of(sessions).calls[refused:].count("commit") >= 2)  # refused, and again
        holder.update("n", lambda n: n * 10 + 7)
        await block.__aexit__(None, None, None)

    results = await world.together([hold, lambda: sessions.update(session_id, "n", increment)])
    assert results == [None, 8]


async def test_the_next_holder_waits_its_turn(sessions: Sessions, world: World) -> None:
    """Holders come one after the other, each with a higher number."""
    session_id = await sessions.create_session(data={"fences": []})

    async def hold() -> None:
        async with sessions.exclusive(session_id, wait=20) as session:
            fences = session["fences"]
            await world.pause()
            session["fences"] = [*fences, session.fence]

    assert await world.together([hold] * 5) == [None] * 5
    assert (await sessions.get_session(session_id))["fences"] == [1, 2, 3, 4, 5]


async def test_a_late_holder_writes_nothing(sessions: Sessions, clock: Clock) -> None:
    """A holder whose time ran out may commit while nobody else came; after that its commit raises `SessionLeased`."""
    session_id = await sessions.create_session(data={"by": []})
    async with sessions.exclusive(session_id, hold=10) as session:
        clock.advance(11)
        session["by"].append("late, and alone")
    with pytest.raises(SessionLeased, match="nothing was written"):
        async with sessions.exclusive(session_id, hold=10) as late:
            clock.advance(11)
            async with sessions.exclusive(session_id, hold=10) as newer:
                assert newer.fence > late.fence
                newer["by"].append("newer")
            late["by"].append("late")
    assert (await sessions.get_session(session_id))["by"] == ["late, and alone", "newer"]


@pytest.mark.parametrize("meanwhile", ["nothing", "end", "another holder", "ended in the block"])
async def test_a_failed_holder_gives_the_lease_back(sessions: Sessions, clock: Clock, meanwhile: str) -> None:
    """If an exclusive block raises, that and nothing else comes out, nothing is committed, and the lease is given
    back."""
    session_id = await sessions.create_session(data={"n": 0})
    with pytest.raises(LookupError, match="mine"):
        async with sessions.exclusive(session_id, hold=10) as session:
            session["n"] = 5
            if meanwhile == "end":
                await sessions.end_session(session_id)
            elif meanwhile == "another holder":
                clock.advance(11)
                await _enter(sessions.exclusive(session_id, hold=1))
            elif meanwhile == "ended in the block":
                session.end()
            raise LookupError("mine")
    if meanwhile != "end":
        clock.advance(1)
        async with sessions.exclusive(session_id, wait=0) as session:
            assert session["n"] == 0


async def test_a_lease_is_no_shield(sessions: Sessions) -> None:
    """Whoever has the right to may end a session that is held; the holder's commit is gone then."""
    session_id = await sessions.create_session("ada", {"n": 0})
    with pytest.raises(SessionGone):
        async with sessions.exclusive(session_id) as session:
            session["n"] = 1
            assert await sessions.end_user_sessions("ada") == 1
    assert await sessions.get_session(session_id) is None
    with pytest.raises(SessionNotFound):
        await _enter(sessions.exclusive(session_id))


@pytest.mark.parametrize("limits", [{"wait": -1}, {"hold": 0}, {"hold": -1}, {"wait": float("nan")}], ids=repr)
def test_leases_have_limits(limits: dict[str, float]) -> None:
    """A wait is zero or more seconds, a hold more than zero."""
    with pytest.raises(ConfigurationError):
        SessionManager().exclusive("any", **limits)


# --- Rotation and sign-in --------------------------------------------------------------------------------------------


async def test_rotation_replaces_the_secret(sessions: Sessions) -> None:
    """A rotation returns a new id for the same session; the old one is dead at once. What others have under way
    commits."""
    session_id = await sessions.create_session("ada", {"n": 1})
    async with sessions.session(session_id) as in_flight:
        in_flight["n"] = 2
        new_id = await sessions.rotate(session_id)
        assert await sessions.get_session(session_id) is None
    assert new_id != session_id
    assert handle_of(new_id) == handle_of(session_id)
    assert await sessions.get_session(new_id) == {"n": 2}
    with pytest.raises(SessionNotFound):
        await sessions.rotate(session_id)
    await sessions.end_session(session_id)
    assert await sessions.is_session_active(new_id)
    assert [change.kind for change in (await sessions.changes())[1]] == ["created", "rotated"]


async def test_a_rotation_in_a_block_holds_with_it(sessions: Sessions) -> None:
    """An id from `session.rotate()` is good once the block is over; until then the old one is."""
    session_id = await sessions.create_session(data={"n": 1})
    async with sessions.session(session_id) as session:
        new_id = session.rotate()
        assert session.session_id == new_id
        assert await sessions.is_session_active(session_id)
        assert not await sessions.is_session_active(new_id)
    assert not await sessions.is_session_active(session_id)
    assert await sessions.is_session_active(new_id)


async def test_signing_in_cuts_off_what_was_before(sessions: Sessions, clock: Clock) -> None:
    """`login` sets the user, keeps the fields, returns a new id, and starts the absolute timeout anew; the old id is
    dead at once, and so is whatever was loaded under it."""
    session_id = await sessions.create_session(data={"cart": ["apple"]}, absolute_timeout=1000)
    clock.advance(500)
    with pytest.raises(SessionGone):
        async with sessions.session(session_id) as in_flight:
            new_id = await sessions.login(session_id, "ada")
            in_flight["planted"] = True
    assert await sessions.get_session(session_id) is None
    async with sessions.session(new_id) as session:
        assert session.user_id == "ada"
        assert dict(session) == {"cart": ["apple"]}
        assert session.authenticated_at == NOW + 500
        assert session.created_at == NOW
        assert session.record.ends_at == NOW + 500 + sessions.config.absolute_timeout
    assert [summary.handle for summary in await sessions.list_sessions("ada")] == [handle_of(session_id)]
    newest = await sessions.login(new_id, "ada")
    assert newest != new_id
    assert not await sessions.is_session_active(new_id)


async def test_signing_in_in_a_block(sessions: Sessions) -> None:
    """A sign-in in a block is committed with what else the block changed."""
    session_id = await sessions.create_session(data={"n": 1})
    async with sessions.session(session_id) as session:
        session["n"] = 2
        new_id = session.login("ada")
        session["m"] = 3
    assert await sessions.get_session(new_id) == {"n": 2, "m": 3}
    assert await sessions.get_session(session_id) is None


# --- In flight -------------------------------------------------------------------------------------------------------

_DEATHS: dict[str, Callable[[Sessions, str, Clock], Awaitable[Any]]] = {
    "end": lambda sessions, sid, clock: sessions.end_session(sid),
    "end by handle": lambda sessions, sid, clock: sessions.end_session(handle_of(sid)),
    "end_user_sessions": lambda sessions, sid, clock: sessions.end_user_sessions("ada"),
    "end_sessions": lambda sessions, sid, clock: sessions.end_sessions(),
    "idle timeout": lambda sessions, sid, clock: _pass(clock, 1860),
    "absolute timeout": lambda sessions, sid, clock: _keep_busy(sessions, sid, clock),
    "eviction": lambda sessions, sid, clock: sessions.create_session("ada"),
    "login": lambda sessions, sid, clock: sessions.login(sid, "bob"),
}


async def _pass(clock: Clock, seconds: float) -> None:
    clock.advance(seconds)


async def _keep_busy(sessions: Sessions, session_id: str, clock: Clock) -> None:
    for _ in range(87):
        clock.advance(1000)
        await sessions.get_session(session_id)


_WRITES: dict[str, Callable[[Any], Any]] = {
    "assign": lambda session: session.set("written", True),
    "nested": lambda session: session["cart"].append("written"),
    "update": lambda session: session.update("n", lambda n: 99),
    "rotate": lambda session: session.rotate(),
    "login": lambda session: session.login("mallory"),
    "timeouts": lambda session: session.set_timeouts(absolute=10**9),
    "label": lambda session: setattr(session, "label", "written"),
}


@pytest.mark.parametrize("death", _DEATHS)
@pytest.mark.parametrize("how", ["block", "save", "exclusive"])
async def test_a_writer_in_flight_never_revives(opens: Opens, clock: Clock, death: str, how: str) -> None:
    """A session that was loaded before it ended, ran out, was evicted or changed its user takes nothing any more,
    whatever was changed and however it is committed: `SessionGone`, and all is as if the writer had not been there."""
    sessions = opens(max_sessions_per_user=1)
    for write in _WRITES:
        session_id = await sessions.create_session("ada", {"cart": [], "n": 0})
        with pytest.raises(SessionGone):
            async with (
                sessions.exclusive(session_id)
                if how == "exclusive" and death != "login"
                else sessions.session(session_id) as session
            ):
                assert session["cart"] == []
                await _DEATHS[death](sessions, session_id, clock)
                _WRITES[write](session)
                if how == "save":
                    await sessions.save(session)
        record = await store_of(sessions).store.load(handle_of(session_id))
        if death == "login":
            assert record is not None
            assert (record.user_id, record.label, record.generation) == ("bob", None, 2)
            assert await sessions.get_session(handle_of(session_id)) == {"cart": [], "n": 0}
        else:
            assert await sessions.get_session(handle_of(session_id)) is None
            assert record is None or "timeout" in death
        assert not await sessions.is_session_active(session_id)
        assert "mallory" not in [summary.user_id for summary in await sessions.list_sessions()]


@pytest.mark.parametrize("death", [death for death in _DEATHS if "timeout" not in death])
@pytest.mark.parametrize("operation", ["update", "transaction", "rotate", "login"])
async def test_an_operation_in_flight_never_revives(opens: Opens, clock: Clock, death: str, operation: str) -> None:
    """The same where the end comes between the load and the commit of one operation."""
    sessions = opens(max_sessions_per_user=1)
    session_id = await sessions.create_session("ada", {"n": 0})
    store = store_of(sessions)

    async def kill(*_: Any, **__: Any) -> None:
        store.after.clear()
        await _DEATHS[death](sessions, session_id, clock)

    store.after["load"] = kill
    with pytest.raises(SessionGone):
        await {
            "update": lambda: sessions.update(session_id, "n", increment),
            "transaction": lambda: sessions.transaction(session_id, lambda session: session.update(n=5)),
            "rotate": lambda: sessions.rotate(session_id),
            "login": lambda: sessions.login(session_id, "mallory"),
        }[operation]()
    assert await sessions.get_session(handle_of(session_id)) == ({"n": 0} if death == "login" else None)


@pytest.mark.parametrize("death", _DEATHS)
async def test_a_reader_in_flight_never_revives(opens: Opens, clock: Clock, death: str) -> None:
    """A block that only read, and whose activity is due to be recorded, revives nothing, and raises nothing."""
    sessions = opens(max_sessions_per_user=1, touch_interval=0)
    session_id = await sessions.create_session("ada", {"n": 0})
    async with sessions.session(session_id) as session:
        assert session["n"] == 0
        await _DEATHS[death](sessions, session_id, clock)
    assert not await sessions.is_session_active(session_id)
    assert await sessions.is_session_active(handle_of(session_id)) == (death == "login")


# --- Many sessions ---------------------------------------------------------------------------------------------------


async def test_a_users_sessions_end_together(sessions: Sessions) -> None:
    """`end_user_sessions` ends all of a user's sessions, but for the one that is kept, by id or by handle, and says how
    many."""
    first, second, third = [await sessions.create_session("ada") for _ in range(3)]
    other, nobody = await sessions.create_session("bob"), await sessions.create_session()
    assert await sessions.end_user_sessions("ada", keep=second) == 2
    assert [await sessions.is_session_active(sid) for sid in (first, second, third, other, nobody)] == [
        False,
        True,
        False,
        True,
        True,
    ]
    fourth = await sessions.create_session("ada")
    assert await sessions.end_user_sessions("ada", keep=handle_of(second)) == 1
    assert not await sessions.is_session_active(fourth)
    assert await sessions.end_user_sessions("ada") == 1
    assert await sessions.end_user_sessions("ada") == 0
    assert await sessions.end_user_sessions("nobody at all") == 0
    assert await sessions.is_session_active(other)
    reasons = Counter(change.reason for change in (await sessions.changes())[1] if change.kind == "ended")
    assert reasons == {"revoked": 4}


async def test_idle_sessions_end_together(sessions: Sessions, clock: Clock) -> None:
    """`end_sessions` ends the sessions that were idle for so many seconds, or all, but for the one that is kept."""
    idle, kept = await sessions.create_session(), await sessions.create_session()
    clock.advance(600)
    busy = await sessions.create_session()
    assert await sessions.end_sessions(idle_for=601) == 0
    assert await sessions.end_sessions(idle_for=timedelta(minutes=10), keep=kept) == 1
    assert [await sessions.is_session_active(sid) for sid in (idle, kept, busy)] == [False, True, True]
    assert await sessions.end_sessions(keep=kept) == 1
    assert await sessions.end_sessions() == 1
    with pytest.raises(ConfigurationError):
        await sessions.end_sessions(idle_for=-1)


async def test_sessions_are_listed(sessions: Sessions, clock: Clock) -> None:
    """`list_sessions` shows live sessions, of a user or of all, page by page, without anything that logs in."""
    made = {await sessions.create_session("ada", {"n": number}, label=f"device {number}") for number in range(5)}
    await sessions.create_session("bob")
    await sessions.create_session("ada", idle_timeout=10)
    clock.advance(11)
    listed = await sessions.list_sessions("ada")
    assert [summary.handle for summary in listed] == sorted(map(handle_of, made))
    assert {summary.label for summary in listed} == {f"device {number}" for number in range(5)}
    assert {(summary.user_id, summary.created_at, summary.last_accessed_at) for summary in listed} == {
        ("ada", NOW, NOW)
    }
    assert {summary.expires_at for summary in listed} == {NOW + 1860}
    assert all(summary.size > 0 for summary in listed)
    assert len(await sessions.list_sessions()) == 6
    page = await sessions.list_sessions("ada", limit=2)
    assert page + await sessions.list_sessions("ada", after=page[-1].handle) == listed
    assert not any(secret_of(sid) in repr(listed) for sid in made)


async def test_the_dead_are_purged(sessions: Sessions, clock: Clock) -> None:
    """`purge_expired` removes all dead records, however many, tells each, and returns how many; the living stay."""
    told: list[Any] = []
    sessions.add_listener(told.append, "ended")
    for _ in range(1_005):
        await sessions.create_session(idle_timeout=10)
    live = await sessions.create_session()
    clock.advance(12)
    assert await sessions.purge_expired() == 1_005
    assert await sessions.purge_expired() == 0
    assert (await sessions.stats()).sessions == 1
    assert await sessions.is_session_active(live)
    assert Counter(change.reason for change in told) == {"expired": 1_005}
    assert len({change.id for change in told}) == 1_005


async def test_a_user_has_no_more_sessions_than_allowed(opens: Opens, clock: Clock) -> None:
    """At the cap a user's oldest session makes room for the new one, whether that comes by creation or by sign-in."""
    sessions = opens(max_sessions_per_user=2)
    made = []
    for _ in range(3):
        made.append(await sessions.create_session("ada"))
        clock.advance(1)
    assert [await sessions.is_session_active(sid) for sid in made] == [False, True, True]
    visitor = await sessions.create_session()
    new_id = await sessions.login(visitor, "ada")
    assert [await sessions.is_session_active(sid) for sid in (*made, new_id)] == [False, False, True, True]
    again = await sessions.login(new_id, "ada")
    assert [await sessions.is_session_active(sid) for sid in (made[2], again)] == [True, True]
    evicted = [change.handle for change in (await sessions.changes())[1] if change.reason == "evicted"]
    assert evicted == [handle_of(made[0]), handle_of(made[1])]


async def test_a_session_too_many_can_be_refused(opens: Opens) -> None:
    """With the rule to refuse, `TooManySessions` is raised, nothing is written, and all goes on as before."""
    sessions = opens(max_sessions_per_user=1, at_cap="refuse")
    first = await sessions.create_session("ada")
    visitor = await sessions.create_session(data={"n": 1})
    with pytest.raises(TooManySessions, match="max_sessions_per_user"):
        await sessions.create_session("ada")
    with pytest.raises(TooManySessions):
        await sessions.login(visitor, "ada")
    with pytest.raises(TooManySessions):
        async with sessions.session(visitor) as session:
            session["n"] = 2
            session.login("ada")
    assert await sessions.get_session(visitor) == {"n": 1}
    assert await sessions.is_session_active(first)
    await sessions.end_session(first)
    assert await sessions.get_session(await sessions.login(visitor, "ada")) == {"n": 1}


async def test_the_store_holds_no_more_than_allowed(opens: Opens, clock: Clock) -> None:
    """At the bound of the store the least recently used session makes room."""
    sessions = opens(max_sessions=3, touch_interval=0)
    made = []
    for _ in range(3):
        made.append(await sessions.create_session())
        clock.advance(1)
    assert await sessions.get_session(made[0]) == {}
    clock.advance(1)
    made.append(await sessions.create_session())
    assert [await sessions.is_session_active(sid) for sid in made] == [True, False, True, True]
    assert (await sessions.stats()).sessions == 3


# --- Time ------------------------------------------------------------------------------------------------------------


async def test_a_session_lives_as_long_as_it_is_used(opens: Opens, clock: Clock) -> None:
    """A session that is read now and then lives until its absolute timeout; one that is not dies between its idle
    timeout and a touch interval more, and is never served after that."""
    sessions = opens(idle_timeout=100, absolute_timeout=1000)
    used, unused = await sessions.create_session(), await sessions.create_session()
    for _ in range(10):
        clock.advance(99)
        assert await sessions.get_session(used) == {}
    assert await sessions.get_session(unused) is None
    clock.advance(10)
    assert await sessions.get_session(used) is None
    fresh = await sessions.create_session()
    clock.advance(99.9)
    assert await sessions.is_session_active(fresh)
    clock.advance(10.1)
    assert not await sessions.is_session_active(fresh)


async def test_activity_is_recorded_once_an_interval(sessions: Sessions, clock: Clock) -> None:
    """Reads within the touch interval write nothing; the first after it costs one write. Looking whether a session is
    active, or at it by its handle, is no activity. A commit records activity with what it writes."""
    session_id = await sessions.create_session(data={"n": 1})
    store = store_of(sessions)
    store.calls.clear()
    for _ in range(59):
        clock.advance(1)
        await sessions.get_session(session_id)
        async with sessions.session(session_id) as session:
            assert session["n"] == 1
    assert store.writes == []
    clock.advance(1)
    await sessions.is_session_active(session_id)
    await sessions.get_session(handle_of(session_id))
    await sessions.list_sessions()
    assert store.writes == []
    await sessions.get_session(session_id)
    await sessions.get_session(session_id)
    assert store.writes == ["touch"]
    clock.advance(60)
    async with sessions.session(session_id) as session:
        assert session["n"] == 1
    async with sessions.session(session_id) as session:
        session["n"] = 2
    clock.advance(60)
    await sessions.update(session_id, "n", increment)
    await sessions.get_session(session_id)
    assert store.writes == ["touch", "touch", "commit", "commit"]
    assert (await sessions.list_sessions())[0].last_accessed_at == NOW + 180


async def test_timeouts_of_one_session(sessions: Sessions, clock: Clock) -> None:
    """A session may have timeouts of its own, from its creation or later ("remember me")."""
    short = await sessions.create_session(idle_timeout=10)
    long = await sessions.create_session()
    async with sessions.session(long) as session:
        session.set_timeouts(idle=10**6, absolute=timedelta(days=30), persistent=True)
    clock.advance(11)
    assert not await sessions.is_session_active(short)
    clock.advance(86_400 * 10)
    assert await sessions.is_session_active(long)
    clock.advance(86_400 * 30)
    assert not await sessions.is_session_active(long)


async def test_rotation_does_not_prolong(opens: Opens, clock: Clock) -> None:
    """The absolute timeout runs on through rotations; signing in anew starts it again."""
    sessions = opens(idle_timeout=10**6, absolute_timeout=1000)
    session_id = await sessions.create_session("ada")
    clock.advance(900)
    session_id = await sessions.rotate(session_id)
    clock.advance(99)
    renewed = await sessions.login(session_id, "ada")
    clock.advance(999)
    assert await sessions.is_session_active(renewed)
    clock.advance(1)
    assert not await sessions.is_session_active(renewed)


async def test_a_reader_is_served_when_the_store_cannot_write(sessions: Sessions, clock: Clock) -> None:
    """If activity cannot be recorded the reader is served all the same, and it is counted."""
    session_id = await sessions.create_session(data={"n": 1})
    clock.advance(100)

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the disk is full")

    store_of(sessions).before["touch"] = fail
    assert await sessions.get_session(session_id) == {"n": 1}
    async with sessions.session(session_id) as session:
        assert session["n"] == 1
    assert sessions.counts["untouched"] == 2


@pytest.mark.parametrize(
    "operation", ["load", "create", "commit", "end", "end_matching", "summaries", "purge_expired", "changes", "stats"]
)
@pytest.mark.parametrize(
    "error", [StoreUnavailable("no answer"), OutcomeUnknown("no reply")], ids=lambda error: type(error).__name__
)
async def test_a_store_that_fails_is_no_anonymous_visitor(sessions: Sessions, operation: str, error: Exception) -> None:
    """What the store cannot do is raised as it is, and never taken for a session that is not there."""
    session_id = await sessions.create_session("ada")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    store_of(sessions).before[operation] = fail
    calls: list[Callable[[], Awaitable[Any]]] = {
        "load": [*(lambda op=op: op(sessions, session_id) for op in _BY_ID.values())],
        "create": [sessions.create_session],
        "commit": [*(lambda op=_BY_ID[name]: op(sessions, session_id) for name in ("update", "rotate", "login"))],
        "end": [lambda: sessions.end_session(session_id), lambda: sessions.end_session(handle_of(session_id))],
        "end_matching": [lambda: sessions.end_user_sessions("ada"), sessions.end_sessions],
        "summaries": [sessions.list_sessions],
        "purge_expired": [sessions.purge_expired],
        "changes": [sessions.changes],
        "stats": [sessions.stats],
    }[operation]
    for call in calls:
        with pytest.raises(type(error)):
            await call()
    store_of(sessions).before.clear()
    assert await sessions.is_session_active(session_id)


# --- Rotation for age ------------------------------------------------------------------------------------------------


class Client:
    """A browser: it shows the id it has, and keeps the one it is sent."""

    def __init__(self, sessions: Sessions, session_id: str) -> None:
        self.engine = sessions.engine
        self.id = session_id
        self.sent: list[str] = []

    async def begin(self) -> BaseSession:
        return await self.engine.begin(self.id)

    async def finish(self, session: BaseSession, *, lost: bool = False) -> str:
        """The end of the request; whether its response arrives. What becomes of the cookie."""
        _, action = await self.engine.finish_response(session)
        if action == "set":
            self.sent.append(session.session_id)
            if not lost:
                self.id = session.session_id
        session.close()
        return action

    async def request(self, *, lost: bool = False) -> bool:
        """A whole request. Returns whether it was signed in."""
        session = await self.begin()
        known = not session.is_new
        await self.finish(session, lost=lost)
        return known


@pytest.fixture
def rotating(opens: Opens) -> Sessions:
    return opens(rotate_after=3600, idle_timeout=10**5, absolute_timeout=10**6)


async def test_an_old_secret_is_replaced(rotating: Sessions, clock: Clock) -> None:
    """A secret that is older than the configuration allows is replaced at the end of a request, not before, and
    once."""
    client = Client(rotating, await rotating.create_session("ada"))
    clock.advance(3599)
    assert await client.request()
    assert client.sent == []
    clock.advance(1)
    old = client.id
    assert await client.request()
    assert client.sent == [client.id] != [old]
    assert handle_of(client.id) == handle_of(old)
    for _ in range(3):
        clock.advance(1000)
        assert await client.request()
    assert len(client.sent) == 1


async def test_parallel_requests_across_a_rotation_stay_signed_in(rotating: Sessions, clock: Clock) -> None:
    """Requests that were under way, or come with the old id, while another's response brings the new one, are served;
    one new id is made, and none of their responses touches the cookie."""
    client = Client(rotating, await rotating.create_session("ada", {"n": 0}))
    clock.advance(3600)
    parallel = [await client.begin() for _ in range(5)]
    for number, session in enumerate(parallel):
        session[f"field {number}"] = 1
    assert await client.finish(parallel[0]) == "set"
    old = Client(rotating, ids.join(handle_of(client.id), parallel[1].secret))
    assert [await client.finish(session) for session in parallel[1:]] == ["leave"] * 4
    clock.advance(10)
    assert await old.request()
    assert old.sent == []
    assert await client.request()
    assert len(await rotating.get_session(client.id)) == 6
    assert len(client.sent) == 1


async def test_the_old_id_ends_half_a_minute_after_the_new_one_was_seen(rotating: Sessions, clock: Clock) -> None:
    """The grace of the old id begins when the new one is first seen, however late that is; from its end on the old id
    is dead, and the new one lives."""
    client = Client(rotating, await rotating.create_session("ada"))
    old = Client(rotating, client.id)
    clock.advance(3600)
    assert await client.request()
    clock.advance(20)
    assert await old.request()
    assert await client.request()
    clock.advance(GRACE - 0.5)
    assert await old.request()
    clock.advance(0.5)
    assert not await old.request()
    assert await client.request()


@pytest.mark.parametrize("away", [10, 1000])
async def test_a_new_id_may_be_seen_late(rotating: Sessions, clock: Clock, away: float) -> None:
    """A client that was away for a while after it got a new id comes back with several requests at once, and may lose
    their responses: it is sent no other id so soon, and stays signed in."""
    client = Client(rotating, await rotating.create_session("ada"))
    clock.advance(3600)
    assert await client.request()
    clock.advance(away)
    parallel = [await client.begin() for _ in range(3)]
    for session in parallel:
        assert not session.is_new
        await client.finish(session, lost=True)
    assert await client.request(lost=True)
    clock.advance(GRACE)
    assert await client.request()
    assert len(client.sent) == 1


async def test_a_secret_may_be_old_when_it_is_first_seen(rotating: Sessions, clock: Clock) -> None:
    """A client that was away for longer than a secret may last is sent a new one when it comes back, and parallel
    requests and a lost response log nobody out then either."""
    client = Client(rotating, await rotating.create_session("ada"))
    clock.advance(3600)
    assert await client.request()
    clock.advance(3600)
    parallel = [await client.begin() for _ in range(3)]
    for session in parallel:
        assert not session.is_new
        await client.finish(session, lost=True)
    assert await client.request(lost=True)
    assert await client.request()


async def test_a_lost_response_logs_nobody_out(rotating: Sessions, clock: Clock) -> None:
    """A client that never got the new id goes on with the old one, and is sent another when the grace period has
    passed; both ids that it may have are good until one is seen."""
    client = Client(rotating, await rotating.create_session("ada"))
    clock.advance(3600)
    assert await client.request(lost=True)
    clock.advance(5)
    assert await client.request()
    assert len(client.sent) == 1
    clock.advance(GRACE)
    assert await client.request(lost=True)
    assert len(client.sent) == 2
    clock.advance(1)
    for late in client.sent:
        assert await Client(rotating, late).request()
    clock.advance(GRACE + 5)
    assert await Client(rotating, client.sent[1]).request()
    assert not await Client(rotating, client.sent[0]).request()


async def test_responses_lost_again_and_again_log_nobody_out(rotating: Sessions, clock: Clock) -> None:
    """However often the response is lost, the client is served with the id that it has, as long as none of the others
    was seen."""
    client = Client(rotating, await rotating.create_session("ada"))
    clock.advance(3600)
    for _ in range(20):
        assert await client.request(lost=True)
        clock.advance(GRACE)
    assert await client.request()
    assert await client.request()


async def test_a_thief_and_an_owner_of_one_id(rotating: Sessions, clock: Clock) -> None:
    """When one of two who show the same id gets the new one and uses it, the other is out half a minute later."""
    owner = Client(rotating, await rotating.create_session("ada"))
    thief = Client(rotating, owner.id)
    clock.advance(3600)
    assert await owner.request()
    assert await owner.request()
    assert await thief.request()
    clock.advance(GRACE)
    assert not await thief.request()


@pytest.mark.parametrize(
    "change", [lambda session: session.login("bob"), lambda session: session.rotate()], ids=["login", "rotate"]
)
@pytest.mark.parametrize("seen_before", [False, True])
async def test_signing_in_ends_every_grace(rotating: Sessions, clock: Clock, change: Any, seen_before: bool) -> None:
    """After a sign-in, or a rotation that was asked for, no older id is good: not even one that was replaced for age a
    moment ago, and also if this is the first request with the one that replaced it."""
    client = Client(rotating, await rotating.create_session("ada"))
    old = client.id
    clock.advance(3600)
    assert await client.request()
    before = client.id
    if seen_before:
        assert await client.request()
    session = await client.begin()
    change(session)
    assert await client.finish(session) == "set"
    for dead in (old, before):
        assert not await rotating.is_session_active(dead)
    assert await rotating.is_session_active(client.id)


async def test_a_stale_response_leaves_the_cookie_alone(sessions: Sessions) -> None:
    """A request under an id that was superseded is a visitor's; what it writes is dropped, and its response neither
    sets nor clears the cookie. Signing in is what a cookie is for, and makes a new session."""
    old = await sessions.create_session("ada", {"n": 1})
    new = await sessions.rotate(old)
    client = Client(sessions, old)
    session = await client.begin()
    assert (session.is_new, session.presented) == (True, "superseded")
    session["n"] = 5
    assert await client.finish(session) == "leave"
    assert await sessions.get_session(new) == {"n": 1}
    assert (await sessions.stats()).sessions == 1
    session = await client.begin()
    session.login("ada")
    assert await client.finish(session) == "set"
    assert handle_of(client.id) != handle_of(old)
    assert (await sessions.stats()).sessions == 2


# --- Facts -----------------------------------------------------------------------------------------------------------


async def test_each_fact_is_told_once(opens: Opens, clock: Clock) -> None:
    """Creation, rotation, sign-in, end, expiry, eviction and refusal are each told once, with who and why, and recorded
    in the store under the same ids; a refused id is told and not recorded, or anybody could fill the store."""
    sessions = opens(max_sessions_per_user=1)
    told: list[Any] = []
    sessions.add_listener(told.append)
    first = await sessions.create_session("ada")
    first = await sessions.rotate(first)
    second = await sessions.create_session("ada")
    await sessions.end_session(second)
    visitor = await sessions.login(await sessions.create_session(), "bob")
    clock.advance(10_000)
    await sessions.purge_expired()
    await sessions.get_session("malformed")
    await sessions.get_session(ids.join("h" * 22, "s" * 43))
    await sessions.get_session(visitor)
    facts = [(change.kind, change.user_id, change.reason) for change in told]
    assert facts == [
        ("created", "ada", None),
        ("rotated", "ada", None),
        ("ended", "ada", "evicted"),
        ("created", "ada", None),
        ("ended", "ada", "ended"),
        ("created", None, None),
        ("rotated", "bob", None),
        ("ended", "bob", "expired"),
        ("refused", None, "malformed"),
        ("refused", None, "unknown"),
        ("refused", None, "unknown"),
    ]
    assert len({change.id for change in told}) == len(told)
    assert (await sessions.changes())[1] == told[:8]
    assert sessions.counts["refused"] == 3


async def test_listeners_hear_what_they_asked_for(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    """A listener is told of the kinds it named, or of all, until it is removed; one that raises is logged, and disturbs
    neither the others nor the operation; one may remove itself."""
    everything: list[str] = []
    ends: list[str] = []
    single: list[str] = []

    def broken(change: Any) -> None:
        raise LookupError("a listener's own")

    def only_once(change: Any) -> None:
        single.append(change.kind)
        forget_single()

    forget_broken = sessions.add_listener(broken)
    forget_single = sessions.add_listener(only_once)
    sessions.add_listener(lambda change: everything.append(change.kind))
    forget = sessions.add_listener(lambda change: ends.append(change.kind), "ended", "rotated")
    with caplog.at_level(logging.ERROR, "sojourn"):
        session_id = await sessions.rotate(await sessions.create_session())
    assert "a listener's own" in caplog.text
    forget_broken()
    await sessions.end_session(session_id)
    forget()
    await sessions.end_session(await sessions.create_session())
    assert everything == ["created", "rotated", "ended", "created", "ended"]
    assert ends == ["rotated", "ended"]
    assert single == ["created"]


# --- The cleaner, and the end ----------------------------------------------------------------------------------------


def _cleaners() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "sojourn-cleaner"]


async def test_the_cleaner_cleans(opens: Opens, clock: Clock, world: World) -> None:
    """A started cleaner removes the dead again and again, survives a store that fails, and is gone when it was stopped;
    starting and stopping twice is once."""
    sessions = opens(cleanup_interval=0.005)
    store = store_of(sessions)

    def fail(*_: Any, **__: Any) -> None:
        store.before.clear()
        raise StoreUnavailable("busy")

    store.before["purge_expired"] = fail
    await sessions.start_cleaner()
    await sessions.start_cleaner()
    await world.until(lambda: store.calls.count("purge_expired") > 1)
    for _ in range(2):
        sessions_made = [await sessions.create_session(idle_timeout=10) for _ in range(3)]
        clock.advance(12)
        before = store.calls.count("purge_expired")
        await world.until(lambda before=before: store.calls.count("purge_expired") > before + 2)
        assert [await store.load(handle_of(made)) for made in sessions_made] == [None] * 3
    assert len(_cleaners()) == (1 if world is BLOCKING else 0)
    await sessions.stop_cleaner()
    await sessions.stop_cleaner()
    assert _cleaners() == []
    swept = store.calls.count("purge_expired")
    await world.pause()
    assert store.calls.count("purge_expired") == swept


async def test_closing_stops_the_cleaner_at_once(opens: Opens, world: World) -> None:
    """Closing a manager stops its cleaner without waiting for its next round, and closes the store, also one that was
    handed in; closing twice is allowed."""
    sessions = opens(cleanup_interval=1000)
    began = time.monotonic()
    await sessions.start_cleaner()
    await sessions.close()
    await sessions.close()
    assert time.monotonic() - began < 5
    assert _cleaners() == []
    with pytest.raises(StoreUnavailable):
        await sessions.create_session()


async def test_without_a_cleaner_creations_clean(opens: Opens, clock: Clock, world: World) -> None:
    """Where no cleaner runs, creations remove the dead, some each."""
    sessions = opens(cleanup_interval=0.001)
    for _ in range(150):
        await sessions.create_session(idle_timeout=10)
    clock.advance(12)
    for _ in range(4):
        swept_at = sessions.engine._swept_at
        await world.until(lambda at=swept_at: time.monotonic() - at > 0.001)
        await sessions.create_session()
    assert (await sessions.stats()).sessions == 4


async def test_a_creation_does_not_fail_with_its_cleaning(opens: Opens, world: World) -> None:
    """Where a creation cannot remove the dead, the session is created all the same."""
    sessions = opens(cleanup_interval=0.001)

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("busy")

    store_of(sessions).before["purge_expired"] = fail
    await world.until(lambda: time.monotonic() - sessions.engine._swept_at > 0.001)
    assert await sessions.get_session(await sessions.create_session(data={"n": 1})) == {"n": 1}
    assert "purge_expired" in store_of(sessions).calls


async def test_a_manager_is_a_context(world: World) -> None:
    """A manager closes itself, and its store, at the end of a ``with`` block."""
    store = MemoryStore()
    if world is BLOCKING:
        with SessionManager(store) as blocking:
            blocking.create_session()
    else:
        async with AsyncSessionManager(store) as manager:
            await manager.create_session()
    with pytest.raises(StoreUnavailable):
        await store.stats()


# --- Two worlds ------------------------------------------------------------------------------------------------------


def test_both_managers_offer_the_same() -> None:
    """Each public method of one manager is one of the other's, with the same parameters, and the same words."""

    def public(kind: type) -> dict[str, Any]:
        members = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
        return {name: member for name, member in members.items() if callable(member)}

    blocking, asynchronous = public(SessionManager), public(AsyncSessionManager)
    inner = {
        "new",
        "refuse",
        "open",
        "require",
        "begin",
        "add",
        "finish",
        "finish_response",
        "finish_seeing",
        "facts",
        "following",
        "keep_watching",
        "measure",
        "resume",
        "touch",
        "save",
        "save_seeing",
        "refresh",
        "acquire",
        "leave",
        "set_apart",
        "watchers",
        "tell",
        "clean_until",
        "watching",
    }
    assert set(asynchronous) - inner == set(blocking)
    for name, method in blocking.items():
        one, other = (inspect.signature(both) for both in (method, asynchronous[name]))
        assert list(one.parameters) == list(other.parameters), name
        assert [p.default for p in one.parameters.values()] == [p.default for p in other.parameters.values()], name
        words = [re.sub(r"\W+|async ", " ", both.__doc__ or "").split()[:6] for both in (method, asynchronous[name])]
        assert words[0] == words[1] != [], name


def test_a_store_is_opened_for_one_world(tmp_path: Path) -> None:
    """A store that was opened for the other world is refused at start, with the remedy."""
    for world, manager in (("async", SessionManager), ("blocking", AsyncSessionManager)):
        store = open_store(f"sqlite:///{tmp_path}/{world}.db", world=world)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="open it with world"):
            manager(store)
        run(store.close())


def test_an_async_store_is_not_run_blocking() -> None:
    """`run` refuses a coroutine that suspends, and says what to do."""
    import asyncio

    with pytest.raises(RuntimeError, match="use AsyncSessionManager"):
        run(asyncio.sleep(0))


@pytest.mark.parametrize(
    "given",
    [{"expiration_time": 60}, {"expiration_time": timedelta(minutes=1)}, {"config": SessionConfig(idle_timeout=60)}],
)
@pytest.mark.parametrize("manager", [SessionManager, AsyncSessionManager])
def test_the_expiration_time_is_the_idle_timeout(manager: Any, given: dict[str, Any]) -> None:
    """``expiration_time`` is the idle timeout in seconds, and overrides the configuration."""
    assert manager(**given).config.idle_timeout == 60
    assert manager(**{"config": SessionConfig(idle_timeout=5, deadline=3), **given}).config.idle_timeout == 60
    with pytest.raises(ConfigurationError, match="expiration_time"):
        manager(expiration_time=-1)


@pytest.mark.parametrize(
    "url", ["", "sessions.db", "memcached://x", "mysql://user:hunter2@host/db", "memory", "sqlite:"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    """A URL that names no store is refused, with those that there are, and without its password."""
    with pytest.raises(ConfigurationError) as caught:
        SessionManager(url)
    assert "sqlite" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_list_that_is_held_goes_on_with_what_others_appended(world: World) -> None:
    """Who saves, and goes on appending to a list that was taken out before, loses nothing of what others appended
    between; the list that is held shows it."""
    sessions = world.sessions("memory://")
    session_id = await sessions.create_session(data={"items": [], "cart": {"items": []}})
    async with sessions.session(session_id) as session:
        items, nested = session["items"], session["cart"]["items"]
        for number in range(5):
            async with sessions.session(session_id) as other:
                other["items"].append(f"other {number}")
                other["cart"]["items"].append(f"other {number}")
            items.append(f"mine {number}")
            nested.append(f"mine {number}")
            await sessions.engine.save(session)
            assert items == session["items"]
            assert nested == session["cart"]["items"]
    kept = await sessions.get_session(session_id)
    wanted = {f"{who} {number}" for who in ("mine", "other") for number in range(5)}
    assert (set(kept["items"]), len(kept["items"])) == (wanted, 10)
    assert (set(kept["cart"]["items"]), len(kept["cart"]["items"])) == (wanted, 10)
