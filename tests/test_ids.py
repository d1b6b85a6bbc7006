"""Session ids: what is minted, and what is accepted from outside."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import Handle, ids

_SECRET = "s" * 43
_HANDLE = "h" * 22


def test_what_is_minted_is_accepted() -> None:
    """A minted handle and secret make an id that splits into the two."""
    for form in ("{random}", "session_{timestamp}_{random}", "{random}-x"):
        handle, secret = ids.mint(form, 1_750_000_000.9)
        assert ids.split(ids.join(handle, secret)) == (handle, secret)
        assert ids.is_handle(handle)


def test_a_handle_can_carry_a_time() -> None:
    """``{timestamp}`` becomes whole seconds, and ``{random}`` stays 128 bits."""
    handle = ids.mint("session_{timestamp}_{random}", 1_750_000_000.9)[0]
    assert re.fullmatch(r"session_1750000000_[A-Za-z0-9_-]{22}", handle)


def test_ids_are_random() -> None:
    """Twenty thousand ids differ, and every character of the alphabet comes as often as chance has it in every position
    (chi-square over 63 degrees of freedom; the last character of each part has fewer bits)."""
    alphabet = string.ascii_letters + string.digits + "-_"
    for mint in (lambda: ids.mint()[0], ids.mint_secret):
        minted = [mint() for _ in range(20_000)]
        assert len(set(minted)) == 20_000
        for characters in list(zip(*minted, strict=True))[:-1]:
            seen = Counter(characters)
            assert sum((seen[character] - 312.5) ** 2 / 312.5 for character in alphabet) < 150  # p is under 1e-8


def test_a_fork_mints_other_ids() -> None:
    """Parent and child of a fork mint different ids."""
    program = (
        "import os; from sojourn import ids; ids.mint_secret(); read, write = os.pipe()\n"
        "if os.fork() == 0:\n    os.write(write, ids.mint_secret().encode()); os._exit(0)\n"
        "os.wait(); print(os.read(read, 100).decode() != ids.mint_secret())"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "True\n"
    )


def test_a_digest_is_sha_256() -> None:
    """The store keeps the SHA-256 of a secret, and nothing of the secret itself."""
    assert ids.digest("secret") == sha256(b"secret").digest()


@pytest.mark.parametrize(
    "outside",
    [
        None, 7, b"bytes", [], "", ".", "null", "deleted", "a.b", _HANDLE, _SECRET, f"{_HANDLE}.", f".{_SECRET}",
        f"{_HANDLE}{_SECRET}", f"{_HANDLE}.{_SECRET}.", f"{_HANDLE}.{_SECRET}x", f"{_HANDLE}.{_SECRET[:-1]}",
        f"{_HANDLE[:-1]}.{_SECRET}", f"{'h' * 97}.{_SECRET}", f"{_HANDLE}.{_SECRET}\n", f"\n{_HANDLE}.{_SECRET}",
        f" {_HANDLE}.{_SECRET}", f'"{_HANDLE}.{_SECRET}"', f"{_HANDLE}.{_SECRET[:-1]}\0", f"{_HANDLE[:-1]}\0.{_SECRET}",
        f"{_HANDLE[:-1]}é.{_SECRET}", f"{_HANDLE}.{_SECRET[:-1]}\u0661", f"{_HANDLE[:-1]}/.{_SECRET}",
        "../" * 8 + f".{_SECRET}",
        f"{_HANDLE}.{_SECRET[:-1]}%", f"{_HANDLE}.{_SECRET[:-1]}\ud800", "x" * 1_000_000,
        f"{'h' * 1_000_000}.{_SECRET}",
        f"{_HANDLE}.{_SECRET}, {_HANDLE}.{_SECRET}",
    ],
    ids=lambda outside: repr(outside)[:30],
)  # fmt: skip
def test_what_is_no_id_is_refused(outside: object) -> None:
    """What is not exactly of the form of an id splits into None, and raises nothing."""
    assert ids.split(outside) is None


@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_.-]{60,150}", fullmatch=True))
def test_a_split_is_the_inverse_of_a_join(text: str) -> None:
    """Whatever is accepted is the join of what it is split into, all of it safe in a header and in a URL."""
    parts = ids.split(text)
    if parts is not None:
        assert ids.join(*parts) == text
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", text)


@pytest.mark.parametrize(
    "text", ["", "h" * 21, "h" * 97, "h" * 21 + "é", "h" * 21 + "\n", "h" * 22 + "\n", "h" * 21 + "."]
)
def test_what_is_no_handle_is_refused(text: str) -> None:
    """`is_handle` accepts 22 to 96 URL-safe characters, and nothing else."""
    assert not ids.is_handle(text)


def test_a_handle_is_a_type_of_its_own() -> None:
    """A `Handle` is text, and no plain text is one."""
    assert isinstance(Handle("x"), str)
    assert type(Handle(_HANDLE)) is not str
    assert Handle(_HANDLE) == _HANDLE
