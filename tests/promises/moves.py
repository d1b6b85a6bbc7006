"""A site that goes on while its sessions are copied: what its processes do, and what is true of its sessions then."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from talking import hear, ready, say

from sojourn import Handle, SessionConfig, SessionManager, ids
from sojourn.cli import main
from sojourn.moving import Copying
from sojourn.record import Record

__all__ = ["MOVING", "Truth", "go_on"]

_WHAT = ("change", "create", "end", "rotate", "sign in")
_HOW_OFTEN = (60, 15, 15, 6, 4)


@dataclass
class Truth:
    """What is true of the sessions, as the writers were told."""

    numbers: dict[str, int] = field(default_factory=dict)
    """Of each live session, the number in it."""
    ended: list[str] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    """The newest ids, of those that were made here."""
    old_ids: list[str] = field(default_factory=list)
    """Ids that a rotation or a sign-in has replaced."""
    users: dict[str, str] = field(default_factory=dict)
    """Who signed in where."""

    def take(self, line: str) -> None:
        """What a writer has done to sessions of its own."""
        told = json.loads(line)
        self.numbers.update(told["numbers"])
        self.ids.update(told["ids"])
        self.users.update(told["users"])
        self.old_ids += told["old_ids"]
        self.ended += told["ended"]
        for handle in told["ended"]:
            self.numbers.pop(handle, None)
            self.ids.pop(handle, None)
            self.users.pop(handle, None)


def go_on(url: str, file: str, pause: str, writers: str, number: str) -> None:
    """Change, create, end, rotate and sign in, one after the other with a pause, in this writer's share of the sessions
    that the file names, until a line says to stop. Then say what was done."""
    signal.alarm(280)
    mine = json.loads(Path(file).read_text())[int(number) :: int(writers)]
    stop = threading.Event()
    with SessionManager(url, config=SessionConfig(deadline=10)) as sessions:
        ready()
        threading.Thread(target=lambda: (hear(), stop.set()), daemon=True).start()
        truth = _write(sessions, mine, random.Random(int(number)), float(pause), stop)
    say(json.dumps(vars(truth)))


def _write(
    sessions: SessionManager, mine: list[str], dice: random.Random, pause: float, stop: threading.Event
) -> Truth:
    truth = Truth()
    while not stop.is_set():
        (what,) = dice.choices(_WHAT, _HOW_OFTEN)
        at = dice.randrange(len(mine))
        handle = mine[at]
        if what == "change":
            number = dice.randrange(10**9)
            sessions.update(Handle(handle), "n", lambda _, number=number: number)
            truth.numbers[handle] = number
        elif what == "create":
            number = dice.randrange(10**9)
            session_id = sessions.create_session(data={"n": number})
            handle = ids.split(session_id)[0]
            mine.append(handle)
            truth.numbers[handle], truth.ids[handle] = number, session_id
        elif what == "end":
            sessions.end_session(Handle(handle))
            mine[at] = mine[-1]
            mine.pop()
            truth.ended.append(handle)
        else:
            user = f"user-{handle}"
            new = sessions.login(Handle(handle), user) if what == "sign in" else sessions.rotate(Handle(handle))
            if what == "sign in":
                truth.users[handle] = user
            if handle in truth.ids:
                truth.old_ids.append(truth.ids[handle])
            truth.ids[handle] = new
        time.sleep(pause)
    return truth


def copy_for_long(source: str, target: str, quickly: str) -> None:
    """Copy, and take a few seconds more once so many were made: time enough to be killed among the writes."""
    signal.alarm(280)
    bring = Copying._bring

    async def slowly(copying: Copying, pair: tuple[Record, Record | None]) -> None:
        if copying.created >= int(quickly):
            await asyncio.sleep(2 * random.random())  # each its own: some are written all the time
        await bring(copying, pair)

    Copying._bring = slowly  # type: ignore[method-assign]
    sys.exit(main(["copy", source, target, "--json"]))


MOVING: tuple[Callable[..., None], ...] = (go_on, copy_for_long)
