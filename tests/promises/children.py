"""Processes of a test's own: started, spoken to in lines, and gone when the test is over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

_WORKERS = Path(__file__).with_name("workers.py")


class Child:
    """A job of `workers` in a process of its own. It ends by itself after a minute, whatever becomes of the test."""

    def __init__(self, job: str, *arguments: object, under: tuple[str, ...] = ()) -> None:
        self.job = job
        self.process = subprocess.Popen(
            [*under, sys.executable, str(_WORKERS), job, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, line: object = "go") -> None:
        """One line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """The next line of its standard output; fails with what it complained of if there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            self.process.kill()
            raise AssertionError(f"{self.job} ended ({self.process.wait()}): {line}{self._complaint()}")
        return line.rstrip("\n")

    def expect(self, line: str) -> None:
        """The next line is this one."""
        heard = self.hear()
        assert heard == line, f"{self.job} said {heard!r}, not {line!r}"

    def finish(self) -> list[str]:
        """What else it says until it ends, as it should, with success."""
        out, complaint = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, f"{self.job} failed ({self.process.returncode}): {complaint}"
        return out.splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # something unsaid, which nobody will hear now
                    pipe.close()

    def _complaint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def children(count: int, job: str, *arguments: object) -> Iterator[list[Child]]:
    """So many processes at the same job, all ready. Each has its number as its last argument."""
    with ExitStack() as stack:
        started = [stack.enter_context(Child(job, *arguments, number)) for number in range(count)]
        for child in started:
            child.expect("ready")
        yield started
