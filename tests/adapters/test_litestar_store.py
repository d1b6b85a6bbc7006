"""Litestar's `Store`, over Sojourn's: values by key, with an end, apart from sessions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request, get
from litestar.config.response_cache import ResponseCacheConfig
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.registry import StoreRegistry
from litestar.testing import TestClient

from sojourn import (
    AsyncSessionManager,
    ConfigurationError,
    Handle,
    SessionConfig,
    SessionManager,
    StoreUnavailable,
    TooLarge,
)
from sojourn.adapters.litestar import SojournSessionConfig, SojournStore
from sojourn.entries import Entries
from sojourn.ids import join, mint_secret
from sojourn.testing import Clock

Make = Callable[..., Any]

PLACES = ["memory", "sqlite", "valkey", "postgres"]


@pytest.fixture(params=PLACES)
def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Opens stores in each place in turn: a context manager of the store, and the clock that it goes by."""
    url, drop = "memory://", []
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/entries.db"
    elif request.param == "valkey":
        url = request.getfixturevalue("valkey").url(prefix=secrets.token_hex(4), clock="caller")
    elif request.param == "postgres":
        database = request.getfixturevalue("postgres").database()
        url, drop = database.url(clock="caller"), [database.drop]

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[tuple[SojournStore, Clock]]:
        clock = Clock()
        async with AsyncSessionManager(url, clock=clock, config=SessionConfig(deadline=10, **settings)) as manager:
            yield SojournStore(manager), clock

    yield opened
    for one in drop:
        one()


async def test_values_are_kept(open_one: Make) -> None:
    """What was set is got, replaced, counted as there, and deleted; text comes back as bytes; what is not there is
    None."""
    async with open_one() as (store, _):
        assert (await store.get("a"), await store.exists("a"), await store.expires_in("a")) == (None, False, None)
        await store.set("a", "één")
        assert (await store.get("a"), await store.exists("a"), await store.expires_in("a")) == (
            "één".encode(),
            True,
            -1,
        )
        for value in (b"", b"\x00\xff", b"two"):
            await store.set("a", value)
            assert await store.get("a") == value
        await store.delete("a")
        await store.delete("a")
        assert await store.get("a") is None


async def test_values_run_out(open_one: Make) -> None:
    """A value is gone at its time, to the second; one without a time stays; setting it anew gives it another time, or
    none; another may then be put in the place of one that ran out."""
    async with open_one() as (store, clock):
        await store.set("stays", b"1")
        for key, expires_in in (("a", 10), ("b", timedelta(seconds=10)), ("c", 10), ("d", 0)):
            await store.set(key, b"1", expires_in)
        assert [await store.expires_in(key) for key in "abd"] == [10, 10, -1]
        await store.set("c", b"2")
        clock.advance(9)
        assert [await store.exists(key) for key in "abcd"] == [True] * 4
        clock.advance(1)
        assert [await store.get(key) for key in "abcd"] == [None, None, b"2", b"1"]
        assert await store.expires_in("a") is None
        await store.set("a", b"3", 10)
        assert await store.get("a") == b"3"
        clock.advance(10 * 365 * 86400)
        assert [await store.get(key) for key in ("a", "c", "stays")] == [None, b"2", b"1"]


@pytest.mark.parametrize("renew_for", [20, timedelta(seconds=20)])
async def test_a_look_may_renew(open_one: Make, renew_for: Any) -> None:
    """``renew_for`` gives a value that is to run out that time from now, and leaves one alone that is not."""
    async with open_one() as (store, clock):
        await store.set("a", b"1", 10)
        await store.set("stays", b"1")
        clock.advance(9)
        assert await store.get("a", renew_for) == b"1"
        assert await store.get("stays", renew_for) == b"1"
        assert (await store.expires_in("a"), await store.expires_in("stays")) == (20, -1)
        clock.advance(20)
        assert (await store.get("a", renew_for), await store.get("stays")) == (None, b"1")


async def test_namespaces_are_apart(open_one: Make) -> None:
    """The same key in two namespaces is two values; emptying one empties those below it, and neither those beside nor
    those above, nor the sessions of the same store."""
    async with open_one() as (store, _):
        manager: AsyncSessionManager = store._manager
        session = await manager.create_session("LITESTAR")
        below, beside = store.with_namespace("a"), SojournStore(manager, namespace="LITESTAR_a")
        deeper = below.with_namespace("b")
        assert (below.namespace, deeper.namespace) == ("LITESTAR_a", "LITESTAR_a_b")
        everyone = (store, below, deeper, beside)
        for at, one in enumerate(everyone):
            await one.set("key", str(at))
        assert [await one.get("key") for one in everyone] == [b"0", b"1", b"2", b"3"]
        await below.delete_all()
        assert [await one.get("key") for one in everyone] == [b"0", None, None, b"3"]
        await deeper.set("key", b"2")
        await store.delete_all()
        assert [await one.get("key") for one in everyone] == [None, None, None, b"3"]
        assert await manager.is_session_active(session)


async def test_the_later_of_two_writers_wins_as_a_whole(open_one: Make) -> None:
    """Many writers of one key at once all come through, one value is left, whole, and nothing is told of it."""
    async with open_one() as (store, _):
        values = [bytes([at]) * 1000 for at in range(20)]
        await asyncio.gather(*(store.set("key", value) for value in values))
        assert await store.get("key") in values
        assert store._manager.counts["overwritten"] == 0


async def test_what_is_too_large_is_refused(open_one: Make) -> None:
    """A value past ``max_field_bytes`` is refused, and what was there stays."""
    async with open_one(max_field_bytes=1000) as (store, _):
        await store.set("key", b"small")
        with pytest.raises(TooLarge, match="max_field_bytes"):
            await store.set("key", b"x" * 1001)
        assert await store.get("key") == b"small"


async def test_no_cookie_opens_a_value(open_one: Make) -> None:
    """A value is no session: nobody gets in with its handle, whatever the secret."""
    async with open_one() as (store, _):
        await store.set("key", b"value")
        handle = store._entries._handle("key")
        assert await store._manager.is_session_active(Handle(handle))
        for secret in (mint_secret(), "A" * 43):
            assert not await store._manager.is_session_active(join(handle, secret))


async def test_what_ran_out_is_removed() -> None:
    """What ran out is removed from the store by later writes, by and by, and by `delete_expired` at once."""
    clock = Clock()
    async with AsyncSessionManager(clock=clock, config=SessionConfig(cleanup_interval=0.001)) as manager:
        store = SojournStore(manager)
        for name in ("a", "b"):
            await store.set(name, b"1", 10)
        clock.advance(11)
        await asyncio.sleep(0.01)
        await store.set("c", b"1", 10)
        assert (await manager.stats()).sessions == 1
        clock.advance(11)
        await store.delete_expired()
        assert (await manager.stats()).sessions == 0


@given(st.lists(st.lists(st.text(st.characters(codec=None)), min_size=2, max_size=3), min_size=2, max_size=2))
def test_no_two_keys_are_the_same(paths: list[list[str]]) -> None:
    """Namespaces and keys, of whatever characters, have a place each: however they are cut, folded or joined."""
    places = {Entries(None, tuple(names))._handle(key) for *names, key in paths}  # type: ignore[arg-type]
    assert len(places) == len({tuple(path) for path in paths})


@pytest.mark.parametrize("namespace", ["", "a\x1db", "\n"])
def test_a_namespace_is_a_name(namespace: str) -> None:
    """A namespace without a name, or with what no name has, is refused, and so is what is no store."""
    with pytest.raises(ConfigurationError, match="namespace"):
        SojournStore("memory://", namespace=namespace)
    with pytest.raises(ConfigurationError, match="namespace"):
        SojournStore("memory://").with_namespace(namespace)
    with pytest.raises(ConfigurationError, match="AsyncSessionManager"):
        SojournStore(SessionManager())  # type: ignore[arg-type]


# --- In an application -----------------------------------------------------------------------------------------------


@get("/", sync_to_thread=False)
def index(request: Request[Any, Any, Any]) -> Any:
    return {"session": dict(request.session) if "session" in request.scope else None}


def test_rate_limits_live_in_it(tmp_path: Path) -> None:
    """Litestar's rate limit, kept in a file, holds across processes; when its time is over it starts anew."""
    limit = RateLimitConfig(rate_limit=("minute", 3))
    url = f"sqlite:///{tmp_path}/limits.db"
    statuses = []
    for _ in range(2):  # each application stands for a process
        app = Litestar([index], middleware=[limit.middleware], stores={"rate_limit": SojournStore(url)})
        with TestClient(app) as client:
            statuses += [client.get("/").status_code for _ in range(2)]
    assert statuses == [200, 200, 200, 429]


def test_cached_responses_live_in_it() -> None:
    """Litestar's response cache serves from it."""
    calls: list[int] = []

    @get("/costly", cache=True, sync_to_thread=False)
    def costly() -> int:
        calls.append(1)
        return len(calls)

    cache = ResponseCacheConfig(store="pages")
    app = Litestar([costly], response_cache_config=cache, stores={"pages": SojournStore("memory://")})
    with TestClient(app) as client:
        assert [client.get("/costly").json() for _ in range(3)] == [1, 1, 1]


def test_litestars_own_sessions_live_in_it() -> None:
    """Litestar's server-side sessions, as they are, can be kept in it, each store in a namespace of its own."""

    @get("/put", sync_to_thread=False)
    def put(request: Request[Any, Any, Any]) -> None:
        request.session["name"] = "Ada"

    root = SojournStore("memory://")
    app = Litestar(
        [index, put],
        middleware=[ServerSideSessionConfig().middleware],
        stores=StoreRegistry(default_factory=root.with_namespace),
    )
    with TestClient(app) as client:
        client.get("/put")
        assert client.get("/").json() == {"session": {"name": "Ada"}}
        asyncio.run(root.delete_all())
        assert client.get("/").json() == {"session": {}}


def test_it_closes_with_the_application(tmp_path: Path) -> None:
    """A store that was opened by its URL is closed when the application shuts down; one over a manager of yours is
    not, and sessions of the same manager go on beside it."""
    own = SojournStore(f"sqlite:///{tmp_path}/own.db")
    manager = AsyncSessionManager()
    shared = SojournStore(manager)
    config = SojournSessionConfig(manager)
    with TestClient(Litestar([index], middleware=[config.middleware], stores={"a": own, "b": shared})) as client:
        assert client.get("/").json() == {"session": {}}
    with pytest.raises(StoreUnavailable):
        asyncio.run(own.set("a", b"1"))
    asyncio.run(shared.set("a", b"1"))
