"""In memory: seven operations, three payloads; the floor, the peers and Sojourn, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import floors, ours, peers
from .contender import OPERATIONS, TITLES, Contender, jobs
from .payloads import ALL, Payload
from .report import Section, Table, Verdict, microseconds, times
from .timing import Driver, Samples, calls_for, in_turns

CONTENDERS: tuple[type[Contender], ...] = (floors.Blobs, floors.SharedDicts, *peers.MEMORY, *ours.MEMORY)
CONSUMING = ("create", "end")
"""Operations that use up a world: each round gets a new one."""
KEPT = 4
"""At most so many times the population are made or ended in a round: making those to end takes time too."""

LEGEND = "; ".join(f"{operation}: {title}" for operation, title in TITLES.items() if title != operation)

Cells = dict[str, Samples]
"""By operation."""


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
    found: dict[str, Cells] = {}
    with Driver() as driver:
        shared = [kind.name for kind in CONTENDERS if not _check(driver, kind)]
        for payload in ALL:
            size = payload.check()
            found[payload.name] = {
                operation: _measure(driver, payload, operation, QUICK if quick else FULL) for operation in OPERATIONS
            }
            section.tables += _tables(payload, size, found[payload.name], shared)
    seconds = {name: {op: cell.medians() for op, cell in cells.items()} for name, cells in found.items()}
    section.figures = {"seconds": seconds, "not_isolated": shared}
    section.verdicts = _verdicts(found, shared)
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
    isolated: bool = second[payload.read][payload.leaf] == "changed"
    driver.each(world, "end", [(sid,)])
    driver.each(world, "miss", [(sid,), (world.unknown(),)])
    driver.close(world)
    return isolated


def _measure(driver: Driver, payload: Payload, operation: str, effort: Effort) -> Samples:
    """The seconds a call for each contender."""
    worlds = {kind.name: _World(driver, kind, payload, operation) for kind in CONTENDERS}
    for world in worlds.values():
        world.warm(effort.seconds)
    samples = in_turns(effort.rounds, {name: world.round for name, world in worlds.items()})
    for world in worlds.values():
        driver.close(world.contender)
    return samples


class _World:
    """One contender with its sessions, for one operation."""

    def __init__(self, driver: Driver, kind: type[Contender], payload: Payload, operation: str) -> None:
        self._driver = driver
        self._kind = kind
        self._payload = payload
        self._operation = operation
        self._consuming = operation in CONSUMING
        self._calls = 10
        self._done = 0
        self.contender = kind(payload, operation)
        self._ids = self._populate(0 if self._consuming else self._payload.population)

    def warm(self, seconds: float) -> None:
        """Run a short round, and set how many calls fill the time."""
        self.round()
        most = KEPT * self._payload.population if self._consuming else 50_000
        self._calls = calls_for(seconds, self.round(), 10, most)

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
        fresh = [(self._payload.build(n),) for n in range(min(count, self._payload.population))]
        return self._driver.each(self.contender, "create", [fresh[n % len(fresh)] for n in range(count)])


def _tables(payload: Payload, size: int, cells: Cells, shared: Sequence[str]) -> list[Table]:
    """Times, then each contender against the floor and against Sojourn."""
    columns = list(OPERATIONS)
    label = {kind.name: kind.name + (" (not isolated)" if kind.name in shared else "") for kind in CONTENDERS}
    floor, own = floors.Blobs.name, ours.Sojourn.name
    absolute = [[label[name], *(microseconds(cells[op].median(name)) for op in columns)] for name in label]
    to_floor = [[label[name], *(times(cells[op].lead(name, floor)) for op in columns)] for name in label]
    to_own = [[label[name], *(times(cells[op].lead(own, name)) for op in columns)] for name in label]
    title = f"memory, payload {payload.name}: {size:,} bytes in {payload.keys} keys"
    return [
        Table(title, ["microseconds", *columns], absolute, LEGEND),
        Table("", ["times as fast as the floor", *columns], to_floor),
        Table("", ["Sojourn is so many times as fast as", *columns], to_own),
    ]


def _verdicts(found: dict[str, Cells], shared: Sequence[str]) -> list[Verdict]:
    """What the project wants of the memory store."""
    rivals = [kind.name for kind in peers.MEMORY if kind.name not in shared]
    verdicts = []
    for own in (kind.name for kind in ours.MEMORY):
        for operation in ("read", "change", "create"):
            for payload, cells in found.items():
                leads = {rival: cells[operation].lead(own, rival) for rival in rivals}
                best = min(leads, key=leads.__getitem__)
                wanted = f"{payload} {TITLES[operation]}: {own} ahead of every isolated peer"
                verdicts.append(Verdict(wanted, f"{times(leads[best])} of {best}", leads[best] > 1))
    for payload, least in (("B", 2), ("C", 4)):
        for operation in ("read", "change"):
            lead = found[payload][operation].lead(ours.Sojourn.name, floors.Blobs.name)
            wanted = f"{payload} {TITLES[operation]}: at least {least} times the isolated floor"
            verdicts.append(Verdict(wanted, times(lead), lead >= least))
    return verdicts
