"""The command line: its documents, its tables, its exit codes, and that it gives no secret away."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

import pytest

from commands import Ran, runner
from servers import postgres
from sojourn import SessionConfig, SessionManager, codec, register
from sojourn.cli import humane
from sojourn.cli.inspecting import plain
from sojourn.cli.parsing import put_in_order


class Shop:
    """A SQLite store with two users in it: ada on two devices, bob on one."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sessions.db"
        self.url = f"sqlite:///{self.file}"
        self.sessions = SessionManager(self.url)
        data = {"cart": {"items": ["apple", "pear"]}, "visits": 3}
        self.ids = [
            self.sessions.create_session("ada", data, label="Firefox on Linux"),
            self.sessions.create_session("ada", {"theme": "dark"}, label="Safari on iPhone"),
            self.sessions.create_session("bob", {}),
        ]
        self.handles = [session_id.split(".")[0] for session_id in self.ids]

    @property
    def secrets(self) -> list[str]:
        return [session_id.split(".")[1] for session_id in self.ids]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.sessions.close()


@pytest.fixture
def sojourn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command line in this process."""
    return runner(capsys, monkeypatch)


def without(module: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where a module is not installed."""
    program = f"import sys; sys.modules[{module!r}] = None; from sojourn.__main__ import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, timeout=30)


# --- Documents ---------------------------------------------------------------------------------------------------


def test_list_document(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`list --json` is one document with the documented keys."""
    ran = sojourn("list", shop.url, "--json")
    document = ran.document
    assert (ran.code, ran.err) == (0, "")
    assert document.keys() == {"store", "sessions", "more"}
    assert document["more"] is False
    assert sorted(row["handle"] for row in document["sessions"]) == sorted(shop.handles)
    assert all(
        row.keys() == {"handle", "user_id", "label", "created_at", "last_accessed_at", "expires_at", "size"}
        for row in document["sessions"]
    )


def test_list_of_a_user(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`list --user` shows that user's sessions and no others."""
    rows = sojourn("list", shop.url, "--user", "ada", "--json").document["sessions"]
    assert {row["handle"] for row in rows} == set(shop.handles[:2])


def test_list_pages(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`--limit` says that there is more, and `--after` goes on from there until there is not."""
    first = sojourn("list", shop.url, "--limit", "2", "--json").document
    last = first["sessions"][-1]["handle"]
    second = sojourn("list", shop.url, f"--after={last}", "--limit=2", "--json").document
    assert (first["more"], second["more"]) == (True, False)
    found = [row["handle"] for row in (*first["sessions"], *second["sessions"])]
    assert found == sorted(shop.handles)


def test_show_document(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`show --json` has the metadata, and each field with its type, size and value."""
    document = sojourn("show", shop.url, shop.handles[0], "--json").document
    assert document["handle"] == shop.handles[0]
    assert (document["user_id"], document["label"], document["persistent"]) == ("ada", "Firefox on Linux", False)
    assert document["created_at"] <= document["last_accessed_at"] < document["expires_at"] < document["ends_at"]
    fields = {field["name"]: field for field in document["fields"]}
    assert fields["cart"]["value"] == {"items": ["apple", "pear"]}
    assert (fields["visits"]["type"], fields["visits"]["value"], fields["visits"]["size"]) == ("int", 3, 1)
    assert fields["visits"]["problem"] is None


def test_end(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`end` ends one session for good, and says that there is none the second time."""
    ended = sojourn("end", shop.url, shop.handles[0], "--json")
    assert ended.document == {"store": shop.url, "handle": shop.handles[0], "ended": True, "reason": "revoked"}
    assert [shop.sessions.is_session_active(session_id) for session_id in shop.ids] == [False, True, True]
    again = sojourn("end", shop.url, shop.handles[0], "--json")
    assert (again.code, again.out) == (1, "")
    assert again.err == "sojourn: no such session: it is unknown, ended or expired\n"


def test_end_of_a_damaged_session(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """A record that fails its check is not shown, is told in a line, and can be ended."""
    with sqlite3.connect(shop.file) as connection:
        connection.execute("UPDATE session SET body = ? WHERE handle = ?", (b"garbage", shop.handles[0]))
    connection.close()
    shown = sojourn("show", shop.url, shop.handles[0])
    assert (shown.code, shown.out, shown.err.count("\n")) == (1, "", 1)
    assert "damaged" in shown.err
    assert sojourn("end", shop.url, shop.handles[0]).code == 0
    assert sojourn("list", shop.url, "--json").document["sessions"][0]["handle"] != shop.handles[0]


def test_end_user(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`end-user` ends all sessions of a user and no others."""
    document = sojourn("end-user", shop.url, "ada", "--json").document
    assert document == {"store": shop.url, "user_id": "ada", "ended": 2}
    assert [shop.sessions.is_session_active(session_id) for session_id in shop.ids] == [False, False, True]


def test_migrate(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`migrate` says which version the tables have; a store without tables has nothing to migrate."""
    assert sojourn("migrate", shop.url, "--json").document == {"store": shop.url, "schema": 3}
    assert "version 3" in sojourn("migrate", shop.url).out
    refused = sojourn("migrate", "memory://")
    assert (refused.code, refused.out) == (2, "")
    assert "nothing to migrate" in refused.err


def test_migrate_makes_the_tables_of_postgresql(sojourn: Callable[..., Ran]) -> None:
    """On a server `migrate` makes the tables where there are none."""
    with postgres.fresh() as database:
        assert sojourn("migrate", database.url(), "--json").document == {"store": database.url(), "schema": 2}
        assert database.ask("SELECT count(*) FROM sojourn.session") == [(0,)]


def test_purge_and_stats(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """`purge` removes the dead, and `stats` counts what is left."""
    with SessionManager(shop.url, clock=lambda: 1.0) as long_ago:
        long_ago.create_session("carol")
    assert sojourn("stats", shop.url, "--json").document["sessions"] == 4
    assert sojourn("purge", shop.url, "--json").document == {"store": shop.url, "removed": 1}
    stats = sojourn("stats", shop.url, "--json").document
    assert stats.keys() == {"store", "sessions", "bytes", "durability"}
    assert (stats["sessions"], stats["durability"]) == (3, "power")


def test_no_command_shows_a_secret(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """Neither a session id nor its secret is in anything that is printed."""
    first, second = shop.handles[:2]
    for as_json, handle in ([], first), (["--json"], second):
        for command, *words in (["list"], ["show", handle], ["stats"], ["purge"], ["end", handle], ["end-user", "x"]):
            ran = sojourn(command, shop.url, *words, *as_json)
            assert not any(secret in ran.out + ran.err for secret in shop.secrets)


# --- For people ----------------------------------------------------------------------------------------------------


def test_list_table(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """The table shows handles in full, users, devices, and times as people say them."""
    out = sojourn("list", shop.url).out
    assert all(handle in out for handle in shop.handles)
    assert "Firefox on Linux" in out
    assert "just now" in out
    assert "30 min" in out
    assert "3 live sessions" in out


def test_show_tree(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """The tree shows metadata, and fields with types, sizes and values down to the leaves."""
    out = sojourn("show", shop.url, shop.handles[0]).out
    assert re.search(r"user +ada", out)
    assert re.search(r"visits  int, 1 B  3", out)
    assert re.search(r'\[1\]  "pear"', out)


def test_other_tables(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """What was done is said in a sentence."""
    assert sojourn("end", shop.url, shop.handles[0]).out == f"Session {shop.handles[0]} is ended, for good.\n"
    assert sojourn("end-user", shop.url, "ada").out == "Ended 1 session of user ada.\n"
    assert sojourn("purge", shop.url).out == "Removed 0 dead sessions.\n"
    assert "survives a power cut" in sojourn("stats", shop.url).out
    assert sojourn("list", "memory://").out == "No live sessions in memory://.\n"


def test_foreign_text_cannot_drive_the_terminal(tmp_path: Path, sojourn: Callable[..., Ran]) -> None:
    """Control characters and markup in labels, users and values are shown, not obeyed."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    with SessionManager(url) as sessions:
        data = {"x\x1b[2J": {"[red]k\x9b": "\x1b]0;title\x07"}}
        handle = sessions.create_session("[bold]eve\x1b[31m", data, label="a\nb\x1b[1A").split(".")[0]
    for command in (["list", url], ["show", url, handle], ["end-user", url, "nobody\x1b[2J"]):
        out = sojourn(*command).out
        assert not any(sign in out for sign in "\x1b\x9b\x07")
    assert "[bold]eve\\x1b[31m" in sojourn("list", url).out
    assert "[red]k\\x9b" in sojourn("show", url, handle).out


def test_values_of_every_kind_become_json() -> None:
    """What JSON has not becomes text, lists or pairs, without loss of sense."""
    colour = Enum("colour", ["RED"])
    assert plain({"a": (1, None, True), "b": {2, 1}}) == {"a": [1, None, True], "b": [1, 2]}
    assert plain({1: "one", (2, 3): "pair"}) == [[1, "one"], [[2, 3], "pair"]]
    assert plain(b"\x00\xff") == "AP8="
    assert plain([float("nan"), float("-inf"), 1.5]) == ["nan", "-inf", 1.5]
    assert plain([Decimal("1.10"), UUID(int=1), colour.RED]) == ["1.10", "00000000-0000-0000-0000-000000000001", "RED"]
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert plain([moment, date(2026, 1, 2), timedelta(hours=1)]) == ["2026-01-02T03:04:05+00:00", "2026-01-02", 3600.0]


@dataclass
class Basket:
    weight: float


def test_a_type_of_the_application_hides_no_other_field(tmp_path: Path, sojourn: Callable[..., Ran]) -> None:
    """A field whose type is not known here is told as a problem, and the others are shown."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    register(Basket, name="test-cli-basket")
    with SessionManager(url) as sessions:
        handle = sessions.create_session(data={"basket": Basket(2.5), "n": 1}).split(".")[0]
    del codec._TYPES.by_name["test-cli-basket"]  # as in a process that never registered it
    fields = {field["name"]: field for field in sojourn("show", url, handle, "--json").document["fields"]}
    assert fields["n"]["value"] == 1
    assert fields["basket"]["value"] is None
    assert "not registered" in fields["basket"]["problem"]
    assert "not registered" in sojourn("show", url, handle).out


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (humane.ago(100, 103), "just now"),
        (humane.ago(100, 145), "45 s ago"),
        (humane.ago(100, 300), "3 min ago"),
        (humane.ago(0, 7300), "2 h ago"),
        (humane.ago(0, 200_000), "2 d ago"),
        (humane.until(100, 100), "now"),
        (humane.until(1720, 100), "in 27 min"),
        (humane.size(412), "412 B"),
        (humane.size(1229), "1.2 KB"),
        (humane.size(3_565_158), "3.4 MB"),
        (humane.plural(1, "session"), "1 session"),
        (humane.plural(1200, "session"), "1,200 sessions"),
        (humane.safe("naïve ✓"), "naïve ✓"),
        (humane.safe("a\tb\x00"), "a\\tb\\x00"),
    ],
)
def test_humane(shown: str, expected: str) -> None:
    """Times, sizes and counts read as people write them."""
    assert shown == expected


# --- What is typed -------------------------------------------------------------------------------------------------


def test_handles_that_look_like_options(tmp_path: Path, sojourn: Callable[..., Ran]) -> None:
    """A handle may begin with a hyphen, as one in 64 does, wherever options stand."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    for form in ("-{random}", "--{random}"):
        with SessionManager(url, config=SessionConfig(handle_form=form)) as sessions:
            handle = sessions.create_session("ada").split(".")[0]
        assert sojourn("show", url, "--json", handle).document["handle"] == handle
        assert sojourn("list", url, "--after", handle, "--json").code == 0
        assert sojourn("end", "--json", url, handle).document["ended"] is True


def test_the_order_of_words() -> None:
    """Options may stand anywhere; what follows `--` is never one."""
    assert put_in_order(["show", "URL", "--json", "H"]) == ["show", "--json", "--", "URL", "H"]
    assert put_in_order(["list", "--user", "-x", "URL"]) == ["list", "--user=-x", "--", "URL"]
    assert put_in_order(["end-user", "URL", "--", "--json"]) == ["end-user", "--", "URL", "--json"]
    assert put_in_order(["purge", "--json"]) == ["purge", "--json"]
    assert put_in_order(["--version"]) == ["--version"]
    assert put_in_order([]) == []


def test_the_store_may_be_named_elsewhere(
    shop: Shop, sojourn: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--store` or SOJOURN_STORE names the store; a URL on the command line goes before the environment."""
    assert sojourn("show", "--store", shop.url, shop.handles[0], "--json").document["handle"] == shop.handles[0]
    monkeypatch.setenv("SOJOURN_STORE", shop.url)
    assert len(sojourn("list", "--json").document["sessions"]) == 3
    assert sojourn("show", shop.handles[2], "--json").document["user_id"] == "bob"
    assert sojourn("list", "memory://", "--json").document["sessions"] == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["list"], "name the store"),
        (["list", "memory://", "--store", "memory://"], "named twice"),
        (["end", "sqlite:///x.db"], "handle is missing"),
        (["show", "memory://", "short"], "no handle"),
        (["list", "memory://", "--limit", "0"], "no whole number"),
        (["demo", "--port", "70000"], "no whole number"),
        (["no-such-command"], "invalid choice"),
    ],
)
def test_bad_usage(argv: list[str], says: str, sojourn: Callable[..., Ran]) -> None:
    """What makes no sense is told on stderr, with exit code 2, and nothing on stdout."""
    ran = sojourn(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_a_session_id_is_no_handle(shop: Shop, sojourn: Callable[..., Ran]) -> None:
    """A whole session id where a handle belongs is refused, and not repeated."""
    hyphenated = f"-{shop.ids[0][1:]}"
    for session_id in (shop.ids[0], hyphenated):
        ran = sojourn("end", shop.url, session_id)
        assert ran.code == 2
        assert "which is secret" in ran.err
        assert shop.secrets[0] not in ran.err
    assert shop.sessions.is_session_active(shop.ids[0])


@pytest.mark.parametrize("command", ["list", "stats", "purge", "show", "end", "end-user"])
def test_a_missing_file_is_not_created(command: str, tmp_path: Path, sojourn: Callable[..., Ran]) -> None:
    """Administration of a file that is not there says so and makes none."""
    words = {"show": ["a" * 22], "end": ["a" * 22], "end-user": ["ada"]}.get(command, [])
    ran = sojourn(command, f"sqlite:///{tmp_path / 'absent.db'}", *words)
    assert (ran.code, ran.out) == (1, "")
    assert "there is no" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["mongodb://eve:hunter2@host/x", "sqlite://host/x", "memory://x"])
def test_a_bad_url(url: str, sojourn: Callable[..., Ran]) -> None:
    """A URL that is not understood is one line and exit code 1, without a password."""
    ran = sojourn("stats", url)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "hunter2" not in ran.err


def test_a_file_that_is_no_store(tmp_path: Path, sojourn: Callable[..., Ran]) -> None:
    """Another program's file is told apart in one line, and is not changed."""
    (tmp_path / "notes.db").write_text("these are my notes\n" * 100)
    ran = sojourn("list", f"sqlite:///{tmp_path / 'notes.db'}")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert (tmp_path / "notes.db").read_text() == "these are my notes\n" * 100


# --- The bare install, and pipes -----------------------------------------------------------------------------------


def test_without_rich(shop: Shop) -> None:
    """Without the extra, help, version and --json work; a table names the command that installs it, with code 2."""
    assert without("rich", "--help").returncode == 0
    assert without("rich", "--version").stdout.startswith("sojourn ")
    assert len(json.loads(without("rich", "list", shop.url, "--json").stdout)["sessions"]) == 3
    for command in (["list"], ["end", shop.handles[0]], ["check"]):
        ran = without("rich", command[0], shop.url, *command[1:])
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "pip install 'sojourn[cli]'" in ran.stderr
        assert "Traceback" not in ran.stderr
    assert shop.sessions.is_session_active(shop.ids[0])


@pytest.mark.parametrize("module", ["markdown_it", "starlette", "uvicorn"])
def test_demo_without_its_extra(module: str) -> None:
    """The demo without its extra names the command that installs it, with code 2."""
    ran = without(module, "demo", "--port", "0", "--no-browser")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "pip install 'sojourn[demo]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_no_command(sojourn: Callable[..., Ran]) -> None:
    """Without a command there is help, on stderr, with exit code 2."""
    ran = sojourn()
    assert (ran.code, ran.out) == (2, "")
    assert "sojourn demo" in ran.err


def test_a_closed_pipe(shop: Shop) -> None:
    """A reader that has seen enough, as `head` has, is no error."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        ran = subprocess.run(
            [sys.executable, "-m", "sojourn", "list", shop.url, "--json"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert (ran.returncode, ran.stderr) == (0, "")
