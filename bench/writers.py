"""On SQLite, many writers: 64 threads or tasks of one process, and 8 processes. Payload B, each writer on a
session of its own, for some seconds; a transaction is load, change one key, commit.

The floor is raw sqlite3 as one would write it: a connection a thread (or process), BEGIN IMMEDIATE,
SQLite's own busy wait of 30 s. The latencies are those of whole transactions, waiting included. What was
refused or timed out is counted and shown, never left out.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from . import floors, ours
from .payloads import B
from .report import Section, Table, Verdict
from .timing import percentile

WRITERS = 64
PROCESSES = 8
GRACE = 60.0
"""Seconds after its time when a process that has not answered is stopped."""


@dataclass
class Tally:
    """What one group of writers did."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    def add(self, latencies: list[float], errors: int) -> None:
        """Add what one writer did."""
        self.latencies += latencies
        self.errors += errors

    def figures(self) -> dict[str, float]:
        """Throughput and percentiles, in seconds."""
        ordered = sorted(self.latencies) or [float("nan")]
        return {
            "transactions": len(self.latencies) - self.errors,
            "per_second": (len(self.latencies) - self.errors) / self.seconds,
            "p50": percentile(ordered, 0.5),
            "p99": percentile(ordered, 0.99),
            "worst": ordered[-1],
            "errors": self.errors,
        }


def write_until(end: float, change: Callable[[str, Any], None], sid: str) -> tuple[list[float], int]:
    """Transactions in a row until the time is over: their latencies, and how many failed."""
    latencies: list[float] = []
    errors = number = 0
    started = perf_counter()
    while started < end:
        number += 1
        try:
            change(sid, B.value(number))
        except Exception:  # whatever a contender raises under load is its result: a count, shown in the table
            errors += 1
        now = perf_counter()
        latencies.append(now - started)
        started = now
    return latencies, errors


# -- 64 writers in one process ----------------------------------------------------------------------------


def threads(section: Section, folder: Path, seconds: float) -> None:
    """Raw threads with a connection each, Sojourn's blocking threads and its async tasks, at `power`."""
    results = {
        "raw sqlite3, a connection a thread": _raw_threads(str(folder / "raw.db"), seconds),
        "Sojourn, threads": _sojourn_threads(str(folder / "blocking.db"), seconds),
        "Sojourn async, tasks": _sojourn_tasks(str(folder / "async.db"), seconds),
    }
    figures = {name: tally.figures() for name, tally in results.items()}
    section.figures["concurrent_64"] = figures
    raw = figures["raw sqlite3, a connection a thread"]
    rows = [
        [
            name,
            f"{cell['per_second']:,.0f}",
            f"x{cell['per_second'] / raw['per_second']:.2f}",
            *(f"{cell[key] * 1e3:,.2f}" for key in ("p50", "p99", "worst")),
            f"{cell['errors']:,.0f}",
        ]
        for name, cell in figures.items()
    ]
    columns = ["payload B, power", "transactions/s", "x raw", "p50 ms", "p99 ms", "worst ms", "failed"]
    section.tables.append(Table(f"SQLite: {WRITERS} concurrent writers", columns, rows))
    for name in list(figures)[1:]:
        cell = figures[name]
        lead = cell["per_second"] / raw["per_second"]
        section.verdicts += [
            Verdict(f"{WRITERS} writers, {name}: at least 4 times raw", f"x{lead:.2f}", lead >= 4),
            Verdict(
                f"{WRITERS} writers, {name}: p99 under 15 ms, none failed",
                f"{cell['p99'] * 1e3:.1f} ms (raw {raw['p99'] * 1e3:.0f} ms), {cell['errors']} failed",
                cell["p99"] < 0.015 and not cell["errors"],
            ),
        ]


def _in_threads(seconds: float, changes: list[tuple[Callable[[str, Any], None], str]]) -> Tally:
    """Run one writer a thread, all from the same moment."""
    tally, lock = Tally(), threading.Lock()
    barrier = threading.Barrier(len(changes) + 1)
    end = [0.0]

    def writer(change: Callable[[str, Any], None], sid: str) -> None:
        barrier.wait()
        outcome = write_until(end[0], change, sid)
        with lock:
            tally.add(*outcome)

    running = [threading.Thread(target=writer, args=pair, daemon=True) for pair in changes]
    for thread in running:
        thread.start()
    started = perf_counter()
    end[0] = started + seconds
    barrier.wait()
    for thread in running:
        thread.join()
    tally.seconds = perf_counter() - started
    return tally


def _raw_threads(path: str, seconds: float) -> Tally:
    worlds = [floors.CorrectSqlite(B, path, "power") for _ in range(WRITERS)]
    try:
        return _in_threads(seconds, [(w.change, w.create(B.build(n))) for n, w in enumerate(worlds)])
    finally:
        for world in worlds:
            world.close()


def _sojourn_threads(path: str, seconds: float) -> Tally:
    world = ours.SqliteSojourn(B, path, "power")
    try:
        return _in_threads(seconds, [(world.change, world.create(B.build(n))) for n in range(WRITERS)])
    finally:
        world.close()


def _sojourn_tasks(path: str, seconds: float) -> Tally:
    async def writer(world: ours.SqliteAsyncSojourn, sid: str, end: float, tally: Tally) -> None:
        started, number = perf_counter(), 0
        while started < end:
            number += 1
            try:
                await world.change(sid, B.value(number))
            except Exception:  # as in `write_until`
                tally.errors += 1
            now = perf_counter()
            tally.latencies.append(now - started)
            started = now

    async def main() -> Tally:
        world, tally = ours.SqliteAsyncSojourn(B, path, "power"), Tally()
        ids = [await world.create(B.build(n)) for n in range(WRITERS)]
        started = perf_counter()
        await asyncio.gather(*(writer(world, sid, started + seconds, tally) for sid in ids))
        tally.seconds = perf_counter() - started
        await world.close()
        return tally

    return asyncio.run(main())


# -- 8 processes ------------------------------------------------------------------------------------------


def processes(section: Section, folder: Path, seconds: float) -> None:
    """One writer in each of 8 processes on one file, at both levels: how much, and how evenly."""
    figures: dict[str, dict[str, Any]] = {}
    for level in ("power", "process"):
        for kind in ("raw", "Sojourn"):
            counts = _in_processes(kind, str(folder / f"{kind}-{level}.db"), level, seconds)
            figures[f"{kind}, {level}"] = counts
    section.figures["processes_8"] = figures
    rows = []
    for name, cell in figures.items():
        mean = sum(cell["counts"]) / PROCESSES
        share = min(cell["counts"]) / mean if mean else 0.0
        cell |= {"mean": mean, "min_share": share}
        rows.append(
            [
                name.replace("raw", "raw sqlite3, busy wait"),
                *(f"{value:,.0f}" for value in (min(cell["counts"]), mean, max(cell["counts"]))),
                f"{share:.2f}",
                f"{sum(cell['counts']) / seconds:,.0f}",
                f"{cell['p99'] * 1e3:,.1f}",
                f"{cell['worst'] * 1e3:,.0f}",
                str(cell["errors"]),
            ]
        )
        if name.startswith("Sojourn"):
            wanted = f"8 processes, {name.partition(', ')[2]}: none under half of the mean"
            seen = f"least is {share:.2f} of the mean, {cell['errors']} failed"
            section.verdicts.append(Verdict(wanted, seen, share >= 0.5 and not cell["errors"]))
    columns = ["payload B", "least", "mean", "most", "least/mean", "all/s", "p99 ms", "worst ms", "failed"]
    title = f"SQLite: {PROCESSES} processes, transactions of each in {seconds:g} s"
    section.tables.append(Table(title, columns, rows))


def _in_processes(kind: str, path: str, level: str, seconds: float) -> dict[str, Any]:
    """Start the processes, let them write from the same moment, and collect what each did."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(PROCESSES), context.Queue()
    world = _world(kind, path, level)
    ids = [world.create(B.build(n)) for n in range(PROCESSES)]
    world.close()
    children = [
        context.Process(target=_child, args=(kind, path, level, sid, seconds, barrier, answers), daemon=True)
        for sid in ids
    ]
    for child in children:
        child.start()
    tally, counts = Tally(), []
    try:
        for _ in children:
            latencies, errors = answers.get(timeout=seconds + GRACE)
            counts.append(len(latencies) - errors)
            tally.add(latencies, errors)
    except queue.Empty:
        counts += [0] * (PROCESSES - len(counts))  # who never answered made nothing
    finally:
        for child in children:
            child.join(timeout=5)
            if child.is_alive():
                child.terminate()
    ordered = sorted(tally.latencies)
    return {
        "counts": counts,
        "p99": percentile(ordered, 0.99),
        "worst": ordered[-1],
        "errors": tally.errors,
    }


def _world(kind: str, path: str, level: str) -> Any:
    return (floors.CorrectSqlite if kind == "raw" else ours.SqliteSojourn)(B, path, level)


def _child(kind: str, path: str, level: str, sid: str, seconds: float, barrier: Any, answers: Any) -> None:
    """One process: open, wait for the others, write for its time, answer."""
    world = _world(kind, path, level)
    world.change(sid, B.value(0))
    barrier.wait(timeout=GRACE)
    answers.put(write_until(perf_counter() + seconds, world.change, sid))
    world.close()
