"""Listeners: functions that are called for facts of the life of sessions, whoever brought these about.

``deliver="once"``: each fact is delivered to one process of all that use the store. Its place in the history is a
bookmark in the store, by the listener's name, which one process holds while it delivers; if it dies, another goes on
from there. ``deliver="each"``: to every process that listens, from when it began to. Both are at least once: a process
that dies between a call and its note of it has the call made again. A fact has a stable id, to tell it apart by.

A listener that raises is called again, a few times; then that is logged and counted, and the next fact is delivered.
"""

from __future__ import annotations

import inspect
import logging
import os
import secrets
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeAlias, TypeVar

from .config import SessionConfig
from .errors import ConfigurationError, HistoryTrimmed, StoreError
from .record import Change, ChangeKind
from .store import Store
from .waiting import Background, Signal, Waiting

__all__ = ["Deliver", "Hooks", "Listener", "Listeners"]

log = logging.getLogger("sojourn")

Listener: TypeAlias = Callable[[Change], Any]
"""Takes a change; what it returns is awaited if it can be."""

Deliver: TypeAlias = Literal["once", "each"]
"""To one process of the fleet, or to each."""

L = TypeVar("L", bound=Listener)

_LOOK: Final = 1.0  # seconds between two looks into the history
_HOLD: Final = (
    10.0  # seconds for which a bookmark is held: after so many, another process takes over from one that died
)
_PAGE: Final = 100  # facts delivered between two notes of the place
_PASSED: Final = 2000  # facts of other kinds after which a bookmark is moved, or it would point to what is not kept
_PAUSES: Final = (0.1, 1.0)  # seconds before a listener that failed is called again

_all: weakref.WeakSet[Listeners] = weakref.WeakSet()


class _Reader:
    """A listener, and where it is in the history."""

    def __init__(self, listener: Listener, kind: ChangeKind, deliver: Deliver, name: str) -> None:
        self.listener = listener
        self.kind = kind
        self.deliver = deliver
        self.name = name
        self.since: int | None = None
        """From where on it is told, if it was never called before; None: nobody has asked yet."""
        self.position: int | None = None
        """Up to where there is nothing left to deliver, as far as is known here; None: it has yet to begin."""
        self.passed = 0
        """Facts of other kinds since its bookmark was moved."""


class Listeners:
    """The listeners of a manager, and the work that calls them. Adding one starts nothing: `start` does."""

    def __init__(
        self,
        store: Store,
        waiting: Waiting,
        clock: Callable[[], float],
        counts: Counter[str],
        sweep: Callable[[], Awaitable[object]],
        sweep_every: float,
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._clock = clock
        self._counts = counts
        self._sweep = sweep
        self._sweep_every = sweep_every
        self._readers: list[_Reader] = []
        self._begin_anew()
        _all.add(self)

    def _begin_anew(self) -> None:
        self._holder = secrets.token_hex(16)
        # Over who works: of many that come first, in as many threads, one starts it. (Reentrant, as the work of a loop
        # that was closed ends when it is collected, which may be anywhere.)
        self._lock = threading.RLock()
        self._work: Background | None = None
        self._shift = object()
        """Names the work that is to go on; any other ends."""
        self._signal: Signal | None = None
        self.idle = bool(self._readers)
        """Whether there are listeners that have yet to `begin` in this process."""
        for reader in self._readers:
            reader.since = reader.position = None

    def add(self, listener: Listener, kind: ChangeKind, deliver: Deliver, name: str | None) -> None:
        """Register a listener for facts of a kind."""
        if deliver not in ("once", "each"):
            raise ConfigurationError(f'deliver is "once" or "each", not {deliver!r}')
        whole = f"{kind}:{name or f'{listener.__module__}.{listener.__qualname__}'}"
        if deliver == "once" and any(reader.name == whole for reader in self._readers):
            raise ConfigurationError(f"there is a listener named {whole!r} already: give each a name= of its own")
        self._readers.append(_Reader(listener, kind, deliver, whole))
        self.idle = True

    async def begin(self) -> None:
        """Before an operation of the manager, if some are `idle`: all that happens from here on is theirs to be told,
        and what the operation itself brings about, too. Costs a round trip, once."""
        new = [reader for reader in self._readers if reader.since is None and reader.position is None]
        if new:
            since = await self._store.position()
            for reader in new:
                reader.since = since if reader.since is None else reader.since
        with self._lock:
            if self.idle:  # nobody has begun or stopped meanwhile
                self.start()
                self.idle = False

    def start(self) -> None:
        """Call listeners from now on, in the background. Nothing happens if there are none, or if it was started."""
        with self._lock:
            if self._readers and self._work is None:
                self._shift = shift = object()
                self._work = self._waiting.start(lambda: self._serve(shift), "sojourn-listeners")

    async def stop(self) -> None:
        """Call them no more, once those facts that were read at once (100 at most) are told; waits for that."""
        with self._lock:
            self.idle = False
            work, self._work = self._work, None
            self._shift = object()
        if work is not None:
            self.wake()
            await work.finished()

    @property
    def awake(self) -> bool:
        """Whether listeners are called in this process."""
        return self._work is not None

    def wake(self) -> None:
        """There is something in the history."""
        if self._signal is not None:
            self._signal.set()

    def forked(self) -> None:
        """In the child of a fork: who called listeners is not here."""
        self._begin_anew()

    # --- The work ----------------------------------------------------------------------------------------------------

    async def _serve(self, shift: object) -> None:
        try:
            await self._work_on(shift)
        finally:
            with self._lock:
                if self._shift is shift:  # its event loop was closed, or a listener ended its thread: the next
                    self._work, self.idle = None, True  # operation of the manager begins anew

    async def _work_on(self, shift: object) -> None:
        swept_at = time.monotonic()
        while self._shift is shift:
            self._signal = signal = self._waiting.signal()
            try:
                for reader in tuple(self._readers):
                    await self._deliver(reader, shift)
                if time.monotonic() - swept_at > self._sweep_every:
                    swept_at = time.monotonic()
                    await self._sweep()
            except StoreError as error:
                log.info("listeners have to wait for the store: %s", error)
            if self._shift is shift:
                await signal.wait(_LOOK)

    async def _deliver(self, reader: _Reader, shift: object) -> None:
        """Deliver to a listener what there is for it."""
        if reader.position is None:
            reader.position = await self._beginning(reader)
        if not await self._is_due(reader):
            return
        position = await self._place(reader)
        while position is not None:
            after, told = await self._read(position, reader)
            is_over = self._shift is not shift
            if is_over or not told:
                reader.position = position if is_over else after  # what was read and not told is for whoever goes on
                await self._place(reader, reader.position, hold=0.0)
                return
            position = await self._call_all(reader, told, position, after)

    async def _beginning(self, reader: _Reader) -> int:
        """Where a listener begins: where it was left by whoever called it last; a new one, now."""
        now = await self._store.position() if reader.since is None else reader.since
        if reader.deliver == "once":
            reader.position = 0
            position = await self._place(reader)
            if position != 0:
                return position or 0  # 0: another process is at it, and will have moved on
            # The place of a new listener is 0, and so is that of one which began with an empty history and was told of
            # nothing yet: this one has a second bookmark, to tell them apart.
            begun = f"{reader.name}, begun"
            if await self._store.bookmark(begun, self._holder, self._clock(), hold=0.0):
                now = 0
            elif not now:
                await self._store.bookmark(begun, self._holder, self._clock(), hold=0.0, position=1)
            await self._place(reader, now, hold=0.0)
        return now

    async def _is_due(self, reader: _Reader) -> bool:
        """Whether there is something to deliver. Others' facts are passed by without a write, up to a bound."""
        while True:
            assert reader.position is not None  # noqa: S101 - it has begun
            after, told = await self._read(reader.position, reader)
            if any(change.kind == reader.kind for change in told):
                return True
            reader.position = after
            reader.passed += len(told)
            if not told:
                return reader.passed > _PASSED and reader.deliver == "once"

    async def _read(self, position: int, reader: _Reader) -> tuple[int, list[Change]]:
        try:
            return await self._store.changes(position, _PAGE)
        except HistoryTrimmed as gap:
            self._counts["undelivered"] += 1
            log.warning("facts that listener %s was not told of are no longer kept", reader.name)
            return await self._store.changes(gap.position, _PAGE)

    async def _place(self, reader: _Reader, position: int | None = None, *, hold: float = _HOLD) -> int | None:
        """The listener's place in the history, held by this process, and moved to `position`; None: another process
        holds it."""
        if reader.deliver == "each":
            return reader.position if position is None else position
        reader.passed = 0
        return await self._store.bookmark(reader.name, self._holder, self._clock(), hold=hold, position=position)

    async def _call_all(self, reader: _Reader, told: list[Change], before: int, after: int) -> int | None:
        """Call a listener for a page of facts; its new place, or None if another process has taken over."""
        held_at = time.monotonic()
        for change in told:
            if change.kind == reader.kind:
                if time.monotonic() - held_at > _HOLD / 3:
                    held_at = time.monotonic()
                    if await self._place(reader, before) is None:
                        return None
                await self._call(reader, change)
        return await self._place(reader, after)

    async def _call(self, reader: _Reader, change: Change) -> None:
        for pause in (*_PAUSES, None):
            try:
                result = reader.listener(change)
                if inspect.isawaitable(result):
                    await self._waiting.settle(result)
            except Exception as error:  # whatever its author raises, it is not to hold up the others
                if pause is not None:
                    log.warning("listener %s failed on %s, and is called again: %r", reader.name, change.id, error)
                    await self._waiting.sleep(pause)
                    continue
                self._counts["undelivered"] += 1
                log.exception("listener %s failed on %s for good", reader.name, change.id)
            return


class Hooks:
    """The decorators by which listeners are added to a manager, blocking or asynchronous."""

    config: SessionConfig
    _listening: Listeners

    def on_created(self, listener: L | None = None, *, deliver: Deliver = "once", name: str | None = None) -> Any:
        """Call ``listener(change)`` for each session that is created, by any process. As a decorator, or a call:
        ``@manager.on_created``, ``@manager.on_created(deliver="each")``, ``manager.on_created(function)``.

        ``deliver="once"``: in one process of the fleet, at least once, also for what happened while no process ran; the
        place in the history is kept in the store under ``name`` (the function's own by default), and begins with the
        first process that ever listened. ``deliver="each"``: in each process, from when it began to listen.

        Called in the background, within a second or so. Listening begins with the manager's first operation in a
        process, and what that brings about is told, too; or soon after `start_listeners`. An ``async`` function is
        awaited, by a blocking manager in an event loop of its own. A listener that raises is called again, three times
        in all; then that is logged, and counted in ``manager.counts["undelivered"]``."""
        return self._hook("created", listener, deliver, name)

    def on_rotated(self, listener: L | None = None, *, deliver: Deliver = "once", name: str | None = None) -> Any:
        """As `on_created`, for each secret that is replaced, at a sign-in or for another reason."""
        return self._hook("rotated", listener, deliver, name)

    def on_ended(self, listener: L | None = None, *, deliver: Deliver = "once", name: str | None = None) -> Any:
        """As `on_created`, for each session that ends; ``change.reason`` is ended, expired, evicted or revoked. That a
        session has expired is found by a sweep: within ``cleanup_interval``."""
        return self._hook("ended", listener, deliver, name)

    def on_overwritten(self, listener: L | None = None, *, deliver: Deliver = "once", name: str | None = None) -> Any:
        """As `on_created`, for each time that two writers changed the same thing and the later one won;
        ``change.reason`` is the path."""
        return self._hook("overwritten", listener, deliver, name)

    def on_changed(self, listener: L | None = None, *, deliver: Deliver = "once", name: str | None = None) -> Any:
        """As `on_created`, for each commit that changed fields, ``change.fields``. Only where the configuration keeps
        these in the history (``record_changes``): `ConfigurationError` else."""
        if not self.config.record_changes:
            raise ConfigurationError("set record_changes=True: else the history does not tell of changed fields")
        return self._hook("changed", listener, deliver, name)

    def start_listeners(self) -> None:
        """Begin to call listeners in this process now, and not with the manager's first operation."""
        self._listening.start()

    def _hook(self, kind: ChangeKind, listener: L | None, deliver: Deliver, name: str | None) -> Any:
        def add(function: L) -> L:
            self._listening.add(function, kind, deliver, name)
            return function

        return add if listener is None else add(listener)


def _after_fork() -> None:
    for listeners in list(_all):
        listeners.forked()


os.register_at_fork(after_in_child=_after_fork)
