"""`Fields`: the fields of a record, as a mapping that remembers its own delta. No I/O.

Values decode one by one, when they are first read. What was read and can be mutated is encoded again at commit and
compared with the bytes that it came from, so nested changes need no flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from .adopting import adopt, append_to
from .codec import ATOMS, Codec
from .errors import DamagedRecord, SessionClosed, UnsupportedValue
from .record import Assign, Changed, Default, Delta, Op, Record, Unset, Update

__all__ = ["Fields", "Phase", "is_unicode"]

_ASSIGNED: Final = Assign(b"")  # stands in the trace of a field until its value, which may yet be mutated, is encoded

Phase: TypeAlias = Literal["open", "ended", "closed"]
"""The life of a session object. "ended": it was ended here, which is carried out when the block or the request is
over."""


class Fields(MutableMapping[str, Any]):
    """What a session is as a dict. It is of this record, until it is renewed; what is done to it is in its `delta`."""

    if not TYPE_CHECKING:  # to a type checker they would be all that there is
        __slots__ = ()  # the classes that are made have them: see `sojourn.session.STATE`

    def __init__(self, codec: Codec, record: Record) -> None:
        self._codec = codec
        self._record = record
        self._fields = record.fields
        self._values: dict[str, Any] = {}
        self._lent: dict[str, bytes] = {}  # mutable values that were handed out, with the bytes they are compared to
        self._ops: dict[str, list[Op]] = {}  # what was done to each field, in order
        self._phase: Phase = "open"
        self.accessed = False
        """Whether anybody looked into it."""

    # --- The mapping ---------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        if self._phase != "open":
            self._refuse()
        self.accessed = True
        values = self._values
        if name in values:
            return values[name]
        if name in self._ops:
            raise KeyError(name)  # deleted here
        data = self._fields[name]
        try:
            value = values[name] = self._codec.decode(name, data)
        except ValueError as error:
            raise DamagedRecord(self._record.handle, f"the field {name!r} cannot be decoded: {error}") from error
        if type(value) not in ATOMS:
            self._lent[name] = data
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        if self._phase != "open":
            self._refuse()
        self.accessed = True
        if type(name) is not str or not (name.isascii() or is_unicode(name)):
            raise UnsupportedValue(ascii(name), "the name of a field is a string of Unicode text")
        if type(value) not in ATOMS and not self._codec.accepts(value):
            self._codec.encode(name, value)  # refused here, where the traceback shows who did it
        self._values[name] = value
        self._lent.pop(name, None)
        self._ops[name] = [_ASSIGNED]

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._values.pop(name, None)
        self._lent.pop(name, None)
        self._ops[name] = [Unset()]

    def __contains__(self, name: object) -> bool:
        if self._phase != "open":
            self._refuse()
        self.accessed = True
        return name in self._values or (name in self._fields and name not in self._ops)

    def __iter__(self) -> Iterator[str]:
        if self._phase != "open":
            self._refuse()
        self.accessed = True
        kept = [name for name in self._fields if name not in self._ops or name in self._values]
        return iter([*kept, *(name for name in self._values if name not in self._fields)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def has(self, name: str) -> bool:
        """Whether there is a field of this name; a stored None counts."""
        return name in self

    def set(self, name: str, value: Any) -> None:
        """Assign a whole field: ``session[name] = value``. It replaces what others wrote there, and is never mixed
        with it."""
        self[name] = value

    def delete(self, name: str) -> bool:
        """Delete a field. Returns whether it was there; nothing happens if it was not."""
        if name not in self:
            return False
        del self[name]
        return True

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The field, after giving it this value if there is none. It is no assignment: of two writers who both find the
        field missing neither replaces the other's, and what both put into the new container is merged."""
        if name in self or name in self._ops:
            return super().setdefault(name, default)
        self[name] = default  # with the checks of an assignment
        data = self._lent[name] = self._codec.encode(name, default)
        self._ops[name] = [Default(data)]
        return default

    def clear(self) -> None:
        """Delete every field that this session object knows. Fields that others add meanwhile stay."""
        for name in list(self):
            del self[name]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """``update(name, function)``: change a field by a function of its current value (None where there is none),
        exact under any concurrency: it is applied here at once and replayed at commit if somebody else was first,
        so it may run more than once, in another thread, and must depend on nothing but its argument.

        ``update(mapping)``, ``update(pairs)`` and ``update(name=value)`` assign, as for any dict.
        """
        if len(args) == 2 and isinstance(args[0], str) and callable(args[1]):
            self._apply(args[0], args[1])
        else:
            MutableMapping.update(self, *args, **kwargs)

    def popitem(self) -> tuple[str, Any]:
        """Take the last field out: its name and value. `KeyError` if there is none."""
        if not self:
            raise KeyError("the session is empty")
        name = list(self)[-1]
        return name, self.pop(name)

    def copy(self) -> dict[str, Any]:
        """A plain dict of all fields, with the same values: see `to_dict` for one that shares nothing."""
        return {name: self[name] for name in self}

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.copy(), **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self.copy()} if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Self:
        MutableMapping.update(self, other)
        return self

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def to_dict(self) -> dict[str, Any]:
        """A plain dict of all fields, which shares nothing with the session."""
        return {name: self._codec.decode(name, self._codec.encode(name, self[name])) for name in self}

    __hash__ = None  # type: ignore[assignment]

    # --- The delta -----------------------------------------------------------------------------------------------

    def delta(self) -> Delta | None:
        """What changed since the load; None: nothing. Raises `UnsupportedValue`."""
        lent, traces, values = self._lent, self._ops, self._values
        if not lent and not traces:
            return None
        encode = self._codec.encode
        ops: dict[str, tuple[Op, ...]] = {}
        local: dict[str, bytes | None] = {}
        for name, before in lent.items():
            after = encode(name, values[name])
            if after != before:
                ops[name] = (*traces.get(name, ()), Changed(before, after)) if traces else (Changed(before, after),)
                local[name] = after
            elif name in traces:
                ops[name] = tuple(traces[name])
                local[name] = before
        for name, trace in traces.items():
            if trace[-1] is _ASSIGNED:
                data = local[name] = lent[name] = encode(name, values[name])
                trace[-1] = Assign(data)
                ops[name] = tuple(trace)
            elif name not in ops:
                ops[name] = tuple(trace)
                local[name] = None
        if not ops:
            return None
        return Delta(self._fields, ops, local)

    def _go_on(self, delta: Delta | None) -> None:
        """Go on from a commit of this delta, which made the record that this is of now. What happened here while it was
        under way stays to be committed. Values that were handed out stay followed: they are compared, from here on,
        with what was committed, and where others' changes were merged into that, they are brought up to date."""
        if delta is not None:
            for name, done in delta.ops.items():
                self._forget(name, done)
                if name in self._lent:
                    self._lent[name] = delta.local[name] or b""
        for name, value in list(self._values.items()):
            if type(value) in ATOMS and name not in self._ops:
                del self._values[name]  # nobody can change it in place: read it anew, as others left it
                self._lent.pop(name, None)
        fields = self._record.fields
        if any(fields.get(name) != data for name, data in self._lent.items()):
            self.renew(self._record)
        else:
            self._fields = fields

    def _forget(self, name: str, done: tuple[Op, ...]) -> None:
        """Drop from a field's trace what was committed: the very same operations, at its beginning."""
        trace = self._ops.get(name, [])
        same = 0
        while same < min(len(trace), len(done)) and trace[same] is done[same]:
            same += 1
        del trace[:same]
        if not trace:
            self._ops.pop(name, None)

    def _drop(self) -> None:
        """Forget what was changed here."""
        self._ops.clear()
        self._lent.clear()
        self._values.clear()

    def renew(self, record: Record) -> None:
        """Go on with this record of the session, in which others may have changed something. Lists, dicts and sets that
        were handed out are brought up to date where they are, and stay followed. What was changed and is not committed
        stays to be committed."""
        fields, encode, decode = record.fields, self._codec.encode, self._codec.decode
        for name, value in list(self._values.items()):
            before, after = self._lent.get(name), fields.get(name)
            if name in self._ops or (before is not None and before == after):
                continue
            changed = before is not None and encode(name, value) != before
            if changed and before is not None and after is not None:
                followed = append_to(value, decode(name, before), decode(name, after))
            else:
                followed = not changed and after is not None and adopt(value, decode(name, after))
            if followed and after is not None:
                self._lent[name] = after
            elif not changed:
                del self._values[name]  # to be read anew
                self._lent.pop(name, None)
        # Where a value still differs from these fields, as both were changed, the next delta must be replayed, not
        # taken as it stands: its base is then no record's own fields.
        stale = any(fields.get(name) != data for name, data in self._lent.items())
        self._record, self._fields = record, fields.copy() if stale else fields

    def _look(self) -> None:
        if self._phase != "open":
            self._refuse()
        self.accessed = True

    def _apply(self, name: str, function: Callable[[Any], Any]) -> None:
        """Apply an update here, and note it for the replay. If the function fails, nothing was done."""
        if not is_unicode(name):
            raise UnsupportedValue(ascii(name), "the name of a field is a string of Unicode text")
        encode = self._codec.encode
        current = self.get(name)
        trace = list(self._ops.get(name, ()))
        before = self._lent.get(name)
        if trace and trace[-1] is _ASSIGNED:
            trace[-1] = Assign(encode(name, current))
        elif before is not None and (now := encode(name, current)) != before:
            trace.append(Changed(before, now))
        value = function(current)
        data = encode(name, value)
        trace.append(Update(function))
        self._ops[name] = trace
        self._values[name] = value
        self._lent[name] = data

    def _refuse(self) -> None:
        if self._phase == "ended":
            raise SessionClosed("this session was ended here: there is nothing to read or write any more")
        raise SessionClosed("this session object was used after its block or response: load the session anew")


def is_unicode(text: str) -> bool:
    """Whether text can be stored: lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
