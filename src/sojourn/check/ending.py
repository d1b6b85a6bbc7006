"""Promises on ending: what is over stays over, whatever was under way when it ended.

Each trial lets one connection load a session, ends it through another, and only then lets the first one finish.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ..errors import SessionGone
from .bench import Bench, Finding, Promise, tally

__all__ = ["PROMISES"]

_TRIALS: Final = 10
_IDLE: Final = 1.0  # seconds of the session that is to expire
_SLACK: Final = 2.0  # a busy machine may look late


def _write_after(bench: Bench, session_id: str, number: int, meanwhile: Callable[[], object]) -> bool:
    """Write in a session with something happening between load and commit. Returns whether the write was refused as
    one to a session that is gone."""
    try:
        with bench.manager(number).session(session_id) as session:
            session["late"] = "a write that comes too late"
            meanwhile()
    except SessionGone:
        return True
    return False


def _logout_beats_writer(bench: Bench) -> Finding:
    def trial(number: int) -> tuple[bool, bool]:
        session_id, other = bench.create({"cart": ["apple"]}), bench.manager(number + 1)
        refused = _write_after(bench, session_id, number, lambda: other.end_session(session_id))
        return refused, bench.is_there(session_id)

    return _none_revived([trial(number) for number in range(_TRIALS)], "refused")


def _logout_beats_reader(bench: Bench) -> Finding:
    def trial(number: int) -> tuple[bool, bool]:
        session_id = bench.create({"cart": ["apple"]})
        with bench.manager(number).session(session_id) as session:
            read = session["cart"] == ["apple"]
            bench.manager(number + 1).end_session(session_id)
        return read, bench.is_there(session_id)

    return _none_revived([trial(number) for number in range(_TRIALS)], "read")


def _none_revived(trials: list[tuple[bool, bool]], what: str) -> Finding:
    revived = sum(there for _, there in trials)
    problems = [f"{revived} of {_TRIALS} ended sessions came back"] if revived else []
    found = tally(sum(done for done, _ in trials), _TRIALS, what, problems)
    return Finding(found.kept, f"{found.figures}, {revived} revived", found.problem)


def _rotation(bench: Bench) -> Finding:
    def trial(number: int) -> bool:
        old = bench.create({"cart": ["apple"]})
        with bench.manager(number).session(old) as session:
            session["under way"] = number
            new = bench.manager(number + 1).rotate(old)
        manager = bench.manager(number + 2)
        same_session = new != old and new.split(".")[0] == old.split(".")[0]
        kept = manager.get_session(new) == {"cart": ["apple"], "under way": number}
        return same_session and kept and not manager.is_session_active(old)

    replaced = sum(trial(number) for number in range(_TRIALS))
    return _all_trials(replaced, "replaced", "an old id still opens its session, or the new one does not")


def _login(bench: Bench) -> Finding:
    def trial(number: int) -> bool:
        old, new, other = bench.create({"cart": ["apple"]}), [], bench.manager(number + 1)
        refused = _write_after(bench, old, number, lambda: new.append(other.login(old, bench.user_id)))
        manager = bench.manager(number + 2)
        return refused and manager.get_session(new[0]) == {"cart": ["apple"]} and not manager.is_session_active(old)

    cut_off = sum(trial(number) for number in range(_TRIALS))
    return _all_trials(
        cut_off, "cut off", "what was loaded before a sign-in was written after it, or the old id still works"
    )


def _all_trials(count: int, what: str, otherwise: str) -> Finding:
    return tally(count, _TRIALS, what, [otherwise] if count < _TRIALS else ())


def _expiry(bench: Bench) -> Finding:
    began = time.monotonic()
    session_id = bench.create({"cart": ["apple"]}, idle_timeout=_IDLE)
    lived: list[float] = []

    def wait_for_the_end() -> None:
        while bench.manager(1).is_session_active(session_id) and time.monotonic() - began < _IDLE + _SLACK:
            time.sleep(0.01)
        lived.append(time.monotonic() - began)

    refused = _write_after(bench, session_id, 0, wait_for_the_end)
    figures = f"dead after {lived[0]:.2f} s"
    if lived[0] < _IDLE:
        return Finding(False, figures, f"it died before its {_IDLE:g} s were over")
    if lived[0] >= _IDLE + _SLACK or bench.is_there(session_id):
        return Finding(False, f"alive after {lived[0]:.2f} s", "a session outlives its idle timeout")
    return Finding(refused, figures, "" if refused else "a write after the end was accepted")


PROMISES: Final = (
    Promise(
        "logout-beats-writer",
        "A late write does not undo a logout",
        f"{_TRIALS} sessions ended while a write was under way",
        _logout_beats_writer,
    ),
    Promise(
        "logout-beats-reader",
        "A late read does not undo a logout",
        f"{_TRIALS} sessions ended while a read was under way",
        _logout_beats_reader,
    ),
    Promise(
        "rotation",
        "Rotation kills the old id at once",
        f"{_TRIALS} ids replaced while a write was under way",
        _rotation,
    ),
    Promise(
        "login-cuts-off",
        "Sign-in cuts off what was under way",
        f"{_TRIALS} sign-ins while a write was under way",
        _login,
    ),
    Promise(
        "expiry",
        "A session dies on time and stays dead",
        f"idle for {_IDLE:g} s, with a write under way past it",
        _expiry,
    ),
)
