"""A database with sessions in it, to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

from writing import add_one

from sojourn import Handle, SessionManager
from sojourn.blocking import run
from sojourn.record import Record

Stored = dict[str, list[Record]]
"""Of each session every record that was ever committed, the last one last."""


def open_file(path: Path) -> SessionManager:
    return SessionManager(f"sqlite:///{path}?deadline=5&durability=process")


def load(sessions: SessionManager, handle: str) -> Record | None:
    return run(sessions.store.load(handle))


def problems(sessions: SessionManager) -> list[str]:
    return run(sessions.store.verify())


def handle_of(session_id: str) -> Handle:
    return Handle(session_id.partition(".")[0])


def fill(path: Path) -> Stored:
    """A closed database of 40 sessions, large and small; beside it, under the name of another, the database and the log
    as a process leaves them that is killed."""
    stored: Stored = {}
    with open_file(path) as sessions:
        for number in range(40):
            fields = {
                "number": number,
                "block": bytes([number]) * (50 + number * 97 % 3000),
                "cart": {"items": ["apple"]},
            }
            session_id = sessions.create_session("ada" if number % 3 else None, fields, label=f"device {number}")
            handle = handle_of(session_id)
            stored[handle] = [load(sessions, handle)]
            for _ in range(number % 3):
                sessions.update(session_id, "number", add_one)
                stored[handle].append(load(sessions, handle))
        assert problems(sessions) == []
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{killed(path)}{suffix}")
    return stored


def killed(path: Path) -> Path:
    return path.with_name("killed.db")


def remove(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
