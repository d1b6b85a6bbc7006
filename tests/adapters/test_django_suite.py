"""Django's own tests of its sessions pass with Sojourn's engine and middleware in the place of Django's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sojourn
from foreign import source_of

TOO_LATE = "a save that comes too late raises nothing, or Django would answer 400; nothing comes back all the same"
TABLE = "it looks for the session in a table of Django's database"
PARSED = "it puts the cookie into request.COOKIES, and the middleware reads the header as it came"
STALE = f"{PARSED}; and it shows an id of no session, for which Sojourn leaves the cookie alone"

CANNOT_APPLY = {
    "Engine.test_session_save_does_not_resurrect_session_logged_out_in_other_context": TOO_LATE,
    "Engine.test_session_asave_does_not_resurrect_session_logged_out_in_other_context": TOO_LATE,
    "TimeZoneEngine.test_session_save_does_not_resurrect_session_logged_out_in_other_context": TOO_LATE,
    "TimeZoneEngine.test_session_asave_does_not_resurrect_session_logged_out_in_other_context": TOO_LATE,
    "DjangosMiddleware.test_empty_session_saved": TABLE,
    "OwnMiddleware.test_empty_session_saved": TABLE,
    "OwnMiddleware.test_session_update_error_redirect": TOO_LATE,
    "OwnMiddleware.test_session_delete_on_end": STALE,
    "OwnMiddleware.test_session_delete_on_end_with_custom_domain_and_path": STALE,
    "OwnMiddleware.test_save_every_request_with_non_empty_session_renews_session_cookie": PARSED,
}
"""The tests that cannot apply, and why."""


AGAIN = "signing in again gets the same user another id, too, as every sign-in does"
ANOTHER = "it is about another engine, which it chooses, and Sojourn's middleware is for its own"

SIGNING_IN_CANNOT_APPLY = {
    "auth_tests.test_views.LoginTest.test_session_key_flushed_on_login_after_password_change": AGAIN,
    "test_client.ClientTest.test_logout_cookie_sessions": ANOTHER,
    "test_client.ClientTest.test_sessions_app_is_not_installed": ANOTHER,
    "test_client.ClientTest.test_view_with_login_when_sessions_app_is_not_installed": ANOTHER,
}


def run_suite(folder: Path, *labels: str) -> dict[str, str]:
    """What became of each of Django's tests."""
    program = Path(__file__).with_name("django_suite.py")
    command = [sys.executable, str(program), str(source_of("django")), *labels]
    environ = {**os.environ, "PYTHONPATH": str(Path(sojourn.__file__).parent.parent), "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each of Django's tests of sessions."""
    return run_suite(tmp_path_factory.mktemp("suite"), "sessions")


@pytest.mark.parametrize(
    ("group", "tests"),
    [
        ("Engine", 65),  # the engine
        ("TimeZoneEngine", 65),  # the engine, where Django keeps to time zones
        ("DjangosMiddleware", 12),  # the engine, behind Django's own middleware
        ("OwnMiddleware", 12),  # the engine behind Sojourn's middleware
        ("sessions_tests.ClearSessionsCommandTests", 1),
        ("sessions_tests.SessionBaseTests", 13),
    ],
)
def test_django_s_own_tests_pass(outcomes: dict[str, str], group: str, tests: int) -> None:
    """All of Django's tests of the group pass, but those that are listed as not applying, and none of those does."""
    found = {name: outcome for name, outcome in outcomes.items() if name.startswith(f"{group}.")}
    failed = {name for name, outcome in found.items() if outcome != "passed"}
    assert failed == {name for name in CANNOT_APPLY if name.startswith(f"{group}.")}
    assert len(found) >= tests


@pytest.mark.battery
def test_django_s_own_tests_of_signing_in_pass(tmp_path: Path) -> None:
    """Django's tests of ``django.contrib.auth``, of messages, of CSRF protection and of its test client pass with
    Sojourn's engine and middleware, but for what is listed as not applying."""
    found = run_suite(tmp_path, "auth_tests", "messages_tests", "csrf_tests", "test_client")
    failed = {name for name, outcome in found.items() if outcome not in ("passed", "skipped")}
    assert failed == set(SIGNING_IN_CANNOT_APPLY)
    assert sum(outcome == "passed" for outcome in found.values()) > 1000
