"""`sojourn check`: does this store, on this machine, keep Sojourn's promises?

A battery of a few seconds that uses sessions of its own only, in a store that may hold live ones, and removes them
at the end. What it finds are `Result`s; how they are shown is the business of `sojourn.console`. Read on in
`sojourn.check.bench` (where the battery works), `writing`, `ending` and `surviving` (the promises).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from ..errors import SojournError
from . import ending, surviving, writing
from .bench import Bench, Finding, Promise, Result, describe
from .place import Place, find_place

__all__ = ["Bench", "Finding", "Place", "Promise", "Result", "find_place", "keep", "promises_for", "run"]


def promises_for(bench: Bench) -> list[Promise]:
    """The promises to be checked in this store, in order."""
    found = [*writing.PROMISES, *ending.PROMISES, surviving.DURABILITY]
    if hasattr(bench.store, "verify"):
        found.append(surviving.INTEGRITY)
    return [*found, surviving.TIDINESS]


def run(bench: Bench, starting: Callable[[Promise], None] = lambda promise: None) -> list[Result]:
    """Check each promise in turn. ``starting`` is called before each. Whatever goes wrong in one is its result, and the
    next goes on; the battery's own sessions are removed even if it is interrupted."""
    try:
        return [keep(promise, bench, starting) for promise in promises_for(bench)]
    finally:
        with suppress(SojournError):  # a store that cannot even do this was told of by the promise of tidiness
            bench.clear()


def keep(promise: Promise, bench: Bench, starting: Callable[[Promise], None] = lambda promise: None) -> Result:
    """Check one promise."""
    starting(promise)
    began = time.monotonic()
    try:
        finding = promise.test(bench)
    except Exception as error:  # a store under test may fail in any way, and that is the answer
        finding = Finding(False, "failed", describe(error))
    return Result(
        name=promise.name,
        promise=promise.says,
        done=promise.done,
        kept=finding.kept,
        figures=finding.figures,
        problem=finding.problem,
        seconds=round(time.monotonic() - began, 3),
    )
