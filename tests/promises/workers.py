"""What the children do: ``python workers.py JOB ARGUMENT...``. They say "ready", wait for a line, answer in lines."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

from faults import FAULTS
from following import FOLLOWING
from living import LIVING
from moves import MOVING
from stating import STATING
from talking import hear, ready, say
from upheavals import UPHEAVALS
from writing import WRITINGS, add_one

from sojourn import SessionConfig, SessionManager, SojournError
from sojourn.stores import sqlite_file

PATIENT = SessionConfig(deadline=10)
IN_TIME = SessionConfig(deadline=2)
"""Of those who are to be done in time, whoever else writes: a machine that pauses makes nobody late."""


def write(url: str, session_id: str, name: str, turns: str, writer: str) -> None:
    """Write in lockstep with the others: everybody has loaded before anybody commits."""
    writing = next(writing for writing in WRITINGS if writing.name == name)
    with SessionManager(url, config=PATIENT) as sessions:
        ready()
        for turn in range(int(turns)):
            with sessions.session(session_id) as session:
                writing.write(session, int(writer), turn)
                say("loaded")
                hear()
            say("done")
            hear()


def count_up(url: str, session_id: str, times: str, _number: str) -> None:
    """Count as fast as possible; say which values were returned."""
    with SessionManager(url, config=PATIENT) as sessions:
        ready()
        say(json.dumps([sessions.update(session_id, "visits", add_one) for _ in range(int(times))]))


def hammer(url: str, session_id: str, threads: str, seconds: str, _number: str) -> None:
    """Count from several threads for a while; say how often it was done, and how often it was refused and why."""
    told: list[Counter[str]] = []
    with SessionManager(url, config=IN_TIME) as sessions:

        def work() -> None:
            told.append(mine := Counter())
            until = time.monotonic() + float(seconds)
            while time.monotonic() < until:
                try:
                    with sessions.session(session_id) as session:
                        session.update("visits", add_one)
                    mine["done"] += 1
                except SojournError as error:
                    mine[type(error).__name__] += 1

        ready()
        running = [threading.Thread(target=work) for _ in range(int(threads))]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    say(json.dumps(sum(told, Counter())))


def compete(url: str, seconds: str, _number: str) -> None:
    """Write to a session of one's own, as fast as one may, for a while; say how often."""
    with SessionManager(url, config=PATIENT) as sessions:
        session_id = sessions.create_session(data={"visits": 0})
        ready()
        until = time.monotonic() + float(seconds)
        done = 0
        while time.monotonic() < until:
            sessions.update(session_id, "visits", add_one)
            done += 1
        say(done)
        hear()


def contend(url: str, session_id: str, seconds: str, _number: str) -> None:
    """Write to a session that others write to, one request after the other, for a while. Say how often it was done,
    what was refused, and how long the longest took."""
    told: Counter[str] = Counter()
    longest = 0.0
    with SessionManager(url, config=IN_TIME) as sessions:
        ready()
        until = time.monotonic() + float(seconds)
        while (began := time.monotonic()) < until:
            try:
                with sessions.session(session_id) as session:
                    session["log"].append(f"{os.getpid()}.{told['done']}")
                told["done"] += 1
            except SojournError as error:
                told[type(error).__name__] += 1
            longest = max(longest, time.monotonic() - began)
    say(json.dumps([told["done"], told, longest]))


def reborn(url: str, *session_ids: str) -> None:
    """Bear, for each line, a process that writes until it is killed, and say when it is dead. It is forked, as that is
    quick; nothing of the store is open here."""
    sqlite_file._CHECKPOINT_AFTER = 128 * 1024  # so that some die in the midst of a checkpoint
    say("ready")
    while hear():
        child = os.fork()
        if not child:
            write_until_killed(url, session_ids)
        os.waitpid(child, 0)
        say("dead")


def write_until_killed(url: str, session_ids: Sequence[str]) -> None:
    """Write to each session from a thread of its own: the same number in several places. Say each write that was
    acknowledged."""
    signal.alarm(60)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with SessionManager(url, config=PATIENT) as sessions:

        def work(which: int, session_id: str) -> None:
            for number in count(1):
                with sessions.session(session_id) as session:
                    session["number"] = number
                    session["block"] = number.to_bytes(4, "big") * 1000
                    session["log"].append(number)
                say(f"{which} {number}")

        say(f"pid {os.getpid()}")
        for which, session_id in enumerate(session_ids[1:], 1):
            threading.Thread(target=work, args=(which, session_id), daemon=True).start()
        work(0, session_ids[0])


JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job
    for job in (
        *(write, count_up, hammer, compete, contend, reborn),
        *(*FAULTS, *FOLLOWING, *LIVING, *MOVING, *STATING, *UPHEAVALS),
    )
}

if __name__ == "__main__":
    signal.alarm(60)
    JOBS[sys.argv[1]](*sys.argv[2:])
