"""The bare install: the wheel, with msgspec and nothing else, in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.battery
ROOT = Path(__file__).parents[1]
EXTRAS = (
    *("rich", "starlette", "uvicorn", "fastapi", "flask", "quart", "werkzeug", "django", "litestar", "pydantic"),
    *("google.protobuf", "streamlit", "httpx", "hypothesis"),
)


class Bare:
    """The virtual environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        wheels = folder / "wheels"
        _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
        (self.wheel,) = wheels.glob("sojourn-*.whl")
        venv.create(folder / "venv", with_pip=True)
        self.bin = folder / "venv" / "bin"
        _run(str(self.bin / "python"), "-m", "pip", "install", "--quiet", str(self.wheel))

    def python(self, program: str, code: int = 0) -> str:
        """Run a program; what it printed."""
        return _run(str(self.bin / "python"), "-c", program, folder=self.folder, code=code)

    def command(self, *arguments: str, code: int = 0) -> str:
        """Run the command ``sojourn``; what it printed."""
        return _run(str(self.bin / "sojourn"), *arguments, folder=self.folder, code=code)


def _run(*command: str, folder: Path | None = None, code: int = 0) -> str:
    # Without the caller's PYTHON... variables: they could put another copy of sojourn in the way.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SOJOURN"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    return Bare(tmp_path_factory.mktemp("bare"))


def test_msgspec_is_all_it_needs(bare: Bare) -> None:
    """The wheel brings msgspec and nothing else."""
    listed = bare.python("import json, importlib.metadata as m; print(json.dumps([x.name for x in m.distributions()]))")
    assert {"sojourn", "msgspec"} <= set(json.loads(listed)) <= {"sojourn", "msgspec", "pip", "setuptools"}


_PROGRAM = """
import asyncio
from sojourn import AsyncSessionManager, SessionManager

for url in ("memory://", "sqlite:///sessions.db"):
    with SessionManager(url, expiration_time=1800) as sessions:
        session_id = sessions.create_session(user_id="54321", data={"cart": {"items": []}})
        with sessions.session(session_id) as session:
            session["cart"]["items"].append("apple")
        assert sessions.get_session(session_id) == {"cart": {"items": ["apple"]}}

async def main():
    async with AsyncSessionManager("sqlite:///sessions.db") as sessions:
        async with sessions.session(session_id) as session:
            session["cart"]["items"].append("pear")
        print(await sessions.get_session(session_id))

asyncio.run(main())
"""


def test_a_session_runs(bare: Bare) -> None:
    """Sessions work, in memory and in a file, blocking and asynchronous."""
    assert bare.python(_PROGRAM) == "{'cart': {'items': ['apple', 'pear']}}\n"


def test_importing_brings_no_extra_in(bare: Bare) -> None:
    """Importing sojourn, or an adapter that needs no framework, imports no framework, no table and no server."""
    imports = "import sys, sojourn, sojourn.testing, sojourn.adapters.asgi, sojourn.adapters.wsgi"
    assert bare.python(f"{imports}; print([name for name in {EXTRAS!r} if name in sys.modules])") == "[]\n"


def test_the_command_is_there(bare: Bare) -> None:
    """``sojourn --version`` and ``python -m sojourn`` work, and with ``--json`` so does what looks at a store."""
    version = bare.command("--version")
    assert version.split()[-1] == "0.1.0"
    assert _run(str(bare.bin / "python"), "-m", "sojourn", "--version", folder=bare.folder) == version
    bare.python("from sojourn import SessionManager; SessionManager('sqlite:///one.db').create_session('ada')")
    assert '"user_id": "ada"' in bare.command("list", "sqlite:///one.db", "--json")
    assert '"sessions": 1' in bare.command("stats", "sqlite:///one.db", "--json")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("list", "sqlite:///one.db"), "cli"),
        (("stats", "sqlite:///one.db"), "cli"),
        (("check", "memory://"), "cli"),
        (("demo",), "demo"),
        (("demo", "--json"), "demo"),
    ],
    ids=" ".join,
)
def test_a_missing_extra_is_named(bare: Bare, arguments: tuple[str, ...], extra: str) -> None:
    """What needs an extra that is not installed says in one line how to install it, and does nothing else."""
    before = sorted(path.name for path in bare.folder.iterdir())
    told = bare.command(*arguments, code=2)
    assert f"pip install 'sojourn[{extra}]'" in told
    assert len(told.splitlines()) == 1
    assert sorted(path.name for path in bare.folder.iterdir()) == before


_WITHOUT_FLASK = """
import sojourn
try:
    import sojourn.adapters.flask
except sojourn.MissingExtra as error:
    print(isinstance(error, ImportError), error.extra, error)
"""


def test_the_flask_adapter_names_its_extra(bare: Bare) -> None:
    """Importing the adapter of a framework that is not installed raises `MissingExtra`, an ImportError, which names
    it."""
    told = bare.python(_WITHOUT_FLASK)
    assert told.startswith("True flask ")
    assert "pip install 'sojourn[flask]'" in told


def test_the_wheel_holds_what_it_needs(bare: Bare) -> None:
    """The statements of the SQLite store, the script of live apps and the mark of a typed package are in the wheel;
    tests are not."""
    program = f"import zipfile; print(*zipfile.ZipFile({str(bare.wheel)!r}).namelist(), sep='\\n')"
    names = set(bare.python(program).split())
    package = ROOT / "src" / "sojourn"
    kept = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {f"sojourn/{path.relative_to(package)}" for path in kept} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests") for name in names)
