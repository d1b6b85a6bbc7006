"""What is known of a session's life, and who left and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from admin_storing import record_of

from sojourn import AsyncSessionManager, Handle, SessionConfig
from sojourn.admin.timeline import MOST_MOMENTS, REASONS, departures, history, joined, moment_of, timeline
from sojourn.errors import HistoryTrimmed
from sojourn.record import Change
from sojourn.testing import Clock


async def _record(manager: AsyncSessionManager, handle: str) -> Any:
    return await manager.store.load(handle)


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_a_life_is_told(url: str, tmp_path: Path) -> None:
    """What happened to a session, the newest first: created, signed in, changed (with the fields' names), rotated,
    seen, and when it runs out. Each is told once, though the record tells it, too."""
    clock = Clock()
    place = url if url == "memory://" else f"sqlite:///{tmp_path / 's'}"
    async with AsyncSessionManager(place, clock=clock, config=SessionConfig(record_changes=True)) as manager:
        session_id = await manager.create_session(data={"n": 1})
        handle = session_id.split(".")[0]
        clock.advance(10)
        async with manager.session(session_id) as session:
            session["n"] = 2
            session["cart"] = []
        clock.advance(10)
        session_id = await manager.login(session_id, "ada")
        clock.advance(100)
        async with manager.session(session_id) as session:
            session["n"] = 3
        found = await timeline(manager, handle, await _record(manager, handle))
        assert [moment.kind for moment in found] == [
            "expires",
            "seen",
            "changed",
            "signed in",
            "rotated",
            "changed",
            "created",
        ]
        assert found[5].words in ("Changed: cart, n", "Changed: n, cart")
        assert found[-1].at == found[4].at - 20
        assert "without activity" in found[0].words
        assert len({moment.id for moment in found if moment.id}) == 4


@pytest.mark.parametrize("reason", ["ended", "revoked", "evicted", "expired"])
async def test_why_it_ended_is_told(reason: str) -> None:
    """Of a session that is over, the history tells when it ended and why, in words; and who asks about its user finds
    it."""
    clock = Clock()
    settings = SessionConfig(max_sessions_per_user=1) if reason == "evicted" else SessionConfig()
    async with AsyncSessionManager("memory://", clock=clock, config=settings) as manager:
        session_id = await manager.create_session("ada")
        handle = session_id.split(".")[0]
        clock.advance(60)
        if reason == "ended":
            await manager.end_session(session_id)
        elif reason == "revoked":
            await manager.end_user_sessions("ada")
        elif reason == "evicted":
            await manager.create_session("ada")
        else:
            clock.advance(100_000)
            await manager.purge_expired()
        found = await timeline(manager, handle, None)
        assert [moment.kind for moment in found] == ["ended", "created"]
        assert found[0].words == REASONS[reason]
        left = await departures(manager, "ada")
        assert [(one.handle, one.user_id, one.reason, one.words) for one in left] == [
            (handle, "ada", reason, REASONS[reason])
        ]
        assert await departures(manager, "grace") == []


async def test_departures_are_the_newest_first_and_bounded() -> None:
    """Of many who left there are the newest, as many as are asked for; of all users, and of those who had none."""
    clock = Clock()
    async with AsyncSessionManager("memory://", clock=clock) as manager:
        handles = []
        for number in range(30):
            session_id = await manager.create_session("ada" if number % 2 else None)
            clock.advance(1)
            await manager.end_session(session_id)
            handles.append(session_id.split(".")[0])
        assert [one.handle for one in await departures(manager, limit=5)] == handles[:-6:-1]
        assert len(await departures(manager)) == 30
        assert len(await departures(manager, "ada")) == 15
        assert await departures(manager, limit=0) == []


async def test_a_long_history_is_read_in_pages_and_bounded() -> None:
    """However much happened to a session, as many moments as are shown are told, the newest ones; and the whole history
    is read."""
    clock = Clock()
    async with AsyncSessionManager("memory://", clock=clock, config=SessionConfig(record_changes=True)) as manager:
        session_id = await manager.create_session(data={"n": 0})
        handle = session_id.split(".")[0]
        for number in range(2_500):
            clock.advance(1)
            await manager.update(Handle(handle), "n", lambda _, number=number: number)
        found = await timeline(manager, handle, await _record(manager, handle))
        assert len(found) == MOST_MOMENTS
        assert [one.kind for one in found[:2]] == ["expires", "changed"]
        assert found[1].at == clock()
        assert sum([len(page) async for page in history(manager)]) == 2_501


async def test_a_history_that_is_trimmed_meanwhile_is_read_on() -> None:
    """Where facts are no longer kept, what is kept is told."""
    async with AsyncSessionManager("memory://") as manager:
        session_id = await manager.create_session()
        real, times = manager.store.changes, iter(range(100))

        async def trimmed(since: int, limit: int) -> Any:
            if next(times) == 0:
                raise HistoryTrimmed(0)
            return await real(since, limit)

        manager.store.changes = trimmed  # type: ignore[method-assign]
        found = await timeline(manager, session_id.split(".")[0], None)
        assert [one.kind for one in found] == ["created"]

        async def always(since: int, limit: int) -> Any:
            raise HistoryTrimmed(since + 1)

        manager.store.changes = always  # type: ignore[method-assign]
        assert await timeline(manager, session_id.split(".")[0], None) == []


async def test_a_session_that_nobody_knows_has_no_life() -> None:
    """Of a handle that was never there nothing is told."""
    async with AsyncSessionManager("memory://") as manager:
        assert await timeline(manager, "x" * 22, None) == []


def test_a_fact_comes_twice_and_is_told_once() -> None:
    """Facts are told at least once: two of the same id are one."""
    change = Change(id="a:rotated:1", kind="rotated", at=5.0, handle="a")
    assert len(joined(None, [moment_of(change), moment_of(change)], 10.0)) == 1


def test_a_lease_is_told() -> None:
    """Who has a session to himself is told while he has it."""
    record = record_of({}, leased_until=4_000_000_000.0)
    assert "leased" in [one.kind for one in joined(record, [], record.created_at)]
    assert "leased" not in [one.kind for one in joined(record, [], 4_000_000_001.0)]


KINDS = ["created", "changed", "rotated", "ended", "refused", "overwritten", "missed"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fact_has_words(kind: Any) -> None:
    """Each fact is told in words, with the names of fields cut, and without a path of what was overwritten, which has
    keys in it."""
    names = tuple(f"field {number}" for number in range(1_000))
    moment = moment_of(Change(id="x", kind=kind, at=1.0, handle="h", reason="cart.geheim", fields=names))
    assert moment.words
    assert len(moment.words) < 400
    assert "geheim" not in moment.words or kind == "refused"
    assert moment_of(Change(id="x", kind=kind, at=1.0, handle="h")).words
