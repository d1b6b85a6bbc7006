"""The places where the promises are shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from places import EMBEDDED, SHARED, Opened, Place
from stored import Stored, fill

import worlds
from servers.shared import shared_url


@pytest.fixture(params=EMBEDDED + SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path, world: worlds.World) -> Place:
    """Sessions in memory, in a file as they are by default, and on each server."""
    if request.param == "memory":
        return Place("memory", world)
    if request.param in SHARED:
        return Place(request.param, world, shared_url(request, request.param))
    return Place.in_a_file(request.param, world, tmp_path)


@pytest.fixture
def opened(world: worlds.World) -> Opened:
    """Managers of this world, by URL."""
    return Opened(world)


@pytest.fixture(params=["sqlite", *SHARED])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Sessions that several processes share: in a file, and on each server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sessions.db"
    return shared_url(request, request.param)


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
