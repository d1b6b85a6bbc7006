"""Promise 1: writers of one session, at the same time, lose nothing that was acknowledged.

In each race everybody has loaded the session before anybody commits, which is the worst case for a lost update.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from typing import Any

import pytest
from children import Child, children
from places import Meeting, Place, at_once
from writing import WRITINGS, Writing, add_one, in_order

from sojourn import SessionManager
from worlds import PATIENT

WRITERS, TURNS, PROCESSES = 20, 5, 4

each_writing = pytest.mark.parametrize("writing", WRITINGS, ids=lambda writing: writing.name)
one_or_many = pytest.mark.parametrize("managers", [1, 4], ids=["one manager", "four managers"])


@one_or_many
@each_writing
async def test_no_writer_loses(place: Place, writing: Writing, managers: int) -> None:
    """20 threads or tasks, 5 rounds each, load, meet and commit: all that they wrote is there, nothing more and nothing
    less, and nobody was told that anything was overwritten."""
    sessions = [place.sessions(config=PATIENT) for _ in range(managers)]
    session_id = await sessions[0].create_session(data=writing.before(WRITERS, TURNS))
    meeting = Meeting(place.world, WRITERS)

    async def writer(number: int) -> None:
        mine = sessions[number % managers]
        for turn in range(TURNS):
            async with mine.session(session_id) as session:
                writing.write(session, number, turn)
                await meeting()

    await at_once(place.world, WRITERS, writer)
    assert in_order(await sessions[0].get_session(session_id)) == writing.after(WRITERS, TURNS)
    assert sum((each.counts for each in sessions), Counter())["overwritten"] == 0


@one_or_many
async def test_update_counts_exactly(place: Place, managers: int) -> None:
    """``update`` returns each number once, whoever calls it."""
    sessions = [place.sessions(config=PATIENT) for _ in range(managers)]
    session_id = await sessions[0].create_session()

    async def writer(number: int) -> list[int]:
        return [await sessions[number % managers].update(session_id, "visits", add_one) for _ in range(TURNS)]

    returned = await at_once(place.world, WRITERS, writer)
    assert sorted(chain.from_iterable(returned)) == list(range(1, WRITERS * TURNS + 1))
    assert await sessions[0].get_session(session_id) == {"visits": WRITERS * TURNS}


@one_or_many
async def test_transactions_are_serialisable(place: Place, managers: int) -> None:
    """10 callers move coins from one pocket to the other while 10 others write: each move saw what the last one left,
    no coin is made or lost, and no move drives a pocket below zero."""
    sessions = [place.sessions(config=PATIENT) for _ in range(managers)]
    coins = 30
    session_id = await sessions[0].create_session(data={"left": coins, "right": 0, "moves": []})

    def move(session: Any) -> bool:
        assert session["left"] + session["right"] == coins
        if session["left"] == 0:
            return False
        session["left"] -= 1
        session["right"] += 1
        session["moves"].append(session["left"])
        return True

    async def mover(number: int) -> int:
        return sum([await sessions[number % managers].transaction(session_id, move) for _ in range(TURNS)])

    async def bystander(number: int) -> int:
        for _ in range(TURNS):
            async with sessions[number % managers].session(session_id) as session:
                session["aside"] = number
        return 0

    moved = await at_once(place.world, 20, lambda number: (mover if number % 2 else bystander)(number))
    fields = await sessions[0].get_session(session_id)
    assert sum(moved) == coins  # 50 were tried
    assert (fields["left"], fields["right"], fields["moves"]) == (0, coins, list(range(coins - 1, -1, -1)))


async def test_two_hundred_writers_finish_in_time(place: Place) -> None:
    """200 writers of one session, all at once, are done within the deadline of one second, and none is refused."""
    sessions = place.sessions()
    session_id = await sessions.create_session(data={"cart": {"items": []}})
    meeting = Meeting(place.world, 200)

    async def writer(number: int) -> None:
        async with sessions.session(session_id) as session:
            session[f"key {number}"] = number
            session["cart"]["items"].append(number)
            session.update("visits", add_one)
            await meeting()

    await at_once(place.world, 200, writer)
    fields = await sessions.get_session(session_id)
    assert sorted(fields.pop("cart")["items"]) == list(range(200))
    assert fields == {"visits": 200, **{f"key {number}": number for number in range(200)}}


# --- Processes -------------------------------------------------------------------------------------------------------


@each_writing
def test_no_process_loses(url: str, writing: Writing) -> None:
    """4 processes, 5 rounds each, load, meet and commit: all that they wrote is there."""
    with SessionManager(url, config=PATIENT) as sessions:
        session_id = sessions.create_session(data=writing.before(PROCESSES, TURNS))
        with children(PROCESSES, "write", url, session_id, writing.name, TURNS) as writers:
            _say_to_all(writers)
            for word in ["loaded", "done"] * TURNS:
                for child in writers:
                    child.expect(word)
                _say_to_all(writers)
            for child in writers:
                child.finish()
        assert in_order(sessions.get_session(session_id)) == writing.after(PROCESSES, TURNS)


def test_processes_count_exactly(url: str) -> None:
    """``update`` returns each number once, to whichever of 4 processes calls it."""
    with SessionManager(url, config=PATIENT) as sessions:
        session_id = sessions.create_session()
        with children(PROCESSES, "count_up", url, session_id, 50) as counters:
            _say_to_all(counters)
            returned = [json.loads(child.hear()) for child in counters]
        assert sorted(chain.from_iterable(returned)) == list(range(1, PROCESSES * 50 + 1))
        assert sessions.get_session(session_id) == {"visits": PROCESSES * 50}


def test_no_storm_of_conflicts(url: str) -> None:
    """4 processes of 5 threads each hammer one session for four seconds: hardly anybody is refused (none on a machine
    with a core for each; at most one in a hundred here), and the count of those who were not is exact."""
    with SessionManager(url, config=PATIENT) as sessions:
        session_id = sessions.create_session()
        with children(PROCESSES, "hammer", url, session_id, 5, 4.0) as hammers:
            _say_to_all(hammers)
            told = [Counter(json.loads(child.hear())) for child in hammers]
        refused = sum(told, Counter())
        done = refused.pop("done")
        assert refused.keys() <= {"ConflictError"}, f"{dict(refused)} beside {done} that were done"
        assert refused.total() <= done / 100, f"{dict(refused)} beside {done} that were done"
        assert sessions.get_session(session_id) == {"visits": done}


def _say_to_all(processes: list[Child]) -> None:
    for child in processes:
        child.say()
