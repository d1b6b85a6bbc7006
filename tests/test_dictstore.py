"""`SessionStore`, in memory and in a file alike: a mapping, its locks, the order of use, what it logs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from dictstores import Opener, opener
from sojourn import (
    SessionMetadata,
    SessionStatus,
    SessionStore,
    SessionStoreConfig,
    SojournError,
    StorageError,
)
from values import HASHABLE, VALUES, shape


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens stores of each kind in turn."""
    yield from opener(request.param, tmp_path)


# --- A mapping -------------------------------------------------------------------------------------------------------


def test_it_is_a_mutable_mapping(make: Opener) -> None:
    """The rest of a dict's interface is there and behaves as a dict's; what is missing raises KeyError, and the message
    does not name the key."""
    store = make()
    assert isinstance(store, MutableMapping)
    assert issubclass(StorageError, SojournError)
    store["a"] = 1
    store.update({"b": 2}, c=3)
    store.update([("d", 4)])
    assert dict(store) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert store.pop("a") == 1
    assert store.pop("a", None) is None
    assert store.setdefault("e", 5) == 5
    assert store.setdefault("e", 6) == 5
    del store["b"]
    assert sorted(store.values()) == [3, 4, 5]
    assert {store.popitem() for _ in range(3)} == {("c", 3), ("d", 4), ("e", 5)}
    for do in (lambda: store["secret"], lambda: store.pop("secret"), lambda: store.popitem()):
        with pytest.raises(KeyError) as caught:
            do()
        assert "secret" not in str(caught.value)
    with pytest.raises(KeyError):
        del store["secret"]
    assert store.delete("secret") is False
    assert store.get_metadata("secret") is None
    assert store.lock("secret") is False
    store["a"] = 1
    store.clear()
    assert (len(store), list(store)) == (0, [])
    assert repr(store) == "SessionStore(size=0, max_size=1000)"


def test_arguments_may_be_given_as_the_originals(make: Opener) -> None:
    """The configuration takes the original's eight arguments in their order."""
    config = SessionStoreConfig(2, 10, 60, None, 300, 30, False, logging.DEBUG)
    with SessionStore(config=config) as store:
        store.set(key="a", value=1, expiration=None)
        assert store.get(key="a", default=None) == 1
        assert store.lock(key="a", duration=None)
        assert store.unlock(key="a")
    with SessionStore() as store:
        assert store.config.max_size == 1000


def test_keys_keep_their_types_and_differ_by_them(make: Opener) -> None:
    """1, True, 1.0 and "1" are four keys, where a dict has two; a tuple comes back as a tuple."""
    store = make()
    keys = [1, True, 1.0, "1", b"1", ("u", 7), None, date(2026, 1, 2), frozenset({1, "a"}), 2**70]
    for number, key in enumerate(keys):
        store[key] = number
    assert len(store) == len(keys)
    assert sorted(map(repr, store)) == sorted(map(repr, keys))
    assert [store[key] for key in keys] == list(range(len(keys)))
    for key in keys:
        del store[key]
    assert len(store) == 0


@settings(max_examples=60)
@given(key=HASHABLE, value=VALUES)
def test_any_key_and_any_value_come_back_with_their_types(key: Any, value: Any) -> None:
    """Whatever the codec keeps can be a value, and if it is hashable a key, of the same type when it comes back."""
    with SessionStore() as store:
        store.set(key, value)
        (found,) = store.keys()
        assert shape(found) == shape(key)
        assert shape(store.get(key)) == shape(value)
        assert shape(store.pop(key)) == shape(value)
        assert len(store) == 0


# --- Locks -----------------------------------------------------------------------------------------------------------


def test_who_locks_has_a_way_in(make: Opener) -> None:
    """In the block the holder reads and sets the value, and nobody else does; afterwards everybody."""
    store = make()
    store.set("a", {"n": 1})
    with store.locked("a") as entry:
        assert entry.value == {"n": 1}
        entry.value = {"n": 2}
        assert entry.value == {"n": 2}
        with pytest.raises(StorageError, match="is the way in"):
            store.get("a")
        with pytest.raises(StorageError):
            store.locked("a").__enter__()
        assert store.unlock("a") is False
        assert list(store.items()) == []
        assert list(store) == ["a"]
    assert store["a"] == {"n": 2}
    with pytest.raises(KeyError):
        store.locked("missing").__enter__()


def test_a_holder_whose_block_raises_gives_the_lock_back(make: Opener) -> None:
    """The lock ends with the block, however that ends; what was set in it is set."""
    store = make()
    store.set("a", 1)
    with suppress(ZeroDivisionError), store.locked("a") as entry:
        entry.value = 2
        raise ZeroDivisionError
    assert store["a"] == 2


def test_a_fence_only_grows(make: Opener) -> None:
    """Each lock of a key has a greater number than those before it, over a deletion, too."""
    store = make()
    fences = []
    for _ in range(3):
        store.set("a", 1)
        for _ in range(3):
            with store.locked("a") as entry:
                fences.append(entry.fence)
        store.delete("a")
        make.clock.advance(0.001)
    assert fences == sorted(set(fences))


def test_a_holder_who_is_late_changes_nothing(make: Opener) -> None:
    """When the lock has run out its holder neither reads nor sets, whether or not another has it by then, and giving it
    back takes it from nobody."""
    store = make()
    store.set("a", 1)
    block = store.locked("a", 5)
    entry = block.__enter__()
    make.clock.advance(5)
    for _ in range(2):
        with pytest.raises(StorageError, match="run out"):
            entry.value = 2
        with pytest.raises(StorageError, match="run out"):
            print(entry.value)
        store.lock("a")
    block.__exit__(None, None, None)
    assert store.get_status("a") is SessionStatus.LOCKED
    store.unlock("a")
    assert store["a"] == 1


def test_clearing_leaves_what_is_locked_and_says_so(make: Opener) -> None:
    """`clear` deletes everything else, what was locked before included, and raises."""
    store = make()
    for key in "abc":
        store.set(key, 1)
    store.lock("a")
    store.lock("b")
    store.unlock("b")
    with pytest.raises(StorageError, match="1 entries are locked"):
        store.clear()
    assert list(store) == ["a"]
    assert len(store) == 1
    store.unlock("a")
    assert store["a"] == 1
    store.clear()
    assert len(store) == 0


def test_popitem_passes_by_what_is_locked(make: Opener) -> None:
    """It takes another entry; where all are locked, KeyError."""
    store = make()
    store.set("a", 1)
    store.set("b", 2)
    store.lock("a")
    assert store.popitem() == ("b", 2)
    with pytest.raises(KeyError):
        store.popitem()


def test_counting_under_locks_loses_nothing(make: Opener) -> None:
    """Four threads that count under a lock, each trying again while it is taken, count to 80."""
    store = make()
    store.set("n", 0)

    def work() -> None:
        done = 0
        while done < 20:
            try:
                with store.locked("n") as entry:
                    entry.value += 1
            except StorageError:
                time.sleep(0.0005)
            else:
                done += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store["n"] == 80


def test_of_many_that_pop_or_set_a_default_one_does(make: Opener) -> None:
    """Of eight threads one gets what is popped, and one sets the default."""
    store = make()
    store.set("a", 1)
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda n: store.pop("a", 0), range(8))) == [0] * 7 + [1]
        assert len(set(pool.map(lambda n: store.setdefault("b", n), range(8)))) == 1


# --- Counting, and the order of use ----------------------------------------------------------------------------------


def test_reads_are_counted_exactly_by_many_threads(make: Opener) -> None:
    """`get` and ``[]`` count, four threads at a time, and nothing else does."""
    store = make()
    store.set("a", {"n": 1})

    def work(_: int) -> None:
        for _ in range(300):
            store.get("a")
            store["a"]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    store.get("b")
    assert "a" in store
    list(store.items())
    assert store.get_metadata("a").access_count == 2400


def test_the_order_of_use_is_exact(make: Opener) -> None:
    """Reads and sets in any order: at the bound those go first that were used longest ago."""
    store = make(max_size=6)
    for key in "abcdef":
        store.set(key, key)
    for key in "bdacb":
        make.clock.advance(1)
        store.get(key)
    store.set("e", "again")
    gone = []
    for number in range(6):
        before = set(store)
        store.set(number, number)
        gone += before - set(store)
    assert gone == list("fdacbe")


def test_what_its_holder_sets_was_used_just_now(make: Opener) -> None:
    """At the bound it is not the entry whose value was set under a lock that goes."""
    store = make(max_size=2)
    store.set("a", 1)
    store.set("b", 2)
    with store.locked("a") as entry:
        entry.value = 3
    store.set("c", 4)
    assert sorted(store) == ["a", "c"]


def test_the_dead_make_room_before_the_living(make: Opener) -> None:
    """At the bound an expired entry goes, and no live one."""
    store = make(max_size=3)
    store.set("live", 1)
    store.set("dies", 2, expiration=5)
    store.set("other", 3)
    make.clock.advance(5)
    store.set("new", 4)
    assert sorted(store) == ["live", "new", "other"]


def test_an_end_that_moves_is_found_when_it_comes(make: Opener) -> None:
    """Ends that are put off, brought forward and taken away are each found, no sooner and no later."""
    store = make()
    store.set("off", 1, expiration=10)
    store.set("forward", 1, expiration=1000)
    store.set("away", 1, expiration=10.5)
    store.set("off", 2, expiration=20.25)
    store.set("forward", 2, expiration=10.25)
    store.set("away", 2, expiration=1e12)
    seen = []
    for _ in range(90):
        make.clock.advance(0.25)
        seen.append(len(store))
    assert seen == [3] * 40 + [2] * 40 + [1] * 10


def test_many_threads_at_everything_break_nothing(make: Opener) -> None:
    """Six threads do whatever can be done for a second: nothing is raised but what is to be, no value is torn, and the
    bound holds."""
    store = make(max_size=10, max_lock_time=0.01, cleanup_interval=0.01, backup_interval=0.05)
    until = time.monotonic() + 1
    wrong: list[BaseException] = []

    def hold(key: int) -> None:
        with store.locked(key) as entry:
            entry.value = entry.value

    def work(seed: int) -> None:
        random = Random(seed)
        doings = [
            lambda key: store.set(key, [key] * 20),
            lambda key: store.get(key, [key] * 20),
            lambda key: store.pop(key, [key] * 20),
            lambda key: store.setdefault(key, [key] * 20),
            store.delete,
            store.lock,
            store.unlock,
            hold,
            store.get_metadata,
            lambda key: [found for found, value in store.items() if value != [found] * 20],
            lambda key: len(list(store)) and None,
        ]
        while time.monotonic() < until and not wrong:
            key = random.randrange(20)
            try:
                found = random.choice(doings)(key)
                make.clock.advance(0.001)
                assert not isinstance(found, list) or found in ([], [key] * 20)
            except (StorageError, KeyError):
                pass  # as it is to be
            except BaseException as error:  # whatever it is, the test is to tell
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    assert len(store) == len(list(store)) <= 10


# --- Logging ---------------------------------------------------------------------------------------------------------


def test_no_key_and_no_value_is_logged(make: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is done, and at any level, the log names neither keys nor values."""
    with caplog.at_level(logging.DEBUG):
        store = make(max_size=1, log_level=logging.DEBUG)
        store.set("a-secret-key", "a-secret-value")
        store.set("another-secret-key", "a-secret-value")
        store.lock("another-secret-key")
        with pytest.raises(StorageError) as caught:
            store.set("a-secret-key", 1)
        make.tend(store)
        store.stop()
    assert "secret" not in caplog.text + str(caught.value)


def test_a_memory_store_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path nothing is written anywhere."""
    monkeypatch.chdir(tmp_path)
    with SessionStore() as store:
        store.set("a", 1)
    assert list(tmp_path.iterdir()) == []


# --- The reference --------------------------------------------------------------------------------------------------

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "session-store.md"


def test_the_reference_has_every_setting_and_every_operation() -> None:
    """Each setting stands in its table with its default, and each operation and each field of the metadata is named."""
    text = REFERENCE.read_text("utf-8")
    config = SessionStoreConfig()
    for setting in fields(config):
        default = getattr(config, setting.name)
        told = f'"{default}"' if isinstance(default, str) else repr(default)
        assert f"| `{setting.name}` | `{told}` |" in text
    for name in (*(name for name in vars(SessionStore) if not name.startswith("_")), *SessionStatus.__members__):
        assert f"`{name}" in text, name
    for field in fields(SessionMetadata):
        assert f"| `{field.name}` |" in text
