"""`SessionStore` against a model: whatever is done, in whatever order, a store in memory and one in a file are both as
the model says, with a clock that is set by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dictstores import Opener
from sojourn import SessionMetadata, SessionStatus, SessionStore, StorageError
from values import VALUES, shape

KEYS: list[Any] = ["a", "b", 1, True, ("u", 7), None]
SOME = st.sampled_from(KEYS)
MOST = 4
LOCK = 30.0


@dataclass(eq=False)
class Modelled:
    """An entry as it should be."""

    value: Any
    created: float
    used: float
    touched: float
    idle: float
    step: float
    ends: float = 0.0
    reads: int = 0
    locked_until: float = 0.0
    mine: bool = False
    """Whether it was locked by `lock`, in this thread."""
    fences: list[int] = field(default_factory=list)
    skewed_until: float = 0.0
    """Until when a file takes a lock for a use."""

    def is_locked(self, now: float) -> bool:
        return self.locked_until > now


class Differs(RuleBasedStateMachine):
    sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.openers = [Opener("memory", self.folder), Opener("file", self.folder)]
        self.clock = self.openers[0].clock
        self.openers[1].clock = self.clock
        self.stores = [self.open(opener) for opener in self.openers]
        self.entries: dict[str, Modelled] = {}
        """By the key's text, in the order of use."""
        self.fences: list[dict[str, int]] = [{}, {}]

    def open(self, opener: Opener) -> SessionStore:
        return opener(max_size=MOST, expiration_time=100, max_lock_time=LOCK, sliding=self.sliding)

    @property
    def now(self) -> float:
        return self.clock.now

    def both(self, do: Callable[[SessionStore], Any]) -> Any:
        """Do it in each; what it returns, or StorageError or KeyError if it raises that: the same from both."""
        results = []
        for store in self.stores:
            try:
                results.append(do(store))
            except (StorageError, KeyError) as error:
                results.append(type(error))
        one, other = results
        assert one is other if isinstance(one, type) or isinstance(other, type) else shape(one) == shape(other)
        return one

    def live(self, key: Any) -> Modelled | None:
        entry = self.entries.get(repr(key))
        return entry if entry is not None and entry.ends > self.now else None

    def alive(self) -> dict[str, Modelled]:
        return {key: entry for key, entry in self.entries.items() if entry.ends > self.now}

    def use(self, key: Any, *, read: bool) -> None:
        entry = self.entries[repr(key)] = self.entries.pop(repr(key))
        entry.used = self.now
        if read:
            entry.reads += 1
            if self.sliding and self.now - entry.touched >= entry.step:
                entry.touched = self.now
                entry.ends = self.now + entry.idle + entry.step

    # --- What can be done --------------------------------------------------------------------------------------------

    @rule(key=SOME, value=VALUES, expiration=st.none() | st.sampled_from([5.0, 40.0, 1000.0]))
    def set(self, key: Any, value: Any, expiration: float | None) -> None:
        self.pass_time(1)
        result = self.both(lambda store: store.set(key, value, expiration))
        assert result is self.expected_of_set(key, value, expiration)

    def expected_of_set(self, key: Any, value: Any, expiration: float | None) -> type | None:
        entry = self.live(key)
        if entry is None:
            alive = self.alive()
            if len(alive) >= MOST:
                free = [other for other, found in alive.items() if not found.is_locked(self.now)]
                if not free:
                    return StorageError
                del self.entries[free[0]]
            self.entries.pop(repr(key), None)
            entry = self.entries[repr(key)] = Modelled(value, self.now, self.now, self.now, 0.0, 0.0)
        elif entry.is_locked(self.now):
            return StorageError
        entry.idle = expiration or 100.0
        entry.step = min(entry.idle / 10, 60.0) if self.sliding else 0.0
        entry.value = value
        entry.touched = max(entry.touched, self.now)
        entry.ends = (entry.touched if self.sliding else self.now) + entry.idle + entry.step
        self.use(key, read=False)
        return None

    @rule(key=SOME, way=st.sampled_from(["get", "[]", "setdefault"]))
    def read(self, key: Any, way: str) -> None:
        self.pass_time(1)
        entry = self.live(key)
        if way == "get":
            result = self.both(lambda store: store.get(key, ["default"]))
            missing: Any = ["default"]
        elif way == "[]":
            result, missing = self.both(lambda store: store[key]), KeyError
        elif entry is None:
            return
        else:
            result = self.both(lambda store: store.setdefault(key, 1))
        if entry is None:
            assert result == missing
        elif entry.is_locked(self.now):
            assert result is StorageError
        else:
            assert shape(result) == shape(entry.value)
            self.use(key, read=True)

    @rule(key=SOME, way=st.sampled_from(["delete", "pop"]))
    def delete(self, key: Any, way: str) -> None:
        result = self.both(lambda store: store.delete(key) if way == "delete" else store.pop(key))
        entry = self.live(key)
        if entry is None:
            assert result is (False if way == "delete" else KeyError)
        elif entry.is_locked(self.now):
            assert result is StorageError
        else:
            assert shape(result) == shape(True if way == "delete" else entry.value)
            del self.entries[repr(key)]

    @rule()
    def clear(self) -> None:
        self.pass_time(1)
        result = self.both(lambda store: store.clear())
        self.entries = {key: entry for key, entry in self.alive().items() if entry.is_locked(self.now)}
        assert result is (StorageError if self.entries else None)

    @rule(key=SOME, duration=st.none() | st.sampled_from([3.0, 1000.0]))
    def lock(self, key: Any, duration: float | None) -> None:
        result = self.both(lambda store: store.lock(key, duration))
        entry = self.live(key)
        assert result is (entry is not None and not entry.is_locked(self.now))
        if result:
            self.taken(entry, duration)
            entry.mine = True

    def taken(self, entry: Modelled, duration: float | None) -> None:
        entry.locked_until = self.now + min(duration or LOCK, LOCK)
        entry.skewed_until = max(entry.skewed_until, entry.locked_until)
        if self.sliding:
            entry.touched = max(entry.touched, entry.locked_until)
            entry.ends = entry.touched + entry.idle + entry.step
        else:
            entry.ends = max(entry.ends, entry.locked_until)

    @rule(key=SOME)
    def unlock(self, key: Any) -> None:
        result = self.both(lambda store: store.unlock(key))
        entry = self.live(key)
        assert result is (entry is not None and entry.is_locked(self.now) and entry.mine)
        if result:
            entry.locked_until, entry.mine = 0.0, False

    @rule(key=SOME, value=VALUES, late=st.sampled_from([0.0, 0.0, 40.0]))
    def hold(self, key: Any, value: Any, late: float) -> None:
        self.pass_time(1)
        entry = self.live(key)
        was_locked = entry is not None and entry.is_locked(self.now)
        began = self.now

        def block(store: SessionStore) -> Any:
            self.clock.now = began
            with store.locked(key) as held:
                known = self.fences[self.stores.index(store)]
                assert held.fence > known.get(repr(key), 0)
                known[repr(key)] = held.fence
                before = held.value
                self.clock.advance(late)
                held.value = value
                assert shape(held.value) == shape(value)
                return before

        result = self.both(block)
        if entry is None or was_locked:
            assert result is (KeyError if entry is None else StorageError)
            self.clock.now = began
            return
        self.clock.now = began
        self.taken(entry, None)
        self.clock.now = began + late
        if late:
            assert result is StorageError
        else:
            assert shape(result) == shape(entry.value)
            entry.value, entry.locked_until, entry.mine = value, 0.0, False
            self.use(key, read=False)

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0, 10.0, 31.0, 99.0, 111.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def tend(self) -> None:
        for opener, store in zip(self.openers, self.stores, strict=True):
            opener.tend(store)
            for key in KEYS:
                if self.live(key) is None:
                    assert store.get_status(key) is None

    @rule()
    def reopen(self) -> None:
        """The file as another process finds it."""
        if all(entry.used >= entry.skewed_until for entry in self.alive().values()):
            self.stores[1].stop()
            self.stores[1] = self.open(self.openers[1])
            for entry in self.entries.values():
                entry.mine = False
                if entry.is_locked(self.now):
                    raise AssertionError("a lock outlasts the use that it is")
            for key in KEYS:  # who had a lock in memory has none either
                self.stores[0].unlock(key)

    # --- What always holds -------------------------------------------------------------------------------------------

    @invariant()
    def both_are_as_the_model(self) -> None:
        alive = self.alive()
        assert len(alive) <= MOST
        for store in self.stores:
            assert len(store) == len(alive)
            assert {repr(key) for key in store} == set(alive)
            free = {repr(key): shape(value) for key, value in store.items()}
            assert free == {key: shape(found.value) for key, found in alive.items() if not found.is_locked(self.now)}
            for key in KEYS:
                entry = self.live(key)
                assert (key in store) is (entry is not None)
                told = store.get_metadata(key)
                assert store.get_status(key) is (None if told is None else told.status)
                if entry is None:
                    assert told is None or told.status is SessionStatus.EXPIRED
                else:
                    self.metadata_is_right(entry, told)

    def metadata_is_right(self, entry: Modelled, told: SessionMetadata | None) -> None:
        assert told is not None
        is_locked = entry.is_locked(self.now)
        assert (told.created_at, told.access_count) == (entry.created, entry.reads)
        assert told.status is (SessionStatus.LOCKED if is_locked else SessionStatus.ACTIVE)
        assert told.lock_expiry == (entry.locked_until if is_locked else None)
        if entry.used >= entry.skewed_until:
            assert told.last_accessed == entry.used

    def teardown(self) -> None:
        for opener in self.openers:
            opener.stop()
        rmtree(self.folder)


class Slides(Differs):
    sliding = True


QUICK = settings(max_examples=30, stateful_step_count=30, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=60, stateful_step_count=50, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("machine", [Differs, Slides], ids=["fixed", "sliding"])
def test_a_store_is_as_its_model(machine: type[Differs]) -> None:
    """Sets, reads, deletions, locks and time in any order: in memory and in a file it is as the model says."""
    _run(machine, QUICK)


@pytest.mark.battery
@pytest.mark.parametrize("machine", [Differs, Slides], ids=["fixed", "sliding"])
def test_a_store_is_as_its_model_for_longer(machine: type[Differs]) -> None:
    """The same, more often."""
    _run(machine, LONG)


def _run(machine: type[Differs], how: settings) -> None:
    case = machine.TestCase
    case.settings = how
    case().runTest()
