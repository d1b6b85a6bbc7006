"""What the children do to themselves: they fork with the store open, and are interrupted in the midst of their work.

They check what they promise by themselves; the last line is "kept".
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from sqlite3 import Connection
from statistics import median

from talking import say
from writing import add_one

from sojourn import OutcomeUnknown, SessionConfig, SessionManager
from sojourn.blocking import run

PATIENT = SessionConfig(deadline=10)


def _sound(sessions: SessionManager) -> None:
    assert run(sessions.store.verify()) == []


# --- Forks -----------------------------------------------------------------------------------------------------------


def fork(url: str, first: str) -> None:
    """Fork with the store open: parent and child both write, and one of them goes on when the other has closed it."""
    sessions = SessionManager(url, config=PATIENT)
    session_id = sessions.create_session()
    sessions.update(session_id, "before", add_one)
    (here, there), (there_too, here_too) = os.pipe(), os.pipe()
    child = os.fork()
    mine, into, out_of = ("parent", here_too, here) if child else ("child", there, there_too)

    for _ in range(50):
        sessions.update(session_id, mine, add_one)
    if mine == first:
        sessions.close()
        os.write(into, b".")
    else:
        os.read(out_of, 1)
        for _ in range(50):
            sessions.update(session_id, mine, add_one)
        assert sessions.get_session(session_id)[mine] == 100
        sessions.close()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with SessionManager(url) as sessions:
        fields = sessions.get_session(session_id)
        assert fields == {"before": 1, first: 50, {"parent": "child", "child": "parent"}[first]: 100}, fields
        if url.startswith("sqlite"):
            _sound(sessions)
    say("kept")


def fork_under_load(url: str) -> None:
    """Fork again and again while threads write: each child can write at once, and nothing of the parent's is lost."""
    sessions = SessionManager(url, config=PATIENT)
    session_id = sessions.create_session()
    going = threading.Event()
    done: list[int] = []

    def work() -> None:
        mine = 0
        while not going.is_set():
            sessions.update(session_id, "parent", add_one)
            sessions.get_session(session_id)
            mine += 1
        done.append(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = 0
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        child = os.fork()
        if not child:
            signal.alarm(20)
            failed = 1
            with suppress(Exception):
                for _ in range(3):
                    sessions.update(session_id, "children", add_one)
                sessions.close()
                failed = 0
            os._exit(failed)
        assert os.waitpid(child, 0)[1] == 0, "a child could not write"
        children += 1
    going.set()
    for thread in threads:
        thread.join()
    expected = {"parent": sum(done)} | ({} if url.startswith("memory") else {"children": 3 * children})
    assert sessions.get_session(session_id) == expected
    assert children
    sessions.close()
    say("kept")


# --- Interrupts ------------------------------------------------------------------------------------------------------


class Interrupt(BaseException):
    """What a signal handler raises: a worker's time is up, say."""


def _start_one_by_one(threads: list[threading.Thread]) -> None:
    threads[0].start()
    time.sleep(0.06)  # for the main thread to be the first that waits
    for thread in threads[1:]:
        thread.start()
        time.sleep(0.01)


def interrupted(path: str) -> None:
    """The main thread is interrupted while it waits for the writer, and while it writes for others, too."""

    def interrupt(*_: object) -> None:
        raise Interrupt

    def note(name: str, seconds: float) -> Callable[[Connection], str]:
        def act(connection: Connection) -> str:
            connection.execute("INSERT INTO change (id, kind, at, handle) VALUES (?, 'created', 0, 'noted')", (name,))
            time.sleep(seconds)
            return name

        return act

    def write(name: str, seconds: float = 0.0) -> None:
        try:
            told[name] = run(store._file.write(note(name, seconds)))
        except (Interrupt, OutcomeUnknown) as error:
            told[name] = type(error).__name__

    def write_until(name: str, seconds: float) -> None:
        """Write in this thread, which is interrupted after so many seconds if it has not written by then."""
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            write(name)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:  # before it began, or when it was done
            told.setdefault(name, "nothing")

    signal.signal(signal.SIGALRM, interrupt)
    with SessionManager(f"sqlite:///{path}", config=PATIENT) as sessions:
        store, told = sessions.store, dict[str, str]()
        met: set[tuple[str, str]] = set()
        for turn in range(25):
            if turn >= 5 and {("waiting", "Interrupt"), ("writing", "Interrupt")} <= met:
                break  # where the machine pauses, the time may be up before or after what it is meant to hit
            slow, early, stuck, late = (f"{name} {turn}" for name in ("slow", "early", "stuck", "late"))
            others = [threading.Thread(target=write, args=(slow, 0.1))]
            others[0].start()
            time.sleep(0.02)  # the slow one writes, and whoever comes now waits
            write_until(f"main {turn}", 0.03)
            others[0].join()
            met.add(("waiting", told[f"main {turn}"]))

            others = [
                threading.Thread(target=write, args=args) for args in ((slow, 0.1), (early,), (stuck, 0.2), (late,))
            ]
            starter = threading.Thread(target=_start_one_by_one, args=(others,))
            starter.start()
            time.sleep(0.03)
            write_until(f"main {turn} again", 0.2)  # in the midst of the one that is stuck
            for thread in (starter, *others):
                thread.join()
            met.add(("writing", told[f"main {turn} again"]))
        write("main at last")
        _, found = sessions.changes()
        noted = {change.id for change in found if change.handle == "noted"}
        assert noted == {name for name, result in told.items() if result == name}, (noted, told)
        assert {("waiting", "Interrupt"), ("writing", "Interrupt")} <= met, told
        assert told["main at last"] == "main at last"
        _sound(sessions)
    say("kept")


def interrupted_calls(url: str) -> None:
    """The only thread is interrupted at any moment of what it asks of a server; each session holds its number."""

    def interrupt(*_: object) -> None:
        if armed:
            raise Interrupt

    armed: list[bool] = []
    signal.signal(signal.SIGALRM, interrupt)
    random = Random(1)
    interrupts = 0
    with SessionManager(url, config=PATIENT) as sessions:
        ids = [sessions.create_session(data={"number": number, "visits": 0}) for number in range(10)]
        unknown = 0
        took: list[float] = []
        for session_id in ids:
            began = time.monotonic()
            sessions.get_session(session_id)
            sessions.update(session_id, "visits", add_one)
            took.append(time.monotonic() - began)
        made, pace = 10, median(took)  # a pause of the machine in one of them says nothing of the others
        for turn in range(3000):
            if turn >= 300 and made > 25 and interrupts > 100:
                break  # a busy machine takes more turns until there were as many of both
            session_id = ids[turn % 10]
            longest = random.choice((1.2, 4.0)) * pace  # the latter leaves time to connect anew
            try:
                armed.append(True)
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.02 * pace, longest))
                assert sessions.get_session(session_id)["number"] == turn % 10
                unknown += 1
                sessions.update(session_id, "visits", add_one)
                unknown -= 1
                made += 1
                armed.clear()
            except Interrupt:  # as soon as the timer is set, perhaps
                interrupts += 1
                armed.clear()
            signal.setitimer(signal.ITIMER_REAL, 0)
        fields = [sessions.get_session(session_id) for session_id in ids]
        assert [each["number"] for each in fields] == list(range(10))
        assert made <= sum(each["visits"] for each in fields) <= made + unknown
    assert interrupts > 100, interrupts
    assert made > 25, made
    say("kept")


UPHEAVALS = (fork, fork_under_load, interrupted, interrupted_calls)
