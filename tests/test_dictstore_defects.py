"""The 19 defects of true_storage's session store, one test each, by their numbers: `SessionStore` has none of them, in
memory or in a file. (9 and 10, and the rest of 11, are about files: `test_dictstore_files`.)"""

from __future__ import annotations

import copy
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dictstores import Opener, opener
from sojourn import (
    ConfigurationError,
    SessionMetadata,
    SessionStatus,
    SessionStore,
    SessionStoreConfig,
    StorageError,
    UnsupportedValue,
)
from values import Point, shape


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens stores of each kind in turn."""
    yield from opener(request.param, tmp_path)


def elsewhere(do: Any) -> Any:
    """Do it in another thread, which is over by then; the result."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(do).result(timeout=10)


def test_defect_01_setting_past_max_size_evicts_and_overwriting_evicts_nothing(make: Opener) -> None:
    """A set past the bound evicts the entry that was used least recently; overwriting at the bound evicts nothing."""
    store = make(max_size=2)
    store.set("a", 1)
    store.set("b", 2)
    store.set("b", 3)
    assert dict(store.items()) == {"a": 1, "b": 3}
    store.get("a")
    store.set("c", 4)
    assert dict(store.items()) == {"a": 1, "c": 4}


def test_defect_02_getting_an_expired_key_returns_the_default(make: Opener) -> None:
    """An expired entry is as good as none: `get` returns the default, at once."""
    store = make(expiration_time=10)
    store.set("a", 1)
    make.clock.advance(10)
    assert store.get("a", "none") == "none"


def test_defect_03_cleaning_up_an_expired_key_holds_up_nobody(make: Opener) -> None:
    """The background thread removes what has expired, and the store goes on and stops."""
    store = make(expiration_time=10, cleanup_interval=0.02)
    store.set("a", 1)
    make.clock.advance(10)
    until = time.monotonic() + 20
    while store.get_status("a") is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert store.get_status("a") is None
    store.set("b", 2)
    assert store["b"] == 2
    elsewhere(store.stop)


def test_defect_04_an_expiration_of_a_keys_own_counts(make: Opener) -> None:
    """``expiration`` sets the end of one key, shorter or longer than the others'; a timedelta is taken, too."""
    store = make(expiration_time=100)
    store.set("short", 1, expiration=10)
    store.set("usual", 2)
    store.set("long", 3, timedelta(seconds=1000))
    make.clock.advance(10)
    assert sorted(store) == ["long", "usual"]
    make.clock.advance(90)
    assert list(store) == ["long"]
    for wrong in (0, -1, float("nan"), True):
        with pytest.raises(ConfigurationError, match="expiration must be a positive number"):
            store.set("long", 4, expiration=wrong)
    assert store["long"] == 3


def test_defect_05_none_is_a_value(make: Opener) -> None:
    """An entry that holds None is there for `in`, ``[]``, `len`, `items` and `get`."""
    store = make()
    store.set("a", None)
    assert "a" in store
    assert store["a"] is None
    assert len(store) == 1
    assert store.get("a", "default") is None
    assert list(store.items()) == [("a", None)]
    assert store.setdefault("a", 1) is None
    assert store.pop("a", "default") is None


def test_defect_06_looking_whether_a_key_is_there_neither_raises_nor_counts(make: Opener) -> None:
    """`in`, `len` and `keys` go on with a locked entry, and none of them counts as a read; ``[]`` on it raises."""
    store = make()
    store.set("a", 1)
    store.lock("a")
    assert "a" in store
    assert len(store) == 1
    assert list(store.keys()) == ["a"]
    with pytest.raises(StorageError, match="locked"):
        store["a"]
    assert store.get_metadata("a").access_count == 0


def test_defect_07a_a_lock_has_one_taker(make: Opener) -> None:
    """A second `lock` of the same entry returns False, in the same thread and in another."""
    store = make()
    store.set("a", 1)
    assert store.lock("a") is True
    assert store.lock("a") is False
    assert elsewhere(lambda: store.lock("a")) is False


def test_defect_07b_a_lock_keeps_set_and_delete_out(make: Opener) -> None:
    """While it is locked an entry is neither set nor deleted, and it stays locked."""
    store = make()
    store.set("a", 1)
    store.lock("a")
    for do in (
        lambda: store.get("a"),
        lambda: store.set("a", 2),
        lambda: store.setdefault("a", 2),
        lambda: store.delete("a"),
        lambda: store.pop("a"),
    ):
        with pytest.raises(StorageError, match="locked"):
            do()
    assert store.get_status("a") is SessionStatus.LOCKED
    assert store.unlock("a") is True
    assert store["a"] == 1


def test_defect_07c_only_who_locked_unlocks(make: Opener) -> None:
    """Another thread's `unlock` returns False and changes nothing; so does a second one, and one of what has no
    lock."""
    store = make()
    store.set("a", 1)
    assert store.unlock("a") is False
    store.lock("a")
    assert elsewhere(lambda: store.unlock("a")) is False
    assert store.get_status("a") is SessionStatus.LOCKED
    assert store.unlock("a") is True
    assert store.unlock("a") is False
    assert store.unlock("missing") is False


def test_defect_07d_a_duration_of_nothing_is_refused_and_a_long_one_capped(make: Opener) -> None:
    """``duration=0`` is no 30 seconds: it is refused, as is less. A lock holds as long as is said, and never for longer
    than ``max_lock_time``; then anybody may have it."""
    store = make(max_lock_time=20)
    store.set("a", 1)
    for wrong in (0, -1):
        with pytest.raises(ConfigurationError, match="duration must be a positive number"):
            store.lock("a", wrong)
    assert store.get_status("a") is SessionStatus.ACTIVE
    store.lock("a", 5)
    make.clock.advance(4.9)
    assert store.lock("a") is False
    make.clock.advance(0.1)
    assert store.get("a") == 1
    assert store.unlock("a") is False
    assert store.lock("a", 1000)
    assert store.get_metadata("a").lock_expiry == make.clock.now + 20
    make.clock.advance(20)
    assert store.lock("a") is True


def test_defect_07e_eviction_passes_by_what_is_locked(make: Opener) -> None:
    """The least recently used entry that is not locked goes. Where all are locked a new key is refused, and nothing is
    written."""
    store = make(max_size=2)
    store.set("a", 1)
    store.set("b", 2)
    store.lock("a")
    store.set("c", 3)
    assert sorted(store) == ["a", "c"]
    store.lock("c")
    with pytest.raises(StorageError, match="full and every entry is locked"):
        store.set("d", 4)
    assert sorted(store) == ["a", "c"]
    store.unlock("a")
    store.set("d", 4)
    assert sorted(store) == ["c", "d"]


def test_defect_07f_cleanup_passes_by_what_is_locked(make: Opener) -> None:
    """An entry does not end before its lock does, and then it ends."""
    store = make(expiration_time=10)
    store.set("a", 1)
    make.clock.advance(5)
    store.lock("a", 20)
    make.clock.advance(19)
    make.tend(store)
    assert store.get_status("a") is SessionStatus.LOCKED
    assert len(store) == 1
    make.clock.advance(1)
    assert store.get("a") is None
    make.tend(store)
    assert store.get_status("a") is None


def test_defect_08_keys_is_a_snapshot_without_the_expired(make: Opener) -> None:
    """One may set and delete while iterating; what has expired is in no iteration, as it is not in `len`."""
    store = make()
    store.set("dead", 0, expiration=1)
    for key in "abc":
        store.set(key, key)
    make.clock.advance(1)
    for key in store.keys():  # noqa: SIM118 - it is no dict
        store.delete(key)
        store.set(f"{key}{key}", 1)
    assert sorted(store) == ["aa", "bb", "cc"]
    assert len(store) == 3
    for key, _ in store.items():
        store.delete(key)
    assert list(store.values()) == []


def test_defect_11_a_value_that_cannot_be_kept_is_refused_when_it_is_set(make: Opener) -> None:
    """It raises `UnsupportedValue` with the path, and what was stored is as it was."""
    store = make()
    store.set("a", 1)
    with pytest.raises(UnsupportedValue, match=r"value\.x\[0\]: cannot store <object>"):
        store.set("a", {"x": [object()]})
    assert store["a"] == 1


def test_defect_12_a_store_is_hashable_and_equal_to_itself(make: Opener) -> None:
    """A store can be a key and a member of a set; it equals itself alone, and is not ordered, by size or otherwise."""
    one, other = make(), make(max_size=5)
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
    with pytest.raises(TypeError):
        one <= other  # noqa: B015
    with pytest.raises(TypeError):
        one < other  # noqa: B015


def test_defect_13_an_expired_entry_is_told_as_expired(make: Opener) -> None:
    """`get_status` says EXPIRED of an entry that has run out until it is cleaned up; then there is none."""
    store = make(expiration_time=10)
    store.set("a", 1)
    assert store.get_status("a") is SessionStatus.ACTIVE
    make.clock.advance(10)
    assert store.get_status("a") is SessionStatus.EXPIRED
    assert store.get_metadata("a").status is SessionStatus.EXPIRED
    make.tend(store)
    assert store.get_status("a") is None
    assert store.get_metadata("a") is None


def test_defect_14a_metadata_is_a_copy(make: Opener) -> None:
    """What `get_metadata` returns does not follow the entry, and cannot be used to change it."""
    store = make()
    store.set("a", 1)
    told = store.get_metadata("a")
    with pytest.raises(FrozenInstanceError):
        told.access_count = 7
    store.get("a")
    assert told.access_count == 0
    assert store.get_metadata("a").access_count == 1


@pytest.mark.parametrize(
    "value",
    [{"n": 1}, [1, 2], {"deep": [{"er": [1]}]}, {1, 2}, Point(1.0, [1])],
    ids=lambda value: type(value).__name__,
)
def test_defect_14b_values_are_nobody_elses_objects(make: Opener, value: Any) -> None:
    """What was set, and what a read returned, can be changed, and the store has what was set; that of `setdefault`,
    `pop`, `items` and a lock's holder, too."""
    store = make()

    def spoil(found: Any) -> None:
        if isinstance(found, dict):
            for inner in found.values():
                spoil(inner)
            found["spoilt"] = True
        elif isinstance(found, list):
            for inner in found:
                spoil(inner)
            found.append("spoilt")
        elif isinstance(found, set):
            found.add("spoilt")
        elif isinstance(found, Point):
            spoil(found.y)

    def mine() -> Any:
        return copy.deepcopy(value)

    for put in (store.set, store.setdefault):
        given_away = mine()
        put("a", given_away)
        spoil(given_away)
        for read in (
            lambda: store.get("a"),
            lambda: store["a"],
            lambda: store.setdefault("a", 0),
            lambda: next(iter(store.values())),
            lambda: next(iter(store.items()))[1],
        ):
            spoil(read())
            assert shape(read()) == shape(value)
        with store.locked("a") as entry:
            spoil(entry.value)
            entry.value = held = mine()
            spoil(held)
            assert shape(entry.value) == shape(value)
        assert shape(store.pop("a")) == shape(value)


def test_defect_14c_an_unhashable_key_is_a_type_error(make: Opener) -> None:
    """A key that is unhashable raises TypeError, one that does not encode `UnsupportedValue`; neither is a
    `StorageError`, and nothing is written."""
    store = make()
    for do in (lambda key: store.set(key, 1), store.get, store.delete, store.lock, store.get_status):
        with pytest.raises(TypeError, match="unhashable"):
            do(["a"])
        with pytest.raises(UnsupportedValue, match="key: cannot store <object>"):
            do(object())
    with pytest.raises(UnsupportedValue, match="surrogates"):
        store.set("\ud800", 1)
    assert "\ud800" not in store
    assert len(store) == 0


def test_defect_15_no_store_adds_a_log_handler(make: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """The library installs no handler and sets no level, however many stores there are."""
    logger = logging.getLogger("sojourn.dictstore")
    before = (list(logger.handlers), logger.level, list(logging.getLogger("sojourn").handlers), logging.root.level)
    for _ in range(3):
        make(log_level=logging.DEBUG).set("a", 1)
    assert before == (
        list(logger.handlers),
        logger.level,
        list(logging.getLogger("sojourn").handlers),
        logging.root.level,
    )


def test_defect_16_a_dropped_store_is_collected_and_its_thread_ends(make: Opener, tmp_path: Path) -> None:
    """A store that nobody holds is collected, while its thread runs; the thread ends by itself."""
    path = tmp_path / "dropped.db" if make.kind == "file" else None
    others = _threads()  # of stores that other tests have dropped: they may be about to end
    store = SessionStore(SessionStoreConfig(persistence_path=path, cleanup_interval=1000, backup_interval=1000))
    assert _threads() <= others, "a store that was never set has a thread"
    store.set("a", {"n": [1]})
    threads = _threads() - others
    assert len(threads) == 1
    gone = weakref.ref(store)
    shelf = weakref.ref(store._shelf)
    del store  # and no cycle of references keeps it until the next collection
    assert gone() is None
    assert shelf() is None
    for thread in threads:
        thread.join(timeout=5)
        assert not thread.is_alive()


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "sojourn-dictstore"}


def test_defect_17a_expiry_slides_where_it_is_said(make: Opener) -> None:
    """With ``sliding``, a read puts off the end: by the whole time, to a tenth of it, and never by less."""
    store = make(expiration_time=100, sliding=True)
    store.set("a", 1)
    for _ in range(5):
        make.clock.advance(99)
        assert store.get("a") == 1
    make.clock.advance(99.9)
    assert "a" in store
    make.clock.advance(10.1)
    assert store.get("a") is None


def test_defect_17b_without_sliding_a_read_puts_nothing_off(make: Opener) -> None:
    """The time runs from the last set, and a set begins it anew."""
    store = make(expiration_time=100)
    store.set("a", 1)
    make.clock.advance(60)
    assert store.get("a") == 1
    store.set("b", 1)
    store.set("a", 2)
    make.clock.advance(60)
    assert store.get("a") == 2
    make.clock.advance(40)
    assert store.get("a") is None


def test_defect_17c_setting_again_keeps_the_creation_time_and_the_count(make: Opener) -> None:
    """An overwritten entry was created when it was first set, and its reads go on being counted; one that had expired,
    or was deleted, begins anew."""
    store = make(expiration_time=100)
    store.set("a", 1)
    made = make.clock.now
    store.get("a")
    make.clock.advance(10)
    store.set("a", 2)
    store.get("a")
    assert store.get_metadata("a") == SessionMetadata(made, made + 10, 2, SessionStatus.ACTIVE, None)
    make.clock.advance(100)
    store.set("a", 3)
    assert store.get_metadata("a") == SessionMetadata(made + 110, made + 110, 0, SessionStatus.ACTIVE, None)
    store.delete("a")
    store.set("a", 4)
    assert store.get_metadata("a").access_count == 0


def test_defect_18_a_store_that_may_hold_nothing_is_refused_when_it_is_configured() -> None:
    """``max_size=0`` raises `ConfigurationError`, which says what to do; so does whatever else cannot work."""
    with pytest.raises(ConfigurationError, match="set max_size=None for no bound"):
        SessionStoreConfig(max_size=0)
    for wrong in (
        {"max_size": -1},
        {"max_size": 1.5},
        {"expiration_time": 0},
        {"cleanup_interval": -1},
        {"backup_interval": 0},
        {"max_lock_time": 0},
        {"max_lock_time": None},
        {"durability": "none"},
        {"log_level": "INFO"},
    ):
        with pytest.raises(ConfigurationError):
            SessionStoreConfig(**wrong)


def test_defect_19_a_stopped_store_is_not_usable(make: Opener) -> None:
    """After `stop` every use raises `StorageError` with the remedy, `repr` aside; stopping twice is allowed."""
    store = make()
    store.set("a", 1)
    held = store.locked("a")
    held.__enter__()
    store.stop()
    store.stop()
    uses = {
        "get": lambda: store.get("a"),
        "set": lambda: store.set("a", 2),
        "set new": lambda: store.set("b", 2),
        "[]": lambda: store["a"],
        "delete": lambda: store.delete("a"),
        "pop": lambda: store.pop("a"),
        "popitem": lambda: store.popitem(),
        "setdefault": lambda: store.setdefault("a", 2),
        "in": lambda: "a" in store,
        "len": lambda: len(store),
        "keys": lambda: list(store.keys()),
        "items": lambda: list(store.items()),
        "values": lambda: list(store.values()),
        "clear": lambda: store.clear(),
        "lock": lambda: store.lock("a"),
        "unlock": lambda: store.unlock("a"),
        "status": lambda: store.get_status("a"),
        "metadata": lambda: store.get_metadata("a"),
        "held": lambda: held.value,
    }
    for name, use in uses.items():
        with pytest.raises(StorageError, match="stopped: make a new SessionStore"):
            print(name, use())
    assert "unknown" in repr(store)
    held.__exit__(None, None, None)
