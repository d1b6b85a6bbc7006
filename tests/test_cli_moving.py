"""The command line that moves sessions and watches them: copy, export, import, watch."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commands import Ran, interruptible, runner
from sojourn import Handle, SessionConfig, SessionManager, codec, register
from sojourn.blocking import run
from sojourn.cli import console
from sojourn.cli.lines import Lines
from sojourn.record import Change, replace


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command line in this process."""
    return runner(capsys, monkeypatch)


class Site:
    """A SQLite store with two users in it: ada on two devices, bob on one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/site.db"
        self.sessions = SessionManager(self.url)
        data = {"cart": {"items": ["apple", "pear"]}, "seen": datetime(2026, 1, 2, tzinfo=UTC), "tags": {"a", "b"}}
        self.ids = [
            self.sessions.create_session("ada", data, label="Firefox on Linux", persistent=True),
            self.sessions.create_session("ada", {"theme": "dark"}, label="Safari on iPhone"),
            self.sessions.create_session("bob", {}),
        ]
        self.handles = [session_id.split(".")[0] for session_id in self.ids]

    def other(self, name: str = "other") -> str:
        """The URL of another store, which is not there yet."""
        return f"sqlite:///{self.folder}/{name}.db"

    def change(self, session_id: str, **fields: Any) -> None:
        with self.sessions.session(session_id) as session:
            session.update(fields)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.sessions.close()


def fields(url: str, session_id: str) -> dict[str, Any] | None:
    with SessionManager(url) as sessions:
        return sessions.get_session(session_id)


# --- copy ------------------------------------------------------------------------------------------------------------


def test_copy_document(site: Site, ran: Callable[..., Ran]) -> None:
    """`copy --json` tells what was done; the ids are good in the other store."""
    copied = ran("copy", site.url, site.other(), "--json")
    assert (copied.code, copied.err) == (0, "")
    assert copied.document == {
        "from": site.url,
        "to": site.other(),
        "dry_run": False,
        "copied": 3,
        "already_there": 0,
        "renewed": 0,
        "ended": 0,
        "changed_in_both": [],
        "failed": [],
        "passes": 1,
        "seconds": copied.document["seconds"],
    }
    assert 0 < copied.document["seconds"] < 10
    for session_id in site.ids:
        assert fields(site.other(), session_id) == fields(site.url, session_id)


def test_copy_again(site: Site, ran: Callable[..., Ran]) -> None:
    """The second run brings what changed, and ends what ended."""
    ran("copy", site.url, site.other(), "--json")
    site.change(site.ids[0], theme="light")
    site.sessions.end_session(site.ids[1])
    document = ran("copy", site.url, site.other(), "--json").document
    assert [document[name] for name in ("copied", "already_there", "renewed", "ended")] == [0, 1, 1, 1]
    assert fields(site.other(), site.ids[0])["theme"] == "light"
    assert fields(site.other(), site.ids[1]) is None


def test_copy_table(site: Site, ran: Callable[..., Ran]) -> None:
    """The table has a row for each kind of outcome, and says what comes next."""
    out = ran("copy", site.url, site.other()).out
    for row in (
        r"copied +3 ",
        r"already there +0 ",
        r"renewed +0 ",
        r"ended +0 ",
        r"changed in both +0 ",
        r"seconds +\d",
    ):
        assert re.search(f"^{row}", out, re.MULTILINE), row
    assert "failed" not in out
    assert "run this once more" in out


def test_copy_of_what_changed_in_both(site: Site, ran: Callable[..., Ran], caplog: pytest.LogCaptureFixture) -> None:
    """What was written in both stores is left as it is in the target, is named, and makes exit code 1."""
    ran("copy", site.url, site.other(), "--json")
    site.change(site.ids[0], theme="light")
    with SessionManager(site.other()) as sessions, sessions.session(site.ids[0]) as session:
        session["theme"] = "dark"
    copied = ran("copy", site.url, site.other(), "--json")
    assert (copied.code, copied.document["changed_in_both"]) == (1, [site.handles[0]])
    assert site.handles[0] in caplog.text
    assert fields(site.other(), site.ids[0])["theme"] == "dark"
    shown = ran("copy", site.url, site.other())
    assert shown.code == 1
    assert re.search(r"changed in both +1 ", shown.out)
    assert "Not all of it" in shown.out


def test_copy_dry_run(site: Site, ran: Callable[..., Ran]) -> None:
    """A dry run counts, writes nothing, and creates no file."""
    before = sorted(site.folder.iterdir())
    document = ran("copy", site.url, site.other(), "--dry-run", "--json").document
    assert (document["dry_run"], document["copied"], document["to"]) == (True, 3, site.other())
    assert "Nothing was copied" in ran("copy", "--dry-run", site.url, site.other()).out
    assert sorted(site.folder.iterdir()) == before
    ran("copy", site.url, site.other(), "--json")
    site.sessions.end_session(site.ids[0])
    assert ran("copy", site.url, site.other(), "--dry-run", "--json").document["ended"] == 1
    assert fields(site.other(), site.ids[0]) is not None


def test_copy_of_one_store(site: Site, ran: Callable[..., Ran]) -> None:
    """A store is not copied into itself, by whatever name it is called."""
    assert ran("copy", site.url, site.url).code == 2
    again = ran("copy", site.url, f"sqlite:///{site.folder}/../{site.folder.name}/site.db")
    assert (again.code, again.out) == (1, "")
    assert "the same store" in again.err


def test_copy_of_what_is_not_there(site: Site, ran: Callable[..., Ran]) -> None:
    """A file that is not there is no store to copy from: that is told, and no file is made."""
    copied = ran("copy", site.other(), site.other("third"))
    assert (copied.code, copied.out, copied.err.count("\n")) == (1, "", 1)
    assert "there is no" in copied.err
    assert not list(site.folder.glob("[ot]*.db"))


def test_copy_to_a_server_that_is_not_there(site: Site, ran: Callable[..., Ran]) -> None:
    """A server that cannot be reached is one line, without the password."""
    copied = ran("copy", site.url, "valkey://:hunter2@127.0.0.1:1?deadline=0.3")
    assert (copied.code, copied.out, copied.err.count("\n")) == (1, "", 1)
    assert "hunter2" not in copied.err


def test_copy_shows_how_far_it_is(site: Site, ran: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no terminal, plain lines tell how far it is; with --json nothing does."""
    monkeypatch.setattr(console, "_TELL_EVERY", 0.0)
    assert "walk 1: 3 of 3\n" in ran("copy", site.url, site.other()).err
    assert ran("copy", site.url, site.other(), "--json").err == ""


def test_copy_is_interrupted(site: Site) -> None:
    """Ctrl-C in a copy says that running it again goes on; there is no traceback."""
    program = (
        "import os, signal, sys\n"
        "from sojourn import bulk, moving\n"
        "from sojourn.__main__ import main\n"
        "create = bulk.create\n"
        "async def interrupted(*args):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return await create(*args)\n"
        "moving.create = interrupted\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "copy", site.url, site.other(), "--json"]
    copied = subprocess.run(command, capture_output=True, text=True, timeout=30, preexec_fn=interruptible)
    assert (copied.returncode, copied.stdout) == (130, "")
    assert copied.stderr == "sojourn: interrupted; what was copied stays: run it again, and it goes on\n"


# --- export ----------------------------------------------------------------------------------------------------------


def lines(text: str) -> list[str]:
    return sorted(text.splitlines())


def test_export(site: Site, ran: Callable[..., Ran]) -> None:
    """A line of JSON for each live session, without its secret."""
    site.sessions.create_session("late", idle_timeout=0.01)
    time.sleep(0.05)
    exported = ran("export", site.url)
    assert exported.code == 0
    told = {line["handle"]: line for line in map(json.loads, exported.out.splitlines())}
    assert told.keys() == set(site.handles)
    first = told[site.handles[0]]
    assert (first["user_id"], first["label"], first["persistent"]) == ("ada", "Firefox on Linux", True)
    assert first["fields"]["cart"] == {"items": ["apple", "pear"]}
    assert first["fields"]["tags"] == {"$set": ["a", "b"]}
    for session_id in site.ids:
        secret = session_id.split(".")[1]
        record = run(site.sessions.store.load(session_id.split(".")[0]))
        assert secret not in exported.out
        assert record.secret_digest.hex() not in exported.out
    assert "digest" not in exported.out


def test_export_to_a_file(site: Site, ran: Callable[..., Ran]) -> None:
    """The file is its owner's alone, has all the lines, and takes the place of an older one only when it is whole."""
    path = site.folder / "backup.jsonl"
    path.write_text("older")
    assert ran("export", site.url, str(path)).out == f"Exported 3 sessions of {site.url} to {path}.\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lines(path.read_text()) == lines(ran("export", site.url).out)
    document = ran("export", site.url, str(path), "--json").document
    assert document == {"store": site.url, "file": str(path), "exported": 3}
    before = path.read_text()
    assert ran("export", "valkey://127.0.0.1:1?deadline=0.3", str(path)).code == 1
    assert path.read_text() == before
    assert [file.name for file in site.folder.iterdir() if not file.name.startswith("site.db")] == ["backup.jsonl"]


def test_export_to_a_pipe(site: Site, ran: Callable[..., Ran]) -> None:
    """What is no file (a pipe here, or a device) is written to, and stays what it is."""
    pipe = site.folder / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    assert ran("export", site.url, str(pipe)).code == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode), "another file stands in its place"
    reader.join(10)
    assert len(heard[0].splitlines()) == 3


def test_export_where_it_cannot(site: Site, ran: Callable[..., Ran]) -> None:
    """A place that cannot be written to is told in one line."""
    exported = ran("export", site.url, str(site.folder / "absent" / "backup.jsonl"))
    assert (exported.code, exported.out, exported.err.count("\n")) == (1, "", 1)
    assert "No such file or directory" in exported.err


def test_the_file_alone_where_the_store_is_named_elsewhere(
    site: Site, ran: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SOJOURN_STORE the only word is the file."""
    path = site.folder / "backup.jsonl"
    monkeypatch.setenv("SOJOURN_STORE", site.url)
    assert ran("export", str(path)).code == 0
    assert len(path.read_text().splitlines()) == 3
    assert len(ran("export").out.splitlines()) == 3
    monkeypatch.setenv("SOJOURN_STORE", site.other())
    assert "Imported 3 sessions" in ran("import", str(path)).out


def test_a_reader_that_has_seen_enough(site: Site) -> None:
    """A closed pipe is no error."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        command = [sys.executable, "-m", "sojourn", "export", site.url, "--json"]
        exported = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=30)
    assert (exported.returncode, exported.stderr) == (0, "")


# --- import ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def backup(site: Site, ran: Callable[..., Ran]) -> Path:
    path = site.folder / "backup.jsonl"
    ran("export", site.url, str(path), "--json")
    return path


def test_import_brings_the_same_back(site: Site, backup: Path, ran: Callable[..., Ran]) -> None:
    """What is exported from the store that was imported into is the same, line for line."""
    imported = ran("import", site.other(), str(backup), "--json")
    assert (imported.code, imported.err) == (0, "")
    assert imported.document == {
        "store": site.other(),
        "file": str(backup),
        "imported": 3,
        "already_there": 0,
        "expired": 0,
        "ids": None,
    }
    assert lines(ran("export", site.other()).out) == lines(backup.read_text())
    for session_id in site.ids:
        assert fields(site.other(), session_id) is None, "an old id is good"
        assert fields(site.other(), Handle(session_id.split(".")[0])) == fields(site.url, session_id)


def test_import_leaves_what_is_there(site: Site, backup: Path, ran: Callable[..., Ran]) -> None:
    """Sessions that are there are left as they are, with their ids; what is past its time is not brought."""
    site.change(site.ids[0], theme="new")
    site.sessions.end_session(site.ids[1])
    past = json.loads(backup.read_text().splitlines()[0]) | {"handle": "p" * 22, "ends_at": 5.0}
    backup.write_text(backup.read_text() + json.dumps(past))
    document = ran("import", site.url, str(backup), "--json").document
    assert [document[name] for name in ("imported", "already_there", "expired")] == [1, 2, 1]
    assert fields(site.url, site.ids[0])["theme"] == "new"
    assert ran("import", site.url, str(backup)).out == (
        f"Imported 0 sessions into {site.url}; 3 there already, and left as they are; 1 past their time.\n"
    )


def test_new_ids(site: Site, backup: Path, ran: Callable[..., Ran]) -> None:
    """The new ids are good, and in a file that only its owner may read; only those of sessions that were created."""
    path = site.folder / "ids.jsonl"
    ran("import", site.other(), str(backup), "--json")
    with SessionManager(site.other()) as sessions:
        sessions.end_session(Handle(site.handles[0]))
    imported = ran("import", site.other(), str(backup), "--ids", str(path))
    assert f"The new ids are in {path}" in imported.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (line,) = map(json.loads, path.read_text().splitlines())
    assert line["handle"] == site.handles[0]
    assert fields(site.other(), line["id"]) == fields(site.url, site.ids[0])
    again = ran("import", site.other(), str(backup), "--ids", str(path))
    assert (again.code, again.out) == (1, "")
    assert "File exists: nothing was imported" in again.err


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda whole: [*whole[:1], "nothing", *whole[1:]], "line 2: JSON is malformed"),
        (lambda whole: [*whole, ""], "line 4: "),
        (lambda whole: [*whole[:2], whole[2][:-5]], "line 3: "),
        (lambda whole: [*whole, whole[1]], "line 4: the session of line 2 again"),
        (lambda whole: [whole[0].replace('"ada"', "5"), *whole[1:]], "line 1: Expected `str | null`, got `int`"),
        (lambda whole: [*whole[:2], whole[2].replace("$set", "$bag")], "$bag is the tag of nothing that is known here"),
    ],
)
def test_a_file_that_is_not_whole(
    spoil: Callable[[list[str]], list[str]], says: str, site: Site, backup: Path, ran: Callable[..., Ran]
) -> None:
    """A malformed line, or a session told twice, is named by its number, and nothing is written anywhere."""
    whole = sorted(backup.read_text().splitlines(), key=lambda line: "$set" in line)
    whole[0], whole[1] = sorted(whole[:2], key=lambda line: '"ada"' not in line)
    backup.write_text("\n".join(spoil(whole)) + "\n")
    ids = site.folder / "ids.jsonl"
    before = sorted(site.folder.iterdir())
    imported = ran("import", site.other(), str(backup), "--ids", str(ids))
    assert (imported.code, imported.out, imported.err.count("\n")) == (1, "", 1)
    assert says in imported.err
    assert "nothing was imported" in imported.err
    assert sorted(site.folder.iterdir()) == before


def test_import_from_standard_input(
    site: Site, backup: Path, ran: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` is standard input, which is read to its end before anything is written."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(backup.read_bytes())))
    assert ran("import", site.other(), "-", "--json").document["imported"] == 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(backup.read_bytes() + b"{")))
    assert ran("import", site.other("third"), "-").code == 1
    assert not (site.folder / "third.db").exists()


def test_import_of_what_is_not_there(site: Site, ran: Callable[..., Ran]) -> None:
    """A file that is not there is told in one line."""
    imported = ran("import", site.url, str(site.folder / "absent.jsonl"))
    assert (imported.code, imported.out, imported.err.count("\n")) == (1, "", 1)
    assert "No such file" in imported.err


@dataclass
class Basket:
    weight: float


def test_types_of_the_application_come_back(tmp_path: Path, ran: Callable[..., Ran]) -> None:
    """What only the application knows is exported and imported all the same, and is what it was."""
    register(Basket, name="test-moving-basket")
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("a", "b")]
    with SessionManager(urls[0]) as sessions:
        handle = Handle(sessions.create_session(data={"basket": [Basket(2.5)]}).split(".")[0])
    del codec._TYPES.by_name["test-moving-basket"]  # as in a process that never registered it
    path = tmp_path / "all.jsonl"
    ran("export", urls[0], str(path), "--json")
    assert json.loads(path.read_text())["fields"] == {"basket": [{"$object": ["test-moving-basket", {"weight": 2.5}]}]}
    assert ran("import", urls[1], str(path), "--json").document["imported"] == 1
    register(Basket, name="test-moving-basket")
    assert fields(urls[1], handle) == {"basket": [Basket(2.5)]}


# --- watch -----------------------------------------------------------------------------------------------------------


class Watching:
    """The command in a process of its own."""

    def __init__(self, *argv: str) -> None:
        ordinary = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sojourn", "watch", *argv],
            env=ordinary,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=interruptible,
        )

    def next(self) -> str:
        assert self.process.stdout is not None
        giving_up = threading.Timer(20, self.process.kill)  # what never comes is an empty line
        giving_up.start()
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            giving_up.cancel()

    def interrupt(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def watching() -> Iterator[Callable[..., Watching]]:
    started: list[Watching] = []

    def start(*argv: str) -> Watching:
        started.append(Watching(*argv))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_watch_json(site: Site, watching: Callable[..., Watching]) -> None:
    """`watch --json` prints a line for each change at once, and Ctrl-C ends it with exit code 0 and no traceback."""
    position, _ = site.sessions.changes()
    watch = watching(site.url, "--json", "--since", str(position))
    site.sessions.create_session("eve")
    created = json.loads(watch.next())
    assert created.keys() == {"id", "kind", "at", "handle", "user_id", "reason", "fields"}
    assert (created["kind"], created["user_id"]) == ("created", "eve")
    site.change(site.ids[0], theme="light")
    changed = json.loads(watch.next())
    assert (changed["kind"], changed["handle"], changed["fields"]) == ("changed", site.handles[0], ["theme"])
    site.sessions.end_session(site.ids[1])
    ended = json.loads(watch.next())
    assert (ended["kind"], ended["handle"], ended["reason"]) == ("ended", site.handles[1], "ended")
    assert watch.interrupt() == (0, "", "")


def test_watch_lines(site: Site, watching: Callable[..., Watching]) -> None:
    """For people, a line has the time, what happened, to which session, whose, and why."""
    watch = watching(site.url, "--since", "0", "--user", "ada")
    first = watch.next()
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  \+ created      {site.handles[0]}  ada", first)
    watch.next()
    site.sessions.end_session(site.ids[1])
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  × ended        {site.handles[1]}  ada           ended", watch.next())
    assert watch.interrupt() == (0, "", "")


def test_watch_a_session(site: Site, watching: Callable[..., Watching]) -> None:
    """The watch of one session tells of that one, and ends when it does."""
    position, _ = site.sessions.changes()
    watch = watching(site.url, "--session", site.handles[0], "--json", "--since", str(position))
    site.change(site.ids[1], theme="light")
    new = site.sessions.rotate(site.ids[0])
    assert json.loads(watch.next())["kind"] == "rotated"
    site.sessions.end_session(new)
    code, out, err = watch.ended()
    assert (code, json.loads(out)["kind"], err) == (0, "ended", "")


def test_watch_with_a_hyphen(tmp_path: Path, watching: Callable[..., Watching]) -> None:
    """A handle that looks like an option is a handle."""
    url = f"sqlite:///{tmp_path}/s.db"
    with SessionManager(url, config=SessionConfig(handle_form="-{random}")) as sessions:
        session_id = sessions.create_session()
        watch = watching(url, "--session", session_id.split(".")[0], "--since", "0", "--json")
        assert json.loads(watch.next())["kind"] == "created"
        sessions.end_session(session_id)
        assert watch.ended()[0] == 0


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["--session", "short"], 2, "is no handle"),
        (["--session", "a" * 22], 1, "no such session"),
        (["--session", "a" * 22, "--user", "ada"], 2, "not allowed with"),
        (["--since", "-1"], 2, "no position"),
        (["--since", "x"], 2, "no position"),
        (["--since", "9" * 5000], 2, "no position"),
    ],
)
def test_watch_what_cannot_be(argv: list[str], code: int, says: str, site: Site, ran: Callable[..., Ran]) -> None:
    """What makes no sense, or is not there, is told in a line."""
    watched = ran("watch", site.url, *argv)
    assert (watched.code, watched.out) == (code, "")
    assert says in watched.err
    assert "Traceback" not in watched.err


def test_watch_takes_no_id(site: Site, ran: Callable[..., Ran]) -> None:
    """A session id where a handle belongs is refused, and not repeated."""
    watched = ran("watch", site.url, "--session", site.ids[0])
    assert watched.code == 2
    assert "which is secret" in watched.err
    assert site.ids[0].split(".")[1] not in watched.err


def test_watch_where_there_is_nothing(site: Site, ran: Callable[..., Ran]) -> None:
    """A file that is not there is told, and not created; so is a server that cannot be reached."""
    assert "there is no" in ran("watch", site.other()).err
    assert not (site.folder / "other.db").exists()
    assert ran("watch", "valkey://127.0.0.1:1?deadline=0.3").code == 1


def shown(*changes: Change, terminal: bool = False) -> str:
    out = io.StringIO()
    colours: Any = "standard" if terminal else None
    given = Console(file=out, width=100, force_terminal=terminal, markup=False, highlight=False, color_system=colours)
    lines = Lines(given, "sqlite:///shop.db")
    for change in changes:
        lines.show(change)
    return out.getvalue()


def change(kind: Any, **more: Any) -> Change:
    return Change(**{"id": "x", "kind": kind, "at": time.time(), "handle": "h" * 22, **more})


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (change("created", user_id="ada"), "+ created      hhhhhhhhhhhhhhhhhhhhhh  ada"),
        (change("created"), "+ created      hhhhhhhhhhhhhhhhhhhhhh  –"),
        (change("changed", fields=("cart", "n")), "~ changed      hhhhhhhhhhhhhhhhhhhhhh  –             cart, n"),
        (change("changed", user_id="ada"), "~ changed      hhhhhhhhhhhhhhhhhhhhhh  ada           fields"),
        (change("ended", reason="expired"), "× ended        hhhhhhhhhhhhhhhhhhhhhh  –             expired"),
        (change("overwritten", reason="a.b"), "! overwritten  hhhhhhhhhhhhhhhhhhhhhh  –             a.b"),
        (change("missed", handle="", reason="history"), "facts that are no longer kept"),
        (change("missed", handle="", reason="changes"), "there may have been changes of fields"),
        (change("created", handle=f"session_1700000000_{'h' * 22}"), "+ created      …" + "h" * 21),
        (change("created", user_id="[red]eve\x1b[2J"), "[red]eve\\x1b[2J"),
        (change("changed", fields=("a\nb\x9b",)), "a\\nb\\x9b"),
        (change("overwritten", reason="\x1b]0;title\x07"), "\\x1b]0;title\\x07"),
    ],
)
def test_a_line_for_each_kind(told: Change, line: str) -> None:
    """Each kind of change has its words; what comes from a store cannot drive the terminal."""
    text = shown(replace(told, at=time.time()))  # it was made when the tests were collected: yesterday, at midnight
    assert text.count("\n") == 1
    assert line in text
    assert "\x1b" not in text


def test_days_and_colours() -> None:
    """On a terminal there are colours; what is of another day stands under its date."""
    text = shown(change("ended", at=1_700_000_000.0, reason="ended"), change("created"), terminal=True)
    assert "\x1b[31m" in text
    assert "\x1b[32m" in text
    assert time.strftime("%Y-%m-%d", time.localtime(1_700_000_000)) in text
    assert time.strftime("%Y-%m-%d") in text
    assert "until Ctrl-C" in text


# --- The bare install ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["copy TO", "export FILE", "import FILE", "watch"])
def test_without_rich(command: str, site: Site, backup: Path) -> None:
    """Without the extra, tables and bars name the command that installs it, with code 2, and nothing is done."""
    words = {"TO": site.other(), "FILE": str(backup)}
    name, *others = command.split()
    argv = [name, site.url, *(words[word] for word in others)]
    program = "import sys; sys.modules['rich'] = None; from sojourn.__main__ import main; sys.exit(main())"
    bare = [sys.executable, "-c", program]
    without = subprocess.run([*bare, *argv], capture_output=True, text=True, timeout=30)
    assert (without.returncode, without.stdout) == (2, "")
    assert "pip install 'sojourn[cli]'" in without.stderr
    assert "Traceback" not in without.stderr
    assert not (site.folder / "other.db").exists()
    if name != "watch":
        assert subprocess.run([*bare, *argv, "--json"], capture_output=True, timeout=30).returncode == 0
