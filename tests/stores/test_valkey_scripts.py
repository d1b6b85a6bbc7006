"""What the scripts of the Valkey store write beside what a caller sees: of a large session in part, of its expiry, of
its place among the deadlines, and of facts; and that they work with no head that is damaged."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from valkey_keys import Keys

from servers.process import until
from servers.proxy import Proxy, through
from servers.valkey import Valkey, fresh_prefix
from sojourn import DamagedRecord, OutcomeUnknown, StoreUnavailable, open_store
from sojourn.blocking import run
from sojourn.record import Cap, Committed, Record, replace
from sojourn.stores.valkey_blob import seal
from sojourn.stores.valkey_servers import Replies
from sojourn.testing import NOW, new_record, successor

DAY = 86_400


# --- Large sessions, of which only a part is sent --------------------------------------------------------------------

_LARGE = {f"document {number}": bytes([number]) * 400 for number in range(100)}


def commit_in_part(store: Any, base: Record, **changes: Any) -> Record:
    """A commit of which only a part is sent; the record that was wanted."""
    wanted = successor(base, fields=base.fields | {"document 42": b"x" * 400}, **changes)
    assert store._large.patch(base, seal(wanted)), "the whole of it would be sent"
    assert isinstance(run(store.commit(base, wanted, NOW)), Committed)
    return wanted


def test_a_part_leaves_what_others_wrote(keys: Keys) -> None:
    """A commit of which only a part is sent leaves alone what came to the head since its load: that the session lived
    on when all others ended, that it was touched, and that it is leased."""
    store, record = keys.store, new_record(fields=_LARGE)
    run(store.create(record, NOW))
    run(store.end_matching(NOW, keep=record.handle))
    assert run(store.load(record.handle)) == record
    assert run(store.touch(record.handle, 0, NOW + 5, NOW + 5))
    wanted = commit_in_part(store, record)
    assert run(store.load(record.handle)) == replace(wanted, accessed_at=NOW + 5)
    held = run(store.lease(record.handle, 0, 10.0, NOW + 6)).record
    again = successor(wanted, fields=wanted.fields | {"document 7": b"y" * 400})
    assert isinstance(run(store.commit(wanted, again, NOW + 20)), Committed)
    found = run(store.load(record.handle))
    assert (found.version, found.fence, found.leased_until) == (again.version, held.fence, held.leased_until)


def test_a_part_prolongs_the_expiry(keys: Keys) -> None:
    """A commit of which only a part is sent moves the time after which the server removes the session, and takes it
    away where the session has no end any more."""
    store = keys.store
    record = new_record(fields=_LARGE, idle_timeout=999.5, lasts=5e8)
    run(store.create(record, NOW))
    run(store.load(record.handle))
    assert DAY + 1090 < keys.left(record) <= DAY + 1100
    active = commit_in_part(store, record, accessed_at=NOW + 500)
    assert DAY + 1590 < keys.left(record) <= DAY + 1600
    commit_in_part(store, active, idle_timeout=inf, ends_at=inf)
    assert keys.left(record) == -0.001


# --- The end of all --------------------------------------------------------------------------------------------------


def test_who_is_kept_must_have_been_alive(keys: Keys) -> None:
    """The end of all sessions but one does not revive that one, if it had ended with all others before."""
    store = keys.store
    run(store.create(record := new_record(), NOW))
    run(store._space.begin_anew(None))  # and its caller died before anything was removed
    run(store.end_matching(NOW, keep=record.handle))
    assert run(store.load(record.handle)) is None


def test_replicas_must_know_of_what_was_made_before() -> None:
    """Where replicas must acknowledge each write, and the one that there is hangs: a commit or a creation that was made
    and not acknowledged is not acknowledged when it is repeated either, and neither is the end of all, where there is
    none. So it is with a lease that is taken by name."""
    with Valkey() as primary, Valkey(replica_of=primary.port) as replica:
        until(primary.is_followed, "the first copy")
        options = {"durability": "replicated", "replicas": 1, "clock": "caller"}
        patient: Any = open_store(primary.url(**options, deadline=10))
        run(patient.create(record := new_record(), NOW))
        run(patient.create(leased := new_record(), NOW))
        wanted, another = successor(record), new_record()
        replica.hang()
        for operation in (
            lambda store: store.commit(record, wanted, NOW),
            lambda store: store.create(another, NOW),
            lambda store: store.lease(leased.handle, 0, 10.0, NOW, name="one"),
        ):
            for _ in range(2):  # the second time over a connection that has written nothing
                store: Any = open_store(primary.url(**options, deadline=1.5))
                with pytest.raises(OutcomeUnknown):
                    run(operation(store))
                run(store.close())
        elsewhere: Any = open_store(primary.url(**options, deadline=1.5, prefix="elsewhere"))
        with pytest.raises(OutcomeUnknown):
            run(elsewhere.end_matching(NOW))
        replica.go_on()
        assert run(patient.commit(record, wanted, NOW)) == Committed(wanted)
        assert run(patient.create(another, NOW)) == Committed(another)
        for each in (elsewhere, patient):
            run(each.close())


def test_a_named_lease_is_sent_again(valkey: Valkey) -> None:
    """A lease that is asked for by name, and a bookmark, are sent again when the reply is cut, and were taken once;
    where there is no time for that, the outcome is unknown."""
    prefix = fresh_prefix()
    with Proxy(valkey.port) as proxy:
        store: Any = open_store(through(valkey.url(prefix=prefix, clock="caller", deadline=4), proxy))
        run(store.create(record := new_record(), NOW))
        proxy.cut_reply(0, request=b"EVALSHA")
        taken = run(store.lease(record.handle, 0, 10.0, NOW, name="one", patience=5.0))
        assert taken == Committed(run(store.load(record.handle)))
        assert (taken.record.fence, proxy.cuts) == (1, 1)
        proxy.cut_reply(0, request=b"EVALSHA")
        assert run(store.bookmark("mail", "one", NOW, hold=10.0, position=5)) == 5
        proxy.cut_reply(0, request=b"EVALSHA", times=10_000)
        with pytest.raises(OutcomeUnknown):
            run(store.lease(record.handle, 0, 10.0, NOW + 20, name="one", patience=5.0))
        proxy.pass_on()
        run(store.close())


@pytest.mark.parametrize("kind", ["lease", "end of all"])
def test_what_would_count_twice_is_not_sent_again(valkey: Valkey, kind: str) -> None:
    """A lease, and the end of all, whose reply is cut: the outcome is unknown, and it was done once."""
    prefix = fresh_prefix()
    with Proxy(valkey.port) as proxy:
        store: Any = open_store(through(valkey.url(prefix=prefix, clock="caller", deadline=10), proxy))
        run(store.create(record := new_record(), NOW))
        proxy.cut_reply(0, request=b"EVALSHA")
        with pytest.raises(OutcomeUnknown):
            run(store.lease(record.handle, 0, 10.0, NOW) if kind == "lease" else store._space.begin_anew(None))
        proxy.pass_on()
        assert proxy.cuts == 1
        if kind == "lease":
            assert run(store.load(record.handle)).fence == 1
        else:
            assert valkey.do("GET", f"{prefix}{{0}}:epoch")[:4] == b"\0\0\0\1"
        run(store.close())


@pytest.mark.parametrize("others", [3, 20])
def test_a_commit_that_was_overtaken_before_it_was_sent_again(valkey: Valkey, others: int) -> None:
    """The reply to a commit is cut, and others commit before it is sent again: it was made, as far as the record
    remembers; where it does not any more, it is unknown, and never a conflict, after which it would be made anew."""
    prefix = fresh_prefix()
    url = valkey.url(prefix=prefix, clock="caller", deadline=10)
    beside: Any = open_store(url)
    with Proxy(valkey.port) as proxy:
        store: Any = open_store(through(url, proxy))
        run(store.create(record := new_record(), NOW))

        async def overtake(_seconds: float) -> None:
            for _ in range(others):
                current = await beside.load(record.handle)
                assert isinstance(await beside.commit(current, successor(current), NOW), Committed)

        store._space._servers._sleep = overtake
        proxy.cut_reply(0, request=b"EVALSHA")
        if others == 3:
            assert isinstance(run(store.commit(record, successor(record), NOW)), Committed)
        else:
            with pytest.raises(OutcomeUnknown):
                run(store.commit(record, successor(record), NOW))
        assert proxy.cuts == 1
        run(store.close())
    run(beside.close())


def test_a_full_server_is_told_with_the_remedy() -> None:
    """A server that is full says so with what helps, and nothing was written."""
    with Valkey(maxmemory_policy="noeviction") as server:
        store: Any = open_store(server.url(clock="caller", deadline=10))
        run(store.create(record := new_record(), NOW))
        server.do("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="raise its maxmemory"):
            run(store.commit(record, successor(record), NOW))
        assert run(store.load(record.handle)) == record
        run(store.close())


def test_all_are_dead_before_any_is_removed(keys: Keys) -> None:
    """From the moment in which all sessions end, none is loaded, listed, or counted towards a cap, also where nothing
    was removed yet."""
    store = keys.store
    run(store.create(record := new_record(user_id="ada"), NOW))
    assert run(store.load(record.handle)) == record
    run(store._space.begin_anew(None))  # and its caller died before anything was removed
    assert run(store.load(record.handle)) is None
    assert run(store.summaries(NOW)) == run(store.summaries(NOW, user_id="ada")) == []
    later = NOW + 120
    another = new_record(at=later, user_id="ada")
    assert isinstance(run(store.create(another, later, Cap(per_user=1, refuse=True))), Committed)


def test_the_end_of_all_loses_nothing(keys: Keys) -> None:
    """Where one process ends all sessions, another does not take it for a server that lost what it held."""
    other = open_store(keys.server.url(prefix=keys.prefix, clock="caller", deadline=10))
    run(keys.store.create(record := new_record(), NOW))
    run(other.end_matching(NOW))
    assert run(keys.store.load(record.handle)) is None
    run(other.close())


# --- The sessions of a user ------------------------------------------------------------------------------------------


def test_a_users_sessions_are_known_as_long_as_one_may_live(keys: Keys) -> None:
    """What names the sessions of a user is kept as long as the one that may live the longest, whichever came last: else
    the end of all of them would miss it."""

    def left() -> float:
        return int(keys.server.do("PTTL", keys.key("user:ada"))) / 1000

    def create(**times: float) -> None:
        run(keys.store.create(new_record(user_id="ada", **times), NOW))

    create(lasts=500.0)
    assert DAY + 490 < left() <= DAY + 500
    create(lasts=100_000.0)
    create(lasts=500.0)
    assert DAY + 99_990 < left() <= DAY + 100_000
    create(idle_timeout=inf, ends_at=inf)
    create(lasts=500.0)
    assert left() == -0.001


@pytest.mark.parametrize("how", ["evicted", "forgotten"])
def test_who_is_evicted_while_it_is_made_does_not_stay(keys: Keys, how: str) -> None:
    """A session that has to leave for another before it has been written, or whose entry is gone, ends itself."""
    store, record = keys.store, new_record(user_id="ada")
    space, users = store._space, store._users

    async def meanwhile(*requests: Any) -> Any:
        """Just before the record is written."""
        if len(requests) < 3:
            return await ask(*requests)
        (entered,) = await ask(requests[0])
        if how == "evicted":
            await users.mark("ada", {record.handle: NOW})
        else:
            await users.forget({"ada": [record.handle]})
        return Replies([entered, *await ask(*requests[1:])])

    ask, space.ask = space.ask, meanwhile
    outcome = run(store.create(record, NOW))
    space.ask = ask
    assert [(fact.kind, fact.reason) for fact in outcome.facts] == [("created", None), ("ended", "evicted")]
    assert run(store.load(record.handle)) is None


def test_an_eviction_enters_nobody(keys: Keys) -> None:
    """Noting that a session is being evicted does not enter one that has gone meanwhile."""
    run(keys.store.create(new_record(user_id="ada"), NOW))
    before = run(keys.store._users.handles("ada"))
    run(keys.store._users.mark("ada", {"gone": NOW}))
    assert run(keys.store._users.handles("ada")) == before


# --- Deadlines, facts, damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"idle_timeout": 20.0}, {"ends_at": NOW + 50}])
def test_a_deadline_that_comes_nearer_is_swept_in_time(keys: Keys, change: dict[str, float]) -> None:
    """A session that is to end earlier than it was is swept when it is over, not when it would have been."""
    record = new_record(idle=1000)
    run(keys.store.create(record, NOW))
    run(keys.store.commit(record, successor(record, **change), NOW))
    told = run(keys.store.purge_expired(NOW + 130, 10))
    assert [(one.handle, one.reason) for one in told] == [(record.handle, "expired")]


def test_a_sweep_of_one_second_takes_no_more_than_its_limit(keys: Keys) -> None:
    """Of many sessions that end in the same second, a sweep takes as many as it was told."""
    for _ in range(5):
        run(keys.store.create(new_record(idle=10), NOW))
    assert [len(run(keys.store.purge_expired(NOW + 100, 2))) for _ in range(4)] == [2, 2, 1, 0]


def test_who_comes_does_not_leave_at_once(keys: Keys) -> None:
    """At the cap of the store a new session stays, also if its deadline is the first of all."""
    run(keys.store.create(old := new_record(idle=1000), NOW))
    outcome = run(keys.store.create(new := new_record(idle=100), NOW, Cap(total=1)))
    assert [fact.handle for fact in outcome.facts if fact.kind == "ended"] == [old.handle]
    assert run(keys.store.load(new.handle)) == new


def test_two_cleaners_move_a_session_once(keys: Keys) -> None:
    """Two that sweep the same second at the same time put a session that lives on into its next bucket once."""
    store, record = keys.store, new_record(idle=1000)
    run(store.create(record, NOW))
    shard, second, later = store._space.shards[0], int(NOW) + 1000, int(NOW) + 2000
    for _ in range(2):
        run(store._deadlines._rebook(shard, second, [record.handle], {record.handle: later}))
    assert keys.server.do("LRANGE", shard.bucket(later), 0, -1) == [record.handle.encode()]
    assert keys.server.do("LLEN", shard.bucket(second)) == 0


def test_facts_where_the_servers_clock_went_back(keys: Keys) -> None:
    """Where the last fact is from a time that is still to come, as the server's clock was set back, later facts follow
    it all the same."""
    store = keys.store
    run(store.create(first := new_record(), NOW))
    seconds, _ = keys.server.do("TIME")
    ahead = f"{int(seconds) + 500}000000-0"
    ((_, fields),) = keys.server.do("XRANGE", keys.key("log"), "-", "+")
    keys.server.do("XADD", keys.key("log"), ahead, *fields)
    run(store.create(second := new_record(), NOW))
    run(store.end([first.handle], "ended", NOW))
    position, told = run(store.changes(0, 10))
    assert [(one.kind, one.handle) for one in told[2:]] == [("created", second.handle), ("ended", first.handle)]
    run(store.create(third := new_record(), NOW))
    assert [one.handle for one in run(store.changes(position, 10))[1]] == [third.handle]


def test_a_damaged_head_is_not_worked_with(keys: Keys) -> None:
    """Where a byte of what the scripts read and write is damaged, no touch, lease or commit makes it sound: each says
    that it is damaged, and so does the next load."""
    store = keys.store
    for byte in (5, 13, 24, 28):  # of the last activity, the end of a lease, its number, and the epoch
        record = new_record()
        run(store.create(record, NOW))
        whole = bytearray(keys.server.do("GET", keys.key(record.handle)))
        whole[byte] ^= 0x40
        keys.server.do("SET", keys.key(record.handle), bytes(whole))
        for operation in (
            lambda record=record: store.touch(record.handle, 0, NOW, NOW),
            lambda record=record: store.lease(record.handle, 0, 1.0, NOW),
            lambda record=record: store.commit(record, successor(record), NOW),
            lambda record=record: store.load(record.handle),
        ):
            with pytest.raises(DamagedRecord):
                run(operation())
        assert keys.server.do("GET", keys.key(record.handle)) == bytes(whole)
