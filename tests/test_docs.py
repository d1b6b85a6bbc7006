"""The documentation is true: its code runs and prints what it says, and its tables agree with the code.

A page's ```python blocks run in order, as one program, in an empty folder. What stands before a block in a comment says
more of it:

    <!-- no-run: reason -->    it is not run, and why
    <!-- output -->            the ```text block that follows is what the block before it prints; ``...`` is anything

A block with a title is a file: ```python title="shop.py" writes it, and "shop.py (continued)" adds to its end. Each of
them is run when the page is over.

A page that names a server has one: where its code says ``redis://127.0.0.1:6379`` or
``postgresql://shop@127.0.0.1:5432/shop``, the address of a server that the tests started stands in for it.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import re
import runpy
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    mark: str
    """The comment before it; empty if there is none."""
    line: int
    """The line of its first line of text, from 1."""
    text: str


_opens = re.compile(r'( *)(`{3,})(\w*)(?: title="([^"]+)")?').fullmatch


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    indent = fence = language = title = mark = ""
    held: list[str] = []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if fence and line.rstrip() == indent + fence:
            text = "\n".join(row.removeprefix(indent) for row in held)
            found.append(Block(language, title, mark, number - len(held), text))
            fence = mark = ""
        elif fence:
            held.append(line)
        elif opening := _opens(line.rstrip()):
            indent, fence, language, title = (part or "" for part in opening.groups())
            held = []
        elif line.strip():
            comment = re.fullmatch(r"<!-- (.+) -->", line.strip())
            mark = comment[1] if comment else ""
    assert not fence, f"{page}: a block is not closed"
    return found


# --- The code runs ----------------------------------------------------------------------------------------------------


VALKEY = re.compile(r"(?<=://)127\.0\.0\.1:6379\b(?:/0)?")
POSTGRES = re.compile(r"postgresql://shop@127\.0\.0\.1:5432/shop\b")
"""The servers that the code of the pages names."""


def play(page: Path, valkey: str = "", postgres: str = "") -> None:
    """Run the blocks of a page, here and now, in the current folder, with these servers in place of those it names."""
    program = types.ModuleType("page")
    sys.modules["page"] = program
    sys.path.insert(0, str(Path.cwd()))
    printed = ""
    written: dict[str, None] = {}
    for named in blocks_of(page):
        block = named._replace(text=POSTGRES.sub(postgres, VALKEY.sub(valkey, named.text)))
        if block.mark == "output":
            _compare(page, block, printed)
        elif block.language != "python" or block.mark.startswith("no-run"):
            continue
        elif block.title:
            written[_write(block)] = None
        else:
            code = compile("\n" * (block.line - 1) + block.text + "\n", str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, program.__dict__)
            printed = out.getvalue()
    for name in written:
        runpy.run_path(name)


def _write(block: Block) -> str:
    """Write the file that a block is, or add to it. Returns its name."""
    name = block.title.removesuffix(" (continued)")
    with Path(name).open("a" if name != block.title else "w") as file:
        file.write(block.text + "\n")
    sys.modules.pop(name.removesuffix(".py"), None)
    importlib.invalidate_caches()
    return name


def _compare(page: Path, block: Block, printed: str) -> None:
    wanted, found = ([line.rstrip() for line in text.strip().splitlines()] for text in (block.text, printed))
    pattern = "\n".join(re.escape(line).replace(r"\.\.\.", ".*") for line in wanted)
    if not re.fullmatch(pattern, "\n".join(found)):
        sys.exit(f"{page}:{block.line}: the page says\n\n{block.text}\n\nand the code prints\n\n{printed}")


def _has_python(page: Path) -> bool:
    return any(block.language == "python" for block in blocks_of(page))


def _servers(page: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The addresses of those servers that a page names, for `play`."""
    code = "\n".join(block.text for block in blocks_of(page) if block.language == "python")
    # a numbered database apart, as other tests keep to their prefixes in the first; and patience, on a busy machine
    yield f"127.0.0.1:{request.getfixturevalue('valkey').port}/7?deadline=10" if VALKEY.search(code) else ""
    if POSTGRES.search(code):
        database = request.getfixturevalue("postgres").database()
        request.addfinalizer(database.drop)
        yield database.url(deadline=10)


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES if _has_python(page)])
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Every block of Python on a page runs, in order, and prints what the page says."""
    servers = _servers(ROOT / page, request)
    command = [sys.executable, "-X", "utf8", str(Path(__file__).resolve()), str(ROOT / page), *servers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_is_not_run_says_why() -> None:
    """A block that is not run names its reason; an expected output follows a block that is run."""
    for page in PAGES:
        before: Block | None = None
        for block in blocks_of(page):
            where = f"{page}:{block.line}"
            if block.mark.startswith("no-run"):
                assert re.fullmatch(r"no-run: .{5,}", block.mark), where
            if block.mark == "output":
                assert block.language == "text", where
                assert before is not None, where
                assert (before.language, before.title) == ("python", ""), where
                assert not before.mark.startswith("no-run"), where
            before = block


def test_code_is_narrow_enough_to_be_read() -> None:
    """No line of code is wider than the column that the site gives it."""
    for page in sorted(DOCS.rglob("*.md")):
        if page.parent.name != "design":
            for block in blocks_of(page):
                wide = [line for line in block.text.splitlines() if len(line) > 88]
                assert not wide, f"{page}: {wide[0]}"


def test_commands_are_understood() -> None:
    """Every ``sojourn`` command on a page is one that the command line takes."""
    from sojourn.cli.parsing import make_parser, put_in_order

    parser = make_parser("0")
    seen = 0
    for page in PAGES:
        for block in blocks_of(page):
            for line in block.text.splitlines() if block.language in ("console", "sh") else ():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["sojourn"] and words[1:] not in (["--help"], ["--version"]):
                    assert parser.parse_args(put_in_order(words[1:])).command, f"{page}: {line}"
                    seen += 1
    assert seen


# --- The tables agree with the code -----------------------------------------------------------------------------------


def text_of(*names: str) -> str:
    """The text of pages, by their place in docs/."""
    return "\n".join((DOCS / name).read_text("utf-8") for name in names)


def rows_of(text: str, *columns: str) -> list[list[str]]:
    """The rows of the tables with these columns, as cells without their backticks."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            inside = False
        elif cells[: len(columns)] == list(columns):
            inside = True
        elif inside and not set(line) <= set("|-: "):
            found.append(cells)
    return found


def reference() -> str:
    """The reference, whole."""
    return text_of(*(f"reference/{page.name}" for page in sorted((DOCS / "reference").glob("*.md"))))


def public_names(kind: type) -> Iterator[str]:
    """The public names of a class that are its own or its bases' in the package."""
    for base in kind.__mro__:
        if base.__module__.startswith("sojourn"):
            for name in vars(base):
                if not name.startswith("_"):
                    yield name


def test_every_public_name_is_in_the_reference() -> None:
    """Whatever can be imported from ``sojourn`` is described in the reference."""
    import sojourn

    text = reference()
    missing = [name for name in sojourn.__all__ if not re.search(rf"`{name}\b", text)]
    assert not missing


def section(page: str, heading: str) -> str:
    """What stands under the heading of that level 3 that begins with this code."""
    found = re.search(rf"^### `{re.escape(heading)}\b(.*?)(?=^##|\Z)", text_of(page), re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def test_every_operation_is_in_the_reference() -> None:
    """Each operation of a manager has a heading of its own, and its parameters are named under it."""
    from sojourn import SessionManager

    operations = {
        name: value for name, value in inspect.getmembers(SessionManager, inspect.isfunction) if name[0] != "_"
    }
    assert set(re.findall(r"^### `(\w+)", text_of("reference/manager.md"), re.MULTILINE)) == set(operations)
    for name, function in operations.items():
        text = section("reference/manager.md", name)
        for parameter in inspect.signature(function).parameters:
            assert parameter == "self" or re.search(rf"\b{parameter}\b", text), f"{name}: {parameter}"


def test_every_name_of_a_session_is_in_the_reference() -> None:
    """Each public name of a session is described; those for managers and adapters are named apart."""
    from sojourn import AsyncSession, Session

    text = text_of("reference/session.md")
    for kind in (Session, AsyncSession):
        missing = {name for name in public_names(kind) if not re.search(rf"`(session\.)?{name}\b", text)}
        assert not missing


def test_every_setting_is_in_the_reference() -> None:
    """The tables of settings hold each setting, with its default as it is."""
    from sojourn import CookieConfig, SessionConfig

    rows = {row[0]: row[1] for row in rows_of(text_of("reference/config.md"), "setting", "default")}
    expected = {}
    for kind in (SessionConfig(), CookieConfig()):
        for field in dataclasses.fields(kind):
            expected[field.name] = getattr(kind, field.name)
    assert {name: rows.get(name) for name in expected} == {
        name: "CookieConfig()" if name == "cookie" else _as_python(value) for name, value in expected.items()
    }


def _as_python(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def test_the_timeouts_are_those_of_the_code() -> None:
    """Each timeout and limit stands in the table with its default, a reason and a source."""
    from sojourn import SessionConfig
    from sojourn.policy import GRACE
    from sojourn.tickets import TICKET_LIFE

    config = SessionConfig()
    expected = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name
        not in ("handle_form", "at_cap", "same_key", "record_changes", "cookie", "persistent", "transports")
    }
    expected |= {"grace": GRACE, "ticket": TICKET_LIFE}
    rows = rows_of(text_of("timeouts.md"), "setting", "default", "that is", "why", "source")
    assert {row[0] for row in rows} == set(expected)
    for name, default, *reasons in rows:
        assert ast.literal_eval(default.replace(",", "")) == expected[name], name
        assert all(reasons), name


def test_every_error_is_in_the_reference() -> None:
    """Each exception stands in the table of errors, and the tree is that of the code."""
    from sojourn import errors

    text = text_of("reference/errors.md")
    named = {row[0] for row in rows_of(text, "error", "when", "what was written", "what to do")}
    assert named == {name for name in errors.__all__ if name != "SojournError"}
    tree = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert tree is not None
    above: list[str] = []
    for line in tree[1].splitlines():
        drawn, name, base = re.fullmatch(r"([│├└─ ]*)(\w+)(?: \((\w+)\))?", line).groups()  # type: ignore[union-attr]
        above[len(drawn) // 4 :] = [name]
        kind = getattr(errors, name)
        assert [each.__name__ for each in kind.__bases__] == [*(above[-2:-1] or ["Exception"]), *filter(None, [base])]


def test_every_kind_of_value_is_in_the_reference() -> None:
    """Each type that the codec writes stands in the table of values."""
    from sojourn.codec import _WRITERS, ATOMS

    text = text_of("reference/values.md")
    kinds = [("None" if kind is type(None) else kind.__name__) for kind in (*ATOMS, *_WRITERS, list, dict)]
    assert [kind for kind in kinds if f"`{kind}`" not in text] == []


def test_every_command_and_option_is_in_the_reference() -> None:
    """Each command has a heading, and its options stand under it."""
    from sojourn.cli.parsing import make_parser

    text = text_of("reference/command-line.md")
    commands = make_parser("0")._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert set(re.findall(r"^### `sojourn ([\w-]+)", text, re.MULTILINE)) == set(commands)
    for name, parser in commands.items():
        own = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help", "--json"}
        if name != "demo":
            own -= {"--store"}
        under = section("reference/command-line.md", f"sojourn {name}")
        assert [option for option in sorted(own) if option not in under] == [], name


def test_every_requirement_is_answered() -> None:
    """The page on security has one row for each requirement, S1 to S36, in order, and says how far each is kept."""
    rows = rows_of(text_of("security.md"), "", "requirement", "kept", "how, and what is missing")
    assert [row[0] for row in rows] == [f"S{number}" for number in range(1, 37)]
    assert {row[2] for row in rows} == {"yes", "in part", "not yet"}
    assert all(row[3] for row in rows)


# --- The table of outcomes --------------------------------------------------------------------------------------------

# Lines of the table on the page about concurrency: the session as both load it, what the first and the second do with
# it, what it becomes, and the paths that are told.
OUTCOMES: dict[int, tuple[dict[str, Any], Any, Any, dict[str, Any], list[str]]] = {
    1: ({"a": 1, "b": 1}, lambda s: s.set("a", 2), lambda s: s.delete("b"), {"a": 2}, []),
    2: ({"a": 1}, lambda s: s.set("a", 2), lambda s: s.set("a", 3), {"a": 3}, ["a"]),
    3: ({"a": {"k": 1}}, lambda s: s["a"].update(x=2), lambda s: s.set("a", {"k": 3}), {"a": {"k": 3}}, ["a"]),
    4: ({"a": {"k": 1}}, lambda s: s.set("a", {"k": 3}), lambda s: s["a"].update(x=2), {"a": {"k": 3, "x": 2}}, []),
    5: ({"a": 1}, lambda s: s.delete("a"), lambda s: s.set("a", 2), {"a": 2}, ["a"]),
    6: ({"a": {"k": 1}}, lambda s: s.delete("a"), lambda s: s["a"].update(k=2), {}, ["a"]),
    7: ({"a": {"k": 1}}, lambda s: s["a"].update(k=2), lambda s: s.delete("a"), {}, ["a"]),
    8: (
        {"a": {"b": {"k": 1, "l": 1}}},
        lambda s: s["a"]["b"].update(k=2, m=3),
        lambda s: s["a"]["b"].pop("l"),
        {"a": {"b": {"k": 2, "m": 3}}},
        [],
    ),
    9: ({"a": {"k": 1}}, lambda s: s["a"].update(k=2), lambda s: s["a"].update(k=3), {"a": {"k": 3}}, ["a.k"]),
    10: (
        {"a": {}},
        lambda s: s["a"].update(k={"x": 1}),
        lambda s: s["a"].update(k={"y": 2}),
        {"a": {"k": {"x": 1, "y": 2}}},
        [],
    ),
    11: (
        {"a": {"k": {"x": 1, "y": 1}}},
        lambda s: s["a"].update(k={"x": 2, "y": 1}),
        lambda s: s["a"].update(k={"x": 1, "y": 3}),
        {"a": {"k": {"x": 2, "y": 3}}},
        [],
    ),
    12: ({"a": {"k": [1]}}, lambda s: s["a"].pop("k"), lambda s: s["a"]["k"].append(2), {"a": {}}, ["a.k"]),
    13: ({"a": {"k": [1]}}, lambda s: s["a"]["k"].append(2), lambda s: s["a"].pop("k"), {"a": {}}, ["a.k"]),
    14: ({"a": {"k": 1}}, lambda s: s["a"].pop("k"), lambda s: s["a"].update(k=2), {"a": {"k": 2}}, ["a.k"]),
    15: ({"a": [1]}, lambda s: s["a"].append(2), lambda s: s["a"].extend([3, 2]), {"a": [1, 2, 3, 2]}, []),
    16: ({"a": [2, 1]}, lambda s: s["a"].append(3), lambda s: s["a"].sort(), {"a": [1, 2]}, ["a"]),
    17: ({"a": {1, 2}}, lambda s: s["a"].add(3), lambda s: s["a"].remove(1), {"a": {2, 3}}, []),
    18: ({"a": 1}, lambda s: s.update("a", _one_more), lambda s: s.update("a", _one_more), {"a": 3}, []),
}


def _one_more(count: int) -> int:
    return count + 1


@pytest.mark.parametrize("line", OUTCOMES)
def test_a_line_of_the_table_of_outcomes(line: int) -> None:
    """Two who loaded the same session and commit one after the other get what the table says, and are told so."""
    from sojourn import SessionManager

    base, first, second, outcome, told = OUTCOMES[line]
    paths: list[str | None] = []
    with SessionManager() as sessions:
        sessions.add_listener(lambda change: paths.append(change.reason), "overwritten")
        session_id = sessions.create_session(data=base)
        with sessions.session(session_id) as late:
            second(late)
            with sessions.session(session_id) as early:
                first(early)
        assert (sessions.get_session(session_id), paths) == (outcome, told)


def test_every_line_of_the_table_of_outcomes_is_shown() -> None:
    """The lines of the table are numbered, each has tests, and those that say "told" are those in which somebody is."""
    text = text_of("concurrency.md")
    rows = rows_of(text, "", "first", "second", "outcome", "told")
    assert [row[0] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    shown: set[int] = set()
    for lines, named in rows_of(text, "line", "test"):
        assert "`tests/" in f"`{named}" or "`src/" in f"`{named}", lines
        for part in lines.split(", ") if lines[0].isdigit() else ():
            first, _, last = part.partition(" to ")
            shown.update(range(int(first), int(last or first) + 1))
    assert shown == set(range(1, len(rows) + 1))
    for number, (_, _, _, _, told) in OUTCOMES.items():
        says = rows[number - 1][4]
        assert says.startswith("yes") if told else says.startswith(("no", "what both changed")), number


# --- What the pages point to -----------------------------------------------------------------------------------------


def test_named_tests_exist() -> None:
    """A test that a page names as its proof is there."""
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`((?:tests|src)/[\w/]+\.py(?:::\w+)+)`", page.read_text("utf-8"))
    }
    assert len(named) > 20
    for path, *names in (name.split("::") for name in sorted(named)):
        body: Any = ast.parse((ROOT / path).read_text("utf-8")).body
        for name in names:
            found = [node for node in body if getattr(node, "name", None) == name]
            assert found, f"{path}::{name} is not there"
            body = getattr(found[0], "body", [])


def test_links_of_the_readme_lead_somewhere() -> None:
    """What README.md links to in this repository is there. (Links of the other pages are checked by ``make docs``.)"""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", (ROOT / "README.md").read_text("utf-8")):
        assert (ROOT / target).exists(), target


def test_every_page_can_be_reached() -> None:
    """Each page is in the site's navigation; of the design notes, their index, which links to them."""
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").split("\nnav:\n")[1]
    for page in sorted(DOCS.rglob("*.md")):
        name = page.relative_to(DOCS).as_posix()
        if not name.startswith("design/") or name == "design/index.md":
            assert re.search(rf"[:-] {re.escape(name)}$", navigation, re.MULTILINE), name
        else:
            assert f"({page.name})" in text_of("design/index.md"), name


@pytest.mark.parametrize("name", sorted(picture.name for picture in (DOCS / "pictures").glob("*.svg")))
def test_pictures_are_for_everybody(name: str) -> None:
    """A picture has a title and a description, follows the reader's light or dark setting, loads nothing from elsewhere
    and stands on a page, with a text in its place."""
    source = (DOCS / "pictures" / name).read_text("utf-8")
    root = ElementTree.fromstring(source)
    words = {kind: root.findtext(f"{{http://www.w3.org/2000/svg}}{kind}", "") for kind in ("title", "desc")}
    assert len(words["title"]) > 10
    assert len(words["desc"]) > 80
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title desc")
    assert "prefers-color-scheme: dark" in source
    assert not re.search(r"(href|src)=|@import|<script|url\((?!#)|http(?!://www\.w3\.org/2000/svg)", source)
    shown = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert re.search(rf"!\[[^\]]{{20,}}\]\([./]*(docs/)?pictures/{name}\)", shown)


if __name__ == "__main__":
    play(Path(sys.argv[1]), *sys.argv[2:])
