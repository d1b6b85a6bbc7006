"""Timing: calls in a row, blocking or inside one running loop; rounds in turns; medians and percentiles.

The collector of garbage runs as it always does. A round's figure is the mean of its calls, and what is
printed is the median over the rounds: a mean keeps what happens now and then (a collection, a checkpoint),
the median drops the round in which the machine was busy with something else. The order of the contenders
moves by one each round.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any, Self, TypeVar

Job = tuple[Any, ...]
T = TypeVar("T")


def blocking_mean(call: Callable[..., Any], jobs: Sequence[Job]) -> float:
    """Seconds a call."""
    started = perf_counter()
    for job in jobs:
        call(*job)
    return (perf_counter() - started) / len(jobs)


async def async_mean(call: Callable[..., Any], jobs: Sequence[Job]) -> float:
    """Seconds a call, awaited one after the other within the running loop."""
    started = perf_counter()
    for job in jobs:
        await call(*job)
    return (perf_counter() - started) / len(jobs)


async def async_each(call: Callable[..., Any], jobs: Sequence[Job]) -> list[Any]:
    """The results of the calls."""
    return [await call(*job) for job in jobs]


class Driver:
    """Calls blocking and async contenders alike; it owns one event loop, entered once for many calls."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def mean(self, contender: Any, operation: str, jobs: Sequence[Job]) -> float:
        """Seconds a call of the operation."""
        call = getattr(contender, operation)
        if contender.asynchronous:
            return self._runner.run(async_mean(call, jobs))
        return blocking_mean(call, jobs)

    def each(self, contender: Any, operation: str, jobs: Sequence[Job]) -> list[Any]:
        """The results of calls that are not timed."""
        call = getattr(contender, operation)
        if contender.asynchronous:
            return self._runner.run(async_each(call, jobs))
        return [call(*job) for job in jobs]

    def run(self, operation: Any) -> Any:
        """Run one coroutine to its end."""
        return self._runner.run(operation)

    def close(self, contender: Any) -> None:
        """Close a contender, whatever its colour."""
        result = contender.close()
        if asyncio.iscoroutine(result):
            self._runner.run(result)


def turns(items: Sequence[T], rounds: int) -> Iterator[T]:
    """Every item in every round; each round begins with the next one."""
    for start in range(rounds):
        for offset in range(len(items)):
            yield items[(start + offset) % len(items)]


def calls_for(seconds: float, seconds_a_call: float, least: int, most: int) -> int:
    """How many calls fill this much time, within bounds."""
    return max(least, min(most, int(seconds / max(seconds_a_call, 1e-9))))


def median(samples: Iterable[float]) -> float:
    """The median."""
    return statistics.median(samples)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered samples lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
