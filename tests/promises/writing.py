"""What writers do to a session in these tests, and what must come of it: code as users write it, with no flags.

Each writer does each kind of change once a turn; afterwards the session holds exactly what all of them did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Fields = dict[str, Any]


def add_one(value: int | None) -> int:
    return (value or 0) + 1


class Writing(NamedTuple):
    """One way to write: the fields that it starts from, what a writer does in a turn, and what is there at the end."""

    name: str
    before: Callable[[int, int], Fields]
    write: Callable[[Any, int, int], None]
    after: Callable[[int, int], Fields]


def everybody(writers: int, turns: int) -> list[str]:
    """A name for each turn of each writer."""
    return [f"{writer}.{turn}" for writer in range(writers) for turn in range(turns)]


def _own_key(session: Any, writer: int, turn: int) -> None:
    session[f"{writer}.{turn}"] = [writer, turn]


def _append(session: Any, writer: int, turn: int) -> None:
    session["cart"]["items"].append(f"{writer}.{turn}")


def _nested_keys(session: Any, writer: int, turn: int) -> None:
    session["prefs"][f"{writer}.{turn}"] = turn
    del session["prefs"][f"old {writer}.{turn}"]


def _members(session: Any, writer: int, turn: int) -> None:
    session["tags"].add(f"{writer}.{turn}")
    session["tags"].discard(f"old {writer}.{turn}")


def _count(session: Any, writer: int, turn: int) -> None:
    session.update("visits", add_one)
    session.update("visits", add_one)


def _old(writers: int, turns: int) -> list[str]:
    return [f"old {name}" for name in everybody(writers, turns)]


def _turn(name: str) -> int:
    return int(name.partition(".")[2])


WRITINGS = (
    Writing(
        "own keys",
        lambda writers, turns: {},
        _own_key,
        lambda writers, turns: {name: [int(part) for part in name.split(".")] for name in everybody(writers, turns)},
    ),
    Writing(
        "appends",
        lambda writers, turns: {"cart": {"items": ["first"], "currency": "EUR"}},
        _append,
        lambda writers, turns: {"cart": {"items": ["first", *everybody(writers, turns)], "currency": "EUR"}},
    ),
    Writing(
        "nested keys",
        lambda writers, turns: {"prefs": {"theme": "dark"} | dict.fromkeys(_old(writers, turns), 0)},
        _nested_keys,
        lambda writers, turns: {"prefs": {"theme": "dark"} | {name: _turn(name) for name in everybody(writers, turns)}},
    ),
    Writing(
        "set members",
        lambda writers, turns: {"tags": {"new", *_old(writers, turns)}},
        _members,
        lambda writers, turns: {"tags": {"new", *everybody(writers, turns)}},
    ),
    Writing(
        "counter",
        lambda writers, turns: {"visits": 5},
        _count,
        lambda writers, turns: {"visits": 5 + 2 * writers * turns},
    ),
)


def in_order(fields: Fields | None) -> Fields:
    """The fields, with the items of the cart sorted: whose append came first is nobody's promise."""
    assert fields is not None
    if "cart" in fields:
        fields["cart"]["items"][1:] = sorted(fields["cart"]["items"][1:], key=lambda name: [*map(int, name.split("."))])
    return fields
