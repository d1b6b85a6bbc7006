"""The tests of the state fail where they should: the lock, the places where it yields, and the reset of events, each
spoiled on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import sojourn

ROOT: Final = Path(__file__).parents[2]
SUITE: Final = ("tests/state/test_safe_state.py", "tests/state/test_session_state.py")

SAFE, VALUES, PLACES, STATE = "safe.py", "values.py", "places.py", "session_state.py"
YIELD_THEN_GET: Final = """        self._yield_callback()
        with self._lock:
            value = self._state.find(key)
        if value is MISSING:"""

MUTANTS: Final = {
    "no lock for a read": (SAFE, YIELD_THEN_GET, YIELD_THEN_GET.replace("with self._lock", "if True")),
    "no lock for a write": (
        SAFE,
        "with self._lock:\n            self._state[key] = value",
        "if True:\n            self._state[key] = value",
    ),
    "no lock for an update": (
        SAFE,
        "with self._lock:\n            value: T",
        "if True:\n            value: T",
    ),
    "no lock for repr": (
        SAFE,
        "with self._lock:\n            return repr",
        "if True:\n            return repr",
    ),
    "no lock for the end of a run": (
        SAFE,
        "with self._lock:\n            self._state.on_script_finished",
        "if True:\n            self._state.on_script_finished",
    ),
    "a lock for each view": (SAFE, "state.lock if", "__import__('threading').RLock() if"),
    "a read yields under the lock": (
        SAFE,
        YIELD_THEN_GET,
        """        with self._lock:
            self._yield_callback()
            value = self._state.find(key)
        if value is MISSING:""",
    ),
    "a write yields afterwards": (
        SAFE,
        "        self._yield_callback()\n        with self._lock:\n            self._state[key] = value",
        "        with self._lock:\n            self._state[key] = value\n        self._yield_callback()",
    ),
    "a read does not yield": (SAFE, YIELD_THEN_GET, YIELD_THEN_GET.replace("self._yield_callback()", "pass")),
    "a read yields twice": (
        SAFE,
        YIELD_THEN_GET,
        YIELD_THEN_GET.replace("self._yield_callback()", "self._yield_callback(); self._yield_callback()"),
    ),
    "the end of a run yields": (
        SAFE,
        "with self._lock:\n            self._state.on_script_finished",
        "self._yield_callback()\n        with self._lock:\n            self._state.on_script_finished",
    ),
    "callbacks under the lock": (
        SAFE,
        "        for callback in callbacks:\n            callback()",
        "        with self._lock:\n            [callback() for callback in callbacks]",
    ),
    "events stay after the run": (
        STATE,
        "run = self._current_run()\n        self._places.end_events()",
        "run = self._current_run()",
    ),
    "events stay after a run that was broken off": (
        STATE,
        "        self._places.end_events()\n        self._places.turn()",
        "        self._places.turn()",
    ),
    "events of this run stay": (VALUES, "self.fresh[widget_id] = TRIGGERS", "_ = TRIGGERS"),
    "events that the code made up stay": (PLACES, "self.new.pop(key, None)\n                self.user", "self.user"),
    "events that the code made up before stay": (
        PLACES,
        "self.user.pop(key, None)\n                widgets",
        "widgets",
    ),
    "all values are events": (
        VALUES,
        "metadata is not None and metadata.value_type in TRIGGERS",
        "metadata is not None",
    ),
    "fragments are not exempt": (VALUES, "return not fragments or metadata.fragment_id in fragments", "return True"),
    "values are handed out as they are": (PLACES, "else deepcopy(value)", "else value"),
    "the browser before the code": (
        PLACES,
        "        if key is not None and key in self.new:\n            return self.new[key]\n",
        "",
    ),
}


def _run_suite(folder: Path) -> subprocess.CompletedProcess[str]:
    """The tests of the state, over the package in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *SUITE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _copy(folder: Path) -> Path:
    package = folder / "sojourn"
    shutil.copytree(Path(sojourn.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


@pytest.mark.battery
@pytest.mark.soak
@pytest.mark.parametrize("name", MUTANTS)
def test_the_suite_sees_it(name: str, tmp_path: Path) -> None:
    """With this fault in the package, a test of the state fails."""
    file, right, wrong = MUTANTS[name]
    path = _copy(tmp_path) / "state" / file
    source = path.read_text()
    assert right in source, "the line that is to be spoiled has changed: change it here, too"
    path.write_text(source.replace(right, wrong, 1))
    ran = _run_suite(tmp_path)
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, ran.stdout[-2000:] + ran.stderr[-2000:]


@pytest.mark.battery
def test_the_suite_passes_over_a_copy(tmp_path: Path) -> None:
    """Without a fault, the same tests pass, and it is the copy that they look at."""
    package = _copy(tmp_path)
    ran = _run_suite(tmp_path)
    assert ran.returncode == pytest.ExitCode.OK, ran.stdout[-2000:]
    (package / "state" / "safe.py").write_text("")
    assert _run_suite(tmp_path).returncode != pytest.ExitCode.OK
