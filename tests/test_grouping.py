"""Group commit, where a thread is held up at the worst moment: who is told that nothing was written has written
nothing, and a close takes no acknowledgement away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from servers.process import until as eventually
from sojourn import StoreUnavailable, open_store
from sojourn.blocking import run
from sojourn.stores.grouping import InlineWriter, Work


def test_who_gives_up_is_in_nobody_elses_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer who is told that nothing was written, as its time was up in the queue, is not taken along by whoever
    leads next: not even if it is held up right after it looked."""
    made: list[str] = []
    raised: list[Exception] = []
    leads, go_on = threading.Event(), threading.Event()

    def execute(batch: list[Work]) -> None:
        for work in batch:
            work.result = work.act(None)  # type: ignore[arg-type]

    writer = InlineWriter(execute)

    def note(name: str) -> Callable[[Any], None]:
        return lambda _: made.append(name)

    def hold(_: Any) -> None:
        leads.set()
        assert go_on.wait(20)

    def write(act: Callable[[Any], Any], patience: float) -> None:
        try:
            run(writer.write(Work(act, True, time.monotonic() + patience)))
        except StoreUnavailable as error:
            raised.append(error)

    def hold_up() -> None:
        if threading.current_thread() is late and time.monotonic() > until and not go_on.is_set():
            go_on.set()
            for thread in (first, second):
                thread.join(20)

    monkeypatch.setattr(writer, "_lock", _Lock(hold_up))
    first, second, late = (
        threading.Thread(target=write, args=given) for given in ((hold, 30), (note("second"), 30), (note("late"), 0.3))
    )
    first.start()
    assert leads.wait(20)
    second.start()
    eventually(lambda: writer._queue, "the second to wait")
    until = time.monotonic() + 0.3
    late.start()
    for thread in (late, first, second):
        thread.join(20)
        assert not thread.is_alive()
    assert [str(error) for error in raised] == ["the database was busy past the deadline: nothing was written"]
    assert made == ["second"]


def test_a_close_waits_for_who_writes(tmp_path: Path) -> None:
    """A store that is closed while another thread writes takes that write's acknowledgement from nobody; what comes
    later is refused, and no file is left open."""
    store = open_store(f"sqlite:///{tmp_path}/sessions.db?durability=process&deadline=10")
    writes, got = threading.Event(), []

    def act(connection: Any) -> str:
        writes.set()
        time.sleep(0.3)
        connection.execute("CREATE TABLE made (n)")
        return "made"

    def write() -> None:
        try:
            got.append(run(store._file.write(act)))  # type: ignore[attr-defined]
        except BaseException as error:  # whatever it is, the test is to tell
            got.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    assert writes.wait(20)
    run(store.close())
    thread.join(20)
    assert got == ["made"]
    write()
    assert isinstance(got[1], StoreUnavailable)
    store._file._execute([late := Work(act, False, time.monotonic() + 10)])  # type: ignore[attr-defined]
    assert isinstance(late.error, StoreUnavailable)  # one that had asked just before
    assert store._file._turnstile.turn == -1  # type: ignore[attr-defined]


def test_two_may_close_one_store(tmp_path: Path) -> None:
    """However many threads close a store at once, each of its files is closed once."""
    for number in range(60):
        store = open_store(f"sqlite:///{tmp_path}/{number}.db?durability=process")
        run(store._file.write(lambda connection: None))  # type: ignore[attr-defined]
        with ThreadPoolExecutor(4) as pool:
            for closing in [pool.submit(lambda store=store: run(store.close())) for _ in range(4)]:
                closing.result(20)


class _Lock:
    """A lock that does something right after it was let go of."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._inner = threading.Lock()
        self._then = then

    def __enter__(self) -> None:
        self._inner.acquire()

    def __exit__(self, *_: object) -> None:
        self._inner.release()
        self._then()
