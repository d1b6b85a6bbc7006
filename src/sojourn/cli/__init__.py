"""The command ``sojourn``: look at a store, end sessions, check a store's promises, run the demo.

A command makes one document, a dict of plain values. ``--json`` prints it as it is; else `sojourn.cli.console` shows
it, and only that needs the extra ``[cli]``. An id or a secret is in none of them: sessions go by their handles.

The documents (times in Unix seconds, sizes in bytes):

    list      store, sessions: [handle, user_id, label, created_at, last_accessed_at, expires_at, size], more
    show      store, handle, user_id, label, created_at, authenticated_at, rotated_at, last_accessed_at, expires_at,
              ends_at, idle_timeout, persistent, generation, size, fields: [name, type, size, value, problem]
    end       store, handle, ended, reason
    end-user  store, user_id, ended
    purge     store, removed
    migrate   store, schema
    stats     store, sessions, bytes, durability
    check     store, note, durability, kept, seconds, promises: [name, promise, done, kept, figures, problem, seconds]
    demo      url, pid, store
    copy      from, to, dry_run, copied, already_there, renewed, ended, changed_in_both, failed (both: handles), passes,
              seconds
    export    store, file, exported
    import    store, file, imported, already_there, expired, ids
    dashboard url, pid, store, password (only where it was made up here)
    watch     a line for each change: id, kind, at, handle, user_id, reason, fields

Exit codes: 0 done; 1 not done, with one line on stderr that says why; 2 not understood, or an extra is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from keyword import iskeyword
from typing import Any, Final, TypeAlias

import msgspec

from .. import __version__
from ..blocking import SessionManager, run
from ..config import SessionConfig
from ..errors import MissingExtra, SessionNotFound, SojournError
from ..ids import Handle
from .humane import safe
from .inspecting import describe_session
from .naming import CONFIG, check_handle, check_presence, public, store_url
from .parsing import Failure, UsageError, make_parser, put_in_order

__all__ = ["main"]

Document: TypeAlias = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code; argparse itself exits with 0 for ``--help`` and 2 for bad usage."""
    parser = make_parser(__version__)
    arguments = parser.parse_args(put_in_order(sys.argv[1:] if argv is None else argv))
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return _COMMANDS[arguments.command](arguments)
    except (UsageError, MissingExtra) as error:
        return _complain(str(error), 2)
    except (SojournError, Failure) as error:
        return _complain(str(error), 1)
    except BrokenPipeError:  # `sojourn list | head` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _complain("interrupted", 130)


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"sojourn: {safe(message)}\n")
    return code


# --- Commands on a store ---------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace, manager: SessionManager) -> Document:
    limit: int = arguments.limit
    found = manager.list_sessions(arguments.user, after=arguments.after, limit=limit + 1)
    return {"sessions": [msgspec.structs.asdict(row) for row in found[:limit]], "more": len(found) > limit}


def _show(arguments: argparse.Namespace, manager: SessionManager) -> Document:
    session = run(manager.engine.open(Handle(arguments.handle)))
    if session is None:
        raise SessionNotFound
    return describe_session(session)


def _end(arguments: argparse.Namespace, manager: SessionManager) -> Document:
    # Straight to the store, in one step: it also removes a record that is damaged, which the manager would not open.
    told = run(manager.store.end([arguments.handle], "revoked", time.time()))
    if not told:
        raise SessionNotFound
    return {"handle": arguments.handle, "ended": True, "reason": told[0].reason}


def _end_user(arguments: argparse.Namespace, manager: SessionManager) -> Document:
    return {"user_id": arguments.user, "ended": manager.end_user_sessions(arguments.user)}


def _purge(arguments: argparse.Namespace, manager: SessionManager) -> Document:
    return {"removed": manager.purge_expired()}


def _stats(arguments: argparse.Namespace, manager: SessionManager) -> Document:
    return msgspec.structs.asdict(manager.stats())


def _migrate(arguments: argparse.Namespace, manager: SessionManager) -> Document:
    migrate: Callable[[], Coroutine[Any, Any, int]] | None = getattr(manager.store, "migrate", None)
    if migrate is None:
        raise UsageError("this store has no schema: there is nothing to migrate")
    return {"schema": run(migrate())}


def _on_store(
    command: Callable[[argparse.Namespace, SessionManager], Document], config: SessionConfig = CONFIG
) -> Callable[[argparse.Namespace], int]:
    """A command on a store that is there: it opens the store, never creates one, and prints the document."""

    def perform(arguments: argparse.Namespace) -> int:
        present = _presenter(arguments)
        if "handle" in arguments:
            check_handle(arguments.handle, f"sojourn {arguments.command} URL HANDLE")
        url = store_url(arguments)
        check_presence(url)
        with SessionManager(url, config=config) as manager:
            document = {"store": public(url), **command(arguments, manager)}
        present(document)
        return 0

    return perform


def _presenter(arguments: argparse.Namespace) -> Callable[[Document], None]:
    """What shows a document. Asked for first, so that a missing extra is told before anything is done."""
    if arguments.json:
        return _print_json
    from . import console  # it needs the extra [cli]

    name = arguments.command.replace("-", "_")
    show: Callable[[Document], None] = getattr(console, f"{name}_" if iskeyword(name) else name)
    return show


def _print_json(document: Document) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


# --- The check and the demo ------------------------------------------------------------------------------------------


def _check(arguments: argparse.Namespace) -> int:
    from .. import check  # no other command needs it

    present, url, began = _presenter(arguments), store_url(arguments), time.monotonic()
    with check.find_place(url) as place, closing(check.Bench.at(place.url)) as bench:
        with _progress(arguments, len(check.promises_for(bench))) as starting:
            results = check.run(bench, starting)
        durability = bench.store.durability
    kept = all(result.kept is not False for result in results)
    present(
        {
            "store": public(url),
            "note": place.note,
            "durability": durability,
            "kept": kept,
            "seconds": round(time.monotonic() - began, 3),
            "promises": [msgspec.structs.asdict(result) for result in results],
        }
    )
    return 0 if kept else 1


def _progress(arguments: argparse.Namespace, steps: int) -> AbstractContextManager[Callable[[Any], None]]:
    """Something to call with each promise before it is checked."""
    if arguments.json:
        return nullcontext(lambda promise: None)
    from . import console  # it needs the extra [cli]

    return console.progress(steps)


def _demo(arguments: argparse.Namespace) -> int:
    from ..demo import serve  # it needs the extra [demo]

    return serve(port=arguments.port, store=arguments.store, browser=not arguments.no_browser, as_json=arguments.json)


def _dashboard(arguments: argparse.Namespace) -> int:
    from ..admin import command  # it needs the extra [live]

    url = store_url(arguments)
    check_presence(url)
    return command.serve(
        url,
        port=arguments.port,
        read_only=arguments.read_only,
        redact=arguments.redact,
        browser=not arguments.no_browser,
        as_json=arguments.json,
    )


# --- Moving and watching ---------------------------------------------------------------------------------------------


def _copy(arguments: argparse.Namespace) -> int:
    from . import moving  # most commands do without

    return moving.copy(arguments, _presenter(arguments))


def _export(arguments: argparse.Namespace) -> int:
    from . import moving

    return moving.export_lines(arguments, _presenter(arguments))


def _import(arguments: argparse.Namespace) -> int:
    from . import moving

    return moving.import_lines(arguments, _presenter(arguments))


def _watch(arguments: argparse.Namespace) -> int:
    from . import watching

    return watching.watch(arguments)


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "demo": _demo,
    "check": _check,
    "list": _on_store(_list),
    "show": _on_store(_show),
    "end": _on_store(_end),
    "end-user": _on_store(_end_user),
    "purge": _on_store(_purge),
    "migrate": _on_store(_migrate, SessionConfig(deadline=3600.0)),  # however large the tables are
    "stats": _on_store(_stats),
    "copy": _copy,
    "export": _export,
    "import": _import,
    "watch": _watch,
    "dashboard": _dashboard,
}
