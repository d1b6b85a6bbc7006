"""Real servers for the benches of the network stores: started as the tests start theirs, on free loopback ports, in
temporary folders, and gone when the bench is over.

Where there are two CPUs or more, the server has one and the client another, so that neither takes the other's time, and
every contender meets the same: which they are is printed. A contender that brings threads of its own shares the
client's. Needs a checkout, as the tests are only there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tests.servers.postgres import PostgreSQL
from tests.servers.process import Process
from tests.servers.valkey import Valkey

__all__ = ["PostgreSQL", "Valkey", "durable_postgres", "running", "valkey", "version_of"]

P = TypeVar("P", bound=Process)


@contextmanager
def running(make: Callable[[], P]) -> Iterator[tuple[P, str]]:
    """A server, while it is needed, and what was pinned where."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    pinned = len(cpus) > 1
    server = make()
    try:
        if pinned:
            os.sched_setaffinity(0, cpus[1:2])  # which the server inherits
        server.start()
        if pinned:
            os.sched_setaffinity(0, cpus[:1])
        yield server, f"server on CPU {cpus[1]}, client on CPU {cpus[0]}" if pinned else "nothing pinned"
    finally:
        server.close()
        if pinned:
            os.sched_setaffinity(0, cpus)


def valkey() -> Valkey:
    """A Valkey server, or a Redis if there is none; it keeps nothing on disk."""
    return Valkey()


def durable_postgres() -> PostgreSQL:
    """A PostgreSQL server that waits for its disk, with room for all that is measured in its memory."""
    return PostgreSQL(fsync="on", full_page_writes="on", shared_buffers="128MB", autovacuum="on", max_wal_size="4GB")


def version_of(server: Process) -> str:
    """What runs there, by name and version."""
    if isinstance(server, Valkey):
        facts = server.info("server")
        return f"{server.binary} {facts.get('valkey_version') or facts['redis_version']}"
    if isinstance(server, PostgreSQL):
        return f"PostgreSQL {server.ask('SHOW server_version')[0][0]}".split(" (")[0]
    return type(server).__name__
