"""Interactive states: nothing that was acknowledged is lost, by a kill, by turns, or by many at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from random import Random
from typing import Any

import pytest
from children import Child

from sojourn import SafeSessionState, SessionManager, SessionState
from sojourn.state import WidgetMetadata, script_run, widget_id
from worlds import PATIENT

WRITES, MOST = 1000, 20_000
TURNS = 20
THREADS, SECONDS = 16, 10.0
BEGINNING = {"count": 0, "list": [], "levels": []}


# --- Kills -----------------------------------------------------------------------------------------------------------


def _kill_in_the_middle(url: str, seed: int) -> None:
    with SessionManager(url, config=PATIENT) as sessions:
        session_id = sessions.create_session(data=BEGINNING)
    with Child("state_writes", url, session_id, MOST) as child:  # it may get far before it is killed
        child.expect("ready")
        child.say()
        until = Random(seed).randrange(WRITES // 5, WRITES * 4 // 5)
        for number in range(1, until + 1):
            child.expect(str(number))
        os.kill(child.pid, signal.SIGKILL)
        assert child.process.stdout is not None
        acknowledged = until + len([line for line in child.process.stdout if line.endswith("\n")])
    assert until <= acknowledged < MOST
    with SessionManager(url, config=PATIENT) as sessions:
        state = SessionState(session_id, sessions)
        found = state.data
        for number in range(1, acknowledged + 1):
            if number % 4 in (0, 1):
                assert found[f"key{number}"] == number
        runs = [number for number in range(1, acknowledged + 1) if number % 4 == 3]
        counts = len([number for number in range(1, acknowledged + 1) if number % 4 == 2])
        assert found["levels"][: len(runs)] == runs
        assert found["level"] == found["levels"][-1] >= runs[-1]
        assert counts <= found["count"] <= counts + 1  # that which was under way may have been made


def test_a_killed_state_loses_nothing(url: str) -> None:
    """A process is killed in the middle of 1,000 writes to its state, of keys, updates and widgets: the next process
    finds every one that was acknowledged."""
    _kill_in_the_middle(url, seed=1)


@pytest.mark.battery
@pytest.mark.parametrize("seed", range(2, 6))
def test_four_more_killed_states_lose_nothing(url: str, seed: int) -> None:
    """The same, killed at other moments."""
    _kill_in_the_middle(url, seed)


# --- Two processes ---------------------------------------------------------------------------------------------------


def test_two_processes_by_turns_lose_nothing(url: str) -> None:
    """Two processes read and write one state by turns, keys, a list and a widget: each goes on from where the other
    stopped."""
    with SessionManager(url, config=PATIENT) as sessions:
        state = SessionState(sessions.create_session(data=BEGINNING), sessions)
        with (
            Child("state_takes_turns", url, state.session_id, "a") as one,
            Child("state_takes_turns", url, state.session_id, "b") as two,
        ):
            one.expect("ready")
            two.expect("ready")
            one.say()
            two.say()
            for turn in range(TURNS):
                for at, child in enumerate((one, two)):
                    child.say(turn)
                    child.expect(f"{2 * turn + at} {2 * turn + at}")
            for child in (one, two):
                child.say("end")
                child.finish()
        found = state.data
    names = [f"{name}{turn}" for turn in range(TURNS) for name in "ab"]
    assert found["count"] == found["level"] == 2 * TURNS
    assert found["list"] == names
    assert {name: found[name] for name in names} == {name: name[1:] for name in names}


def test_two_processes_at_once_lose_nothing(url: str) -> None:
    """Two processes add to one state at the same time, as fast as they can: all of it is there."""
    with SessionManager(url, config=PATIENT) as sessions:
        state = SessionState(sessions.create_session(data=BEGINNING), sessions)
        with (
            Child("state_adds", url, state.session_id, "a", 100) as one,
            Child("state_adds", url, state.session_id, "b", 100) as two,
        ):
            for child in (one, two):
                child.expect("ready")
            for child in (one, two):
                child.say()
            for child in (one, two):
                child.expect("done")
                child.finish()
        found = state.data
    names = {f"{name}{number}" for number in range(100) for name in "ab"}
    assert found["count"] == 200
    assert sorted(found["list"]) == sorted(names)
    assert names <= found.keys()


# --- Threads ---------------------------------------------------------------------------------------------------------


def _one_more(count: int) -> int:
    time.sleep(0)  # the moment at which another thread would come in
    return count + 1


class Hammering:
    """Threads that do everything to one state at the same time."""

    def __init__(self, state: Any, *, widgets: bool) -> None:
        self.state = state
        self.widgets = widgets
        self.until = 0.0
        self.updates = [0] * THREADS
        self.failures: list[str] = []

    def run(self, seconds: float) -> None:
        """For so long. A watchdog fails if a thread hangs."""
        SafeSessionState(self.state)["count"] = 0
        self.until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._work, args=(at,), daemon=True) for at in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.until + 20 - time.monotonic())
        assert not any(thread.is_alive() for thread in threads), "a thread hangs"
        assert self.failures == []
        assert SafeSessionState(self.state)["count"] == sum(self.updates)

    def _work(self, at: int) -> None:
        random = Random(at)
        try:
            while time.monotonic() < self.until:
                self._use(at, random)
        except BaseException as failure:  # whatever it is, it is what the test looks for
            self.failures.append(f"{type(failure).__name__}: {failure}")

    def _use(self, at: int, random: Random) -> None:
        """A view, used for a while and let go."""
        view = SafeSessionState(self.state, lambda: None)
        for _ in range(random.randrange(20)):
            what = random.randrange(6 if self.widgets else 5)
            if what == 0:
                view[f"key{random.randrange(50)}"] = [at]
            elif what == 1:
                view.get(f"key{random.randrange(50)}")
                assert view["count"] >= 0
            elif what == 2:
                repr(view)
                list(view)
                view.maybe_check_serializable()
            elif what == 3:
                view.update("count", _one_more)
                self.updates[at] += 1
            elif what == 4:
                with contextlib.suppress(KeyError):
                    del view[f"key{random.randrange(50)}"]
            else:
                self._script(view, at, random)
        view.disconnect()
        assert view.get("count") is None

    def _script(self, view: SafeSessionState, at: int, random: Random) -> None:
        """A run of a fragment of this thread's own, with a callback that uses the state."""

        def changed() -> None:
            own = SafeSessionState(self.state)  # the view of the run that made the widget has let go by now
            own.update("count", _one_more)
            self.updates[at] += 1
            assert repr(own)

        def make(number: int) -> WidgetMetadata[int]:
            return WidgetMetadata(
                widget_id(f"{at}-{number}".replace("-", "x"), f"widget{at}x{number}"),
                lambda sent: sent or 0,
                int,
                "int_value",
                callback=changed,
                fragment_id=str(at),
            )

        made = [make(number) for number in range(random.randrange(1, 4))]
        with script_run(fragment_ids=(str(at),)) as run:
            view.on_script_will_rerun({metadata.id: random.randrange(3) for metadata in made})
            for metadata in made:
                view.register_widget(metadata, metadata.id.split("-", 2)[-1])
            view.get_widget_states()
            with view.query_params() as params:
                params["at"] = str(at)
                assert params["at"] == str(at)
            view.on_script_finished(run.widget_ids)


@pytest.fixture(autouse=True)
def _often() -> Any:
    """Threads take turns a hundred times as often as they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


KINDS = {"plain": SessionState, "bound": SessionState.create, "mapping": dict}


@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_do_everything_at_once(kind: str) -> None:
    """16 threads read, write, update, print, run fragments with callbacks and disconnect, on one state: nothing raises,
    nothing hangs, and no update is lost."""
    Hammering(KINDS[kind](), widgets=kind != "mapping").run(1.0)


@pytest.mark.battery
def test_threads_that_do_everything_for_ten_seconds() -> None:
    """The same, for ten seconds."""
    Hammering(SessionState(), widgets=True).run(SECONDS)
