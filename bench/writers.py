"""On SQLite, many writers: 64 threads or tasks of one process, and 8 processes. Payload B, each writer on a
session of its own, for some seconds; a transaction is load, change one key, commit.

The floor is raw sqlite3 as one would write it: a connection a thread (or process), BEGIN IMMEDIATE,
SQLite's own busy wait of 30 s. The latencies are those of whole transactions, waiting included. What was
refused or timed out is counted and shown, never left out.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from . import floors, ours
from .payloads import B
from .report import Section, Table, Verdict, times
from .timing import median, next_answer, percentile, stop

WRITERS = 64
WINDOWS = 3
PROCESSES = 8
RAW = "raw sqlite3, a connection a thread"
GRACE = 30.0
"""Seconds that processes have to start, and to answer after their time."""


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
    """Raw threads with a connection each, Sojourn's blocking threads and its async tasks, at `power`; in turns, as the
    disk drifts, each time on a new file."""
    groups = {RAW: _raw_threads, "Sojourn, threads": _sojourn_threads, "Sojourn async, tasks": _sojourn_tasks}
    windows: dict[str, list[dict[str, float]]] = {name: [] for name in groups}
    for window in range(WINDOWS):
        for number, (name, write) in enumerate(groups.items()):
            os.sync()
            tally = write(str(folder / f"{window}-{number}.db"), seconds / WINDOWS)
            windows[name].append(tally.figures())
    figures = {name: _together(cells) for name, cells in windows.items()}
    section.figures["concurrent_64"] = figures
    section.tables.append(_threads_table(figures))
    for name in list(groups)[1:]:
        section.verdicts += _threads_verdicts(name, figures)


def _together(cells: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the windows; the worst of all, and all errors."""
    joined = {key: median(cell[key] for cell in cells) for key in ("per_second", "p50", "p99")}
    worst, errors = max(cell["worst"] for cell in cells), sum(cell["errors"] for cell in cells)
    return {**joined, "worst": worst, "errors": errors}


def _threads_table(figures: dict[str, dict[str, float]]) -> Table:
    rows = [
        [
            name,
            f"{cell['per_second']:,.0f}",
            times(cell["per_second"] / figures[RAW]["per_second"]),
            *(f"{cell[key] * 1e3:,.2f}" for key in ("p50", "p99", "worst")),
            f"{cell['errors']:,.0f}",
        ]
        for name, cell in figures.items()
    ]
    columns = ["payload B, power", "transactions/s", "x raw", "p50 ms", "p99 ms", "worst ms", "failed"]
    return Table(f"SQLite: {WRITERS} concurrent writers", columns, rows)


def _threads_verdicts(name: str, figures: dict[str, dict[str, float]]) -> list[Verdict]:
    cell, raw = figures[name], figures[RAW]
    lead = cell["per_second"] / raw["per_second"]
    seen = f"{cell['p99'] * 1e3:.1f} ms (raw {raw['p99'] * 1e3:.0f} ms), {cell['errors']} failed"
    return [
        Verdict(f"{WRITERS} writers, {name}: at least 4 times raw", times(lead), lead >= 4),
        Verdict(
            f"{WRITERS} writers, {name}: p99 under 15 ms, none failed",
            seen,
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
            os.sync()
            cell = _in_processes(kind, str(folder / f"{kind}-{level}.db"), level, seconds)
            figures[f"{kind}, {level}"] = cell
            if kind == "Sojourn":
                wanted = f"{PROCESSES} processes, {level}: none under half of the mean"
                seen = f"least is {cell['least_share']:.2f} of the mean, {cell['errors']} failed"
                section.verdicts.append(Verdict(wanted, seen, cell["least_share"] >= 0.5 and not cell["errors"]))
    section.figures["processes_8"] = figures
    section.tables.append(_processes_table(figures, seconds))


def _processes_table(figures: dict[str, dict[str, Any]], seconds: float) -> Table:
    rows = [
        [
            name.replace("raw", "raw sqlite3, busy wait"),
            *(f"{value:,.0f}" for value in (min(cell["counts"]), cell["mean"], max(cell["counts"]))),
            f"{cell['least_share']:.2f}",
            f"{sum(cell['counts']) / seconds:,.0f}",
            f"{cell['p99'] * 1e3:,.1f}",
            f"{cell['worst'] * 1e3:,.0f}",
            str(cell["errors"]),
        ]
        for name, cell in figures.items()
    ]
    columns = ["payload B", "least", "mean", "most", "least/mean", "all/s", "p99 ms", "worst ms", "failed"]
    return Table(f"SQLite: {PROCESSES} processes, transactions of each in {seconds:g} s", columns, rows)


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
    tally, counts = Tally(), [0] * PROCESSES  # who never answers made nothing
    for at in range(PROCESSES):
        answer = next_answer(children, answers, seconds + GRACE)
        if answer is None:
            break
        counts[at] = len(answer[0]) - answer[1]
        tally.add(*answer)
    stop(children)
    ordered = sorted(tally.latencies) or [float("nan")]
    mean = sum(counts) / PROCESSES
    return {
        "counts": counts,
        "mean": mean,
        "least_share": min(counts) / mean if mean else 0.0,
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
