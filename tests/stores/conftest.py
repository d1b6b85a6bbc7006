"""What the tests of several stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkey_keys import Keys

from servers.valkey import Valkey, fresh_prefix
from sojourn import open_store
from sojourn.waiting import run


@pytest.fixture
def keys(valkey: Valkey) -> Iterator[Keys]:
    prefix = fresh_prefix()
    store = open_store(valkey.url(prefix=prefix, clock="caller", deadline=10))
    yield Keys(store, valkey, prefix)
    run(store.close())
