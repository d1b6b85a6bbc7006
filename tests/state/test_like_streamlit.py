"""The same apps in Streamlit's `AppTest`, with Streamlit's state and with Sojourn's in its place: after each step the
same is seen. What is seen: all elements as the browser is told of them, the session's keys, the address, and what
widgets say on the wire, in bytes. Where Streamlit does not do what it means to, there is a test that shows both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from difflib import ndiff
from pathlib import Path
from typing import Any, Final

import pytest
from streamlit_apps import APPS

import sojourn

pytestmark = pytest.mark.battery

HERE: Final = Path(__file__).parent
EQUAL: Final = [name for name, app in APPS.items() if not app.differs]
KINDS: Final = ("streamlit", "sojourn", "stored")
Seen = dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """What was seen after each step of each app."""

    theirs: dict[str, list[Seen]]
    ours: dict[str, list[Seen]]
    stored: dict[str, list[Seen]]
    """With ours, bound to a stored session."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All apps, once with each state, at the same time."""
    folder = tmp_path_factory.mktemp("apps")
    source = str(Path(sojourn.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, HERE / "streamlit_runner.py", kind, folder],
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for kind in KINDS
    ]
    try:
        told = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not any(process.returncode for process in processes), "\n".join(told)
    return Runs(*(json.loads((folder / f"{kind}.json").read_text()) for kind in KINDS))


@pytest.mark.parametrize("name", EQUAL)
def test_same_results(runs: Runs, name: str) -> None:
    """With Sojourn's state, an app shows, keeps and sends the same as with Streamlit's, run after run."""
    _check_same(name, runs.theirs[name], runs.ours[name])


@pytest.mark.parametrize("name", APPS)
def test_same_results_when_stored(runs: Runs, name: str) -> None:
    """Nor is it another thing that is seen when the state is bound to a stored session, which holds after each step
    what the state shows."""
    _check_same(name, runs.ours[name], runs.stored[name])


def _check_same(name: str, theirs: list[Seen], ours: list[Seen]) -> None:
    for number, step in enumerate(APPS[name].steps):
        assert "broke" not in theirs[number], f"before it is compared: {theirs[number]}"
        difference = _difference(theirs[number], ours[number])
        assert not difference, f"{name}, step {number} ({step.name}):\n{difference}"
    assert len(theirs) == len(ours) == len(APPS[name].steps)


def test_there_is_something_to_see(runs: Runs) -> None:
    """There are two dozen apps, with two hundred steps; their widgets, keys, addresses and messages are seen."""
    steps = [seen for name in EQUAL for seen in runs.ours[name]]
    assert len(EQUAL) >= 24
    assert len(steps) >= 200
    for part in ("shown", "state", "address", "sent"):
        assert sum(bool(seen[part]) for seen in steps) > 40, part
    assert len({element[0] for seen in steps for element in seen["shown"]}) >= 25


def _difference(theirs: Seen, ours: Seen) -> str:
    """In lines, those of Streamlit with a minus; empty: there is none."""
    lines = []
    for part in sorted(theirs.keys() | ours.keys()):
        one, other = _lines(theirs.get(part)), _lines(ours.get(part))
        if one != other:
            lines += [f"  {part}:", *(f"    {line}" for line in ndiff(one, other) if not line.startswith(" "))]
    return "\n".join(lines)


def _lines(part: Any) -> list[str]:
    if isinstance(part, dict):
        return [f"{key}: {value!r}" for key, value in sorted(part.items())]
    return [json.dumps(one, sort_keys=True) for one in part] if isinstance(part, list) else [repr(part)]


# --- Where Streamlit does not do what it means to --------------------------------------------------------------------


def _text(seen: Seen) -> tuple[Any, bool]:
    """What the text input holds, and whether the browser is told so."""
    _, message, value = next(element for element in seen["shown"] if element[0] == "text_input")
    return value, message.get("set_value", False)


def _written(seen: Seen) -> str:
    """What the script has written."""
    return next(element[2] for element in seen["shown"] if element[0] in ("markdown", "json"))


def _of(runs: Runs, name: str, step: str, look: Any) -> list[Any]:
    """What is seen after a step, with each of the two."""
    number = next(number for number, one in enumerate(APPS[name].steps) if one.name.startswith(step))
    return [look(runs.theirs[name][number]), look(runs.ours[name][number])]


def test_a_key_that_is_set_while_its_widget_is_away_stays(runs: Runs) -> None:
    """What code sets under the key of a widget that is not shown any more is the code's: it stays, and is what the
    widget shows when it comes back. Streamlit takes it for the widget's, and drops it one run later."""
    name = "set_while_away"
    assert _of(runs, name, "nothing", _written) == ["'nothing'", "'set while it was away'"]
    back = _of(runs, name, "put 'show'", _text)
    assert back == [("''", False), ("'set while it was away'", True)]


def test_a_widget_that_comes_back_with_what_was_set_is_told(runs: Runs) -> None:
    """What was set under a widget's key while it was away is what the browser is told when it comes back. Streamlit
    shows it to the script, and leaves the browser at the default, which then replaces it."""
    assert _of(runs, "set_each_time", "put True", _text) == [("'to begin with'", False), ("'to begin with'", True)]


def test_what_the_state_hands_out_of_a_widget_is_a_copy(runs: Runs) -> None:
    """Who changes the list that ``st.session_state[key]`` gives changes no widget. In Streamlit it is the widget's."""
    assert _of(runs, "changed_in_place", "nothing", lambda seen: seen["state"]["picked"]) == [
        "['a', 'c', 'c']",
        "['a']",
    ]


def test_what_is_set_between_two_runs_is_shown(runs: Runs) -> None:
    """A key that another thread sets between two runs wins over what the browser still has from before, and the browser
    is told. Streamlit forgets it."""
    step = "state text='from outside'"
    assert _of(runs, "set_from_outside", step, _text) == [("'typed'", False), ("'from outside'", True)]


def test_the_browser_is_not_told_what_it_has_just_said(runs: Runs) -> None:
    """When a widget is bound to the address again, only the address is told. Streamlit sends the browser the value that
    it has just sent itself."""
    name, step = "bound_again", "put 'bound'"
    assert _of(runs, name, step, _text) == [("'first'", True), ("'first'", False)]
    assert _of(runs, name, step, lambda seen: seen["address"]) == [{"text": "first"}, {"text": "first"}]


def test_once_a_widget_is_known_its_address_follows(runs: Runs) -> None:
    """Only what is registered for the first time, or come to by back and forward, takes its value from the address;
    later the state has it, and the address is put right. So Streamlit's source says, too; where the browser says
    nothing of the widget, it does the opposite."""
    name, step = "address_of_a_known_widget", "a browser that forgets"
    assert _of(runs, name, step, _text) == [("'by hand'", True), ("'typed'", False)]
    assert _of(runs, name, step, lambda seen: seen["address"]) == [{"text": "by hand"}, {"text": "typed"}]


def test_a_value_that_persists_goes_to_the_next_widget_of_its_key(runs: Runs) -> None:
    """When a widget that persists becomes another one under the same key, that one has its value, from its first run
    on. In Streamlit the script first sees the default, and the value afterwards; the browser is never told."""
    name, step = "persisting_under_another_id", "put 20"
    assert _of(runs, name, step, _written) == ["'`0` `0`'", "'`7` `7`'"]
    assert _of(runs, name, step, lambda seen: seen["state"]["level"]) == ["7", "7"]
    assert _of(runs, name, step, lambda seen: seen["shown"][1][1].get("set_value", False)) == [False, True]
