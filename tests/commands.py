"""The command line, run in this process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sojourn.cli import main

__all__ = ["Ran", "interruptible", "runner"]


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def runner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs commands, with no store in the environment."""
    monkeypatch.delenv("SOJOURN_STORE", raising=False)

    def run(*argv: str) -> Ran:
        try:
            code = main(list(argv))
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        return Ran(code, *capsys.readouterr())

    return run


def interruptible() -> None:
    """In a child, before it begins: an interrupt reaches it, also where whoever runs the tests ignores them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
