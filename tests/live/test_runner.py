"""Blocking callbacks run in threads: in order and cheaply, and a slow one holds up nobody else."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from sojourn import ConfigurationError
from sojourn.live import runner as module
from sojourn.live.runner import Runner

where = contextvars.ContextVar("where", default="nowhere")


@asynccontextmanager
async def opened(*args: Any, **kwargs: Any) -> AsyncIterator[tuple[Runner, Callable[..., asyncio.Future[Any]]]]:
    """A runner for this loop, with which it ends."""
    runner, loop = Runner(*args, **kwargs), asyncio.get_running_loop()
    try:
        yield runner, lambda function, *rest: runner.submit(loop, function, *rest)
    finally:
        await asyncio.to_thread(runner.close)
        assert left() == []


def ours() -> list[str]:
    """The threads of runners."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sojourn-live")]


def left() -> list[str]:
    """Those that do not end. (One that has done all its work is there for a moment yet.)"""
    give_up = time.monotonic() + 5
    while (found := ours()) and time.monotonic() < give_up:
        time.sleep(0.01)
    return found


async def eventually(holds: Callable[[], bool], within: float = 10.0) -> None:
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, "it never came to be"
        await asyncio.sleep(0.01)


async def test_jobs_run_in_their_order_in_another_thread() -> None:
    """Quick jobs run one after the other, in the order of their coming, in one thread that is not the loop's."""
    async with opened(patience=2.0) as (_, submit):  # else a pause of the thread brings in another one
        seen: list[tuple[int, int]] = []
        futures = [submit(lambda n=n: seen.append((n, threading.get_ident())) or n) for n in range(500)]
        assert await asyncio.gather(*futures) == list(range(500))
        assert [n for n, _ in seen] == list(range(500))
        assert threading.get_ident() not in {ident for _, ident in seen}
        assert len({ident for _, ident in seen}) == 1


async def test_results_of_many_come_in_few_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is woken once for all that is done before it looks."""
    loop, wakes = asyncio.get_running_loop(), []
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *args: wakes.append(1) or wake(*args))
    async with opened(patience=2.0) as (runner, submit):
        done: list[int] = []
        futures = [submit(done.append, n) for n in range(1000)]
        while len(runner._outboxes[loop]._done) < 1000:  # the loop does not look
            time.sleep(0.001)
        assert await asyncio.gather(*futures) == [None] * 1000
        assert done == list(range(1000))
        assert len(wakes) == 1
        runner.close()


async def test_a_slow_job_does_not_hold_up_the_others() -> None:
    """What waits behind a job that is stuck is run by another thread soon after the patience."""
    async with opened(patience=0.02) as (_, submit):
        free = threading.Event()
        slow = submit(free.wait, 20)
        began = time.monotonic()
        assert await asyncio.gather(*(submit(int, n) for n in range(100))) == list(range(100))
        assert time.monotonic() - began < 5.0
        assert not slow.done()
        free.set()
        assert await slow is True


async def test_a_job_that_computes_does_not_hold_up_the_others() -> None:
    """Nor does one that is slow because it computes."""
    async with opened(patience=0.02) as (_, submit):
        stop: list[int] = []

        def compute() -> None:
            until = time.monotonic() + 20
            while not stop and time.monotonic() < until:
                pass

        slow = submit(compute)
        began = time.monotonic()
        await asyncio.gather(*(submit(int, n) for n in range(20)))
        took = time.monotonic() - began
        assert not slow.done()
        stop.append(1)
        await slow
        assert took < 5.0


async def test_a_busy_loop_does_not_keep_the_watchdog_from_its_work() -> None:
    """What waits behind a stuck job is run though the event loop does not come to rest."""
    async with opened(patience=0.02) as (_, submit):
        free, ran = threading.Event(), threading.Event()
        slow = submit(free.wait, 20)
        quick = submit(ran.set)
        until = time.monotonic() + 5
        while not ran.is_set() and time.monotonic() < until:
            pass
        assert ran.is_set()
        free.set()
        await asyncio.gather(slow, quick)


async def test_sixty_four_stuck_jobs_run_at_once_and_the_next_waits(caplog: pytest.LogCaptureFixture) -> None:
    """As many as there may be threads run side by side; what comes then waits, is logged once, and loses nothing."""
    async with opened(64, 0.01) as (_, submit):
        meet = threading.Barrier(64)
        free = threading.Event()

        def stuck() -> bool:
            meet.wait(20)
            return free.wait(20)

        stuck_ones = [submit(stuck) for _ in range(64)]
        await eventually(lambda: meet.n_waiting == 0 and len(ours()) >= 65)
        caplog.clear()  # a thread that was slow to begin has left its job waiting for a moment
        late = submit(int, 7)
        await eventually(lambda: "no more threads" in caplog.text)
        assert not late.done()
        assert len(ours()) == 65  # and the watchdog
        free.set()
        assert await asyncio.gather(*stuck_ones, late) == [True] * 64 + [7]
        assert caplog.text.count("no more threads") == 1


async def test_jobs_that_each_wait_a_little_run_side_by_side() -> None:
    """Jobs that are none of them slow, but wait for something, do not queue behind each other: 400 of 15 ms each, which
    are 6 s one by one."""
    async with opened(patience=0.02) as (_, submit):
        began = time.monotonic()
        await asyncio.gather(*(submit(time.sleep, 0.015) for _ in range(400)))
        assert time.monotonic() - began < 4


async def test_jobs_that_compute_get_few_threads() -> None:
    """Jobs that keep the processor busy are not spread over threads that would only fight for it. (On a machine that is
    busy with something else they compute little, and look as if they waited: one time of three is enough.)"""

    def compute() -> None:
        until = time.thread_time() + 0.002
        while time.thread_time() < until:
            pass

    fewest = 64
    for _ in range(3):
        async with opened(patience=0.02) as (_, submit):
            jobs, most = asyncio.gather(*(submit(compute) for _ in range(300))), 0
            while not jobs.done():
                most = max(most, len(ours()))
                await asyncio.sleep(0.02)
        fewest = min(fewest, most)
        if fewest <= 16:
            break
    assert fewest <= 16


async def test_an_exception_is_raised_where_the_result_is_awaited() -> None:
    """What a job raises comes to who awaits it; the thread goes on."""
    async with opened() as (_, submit):
        with pytest.raises(ZeroDivisionError):
            await submit(lambda: 1 / 0)
        assert await submit(int, 3) == 3


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError])
async def test_what_would_end_more_than_the_job_is_an_error(kind: type[BaseException]) -> None:
    """SystemExit and its like end neither the thread nor the loop, and no task is taken for cancelled."""

    def raising() -> None:
        raise kind

    async with opened() as (_, submit):
        with pytest.raises(RuntimeError, match=f"a callback raised {kind.__name__}") as raised:
            await submit(raising)
        assert type(raised.value.__cause__) is kind
        assert await submit(int, 3) == 3
        assert ours().count("sojourn-live") == 1


async def test_a_cancelled_job_is_not_begun_and_its_result_dropped() -> None:
    """What is cancelled before its turn is not run; what is cancelled later is run to its end, and nobody told."""
    async with opened(1) as (_, submit):
        began, free, ran = threading.Event(), threading.Event(), []
        first = submit(lambda: (began.set(), free.wait(20), ran.append("first")))
        second = submit(ran.append, "second")
        await asyncio.to_thread(began.wait, 20)
        first.cancel()
        second.cancel()
        free.set()
        assert await submit(int, 1) == 1
        assert ran == ["first"]


async def test_context_variables_are_the_caller_s() -> None:
    """A job sees the variables of who submitted it, or of the context handed in; what it sets stays with it."""
    async with opened() as (runner, submit):
        where.set("caller")
        assert await submit(where.get) == "caller"
        await submit(where.set, "job")
        assert (where.get(), await submit(where.get)) == ("caller", "caller")
        context = contextvars.Context()
        assert await runner.submit(asyncio.get_running_loop(), where.get, context=context) == "nowhere"
        await runner.submit(asyncio.get_running_loop(), where.set, "kept", context=context)
        assert context[where] == "kept"


async def test_each_job_has_exactly_one_result() -> None:
    """Under quick, slow, failing and cancelled jobs from several loops at once, each job that is not cancelled runs
    once and has its own result."""
    runner, ran = Runner(8, 0.005), [0] * 8000

    def job(n: int) -> int:
        ran[n] += 1
        if n % 97 == 0:
            time.sleep(0.01)
        if n % 13 == 0:
            raise ValueError(n)
        return n

    async def drive(start: int) -> None:
        loop, cancelled = asyncio.get_running_loop(), set()
        for first in range(start, start + 2000, 100):
            futures = {n: runner.submit(loop, job, n) for n in range(first, first + 100)}
            for n in range(first, first + 100, 31):
                futures[n].cancel()
                cancelled.add(n)
            for n, future in futures.items():
                if n in cancelled:
                    continue
                [result] = await asyncio.gather(future, return_exceptions=True)
                failed = isinstance(result, ValueError)
                assert (result.args[0] if failed else result, failed) == (n, n % 13 == 0)
        assert all(ran[n] == 1 for n in range(start, start + 2000) if n not in cancelled)

    threads = [threading.Thread(target=lambda n=n: asyncio.run(drive(n))) for n in (0, 2000, 4000, 6000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await asyncio.to_thread(runner.close)
    assert max(ran) == 1
    assert sum(ran) > 7500
    assert left() == []


async def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that have nothing to do end after a while, the watchdog too; the next job begins anew."""
    monkeypatch.setattr(module, "_IDLE", 1.0)
    async with opened(patience=0.01) as (_, submit):
        await asyncio.gather(*(submit(time.sleep, 0.05) for _ in range(8)))
        assert ours() != []
        await eventually(lambda: ours() == [])
        assert await submit(int, 1) == 1


async def test_a_thread_that_rests_holds_nothing() -> None:
    """What a job was given and what it returned or raised is let go when it is done, without a collection."""

    class Thing:
        pass

    def failing(thing: Thing) -> None:
        raise ValueError

    async with opened() as (_, submit):
        gc.disable()
        try:
            things = [Thing(), Thing()]
            gone = [weakref.ref(thing) for thing in things]
            await submit(id, things[0])
            with suppress(ValueError):
                await submit(failing, things[1])
            things.clear()
            await eventually(lambda: [ref() for ref in gone] == [None, None], 2.0)
        finally:
            gc.enable()


async def test_closing_runs_what_was_submitted() -> None:
    """What was submitted before is run, what comes after is refused, and the second time does nothing."""
    loop, runner = asyncio.get_running_loop(), Runner()
    futures = [runner.submit(loop, int, n) for n in range(100)]
    await asyncio.to_thread(runner.close)
    runner.close()
    assert left() == []
    assert await asyncio.gather(*futures) == list(range(100))
    with pytest.raises(RuntimeError, match="closed"):
        runner.submit(loop, int, 1)


async def test_closing_does_not_wait_for_ever() -> None:
    """A thread that is stuck is left behind; what has not begun gets an error, and what is stuck its result later."""
    loop, runner, free = asyncio.get_running_loop(), Runner(1), threading.Event()
    begun = threading.Event()
    stuck, waiting = runner.submit(loop, lambda: begun.set() or free.wait(20)), runner.submit(loop, int, 1)
    await asyncio.to_thread(begun.wait, 20)
    began = time.monotonic()
    await asyncio.to_thread(runner.close, 0.2)
    assert 0.1 < time.monotonic() - began < 5
    with pytest.raises(RuntimeError, match="before the callback had begun"):
        await waiting
    free.set()
    assert await stuck is True
    await eventually(lambda: ours() == [])


async def test_closing_wakes_a_watchdog_that_is_about_to_sleep() -> None:
    """A runner that is closed while its watchdog looks for the last time before it goes to sleep is closed at once."""
    runner, free = Runner(1, patience=1.0), threading.Event()
    jobs = [runner.submit(asyncio.get_running_loop(), free.wait, 20) for _ in range(2)]  # the second needs the watchdog
    free.set()
    await asyncio.gather(*jobs)
    assert runner._watch is not None
    runner._watch.quiet = module._QUIET
    began = time.monotonic()
    await asyncio.to_thread(runner.close)
    assert time.monotonic() - began < 4  # and not the 5 s that it waits at most
    assert left() == []


async def test_a_job_may_close_its_runner() -> None:
    """Closing in a job does not wait for the job itself."""
    runner, began = Runner(), time.monotonic()
    await runner.submit(asyncio.get_running_loop(), runner.close)
    assert time.monotonic() - began < 4  # and not the 5 s that it waits at most
    await eventually(lambda: ours() == [])


def test_a_loop_that_was_closed_is_told_nothing() -> None:
    """Results for a loop that is closed are dropped, and other loops are served."""
    runner, free = Runner(), threading.Event()

    async def leave() -> None:
        runner.submit(asyncio.get_running_loop(), free.wait, 20)

    async def stay() -> int:
        return await runner.submit(asyncio.get_running_loop(), int, 5)

    asyncio.run(leave())
    free.set()
    assert asyncio.run(stay()) == 5
    runner.close()
    assert left() == []


def test_a_forked_child_begins_without_threads() -> None:
    """After a fork the child runs jobs of its own, and the parent's are run once, by the parent."""
    runner, free, ran = Runner(1), threading.Event(), []

    async def fork() -> int:
        loop = asyncio.get_running_loop()
        stuck, waiting = runner.submit(loop, free.wait, 20), runner.submit(loop, ran.append, "parent")
        child = os.fork()
        if not child:
            _in_child(runner, ran)
        _, status = os.waitpid(child, 0)
        free.set()
        await asyncio.gather(stuck, waiting)
        return os.waitstatus_to_exitcode(status)

    assert asyncio.run(fork()) == 0
    assert ran == ["parent"]
    runner.close()


def _in_child(runner: Runner, ran: list[str]) -> None:
    signal.alarm(20)
    code = 1
    try:
        asyncio._set_running_loop(None)

        async def use() -> int:
            return await runner.submit(asyncio.get_running_loop(), int, 5)

        good = asyncio.run(use()) == 5 and ran == []
        runner.close()
        code = 0 if good and left() == [] else 2
    finally:
        os._exit(code)


async def test_a_job_that_forks_leaves_its_child_alone() -> None:
    """A child that a job forked, and that returns from it, runs none of the parent's jobs."""
    async with opened(1) as (_, submit):
        reader, writer = os.pipe()
        submitted = threading.Event()

        def fork() -> int:
            submitted.wait(20)
            child = os.fork()
            if not child:
                signal.alarm(5)
                return 0
            os.close(writer)
            return child

        forked = submit(fork)
        others = [submit(os.write, writer, b"x") for _ in range(3)]
        submitted.set()
        child = await forked
        await asyncio.gather(*others, return_exceptions=True)  # the parent's end is closed
        told = await asyncio.to_thread(os.read, reader, 10)
        _, _status = await asyncio.to_thread(os.waitpid, child, 0)
        os.close(reader)
        assert told == b""


@pytest.mark.parametrize(("most", "patience"), [(0, 0.02), (1, 0), (1, -1), (1, float("inf")), (1, float("nan"))])
def test_settings_that_cannot_work_are_refused(most: int, patience: float) -> None:
    """A runner needs a thread, and some patience."""
    with pytest.raises(ConfigurationError):
        Runner(most, patience)
