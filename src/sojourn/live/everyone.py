"""What everybody shares: the app's page, and the values of `App.shared`. Kept in one record of the store, which is
nobody's session: its handle is made from the app's name, and no id leads to it. A change is committed as soon as the
event loop gets to it, and then told to every open page, here and, by the feed, in every other process.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import Struct

from ..engine import Engine
from ..errors import SessionGone, SessionNotFound, SojournError, StoreError, StoreUnavailable
from ..ids import mint_secret
from ..record import Amendment, Record
from ..session import BaseSession
from ..watching import Watch
from .answers import AlreadyDone, Answers
from .app_page import AppPage
from .kept import FIELDS, Patch, Write, patched, write_fields
from .protocol import Changes, Position, encode
from .shared import Shared
from .telling import Batch, operations
from .widgets import KINDS

if TYPE_CHECKING:
    from .rooms import Rooms

__all__ = ["Everyone"]

Post: TypeAlias = Callable[[BaseSession], None]
"""A change of the values."""

log = logging.getLogger("sojourn")

_FOREVER: Final = 100 * 365 * 86400.0  # seconds
_AGAIN: Final = 1.0  # seconds until a commit that failed is tried again


class _Flush(Struct, frozen=True):
    """Changes that are kept in one commit. It is numbered, and the number kept with them: if nobody knows whether it
    was made, it is tried again, and made once."""

    writes: dict[str, Write]
    posted: list[Post]
    batch: Batch
    number: int


class Everyone:
    """The record, the page and the values that all sessions of an app share."""

    def __init__(self, name: str, title: str, engine: Engine, refer: Callable[[Any], Any]) -> None:
        self.title = title
        self.handle = urlsafe_b64encode(sha256(f"sojourn live app {name}".encode()).digest()[:18]).decode()
        self.page = AppPage(refer, self._changed)
        self.shared = Shared(self)
        self._stream = secrets.token_urlsafe(6)
        self._number = 0
        self._engine = engine
        self._rooms: Rooms | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._record: Record | None = None
        self._view: BaseSession | None = None
        self._posted: list[Post] = []
        self._watch: Watch | None = None
        self._answers = Answers()
        self._unsure: _Flush | None = None  # what is being kept, and may have been
        self._flushes = 0
        self._flushing = False
        self._due = False
        self._scheduled = False

    # --- Coming and going --------------------------------------------------------------------------------------------

    async def start(self, rooms: Rooms) -> None:
        """Load what is kept, or begin it; from now on changes are kept and told."""
        self._rooms, self._loop = rooms, rooms.loop
        self.page.declared()
        record = await self._found()
        with self.page.lock:
            self._record = record
            self._view = self._fresh_view()
            self._absorb(self._view, set(record.fields))
            self.page.batch = Batch()
        self._changed()

    async def _found(self) -> Record:
        """The record, which is watched from now on."""
        if await self._engine.store.load(self.handle) is None:
            amendment = Amendment(idle_timeout=_FOREVER, absolute_timeout=_FOREVER, label=f"live app: {self.title}")
            await self._engine.add(self.handle, mint_secret(), {}, amendment)
        try:
            self._watch, record = await self._engine.following(self.handle)
        except SessionNotFound:
            raise StoreUnavailable("the app's record was ended while it was looked for") from None
        assert record is not None  # noqa: S101 - it raises where there is none
        self._watch.aside = True  # it is nobody's page
        self._watch.knows = lambda version: self._record is not None and self._record.knows(version)
        self._watch.woken = self._changed
        return record

    async def close(self) -> None:
        """Keep what is still to be kept, and watch no more."""
        if self._posted or self.page.writes or self._unsure is not None:
            await self._flush()
        if self._watch is not None:
            self._watch.woken = None
            await self._watch.close()

    def tick(self) -> None:
        """Look whether others changed something, if nobody says so."""
        if self._watch is not None and self._watch.behind:
            self._changed()

    @property
    def position(self) -> Position:
        """What was told last."""
        return self._stream, self._number

    def at_rest(self) -> bool:
        """Whether all that was changed is kept and told."""
        page = self.page
        return not (self._flushing or self._scheduled or self._unsure or self._posted or page.writes or page.batch)

    # --- Changes -----------------------------------------------------------------------------------------------------

    def post(self, change: Callable[[BaseSession], None]) -> None:
        """Change a value: here at once, in the store soon."""
        with self.page.lock:
            if self._view is not None:
                change(self._view)
            self._posted.append(change)
        self._changed()

    @property
    def values(self) -> BaseSession | None:
        """The values as they are here; None before the app has started."""
        return self._view

    def _changed(self) -> None:
        """There is something to commit, or to read: from any thread."""
        loop = self._loop
        if loop is None or self._scheduled or self._record is None:
            return
        self._scheduled = True
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            loop.call_soon(self._begin)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        if self._flushing:
            self._due = True
        elif self._rooms is not None:
            self._flushing = True
            self._rooms.begin(self._work())

    async def _work(self) -> None:
        try:
            while True:
                self._due = False
                if not await self._flush():
                    assert self._loop is not None  # noqa: S101 - it runs in it
                    self._loop.call_later(_AGAIN, self._changed)
                    return
                if not self._due:
                    return
        finally:
            self._flushing = False

    async def _flush(self) -> bool:
        """Commit what was changed here, take over what others changed, and tell all pages. Returns whether it could be
        done; else it is tried again."""
        page, unsure = self.page, self._unsure is not None
        flush = self._unsure = self._unsure or self._take()
        fields = self._engine.resume(self._kept_record)
        self._write(fields, flush.writes, flush.posted)
        try:
            others = await self._commit(fields, flush)
        except SessionGone:  # somebody ended all sessions, and the app's record with them
            self._unsure = None
            self._take_back(flush.writes, flush.posted, flush.batch)
            await self._begin_anew()
            return False
        except StoreError as error:  # which may have kept it all the same: the very same is tried again
            log.warning("a change of the app's page could not be kept, it is tried again: %s", error)
            return False
        except SojournError:  # one of the changes cannot be kept at all: too large, say
            self._unsure = None
            return await self._keep_one_by_one(flush.writes, flush.posted, flush.batch)
        self._unsure = None
        self._due = self._due or unsure  # for what was changed meanwhile
        with page.lock:
            self._record = fields.record
            self._tell(flush.batch)
            mine, page.batch = page.batch, Batch()
            names = others | flush.writes.keys()  # a function may have come to something else at the commit
            self._absorb(self._engine.resume(fields.record), names)
            theirs, page.batch = page.batch, mine
            self._tell(theirs)
            self._view = self._fresh_view()
        return True

    def _take(self) -> _Flush:
        """What there is to be kept and told."""
        page = self.page
        with page.lock:
            self._flushes += 1
            flush = _Flush(page.writes, self._posted, page.take_batch(), self._flushes)
            page.writes, self._posted = {}, []
        return flush

    async def _commit(self, fields: BaseSession, flush: _Flush) -> set[str]:
        """Commit, once, what is in a session object; the names of the fields that others changed."""
        others: set[str] = set()
        if flush.writes or flush.posted:
            self._answers.claim(fields, self._stream, flush.number, self._engine.clock())
            try:
                others = await self._engine.save_seeing(fields)
            except AlreadyDone:
                fields.discard()
                others = await self._engine.refresh(fields)
        return others | await self._heard(fields)

    async def _keep_one_by_one(self, writes: dict[str, Write], posted: list[Post], batch: Batch) -> bool:
        """Commit changes one by one. One that cannot be kept is logged and undone. Returns as `_flush`."""
        rest: list[tuple[dict[str, Write], list[Post]]] = [({name: write}, []) for name, write in writes.items()]
        rest += [({}, [change]) for change in posted]
        while rest:
            fields = self._engine.resume(self._kept_record)
            self._write(fields, *rest[0])
            try:
                await self._engine.save_seeing(fields)
            except (StoreError, SessionGone) as error:
                log.warning("a change of the app's page could not be kept, it is tried again: %s", error)
                left = {name: write for some, _ in rest for name, write in some.items()}
                self._take_back(left, [change for _, some in rest for change in some], batch)
                return False
            except SojournError as error:
                log.error("a change of what all see cannot be kept, and was undone: %s", error)  # noqa: TRY400
            else:
                self._record = fields.record
            del rest[0]
        with self.page.lock:
            self._absorb(self._engine.resume(self._kept_record), set(writes))
            mine, self.page.batch = self.page.batch, Batch()
            self._tell(_together(batch, mine))
            self._view = self._fresh_view()
        return True

    @property
    def _kept_record(self) -> Record:
        assert self._record is not None  # noqa: S101 - it was started
        return self._record

    async def _begin_anew(self) -> None:
        """Make another record, or take that which another process has made; the page is as that one has it."""
        try:
            record = await self._found()
        except StoreError as error:
            log.warning("the app's record has ended, and cannot be made anew, it is tried again: %s", error)
            return
        with self.page.lock:
            before, self._record = self._record, record
            assert before is not None  # noqa: S101 - it was started
            self._absorb(self._engine.resume(record), set(before.fields) | set(record.fields))
            self._view = self._fresh_view()

    def _write(self, fields: BaseSession, writes: dict[str, Write], posted: list[Post]) -> None:
        """Put changes into a session object. One that cannot be kept is logged, and the others are none the worse."""
        assert self._rooms is not None  # noqa: S101 - it was started
        finish = partial(self._rooms.finish_callbacks, None)
        changes = [partial(write_fields, fields, {name: write}, finish) for name, write in writes.items()]
        for change in (*changes, *(partial(change, fields) for change in posted)):
            try:
                change()
            except Exception:  # a function of the application's, or a value that cannot be kept
                log.exception("a change of what all see could not be kept")

    def _take_back(self, writes: dict[str, Write], posted: list[Post], batch: Batch) -> None:
        """It could not be kept: it is to be kept and told with what comes next."""
        with self.page.lock:
            self._posted = posted + self._posted
            for name, write in self.page.writes.items():
                before = writes.get(name)
                if isinstance(write, Patch) and isinstance(before, Patch):
                    write = Patch((*before.steps, *write.steps), write.creates)
                writes[name] = write
            self.page.writes = writes
            self.page.batch = _together(batch, self.page.batch)

    async def _heard(self, fields: BaseSession) -> set[str]:
        """What others changed, as far as the watch tells."""
        heard = False
        while self._watch is not None and (change := await self._watch.next(0)) is not None:
            if change.kind == "ended":
                raise SessionGone("the app's record was ended")
            heard = True
        if self._watch is not None and self._watch.over:
            raise SessionGone("the app's record was ended, and there is no other yet")
        return await self._engine.refresh(fields) if heard else set()

    def _tell(self, batch: Batch) -> None:
        """Tell all pages what changed, if there is something to see."""
        ops = operations(batch, self.page, self.page) if batch else []
        if not ops:
            return
        self._number += 1
        text = encode(Changes(ops, g=self._number))
        rooms = self._rooms
        for room in list(rooms.open.values()) if rooms is not None else ():
            if room.page.concerns(batch):
                room.push_app(self._number, encode(Changes(room.settled_page().of_app(batch), g=self._number)))
            else:
                room.push_app(self._number, text)

    def _absorb(self, fields: BaseSession, names: set[str]) -> None:
        """Take over what is kept, with what was changed here since on top."""
        kept = {}
        for name in names:
            later = self.page.writes.get(name)
            if name.startswith(FIELDS) and (later is None or isinstance(later, Patch)):
                kept[name] = fields.get(name) if later is None else patched(later)(fields.get(name))
        if kept:
            self.page.absorb(kept, KINDS)

    def _fresh_view(self) -> BaseSession:
        assert self._record is not None  # noqa: S101 - it was started
        view = self._engine.resume(self._record)
        for change in self._posted:
            change(view)
        return view


def _together(batch: Batch, later: Batch) -> Batch:
    """Two batches as one."""
    batch.added.update(later.added)
    batch.removed.update(later.removed)
    batch.replaced.update(later.replaced)
    batch.reordered.update(later.reordered)
    for widget, names in later.updated.items():
        batch.updated.setdefault(widget, set()).update(names)
    return batch
