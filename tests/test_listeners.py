"""Listeners, where several threads come at the same moment. (What they promise is in `promises/test_listening.py`.)"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from sojourn import SessionManager, StoreUnavailable
from sojourn.record import Change
from sojourn.stores.memory import MemoryStore
from worlds import BLOCKING, PATIENT, Through


def test_of_many_who_come_first_one_starts_the_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads use a manager at once when it is new, one thread calls its listeners: of each fact they are
    told once, and when the manager is closed none of them is called any more."""
    store = Through(MemoryStore())
    together = threading.Barrier(8)
    store.before["position"] = lambda: together.wait(20) if store.calls.count("position") <= 8 else None
    manager = SessionManager(store, config=PATIENT)
    begin: Any = manager.engine.waiting.start

    def begin_slowly(*given: Any) -> Any:
        begun = begin(*given)
        time.sleep(0.1)  # for the others to come to the same place
        return begun

    monkeypatch.setattr(manager.engine._listening, "_waiting", _With(manager.engine.waiting, start=begin_slowly))
    told: list[str] = []
    manager.on_created(lambda change: told.append(change.handle), deliver="each", name="of many")
    before = _threads()

    async def create() -> str:
        return manager.create_session()

    made = BLOCKING.run(BLOCKING.together([create] * 8))
    assert len(_threads() - before) == 1
    BLOCKING.run(BLOCKING.until(lambda: len(told) >= 8))
    manager.close()
    assert sorted(told) == sorted(session_id.partition(".")[0] for session_id in made)
    assert _threads() <= before


def test_who_stops_and_starts_again_is_not_held_up() -> None:
    """Listeners that are started anew while those of before have yet to end, as a call takes long, are those of one
    thread in the end; and whoever has stopped them goes on."""
    manager, inside, go_on = SessionManager(config=PATIENT), threading.Event(), threading.Event()
    manager.on_created(lambda _: inside.set() or go_on.wait(20), deliver="each", name="slow")
    before = _threads()
    manager.create_session()
    assert inside.wait(20)
    stopping = threading.Thread(target=manager.stop_listeners)
    stopping.start()
    BLOCKING.run(BLOCKING.until(lambda: not manager.engine._listening.awake))
    manager.start_listeners()
    go_on.set()
    stopping.join(20)
    assert not stopping.is_alive()
    assert len(_threads() - before) == 1
    manager.close()
    assert _threads() <= before


def test_who_is_stopped_in_the_midst_of_many_passes_none_by() -> None:
    """Facts that a listener was yet to be told of when it was stopped are told to whoever goes on."""
    store, inside, go_on, told = MemoryStore(), threading.Event(), threading.Event(), list[str]()

    def listen(change: Change) -> None:
        inside.set()
        assert go_on.wait(20)
        told.append(change.handle)

    with SessionManager(store, config=PATIENT) as manager, SessionManager(store, config=PATIENT) as other:
        for each in (manager, other):
            each.on_created(listen, name="all of them")
        ids = [manager.create_session()]
        assert inside.wait(20)
        ids += [manager.create_session() for _ in range(150)]
        stopping = threading.Thread(target=manager.stop_listeners)
        stopping.start()
        BLOCKING.run(BLOCKING.until(lambda: not manager.engine._listening.awake))
        go_on.set()
        stopping.join(20)
        assert len(told) < len(ids)
        other.start_listeners()
        BLOCKING.run(BLOCKING.until(lambda: len(told) >= len(ids)))
        assert sorted(told) == sorted(session_id.partition(".")[0] for session_id in ids)


def test_an_operation_after_the_end_starts_no_listeners() -> None:
    """Where the manager is closed just as an operation in another thread was about to start its listeners, none are."""
    through = Through(MemoryStore())
    manager = SessionManager(through, config=PATIENT)
    manager.on_created(lambda _: None, deliver="each", name="late")
    before = _threads()
    through.before["position"] = manager.close
    with suppress(StoreUnavailable):  # it is closed
        manager.create_session()
    assert not manager.engine._listening.awake
    assert _threads() <= before


class _With:
    """Something with other attributes than its own."""

    def __init__(self, inner: Any, **other: Any) -> None:
        self.__dict__.update(other)
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "sojourn-listeners"}
