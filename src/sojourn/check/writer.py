"""The child of the durability check: writes to a session until it is killed, and says each acknowledged write.

input    the store's URL, then the session id, a line each
output   a line for each write once it is acknowledged: 0, 1, 2, ...; anything else is a complaint
"""

from __future__ import annotations

import sys
from typing import Final

from ..blocking import SessionManager
from ..errors import SojournError
from .bench import CONFIG

__all__ = ["main"]

_ENOUGH: Final = 5000  # writes: nobody came to kill it


def main() -> int:
    """Write and acknowledge until killed; the exit code where that does not happen."""
    url, session_id = (sys.stdin.readline().strip() for _ in range(2))
    try:
        with SessionManager(url, config=CONFIG) as sessions:
            for number in range(_ENOUGH):
                with sessions.session(session_id) as session:
                    session["written"].append(number)
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
    except (SojournError, OSError) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
