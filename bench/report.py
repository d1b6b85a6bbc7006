"""What a bench hands back (sections of tables and verdicts), how it is printed and how it becomes JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table as RichTable

from .timing import median


@dataclass(frozen=True)
class Table:
    """One table: texts to print, right-aligned but for the first column."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """One figure that the project wants, and what this run saw."""

    wanted: str
    seen: str
    met: bool


@dataclass
class Section:
    """What one bench found."""

    name: str
    tables: list[Table] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """The raw numbers, for JSON: seconds and counts, under names that say what they are."""


def head(quick: bool) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "msgspec": msgspec.__version__,
        "fsync_us": round(_fsync_seconds() * 1e6),
        "quick": quick,
    }


def _fsync_seconds() -> float:
    """The median time to append 4 KB to a file and sync it: the least that `power` can cost."""
    with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder:
        handle = os.open(Path(folder) / "probe", os.O_CREAT | os.O_WRONLY)
        try:
            samples = []
            for _ in range(50):
                started = perf_counter()
                os.write(handle, bytes(4096))
                os.fsync(handle)
                samples.append(perf_counter() - started)
        finally:
            os.close(handle)
    return median(samples)


def print_head(console: Console, facts: dict[str, Any]) -> None:
    """The first lines of the output."""
    console.print(
        f"[bold]Sojourn bench[/] - {facts['python']}, {facts['system']}, {facts['cpus']} CPUs, SQLite "
        f"{facts['sqlite']}, msgspec {facts['msgspec']}, write + fsync {facts['fsync_us']} us"
    )
    mode = "quick: short rounds, rough figures" if facts["quick"] else "full"
    console.print(f"Medians over the rounds, ratios within each round; contenders take turns ({mode}).")


def print_section(console: Console, section: Section) -> None:
    """The tables of one section."""
    console.rule(f"[bold]{section.name}")
    for table in section.tables:
        rich = RichTable(title=table.title or None, title_justify="left", title_style="bold", caption_justify="left")
        rich.caption = table.note or None
        for index, column in enumerate(table.columns):
            rich.add_column(column, justify="right" if index else "left", no_wrap=not index)
        for row in table.rows:
            rich.add_row(*row, style="green" if row[0].startswith("Sojourn") else None)
        console.print(rich)


def print_verdicts(console: Console, sections: Sequence[Section]) -> None:
    """What was wanted and what was seen, of all sections."""
    rich = RichTable(title="wanted and seen in this run", title_justify="left", title_style="bold")
    for column in ("bench", "wanted", "seen", ""):
        rich.add_column(column)
    for section in sections:
        for verdict in section.verdicts:
            mark = "[green]met[/]" if verdict.met else "[red]missed[/]"
            rich.add_row(section.name, verdict.wanted, verdict.seen, mark)
    console.print(rich)


def as_json(facts: dict[str, Any], sections: Sequence[Section]) -> bytes:
    """The whole run."""
    body = {"head": facts, "sections": [asdict(section) for section in sections]}
    return msgspec.json.format(msgspec.json.encode(body), indent=2)


def microseconds(seconds: float | None) -> str:
    """A time in microseconds with three figures; a dash where there is none."""
    if seconds is None:
        return "-"
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ratio: float) -> str:
    """A ratio, as in "x2.5", with three figures."""
    return f"x{ratio:,.0f}" if ratio >= 100 else f"x{ratio:.1f}" if ratio >= 10 else f"x{ratio:.2f}"
