"""Promises on surviving: what was acknowledged outlives the death of the process that wrote it.

A child process writes and says so on a pipe; it is killed with SIGKILL at some moment in the midst of its work, and
what it had said must be there. (That a power cut is survived cannot be shown without cutting the power.)
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from ..blocking import SessionManager, run
from .bench import CONFIG, Bench, Finding, Promise, tally

__all__ = ["DURABILITY", "INTEGRITY", "TIDINESS", "WRITER"]

WRITER: Final = (sys.executable, "-m", "sojourn.check.writer")
"""The child. Its first line of input is the URL, its second the session id: a command line is for all to read."""

_KILL_AFTER: Final = (40, 120, 250)  # acknowledged writes, then the kill: one child each
_GIVE_UP: Final = 20.0  # seconds for a child


def _durability(bench: Bench) -> Finding:
    if bench.url is None or not bench.promises_survival:
        return Finding(None, "not promised: memory")
    acknowledged, kept, problems, reopened = 0, 0, [], 0.0
    for limit in _KILL_AFTER:
        session_id = bench.create({"written": []})
        said, problem = _write_and_die(bench.url, session_id, limit)
        began = time.monotonic()
        stored = _read_anew(bench.url, session_id).get("written", [])
        reopened = max(reopened, time.monotonic() - began)
        acknowledged += said
        kept += len(set(stored) & set(range(said)))
        if stored != list(range(len(stored))):
            problem = problem or "the stored writes are torn or out of order"
        problems += [problem] if problem else []
    found = tally(kept, acknowledged, "kept", problems)
    return Finding(found.kept, f"{found.figures}, reopened in {reopened * 1000:.0f} ms", found.problem)


def _write_and_die(url: str, session_id: str, limit: int) -> tuple[int, str]:
    """Let a child write, and kill it after so many acknowledgements. Returns how many it gave in all, and what went
    wrong."""
    with subprocess.Popen(WRITER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - ours
        give_up = threading.Timer(_GIVE_UP, child.kill)
        give_up.start()
        try:
            return _listen(child, url, session_id, limit)
        finally:
            give_up.cancel()
            child.kill()


def _listen(child: subprocess.Popen[str], url: str, session_id: str, limit: int) -> tuple[int, str]:
    assert child.stdin is not None  # noqa: S101 - it was opened with a pipe
    child.stdin.write(f"{url}\n{session_id}\n")
    child.stdin.flush()
    said, complaint = 0, ""
    for line in _lines(child):
        if not line.strip().isdigit():
            complaint = line.strip()
            break
        said = int(line) + 1
        if said == limit:
            child.kill()
    if said < limit:
        return said, f"the writing process stopped by itself after {said} writes: {complaint or 'no reason given'}"
    return said, ""


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """Whole lines of the child's output, what it said before it was killed included; a line cut short was not said."""
    assert child.stdout is not None  # noqa: S101 - it was opened with a pipe
    return (line for line in child.stdout if line.endswith("\n"))


def _read_anew(url: str, session_id: str) -> dict[str, Any]:
    with SessionManager(url, config=CONFIG) as manager:
        return manager.get_session(session_id) or {}


def _integrity(bench: Bench) -> Finding:
    verify = getattr(bench.store, "verify")  # noqa: B009 - not every store has it, and the contract does not ask for it
    problems: list[str] = list(run(verify()))
    return Finding(not problems, f"{len(problems)} problems", "; ".join(str(problem) for problem in problems[:3]))


def _tidiness(bench: Bench) -> Finding:
    made, left = len(bench.handles), bench.clear()
    problems = [f"still there: {', '.join(left[:3])}"] if left else []
    return tally(made - len(left), made, "removed", problems)


DURABILITY: Final = Promise(
    "durability",
    "What was acknowledged survives kill -9",
    f"{len(_KILL_AFTER)} writing processes killed amid their work",
    _durability,
)
INTEGRITY: Final = Promise(
    "integrity",
    "The store is sound",
    "a full pass of the store's own verification",
    _integrity,
)
TIDINESS: Final = Promise(
    "tidiness",
    "This check leaves nothing behind",
    "its own sessions are removed, others untouched",
    _tidiness,
)
