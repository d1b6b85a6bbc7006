"""The shape of the code: imports flow down one list, and what is public is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sojourn

ROOT = Path(sojourn.__file__).parent

ORDER = [
    "errors", "ids", "config", "record", "facts", "policy", "codec", "portable", "merge", "adopting", "fields",
    "session", "lifecycle", "cookie", "transport", "csrf", "flashes", "guesses", "waiting", "store", "stores",
    "opening", "bulk", "moving", "lanes", "watching", "listeners", "engine", "tickets", "exchange", "users",
    "manager", "blocking", "dicts", "dictstore", "state", "__init__", "sockets", "entries", "asgi_family",
    "flask_family", "adapters", "testing", "check", "live", "cli.humane", "cli.parsing", "cli.naming", "admin",
    "demo", "cli", "__main__",
]  # fmt: skip
"""Every module and folder, the lowest first: each may import what stands before it, and itself."""

PURE = ORDER[: ORDER.index("waiting")]
"""Values and decisions: no I/O, no clock, no waiting."""

EXTRAS = {
    "asgiref": "adapters.django",
    "django": ("adapters.django", "admin"),
    "fastapi": "adapters.fastapi",
    "flask": "adapters.flask",
    "flask_login": "adapters.flask",
    "pydantic": "adapters.fastapi",
    "quart": "adapters.quart",
    "markupsafe": ("adapters.flask", "adapters.quart"),
    "werkzeug": ("adapters.flask", "adapters.quart"),
    "starlette": ("live", "admin", "demo"),
    "uvicorn": ("live", "admin", "demo"),
    "markdown_it": ("live", "admin", "demo"),
    "litestar": "adapters.litestar",
    "rich": "cli",
    "hiredis": "stores.valkey",
    "psycopg": "stores.postgres",
    "google": ("state.widget_states_pb2", "state.wire"),
}
"""What is not in the bare install, and the only place that may import it."""


def modules() -> dict[str, Path]:
    """Every module by its name within the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> tuple[set[str], set[str]]:
    """What a module imports, wherever in it: of ours, and of others."""
    ours, others = set(), set()
    path = MODULES[name]
    package = [] if name in ("__init__", "__main__") else name.split(".")[: None if path.stem == "__init__" else -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            others.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - (node.level - 1)] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                ours.add(whole if whole in MODULES else ".".join(base) or "__init__")
    return ours, others - {"__future__"}


def place(name: str) -> int:
    """Where a module stands in the list."""
    for length in range(len(name.split(".")), 0, -1):
        prefix = ".".join(name.split(".")[:length])
        if prefix in ORDER:
            return ORDER.index(prefix)
    raise AssertionError(f"{name} has no place in the list of tests/test_architecture.py: give it one")


def test_every_module_has_its_place() -> None:
    """The list names every module, and nothing that is not there."""
    assert {ORDER[place(name)] for name in MODULES} == set(ORDER)


@pytest.mark.parametrize("name", MODULES)
def test_imports_flow_down(name: str) -> None:
    """A module imports only what stands before it in the list, or is of the same folder."""
    ours, _ = imports(name)
    assert {other for other in ours if place(other) > place(name)} == set()


@pytest.mark.parametrize("name", [name for name in MODULES if place(name) < ORDER.index("waiting")])
def test_what_is_pure_does_nothing(name: str) -> None:
    """Values and decisions know no clock, no file, no network, no log, no event loop."""
    _, others = imports(name)
    if name == "ids":
        others.discard("os")  # the source of randomness
    assert (
        others & {"asyncio", "io", "logging", "os", "pathlib", "select", "socket", "sqlite3", "subprocess", "time"}
        == set()
    )


def test_stores_know_values_and_their_contract() -> None:
    """A store knows the pure modules and the contract, its own parts, and no other store; the operations know no
    store."""
    stores = {name for name in MODULES if name.startswith("stores.")}
    openable = {name for name in stores if "def open_url" in MODULES[name].read_text()}
    assert {"stores.memory", "stores.sqlite"} <= openable
    for name in stores:
        ours, _ = imports(name)
        assert {other for other in ours if other not in stores} <= {*PURE, "waiting", "store"}, name
        assert ours & openable == set(), name
    for name in MODULES:
        if name not in stores and place(name) <= ORDER.index("adapters"):
            assert not any(other.startswith("stores") for other in imports(name)[0]), name


def test_adapters_know_neither_each_other_nor_a_store() -> None:
    """An adapter imports no other adapter, and no store."""
    adapters = {name for name in MODULES if name.startswith("adapters.")}
    assert len(adapters) >= 3
    for name in adapters:
        own = ".".join(name.split(".")[:2])
        others = {other for other in imports(name)[0] if other != own and not other.startswith(f"{own}.")}
        assert not any(other.startswith(("adapters", "stores", "store", "opening")) for other in others), name


def test_there_is_one_dependency() -> None:
    """The package imports the standard library and msgspec; each extra is imported in its own place only."""
    for name in MODULES:
        for other in imports(name)[1] - sys.stdlib_module_names - {"msgspec"}:
            assert other in EXTRAS, f"{name} imports {other}"
            assert name.startswith(EXTRAS[other]), f"{name} imports {other}"


def test_importing_it_imports_little() -> None:
    """``import sojourn`` brings in no driver and no extra, and neither do the stores' tests."""
    program = "import sys, sojourn, sojourn.testing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {*EXTRAS, "sqlite3", "pytest", "hypothesis", "sojourn.cli", "sojourn.demo"} & set(loaded)


# --- Words -----------------------------------------------------------------------------------------------------------


def _importable() -> list[str]:
    """Modules that the bare install can import."""
    places = tuple(one for place in EXTRAS.values() for one in ((place,) if isinstance(place, str) else place))
    return [name for name in MODULES if not name.startswith(places) and name != "__main__"]


def _module(name: str) -> Any:
    return importlib.import_module("sojourn" if name == "__init__" else f"sojourn.{name}")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name: str) -> None:
    """A module opens with what it is."""
    assert len(ast.get_docstring(ast.parse(MODULES[name].read_text())) or "") > 20


@pytest.mark.parametrize("name", _importable())
def test_what_is_exported_is_documented(name: str) -> None:
    """Every class and function that a module exports has a docstring."""
    module = _module(name)
    exported = {one: getattr(module, one) for one in getattr(module, "__all__", [])}
    assert [one for one, found in exported.items() if _is_code(found) and not _described(found, one)] == []


_PUBLIC = {
    **{name: getattr(sojourn, name) for name in sojourn.__all__},
    **{f"{name}.{one}": getattr(_module(name), one) for name in ("store", "testing") for one in _module(name).__all__},
}


@pytest.mark.parametrize("name", [name for name, found in _PUBLIC.items() if inspect.isclass(found)])
def test_what_is_public_is_documented(name: str) -> None:
    """Every public method and property of a public class has a docstring."""
    kind = _PUBLIC[name]
    members = {member: vars(kind)[member] for member in vars(kind) if not member.startswith("_")}
    assert [
        member for member, found in members.items() if _is_code(found) and not inspect.getdoc(getattr(kind, member))
    ] == []


def _is_code(found: Any) -> bool:
    return (
        inspect.isclass(found) or inspect.isfunction(found) or isinstance(found, (property, classmethod, staticmethod))
    )


def _described(found: Any, name: str) -> bool:
    return bool(found.__doc__) and not found.__doc__.startswith(f"{name}(")  # what a dataclass writes by itself


def test_the_public_names() -> None:
    """The package offers what its ``__all__`` lists: every error, both managers, and what their methods return."""
    from sojourn import errors

    assert set(errors.__all__) <= set(sojourn.__all__)
    assert all(hasattr(sojourn, name) for name in sojourn.__all__)
    assert {"SessionManager", "AsyncSessionManager", "Session", "AsyncSession", "Summary", "Change", "Handle"} <= set(
        sojourn.__all__
    )


@pytest.mark.parametrize("name", sojourn.SessionManager.__dict__)
def test_public_operations_say_how_they_fail(name: str) -> None:
    """What takes a session id says what becomes of one that is unknown: an error, None, or nothing."""
    method = getattr(sojourn.SessionManager, name)
    if not name.startswith("_") and callable(method) and "session_id" in inspect.signature(method).parameters:
        assert re.search(r"SessionNotFound|None|[Nn]othing happens|[Ww]hether|[Aa]s `session`", method.__doc__), name


def test_parts_that_most_do_without_are_imported_when_asked_for() -> None:
    """Importing sojourn imports neither the state of scripts nor the dict of sessions; their names are there all the
    same, and others are not."""
    program = (
        "import sys, sojourn; parts = ('sojourn.state', 'sojourn.dictstore');"
        "print(*(part in sys.modules for part in parts));"
        "from sojourn import *; print(SafeSessionState.__module__, SessionStore.__module__);"
        "print(hasattr(sojourn, 'nothing'))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "False", "sojourn.state.safe", "sojourn.dictstore", "False"]
