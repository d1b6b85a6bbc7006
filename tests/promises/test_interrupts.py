"""Promise 2, where a signal handler raises: whatever an operation is at when it is interrupted, the next ones are
served, in the same process and with the same manager.

The interpreter runs signal handlers at the beginning of functions and after calls. Here one "raises" at each of these
places in turn, in every function of the library that an operation passes through.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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


def interrupted(place: int, operation: Callable[[], Any]) -> str | None:
    """Interrupt an operation at the given place; where that was. None: it has not so many."""
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
    except Interrupt:
        pass
    finally:
        sys.setprofile(None)
    return where


def _in_finalizer(frame: FrameType | None) -> bool:
    """Whether what is raised here would go nowhere."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # it was to be called next
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("store", ["memory", "sqlite", *SHARED])
def test_an_interrupt_anywhere(request: pytest.FixtureRequest, tmp_path: Path, store: str, name: str) -> None:
    """An operation that is interrupted, at whichever place, was made or was not, and holds up nobody: neither the same
    session nor another one."""
    local = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/sessions.db?durability=process"}
    with SessionManager(local.get(store) or shared_url(request, store), config=PATIENT) as sessions:
        session_id = sessions.create_session(data={"visits": 0})
        visits, place, where = 0, 0, ""
        while where is not None:
            place += 1
            subject = session_id if name in ("update", "load") else sessions.create_session()
            where = interrupted(place, lambda subject=subject: OPERATIONS[name](sessions, subject))
            began = time.monotonic()
            found = sessions.update(session_id, "visits", add_one)
            assert found - visits in ((1, 2) if name == "update" else (1,)), where
            visits = found
            sessions.create_session()
            assert time.monotonic() - began < PATIENT.deadline / 2, f"they had to wait: {where}"
        assert place > 20
