"""What all widgets have in common: typed properties, children, callbacks. A widget is a declaration; where it is shown
is its *home* (a page), which is told of every change. No I/O.

    class Text(Widget):
        '''A line of text.'''
        kind = "text"
        text: str = prop()

A property is checked when it is assigned: what it cannot be raises `UnsupportedValue`, and the widget stays as it was.
What is assigned is taken as it is then: to change a list that was handed in, assign another.
"""

from __future__ import annotations

import collections.abc
import logging
import types
import typing
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar, Final, Literal, Protocol, Self, TypeAlias, TypeVar, dataclass_transform

import msgspec

from ..errors import ConfigurationError, UnsupportedValue
from .callbacks import arguments

__all__ = ["NESTED", "Callback", "EventName", "Home", "Property", "Refused", "Widget", "prop"]

W = TypeVar("W", bound="Widget")
F = TypeVar("F", bound=Callable[..., Any])

EventName: TypeAlias = Literal["click", "change", "submit", "select", "sort"]
Callback: TypeAlias = Callable[..., Any]

log = logging.getLogger("sojourn")

_NONE: Final[Any] = object()  # no default
NESTED: Final = frozenset({dict, list})


class Refused(ValueError):
    """An event that the widget does not take: ``code`` is "not_allowed", "wrong_value" or "unknown_widget"."""

    def __init__(self, code: Literal["not_allowed", "wrong_value", "unknown_widget"], message: str) -> None:
        super().__init__(message)
        self.code = code


class Home(Protocol):
    """Where a widget is shown."""

    def within(self, widget: Widget) -> Sequence[Widget]:
        """The widgets that are in one, as whoever has that one may change them."""

    def read(self, widget: Widget, name: str) -> Any:
        """A property that each session has for itself, as it is for whoever asks."""

    def assign(self, widget: Widget, name: str, value: Any) -> None:
        """A property is assigned; the value is checked and differs from what is there."""

    def update(self, widget: Widget, name: str, function: Callable[[Any], Any]) -> None:
        """A property is changed by a function of its value."""

    def add(self, widget: Widget, into: Widget | None, before: Widget | None) -> None:
        """A widget, with all that is in it, comes into another (None: the page), before one of those there (None: at
        the end)."""

    def remove(self, widget: Widget) -> None:
        """A widget goes, with all that is in it."""

    def replace(self, widget: Widget, other: Widget) -> None:
        """Another widget takes the place of one."""

    def order(self, parent: Widget | None, children: Sequence[Widget]) -> None:
        """The children of a widget (None: of the page) are put into this order."""

    def listen(self, widget: Widget, event: EventName, callback: Callback) -> None:
        """A callback is to be called."""


class Property:
    """One property of a kind of widgets."""

    __slots__ = ("check", "default", "hint", "kw_only", "name", "own", "shown", "whole")

    def __init__(self, default: Any, check: Callable[[Any], Any] | None, kw_only: bool, own: bool, shown: bool) -> None:
        self.name = ""
        self.hint: Any = Any
        self.whole = False  # whether its lists are kept as tuples
        self.default = default
        self.check = check
        self.kw_only = kw_only
        self.own = own
        """Whether each session has its own, also of a widget that all see: what is typed into an input."""
        self.shown = shown
        """Whether the browser is told of it."""

    def __get__(self, widget: Widget | None, owner: type[Widget]) -> Any:
        if widget is None:
            return self
        if not self.own:
            value = widget._props[self.name]
            return copied(value) if type(value) in NESTED else value
        home = widget._home
        return widget.fit(self.name, widget._props[self.name] if home is None else home.read(widget, self.name))

    def __set__(self, widget: Widget, value: Any) -> None:
        value = self.accept(widget, value)
        home = widget._home
        if home is None:
            widget._props[self.name] = value
        elif not _same(self.__get__(widget, type(widget)), value):
            home.assign(widget, self.name, value)

    def accept(self, widget: Widget, value: Any) -> Any:
        """The value as it is kept; `UnsupportedValue` if the property cannot have it, as the others are."""
        value = self.convert(widget, value)
        widget.check(self.name, value)
        return value

    def convert(self, widget: Widget, value: Any) -> Any:
        """The value as it is kept, whatever the other properties are; `UnsupportedValue` if it cannot be one."""
        given = value
        try:
            if self.check is not None:
                value = self.check(value)
            elif self.hint is not Any and type(value) is not self.hint:
                value = msgspec.convert(tuple(value) if self.whole and type(value) is list else value, self.hint)
            if type(value) is str:
                _check_text(value)
            elif type(value) is tuple:
                for member in value:
                    if type(member) is str:
                        _check_text(member)
        except UnsupportedValue as error:
            raise UnsupportedValue(f"{type(widget).__name__}.{self.name}", error.problem) from None
        except (TypeError, ValueError) as error:  # what checks raise; msgspec's ValidationError is a ValueError
            raise UnsupportedValue(f"{type(widget).__name__}.{self.name}", str(error)) from None
        return copied(value) if value is given and type(value) in NESTED else value


class _Key(Property):
    """The key: it stays what it is while the widget is on a page."""

    __slots__ = ()

    def __get__(self, widget: Widget | None, owner: type[Widget]) -> Any:
        return self if widget is None else widget._key

    def __set__(self, widget: Widget, value: Any) -> None:
        value = self.accept(widget, value)
        if widget._home is not None:
            raise ConfigurationError(f"{widget!r} is on a page: its key stays what it is")
        widget._key = value


def prop(
    *,
    default: Any = _NONE,
    check: Callable[[Any], Any] | None = None,
    kw_only: bool = False,
    own: bool = False,
    shown: bool = True,
    kind: type[Property] = Property,
) -> Any:
    """Declare a property. Without a default it must be given. ``check`` returns the value as it is kept, or raises
    TypeError or ValueError; without one the annotation is the check. ``own``: each session has its own value.
    ``shown=False``: the browser is not told."""
    return kind(default, check, kw_only, own, shown)


class _Kind(type):
    """Gives widgets no other attributes than their properties: a name that is misspelt is refused when it is assigned.
    That type checkers know no ``__slots__`` here is on purpose, as they would look for the properties there."""

    def __new__(meta, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Kind:
        namespace.setdefault("__slots__", ())
        return super().__new__(meta, name, bases, namespace)


@dataclass_transform(field_specifiers=(prop,), eq_default=False)
class _Declared(metaclass=_Kind):
    """Tells type checkers to read the classes below as declarations of properties: `Widget`, too."""

    __slots__ = ("_at", "_children", "_home", "_key", "_on", "_parent", "_props")


class Widget(_Declared):
    """The base of all widgets. ``key`` names it within its page: give one to find it again by `Session.widget`, else it
    gets one. ``visible=False``: the browser is not even told of it, nor of what is in it."""

    kind: ClassVar[str] = ""
    """What the browser calls it."""
    events: ClassVar[frozenset[EventName]] = frozenset()
    """What a visitor can do to it."""
    assigns: ClassVar[str] = "value"
    """The property that a "change" assigns."""
    holds: ClassVar[bool] = False
    """Whether there can be widgets in it."""
    only: ClassVar[str] = ""
    """The kind of what can be in it, if it is one alone."""
    place: ClassVar[str] = ""
    """The kind that it has to be in; "page" is the page itself. Empty: it can be anywhere."""
    alone: ClassVar[bool] = False
    """Whether there is one of its kind on a page at most. Its place is the page, then."""
    fits: ClassVar[frozenset[str]] = frozenset()
    """The properties that `fit` looks at: where one changes, the value may read otherwise."""
    properties: ClassVar[dict[str, Property]] = {}

    key: str = prop(default="", kw_only=True, shown=False, kind=_Key)
    visible: bool = prop(default=True, kw_only=True, shown=False)

    def __init_subclass__(cls) -> None:
        hints = typing.get_type_hints(cls)
        cls.properties = dict(cls.properties)
        for name in vars(cls).get("__annotations__", {}):
            declared = vars(cls).get(name)
            if isinstance(declared, Property):
                _name(declared, name, hints[name])
                cls.properties[name] = declared

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._blank()
        names = [name for name, one in self.properties.items() if not one.kw_only]
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} takes {len(names)} values by position, not {len(args)}")
        given = dict(zip(names, args, strict=False))
        for name in kwargs:
            if name not in self.properties or name in given:
                why = "twice" if name in given else "and has no such property"
                raise TypeError(f"{type(self).__name__} was given {name!r} {why}")
        given.update(kwargs)
        for name, one in self.properties.items():
            if name not in given and one.default is _NONE:
                raise TypeError(f"{type(self).__name__} needs {name!r}")
            self._props[name] = one.default
        for name, value in given.items():
            self._props[name] = self.properties[name].convert(self, value)
        self._key = self._props.pop("key")
        self.made()
        for name, value in self._props.items():
            self.check(name, value)

    def _blank(self) -> None:
        self._home: Home | None = None
        self._parent: Widget | None = None
        self._children: list[Widget] = []
        self._on: dict[str, list[Any]] = {}
        self._props: MutableMapping[str, Any] = {}
        self._key = ""
        self._at = 0.0  # its place among its siblings

    @classmethod
    def restore(cls, key: str, kept: Mapping[str, Any]) -> Self:
        """A widget as it was kept (`kept_props`), without what is in it. What the declaration does not know any more is
        dropped; what it would not take has its default."""
        widget = cls.__new__(cls)
        widget._blank()
        for name, one in cls.properties.items():
            widget._props[name] = None if one.default is _NONE else one.default
        for name, value in kept.items():
            if name in cls.properties:
                try:
                    widget._props[name] = cls.properties[name].convert(widget, value)
                except UnsupportedValue as error:
                    log.warning("a widget of kind %s was kept with a value that it cannot have: %s", cls.kind, error)
        del widget._props["key"]
        widget._key = key
        return widget

    def kept_props(self) -> dict[str, Any]:
        """The properties that are not as by default: what is kept of it."""
        return {
            name: value
            for name, value in self._props.items()
            if type(value) is not type(self.properties[name].default) or value != self.properties[name].default
        }

    def made(self) -> None:
        """Called once, when all properties have their values: gives those theirs that depend on others, and makes what
        is in it from the start. A widget that is restored was made before."""

    def check(self, name: str, value: Any) -> None:
        """Called before a property is assigned, and for each when all are there; raises `UnsupportedValue` for what
        does not fit the others."""

    def fit(self, name: str, value: Any) -> Any:
        """What a property that each session has for itself comes to, as the others are now. They may have changed since
        it was assigned: a choice that is no option any more. What is kept stays as it is."""
        return value

    def take(self, event: EventName, value: Any) -> Any:
        """What a visitor's event means: for "change" the value as it is kept. Raises `Refused`."""
        raise Refused("not_allowed", f"a {self.kind} takes no events")

    def update(self, name: str, function: Callable[[Any], Any]) -> None:
        """Change a property by a function of its value, exact under any concurrency: ``metric.update("value", lambda n:
        n + 1)``. The function may run more than once, and must depend on nothing but its argument."""
        if name not in self.properties or name == "key":
            raise AttributeError(f"a {self.kind} has no property {name!r}")
        if self._home is None:
            setattr(self, name, function(getattr(self, name)))
        else:
            self._home.update(self, name, function)

    def remove(self) -> None:
        """Take it off its page, with all that is in it. Nothing happens if it is on none."""
        if self._home is not None:
            self._home.remove(self)
        elif self._parent is not None:
            self._parent._children.remove(self)
            self._parent = None

    def replace(self, other: W) -> W:
        """Put another widget in its place; returns that one."""
        if self._home is not None:
            self._home.replace(self, other)
        elif self._parent is not None:
            check_free(other)
            check_place(other, self._parent)
            at = self._parent._children.index(self)
            self._parent._children[at] = other
            other._parent, self._parent = self._parent, None
        else:
            raise ConfigurationError(f"{self!r} is nowhere yet: there is no place to put another into")
        return other

    @property
    def children(self) -> tuple[Widget, ...]:
        """The widgets in it."""
        return tuple(self._children if self._home is None else self._home.within(self))

    def listen(self, event: EventName, callback: F) -> F:
        """Have a function called for an event: what `on_click` and its like do."""
        if event not in self.events:
            raise ConfigurationError(f"a {self.kind} knows no {event!r}")
        arguments(callback, 1 if event == "click" else 2)  # refused here, where the traceback shows who gave it
        if self._home is not None:
            self._home.listen(self, event, callback)
        else:
            self._on.setdefault(event, []).append(callback)
        return callback

    def walk(self) -> Iterator[Widget]:
        """This widget and all that are in it."""
        yield self
        for child in self._children:
            yield from child.walk()

    def shown_props(self) -> dict[str, Any]:
        """The properties that the browser is told of."""
        return {name: value for name, value in self._props.items() if self.properties[name].shown}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._key or 'without a key'}>"


def check_free(widget: Widget) -> None:
    """Raises `ConfigurationError` for a widget that is somewhere already."""
    if not isinstance(widget, Widget):
        raise ConfigurationError(f"{widget!r} is no widget")
    if widget._home is not None or widget._parent is not None:
        raise ConfigurationError(f"{widget!r} is on a page already: make another, or remove it there first")


def check_place(widget: Widget, into: Widget | None) -> None:
    """Raises `ConfigurationError` where a widget, or what is in it, cannot be in another (None: on the page)."""
    where = "page" if into is None else into.kind
    if into is not None and not into.holds:
        raise ConfigurationError(f"{into!r} holds no other widgets")
    if widget.place and widget.place != where:
        raise ConfigurationError(f"a {widget.kind} belongs in a {widget.place}, not in a {where}")
    if into is not None and into.only and into.only != widget.kind:
        raise ConfigurationError(f"a {into.kind} holds its {into.only}s: add {widget!r} to one of these")
    around = into
    forms = any(one.kind == "form" for one in widget.walk()) if into is not None else False
    while around is not None:
        if around is widget:
            raise ConfigurationError(f"{widget!r} cannot be in itself")
        if forms and around.kind == "form":
            raise ConfigurationError("a form cannot be in a form")
        around = around._parent


def copied(value: Any) -> Any:
    """Nested data of a property, new and independent: so that who changes what was read changes nothing here, and can
    assign it. It is what JSON has, which MessagePack keeps as it is."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("text with lone surrogates is not Unicode") from None


def _name(one: Property, name: str, hint: Any) -> None:
    one.name = name
    if typing.get_origin(hint) is collections.abc.Sequence:
        hint = types.GenericAlias(tuple, (typing.get_args(hint)[0], ...))
        one.whole = True
    elif typing.get_origin(hint) is types.UnionType:
        one.whole = any(typing.get_origin(part) is collections.abc.Sequence for part in typing.get_args(hint))
    one.hint = hint


def _same(before: Any, after: Any) -> bool:
    return type(before) is type(after) and bool(before == after)


for _own in ("key", "visible"):
    _name(vars(Widget)[_own], _own, {"key": str, "visible": bool}[_own])
    Widget.properties[_own] = vars(Widget)[_own]
