"""The frameworks' own tests, as their authors wrote them: taken at test time from the source package of the version
that is installed, and run by a process of their own in a folder of its own. None of that code is kept here."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_TRIES = 3


def source_of(name: str) -> Path:
    """The unpacked source package of a project, in the version that is installed here. Downloaded once: it is kept in
    ``.venv/sources`` of the checkout, or, where there is no ``.venv``, among the temporary files."""
    wanted = f"{name}-{version(name)}"
    folder = _ROOT / ".venv" if (_ROOT / ".venv").is_dir() else Path(tempfile.gettempdir()) / f"sojourn-{os.getuid()}"
    cache = folder / "sources"
    cache.mkdir(parents=True, exist_ok=True)
    unpacked = cache / wanted
    with (cache / f"{wanted}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in other processes want it too
        if not unpacked.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as aside:
                _unpack(_download(f"{name}=={version(name)}", Path(aside)), Path(aside)).rename(unpacked)
    return unpacked


def _download(requirement: str, folder: Path) -> Path:
    """The archive, from wherever this machine's pip takes packages."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--no-binary", ":all:", "--dest", str(folder), requirement]
    for attempt in range(_TRIES):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode == 0:
            (archive,) = folder.glob("*.tar.gz")
            return archive
        time.sleep(attempt)
    raise AssertionError(f"{requirement} could not be downloaded: {done.stdout}{done.stderr}")


def _unpack(archive: Path, folder: Path) -> Path:
    """The folder in the archive."""
    inside = folder / "inside"
    with tarfile.open(archive) as packed:
        packed.extractall(inside, filter="data")
    (found,) = inside.iterdir()
    return found
