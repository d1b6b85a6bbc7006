"""Promise 3: a reply that is cut. A write whose reply does not come is sent again and counts once; if no reply ever
comes, the caller hears `OutcomeUnknown`: never that it was made, and never that it was not."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest
from pears import WAYS, Write, append, each_of, login, rotate, transaction, update
from places import Place, at_once
from writing import add_one

from sojourn import Handle, OutcomeUnknown, SessionGone
from worlds import PATIENT, Sessions, Through

ALWAYS = 1_000_000


def _cut(store: Through, operation: str, moment: str, times: int) -> None:
    """Cut so many replies to an operation: before it reached the store, or after it was made."""
    turns = count()

    def cut(*_: Any, **__: Any) -> None:
        if next(turns) < times:
            raise OutcomeUnknown("the reply was cut")

    getattr(store, moment)[operation] = cut


def _through(place: Place) -> tuple[Sessions, Through]:
    store = Through(place.store(PATIENT))
    return place.world.sessions(store, config=PATIENT), store


each_way = each_of(*WAYS)
each_moment = pytest.mark.parametrize("moment", ["before", "after"])


@pytest.mark.parametrize("times", [1, 2])
@each_moment
@each_way
async def test_a_cut_reply_applies_once(place: Place, write: Write, moment: str, times: int) -> None:
    """The reply to a commit is cut, once or twice: the caller hears nothing of it, and the write was made once."""
    sessions, store = _through(place)
    session_id = await sessions.create_session(data={"cart": ["apple"]})
    handle = Handle(session_id.partition(".")[0])
    _cut(store, "commit", moment, times)
    await write(sessions, session_id)
    assert await sessions.get_session(handle) == {"cart": ["apple", "pear"]}
    record = await place.store().load(handle)
    _, told = await sessions.changes()
    assert record.generation == (write is login)
    assert sum(change.kind == "rotated" for change in told) == (write in (rotate, login))


@each_moment
@each_way
async def test_no_reply_at_all_is_an_outcome_unknown(place: Place, write: Write, moment: str) -> None:
    """No reply ever comes: the caller hears that the outcome is unknown, and the write was made once or not at all."""
    sessions, store = _through(place)
    session_id = await sessions.create_session(data={"cart": ["apple"]})
    _cut(store, "commit", moment, ALWAYS)
    with pytest.raises(OutcomeUnknown):
        await write(sessions, session_id)
    fields = await sessions.get_session(Handle(session_id.partition(".")[0]))
    assert fields == {"cart": ["apple", "pear"] if moment == "after" else ["apple"]}


@each_moment
async def test_a_creation_whose_reply_is_cut_counts_once(place: Place, moment: str) -> None:
    """A creation is sent again until its reply comes: there is one session, and one fact."""
    sessions, store = _through(place)
    _cut(store, "create", moment, 2)
    session_id = await sessions.create_session("ada", {"cart": ["apple"]})
    assert await sessions.get_session(session_id) == {"cart": ["apple"]}
    assert len(await sessions.list_sessions("ada")) == 1
    _, told = await sessions.changes()
    assert [change.kind for change in told] == ["created"]
    _cut(store, "create", moment, ALWAYS)
    with pytest.raises(OutcomeUnknown):
        await sessions.create_session("ada")
    assert len(await sessions.list_sessions("ada")) == 1 + (moment == "after")


@each_moment
async def test_an_end_whose_reply_is_cut(place: Place, moment: str) -> None:
    """An end whose reply is cut is not told as made; ending once more is safe."""
    sessions, store = _through(place)
    session_id = await sessions.create_session("ada")
    _cut(store, "end", moment, 1)
    with pytest.raises(OutcomeUnknown):
        await sessions.end_session(session_id)
    assert await sessions.is_session_active(session_id) == (moment == "before")
    await sessions.end_session(session_id)
    assert not await sessions.is_session_active(session_id)
    _, told = await sessions.changes()
    assert [change.kind for change in told] == ["created", "ended"]


@each_moment
async def test_a_lease_whose_reply_is_cut_is_taken_once(place: Place, moment: str) -> None:
    """A lease is asked for again until its reply comes, and is the same one then; if none ever comes, it runs out by
    itself."""
    sessions, store = _through(place)
    session_id = await sessions.create_session()
    _cut(store, "lease", moment, 2)
    async with sessions.exclusive(session_id) as session:
        assert session.fence == 1
    _cut(store, "lease", moment, ALWAYS)
    with pytest.raises(OutcomeUnknown):
        await sessions.exclusive(session_id, hold=1.5).__aenter__()
    _cut(store, "lease", moment, 0)
    async with sessions.exclusive(session_id, wait=20) as session:
        assert session.fence == 2 + (moment == "after")


# --- With others in between ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [1, 15, 16, 40])
@each_moment
@each_of(append, update, transaction)
async def test_others_commit_before_it_is_sent_again(place: Place, write: Write, moment: str, others: int) -> None:
    """Other commits come between a commit whose reply was cut and its repetition: it is made once. A record remembers
    its last 16 commits; if they are all later, nobody can tell, and the caller hears that."""
    sessions, store = _through(place)
    ours = place.sessions(config=PATIENT)
    session_id = await sessions.create_session(data={"cart": ["apple"], "visits": 0})
    turns = count()

    async def cut(*_: Any, **__: Any) -> None:
        if not next(turns):
            for _ in range(others):
                await ours.update(session_id, "visits", add_one)
            raise OutcomeUnknown("the reply was cut")

    getattr(store, moment)["commit"] = cut
    made = True
    try:
        await (write if write is not update else _update_anything)(sessions, session_id)
    except OutcomeUnknown:
        made = moment == "after"
        assert others >= 16
    assert await ours.get_session(session_id) == {"cart": ["apple", "pear"] if made else ["apple"], "visits": others}


async def _update_anything(sessions: Sessions, session_id: str) -> None:
    await sessions.update(session_id, "cart", lambda cart: [*cart, "pear"])


async def test_the_session_ends_before_it_is_sent_again(place: Place) -> None:
    """A session ends between a commit whose reply was cut and its repetition: the writer hears that it is gone, and the
    repetition does not bring it back."""
    sessions, store = _through(place)
    ours = place.sessions(config=PATIENT)
    session_id = await sessions.create_session(data={"cart": ["apple"]})

    async def cut(*_: Any, **__: Any) -> None:
        if await ours.is_session_active(session_id):
            await ours.end_session(session_id)
            raise OutcomeUnknown("the reply was cut")

    store.after["commit"] = cut
    with pytest.raises(SessionGone):
        await append(sessions, session_id)
    assert not await ours.is_session_active(session_id)


@pytest.mark.parametrize("managers", [1, 4], ids=["one manager", "four managers"])
async def test_many_writers_whose_replies_are_cut(place: Place, managers: int) -> None:
    """20 writers at once, and half of all replies are cut, before or after the commit: what was acknowledged is there
    once, what is unknown once or not at all."""
    random = Random(1)
    pairs = [_through(place) for _ in range(managers)]
    session_id = await pairs[0][0].create_session(data={"items": [], "visits": 0})

    def cut(*_: Any, **__: Any) -> None:
        if random.random() < 0.3:
            raise OutcomeUnknown("the reply was cut")

    for _, store in pairs:
        store.before["commit"] = store.after["commit"] = cut
    unknown: list[str] = []

    async def writer(number: int) -> list[str]:
        sessions = pairs[number % managers][0]
        done = []
        for turn in range(30):
            name = f"{number}.{turn}"
            try:
                async with sessions.session(session_id) as session:
                    session["items"].append(name)
                    session.update("visits", add_one)
                done.append(name)
            except OutcomeUnknown:
                unknown.append(name)
        return done

    done = [name for names in await at_once(place.world, 20, writer) for name in names]
    fields = await pairs[0][0].get_session(session_id)
    items = fields["items"]
    assert len(set(items)) == len(items) == fields["visits"]
    assert set(done) <= set(items) <= {*done, *unknown}
    assert len(done) > len(unknown) > 0
