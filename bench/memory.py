"""In memory: seven operations, three payloads; the floor, the peers and Sojourn, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import floors, ours, peers
from .contender import OPERATIONS, TITLES, Contender, jobs
from .payloads import ALL, Payload
from .report import Section, Table, Verdict, microseconds, ratio
from .timing import Driver, calls_for, median, turns

CONTENDERS: tuple[type[Contender], ...] = (floors.Blobs, floors.SharedDicts, *peers.MEMORY, *ours.MEMORY)
CONSUMING = ("create", "end")
"""Operations that use up a world: each round gets a new one."""
KEPT = 400
"""At most so many sessions are made or ended in a round: 64 KB each is 26 MB."""

Cell = dict[str, float]


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """Time in one round of one contender."""


FULL = Effort(rounds=9, seconds=0.02)
QUICK = Effort(rounds=7, seconds=0.003)


def bench(*, quick: bool) -> Section:
    """All operations at all payloads."""
    section = Section("memory")
    medians: dict[str, dict[str, Cell]] = {}
    with Driver() as driver:
        shared = [kind.name for kind in CONTENDERS if not _check(driver, kind)]
        for payload in ALL:
            size = payload.check()
            medians[payload.name] = {
                operation: _measure(driver, payload, operation, QUICK if quick else FULL)
                for operation in OPERATIONS
            }
            section.tables += _tables(payload, size, medians[payload.name], shared)
    section.figures = {"seconds": medians, "not_isolated": shared}
    section.verdicts = _verdicts(medians, shared)
    return section


def _check(driver: Driver, kind: type[Contender]) -> bool:
    """Assert that a contender does its work; say whether it is isolated: that two loads share nothing."""
    payload = ALL[1]
    world = kind(payload, "read")
    [sid] = driver.each(world, "create", [(payload.build(1),)])
    driver.each(world, "change", [(sid, payload.value(7))])
    driver.each(world, "nested", [(sid, "changed")])
    [first, second] = driver.each(world, "load", [(sid,), (sid,)])
    assert first[payload.change] == payload.value(7), f"{kind.name} lost an assignment"
    assert first[payload.read][payload.leaf] == "changed", f"{kind.name} lost a change in place"
    first[payload.read][payload.leaf] = "mine"
    isolated = second[payload.read][payload.leaf] == "changed"
    driver.each(world, "end", [(sid,)])
    driver.each(world, "miss", [(sid,), (world.unknown(),)])
    driver.close(world)
    return isolated


def _measure(driver: Driver, payload: Payload, operation: str, effort: Effort) -> Cell:
    """The median seconds a call for each contender."""
    worlds = {kind.name: _World(driver, kind, payload, operation) for kind in CONTENDERS}
    samples: dict[str, list[float]] = {name: [] for name in worlds}
    for world in worlds.values():
        world.warm(effort.seconds)
    for kind in turns(CONTENDERS, effort.rounds):
        samples[kind.name].append(worlds[kind.name].round())
    for world in worlds.values():
        driver.close(world.contender)
    return {name: median(values) for name, values in samples.items()}


class _World:
    """One contender with its sessions, for one operation."""

    def __init__(self, driver: Driver, kind: type[Contender], payload: Payload, operation: str) -> None:
        self._driver = driver
        self._kind = kind
        self._payload = payload
        self._operation = operation
        self._consuming = operation in CONSUMING
        self._calls = 30
        self._done = 0
        self.contender = kind(payload, operation)
        self._ids = self._populate(0 if self._consuming else ours.POPULATION)

    def warm(self, seconds: float) -> None:
        """Run a short round, and set how many calls fill the time."""
        self.round()
        self._calls = calls_for(seconds, self.round(), 30, KEPT if self._consuming else 50_000)

    def round(self) -> float:
        """Seconds a call in one round."""
        if self._consuming:
            self._driver.close(self.contender)
            self.contender = self._kind(self._payload, self._operation)
            self._ids = self._populate(self._calls if self._operation == "end" else 0)
        arguments = jobs(self.contender, self._payload, self._ids, self._calls, self._done)
        self._done += self._calls
        return self._driver.mean(self.contender, self._operation, arguments)

    def _populate(self, count: int) -> list[str]:
        fresh = [(self._payload.build(n),) for n in range(min(count, ours.POPULATION))]
        return self._driver.each(self.contender, "create", [fresh[n % len(fresh)] for n in range(count)])


def _tables(payload: Payload, size: int, cells: dict[str, Cell], shared: Sequence[str]) -> list[Table]:
    """Times, then each contender against the floor and against Sojourn."""
    columns = ["microseconds", *(TITLES[operation] for operation in OPERATIONS)]
    label = {kind.name: kind.name + (" (not isolated)" if kind.name in shared else "") for kind in CONTENDERS}
    times = [[label[name], *(microseconds(cells[op][name]) for op in OPERATIONS)] for name in label]
    floor, own = floors.Blobs.name, ours.Sojourn.name
    to_floor = [
        [label[name], *(ratio(cells[op][name], cells[op][floor]) for op in OPERATIONS)] for name in label
    ]
    to_own = [[label[name], *(ratio(cells[op][own], cells[op][name]) for op in OPERATIONS)] for name in label]
    title = f"memory, payload {payload.name}: {size:,} bytes in {payload.keys} keys"
    return [
        Table(title, columns, times),
        Table("times as fast as the floor", ["", *columns[1:]], to_floor),
        Table("Sojourn is so many times as fast as", ["", *columns[1:]], to_own),
    ]


def _verdicts(medians: dict[str, dict[str, Cell]], shared: Sequence[str]) -> list[Verdict]:
    """What the project wants of the memory store."""
    rivals = [kind.name for kind in peers.MEMORY if kind.name not in shared]
    verdicts = []
    for own in (kind.name for kind in ours.MEMORY):
        for operation in ("read", "change", "create"):
            for payload, cells in medians.items():
                cell = cells[operation]
                best = min(rivals, key=cell.__getitem__)
                lead = cell[best] / cell[own]
                wanted = f"{payload} {TITLES[operation]}: {own} ahead of every isolated peer"
                verdicts.append(Verdict(wanted, f"x{lead:.2f} of {best}", lead > 1))
    for payload, times in (("B", 2), ("C", 4)):
        for operation in ("read", "change"):
            cell = medians[payload][operation]
            lead = cell[floors.Blobs.name] / cell[ours.Sojourn.name]
            wanted = f"{payload} {TITLES[operation]}: at least {times} times the isolated floor"
            verdicts.append(Verdict(wanted, f"x{lead:.2f}", lead >= times))
    return verdicts
