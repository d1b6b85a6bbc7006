"""Memory and each other store, driven side by side against one dict: whatever is done, in whatever order, both are as
the dict says."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from servers.valkey import Valkey, fresh_prefix
from sojourn import Handle, SessionConfig, SessionGone, SessionManager, SessionNotFound, open_store
from sojourn.testing import Clock
from values import VALUES, shape

CONFIG = SessionConfig(
    idle_timeout=1000, absolute_timeout=5000, touch_interval=50, max_sessions_per_user=3, deadline=10
)
USERS = st.sampled_from(["ada", "bob"])
NAMES = st.sampled_from("abc")
CHOICES = st.integers(0, 9)


@dataclass(eq=False)
class Modelled:
    """A session as it should be."""

    ids: list[str]
    """The session id in each store."""
    user: str | None
    fields: dict[str, Any]
    created: float
    idle: float = 1000.0
    touch: float = 50.0
    generation: int = 0
    leases: int = 0
    ended: bool = False
    old_ids: list[list[str]] = field(default_factory=list)
    accessed: float = 0.0
    authenticated: float = 0.0
    ends_at: float = 0.0

    def __post_init__(self) -> None:
        self.accessed = self.authenticated = self.created
        self.ends_at = self.created + 5000

    def is_live(self, now: float) -> bool:
        return not self.ended and now < self.ends_at and now < self.accessed + self.idle + self.touch

    def use(self, now: float) -> None:
        """Activity, recorded once an interval."""
        if now - self.accessed >= self.touch:
            self.accessed = now

    def take(self, ids: list[str]) -> None:
        self.old_ids.append(self.ids)
        self.ids = ids


@dataclass(eq=False)
class Held:
    """A block that is open in each store, with a change in it that is not committed yet."""

    session: Modelled
    blocks: list[Any]
    generation: int
    name: str
    loaded_at: float


class SideBySide(RuleBasedStateMachine):
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.folder = Path(tempfile.mkdtemp())
        self.url = self.place()
        self.stores = [open_store("memory://"), open_store(self.url)]
        self.managers = [self._manager(store) for store in self.stores]
        self.sessions: list[Modelled] = []
        self.retired: list[SessionManager] = []
        self.counter = 0
        self.open_blocks = 0

    def place(self) -> str:
        """The URL of a store that is empty, and that another process can open as well."""
        return f"sqlite:///{self.folder}/sessions.db?durability=process&deadline=10"

    def _manager(self, store: Any) -> SessionManager:
        return SessionManager(store, config=CONFIG, clock=self.clock)

    @property
    def now(self) -> float:
        return self.clock.now

    def both(self, do: Callable[[SessionManager, int], Any]) -> list[Any]:
        """Do it in each; a raised exception is a result."""
        results: list[Any] = []
        for at, manager in enumerate(self.managers):
            try:
                results.append(do(manager, at))
            except (SessionGone, SessionNotFound) as error:
                results.append(type(error))
        return results

    def same(self, do: Callable[[SessionManager, int], Any]) -> Any:
        """Do it in each; the result, which must be the same."""
        one, other = self.both(do)
        assert shape(one) == shape(other) if not isinstance(one, type) else one is other
        return one

    def live(self, user: str | None = None) -> list[Modelled]:
        return [session for session in self.sessions if session.is_live(self.now) and user in (None, session.user)]

    def some(self, choice: int) -> Modelled | None:
        """A session that was made, dead or alive, the latest ones more often."""
        return self.sessions[-1 - choice % len(self.sessions)] if self.sessions else None

    def make_room(self, user: str, but: Modelled | None) -> None:
        others = [session for session in self.live(user) if session is not but]
        for oldest in sorted(others, key=lambda session: session.authenticated)[: max(len(others) - 2, 0)]:
            oldest.ended = True

    # --- What can be done --------------------------------------------------------------------------------------------

    @initialize(user=USERS)
    def begin(self, user: str) -> None:
        self.create(user, {"a": [1]})

    @rule(user=USERS | st.none(), data=st.dictionaries(NAMES, VALUES, max_size=3))
    def create(self, user: str | None, data: dict[str, Any]) -> None:
        self.clock.advance(1)  # so that none is as old as another
        if user is not None:
            self.make_room(user, None)
        made = self.both(lambda manager, at: manager.create_session(user, data))
        self.sessions.append(Modelled(made, user, data, self.now, generation=int(user is not None)))

    @rule(choice=CHOICES, name=NAMES, value=VALUES)
    def assign(self, choice: int, name: str, value: Any) -> None:
        self.change(choice, lambda fields: fields.update({name: value}))

    @rule(choice=CHOICES, name=NAMES)
    def delete(self, choice: int, name: str) -> None:
        self.change(choice, lambda fields: fields.pop(name, None))

    @rule(choice=CHOICES)
    def clear(self, choice: int) -> None:
        self.change(choice, lambda fields: fields.clear())

    @rule(choice=CHOICES, name=NAMES, item=st.integers())
    def change_in_place(self, choice: int, name: str, item: int) -> None:
        def append(fields: Any) -> None:
            value = fields.get(name)
            if isinstance(value, list):
                value.append(item)
            elif isinstance(value, dict):
                value[item] = [item]
            elif isinstance(value, set):
                value.add(item)

        self.change(choice, append)

    def change(self, choice: int, do: Callable[[Any], Any]) -> None:
        """A block in each, with the same change."""
        target = self.some(choice)
        if target is None:
            return

        def block(manager: SessionManager, at: int) -> None:
            with manager.session(target.ids[at]) as session:
                do(session)

        assert self.same(block) is (None if target.is_live(self.now) else SessionNotFound)
        if target.is_live(self.now):
            do(target.fields)
            target.use(self.now)

    @rule(choice=CHOICES)
    def update(self, choice: int) -> None:
        target = self.some(choice)
        if target is not None:
            result = self.same(lambda manager, at: manager.update(target.ids[at], "n", lambda n: (n or 0) + 1))
            if target.is_live(self.now):
                target.fields["n"] = target.fields.get("n", 0) + 1
                target.use(self.now)
                assert result == target.fields["n"]
            else:
                assert result is SessionNotFound

    @rule(choice=CHOICES)
    def transaction(self, choice: int) -> None:
        def swap(session: Any) -> Any:
            session["a"], session["b"] = session.get("b"), session.get("a")
            return sorted(session)

        target = self.some(choice)
        if target is not None:
            result = self.same(lambda manager, at: manager.transaction(target.ids[at], swap))
            assert result == (swap(target.fields) if target.is_live(self.now) else SessionNotFound)
            if target.is_live(self.now):
                target.use(self.now)

    @rule(choice=CHOICES)
    def exclusive(self, choice: int) -> None:
        def block(manager: SessionManager, at: int) -> int:
            with manager.exclusive(target.ids[at], wait=0) as session:
                session["fence"] = session.fence
                return session.fence

        target = self.some(choice)
        if target is not None:
            fence = self.same(block)
            if target.is_live(self.now):
                target.leases += 1
                assert fence == target.leases
                target.fields["fence"] = fence
                target.use(self.now)
            else:
                assert fence is SessionNotFound

    @rule(choice=CHOICES)
    def read(self, choice: int) -> None:
        target = self.some(choice)
        if target is not None:
            found = self.same(lambda manager, at: manager.get_session(target.ids[at]))
            if target.is_live(self.now):
                target.use(self.now)
                assert shape(found) == shape(target.fields)
            else:
                assert found is None

    @rule(target=held, choice=CHOICES)
    def hold(self, choice: int) -> Any:
        session = self.some(choice)
        if session is None or not session.is_live(self.now):
            return None
        self.counter += 1
        held = Held(session, [], session.generation, f"held {self.counter}", self.now)
        for manager, session_id in zip(self.managers, session.ids, strict=True):
            block = manager.session(session_id)
            block.__enter__()[held.name] = self.counter
            held.blocks.append(block)
        self.open_blocks += 1
        return held

    @rule(held=consumes(held))
    def let_go(self, held: Held | None) -> None:
        if held is None:
            return
        target = held.session
        self.open_blocks -= 1
        results = []
        for block in held.blocks:
            try:
                results.append(block.__exit__(None, None, None))
            except SessionGone as error:
                results.append(type(error))
        if target.is_live(self.now) and target.generation == held.generation:
            assert results == [None, None]
            target.fields[held.name] = int(held.name.partition(" ")[2])
            target.use(self.now)
        else:
            assert results == [SessionGone, SessionGone]

    @rule(choice=CHOICES)
    def rotate(self, choice: int) -> None:
        target = self.some(choice)
        if target is not None:
            results = self.both(lambda manager, at: manager.rotate(target.ids[at]))
            if target.is_live(self.now):
                target.take(results)
                target.use(self.now)
            else:
                assert results == [SessionNotFound, SessionNotFound]

    @rule(choice=CHOICES, user=USERS)
    def login(self, choice: int, user: str) -> None:
        self.clock.advance(1)
        target = self.some(choice)
        if target is not None:
            results = self.both(lambda manager, at: manager.login(target.ids[at], user))
            if not target.is_live(self.now):
                assert results == [SessionNotFound, SessionNotFound]
                return
            if target.user != user:
                self.make_room(user, target)
            target.take(results)
            target.use(self.now)
            target.user, target.authenticated, target.ends_at = user, self.now, self.now + 5000
            target.generation += 1

    @rule(choice=CHOICES, idle=st.sampled_from([100.0, 400.0, 3000.0]))
    def set_timeouts(self, choice: int, idle: float) -> None:
        target = self.some(choice)
        if target is not None and target.is_live(self.now):
            for manager, session_id in zip(self.managers, target.ids, strict=True):
                with manager.session(session_id) as session:
                    session.set_timeouts(idle=idle)
            target.use(self.now)
            target.idle, target.touch = idle, min(50.0, idle / 10)

    @rule(choice=CHOICES, by_handle=st.booleans())
    def end(self, choice: int, by_handle: bool) -> None:
        target = self.some(choice)
        if target is not None:
            ids = [Handle(made.partition(".")[0]) if by_handle else made for made in target.ids]
            self.both(lambda manager, at: manager.end_session(ids[at]))
            target.ended = True

    @rule(user=USERS, keep=CHOICES | st.none())
    def end_user(self, user: str, keep: int | None) -> None:
        kept = None if keep is None else self.some(keep)
        self.both(lambda manager, at: manager.end_user_sessions(user, keep=kept.ids[at] if kept is not None else None))
        for session in self.sessions:
            if session.user == user and session is not kept:
                session.ended = True

    @rule(idle_for=st.sampled_from([0, 60, 500]))
    def end_idle(self, idle_for: int) -> None:
        self.both(lambda manager, at: manager.end_sessions(idle_for=idle_for))
        for session in self.sessions:
            if session.accessed <= self.now - idle_for:
                session.ended = True

    @rule(seconds=st.sampled_from([0.5, 10, 49.5, 50, 90, 400, 1000, 1050, 4000]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def purge(self) -> None:
        self.both(lambda manager, at: manager.purge_expired())

    @rule()
    def reopen(self) -> None:
        """As in another process; the old one lives on for the blocks that are open in it, or is gone."""
        if self.open_blocks:
            self.retired.append(self.managers[1])
        else:
            self.managers[1].close()
        self.stores[1] = open_store(self.url)
        self.managers[1] = self._manager(self.stores[1])

    # --- What always holds -------------------------------------------------------------------------------------------

    @invariant()
    def both_are_as_the_model(self) -> None:
        for at, manager in enumerate(self.managers):
            listed = {str(summary.handle): summary for summary in manager.list_sessions()}
            live = {session.ids[at].partition(".")[0]: session for session in self.live()}
            assert listed.keys() == live.keys()
            for handle, session in live.items():
                summary = listed[handle]
                assert (summary.user_id, summary.created_at) == (session.user, session.created)
                assert summary.last_accessed_at == session.accessed
                assert summary.expires_at == min(session.accessed + session.idle + session.touch, session.ends_at)
                assert shape(manager.get_session(Handle(handle))) == shape(session.fields)
            for user in ("ada", "bob"):
                mine = {session.ids[at].partition(".")[0] for session in self.live(user)}
                assert {summary.handle for summary in manager.list_sessions(user)} == mine
                assert len(mine) <= 3

    @invariant()
    def nothing_dead_is_served(self) -> None:
        for session in self.sessions[-6:]:
            for at, manager in enumerate(self.managers):
                assert manager.is_session_active(session.ids[at]) == session.is_live(self.now)
                assert not any(manager.is_session_active(old[at]) for old in session.old_ids[-3:])

    def teardown(self) -> None:
        self.clock.advance(100_000)
        self.both(lambda manager, at: manager.purge_expired())
        told: list[Counter[Any]] = []
        for at, manager in enumerate(self.managers):
            names = {session.ids[at].partition(".")[0]: number for number, session in enumerate(self.sessions)}
            _, found = manager.changes(0, 10_000)
            told.append(Counter((change.kind, names[change.handle], change.user_id, change.reason) for change in found))
            assert len({change.id for change in found}) == len(found)
            ended = Counter(change.handle for change in found if change.kind == "ended")
            assert ended == dict.fromkeys(names, 1)
            assert manager.stats().sessions == 0
            manager.close()
        assert told[0] == told[1]
        for manager in self.retired:
            manager.close()
        shutil.rmtree(self.folder)


class BesideValkey(SideBySide):
    """The same on a Valkey server."""

    server: ClassVar[Valkey]

    def place(self) -> str:
        return self.server.url(prefix=fresh_prefix(), clock="caller", deadline=10)


class BesideCluster(BesideValkey):
    """The same on a cluster of three."""


class BesidePostgres(SideBySide):
    """The same on a PostgreSQL server."""

    server: ClassVar[Any]

    def place(self) -> str:
        return self.server.url(schema=fresh_prefix(), clock="caller", deadline=10)


@pytest.fixture(autouse=True, scope="module")
def _servers(valkey: Valkey, valkey_cluster: Any, postgres: Any) -> None:
    BesideValkey.server, BesideCluster.server, BesidePostgres.server = valkey, valkey_cluster, postgres


def _examples(machine: type[SideBySide], count: int) -> Any:
    case = machine.TestCase
    case.settings = settings(
        max_examples=count, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    return case


TestSideBySide = _examples(SideBySide, 80)
TestBesideValkey = _examples(BesideValkey, 80)
TestBesideCluster = _examples(BesideCluster, 40)
TestBesidePostgres = _examples(BesidePostgres, 40)


def test_the_model_is_independent() -> None:
    """The machine's own dict would notice: a session whose stored fields differ from it fails the machine."""
    machine = SideBySide()
    machine.create("ada", {"a": [1]})
    machine.both_are_as_the_model()
    machine.sessions[0].fields = copy.deepcopy({"a": [1.0]})
    with pytest.raises(AssertionError):
        machine.both_are_as_the_model()
    machine.sessions[0].fields = {"a": [1]}
    machine.teardown()
