"""ASGI with sessions on Valkey or Redis: what a session adds to a request, one at a time and with 50 under way at once.

The same app with no session, with starsessions in its Redis store (which saves at each request, changed or not), and
with Sojourn. With 50 under way, what is added is what it costs the process; one at a time it is, above all, the way to
the server and back: one for a request that reads, two for one that changes.
"""

from __future__ import annotations

import redis.asyncio
from starsessions import SessionMiddleware as StarsessionsMiddleware
from starsessions import load_session
from starsessions.stores.redis import RedisStore

from sojourn import AsyncSessionManager
from sojourn.adapters.asgi import SessionMiddleware

from .asgi import BARE, OPERATIONS, Site, application, measure, nothing, table
from .report import Section, Verdict
from .servers import running, valkey, version_of
from .timing import Driver, Samples

CLIENTS = 50
STARSESSIONS, SOJOURN = "starsessions RedisStore", "Sojourn redis://"
MOST = 0.2


def bench(*, quick: bool) -> Section:
    """The added time of each, on a server: reads and changes, alone and many at once."""
    rounds, seconds = (7, 0.02) if quick else (15, 0.15)
    section = Section("asgi_redis")
    with running(valkey) as (server, pinning), Driver() as driver:
        url = f"redis://127.0.0.1:{server.port}/0"
        manager, client = AsyncSessionManager(url), redis.asyncio.Redis.from_url(url)
        sites = [
            Site(BARE, application(None), CLIENTS),
            Site(
                STARSESSIONS,
                StarsessionsMiddleware(application(load_session), store=RedisStore(connection=client)),
                CLIENTS,
            ),
            Site(SOJOURN, SessionMiddleware(application(nothing), manager=manager), CLIENTS),
        ]
        for site in sites:
            driver.run(site.prepare())
        for clients in (CLIENTS, 1):
            found = {
                operation: measure(driver, sites, operation, rounds, seconds, clients)
                for operation in ("read", "change")
            }
            many = f"{clients} under way" if clients > 1 else "one at a time"
            title = f"ASGI, {version_of(server)}, {pinning}: session time added to a request, {many}"
            section.tables.append(table(title, found, SOJOURN))
            section.figures[f"redis_request_seconds_{clients}"] = {
                operation: cell.medians() for operation, cell in found.items()
            }
            section.verdicts += _verdicts(found, many)
        driver.run(manager.close())
        driver.run(client.aclose())
    return section


def _verdicts(found: dict[str, Samples], many: str) -> list[Verdict]:
    """What the project wants of the adapter with Redis."""
    verdicts = []
    for operation, cell in found.items():
        share = 1 / cell.less(BARE).lead(SOJOURN, STARSESSIONS)
        wanted = f"with Redis, {many}, a request that {OPERATIONS[operation]}: added at most a fifth of starsessions'"
        verdicts.append(Verdict(wanted, f"{share:.2f} of it", share <= MOST))
    return verdicts
