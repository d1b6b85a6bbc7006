"""On Valkey or Redis: load, change one key, commit, and loads alone; by 50 tasks at once, and by one blocking caller;
and the memory of a session on the server.

One server, which keeps nothing on disk, for all contenders: they take turns on it. The tasks have a session each, so
that what is measured is the way to the server and back, and not who waits for whom.
"""

from __future__ import annotations

from typing import Any

from . import ours, valkey_memory, valkey_rivals
from .network import Cells, Effort, World, columns, medians, rows
from .payloads import ALL, Payload
from .report import Section, Table, Verdict, times
from .servers import running, valkey, version_of
from .timing import Driver, Samples, in_turns

TASKS = 50
OPERATIONS = {"change": "load + change one + commit", "read": "load + read one key"}
FULL = Effort(rounds=21, seconds=0.06)
QUICK = Effort(rounds=5, seconds=0.01)


def bench(*, quick: bool) -> Section:
    """Both worlds, then the memory."""
    effort = QUICK if quick else FULL
    section = Section("valkey")
    with running(valkey) as (server, pinning), Driver() as driver:
        url = f"redis://127.0.0.1:{server.port}/0"
        place = f"{version_of(server)}; {pinning}"
        section.figures["place"] = place
        for kinds, tasks in ((valkey_rivals.ASYNC, TASKS), (valkey_rivals.BLOCKING, 1)):
            for operation in OPERATIONS:
                cells = {
                    payload.name: _measure(driver, kinds, payload, operation, url, tasks, effort) for payload in ALL
                }
                world = "async" if tasks > 1 else "blocking"
                section.figures[f"{world}_{operation}_seconds"] = medians(cells)
                section.tables.append(_table(kinds, cells, operation, tasks, place))
                section.verdicts += _verdicts(operation, tasks, cells)
        valkey_memory.measure(section, driver, quick=quick)
    return section


def _measure(
    driver: Driver, kinds: Any, payload: Payload, operation: str, url: str, tasks: int, effort: Effort
) -> Samples:
    """The seconds a call for each contender."""
    worlds: dict[str, World] = {}
    try:
        for kind in kinds:
            worlds[kind.name] = World(driver, kind(payload, operation, url), payload, tasks=tasks)
        for world in worlds.values():
            world.warm(effort.seconds)
        return in_turns(effort.rounds, {name: world.round for name, world in worlds.items()})
    finally:
        for world in worlds.values():
            driver.close(world.contender)


def _table(kinds: Any, cells: Cells, operation: str, tasks: int, place: str) -> Table:
    many = tasks > 1
    title = f"{place}: {OPERATIONS[operation]}, " + (f"{tasks} tasks" if many else "one blocking caller")
    unit = "thousands/s" if many else "us"
    own = ours.AsyncSojourn.name if many else ours.Sojourn.name
    note = "x floor: times as fast as the first; x of Sojourn: times as fast as Sojourn. All but Sojourn lose updates."
    if many and not valkey_rivals.HAS_GLIDE:
        note += " valkey-glide is not installed here."
    return Table(
        title, columns(OPERATIONS[operation], cells, unit), rows(kinds, cells, kinds[0].name, own, rate=many), note
    )


def _verdicts(operation: str, tasks: int, cells: Cells) -> list[Verdict]:
    """What the project wants."""
    if operation != "change":
        return []
    if tasks > 1:
        lead = cells["B"].lead(ours.AsyncSojourn.name, valkey_rivals.RedisAsyncio.name)
        return [Verdict(f"B, {tasks} tasks: at least 3 times redis.asyncio GET+SET", times(lead), lead >= 3)]
    verdicts = []
    for payload, least in (("B", 1.3), ("C", 2.0)):
        for rival in (valkey_rivals.FlaskSession.name, valkey_rivals.FlaskSessionWhole.name):
            lead = cells[payload].lead(ours.Sojourn.name, rival)
            wanted = f"{payload}, blocking: at least {least} times {rival}"
            verdicts.append(Verdict(wanted, times(lead), lead >= least))
    return verdicts
