"""Widgets as their makers describe them, for the tests of the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sojourn import SafeSessionState, SessionState
from sojourn.state import RegisterWidgetResult, ScriptRun, WidgetMetadata, script_run, widget_id


def text(key: str | None, *, default: str = "", name: str = "text", **more: Any) -> WidgetMetadata[str]:
    """A text input."""
    return WidgetMetadata(
        widget_id(name, key), lambda sent: default if sent is None else str(sent), str, "string_value", **more
    )


def number(key: str | None, *, default: int = 0, name: str = "number", **more: Any) -> WidgetMetadata[int]:
    """A number input."""
    return WidgetMetadata(
        widget_id(name, key), lambda sent: default if sent is None else int(sent), int, "int_value", **more
    )


def button(key: str | None, *, name: str = "button", **more: Any) -> WidgetMetadata[bool]:
    """A button: True in the run that its click begins."""
    return WidgetMetadata(widget_id(name, key), bool, bool, "trigger_value", **more)


def choices(key: str | None, *, name: str = "choices", **more: Any) -> WidgetMetadata[list[str]]:
    """A choice of several."""
    return WidgetMetadata(widget_id(name, key), lambda sent: list(sent or ()), list, "string_array_value", **more)


@contextmanager
def run_of(
    state: SessionState | SafeSessionState,
    sent: dict[str, Any] | None = None,
    *,
    page: str = "",
    fragments: tuple[str, ...] = (),
) -> Iterator[Script]:
    """A run of a script, from what the browser sent to its end."""
    with script_run(page=page, fragment_ids=fragments) as run:
        state.on_script_will_rerun(sent)
        yield Script(state, run)
        state.on_script_finished(run.widget_ids)


class Script:
    """What a script does."""

    def __init__(self, state: SessionState | SafeSessionState, run: ScriptRun) -> None:
        self.state = state
        self.run = run

    def make(self, metadata: WidgetMetadata[Any]) -> RegisterWidgetResult[Any]:
        """Make a widget, under the key in its id."""
        key = metadata.id.split("-", 2)[-1]
        return self.state.register_widget(metadata, None if key == "None" else key)

    def show(self, metadata: WidgetMetadata[Any]) -> Any:
        """Make a widget, and see its value."""
        return self.make(metadata).value


Callback = Callable[[], None]
