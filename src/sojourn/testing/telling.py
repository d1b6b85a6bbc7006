"""The contract, of what a store tells: the history, the feed, whose turn it is."""
# ruff: noqa: S101 - these are tests: they assert

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from .. import facts
from ..errors import HistoryTrimmed, StoreUnavailable
from ..record import Cap, Committed, Gone, Leased, replace
from ..store import HISTORY_AGE, Feed, Hint, Store
from ..waiting import TaskWaiting, ThreadWaiting
from .harness import Harness, create, proves, record_of
from .records import NOW, new_record, successor

__all__ = ["TellingContract"]


class TellingContract(Harness):
    """What a store tells."""

    # --- changes -----------------------------------------------------------------------------------------------------

    @proves
    async def test_facts_are_kept_in_order(self, store: Store) -> None:
        """`changes` returns facts in the order in which they were made, each once, and the position to go on from."""
        assert await store.changes(0, 10) == (0, [])
        records = [new_record(user_id=f"user {number}") for number in range(7)]
        await create(store, *records)
        await store.end([records[2].handle], "ended", NOW + 1)
        told = [facts.created(record, NOW) for record in records]
        told.append(facts.ended(records[2].handle, "user 2", "ended", NOW + 1))
        position, found = 0, []
        for _ in range(4):
            position, page = await store.changes(position, 3)
            assert len(page) <= 3
            found += page
        assert found == told
        assert await store.changes(position, 3) == (position, [])
        newest = new_record()
        await create(store, newest)
        assert (await store.changes(position, 3))[1] == [facts.created(newest, NOW)]
        assert (await store.changes(0, 100))[1] == [*told, facts.created(newest, NOW)]
        assert (await store.changes(0, 0))[1] == []

    @proves
    async def test_facts_made_at_once_are_each_kept_once(self, store: Store) -> None:
        """Facts made at the same time are each recorded, once, and a reader that follows meets each."""
        records = [new_record() for _ in range(24)]
        await self.together([partial(store.create, record, NOW) for record in records])
        position, found = 0, []
        while (page := await store.changes(position, 5))[1]:
            position = page[0]
            found += page[1]
        assert Counter(change.id for change in found) == {facts.created(record, NOW).id: 1 for record in records}

    @proves
    async def test_a_reader_may_begin_at_the_end(self, store: Store) -> None:
        """`position` is that of the newest fact: from there, only what comes later is read."""
        assert await store.position() == 0
        await create(store, new_record(), new_record())
        position = await store.position()
        assert position == (await store.changes(0, 10))[0]
        assert await store.changes(position, 10) == (position, [])
        newest = new_record()
        await create(store, newest)
        assert (await store.changes(position, 10))[1] == [facts.created(newest, NOW)]

    @proves
    async def test_facts_are_kept_for_a_time(self, store: Store) -> None:
        """A purge drops facts that are too old, but for the newest of them: so that who has read that one is told the
        next, and who has read less is told that something is gone, and where to go on."""
        records = [new_record(idle=1e9, lasts=1e9) for _ in range(4)]
        first = 0
        for number, record in enumerate(records[:3]):
            await store.create(record, NOW + number)
            first = first or await store.position()
        before = await store.position()
        late = NOW + 2 + HISTORY_AGE + 1
        await store.create(records[3], late)
        await store.purge_expired(late, 100)
        assert [change.handle for change in (await store.changes(before, 10))[1]] == [records[3].handle]
        _, kept = await store.changes(0, 10)
        assert [change.handle for change in kept] == [record.handle for record in records[2:]]
        assert await store.changes(await _oldest(store, first), 10) == (await store.position(), kept)

    @proves
    async def test_a_position_of_another_life_is_refused(self, store: Store) -> None:
        """Who has read further than the history goes, as it is another one than it was, is told so."""
        await create(store, new_record())
        position = await store.position()
        oldest = await _oldest(store, position + 1_000_000_000_000)
        assert len((await store.changes(oldest, 10))[1]) == 1

    # --- bookmark ----------------------------------------------------------------------------------------------------

    @proves
    async def test_a_bookmark_is_held_by_one(self, store: Store) -> None:
        """A reader's position is kept by its name; one holder has it at a time, for as long as it said, or until it
        gives it back."""
        assert await store.bookmark("mail", "one", NOW, hold=10.0) == 0
        assert await store.bookmark("mail", "other", NOW + 5, hold=10.0) is None
        assert await store.bookmark("mail", "one", NOW + 5, hold=10.0, position=7) == 7
        assert await store.bookmark("mail", "other", NOW + 14, hold=10.0, position=3) is None
        assert await store.bookmark("mail", "other", NOW + 16, hold=10.0) == 7
        assert await store.bookmark("mail", "one", NOW + 16, hold=10.0, position=8) is None
        assert await store.bookmark("mail", "other", NOW + 16, hold=0.0, position=9) == 9
        assert await store.bookmark("mail", "one", NOW + 16, hold=10.0) == 9
        assert await store.bookmark("another", "other", NOW + 16, hold=10.0) == 0

    @proves
    async def test_a_bookmark_takes_any_position(self, store: Store) -> None:
        """A position may be as large as it likes, and the name of a reader any text."""
        for reader, position in (("über: {alles}", 10**30), ("\0", 2**4096 - 1)):
            assert await store.bookmark(reader, "one", NOW, hold=10.0, position=position) == position
            assert await store.bookmark(reader, "one", NOW, hold=10.0) == position

    @proves
    async def test_of_many_holders_one_gets_the_bookmark(self, store: Store) -> None:
        """However many want a bookmark at the same moment, one has it."""
        answers = await self.together(
            [partial(store.bookmark, "mail", f"holder {number}", NOW, hold=10.0) for number in range(8)]
        )
        assert Counter(answers) == {0: 1, None: 7}

    # --- lease, in line ----------------------------------------------------------------------------------------------

    @proves
    async def test_a_lease_is_given_in_the_order_of_the_line(self, store: Store) -> None:
        """Who has to wait for a lease stands in line by name, and asking again keeps the place; nobody else is given
        the lease before the first in line, except without a name."""
        record = new_record()
        await create(store, record)
        lease = partial(store.lease, record.handle, 0, 5.0)
        assert isinstance(await lease(NOW, name="first", patience=9.0), Committed)
        assert isinstance(await lease(NOW, name="second", patience=9.0), Leased)
        assert isinstance(await lease(NOW, name="third", patience=9.0), Leased)
        assert isinstance(await lease(NOW + 4, name="second", patience=9.0), Leased)
        assert isinstance(await lease(NOW + 6, name="third", patience=9.0), Leased)
        assert isinstance(await lease(NOW + 6, name="fourth", patience=9.0), Leased)
        taken = record_of(await lease(NOW + 6, name="second", patience=9.0))
        assert (taken.fence, taken.leased_until) == (2, NOW + 11)
        assert record_of(await lease(NOW + 12)).fence == 3
        assert record_of(await lease(NOW + 14 + 4, name="fourth", patience=0.0)).fence == 4  # the third has given up

    @proves
    async def test_who_leaves_the_line_holds_up_nobody(self, store: Store) -> None:
        """Who asks without patience leaves the line; who does not come again loses the place when its patience is
        over."""
        record = new_record()
        await create(store, record)
        lease = partial(store.lease, record.handle, 0, 5.0)
        await lease(NOW, name="first", patience=1.0)
        for name, patience in (("leaves", 9.0), ("dies", 3.0), ("stays", 20.0)):
            assert isinstance(await lease(NOW + 1, name=name, patience=patience), Leased)
        assert isinstance(await lease(NOW + 2, name="leaves", patience=0.0), Leased)
        assert isinstance(await lease(NOW + 5 - 1.5, name="stays", patience=20.0), Leased)
        assert isinstance(await lease(NOW + 5.5, name="stays", patience=20.0), Committed)

    @proves
    async def test_a_named_lease_is_safe_to_repeat(self, store: Store) -> None:
        """Who holds the lease by this name is told so again, while it lasts; then it can be taken anew."""
        record = new_record()
        await create(store, record)
        lease = partial(store.lease, record.handle, 0, 5.0)
        taken = await lease(NOW, name="one")
        assert await lease(NOW + 1, name="one") == taken == Committed(replace(record, fence=1, leased_until=NOW + 5))
        assert isinstance(await lease(NOW + 1, name="other"), Leased)
        again = await lease(NOW + 6, name="one")
        assert again == Committed(replace(record, fence=2, leased_until=NOW + 11))
        assert record_of(await lease(NOW + 12)).fence == 3
        assert isinstance(await lease(NOW + 13, name="one"), Leased)

    @proves
    async def test_nobody_waits_for_a_session_that_is_gone(self, store: Store) -> None:
        """A line ends with its session."""
        record = new_record()
        await create(store, record)
        lease = partial(store.lease, record.handle, 0, 5.0)
        await lease(NOW, name="one", patience=5.0)
        await lease(NOW, name="other", patience=5.0)
        await store.end([record.handle], "ended", NOW)
        assert await lease(NOW + 1, name="other", patience=5.0) == Gone()

    # --- load_many, walk ---------------------------------------------------------------------------------------------

    @proves
    async def test_many_load_at_once(self, store: Store) -> None:
        """`load_many` returns those records that there are, dead or alive."""
        records = [new_record(user_id="ada"), new_record(idle=10.0), new_record()]
        await create(store, *records)
        await store.end([records[2].handle], "ended", NOW)
        handles = [record.handle for record in records]
        expected = {record.handle: record for record in records[:2]}
        assert await store.load_many([*handles, new_record().handle]) == expected
        assert await store.load_many([]) == {}

    @proves
    async def test_a_walk_meets_all(self, store: Store) -> None:
        """`walk` gives every record that is there throughout, whatever is written meanwhile."""
        records = [new_record(user_id="ada" if number % 3 else None) for number in range(1200)]
        await self.together([partial(create, store, *records[at::12]) for at in range(12)])
        met: set[str] = set()
        steps = 0
        async for page in store.walk():
            met |= {record.handle for record in page}
            steps += 1
            if steps == 1:
                await create(store, new_record())
                await store.touch(records[1].handle, 0, NOW + 50, NOW + 50)
                await store.end([records[0].handle], "ended", NOW)
        assert met >= {record.handle for record in records[1:]}
        assert steps > 1

    # --- feed --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def feeding(self, store: Store, *handles: str) -> AsyncIterator[Feed]:
        """A feed that is open, follows these sessions, or all if none is given, and has said what it says of that."""
        feed = store.feed(ThreadWaiting() if self.world == "blocking" else TaskWaiting())
        try:
            await feed.open()
            certain = await feed.follow(handles, everything=not handles)
            missing = set() if certain else set(handles or ("",))
            until = time.monotonic() + 10
            while missing:
                assert time.monotonic() < until, f"it does not say that it follows {missing}"
                missing -= {hint.handle for hint in await feed.hints(0.3)}
            while await feed.hints(0.3):
                pass
            yield feed
        finally:
            await feed.close()

    async def said(self, feed: Feed, enough: Callable[[list[Hint]], bool]) -> list[Hint]:
        """What the feed says, until that is enough, or for 20 seconds."""
        found: list[Hint] = []
        until = time.monotonic() + 20
        while time.monotonic() < until and not enough(found):
            found += await feed.hints(0.5)
        return found

    @proves
    async def test_the_feed_tells_of_commits(self, store: Store) -> None:
        """Whoever follows is told of each commit its session, user and version, and which fields it changed; and
        whether there is a fact of it."""
        record, other = new_record(user_id="ada"), new_record()
        await create(store, record, other)
        async with self.feeding(store, record.handle) as feed:
            first = successor(record, fields={"n": b"\x01"})
            second = successor(first, user_id="bob", generation=1)
            await store.commit(record, first, NOW, fields=("n", "größe"))
            await store.commit(first, second, NOW, facts=(facts.rotated(second, NOW),))
            found = await self.said(feed, lambda hints: any(hint.version == second.version for hint in hints))
        mine = [hint for hint in found if hint.handle == record.handle and hint.version]
        assert mine == [
            Hint(record.handle, "ada", first.version, ("n", "größe")),
            Hint(record.handle, "bob", second.version, (), facts=True),
        ]

    @proves
    async def test_the_feed_tells_of_lives(self, store: Store) -> None:
        """Who follows all is told of each session that is created, ends, is evicted or expires, that there is a fact of
        it, and which of them are ends."""
        async with self.feeding(store) as feed:
            ended, expired, evicted = (new_record(user_id=name, idle=10.0) for name in ("ada", None, "eve"))
            await create(store, ended, expired, evicted)
            await store.create(replace(new_record(), user_id="eve"), NOW, Cap(per_user=1))
            await store.end([ended.handle], "ended", NOW)
            await store.purge_expired(NOW + 500, 1)

            def counted(hints: list[Hint]) -> Counter[str]:
                return Counter(hint.handle for hint in hints if hint.facts)

            wanted = {ended.handle: 2, expired.handle: 2, evicted.handle: 2}
            found = await self.said(feed, lambda hints: counted(hints) >= Counter(wanted))
        assert {handle: counted(found)[handle] for handle in wanted} == wanted
        assert Counter(hint.handle for hint in found if hint.ended and hint.handle in wanted) == Counter(list(wanted))
        owners = {hint.handle: hint.user_id for hint in found if hint.facts}
        assert owners[ended.handle] == "ada"
        assert owners[expired.handle] is None

    @proves
    async def test_the_feed_tells_nothing_of_reads_and_touches(self, store: Store) -> None:
        """What writes nothing, records activity or takes a lease is not told. Nothing comes within the time: nothing
        is said."""
        record = new_record()
        await create(store, record)
        async with self.feeding(store, record.handle) as feed:
            await store.load(record.handle)
            await store.touch(record.handle, 0, NOW + 5, NOW + 5)
            await store.lease(record.handle, 0, 1.0, NOW + 5)
            await store.commit(new_record(), new_record(), NOW)
            assert await feed.hints(0.3) == []

    @proves
    async def test_many_feeds_are_told_the_same(self, store: Store) -> None:
        """Each feed tells all; one that was closed tells nothing any more, and says so."""
        record = new_record()
        await create(store, record)
        async with self.feeding(store) as one, self.feeding(store) as other:
            newer = successor(record)
            await store.commit(record, newer, NOW, fields=("n",))
            for feed in (one, other):
                found = await self.said(feed, lambda hints: bool(hints))
                assert Hint(record.handle, None, newer.version, ("n",)) in found
            await other.close()
            await other.close()
            try:
                await other.hints(1.0)
            except StoreUnavailable:
                pass
            else:
                raise AssertionError("a closed feed goes on")


async def _oldest(store: Store, since: int) -> int:
    """Where to go on, of whom the store can't tell all since this position."""
    try:
        await store.changes(since, 10)
    except HistoryTrimmed as gap:
        return gap.position
    raise AssertionError("it does not say that facts are gone")
