"""Promise 2, where a signal handler raises: whatever an operation is at when it is interrupted, the next ones are
served, in the same process and with the same manager.

The interpreter runs signal handlers at the beginning of functions and after calls. Here one "raises" at each of these
places in turn, in every function of the library that an operation passes through.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from places import SHARED
from writing import add_one

import sojourn
from servers.shared import shared_url
from sojourn import SessionManager
from worlds import PATIENT

HERE = str(Path(sojourn.__file__).parent)
OPERATIONS: dict[str, Callable[[SessionManager, str], Any]] = {
    "update": lambda sessions, session_id: sessions.update(session_id, "visits", add_one),
    "load": lambda sessions, session_id: sessions.get_session(session_id),
    "create": lambda sessions, session_id: sessions.create_session(session_id, {"visits": 0}),  # each for another user
    "rotate": lambda sessions, session_id: sessions.rotate(session_id),
    "end": lambda sessions, session_id: sessions.end_session(session_id),
}


class Interrupt(BaseException):
    """What a signal handler raises: a worker's time is up, say."""


def interrupted(place: int, operation: Callable[[], Any], kept: list[BaseException] | None = None) -> str | None:
    """Interrupt an operation at the given place; where that was. None: it has not so many. What was raised may be
    ``kept``."""
    passed, where = 0, None

    def interrupt(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal passed, where
        is_ours = event in ("call", "c_return") and frame.f_code.co_filename.startswith(HERE)
        if where is None and is_ours and not _in_finalizer(frame):
            passed += 1
            if passed == place:
                where = f"{frame.f_code.co_qualname}, {event} of {getattr(arg, '__qualname__', 'it')}"
                raise Interrupt

    sys.setprofile(interrupt)
    try:
        operation()
    except Interrupt as error:
        if kept is not None:
            kept.append(error)
    finally:
        sys.setprofile(None)
    return where


def _in_finalizer(frame: FrameType | None) -> bool:
    """Whether what is raised here would go nowhere."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


@contextmanager
def opened(request: pytest.FixtureRequest, folder: Path, store: str) -> Iterator[tuple[SessionManager, SessionManager]]:
    """Two managers of one store; but for the one in memory they might as well be in two processes."""
    if store == "memory":
        with SessionManager(config=PATIENT) as sessions, SessionManager(sessions.store, config=PATIENT) as others:
            yield sessions, others
    else:
        url = f"sqlite:///{folder}/sessions.db?durability=process" if store == "sqlite" else shared_url(request, store)
        if store == "postgres":
            url += f"{'&' if '?' in url else '?'}pool=2"  # if they are lost, it is soon noticed
        with SessionManager(url, config=PATIENT) as sessions, SessionManager(url, config=PATIENT) as others:
            yield sessions, others


each_store = pytest.mark.parametrize("store", ["memory", "sqlite", *SHARED])
never_awaited = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # it was to be called next


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """What frames held that were interrupted goes here, and not in the midst of another test."""
    yield
    gc.collect()


@never_awaited
@each_store
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_interrupt_anywhere(request: pytest.FixtureRequest, tmp_path: Path, store: str, name: str) -> None:
    """An operation that is interrupted, at whichever place, was made or was not, and holds up nobody: neither another
    process, nor its own, at the same session or another one."""
    with opened(request, tmp_path, store) as (sessions, others):
        session_id = sessions.create_session(data={"visits": 0})
        visits, place, where = 0, 0, ""
        while where is not None:
            place += 1
            subject = session_id if name in ("update", "load") else sessions.create_session()
            where = interrupted(place, lambda subject=subject: OPERATIONS[name](sessions, subject))
            began = time.monotonic()
            found = others.update(session_id, "visits", add_one)
            assert found - visits in ((1, 2) if name == "update" else (1,)), where
            visits = sessions.update(session_id, "visits", add_one)
            assert visits == found + 1
            sessions.create_session()
            assert time.monotonic() - began < PATIENT.deadline / 2, f"they had to wait: {where}"
        assert place > 20


@never_awaited
@each_store
def test_who_waits_for_one_that_is_interrupted(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> None:
    """Three threads write to the session whose writer is interrupted, at whichever place: each is served, soon, and
    exactly once; also where the program keeps the exceptions, and with them all that their frames hold."""
    kept: list[BaseException] = []
    with opened(request, tmp_path, store) as (sessions, others), ThreadPoolExecutor(3) as pool:
        session_id = sessions.create_session(data={"visits": 0, "mine": 0})
        place, where = 0, ""
        while where is not None:
            place += 1
            began = time.monotonic()
            writing = [pool.submit(sessions.update, session_id, "visits", add_one) for _ in range(3)]
            where = interrupted(place, lambda: sessions.update(session_id, "mine", add_one), kept)
            for one in writing:
                one.result(60)
            assert time.monotonic() - began < PATIENT.deadline / 2, f"they had to wait: {where}"
        assert others.get_session(session_id)["visits"] == 3 * place
        assert len(kept) > 20
        kept.clear()
