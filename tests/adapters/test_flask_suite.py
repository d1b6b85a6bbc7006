"""Flask's own tests, all of them, with Sojourn's session interface in the place of Flask's.

They are taken from Flask's source package, at the version that is installed, and run in a folder of their own. What
cannot pass is listed here with the reason; the run shows that nothing else fails, and that each of these does.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from foreign import source_of

_PLUGIN = '''
"""Sojourn's session interface for every application."""

import _pytest.monkeypatch
import flask

from sojourn import SessionConfig, SessionManager
from sojourn.adapters.flask import SojournSessionInterface

if not hasattr(_pytest.monkeypatch, "notset"):  # its name until pytest 9; Flask's tests look for it
    _pytest.monkeypatch.notset = _pytest.monkeypatch.NOTSET

MONTH = 31 * 86400  # as long as Flask's own sessions last
if {switched}:
    config = SessionConfig(idle_timeout=MONTH, absolute_timeout=MONTH)
    flask.Flask.session_interface = SojournSessionInterface(SessionManager(config=config))
'''

_NOT_SIGNED = "Flask's sessions are signed, and there are none without a secret key; Sojourn's need no key"
_SAMESITE = "it wants no SameSite by default; Sojourn always spells it out"
_ONCE = "the cookie of a permanent session is not sent with each response: its age is that of the session as it is"

CANNOT_PASS = {
    "test_basic.py::test_missing_session": _NOT_SIGNED,
    "test_basic.py::test_session_secret_key_fallbacks": _NOT_SIGNED,
    "test_testing.py::test_session_transactions_no_null_sessions": _NOT_SIGNED,
    "test_basic.py::test_session_using_samesite_attribute": _SAMESITE,
    "test_basic.py::test_session_using_session_settings": (
        "it wants the cookie removed with the last field; a session that is empty lives on, as another request may be "
        "putting something in. And it wants Partitioned with SameSite=Lax, which says two things"
    ),
    "test_basic.py::test_session_cookie_setting": _ONCE,
    "test_basic.py::test_session_refresh_vary": _ONCE,
}
"""Tests of sessions that cannot pass, and why."""


def failing(folder: Path, *, switched: bool) -> tuple[set[str], int]:
    """Run Flask's tests, with Sojourn or as they are. Those that fail, and how many pass."""
    (folder / "switch.py").write_text(_PLUGIN.format(switched=switched))
    tests = source_of("flask") / "tests"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "switch", "-p", "no:cacheprovider"]
    command += ["-c", str(folder / "pytest.ini"), "--rootdir", str(tests), "-rfE", "--tb=short", str(tests)]
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings =\n")
    path = [str(folder), *(entry for entry in sys.path if entry)]
    environment = {"PATH": "", "PYTHONPATH": ":".join(path), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed, ran.stdout + ran.stderr
    found = re.findall(r"^(?:FAILED|ERROR) (?:\S*/)?(test_\w+\.py::\S+)", ran.stdout, re.MULTILINE)
    assert len(found) == sum(int(count) for count in re.findall(r"(\d+) (?:failed|error)", ran.stdout)), ran.stdout
    return set(found), int(passed[1])


def test_flasks_own_tests_pass(tmp_path: Path) -> None:
    """With Sojourn in the place of its own sessions, Flask's tests pass as without, but for those listed."""
    before, many = failing(tmp_path, switched=False)
    after, passed = failing(tmp_path, switched=True)
    assert after - before == set(CANNOT_PASS)
    assert before <= after
    assert passed == many - len(CANNOT_PASS)
    assert passed > 450
