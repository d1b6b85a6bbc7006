"""A JSON file becomes a database at the same path, and is kept beside it under another name.

The database is made whole under a name of its own before it takes the place of the file. So whoever is killed in
between has lost nothing, and the next one begins anew.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..errors import StorageError, StoreError
from ..opening import open_store
from ..record import Record, replace
from ..store import Store
from ..waiting import run
from .keys import handle_of, token_in
from .portable import Told, read_backup, sync_folder
from .records import fresh, told_reads
from .settings import FOREVER, SessionStoreConfig
from .shelf import Voice

__all__ = ["carry_over", "open_file"]

_BESIDE: Final = ("", "-wal", "-shm", "-door", "-turn")


def open_file(path: Path, config: SessionStoreConfig, *, durability: str | None = None) -> Store:
    """The store in a file. Raises `StorageError` where it cannot be opened."""
    options = f"durability={durability or config.durability}&deadline={config.deadline}"
    try:
        return open_store(f"sqlite:///{quote(str(path.absolute()))}?{options}")
    except StoreError as error:
        raise StorageError(str(error)) from error


def carry_over(path: Path, config: SessionStoreConfig, voice: Voice, now: float) -> None:
    """If the file is JSON, make it a database. Raises `StorageError` for JSON that is not a store's, with nothing
    changed."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one of several processes does it
        if not file.read(64).lstrip().startswith(b"{") or not _is_at(path, file.fileno()):
            return
        file.seek(0)
        told, senseless = read_backup(file.read(), config, now)
        made = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _fill(made, told, config, now)
            kept = _keep(path)
            made.replace(path)
            sync_folder(path.parent)
        finally:
            for beside in _BESIDE:
                Path(f"{made}{beside}").unlink(missing_ok=True)
    voice.say(logging.INFO, "%d entries were carried over from JSON, which is kept as %s", len(told), kept)
    if senseless:
        voice.say(logging.WARNING, "%d entries made no sense and were left out: %s has them", senseless, kept)


def _is_at(path: Path, handle: int) -> bool:
    """Whether the open file is still the one at the path."""
    return os.path.samestat(path.stat(), os.fstat(handle))


def _fill(path: Path, told: list[Told], config: SessionStoreConfig, now: float) -> None:
    store = open_file(path, config, durability="process")
    try:
        for one in told:
            run(store.create(_record(one, config), now))
    except StoreError as error:
        raise StorageError(f"{error}. The JSON file is as it was") from error
    finally:
        run(store.close())
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _record(told: Told, config: SessionStoreConfig) -> Record:
    fields = {"key": told.key, "value": told.value, "reads": told_reads(told.access_count)}
    record = fresh(handle_of(token_in(told.key)), fields, told.created_at)
    lifetime = told.slides_for
    return replace(
        record,
        accessed_at=told.last_accessed,
        idle_timeout=FOREVER if lifetime is None else lifetime,
        touch_interval=0.0 if lifetime is None else config.step(lifetime),
        ends_at=FOREVER if told.ends_at is None else told.ends_at,
    )


def _keep(path: Path) -> Path:
    """Give the file another name that nothing has, beside its own."""
    for number in count(1):
        kept = path.with_name(f"{path.name}.carried-over{'' if number == 1 else f'-{number}'}")
        try:
            os.link(path, kept)
        except FileExistsError:
            continue
        return kept
    raise AssertionError  # the numbers do not end
