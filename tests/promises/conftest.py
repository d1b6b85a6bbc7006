"""The places where the promises are shown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place
from stored import Stored, fill

import worlds


@pytest.fixture(params=["memory", "power"])
def place(request: pytest.FixtureRequest, tmp_path: Path, world: worlds.World) -> Iterator[Place]:
    """Sessions in memory, and in a file as they are by default."""
    place = Place(request.param, tmp_path, world)
    yield place
    place.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stored]:
    path = tmp_path_factory.mktemp("filled") / "sessions.db"
    return path, fill(path)


@pytest.fixture
def stored(filled: tuple[Path, Stored], tmp_path: Path) -> Stored:
    """What the database ``sessions.db`` in ``tmp_path`` holds."""
    for file in filled[0].parent.iterdir():
        shutil.copy(file, tmp_path)
    return filled[1]
