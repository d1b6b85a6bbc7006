"""Promise 4: a copy between any two stores, while the site goes on and the copy is killed and run again, loses no
session and no update, doubles none, and brings none back to life."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from children import Child, children
from moves import Truth

from servers.shared import shared_url
from sojourn import AsyncSessionManager, Handle, SessionConfig, SessionManager, open_store
from sojourn.blocking import run
from sojourn.bulk import add
from sojourn.codec import Codec
from sojourn.moving import Copying
from sojourn.record import Record
from sojourn.store import Store
from sojourn.stores.memory import MemoryStore

KINDS = ("sqlite", "valkey", "postgres")
PAIRS = [*itertools.permutations(KINDS, 2), ("sqlite", "sqlite")]
ROUND = ("sqlite", "valkey", "postgres", "sqlite", "postgres", "valkey", "sqlite", "sqlite")
"""A way through all pairs."""

MANY, FEW = 100_000, 2_000
WRITERS = 2
PATIENT = SessionConfig(deadline=20)


def fresh(request: pytest.FixtureRequest, folder: Path, kind: str, number: int) -> str:
    """An empty store."""
    return f"sqlite:///{folder}/{number}.db" if kind == "sqlite" else shared_url(request, kind)


def digest_of(handle: str) -> bytes:
    return sha256(handle.encode()).digest()


def fill(url: str, count: int) -> Truth:
    """So many sessions, large and small, of users and of nobody."""
    encode, now = Codec().encode, time.time()
    truth = Truth()

    def sessions() -> Iterator[Record]:
        for number in range(count):
            handle = secrets.token_urlsafe(17)[:22]
            truth.numbers[handle] = number
            fields = {"n": encode("n", number), "cart": encode("cart", {"items": ["apple"] * (number % 20)})}
            yield Record(
                handle=handle,
                secret_digest=digest_of(handle),
                versions=secrets.token_bytes(8),
                user_id=f"user{number % 1000}" if number % 2 else None,
                created_at=now,
                authenticated_at=now,
                rotated_at=now,
                accessed_at=now,
                idle_timeout=3600.0,
                touch_interval=60.0,
                ends_at=now + 86400,
                size=sum(len(name) + len(data) for name, data in fields.items()),
                fields=fields,
            )

    async def write() -> None:
        store = open_store(url, PATIENT, world="async")
        coming = sessions()
        while batch := list(itertools.islice(coming, 2000)):
            await add(store, batch, now)
        await store.close()

    asyncio.run(write())
    return truth


# --- The command -----------------------------------------------------------------------------------------------------


def begin(source: str, target: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sojourn", "copy", source, target, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(copying: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = copying.communicate(timeout=200)
    assert copying.returncode == 0, err
    return json.loads(out)


def killed(source: str, target: str, store: Store, sessions: int) -> bool:
    """Begin a copy, and kill it when the target has so many sessions. Returns whether it was killed before its end."""
    missing = sessions - run(store.stats()).sessions
    with Child("copy_for_long", source, target, missing) as child:
        copying = child.process
        while copying.poll() is None and run(store.stats()).sessions < sessions:
            time.sleep(0.02)
        copying.kill()
        copying.communicate()
        return copying.returncode == -9


# --- What is true ----------------------------------------------------------------------------------------------------


def everything(url: str) -> dict[str, Record]:
    """All that a store holds; fails if it holds something twice."""

    async def walk() -> list[Record]:
        store = open_store(url, PATIENT, world="async")
        try:
            return [record async for page in store.walk() for record in page]
        finally:
            await store.close()

    records = asyncio.run(walk())
    found = {record.handle: record for record in records}
    assert len(found) == len(records)
    return found


def check(url: str, truth: Truth) -> None:
    """The store holds what is true, and nothing else."""
    found, decode = everything(url), Codec().decode
    assert found.keys() == truth.numbers.keys()
    wrong = [handle for handle, number in truth.numbers.items() if decode("n", found[handle].fields["n"]) != number]
    assert wrong == []
    assert [
        handle for handle in found if handle not in truth.ids and found[handle].secret_digest != digest_of(handle)
    ] == []
    assert {handle: found[handle].user_id for handle in truth.users} == truth.users
    with SessionManager(url, config=PATIENT) as sessions:
        assert run(sessions.store.stats()).sessions == len(found)
        for session_id in list(truth.ids.values())[:500]:
            assert sessions.is_session_active(session_id)
        for session_id in truth.old_ids[:200]:
            assert not sessions.is_session_active(session_id)
        for handle in truth.ended[:200]:
            assert not sessions.is_session_active(Handle(handle))


def move(source: str, target: str, truth: Truth, folder: Path, *, kills: int, pause: float) -> str:
    """Copy while writers write, killing the copy so many times; let them stop, copy once more, and compare. Returns how
    it went."""
    names = folder / "handles.json"
    names.write_text(json.dumps(list(truth.numbers)))
    began, done = time.monotonic(), 0
    store = open_store(target, PATIENT)
    with children(WRITERS, "go_on", source, names, pause, WRITERS) as writers:
        for writer in writers:
            writer.say()
        for number in range(1, kills + 1):
            done += killed(source, target, store, len(truth.numbers) * number // (kills + 1))
        first = finish(begin(source, target))
        for writer in writers:
            writer.say("stop")
            truth.take(writer.hear())
    run(store.close())
    last = finish(begin(source, target))
    assert done == kills, "it was not killed in its midst"
    assert first["already_there"] > 0
    for told in (first, last):
        assert (told["changed_in_both"], told["failed"]) == ([], [])
    assert last["copied"] + last["already_there"] + last["renewed"] == len(truth.numbers)
    check(target, truth)
    return (
        f"{len(truth.numbers):,} sessions, {len(truth.ended):,} ended, in {time.monotonic() - began:.0f} s: "
        f"the first run {first['seconds']} s and {first['passes']} walks; the last {last['seconds']} s, "
        f"{last['copied']} copied, {last['renewed']} renewed, {last['ended']} ended"
    )


# --- The promise -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def test_a_busy_site_moves(request: pytest.FixtureRequest, tmp_path: Path, source: str, target: str) -> None:
    """While writers change, create, end, rotate and sign in, sessions are copied, and the copy is killed on the way:
    after the last run the target has every session in its last state under its last id, once, and none that ended."""
    first, second = fresh(request, tmp_path, source, 1), fresh(request, tmp_path, target, 2)
    truth = fill(first, FEW)
    print(move(first, second, truth, tmp_path, kills=2, pause=0.002))
    assert truth.ended
    assert truth.old_ids or truth.users


@pytest.mark.soak
@pytest.mark.battery
def test_a_hundred_thousand_sessions_go_round(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The same with 100,000 sessions, through all pairs of stores: what one copy brought is where the next begins."""
    urls = [fresh(request, tmp_path, kind, number) for number, kind in enumerate(ROUND)]
    truth = fill(urls[0], MANY)
    for (source, target), pair in zip(itertools.pairwise(urls), itertools.pairwise(ROUND), strict=True):
        print(*pair, move(source, target, truth, tmp_path, kills=2, pause=0.005))
    assert len(truth.ended) > 100


@pytest.mark.parametrize("kind", KINDS)
async def test_what_changes_without_a_commit(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """In each store: activity is brought, the number of a lease goes on growing, a copy that ran out is made anew, and
    a session that signed in is its user's."""
    url = fresh(request, tmp_path, kind, 1)
    by_hand = "" if kind == "sqlite" else f"{'&' if '?' in url else '?'}clock=caller"
    source, target = MemoryStore(), open_store(url + by_hand, PATIENT, world="async")
    now = 1_800_000_000.0
    before, after = [AsyncSessionManager(store, clock=lambda: now) for store in (source, target)]

    async def copy() -> Copying:
        copying = Copying(source, target, clock=lambda: now)
        await copying.run()
        assert not copying.both | copying.failed
        return copying

    used, leased, late, guest = [await before.create_session(data={"n": 0}) for _ in range(4)]
    assert (await copy()).created == 4
    now += 900
    for session_id in (used, leased, late, guest):
        await before.get_session(session_id)
    async with before.exclusive(leased) as session:
        assert session.fence == 1
    signed_in = await before.login(guest, "ada")
    source_late = await source.load(late.partition(".")[0])
    await source.end([source_late.handle], "ended", now)
    assert (await copy()).renewed == 2
    await source.create(source_late, now)  # as if it had not been reached by that copy
    now += 1000
    for session_id in (used, leased, late, signed_in):
        await before.get_session(session_id)
    await copy()
    for session_id in (used, leased, late, signed_in):
        assert await after.get_session(session_id) == {"n": 0}
    assert not await after.is_session_active(guest)
    assert [row.user_id for row in await after.list_sessions("ada")] == ["ada"]
    async with after.exclusive(leased) as session:
        assert session.fence == 2
    now += 1700
    for session_id in (used, late):
        await before.get_session(session_id)
    now += 1000
    assert not await after.is_session_active(used)
    assert (await copy()).renewed == 2
    assert await after.get_session(used) == {"n": 0}
    assert await after.get_session(late) == {"n": 0}
    await target.close()


def test_the_round_goes_through_all_pairs() -> None:
    """The round leaves no pair of stores out."""
    assert {*itertools.pairwise(ROUND)} == set(PAIRS)
