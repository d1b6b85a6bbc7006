"""The audit: who, what, to which session, with what outcome; one line each, whatever anybody is called."""

from __future__ import annotations

import json
import logging
import re

import pytest

from sojourn import ConfigurationError
from sojourn.admin.audit import Audit, Entry

HOSTILE = {
    "a line break": 'ada\nact operator="bob" what="end all"',
    "carriage return": "ada\r2026-01-01 INFO all is well",
    "a quote": 'ada" what="nothing',
    "a backslash": 'ada\\" what="nothing',
    "line separators": "ada\u2028bob\u2029eve\x85mal\x0b\x0c\x1c\x1d\x1e",
    "a terminal": "ada\x1b[2J\x1b[31mred\x07\x08\x7f\x9b31m",
    "right to left": "ada\u202etxt.exe\u2066",
    "nothing seen": "\u200b\u200d\ufeff",
    "null": "ada\x00bob",
    "half a pair": "ada\ud800",
    "percent": "%s %(operator)s %d {operator} {0.__class__}",
    "lookup": "${jndi:ldap://example.com/a}",
    "markup": "<script>alert(1)</script>",
    "long": "a" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_entry_is_one_line(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an operator, an action, a handle or an outcome is called: there is one line of printable ASCII, of
    bounded length, from which each part can be read back as it was."""
    caplog.set_level(logging.INFO, "sojourn.audit")
    text, told = HOSTILE[name], []
    audit = Audit(told.append)
    audit.look(text, text, text)
    audit.act(text, text, text, text)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    for line, entry in zip(lines, told, strict=True):
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 6000
        strings = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*")', line)
        parts = {part: json.loads(value) for part, value in strings}
        expected = {"operator": text[:200], "what": text[:200], "handle": text[:200], "outcome": text[:200]}
        wanted = expected if entry.kind == "act" else {k: v for k, v in expected.items() if k != "outcome"}
        assert parts == wanted
        assert parts["operator"] == entry.operator == text[:200]


def test_what_a_line_says(caplog: pytest.LogCaptureFixture) -> None:
    """A line says who, what, which session and the outcome, at INFO on the logger "sojourn.audit"; a look has no
    outcome, and what is about no session names none."""
    caplog.set_level(logging.DEBUG, "sojourn.audit")
    audit = Audit()
    audit.look("ada", "the list of sessions")
    audit.look("ada", "session", "h" * 22)
    audit.act("bob", "end", "h" * 22)
    audit.act("bob", "end all", outcome="refused: read-only")
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("sojourn.audit", "INFO", 'look operator="ada" what="the list of sessions"'),
        ("sojourn.audit", "INFO", f'look operator="ada" what="session" handle="{"h" * 22}"'),
        ("sojourn.audit", "INFO", f'act operator="bob" what="end" handle="{"h" * 22}" outcome="done"'),
        ("sojourn.audit", "INFO", 'act operator="bob" what="end all" outcome="refused: read-only"'),
    ]


def test_a_callable_of_ones_own_is_told() -> None:
    """A callable is given each entry, with its time, in order."""
    told: list[Entry] = []
    audit = Audit(told.append, clock=lambda: 7.0)
    audit.look("ada", "overview")
    audit.act("ada", "end", "h", "done")
    assert told == [Entry(7.0, "ada", "look", "overview"), Entry(7.0, "ada", "act", "end", "h")]


def test_a_callable_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """If the callable raises, that is logged as an error, the line stands, and the operator's action goes on."""
    caplog.set_level(logging.INFO, "sojourn.audit")
    audit = Audit(lambda entry: 1 / 0)  # type: ignore[arg-type, return-value]
    audit.act("ada", "end")
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert caplog.records[0].getMessage() == 'act operator="ada" what="end" outcome="done"'


def test_a_coroutine_function_is_refused() -> None:
    """A callable that would have to be awaited is refused at once, as nobody would."""

    async def told(entry: Entry) -> None: ...

    with pytest.raises(ConfigurationError, match="plain function"):
        Audit(told)
