"""What all tests share: assertions of the contract that show their values, and tests written as coroutines, which run
in the world that their fixture `world` names."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("sojourn.testing", "worlds", "sites", "browser", "django_ways")

import worlds  # noqa: E402 - after the line above, or its assertions would show nothing
from servers.valkey import BINARIES, Certificate, Cluster, Sentinels, Valkey  # noqa: E402

if TYPE_CHECKING:
    import sites
    from servers.postgres import PostgreSQL

settings.register_profile("ordinary", deadline=None, print_blob=True)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, blocking or in an event loop. What it was given and has a coroutine `leave` is
    left there, too: connections belong to the event loop in which they were made."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    world = pyfuncitem.funcargs.get("world", worlds.ASYNC)
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def whole() -> None:
        try:
            await pyfuncitem.obj(**arguments)
        finally:
            for argument in arguments.values():
                if inspect.iscoroutinefunction(getattr(type(argument), "leave", None)):
                    await argument.leave()

    world.run(whole())
    return True


@pytest.fixture(params=worlds.WORLDS, ids=lambda world: world.name)
def world(request: pytest.FixtureRequest) -> worlds.World:
    """Each world in turn."""
    return request.param


@pytest.fixture(params=["starlette", "fastapi", "wsgi", "flask", "quart", "django", "django-async", "litestar"])
def open_site(request: pytest.FixtureRequest) -> Iterator[Callable[..., sites.Site]]:
    """Opens sites of each framework in turn, with the settings given."""
    import sites  # the frameworks take a second to import, which most tests can do without

    with sites.opener(request.param) as open_one:
        yield open_one


@pytest.fixture
def site(open_site: Callable[..., sites.Site]) -> sites.Site:
    """A site with the default settings."""
    return open_site()


@pytest.fixture
def visitor(site: sites.Site) -> sites.Visitor:
    """A visitor who has no cookie."""
    return site.visitor()


# --- Servers ---------------------------------------------------------------------------------------------------------
# Those that tests share are started once in a run, when the first test asks; a test keeps to a key prefix of its own.
# A test that stops, fills or floods a server starts its own.


@pytest.fixture(scope="session", params=list(BINARIES) or ["none"])
def each_valkey(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    """A Valkey and a Redis server in turn, as far as they are here."""
    with Valkey(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """One server: Valkey if it is here, else Redis."""
    with Valkey() as server:
        yield server


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[Cluster]:
    """A Cluster of three masters."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    """A master with two replicas and three Sentinels, for one test: it may kill any of them."""
    with Sentinels() as watched:
        yield watched


@pytest.fixture(scope="session")
def postgres() -> PostgreSQL:
    """A PostgreSQL server; a test keeps to a schema or a database of its own."""
    from servers.postgres import shared

    return shared()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the loopback address, with its own authority."""
    return Certificate(tmp_path_factory.mktemp("certificate"))
