"""Listeners: each fact is delivered at least once, to one process of the fleet or to each, whatever becomes of them, on
each store and in both worlds."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import Counter
from typing import Any

import pytest
from places import Place

from sojourn import AsyncSessionManager, Change, ConfigurationError, SessionConfig, SessionManager
from sojourn.listeners import Listeners
from worlds import PATIENT


class Log:
    """What listeners were told; as a listener, by the name of a process."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Change]] = []
        self.lock = threading.Lock()

    def of(self, process: str, *, fail: int = 0) -> Any:
        left = [fail]

        def listener(change: Change) -> None:
            with self.lock:
                if left[0]:
                    left[0] -= 1
                    raise ValueError("no mail today")
                self.told.append((process, change))

        return listener

    def handles(self, process: str | None = None) -> list[str]:
        return [change.handle for name, change in self.told if process in (None, name)]


async def test_each_fact_is_delivered_once_in_the_fleet(place: Place) -> None:
    """Of all processes that listen, one is told of each fact, and every fact is told, in order for each session."""
    log, fleet = Log(), [place.sessions() for _ in range(3)]
    for number, sessions in enumerate(fleet):
        sessions.on_created(log.of(str(number)), name="mail")
        sessions.on_ended(log.of(str(number)), name="mail")
        sessions.start_listeners()
    await _begun(place, *fleet)
    ids = [await fleet[number % 3].create_session(f"user {number}") for number in range(30)]
    for session_id in ids:
        await fleet[0].end_session(session_id)
    await place.world.until(lambda: len(log.told) >= 60)
    assert Counter(change.id for _, change in log.told) == {
        f"{session_id.split('.')[0]}:{kind}": 1 for session_id in ids for kind in ("created", "ended")
    }


async def test_each_process_is_told_where_it_asks_for_that(place: Place) -> None:
    """With ``deliver="each"`` every process is told of every fact since it began to listen."""
    log, (one, other) = Log(), (place.sessions(), place.sessions())
    early = await one.create_session()
    one.on_ended(log.of("one"), deliver="each")
    other.on_ended(deliver="each")(log.of("other"))
    first = await one.create_session()  # this begins to listen in one
    await one.end_session(first)
    other.start_listeners()
    await _begun(place, one, other)
    await one.end_session(early)
    for process in ("one", "other"):
        await place.world.until(lambda process=process: early.split(".")[0] in log.handles(process))
    assert log.handles("other") == [early.split(".")[0]]
    assert log.handles("one") == [first.split(".")[0], early.split(".")[0]]


@pytest.mark.parametrize("deliver", ["once", "each"])
async def test_what_the_first_operation_brings_about_is_told(
    place: Place, deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listening begins with the first operation, however late the work for it does: what that brings about is told,
    and nothing that was before. So it is for a listener that is added later."""
    late = Listeners._deliver

    async def delivered(listeners: Listeners, reader: Any, shift: object) -> None:
        await place.pause(0.2)
        await late(listeners, reader, shift)

    monkeypatch.setattr(Listeners, "_deliver", delivered)
    log, sessions = Log(), place.sessions()
    await place.sessions().create_session()
    sessions.on_created(log.of("first"), deliver=deliver)
    ids = [(await sessions.create_session()).split(".")[0]]
    await place.world.until(lambda: log.handles("first") == ids)
    sessions.on_created(log.of("second"), deliver=deliver, name="another")
    ids.append((await sessions.create_session()).split(".")[0])
    await place.world.until(lambda: len(log.told) >= 3)  # of the same fact either may be told first
    assert log.handles("second") == ids[1:]
    assert log.handles("first") == ids


async def test_what_happened_while_nobody_listened_is_delivered(place: Place) -> None:
    """A listener of the whole fleet goes on where the last process left off; a new one begins now."""
    log, here = Log(), place.sessions()
    before = await here.create_session()
    first = place.sessions()
    first.on_created(log.of("first"), name="mail")
    first.start_listeners()
    await _begun(place, first)
    await first.stop_listeners()
    missed = [await here.create_session() for _ in range(5)]
    second = place.sessions()
    second.on_created(log.of("second"), name="mail")
    second.start_listeners()
    await place.world.until(lambda: len(log.told) >= 5)
    assert log.handles() == [session_id.split(".")[0] for session_id in missed]
    assert before.split(".")[0] not in log.handles()


async def test_a_listener_that_began_with_an_empty_store_goes_on_there(place: Place) -> None:
    """A listener of the whole fleet that began before anything had happened, and was stopped, is told of what has
    happened since, in whatever process it begins again; one under another name begins there."""
    log, here, first, second = Log(), *(place.sessions() for _ in range(3))
    first.on_created(log.of("first"), name="mail")
    first.start_listeners()
    await _begun(place, first)
    await first.stop_listeners()
    missed = [await here.create_session() for _ in range(3)]
    second.on_created(log.of("mail"), name="mail")
    second.on_created(log.of("new"), name="new")
    ids = [*missed, await second.create_session()]
    await place.world.until(lambda: len(log.told) >= 5)
    assert log.handles("mail") == [session_id.split(".")[0] for session_id in ids]
    assert log.handles("new") == [ids[-1].split(".")[0]]


async def test_listening_can_be_stopped(place: Place) -> None:
    """After `stop_listeners` none is called, whatever the manager does; `start_listeners` goes on where they were."""
    log, sessions = Log(), place.sessions()
    sessions.on_created(log.of("here"), name="mail")
    sessions.start_listeners()
    await _begun(place, sessions)
    await sessions.stop_listeners()
    session_id = await sessions.create_session()
    await place.pause(1.5)
    assert log.told == []
    sessions.start_listeners()
    await place.world.until(lambda: log.handles() == [session_id.split(".")[0]])


async def test_a_listener_that_fails_is_called_again(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What a listener raises is logged, and it is called again, three times in all; then the fact is counted as
    undelivered, and the next one comes. Other listeners are not held up for good."""
    log, sessions = Log(), place.sessions()
    sessions.on_created(log.of("twice", fail=2), name="twice")
    sessions.on_created(log.of("thrice", fail=3), name="thrice")
    sessions.start_listeners()
    await _begun(place, sessions)
    with caplog.at_level(logging.WARNING, "sojourn"):
        ids = [await sessions.create_session() for _ in range(2)]
        await place.world.until(lambda: len(log.told) >= 3)
    first, second = (session_id.split(".")[0] for session_id in ids)
    assert log.handles("twice") == [first, second]
    assert log.handles("thrice") == [second]
    assert sessions.counts["undelivered"] == 1
    assert "no mail today" in caplog.text


async def test_listeners_may_be_asynchronous(place: Place) -> None:
    """An ``async`` function is awaited, in both worlds."""
    told, sessions = [], place.sessions()

    @sessions.on_ended
    async def listen(change: Change) -> None:
        await asyncio.sleep(0.01)
        told.append(change.reason)

    session_id = await sessions.create_session()
    await _begun(place, sessions)
    await sessions.end_session(session_id)
    await place.world.until(lambda: told == ["ended"])


async def test_every_kind_has_its_listener(place: Place) -> None:
    """There are listeners for sessions that are created, rotated, ended, for what was overwritten, and, where the
    history tells of it, for fields that changed."""
    log, sessions = Log(), place.sessions(config=SessionConfig(record_changes=True, deadline=10))
    for kind in ("created", "changed", "rotated", "overwritten", "ended"):
        getattr(sessions, f"on_{kind}")(log.of(kind))
    sessions.start_listeners()
    await _begun(place, sessions)
    session_id = await sessions.create_session(data={"n": 0})
    async with sessions.session(session_id) as outer:
        outer["n"] = 1
        async with sessions.session(session_id) as inner:
            inner["n"] = 2
    await sessions.end_session(await sessions.rotate(session_id))
    await place.world.until(lambda: len(log.told) >= 6)
    assert Counter(process for process, _ in log.told) == Counter(change.kind for _, change in log.told)
    assert Counter(change.kind for _, change in log.told) == {
        "created": 1, "changed": 2, "overwritten": 1, "rotated": 1, "ended": 1,
    }  # fmt: skip
    plain = place.sessions()
    with pytest.raises(ConfigurationError, match="record_changes"):
        plain.on_changed(log.of("never"))


async def test_what_expires_is_delivered(place: Place) -> None:
    """Expired sessions are told once, though nobody looked for them and no cleaner runs."""
    log = Log()
    config = SessionConfig(idle_timeout=0.2, cleanup_interval=0.5, deadline=10)
    fleet = [place.sessions(config=config) for _ in range(2)]
    for number, sessions in enumerate(fleet):
        sessions.on_ended(log.of(str(number)), name="mail")
        sessions.start_listeners()
    await _begun(place, *fleet)
    ids = [await fleet[0].create_session() for _ in range(10)]
    await place.world.until(lambda: len(log.told) >= 10)
    await place.pause(0.5)
    assert Counter(log.handles()) == {session_id.split(".")[0]: 1 for session_id in ids}
    assert {change.reason for _, change in log.told} == {"expired"}


def test_listeners_need_names_of_their_own() -> None:
    """Two listeners of the fleet under one name would share their place in the history: refused, as is a way of
    delivery that there is not."""
    with SessionManager() as sessions:
        sessions.on_created(print)
        with pytest.raises(ConfigurationError, match="name="):
            sessions.on_created(print)
        sessions.on_created(print, name="another")
        sessions.on_ended(print)
        sessions.on_created(print, deliver="each")
        with pytest.raises(ConfigurationError, match="deliver"):
            sessions.on_created(print, deliver="twice")  # type: ignore[arg-type]


def test_listening_goes_on_in_another_event_loop(tmp_path: Any) -> None:
    """A manager that is used in one event loop after another, without being closed, calls its listeners in each."""
    told: list[str] = []
    sessions = AsyncSessionManager(f"sqlite:///{tmp_path}/sessions.db", config=PATIENT)
    sessions.on_created(lambda change: told.append(change.handle), deliver="each")

    async def create(expected: int) -> None:
        await sessions.create_session()
        while len(told) < expected:
            await asyncio.sleep(0.01)

    for number in (1, 2):
        asyncio.run(asyncio.wait_for(create(number), 10))
    asyncio.run(sessions.close())


def test_a_forked_child_listens_by_itself(tmp_path: Any) -> None:
    """Listeners that were added before a fork are called in the child, too, from its first operation on."""
    sessions = SessionManager(f"sqlite:///{tmp_path}/sessions.db", config=PATIENT)
    reader, writer = os.pipe()
    sessions.on_ended(lambda change: os.write(writer, change.handle.encode()), deliver="each")
    sessions.end_session(sessions.create_session())
    assert len(os.read(reader, 100)) == 22
    pid = os.fork()
    if not pid:
        status = 1
        try:
            session_id = sessions.create_session()
            sessions.end_session(session_id)
            os.write(writer, b"" if os.read(reader, 100).decode() == session_id.split(".")[0] else b"wrong")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    sessions.close()


async def _begun(place: Place, *fleet: Any) -> None:
    """The listeners of these processes know where they begin."""
    for sessions in fleet:
        await place.world.until(
            lambda sessions=sessions: all(one.position is not None for one in sessions.engine._listening._readers)
        )
