"""The documents of the command line as tables and trees, for people. Needs the extra ``[cli]``.

One function for each command, of the command's name. Rules: whatever comes from a store is foreign text, shown without
markup and with control characters spelled out; times are relative, sizes rounded; nothing is cut short when the
output is not a terminal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from ..errors import MissingExtra
from .humane import ago, duration, plural, safe, size, until

try:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree
except ImportError as error:
    raise MissingExtra("showing tables (--json does without)", "cli") from error

__all__ = [
    "check",
    "copy",
    "end",
    "end_user",
    "export",
    "import_",
    "list",
    "meter",
    "migrate",
    "new_console",
    "progress",
    "purge",
    "show",
    "stats",
]

_WIDE: Final = 200  # columns where nobody's terminal sets a limit
_ROOMY: Final = 100  # columns where the check's table need not be narrow
_FOUND: Final = 24
_MOST_MEMBERS: Final = 30  # members of a value that are shown
_LONGEST_TEXT: Final = 300  # and characters of a text
_TELL_EVERY: Final = 5.0  # seconds between two lines where there is no terminal to show a bar on


def new_console() -> Console:
    """Standard output, for text that is shown as it is: as wide as the terminal, or wide where there is none."""
    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=_WIDE)


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)


def _or_dash(text: str | None) -> Text:
    return Text("–", style="dim") if text is None else Text(safe(text))


def list(document: dict[str, Any]) -> None:  # noqa: A001 - the command's name
    """A row for each session, the latest seen first."""
    console, now = new_console(), time.time()
    sessions = document["sessions"]
    if not sessions:
        console.print(Text(f"No live sessions in {safe(document['store'])}."))
        return
    table = _table()
    table.add_column("handle", style="cyan", no_wrap=True, overflow="fold")
    table.add_column("user, device", overflow="fold")
    for name in ("age", "last seen", "left", "size"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in sorted(sessions, key=lambda row: -row["last_accessed_at"]):
        who = _or_dash(row["user_id"])
        if row["label"] is not None:
            who = Text.assemble(who, ("\n" + safe(row["label"]), "dim"))
        table.add_row(
            row["handle"],
            who,
            duration(now - row["created_at"]),
            ago(row["last_accessed_at"], now),
            duration(row["expires_at"] - now),
            size(row["size"]),
        )
    console.print(table)
    console.print(Text(f"{plural(len(sessions), 'live session')} in {safe(document['store'])}", style="dim"))
    if document["more"]:
        last = max(row["handle"] for row in sessions)
        console.print(Text(f"There are more: --after={last} shows the next, --limit=N more at once.", style="yellow"))


def show(document: dict[str, Any]) -> None:
    """A tree: metadata, then fields with types and sizes."""
    now = time.time()
    tree = Tree(Text.assemble("session ", (document["handle"], "bold cyan")), guide_style="dim")
    for name, text in _metadata(document, now):
        tree.add(Text.assemble((f"{name:<11}", "dim"), text))
    title = plural(len(document["fields"]), "field")
    fields = tree.add(Text.assemble((title, "bold"), (f"  {size(document['size'])}", "dim")))
    for field in document["fields"]:
        _add_field(fields, field)
    new_console().print(tree)


def _metadata(document: dict[str, Any], now: float) -> Iterator[tuple[str, Text]]:
    yield "user", _or_dash(document["user_id"])
    yield "label", _or_dash(document["label"])
    yield "created", _moment(document["created_at"], ago(document["created_at"], now))
    if document["user_id"] is not None:
        yield "signed in", _moment(document["authenticated_at"], ago(document["authenticated_at"], now))
    yield "new secret", _moment(document["rotated_at"], ago(document["rotated_at"], now))
    yield "last seen", _moment(document["last_accessed_at"], ago(document["last_accessed_at"], now))
    idle = duration(document["idle_timeout"])
    left = until(document["expires_at"], now)
    yield "expires", _moment(document["expires_at"], f"{left}, after {idle} without activity")
    yield "at latest", _moment(document["ends_at"], until(document["ends_at"], now))
    yield "cookie", Text("outlives the browser" if document["persistent"] else "ends with the browser")


def _moment(at: float, words: str) -> Text:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return Text.assemble(words, (f"  ({clock})", "dim"))


def _add_field(tree: Tree, field: dict[str, Any]) -> None:
    if field["problem"] is not None:
        title = Text.assemble((safe(field["name"]), "bold"), (f"  {size(field['size'])}  ", "dim"))
        tree.add(title.append(safe(field["problem"]), style="red"))
        return
    title = Text.assemble((safe(field["name"]), "bold"), (f"  {field['type']}, {size(field['size'])}", "dim"))
    _add_value(tree, title, field["value"])


def _add_value(tree: Tree, title: Text, value: Any) -> None:
    """A value beside its title, or its members below it."""
    if not value or type(value) not in _NESTED:
        tree.add(Text.assemble(title, "  ", (_literal(value), "green")))
        return
    branch = tree.add(title)
    members: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    for at, (key, member) in enumerate(members):
        if at == _MOST_MEMBERS:
            branch.add(Text(f"… {len(value) - at:,} more (--json shows all)", style="dim"))
            break
        _add_value(branch, Text(safe(key) if isinstance(key, str) else f"[{key}]"), member)


def _literal(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return safe(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text):,} characters)")


def end(document: dict[str, Any]) -> None:
    """One line."""
    was_over = document["reason"] == "expired"
    words = "had expired by itself, and is removed" if was_over else "is ended, for good"
    new_console().print(Text(f"Session {document['handle']} {words}."))


def end_user(document: dict[str, Any]) -> None:
    """One line."""
    ended = plural(document["ended"], "session")
    new_console().print(Text(f"Ended {ended} of user {safe(document['user_id'])}."))


def purge(document: dict[str, Any]) -> None:
    """One line."""
    new_console().print(Text(f"Removed {plural(document['removed'], 'dead session')}."))


def migrate(document: dict[str, Any]) -> None:
    """One line."""
    new_console().print(Text(f"The schema is up to date: version {document['schema']}."))


def stats(document: dict[str, Any]) -> None:
    """A few lines."""
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("store", style="dim"), Text(safe(document["store"])))
    table.add_row(Text("sessions", style="dim"), Text(f"{document['sessions']:,}, dead ones not yet purged included"))
    table.add_row(Text("space", style="dim"), _or_dash(None if document["bytes"] is None else size(document["bytes"])))
    level = f"{document['durability']}: an acknowledged write {_SURVIVES[document['durability']]}"
    table.add_row(Text("durability", style="dim"), Text(level))
    new_console().print(table)


_NESTED: Final = frozenset({dict, type([])})  # the name `list` is a command here
_SURVIVES: Final = {
    "memory": "dies with the process",
    "server": "is as safe as its server is set to keep it: look at its appendonly and save",
    "process": "survives kill -9, and not always a power cut",
    "power": "survives a power cut",
    "replicated": "survives the loss of the primary",
}


# --- Moving ----------------------------------------------------------------------------------------------------------


@contextmanager
def meter() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on the terminal, or a line now and then where there is none. What it yields takes what is done, and how
    many of how many."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _teller(console)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24))
    figures = (TaskProgressColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    with Progress(*columns, *figures, console=console, transient=True) as bar:
        task, doing = bar.add_task("", total=None), ""

        def tell(what: str, done: int, total: int) -> None:
            nonlocal doing
            if what != doing:
                doing = what
                bar.reset(task)
            bar.update(task, description=what, completed=done, total=max(total, done))

        yield tell


class _Speed(ProgressColumn):
    """Sessions a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s", style="dim")


def _teller(console: Console) -> Callable[[str, int, int], None]:
    told_at, doing = time.monotonic(), ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told_at, doing
        now = time.monotonic()
        if now - told_at >= _TELL_EVERY:
            told_at, doing = now, what
            console.print(Text(f"{what}: {done:,} of {max(total, done):,}"))

    return tell


def copy(document: dict[str, Any]) -> None:
    """A few lines, and what to do next."""
    console, dry = new_console(), document["dry_run"]
    seconds = document["seconds"]
    moved = document["copied"] + document["already_there"] + document["renewed"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, words in _MOVED.items():
        number = document[name] if isinstance(document[name], int) else len(document[name])
        bad = number and name in ("changed_in_both", "failed")
        if number or name != "failed":
            table.add_row(name.replace("_", " "), Text(f"{number:,}", style="bold red" if bad else "bold"), words)
    table.add_row("seconds", f"{seconds:,.1f}", f"{moved / max(seconds, 0.001):,.0f} sessions a second")
    console.print(table)
    console.print(_moved_to(document), soft_wrap=True)
    if dry:
        console.print(Text("Nothing was copied: this is what would be done.", style="yellow"))


_MOVED: Final = {
    "copied": "sessions that were not there",
    "already_there": "as they are to be, or newer",
    "renewed": "copies that were out of date",
    "ended": "copies of sessions that have ended",
    "changed_in_both": "left as they are; the log names them",
    "failed": "left as they are; the log names them",
}


def _moved_to(document: dict[str, Any]) -> Text:
    source, target = safe(document["from"]), safe(document["to"])
    if document["changed_in_both"] or document["failed"]:
        return Text.assemble(("Not all of it", "bold red"), f" is in {target}.")
    if document["dry_run"]:
        return Text(f"{source} → {target}")
    found = Text.assemble(("Copied", "bold green"), f" to {target}, as it was a moment ago in {source}. ")
    return found.append("Let the site use it, then run this once more.", style="dim")


def export(document: dict[str, Any]) -> None:
    """One line."""
    exported = plural(document["exported"], "session")
    told = Text(f"Exported {exported} of {safe(document['store'])} to {safe(document['file'])}.")
    new_console().print(told, soft_wrap=True)


def import_(document: dict[str, Any]) -> None:
    """A line or two."""
    told = [f"Imported {plural(document['imported'], 'session')} into {safe(document['store'])}"]
    if document["already_there"]:
        told.append(f"{document['already_there']:,} there already, and left as they are")
    if document["expired"]:
        told.append(f"{document['expired']:,} past their time")
    console = new_console()
    console.print(Text("; ".join(told) + "."), soft_wrap=True)
    if document["ids"] is not None:
        console.print(
            Text(f"The new ids are in {safe(document['ids'])}: whoever has them is signed in.", style="yellow")
        )


# --- The check --------------------------------------------------------------------------------------------------------


@contextmanager
def progress(steps: int) -> Iterator[Callable[[Any], None]]:
    """A bar of so many steps, while the check runs. What it yields is called before each."""
    words = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), BarColumn(bar_width=24), MofNCompleteColumn(), words)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, done = bar.add_task("", total=steps), count()
        yield lambda promise: bar.update(task, description=promise.says, completed=next(done))


def check(document: dict[str, Any]) -> None:
    """A row for each promise, and the verdict."""
    console = new_console()
    table = _table()
    table.add_column("")
    table.add_column("promise, and how it was tested", overflow="fold")
    table.add_column("found", overflow="fold", max_width=_FOUND if console.width < _ROOMY else None)
    for row in document["promises"]:
        mark, style = _MARKS[row["kept"]]
        found = Text(safe(row["figures"]))
        if row["problem"]:
            found.append(f"\n{safe(row['problem'])}", style="red")
        promise = Text.assemble((row["promise"], "bold"), (f"\n{row['done']}", "dim"))
        table.add_row(Text(mark, style=style), promise, found)
    console.print(table)
    if document["note"]:
        console.print(Text(safe(document["note"]), style="dim"))
    console.print(_verdict(document))


_MARKS: Final = {True: ("✓", "bold green"), False: ("✗", "bold red"), None: ("–", "dim")}


def _verdict(document: dict[str, Any]) -> Text:
    judged = [row["kept"] for row in document["promises"] if row["kept"] is not None]
    where = f" by {safe(document['store'])} ({document['durability']}), in {document['seconds']:.1f} s"
    if document["kept"]:
        return Text.assemble((f"All {len(judged)} promises kept", "bold green"), where)
    broken = judged.count(False)
    return Text.assemble((f"{broken} of {len(judged)} promises broken", "bold red"), where)
