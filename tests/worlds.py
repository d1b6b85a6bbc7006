"""The two worlds behind one face, so that a test's body is written once, as a coroutine.

`Sessions` puts ``await`` before the blocking manager's methods, too; driven by `sojourn.blocking.run` such a test never
suspends, which proves by the way that nothing below it does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Self, TypeVar

from sojourn import AsyncSessionManager, SessionConfig, SessionManager
from sojourn.blocking import run
from sojourn.engine import Engine
from sojourn.lanes import Job
from sojourn.store import Store

T = TypeVar("T")

PATIENT = SessionConfig(deadline=10)
"""For tests that show something else than how long one waits: a busy machine, or a slow disk, fails none of them."""


class World:
    """How callers of one world run, wait, and come together."""

    name: str

    def __repr__(self) -> str:
        return self.name

    def run(self, body: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        raise NotImplementedError  # each world has its own way

    def sessions(self, store: str | Store = "memory://", **settings: Any) -> Sessions:
        """A manager of this world; a patient one, unless a configuration is given."""
        raise NotImplementedError  # each world has its own way

    async def together(self, operations: Iterable[Callable[[], Coroutine[Any, Any, Any]]]) -> list[Any]:
        """Run operations at the same time; their results or exceptions, in order."""
        raise NotImplementedError  # each world has its own way

    async def pause(self) -> None:
        """Let others run."""
        raise NotImplementedError  # each world has its own way

    async def aside(self, work: Callable[[], T]) -> T:
        """Do what blocks, while the others go on."""
        raise NotImplementedError  # each world has its own way

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for what nobody signals."""
        give_up = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < give_up, "it never came"
            await self.pause()


class _Blocking(World):
    name = "blocking"

    def run(self, body: Coroutine[Any, Any, Any]) -> Any:
        return run(body)

    def sessions(self, store: str | Store = "memory://", **settings: Any) -> Sessions:
        settings = {"config": PATIENT} | settings
        return Sessions(SessionManager(store, **settings), settings)

    async def together(self, operations: Iterable[Callable[[], Coroutine[Any, Any, Any]]]) -> list[Any]:
        begins = list(operations)
        results: list[Any] = [None] * len(begins)
        start = threading.Barrier(len(begins))

        def work(at: int) -> None:
            start.wait(10)
            try:
                results[at] = run(begins[at]())
            except Exception as error:
                results[at] = error

        threads = [threading.Thread(target=work, args=(at,)) for at in range(len(begins))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a thread hangs"
        return results

    async def pause(self) -> None:
        time.sleep(0.001)

    async def aside(self, work: Callable[[], T]) -> T:
        return work()


class _Async(World):
    name = "async"

    def run(self, body: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asyncio.wait_for(body, 60))

    def sessions(self, store: str | Store = "memory://", **settings: Any) -> Sessions:
        settings = {"config": PATIENT} | settings
        return Sessions(AsyncSessionManager(store, **settings), settings)

    async def together(self, operations: Iterable[Callable[[], Coroutine[Any, Any, Any]]]) -> list[Any]:
        return await asyncio.gather(*(operation() for operation in operations), return_exceptions=True)

    async def pause(self) -> None:
        await asyncio.sleep(0)

    async def aside(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)


BLOCKING, ASYNC = _Blocking(), _Async()
WORLDS = (BLOCKING, ASYNC)


class Sessions:
    """A manager whose methods are all awaited."""

    _PLAIN = frozenset(
        {"add_listener", "config", "counts", "on_changed", "on_created", "on_ended", "on_overwritten", "on_rotated"}
        | {"start_listeners", "store"}
    )

    def __init__(self, manager: SessionManager | AsyncSessionManager, settings: dict[str, Any]) -> None:
        self.manager = manager
        self._settings = settings
        self._twins: list[Sessions] = []

    def twin(self) -> Sessions:
        """Another manager on the same store, as another process would have it; it is closed with this one."""
        self._twins.append(Sessions(type(self.manager)(self.manager.store, **self._settings), self._settings))
        return self._twins[-1]

    @property
    def engine(self) -> Engine:
        """The operations beneath, for what adapters do."""
        return getattr(self.manager, "engine", self.manager)

    @property
    def leaders(self) -> dict[str, Job]:
        """Who commits now, by session, and who waits behind them: for tests of how commits meet."""
        return self.engine._lanes._lanes

    def session(self, session_id: str) -> Any:
        return self._block(self.manager.session(session_id))

    def exclusive(self, session_id: str, **limits: float) -> Any:
        return self._block(self.manager.exclusive(session_id, **limits))

    def watch(self, *given: Any, **of: Any) -> Any:
        watch = self.manager.watch(*given, **of)
        return watch if isinstance(self.manager, AsyncSessionManager) else _Watch(watch)

    async def save(self, session: Any) -> None:
        """``session.save()``, awaited or not."""
        await _settled(session.save())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in (*self._twins, self):
            await _settled(each.manager.close())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.manager, name)
        if name in self._PLAIN:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await _settled(found(*args, **kwargs))

        return call

    def _block(self, block: Any) -> Any:
        return block if isinstance(self.manager, AsyncSessionManager) else _Block(block)


class _Block:
    def __init__(self, block: Any) -> None:
        self._block = block

    async def __aenter__(self) -> Any:
        return self._block.__enter__()

    async def __aexit__(self, *error: object) -> Any:
        return self._block.__exit__(*error)


class _Watch(_Block):
    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._watch = watch

    async def __aenter__(self) -> Any:
        self._watch.__enter__()
        return self

    async def next(self, timeout: float | None = None) -> Any:
        return self._watch.next(timeout)

    async def close(self) -> None:
        self._watch.close()

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        for change in self._watch:
            return change
        raise StopAsyncIteration


async def _settled(result: Any) -> Any:
    return await result if asyncio.iscoroutine(result) else result


class Through:
    """A store that passes everything on to another, counts the calls, and lets a test reach in: set ``before[name]`` or
    ``after[name]`` to a function of the arguments, or a coroutine function; what it raises is the operation's
    failure."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[str] = []
        self.before: dict[str, Callable[..., Any]] = {}
        self.after: dict[str, Callable[..., Any]] = {}

    @property
    def world(self) -> Any:
        return self.store.world

    @property
    def durability(self) -> Any:
        return self.store.durability

    @property
    def writes(self) -> list[str]:
        """The calls so far that write."""
        return [
            name for name in self.calls if name in ("create", "commit", "touch", "end", "end_matching", "purge_expired")
        ]

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.store, name)
        if name in ("feed", "walk"):  # which are no operations
            return operation

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if name in self.before:
                await _settled(self.before[name](*args, **kwargs))
            result = await operation(*args, **kwargs)
            if name in self.after:
                await _settled(self.after[name](*args, **kwargs))
            return result

        return call
