"""Promises on writing: what was acknowledged is kept, whoever else writes at the same time.

In each round every writer has loaded the session before any of them commits: the worst case, and not left to chance.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final

from ..manager import AsyncSessionManager
from .bench import CONFIG, PATIENCE, Bench, Finding, Promise, tally, together

__all__ = ["PROMISES"]

_WRITERS: Final = 20
_ROUNDS: Final = 5


def _disjoint(bench: Bench) -> Finding:
    session_id = bench.create()

    def write(number: int, meet: threading.Barrier) -> None:
        for turn in range(_ROUNDS):
            with bench.manager(number).session(session_id) as session:
                session[f"writer {number}, round {turn}"] = [number, turn]
                meet.wait()

    problems = together(_WRITERS, write)
    stored = bench.read(session_id)
    wanted = {f"writer {n}, round {turn}": [n, turn] for n in range(_WRITERS) for turn in range(_ROUNDS)}
    kept = sum(stored.get(name) == value for name, value in wanted.items())
    return tally(kept, len(wanted), "kept", problems)


def _appends(bench: Bench) -> Finding:
    session_id = bench.create({"cart": {"items": ["first"], "currency": "EUR"}})

    def append(number: int, meet: threading.Barrier) -> None:
        with bench.manager(number).session(session_id) as session:
            session["cart"]["items"].append(number)
            meet.wait()

    problems = together(_WRITERS, append)
    items = bench.read(session_id).get("cart", {}).get("items", [])
    kept = sum(items.count(number) == 1 for number in range(_WRITERS))
    if items[:1] != ["first"] or len(items) != _WRITERS + 1:
        problems.append(f"the list holds {len(items)} items where {_WRITERS + 1} belong")
    return tally(kept, _WRITERS, "kept", problems)


def _counter(bench: Bench) -> Finding:
    session_id = bench.create({"hits": 0})
    seen: list[int] = []

    def count(number: int, meet: threading.Barrier) -> None:
        for _ in range(_ROUNDS - 1):
            with bench.manager(number).session(session_id) as session:
                session.update("hits", _plus_one)
                meet.wait()
        seen.append(bench.manager(number).update(session_id, "hits", _plus_one))

    problems = together(_WRITERS, count)
    if len(set(seen)) != len(seen):
        problems.append("two writers were given the same number")
    return tally(bench.read(session_id).get("hits", 0), _WRITERS * _ROUNDS, "counted", problems)


def _plus_one(hits: int | None) -> int:
    return (hits or 0) + 1


def _tasks(bench: Bench) -> Finding:
    return asyncio.run(_in_tasks(bench))


async def _in_tasks(bench: Bench) -> Finding:
    first = bench.opening("async")
    second = bench.opening("async") if bench.promises_survival else first
    managers = [AsyncSessionManager(store, config=CONFIG) for store in (first, second)]
    try:
        session_id = await managers[0].create_session(bench.user_id, {"items": []}, label="sojourn check")
        if bench.promises_survival:
            bench.note(session_id)
        meet = asyncio.Barrier(_WRITERS)

        async def write(number: int) -> None:
            async with managers[number % 2].session(session_id) as session:
                session[f"task {number}"] = number
                session["items"].append(number)
                await meet.wait()

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(write(number) for number in range(_WRITERS)))
        return _count_tasks(await managers[1].get_session(session_id) or {})
    finally:
        for manager in managers:
            await manager.close()


def _count_tasks(stored: dict[str, Any]) -> Finding:
    items = stored.get("items", [])
    kept = sum(stored.get(f"task {number}") == number and items.count(number) == 1 for number in range(_WRITERS))
    return tally(kept, _WRITERS, "kept")


PROMISES: Final = (
    Promise(
        "disjoint-writes",
        "No acknowledged write is lost",
        f"{_WRITERS} threads x {_ROUNDS} rounds, each its own key",
        _disjoint,
    ),
    Promise(
        "nested-appends",
        "Nested changes merge, with no flag",
        f'{_WRITERS} threads: session["cart"]["items"].append(x)',
        _appends,
    ),
    Promise(
        "exact-counter",
        "Counters are exact",
        f"{_WRITERS} threads count {_ROUNDS} times each, with update",
        _counter,
    ),
    Promise(
        "async-tasks",
        "The same for asyncio",
        f"{_WRITERS} tasks: a key and an append each",
        _tasks,
    ),
)
