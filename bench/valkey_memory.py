"""The memory of a session on a Valkey or Redis server: what `used_memory` grows by, less what its clients' buffers
take, against a plain blob under a key of 51 bytes with a time to live. Each figure has a new server, as an emptied one
still holds the tables that it grew.

All that Sojourn keeps beside the record counts: deadlines, users, and the history of facts, which is bounded (10,000),
so that among more sessions it weighs less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import redis

from sojourn import AsyncSessionManager

from .contender import IDLE_TIMEOUT
from .floors import encode
from .payloads import A, B, Payload
from .report import Section, Table, Verdict, times
from .servers import running, valkey
from .timing import Driver
from .valkey_rivals import fresh_key

TASKS = 50
COMMITS = 20
CREATED, USED, OWNED = "as created", f"after {COMMITS} commits", "as created, a user each"
MOST = 1.5
USED_SHARE = 5
"""One of so many sessions is committed to: what each grows by is the same."""


@dataclass(frozen=True)
class Found:
    """Bytes a session of one payload."""

    blob: float
    ours: dict[str, float]

    def share(self, when: str) -> float:
        """How many times the blob."""
        return self.ours[when] / self.blob


def measure(section: Section, driver: Driver, *, quick: bool) -> None:
    """Two payloads, in three states."""
    count = 1_000 if quick else 20_000
    found: dict[str, Found] = {}
    for payload in (A, B):
        with _server() as (grown, _):
            blob = grown(lambda client, payload=payload: _blobs(client, payload, count)) / count
        with _server() as (grown, url), _Site(driver, url, payload) as site:
            ids: list[str] = []
            created = grown(lambda _, site=site, ids=ids: ids.extend(site.create(count))) / count
            some = ids[: count // USED_SHARE]
            used = created + grown(lambda _, site=site, some=some: site.commit(some)) / len(some)
        with _server() as (grown, url), _Site(driver, url, payload) as site:
            owned = grown(lambda _, site=site: site.create(count, owned=True)) / count
        found[payload.name] = Found(blob, {CREATED: created, USED: used, OWNED: owned})
    section.figures["bytes_a_session"] = {name: {"blob": one.blob, **one.ours} for name, one in found.items()}
    section.tables.append(_table(found, count, section.figures["place"]))
    for name, one in found.items():
        share = one.share(CREATED)
        section.verdicts.append(
            Verdict(f"memory of a session at {name}: at most {MOST} times a plain blob", times(share), share <= MOST)
        )


@contextmanager
def _server() -> Iterator[tuple[Callable[[Callable[[Any], Any]], float], str]]:
    """A server, as a function that tells by how many bytes it grows while another one runs, and its URL."""
    with running(valkey) as (server, _):
        url = f"redis://127.0.0.1:{server.port}/0"
        with redis.Redis.from_url(url) as client:

            def used() -> int:
                facts = client.info("memory")
                return int(facts["used_memory"] - facts["mem_clients_normal"])

            def grown(fill: Callable[[Any], Any]) -> float:
                before = used()
                fill(client)
                return float(used() - before)

            yield grown, url


def _blobs(client: Any, payload: Payload, count: int) -> None:
    for start in range(0, count, 500):
        pipe = client.pipeline(transaction=False)
        for n in range(start, min(start + 500, count)):
            pipe.set(fresh_key(), encode(payload.build(n)), ex=IDLE_TIMEOUT)
        pipe.execute()


class _Site:
    """Sojourn on a server that was flushed."""

    def __init__(self, driver: Driver, url: str, payload: Payload) -> None:
        self._driver = driver
        self._payload = payload
        self._manager = AsyncSessionManager(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.run(self._manager.close())

    def create(self, count: int, *, owned: bool = False) -> list[str]:
        """New sessions."""
        build, create = self._payload.build, self._manager.create_session
        return self._all([(lambda n=n: create(f"u{n:08d}" if owned else None, build(n))) for n in range(count)])

    def commit(self, ids: list[str]) -> None:
        """Commits, so many in each session."""
        self._all([(lambda sid=sid: self._change(sid)) for sid in ids])

    async def _change(self, sid: str) -> None:
        for n in range(COMMITS):
            async with self._manager.session(sid) as session:
                session[self._payload.change] = self._payload.value(n)

    def _all(self, calls: list[Callable[[], Coroutine[Any, Any, Any]]]) -> list[Any]:
        async def work(first: int) -> list[Any]:
            return [await call() for call in calls[first::TASKS]]

        async def main() -> list[Any]:
            return [one for share in await asyncio.gather(*map(work, range(TASKS))) for one in share]

        done: list[Any] = self._driver.run(main())
        return done


def _table(found: dict[str, Found], count: int, place: str) -> Table:
    columns = [f"{count:,} sessions, bytes each"]
    for name in found:
        columns += [name, "x blob"]
    rows = [["plain blob", *(part for one in found.values() for part in (f"{one.blob:,.0f}", "x1.00"))]]
    for when in (CREATED, USED, OWNED):
        cells = [(f"{one.ours[when]:,.0f}", times(one.share(when))) for one in found.values()]
        rows.append([f"Sojourn, {when}", *(part for cell in cells for part in cell)])
    return Table(f"{place}: memory on the server", columns, rows, "Everything counts, the history of facts as well.")
