"""Changing a session from outside, on real stores, while others change it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from admin_storing import CODEC, Raw, at, fields_of, stored
from msgspec.msgpack import Ext
from visiting import served

from sojourn import (
    AsyncSessionManager,
    ConflictError,
    DamagedRecord,
    Handle,
    OutcomeUnknown,
    SessionGone,
    SessionNotFound,
    SojournError,
    StoreUnavailable,
    TooLarge,
    register,
)
from sojourn.admin.audit import Audit, Entry
from sojourn.admin.editing import Editor, EditRefused, ReadOnly
from sojourn.admin.fields import field_tree, find_node
from sojourn.admin.panels import clear_param, clear_params, set_param
from sojourn.admin.redaction import Redaction
from sojourn.admin.shapes import pack
from sojourn.codec import Code
from sojourn.ids import digest, mint
from sojourn.live import App
from sojourn.session import TICKETS
from sojourn.stores.memory import MemoryStore
from sojourn.testing import Clock
from sojourn.tickets import ticket
from worlds import PATIENT

REDACTION = Redaction()


class Desk:
    """An editor, what the audit was told, and the manager."""

    def __init__(self, manager: AsyncSessionManager, *, read_only: bool = False) -> None:
        self.manager = manager
        self.entries: list[Entry] = []
        self.editor = Editor(manager, Audit(self.entries.append), read_only, redaction=REDACTION)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """What was done, and how it ended."""
        return [(entry.what, entry.outcome) for entry in self.entries]

    async def seen(self, handle: str, *path: str, reveal: bool = True) -> str:
        """What an operator sees at a path."""
        record = await self.manager.store.load(handle)
        assert record is not None
        nodes = field_tree(self.manager.resume(record), reveal=reveal, redaction=REDACTION)
        node = find_node(nodes, at(*path))
        assert node is not None
        return node.seen


@asynccontextmanager
async def desk(store: Any = "memory://", **settings: Any) -> AsyncIterator[Desk]:
    """A desk over a store."""
    read_only = settings.pop("read_only", False)
    async with AsyncSessionManager(store, **settings) as manager:
        yield Desk(manager, read_only=read_only)


@register(name="tests.Order")
@dataclass
class Order:
    """A class of the application's."""

    count: int = 1
    price: Decimal = Decimal("1.50")
    note: str | None = None


FIELDS: dict[str, Any] = {
    "name": "Ada",
    "n": 3,
    "when": datetime(2026, 1, 31, 18, 30),
    "cart": {"items": ["tea", {"name": "rice", "count": 2}], "by": (1, 2, 3), "seen": {"a", "b"}, 5: "five"},
    "order": Order(),
    "user": {"name": "Ada", "password": "geheim"},
    "pair": ["password", "geheim"],
    "named": {"name": "api_key", "value": "geheim"},
    "token": "geheim",
    "deep": {"secrets": {"x": "geheim"}},
}


# --- What is edited --------------------------------------------------------------------------------------------------


async def test_what_is_edited_is_committed_and_nothing_else() -> None:
    """A field, a key, a member, an attribute: each is given its new value, and all else is as it was."""
    async with desk() as one:
        handle = await stored(one.manager, FIELDS)
        edits: list[tuple[tuple[str, ...], Any]] = [
            (at("name"), "Grace"),
            (at("n"), "three"),
            (at("when"), datetime(2027, 1, 1)),
            (at("cart", ".items", "[1]", ".count"), 7),
            (at("cart", ".by", "[1]"), 9),
            (at("order", ".count"), 5),
            (at("order", ".note"), "soon"),
            (at("user", ".name"), "Grace"),
            (at("user", ".password"), "new"),
            (at("pair", "[1]"), "new"),
            (at("named", ".value"), "new"),
            (at("token"), "new"),
        ]
        for path, value in edits:
            await one.editor.set_value("op", handle, path, value)
        assert await fields_of(one.manager, handle) == {
            "name": "Grace",
            "n": "three",
            "when": datetime(2027, 1, 1),
            "cart": {"items": ["tea", {"name": "rice", "count": 7}], "by": (1, 9, 3), "seen": {"a", "b"}, 5: "five"},
            "order": Order(5, Decimal("1.50"), "soon"),
            "user": {"name": "Grace", "password": "new"},
            "pair": ["password", "new"],
            "named": {"name": "api_key", "value": "new"},
            "token": "new",
            "deep": {"secrets": {"x": "geheim"}},
        }
        assert one.outcomes == [("set", "done")] * len(edits)


async def test_things_are_added_and_deleted() -> None:
    """A field, a key, members of a list, a tuple and a set come and go."""
    async with desk() as one:
        handle = await stored(one.manager, FIELDS)
        add, delete = one.editor.add, one.editor.delete
        await add("op", handle, (), "new", {"x": 1})
        await add("op", handle, at("new"), "y", [])
        await add("op", handle, at("new", ".y"), "", 1)
        await add("op", handle, at("cart", ".by"), "", 4)
        await add("op", handle, at("cart", ".seen"), "", "c")
        await delete("op", handle, at("name"))
        await delete("op", handle, at("cart", ".items", "[0]"))
        await delete("op", handle, at("cart", ".by", "[0]"))
        record = await one.manager.store.load(handle)
        assert record is not None
        nodes = field_tree(one.manager.resume(record), reveal=True, redaction=REDACTION)
        seen = find_node(nodes, at("cart", ".seen"))
        assert seen is not None
        member = next(node for node in seen.children if node.value == "a")
        await delete("op", handle, member.path, seen=member.seen)
        await delete("op", handle, at("token"))
        found = await fields_of(one.manager, handle)
        assert found["new"] == {"x": 1, "y": [1]}
        assert found["cart"] == {
            "items": [{"name": "rice", "count": 2}],
            "by": (2, 3, 4),
            "seen": {"b", "c"},
            5: "five",
        }
        assert not {"name", "token"} & found.keys()


REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "text for a date": ("set_value", (at("when"), "2027-01-01")),
    "a date for a date and time": ("set_value", (at("when"), date(2027, 1, 1))),
    "a list for a tuple": ("set_value", (at("cart", ".by"), [1])),
    "a list for a set": ("set_value", (at("cart", ".seen"), [1])),
    "a float for a decimal": ("set_value", (at("order", ".price"), 1.5)),
    "text for an attribute": ("set_value", (at("order", ".count"), "one")),
    "a dict for an object": ("set_value", (at("order"), {})),
    "an attribute less": ("delete", (at("order", ".count"),)),
    "an attribute more": ("add", (at("order"), "x", 1)),
    "a field that is gone": ("set_value", (at("gone"), 1)),
    "a key that is gone": ("set_value", (at("cart", ".gone"), 1)),
    "a member that is gone": ("set_value", (at("cart", ".items", "[9]"), 1)),
    "in text": ("set_value", (at("name", ".x"), 1)),
    "a deletion of what is gone": ("delete", (at("cart", ".gone"),)),
    "a deletion of a field that is gone": ("delete", (at("gone"),)),
    "no path": ("set_value", ((), 1)),
    "a deletion of everything": ("delete", ((),)),
    "a key of which there is one": ("add", (at("cart"), "items", 1)),
    "a field of which there is one": ("add", ((), "name", 1)),
    "no name": ("add", ((), "", 1)),
    "no key": ("add", (at("cart"), "", 1)),
    "more in text": ("add", (at("name"), "x", 1)),
    "a list in a set": ("add", (at("cart", ".seen"), "", [1])),
    "what cannot be stored": ("set_value", (at("name"), object())),
    "text with half a pair": ("set_value", (at("name"), "\ud800")),
    "within what is hidden": ("set_value", (at("token", ".x"), 1)),
    "deep within what is hidden": ("set_value", (at("deep", ".secrets", ".x"), 1)),
    "a deletion within what is hidden": ("delete", (at("deep", ".secrets", ".x"),)),
    "in what is hidden": ("add", (at("user", ".password"), "x", 1)),
    "a ticket": ("add", ((), TICKETS, {})),
    "a widget": ("add", ((), "_live:w:x", {})),
    "the machinery's": ("add", ((), "$$params", {})),
    "a name that hides": ("set_value", (at("pair", "[0]"), "colour")),
    "a name that hides, gone": ("delete", (at("pair", "[0]"),)),
    "a pair that is none": ("add", (at("pair"), "", 1)),
    "another name beside": ("set_value", (at("named", ".name"), "colour")),
    "no name beside": ("delete", (at("named", ".name"),)),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_done_is_refused_and_changes_nothing(name: str) -> None:
    """An edit of what is not there, of another type, of the machinery's, or that would show what is hidden: refused, in
    words that tell no value; nothing is written, and the audit says so."""
    operation, arguments = REFUSED[name]
    async with desk() as one:
        handle = await stored(one.manager, FIELDS)
        before = await one.manager.store.load(handle)
        with pytest.raises(EditRefused) as refused:
            await getattr(one.editor, operation)("op", handle, *arguments)
        assert "geheim" not in str(refused.value)
        assert await one.manager.store.load(handle) == before
        assert [outcome for _, outcome in one.outcomes] == ["refused"]


@pytest.mark.parametrize("name", [TICKETS, "_live:w:button", "_live:begun", "$$widgets", "$$params"])
async def test_fields_of_the_machinery_are_not_edited(name: str) -> None:
    """Whoever could write a ticket or a callback could be the visitor: such fields are neither set, nor changed, nor
    deleted."""
    async with desk() as one:
        handle = await stored(one.manager, {name: {"a": {"b": 1.0}}})
        for attempt in (
            lambda: one.editor.set_value("op", handle, at(name), {}),
            lambda: one.editor.set_value("op", handle, at(name, ".a", ".b"), 2.0),
            lambda: one.editor.add("op", handle, at(name), "x", 1.0),
            lambda: one.editor.delete("op", handle, at(name, ".a")),
            lambda: one.editor.delete("op", handle, at(name)),
        ):
            with pytest.raises(EditRefused):
                await attempt()
        assert await fields_of(one.manager, handle) == {name: {"a": {"b": 1.0}}}


async def test_what_is_damaged_can_be_replaced_and_deleted() -> None:
    """A field that cannot be read here is replaced or deleted as a whole, and what is in it is not edited."""
    unknown = pack(Ext(int(Code.OBJECT), pack(["shop.Unknown", {"x": 1}])))
    async with desk() as one:
        handle = await stored(
            one.manager, {"bad": Raw(b"\xc1"), "worse": Raw(b"\xc1"), "foreign": Raw(unknown), "n": 1}
        )
        with pytest.raises(EditRefused):
            await one.editor.set_value("op", handle, at("foreign", ".x"), 2)
        await one.editor.set_value("op", handle, at("n"), 2)
        await one.editor.set_value("op", handle, at("bad"), "good")
        await one.editor.delete("op", handle, at("worse"))
        await one.editor.delete("op", handle, at("foreign"), seen="something")
        assert await fields_of(one.manager, handle) == {"bad": "good", "n": 2}


async def test_a_session_past_its_limit_is_refused() -> None:
    """An edit that makes a field too large is refused, and nothing is written."""
    async with desk() as one:
        handle = await stored(one.manager, {"x": "small"})
        with pytest.raises(TooLarge):
            await one.editor.set_value("op", handle, at("x"), "x" * 300_000)
        assert await fields_of(one.manager, handle) == {"x": "small"}
        assert one.outcomes == [("set", "too large")]


# --- Others ----------------------------------------------------------------------------------------------------------


class Meeting(MemoryStore):
    """A store in which somebody else is quicker: what is asked for happens just before the next commit."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Callable[[], Any]] = []
        self.error: Exception | None = None

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        while self.before:
            await self.before.pop()()
        if self.error is not None:
            raise self.error
        return await super().commit(*args, **kwargs)


async def _meets(fields: dict[str, Any], other: Callable[[Any], None], edit: Callable[[Editor, str], Any]) -> Any:
    """What a session holds after an edit, or the error, where somebody else commits between its load and its commit."""
    store = Meeting()
    async with desk(store) as one:
        handle = await stored(one.manager, fields)

        async def meanwhile() -> None:
            async with AsyncSessionManager(Shared(store)).session(Handle(handle)) as session:
                other(session)

        store.before.append(meanwhile)
        try:
            await edit(one.editor, handle)
        except SojournError as error:
            return error
        return await fields_of(one.manager, handle)


class Shared:
    """A store that is another's: closing it does nothing."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close(self) -> None:
        """It is not ours."""


async def test_an_edit_merges_with_what_others_commit_meanwhile() -> None:
    """Another field, another key, an append to the list that is edited: an edit that comes second keeps them all."""
    base = {"a": 1, "cart": {"items": [{"n": 1}, {"n": 2}], "x": 1}}

    def other(session: Any) -> None:
        session["b"] = 2
        session["cart"]["items"].append({"n": 3})
        session["cart"]["items"][0]["m"] = 1
        session["cart"]["y"] = 2

    found = await _meets(
        base, other, lambda editor, handle: editor.set_value("op", handle, at("cart", ".items", "[1]", ".n"), 9)
    )
    assert found == {"a": 1, "b": 2, "cart": {"items": [{"n": 1, "m": 1}, {"n": 9}, {"n": 3}], "x": 1, "y": 2}}
    found = await _meets(base, other, lambda editor, handle: editor.add("op", handle, at("cart", ".items"), "", 0))
    assert found["cart"]["items"] == [{"n": 1, "m": 1}, {"n": 2}, {"n": 3}, 0]
    found = await _meets(base, other, lambda editor, handle: editor.delete("op", handle, at("cart", ".x")))
    assert found["cart"] == {"items": [{"n": 1, "m": 1}, {"n": 2}, {"n": 3}], "y": 2}
    found = await _meets(base, other, lambda editor, handle: editor.set_value("op", handle, at("a"), 5))
    assert (found["a"], found["b"]) == (5, 2)


async def test_what_is_gone_when_the_commit_is_made_is_not_edited() -> None:
    """A field, a key or a member that somebody deletes between look and commit does not come back."""
    base = {"a": 1, "cart": {"items": [1, 2], "x": {"y": 1}}}

    def edit(*path: str) -> Callable[[Editor, str], Any]:
        return lambda editor, handle: editor.set_value("op", handle, at(*path), 9)

    assert isinstance(await _meets(base, lambda session: session.delete("a"), edit("a")), EditRefused)
    assert isinstance(await _meets(base, lambda session: session.delete("cart"), edit("cart", ".x", ".y")), EditRefused)
    assert isinstance(
        await _meets(base, lambda session: session["cart"].pop("x"), edit("cart", ".x", ".y")), EditRefused
    )
    assert isinstance(
        await _meets(base, lambda session: session["cart"]["items"].clear(), edit("cart", ".items", "[1]")), EditRefused
    )
    added = await _meets(
        base, lambda session: session.set("new", 1), lambda e, handle: e.add("op", handle, (), "new", 2)
    )
    assert isinstance(added, EditRefused)


async def test_what_is_another_by_now_is_not_edited() -> None:
    """An operator who says what was seen changes or deletes just that: where a list has moved on meanwhile, its second
    member is another."""
    async with desk() as one:
        handle = await stored(one.manager, {"items": ["a", "b", "c"], "n": 1, "deep": {"x": [1]}, "long": "x" * 500})
        second, n = await one.seen(handle, "items", "[1]"), await one.seen(handle, "n")
        blind, deep = await one.seen(handle, "items", "[0]", reveal=False), await one.seen(handle, "deep")
        long = await one.seen(handle, "long")
        await one.editor.set_value("op", handle, at("n"), 1, seen=n)
        await one.editor.set_value("op", handle, at("long"), "x" * 500, seen=long)
        async with one.manager.session(Handle(handle)) as session:
            del session["items"][0]
            session["n"] = 2
            session["deep"]["x"].append(2)
        for attempt in (
            lambda: one.editor.set_value("op", handle, at("items", "[1]"), "x", seen=second),
            lambda: one.editor.delete("op", handle, at("items", "[1]"), seen=second),
            lambda: one.editor.set_value("op", handle, at("n"), 5, seen=n),
            lambda: one.editor.delete("op", handle, at("n"), seen=n),
            lambda: one.editor.delete("op", handle, at("deep"), seen=deep),
        ):
            with pytest.raises(EditRefused, match="another value"):
                await attempt()
        await one.editor.set_value("op", handle, at("items", "[0]"), "x", seen=blind)  # only type and size were seen
        assert (await fields_of(one.manager, handle))["items"] == ["x", "c"]


@pytest.mark.parametrize("guess", ["geheim", "another", ""])
async def test_what_is_hidden_cannot_be_guessed(guess: str) -> None:
    """Whether an edit of what is hidden comes through does not depend on what it is: by no ``seen``, and by no value
    beside it."""
    async with desk() as one:
        handle = await stored(
            one.manager, {"token": "geheim", "user": {"password": "geheim", "x": 1}, "pair": ["pin", "geheim"]}
        )
        seen = f'["str", {len(CODEC.encode("x", guess))}, "{guess}"]'
        await one.editor.set_value("op", handle, at("token"), "new", seen=seen)
        await one.editor.set_value("op", handle, at("user", ".password"), "new", seen=seen)
        await one.editor.set_value("op", handle, at("user", ".x"), guess)
        await one.editor.set_value("op", handle, at("pair", "[1]"), "new", seen=seen)
        await one.editor.delete("op", handle, at("token"), seen=seen)
        await one.editor.delete("op", handle, at("user", ".password"), seen=seen)
        assert await fields_of(one.manager, handle) == {"user": {"x": guess}, "pair": ["pin", "new"]}


async def test_another_generation_is_not_edited() -> None:
    """What was meant for one user's session is not done to another's: neither if somebody has signed in since the
    operator looked, nor if that happens before the commit."""
    async with desk() as one:
        handle = await stored(one.manager, {"n": 1}, user_id="ada", secret_digest=digest("s" * 43))
        record = await one.manager.store.load(handle)
        assert record is not None
        await one.editor.set_value("op", handle, at("n"), 2, generation=record.generation)
        async with one.manager.session(f"{handle}.{'s' * 43}") as session:
            session.login("grace")
        for attempt in (
            lambda: one.editor.set_value("op", handle, at("n"), 3, generation=record.generation),
            lambda: one.editor.rotate("op", handle, generation=record.generation),
            lambda: one.editor.extend("op", handle, idle=5, generation=record.generation),
            lambda: one.editor.set_label("op", handle, "x", generation=record.generation),
        ):
            with pytest.raises(SessionGone):
                await attempt()
        assert await fields_of(one.manager, handle) == {"n": 2}
    found = await _meets({"n": 1}, lambda session: session.login("ada"), lambda e, h: e.set_value("op", h, at("n"), 2))
    assert isinstance(found, SessionGone)


async def test_a_session_that_has_ended_is_not_edited() -> None:
    """An edit of a session that is unknown, ended or expired finds none, and brings none back."""
    clock = Clock()
    async with desk(clock=clock) as one:
        gone = mint()[0]
        ended = await stored(one.manager, {"n": 1})
        await one.manager.end_session(Handle(ended))
        expired = await stored(one.manager, {"n": 1}, accessed_at=clock() - 10_000.0, ends_at=clock() + 10.0)
        for handle in (gone, ended, expired, "", "../x", "x" * 5_000):
            for attempt in reaching(one.editor, handle):
                with pytest.raises(SessionNotFound):
                    await attempt()
        assert {outcome for _, outcome in one.outcomes} == {"gone"}
        assert await one.manager.store.load(ended) is None
        assert one.manager.counts["refused"] == 0
    found = await _meets({"n": 1}, lambda session: session.end(), lambda e, h: e.set_value("op", h, at("n"), 2))
    assert isinstance(found, SessionGone)


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_many_writers_and_operators_lose_nothing(url: str, tmp_path: Path) -> None:
    """Ten writers and five operators change one session at the same time, each something of its own in the same fields,
    the operators through a manager of their own: all of it is there."""
    place = f"sqlite:///{tmp_path / 's'}" if url == "sqlite" else MemoryStore()
    other = f"sqlite:///{tmp_path / 's'}" if url == "sqlite" else Shared(place)  # type: ignore[arg-type]
    async with desk(place, config=PATIENT) as one, AsyncSessionManager(other, config=PATIENT) as manager:  # type: ignore[arg-type]
        handle = await stored(one.manager, {"items": [], "by": {str(at_): 0 for at_ in range(5)}, "n": 0})

        async def writer(number: int) -> None:
            for turn in range(10):
                async with manager.session(Handle(handle)) as session:
                    session["items"].append(f"w{number}.{turn}")
                    session["by"][f"w{number}"] = turn
                    session.update("n", lambda n: n + 1)

        async def operator(number: int) -> None:
            for turn in range(10):
                await one.editor.add("op", handle, at("items"), "", f"o{number}.{turn}")
                await one.editor.set_value("op", handle, at("by", f".{number}"), turn + 1)

        await asyncio.gather(*(writer(number) for number in range(10)), *(operator(number) for number in range(5)))
        found = await fields_of(manager, handle)
        items = {f"w{a}.{b}" for a in range(10) for b in range(10)} | {f"o{a}.{b}" for a in range(5) for b in range(10)}
        assert len(found["items"]) == 150
        assert set(found["items"]) == items
        assert found["by"] == {**{f"w{a}": 9 for a in range(10)}, **{str(a): 10 for a in range(5)}}
        assert found["n"] == 100


# --- The session -----------------------------------------------------------------------------------------------------


async def test_rotation_puts_everybody_out_and_tells_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """After a rotation no id that anybody has works, nor a ticket; the fields stay; and the new secret is nowhere: not
    in the result, not in the log, not in the audit, not in what listeners are told."""
    caplog.set_level(logging.DEBUG)
    async with desk() as one:
        told: list[Any] = []
        one.manager.add_listener(told.append)
        session_id = await one.manager.create_session("ada", {"n": 1})
        async with one.manager.session(session_id) as session:
            pass_in, handle = ticket(session), str(session.handle)
        held = await one.manager.require(session_id)  # as a socket does, or a request that is under way
        before = held.record
        secrets: list[str] = []
        real = one.manager.store.commit

        async def noting(base: Any, wanted: Any, *args: Any, **kwargs: Any) -> Any:
            secrets.append(wanted.secret_digest)
            return await real(base, wanted, *args, **kwargs)

        one.manager.store.commit = noting  # type: ignore[method-assign]
        assert await one.editor.rotate("op", handle) is None  # type: ignore[func-returns-value]
        assert not await one.manager.is_session_active(session_id)
        with pytest.raises(SessionGone):
            await one.manager.refresh(held)
        held["n"] = 2
        with pytest.raises(SessionGone):
            await one.manager.save(held)
        after = await one.manager.store.load(handle)
        assert after is not None
        assert (after.user_id, after.authenticated_at, after.ends_at) == (
            "ada",
            before.authenticated_at,
            before.ends_at,
        )
        assert await fields_of(one.manager, handle) == {"n": 1}
        assert TICKETS not in await fields_of(one.manager, handle)
        everything = f"{caplog.text} {one.entries} {told}"
        words = {word.strip("'\".,()") for word in everything.split()}
        assert not {digest(word[:43]) for word in words} & set(secrets)
        assert pass_in not in everything
        assert f"{handle}." not in everything
        assert [change.kind for change in told] == ["created", "rotated", "refused"]


async def test_timeouts_are_extended_and_shortened() -> None:
    """``idle`` is another idle timeout; ``absolute`` counts from now, whenever the user signed in."""
    clock = Clock()
    async with desk(clock=clock) as one:
        handle = str(Handle((await one.manager.create_session("ada")).split(".")[0]))
        clock.advance(1000)
        await one.editor.extend("op", handle, idle=7200.0, absolute=50_000.0)
        record = await one.manager.store.load(handle)
        assert record is not None
        assert (record.idle_timeout, round(record.ends_at - clock())) == (7200.0, 50_000)
        await one.editor.extend("op", handle, absolute=10.0)
        record = await one.manager.store.load(handle)
        assert record is not None
        assert (record.idle_timeout, round(record.ends_at - clock())) == (7200.0, 10)
        for wrong in (
            {},
            {"idle": 0},
            {"idle": -1},
            {"absolute": float("nan")},
            {"idle": float("inf")},
            {"absolute": -5.0},
        ):
            with pytest.raises(EditRefused):
                await one.editor.extend("op", handle, **wrong)


async def test_labels_are_set_and_taken_away() -> None:
    """A label is set, cut to 200 characters, and taken away; one that looks like a session id is refused."""
    async with desk() as one:
        session_id = await one.manager.create_session()
        handle = session_id.split(".")[0]
        await one.editor.set_label("op", handle, "x" * 500)
        assert (await one.manager.list_sessions())[0].label == "x" * 200
        await one.editor.set_label("op", handle, "")
        assert (await one.manager.list_sessions())[0].label is None
        with pytest.raises(EditRefused) as refused:
            await one.editor.set_label("op", handle, session_id)
        assert session_id not in str(refused.value)


async def test_sessions_are_ended() -> None:
    """One session, or all of a user's: they are over, as "revoked", and it is told how many."""
    async with desk() as one:
        told: list[Any] = []
        one.manager.add_listener(told.append, "ended")
        first, second = await one.manager.create_session("ada"), await one.manager.create_session("ada")
        other = await one.manager.create_session("grace")
        assert await one.editor.end("op", first.split(".")[0]) is True
        assert await one.editor.end("op", first.split(".")[0]) is False
        assert await one.editor.end("op", "no handle") is False
        assert await one.editor.end_user("op", "ada") == 1
        assert not await one.manager.is_session_active(second)
        assert await one.manager.is_session_active(other)
        with pytest.raises(EditRefused):
            await one.editor.end_user("op", "")
        assert [change.reason for change in told] == ["revoked", "revoked"]
        assert one.outcomes == [
            ("end", "done"),
            ("end", "gone"),
            ("end", "gone"),
            ("end user", "done: 1"),
            ("end user", "refused"),
        ]


# --- Read-only, the audit, and a store that fails --------------------------------------------------------------------


def reaching(editor: Editor, handle: str) -> list[Callable[[], Any]]:
    """Each of an editor's operations that looks for a session, and those of the panels."""
    return [
        lambda: editor.set_value("op", handle, at("n"), 2),
        lambda: editor.add("op", handle, (), "m", 2),
        lambda: editor.delete("op", handle, at("n")),
        lambda: editor.rotate("op", handle),
        lambda: editor.extend("op", handle, idle=60.0),
        lambda: editor.set_label("op", handle, "x"),
        lambda: set_param(editor, "op", handle, "a", "b"),
        lambda: clear_param(editor, "op", handle, "a"),
        lambda: clear_params(editor, "op", handle),
    ]


def every(editor: Editor, handle: str) -> list[Callable[[], Any]]:
    """All of them."""
    return [*reaching(editor, handle), lambda: editor.end("op", handle), lambda: editor.end_user("op", "ada")]


async def test_read_only_refuses_everything() -> None:
    """With ``read_only`` each operation raises, nothing is written, and each attempt is a line of the audit."""
    async with desk(read_only=True) as one:
        handle = await stored(one.manager, {"n": 1, "$$params": {"a": ["1"]}}, user_id="ada")
        before = await one.manager.store.load(handle)
        operations = every(one.editor, handle)
        public = {name for name in vars(Editor) if not name.startswith("_")} - {"change", "audited"}
        assert len(operations) == len(public) + 3
        for operation in operations:
            with pytest.raises(ReadOnly):
                await operation()
        assert await one.manager.store.load(handle) == before
        assert {outcome for _, outcome in one.outcomes} == {"refused: read-only"}
        assert len(one.outcomes) == len(operations)


async def test_the_audit_tells_no_value(caplog: pytest.LogCaptureFixture) -> None:
    """No value, no name of a field and no key is in the audit or in any log line at INFO or above, whatever comes of an
    edit."""
    caplog.set_level(logging.INFO)
    async with desk() as one:
        handle = await stored(one.manager, {"geheimfeld": {"geheimkey": "geheimwert"}})
        edit = one.editor.set_value
        await edit("op", handle, at("geheimfeld", ".geheimkey"), "geheimneu")
        with pytest.raises(EditRefused):
            await edit("op", handle, at("geheimfeld", ".geheimnein"), "geheimneu")
        await one.editor.add("op", handle, (), "geheimnoch", "geheimneu")
        await one.editor.delete("op", handle, at("geheimnoch"))
        assert "geheim" not in f"{one.entries} {caplog.text}"
        assert {entry.handle for entry in one.entries} == {handle}
        assert len(one.entries) == 4


FAILURES: list[tuple[Exception, str]] = [
    (StoreUnavailable("the store is away"), "unavailable"),
    (OutcomeUnknown("nobody knows", final=True), "unknown"),
    (ConflictError("others were quicker"), "conflict"),
    (RuntimeError("a fault of our own"), "failed"),
]


@pytest.mark.parametrize("number", range(len(FAILURES)))
async def test_a_store_that_fails_is_told(number: int) -> None:
    """What a commit raises comes through, and the audit says how it ended."""
    error, outcome = FAILURES[number]
    store = Meeting()
    async with desk(store) as one:
        handle = await stored(one.manager, {"n": 1})
        store.error = error
        with pytest.raises(type(error)):
            await one.editor.set_value("op", handle, at("n"), 2)
        assert one.outcomes == [("set", outcome)]


async def test_a_task_that_is_cancelled_is_told() -> None:
    """Where nobody waits for the outcome any more, the audit still has its line."""
    store = Meeting()
    async with desk(store) as one:
        handle = await stored(one.manager, {"n": 1})
        store.before.append(lambda: asyncio.sleep(30))
        task = asyncio.ensure_future(one.editor.set_value("op", handle, at("n"), 2))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert one.outcomes == [("set", "unknown")]


async def test_a_damaged_record_is_told_and_can_be_ended(tmp_path: Path) -> None:
    """A record that fails its check is not edited, and is ended all the same."""
    async with desk(f"sqlite:///{tmp_path / 's'}") as one:
        handle = await stored(one.manager, {"n": 1})
        real = one.manager.store.load

        async def damaged(wanted: str) -> Any:
            await real(wanted)
            raise DamagedRecord(wanted, "its check fails")

        one.manager.store.load = damaged  # type: ignore[method-assign]
        with pytest.raises(DamagedRecord):
            await one.editor.set_value("op", handle, at("n"), 2)
        assert await one.editor.end("op", handle) is True
        assert one.outcomes == [("set", "damaged"), ("end", "done")]


def test_rotation_closes_the_sockets_that_are_open(tmp_path: Path) -> None:
    """A thief, or the visitor, whose page is open while an operator rotates, is out within a second: the socket is
    closed, and with that cookie nobody comes in again."""
    url = f"sqlite:///{tmp_path / 's'}"
    app = App("shop", store=url)
    app.button("Buy", key="buy")
    with served(app) as site:
        visitor = site.visitor()
        tab = visitor.open()
        tab.do("g:buy", "click")

        async def rotate() -> None:
            async with AsyncSessionManager(url) as manager:
                rows = await manager.list_sessions()
                handle = next(row.handle for row in rows if not (row.label or "").startswith("live app"))
                await Editor(manager, Audit()).rotate("op", handle)

        asyncio.run(rotate())
        began = time.monotonic()
        assert tab.closed() in (1008, 1013)
        assert time.monotonic() - began < 1.5
        assert visitor.request("GET").status_code == 503  # a page that says that the session was renewed
