"""What every contender offers, and nothing else: seven operations on sessions of one payload.

    create(data) -> id      a new session; minting the id is part of it
    read(id)                load, read one key
    change(id, value)       load, assign one key, commit
    nested(id, text)        load, change a value in place, commit
    touch(id)               load, move the deadline
    end(id)                 the session is over
    miss(id)                load what is not there

`load(id)` gives the session as a plain dict, for the checks that run before anything is measured. An async
contender has the same as coroutines. A contender is made for one payload and one operation, so that a world
is as it should be for what is measured in it (a clock that can be moved, say), and closed afterwards.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .payloads import Payload

OPERATIONS = ("read", "change", "nested", "create", "touch", "end", "miss")
TITLES = {
    "read": "load + read one key",
    "change": "load + change one + commit",
    "nested": "load + change inside a value + commit",
    "create": "create",
    "touch": "touch",
    "end": "end",
    "miss": "miss",
}

IDLE_TIMEOUT = 1800
"""Seconds, the same for everybody: Sojourn's default."""


class Contender:
    """One way to keep sessions. Subclasses write the operations; this keeps what they share."""

    name: ClassVar[str]
    asynchronous: ClassVar[bool] = False
    ours: ClassVar[bool] = False
    floor: ClassVar[bool] = False
    lacks: ClassVar[tuple[str, ...]] = ()
    """Operations that it does not have."""

    def __init__(self, payload: Payload, operation: str = "read") -> None:
        self.read_key = payload.read
        self.leaf = payload.leaf
        self.change_key = payload.change
        self.operation = operation

    def unknown(self) -> Any:
        """An id of the right form that nobody has."""
        raise NotImplementedError  # each contender has its own form of ids

    def close(self) -> Any:
        """Give back what is held."""


def jobs(contender: Contender, payload: Payload, ids: list[Any], count: int, start: int = 0) -> list[tuple[Any, ...]]:
    """The arguments of `count` calls of the operation, going round the ids. None of it is timed."""
    turns = [ids[n % len(ids)] for n in range(count)] if ids else []
    match contender.operation:
        case "create":
            pool = [payload.build(start + n) for n in range(min(count, 16))]
            return [(pool[n % len(pool)],) for n in range(count)]
        case "change":
            return [(sid, payload.value(start + n)) for n, sid in enumerate(turns)]
        case "nested":
            return [(sid, f"changed-{start + n:08d}") for n, sid in enumerate(turns)]
        case "miss":
            return [(contender.unknown(),)] * count
        case _:
            return [(sid,) for sid in turns]
