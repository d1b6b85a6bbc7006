"""What the children do: ``python workers.py JOB ARGUMENT...``. They say "ready", wait for a line, answer in lines."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from writing import WRITINGS, add_one

from sojourn import SessionConfig, SessionManager, SojournError

PATIENT = SessionConfig(deadline=10)


def say(line: object) -> None:
    print(line, flush=True)


def ready() -> None:
    say("ready")
    hear()


def hear() -> str:
    return sys.stdin.readline().strip()


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


def count(url: str, session_id: str, times: str, _number: str) -> None:
    """Count as fast as possible; say which values were returned."""
    with SessionManager(url, config=PATIENT) as sessions:
        ready()
        say(json.dumps([sessions.update(session_id, "visits", add_one) for _ in range(int(times))]))


def hammer(url: str, session_id: str, threads: str, seconds: str, _number: str) -> None:
    """Count from several threads for a while; say how often it was done, and how often it was refused and why."""
    told: list[Counter[str]] = []
    with SessionManager(url) as sessions:

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


JOBS: dict[str, Callable[..., None]] = {job.__name__: job for job in (write, count, hammer)}

if __name__ == "__main__":
    signal.alarm(60)
    JOBS[sys.argv[1]](*sys.argv[2:])
