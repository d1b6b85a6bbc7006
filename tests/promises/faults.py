"""What the children do to a disk, and to what a process may have: faults that are real, in a process of their own."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from talking import hear, ready, say
from writing import add_one

from sojourn import OutcomeUnknown, SessionManager, SojournError, StoreUnavailable
from sojourn.blocking import run
from sojourn.stores import sqlite_file

NOBODY = 65534
BLOCK = b"x" * 1024


def _refusal(operation: Callable[[], Any]) -> SojournError:
    try:
        operation()
    except SojournError as error:
        return error
    raise AssertionError("it was acknowledged")


# --- The disk --------------------------------------------------------------------------------------------------------


def full_disk(folder: str, kind: str) -> None:
    """Fill the disk little by little while writing; at last make room again."""
    if kind == "tmpfs":  # this process is in a mount namespace of its own
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], check=True)
        filler = Path(folder, "filler")
        fill = lambda left: filler.write_bytes(BLOCK * (_room(folder) // 1024 + _size(filler) - left))
    else:
        raise AssertionError(kind)
    del fill


def _room(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _size(path: Path) -> int:
    return path.stat().st_size // 1024 if path.exists() else 0
