"""What all tests share: assertions of the contract that show their values, and tests written as coroutines, which run
in the world that their fixture `world` names."""

from __future__ import annotations

import inspect
import os

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("sojourn.testing", "worlds")

import worlds  # noqa: E402 - after the line above, or its assertions would show nothing

settings.register_profile("ordinary", deadline=None, print_blob=True)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, blocking or in an event loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    world = pyfuncitem.funcargs.get("world", worlds.ASYNC)
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    world.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(params=worlds.WORLDS, ids=lambda world: world.name)
def world(request: pytest.FixtureRequest) -> worlds.World:
    """Each world in turn."""
    return request.param
