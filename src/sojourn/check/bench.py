"""Where the battery works: a few connections to one store, and the sessions that it made there.

Rules: nothing but these sessions is ever written or ended. They belong to a user that nobody else has, their
timeouts are short (if the battery itself is killed they die by themselves), and `clear` removes them. No bound on the
number of sessions is set, so that none of yours is ever evicted for one of ours.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from msgspec import Struct

from .. import ids
from ..blocking import SessionManager, run
from ..config import SessionConfig
from ..ids import Handle
from ..opening import open_store
from ..store import Store, World

__all__ = ["CONFIG", "CONNECTIONS", "Bench", "Finding", "Promise", "Result", "describe", "tally", "together"]

CONNECTIONS: Final = 4
"""Each has its own view of the store, as four worker processes would: one alone would merge its writers by itself."""

PATIENCE: Final = 15.0
"""Seconds for which writers wait for one another before the test is given up."""

CONFIG: Final = SessionConfig(
    idle_timeout=120.0,
    absolute_timeout=300.0,
    touch_interval=0.0,  # every read records its activity: that is what could revive a session
    deadline=10.0,  # a slow disk is no broken promise
)


class Finding(Struct, frozen=True):
    """What a test found."""

    kept: bool | None
    """None: the store does not promise it."""
    figures: str
    """In numbers: "100 of 100 kept"."""
    problem: str = ""
    """What went wrong, in a line; empty if nothing did."""


class Promise(Struct, frozen=True):
    """One promise, and how it is put to the test."""

    name: str
    says: str
    done: str
    """What the test does, in a line."""
    test: Callable[[Bench], Finding]


class Result(Struct, frozen=True, kw_only=True):
    """What became of one promise. These are the keys of ``sojourn check --json``."""

    name: str
    promise: str
    done: str
    kept: bool | None
    figures: str
    problem: str
    seconds: float


class Bench:
    """Connections to the store under test. ``opening`` opens one more of them for callers of a world; ``url`` is what a
    child process can open, None if nothing is."""

    def __init__(self, opening: Callable[[World], Store], url: str | None = None) -> None:
        self.url = url
        self.opening = opening
        self.user_id = f"sojourn-check-{secrets.token_hex(8)}"
        self.handles: list[str] = []
        """The sessions made here; appended to from several threads."""
        self.store = opening("blocking")
        self._managers = [SessionManager(store, config=CONFIG) for store in self._connections()]

    @classmethod
    def at(cls, url: str) -> Bench:
        """The bench for the store that a URL names. Raises what the store raises if it can't be reached: the battery
        itself is patient, and would find that out slowly."""
        store = open_store(url)
        try:
            run(store.stats())
        finally:
            run(store.close())
        return cls(lambda world: open_store(url, CONFIG, world=world), url)

    @property
    def promises_survival(self) -> bool:
        """Whether anything acknowledged outlives the process."""
        return self.store.durability != "memory"

    def manager(self, number: int = 0) -> SessionManager:
        """One of the connections."""
        return self._managers[number % len(self._managers)]

    def create(self, data: dict[str, Any] | None = None, **options: Any) -> str:
        """A session of the battery's own. Returns its id."""
        session_id = self.manager().create_session(self.user_id, data, label="sojourn check", **options)
        self.note(session_id)
        return session_id

    def note(self, session_id: str) -> None:
        """Remember a session, to remove it at the end."""
        parts = ids.split(session_id)
        if parts is not None:
            self.handles.append(parts[0])

    def read(self, session_id: str) -> dict[str, Any]:
        """The session's fields as they are stored now; none if there is no such session."""
        return self.manager().get_session(session_id) or {}

    def is_there(self, session_id: str) -> bool:
        """Whether any trace of the session is left: by its id, by its handle, or in the list."""
        manager, handle = self.manager(1), Handle(session_id.split(".")[0])
        if manager.is_session_active(session_id) or manager.is_session_active(handle):
            return True
        return any(row.handle == handle for row in manager.list_sessions(self.user_id))

    def clear(self) -> list[str]:
        """Remove the battery's own sessions. Returns the handles of those that are still there."""
        if self.handles:
            run(self.store.end(self.handles, "ended", time.time()))
        return [handle for handle in self.handles if run(self.store.load(handle)) is not None]

    def close(self) -> None:
        """Close every connection."""
        for manager in self._managers:
            manager.close()

    def _connections(self) -> list[Store]:
        if self.promises_survival:
            return [self.store, *(self.opening("blocking") for _ in range(CONNECTIONS - 1))]
        return [self.store] * CONNECTIONS  # what lives in memory cannot be opened twice


def together(count: int, work: Callable[[int, threading.Barrier], None]) -> list[str]:
    """Run ``work(number, meet)`` in that many threads at once. Returns what went wrong in them. Where one fails, the
    others no longer wait for it."""
    meet, problems = threading.Barrier(count, timeout=PATIENCE), []

    def one(number: int) -> None:
        try:
            work(number, meet)
        except threading.BrokenBarrierError:
            pass  # another writer failed: its problem is told
        except Exception as error:  # whatever it is, it is the answer
            problems.append(describe(error))
            meet.abort()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))
    return problems


def tally(kept: int, asked: int, what: str, problems: list[str] | tuple[()] = ()) -> Finding:
    """The finding of a count: kept if all of it was."""
    problem = problems[0] if problems else "" if kept == asked else f"{asked - kept} of {asked} missing"
    return Finding(kept == asked and not problems, f"{kept} of {asked} {what}", problem)


def describe(error: BaseException) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
