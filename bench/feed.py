"""The feed and the copy: how long until a watcher in another process is told of a change, what a commit costs while
nobody watches and while somebody does, and how many sessions a second are copied from one store to another.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from sojourn import AsyncSessionManager, SessionConfig, SessionManager

from .payloads import A, B
from .report import Section, Table, Verdict
from .servers import durable_postgres, running, valkey
from .timing import median

_WRITER = """
import sys, time
from sojourn import Handle, SessionManager
url, handle, count = sys.argv[1], Handle(sys.argv[2]), int(sys.argv[3])
with SessionManager(url) as sessions:
    began = []
    for number in range(count):
        time.sleep(0.01)
        began.append(time.clock_gettime(time.CLOCK_MONOTONIC))
        sessions.update(handle, f"field {number % 50}", lambda _: number)
    print(*began)
"""


def bench(*, quick: bool) -> Section:
    """Each store that processes share, and each pair of them."""
    section = Section("feed")
    changes, commits, sessions = (100, 300, 5000) if quick else (500, 3000, 20_000)
    with _places() as places:
        seen = {name: asyncio.run(_latencies(place("latency"), changes)) for name, place in places.items()}
        costs = {
            name: [_cost(place(f"cost_{watched}"), commits, watched=watched) for watched in (False, True)]
            for name, place in places.items()
        }
        filled = {name: asyncio.run(_filled(place("source"), sessions)) for name, place in places.items()}
        copies = {
            (one, other): _copied(filled[one], places[other](f"from_{one.lower()}"))
            for one in places
            for other in places
            if one != other
        }
    section.tables = [_of_latencies(seen, changes), _of_costs(costs), _of_copies(copies, sessions)]
    section.figures = {
        "latency_seconds": {name: {"p50": median(times), "p99": _p99(times)} for name, times in seen.items()},
        "commit_cpu_seconds": {name: {"alone": alone, "watched": watched} for name, (alone, watched) in costs.items()},
        "copied_a_second": {f"{one} to {other}": speed for (one, other), speed in copies.items()},
    }
    section.verdicts = [
        *(
            Verdict(f"{name}: a change is seen in another process, p50", f"{median(seen[name]) * 1e3:.2f} ms of 5", met)
            for name in ("Valkey", "PostgreSQL")
            for met in [median(seen[name]) < 0.005]
        ),
        Verdict(
            "copy from SQLite to Valkey, sessions a second",
            f"{copies['SQLite', 'Valkey']:,.0f} of 10,000",
            copies["SQLite", "Valkey"] >= 10_000,
        ),
    ]
    return section


@contextmanager
def _places() -> Iterator[dict[str, Callable[[str], str]]]:
    """For each store, what gives the URL of a part of it that is empty at first, by a name."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-bench-"))
        server, _ = stack.enter_context(running(valkey))
        database, _ = stack.enter_context(running(durable_postgres))
        yield {
            "SQLite": lambda part: f"sqlite:///{folder}/{part}.db",
            "Valkey": lambda part: server.url(prefix=part),
            "PostgreSQL": lambda part: database.url(schema=part),
        }


# --- A change, seen elsewhere ----------------------------------------------------------------------------------------


async def _latencies(url: str, count: int) -> list[float]:
    """Seconds from the call of each commit in another process to the hint of it in this one."""
    async with AsyncSessionManager(url) as sessions:
        session_id = await sessions.create_session(data={"n": 0})
        async with sessions.watch(session=session_id) as changes:
            writer = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _WRITER, url, session_id.split(".")[0], str(count), stdout=subprocess.PIPE
            )
            seen: dict[str, list[float]] = {}
            told = 0
            while told < count and (change := await changes.next(5)) is not None:
                now = time.clock_gettime(time.CLOCK_MONOTONIC)
                for name in change.fields or ():
                    seen.setdefault(name, []).append(now)
                    told += 1
            out, _ = await writer.communicate()
    began = [float(word) for word in out.split()]
    rounds: dict[str, int] = {}
    found = []
    for number, start in enumerate(began):
        name = f"field {number % 50}"
        turn = rounds.setdefault(name, 0)
        rounds[name] += 1
        if turn < len(seen.get(name, [])):
            found.append(seen[name][turn] - start)
    return found


def _of_latencies(seen: dict[str, list[float]], count: int) -> Table:
    rows = [
        (name, f"{median(times) * 1e3:.2f} ms", f"{_p99(times) * 1e3:.2f} ms", f"{len(times)} of {count}")
        for name, times in seen.items()
    ]
    return Table(
        "A change in one process, seen by a watcher in another",
        ("from the call of the commit", "p50", "p99", "told"),
        rows,
        "SQLite is looked at every 5 ms; the others say it.",
    )


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


# --- What it costs a writer ------------------------------------------------------------------------------------------


def _cost(url: str, count: int, *, watched: bool) -> float:
    """CPU seconds of this process for a load, a change and a commit."""
    with ExitStack() as stack:
        sessions = stack.enter_context(SessionManager(url))
        session_id = sessions.create_session(data=B.build(0))
        if watched:
            watcher = [sys.executable, "-c", _WATCHER, url]
            process = stack.enter_context(subprocess.Popen(watcher, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        rounds = []
        for start in range(0, count, count // 10):
            began = time.process_time()
            for number in range(start, start + count // 10):
                with sessions.session(session_id) as session:
                    session["n"] = number
            rounds.append((time.process_time() - began) / (count // 10))
        return median(rounds)


_WATCHER = """
import sys
from sojourn import SessionManager
with SessionManager(sys.argv[1]) as sessions, sessions.watch() as changes:
    print("ready", flush=True)
    for change in changes:
        pass
"""


def _of_costs(costs: dict[str, list[float]]) -> Table:
    rows = [
        (name, f"{alone * 1e6:.0f} us", f"{watched * 1e6:.0f} us", f"x{watched / alone:.2f}")
        for name, (alone, watched) in costs.items()
    ]
    return Table(
        "Load, change one, commit (payload B): CPU of the writer's process",
        ("", "nobody watches", "another process watches all", "ratio"),
        rows,
    )


# --- Copying ---------------------------------------------------------------------------------------------------------


def _copied(source: str, target: str) -> float:
    """Sessions a second, by the command: two walks through the source included, and one through the target."""
    command = [sys.executable, "-m", "sojourn", "copy", source, target, "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return float(told["copied"] / told["seconds"])


async def _filled(url: str, count: int) -> str:
    """A store with so many small sessions, a tenth of them without a user."""
    async with AsyncSessionManager(url, config=SessionConfig(deadline=10)) as sessions:
        numbers = iter(range(count))

        async def fill() -> None:
            for number in numbers:
                await sessions.create_session(f"user {number}" if number % 10 else None, A.build(number))

        await asyncio.gather(*(fill() for _ in range(200)))
    return url


def _of_copies(copies: dict[tuple[str, str], float], count: int) -> Table:
    names = list(dict.fromkeys(one for one, _ in copies))
    rows = [
        (f"from {one}", *(f"{copies[one, other]:,.0f}" if one != other else "" for other in names)) for one in names
    ]
    return Table(
        f"sojourn copy: sessions a second, of {count:,} (payload A)",
        ("", *(f"to {name}" for name in names)),
        rows,
    )
