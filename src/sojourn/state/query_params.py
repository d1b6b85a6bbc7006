"""The parameters of the page's address, as a mapping that tells when it changes.

Rules: all is text; a name may have several values, and ``params[name]`` is the last. ``embed`` and ``embed_options``,
in any case, are the browser's: they are not shown, cannot be set, and stay when the rest goes. A change is made whole
or not at all, and told once. An address that comes in is taken as it can be read, and never raises; one past
`MAX_LENGTH` characters or `MAX_FIELDS` parameters is taken for an empty one. It has no lock:
`SafeSessionState.query_params()` holds its own around it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable
from urllib.parse import parse_qs, urlencode

from ..errors import UnsupportedValue

__all__ = ["MAX_FIELDS", "MAX_LENGTH", "QueryParams", "is_reserved"]

MAX_FIELDS: Final = 1000
"""How many parameters an address may have, counted with repetitions."""

MAX_LENGTH: Final = 512 * 1024
"""How many characters the parameters of an address may be."""

_RESERVED: Final = frozenset({"embed", "embed_options"})


@runtime_checkable
class _Keyed(Protocol):
    """What has ``keys()`` and items, as `dict.update` takes it."""

    def keys(self) -> Iterable[str]: ...

    def __getitem__(self, key: str, /) -> Any: ...


_Params: TypeAlias = _Keyed | Iterable[tuple[str, Any]]
_Values: TypeAlias = dict[str, str | list[str]]


class QueryParams(MutableMapping[str, str]):
    """``params["page"]``, ``params.page``, ``params.get("page", 1)``: a missing name is a KeyError, in the second form
    an AttributeError.

    A value that is set is text, or becomes text by ``str``; of an iterable, each of its members. A mapping and bytes
    raise `UnsupportedValue`, and so do a name or a value that cannot stand in an address, a reserved name, and one that
    a widget is bound to: that widget decides it. After each change ``on_change`` is called with the new query string;
    what it raises reaches the caller, and the change stays.
    """

    __slots__ = ("_address", "_bound", "_keep", "_on_change", "_values")

    _address: _Values
    _keep: Callable[[_Values], None] | None
    _values: _Values
    _bound: dict[str, str]
    _on_change: Callable[[str], None] | None

    def __init__(self, query_string: str = "", on_change: Callable[[str], None] | None = None) -> None:
        self._on_change = on_change
        self._keep = None
        self._values = {}
        self._address = {}  # what the browser said last
        self._bound = {}  # from names to the ids of widgets
        self.load(query_string)

    # --- Reading

    def __getitem__(self, key: str) -> str:
        value = self._values.get(key)
        if value is None or is_reserved(key):
            raise KeyError(f"there is no query parameter {key!r}")
        return value if isinstance(value, str) else value[-1] if value else ""

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in self._values if not is_reserved(key)])

    def __len__(self) -> int:
        return sum(not is_reserved(key) for key in self._values)

    def get_all(self, key: str) -> list[str]:
        """All its values, in their order, in a list of the caller's own: empty where there is no such name."""
        value = [] if is_reserved(key) else self._values.get(key, [])
        return [value] if isinstance(value, str) else list(value)

    def to_dict(self) -> dict[str, str]:
        """Names and last values."""
        return dict(self.items())

    @property
    def query_string(self) -> str:
        """All of them as they stand in an address, without the question mark; with the reserved ones. A name whose list
        is empty is left out."""
        return urlencode(self._values, doseq=True)

    def __repr__(self) -> str:
        return repr({key: self._values[key] for key in self})

    # --- Changing

    def __setitem__(self, key: str, value: Any) -> None:
        self._set([(key, value)], self._values)

    def __delitem__(self, key: str) -> None:
        self[key]
        self._check_free(key)
        self._become({name: value for name, value in self._values.items() if name != key})

    def setdefault(self, key: str, default: Any = "") -> str:
        """Its value; where there is none, ``default`` is set first."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, params: _Params = (), /, **more: Any) -> None:
        """Set several, from a mapping or pairs and from names: all or none, told once."""
        self._set([*_pairs(params), *more.items()], self._values)

    def from_dict(self, params: _Params) -> None:
        """Have these and no others (but the reserved ones): all or none, told once."""
        self._check_all_free()
        self._set(_pairs(params), self._reserved())

    def clear(self) -> None:
        """Have none but the reserved ones, told once."""
        self._check_all_free()
        self._become(self._reserved())

    def _set(self, pairs: Iterable[tuple[str, Any]], values: _Values) -> None:
        values = dict(values)
        for key, value in pairs:
            _check_name(key)
            self._check_free(key)
            values[key] = _text_of(key, value)
        self._become(values)

    def _become(self, values: _Values) -> None:
        self._values = values
        if self._keep is not None:
            self._keep(values)
        self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self.query_string)

    def _reserved(self) -> _Values:
        return {key: value for key, value in self._values.items() if is_reserved(key)}

    def _check_free(self, key: str) -> None:
        if key in self._bound:
            raise UnsupportedValue(ascii(key), "a widget is bound to this query parameter: set the widget's value")

    def _check_all_free(self) -> None:
        for key in self._values:
            self._check_free(key)

    # --- From the browser, which knows already

    def load(self, query_string: str, *, leave_out: Container[str] = ()) -> bool:
        """Have what this address says (with or without its question mark), and nothing else. Nobody is told.

        ``leave_out`` are names that it may say and that are not taken. What is no UTF-8 behind its percent signs
        becomes the replacement character, and an unfinished percent sign stays what it is. False: it is past
        `MAX_LENGTH` or `MAX_FIELDS`, and was taken for an empty one.
        """
        query_string = query_string.removeprefix("?")
        taken = len(query_string) <= MAX_LENGTH and query_string.count("&") < MAX_FIELDS
        # half of a surrogate pair is nothing that could be put into an address again
        readable = query_string.encode("utf-8", "replace").decode("utf-8") if taken else ""
        found = parse_qs(readable, keep_blank_values=True)
        said: _Values = {
            key: values[0] if len(values) == 1 else values for key, values in found.items() if key not in leave_out
        }
        if self._keep is None:
            self._values = said
        else:
            self._merge(said, self._keep)
        return taken

    # --- For a state that keeps them in its session

    def kept_by(self, keep: Callable[[_Values], None]) -> None:
        """From now on ``keep`` is called with all values after each change, before the browser is told. And what an
        address says that comes in is then what the browser has changed since it last said something, and no more: it
        may not have been told yet of what was set meanwhile. That stays, and the browser is told of it."""
        self._keep = keep

    def take(self, values: _Values, *, tell: bool = True) -> set[str]:
        """Have these, as they are kept, and the reserved ones. The browser is told if it does not know, unless ``tell``
        is False. Returns the names under which there was something else."""
        taken, before = {**values, **self._reserved()}, self._values
        changed = {key for key in taken.keys() | before.keys() if taken.get(key) != before.get(key)}
        self._values = taken
        if tell and changed:
            self._tell()
        return changed

    def _merge(self, said: _Values, keep: Callable[[_Values], None]) -> None:
        merged = {key: value for key, value in self._values.items() if key in said or key not in self._address}
        merged.update((key, value) for key, value in said.items() if self._address.get(key) != value)
        self._address = said
        if merged != self._values:
            self._values = merged
            keep(merged)
        if self._values != said:
            self._tell()

    # --- For the state, whose widgets may be bound to names

    def bind(self, key: str, widget_id: str) -> None:
        """From now on this widget decides this name: others cannot change it. What was bound to it before is not any
        more. Raises `UnsupportedValue` for a reserved name."""
        if self._bound.get(key) == widget_id:
            return
        _check_name(key)
        self.unbind(widget_id)
        self._bound[key] = widget_id

    def unbind(self, widget_id: str) -> str | None:
        """The name is free again, and keeps its values. Its name; None: the widget was bound to none."""
        for key, bound in self._bound.items():
            if bound == widget_id:
                del self._bound[key]
                return key
        return None

    def bound_to(self, key: str) -> str | None:
        """The id of the widget that decides this name; None: nobody does."""
        return self._bound.get(key)

    def put(self, values: Mapping[str, list[str]], *, tell: bool = True) -> bool:
        """Set these, bound or not, told once; an empty list removes the name. Whether that changed anything: if not,
        nobody is told, and neither if ``tell`` is False, which is for what the browser has done by itself already.
        Raises `UnsupportedValue` as setting does."""
        changed = dict(self._values)
        for key, texts in values.items():
            _check_name(key)
            if texts:
                checked = _text_of(key, texts)
                changed[key] = checked[0] if len(checked) == 1 else checked
            else:
                changed.pop(key, None)
        if changed == self._values:
            return False
        if tell:
            self._become(changed)
            return True
        self._values = self._address = changed
        if self._keep is not None:
            self._keep(changed)
        return True

    # --- As attributes

    def __getattr__(self, name: str) -> str:
        if name in QueryParams.__slots__ or name.startswith("__"):  # asked for by `copy` before there are values
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no query parameter {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in QueryParams.__slots__:
            object.__setattr__(self, name, value)
        elif hasattr(QueryParams, name):  # read back, it would be the method
            raise AttributeError(f"{name} is a member of QueryParams itself: write params[{name!r}] = ...")
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"there is no query parameter {name!r}") from None


def is_reserved(key: object) -> bool:
    """Whether a name is the browser's."""
    return isinstance(key, str) and key.lower() in _RESERVED


def _check_name(key: object) -> None:
    if not isinstance(key, str):
        raise UnsupportedValue(ascii(key), "the name of a query parameter is text")
    if is_reserved(key):
        raise UnsupportedValue(ascii(key), "this query parameter is the browser's, and cannot be set")
    _checked(key, key)


def _text_of(key: str, value: Any) -> Any:
    """What is kept: text, or a list of texts."""
    if isinstance(value, (Mapping, bytes, bytearray, memoryview)):
        raise UnsupportedValue(ascii(key), f"a query parameter is text, and a {type(value).__name__} is none")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_checked(key, str(one)) for one in value]
    return _checked(key, str(value))


def _checked(key: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnsupportedValue(ascii(key), "half of a surrogate pair cannot stand in an address") from None
    return text


def _pairs(params: _Params) -> list[tuple[str, Any]]:
    """Taken once, as an iterator gives itself only once."""
    if isinstance(params, _Keyed):
        return [(key, params[key]) for key in params.keys()]  # noqa: SIM118 - no more than `dict.update` asks for
    return list(params)
