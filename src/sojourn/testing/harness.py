"""How the tests of the contract run: in threads or in tasks, on a store that is opened for each."""
# ruff: noqa: S101 - these are tests: they assert

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, TypeVar

from ..record import Change, Committed, Outcome, Record
from ..store import Store, World
from ..waiting import TaskWaiting, ThreadWaiting, run
from .records import NOW

__all__ = [
    "Harness",
    "create",
    "end_matching",
    "facts_of",
    "kinds",
    "live",
    "load_one",
    "of_user",
    "proves",
    "record_of",
]

T = TypeVar("T")


def proves(check: Callable[[Any, Store], Awaitable[None]]) -> Callable[[Any], None]:
    """Make a test of a coroutine: open the store, run it in the world of the class, close the store."""

    def test(self: Harness) -> None:
        self.run(check)

    test.__name__ = test.__qualname__ = check.__name__  # not functools.wraps: pytest would take `store` for a fixture
    test.__doc__ = check.__doc__
    return test


class Harness:
    """Opens stores, and runs checks on them."""

    world: ClassVar[World] = "blocking"
    """Which callers these tests play: "blocking" or "async"."""

    def open(self) -> Store:
        """Open the store: empty the first time. A store that outlives its process finds what it held when it is opened
        again within the same test."""
        raise NotImplementedError("say how to open your store")  # whoever writes a store says how

    def run(self, check: Callable[[Any, Store], Awaitable[None]]) -> None:
        """Run one check on a store that is opened for it and closed after it."""

        async def whole() -> None:
            store = self.open()
            try:
                await check(self, store)
            finally:
                await store.close()

        if self.world == "blocking":
            run(whole())
        else:
            asyncio.run(whole())

    async def together(self, operations: Iterable[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run operations at the same time: in threads, or in tasks. Their results, in order."""
        if self.world != "blocking":
            return list(await asyncio.gather(*(operation() for operation in operations)))
        begins = list(operations)
        results: dict[int, T] = {}
        errors: list[BaseException] = []
        start = threading.Barrier(len(begins))

        def work(at: int) -> None:
            try:
                start.wait(10)
                results[at] = run(begins[at]())
            except BaseException as error:  # it is raised below, where the test can see it
                errors.append(error)

        threads = [threading.Thread(target=work, args=(at,)) for at in range(len(begins))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [results[at] for at in range(len(begins))]

    async def pause(self) -> None:
        """Let the others do something."""
        await (ThreadWaiting() if self.world == "blocking" else TaskWaiting()).sleep(0.0005)


async def create(store: Store, *records: Record) -> None:
    """Create records."""
    for record in records:
        outcome = await store.create(record, NOW)
        assert isinstance(outcome, Committed)


async def end_matching(store: Store, **matching: Any) -> None:
    """End all that match."""
    await store.end_matching(NOW, **matching)


async def load_one(store: Store, record: Record) -> Record:
    """A record that is there."""
    loaded = await store.load(record.handle)
    assert loaded is not None
    return loaded


def record_of(outcome: Outcome) -> Record:
    """The record of a commit that was made."""
    assert isinstance(outcome, Committed)
    return outcome.record


async def of_user(store: Store, user_id: str) -> set[str]:
    """The handles of a user's living sessions."""
    return {summary.handle for summary in await store.summaries(NOW, user_id=user_id)}


async def live(store: Store, now: float) -> set[str]:
    """The handles of living sessions."""
    return {summary.handle for summary in await store.summaries(now)}


def facts_of(outcome: Outcome) -> tuple[Change, ...]:
    """The facts of a commit that was made."""
    assert isinstance(outcome, Committed)
    return outcome.facts


def kinds(told: Iterable[Change]) -> Counter[str]:
    """How many facts there are of each kind."""
    return Counter(change.kind for change in told)
