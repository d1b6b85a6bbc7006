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
    @pytest.fixture(autouse=True)
    def _place(self, valkey_cluster: Cluster) -> None:
        self.url = valkey_cluster.url(prefix=fresh_prefix(), clock="caller", deadline=10)

    def open(self) -> Store:
        return open_store(self.url, world=self.world)


class TestClusterBlocking(ClusterContract):
    world: World = "blocking"


class TestClusterAsync(ClusterContract):
    world: World = "async"
