"""On PostgreSQL, one blocking caller: load, change one key, commit; at `power` (synchronous_commit on) and `process`
(off), on one server with fsync on.

At `power` a commit waits for the disk, which hides what the clients cost; `process` shows it.
"""

from __future__ import annotations

from . import postgres_rivals
from .network import Cells, Effort, World, columns, medians, rows
from .payloads import ALL, B, Payload
from .postgres_rivals import DjangoDb, DjangoDefault, Sojourn, Statements
from .report import Section, Table, Verdict, times
from .servers import PostgreSQL, durable_postgres, running, version_of
from .timing import Driver, Samples, in_turns

LEVELS = {"power": "power (fsync on, synchronous_commit on)", "process": "process (synchronous_commit off)"}
FULL = Effort(rounds=21, seconds=0.06)
QUICK = Effort(rounds=5, seconds=0.01)


def bench(*, quick: bool) -> Section:
    """Both levels, all payloads; B alone if it is to be quick."""
    section = Section("postgres")
    effort, payloads = (QUICK, (B,)) if quick else (FULL, ALL)
    found: dict[str, Cells] = {}
    with running(durable_postgres) as (server, pinning), Driver() as driver:
        place = f"{version_of(server)}; {pinning}"
        for level in LEVELS:
            found[level] = {payload.name: _measure(driver, server, payload, level, effort) for payload in payloads}
            section.tables.append(_table(level, found[level], place))
    section.figures["place"] = place
    section.figures["change_seconds"] = {level: medians(cells) for level, cells in found.items()}
    section.verdicts = _verdicts(found)
    return section


def _measure(driver: Driver, server: PostgreSQL, payload: Payload, level: str, effort: Effort) -> Samples:
    """The seconds of a change for each contender."""
    worlds: dict[str, World] = {}
    try:
        for kind in postgres_rivals.CONTENDERS:
            worlds[kind.name] = World(driver, kind(payload, server, level), payload)
        for world in worlds.values():
            world.warm(effort.seconds)
        return in_turns(effort.rounds, {name: world.round for name, world in worlds.items()})
    finally:
        for world in worlds.values():
            driver.close(world.contender)


def _table(level: str, cells: Cells, place: str) -> Table:
    kinds = postgres_rivals.CONTENDERS
    title = f"{place}: load + change one + commit, one blocking caller"
    note = "x floor: times as fast as the first. Django loses updates; the floors do not, and do nothing else."
    return Table(
        title,
        columns(LEVELS[level], cells, "us"),
        rows(kinds, cells, Statements.name, Sojourn.name, rate=False),
        note,
    )


def _verdicts(found: dict[str, Cells]) -> list[Verdict]:
    """What the project wants."""
    verdicts = []
    for level, cells in found.items():
        over = cells["B"].lead(Statements.name, Sojourn.name) - 1
        wanted = f"{level} B: within 20% of psycopg 3 with the same statements"
        verdicts.append(Verdict(wanted, f"{over:+.0%}", over <= 0.2))
        for rival in (DjangoDb.name, DjangoDefault.name):
            lead = cells["B"].lead(Sojourn.name, rival)
            verdicts.append(Verdict(f"{level} B: at least 5 times {rival}", times(lead), lead >= 5))
    return verdicts
