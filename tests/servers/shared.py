"""A place of one test's own on a server that tests share."""

from __future__ import annotations

import pytest

from . import postgres
from .valkey import fresh_prefix

__all__ = ["shared_url"]


def shared_url(request: pytest.FixtureRequest, name: str) -> str:
    """Its URL: a key prefix on "valkey", a database on "postgres", which goes when the test is over."""
    if name == "valkey":
        return str(request.getfixturevalue("valkey").url(prefix=fresh_prefix()))
    database = postgres.shared().database()
    request.addfinalizer(database.drop)
    return database.url()
