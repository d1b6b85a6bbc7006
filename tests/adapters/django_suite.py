"""Django's own tests, with Sojourn switched in, for `test_django_suite`: ``python django_suite.py SOURCE sessions``,
with the unpacked source package of Django, in an empty folder, runs its tests of sessions; ``python django_suite.py
SOURCE auth_tests ...`` runs those of other parts. The last line that it prints is JSON: what became of each test."""

from __future__ import annotations

import json
import sys
import unittest
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import django
from django.conf import settings
from django.test.runner import DiscoverRunner


def run_sessions() -> None:
    """Django's tests of sessions, for Sojourn's engine and its middleware."""
    _configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}},
        INSTALLED_APPS=["django.contrib.sessions", "sessions_tests"],
        SESSION_COOKIE_AGE=1209600,  # Django's default, which its tests expect, and Sojourn takes where it is set
    )
    django.setup()
    warnings.simplefilter("error")
    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    try:
        unittest.TestSuite(_tests()).run(Outcomes(sys.stderr, True, 0))
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()


def run_others(labels: list[str]) -> None:
    """Django's tests of other parts, all of them with Sojourn's sessions."""
    database = {"ENGINE": "django.db.backends.sqlite3"}
    _configure(DATABASES={"default": database, "other": database}, TEST_RUNNER="__main__.Runner")
    import runtests  # Django's own program

    runtests.ALWAYS_MIDDLEWARE[0] = "sojourn.adapters.django.SessionMiddleware"
    runtests.django_tests(0, False, False, False, False, labels, False, 1, None, None, None, None, None, *[False] * 4)


def _configure(**more: Any) -> None:
    settings.configure(
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        SECRET_KEY="for tests",
        SESSION_ENGINE="sojourn.adapters.django",
        SOJOURN={"STORE": f"sqlite:///{Path.cwd()}/sessions.db"},
        USE_TZ=False,
        **more,
    )


def _tests() -> Iterator[unittest.TestSuite]:
    from django.test import TestCase
    from sessions_tests import tests

    from sojourn.adapters.django import SessionMiddleware, SessionStore

    class Engine(tests.SessionTestsMixin, TestCase):  # type: ignore[misc]  # Django is not typed
        backend = SessionStore

    class TimeZoneEngine(Engine):
        def setUp(self) -> None:
            changed = self.settings(USE_TZ=True)
            changed.enable()
            self.addCleanup(changed.disable)
            super().setUp()

    class DjangosMiddleware(tests.SessionMiddlewareTests):  # type: ignore[misc]
        pass

    class OwnMiddleware(tests.SessionMiddlewareTests):  # type: ignore[misc]
        def setUp(self) -> None:
            changed = mock.patch.object(tests, "SessionMiddleware", SessionMiddleware)
            changed.start()
            self.addCleanup(changed.stop)

    for kind in (Engine, TimeZoneEngine, DjangosMiddleware, OwnMiddleware):
        yield unittest.defaultTestLoader.loadTestsFromTestCase(kind)
    for kind in (tests.ClearSessionsCommandTests, tests.SessionBaseTests):
        yield unittest.defaultTestLoader.loadTestsFromTestCase(kind)


class Outcomes(unittest.TextTestResult):
    """What became of each test: "passed", "skipped", or what it raised."""

    found: ClassVar[dict[str, str]] = {}

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.found[_name(test)] = "passed"

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self.found[_name(test)] = repr(error[1])

    def addFailure(self, test: Any, error: Any) -> None:
        super().addFailure(test, error)
        self.found[_name(test)] = repr(error[1])

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self.found[_name(test)] = "skipped"


def _name(test: Any) -> str:
    module = type(test).__module__.removesuffix(".tests").removeprefix("__main__")
    return f"{module}.{type(test).__name__}.{getattr(test, '_testMethodName', test)}".removeprefix(".")


class Runner(DiscoverRunner):  # type: ignore[misc]  # Django is not typed
    """Django's runner, noting outcomes."""

    def get_resultclass(self) -> type[Outcomes]:
        return Outcomes


if __name__ == "__main__":
    source, *labels = sys.argv[1:]
    sys.path.insert(0, f"{source}/tests")
    if labels == ["sessions"]:
        run_sessions()
    else:
        run_others(labels)
    print(json.dumps(Outcomes.found))
