"""Watching: whoever watches is told what happens, in whatever process, on each store and in both worlds."""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from places import Place, at_once
from stored import handle_of

import worlds
from servers.valkey import Valkey, fresh_prefix
from sojourn import (
    Change,
    ConfigurationError,
    Handle,
    SessionConfig,
    SessionLeased,
    SessionManager,
    SessionNotFound,
    StoreUnavailable,
)
from sojourn.store import HISTORY, Hint
from sojourn.stores.memory import MemoryStore
from sojourn.stores.memory_feed import MemoryFeed
from sojourn.stores.valkey import ValkeyStore
from sojourn.stores.valkey_feed import ValkeyFeed
from sojourn.testing import Clock
from sojourn.waiting import TaskWaiting, ThreadWaiting
from sojourn.watching import hub
from sojourn.watching import watch as watch_module

PROMPT = 1.0
"""Seconds within which a watcher is told, on a busy machine."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that pauses has the hub go on without the feed in none of these tests: that begins with a watch, or
    speaks of an end, as late as it likes. Who waits for what never comes is told nothing within the 10 s of `told`."""
    monkeypatch.setattr(hub, "_PATIENCE", 10.0)
    monkeypatch.setattr(hub, "_GRACE", 5.0)


async def told(watch: Any, enough: Callable[[list[Change]], Any], within: float = 10.0) -> list[Change]:
    """What a watch tells, until that is enough."""
    found: list[Change] = []
    until = time.monotonic() + within
    while not enough(found):
        change = await watch.next(max(until - time.monotonic(), 0.0))
        assert change is not None or time.monotonic() < until, f"it never came; told was {found}"
        if change is not None:
            found.append(change)
    return found


def kinds(changes: list[Change]) -> list[str]:
    return [change.kind for change in changes]


async def test_a_session_is_watched(place: Place) -> None:
    """Who watches a session is told, in order, which fields change, that its secret is replaced, its sign-in, and its
    end with the reason; then there is nothing more to tell."""
    here, there = place.sessions(), place.sessions()
    session_id = await here.create_session(data={"cart": [], "theme": "dark"})
    async with here.watch(session=session_id) as watch:
        async with there.session(session_id) as session:
            session["cart"].append("pear")
            session["größe"] = 38
        changed = (await told(watch, len))[0]
        assert (changed.kind, set(changed.fields or ())) == ("changed", {"cart", "größe"})
        newer = await there.rotate(session_id)
        assert kinds(await told(watch, len)) == ["rotated"]
        newest = await there.login(newer, "ada")
        assert kinds(await told(watch, len)) == ["rotated"]
        await there.update(newest, "theme", lambda _: "light")
        assert (await told(watch, len))[0].fields == ("theme",)
        await there.end_session(newest)
        (ended,) = await told(watch, len)
        assert (ended.kind, ended.reason, ended.user_id) == ("ended", "ended", "ada")
        assert [change async for change in watch] == []


async def test_a_watch_begins_at_once(place: Place) -> None:
    """A watch begins as soon as the feed tells of it: nobody waits as long as for a feed that cannot be had."""
    sessions = place.sessions()
    session_id = await sessions.create_session()
    began = time.monotonic()
    for _ in range(3):
        async with sessions.watch(session=session_id), sessions.watch():
            pass
    assert time.monotonic() - began < 8  # of the 10 that are the hub's patience here


async def test_a_change_just_before_the_end_is_told(place: Place) -> None:
    """A session that is changed and ended in one breath, just when somebody has begun to watch it, or just after it was
    created: the change is told, and then the end."""
    sessions, other = place.sessions(), place.sessions()
    for _ in range(20):
        session_id = await sessions.create_session(data={"n": 0})
        async with sessions.watch(session=session_id) as watch:
            await other.update(session_id, "n", lambda n: n + 1)
            await other.end_session(session_id)
            assert kinds(await told(watch, lambda changes: "ended" in kinds(changes))) == ["changed", "ended"]


async def test_a_change_is_told_before_an_end_that_the_history_told_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the history more often than the feed speaks finds an end there, and still tells the change first."""
    monkeypatch.setattr(hub, "TICK", 0.001)
    sessions, other = place.sessions(), place.sessions()
    for _ in range(8):
        session_id = await sessions.create_session(data={"n": 0})
        async with sessions.watch(session=session_id) as watch:
            assert await watch.next(0.05) is None  # all that was said of its creation was heard
            await other.update(session_id, "n", lambda n: n + 1)
            await other.end_session(session_id)
            assert kinds(await told(watch, lambda changes: "ended" in kinds(changes))) == ["changed", "ended"]


async def test_nobody_asks_a_store_that_is_away_for_those_who_have_left(
    world: worlds.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the feed breaks and nobody watches any more, the work is over, and whoever comes later begins it anew."""
    monkeypatch.setattr(hub, "_LINGER", 60.0)
    store = MemoryStore()
    async with world.sessions(store) as sessions:
        session_id = await sessions.create_session(data={"n": 0})
        async with sessions.watch(session=session_id):
            working = sessions.engine._hub
            assert working._work is not None
        feed = working._feed
        await feed.close()  # as if the connection had been lost
        await world.until(lambda: working._work is None)
        async with sessions.watch(session=session_id) as watch:
            await sessions.update(session_id, "n", lambda n: n + 1)
            assert kinds(await told(watch, bool)) == ["changed"]


async def test_a_change_is_told_however_far_the_feed_is_behind(
    world: worlds.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the feed says what happened one by one and late, the history tells of a creation and an end at once, also
    to one who has just begun to watch: the change between them is told between them."""
    monkeypatch.setattr(watch_module, "TICK", 5.0)  # for which who is behind waits for the hub, which may pause
    store = MemoryStore()
    monkeypatch.setattr(store, "feed", lambda waiting: _Hesitant(waiting, store._join, store._part))
    async with world.sessions(store) as here, here.watch() as of_all:
        for _ in range(5):
            session_id = await here.create_session(data={"n": 0})
            async with here.watch(session=session_id) as watch:
                await here.update(session_id, "n", lambda n: n + 1)
                await here.end_session(session_id)
                mine = await told(watch, lambda changes: "ended" in kinds(changes))
                assert kinds(mine)[-2:] == ["changed", "ended"]
            everything = await told(of_all, lambda changes: "ended" in kinds(changes))
            assert kinds(everything) == ["created", "changed", "ended"]


async def test_a_process_that_paused_hears_the_feed_out(world: worlds.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process pauses, just as the history told of an end, for longer than it would wait for the feed, it
    still hears what the feed has said by then."""
    pauses = itertools.count(100.0, 60.0)  # a minute between any two looks at the clock
    monkeypatch.setattr(hub, "time", SimpleNamespace(monotonic=lambda: next(pauses)))
    store = MemoryStore()
    async with world.sessions(store) as here:
        position = await store.position()
        session_id = await here.create_session(data={"n": 0})
        feed = store.feed(ThreadWaiting() if world is worlds.BLOCKING else TaskWaiting())
        await feed.open()
        await feed.follow([], everything=True)
        await here.update(session_id, "n", lambda n: n + 1)
        await here.end_session(session_id)
        _, history = await store.changes(position, HISTORY)
        working, said = here.engine._hub, hub._Said([])
        working._watches[("all", "")] = weakref.WeakSet()
        await working._hear_out(history, said, feed)
        assert [hint.handle for hint in said.changed] == [handle_of(session_id)]
        await feed.close()


async def test_who_reads_of_an_end_waits_for_the_hub(world: worlds.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is behind and reads of an end waits until the hub is there, which may yet say what changed before, whatever
    else wakes it meanwhile."""
    monkeypatch.setattr(watch_module, "TICK", 5.0)  # for which it waits, however long the machine pauses
    store = MemoryStore()
    of_hub = await store.position()
    read = store.changes

    async def read_slowly(since: int, limit: int) -> tuple[int, tuple[Change, ...]]:
        found = await read(since, limit)
        if since == of_hub and found[1]:
            await (TaskWaiting() if world is worlds.ASYNC else ThreadWaiting()).sleep(0.3)
        return found

    monkeypatch.setattr(store, "changes", read_slowly)
    monkeypatch.setattr(store, "feed", lambda waiting: _Hesitant(waiting, store._join, store._part))
    async with world.sessions(store) as here, here.watch(user="nobody"):
        session_id = await here.create_session(data={"n": 0})
        async with here.watch(session=session_id) as watch:
            assert await watch.next(0.1) is None  # the hub has read of its creation, and has yet to say so
            await here.update(session_id, "n", lambda n: n + 1)
            await here.end_session(session_id)
            assert kinds(await told(watch, lambda changes: "ended" in kinds(changes))) == ["changed", "ended"]


@pytest.mark.parametrize("place", ["valkey"], indirect=True)
async def test_who_comes_when_another_goes_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins to watch a session while the feed is about to forget it, as the last who watched it has gone, is told
    all the same."""
    sessions, other = place.sessions(), place.sessions()
    session_id = await sessions.create_session(data={"n": 0})
    forget = ValkeyFeed.forget

    async def forget_late(feed: ValkeyFeed, handles: Iterable[str]) -> None:
        await place.pause(0.3)
        await forget(feed, handles)

    monkeypatch.setattr(ValkeyFeed, "forget", forget_late)

    async def caller(number: int) -> None:
        await place.pause(0.4 * number)
        async with sessions.watch(session=session_id) as watch:
            await place.pause(0.25 + 0.55 * number)
            if number:
                await other.update(session_id, "n", lambda n: n + 1)
                assert kinds(await told(watch, len)) == ["changed"]

    await at_once(place.world, 2, caller)


async def test_a_user_is_watched_and_so_are_all(place: Place) -> None:
    """Who watches a user is told of all sessions of this user and of no others; who watches all, of all."""
    here, there = place.sessions(), place.sessions()
    async with here.watch(user="ada") as of_ada, here.watch() as of_all:
        ids = {name: await there.create_session(name, {"n": 0}) for name in ("ada", "bob", "eve")}
        for name, session_id in ids.items():
            await there.update(session_id, "n", lambda _, name=name: name)
        mine = await told(of_ada, lambda changes: "changed" in kinds(changes))
        assert await there.end_user_sessions("ada") == 1
        await there.end_session(ids["bob"])
        mine += await told(of_ada, lambda changes: "ended" in kinds(changes))
        assert kinds(mine) == ["created", "changed", "ended"]
        assert {change.user_id for change in mine} == {"ada"}
        assert mine[-1].reason == "revoked"
        everything = await told(
            of_all,
            lambda changes: (
                kinds(changes).count("ended") == 2 and ("changed", "eve") in {(c.kind, c.user_id) for c in changes}
            ),
        )
        for name, expected in (("ada", 2), ("bob", 2), ("eve", 1)):
            of_one = [change.kind for change in everything if change.user_id == name and change.kind != "changed"]
            assert of_one == ["created", "ended"][:expected]


async def test_it_is_told_at_once(place: Place) -> None:
    """A change is told without waiting for the next look into the history."""
    here, there = place.sessions(), place.sessions()
    session_id = await here.create_session(data={"n": 0})
    async with here.watch(session=session_id) as watch:
        await there.update(session_id, "n", lambda _: -1)
        await told(watch, len)
        took = []
        for number in range(20):
            began = time.monotonic()
            await there.update(session_id, "n", lambda _, number=number: number)
            await told(watch, len)
            took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.2


async def test_what_expires_is_told(place: Place) -> None:
    """That a session ran out is told within a second or so, though no cleaner runs."""
    here, there = place.sessions(expiration_time=1.5), place.sessions(expiration_time=1.5)
    session_id = await there.create_session("ada")
    position, _ = await there.changes(0, HISTORY)  # so that it may run out before the feed is there
    async with here.watch(session=Handle(session_id.split(".")[0]), since=position) as watch:
        (ended,) = await told(watch, len)
    assert (ended.kind, ended.reason) == ("ended", "expired")


async def test_changes_that_nobody_asked_for_become_one(place: Place) -> None:
    """Changes of fields that follow each other while nobody asks come as one, with the names of all their fields."""
    here, there = place.sessions(), place.sessions()
    session_id = await here.create_session(data={"a": 0, "b": 0})
    async with here.watch(session=session_id) as watch:
        for number in range(30):
            await there.update(session_id, "ab"[number % 2], lambda _, number=number: number)
        last = await there.store.load(handle_of(session_id))
        await place.world.until(lambda: here.engine._hub._seen[last.handle] == last.version)  # all of them were told
        (changed,) = await told(watch, len)
        assert set(changed.fields or ()) == {"a", "b"}
        assert await watch.next(0.2) is None


async def test_a_slow_watcher_misses_no_fact(place: Place) -> None:
    """Who does not ask for a long time is told every fact once, in order, however many there were meanwhile."""
    here, there = place.sessions(), place.sessions()
    async with here.watch() as watch:
        assert await watch.next(0.3) is None
        made = []
        for number in range(1300):
            made.append((await there.create_session(f"user {number}")).split(".")[0])
        found = await told(watch, lambda changes: kinds(changes).count("created") >= len(made), within=20)
        assert [change.handle for change in found if change.kind == "created"] == made
        await there.end_session(Handle(made[7]))
        assert (await told(watch, len))[-1].handle == made[7]  # and is told of what comes next


async def test_the_past_can_be_watched(place: Place) -> None:
    """From a position of the history on, a watcher is told what happened since, and then what happens."""
    here = place.sessions()
    first = await here.create_session("ada")
    position, _ = await here.changes()
    second = await here.create_session("bob")
    async with here.watch(since=position) as watch:
        assert [change.user_id for change in await told(watch, len)] == ["bob"]
        await here.end_session(first)
        assert [change.user_id for change in await told(watch, len)] == ["ada"]
    async with here.watch(session=second, since=position) as watch:
        assert [(change.kind, change.user_id) for change in await told(watch, len)] == [("created", "bob")]
    await here.end_session(second)
    for sessions in (here, place.sessions()):  # though it is over, and whether or not somebody has watched before
        async with sessions.watch(session=Handle(second.split(".")[0]), since=position) as watch:
            lived = [change async for change in watch]
        assert [(change.kind, change.user_id) for change in lived] == [("created", "bob"), ("ended", "bob")]


async def test_who_asks_for_what_is_no_longer_kept_is_told_so(place: Place) -> None:
    """A watcher that begins before the oldest fact that is kept is told that it missed some, and goes on."""
    clock = Clock()
    here = place.sessions(clock=clock, config=SessionConfig(idle_timeout=1e9, absolute_timeout=1e9, deadline=10))
    await here.create_session()
    position, _ = await here.changes()
    for _ in range(3):
        await here.create_session()
    clock.advance(30 * 86400)
    newest = await here.create_session("ada")
    await here.purge_expired()
    async with here.watch(since=position) as watch:
        found = await told(watch, lambda changes: any(change.user_id == "ada" for change in changes))
    assert (found[0].kind, found[0].reason) == ("missed", "history")
    assert found[-1].handle == newest.split(".")[0]


async def test_whoever_begins_to_watch_while_others_write_is_told_the_newest(place: Place) -> None:
    """Whenever a watch of a session begins, what was loaded after its beginning, or what is told, is the newest."""
    here, there = place.sessions(), place.sessions()
    session_id = await here.create_session(data={"n": 0})

    async def write() -> None:
        for number in range(1, 200):
            await there.update(session_id, "n", lambda _, number=number: number)
            if number % 10 == 0:
                await place.pause(0.01)

    async def watch_and_look() -> int:
        known = 0
        while known < 199:  # a watch each time, that ends with what it told being the newest
            async with here.watch(session=session_id) as watch:
                known = (await here.get_session(session_id))["n"]
                if known < 199:
                    change = await watch.next(5)
                    assert change is not None, f"what came after {known} was not told"
                    known = (await here.get_session(session_id))["n"]
        return known

    assert await place.world.together([write, watch_and_look]) == [None, 199]


async def test_a_session_that_is_not_there_cannot_be_watched(place: Place) -> None:
    """`SessionNotFound` where there is no such session; both a session and a user are not watched at once."""
    here = place.sessions()
    gone = await here.create_session()
    await here.end_session(gone)
    for session_id in (gone, "nonsense", Handle("no-handle")):
        with pytest.raises(SessionNotFound):
            await here.watch(session=session_id).next(1)
    with pytest.raises(ConfigurationError, match="a session, or a user"):
        await here.watch(session=await here.create_session(), user="ada").next(1)


async def test_a_watch_ends_with_the_manager(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in a watch when the manager is closed is told so at once."""
    monkeypatch.setattr(watch_module, "TICK", 20.0)  # or it would soon have looked by itself
    here = place.sessions()
    session_id = await here.create_session()
    watch = here.watch(session=session_id)
    assert await watch.next(0.05) is None

    async def wait() -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="closed"):
            await watch.next(20)
        return time.monotonic() - began

    async def close() -> None:
        await place.pause(0.3)
        await here.close()

    waited, _ = await place.world.together([wait, close])
    assert waited < 8


async def test_changes_are_kept_on_demand(place: Place) -> None:
    """With `record_changes` the history tells which fields each commit changed; without it does not."""
    for keep in (True, False):
        here = place.sessions(config=SessionConfig(record_changes=keep, deadline=10))
        position, _ = await here.changes(0, HISTORY)
        session_id = await here.create_session(data={"n": 0})
        await here.update(session_id, "n", lambda _: 1)
        async with here.session(session_id) as session:
            session["a"] = session["b"] = 1
        _, found = await here.changes(position)
        assert [(change.kind, change.fields) for change in found if change.kind != "created"] == (
            [("changed", ("n",)), ("changed", ("a", "b"))] if keep else []
        )


async def test_watchers_that_are_gone_cost_nothing(place: Place) -> None:
    """A watch that nobody holds any more is forgotten, as one that was closed; the connection goes a while after the
    last."""
    here = place.sessions()
    ids = [await here.create_session() for _ in range(3)]
    watches = [here.watch(session=session_id) for session_id in ids]
    for watch in watches:
        assert await watch.next(0.01) is None
    hub = here.engine._hub
    await watches.pop().close()
    watches.clear()
    await place.world.until(lambda: not hub._watches and not hub._seen)


async def test_who_waited_for_a_lease_is_forgotten(place: Place) -> None:
    """When nobody waits for the lease of a session any more, the feed is no longer asked to tell of it."""
    here = place.sessions()
    session_id = await here.create_session()
    async with here.exclusive(session_id):
        with pytest.raises(SessionLeased):
            await here.exclusive(session_id, wait=0.3).__aenter__()
    assert not here.engine._hub._followed


async def test_a_session_that_vanished_has_ended(world: worlds.World) -> None:
    """When a server loses all that it held, its history included, whoever watches a session is told that it is over."""
    with Valkey() as server:
        async with world.sessions(server.url()) as here:  # which is closed before the server is
            session_id = await here.create_session()
            async with here.watch(session=session_id) as watch:
                assert await watch.next(0.2) is None
                server.do("FLUSHALL")
                found = await told(watch, lambda changes: "ended" in kinds(changes))
                assert set(kinds(found)) <= {"missed", "ended"}
                assert await watch.next(1) is None


def test_a_feed_that_only_looks_is_enough(valkey: Valkey) -> None:
    """Over a client of one's own nothing is pushed: everything is looked at a few times a second, and nothing is missed
    but which fields changed."""
    client = redis.Redis(port=valkey.port, socket_timeout=10)
    with SessionManager(ValkeyStore.over(client, prefix=fresh_prefix(), deadline=10)) as here:
        session_id = here.create_session("ada", {"n": 0})
        with here.watch(session=session_id) as watch:
            here.update(session_id, "n", lambda n: n + 1)
            change = watch.next(5)
            assert change is not None
            assert (change.kind, change.fields) == ("changed", None)
            newer = here.rotate(session_id)
            here.end_session(newer)
            lived = [change.kind for change in watch]
    client.close()
    assert [kind for kind in lived if kind != "changed"] == ["rotated", "ended"]


class _Hesitant(MemoryFeed):
    """Says one thing at a time, and each a little later than it could."""

    async def hints(self, timeout: float) -> list[Hint]:
        found = await super().hints(timeout)
        if found:
            with self._lock:
                self._said.extendleft(reversed(found[1:]))
            await self._waiting.sleep(0.02)
        return found[:1]


class _Mute(MemoryFeed):
    """A feed that says nothing."""

    async def hints(self, timeout: float) -> list[Hint]:
        await super().hints(timeout)
        return []


async def test_what_nobody_said_is_seen(world: worlds.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer may die before it has said what it wrote: now and then the sessions that are watched are looked at."""
    monkeypatch.setattr(hub, "_LOOK", 1.0)
    monkeypatch.setattr(hub, "_GRACE", 0.5)  # for which the end is held up
    store = MemoryStore()
    monkeypatch.setattr(store, "feed", lambda waiting: _Mute(waiting, store._join, store._part))
    async with world.sessions(store) as here:
        session_id = await here.create_session(data={"n": 0})
        async with here.watch(session=session_id) as watch:
            assert await watch.next(0.2) is None
            await here.update(session_id, "n", lambda n: n + 1)
            (changed,) = await told(watch, len)
            assert (changed.kind, changed.fields) == ("changed", None)
            await here.end_session(session_id)
            assert kinds(await told(watch, len)) == ["ended"]


async def test_nothing_is_told_of_a_life_before_its_beginning(place: Place) -> None:
    """What one is told of each session begins with its creation and ends with its end, whoever wrote when."""
    here, there = place.sessions(), place.sessions()

    async def live() -> None:
        for _ in range(20):
            session_id = await there.create_session(data={"n": 0})
            await there.update(session_id, "n", lambda n: n + 1)
            await there.end_session(session_id)

    async with here.watch() as watch:
        assert await watch.next(0.2) is None  # from here on the hub feeds it
        await place.world.together([live] * 3)
        found = await told(watch, lambda changes: kinds(changes).count("ended") == 60)
    lives: dict[str, list[str]] = {}
    for change in found:
        lives.setdefault(change.handle, []).append(change.kind)
    assert {tuple(life) for life in lives.values()} <= {("created", "changed", "ended"), ("created", "ended")}
    assert len({change.id for change in found}) == len(found)


# --- Facts alone ------------------------------------------------------------------------------------------------------


async def test_facts_alone_are_watched(place: Place) -> None:
    """Who watches facts is told of the lives of all sessions, each once and in order, from the beginning of the history
    on; of no change of a field; and the commits of all processes are counted, but for those of what is set apart."""
    here, there = place.sessions(), place.sessions()
    before = await there.create_session("ada")
    await there.end_session(before)
    apart = await there.create_session()
    here.engine.set_apart(handle_of(apart))
    watch = await here.engine.facts(since=0)
    past = await told(watch, lambda changes: len(changes) >= 3)
    assert await watch.next(0.3) is None  # from here on the hub feeds it
    assert not watch.behind
    began = here.engine.heard
    session_id = await there.create_session("bob", data={"n": 0})
    for _ in range(30):
        await there.update(session_id, "n", lambda n: n + 1)
        await there.update(apart, "n", lambda n: None)
    newer = await there.rotate(session_id)
    await there.end_session(newer)
    found = past + await told(watch, lambda changes: kinds(changes).count("ended") == 1)
    mine = [change for change in found if change.handle != handle_of(apart)]
    assert kinds(mine) == ["created", "ended", "created", "rotated", "ended"]
    assert len({change.id for change in found}) == len(found)
    until = time.monotonic() + 5
    while here.engine.heard < began + 31 and time.monotonic() < until:
        assert await watch.next(0.05) is None
    assert await watch.next(0.2) is None
    assert here.engine.heard == began + 31  # with the rotation
    await watch.close()


async def test_facts_hold_up_nobody(place: Place) -> None:
    """Beside one who watches facts, those who watch a session, or all, are told everything, and as promptly as ever."""
    here, there = place.sessions(), place.sessions()
    session_id = await there.create_session(data={"n": 0})
    watch = await here.engine.facts()
    assert await watch.next(0.2) is None
    async with here.watch() as everything, here.watch(session=session_id) as one:
        assert await everything.next(0.2) is None
        took = []
        for number in range(5):
            began = time.monotonic()
            await there.update(session_id, "n", lambda _, number=number: number)
            assert kinds(await told(one, len)) == ["changed"]
            took.append(time.monotonic() - began)
        assert min(took) < PROMPT / 5
        assert set(kinds(await told(everything, len))) == {"changed"}
    async with here.exclusive(session_id, wait=2.0) as session:
        session["n"] = "mine"
    assert await watch.next(0.1) is None
    await there.end_session(session_id)
    assert kinds(await told(watch, len)) == ["ended"]
    await watch.close()


@pytest.mark.battery
async def test_facts_are_told_though_a_watcher_is_slow(place: Place) -> None:
    """Facts of which there are more than wait for a watcher are read from the history: none is missed, none comes
    twice."""
    here, there = place.sessions(), place.sessions()
    watch = await here.engine.facts()
    ids = [await there.create_session() for _ in range(600)]
    assert await there.end_sessions() == len(ids)
    found = await told(watch, lambda changes: len(changes) >= 1200)
    assert sorted(kinds(found)) == ["created"] * 600 + ["ended"] * 600
    assert len({change.id for change in found}) == 1200
    await watch.close()


async def test_commits_are_gathered(world: worlds.World) -> None:
    """Where facts alone are watched, many commits are taken at once: the feed is asked a few times, and not for
    each."""
    store = MemoryStore()
    asked = []

    class Counting(MemoryFeed):
        async def hints(self, timeout: float) -> list[Hint]:
            asked.append(timeout)
            return await super().hints(timeout)

    store.feed = lambda waiting: Counting(waiting, store._join, store._part)  # type: ignore[method-assign]
    async with world.sessions(store) as here:
        session_id = await here.create_session(data={"n": 0})
        watch = await here.engine.facts()
        assert await watch.next(0.2) is None
        asked.clear()
        began = time.monotonic()
        for _ in range(100):
            await here.update(session_id, "n", lambda n: n + 1)
            await world.pause()
        while here.engine.heard < 100 and time.monotonic() < began + 5:
            await watch.next(0.01)
        assert here.engine.heard == 100
        assert len(asked) <= (time.monotonic() - began) / 0.05 + 3
        await watch.close()
