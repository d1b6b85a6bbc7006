"""What the command line takes: the parser, and a word order that argparse can follow. Bare: no extra is needed.

A store's URL comes first after the command; where SOJOURN_STORE (or ``--store``) names the store it may be left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from .. import ids

__all__ = ["DEMO_PORT", "DEMO_STORE", "STORE_VARIABLE", "UsageError", "make_parser", "put_in_order"]

STORE_VARIABLE: Final = "SOJOURN_STORE"
DEMO_PORT: Final = 8765
DEMO_STORE: Final = "sqlite:///sojourn-demo.db"

_VALUED: Final = frozenset({"--store", "--user", "--limit", "--after", "--port"})  # options that take the next word
_LARGEST_PAGE: Final = 100_000
_LARGEST_PORT: Final = 65_535

_EXAMPLES: Final = """\
examples:
  sojourn demo                                   a shop to play with, in your browser
  sojourn check sqlite:///sessions.db            does this store keep its promises, on this machine?
  sojourn list sqlite:///sessions.db --user ada  who is signed in where
  sojourn end sqlite:///sessions.db HANDLE       sign one session out

stores:
  memory://                      this process only
  sqlite:///relative/path.db     one file, many processes; four slashes for an absolute path
                                 ?durability=power (the default) or process
  postgresql://user@host/db      a PostgreSQL database, many machines

A session is named by its handle, which is public. Session ids are secret: no command shows or takes one.
"""


class UsageError(Exception):
    """The command line makes no sense. The message says what would."""


def make_parser(version: str) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="sojourn",
        description="Look at a store of sessions, end some of them, check the store's promises, see a demo.",
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
        elif word.startswith("-") and not (ids.is_handle(word) or ids.split(word)):
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


def _add_demo(commands: Any) -> None:
    what = "serve a small shop that shows what sessions can do, and open it in a browser"
    parser = commands.add_parser("demo", help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)
    parser.add_argument("--port", metavar="N", type=_up_to(_LARGEST_PORT, 0), default=DEMO_PORT, help="(8765; 0: any)")
    # Not SOJOURN_STORE: a demo has no business in the store of your application.
    parser.add_argument("--store", metavar="URL", default=DEMO_STORE, help=f"({DEMO_STORE})")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def _up_to(most: int, least: int = 1) -> Any:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most:,}")
        return int(text)

    return number
