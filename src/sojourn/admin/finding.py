"""Finding sessions in a store of any size: one operator's search, page by page.

What the store has an order or an index for (`sojourn.admin.query.route`) is asked for as the pages are turned, and a
page costs a page. For all else the sessions are looked at in the background, some at a time, and the best that were
found are kept; a page shows what was found so far, and how far it is.

Rules: memory is bounded, however many sessions there are: at most `KEPT` found ones are kept, and `REMEMBERED` pages of
a list in no order. The background works half of the time, so that others have room, and not at all once all is looked
at. A search that failed begins anew when it is asked again. It must be closed; until then it may hold a task and the
place where a walk has come to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from ..bulk import closing
from ..engine import Engine
from ..ids import is_handle, mint
from ..policy import is_over
from ..record import Record, Summary
from ..store import ByActivity, Store
from .query import Query, Route, after_of, beyond, idle_bounds, in_order, possible, rank, route, wanted_order

__all__ = ["KEPT", "REMEMBERED", "Finder", "Page", "Search"]

KEPT: Final = 1000
"""Sessions that are kept of those that were found, the best of them."""

REMEMBERED: Final = 200
"""Pages back that a list in no order can be turned. (Further back it is the first page.)"""

_STEP: Final = 250  # sessions asked for at a time
_PATIENCE: Final = 0.15  # seconds for which a page waits for what is found in the background
_LEAST_PAUSE: Final = 0.001  # seconds between two steps in the background

Hidden = Callable[[str], bool]
"""Whether a handle is that of a record which is no visitor's."""


class Page(Struct, frozen=True, kw_only=True):
    """One page of what a search has found."""

    rows: tuple[Summary, ...]
    number: int
    """From 1. It may be another than was asked for: there are no pages beyond the one that follows the last known."""
    more: bool
    """Whether there is a next page, as far as is known."""
    looked_at: int
    """Sessions that were looked at so far, about: one that moves meanwhile may be met twice."""
    of: int | None
    """Sessions that the store holds, dead ones that were not yet purged included; None where it was not asked."""
    done: bool
    """False: a walk goes on in the background, and this page will have more, or others."""
    sorted: bool
    """False: the store keeps no such order, and the sessions come as it has them."""
    cut: bool = False
    """Whether more than `KEPT` sessions match: those beyond the best are not shown. Narrow the search."""


class Finder:
    """Begins searches in the store of a manager.

    ``hide(handle)`` says which records are no visitor's: they are in no page.
    """

    def __init__(self, engine: Engine, hide: Hidden) -> None:
        self._engine = engine
        self._hide = hide

    def search(self, query: Query, page_size: int = 50) -> Search:
        """A search, with pages of this many sessions. Nothing is asked of the store yet. Close it when another
        begins."""
        store = self._engine.store
        length = len(mint(self._engine.config.handle_form, self._engine.clock())[0])
        taken = route(query, by_activity=isinstance(store, ByActivity), handle_length=length)
        way: _Way
        if in_order(query, taken):
            ordered = isinstance(store, ByActivity) and taken == "activity"
            way = _Turned(self._engine, query, self._hide) if ordered else _Walked(self._engine, query, self._hide)
        else:
            way = _Gathered(self._engine, query, self._hide, taken)
        return Search(way, page_size)


class Search:
    """One operator's search. Its pages may be asked for by many at once; each waits for the one before."""

    def __init__(self, way: _Way, page_size: int) -> None:
        self._way = way
        self._size = max(page_size, 1)
        self._turn = asyncio.Lock()
        self._closed = False

    async def page(self, number: int) -> Page:
        """A page, from 1: the first, one that was seen before, or the next. Any other becomes the nearest of these.
        Empty where nothing is found. Raises `StoreUnavailable` when the store does not answer, and then begins anew
        when it is asked again; RuntimeError if the search is closed."""
        async with self._turn:
            if self._closed:
                raise RuntimeError("the search was closed: begin another")
            try:
                return await self._way.page(max(number, 1), self._size)
            except BaseException:  # also when it is cancelled: a walk that was broken off goes on nowhere
                await self._way.close()
                raise

    async def close(self) -> None:
        """Stop what is going on in the background and forget what was found. A page that is under way comes first.
        Closing twice is allowed."""
        self._closed = True
        async with self._turn:
            await self._way.close()


# --- Ways to find ----------------------------------------------------------------------------------------------------


class _Way(Protocol):
    """How the pages of a search come about."""

    async def page(self, number: int, size: int) -> Page:
        """A page of so many."""

    async def close(self) -> None:
        """Give back what is held. It can be used again, from its beginning."""


class _Turned:
    """In the order of the last activity, by an index: each page is asked for anew, from where the one before ended.
    Sessions only ever move towards the latest activity, so that none is passed by between two pages."""

    def __init__(self, engine: Engine, query: Query, hide: Hidden) -> None:
        self._engine = engine
        self._query = query
        self._hide = hide
        self._of: int | None = None
        self._starts: list[tuple[float, str] | None] = [None]

    async def page(self, number: int, size: int) -> Page:
        number = min(number, len(self._starts))
        now, rows = self._engine.clock(), list[Summary]()
        pages = _by_activity(self._engine.store, self._query, now, self._starts[number - 1], size + 1)
        async with closing(pages):
            async for found in pages:
                rows += [one for one in found if not self._hide(one.handle) and self._query.matches(one, now)]
                if len(rows) > size:
                    break
        if self._of is None:
            self._of = (await self._engine.store.stats()).sessions
        more, rows = len(rows) > size, rows[:size]
        if more:
            self._starts[number : number + 1] = [(rows[-1].last_accessed_at, rows[-1].handle)]
        looked_at = (number - 1) * size + len(rows)
        return Page(
            rows=tuple(rows), number=number, more=more, looked_at=looked_at, of=self._of, done=True, sorted=True
        )

    async def close(self) -> None:
        self._of, self._starts = None, [None]


class _Walked:
    """As the store has them, as far as the pages are turned. Pages that were seen are remembered by their handles."""

    def __init__(self, engine: Engine, query: Query, hide: Hidden) -> None:
        self._engine = engine
        self._query = query
        self._hide = hide
        self._begin()

    def _begin(self) -> None:
        self._walk: AsyncIterator[list[Record]] | None = None
        self._of: int | None = None
        self._over = False
        self._ahead: list[str] = []
        """Handles that were met, and are on no page yet."""
        self._pages: list[list[str]] = []
        self._first = 1
        """The number of the first page that is remembered."""
        self._looked_at = 0

    async def page(self, number: int, size: int) -> Page:
        if number < self._first:
            await self.close()
            number = 1
        number = min(number, self._first + len(self._pages))
        at = number - self._first
        if at == len(self._pages):
            await self._go_on(size + 1)
            if self._ahead or not at:
                self._pages.append(self._ahead[:size])
                del self._ahead[:size]
            else:  # what seemed to be there is not
                at, number = at - 1, number - 1
        rows = await _anew(self._engine, self._query, self._pages[at])
        more = at + 1 < len(self._pages) or bool(self._ahead)
        excess = max(len(self._pages) - REMEMBERED, 0)
        del self._pages[:excess]
        self._first += excess
        return Page(
            rows=tuple(rows),
            number=number,
            more=more,
            looked_at=self._looked_at,
            of=self._of,
            done=True,
            sorted=self._query.sort == "stored",
        )

    async def _go_on(self, enough: int) -> None:
        """Walk until there are so many ahead, or no others."""
        if self._walk is None:
            self._walk = self._engine.store.walk()
            self._of = (await self._engine.store.stats()).sessions
        while len(self._ahead) < enough and not self._over:
            found = await anext(self._walk, None)
            self._over = found is None
            self._looked_at += len(found or ())
            now = self._engine.clock()
            self._ahead += [one.handle for one in found or () if not is_over(one, now) and not self._hide(one.handle)]

    async def close(self) -> None:
        if isinstance(self._walk, AsyncGenerator):
            await self._walk.aclose()
        self._begin()


class _Gathered:
    """Looked at in the background, and the best kept."""

    def __init__(self, engine: Engine, query: Query, hide: Hidden, taken: Route) -> None:
        self._engine = engine
        self._query = query
        self._hide = hide
        self._route = taken
        self._first_are_best = wanted_order(query, taken)
        self._begin()

    def _begin(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._found: dict[str, Summary] = {}
        self._worst: Any = None
        """What is worse than this is not kept; None: all is."""
        self._cut = False
        self._looked_at = 0
        self._of: int | None = None

    async def page(self, number: int, size: int) -> Page:
        if self._task is None:
            self._task = asyncio.create_task(self._gather(), name="sojourn-search")
        done, _ = await asyncio.wait([self._task], timeout=_PATIENCE)
        if done:
            self._task.result()  # or what it failed with
        best = self._best()
        number = min(number, max((len(best) + size - 1) // size, 1))
        start = (number - 1) * size
        rows = await _anew(self._engine, self._query, [one.handle for one in best[start : start + size]])
        return Page(
            rows=tuple(rows),
            number=number,
            more=len(best) > start + size,
            looked_at=self._looked_at,
            of=self._of,
            done=bool(done),
            sorted=True,
            cut=self._cut,
        )

    async def _gather(self) -> None:
        if self._route in ("walk", "activity"):
            self._of = (await self._engine.store.stats()).sessions
        pages, loop = self._source(), asyncio.get_running_loop()
        async with closing(pages):
            began = loop.time()
            async for found in pages:
                self._take(found)
                if self._first_are_best and (self._cut or len(self._found) > KEPT):
                    break
                await asyncio.sleep(max(loop.time() - began, _LEAST_PAUSE))
                began = loop.time()
        self._found = {one.handle: one for one in self._best()}

    def _source(self) -> AsyncIterator[list[Summary]]:
        store, query, now = self._engine.store, self._query, self._engine.clock()
        if not possible(query):
            return _none()
        if self._route == "handle":
            return _of_handle(store, query.handle, now)
        if self._route == "user":
            return _of_user(store, query.user, now)
        if self._route == "activity":
            return _by_activity(store, query, now, None, _STEP)
        return _all(store)

    def _take(self, found: Iterable[Summary]) -> None:
        """Keep those that match, as long as they are among the best."""
        query, now, descending = self._query, self._engine.clock(), self._query.descending
        for one in found:
            self._looked_at += 1
            if not query.matches(one, now) or self._hide(one.handle):
                continue
            if self._worst is not None and (rank(query, one) < self._worst) == descending:
                self._cut = True
            else:
                self._found[one.handle] = one
        if len(self._found) > 2 * KEPT:
            self._found = {one.handle: one for one in self._best()}
            self._worst = rank(query, next(reversed(self._found.values())))

    def _best(self) -> list[Summary]:
        """What is kept, in order."""
        found = list(self._found.values())
        if not self._first_are_best:
            found.sort(key=lambda one: rank(self._query, one), reverse=self._query.descending)
        self._cut = self._cut or len(found) > KEPT
        return found[:KEPT]

    async def close(self) -> None:
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._begin()


# --- What a store is asked -------------------------------------------------------------------------------------------


async def _anew(engine: Engine, query: Query, handles: Sequence[str]) -> list[Summary]:
    """These sessions as they are now, without those that have ended."""
    found, now = await engine.store.load_many(handles), engine.clock()
    alive = (found[handle] for handle in handles if handle in found and not is_over(found[handle], now))
    return [Summary.of(record) for record in alive]


async def _by_activity(
    store: Store, query: Query, now: float, start: tuple[float, str] | None, limit: int
) -> AsyncIterator[list[Summary]]:
    """In the order of the last activity, from a place on; those that are too long or too short idle are left out at
    both ends."""
    assert isinstance(store, ByActivity)  # noqa: S101 - nobody is sent this way else
    begin, end = idle_bounds(query, now)
    after = start or begin
    while True:
        found = await store.by_activity(now, descending=query.descending, after=after, limit=limit)
        yield found
        if len(found) < limit or beyond(query, found[-1], end):
            return
        after = (found[-1].last_accessed_at, found[-1].handle)


async def _none() -> AsyncIterator[list[Summary]]:
    """None."""
    nothing: tuple[list[Summary], ...] = ()
    for found in nothing:
        yield found


async def _of_handle(store: Store, beginning: str, now: float) -> AsyncIterator[list[Summary]]:
    """The one of this handle; or whose handles begin so, where handles are kept in order."""
    if is_handle(beginning) and (found := await store.load_many([beginning])):
        yield [Summary.of(record) for record in found.values()]
        return
    more, after = isinstance(store, ByActivity), after_of(beginning)
    while more:
        page = await store.summaries(now, after=after, limit=_STEP)
        met = [one for one in page if one.handle.startswith(beginning)]
        yield met
        more = len(met) == _STEP
        after = met[-1].handle if met else after


async def _of_user(store: Store, user_id: str, now: float) -> AsyncIterator[list[Summary]]:
    """A user's."""
    after = ""
    while True:
        found = await store.summaries(now, user_id=user_id, after=after, limit=KEPT)
        yield found
        if len(found) < KEPT:
            return
        after = found[-1].handle


async def _all(store: Store) -> AsyncIterator[list[Summary]]:
    """All that there are."""
    async with closing(store.walk()) as walk:
        async for records in walk:
            yield [Summary.of(record) for record in records]
