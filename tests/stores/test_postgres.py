"""The PostgreSQL store keeps the contract, in both worlds, on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sql_contract import SQLContract

from servers import postgres
from sojourn import open_store
from sojourn.store import Store, World
from sojourn.stores import postgres as postgres_store


class PostgresContract(SQLContract):
    module = postgres_store

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with postgres.fresh() as database:
            self.url = database.url(clock="caller", deadline=10)
            yield

    def open(self) -> Store:
        return open_store(self.url, world=self.world)


class TestBlocking(PostgresContract):
    world: World = "blocking"


class TestAsync(PostgresContract):
    world: World = "async"
