"""The commands that move sessions: from store to store, to a file, and from one.

A file is a line of JSON for each session (`sojourn.portable`). It is written beside its place and put there when it is
whole, and it is read twice: nothing is created before each of its lines has been understood.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from .. import ids
from ..bulk import BATCH, add, closing, in_batches, patiently
from ..check.place import database_file
from ..moving import Copying
from ..opening import open_store
from ..policy import is_over
from ..portable import from_line, to_line
from ..record import VERSION_BYTES
from ..store import Store
from .naming import CONFIG, check_presence, public, store_url
from .parsing import STORE_VARIABLE, Failure, UsageError

__all__ = ["copy", "export_lines", "import_lines"]

Document: TypeAlias = dict[str, Any]
Present: TypeAlias = Callable[[Document], None]
Meter: TypeAlias = Callable[[str, int, int], None]
"""Shows how far something is: what, and so many of so many."""

_STANDARD: Final = "-"
_DIGEST_OF_NOBODY: Final = bytes(32)


def copy(arguments: argparse.Namespace, present: Present) -> int:
    """``sojourn copy``. Exit code 1 if a session has changed in both stores, or could not be brought."""
    source, target = arguments.source, arguments.target
    if source == target:
        raise UsageError("that is the same store twice: give the one to copy from, and the one to copy to")
    check_presence(source)
    file = database_file(target)
    if arguments.dry_run and file is not None and not file.exists():
        target = "memory://"  # as empty, and nothing is created
    began = time.monotonic()
    try:
        with _meter(arguments) as told:
            copying = asyncio.run(_copy(source, target, arguments.dry_run, told))
    except KeyboardInterrupt:
        sys.stderr.write("sojourn: interrupted; what was copied stays: run it again, and it goes on\n")
        return 130
    present(
        {
            "from": public(source),
            "to": public(arguments.target),
            "dry_run": copying.dry_run,
            "copied": copying.created,
            "already_there": copying.there,
            "renewed": copying.renewed,
            "ended": copying.ended,
            "changed_in_both": sorted(copying.both),
            "failed": sorted(copying.failed),
            "passes": copying.passes,
            "seconds": round(time.monotonic() - began, 3),
        }
    )
    return 1 if copying.both or copying.failed else 0


async def _copy(source: str, target: str, dry_run: bool, told: Meter) -> Copying:
    def tell(copying: Copying) -> None:
        what = "what has ended" if copying.ending else f"walk {copying.passes + 1}"
        told(what, copying.looked_at, copying.total)

    async with _opened(source) as from_store, _opened(target) as to_store:
        copying = Copying(from_store, to_store, dry_run=dry_run, told=tell)
        await copying.run()
        return copying


def export_lines(arguments: argparse.Namespace, present: Present) -> int:
    """``sojourn export``."""
    _shift(arguments)
    url = store_url(arguments)
    check_presence(url)
    with _meter(arguments) as told, _written(arguments.file) as file:
        count = asyncio.run(_export(url, file, told))
    if arguments.file != _STANDARD:  # else there is nothing but lines
        present({"store": public(url), "file": arguments.file, "exported": count})
    return 0


def _shift(arguments: argparse.Namespace) -> None:
    """A single word that is no URL names the file, where the store is named elsewhere."""
    elsewhere = arguments.store or os.environ.get(STORE_VARIABLE)
    if arguments.url and arguments.file == _STANDARD and elsewhere and "://" not in arguments.url:
        arguments.url, arguments.file = None, arguments.url


async def _export(url: str, file: IO[bytes], told: Meter) -> int:
    written: set[str] = set()  # a walk may come to a session twice
    async with _opened(url) as store:
        total = (await store.stats()).sessions
        async with closing(in_batches(store.walk())) as batches:
            async for records in batches:
                now = time.time()
                live = {
                    record.handle: record
                    for record in records
                    if record.handle not in written and not is_over(record, now)
                }
                file.write(b"".join(to_line(record) + b"\n" for record in live.values()))
                written.update(live)
                told("exported", len(written), total)
    file.flush()
    return len(written)


def import_lines(arguments: argparse.Namespace, present: Present) -> int:
    """``sojourn import``."""
    url = store_url(arguments)
    with _meter(arguments) as told, _read(arguments.file) as file:
        count = _check_lines(file, arguments.file)
        file.seek(0)
        with _new_ids(arguments.ids) as note:
            imported, expired = asyncio.run(_import(url, file, note, count, told))
    present(
        {
            "store": public(url),
            "file": arguments.file,
            "imported": imported,
            "already_there": count - imported - expired,
            "expired": expired,
            "ids": arguments.ids,
        }
    )
    return 0


async def _import(
    url: str, file: IO[bytes], note: Callable[[dict[str, str]], None], total: int, told: Meter
) -> tuple[int, int]:
    """Create what is not there. Returns how many were created, and how many of the lines are past their time."""
    imported = expired = read = 0
    async with _opened(url) as store:
        while lines := list(islice(file, BATCH)):
            now = time.time()
            made: dict[str, str] = {}
            records = []
            for line in lines:
                secret = ids.mint_secret()
                try:
                    record = from_line(line, ids.digest(secret), secrets.token_bytes(VERSION_BYTES), now)
                except ValueError as error:  # it was understood a moment ago
                    raise Failure(f"the file has changed while it was read: {error}") from error
                if is_over(record, now):
                    expired += 1
                else:
                    records.append(record)
                    made[record.handle] = ids.join(record.handle, secret)
            known = await patiently(lambda made=made: store.load_many(list(made)))  # type: ignore[misc]
            # An id is noted before there is a session of it: so none is lost when this is interrupted.
            note({handle: session_id for handle, session_id in made.items() if handle not in known})
            imported += await add(store, [record for record in records if record.handle not in known], now)
            read += len(lines)
            told("imported", read, total)
    return imported, expired


def _check_lines(file: Iterable[bytes], name: str) -> int:
    """Look whether each line is a session, and one of its own. Returns how many there are."""
    first: dict[str, int] = {}
    for number, line in enumerate(file, 1):
        try:
            handle = from_line(line, _DIGEST_OF_NOBODY, bytes(VERSION_BYTES), 0.0).handle
        except ValueError as error:
            raise Failure(f"{name}, line {number}: {error}: nothing was imported") from error
        before = first.setdefault(handle, number)
        if before != number:
            raise Failure(f"{name}, line {number}: the session of line {before} again: nothing was imported")
    return len(first)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Store]:
    store = open_store(url, CONFIG, world="async")
    try:
        yield store
    finally:
        await store.close()


def _meter(arguments: argparse.Namespace) -> AbstractContextManager[Meter]:
    """Shows how far it is, to people."""
    if arguments.json:
        return nullcontext(lambda what, done, total: None)
    from . import console  # it needs the extra [cli]

    return console.meter()


# --- Files -----------------------------------------------------------------------------------------------------------


@contextmanager
def _written(name: str) -> Iterator[IO[bytes]]:
    """A file to write to: only its owner may read it, and it has its name once it is whole."""
    path = Path(name)
    if name == _STANDARD:
        yield sys.stdout.buffer
        return
    try:
        if path.exists() and not path.is_file():  # a pipe, or a device
            with path.open("wb") as there:
                yield there
            return
        made, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(made, "wb") as file:
                yield file
                file.flush()
                os.fsync(made)
            Path(beside).replace(path)
        except BaseException:  # whatever stopped it, half a file is left for nobody
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from error


@contextmanager
def _read(name: str) -> Iterator[IO[bytes]]:
    """A file to read from, twice."""
    try:
        with nullcontext(sys.stdin.buffer) if name == _STANDARD else Path(name).open("rb") as file:
            if file.seekable() and name != _STANDARD:
                yield file
                return
            with tempfile.TemporaryFile() as kept:
                shutil.copyfileobj(file, kept)
                kept.seek(0)
                yield kept
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from error


@contextmanager
def _new_ids(name: str | None) -> Iterator[Callable[[dict[str, str]], None]]:
    """Takes the new ids of sessions, by their handles, and writes them to a new file that only its owner may read."""
    if name is None:
        yield lambda made: None
        return
    try:
        file = os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}: nothing was imported") from error
    with file:

        def note(made: dict[str, str]) -> None:
            for handle, session_id in made.items():
                file.write(json.dumps({"handle": handle, "id": session_id}) + "\n")
            file.flush()
            os.fsync(file.fileno())

        yield note
