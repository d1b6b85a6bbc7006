"""How a record lies in Valkey: small, whole or not at all, and as the scripts read it."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sojourn import DamagedRecord
from sojourn.record import VERSION_BYTES, Previous, Record
from sojourn.stores.valkey_blob import HEAD, LARGE, differences, head_of, seal, unseal, version_of
from sojourn.testing import NOW, new_record, successor

times = some.floats(min_value=0, max_value=4e9)
durations = some.one_of(some.floats(min_value=0, max_value=1e9), some.just(float("inf")))
records = some.builds(
    Record,
    handle=some.text("abcXYZ019-_", min_size=22, max_size=40),
    secret_digest=some.binary(min_size=32, max_size=32),
    versions=some.lists(
        some.binary(min_size=VERSION_BYTES, max_size=VERSION_BYTES).filter(any), min_size=1, max_size=16
    ).map(b"".join),
    user_id=some.none() | some.text(max_size=300).filter(lambda text: text.isprintable() or "\0" in text),
    created_at=times,
    authenticated_at=times,
    rotated_at=times,
    accessed_at=times,
    idle_timeout=durations,
    touch_interval=some.floats(min_value=0, max_value=1e6),
    ends_at=times | some.just(float("inf")),
    size=some.integers(0, 1 << 40),
    fields=some.dictionaries(some.text(max_size=20).filter(str.isprintable), some.binary(max_size=40), max_size=5),
    generation=some.integers(0, (1 << 32) - 1),
    persistent=some.booleans(),
    label=some.none() | some.text(max_size=20).filter(str.isprintable),
    previous=some.none() | some.builds(Previous, digests=some.tuples(some.binary()), settled_at=some.none() | times),
    fence=some.integers(0, (1 << 32) - 1),
    leased_until=times,
)


@given(records, some.integers(0, (1 << 32) - 1))
def test_what_goes_in_comes_out(record: Record, epoch: int) -> None:
    """A record comes out of its blob as it went in, of the epoch that a script wrote into it."""
    blob = seal(record)
    assert unseal(record.handle, blob) == (record, 0)
    head = head_of(record, epoch)
    assert unseal(record.handle, blob[:5] + head + blob[5 + len(head) :]) == (record, epoch)


def test_every_byte_is_checked() -> None:
    """Whichever byte of a blob changes, in whichever way, the record is damaged and not served; so is a shorter one,
    and a longer one."""
    record = new_record(user_id="ada", label="phone", fence=3, leased_until=NOW + 5)
    blob = seal(record)
    for at in range(len(blob)):
        for wrong in (blob[at] ^ 1, blob[at] ^ 0x80, 255 - blob[at]):
            with suppress(DamagedRecord):
                found = unseal(record.handle, blob[:at] + bytes((wrong,)) + blob[at + 1 :])
                assert (at, wrong, found) == (at, wrong, (record, 0))  # a zero that became minus zero
        with pytest.raises(DamagedRecord):
            unseal(record.handle, blob[:at])
    with pytest.raises(DamagedRecord):
        unseal(record.handle, blob + b"\0")


@pytest.mark.parametrize("blob", [b"", b"\x01", b"garbage" * 30, bytes(200), b"\x01" + b"\xff" * 200, None, 7, ["x"]])
def test_anything_else_is_no_record(blob: Any) -> None:
    """What was never a record is damaged."""
    with pytest.raises(DamagedRecord, match=r"damaged \("):
        unseal("h" * 22, blob)


def test_another_sessions_record_is_noticed() -> None:
    """A record under the key of another session is not served."""
    record = new_record()
    with pytest.raises(DamagedRecord, match="another session"):
        unseal("h" * 22, seal(record))


def test_another_version_of_sojourn_is_told_apart() -> None:
    """A record of a format that this version does not know is refused as such."""
    record = new_record()
    with pytest.raises(DamagedRecord, match="unknown format"):
        unseal(record.handle, b"\x02" + seal(record)[1:])


def test_the_head_stands_where_the_scripts_read_it() -> None:
    """The numbers in the head are at the places that `common.lua` names."""
    record = new_record(user_id="ada", generation=7, fence=9, leased_until=NOW + 1)
    head = struct.unpack_from(f">ddIII{VERSION_BYTES}sIdd", seal(record), 5)
    assert head[:4] == (record.accessed_at, record.leased_until, 9, 0)
    assert head[5:] == (record.version, 7, record.idle_for, record.ends_at)
    assert seal(record)[HEAD : HEAD + 4] == b"\x03ada"


def test_it_is_small() -> None:
    """A record takes 135 bytes beside the names and values of its fields."""
    record = new_record(fields={"name": b"\xa3Ada"}, idle=2000.0)
    assert len(seal(record)) - record.size <= 135 + 4  # and two bytes for each name and value


@given(some.binary(min_size=200, max_size=9000), some.lists(some.tuples(some.integers(0, 8999), some.integers(1, 255))))
def test_what_differs_makes_one_of_the_other(before: bytes, flips: list[tuple[int, int]]) -> None:
    """What differs between two blobs, written over the one, beside the head, makes the other; where that is half of it,
    or the length differs, there is nothing to say."""
    changed = bytearray(before)
    for at, by in flips:
        changed[at % len(before)] ^= by
    after = bytes(changed)
    pieces = differences(before, after)
    if pieces is None:
        assert any(flips)
        return
    made = bytearray(after[:HEAD] + before[HEAD:])
    for at, piece in pieces:
        made[at : at + len(piece)] = piece
    assert bytes(made) == after
    assert 2 * sum(len(piece) for _, piece in pieces) < len(after) + 2048
    assert differences(before, after + b"x") is None


def test_a_large_record_keeps_its_places() -> None:
    """In a large record a commit moves nothing: one more version, and another value of the same length, change a few
    slices of it."""
    fields = {f"document {number}": bytes([number]) * 400 for number in range(100)}
    record = new_record(fields=fields)
    assert record.size > LARGE
    later = successor(record, fields=fields | {"document 42": b"x" * 400})
    pieces = differences(seal(record), seal(later))
    assert pieces is not None
    assert sum(len(piece) for _, piece in pieces) <= 3 * 1024
    assert version_of(seal(later)) == later.version
