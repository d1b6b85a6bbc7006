"""For tests: a hand-set clock, and the contract of `sojourn.store` as tests. For ours, and for authors of stores.

A store's tests are a subclass of `StoreContract` that says how to open the store. Each method is one sentence of the
contract, written once as a coroutine over the store's operations; it runs in the world that the class names::

    from sojourn.testing import DurableStoreContract

    class TestMyStore(DurableStoreContract):
        world = "blocking"                      # and another class with "async", if the store serves both

        @pytest.fixture(autouse=True)
        def _place(self, tmp_path):
            self.path = tmp_path / "sessions"

        def open(self):
            return MyStore(self.path, world=self.world)

It needs no pytest: any runner that calls methods named ``test_...`` on a fresh instance will do. With pytest, call
``pytest.register_assert_rewrite("sojourn.testing")`` in a ``conftest.py`` to see values where an assertion fails.
"""
# ruff: noqa: S101 - these are tests: they assert

from __future__ import annotations

from functools import partial

from .. import facts
from ..record import Cap, Committed, Conflict, Gone, replace
from ..store import Store
from .harness import create, of_user, proves
from .keeping import KeepingContract
from .records import NOW, Clock, new_record, successor
from .telling import TellingContract

__all__ = ["NOW", "Clock", "DurableStoreContract", "StoreContract", "new_record", "proves", "successor"]


class StoreContract(KeepingContract, TellingContract):
    """The contract of a store, as tests. Subclass it, and say how to open yours."""


class DurableStoreContract(StoreContract):
    """The contract of a store whose records outlive it: it is opened more than once on the same place."""

    @proves
    async def test_what_was_acknowledged_is_there_after_reopening(self, store: Store) -> None:
        """Records, activity, ends and facts are there when the store is closed and opened anew; facts keep their ids
        and their positions."""
        kept, ended = new_record(user_id="ada"), new_record(user_id="ada")
        await create(store, kept, ended)
        wanted = successor(kept, fields={"n": b"\x01"})
        await store.commit(kept, wanted, NOW)
        await store.touch(kept.handle, 0, NOW + 5, NOW + 5)
        await store.end([ended.handle], "ended", NOW)
        told = await store.changes(0, 10)
        await store.close()
        again = self.open()
        try:
            assert await again.load(kept.handle) == replace(wanted, accessed_at=NOW + 5)
            assert await again.load(ended.handle) is None
            assert await of_user(again, "ada") == {kept.handle}
            assert (await again.stats()).sessions == 1
            assert await again.changes(0, 10) == told
            newest = new_record()
            await create(again, newest)
            assert (await again.changes(told[0], 10))[1] == [facts.created(newest, NOW)]
        finally:
            await again.close()

    @proves
    async def test_two_that_are_open_on_one_place_see_each_other(self, store: Store) -> None:
        """What one has acknowledged the other sees at once; a commit made from an older version is a conflict wherever
        the newer one was made."""
        other = self.open()
        try:
            record = new_record()
            await create(store, record)
            assert await other.load(record.handle) == record
            theirs = successor(record, fields={"by": b"\x02"})
            assert isinstance(await other.commit(record, theirs, NOW), Committed)
            assert await store.commit(record, successor(record), NOW) == Conflict(theirs)
            assert await store.load(record.handle) == theirs
            assert len(await store.end([record.handle], "ended", NOW)) == 1
            assert await other.commit(theirs, successor(theirs), NOW) == Gone()
            assert await other.load(record.handle) is None
            assert await other.changes(0, 10) == await store.changes(0, 10)
        finally:
            await other.close()

    @proves
    async def test_two_that_are_open_on_one_place_share_a_cap(self, store: Store) -> None:
        """A cap holds for all that have the place open together."""
        other = self.open()
        try:
            records = [new_record(user_id="ada") for _ in range(12)]
            stores = (store, other) * 6
            cap = Cap(per_user=3)
            await self.together(
                [partial(each.create, record, NOW, cap) for each, record in zip(stores, records, strict=True)]
            )
            assert len(await of_user(store, "ada")) == 3
        finally:
            await other.close()
