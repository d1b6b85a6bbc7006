"""What stays hidden in a session, whatever an operator asks for."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sojourn import ConfigurationError
from sojourn.admin.redaction import PATTERNS, Redaction, holds_an_id
from sojourn.ids import join, mint

PLAIN = Redaction()


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "user_PASSWORD_2",
        "ｐａｓｓｗｏｒｄ",
        "PASSWD",
        "access_token",
        "accessToken",
        "csrf",
        "api-key",
        "apiKey",
        "client_secret",
        "_auth_user_hash",
        "sessionid",
        "card_number",
        "pin",
        "user-pin",
        "_tickets",
        b"password",
        ("user", "password"),
        (("a", ("token",)), 1),
        frozenset({"secret"}),
    ],
)
def test_names_of_secrets_are_hidden(name: Any) -> None:
    """A key that names a secret is hidden in any case and any width, and so is one that is no text and holds such a
    name."""
    assert PLAIN.hides(name)


@pytest.mark.parametrize(
    "name", ["name", "cart", "spinner", "hotpot", "author", "", 1, 1.5, None, (), b"\xff", "passed"]
)
def test_other_names_are_not(name: Any) -> None:
    """A key that names no secret is not hidden."""
    assert not PLAIN.hides(name)


def test_patterns_are_the_operators() -> None:
    """Patterns of one's own take the place of the usual ones; what is Sojourn's own is hidden all the same."""
    mine = Redaction(("x?z", "[ab]*"))
    assert [mine.hides(name) for name in ("xyz", "XYZ", "apple", "cherry", "password")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert mine.hides("_tickets")
    assert Redaction(()).hides("_tickets")
    assert not Redaction(()).hides("password")


@pytest.mark.parametrize("patterns", ["*password*", ("",), (b"x",), (None,)], ids=["text", "empty", "bytes", "none"])
def test_what_is_no_pattern_is_refused_at_start(patterns: Any) -> None:
    """A single text in place of a list, which would be taken for its letters, is refused, as is what is no text."""
    with pytest.raises(ConfigurationError):
        Redaction(patterns)


def test_pairs_hide_their_second_member() -> None:
    """A name in a pair hides what is beside it; longer lists are no pairs."""
    assert PLAIN.hidden_at(["password", "x"]) == 1
    assert PLAIN.hidden_at((b"Token", "x")) == 1
    assert PLAIN.hidden_at(["colour", "x"]) is None
    assert PLAIN.hidden_at(["password", "x", "y"]) is None
    assert PLAIN.hidden_at([]) is None


def test_names_beside_values_hide_them() -> None:
    """In {"name": ..., "value": ...} the name hides the value, and in the properties of a widget ``password`` does."""
    assert PLAIN.hidden_keys({"name": "api_key", "value": "x", "at": 1}) == {"value"}
    assert PLAIN.hidden_keys({"key": "colour", "value": "x"}) == set()
    assert PLAIN.hidden_keys({"kind": 1, "password": True, "value": "x"}) == {"password", "value"}
    assert PLAIN.hidden_keys({"password": False, "value": "x"}) == {"password"}
    assert PLAIN.hidden_keys({}) == set()


def test_an_id_is_seen_wherever_it_stands() -> None:
    """Whatever has the form of a session id is found, also within other text; a handle alone is none."""
    handle, secret = mint()
    session_id = join(handle, secret)
    assert holds_an_id(session_id)
    assert holds_an_id(f"Cookie: session={session_id}; path=/")
    assert holds_an_id(f"x{session_id}y")
    assert not holds_an_id(handle)
    assert not holds_an_id(f"{handle}.{secret[:-1]}")
    assert not holds_an_id("")


@pytest.mark.parametrize("text", ["a" * 1_000_000, "." * 1_000_000, ("a" * 22 + ".") * 40_000, "password" * 125_000])
def test_a_megabyte_is_looked_at_quickly(text: str) -> None:
    """What is looked for in values and keys takes time in proportion to their length."""
    began = time.process_time()
    holds_an_id(text)
    Redaction(PATTERNS).hides(text)
    assert time.process_time() - began < 1.0
