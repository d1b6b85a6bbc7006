"""Interactive state: what a script that reruns keeps, and what its widgets show.

    SessionState        the user's keys and widgets' values in one mapping; may be bound to a stored session
    SafeSessionState    the same for several threads at once, with points where a script can be interrupted
    WidgetMetadata      what the state must know of a widget
    script_run          the block in which a run of the script happens
    QueryParams         what the page's address says

Read `session_state` first; `sojourn.state.wire` is how widgets' values travel.
"""

from .query_params import QueryParams
from .runs import ScriptRun, current_run, script_run
from .safe import SafeSessionState
from .session_state import SessionState
from .widgets import RegisterWidgetResult, ValueType, WidgetMetadata, widget_id

__all__ = [
    "QueryParams",
    "RegisterWidgetResult",
    "SafeSessionState",
    "ScriptRun",
    "SessionState",
    "ValueType",
    "WidgetMetadata",
    "current_run",
    "script_run",
    "widget_id",
]
