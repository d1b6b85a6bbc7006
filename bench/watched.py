"""What it costs a site that somebody watches it: the CPU time of a request, with the overview's pulse off and on.

A real server (Starlette behind uvicorn, one worker) under full load by wrk, in one run. In each round it is measured
with nobody watching and with somebody, in an order that changes; what counts is the median of the rounds' ratios. The
pulse works in the server's own process, as where the dashboard is mounted in the application; or in another process on
the same store, as ``sojourn dashboard URL`` does, to which the server then reports.

    read      one field is read
    change    one field is assigned: a commit, which the feed tells of
    create    a visitor who has no session gets one: a fact, which is read and counted

The CPU time is that of the server's process, its pulse, probes and reports included; what the opening costs, the hour
of the past that is read once, is not in it. The commits that were heard of are compared with the requests: a pulse that
does nothing costs nothing.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

from tests.servers.process import LOOPBACK, until

from sojourn.stores.sql import WATCHED_FOR

from .http import _SCRIPT, ROOT, SESSIONS, CPUs, Site, Worker, _pinned
from .report import Section, Table, Verdict, microseconds
from .servers import PostgreSQL, running, valkey
from .timing import median

MOST = 1.10
"""Times the CPU time of a request that nobody watches."""

OPERATIONS = ("read", "change", "create")
WHERE = ("same process", "another process")


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """Of load, with nobody watching and with somebody, in each round."""
    stores: tuple[str, ...]


FULL = Effort(7, 1.5, ("memory", "sqlite", "valkey", "postgres"))
QUICK = Effort(3, 0.7, ("memory", "sqlite"))

_SETTLE = 2.6
"""Seconds after the pulse was started: a report is due every two."""
_QUIET = {"memory": 6.5, "sqlite": 6.5 + WATCHED_FOR, "valkey": 6.5, "postgres": 6.5 + WATCHED_FOR}
"""Seconds after it was stopped: the hub lingers, and writers tell for as long as they were told that somebody
watches."""


class Watched(Worker):
    """A server whose sessions can be watched."""

    def __init__(self, store: str) -> None:
        super().__init__(Site("watched", "watched", "sojourn", store), "")

    def command(self) -> list[str]:
        paths = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        said = {"SESSIONS": "sojourn", "STORE": self._store, "PYTHONPATH": os.pathsep.join(paths)}
        server = ["uvicorn", "--host", LOOPBACK, "--port", str(self.port), "--log-level", "warning"]
        server += ["--loop", "asyncio", "--http", "httptools", "--no-access-log", "bench.http_apps.watched:app"]
        environment = [f"{name}={value}" for name, value in said.items()]
        return ["env", *environment, sys.executable, "-m", *server]

    def prepare_new(self) -> Self:
        """Have wrk come without a session each time."""
        self._script.write_text(_SCRIPT.format(cookies="[[]]"))
        return self

    def watch(self) -> tuple[int, int]:
        """Watch, from now on; commits heard of, and processes that report."""
        heard, processes = self.visit("watch")[0].split()
        return int(heard), int(processes)


@dataclass
class Found:
    """Seconds of CPU a request, by round."""

    off: list[float]
    on: list[float]

    @property
    def ratio(self) -> float:
        return median(on / off for on, off in zip(self.on, self.off, strict=True))


def bench(*, quick: bool) -> Section:
    """Each store, each operation, watched from the same process and from another."""
    effort, section, cpus = QUICK if quick else FULL, Section("watched"), CPUs.of_this_process()
    found: dict[tuple[str, str, str], Found] = {}
    for store in effort.stores:
        with _place(store) as url, ExitStack() as stack:
            with _pinned(cpus.worker):
                server = other = stack.enter_context(Watched(url))
            if store != "memory":
                with _pinned(cpus.wrk):
                    other = stack.enter_context(Watched(url))
            for where, watcher in zip(WHERE, (server, other), strict=True):
                if where == "same process" or other is not server:
                    for operation in OPERATIONS:
                        found[store, where, operation] = _measure(
                            server, watcher, operation, _QUIET[store], effort, cpus.wrk
                        )
    rows = [
        [
            f"{store}, {where}",
            operation,
            microseconds(median(one.off)),
            microseconds(median(one.on)),
            f"{one.ratio:.3f}",
        ]
        for (store, where, operation), one in found.items()
    ]
    title = f"CPU time of a request while somebody watches; {cpus}"
    section.tables = [Table(title, ["store, pulse in", "request", "off, us", "on, us", "times"], rows)]
    section.figures = {f"{'/'.join(key)}": {"off": one.off, "on": one.on} for key, one in found.items()}
    for (store, where, operation), one in found.items():
        wanted = f"{store}, {where}: a request that {operation}s costs at most 10% more CPU time while watched"
        section.verdicts.append(Verdict(wanted, f"{one.ratio - 1:+.1%}", one.ratio <= MOST))
    return section


def _measure(server: Watched, watcher: Watched, operation: str, quiet: float, effort: Effort, cpu: int | None) -> Found:
    if operation == "create":
        server.prepare_new()
    else:
        server.prepare()
    found, draw = Found([], []), random.Random(20)
    server.load(operation, effort.seconds / 2, cpu)
    for _ in range(effort.rounds):
        for on in draw.sample((False, True), 2):
            if on:
                watcher.watch()
                time.sleep(_SETTLE)
                before, processes = watcher.watch()
                assert processes, "the server does not report"
            else:
                watcher.visit("unwatch")
                time.sleep(quiet)
            (found.on if on else found.off).append(server.load(operation, effort.seconds, cpu)[1])
            if on and operation == "change":
                until(lambda least=before + SESSIONS: watcher.watch()[0] > least, "what the pulse heard of the commits")
    watcher.visit("unwatch")
    return found


@contextmanager
def _place(store: str) -> Iterator[str]:
    """The address of a store of the bench's own; its server runs where wrk does not."""
    if store == "valkey":
        with running(valkey) as (server, _):
            yield server.url()
    elif store == "postgres":
        with running(PostgreSQL) as (server, _):
            yield server.url()
    elif store == "sqlite":
        with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder:
            yield f"sqlite:///{folder}/sessions.db"
    else:
        yield "memory://"
