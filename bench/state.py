"""Interactive state: what one use of a thread-safe view takes, a run of 20 widgets, four threads that read; beside
Streamlit's and a dict behind a lock. Then a state that is bound to a stored session, beside `SessionManager`.

Figures of uses are nanoseconds, the loop around them taken off. What is written is another value each time. Keys were
set before the last run began, as most are ("new": in this one).
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from sojourn import SafeSessionState, SessionManager, SessionState
from sojourn.state import script_run

from .report import Section, Table, Verdict, microseconds, times
from .state_views import Ours, OursInRun, Theirs, TheirsInRun, View, messages
from .timing import Samples, in_turns, median

OLD = [f"old{number:03d}" for number in range(100)]
KEYS = [f"key{number:03d}" for number in range(100)]
MISSING = [f"missing{number:03d}" for number in range(100)]
THREADS = 4

FLOOR, THEIRS, THEIRS_IN_RUN = "floor: dict behind a lock", "Streamlit, no run", "Streamlit, in a run"
OURS, OURS_IN_RUN = "Sojourn, no run", "Sojourn, in a run"
VIEWS: dict[str, type[View]] = {
    FLOOR: View,
    THEIRS: Theirs,
    OURS: Ours,
    THEIRS_IN_RUN: TheirsInRun,
    OURS_IN_RUN: OursInRun,
}


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    laps: int
    """Times round the hundred keys in one round of one contender."""
    runs: int
    commits: int


FULL = Effort(rounds=31, laps=100, runs=400, commits=300)
QUICK = Effort(rounds=11, laps=30, runs=60, commits=30)


# --- What is done once for each key, in a loop -----------------------------------------------------------------------


def _nothing(world: View, keys: Iterable[str], start: int) -> None:
    for _ in keys:
        pass


def _item(world: View, keys: Iterable[str], start: int) -> None:
    view = world.view
    for key in keys:
        view[key]


def _get(world: View, keys: Iterable[str], start: int) -> None:
    get = world.view.get if not isinstance(world, Theirs) else world.get
    for key in keys:
        get(key)


def _attribute(world: View, keys: Iterable[str], start: int) -> None:
    view = world.view
    for _ in keys:
        view.old007  # noqa: B018 - it is what is measured


def _contains(world: View, keys: Iterable[str], start: int) -> None:
    view = world.view
    for key in keys:
        key in view  # noqa: B015 - it is what is measured


def _set(world: View, keys: Iterable[str], start: int) -> None:
    view = world.view
    for key in keys:
        start += 1
        view[key] = start


def _update(world: View, keys: Iterable[str], start: int) -> None:
    update = world.view.update if not isinstance(world, Theirs) else world.update
    for key in keys:
        update(key, _one_more)


def _missing_item(world: View, keys: Iterable[str], start: int) -> None:
    view = world.view
    for key in keys:
        try:  # noqa: SIM105 - as one writes it where it is to be quick
            view[key]
        except KeyError:
            pass


def _one_more(count: int) -> int:
    return count + 1


Loop = Callable[[View, Iterable[str], int], None]

USES: dict[str, tuple[Loop, list[str]]] = {
    "item": (_item, OLD),
    "new item": (_item, KEYS),
    "get": (_get, OLD),
    "attribute": (_attribute, OLD),
    "in": (_contains, OLD),
    "set": (_set, KEYS),
    "update": (_update, KEYS),
    "missing item": (_missing_item, MISSING),
    "missing get": (_get, MISSING),
    "missing in": (_contains, MISSING),
}
Uses = dict[str, Samples]
"""By use."""

PRESENT = {"missing item": "item", "missing get": "get", "missing in": "in"}
"""What each use of a missing key is beside."""


# --- The bench -------------------------------------------------------------------------------------------------------


def bench(*, quick: bool) -> Section:
    """Uses, runs, threads, commits."""
    effort = QUICK if quick else FULL
    uses = _uses(effort)
    runs = _runs(effort)
    threads = _threads(effort)
    section = Section("state")
    section.tables = [*_tables_of_uses(uses), _table_of_runs(runs), _table_of_threads(threads)]
    section.verdicts = _verdicts(uses)
    section.figures = {
        "seconds": {name: samples.medians() for name, samples in uses.items()},
        "run_seconds": runs.medians(),
        "threads_seconds": threads.medians(),
    }
    for title, found in _commits(effort).items():
        section.tables.append(_table_of_commits(title, found))
        section.figures[f"commit_seconds, {title}"] = found.medians()
    return section


def _uses(effort: Effort) -> Uses:
    """Seconds of each use of each view, all of them in turns, as a missing key is beside one that is there."""
    worlds = {name: kind(OLD, KEYS) for name, kind in VIEWS.items()}
    for world in worlds.values():
        _check(world)
    done = [0]

    def seconds(world: View, loop: Loop, keys: list[str]) -> float:
        done[0] += len(keys)
        with world.entered():
            started = perf_counter()
            loop(world, keys, done[0])
            return perf_counter() - started

    def one_round(world: View, loop: Loop, keys: list[str]) -> float:
        return (seconds(world, loop, keys) - seconds(world, _nothing, keys)) / len(keys)

    cells = [(use, name) for use in USES for name in VIEWS if (use, name) != ("attribute", FLOOR)]
    turns = {use: keys * effort.laps for use, (_, keys) in USES.items()}
    samples = in_turns(
        effort.rounds,
        {f"{use}, {name}": partial(one_round, worlds[name], USES[use][0], turns[use]) for use, name in cells},
    )
    return {use: Samples({name: samples[f"{use}, {name}"] for one, name in cells if one == use}) for use in USES}


def _check(world: View) -> None:
    """Assert that a view does what is measured."""
    with world.entered():
        world.view["mine"] = 1
        assert (world.view["mine"], world.get("mine"), "mine" in world.view) == (1, 1, True)
        assert (world.update("mine", _one_more), world.view["mine"]) == (2, 2)
        del world.view["mine"]
        assert ("mine" in world.view, world.get("mine")) == (False, None)


def _runs(effort: Effort) -> Samples:
    """Seconds a run of 20 widgets, one of which the visitor has changed."""
    sent = messages(effort.runs)
    worlds = {THEIRS_IN_RUN: TheirsInRun(OLD, KEYS), OURS_IN_RUN: OursInRun(OLD, KEYS)}

    def one_round(world: Any) -> float:
        with world.entered():
            started = perf_counter()
            for states in sent:
                world.whole_run(states)
            seconds = (perf_counter() - started) / len(sent)
            last = (len(sent) - 1) % len(world.metadata)
            seen = world.view[f"widget{last}"]
            assert seen == (f"text {len(sent) - 1}" if last % 2 else len(sent) - 1), "a run lost a value"
        return seconds

    return in_turns(effort.rounds, {name: partial(one_round, world) for name, world in worlds.items()})


def _threads(effort: Effort) -> Samples:
    """Seconds a read while four threads read: one over their throughput."""
    turns = OLD * effort.laps

    def one_round(world: View) -> float:
        ready = threading.Barrier(THREADS + 1)

        def read() -> None:
            ready.wait()
            _item(world, turns, 0)

        readers = [threading.Thread(target=read) for _ in range(THREADS)]
        for reader in readers:
            reader.start()
        ready.wait()
        started = perf_counter()
        for reader in readers:
            reader.join()
        return (perf_counter() - started) / len(turns) / THREADS

    worlds = {name: VIEWS[name](OLD, KEYS) for name in (FLOOR, THEIRS, OURS)}
    return in_turns(max(5, effort.rounds // 3), {name: partial(one_round, world) for name, world in worlds.items()})


# --- A state that is bound to a stored session -----------------------------------------------------------------------


BOUND = {
    "Sojourn, set": "a bound state's set",
    "Sojourn, update": "a bound state's update",
    "sessions.update": "a manager's update, by session id",
    "sessions.session": "a manager's block: load, set, commit",
    "Sojourn, item, no run": "a read outside of runs: asks the store",
    "Sojourn, item, in a run": "a read within a run: asks nobody",
}


def _commits(effort: Effort) -> dict[str, Samples]:
    """Seconds a call, by the title of the store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-bench-")))
        found = {}
        for title, url in (
            ("memory", "memory://"),
            ("SQLite, process", f"sqlite:///{folder}/process.db?durability=process"),
            ("SQLite, power", f"sqlite:///{folder}/power.db"),
        ):
            with SessionManager(url) as sessions:
                found[title] = _commits_on(sessions, effort)
    return found


def _commits_on(sessions: SessionManager, effort: Effort) -> Samples:
    session_id = sessions.create_session(data=dict.fromkeys(KEYS, 0))
    state = SafeSessionState(SessionState(session_id, sessions), lambda: None)
    count, done = effort.commits, [0]

    def block(key: str, value: int) -> None:
        with sessions.session(session_id) as session:
            session[key] = value

    calls: dict[str, Callable[[str, int], Any]] = {
        "Sojourn, set": state.__setitem__,
        "Sojourn, update": lambda key, value: state.update(key, lambda _: value),
        "sessions.update": lambda key, value: sessions.update(session_id, key, lambda _: value),
        "sessions.session": block,
        "Sojourn, item, no run": lambda key, _: state[key],
        "Sojourn, item, in a run": lambda key, _: state[key],
    }

    def one_round(name: str) -> float:
        call, writes = calls[name], "no run" not in name and "in a run" not in name
        done[0] += count
        with ExitStack() as stack:
            if "in a run" in name:
                stack.enter_context(script_run())
            started = perf_counter()
            for number in range(done[0], done[0] + count):
                call(KEYS[number % 100], number)
            seconds = (perf_counter() - started) / count
        number = done[0] + count - 1
        assert not writes or (sessions.get_session(session_id) or {})[KEYS[number % 100]] == number, "a write was lost"
        return seconds

    return in_turns(max(5, effort.rounds // 3), {name: partial(one_round, name) for name in calls})


# --- What is printed -------------------------------------------------------------------------------------------------


def _ns(seconds: float) -> str:
    return f"{seconds * 1e9:,.0f}"


def _tables_of_uses(uses: Uses) -> list[Table]:
    names = list(uses)

    def rows(cell: Callable[[Samples, str], str], who: Iterable[str]) -> list[list[str]]:
        return [[one, *(cell(uses[name], one) if one in uses[name] else "-" for name in names)] for one in who]

    def beside(samples: Samples, one: str) -> str:
        return times(samples.lead(one, THEIRS_IN_RUN if one == OURS_IN_RUN else THEIRS))

    def to_floor(samples: Samples, one: str) -> str:
        return times(samples.lead(FLOOR, one)) if FLOOR in samples else "-"

    absolute = rows(lambda samples, one: _ns(samples.median(one)), VIEWS)
    return [
        Table("one use of a thread-safe view", ["nanoseconds", *names], absolute),
        Table("", ["times as fast as Streamlit's", *names], rows(beside, (OURS, OURS_IN_RUN))),
        Table("", ["times as long as the floor", *names], rows(to_floor, list(VIEWS)[1:])),
    ]


def _table_of_runs(runs: Samples) -> Table:
    rows = [[name, microseconds(runs.median(name)), times(runs.lead(OURS_IN_RUN, name))] for name in runs]
    return Table("a run: begin, 20 widgets, finish", ["", "microseconds", "Sojourn is so many times as fast"], rows)


def _table_of_threads(threads: Samples) -> Table:
    rows = [[name, _ns(threads.median(name)), times(threads.lead(OURS, name))] for name in threads]
    return Table(f"item, {THREADS} threads at once", ["", "ns a read", "Sojourn is so many times as fast"], rows)


def _table_of_commits(title: str, found: Samples) -> Table:
    base = "sessions.update"
    rows = [[name, microseconds(found.median(name)), times(found.lead(name, base)), BOUND[name]] for name in found]
    return Table(f"bound to a session, {title}", ["", "microseconds", f"times as fast as {base}", "what it is"], rows)


def _slower(uses: Uses, missing: str, present: str, name: str) -> float:
    """How many times as long a missing key takes: the median of the ratios within each round."""
    return median(one / other for one, other in zip(uses[missing][name], uses[present][name], strict=True))


def _verdicts(uses: Uses) -> list[Verdict]:
    """What the project wants of the state."""
    verdicts = []
    for name in ("item", "get", "set"):
        for own, other in ((OURS, THEIRS), (OURS_IN_RUN, THEIRS_IN_RUN)):
            lead = uses[name].lead(own, other)
            verdicts.append(Verdict(f"{name}: {own} ahead of Streamlit's", times(lead), lead > 1))
    for missing, present in PRESENT.items():
        for own in (OURS, OURS_IN_RUN):
            slower = {name: _slower(uses, missing, present, name) for name in (own, FLOOR)}
            seen = f"{times(slower[own])} (the floor {times(slower[FLOOR])})"
            verdicts.append(
                Verdict(f"{missing}: {own} no slower than where it is there, to 5%", seen, slower[own] <= 1.05)
            )
    return verdicts
