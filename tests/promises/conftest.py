"""The places where the promises are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place

import worlds


@pytest.fixture(params=["memory", "power"])
def place(request: pytest.FixtureRequest, tmp_path: Path, world: worlds.World) -> Iterator[Place]:
    """Sessions in memory, and in a file as they are by default."""
    place = Place(request.param, tmp_path, world)
    yield place
    place.close()
