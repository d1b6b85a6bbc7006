"""What the tests of several stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkey_keys import Keys

from servers import postgres
from servers.postgres import Database
from servers.valkey import Valkey, fresh_prefix
from sojourn import open_store
from sojourn.store import Store
from sojourn.waiting import run


@pytest.fixture
def keys(valkey: Valkey) -> Iterator[Keys]:
    prefix = fresh_prefix()
    store = open_store(valkey.url(prefix=prefix, clock="caller", deadline=10))
    yield Keys(store, valkey, prefix)
    run(store.close())


@pytest.fixture
def database() -> Iterator[Database]:
    """A PostgreSQL database of the test's own."""
    with postgres.fresh() as one:
        yield one


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """A PostgreSQL store that goes by the caller's clock, for blocking callers."""
    one = open_store(database.url(clock="caller", deadline=10))
    yield one
    run(one.close())
