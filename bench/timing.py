"""Timing: calls in a row, blocking or inside one running loop; rounds in turns; medians and percentiles.

The collector of garbage runs as it always does. A round's figure is the mean of its calls, and what is
printed is the median over the rounds: a mean keeps what happens now and then (a collection, a checkpoint),
the median drops the round in which the machine was busy with something else. The order of the contenders
moves by one each round.
"""

from __future__ import annotations

import asyncio
import queue
import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Self

Job = tuple[Any, ...]


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


async def async_together(call: Callable[..., Any], jobs: Sequence[Job], tasks: int) -> float:
    """Seconds a call, made by so many tasks at once: one over the throughput. Each task takes every so-maniest job."""

    async def work(share: Sequence[Job]) -> None:
        for job in share:
            await call(*job)

    started = perf_counter()
    await asyncio.gather(*(work(jobs[first::tasks]) for first in range(tasks)))
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

    def mean(self, contender: Any, operation: str, jobs: Sequence[Job], tasks: int = 1) -> float:
        """Seconds a call of the operation; of many tasks at once if it is async."""
        call = getattr(contender, operation)
        if tasks > 1:
            return self._runner.run(async_together(call, jobs, tasks))
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


class Samples(dict[str, list[float]]):
    """Seconds a call by contender, one for each round."""

    def median(self, name: str) -> float:
        """The median over the rounds."""
        return median(self[name])

    def medians(self) -> dict[str, float]:
        """The medians of all."""
        return {name: self.median(name) for name in self}

    def lead(self, name: str, of: str) -> float:
        """How many times as fast `name` is as `of`: the median of the ratios within each round."""
        return median(theirs / mine for mine, theirs in zip(self[name], self[of], strict=True))

    def less(self, name: str) -> Samples:
        """What the others take more than `name` in the same rounds."""
        base = self[name]
        return Samples(
            {
                other: [whole - part for whole, part in zip(values, base, strict=True)]
                for other, values in self.items()
                if other != name
            }
        )


def in_turns(rounds: int, measure: Mapping[str, Callable[[], float]]) -> Samples:
    """Every contender once in every round, in an order that is drawn anew for each: nobody always comes after the
    same one, whose debts (garbage, dirty pages) it would pay. The draw is the same in every run."""
    draw = random.Random(20)
    samples = Samples({name: [] for name in measure})
    order = list(measure)
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            samples[name].append(measure[name]())
    return samples


def next_answer(children: Sequence[Any], answers: Any, seconds: float) -> Any:
    """What one of some child processes put into their queue; None if all ended without it or the time is up."""
    give_up = perf_counter() + seconds
    while perf_counter() < give_up:
        ended = not any(child.is_alive() for child in children)
        try:
            return answers.get(timeout=0.5)
        except queue.Empty:
            if ended:
                break
    return None


def stop(children: Sequence[Any]) -> None:
    """Wait for child processes that have answered, and end those that hang."""
    for child in children:
        child.join(timeout=5)
        if child.is_alive():
            child.terminate()


def calls_for(seconds: float, seconds_a_call: float, least: int, most: int) -> int:
    """How many calls fill this much time, within bounds."""
    return max(least, min(most, int(seconds / max(seconds_a_call, 1e-9))))


def median(samples: Iterable[float]) -> float:
    """The median."""
    return statistics.median(samples)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered samples lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
