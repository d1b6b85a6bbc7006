"""``sojourn watch``: what happens to sessions, as it happens, in lines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import msgspec

from ..blocking import SessionManager
from ..ids import Handle
from ..record import Change
from .naming import CONFIG, check_handle, check_presence, public, store_url

__all__ = ["watch"]


def watch(arguments: argparse.Namespace) -> int:
    """Show changes until Ctrl-C, or until the session that is watched has ended."""
    session: str | None = arguments.session
    if session is not None:
        check_handle(session, "sojourn watch URL --session HANDLE")
    url = store_url(arguments)
    show = _shower(arguments, url)
    check_presence(url)
    try:
        with SessionManager(url, config=CONFIG) as manager:
            handle = None if session is None else Handle(session)
            with manager.watch(handle, user=arguments.user, since=arguments.since) as changes:
                for change in changes:
                    show(change)
    except KeyboardInterrupt:
        return 0  # as it is meant to end
    return 0


def _shower(arguments: argparse.Namespace, url: str) -> Callable[[Change], None]:
    if arguments.json:
        return _print_json
    from .console import new_console  # it needs the extra [cli], and says so: it must come first
    from .lines import Lines

    return Lines(new_console(), public(url)).show


def _print_json(change: Change) -> None:
    sys.stdout.write(json.dumps(msgspec.structs.asdict(change)) + "\n")
    sys.stdout.flush()
