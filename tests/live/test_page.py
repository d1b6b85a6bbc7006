"""Pages without a network: whatever is done to everybody's page and to those of sessions, in this process or another,
who applies the operations that are told shows what a fresh page would, and nothing that was declared is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from visiting import Model

from sojourn import ConfigurationError, UnsupportedValue
from sojourn.live import widgets as w
from sojourn.live.app_page import AppPage
from sojourn.live.kept import Write, write_fields
from sojourn.live.page import SessionPage
from sojourn.live.protocol import Changes
from sojourn.live.telling import operations
from sojourn.live.turns import showing
from sojourn.live.widget import Refused, Widget, copied
from sojourn.live.widgets import KINDS


def as_json(value: Any) -> Any:
    """As it comes to a browser."""
    return json.loads(msgspec.json.encode(value))


def named(callback: Callable[..., Any]) -> Any:
    """What is kept of a callback."""
    return ["by name", callback.__name__]


def clicked() -> None:
    """A callback."""


class Turn:
    """A turn of a session, as far as its page asks for it."""

    def __init__(self, page: SessionPage) -> None:
        self.page = page
        self.open = True


@contextmanager
def turn_of(page: SessionPage) -> Iterator[None]:
    token = showing.set(Turn(page))
    try:
        yield
    finally:
        showing.reset(token)


class Fields(dict[str, Any]):
    """A record's fields, as they are stored: what is put in is copied, and ready to be changed by a function."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, copied(value))

    def delete(self, name: str) -> bool:
        return self.pop(name, None) is not None

    def update(self, name: str, function: Callable[[Any], Any]) -> None:  # type: ignore[override]
        value = function(self.get(name))
        if value is None:
            self.pop(name, None)
        else:
            self[name] = value

    def write(self, writes: Mapping[str, Write]) -> dict[str, Any]:
        """Commit; what is kept under each name that was written."""
        write_fields(self, writes, list)  # type: ignore[arg-type]
        return {name: copied(self.get(name)) for name in writes}


# --- A world of two processes, each with everybody's page and that of two sessions ----------------------------------


def declare(app: AppPage) -> None:
    """What the program declares, the same in each process."""
    for widget in (
        w.Text("one", key="k0"),
        w.Container(key="k1"),
        w.TextInput("name", key="k2"),
        w.Columns(2, key="cols"),
    ):
        app.add(widget, None, None)
    app.add(w.Checkbox("inside", key="k3"), app.widgets["k1"], None)
    app.declared()


class Process:
    """Everybody's page and the sessions' in one process, and what the browsers of these show."""

    def __init__(self, sessions: int, *, strict: bool = True) -> None:
        self.app = AppPage(named, lambda: None)
        declare(self.app)
        self.pages = [SessionPage(self.app, named) for _ in range(sessions)]
        self.models = [Model(strict=strict) for _ in self.pages]
        for page, model in zip(self.pages, self.models, strict=True):
            model.children = as_json(page.children())

    def tell_app(self, pages: Sequence[SessionPage] = ()) -> None:
        """Tell all browsers what changed in everybody's page, as these pages have it: those of the sessions."""
        batch = self.app.take_batch()
        shared = operations(batch, self.app, self.app)
        for page, model in zip(pages or self.pages, self.models, strict=True):
            ops = page.of_app(batch) if page.concerns(batch) else shared
            model.operate(as_json(ops))

    def settled(self, number: int, kept: Fields) -> SessionPage:
        """A session's page as it is kept, while a turn changes the one that is here."""
        page = SessionPage(self.app, named)
        page.become(copied(dict(kept)), KINDS)
        return page

    def tell(self, number: int) -> None:
        """Tell a session's browser what changed in its page."""
        self.models[number].operate(as_json(Changes(self.pages[number].take_operations()))["ops"])

    def check(self) -> None:
        for page, model in zip(self.pages, self.models, strict=True):
            assert model.children == as_json(page.children())


NUMBERS = st.integers(0, 11)
SCRIPTS = st.lists(st.tuples(st.integers(0, 2), NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=14)
"""What is done: by whom (everybody's page, or a session's), what, and to which widgets."""


def some(number: int, key: str) -> Widget:
    """A widget of some kind."""
    kinds: list[Callable[[], Widget]] = [
        lambda: w.Text("text", key=key),
        lambda: w.TextInput("input", key=key),
        lambda: w.Container(key=key),
        lambda: w.Columns(2, key=key),
        lambda: w.Selectbox("select", ["a", "b"], key=key),
        lambda: w.Form(key=key),
        lambda: w.Button("button", key=key),
        lambda: w.Text("hidden", key=key, visible=False),
        lambda: w.Sidebar(key=key),
        lambda: w.Markdown("*text*", key=key),
    ]
    made = kinds[number % len(kinds)]()
    if isinstance(made, w.Button):
        made.on_click(clicked)
    if isinstance(made, w.Container | w.Form) and number > 4:
        made.add_widget(w.Checkbox("within", key=f"{key}-in"))
    return made


def pick(widgets: Sequence[Any], number: int) -> Any:
    return widgets[number % len(widgets)] if widgets else None


def places(page: Any) -> list[Widget | None]:
    """Where something can be added: the page itself, or a widget that holds others."""
    below = page.below.widgets.values() if isinstance(page, SessionPage) else ()
    return [None, *(one for one in (*below, *page.widgets.values()) if one.holds)]


def edit(page: Any, what: int, first: int, second: int, third: int) -> None:
    """One change. What cannot be is refused, and changes nothing: it may be asked for."""
    mine = list(page.widgets.values())
    target = pick(mine, first)
    if what <= 3:
        into = pick(places(page), second)
        siblings = page.siblings(into)
        before = pick(siblings, third) if third % 2 else None
        page.add(some(first, f"k{third}"), into, before)
    elif target is None:
        return
    elif what == 4:
        page.remove(target)
    elif what == 5:
        page.replace(target, some(second, f"k{third}"))
    elif what == 6:
        siblings = list(page.siblings(target._parent))
        page.order(target._parent, siblings[second % len(siblings) :] + siblings[: second % len(siblings)])
    elif what == 7:
        target.visible = not target.visible
    elif what == 8 and "text" in target.properties:
        target.text = f"text {second}"
    elif what == 9 and isinstance(target, w.Selectbox):
        target.options = [["a", "b"], ["b", "c"]][second % 2]
    elif what in (8, 9) and "label" in target.properties:
        target.label = f"label {second}"
    elif what == 10 and isinstance(target, w.TextInput):
        target.update("value", lambda value: f"{value}{second}"[-5:])
    else:
        differ(page, first, second)


def differ(page: Any, first: int, second: int) -> None:
    """A session has something of everybody's in its own way."""
    if not isinstance(page, SessionPage):
        return
    below = pick(list(page.below.widgets.values()), first)
    if below is None:
        return
    view = page.view(below)
    if second % 3 == 0:
        view.visible = not view.visible
    elif isinstance(below, w.TextInput):
        view.value = f"own {second}"
    elif "text" in below.properties:
        view.text = f"own {second}"


def allowed(page: Any, *change: int) -> None:
    note(f"{change} on {[*page.widgets.values()]}")
    try:
        edit(page, *change)
    except (ConfigurationError, UnsupportedValue) as error:
        note(str(error))


@given(SCRIPTS, st.lists(st.booleans(), min_size=14, max_size=14))
def test_who_follows_the_operations_shows_what_a_fresh_page_shows(
    script: list[tuple[int, ...]], several: list[bool]
) -> None:
    """Whatever is added, removed, replaced, reordered, hidden and assigned, one by one or several at once, by the app
    and by two sessions: a browser that applies what it is told shows what a page loaded now would, after each step; and
    each operation makes sense."""
    here = Process(2)
    for at, (who, *change) in enumerate(script):
        if who == 0:
            allowed(here.app, *change)
        else:
            with turn_of(here.pages[who - 1]):
                allowed(here.pages[who - 1], *change)
        if several[at] and at + 1 < len(script) and script[at + 1][0] == who:
            note("at once")
            continue
        if who == 0:
            here.tell_app()
        else:
            here.tell(who - 1)
        here.check()


class Store:
    """What is kept: of everybody, and of each session."""

    def __init__(self, sessions: int) -> None:
        self.app = Fields()
        self.sessions = [Fields() for _ in range(sessions)]


def commit_app(process: Process, store: Store, others: Sequence[Process]) -> None:
    """Commit and tell what changed in everybody's page, here and in the other processes."""
    writes, process.app.writes = process.app.writes, {}
    process.tell_app()
    kept = store.app.write(writes)
    for other in others:
        other.app.absorb(copied(kept), KINDS)
        other.tell_app()


def commit(number: int, process: Process, store: Store, others: Sequence[Process]) -> None:
    """Commit and tell what changed in a session's page."""
    page = process.pages[number]
    kept = store.sessions[number].write(page.writes)
    page.writes.clear()
    process.tell(number)
    for other in others:
        other.pages[number].absorb(copied(kept), KINDS)
        other.tell(number)


def listeners(page: SessionPage | AppPage) -> dict[str, Any]:
    """The callbacks of all widgets that are on a page, also of those that are not visible."""
    waiting, found = list(page.inside(None)), {}
    while waiting:
        widget = waiting.pop()
        waiting += page.inside(widget)
        if widget._on:
            found[page.id_of(widget)] = widget._on
    return found


@given(SCRIPTS, st.lists(st.booleans(), min_size=14, max_size=14))
def test_another_process_and_one_started_later_show_the_same(script: list[tuple[int, ...]], where: list[bool]) -> None:
    """What is done in one of two processes, in turns, is shown in both in the same order; so does a process that is
    started later and reads what is kept. The callbacks are there in all."""
    processes, store = [Process(2), Process(2)], Store(2)
    for (who, *change), first in zip(script, where, strict=False):
        here, *others = processes if first else processes[::-1]
        note(f"{who} in {first}")
        if who == 0:
            allowed(here.app, *change)
            commit_app(here, store, others)
        else:
            with turn_of(here.pages[who - 1]):
                allowed(here.pages[who - 1], *change)
            commit(who - 1, here, store, others)
        for process in processes:
            process.check()
        late = Process(2, strict=False)
        late.app.absorb(copied(store.app), KINDS)
        for page, kept in zip(late.pages, store.sessions, strict=True):
            page.become(copied(kept), KINDS)
        for number in range(2):
            shown = as_json(here.pages[number].children())
            assert as_json(others[0].pages[number].children()) == shown
            assert as_json(late.pages[number].children()) == shown
            assert listeners(others[0].pages[number]) == listeners(late.pages[number]) == listeners(here.pages[number])
        assert listeners(others[0].app) == listeners(late.app) == listeners(here.app)


@given(SCRIPTS, st.integers(1, 12))
def test_a_turn_that_fails_leaves_nothing(script: list[tuple[int, ...]], good: int) -> None:
    """Changes that are not committed are gone when the page becomes again what is kept: it looks, and goes on, as one
    that was made from that."""
    here, store = Process(1), Store(1)
    page = here.pages[0]
    for who, *change in script[:good]:
        with turn_of(page):
            allowed(here.app if who == 0 else page, *change)
        commit_app(here, store, ())
        commit(0, here, store, ())
    before, kept = as_json(page.children()), copied(dict(store.sessions[0]))
    there = listeners(page)
    for _, *change in script[good:]:
        with turn_of(page):
            allowed(page, *change)
    page.become(copied(kept), KINDS)
    assert as_json(page.children()) == before
    assert not page.writes
    assert page.take_operations() == []
    assert listeners(page) == there
    with turn_of(page):
        for _, *change in script:
            allowed(page, *change)
    commit(0, here, store, ())
    here.check()


@given(SCRIPTS, st.lists(st.integers(0, 5), min_size=14, max_size=14))
def test_what_is_told_late_comes_to_the_same(script: list[tuple[int, ...]], told: list[int]) -> None:
    """Changes are committed and told later, the app's in the midst of turns of sessions, which last: a browser sees
    nothing of a turn before it is committed, and when all is told, each shows what is there."""
    here, store = Process(2, strict=False), Store(2)
    open_turns: set[int] = set()
    for (who, *change), tell in zip(script, told, strict=False):
        if who == 0:
            allowed(here.app, *change)
        else:
            open_turns.add(who - 1)
            with turn_of(here.pages[who - 1]):
                allowed(here.pages[who - 1], *change)
        if tell == 0:
            note("the app's is told")
            here.tell_app([here.settled(n, store.sessions[n]) if n in open_turns else here.pages[n] for n in range(2)])
        elif tell <= 2:
            note(f"that of {tell} is told")
            open_turns.discard(tell - 1)
            commit(tell - 1, here, store, ())
    for number in range(2):
        commit(number, here, store, ())
    here.tell_app()
    here.check()


def test_what_a_session_hides_or_adds_matters_to_what_is_around_it() -> None:
    """A session that hides a widget of the app's, or has one of its own in it, is told of changes beside it, and of the
    widget when it is hidden and shown again, as it sees them: nothing comes after what it does not have, and what is
    its own is there again."""
    here, store = Process(2), Store(2)
    page = here.pages[0]
    with turn_of(page):
        page.view(here.app.widgets["k0"]).visible = False
        page.add(w.Button("own", key="own"), here.app.widgets["k1"], None)
        page.view(here.app.widgets["k2"]).value = "typed"
    commit(0, here, store, ())
    here.app.add(w.Text("new", key="new"), None, here.app.widgets["k1"])
    here.tell_app()
    here.check()
    for shown in (False, True):
        here.app.widgets["k1"].visible = shown
        here.app.widgets["k2"].visible = shown
        here.tell_app()
        here.check()
    assert here.models[0].props("g:k2")["value"] == "typed"
    assert here.models[0].find("s:own")
    assert not here.models[1].find("s:own")


def test_a_widget_whose_place_is_gone_is_nowhere() -> None:
    """A session's widget in one of the app's that was removed is not shown and takes no events, here and in a process
    that is started later; a turn that fails after it put another in its place leaves nothing of that."""
    here, store = Process(1), Store(1)
    page = here.pages[0]
    with turn_of(page):
        page.add(w.Button("own", key="own"), here.app.widgets["k1"], None)
    commit(0, here, store, ())
    here.app.widgets["k1"].remove()
    commit_app(here, store, ())
    here.check()
    with pytest.raises(Refused):
        page.take("s:own", "click", None)
    before = as_json(page.children())
    with turn_of(page):
        page.remove(page.widgets["own"])
        page.add(w.Text("another", key="own"), None, None)
    page.become(copied(dict(store.sessions[0])), KINDS)
    assert as_json(page.children()) == before
    assert not page.find("s:own")


def test_a_callback_that_is_given_later_is_known_elsewhere() -> None:
    """A callback that is added to a widget that is there, in a session or by the app, is there in another process."""
    processes, store = [Process(1), Process(1)], Store(1)
    here, there = processes
    with turn_of(here.pages[0]):
        here.pages[0].add(w.Button("own", key="own"), None, None)
    commit(0, here, store, [there])
    here.app.add(w.Button("shared", key="shared"), None, None)
    commit_app(here, store, [there])
    with turn_of(here.pages[0]):
        here.pages[0].widgets["own"].listen("click", clicked)
    commit(0, here, store, [there])
    here.app.widgets["shared"].listen("click", clicked)
    commit_app(here, store, [there])
    for page in (there.pages[0].widgets["own"], there.app.widgets["shared"]):
        assert page._on == {"click": [["by name", "clicked"]]}
