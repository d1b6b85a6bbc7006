"""Promise 3: what was acknowledged survives the death of the process that wrote it, at whatever moment that comes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random
from statistics import median

import pytest
from children import Child

from sojourn import SessionManager
from sojourn.blocking import run
from worlds import PATIENT

KILLS, KILLS_QUICK = 200, 20
LONGEST = 0.06  # seconds that a writer lives
SESSIONS = 3
NOTHING = {"number": 0, "block": b"", "log": []}


def _kill_again_and_again(tmp_path: Path, durability: str, sign: signal.Signals, kills: int) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db?durability={durability}"
    random = Random(sign)
    with SessionManager(url) as sessions:
        session_ids = [sessions.create_session(data=NOTHING) for _ in range(SESSIONS)]
    told, opening = 0, list[float]()
    with Child("reborn", url, *session_ids) as mother:
        mother.expect("ready")
        for _ in range(kills):
            acknowledged = _let_one_write(mother, sign, random.uniform(0, LONGEST))
            told += sum(acknowledged)
            began = time.monotonic()
            with SessionManager(url, config=PATIENT) as sessions:
                stored = [sessions.get_session(session_id) for session_id in session_ids]
                opening.append(time.monotonic() - began)
                assert run(sessions.store.verify()) == []
                for session_id, fields, least in zip(session_ids, stored, acknowledged, strict=True):
                    number = fields["number"]
                    assert least <= number <= least + 1  # that which was under way may have been made
                    assert fields == {
                        "number": number,
                        "block": number.to_bytes(4, "big") * (1000 if number else 0),
                        "log": list(range(1, number + 1)),
                    }
                    with sessions.session(session_id) as session:
                        session.update(NOTHING)
    print(f"{told} acknowledged writes in {kills} processes; opened within {max(opening):.3f} s")
    assert median(opening) < 1
    assert max(opening) < 4, "it waited for somebody"  # and no machine pauses for that long
    assert told, "they were killed before they wrote"


def _let_one_write(mother: Child, sign: signal.Signals, lifetime: float) -> list[int]:
    """A writer is born, lives so many seconds, dies. Returns the last number that it acknowledged to each session."""
    mother.say("again")
    word, pid = mother.hear().split()
    assert word == "pid"
    time.sleep(lifetime)
    os.kill(int(pid), sign)  # it is there, living or dead, until its mother has heard of its death
    last = [0] * SESSIONS
    while (line := mother.hear()) != "dead":
        which, number = map(int, line.split())
        last[which] = number
    return last


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM], ids=lambda sign: sign.name)
@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_killed_writer_loses_nothing(tmp_path: Path, durability: str, sign: signal.Signals) -> None:
    """A process is killed while three of its threads write: all that it acknowledged is there, nothing is torn, and the
    database opens within a second, though the machine may pause once."""
    _kill_again_and_again(tmp_path, durability, sign, KILLS_QUICK)


@pytest.mark.battery
@pytest.mark.parametrize("durability", ["power", "process"])
def test_two_hundred_killed_writers_lose_nothing(tmp_path: Path, durability: str) -> None:
    """The same, 200 times."""
    _kill_again_and_again(tmp_path, durability, signal.SIGKILL, KILLS)
