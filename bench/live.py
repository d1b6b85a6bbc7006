"""Live apps: one counter, in a bare WebSocket (the floor), NiceGUI, Streamlit and Sojourn's live app.

The server has one CPU, the clients the other. Sessions are new visitors: each fetches the page and opens the socket
that the page would, with the extensions that Chromium offers. What is measured:

    latency   each session clicks once a second: from the click to the message with the new count
    flat out  50 sessions click again as soon as the new count is there: clicks a second
    memory    the server's resident bytes after a collection, before and after many sessions came, each with its clicks
    shared    one session changes what 100 see: until each has seen it, and until the last has
    page      in Chromium: what is loaded, and how soon the label is there
    kept      in Chromium: the count after a refresh, two seconds without the socket, a kill -9 of the server

A contender that answers less than half of the clicks at so many sessions is overloaded, and is not asked for more. An
answer that never came counts as late as the wait for it was. The counts that are shown are checked with every message,
and that none of the sockets was closed.

With a store, Sojourn commits each click before its update is sent: `power` has it on the disk by then, `process` in the
system's hands. What the others keep is in the table.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from .live_browser import Kept, Weight, all_keep, chromium, weigh
from .live_client import click_each, close_tabs, flat_out, open_tabs, paced, tell_all
from .live_servers import BARE, CONTENDERS, MEMORY, NICEGUI, NICEGUI_STORED, STREAMLIT, Contender, Served
from .live_tables import FLAT_OUT, SEEN_BY, Everything, Found, figures, tables, verdicts
from .report import Section
from .servers import PostgreSQL, valkey
from .timing import in_turns

T = TypeVar("T")

WARM = 20
"""Sessions that are there before memory is counted."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    levels: tuple[int, ...]
    """How many sessions click once a second."""
    paced: float
    """Seconds at each level, in each round; twice as long for a single session."""
    turns: int
    """Rounds flat out: many and short, as the speed of a machine drifts by the second."""
    flat_out: float
    """Seconds of one of them."""
    told: int
    """How often the shared label is changed, in each round."""
    loads: int
    """Of the page, in Chromium."""
    whole: bool
    """Whether all stores are asked what they keep."""


FULL = Effort(2, (1, 50, 200, 500), 2.5, 9, 0.5, 15, 7, whole=True)
QUICK = Effort(1, (1, 50), 1.5, 3, 0.3, 8, 3, whole=False)


def bench(*, quick: bool) -> Section:
    """All contenders, in turns."""
    effort, section = QUICK if quick else FULL, Section("live")
    found: Everything = {contender.name: Found() for contender in CONTENDERS}
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    server, client = cpus[:1], cpus[1:2]
    with _pinned(client):
        for measure in (_levels, _shared):
            in_turns(effort.rounds, {c.name: _turn(measure, c, found[c.name], effort, server) for c in CONTENDERS})
        _run(_flat_out(found, effort, server))
        weights, kept = asyncio.run(_in_browser(effort, server))
    where = f"server on CPU {server[0]}, clients on {client[0]}" if client else "nothing pinned"
    versions = f"NiceGUI {version('nicegui')}, Streamlit {version('streamlit')}, uvicorn {version('uvicorn')}"
    section.tables = tables(found, weights, kept, effort.levels, f"{versions}; {where}")
    section.figures = figures(found, weights, kept)
    section.verdicts = verdicts(found, weights, kept, effort.levels)
    return section


# --- One turn of one contender ----------------------------------------------------------------------------------------

Measure = Callable[[Contender, Found, Effort, Sequence[int]], Coroutine[Any, Any, None]]


def _turn(
    measure: Measure, contender: Contender, found: Found, effort: Effort, cpus: Sequence[int]
) -> Callable[[], float]:
    def turn() -> float:
        _run(measure(contender, found, effort, cpus))
        return 0.0

    return turn


async def _levels(contender: Contender, found: Found, effort: Effort, cpus: Sequence[int]) -> None:
    """Sessions come until there are as many as the next level wants, and click once a second."""
    with _served(contender, cpus) as server:
        tabs = await open_tabs(contender.dialect, server.port, WARM)
        for _ in range(3):
            await click_each(tabs)
        before = server.memory()
        for level in effort.levels:
            if any(level >= most for most in found.overloaded):
                break
            tabs += await open_tabs(contender.dialect, server.port, level - len(tabs))
            clicking = tabs[:level]
            load = await paced(clicking, effort.paced * (2 if level == 1 else 1))
            found.taken.setdefault(level, []).extend(load.seconds)
            if level > 1 and load.rate < level / 2:
                found.overloaded.add(level)
        if len(tabs) > WARM:
            found.empty.append(before)
            found.each.append((server.memory() - before) / (len(tabs) - WARM))
        await close_tabs(tabs)


async def _shared(contender: Contender, found: Found, effort: Effort, cpus: Sequence[int]) -> None:
    """What all see is changed by one after the other."""
    with _served(contender, cpus, shared=True) as server:
        tabs = await open_tabs(contender.dialect, server.port, SEEN_BY)
        await tell_all(tabs, 2, 0.0)
        seen, last = await tell_all(tabs, effort.told)
        found.seen += seen
        found.last += last
        await close_tabs(tabs)


# --- All contenders in short turns ------------------------------------------------------------------------------------


async def _flat_out(found: Everything, effort: Effort, cpus: Sequence[int]) -> None:
    """Sessions click as fast as they are answered: of one contender at a time, in short turns, while those of the
    others do nothing."""
    draw = random.Random(20)
    with ExitStack() as stack:
        servers = {c.name: stack.enter_context(_served(c, cpus)) for c in CONTENDERS}
        tabs = {c.name: await open_tabs(c.dialect, servers[c.name].port, FLAT_OUT) for c in CONTENDERS}
        for name, server in servers.items():
            await flat_out(tabs[name], effort.flat_out, server.cpu)
        names = list(servers)
        for _ in range(effort.turns):
            draw.shuffle(names)
            for name in names:
                load = await flat_out(tabs[name], effort.flat_out, servers[name].cpu)
                assert load.answered, f"{name} answers no click at all"
                one = found[name]
                one.rate.append(load.rate)
                one.cpu.append(load.served / load.answered)
                one.busy.append(load.cpu / load.lasted)
        for opened in tabs.values():
            await close_tabs(opened)


# --- In Chromium ------------------------------------------------------------------------------------------------------


async def _in_browser(effort: Effort, cpus: Sequence[int]) -> tuple[dict[str, Weight], dict[str, Kept]]:
    weights: dict[str, Weight] = {}
    async with chromium() as browser:
        for contender in (BARE, NICEGUI, STREAMLIT, MEMORY):
            with _served(contender, cpus) as server:
                weights[contender.name] = await weigh(browser, server, effort.loads)
        with ExitStack() as stack:
            asked = [(contender, "") for contender in (*CONTENDERS, NICEGUI_STORED)]
            if effort.whole:
                for name, store in (("Valkey", valkey()), ("PostgreSQL", PostgreSQL())):
                    stack.callback(store.close)
                    store.start()
                    asked.append((Contender(f"Sojourn {name}", MEMORY.module, MEMORY.dialect), store.url()))
            servers = [stack.enter_context(_served(contender, cpus, store=store)) for contender, store in asked]
            kept = await all_keep(browser, servers)
    return weights, kept


# --- Where what runs --------------------------------------------------------------------------------------------------


def _run(measured: Coroutine[Any, Any, T]) -> T:
    """In a loop that costs little."""
    if sys.platform == "win32":
        return asyncio.run(measured)
    import uvloop  # NiceGUI brings it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured)


@contextmanager
def _served(contender: Contender, cpus: Sequence[int], *, shared: bool = False, store: str = "") -> Iterator[Served]:
    """A server that has just been started, on its CPU."""
    server = Served(contender, shared=shared, store=store)
    try:
        with _pinned(cpus):
            server.start()
        yield server
    finally:
        server.close()


@contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    """What is done and started meanwhile has these CPUs; all, if there are none."""
    if not cpus:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)
