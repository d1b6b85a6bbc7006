"""Promise 3 of the feeds: whatever clients do to sessions at the same time, what they are answered can be explained by
one order of events: acknowledged writes are seen by later reads, nothing comes from nowhere, and nothing lives after
its end. The checker that says so is shown to find faults first."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
from children import children
from histories import Event, check
from living import Ids, live
from places import Place

import worlds
from sojourn import SessionManager
from sojourn.codec import Codec
from sojourn.record import Change, Committed, EndReason, Record, replace
from sojourn.stores.memory import MemoryStore
from worlds import PATIENT

SESSIONS, CLIENTS, TURNS = 6, 6, 120


# --- The checker ------------------------------------------------------------------------------------------------------


def _events(*told: tuple[Any, ...]) -> list[Event]:
    """Events of one session: kind, began, ended, and what else is to be said."""
    return [
        Event(session="s", began=began, ended=ended, **{"kind": kind, "id": "old", "key": "k", **more})
        for kind, began, ended, more in told
    ]


def read(began: float, ended: float, value: Any, **more: Any) -> tuple[Any, ...]:
    return "read", began, ended, {"value": value, **more}


def put(began: float, ended: float, value: Any, **more: Any) -> tuple[Any, ...]:
    return "set", began, ended, {"value": value, **more}


def append(began: float, ended: float, value: Any, **more: Any) -> tuple[Any, ...]:
    return "append", began, ended, {"value": value, "key": "items", **more}


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([put(0, 1, "a"), read(2, 3, {"k": "a"})], id="a write, then a read"),
        pytest.param([put(0, 5, "a"), read(1, 2, {}), read(3, 4, {"k": "a"})], id="reads during a write"),
        pytest.param([put(0, 5, "a"), put(1, 4, "b"), read(6, 7, {"k": "a"})], id="of two at once either wins"),
        pytest.param([put(0, 1, "a", verdict="unknown"), put(2, 3, "b"), read(4, 5, {"k": "a"})], id="it came late"),
        pytest.param([append(0, 1, 1), append(0, 2, 2), read(3, 4, {"items": [2, 1]})], id="both items"),
        pytest.param([append(0, 1, 1, verdict="unknown"), read(3, 4, {"items": []})], id="unknown, and never made"),
        pytest.param([put(0, 1, "a", verdict="refused"), read(2, 3, {})], id="refused"),
        pytest.param([("end", 0, 5, {}), read(1, 2, {}), read(3, 9, {}), read(6, 7, None)], id="reads during an end"),
        pytest.param([("rotate", 0, 1, {}), read(2, 3, None), read(2, 3, {}, id="new")], id="the new id serves"),
    ],
)
def test_what_can_be_explained(history: list[tuple[Any, ...]]) -> None:
    """The checker finds nothing in a history that has an explanation."""
    assert check(_events(*history)) == []


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ([read(0, 1, {"k": "x"})], "from nowhere"),
        ([put(2, 3, "a"), read(0, 1, {"k": "a"})], "from nowhere"),
        ([put(0, 1, "a", verdict="refused"), read(2, 3, {"k": "a"})], "from nowhere"),
        ([put(0, 1, "a"), read(2, 3, {})], "lost"),
        ([put(0, 1, "a"), put(2, 3, "b"), read(4, 5, {"k": "a"})], "lost"),
        ([put(0, 9, "a"), read(1, 2, {"k": "a"}), read(3, 4, {})], "gone back"),
        ([put(0, 1, "a"), put(2, 9, "b"), read(3, 4, {"k": "b"}), read(5, 6, {"k": "a"})], "gone back"),
        ([append(0, 1, 1), append(0, 1, 2), read(2, 3, {"items": [2]})], "dropped"),
        ([append(0, 9, 1), read(1, 2, {"items": [1]}), read(3, 4, {"items": []})], "dropped"),
        ([append(0, 1, 1), read(2, 3, {"items": [1, 1]})], "doubled"),
        ([read(2, 3, {"items": [7]}), append(4, 5, 7)], "from nowhere"),
        ([("end", 0, 1, {}), read(2, 3, {})], "revived"),
        ([read(0, 1, None), read(2, 3, {})], "revived"),
        ([("rotate", 0, 1, {}), read(2, 3, {})], "revived"),
        ([("end", 0, 1, {}), put(2, 3, "a")], "written after"),
        ([("rotate", 0, 1, {}), append(2, 3, 1)], "written after"),
    ],
)
def test_what_cannot_be_explained(history: list[tuple[Any, ...]], problem: str) -> None:
    """The checker finds each kind of fault in a history of two or three events."""
    assert any(found.startswith(problem) for found in check(_events(*history)))


# --- Stores that are broken ------------------------------------------------------------------------------------------


class _Broken(MemoryStore):
    """A store that does wrong, now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._dice = random.Random(7)
        self._old: dict[str, Record] = {}
        self._codec = Codec()

    def wrong(self, one_in: int = 25) -> bool:
        return self._dice.randrange(one_in) == 0


class _Forgets(_Broken):
    """It acknowledges commits that it does not make."""

    async def commit(self, base: Record, wanted: Record, now: float, **more: Any) -> Any:
        if wanted.generation == base.generation and self.wrong(10):
            return Committed(wanted, more["facts"])
        return await super().commit(base, wanted, now, **more)


class _LastWins(_Broken):
    """It makes commits that were made from an older version."""

    async def commit(self, base: Record, wanted: Record, now: float, **more: Any) -> Any:
        current = await self.load(base.handle)
        if current is not None and self.wrong(2):
            wanted = replace(wanted, secret_digest=current.secret_digest, generation=current.generation)
            return await super().commit(current, wanted, now, **more)
        return await super().commit(base, wanted, now, **more)


class _ServesOld(_Broken):
    """It serves what a cache remembers."""

    async def load(self, handle: str) -> Record | None:
        found = await super().load(handle)
        if handle in self._old and self.wrong():
            return self._old[handle]
        if found is not None and self.wrong(5):
            self._old[handle] = found
        return found


class _Revives(_Broken):
    """It acknowledges ends that it does not make."""

    async def end(self, handles: Sequence[str], reason: EndReason, now: float) -> tuple[Change, ...]:
        return () if self.wrong(2) else await super().end(handles, reason, now)


class _MakesTwice(_Broken):
    """A write is made twice now and then, as by a driver that sends again what it has no reply to."""

    async def commit(self, base: Record, wanted: Record, now: float, **more: Any) -> Any:
        done = await super().commit(base, wanted, now, **more)
        items = wanted.fields.get("items")
        if isinstance(done, Committed) and items and items != base.fields.get("items") and self.wrong(5):
            listed = self._codec.decode("items", items)
            twice = replace(
                wanted, fields=wanted.fields | {"items": self._codec.encode("items", [*listed, listed[-1]])}
            )
            self._records[wanted.handle] = twice
        return done


@pytest.mark.parametrize("broken", [_Forgets, _LastWins, _ServesOld, _Revives, _MakesTwice])
def test_a_broken_store_is_found_out(broken: Callable[[], MemoryStore], world: worlds.World) -> None:
    """The same clients, and the same checker, find each of these stores broken, and not the one that they are made
    of."""
    found = {}
    for make in (broken, MemoryStore):
        sessions = world.sessions(make())
        found[make] = check(world.run(_together(world, [sessions])))
    assert found[broken]
    assert found[MemoryStore] == []


async def _together(world: worlds.World, managers: list[worlds.Sessions]) -> list[Event]:
    """What clients do through these managers at the same time."""
    ids = Ids([await managers[0].create_session(data={"items": []}) for _ in range(SESSIONS)])
    done = await world.together(
        [lambda n=n: live(managers[n % len(managers)], ids, f"client {n}", TURNS) for n in range(CLIENTS)]
    )
    assert all(isinstance(events, list) for events in done), done
    return list(chain(*done))


# --- Ours ------------------------------------------------------------------------------------------------------------


async def test_what_clients_are_told_can_be_explained(place: Place) -> None:
    """On each store, in threads and in tasks, through two managers."""
    events = await _together(place.world, [place.sessions(config=PATIENT) for _ in range(2)])
    assert check(events) == []
    assert {event.kind for event in events if event.verdict == "done"} == {"read", "set", "append", "rotate", "end"}


def test_what_processes_are_told_can_be_explained(url: str) -> None:
    """Four processes, on each store that several share."""
    with SessionManager(url, config=PATIENT) as sessions:
        ids = [sessions.create_session(data={"items": []}) for _ in range(SESSIONS)]
    events = []
    with children(4, "as_a_client", url, json.dumps(ids), TURNS) as processes:
        for child in processes:
            child.say()
        for child in processes:
            events += [Event(**row) for row in json.loads(child.hear())]
            child.finish()
    assert check(events) == []
    assert len(events) == 4 * TURNS
