"""``sojourn dashboard URL``, as a process: what it says, whom it answers, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from gated import Operator
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sojourn import SessionManager
from sojourn.admin.command import PASSWORD_VARIABLE


def command(*words: str, **environment: str) -> subprocess.Popen[str]:
    """The command, begun."""
    known = {name: value for name, value in os.environ.items() if name != PASSWORD_VARIABLE}
    return subprocess.Popen(
        [sys.executable, "-m", "sojourn", "dashboard", *words, "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**known, **environment},
    )


@contextmanager
def running(url: str, *options: str, **environment: str) -> Iterator[dict[str, Any]]:
    """The command, serving; what it said of itself. At the end it was stopped by Ctrl-C, and has said nothing more but
    its audit, whose lines are then in ``said["audit"]``."""
    with command(url, "--json", *options, **environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            said = {**json.loads(line), "process": process.pid, "audit": []}
            yield said
        finally:
            process.send_signal(signal.SIGINT)
            told, complaint = process.communicate(timeout=20)
    assert (process.returncode, told) == (0, "")
    said["audit"] += complaint.splitlines()


@pytest.fixture
def url(tmp_path: Path) -> str:
    where = f"sqlite:///{tmp_path}/sessions.db"
    with SessionManager(where) as manager:
        manager.create_session("ada")
    return where


def test_it_serves_this_machine_and_ends_quietly(url: str) -> None:
    """It says where it is and which password it made up, lets nobody in without, answers to no other name than this
    machine's, and ends with Ctrl-C. A socket that is refused is no error."""
    with running(url) as said:
        assert said["pid"] == said["process"]
        assert len(said["password"]) >= 12
        assert httpx.get(said["url"]).status_code == 401
        assert httpx.get(said["url"], headers={"Host": "shop.example"}).status_code == 403
        with pytest.raises(InvalidStatus) as refused:
            connect(said["url"].replace("http", "ws") + "_live/socket", origin=said["url"].rstrip("/"))  # type: ignore[arg-type]
        assert refused.value.response.status_code == 401
    assert said["audit"] == []


def test_a_password_of_the_environments_is_not_repeated(url: str) -> None:
    """A password that was given is nowhere in what is said; one that is too short is refused."""
    with running(url, **{PASSWORD_VARIABLE: "correct-horse-battery"}) as said:
        assert "password" not in said
    with command(url, **{PASSWORD_VARIABLE: "short"}) as process:
        told, complaint = process.communicate(timeout=20)
    assert (process.returncode, told) == (1, "")
    assert "12 characters" in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize(
    ("where", "why"), [("memory://", "its own process only"), ("sqlite:///nowhere.db", "there is no")]
)
def test_what_cannot_be_shown(where: str, why: str) -> None:
    """A store of another process's memory, and a file that is not there, which is not made: a line says why."""
    with command(where) as process:
        told, complaint = process.communicate(timeout=20)
    assert (process.returncode, told) == (1, "")
    assert why in complaint
    assert complaint.count("\n") == 1


def test_the_audit_is_on_the_terminal(url: str) -> None:
    """Who signs in, or tries to, and what is looked at is told line by line, on the standard error."""
    with running(url) as said:
        ada = Operator(int(said["url"].rstrip("/").rsplit(":", 1)[1]))
        ada.sign_in("not-the-password")
        ada.sign_in(said["password"])
        ada.tab().do("g:nav", "select", "sessions")
    assert [line.split(" ", 2)[2] for line in said["audit"]] == [
        'act operator="operator" what="sign in from 127.0.0.1" outcome="refused"',
        'act operator="operator" what="sign in from 127.0.0.1" outcome="done"',
        'look operator="operator" what="sessions"',
    ]
