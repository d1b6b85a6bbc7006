"""What SQL stores promise beyond the contract: that all sessions end in one step, whatever becomes of who does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import pytest

from sojourn.record import Cap, Change, Committed, Gone, Summary
from sojourn.store import ByActivity, Store
from sojourn.testing import NOW, DurableStoreContract, new_record, proves, successor


class SQLContract(DurableStoreContract):
    module: ClassVar[ModuleType]
    """The store's module."""
    crash: Callable[[], None]
    """What makes the next end of all sessions crash right after its first step."""

    @pytest.fixture(autouse=True)
    def _crashing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def crash(*_: Any, **__: Any) -> tuple[Change, ...]:
            return ()

        self.crash = lambda: monkeypatch.setattr(self.module, "in_batches", crash)

    @proves
    async def test_all_have_ended_although_the_caller_crashed(self, store: Store) -> None:
        """A caller who ends all sessions and crashes right then: all are dead but the one that was kept. They neither
        load nor commit nor are touched nor leased nor listed, and count towards no cap of a user; new ones live."""
        records = [new_record(user_id="ada") for _ in range(5)]
        kept = new_record(user_id="ada")
        for record in (*records, kept):
            await store.create(record, NOW)
        self.crash()
        assert await store.end_matching(NOW, keep=kept.handle) == ()
        for record in records:
            assert await store.load(record.handle) is None
            assert await store.commit(record, successor(record), NOW) == Gone()
            assert await store.commit(record, successor(record, accessed_at=NOW + 1), NOW + 1) == Gone()
            assert not await store.touch(record.handle, 0, NOW + 1, NOW + 1)
            assert await store.lease(record.handle, 0, 1.0, NOW) == Gone()
        assert isinstance(await store.create(records[0], NOW), Committed)
        assert await store.load(records[0].handle) is None
        assert await store.load(kept.handle) == kept
        newest = new_record(user_id="ada")
        outcome = await store.create(newest, NOW, Cap(per_user=2, refuse=True))
        assert isinstance(outcome, Committed)
        for user_id in ("ada", None):
            found = await store.summaries(NOW, user_id=user_id)
            assert {summary.handle for summary in found} == {kept.handle, newest.handle}

    @proves
    async def test_a_sweep_removes_what_a_crash_has_left(self, store: Store) -> None:
        """What a crashed caller left is removed by `purge_expired`, no more than its limit at a time; each is told
        once, as revoked, or as expired if it had run out by itself. Ends of all may follow one another."""
        records = [new_record(user_id="ada") for _ in range(5)]
        dead = new_record(at=NOW - 50_000)
        for record in (*records, dead):
            await store.create(record, NOW)
        self.crash()
        for _ in range(3):
            await store.end_matching(NOW)
        told: list[Change] = []
        for expected in (4, 2, 0):
            page = await store.purge_expired(NOW, 4)
            assert len(page) == expected
            told += page
        assert Counter((change.handle, change.reason) for change in told) == {
            (dead.handle, "expired"): 1,
            **{(record.handle, "revoked"): 1 for record in records},
        }
        recorded = (await store.changes(0, 100))[1]
        assert [change for change in recorded if change.kind == "ended"] == told
        assert (await store.stats()).sessions == 0

    @proves
    async def test_the_dead_leave_first_after_a_crash(self, store: Store) -> None:
        """At the cap of the store nobody who lives is evicted while somebody is there who ended with all."""
        for _ in range(3):
            await store.create(new_record(), NOW)
        self.crash()
        await store.end_matching(NOW)
        living = new_record(at=NOW - 100)
        await store.create(living, NOW)
        await store.create(new_record(), NOW, Cap(total=2))
        assert await store.load(living.handle) == living
        assert (await store.stats()).sessions == 2

    @proves
    async def test_many_end_at_once(self, store: Store) -> None:
        """More sessions than are removed in one step end, and each is told."""
        records = [new_record() for _ in range(2 * self.module.BATCH + 1)]
        for record in records:
            await store.create(record, NOW)
        told = await store.end_matching(NOW)
        assert Counter(change.handle for change in told) == {record.handle: 1 for record in records}
        assert (await store.stats()).sessions == 0

    # --- by_activity -------------------------------------------------------------------------------------------------

    @proves
    async def test_the_living_come_by_their_last_activity(self, store: Store) -> None:
        """Live sessions come in the order of their last activity, and those of one moment by their handles, either way
        round; as `summaries` shows them, with activity that was only touched. Neither the dead come, nor who ended
        together with all others."""
        assert isinstance(store, ByActivity)
        await store.create(new_record(), NOW)
        self.crash()
        await store.end_matching(NOW)
        assert await store.by_activity(NOW) == []
        records = [new_record(at=NOW - number // 3, user_id="ada", label="desk") for number in range(9)]
        for record in (*records, new_record(at=NOW - 5000)):
            await store.create(record, NOW)
        await store.touch(records[-1].handle, 0, NOW + 1, NOW + 1)
        found = await store.by_activity(NOW + 1)
        assert found == sorted(await store.summaries(NOW + 1), key=_activity, reverse=True)
        assert found[0].handle == records[-1].handle
        assert found[0].last_accessed_at == NOW + 1
        assert len(found) == len(records)
        assert await store.by_activity(NOW + 1, descending=False) == found[::-1]
        assert await store.by_activity(NOW + 1, limit=2) == found[:2]

    @proves
    async def test_by_activity_in_pages(self, store: Store) -> None:
        """Page by page each comes once, either way round, although the last of a page ends before the next is asked
        for; and who is active meanwhile is not passed by on the way to the latest."""
        assert isinstance(store, ByActivity)
        records = [new_record(at=NOW - number // 4) for number in range(20)]
        for record in records:
            await store.create(record, NOW)
        for descending in (True, False):
            expected = await store.by_activity(NOW, descending=descending)
            found: list[Summary] = []
            while page := await store.by_activity(
                NOW, descending=descending, after=_activity(found[-1]) if found else None, limit=3
            ):
                await store.end([page[-1].handle], "ended", NOW)
                found += page
            assert found == expected
        left = await store.by_activity(NOW)
        first = await store.by_activity(NOW, descending=False, limit=2)
        await store.touch(first[0].handle, 0, NOW + 1, NOW + 1)
        later = await store.by_activity(NOW + 1, descending=False, after=_activity(first[-1]))
        assert {one.handle for one in (*first, *later)} == {one.handle for one in left}
        assert later[-1].handle == first[0].handle


def _activity(summary: Summary) -> tuple[float, str]:
    return (summary.last_accessed_at, summary.handle)
