"""Finding sessions: whatever is asked for comes, in its order, a page at a time; on each store, and at a cost that does
not depend on how many sessions there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from crowds import fill, handle_of, records

from servers import postgres
from servers.proxy import Proxy, through
from servers.valkey import Valkey, fresh_prefix
from sojourn import AsyncSessionManager, StoreUnavailable
from sojourn.admin import finding
from sojourn.admin.finding import Finder, Page, Search
from sojourn.admin.query import Query, Sort, rank
from sojourn.record import Summary
from sojourn.store import ByActivity
from sojourn.stores import sql, valkey_space
from sojourn.testing import NOW, Clock, new_record

STORES = ("memory", "sqlite", "valkey", "postgres")
SERVERS = STORES[1:]


class Place:
    """A store, and managers of it that go by one clock."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.manager = AsyncSessionManager(url, clock=self.clock)
        self.store = self.manager.store
        self.hidden: set[str] = set()
        self.finder = Finder(self.manager, self.hidden.__contains__)

    async def leave(self) -> None:
        await self.manager.close()
        assert {task.get_name() for task in asyncio.all_tasks()} & {"sojourn-search"} == set()

    async def fill(self, total: int) -> list[Summary]:
        await fill(self.store, total, NOW)
        return [Summary.of(record) for record in records(total, NOW)]


@pytest.fixture
def open_place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Place]]:
    with postgres.fresh() if _wants(request, "postgres") else _nothing() as database:
        numbers = count(1)

        def open_one(name: str) -> Place:
            number = next(numbers)
            urls: dict[str, Callable[[], str]] = {
                "memory": lambda: "memory://",
                "sqlite": lambda: f"sqlite:///{tmp_path}/{number}.db?durability=process&deadline=10",
                "valkey": lambda: request.getfixturevalue("valkey").url(
                    clock="caller", deadline=10, prefix=fresh_prefix()
                ),
                "postgres": lambda: database.url(clock="caller", deadline=10, schema=f"s{number}"),
            }
            return Place(urls[name]())

        yield open_one


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        pass


def _wants(request: pytest.FixtureRequest, name: str) -> bool:
    return getattr(request.node, "callspec", None) is not None and name in request.node.callspec.params.values()


@pytest.fixture
def place(open_place: Callable[[str], Place], store: str) -> Place:
    return open_place(store)


async def whole(search: Search, number: int = 1) -> Page:
    """A page, once all was looked at."""
    async with asyncio.timeout(30):
        while not (page := await search.page(number)).done:
            pass
    return page


async def all_pages(search: Search) -> list[Summary]:
    """The rows of all pages, once all was looked at."""
    found: list[Summary] = []
    number, more = 1, True
    while more:
        page = await whole(search, number)
        assert page.number == number
        found += page.rows
        number, more = number + 1, page.more
    return found


def sorted_by(query: Query, found: list[Summary]) -> list[Summary]:
    return sorted(found, key=lambda one: rank(query, one), reverse=query.descending)


# --- Pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
async def test_all_sessions_a_page_at_a_time(place: Place) -> None:
    """Without a filter each session is on one page, in the order of the last activity where the store keeps it, else as
    the store has them, and the page says which. Pages that were seen are found again by number, as they were."""
    crowd = await place.fill(230)
    search = place.finder.search(Query())
    pages = [await search.page(number) for number in range(1, 6)]
    assert [len(page.rows) for page in pages] == [50, 50, 50, 50, 30]
    assert [page.more for page in pages] == [True] * 4 + [False]
    assert all(page.done and page.of == 230 for page in pages)
    found = [row for page in pages for row in page.rows]
    assert pages[0].sorted is isinstance(place.store, ByActivity)
    if pages[0].sorted:
        assert found == sorted_by(Query(), crowd)
    else:
        assert sorted(found, key=str) == sorted(crowd, key=str)
    for number in (1, 4, 5, 2):
        again = await search.page(number)
        assert (again.rows, again.number, again.more) == (
            pages[number - 1].rows,
            number,
            pages[number - 1].more,
        )
    assert [(await search.page(number)).number for number in (0, -3, 99)] == [1, 1, 5]
    await search.close()


@pytest.mark.parametrize("store", STORES)
async def test_an_empty_store(place: Place) -> None:
    """Where there are no sessions there is one page, and it is empty; whatever is asked for."""
    for query in (Query(), Query(sort="size"), Query(user="ada"), Query(handle="ab"), Query(handle="a" * 22)):
        search = place.finder.search(query)
        page = await whole(search)
        assert (page.rows, page.number, page.more, page.looked_at) == ((), 1, False, 0)
        await search.close()


@pytest.mark.parametrize("store", SERVERS)
async def test_exactly_full_pages(place: Place) -> None:
    """A last page that is full has no next one, and a page that turns out to have nothing is the one before."""
    await place.fill(100)
    for query in (Query(), Query(sort="stored"), Query(sort="created")):
        search = place.finder.search(query, 50)
        assert [len((await whole(search, number)).rows) for number in (1, 2)] == [50, 50]
        last = await search.page(2)
        assert not last.more
        assert (await search.page(3)).rows == last.rows
        await search.close()


async def test_pages_far_back(open_place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a list in no order so many pages are remembered; a page further back is the first, and from there each session
    is on one page again."""
    monkeypatch.setattr(finding, "REMEMBERED", 3)
    place = open_place("memory")
    crowd = await place.fill(60)
    search = place.finder.search(Query(), 10)
    for number in range(1, 7):
        await search.page(number)
    assert (await search.page(4)).number == 4
    assert len(search._way._pages) == 3
    assert (await search.page(2)).number == 1
    found = await all_pages(search)
    assert {row.handle for row in found} == {row.handle for row in crowd}
    assert len(found) == 60
    await search.close()
    await place.leave()


@pytest.mark.parametrize("store", SERVERS)
async def test_who_ends_leaves_the_page(place: Place) -> None:
    """A page that is asked for again has those who are alive, as they are then."""
    crowd = await place.fill(40)
    for query in (Query(), Query(sort="stored"), Query(sort="size"), Query(user=str(crowd[0].user_id))):
        search = place.finder.search(query, 10)
        first = await whole(search)
        gone, touched = first.rows[0].handle, first.rows[1].handle
        await place.store.end([gone], "ended", NOW)
        assert await place.store.touch(touched, 0, NOW + 1, NOW)
        rows = (await search.page(1)).rows
        assert gone not in {row.handle for row in rows}
        assert next(row for row in rows if row.handle == touched).last_accessed_at == NOW + 1
        place.clock.advance(1861)
        assert {row.handle for row in (await search.page(1)).rows} <= {touched}
        place.clock.now = NOW
        await search.close()


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_nobody_is_passed_by(place: Place) -> None:
    """While sessions are active between two pages, and the last one of a page ends, nobody who stays as idle is left
    out."""
    crowd = await place.fill(60)
    for descending in (True, False):
        search = place.finder.search(Query(descending=descending), 10)
        found: list[Summary] = []
        active: set[str] = set()
        number, more = 1, True
        while more:
            page = await search.page(number)
            found += page.rows
            await place.store.end([page.rows[-1].handle], "ended", NOW)
            active.add(page.rows[0].handle)
            place.clock.advance(1)
            await place.store.touch(page.rows[0].handle, 0, place.clock(), place.clock())
            assert number < 20
            number, more = number + 1, page.more and number < 12
        assert {row.handle for row in found} >= {row.handle for row in crowd} - active
        crowd = [one for one in crowd if await place.store.load(one.handle)]
        await search.close()


# --- Filters and orders ----------------------------------------------------------------------------------------------

FILTERS: dict[str, dict[str, Any]] = {
    "user": {"user": "user-20"},
    "no such user": {"user": "nobody"},
    "label": {"label": "FIREFOX 1"},
    "no such label": {"label": "lynx"},
    "older": {"older_than": 4000.0},
    "younger": {"younger_than": 4000.0},
    "idle": {"idle_for_more": 700.0},
    "not idle": {"idle_for_less": 300.0},
    "idle between": {"idle_for_more": 300.0, "idle_for_less": 600.0},
    "ascending": {"idle_for_more": 300.0, "idle_for_less": 600.0, "descending": False},
    "label and age": {"label": "7", "older_than": 4000.0, "descending": False},
    "handle": {"handle": handle_of(17)},
    "no such handle": {"handle": "x" * 22},
    "beginning": {"handle": handle_of(17)[:1]},
    "user and beginning": {"user": "user-2", "handle": handle_of(13)[:2]},
}


@pytest.mark.parametrize("store", STORES)
async def test_what_is_found(place: Place) -> None:
    """Whatever the filter, those are found that match, all of them, in the order that was asked for; and nothing that
    is hidden, nor who is over."""
    crowd = await place.fill(300)
    place.hidden.update(handle_of(number) for number in (18, 21, 100))
    await place.store.create(new_record(at=NOW - 5000, label="Firefox 1", user_id="user-20"), NOW)
    for name, asked in FILTERS.items():
        query = Query(**asked)
        search = place.finder.search(query, 20)
        found = await all_pages(search)
        expected = [one for one in crowd if query.matches(one, NOW) and one.handle not in place.hidden]
        assert found == sorted_by(query, expected), name
        await search.close()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("sort", ["created", "expires", "size", "user"])
async def test_each_order(place: Place, sort: Sort) -> None:
    """The list comes by whatever it is to be sorted by, either way round, with a filter and without."""
    crowd = await place.fill(150)
    for query in (Query(sort=sort), Query(sort=sort, descending=False), Query(sort=sort, label="Fire")):
        search = place.finder.search(query, 40)
        assert await all_pages(search) == sorted_by(query, [one for one in crowd if query.matches(one, NOW)])
        await search.close()


@pytest.mark.parametrize("store", STORES)
async def test_what_there_cannot_be(place: Place) -> None:
    """Whatever an operator types is looked for, and what no session can have is not found: nothing fails."""
    await place.fill(30)
    for text in ("\x00", "\ud800", "*", "%", "' OR 1=1 --", "\U0001f600", "-", "~", "a" * 5000, "é" * 22, "\n", " "):
        for asked in ({"user": text}, {"handle": text}, {"label": text}, {"user": text, "handle": text}):
            search = place.finder.search(Query(**asked))
            page = await whole(search)
            assert [row for row in page.rows if not Query(**asked).matches(row, NOW)] == []
            assert not page.rows or text in ("-", " ")
            await search.close()


@pytest.mark.parametrize("store", ["sqlite", "valkey"])
async def test_the_best_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more sessions than are kept, the best are, and the page says that there were others; at no time are there many
    more in memory."""
    monkeypatch.setattr(finding, "KEPT", 50)
    crowd = await place.fill(3000)
    most, take = 0, finding._Gathered._take

    def taking(self: Any, found: Any) -> None:
        nonlocal most
        most = max(most, len(self._found) + len(found))
        take(self, found)

    monkeypatch.setattr(finding._Gathered, "_take", taking)
    for query in (
        Query(sort="size"),
        Query(sort="size", descending=False),
        Query(sort="seen", label="Fire", descending=False),
    ):
        search = place.finder.search(query, 20)
        assert (await whole(search)).cut
        found = await all_pages(search)
        assert found == sorted_by(query, [one for one in crowd if query.matches(one, NOW)])[:50]
        assert 100 < most <= 50 * 2 + 256
        await search.close()
    search = place.finder.search(Query(sort="size", user="user-3"))
    assert not (await whole(search)).cut
    await search.close()
    if isinstance(place.store, ByActivity):  # what comes in order is not looked at beyond the best
        search = place.finder.search(Query(label="Fire"))
        page = await whole(search)
        assert page.cut
        assert page.looked_at <= 500
        await search.close()


async def test_handles_of_another_form(tmp_path: Path) -> None:
    """Where the configuration gives handles another form, one that is whole in the usual form is a beginning."""
    from sojourn import SessionConfig

    config = SessionConfig(handle_form="{timestamp}-{random}")
    async with AsyncSessionManager(config=config) as manager:
        session = await manager.create_session()
        finder = Finder(manager, lambda _: False)
        for length in (1, 22, 30, 33):
            search = finder.search(Query(handle=session[:length]))
            assert [row.handle for row in (await whole(search)).rows] == [session.partition(".")[0]], length
            await search.close()


# --- In the background -----------------------------------------------------------------------------------------------


async def test_a_walk_goes_on_in_the_background(
    open_place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that must look at all answers soon, with what was found so far and how far it is; others have their turn
    all the time; it goes on to the end, and stops when it is closed."""
    place = open_place("sqlite")
    await place.fill(10_000)
    taken, take = 0, finding._Gathered._take

    def taking(self: Any, found: Any) -> None:
        nonlocal taken
        taken += len(found)
        take(self, found)

    monkeypatch.setattr(finding._Gathered, "_take", taking)
    monkeypatch.setattr(finding, "_PATIENCE", 0.02)
    monkeypatch.setattr(finding, "_LEAST_PAUSE", 0.05)
    search = place.finder.search(Query(sort="size"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    page = await search.page(1)
    assert loop.time() - began < 2.0
    while not page.looked_at:  # a machine that pauses has looked at none so soon
        assert not page.done
        page = await search.page(1)
    assert not page.done
    assert 0 < page.looked_at < 10_000 == page.of
    assert len(page.rows) == 50
    for _ in range(200):
        before = taken
        await asyncio.sleep(0.001)
        assert taken - before <= 256, "others had to wait for more than a step"
    while (later := await search.page(1)).looked_at == page.looked_at:
        assert not later.done
    await search.close()
    assert page.looked_at < later.looked_at <= taken < 10_000
    monkeypatch.setattr(finding, "_LEAST_PAUSE", 0.001)
    assert "sojourn-search" not in {task.get_name() for task in asyncio.all_tasks()}
    again = place.finder.search(Query(sort="size"))
    assert (await whole(again)).looked_at == 10_000
    await again.close()
    await place.leave()


async def test_closed_and_cancelled(open_place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that is closed while a page is under way ends after it, and no page can be asked for then; one whose
    page is cancelled goes on as if it had not been asked."""
    monkeypatch.setattr(finding, "_PATIENCE", 10.0)  # the page that is under way waits until all was looked at
    place = open_place("sqlite")
    crowd = await place.fill(3000)
    for query in (Query(), Query(sort="stored"), Query(sort="size", label="Fire")):
        search = place.finder.search(query)
        page = asyncio.create_task(search.page(1))
        await asyncio.sleep(0)
        await search.close()
        await search.close()
        assert len((await page).rows) == 50
        with pytest.raises(RuntimeError, match="closed"):
            await search.page(1)
    await place.leave()
    place = open_place("valkey")
    crowd = await place.fill(700)
    for seen in (0, 2):
        search = place.finder.search(Query(sort="stored"), 150)
        for number in range(1, seen + 1):
            await search.page(number)
        for patience in (0.0, 0.0005, 0.001):  # in the midst of one request or another
            asking = asyncio.create_task(search.page(seen + 1))
            await asyncio.sleep(patience)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert {row.handle for row in await all_pages(search)} == {row.handle for row in crowd}
            await search.close()
            search = place.finder.search(Query(sort="stored"), 150)
            for number in range(1, seen + 1):
                await search.page(number)
        await search.close()
    await place.leave()


async def test_many_ask_at_once(open_place: Callable[[str], Place]) -> None:
    """Pages that are asked for at the same time are each as if they had been asked for in turn."""
    place = open_place("valkey")
    crowd = await place.fill(500)
    search = place.finder.search(Query())
    pages = await asyncio.gather(*(search.page(number) for number in range(1, 11)))
    assert [page.number for page in pages] == list(range(1, 11))
    found = [row.handle for page in pages for row in page.rows]
    assert sorted(found) == sorted(row.handle for row in crowd)
    await search.close()
    await place.leave()


@pytest.mark.parametrize(
    "query",
    [Query(), Query(sort="size"), Query(user="user-2"), Query(handle=handle_of(3))],
    ids=["list", "walk", "user", "handle"],
)
async def test_an_outage(valkey: Valkey, query: Query) -> None:
    """While the store is away a search says so; once it is back the same search finds what there is."""
    with Proxy(valkey.port) as proxy:
        place = Place(through(valkey.url(clock="caller", prefix=fresh_prefix(), deadline=2), proxy))
        crowd = await place.fill(700)
        search = place.finder.search(query, 250)
        await whole(search)
        proxy.refuse()
        with pytest.raises(StoreUnavailable):
            await search.page(2)
        proxy.pass_on()
        found = await all_pages(search)
        assert {row.handle for row in found} == {one.handle for one in crowd if query.matches(one, NOW)}
        await search.close()
        await place.leave()


# --- What it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", SERVERS)
async def test_pages_cost_the_same_among_many(
    open_place: Callable[[str], Place], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page, the next one, the one before it, a user's sessions and a session by its handle read no more
    records, and ask the store no more often, among five thousand sessions than among five hundred."""
    read, asked = 0, 0
    for module in (sql, valkey_space):
        unseal = module.unseal

        def counting(*arguments: Any, unseal: Any = unseal) -> Any:
            nonlocal read
            read += 1
            return unseal(*arguments)

        monkeypatch.setattr(module, "unseal", counting)
    monkeypatch.setattr(finding, "_PATIENCE", 10.0)  # each page waits for what it asks for
    costs = []
    for total in (500, 5000):
        place = open_place(store)
        await fill(place.store, total, NOW)
        asked = _count(place, monkeypatch)
        cost = []
        for query, numbers in ((Query(), (1, 2, 1)), (Query(user="user-20"), (1,)), (Query(handle=handle_of(3)), (1,))):
            search = place.finder.search(query)
            for number in numbers:
                read, before = 0, len(asked)
                page = await search.page(number)
                assert page.rows
                assert page.done
                cost.append((read, len(asked) - before))
            await search.close()
        costs.append(cost)
        await place.leave()
    few, many = costs
    for one, other in zip(few, many, strict=True):
        assert other[0] <= one[0] <= 250
        assert other[1] <= one[1] <= 12


def _count(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is asked of the store from now on: one for each time."""
    store: Any = place.store
    owner, name = {
        "SQLiteStore": ("_file", "read"),
        "PostgresStore": ("_pool", "read"),
        "ValkeyStore": ("_space", "ask"),
    }[type(store).__name__]
    owner, asked = getattr(store, owner), list[int]()
    ask = getattr(owner, name)

    def counting(*arguments: Any, **given: Any) -> Any:
        asked.append(1)
        return ask(*arguments, **given)

    monkeypatch.setattr(owner, name, counting)
    return asked
