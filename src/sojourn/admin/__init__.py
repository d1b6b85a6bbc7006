"""The dashboard: sessions that one can see. Who is here, what is in a session, why it ended, whether the store is well.

It is a live app (`sojourn.live`) behind a gate, on the change feed. Needs the extra ``[live]``.

    dashboard   the application, and how it is mounted
"""

from __future__ import annotations

from ..errors import MissingExtra

try:
    import markdown_it
    import starlette
    import uvicorn
except ImportError as error:
    raise MissingExtra("the dashboard", "live") from error
del markdown_it, starlette, uvicorn

from .audit import Entry  # noqa: E402 - after the extras were found
from .dashboard import Dashboard  # noqa: E402
from .reports import report  # noqa: E402

__all__ = ["Dashboard", "Entry", "report"]
