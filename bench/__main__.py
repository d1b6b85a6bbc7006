"""The command line: `python -m bench [name ...] [--quick] [--json FILE]`; the names are listed in `NAMES`.

The benches are imported when they run: the processes that some of them start import this module again, and
should not pay for every peer.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from time import perf_counter

from rich.console import Console

from . import report

NAMES = (
    "memory",
    "sqlite",
    "valkey",
    "postgres",
    "asgi",
    "asgi_redis",
    "http",
    "feed",
    "state",
    "dictstore",
    "live",
    "million",
    "watched",
    "dashboard",
)


def main() -> None:
    """Run what was named, or all; print tables; write JSON if asked."""
    options = _options()
    console = Console(width=None if Console().is_terminal else 160)
    facts = report.head(options.quick)
    report.print_head(console, facts)
    sections = []
    for name in options.names or NAMES:
        started = perf_counter()
        section = importlib.import_module(f"{__package__}.{name}").bench(quick=options.quick)
        report.print_section(console, section)
        console.print(f"[dim]{name} took {perf_counter() - started:.0f} s[/]")
        sections.append(section)
    report.print_verdicts(console, sections)
    if options.json:
        options.json.write_bytes(report.as_json(facts, sections))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Sojourn beside its floors and its peers.")
    parser.add_argument("names", nargs="*", metavar="bench", help=f"one or more of {', '.join(NAMES)}; all if none")
    parser.add_argument("--quick", action="store_true", help="short rounds: rough figures in under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"there is no bench {name!r}: choose from {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    main()
