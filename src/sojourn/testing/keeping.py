"""The contract, of records: how they are created, committed, ended and found."""
# ruff: noqa: S101 - these are tests: they assert

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from itertools import product
from typing import Any, Final
from urllib.parse import quote

from .. import facts, ids
from ..config import SessionConfig
from ..errors import StoreUnavailable
from ..policy import GRACE, guard, is_over
from ..record import (
    VERSIONS_KEPT,
    Cap,
    Committed,
    Conflict,
    Gone,
    Leased,
    Outcome,
    Previous,
    Record,
    Refused,
    replace,
)
from ..store import NO_CAP, Store
from .harness import (
    Harness,
    create,
    end_matching,
    facts_of,
    kinds,
    live,
    load_one,
    of_user,
    proves,
    record_of,
)
from .records import NOW, new_record, new_version, successor

__all__ = ["KeepingContract"]

_CONFIG: Final = SessionConfig()


class KeepingContract(Harness):
    """What a store keeps."""

    # --- What it says of itself --------------------------------------------------------------------------------------

    @proves
    async def test_it_serves_the_world_it_was_opened_for(self, store: Store) -> None:
        """A store says which callers it serves."""
        assert store.world in (self.world, "any")

    @proves
    async def test_stats_count_records_and_name_the_durability(self, store: Store) -> None:
        """The stats count the records held, dead ones included, and name what an acknowledged write survives."""
        assert (await store.stats()).sessions == 0
        live, dead = new_record(), new_record(at=NOW - 50_000)
        await create(store, live, dead)
        stats = await store.stats()
        assert (stats.sessions, stats.durability) == (2, store.durability)
        assert stats.bytes is None or stats.bytes > 0
        assert store.durability in ("memory", "process", "server", "power", "replicated")
        await store.end([live.handle], "ended", NOW)
        await store.purge_expired(NOW, 10)
        assert (await store.stats()).sessions == 0

    @proves
    async def test_closing_twice_is_allowed(self, store: Store) -> None:
        """Closing twice is allowed."""
        await store.close()
        await store.close()

    @proves
    async def test_any_use_after_the_close_raises(self, store: Store) -> None:
        """Any other use after the close raises `StoreUnavailable`."""
        record = new_record()
        await create(store, record)
        await store.close()
        uses: dict[str, Callable[[], Awaitable[Any]]] = {
            "load": lambda: store.load(record.handle),
            "create": lambda: store.create(new_record(), NOW),
            "commit": lambda: store.commit(record, successor(record), NOW),
            "touch": lambda: store.touch(record.handle, 0, NOW, NOW),
            "lease": lambda: store.lease(record.handle, 0, 1.0, NOW),
            "end": lambda: store.end([record.handle], "ended", NOW),
            "end_matching": lambda: store.end_matching(NOW),
            "summaries": lambda: store.summaries(NOW),
            "purge_expired": lambda: store.purge_expired(NOW, 10),
            "changes": lambda: store.changes(0, 10),
            "stats": lambda: store.stats(),
        }
        served = []
        for name, use in uses.items():
            try:
                await use()
                served.append(name)
            except StoreUnavailable:
                pass
        assert not served

    # --- load --------------------------------------------------------------------------------------------------------

    @proves
    async def test_an_unknown_handle_loads_as_none(self, store: Store) -> None:
        """Where there is no record, `load` returns None."""
        await create(store, new_record())
        assert await store.load(ids.mint()[0]) is None

    @proves
    async def test_a_record_loads_as_it_was_created(self, store: Store) -> None:
        """Every attribute of a record comes back as it was, the order of its fields included."""
        fields = {"zebra": b"\x01", "apple": b"\xc0", "mango": bytes(range(256))}
        record = new_record(
            at=NOW + 0.123456,
            fields=fields,
            user_id="54321",
            versions=b"".join(new_version() for _ in range(VERSIONS_KEPT)),
            generation=3,
            authenticated_at=NOW - 1.5,
            rotated_at=NOW - 0.25,
            persistent=True,
            label="Firefox on Linux",
            previous=Previous((ids.digest("a"), ids.digest("b")), NOW - GRACE),
            fence=7,
            leased_until=NOW + 2.5,
        )
        plain = new_record()
        await create(store, record, plain)
        loaded = await load_one(store, record)
        assert loaded == record
        assert list(loaded.fields) == list(fields)
        assert await store.load(plain.handle) == plain

    @proves
    async def test_the_dead_load_too(self, store: Store) -> None:
        """`load` returns a record dead or alive: whether it is over is for the engine to say."""
        dead = new_record(at=NOW - 50_000)
        await create(store, dead)
        assert is_over(dead, NOW)
        assert await store.load(dead.handle) == dead

    @proves
    async def test_a_load_writes_nothing(self, store: Store) -> None:
        """A load changes no record, and makes no fact."""
        record = new_record()
        await create(store, record)
        position, _ = await store.changes(0, 10)
        for _ in range(3):
            assert await store.load(record.handle) == record
        assert await store.changes(position, 10) == (position, [])

    @proves
    async def test_what_was_loaded_is_a_value(self, store: Store) -> None:
        """What a load returned does not change by later commits."""
        record = new_record()
        await create(store, record)
        loaded = await load_one(store, record)
        fields = dict(loaded.fields)
        await store.commit(loaded, successor(loaded, fields={"other": b"\x01"}), NOW)
        assert loaded.fields == fields
        assert loaded == record

    # --- create ------------------------------------------------------------------------------------------------------

    @proves
    async def test_a_creation_is_told_as_a_fact(self, store: Store) -> None:
        """`create` adds the record and the fact "created", which it returns and records."""
        record = new_record(user_id="ada")
        outcome = await store.create(record, NOW)
        assert outcome == Committed(record, (facts.created(record, NOW),))
        assert (await store.changes(0, 10))[1] == [facts.created(record, NOW)]

    @proves
    async def test_a_repeated_creation_changes_nothing(self, store: Store) -> None:
        """The same creation a second time is committed, changes nothing, and makes no second fact."""
        record = new_record()
        await create(store, record)
        later = successor(record, fields={"visits": b"\x05"})
        await store.commit(record, later, NOW)
        outcome = await store.create(record, NOW)
        assert isinstance(outcome, Committed)
        assert outcome.record.handle == record.handle
        assert await store.load(record.handle) == later
        assert kinds((await store.changes(0, 10))[1]) == {"created": 1}
        assert (await store.stats()).sessions == 1

    @proves
    async def test_of_many_repeats_at_once_one_record_comes(self, store: Store) -> None:
        """The same creation sent several times at once makes one record and one fact."""
        record = new_record()
        outcomes = await self.together([lambda: store.create(record, NOW)] * 8)
        assert all(isinstance(outcome, Committed) for outcome in outcomes)
        assert (await store.stats()).sessions == 1
        assert kinds((await store.changes(0, 100))[1]) == {"created": 1}

    # --- commit ------------------------------------------------------------------------------------------------------

    @proves
    async def test_a_commit_replaces_the_record(self, store: Store) -> None:
        """A commit that the guard lets pass replaces the whole record by `wanted`."""
        record = new_record(user_id="ada")
        await create(store, record)
        wanted = successor(
            record,
            fields={"colour": b"\xa3red"},
            size=10,
            secret_digest=ids.digest("new"),
            rotated_at=NOW + 1,
            label="phone",
            persistent=True,
            previous=Previous((record.secret_digest,)),
            accessed_at=NOW + 1,
        )
        outcome = await store.commit(record, wanted, NOW + 1)
        assert isinstance(outcome, Committed)
        assert outcome.record == wanted
        assert await store.load(record.handle) == wanted

    @proves
    async def test_commits_follow_one_another(self, store: Store) -> None:
        """The record that a commit answers with is a base for the next."""
        record = new_record()
        await create(store, record)
        for number in range(20):
            wanted = successor(record, fields={"number": bytes([number])}, accessed_at=NOW + number % 3)
            outcome = await store.commit(record, wanted, NOW + 1)
            assert isinstance(outcome, Committed)
            record = outcome.record
        assert (await load_one(store, record)).fields == {"number": bytes([19])}

    @proves
    async def test_a_repeated_commit_counts_once(self, store: Store) -> None:
        """A commit sent a second time is committed, changes nothing and makes no second fact: also after fifteen later
        commits, which it does not undo."""
        record = new_record()
        await create(store, record)
        first = successor(record, fields={"n": b"\x00"})
        told = (facts.overwritten(first, "n", NOW),)
        assert isinstance(await store.commit(record, first, NOW, facts=told), Committed)
        assert isinstance(await store.commit(record, first, NOW, facts=told), Committed)
        current = first
        for number in range(1, VERSIONS_KEPT):
            current, base = successor(current, fields={"n": bytes([number])}), current
            assert isinstance(await store.commit(base, current, NOW), Committed)
            repeat = await store.commit(record, first, NOW, facts=told)
            assert repeat == Committed(current)
        assert await store.load(record.handle) == current
        assert kinds((await store.changes(0, 10))[1]) == {"created": 1, "overwritten": 1}

    @proves
    async def test_a_repeat_is_known_even_when_the_session_is_over(self, store: Store) -> None:
        """A commit whose reply was cut, repeated after the session ran out, is still told as committed."""
        record = new_record()
        await create(store, record)
        wanted = successor(record)
        await store.commit(record, wanted, NOW)
        outcome = await store.commit(record, wanted, NOW + 50_000)
        assert isinstance(outcome, Committed)

    @proves
    async def test_a_conflict_carries_the_fresh_record(self, store: Store) -> None:
        """A commit made from an older version writes nothing, and is answered with the record as it is now."""
        record = new_record()
        await create(store, record)
        theirs = successor(record, fields={"mine": b"\x00", "theirs": b"\x01"})
        await store.commit(record, theirs, NOW)
        mine = successor(record, fields={"mine": b"\x01"})
        outcome = await store.commit(record, mine, NOW, facts=(facts.overwritten(mine, "mine", NOW),))
        assert outcome == Conflict(theirs)
        assert await store.load(record.handle) == theirs
        assert kinds((await store.changes(0, 10))[1]) == {"created": 1}

    @proves
    async def test_of_many_commits_from_one_base_one_is_made(self, store: Store) -> None:
        """Of commits made at once from the same base exactly one is committed; the others are conflicts."""
        record = new_record()
        await create(store, record)
        wanted = [successor(record, fields={"writer": bytes([number])}) for number in range(16)]
        outcomes = await self.together([partial(store.commit, record, each, NOW) for each in wanted])
        made = [w for w, outcome in zip(wanted, outcomes, strict=True) if isinstance(outcome, Committed)]
        assert Counter(map(type, outcomes)) == {Committed: 1, Conflict: 15}
        assert await store.load(record.handle) == made[0]
        assert {outcome.record.version for outcome in outcomes if isinstance(outcome, Conflict)} == {made[0].version}

    @proves
    async def test_a_commit_to_a_dead_session_is_gone(self, store: Store) -> None:
        """A commit to a session that never was, ended, ran out, or changed its user, writes nothing."""
        missing, ended = new_record(), new_record()
        idled, finished = new_record(idle=100), new_record(lasts=100)
        changed = new_record(user_id="ada")
        await create(store, ended, idled, finished, changed)
        await store.end([ended.handle], "ended", NOW)
        login = successor(changed, user_id="bob", generation=1)
        await store.commit(changed, login, NOW)
        for base, now in ((missing, NOW), (ended, NOW), (idled, NOW + 100), (finished, NOW + 100), (changed, NOW)):
            wanted = successor(base, fields={"revived": b"\xc3"}, accessed_at=now)
            told = (facts.rotated(wanted, now),)
            assert await store.commit(base, wanted, now) == Gone()
            assert await store.commit(base, wanted, now, facts=told) == Gone()
        assert await store.load(missing.handle) is None
        assert await store.load(ended.handle) is None
        assert await store.load(idled.handle) == idled
        assert await store.load(finished.handle) == finished
        assert await store.load(changed.handle) == login
        assert kinds((await store.changes(0, 100))[1]) == {"created": 4, "ended": 1}

    @proves
    async def test_a_session_lives_up_to_its_deadline(self, store: Store) -> None:
        """The moment of the deadline is the first at which a session is over."""
        idle, absolute = new_record(idle=100), new_record(lasts=100)
        for record in (idle, absolute):
            await create(store, record)
            assert await store.touch(record.handle, 0, NOW, NOW + 99.75)
            outcome = await store.commit(record, successor(record), NOW + 99.75)
            assert isinstance(outcome, Committed)
            assert await store.commit(outcome.record, successor(outcome.record), NOW + 100) == Gone()
            assert not await store.touch(record.handle, 0, NOW, NOW + 100)

    @proves
    async def test_a_lease_keeps_others_out(self, store: Store) -> None:
        """While a lease runs, commits with its number pass; all others, those of an older holder included, are answered
        with the record as it is, and write nothing."""
        record = new_record(fence=4, leased_until=NOW + 10)
        await create(store, record)
        for fence in (0, 3, 5):
            for told in ((), (facts.overwritten(record, "n", NOW),)):
                outcome = await store.commit(
                    record, successor(record, fields={"n": b"\x01"}), NOW, fence=fence, facts=told
                )
                assert outcome == Leased(record)
        wanted = successor(record, fields={"n": b"\x02"})
        assert isinstance(await store.commit(record, wanted, NOW, fence=4), Committed)
        assert await store.load(record.handle) == wanted

    @proves
    async def test_a_lease_that_ran_out_keeps_nobody_out(self, store: Store) -> None:
        """When a lease has run out, anybody may commit; its late holder may, too, until somebody else holds one."""
        record = new_record(fence=4, leased_until=NOW + 10)
        await create(store, record)
        first = successor(record, fields={"by": b"\x00"})
        assert isinstance(await store.commit(record, first, NOW + 10), Committed)
        late = successor(first, fields={"by": b"\x04"})
        assert isinstance(await store.commit(first, late, NOW + 11, fence=4), Committed)
        taken = successor(late, fence=5, leased_until=NOW + 30)
        assert isinstance(await store.commit(late, taken, NOW + 12), Committed)
        assert await store.commit(taken, successor(taken), NOW + 13, fence=4) == Leased(taken)
        given_back = successor(taken, leased_until=0.0)
        assert isinstance(await store.commit(taken, given_back, NOW + 13, fence=5), Committed)
        assert isinstance(await store.commit(given_back, successor(given_back), NOW + 13), Committed)

    @proves
    async def test_a_lease_stops_neither_reads_nor_touches_nor_the_end(self, store: Store) -> None:
        """A lease is about commits: loads, touches and ends pass."""
        record = new_record(fence=1, leased_until=NOW + 10)
        await create(store, record)
        assert await store.load(record.handle) == record
        assert await store.touch(record.handle, 0, NOW + 5, NOW + 5)
        assert len(await store.end([record.handle], "ended", NOW + 5)) == 1
        assert await store.commit(record, successor(record), NOW + 5, fence=1) == Gone()

    @proves
    async def test_every_answer_is_the_guards(self, store: Store) -> None:
        """A store answers as `sojourn.policy.guard`, in its order, whatever comes together: a repeat, an older
        generation, a deadline passed, a lease, an older version."""
        cases = product((False, True), (0, 1), (50_000.0, 0.0), (0.0, 10.0), (0, 1, 2), (False, True), (False, True))
        for repeat, generation, ago, lease, fence, stale, telling in cases:
            base = new_record(at=NOW - ago, fence=1, leased_until=NOW + lease if lease else 0.0)
            wanted = successor(base, fields={"n": b"\x01"})
            current = replace(base, generation=generation)
            if stale:
                current = successor(current, fields={"n": b"\x02"})
            if repeat:
                current = replace(current, versions=wanted.version + current.versions)
            await create(store, current)
            expected: Outcome = guard(current, base, wanted, NOW, fence) or Committed(wanted)
            told = (facts.overwritten(wanted, "n", NOW),) if telling else ()
            answer = await store.commit(base, wanted, NOW, fence=fence, facts=told)
            case = (repeat, generation, ago, lease, fence, stale, telling)
            assert (case, type(answer)) == (case, type(expected))
            held = wanted if expected == Committed(wanted) else current
            assert await store.load(base.handle) == held, case

    @proves
    async def test_a_commit_merges_the_last_activity_by_maximum(self, store: Store) -> None:
        """A commit never takes activity back: `accessed_at` becomes the later of the record's and the commit's."""
        touched, late = new_record(), new_record(user_id="ada")
        await create(store, touched, late)
        await store.touch(touched.handle, 0, NOW + 50, NOW + 50)
        await store.touch(late.handle, 0, NOW + 50, NOW + 50)
        await store.commit(touched, successor(touched, fields={}), NOW + 50)
        await store.commit(late, successor(late, user_id="bob", accessed_at=NOW + 20), NOW + 50)
        assert (await load_one(store, touched)).accessed_at == NOW + 50
        assert (await load_one(store, late)).accessed_at == NOW + 50
        record = await load_one(store, touched)
        await store.commit(record, successor(record, accessed_at=NOW + 70), NOW + 70)
        assert (await load_one(store, touched)).accessed_at == NOW + 70
        assert (await store.summaries(NOW + 70))[0].last_accessed_at in (NOW + 50, NOW + 70)

    @proves
    async def test_a_commit_makes_the_facts_it_brings(self, store: Store) -> None:
        """The facts of a commit are recorded in the same step, in order, and returned with it."""
        record = new_record()
        await create(store, record)
        wanted = successor(record, secret_digest=ids.digest("new"))
        told = (facts.overwritten(wanted, "cart.items", NOW), facts.rotated(wanted, NOW))
        outcome = await store.commit(record, wanted, NOW, facts=told)
        assert outcome == Committed(wanted, told)
        assert tuple((await store.changes(0, 10))[1][1:]) == told

    @proves
    async def test_a_commit_may_change_the_user(self, store: Store) -> None:
        """After a commit that changes the user, the session is the new user's, and not the old one's."""
        visitor, ada = new_record(), new_record(user_id="ada")
        await create(store, visitor, ada)
        await store.commit(visitor, successor(visitor, user_id="ada", generation=1), NOW)
        assert await of_user(store, "ada") == {visitor.handle, ada.handle}
        await store.commit(ada, successor(ada, user_id="bob", generation=1), NOW)
        assert await of_user(store, "ada") == {visitor.handle}
        assert await of_user(store, "bob") == {ada.handle}
        ended = await store.end_matching(NOW, user_id="ada")
        assert {change.handle for change in ended} == {visitor.handle}
        assert ended[0].user_id == "ada"

    @proves
    async def test_a_commit_may_change_the_timeouts(self, store: Store) -> None:
        """New timeouts hold from the commit that brings them, whichever of them changed."""
        records = [new_record(idle=100) for _ in range(5)]
        await create(store, *records)
        later = {"idle_timeout": 90_000.0, "ends_at": NOW + 90_000}
        changes: list[dict[str, Any]] = [
            later,
            {"touch_interval": 900.0},
            {"idle_timeout": 20.0},
            {"ends_at": NOW + 50},
            {},
        ]
        for record, change in zip(records, changes, strict=True):
            assert isinstance(await store.commit(record, successor(record, **change), NOW), Committed)
        longer, wider, shorter, sooner, same = (record.handle for record in records)
        assert await live(store, NOW + 29) == {longer, wider, shorter, sooner, same}
        assert await live(store, NOW + 31) == {longer, wider, sooner, same}
        assert await live(store, NOW + 51) == {longer, wider, same}
        assert await live(store, NOW + 101) == {longer, wider}
        assert {change.handle for change in await store.purge_expired(NOW + 200, 10)} == {shorter, sooner, same}
        assert await live(store, NOW + 991) == {longer}
        assert await store.touch(longer, 0, NOW + 991, NOW + 991)
        assert not await store.touch(wider, 0, NOW + 991, NOW + 991)

    # --- touch -------------------------------------------------------------------------------------------------------

    @proves
    async def test_a_touch_records_activity(self, store: Store) -> None:
        """A touch raises `accessed_at` and nothing else, never lowers it, and returns that the session is alive."""
        record = new_record(user_id="ada")
        await create(store, record)
        assert await store.touch(record.handle, 0, NOW + 5, NOW + 5)
        assert await store.touch(record.handle, 0, NOW + 3, NOW + 6)
        assert await store.load(record.handle) == replace(record, accessed_at=NOW + 5)
        assert kinds((await store.changes(0, 10))[1]) == {"created": 1}

    @proves
    async def test_a_touch_changes_no_version(self, store: Store) -> None:
        """A commit made from what was loaded before a touch is no conflict."""
        record = new_record()
        await create(store, record)
        await store.touch(record.handle, 0, NOW + 5, NOW + 5)
        assert isinstance(await store.commit(record, successor(record), NOW + 6), Committed)

    @proves
    async def test_a_touch_of_the_dead_or_of_another_generation_is_refused(self, store: Store) -> None:
        """A touch of a session that never was, ended, ran out or changed its user does nothing, and says so."""
        ended, idled, changed = new_record(), new_record(idle=100), new_record(generation=2)
        await create(store, ended, idled, changed)
        await store.end([ended.handle], "ended", NOW)
        assert not await store.touch(ids.mint()[0], 0, NOW, NOW)
        assert not await store.touch(ended.handle, 0, NOW + 1, NOW + 1)
        assert not await store.touch(idled.handle, 0, NOW + 100, NOW + 100)
        assert not await store.touch(changed.handle, 1, NOW + 1, NOW + 1)
        assert await store.load(ended.handle) is None
        assert await store.load(idled.handle) == idled
        assert await store.load(changed.handle) == changed

    @proves
    async def test_a_touch_keeps_a_session_alive(self, store: Store) -> None:
        """A session that is touched in time lives past its first deadline, up to the end of its absolute timeout."""
        record = new_record(idle=100, lasts=1000)
        await create(store, record)
        for second in range(90, 990, 90):
            assert await store.touch(record.handle, 0, NOW + second, NOW + second)
            assert await store.purge_expired(NOW + second, 10) == ()
        assert await store.touch(record.handle, 0, NOW + 990, NOW + 990)
        assert not await store.touch(record.handle, 0, NOW + 1000, NOW + 1000)
        assert len(await store.purge_expired(NOW + 1002, 10)) == 1

    # --- lease -------------------------------------------------------------------------------------------------------

    @proves
    async def test_a_lease_is_taken_whatever_the_version(self, store: Store) -> None:
        """A lease needs no version: it is answered with the record as it is then, under the next number, and changes
        nothing else. No fact is made."""
        record = new_record(user_id="ada")
        await create(store, record)
        current = successor(record, fields={"n": b"\x01"})
        await store.commit(record, current, NOW)
        await store.touch(record.handle, 0, NOW + 3, NOW + 3)
        taken = await store.lease(record.handle, 0, 10.0, NOW + 5)
        expected = replace(current, accessed_at=NOW + 3, fence=1, leased_until=NOW + 15)
        assert taken == Committed(expected)
        assert await store.load(record.handle) == expected
        assert kinds((await store.changes(0, 10))[1]) == {"created": 1}
        assert await of_user(store, "ada") == {record.handle}

    @proves
    async def test_a_lease_that_is_taken_keeps_others_out(self, store: Store) -> None:
        """A commit with the number of the lease passes, also one made before the lease was; everybody else is answered
        `Leased`, and so is who wants the lease."""
        record = new_record()
        await create(store, record)
        held = record_of(await store.lease(record.handle, 0, 10.0, NOW))
        for base in (record, held):
            assert await store.commit(base, successor(base), NOW + 9) == Leased(held)
            telling = successor(base, fields={"n": b"\x01"})
            told = (facts.overwritten(telling, "n", NOW),)
            assert await store.commit(base, telling, NOW + 9, facts=told) == Leased(held)
        assert await store.lease(record.handle, 0, 10.0, NOW + 9) == Leased(held)
        wanted = successor(held, fields={"by": b"\x01"})
        assert isinstance(await store.commit(held, wanted, NOW + 9, fence=1), Committed)
        assert await store.load(record.handle) == wanted
        older = successor(replace(wanted, fence=0, leased_until=0.0), fields={"by": b"\x02"})
        assert isinstance(await store.commit(wanted, older, NOW + 9, fence=1), Committed)
        assert await store.load(record.handle) == replace(older, fence=1, leased_until=NOW + 10)

    @proves
    async def test_a_lease_can_be_taken_when_the_one_before_is_over(self, store: Store) -> None:
        """A lease holds until its end, and not at it: then the next one can be taken."""
        record = new_record()
        await create(store, record)
        held = record_of(await store.lease(record.handle, 0, 10.0, NOW))
        assert await store.lease(record.handle, 0, 10.0, NOW + 9.75) == Leased(held)
        assert record_of(await store.lease(record.handle, 0, 10.0, NOW + 10)).fence == 2

    @proves
    async def test_the_number_of_a_lease_only_grows(self, store: Store) -> None:
        """Each lease has the number after the last one's, whether that was given back or ran out; and a commit that was
        made before it does not lower the number."""
        record = new_record(fence=6)
        await create(store, record)
        first = record_of(await store.lease(record.handle, 0, 10.0, NOW))
        assert first.fence == 7
        given_back = successor(first, leased_until=0.0)
        assert isinstance(await store.commit(first, given_back, NOW + 1, fence=7), Committed)
        second = record_of(await store.lease(record.handle, 0, 10.0, NOW + 1))
        assert (second.fence, second.leased_until) == (8, NOW + 11)
        late = successor(given_back, fields={"late": b"\x01"})
        assert isinstance(await store.commit(given_back, late, NOW + 11), Committed)
        later = successor(late, fields={"later": b"\x01"}, accessed_at=NOW + 12)
        assert isinstance(await store.commit(late, later, NOW + 12), Committed)
        assert (await load_one(store, record)).fence == 8
        third = record_of(await store.lease(record.handle, 0, 10.0, NOW + 12))
        assert third == replace(later, fence=9, leased_until=NOW + 22)
        assert await store.commit(third, successor(third), NOW + 13, fence=8) == Leased(third)

    @proves
    async def test_a_lease_of_the_dead_is_gone(self, store: Store) -> None:
        """There is no lease of a session that never was, ended, ran out, or is of another generation; asking for one
        changes nothing."""
        ended, idled, changed = new_record(), new_record(idle=100), new_record(generation=2)
        await create(store, ended, idled, changed)
        await store.end([ended.handle], "ended", NOW)
        assert await store.lease(ids.mint()[0], 0, 1.0, NOW) == Gone()
        assert await store.lease(ended.handle, 0, 1.0, NOW) == Gone()
        assert await store.lease(idled.handle, 0, 1.0, NOW + 100) == Gone()
        assert await store.lease(changed.handle, 1, 1.0, NOW) == Gone()
        assert await store.load(ended.handle) is None
        assert await store.load(idled.handle) == idled
        assert await store.load(changed.handle) == changed

    @proves
    async def test_of_many_that_want_a_lease_one_gets_it(self, store: Store) -> None:
        """Of many that ask at once one has the lease, and the others are told so."""
        record = new_record()
        await create(store, record)
        answers = await self.together([lambda: store.lease(record.handle, 0, 10.0, NOW)] * 12)
        assert Counter(map(type, answers)) == {Committed: 1, Leased: 11}
        assert (await load_one(store, record)).fence == 1

    # --- end ---------------------------------------------------------------------------------------------------------

    @proves
    async def test_an_end_deletes_the_records_and_tells_why(self, store: Store) -> None:
        """`end` deletes these records and no others. The facts carry the reason, the user and the time; a session that
        had run out by itself is told as expired."""
        kept, dead = new_record(), new_record(at=NOW - 50_000, user_id="bob")
        ada, nobody = new_record(user_id="ada"), new_record()
        await create(store, kept, dead, ada, nobody)
        told = await store.end([ada.handle, dead.handle, ids.mint()[0], nobody.handle], "revoked", NOW)
        expected = {
            facts.ended(ada.handle, "ada", "revoked", NOW),
            facts.ended(dead.handle, "bob", "expired", NOW),
            facts.ended(nobody.handle, None, "revoked", NOW),
        }
        assert len(told) == 3
        assert set(told) == expected
        assert set((await store.changes(0, 10))[1][4:]) == expected
        assert [await store.load(record.handle) for record in (kept, dead, ada, nobody)] == [kept, None, None, None]

    @proves
    async def test_a_repeated_end_changes_nothing(self, store: Store) -> None:
        """Ending again, or nothing at all, or one session named twice, makes no second fact."""
        record, other = new_record(), new_record()
        await create(store, record, other)
        assert await store.end([], "ended", NOW) == ()
        assert len(await store.end([record.handle, record.handle], "ended", NOW)) == 1
        assert await store.end([record.handle], "ended", NOW) == ()
        assert await store.load(other.handle) == other
        assert kinds((await store.changes(0, 10))[1]) == {"created": 2, "ended": 1}

    @proves
    async def test_many_sessions_end_in_one_step(self, store: Store) -> None:
        """`end` takes as many handles as there are."""
        records = [new_record() for _ in range(3)]
        await create(store, *records)
        unknown = [f"nobody-{number:022}" for number in range(20_000)]
        told = await store.end([*unknown, *(record.handle for record in records), *unknown], "ended", NOW)
        assert {change.handle for change in told} == {record.handle for record in records}

    @proves
    async def test_a_session_ends_once_however_many_end_it(self, store: Store) -> None:
        """Of many that end a session at once, one is told."""
        record = new_record()
        await create(store, record)
        told = await self.together([lambda: store.end([record.handle], "ended", NOW)] * 8)
        assert sum(map(len, told)) == 1

    @proves
    async def test_all_that_match_end(self, store: Store) -> None:
        """`end_matching` ends the sessions of a user, or those without activity since a time (that time included), or
        both, or all; never the one that is kept; and none that does not match."""
        idle_for = {"now": 0, "a while": 100, "long": 200}
        records = {
            (user, idle): new_record(at=NOW - ago, user_id=user)
            for user in ("ada", "bob", None)
            for idle, ago in idle_for.items()
        }
        await create(store, *records.values())

        async def ends(**matching: Any) -> set[Any]:
            told = await store.end_matching(NOW, **matching)
            names = {record.handle: name for name, record in records.items()}
            assert {change.reason for change in told} <= {matching.get("reason", "revoked")}
            assert all(change.user_id == names[change.handle][0] for change in told)
            return {names.pop(change.handle) for change in told}

        kept = records["ada", "a while"].handle
        assert await ends(user_id="nobody") == set()
        assert await ends(user_id="ada", idle_since=NOW - 100, keep=kept, reason="ended") == {("ada", "long")}
        assert await ends(user_id="ada", keep=kept) == {("ada", "now")}
        assert await ends(idle_since=NOW - 150) == {("bob", "long"), (None, "long")}
        assert await ends(idle_since=NOW - 100, keep=kept) == {("bob", "a while"), (None, "a while")}
        assert await ends(keep=kept) == {("bob", "now"), (None, "now")}
        assert await ends() == {("ada", "a while")}
        assert (await store.stats()).sessions == 0

    @proves
    async def test_ends_that_match_are_recorded(self, store: Store) -> None:
        """The facts of `end_matching` are recorded; a session that had run out by itself is told as expired."""
        live, dead = new_record(user_id="ada"), new_record(at=NOW - 50_000, user_id="ada")
        await create(store, live, dead)
        told = await store.end_matching(NOW, user_id="ada")
        assert {(change.handle, change.reason) for change in told} == {
            (live.handle, "revoked"),
            (dead.handle, "expired"),
        }
        assert set((await store.changes(0, 10))[1][2:]) == set(told)

    @proves
    async def test_nothing_that_matched_is_alive_afterwards(self, store: Store) -> None:
        """`end_matching` is one step: whoever commits to a session of the user at the same time, it is gone
        afterwards."""
        records = [new_record(user_id="ada") for _ in range(8)]
        await create(store, *records)

        async def write(record: Record) -> int:
            for number in range(100):
                outcome = await store.commit(record, successor(record, fields={"n": bytes([number])}), NOW)
                if not isinstance(outcome, Committed):
                    assert outcome == Gone()
                    break
                record = outcome.record
            return 0

        async def end() -> int:
            return len(await store.end_matching(NOW, user_id="ada"))

        operations: list[Callable[[], Coroutine[Any, Any, int]]] = [
            *(partial(write, record) for record in records),
            end,
        ]
        ended = await self.together(operations)
        assert ended[-1] == 8
        assert await of_user(store, "ada") == set()
        assert [await store.load(record.handle) for record in records] == [None] * 8

    @proves
    async def test_a_creation_is_before_or_after_an_end(self, store: Store) -> None:
        """Sessions that are created while those of their user, or all, are being ended: whatever was acknowledged
        before the end began is dead, but for the one that is kept; and once all is quiet, what lives is listed, and
        what is listed lives."""
        for matching in ({"user_id": "ada"}, {}):
            before = [new_record(user_id="ada") for _ in range(8)]
            during = [[new_record(user_id="ada") for _ in range(10)] for _ in range(6)]
            kept = new_record(user_id="ada")
            await create(store, *before, kept)
            ending = partial(end_matching, store, keep=kept.handle, **matching)
            await self.together([*(partial(create, store, *records) for records in during[:3]), ending, ending])
            await self.together([partial(create, store, *records) for records in during[3:]])
            assert [await store.load(record.handle) for record in before] == [None] * 8
            assert await store.load(kept.handle) == kept
            created = [record.handle for records in during for record in records]
            living = {handle for handle in created if await store.load(handle) is not None}
            assert set(created[30:]) <= living
            for _ in range(2):
                assert await of_user(store, "ada") == living | {kept.handle}
                assert await live(store, NOW) == living | {kept.handle}
                await store.purge_expired(NOW, 1000)
            await store.end([*living, kept.handle], "ended", NOW)

    @proves
    async def test_the_place_of_one_that_ended_with_all_is_free(self, store: Store) -> None:
        """A record whose handle is chosen anew, as the records of apps are, is created as soon as the one before is
        dead, whatever the end of all has still to remove: it is there once that is acknowledged, and stays, and the
        facts tell of both in order."""
        for cap in (NO_CAP, Cap(total=1000)):
            before, others = new_record(), [new_record() for _ in range(400)]
            await create(store, *others, before)
            after = new_record(handle=before.handle, user_id="ada", fields={"n": b"anew"})
            await self.together([partial(self._take_the_place, store, after, cap), partial(end_matching, store)])
            await store.purge_expired(NOW, 1000)
            assert await store.load(after.handle) == after
            assert await live(store, NOW) == {after.handle}
            assert (await store.stats()).sessions == 1
            told = [change.kind for change in (await store.changes(0, 5000))[1] if change.handle == after.handle]
            assert told == ["created", "ended", "created"]
            await store.end([after.handle], "ended", NOW)

    async def _take_the_place(self, store: Store, record: Record, cap: Cap) -> None:
        """Create a record as soon as the one of its handle is dead."""
        while await store.load(record.handle) is not None:
            await self.pause()
        outcome = await store.create(record, NOW, cap)
        assert isinstance(outcome, Committed)
        assert outcome.record == await store.load(record.handle) == record

    # --- summaries ---------------------------------------------------------------------------------------------------

    @proves
    async def test_summaries_show_the_living_in_order(self, store: Store) -> None:
        """Summaries show live sessions only, in the order of their handles, with what may be shown of each."""
        records = [new_record(at=NOW - ago, user_id="ada", label="phone") for ago in range(5)]
        idled, finished = new_record(at=NOW - 1000), new_record(at=NOW - 500, lasts=500)
        await create(store, *records, idled, finished)
        found = await store.summaries(NOW)
        assert [summary.handle for summary in found] == sorted(record.handle for record in records)
        shown = next(summary for summary in found if summary.handle == records[3].handle)
        assert type(shown.handle) is ids.Handle
        assert (shown.user_id, shown.label, shown.size) == ("ada", "phone", records[3].size)
        assert (shown.created_at, shown.last_accessed_at, shown.expires_at) == (NOW - 3, NOW - 3, NOW + 997)

    @proves
    async def test_summaries_come_in_pages(self, store: Store) -> None:
        """At most `limit` summaries, and those after `after`: page by page each live session comes once."""
        alphabet = "-09AZ_az"  # in the order of their codes, which is the order of handles
        records = [new_record(handle=f"{letter}{'x' * 21}", user_id="ada") for letter in alphabet]
        await create(
            store, *records, new_record(at=NOW - 50_000, handle="M" * 22), new_record(user_id="bob", handle="N" * 22)
        )
        for user_id, expected in (("ada", 8), (None, 9)):
            found: list[str] = []
            while page := await store.summaries(NOW, user_id=user_id, after=found[-1] if found else "", limit=3):
                assert len(page) <= 3
                found += [summary.handle for summary in page]
            assert len(found) == expected
            assert found == sorted(found)
            assert {record.handle for record in records} <= set(found)
        assert await store.summaries(NOW, limit=0) == []

    @proves
    async def test_summaries_of_one_user(self, store: Store) -> None:
        """Summaries of a user show that user's sessions only."""
        ada, bob, nobody = new_record(user_id="ada"), new_record(user_id="bob"), new_record()
        await create(store, ada, bob, nobody)
        assert await of_user(store, "ada") == {ada.handle}
        assert await of_user(store, "nobody") == set()
        assert await live(store, NOW) == {ada.handle, bob.handle, nobody.handle}

    # --- purge_expired -----------------------------------------------------------------------------------------------

    @proves
    async def test_a_purge_removes_the_dead_only(self, store: Store) -> None:
        """`purge_expired` deletes records that have been dead for a second, tells each as expired, and leaves the
        living, up to the very moment of their deadline."""
        idled, finished, living = new_record(idle=100, user_id="ada"), new_record(lasts=100), new_record(idle=200)
        await create(store, idled, finished, living)
        assert await store.purge_expired(NOW + 99.9, 10) == ()
        told = await store.purge_expired(NOW + 101, 10)
        assert {(change.handle, change.kind, change.reason) for change in told} == {
            (idled.handle, "ended", "expired"),
            (finished.handle, "ended", "expired"),
        }
        assert set((await store.changes(0, 10))[1][3:]) == set(told)
        assert await store.load(idled.handle) is None
        assert await store.load(finished.handle) is None
        assert await store.load(living.handle) == living
        assert await store.purge_expired(NOW + 101, 10) == ()

    @proves
    async def test_a_purge_takes_no_more_than_its_limit(self, store: Store) -> None:
        """At most `limit` records leave in one step; the rest leave in the next."""
        dead = [new_record(at=NOW - 50_000 - number) for number in range(7)]
        await create(store, *dead, new_record())
        told = [await store.purge_expired(NOW, 3) for _ in range(4)]
        assert [len(page) for page in told] == [3, 3, 1, 0]
        assert {change.handle for page in told for change in page} == {record.handle for record in dead}
        assert (await store.stats()).sessions == 1

    @proves
    async def test_each_expiry_is_told_to_one_caller(self, store: Store) -> None:
        """Of several that purge at once, each dead session is told to one only."""
        dead = [new_record(at=NOW - 50_000) for _ in range(40)]
        await create(store, *dead)
        told = await self.together([lambda: store.purge_expired(NOW, 10)] * 8)
        handles = Counter(change.handle for page in told for change in page)
        assert handles == {record.handle: 1 for record in dead}

    # --- Caps --------------------------------------------------------------------------------------------------------

    @proves
    async def test_at_the_cap_of_a_user_the_oldest_is_evicted(self, store: Store) -> None:
        """A creation past the user's cap evicts, in the same step, the user's session whose sign-in is the oldest, and
        returns and records the fact; other users' sessions, and visitors', are not counted."""
        cap = Cap(per_user=2)
        oldest = new_record(user_id="ada", authenticated_at=NOW - 50)
        newer = new_record(user_id="ada", authenticated_at=NOW - 40, at=NOW - 60)
        others = [new_record(user_id="bob"), new_record(), new_record()]
        for record in (newer, *others, oldest):
            assert kinds(facts_of(await store.create(record, NOW, cap))) == {"created": 1}
        latest = new_record(user_id="ada")
        told = facts_of(await store.create(latest, NOW, cap))
        assert set(told) == {facts.ended(oldest.handle, "ada", "evicted", NOW), facts.created(latest, NOW)}
        assert set((await store.changes(0, 10))[1][-2:]) == set(told)
        assert await of_user(store, "ada") == {newer.handle, latest.handle}
        assert await store.load(oldest.handle) is None
        assert (await store.stats()).sessions == 5

    @proves
    async def test_at_the_cap_of_a_user_a_creation_can_be_refused(self, store: Store) -> None:
        """With the rule to refuse, a creation past the user's cap is refused and writes nothing; a repeat of one that
        was made is not."""
        cap = Cap(per_user=1, refuse=True)
        first, second, visitor = new_record(user_id="ada"), new_record(user_id="ada"), new_record()
        assert isinstance(await store.create(first, NOW, cap), Committed)
        assert await store.create(second, NOW, cap) == Refused()
        assert isinstance(await store.create(first, NOW, cap), Committed)
        assert isinstance(await store.create(visitor, NOW, cap), Committed)
        assert await store.load(second.handle) is None
        assert kinds((await store.changes(0, 10))[1]) == {"created": 2}
        await store.end([first.handle], "ended", NOW)
        assert isinstance(await store.create(second, NOW, cap), Committed)

    @proves
    async def test_the_dead_do_not_count_towards_the_cap_of_a_user(self, store: Store) -> None:
        """A session that ran out, purged or not, takes no place under its user's cap."""
        dead = new_record(user_id="ada", at=NOW - 50_000)
        await create(store, dead)
        outcome = await store.create(new_record(user_id="ada"), NOW, Cap(per_user=1, refuse=True))
        assert isinstance(outcome, Committed)

    @proves
    async def test_a_cap_holds_for_sign_in(self, store: Store) -> None:
        """A commit that changes the user is held to the cap of the new user, and evicts or is refused; one that keeps
        the user is not."""
        older, newer = new_record(user_id="ada", at=NOW - 9), new_record(user_id="ada", at=NOW - 5)
        visitor = new_record()
        await create(store, older, newer, visitor)
        refusing, evicting = Cap(per_user=2, refuse=True), Cap(per_user=2)
        login = successor(visitor, user_id="ada", generation=1, authenticated_at=NOW)
        told = (facts.rotated(login, NOW),)
        assert await store.commit(visitor, login, NOW, facts=told, cap=refusing) == Refused()
        assert await store.load(visitor.handle) == visitor
        over = Cap(per_user=1, refuse=True)
        again = successor(newer, generation=1, authenticated_at=NOW)
        assert isinstance(await store.commit(newer, again, NOW, cap=over), Committed)
        outcome = await store.commit(visitor, login, NOW, facts=told, cap=evicting)
        assert set(facts_of(outcome)) == {facts.ended(older.handle, "ada", "evicted", NOW), *told}
        assert await of_user(store, "ada") == {newer.handle, visitor.handle}
        assert set((await store.changes(0, 10))[1][3:]) == set(facts_of(outcome))

    @proves
    async def test_a_commit_that_fails_evicts_nobody(self, store: Store) -> None:
        """A sign-in that meets a conflict, or comes too late, evicts nobody."""
        ada, visitor = new_record(user_id="ada"), new_record()
        await create(store, ada, visitor)
        current = successor(visitor, fields={"n": b"\x01"})
        await store.commit(visitor, current, NOW)
        login = successor(visitor, user_id="ada", generation=1)
        assert await store.commit(visitor, login, NOW, cap=Cap(per_user=1)) == Conflict(current)
        await store.end([visitor.handle], "ended", NOW)
        assert await store.commit(current, login, NOW, cap=Cap(per_user=1)) == Gone()
        assert await store.load(ada.handle) == ada

    @proves
    async def test_a_cap_holds_for_many_at_once(self, store: Store) -> None:
        """Of many sign-ins at once, exactly as many live as the cap allows."""
        for user_id, cap in (("ada", Cap(per_user=3)), ("bob", Cap(per_user=3, refuse=True))):
            records = [new_record(user_id=user_id) for _ in range(12)]
            outcomes = await self.together([partial(store.create, record, NOW, cap) for record in records])
            assert len(await of_user(store, user_id)) == 3
            refused = sum(isinstance(outcome, Refused) for outcome in outcomes)
            assert refused == (9 if cap.refuse else 0)

    @proves
    async def test_a_cap_holds_for_many_who_sign_in_at_once(self, store: Store) -> None:
        """Of many visitors who sign in as one user at once, exactly as many are signed in as the cap allows, whether it
        evicts or refuses; and those who were refused are visitors as before."""
        for user_id, cap in (("ada", Cap(per_user=3)), ("bob", Cap(per_user=3, refuse=True))):
            visitors = [new_record() for _ in range(12)]
            await create(store, *visitors)
            outcomes = await self.together(
                [
                    partial(store.commit, visitor, successor(visitor, user_id=user_id, generation=1), NOW, cap=cap)
                    for visitor in visitors
                ]
            )
            assert len(await of_user(store, user_id)) == 3
            refused = [v for v, outcome in zip(visitors, outcomes, strict=True) if isinstance(outcome, Refused)]
            assert len(refused) == (9 if cap.refuse else 0)
            assert [await store.load(visitor.handle) for visitor in refused] == refused

    @proves
    async def test_at_the_cap_of_the_store_the_least_recently_used_is_evicted(self, store: Store) -> None:
        """A creation past the store's cap evicts the session whose last activity is the longest ago: touches and
        commits count as activity, for sessions that were there before the cap as well."""
        first, second, third = (new_record(at=NOW - ago) for ago in (30, 20, 10))
        await create(store, first, second, third)
        await store.touch(first.handle, 0, NOW, NOW)
        cap = Cap(total=3)
        fourth, fifth, sixth = (new_record(at=NOW + later) for later in (1, 2, 3))
        told = facts_of(await store.create(fourth, NOW + 1, cap))
        assert facts.ended(second.handle, None, "evicted", NOW + 1) in told
        await store.commit(third, successor(third, accessed_at=NOW + 2), NOW + 2)
        assert facts.ended(first.handle, None, "evicted", NOW + 2) in facts_of(await store.create(fifth, NOW + 2, cap))
        assert facts.ended(fourth.handle, None, "evicted", NOW + 3) in facts_of(await store.create(sixth, NOW + 3, cap))
        assert await live(store, NOW + 3) == {third.handle, fifth.handle, sixth.handle}
        assert kinds((await store.changes(0, 100))[1]) == {"created": 6, "ended": 3}

    @proves
    async def test_a_smaller_cap_of_the_store_evicts_several(self, store: Store) -> None:
        """Where the store holds more than its cap allows, one creation makes all the room that is missing."""
        records = [new_record(at=NOW - 100 + number) for number in range(6)]
        await create(store, *records)
        newest = new_record()
        told = facts_of(await store.create(newest, NOW, Cap(total=3)))
        assert {change.handle for change in told if change.kind == "ended"} == {record.handle for record in records[:4]}
        assert (await store.stats()).sessions == 3
        assert kinds(facts_of(await store.create(newest, NOW, Cap(total=3)))) == {}

    @proves
    async def test_the_dead_leave_before_the_living_at_the_cap_of_the_store(self, store: Store) -> None:
        """No live session is evicted while a dead one takes up a place."""
        dead = new_record(at=NOW - 200, idle=100)
        living = new_record(at=NOW - 500)
        await create(store, dead, living)
        await store.create(new_record(), NOW, Cap(total=2))
        assert await store.load(living.handle) == living
        assert await store.load(dead.handle) is None

    # --- What records may hold ---------------------------------------------------------------------------------------

    @proves
    async def test_a_record_may_be_large(self, store: Store) -> None:
        """A record of a megabyte is kept whole, and replaced whole."""
        record = new_record(fields={"large": bytes(range(256)) * 4096, "small": b"\x01"})
        await create(store, record)
        assert await store.load(record.handle) == record
        wanted = successor(record, fields={"large": b"\xff" * 1_000_000, "small": b"\x02"})
        assert isinstance(await store.commit(record, wanted, NOW), Committed)
        assert await store.load(record.handle) == wanted

    @proves
    async def test_a_record_may_have_many_fields(self, store: Store) -> None:
        """A record of two thousand fields is kept whole and in order; a record may have none."""
        record = new_record(fields={f"field {number}": bytes([number % 128]) for number in range(2000)})
        await create(store, record)
        loaded = await load_one(store, record)
        assert list(loaded.fields.items()) == list(record.fields.items())
        assert isinstance(await store.commit(record, successor(record, fields={}, size=0), NOW), Committed)
        assert (await load_one(store, record)).fields == {}

    @proves
    async def test_any_text_is_kept_apart(self, store: Store) -> None:
        """Users, labels and names of fields may be any Unicode text; what differs at all is not the same."""
        texts = [
            "a", "A", "a\0", "a\0b", "a ", " a", "", "\0", "é", "e\u0301", "ﬀ", "ff", "K", "\u212a", "日本語",
            "🦉", "\U0010ffff",
            "'", '"', "'; DROP TABLE session; --", "%", "_", "*", "\\", "\n", "1", "01", "1.0", "1e0", "NULL",
            "null", "x" * 5000,
        ]  # fmt: skip
        records = [
            new_record(user_id=text, label=text, fields={text: b"\x01", "own": quote(text).encode()}) for text in texts
        ]
        await create(store, *records)
        for text, record in zip(texts, records, strict=True):
            assert await store.load(record.handle) == record
            assert await of_user(store, text) == {record.handle}
            wanted = successor(record, fields=record.fields | {f"{text}{text}": b"\x02"})
            assert isinstance(await store.commit(record, wanted, NOW), Committed)
            assert await store.load(record.handle) == wanted
        for text, record in zip(texts, records, strict=True):
            told = await store.end_matching(NOW, user_id=text)
            assert [(change.handle, change.user_id) for change in told] == [(record.handle, text)]
        assert (await store.stats()).sessions == 0
        owned = [change.user_id for change in (await store.changes(0, 1000))[1]]
        assert owned == [*texts, *texts]

    @proves
    async def test_a_timeout_may_be_without_end(self, store: Store) -> None:
        """A session may be without a deadline, and is never purged then."""
        record = new_record(idle_timeout=float("inf"), ends_at=float("inf"))
        await create(store, record)
        assert await store.load(record.handle) == record
        far = NOW + 1e12
        assert await store.purge_expired(far, 10) == ()
        assert await store.touch(record.handle, 0, far, far)
        assert isinstance(await store.commit(record, successor(record), far), Committed)
        assert await live(store, far) == {record.handle}
