"""A server process of the tests' own: on a free loopback port, in a temporary folder, gone when the test is over.

It is stopped by its pid and by nothing else. A port is chosen once: a server that was killed comes back where it was,
with what its folder holds.
"""

from __future__ import annotations

import atexit
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

__all__ = ["LOOPBACK", "Process", "free_port", "until"]

LOOPBACK = "127.0.0.1"
_PATIENCE = 20.0  # seconds for what takes a fraction of one on an idle machine
_KEEPER = 'trap "" INT TERM; read -r _; kill -9 "$1" 2>/dev/null; rm -rf "$2"'
_running: weakref.WeakSet[Process] = weakref.WeakSet()


def _ports() -> Iterator[int]:
    """The ports of this process, each in its turn: those of a server that is down, or not yet up, are nobody else's.
    Workers that test beside each other have other ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 15_000 + worker % 8 * 2000
    mine = deque(range(first, first + 2000))
    mine.rotate(random.randrange(2000))  # another run of the tests may be under way
    return itertools.cycle(mine)


_chosen = _ports()
_choosing = threading.Lock()


def free_port() -> int:
    """A port that nobody listens on. Below those that the system hands out to clients, one of which could otherwise sit
    on it while a server is down."""
    while True:
        with _choosing:
            port = next(_chosen)
        with socket.socket() as sock, suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((LOOPBACK, port))
            return port


def until(condition: Callable[[], object], what: str, patience: float = _PATIENCE) -> None:
    """Wait for a condition; fails, saying what did not come, when the patience is over."""
    give_up = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < give_up, f"within {patience:g} s: {what} never came"
        time.sleep(0.01)


class Process:
    """One server process. A subclass says what is run and how one sees that it answers."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-"))
        self.port = free_port()
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        _running.add(self)

    def command(self) -> list[str]:
        """What is run, with what its folder needs in place."""
        raise NotImplementedError  # each server is another program

    def answers(self) -> bool:
        """Whether it serves. False while it does not; it must not wait."""
        raise NotImplementedError  # each server is asked in its own way

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it answers unless told not to."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._keep(self._process.pid)
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Wait until it answers; fails with the end of its log if it does not."""

        def ready() -> bool:
            assert self._process is not None
            ended = self._process.poll()
            assert ended is None, f"{self} ended ({ended}): {self._complaint()}"
            return self.answers()

        until(ready, f"an answer of {self}; its log ends: {self._complaint()}")

    def stop(self) -> None:
        """Let it shut down; kill it if that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut does, but for the pages that the system holds."""
        self._end(signal.SIGKILL)

    def hang(self) -> None:
        """It no longer does anything; the system still accepts connections for it."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hang`."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__} on port {self.port}"

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.kill(process.pid, how)
            os.kill(process.pid, signal.SIGCONT)  # a stopped one would not hear it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        self._let_keeper_go()

    def _keep(self, pid: int) -> None:
        """Nothing is left behind by tests that are killed themselves: the keeper's input then ends, and it ends the
        server."""
        self._keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "keeper", str(pid), str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )

    def _let_keeper_go(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.kill()
            keeper.wait(10)
            assert keeper.stdin is not None
            keeper.stdin.close()

    def _complaint(self) -> str:
        return self.log.read_text(errors="replace")[-1000:] if self.log.exists() else "(nothing)"


@atexit.register
def _close_all() -> None:
    for process in list(_running):
        process.close()
