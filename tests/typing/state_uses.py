"""What a type checker makes of interactive states. mypy reads it; nobody runs it."""

from __future__ import annotations

from typing import Any, assert_type

from sojourn import SafeSessionState, SessionManager, SessionState
from sojourn.state import QueryParams, RegisterWidgetResult, WidgetMetadata, script_run, widget_id


class Ours(SessionState):
    manager = SessionManager()


def states(session_id: str) -> None:
    state = SessionState.create()
    assert_type(state, SessionState)
    assert_type(Ours.create(), Ours)
    assert_type(Ours.get_session(session_id), Ours | None)
    assert_type(state.session_id, str | None)
    assert_type(state.data, dict[str, Any])
    state.set("cart", [])
    state.delete("cart")
    state["n"] = state.get("n", 0)


def views(state: SessionState, mapping: dict[str, Any]) -> None:
    safe = SafeSessionState(state, lambda: None)
    SafeSessionState(mapping)
    SafeSessionState(1)  # type: ignore[arg-type]
    assert_type(safe.update("n", lambda n: int(n) + 1), int | None)
    assert_type(safe.filtered_state, dict[str, Any])
    safe.anything = safe.something
    with safe.query_params() as params:
        assert_type(params, QueryParams)
        assert_type(params.get("page", 1), str | int)


def widgets(safe: SafeSessionState) -> None:
    slider = WidgetMetadata(widget_id("slider", "n"), lambda sent: int(sent or 0), str, "int_value")
    with script_run(page="home") as run:
        safe.on_script_will_rerun({slider.id: 3})
        result = safe.register_widget(slider, "n")
        assert_type(result, RegisterWidgetResult[int])
        assert_type(result.value, int)
        safe.on_script_finished(run.widget_ids)
    WidgetMetadata("id", int, int, "no such value")  # type: ignore[arg-type]
