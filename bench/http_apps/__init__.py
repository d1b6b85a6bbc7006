"""The applications that `http` has served: one small module for each framework, all with the same views.

`SESSIONS` in the environment says who keeps the sessions: "none", "theirs" (the framework's own, or what its users add)
or "sojourn"; `STORE` says where. A view is a function of the session, None where there is none, that returns the text
of the response:

    create   payload B into the session
    read     one field is read
    change   one field is assigned, with other bytes each time; the text is its number
    show     the number of the last change that is in the session
    cpu      the seconds of CPU that this process has used
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.payloads import B

__all__ = ["SESSIONS", "STORE", "VIEWS"]

SESSIONS: Final = os.environ["SESSIONS"]
STORE: Final = os.environ["STORE"]

_numbers = itertools.count(1_000)


def _create(session: Any) -> str:
    for name, value in B.build(next(_numbers)).items():
        session[name] = value
    return "ok"


def _read(session: Any) -> str:
    if session is not None:
        assert session[B.read][B.leaf]
    return "ok"


def _change(session: Any) -> str:
    value = B.value(next(_numbers))
    if session is not None:
        session[B.change] = value
    return str(value["at"])


def _show(session: Any) -> str:
    return str(session[B.change]["at"])


def _cpu(_: Any) -> str:
    return repr(time.process_time())


VIEWS: Final[Mapping[str, Callable[[Any], str]]] = {
    "create": _create,
    "read": _read,
    "change": _change,
    "show": _show,
    "cpu": _cpu,
}
