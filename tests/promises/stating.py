"""Jobs of children that use interactive states."""

from __future__ import annotations

from talking import hear, ready, say

from sojourn import SafeSessionState, SessionConfig, SessionManager, SessionState
from sojourn.state import WidgetMetadata, script_run, widget_id

PATIENT = SessionConfig(deadline=10)
SLIDER = WidgetMetadata(widget_id("slider", "level"), lambda sent: sent or 0, int, "int_value")


def state_writes(url: str, session_id: str, times: str) -> None:
    """Write in every way, and say each number once all that it wrote was acknowledged."""
    with SessionManager(url, config=PATIENT) as sessions:
        state = SessionState(session_id, sessions)
        safe = SafeSessionState(state, lambda: None)
        ready()
        for number in range(1, int(times) + 1):
            if number % 4 == 0:
                state.set(f"key{number}", number)
            elif number % 4 == 1:
                safe[f"key{number}"] = number
            elif number % 4 == 2:
                safe.update("count", lambda count: count + 1)
            else:
                _run(state, number)
            say(number)


def _run(state: SessionState, level: int) -> None:
    with script_run() as run:
        state.on_script_will_rerun({SLIDER.id: level})
        state.register_widget(SLIDER, "level")
        state["levels"].append(level)
        state.on_script_finished(run.widget_ids)


def state_takes_turns(url: str, session_id: str, name: str) -> None:
    """At each word: read what there is, add to it, write it, and answer."""
    with SessionManager(url, config=PATIENT) as sessions:
        state = SessionState(session_id, sessions)
        safe = SafeSessionState(state, lambda: None)
        ready()
        for turn in iter(hear, "end"):
            safe["count"] = safe["count"] + 1
            safe[f"{name}{turn}"] = turn
            safe["list"].append(f"{name}{turn}")
            level = state.get("level", 0)
            with script_run() as run:
                state.on_script_will_rerun({})
                was = state.register_widget(SLIDER, "level").value
                state.on_script_finished(run.widget_ids)
            with script_run() as run:
                state.on_script_will_rerun({SLIDER.id: was + 1})
                state.register_widget(SLIDER, "level")
                state.on_script_finished(run.widget_ids)
            say(f"{level} {was}")


def state_adds(url: str, session_id: str, name: str, times: str) -> None:
    """Add as fast as possible, in every way that is exact."""
    with SessionManager(url, config=PATIENT) as sessions:
        state = SessionState(session_id, sessions)
        ready()
        for number in range(int(times)):
            state.update("count", lambda count: count + 1)
            state[f"{name}{number}"] = number
            state["list"].append(f"{name}{number}")
            state.save()
        say("done")


STATING = (state_writes, state_takes_turns, state_adds)
