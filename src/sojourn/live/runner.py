"""Threads that run blocking callbacks: a slow one holds up nobody else, and a quick one costs next to nothing.

One thread takes the jobs in order and runs one after the other. What is done goes back to the event loop in batches:
the loop is woken once for as many as are done before it looks. So with many jobs in flight a job costs a few
microseconds, where a thread for each would cost a switch of threads there and back.

While jobs wait, a watchdog looks every ``patience / 2`` seconds whether the first of them has waited for longer than
``patience`` seconds. If the threads that take jobs are each stuck in one job, or use little of the processor (they
wait: for a database, a lock, a file), more threads take jobs, twice as many each time, ``most`` in all. Jobs that
compute get no more threads: in one process only one thread computes at a time. A thread whose job was slow goes idle
after it, and idle threads end.

The interpreter's lock: a thread that computes hands it on when another has waited ``sys.getswitchinterval()`` seconds
(5 ms), or at once when it waits for something. So a callback that computes for long delays everything in the process by
up to 5 ms at each turn, and a loop that never rests delays each wake of a thread by as much; batches keep the number of
such turns small. The interval is the program's to set. The watchdog is a thread, and not a timer of the loop, so that
it works while the loop is busy.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from ..errors import ConfigurationError

__all__ = ["Runner"]

log = logging.getLogger("sojourn")

T = TypeVar("T")

_IDLE: Final = 10.0  # seconds after which a thread that has nothing to do ends
_QUIET: Final = 20  # looks at no waiting jobs after which the watchdog goes to sleep
_LITTLE: Final = 0.4  # of the time: threads that compute less in all are waiting for something
_MUCH: Final = 0.7  # of the time: threads that compute more in all are too many, if there are several

_CLOCKS: Final = hasattr(time, "pthread_getcpuclockid")  # whether the system tells how long one thread has computed

_all: weakref.WeakSet[Runner] = weakref.WeakSet()


class _Outbox:
    """What is done for one event loop, and not yet told to it."""

    __slots__ = ("_done", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._woken = False

    def put(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        """Tell the result of a job. From any thread."""
        self._done.append((future, result, error))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop was closed: nobody waits any more
                self._done.clear()
                self._woken = False
                log.debug("the result of a callback is dropped: its event loop is closed")

    def _deliver(self) -> None:
        self._woken = False  # before it looks: what comes from now on may be seen below, or wakes the loop again
        done = self._done
        while done:
            future, result, error = done.popleft()
            if future.done():  # cancelled meanwhile
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


_Job: TypeAlias = tuple[_Outbox, "asyncio.Future[Any]", contextvars.Context, Callable[..., Any], tuple[Any, ...]]


class _Worker:
    """A thread, as others see it."""

    __slots__ = ("begun", "clock", "computed", "retired", "same", "seen", "thread", "wake")

    def __init__(self) -> None:
        self.wake = threading.Lock()
        self.wake.acquire()  # held while it has something to do: who releases it wakes the thread
        self.thread: threading.Thread
        self.begun = 0
        """Jobs that it has begun."""
        self.retired = False
        """Whether it is to take no other job after this one."""
        self.clock: int | None = None
        self.seen = -1
        self.same = 0
        self.computed = 0.0

    def used(self) -> float:
        """Seconds that it has computed since it was asked last."""
        if self.clock is None:  # it has only been started
            return 0.0
        now = time.clock_gettime(self.clock)
        used, self.computed = now - self.computed, now
        return used

    def is_stuck(self) -> bool:
        """Whether it has been in one job for two looks."""
        self.same = self.same + 1 if self.begun == self.seen else 0
        self.seen = self.begun
        return self.same > 1


class Runner:
    """Runs functions in threads, for event loops of this process. Safe to share between threads and loops; after a fork
    the child begins without threads, and without the jobs, which are the parent's.

    ``most``: threads at most; where as many are stuck, jobs wait. ``patience``: seconds for which a job waits behind
    others before another thread is tried. Raises `ConfigurationError` for what cannot be either.
    """

    def __init__(self, most: int = 64, patience: float = 0.02) -> None:
        if most < 1 or not 0 < patience < float("inf"):
            raise ConfigurationError("a runner has at least one thread, and more than 0 seconds of patience")
        self._most = most
        self._patience = patience
        self._closed = False
        self._begin_anew()
        _all.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._outboxes: dict[asyncio.AbstractEventLoop, _Outbox] = {}
        self._workers: set[_Worker] = set()
        self._serving: set[_Worker] = set()  # those that take jobs: neither idle nor retired
        self._idle: list[_Worker] = []
        self._submitted = 0
        self._watch: _Watch | None = None
        self._ended = threading.Condition(self._lock)

    def submit(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[..., T],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Future[T]:
        """Run ``function(*args)`` in a thread; await the result in ``loop``, whose thread this is called in. Jobs begin
        in their order.

        Without ``context`` the function sees a copy of the caller's context variables. What it raises is raised where
        the future is awaited; what would end the process or the thread (SystemExit and its like) as a RuntimeError. If
        the future is cancelled before the function has begun, it is not run; after that its result is dropped, and so
        are results for a loop that was closed. RuntimeError if the runner was closed, or no thread can be started.
        """
        future: asyncio.Future[T] = loop.create_future()
        outbox = self._outboxes.get(loop) or self._outbox(loop)
        job: _Job = (outbox, future, contextvars.copy_context() if context is None else context, function, args)
        with self._lock:
            if self._closed:
                raise RuntimeError("the runner is closed: it runs no more callbacks")
            self._jobs.append(job)
            self._submitted += 1
            if not self._serving:
                self._serve()
                if self._serving:  # it is taken at once
                    return future
            if self._watch is None or self._watch.asleep:
                self._wake_watch()
        return future

    def close(self, wait: float = 5.0) -> None:
        """Take no more jobs. Those that were submitted are run; waits for that, ``wait`` seconds at most. What has not
        begun by then gets a RuntimeError, and a thread that is stuck is left behind (it does not keep the process from
        ending). Nothing happens if it was closed."""
        until = time.monotonic() + wait
        me = threading.current_thread()
        with self._lock:
            self._closed = True
            for worker in self._idle:
                worker.wake.release()
            self._idle.clear()
            if self._watch is not None:
                self._watch.wake.set()
            while any(worker.thread is not me for worker in self._workers) or self._watch is not None:
                left = until - time.monotonic()
                if left <= 0 or not self._ended.wait(left):
                    break
            dropped = list(self._jobs)
            self._jobs.clear()
            self._outboxes.clear()
        for outbox, future, *_ in dropped:
            outbox.put(future, None, RuntimeError("the runner was closed before the callback had begun"))

    def forked(self) -> None:
        """In the child of a fork: the threads are not here, and the jobs are the parent's."""
        for worker in self._workers:
            worker.retired = True  # if it is one of the threads that has forked, it takes no job after this one
        self._begin_anew()

    def _outbox(self, loop: asyncio.AbstractEventLoop) -> _Outbox:
        with self._lock:
            for other in [other for other in self._outboxes if other.is_closed()]:
                del self._outboxes[other]
            return self._outboxes.setdefault(loop, _Outbox(loop))

    # --- Threads -----------------------------------------------------------------------------------------------------
    # What is below is called with the lock held, except `_work` and `_watch_over`, which are the threads.

    def _serve(self) -> None:
        """Have one thread more take jobs."""
        if self._idle:
            worker = self._idle.pop()
            worker.seen = -1
            self._serving.add(worker)
            worker.wake.release()
        elif len(self._workers) < self._most:
            worker = _Worker()
            worker.thread = threading.Thread(target=self._work, args=(worker,), name="sojourn-live", daemon=True)
            self._workers.add(worker)
            self._serving.add(worker)
            try:
                worker.thread.start()
            except RuntimeError:  # the system has no thread for us
                self._workers.discard(worker)
                self._serving.discard(worker)
                if not self._workers:  # nobody would ever take the job
                    self._jobs.pop()
                    raise
                log.warning("no thread can be started for a callback: it waits for another to end")

    def _wake_watch(self) -> None:
        if self._watch is not None:
            self._watch.wake_up()
        else:
            watch = _Watch()
            thread = threading.Thread(target=self._watch_over, args=(watch,), name="sojourn-live-watch", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no thread for us: the next job that waits tries again
                return
            self._watch = watch

    def _work(self, worker: _Worker) -> None:
        """The thread of a worker."""
        if _CLOCKS:
            worker.clock = time.pthread_getcpuclockid(threading.get_ident())
        jobs = self._jobs
        while True:
            try:
                job = jobs.popleft()
            except IndexError:
                if self._rest(worker):
                    continue
                return
            worker.begun += 1
            _run(*job)
            del job  # a thread that rests keeps nothing alive
            if worker.retired and not self._rest(worker):
                return

    def _rest(self, worker: _Worker) -> bool:
        """Wait for jobs; False if the thread is to end. Called without the lock."""
        with self._lock:
            if worker not in self._workers:  # a callback has forked, and this is the child
                return False
            if self._jobs and not worker.retired:
                return True
            self._serving.discard(worker)
            worker.retired = False
            if self._jobs and not self._serving:
                self._serving.add(worker)
                return True
            if self._closed:
                return self._end(worker)
            self._idle.append(worker)
        if worker.wake.acquire(timeout=_IDLE):
            return self._goes_on(worker)
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                return self._end(worker)
        worker.wake.acquire()  # somebody woke it just now
        return True

    def _goes_on(self, worker: _Worker) -> bool:
        """Whether it was woken to work, and not to end."""
        if not self._closed:
            return True
        with self._lock:
            return worker in self._serving or self._end(worker)

    def _end(self, worker: _Worker) -> bool:
        self._workers.discard(worker)
        self._ended.notify_all()
        return False

    # --- The watchdog ------------------------------------------------------------------------------------------------

    def _watch_over(self, watch: _Watch) -> None:
        """The watchdog's thread."""
        while True:
            watch.wake.wait(_IDLE)
            with self._lock:
                if (self._closed and not self._jobs) or watch.asleep:
                    if self._watch is watch:
                        self._watch = None
                    self._ended.notify_all()
                    return
            time.sleep(self._patience / 2)
            with self._lock:
                self._look(watch)
                if watch.quiet > _QUIET and not self._closed:  # else it would miss that it is to end
                    watch.fall_asleep()

    def _look(self, watch: _Watch) -> None:
        """Once every half of the patience: are more threads needed, or fewer?"""
        elapsed, used = watch.passed()
        if _CLOCKS:
            used = sum(worker.used() for worker in self._serving)
        stuck = [worker for worker in self._serving if worker.is_stuck()]
        waiting = len(self._jobs)
        watch.quiet = 0 if waiting else watch.quiet + 1
        if not watch.is_late(self._submitted, self._submitted - waiting):
            watch.warned = False
            return
        busy = len(self._serving)
        for worker in stuck:
            self._retire(worker)
        if used < _LITTLE * elapsed or not self._serving:
            for _ in range(min(waiting, busy if used < _LITTLE * elapsed else 1)):
                self._serve()
            if not self._serving and not watch.warned:
                watch.warned = True
                log.warning("%d callbacks are slow, and there are no more threads: the others wait", len(self._workers))
        elif len(self._serving) > 1 and used > _MUCH * elapsed:
            self._retire(next(iter(self._serving)))

    def _retire(self, worker: _Worker) -> None:
        worker.retired = True
        self._serving.discard(worker)


class _Watch:
    """What the watchdog remembers from one look to the next."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.wake_up()

    def wake_up(self) -> None:
        """Begin to look, with nothing remembered."""
        self.asleep = False
        self.warned = False
        self.quiet = 0
        self._at = time.monotonic()
        self._process = time.process_time()
        self._submitted: deque[int] = deque(maxlen=2)
        self.wake.set()

    def fall_asleep(self) -> None:
        """Look no more, until it is woken."""
        self.asleep = True
        self.wake.clear()

    def passed(self) -> tuple[float, float]:
        """Seconds since the last look, and those in which the process has computed."""
        at, process = self._at, self._process
        self._at, self._process = time.monotonic(), time.process_time()
        return self._at - at, self._process - process

    def is_late(self, submitted: int, taken: int) -> bool:
        """Whether a job waits that was there two looks ago."""
        late = len(self._submitted) == 2 and taken < self._submitted[0]
        self._submitted.append(submitted)
        return late


def _run(
    outbox: _Outbox,
    future: asyncio.Future[Any],
    context: contextvars.Context,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    if future.cancelled():
        return
    try:
        result = context.run(function, *args)
    except Exception as error:  # the caller's to handle
        outbox.put(future, None, _ending(error) if isinstance(error, StopIteration) else error)
    except BaseException as error:  # SystemExit and its like: a callback ends neither the thread nor the event loop
        outbox.put(future, None, _ending(error))
    else:
        outbox.put(future, result, None)
    del outbox, future, args  # the traceback holds this frame, and the future the traceback


def _ending(error: BaseException) -> RuntimeError:
    """An error that a future can have, in place of one that would end more than the callback."""
    other = RuntimeError(f"a callback raised {type(error).__name__}")
    other.__cause__ = error
    return other


def _after_fork() -> None:
    for runner in list(_all):
        runner.forked()


os.register_at_fork(after_in_child=_after_fork)
