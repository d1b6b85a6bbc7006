"""What the pages on the network stores say to whoever sets a server up: their options are those of the code, and the
rights that they name are enough, for the whole contract of a store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servers.postgres import PostgreSQL
from servers.process import LOOPBACK
from servers.valkey import Cluster, Sentinels, Valkey
from sojourn import SessionManager, StoreUnavailable, open_store
from sojourn.blocking import run
from sojourn.store import Store
from sojourn.stores.postgres import _OPTIONS as POSTGRES_OPTIONS
from sojourn.stores.valkey_url import _OPTIONS as VALKEY_OPTIONS
from sojourn.testing import DurableStoreContract
from test_docs import DOCS, blocks_of, rows_of, text_of

# --- Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "column", "options"),
    [
        ("`valkey://` and `redis://`", "option", VALKEY_OPTIONS),
        ("`postgresql://`", "option of ours", POSTGRES_OPTIONS),
    ],
    ids=["valkey", "postgres"],
)
def test_every_option_of_a_url_is_in_the_reference(heading: str, column: str, options: frozenset[str]) -> None:
    """The table of a store's options names each that its URL takes, and no other."""
    text = text_of("reference/stores.md").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = rows_of(text, column, "values", "default")
    assert {name.strip(" `") for row in rows for name in row[0].split(",")} == options


# --- Rights ----------------------------------------------------------------------------------------------------------


def _keeps_the_contract(url: str, empty: Callable[[], object]) -> None:
    """Every test of the contract passes at this URL, which is emptied before each."""

    class Contract(DurableStoreContract):
        def open(self) -> Store:
            return open_store(url, world=self.world)

    names = [name for name in dir(Contract) if name.startswith("test_")]
    assert len(names) > 50
    for name in names:
        empty()
        getattr(Contract(), name)()


def _valkey_rules() -> list[str]:
    """The access rules for a user, as the page has them."""
    (rules,) = (block for block in blocks_of(DOCS / "how-to/valkey.md") if block.text.startswith("ACL SETUSER shop"))
    return rules.text.split()


def _writes(url: str) -> None:
    with SessionManager(url) as sessions:
        session_id = sessions.create_session("ada", {"visits": 0})
        assert sessions.update(session_id, "visits", lambda visits: visits + 1) == 1


def test_the_rules_for_a_valkey_user_are_enough() -> None:
    """A user with the rules of the page keeps the whole contract, and reaches no key of another prefix."""
    with Valkey() as server:
        server.do(*_valkey_rules())
        url = f"valkey://shop:secret@{LOOPBACK}:{server.port}?clock=caller&deadline=10"
        _keeps_the_contract(url, lambda: server.do("FLUSHALL"))
        with pytest.raises(StoreUnavailable, match="access rules"):
            _writes(f"{url}&prefix=another")


def test_the_rules_for_a_valkey_user_who_waits_for_replicas() -> None:
    """At ``durability=replicated`` a user needs what the page adds for that."""
    with Valkey() as server, Valkey(replica_of=server.port):
        url = f"valkey://shop:secret@{LOOPBACK}:{server.port}?durability=replicated&deadline=10"
        server.do(*_valkey_rules())
        with pytest.raises(StoreUnavailable, match="'wait'"):
            _writes(url)
        server.do(*_valkey_rules(), "+wait")
        _writes(url)


def test_the_rules_for_a_valkey_user_behind_sentinels(sentinels: Sentinels) -> None:
    """Behind Sentinels a user needs what the page adds for that."""
    url = sentinels.url(deadline=3).replace("://", "://shop:secret@")
    for server in sentinels.servers:
        server.do(*_valkey_rules())
    with pytest.raises(StoreUnavailable, match="'role'"):
        _writes(url)
    for server in sentinels.servers:
        server.do(*_valkey_rules(), "+role")
    _writes(url)


def test_the_rules_for_a_valkey_user_of_a_cluster(valkey_cluster: Cluster) -> None:
    """In a cluster a user needs what the page adds for that. (Slots that move are moved elsewhere in the tests.)"""
    url = valkey_cluster.url(deadline=3).replace("://", "://shop:secret@")
    try:
        for server in valkey_cluster.servers:
            server.do(*_valkey_rules())
        with pytest.raises(StoreUnavailable, match="'cluster"):
            _writes(url)
        for server in valkey_cluster.servers:
            server.do(*_valkey_rules(), "+cluster|slots", "+asking")
        _writes(url)
    finally:
        for server in valkey_cluster.servers:
            server.do("ACL", "DELUSER", "shop")


def test_the_rights_of_a_postgresql_role_are_enough() -> None:
    """Where another role has made the tables, a role with the rights of the page keeps the whole contract; without
    them it is told what to do."""
    (grants,) = (block.text for block in blocks_of(DOCS / "how-to/postgresql.md") if block.language == "sql")
    with PostgreSQL() as server:
        for statement in ("CREATE DATABASE shop", "CREATE ROLE owner LOGIN", "CREATE ROLE shop LOGIN"):
            server.ask(statement)
        server.ask("GRANT CREATE ON DATABASE shop TO owner")
        owned = open_store(server.url("shop").replace("sojourn@", "owner@"))
        assert run(owned.migrate()) >= 1  # type: ignore[attr-defined]
        run(owned.close())
        url = server.url("shop", clock="caller", deadline=10).replace("sojourn@", "shop@")
        with pytest.raises(StoreUnavailable, match="Grant the role what it needs"):
            _writes(url)
        server.ask(grants, database="shop")
        begin = (
            "TRUNCATE sojourn.session, sojourn.fresh, sojourn.change, sojourn.line, sojourn.reader, sojourn.watching; "
            "UPDATE sojourn.held SET sessions = 0; "
            "UPDATE sojourn.era SET epoch = 0; ALTER SEQUENCE sojourn.change_position RESTART"
        )
        _keeps_the_contract(url, lambda: server.ask(begin, database="shop"))
