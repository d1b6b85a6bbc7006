"""What the command line takes: the parser, and a word order that argparse can follow. Bare: no extra is needed.

A store's URL comes first after the command; where SOJOURN_STORE (or ``--store``) names the store it may be left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from .. import ids

__all__ = [
    "DASHBOARD_PORT",
    "DEMO_PORT",
    "DEMO_STORE",
    "STORE_VARIABLE",
    "Failure",
    "UsageError",
    "make_parser",
    "put_in_order",
]

STORE_VARIABLE: Final = "SOJOURN_STORE"
DEMO_PORT: Final = 8765
DASHBOARD_PORT: Final = 8766
DEMO_STORE: Final = "sqlite:///sojourn-demo.db"

# Options that take the next word.
_VALUED: Final = frozenset(
    {"--store", "--user", "--limit", "--after", "--port", "--session", "--since", "--ids", "--redact"}
)
_LARGEST_PAGE: Final = 100_000
_LARGEST_PORT: Final = 65_535
_LONGEST_POSITION: Final = 4000  # digits: there may be very many of a cluster

_EXAMPLES: Final = """\
examples:
  sojourn demo                                   see what sessions can do, in your browser
  sojourn check sqlite:///sessions.db            does this store keep its promises, on this machine?
  sojourn list sqlite:///sessions.db --user ada  who is signed in where
  sojourn end sqlite:///sessions.db HANDLE       sign one session out
  sojourn watch sqlite:///sessions.db            what happens, as it happens
  sojourn dashboard sqlite:///sessions.db        all of it in your browser
  sojourn copy sqlite:///sessions.db valkey://127.0.0.1
                                                 move to another store, while the site runs

stores:
  memory://                      this process only
  sqlite:///relative/path.db     one file, many processes; four slashes for an absolute path
                                 ?durability=power (the default) or process
  postgresql://user@host/db      a PostgreSQL database, many machines

A session is named by its handle, which is public. Session ids are secret: no command shows or takes one;
only import --ids writes the new ones, to a file.
"""


class UsageError(Exception):
    """The command line makes no sense. The message says what would."""


class Failure(Exception):
    """It could not be done, for a reason that is not the store's. The message says why."""


def make_parser(version: str) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="sojourn",
        description="Look at a store of sessions, end or move some of them, check the store's promises, see a demo.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sojourn {version}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_demo(commands)
    _add(commands, "check", "see whether a store keeps its promises, on this machine, with sessions of the check's own")
    listing = _add(commands, "list", "show live sessions: handle, user, device, times, size")
    listing.add_argument("--user", metavar="USER", help="only the sessions of this user")
    listing.add_argument("--limit", metavar="N", type=_up_to(_LARGEST_PAGE), default=1000, help="at most N (1000)")
    listing.add_argument("--after", metavar="HANDLE", default="", help="go on after this handle: the next page")
    show = _add(commands, "show", "show one session: its metadata and its fields, with types and sizes")
    show.add_argument("handle", metavar="HANDLE", help="the session's handle")
    end = _add(commands, "end", "end one session, for good")
    end.add_argument("handle", metavar="HANDLE", help="the session's handle")
    end_user = _add(commands, "end-user", "end all sessions of a user")
    end_user.add_argument("user", metavar="USER", help="the user's id")
    _add(commands, "purge", "remove dead sessions now")
    _add(commands, "migrate", "make the tables of a store, or bring them up to date, as its first use would")
    _add(commands, "stats", "how many sessions, how much space, which durability")
    _add_watch(commands)
    _add_dashboard(commands)
    _add_copy(commands)
    export = _add(commands, "export", "write all live sessions to a file, a line of JSON each, without their secrets")
    export.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="the file (-, the default: standard output)"
    )
    importing = _add(commands, "import", "create the sessions of an exported file that are not there, with new ids")
    importing.add_argument("file", metavar="FILE", help="the file (-: standard input)")
    importing.add_argument("--ids", metavar="FILE", help="write the new ids, which are secret, to this new file")
    return parser


def put_in_order(argv: Sequence[str]) -> list[str]:
    """The same words with the options first and the rest after ``--``.

    One handle in 64 begins with '-', which argparse would take for an option; and it cannot leave out a URL before
    a handle once an option stands between them."""
    if not argv or argv[0].startswith("-"):
        return list(argv)
    command, *rest = argv
    options: list[str] = []
    words: list[str] = []
    coming = iter(rest)
    for word in coming:
        if word == "--":
            words.extend(coming)
        elif word in _VALUED:
            options.append("=".join([word, *islice(coming, 1)]))
        elif word.startswith("-") and word != "-" and not (ids.is_handle(word) or ids.split(word)):
            options.append(word)
        else:
            words.append(word)
    return [command, *options, "--", *words] if words else [command, *options]


def _add(commands: Any, name: str, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False
    )
    where = f"the store, such as sqlite:///sessions.db (or ${STORE_VARIABLE})"
    parser.add_argument("url", metavar="URL", nargs="?", help=where)
    parser.add_argument("--store", metavar="URL", help="another way to name the store")
    _add_json(parser)
    return parser


def _add_copy(commands: Any) -> None:
    what = "copy all live sessions into another store, while your application goes on; run again, it goes on"
    parser = commands.add_parser("copy", help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)
    parser.add_argument("source", metavar="FROM", help="the store that your application uses")
    parser.add_argument("target", metavar="TO", help="the store that it is to use")
    parser.add_argument("--dry-run", action="store_true", help="count what would be done, and copy nothing")
    _add_json(parser)


def _add_watch(commands: Any) -> None:
    watch = _add(commands, "watch", "show what happens to sessions, as it happens, until Ctrl-C")
    which = watch.add_mutually_exclusive_group()
    which.add_argument("--user", metavar="USER", help="only the sessions of this user")
    which.add_argument("--session", metavar="HANDLE", help="only this session, until it ends")
    watch.add_argument(
        "--since", metavar="POSITION", type=_position, help="begin there in the history (0: with the oldest kept)"
    )


def _add_dashboard(commands: Any) -> None:
    what = "serve a page that shows the sessions of a store, and open it in a browser"
    dashboard = _add(commands, "dashboard", what)
    dashboard.add_argument(
        "--port", metavar="N", type=_up_to(_LARGEST_PORT, 0), default=DASHBOARD_PORT, help=f"({DASHBOARD_PORT}; 0: any)"
    )
    dashboard.add_argument("--read-only", action="store_true", help="look, and change nothing")
    dashboard.add_argument(
        "--redact", metavar="PATTERN", action="append", default=[], help="never show values of such names, too: *iban*"
    )
    dashboard.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _add_demo(commands: Any) -> None:
    what = "serve a live page that shows what sessions can do, and open it in a browser"
    parser = commands.add_parser("demo", help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)
    parser.add_argument("--port", metavar="N", type=_up_to(_LARGEST_PORT, 0), default=DEMO_PORT, help="(8765; 0: any)")
    # Not SOJOURN_STORE: a demo has no business in the store of your application.
    parser.add_argument("--store", metavar="URL", default=DEMO_STORE, help=f"({DEMO_STORE})")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def _position(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_POSITION:
        raise argparse.ArgumentTypeError(f"{text!r} is no position of a history: that is a whole number")
    return int(text)


def _up_to(most: int, least: int = 1) -> Any:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most:,}")
        return int(text)

    return number
