"""A million live sessions in memory at payload A: what one weighs, what a sweep costs, what an eviction
costs.

Each question has a process of its own, so that the memory it takes is its own. A session's weight is the
growth of the resident set divided by their number, ids not kept; the dict of blobs beside it is context: it
has no expiry, no metadata and no index. The clock is moved by hand: batches are created some minutes apart
and die one by one.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path
from time import perf_counter
from typing import Any

from sojourn import SessionConfig, SessionManager

from . import floors, ours
from .payloads import A
from .report import Section, Table, Verdict, microseconds
from .timing import median, next_answer, stop

DYING = (10_000, 10_000, 10_000, 100, 100, 100)
"""How many die at each of the sweeps. Each batch dies within one second: the worst case for buckets of time."""
LARGE = 100_000
"""One more batch, where there are so many to spare."""
APART = 300.0
"""Seconds between the deadlines of two batches: more than a touch interval."""
IDLE = 100_000.0
ROUNDS = 7
CREATES = 2_000
"""Creations in a round."""
SMALL = 1_000
"""The bound of the small store that the large one is compared with."""
PROC = Path("/proc/self/statm")
"""Where Linux tells; elsewhere `ps` does."""
LIMIT = 240.0
"""Seconds that one question may take."""


def bench(*, quick: bool) -> Section:
    """Weight, sweep, eviction."""
    total = 100_000 if quick else 1_000_000
    figures = {
        "total": total,
        "blobs": _in_child(weigh_blobs, total),
        "sweep": _in_child(weigh_and_sweep, total),
        "sweep_small": _in_child(weigh_and_sweep, total // 20),
        "evict": _in_child(evict, total),
        "evict_small": _in_child(evict, SMALL),
    }
    section = Section("million", figures=figures)
    section.tables = [_weight(figures), _sweeps(figures), _evictions(figures)]
    section.verdicts = _verdicts(figures)
    return section


# -- in the children --------------------------------------------------------------------------------------


def resident_bytes() -> int:
    """The resident set of this process."""
    if PROC.exists():
        return int(PROC.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    answer = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=True, text=True)
    return int(answer.stdout) * 1024


def weigh_blobs(total: int) -> dict[str, Any]:
    """The weight of a session in a dict of blobs."""
    world = floors.Blobs(A)
    world.create(A.build(0))
    before = resident_bytes()
    for number in range(total):
        world.create(A.build(number))
    return {"bytes_a_session": (resident_bytes() - before) / total}


def weigh_and_sweep(total: int) -> dict[str, Any]:
    """The weight of a session, the cost of a create, and of sweeps in which none, few and many died."""
    clock = ours.Clock()
    manager = SessionManager(clock=clock, config=SessionConfig(idle_timeout=IDLE, absolute_timeout=1e9))
    manager.end_session(manager.create_session(data=A.build(0)))
    before = resident_bytes()
    began = clock.now
    dying = (*DYING, LARGE) if total >= 5 * LARGE else DYING
    for batch, count in enumerate((*dying, total - sum(dying))):
        clock.now = began + batch * APART
        for number in range(count):
            manager.create_session(data=A.build(number))
    weight = (resident_bytes() - before) / total
    creates = _creates(manager)
    seconds: dict[str, list[float]] = {}
    for batch, count in enumerate(dying):
        clock.now = began + IDLE + batch * APART + APART / 2
        for expected in (count, 0):
            seconds.setdefault(str(expected), []).append(_sweep(manager, expected))
    manager.close()
    return {
        "bytes_a_session": weight,
        "create": creates,
        "sweep": {died: median(s) for died, s in seconds.items()},
    }


def _sweep(manager: SessionManager, expected: int) -> float:
    """Seconds of one sweep, after asserting that it found what died and nothing else."""
    started = perf_counter()
    found = manager.purge_expired()
    seconds = perf_counter() - started
    assert found == expected, f"{found} died, not {expected}"
    return seconds


def evict(total: int) -> dict[str, Any]:
    """The cost of a create at the bound, where each new session evicts another; all are of one second."""
    manager = SessionManager(clock=ours.Clock(), config=SessionConfig(max_sessions=total))
    first = manager.create_session(data=A.build(0))
    for number in range(total - 1):
        manager.create_session(data=A.build(number))
    assert manager.is_session_active(first), "evicted below the bound"
    seconds = _creates(manager)
    assert not manager.is_session_active(first), "not evicted at the bound"
    manager.close()
    return {"create_at_bound": seconds}


def _creates(manager: SessionManager) -> float:
    """The median seconds of a create."""
    pool = [A.build(number) for number in range(64)]
    samples = []
    for _ in range(ROUNDS):
        started = perf_counter()
        for number in range(CREATES):
            manager.create_session(data=pool[number % 64])
        samples.append((perf_counter() - started) / CREATES)
    return median(samples)


# -- in the parent ----------------------------------------------------------------------------------------


def _in_child(question: Any, total: int) -> dict[str, Any]:
    """Ask in a fresh process, for a bounded time."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_answer, args=(question, total, answers), daemon=True)
    child.start()
    answer = next_answer([child], answers, LIMIT)
    stop([child])
    if answer is None:
        raise RuntimeError(f"{question.__name__}({total}) failed, or did not answer within {LIMIT:g} s")
    return dict(answer)


def _answer(question: Any, total: int, answers: Any) -> None:
    answers.put(question(total))


def _weight(figures: dict[str, Any]) -> Table:
    rows = [
        ["dict of blobs", f"{figures['blobs']['bytes_a_session']:,.0f}"],
        ["Sojourn", f"{figures['sweep']['bytes_a_session']:,.0f}"],
    ]
    title = f"{figures['total']:,} live sessions of payload A ({A.check()} bytes encoded)"
    return Table(title, ["", "bytes a session"], rows)


def _sweeps(figures: dict[str, Any]) -> Table:
    rows = []
    for key, living in (("sweep", figures["total"]), ("sweep_small", figures["total"] // 20)):
        for died, seconds in sorted(figures[key]["sweep"].items(), key=lambda pair: int(pair[0])):
            each = seconds / int(died) if int(died) else None
            rows.append([f"{living:,}", f"{int(died):,}", microseconds(seconds), microseconds(each)])
    return Table("a sweep", ["living", "died", "us", "us each"], rows)


def _evictions(figures: dict[str, Any]) -> Table:
    total = f"{figures['total']:,}"
    rows = [
        [f"no bound, {total} living", microseconds(figures["sweep"]["create"])],
        [f"at the bound of {total}", microseconds(figures["evict"]["create_at_bound"])],
        [f"at the bound of {SMALL:,}", microseconds(figures["evict_small"]["create_at_bound"])],
    ]
    return Table("a create; at the bound it evicts another", ["", "us a create"], rows)


def _verdicts(figures: dict[str, Any]) -> list[Verdict]:
    """What the project wants of a million sessions."""
    weight = figures["sweep"]["bytes_a_session"]
    sweep, small = figures["sweep"]["sweep"], figures["sweep_small"]["sweep"]
    each = {int(died): seconds / int(died) for died, seconds in sweep.items() if int(died)}
    most = max(each)
    small_each = small["10000"] / 10_000
    at_bound = figures["evict"]["create_at_bound"]
    at_small = figures["evict_small"]["create_at_bound"]
    return [
        Verdict("at most 800 bytes a session at A", f"{weight:,.0f}", weight <= 800),
        Verdict("a sweep with nothing dead is under 1 ms", f"{sweep['0'] * 1e6:,.0f} us", sweep["0"] < 0.001),
        Verdict(
            "a dead session costs the same among 20 times as many living (up to 2 times)",
            f"{each[10_000] * 1e6:.2f} us against {small_each * 1e6:.2f}",
            each[10_000] <= 2 * small_each,
        ),
        Verdict(
            f"a dead session costs the same whether 100 died or {most:,} (up to 2 times)",
            f"{each[most] * 1e6:.2f} us against {each[100] * 1e6:.2f}",
            each[most] <= 2 * each[100],
        ),
        Verdict(
            f"an eviction is O(1): a create at the bound costs the same at {SMALL:,} (up to 2 times)",
            f"{at_bound * 1e6:.1f} us against {at_small * 1e6:.1f}",
            at_bound <= 2 * at_small,
        ),
    ]
