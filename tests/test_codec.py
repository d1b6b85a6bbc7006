"""Values to bytes and back."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from sojourn import ConfigurationError, UnsupportedValue, register
from sojourn.codec import MAX_DEPTH, Codec
from values import ATOMS, VALUES, Basket, Colour, Markup, Money, Permission, Point, Tree, shape

CODEC = Codec()


def encode(value: Any) -> bytes:
    return CODEC.encode("cart", value)


def decode(data: bytes) -> Any:
    return CODEC.decode("cart", data)


@given(VALUES)
@example(float("nan"))
@example(-0.0)
@example({1: "int", 1.5: "float", "1": "str", b"1": "bytes", (1,): "tuple", None: "none"})
@example({frozenset({frozenset(), frozenset({1, "1", b"1"})}), (None, frozenset({2.5}))})
@example([True, 1, 1.0, Decimal(1)])
def test_what_goes_in_comes_out(value: Any) -> None:
    """Every value that is kept comes back equal, and of the same types all the way down."""
    assert shape(decode(encode(value))) == shape(value)


@given(VALUES)
def test_the_encoding_is_canonical(value: Any) -> None:
    """What was read and encoded again is the bytes that it came from, or a read would look like a write."""
    data = encode(value)
    assert encode(decode(data)) == data


@given(VALUES)
def test_what_is_decoded_is_new(value: Any) -> None:
    """Decoding twice gives values that share nothing that can change."""
    data = encode([value])
    one, other = decode(data), decode(data)
    one.append("more")
    _scramble(one[0])
    assert shape(other) == shape([value])


def _scramble(value: Any) -> None:
    """Change whatever can be changed."""
    if isinstance(value, (list, tuple)):
        for member in value:
            _scramble(member)
    if isinstance(value, dict):
        for member in value.values():
            _scramble(member)
    if isinstance(value, (list, dict, set)):
        value.clear()
    elif isinstance(value, Basket):
        value.seen += 1
    elif isinstance(value, Tree):
        value.leaf = object()


_SETS = """
from sojourn.codec import Codec
value = {
    "members": {"a", "b", "c", "d", "e", b"a", b"b", 1, 2.5, None, ("x", "y"),
                frozenset({"p", "q", "r", frozenset({"s", "t"})})},
    "keys": {frozenset({"u", "v", "w"}): {"x", "y", "z"}},
    "nested": [({"1", "2", "3"},), frozenset({"4", "5", "6"})],
}
print(Codec().encode("f", value).hex())
"""


def test_the_encoding_does_not_depend_on_the_hash_seed() -> None:
    """Sets encode to the same bytes in processes whose hashes differ."""
    encoded = set()
    for seed in ("0", "1", "2", "3", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", _SETS], env=environment, capture_output=True, text=True, check=True
        )
        encoded.add(done.stdout)
    assert len(encoded) == 1
    assert encode(decode(bytes.fromhex(encoded.pop()))).hex() + "\n" == done.stdout


# --- What is refused -------------------------------------------------------------------------------------------------


class Foo:
    pass


class MyList(list):  # type: ignore[type-arg]
    pass


class MyDict(dict):  # type: ignore[type-arg]
    pass


class MyStr(str):
    __slots__ = ()


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - a plain one, as applications have them


@dataclass
class Unregistered:
    x: int = 0


class UnregisteredEnum(Enum):
    ONE = 1


class Zone(tzinfo):
    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(0)


def _nested(inner: Any, depth: int) -> Any:
    for _ in range(depth):
        inner = [inner]
    return inner


_CYCLE: list[Any] = []
_CYCLE.append(_CYCLE)
_WIDE_CYCLE: list[Any] = []
_WIDE_CYCLE.extend([_WIDE_CYCLE] * 10)
_DICT_CYCLE: dict[Any, Any] = {}
_DICT_CYCLE["self"] = {1: [_DICT_CYCLE]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Foo(), "cart: cannot store <Foo>: store what it is made of"),
        ({"items": [0, 1, 2, {"price": Foo()}]}, "cart.items[3].price: cannot store <Foo>"),
        ({"items": (1, (Foo(),))}, "cart.items[1][0]: cannot store <Foo>"),
        ({1: {"a": Foo()}}, "cart[1].a: cannot store <Foo>"),
        ({(1, 2): Foo()}, "cart[(1, 2)]: cannot store <Foo>"),
        ({"big": 2**100, "foo": Foo()}, "cart.foo: cannot store <Foo>"),
        ({"tags": {Foo}}, "cart.tags.<member>: cannot store <type>"),
        ({MyStr("k"): 1}, "cannot store <MyStr>"),
        (MyList(), "cart: cannot store <MyList>: convert it with list(...) first"),
        (OrderedDict(a=1), "cart: cannot store <OrderedDict>: convert it with dict(...) first"),
        ([MyDict()], "cart[0]: cannot store <MyDict>: convert it with dict(...) first"),
        (MyStr("x"), "cart: cannot store <MyStr>: convert it with str(...) first"),
        (Pair(1, 2), "cart: cannot store <Pair>: convert it with tuple(...) first"),
        (Unregistered(), "cart: cannot store <Unregistered>: register it once with sojourn.register(Unregistered)"),
        ([UnregisteredEnum.ONE], "cart[0]: cannot store <UnregisteredEnum>: register it once"),
        (Point(1.0, {"deep": Foo()}), "cart.y.deep: cannot store <Foo>"),
        (Tree([Foo()]), "cart.leaf[0]: cannot store <Foo>"),
        (bytearray(b"x"), "cart: cannot store <bytearray>"),
        (complex(1, 2), "cart: cannot store <complex>"),
        (SimpleNamespace(a=1), "cart: cannot store <SimpleNamespace>"),
        (range(3), "cart: cannot store <range>"),
        (iter([]), "cart: cannot store <list_iterator>"),
        (len, "cart: cannot store <builtin_function_or_method>"),
        (float, "cart: cannot store <type>"),
        (..., "cart: cannot store <ellipsis>"),
        (datetime(2025, 1, 1, tzinfo=Zone()), "cart: cannot store the time zone <Zone>"),
        ({"at": time(1, tzinfo=Zone())}, "cart.at: cannot store the time zone <Zone>"),
        ("\ud800", "cart: text with lone surrogates is not Unicode and cannot be stored"),
        ({"name": ["ok", "\udfff"]}, "cart.name[1]: text with lone surrogates"),
        ({"a": {"\ud800": 1}}, "cart.a: text with lone surrogates"),
        (_nested(1, MAX_DEPTH + 2), f"nested deeper than {MAX_DEPTH} levels"),
        (_CYCLE, "or it contains itself"),
        (_WIDE_CYCLE, "or it contains itself"),
        (_DICT_CYCLE, "or it contains itself"),
        (Permission(0), "cannot store a combination of permissions flags without a name"),
    ],
    ids=lambda given: (
        None if not isinstance(given, str) or len(given) < 2 else given.encode("ascii", "replace").decode()[:40]
    ),
)
def test_what_cannot_be_kept_is_refused_by_path(value: Any, message: str) -> None:
    """A value that cannot be kept raises `UnsupportedValue`, a TypeError, with the path to it and what to do."""
    with pytest.raises(UnsupportedValue) as caught:
        encode(value)
    assert message in str(caught.value)
    assert str(caught.value).startswith("cart")
    assert isinstance(caught.value, TypeError)


@given(st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8), st.data())
def test_one_bad_value_anywhere_is_refused(value: Any, data: st.DataObject) -> None:
    """A value that cannot be kept is refused wherever it hides, and the rest is no excuse."""
    holders = _containers([value])
    holder = data.draw(st.sampled_from(holders))
    if isinstance(holder, dict):
        holder["foo"] = Foo()
    else:
        holder.append(Foo())
    with pytest.raises(UnsupportedValue, match="cannot store <Foo>"):
        encode(holders[0])


def _containers(value: Any) -> list[Any]:
    found = [value] if isinstance(value, (list, dict)) else []
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found += _containers(member)
    return found


def test_depth_is_limited_and_sufficient() -> None:
    """A hundred levels are kept, of whatever kind."""
    for inner in (1, (1,), frozenset({1}), 2**100):
        value = _nested(inner, MAX_DEPTH - 1)
        assert shape(decode(encode(value))) == shape(value)
    deep: Any = frozenset()
    for _ in range(MAX_DEPTH - 1):
        deep = frozenset({deep})
    assert decode(encode(deep)) == deep


def test_a_combination_of_flags_comes_out_or_is_refused() -> None:
    """A combination of flags that has no name of its own is refused; whatever is accepted comes back."""

    @register(name="unnamed combination")
    class Access(Flag):
        READ = 1
        WRITE = 2
        ALL = 3
        EXECUTE = 4

    assert decode(encode(Access.ALL)) is Access.ALL
    with pytest.raises(UnsupportedValue, match="flags without a name"):
        encode(Access.READ | Access.EXECUTE)


def test_an_object_with_a_missing_attribute_is_refused() -> None:
    """A dataclass whose attribute was never set is refused by path, as any other value that cannot be kept."""

    @register(name="half made")
    @dataclass
    class Half:
        other: int = dataclasses.field(init=False)

    with pytest.raises(UnsupportedValue, match=r"^cart\[0\]"):
        encode([Half()])


# --- Registered types ------------------------------------------------------------------------------------------------


def test_a_class_may_be_renamed_and_gain_fields() -> None:
    """A stored object is found by its registered name; fields that the class gained take their defaults, and fields
    that it lost are left out."""

    @register(name="tests.address")
    @dataclass
    class Address:
        street: str
        house: int

    stored = encode(Address("Elm", 5))

    @dataclass
    class PostalAddress:
        street: str
        country: str = "FR"

    # As after a restart with the new class: the name is free in the new process.
    from sojourn import codec

    del codec._TYPES.by_name["tests.address"]
    register(PostalAddress, name="tests.address")
    assert decode(stored) == PostalAddress("Elm", "FR")


def test_an_unregistered_type_is_named() -> None:
    """A stored object whose type is not registered in this process raises `UnsupportedValue`, which names both."""
    from sojourn import codec

    @register(name="tests.only there")
    @dataclass
    class There:
        x: int = 0

    class Old(Enum):
        GONE = 1

    register(Old, name="tests.enum")
    stored, member = encode([There()]), encode(Old.GONE)
    del codec._TYPES.by_name["tests.only there"]
    with pytest.raises(UnsupportedValue, match=r"^cart: it holds a tests\.only there, which is not registered"):
        decode(stored)

    class New(Enum):
        HERE = 1

    del codec._TYPES.by_name["tests.enum"]
    register(New, name="tests.enum")
    with pytest.raises(UnsupportedValue, match=r"^cart: it holds a tests\.enum\.GONE"):
        decode(member)


def test_what_can_be_registered() -> None:
    """Enums, dataclasses, Structs and kinds of text can be registered, again and as decorators; nothing else, and no
    name twice."""
    assert register(Colour) is Colour
    assert register(Money) is Money
    assert register(Markup) is Markup
    for wrong in (Foo, dict, str, 5, Point(1.0)):
        with pytest.raises(ConfigurationError):
            register(wrong)  # type: ignore[arg-type]

    @dataclass
    class Impostor:
        x: int

    with pytest.raises(ConfigurationError, match="is taken by"):
        register(Impostor, name="permissions")


# --- Damage ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=40))
@settings(max_examples=300)
def test_random_bytes_do_no_harm(data: bytes) -> None:
    """Bytes that are no encoding raise ValueError or `UnsupportedValue`, or are the encoding of something; nothing
    else."""
    _decode_anything(data)


@given(VALUES, st.data())
@settings(max_examples=300)
def test_damaged_bytes_do_no_harm(value: Any, data: st.DataObject) -> None:
    """The same for an encoding with a byte changed, cut or put in."""
    damaged = bytearray(encode(value))
    at = data.draw(st.integers(0, len(damaged) - 1))
    how = data.draw(st.sampled_from(["change", "cut", "insert", "shorten"]))
    if how == "change":
        damaged[at] = data.draw(st.integers(0, 255))
    elif how == "insert":
        damaged.insert(at, data.draw(st.integers(0, 255)))
    elif how == "cut":
        del damaged[at]
    else:
        del damaged[at:]
    _decode_anything(bytes(damaged))


@given(st.integers(-128, 127), st.binary(max_size=12) | VALUES.map(encode))
@settings(max_examples=500)
def test_strange_extensions_do_no_harm(code: int, content: bytes) -> None:
    """The same for each extension with content that it does not have."""
    _decode_anything(msgspec.msgpack.encode(Ext(code, content)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 100_000,
        b"\x81" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        msgspec.msgpack.encode(Ext(9, b"garbage")),
        msgspec.msgpack.encode(Ext(8, b"\x7f" * 30)),
        msgspec.msgpack.encode(Ext(2, msgspec.msgpack.encode([b"\x90"]))),
        msgspec.msgpack.encode(Ext(5, msgspec.msgpack.encode(["2025-01-01T00:00:00", 0, "Nowhere/AtAll"]))),
        msgspec.msgpack.encode(Ext(5, msgspec.msgpack.encode(["2025-01-01T00:00:00", 0, "../../etc/passwd"]))),
        msgspec.msgpack.encode(Ext(5, msgspec.msgpack.encode(["2025-01-01T00:00:00", 0, "Europe"]))),
        msgspec.msgpack.encode(Ext(5, msgspec.msgpack.encode(["2025-01-01T00:00:00", 0, [2**60]]))),
        msgspec.msgpack.encode(Ext(11, msgspec.msgpack.encode(["permissions", ["x"]]))),
        msgspec.msgpack.encode(Ext(12, msgspec.msgpack.encode(["permissions", {}]))),
        msgspec.msgpack.encode(Ext(12, msgspec.msgpack.encode(["values.Point", {"y": 1}]))),
        msgspec.msgpack.encode(Ext(13, msgspec.msgpack.encode([[], 1]))),
        msgspec.msgpack.encode(Ext(13, msgspec.msgpack.encode([1]))),
        msgspec.msgpack.encode(Ext(99, b"")),
    ],
    ids=lambda data: data[:16].hex(),
)
def test_what_is_no_encoding_is_an_error(data: bytes) -> None:
    """What is no encoding is never served as a value."""
    with pytest.raises((ValueError, UnsupportedValue)):
        decode(data)


def test_the_code_of_stored_data_is_never_run() -> None:
    """A pickle is bytes as any other."""
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (os.abort, ())

    _decode_anything(pickle.dumps(Evil()))


def _decode_anything(data: bytes) -> None:
    try:
        value = decode(data)
    except (ValueError, UnsupportedValue):
        return
    encode(value)
