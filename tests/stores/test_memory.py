"""The memory store keeps the contract, in both worlds."""

from __future__ import annotations

import pytest

from sojourn import ConfigurationError, SessionConfig, open_store
from sojourn.store import Store, World
from sojourn.stores.memory import MemoryStore
from sojourn.testing import NOW, StoreContract, new_record
from worlds import BLOCKING


class MemoryContract(StoreContract):
    def open(self) -> Store:
        return MemoryStore()


class TestBlocking(MemoryContract):
    world: World = "blocking"


class TestAsync(MemoryContract):
    world: World = "async"


def test_each_url_is_a_store_of_its_own() -> None:
    """Two managers that open ``memory://`` share nothing."""
    one, other = open_store("memory://"), open_store("memory://", SessionConfig(), world="async")
    BLOCKING.run(one.create(new_record(), NOW))
    assert BLOCKING.run(other.stats()).sessions == 0


@pytest.mark.parametrize("url", ["memory://host", "memory:///path", "memory://?size=1"])
def test_the_url_takes_nothing(url: str) -> None:
    """What ``memory://`` does not understand is refused, not ignored."""
    with pytest.raises(ConfigurationError, match="memory://"):
        open_store(url)


def test_history_is_bounded() -> None:
    """Of the facts the last ten thousand are kept; a reader that fell behind goes on with the oldest of them."""

    async def body() -> None:
        store = MemoryStore()
        handles = []
        for _ in range(5_001):
            handles.append((record := new_record()).handle)
            await store.create(record, NOW)
        await store.end(handles, "ended", NOW)
        position, found = await store.changes(0, 20_000)
        assert (position, len(found)) == (10_002, 10_000)
        assert found[0].handle == handles[2]
        assert (await store.changes(10_000, 20_000)) == (10_002, found[-2:])

    BLOCKING.run(body())
