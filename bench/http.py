"""Whole requests: what a session adds to them, in Starlette, Flask and Django, behind the servers that these run on.

The same small application for each contender (`http_apps`), each in a server of its own with one worker: uvicorn for
Starlette, gunicorn with its sync worker for Flask and Django. wrk asks with four connections, which keeps the worker
busy, and goes round 50 sessions of payload B that the application made before. A session that one request changes is
not used by another at the same time. A request reads one field, or assigns one.

What is added is the difference to the application with no session, whose requests have no cookie, in the same round: by
rate (one over requests a second), and by the CPU time of the worker, which a busy machine disturbs less. By rate, what
the worker waits for counts, too: Redis, or the disk.

The worker has one CPU, and wrk another. Redis has a third, if there is one, else the worker's, which waits for it
anyway: beside wrk, what Redis takes would depend on what wrk is just doing. Rounds are many and short, as the speed of
a machine drifts by the second. A response that is no success, or a broken connection, fails the run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

import msgspec
from tests.servers.process import LOOPBACK, Process

from .report import Section, Table, Verdict, microseconds
from .servers import valkey, version_of
from .timing import Samples, in_turns

OPERATIONS = {"read": "reads one field", "change": "assigns one field"}
SESSIONS = 50
CONNECTIONS = 4
BARE = "no session"
ROOT = Path(__file__).parents[1]

_SCRIPT = """
local cookies = {{ {cookies} }}
local requests, turn = {{}}, 0

function init()
  for number, cookie in ipairs(cookies) do
    local headers = {{}}
    if cookie ~= "" then headers["Cookie"] = cookie end
    requests[number] = wrk.format("GET", nil, headers)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local e = summary.errors
  print(string.format('{{"requests": %d, "microseconds": %d, "errors": %d}}',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Site:
    """One application. ``sessions`` is who keeps them, as `http_apps` has it; ``store`` is where: ``{redis}`` is the
    server's address, ``{folder}`` a folder of its own."""

    name: str
    framework: str
    sessions: str = "none"
    store: str = ""


@dataclass(frozen=True)
class Race:
    """Two sites, and how much of what theirs adds ours is to add at most."""

    theirs: Site
    ours: Site
    most: float


STARLETTE = [
    Race(
        Site("Starlette cookie sessions", "starlette", "theirs"),
        Site("Sojourn memory://", "starlette", "sojourn", "memory://"),
        1 / 2,
    )
]
FLASK = [
    Race(
        Site("Flask-Session, Redis", "flask", "theirs", "redis://{redis}/1"),
        Site("Sojourn redis://", "flask", "sojourn", "redis://{redis}/2"),
        1 / 2,
    )
]
DJANGO = [
    Race(
        Site("Django db sessions, SQLite", "django", "theirs", "{folder}/theirs.db"),
        Site("Sojourn sqlite://, power", "django", "sojourn", "sqlite:///{folder}/ours.db?durability=power"),
        1 / 5,
    ),
    Race(
        Site("Django cache sessions, Redis", "django", "theirs", "redis://{redis}/3"),
        Site("Sojourn redis://", "django", "sojourn", "redis://{redis}/4"),
        1 / 3,
    ),
]
FRAMEWORKS = {"starlette": STARLETTE, "flask": FLASK, "django": DJANGO}


class Answer(msgspec.Struct):
    """What wrk counted."""

    requests: int
    microseconds: int
    errors: int


class Worker(Process):
    """A server with one worker that serves a site."""

    def __init__(self, site: Site, redis: str) -> None:
        super().__init__()
        self.site = site
        self._store = site.store.format(redis=redis, folder=self.folder)
        self._script = self.folder / "wrk.lua"

    def command(self) -> list[str]:
        paths = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        said = {"SESSIONS": self.site.sessions, "STORE": self._store, "PYTHONPATH": os.pathsep.join(paths)}
        app = f"bench.http_apps.{self.site.framework}:app"
        if self.site.framework == "starlette":
            server = ["uvicorn", "--host", LOOPBACK, "--port", str(self.port), "--log-level", "warning"]
            server += ["--loop", "asyncio", "--http", "httptools", "--no-access-log"]
        else:
            # without a timeout, which would have the worker end when nobody asks it anything for long
            server = ["gunicorn", "--bind", f"{LOOPBACK}:{self.port}", "--workers", "1", "--timeout", "0"]
        environment = [f"{name}={value}" for name, value in said.items()]
        return ["env", *environment, sys.executable, "-m", *server, app]

    def answers(self) -> bool:
        try:
            self.visit("cpu")
        except (OSError, HTTPException):
            return False
        return True

    def close(self) -> None:
        """Stop it, and the worker with it: a gunicorn that is killed leaves its worker behind."""
        self.stop()
        super().close()

    def visit(self, path: str, cookie: str = "") -> tuple[str, str]:
        """One request: the text of the response, and the cookie from then on. Fails if it is no success."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", f"/{path}", headers={"Cookie": cookie} if cookie else {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        assert response.status == 200, f"{self.site.name}: /{path} answered {response.status}\n{self._complaint()}"
        return text, (response.getheader("Set-Cookie") or cookie).partition(";")[0]

    def prepare(self) -> Self:
        """Make the sessions, assert that a change of each is there at the next visit, and have wrk use them."""
        cookies = [""] if self.site.sessions == "none" else [self._begin() for _ in range(SESSIONS)]
        assert len({*cookies}) == len(cookies), f"{self.site.name}: a session that two share"
        self._script.write_text(_SCRIPT.format(cookies=", ".join(f"[[{cookie}]]" for cookie in cookies)))
        return self

    def _begin(self) -> str:
        cookie = self.visit("create")[1]
        wanted, cookie = self.visit("change", cookie)
        kept, cookie = self.visit("show", cookie)
        assert kept == wanted, f"{self.site.name} lost a change"
        return cookie

    def load(self, operation: str, seconds: float, cpu: int | None) -> tuple[float, float]:
        """Have wrk ask for this long, from that CPU: the seconds, and the seconds of CPU, of one request."""
        before = float(self.visit("cpu")[0])
        counted = self._wrk(operation, seconds, cpu)
        spent = float(self.visit("cpu")[0]) - before
        assert counted.requests, f"{self.site.name}: no response to /{operation}"
        assert not counted.errors, f"{self.site.name}: /{operation} failed {counted.errors} of {counted.requests} times"
        return counted.microseconds / 1e6 / counted.requests, spent / counted.requests

    def _wrk(self, operation: str, seconds: float, cpu: int | None) -> Answer:
        asking = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d60s", "--timeout", "10s", "-s", str(self._script)]
        with _pinned(cpu):
            wrk = subprocess.Popen(
                [*asking, f"http://{LOOPBACK}:{self.port}/{operation}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            time.sleep(seconds)
            wrk.send_signal(signal.SIGINT)  # it then stops and reports; its own durations are whole seconds
            told = wrk.communicate(timeout=20)[0]
        finally:
            wrk.kill()
        counted = [line for line in told.splitlines() if line.startswith("{")]
        assert counted, f"{self.site.name}: wrk did not report:\n{told}"
        return msgspec.json.decode(counted[-1], type=Answer)


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """Time of one site in one round."""


FULL, QUICK = Effort(41, 0.25), Effort(4, 0.25)


@dataclass(frozen=True)
class CPUs:
    """Which CPU has what; None: any."""

    worker: int | None = None
    wrk: int | None = None
    redis: int | None = None

    @classmethod
    def of_this_process(cls) -> Self:
        """Shared out of those that this process may use."""
        cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return cls(cpus[0], cpus[1], cpus[2 % len(cpus)]) if len(cpus) > 1 else cls()

    def __str__(self) -> str:
        if self.worker is None:
            return "nothing pinned"
        return f"worker on CPU {self.worker}, wrk on {self.wrk}, Redis on {self.redis}"


def bench(*, quick: bool) -> Section:
    """The added time of each, in each framework."""
    assert shutil.which("wrk"), "wrk is not installed: sh tools/wrk.sh"
    effort, section, cpus = QUICK if quick else FULL, Section("http"), CPUs.of_this_process()
    with ExitStack() as stack:
        with _pinned(cpus.redis):
            server = stack.enter_context(valkey())
        stack.enter_context(_pinned(cpus.worker))
        where = f"{version_of(server)}, {cpus}"
        for framework, races in FRAMEWORKS.items():
            by_rate, by_cpu = _measure(framework, races, f"{LOOPBACK}:{server.port}", effort, cpus.wrk)
            section.tables.append(_table(f"{framework.title()}, {where}: added to a request", races, by_rate, by_cpu))
            section.verdicts += _verdicts(framework.title(), races, by_rate, by_cpu)
            for what, found in (("seconds", by_rate), ("cpu_seconds", by_cpu)):
                section.figures[f"{framework}_{what}"] = {
                    operation: cell.medians() for operation, cell in found.items()
                }
    return section


Cells = dict[str, Samples]
"""By operation."""


def _measure(framework: str, races: list[Race], redis: str, effort: Effort, cpu: int | None) -> tuple[Cells, Cells]:
    """The seconds of a request, and its seconds of CPU, for each site of a framework."""
    sites = [Site(BARE, framework), *(site for race in races for site in (race.theirs, race.ours))]
    by_rate: Cells = {}
    by_cpu: Cells = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(site, redis)).prepare() for site in sites]
        for operation in OPERATIONS:
            spent = by_cpu[operation] = Samples({site.name: [] for site in sites})

            def measured(worker: Worker, operation: str = operation, spent: Samples = spent) -> Callable[[], float]:
                def turn() -> float:
                    seconds, cpu_seconds = worker.load(operation, effort.seconds, cpu)
                    spent[worker.site.name].append(cpu_seconds)
                    return seconds

                worker.load(operation, effort.seconds / 2, cpu)
                return turn

            by_rate[operation] = in_turns(effort.rounds, {worker.site.name: measured(worker) for worker in workers})
    return by_rate, by_cpu


@contextmanager
def _pinned(cpu: int | None) -> Iterator[None]:
    """What is started meanwhile runs on this CPU."""
    if cpu is None:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _table(title: str, races: list[Race], by_rate: Cells, by_cpu: Cells) -> Table:
    """What requests take, what of it is the session's, and what part of theirs ours is."""
    columns = ["payload B, us"]
    for operation in OPERATIONS:
        columns += [operation, "added", "Sojourn's of it", "CPU added", "Sojourn's of it"]
    ours = {race.theirs.name: race.ours.name for race in races}
    rows = []
    for name in next(iter(by_rate.values())):
        row = [name]
        for operation, cell in by_rate.items():
            row.append(microseconds(cell.median(name)))
            for added in (cell.less(BARE), by_cpu[operation].less(BARE)):
                row.append("" if name == BARE else microseconds(added.median(name)))
                row.append(f"{_share(added, name, ours[name]):.2f}" if name in ours else "")
        rows.append(row)
    note = (
        "CPU: of the worker. Sojourn's of it: what Sojourn adds, as a part of what this one adds, in the same rounds."
    )
    return Table(title, columns, rows, note)


def _share(added: Samples, theirs: str, ours: str) -> float:
    """What ours adds, as a part of what theirs adds."""
    return added.lead(theirs, ours)


def _verdicts(framework: str, races: list[Race], by_rate: Cells, by_cpu: Cells) -> list[Verdict]:
    """What the project wants of the adapters."""
    verdicts = []
    for race in races:
        theirs, ours = race.theirs.name, race.ours.name
        for operation, doing in OPERATIONS.items():
            rate, cpu = (_share(found[operation].less(BARE), theirs, ours) for found in (by_rate, by_cpu))
            wanted = f"{framework}, a request that {doing}: adds at most {race.most:.2f} of {theirs}"
            verdicts.append(Verdict(wanted, f"{rate:.2f} of it ({cpu:.2f} by CPU time)", rate <= race.most))
    return verdicts
