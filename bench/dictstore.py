"""`SessionStore`: what a read and a write take in memory, at a thousand and a million entries, beside a dict of
MessagePack blobs behind a lock; over the engine's memory store; and in a file.

Keys are drawn anew for each round, and each value that is written differs from the one before. Seconds are of one call,
the loop around it included.
"""

from __future__ import annotations

import gc
import random
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from sojourn import SessionStore, SessionStoreConfig, open_store
from sojourn.dicts.durable import DurableShelf
from sojourn.dicts.shelf import Voice

from .report import Section, Table, Verdict, microseconds, times
from .timing import Samples, in_turns

FLOOR, OURS, ENGINE = "floor: dict of blobs, locked", "Sojourn", "Sojourn's shelf over memory://"


def _flat(number: int) -> dict[str, Any]:
    return {
        "user_id": f"user-{number:08d}",
        "role": "customer",
        "visits": 1_000_000 + number,
        "beta": False,
        "token": f"{number:032d}",
    }


def _item(number: int) -> dict[str, Any]:
    return {
        "sku": f"SKU-{number:08d}",
        "title": f"Enamel mug, {number % 90} cl",
        "quantity": 2,
        "price": 12.5,
        "options": {"colour": "blue", "gift": False},
    }


def _cart(number: int) -> dict[str, Any]:
    return {
        "user": f"user-{number:08d}",
        "currency": "EUR",
        "coupon": None,
        "items": [_item(number + at) for at in range(4)],
        "address": {"street": "12 Long Acre", "city": "Springfield", "country": "GB"},
    }


PAYLOADS: dict[str, Callable[[int], Any]] = {
    "a number": lambda number: 1_000_000 + number,
    "5 fields": _flat,
    "a cart": _cart,
}
POOL = 500
"""Values that go round."""


class Floor:
    """The least that keeps values apart from those who set and get them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[str, bytes] = {}

    def set(self, key: str, value: Any) -> None:
        data = _encode(value)
        with self._lock:
            self._blobs[key] = data

    def get(self, key: str, default: Any = None) -> Any:
        with self._lock:
            data = self._blobs.get(key)
        return default if data is None else _decode(data)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    calls: int
    """In one round of one contender."""
    many: int


FULL = Effort(rounds=21, calls=20_000, many=1_000_000)
QUICK = Effort(rounds=9, calls=5_000, many=100_000)


def bench(*, quick: bool) -> Section:
    """Memory at two sizes, then a file."""
    effort = QUICK if quick else FULL
    section = Section("dictstore")
    found: dict[tuple[str, int, str], Samples] = {}
    for name, build in PAYLOADS.items():
        for size in (1_000, effort.many):
            for operation, samples in _memory(build, size, effort).items():
                found[name, size, operation] = samples
    section.tables = [_table(found, name, effort) for name in PAYLOADS]
    bounds = {size: _at_the_bound(size, effort) for size in (1_000, effort.many)}
    section.figures["at the bound"] = {str(size): seconds for size, seconds in bounds.items()}
    section.tables += [_bounds(bounds), _file(section, effort)]
    section.figures["seconds"] = {f"{name}, {size:,}, {op}": one.medians() for (name, size, op), one in found.items()}
    section.verdicts = _verdicts(found, effort) + _flat_at_the_bound(bounds)
    return section


def _memory(build: Callable[[int], Any], size: int, effort: Effort) -> dict[str, Samples]:
    """Seconds a call, for each operation and contender."""
    pool = [build(number) for number in range(POOL)]
    config = SessionStoreConfig(max_size=size)
    contenders: dict[str, Any] = {FLOOR: Floor(), OURS: SessionStore(config)}
    if size == 1_000:  # a tenth of a million records of the engine would fill the memory of a small machine
        with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder:
            shelf = DurableShelf(open_store("memory://"), Path(folder) / "none", SessionStoreConfig(), Voice(config))
        contenders[ENGINE] = shelf
    keys = [f"session-{number:08d}" for number in range(size)]
    for number, key in enumerate(keys):
        for contender in contenders.values():
            contender.set(key, pool[number % POOL])
    for contender in contenders.values():
        _isolated(contender, keys[0], build(0))
    gc.collect()
    found = {"get": _rounds(contenders, _get, keys, pool, effort), "set": _rounds(contenders, _set, keys, pool, effort)}
    contenders[OURS].stop()
    return found


def _isolated(contender: Any, key: str, value: Any) -> None:
    """Assert that neither what was set nor what is got changes what is stored."""
    contender.set(key, value)
    for spoilt in (value, contender.get(key)):
        if isinstance(spoilt, dict):
            spoilt.clear()
            assert contender.get(key), "not isolated"


def _rounds(contenders: dict[str, Any], one: Any, keys: list[str], pool: list[Any], effort: Effort) -> Samples:
    draw = random.Random(6)

    def measure(contender: Any) -> Callable[[], float]:
        calls = effort.calls // 20 if isinstance(contender, DurableShelf) else effort.calls
        return lambda: one(contender, draw.choices(keys, k=calls), draw.choices(pool, k=calls))

    return in_turns(effort.rounds, {name: measure(contender) for name, contender in contenders.items()})


def _get(contender: Any, keys: list[str], _: list[Any]) -> float:
    get = contender.get
    started = perf_counter()
    for key in keys:
        get(key)
    return (perf_counter() - started) / len(keys)


def _set(contender: Any, keys: list[Any], values: list[Any]) -> float:
    put = contender.set
    started = perf_counter()
    for key, value in zip(keys, values, strict=True):
        put(key, value)
    return (perf_counter() - started) / len(keys)


def _table(found: dict[tuple[str, int, str], Samples], name: str, effort: Effort) -> Table:
    cells = [(operation, size) for operation in ("get", "set") for size in (1_000, effort.many)]
    rows = []
    for contender in (FLOOR, OURS, ENGINE):
        row = [contender]
        for operation, size in cells:
            samples = found[name, size, operation]
            if contender not in samples:
                row.append("-")
            else:
                row.append(f"{microseconds(samples.median(contender))}  {times(samples.lead(contender, FLOOR))}")
        rows.append(row)
    columns = ["microseconds, and times as fast as the floor", *(f"{op}, {size:,}" for op, size in cells)]
    return Table(f"memory, {name}", columns, rows)


def _at_the_bound(size: int, effort: Effort) -> dict[str, float]:
    """Seconds: of a new key where each evicts another, of a sweep that finds nothing, and of each one that died."""
    now = 0.0
    config = SessionStoreConfig(max_size=size, expiration_time=10_000, cleanup_interval=None)
    with SessionStore(config, clock=lambda: now) as store:
        for number in range(size):
            store.set(number, number)
        calls = effort.calls // 10
        evicting = min(
            _set(store, [f"{turn}-{number}" for number in range(calls)], list(range(calls))) for turn in range(5)
        )
        assert len(store) == size
        nothing = min(_sweep(store) for _ in range(5))
        dying, sweeps = size // 10, []
        for turn in range(5):
            for number in range(dying):
                store.set((turn, number), number, expiration=10)
            now += 11
            sweeps.append(_sweep(store) / dying)
            assert len(store) == size - dying
        died = min(sweeps)  # one may meet a collection of garbage
    return {"evicting": evicting, "nothing": nothing, "died": died}


def _sweep(store: SessionStore) -> float:
    started = perf_counter()
    store._shelf.tend()
    return perf_counter() - started


def _bounds(bounds: dict[int, dict[str, float]]) -> Table:
    columns = ["entries", "set of a new key that evicts", "sweep that finds nothing", "sweep, each that died"]
    rows = [[f"{size:,}", *map(microseconds, seconds.values())] for size, seconds in bounds.items()]
    return Table("memory, at the bound", columns, rows, "microseconds; a tenth of the entries died, within one second")


def _flat_at_the_bound(bounds: dict[int, dict[str, float]]) -> list[Verdict]:
    few, many = bounds.values()
    return [
        Verdict(
            "an eviction is O(1): a new key at the bound costs the same (up to 3 times: the cache)",
            times(many["evicting"] / few["evicting"]),
            many["evicting"] <= 3 * few["evicting"],
        ),
        Verdict("a sweep that finds nothing is under 100 us", microseconds(many["nothing"]), many["nothing"] < 1e-4),
        Verdict(
            "one that died costs the same (up to 3 times)",
            times(many["died"] / few["died"]),
            many["died"] <= 3 * few["died"],
        ),
    ]


def _file(section: Section, effort: Effort) -> Table:
    """A store in a file, at both durabilities."""
    rows = []
    for durability in ("process", "power"):
        with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder:
            config = SessionStoreConfig(persistence_path=Path(folder) / "bench.db", durability=durability)
            with SessionStore(config) as store:
                keys = [f"session-{number}" for number in range(200)]
                values = [_cart(number) for number in range(200)]
                seconds = {"set, new": _set(store, keys, values), "set": _set(store, keys, values[::-1])}
                seconds["get"] = min(_get(store, keys, []) for _ in range(effort.rounds))
        section.figures[f"file, {durability}"] = seconds
        rows.append([durability, *(microseconds(seconds[operation]) for operation in ("get", "set", "set, new"))])
    return Table("a file, a cart", ["durability", "get", "set", "set, new"], rows, "microseconds")


def _verdicts(found: dict[tuple[str, int, str], Samples], effort: Effort) -> list[Verdict]:
    """What the project wants."""
    verdicts = []
    for name in PAYLOADS:
        for operation in ("get", "set"):
            small, many = found[name, 1_000, operation], found[name, effort.many, operation]
            for size, samples in ((1_000, small), (effort.many, many)):
                lead = samples.lead(OURS, FLOOR)
                wanted = f"{operation} of {name} at {size:,}: ahead of the floor"
                verdicts.append(Verdict(wanted, times(lead), lead > 1))
            growth, floors = (many.median(one) / small.median(one) for one in (OURS, FLOOR))
            verdicts.append(
                Verdict(
                    f"{operation} of {name}: flat from 1,000 to {effort.many:,}, up to what the floor's own dict grows",
                    f"{times(growth)}, the floor {times(floors)}",
                    growth <= 1.1 * floors,
                )
            )
    return verdicts
