"""What a visitor does in a Streamlit app, as `streamlit_apps` writes it down.

A step is what happens before a run of the script, and the run: `run()` is a run without anything, `click` presses a
button, `put` gives a widget a value, `state` is code outside of the script, `address` is what the browser's
address says by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # who compares what was seen needs no Streamlit
    from streamlit.testing.v1 import AppTest

__all__ = [
    "APPS",
    "Act",
    "App",
    "Step",
    "act",
    "address",
    "app",
    "back",
    "click",
    "put",
    "run",
    "say",
    "state",
    "submit",
    "turn_to",
]

Act = Callable[["AppTest"], Any]


@dataclass(frozen=True)
class Step:
    """One run, and what the visitor did before it."""

    name: str
    acts: tuple[Act, ...] = ()
    fragment: str | None = None
    """The key of the fragment that is run alone; None: the whole script."""
    history: bool = False
    """Whether the visitor came by back or forward."""
    stay: tuple[str, ...] | None = None
    """The keys of the widgets whose values are told; None: of all."""
    send: bool = True
    """Whether the browser says what its widgets hold. It does not when it loads the page."""


@dataclass(frozen=True)
class App:
    """A script and its steps."""

    open: Callable[[], AppTest]
    steps: tuple[Step, ...]
    differs: bool
    """Whether something else is to be seen with Sojourn's state, on purpose."""


APPS: dict[str, App] = {}


def app(
    script: Callable[[], None] | Path,
    *steps: Step,
    address: dict[str, Any] | None = None,
    name: str = "",
    differs: bool = False,
) -> None:
    """Note an app. Its first run is before all steps, with this address."""

    def open_it() -> AppTest:
        from streamlit.testing.v1 import AppTest

        test = AppTest.from_file(script) if isinstance(script, Path) else AppTest.from_function(script)
        test.query_params.update(address or {})
        return test

    name = name or (script.stem if isinstance(script, Path) else script.__name__)
    APPS[name] = App(open_it, (Step("load", send=False), *steps), differs)


def run(*acts: Act, fragment: str | None = None) -> Step:
    """A run of the script after these, or of the fragment with this key."""
    names = " and ".join(act.__doc__ or "" for act in acts) or "nothing"
    return Step(f"{names}{f' in {fragment}' if fragment else ''}", acts, fragment)


def back(*acts: Act, **params: Any) -> Step:
    """Come by back or forward, to this address."""
    return Step(f"back to {params}", (*acts, address(**params)), history=True)


def act(name: str, do: Act) -> Act:
    """Name what is done."""
    do.__doc__ = name
    return do


def click(key: str) -> Act:
    """Press a button."""
    return act(f"click {key}", lambda test: test.button(key=key).click())


def submit(label: str) -> Act:
    """The button of a form, which has no key."""
    return act(f"submit {label}", lambda test: next(one for one in test.button if one.label == label).click())


def put(kind: str, key: str | int, value: Any, says: Any = None) -> Act:
    """Give a widget a value: by its key, or by its number among those of its kind. If it is bound to the address, the
    browser has that say so at once; "" for what is the default."""

    def do(test: AppTest) -> Any:
        if says == "":
            test.query_params.pop(key, None)
        elif says is not None:
            test.query_params[key] = says
        widgets = getattr(test, kind)
        return (widgets[key] if isinstance(key, int) else widgets(key=key)).set_value(value)

    return act(f"put {value!r} into {kind} {key}", do)


def say(key: str, field: str, value: Any) -> Act:
    """Have the browser send a value that `AppTest` cannot give the widget with this key."""

    def do(test: AppTest) -> None:
        node = next(one for one in test._tree if getattr(one, "key", None) == key)
        test.__dict__.setdefault("said", []).append((node.proto.id, field, value))

    return act(f"say {value} of {key}", do)


def state(key: str, value: Any) -> Act:
    """Have code outside of the script set a key."""
    return act(f"state {key}={value!r}", lambda test: test.session_state.__setitem__(key, value))


def address(**params: Any) -> Act:
    """Have the browser's address say just this."""

    def do(test: AppTest) -> None:
        test.query_params.clear()
        test.query_params.update(params)

    return act(f"address {params}", do)


def turn_to(path: str, *acts: Act, stay: tuple[str, ...] = ()) -> Step:
    """Go to another page. What the browser knows of widgets it tells of these that are on all pages alone."""
    switch = act(f"page {path}", lambda test: test.switch_page(path))
    return Step(f"page {path}", (switch, *acts), stay=stay)
