"""The Valkey store keeps the contract: in both worlds, on a Valkey and a Redis server, and on a cluster of three."""

from __future__ import annotations

import pytest

from servers.valkey import Cluster, Valkey, fresh_prefix
from sojourn import open_store
from sojourn.store import Store, World
from sojourn.testing import DurableStoreContract


class ValkeyContract(DurableStoreContract):
    url: str

    @pytest.fixture(autouse=True)
    def _place(self, each_valkey: Valkey) -> None:
        self.url = each_valkey.url(prefix=fresh_prefix(), clock="caller", deadline=10)

    def open(self) -> Store:
        return open_store(self.url, world=self.world)


class TestBlocking(ValkeyContract):
    world: World = "blocking"


class TestAsync(ValkeyContract):
    world: World = "async"


class ClusterContract(DurableStoreContract):
    """In a cluster the history is one of each shard: each is trimmed by itself, and a reader goes on where it was in
    those of which it has missed nothing. So what the contract says of one history is shown where there is one shard."""

    @pytest.fixture(autouse=True)
    def _place(self, request: pytest.FixtureRequest, valkey_cluster: Cluster) -> None:
        history = "kept_for_a_time" in request.node.name or "another_life" in request.node.name
        shards = {"shards": 1} if history else {}
        self.url = valkey_cluster.url(prefix=fresh_prefix(), clock="caller", deadline=10, **shards)

    def open(self) -> Store:
        return open_store(self.url, world=self.world)


class TestClusterBlocking(ClusterContract):
    world: World = "blocking"


class TestClusterAsync(ClusterContract):
    world: World = "async"
