"""What the views work with: the store that is shown, and what this process does for each operator who has a page open.

Nothing works while nobody looks: with the first page that is opened a clock starts, which once a second fills the
overview, goes on with the patrol and shows how far searches are; when the last page was closed it stops, and with it
whatever follows the store.

What an operator sees (which view, which search, which session) is kept in the operator's session, so that another
process, or this one after a restart, shows the same. A `Seat` holds only what can be made again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final

from ..errors import SessionGone, SessionNotFound, SojournError, StoreError
from ..ids import Handle
from ..live import App, Session
from ..manager import AsyncSessionManager
from .audit import Audit
from .editing import Editor
from .finding import Finder, Page, Search
from .patrol import Patrol
from .pulse import Pulse
from .query import Query
from .redaction import Redaction
from .timeline import Moment, joined, moment_of, timeline
from .views import one, overview, sessions
from .views.words import put

__all__ = ["VIEWS", "Desk", "Seat"]

log = logging.getLogger("sojourn")

VIEWS: Final = {"overview": overview.KEY, "sessions": sessions.KEY, "one": one.KEY}
"""The views by their names in the navigation, and the containers that they are in."""

_TICK: Final = 1.0  # seconds between two looks
_STEPS: Final = 4  # of the patrol, in each: some 800 sessions, whatever the size of the store
_HOLD: Final = 3.0  # seconds after which another process fills the overview, if this one does not any more
_BREATH: Final = 0.05  # seconds between two times that a busy session is shown anew
_LINGER: Final = 5  # ticks for which nobody has a page open before the clock stops: a reload is no departure


class Seat:
    """What is done here for one operator."""

    def __init__(self) -> None:
        self.query: Query | None = None
        self.search: Search | None = None
        self.unfinished = False
        """Whether the search that is shown goes on."""
        self.failed = False
        """Whether the view could not be shown, as the store did not answer: it is tried again."""
        self.following = ""
        """The handle of the session that is followed."""
        self.follower: asyncio.Task[None] | None = None
        self.sockets: int | None = None
        """How many it had when that was shown."""
        self.life: list[Moment] = []
        """What the history and the feed told of it."""

    async def clear(self) -> None:
        """Let go of all."""
        self.follow("", None)
        search, self.search, self.query = self.search, None, None
        if search is not None:
            await search.close()

    def follow(self, handle: str, follower: asyncio.Task[None] | None) -> None:
        """Follow this session, and no other."""
        if self.follower is not None:
            self.follower.cancel()
        self.following, self.follower = handle, follower


class Desk:
    """What the views work with."""

    def __init__(
        self,
        app: App,
        engine: AsyncSessionManager,
        *,
        pulse: Pulse,
        audit: Audit,
        redaction: Redaction,
        read_only: bool,
        hide: Callable[[str], bool],
    ) -> None:
        self.app = app
        self.engine = engine
        self.pulse = pulse
        self.audit = audit
        self.redaction = redaction
        self.read_only = read_only
        self.finder = Finder(engine, hide)
        self.patrol = Patrol(engine, hide)
        self.editor = Editor(engine, audit, read_only, redaction=redaction)
        self.clock = engine.clock
        self._name = secrets.token_hex(8)
        self._seats: dict[str, Seat] = {}
        self._clockwork: asyncio.Task[None] | None = None

    # --- Coming and going --------------------------------------------------------------------------------------------

    async def arrive(self, session: Session) -> None:
        """An operator has opened a page: show what was shown. That a page is open is no activity."""
        session.passive = True
        self._seats.setdefault(session.handle, Seat())
        if self._clockwork is None or self._clockwork.done():
            self._clockwork = _begun(self._work())
            self._clockwork.add_done_callback(_look_at)
        await self.turn_to(session, str(session.get("view", "overview")))

    async def close(self) -> None:
        """Stop all work."""
        if self._clockwork is not None:
            self._clockwork.cancel()
            await asyncio.gather(self._clockwork, return_exceptions=True)
        for handle in list(self._seats):
            await self._seats.pop(handle).clear()
        await self.pulse.stop()

    def seat(self, session: Session) -> Seat:
        """This operator's."""
        return self._seats.setdefault(session.handle, Seat())

    # --- Views -------------------------------------------------------------------------------------------------------

    async def turn_to(self, session: Session, view: str) -> None:
        """Show this view, and no other."""
        view = view if view in VIEWS else "overview"
        session.set("view", view)
        for name, key in VIEWS.items():
            (session.show if name == view else session.hide)(key)
        put(session.widget("nav"), current=view)
        if view == "sessions":
            await sessions.look(self, session, session.get("page", 1))
        handle = session.get("opened", "") if view == "one" else ""
        seat = self.seat(session)
        seat.failed = seat.failed and view != "overview"
        if seat.following != handle:
            seat.life = []
            if handle:
                async with self.telling(session, "one-trouble"):  # and the session is shown without, if it can be
                    seat.life = await timeline(self.engine, handle, None)
            seat.follow(handle, _begun(self._follow(str(session.handle), handle)) if handle else None)
            self.pulse.ask_about([one.following for one in self._seats.values() if one.following])
        if view == "one":
            await one.look(self, session)

    async def open(self, session: Session, handle: str) -> None:
        """Show one session."""
        session.set("opened", handle)
        session.set("reveal", False)
        session.set("path", "")
        await self.turn_to(session, "one")

    async def page_of(self, session: Session, query: Query, number: int, *, anew: bool) -> Page:
        """A page of the operator's search."""
        seat = self.seat(session)
        if seat.search is None or anew or seat.query != query:
            if seat.search is not None:
                await seat.search.close()
            seat.query, seat.search = query, self.finder.search(query)
        page = await seat.search.page(number)
        seat.unfinished = not page.done
        return page

    def life_of(self, session: Session) -> list[Moment]:
        """What is known of the life of the session that the operator has open, beside what its record tells."""
        return list(self.seat(session).life)

    @asynccontextmanager
    async def telling(self, session: Session, key: str) -> AsyncIterator[None]:
        """Show what went wrong in this alert, in words; nothing, if nothing did."""
        try:
            yield
        except SojournError as error:
            log.info("the dashboard could not do it: %r", error)
            put(session.widget(key), text=f"{str(error)[:1].upper()}{str(error)[1:]}.", visible=True)
        else:
            put(session.widget(key), visible=False)

    # --- The clock ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Once a second, while somebody looks."""
        await self.pulse.start()
        idle = 0
        try:
            while idle < _LINGER:
                await self._tick()
                await asyncio.sleep(_TICK)
                for handle in [handle for handle in self._seats if not self.app.is_online(handle)]:
                    await self._seats.pop(handle).clear()
                idle = 0 if self._seats else idle + 1
        finally:
            await self.pulse.stop()
            await self.patrol.close()

    async def _tick(self) -> None:
        try:
            for _ in range(_STEPS):
                await self.patrol.step()
            await self.patrol.freshen()
        except StoreError as error:
            log.debug("the patrol waits: %s", error)  # the pulse has it as an outage, and the page says so
        if await self._shows():
            overview.show(self.app, self.pulse.reading(), self.patrol.census())
        for handle, seat in list(self._seats.items()):
            if seat.unfinished or seat.failed:
                await self._visit(handle, self._go_on)
            if seat.following and (sockets := self.pulse.sockets_of(seat.following)) != seat.sockets:
                seat.sockets = sockets
                await self._visit(handle, self._go_on)

    async def _shows(self) -> bool:
        """Whether this process fills the overview: one does, of those that share a store of operators."""
        store, now = self.app.engine.store, self.clock()
        try:
            return await store.bookmark("sojourn-dashboard", self._name, now, hold=_HOLD) is not None
        except StoreError as error:
            log.info("the dashboard cannot show anything new: %s", error)
            return False

    async def _go_on(self, session: Session) -> None:
        if session.get("view") == "sessions":
            await sessions.look(self, session, session.get("page", 1), quietly=True)
        elif session.get("view") == "one":
            await one.look(self, session, quietly=True)

    async def _follow(self, operator: str, handle: str) -> None:
        """Show the session that an operator has open anew, whenever something happens to it."""

        async def refresh(session: Session) -> None:
            if session.get("view") == "one" and session.get("opened") == handle:
                await one.look(self, session, quietly=True)

        while True:
            try:
                watch, _ = await self.engine.following(handle)
                watch.aside = True
                try:
                    await self._visit(operator, refresh)  # it may have changed since it was shown
                    while (change := await watch.next()) is not None:
                        if (seat := self._seats.get(operator)) is not None:
                            seat.life = joined(None, [*seat.life, moment_of(change)], self.clock())
                        await self._visit(operator, refresh)
                        await asyncio.sleep(_BREATH)
                finally:
                    await watch.close()
                await self._visit(operator, refresh)
            except SessionNotFound:
                return  # it has ended: the page says so
            except StoreError as error:
                log.info("an open session is not followed, it is tried again: %s", error)
                await asyncio.sleep(_TICK)
                await self._visit(operator, refresh)  # which says so, and what was missed once the store answers
            else:
                return

    async def _visit(self, operator: str, work: Callable[[Session], Awaitable[None]]) -> None:
        """Show an operator something new, who has not asked for it: so it is no activity."""

        async def passively(session: Session) -> None:
            session.passive = True
            await work(session)

        try:
            await self.app.in_session(Handle(operator), passively)
        except (SessionGone, SessionNotFound):
            return  # the operator has signed out
        except StoreError as error:
            log.info("an operator's page is behind: %s", error)
            if (seat := self._seats.get(operator)) is not None:
                seat.failed = True


def _begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that is no part of the turn in which it begins: it goes on after that, and has turns of its own, for which
    it waits like all others."""
    return asyncio.create_task(work, context=Context())


def _look_at(task: asyncio.Task[None]) -> None:
    """It ends by itself, or is cancelled, unless there is a fault in it."""
    if not task.cancelled() and task.exception() is not None:
        log.error("the dashboard's clock has stopped", exc_info=task.exception())
