"""A function as plain data, by which it is found again after a restart and in another process: never pickled, and never
with another session's variables in it. No I/O, and it knows no page: what sessions and widgets are is handed in.

    a function of a module, or of a class in one      by its name: it must lead to the very same function
    a nested function                                 by the way to its code in the function around it, which is found
                                                      by name, or is a *root*: one that the app was given

A reference is a list where the function needs nothing else: ``["", "start", "clicked"]``. The module "" is the app's
own, whose name is another when it is run as a program. The steps after the function's name lead inwards: "@" to what a
decorator has wrapped, else the name of a function in it ("name#mark#index", where several have that name). Else it is

    {"functions": [{"at": list, "free"?: {variable: cell}, "defaults"?: [...], "kw"?: {...}, "wraps"?: index}, ...],
     "cells": [content, ...]}

with the function itself first. Of a variable that a nested function shares with those around it there is kept

    ["value", x]                None, or a bool, int, float, str, bytes
    ["function", index]         another function (or itself)
    ["module", name]            a module that is imported
    ["name", module, name]      a class of a module
    ["empty"]                   nothing is assigned yet
    what ``name_of`` says       the session, a widget, the app

and it is made anew each time that the function is found, for the session whose event it is. So a callback that assigns
to such a variable (``nonlocal``) does so for the length of one event: what is to last belongs into the session. Of the
variables that a root itself shares with what is around it nothing is kept: they are its own, live.

A reference may have been damaged, or written by somebody else. It leads to functions of modules that are imported, or
nowhere: nothing is imported, no attribute of an object is asked for, and what is called is no function of the standard
library. The store is still to be guarded as the code is: it says which function is called, and with which variables.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import msgspec
from msgspec import Struct

from ..codec import ATOMS
from ..errors import CallbackLost, ConfigurationError, UnsupportedValue
from .nested import WRAPS, inner, kind, steps, unwrapped

__all__ = ["Callbacks", "Found", "NameOf", "Pending", "Reference", "arguments", "is_async"]

Function: TypeAlias = FunctionType | MethodType
Reference: TypeAlias = list[str] | dict[str, Any]
"""Where a function is found again."""

NameOf: TypeAlias = Callable[[Any], list[Any] | None]
"""What is kept of the session, a widget or the app, a word for its kind first; None for any other object."""

Found: TypeAlias = Callable[[list[Any]], Any]
"""What `NameOf` named, for the session whose event it is. Raises LookupError if it is no more."""

_LOCALS: Final = ".<locals>"
_PLACES: Final = 4096  # of nested functions that are remembered
_REMEDY: Final = "make it a global of its module, keep it in the session, or pass it in as an atom"
_NAMED: Final = "Give it a name in its module (def), or make it known with app.callback"


class Pending(Struct, frozen=True):
    """A function that was registered. What its variables hold is read when the event is done: some are assigned later
    than the function is made."""

    function: Function


class _Function(Struct, forbid_unknown_fields=True, omit_defaults=True):
    at: list[str]
    free: dict[str, int] = {}
    defaults: list[list[Any]] = []
    kw: dict[str, list[Any]] = {}
    wraps: int = -1


class _Whole(Struct, forbid_unknown_fields=True):
    functions: list[_Function]
    cells: list[list[Any]]


class _Place(NamedTuple):
    """Where the code of a nested function is, and the live function around it."""

    code: CodeType
    around: Any  # a FunctionType, which mypy would bind as a method

    def inherited(self) -> dict[str, CellType]:
        """The variables that the function around it shares with what is around that one."""
        return dict(zip(self.around.__code__.co_freevars, self.around.__closure__ or (), strict=True))


class Callbacks:
    """Refers to functions, and finds them again, for one app, whose module has this name. Safe to share between
    threads."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._roots: dict[tuple[str, str], FunctionType] = {}
        self._keys: dict[int, tuple[str, str]] = {}
        self._by_name: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._met: dict[tuple[str, ...], tuple[object, Function | _Place]] = {}
        self._ready: dict[tuple[str, ...], tuple[object, Function]] = {}
        self._places: dict[int, tuple[CodeType, object, list[str]]] = {}

    def root(self, callback: Callable[..., Any]) -> None:
        """Make a function known by its qualified name, with the variables that it has. Callbacks may then be this
        function, or functions in it. Of several with one name the order counts, which must be the same in every
        process: these are the functions that the app is made with. Of a method its function is taken; nothing happens
        for what is no Python function."""
        function = _plain(callback)
        if function is None or id(function) in self._keys:
            return
        module, name = self._ours(function.__module__), function.__qualname__
        keys = self._by_name.setdefault((module, name), [])
        key = (module, f"{name}#{len(keys)}")
        keys.append(key)
        self._roots[key] = function
        self._keys[id(function)] = key

    def refer(self, callback: Callable[..., Any]) -> Pending:
        """Take a callback, at the line that registers it. Raises `ConfigurationError` for what cannot be found again:
        methods of objects, partials, objects that can be called, built-in functions, generators, functions that were
        made by hand."""
        if type(callback) is MethodType and isinstance(callback.__self__, type):
            pass
        elif type(callback) is not FunctionType:
            raise ConfigurationError(
                f"a callback is a function that is found again by its name, and no <{type(callback).__name__}>: "
                "write a function (def) that calls it"
            )
        elif inspect.isgeneratorfunction(callback) or inspect.isasyncgenfunction(callback):
            raise ConfigurationError(f"{_told(callback)} is a generator: a callback has no yield")
        if type(callback) is FunctionType and id(callback) not in self._keys and _LOCALS in callback.__qualname__:
            self._at(callback)
        return Pending(callback)

    def finish(self, pending: Pending, name_of: NameOf) -> Reference:
        """The reference, when the event that registered the callback is done. Raises `ConfigurationError` if its name
        leads to something else, `UnsupportedValue` for a variable or a default whose value cannot be kept."""
        writer = _Writer(self, name_of)
        writer.function(pending.function)
        first = writer.functions[0]
        if first.at[0] in sys.stdlib_module_names:
            raise ConfigurationError(f"{_told(pending.function)} is the standard library's: write a def that calls it")
        if len(writer.functions) == 1 and not (first.free or first.defaults or first.kw):
            return first.at
        data: dict[str, Any] = msgspec.to_builtins(
            _Whole(writer.functions, writer.cells), builtin_types=(bytes,), str_keys=True
        )
        return data

    def resolve(self, reference: Any, found: Found) -> Function:
        """The function, its variables bound anew. ``found`` gives what ``name_of`` named. Raises `CallbackLost` if it
        is there no more, was changed so that it does not fit, or the reference is damaged."""
        if type(reference) is list:
            return self._bare(reference)
        try:
            whole = msgspec.convert(reference, _Whole)
        except (msgspec.ValidationError, RecursionError) as error:
            raise CallbackLost(f"a reference to a callback is damaged: {error}") from None
        return _Reader(self, whole, found).read()

    # --- Names -------------------------------------------------------------------------------------------------------

    def _ours(self, module: Any) -> str:
        """A module's name as it is kept."""
        return "" if module == self._module else module if type(module) is str else "?"

    def _outermost(self, module: str, name: str) -> object:
        """The root or the object of a module that has this name, or None. Runs nobody's code: modules may have a
        ``__getattr__``, be loaded when they are looked at, and classes have properties."""
        if "#" in name:
            return self._roots.get((module, name))
        found: Any = sys.modules.get(module or self._module)
        if not issubclass(type(found), ModuleType):
            return None
        first, *more = name.split(".")
        found = object.__getattribute__(found, "__dict__").get(first)
        for at, part in enumerate(more):
            if not issubclass(type(found), type):
                return None
            owner, found = found, inspect.getattr_static(found, part, None)
            if type(found) is staticmethod:
                found = found.__func__
            elif type(found) is classmethod and at == len(more) - 1:
                found = MethodType(found.__func__, owner)
        return found

    def _at(self, function: Function) -> list[str]:
        """The way to a function. Raises `ConfigurationError` if there is none."""
        if type(function) is MethodType:  # of a class
            owner = cast("type[Any]", function.__self__)
            at = self._named(function, owner.__module__, f"{owner.__qualname__}.{function.__name__}")
        elif _LOCALS in function.__qualname__ and id(function) not in self._keys:
            return self._nested(function)
        else:
            at = self._named(function, function.__module__, function.__qualname__)
            if at is None and id(function) in self._keys:
                at = [*self._keys[id(function)]]
        if at is None:
            raise ConfigurationError(
                f"{_told(function)} cannot be found again: its name leads to something else. {_NAMED}; "
                "a decorator around it has to use functools.wraps"
            )
        return at

    def _named(self, function: Function, module: str, name: str) -> list[str] | None:
        module = self._ours(module)
        for depth, one in enumerate(unwrapped(self._outermost(module, name))):
            if one is function or (type(one) is type(function) is MethodType and one == function):
                return [module, name, *("@" * depth)]
        return None

    def _nested(self, function: FunctionType) -> list[str]:
        module, code = self._ours(function.__globals__.get("__name__")), function.__code__
        remembered = self._places.get(id(code))
        if remembered is not None and remembered[1] is self._outermost(*remembered[2][:2]):
            return remembered[2]
        parts = code.co_qualname.split(_LOCALS + ".")
        for length in range(len(parts) - 1, 0, -1):
            name = (_LOCALS + ".").join(parts[:length])
            keys = [(module, name), *self._by_name.get((module, name), ())]
            ways = sorted(
                (way for key in keys for way in self._ways(key, code)), key=lambda way: not _shares(way[2], function)
            )
            for at, outer, around in ways:
                if all(other is around for _, _, other in ways):
                    if len(self._places) >= _PLACES:
                        self._places.clear()
                    self._places[id(code)] = (code, outer, at)  # with the code, or its id could become another's
                return at
        raise ConfigurationError(
            f"{_told(function)} cannot be found again: no function that a module or the app knows by name holds it. "
            "Make the outer one known with app.callback; a decorator around that has to use functools.wraps"
        )

    def _ways(self, key: tuple[str, str], code: CodeType) -> Iterator[tuple[list[str], object, FunctionType]]:
        outer = self._outermost(*key)
        for depth, one in enumerate(unwrapped(outer)):
            around = _plain(one)
            way = None if around is None else steps(around.__code__, code)
            if way is not None and around is not None:
                yield [*key, *("@" * depth), *way], outer, around

    def _place(self, at: Any) -> Function | _Place:
        """The function that is there, or the code of a nested one. Costly the first time only: until the outermost
        function is another, as after a reload."""
        try:
            key = tuple(at)
            outer = self._outermost(key[0], key[1])
            met = self._met.get(key)
        except (TypeError, IndexError, AttributeError, ValueError):
            raise CallbackLost("a reference to a callback is damaged: it is no list of names") from None
        if met is None or met[0] is not outer:
            if any(type(part) is not str for part in key):
                raise CallbackLost("a reference to a callback is damaged: it is no list of names")
            met = outer, self._walk(key, outer)
            self._met[key] = met
        return met[1]

    def _walk(self, at: tuple[str, ...], outer: object) -> Function | _Place:
        chain, inwards = unwrapped(outer), list(at[2:])
        found = next(chain)
        while inwards and inwards[0] == "@":
            del inwards[0]
            found = next(chain, None)
        around = _plain(found)
        if around is None:
            raise _lost(at, "there is no such function")
        if not inwards:
            return cast(Function, found)
        code: CodeType | None = around.__code__
        for step in inwards:
            code = inner(code, step) if code is not None else None
        if code is None or kind(code) == "none":
            raise _lost(at, "it is not there any more, or cannot be told from others of its name")
        return _Place(code, around)

    def _bare(self, at: Any) -> Function:
        """The function of a reference that is no more than a way."""
        place = self._place(at)
        key = tuple(at)
        ready = self._ready.get(key)
        if ready is not None and ready[0] is place:
            return ready[1]
        self._check_called(key, place)
        function = _made(place, _Function(list(key)), []) if type(place) is _Place else cast(Function, place)
        self._ready[key] = (place, function)
        return function

    def _check_called(self, at: Sequence[str], place: Function | _Place) -> None:
        """What is called, and not only held by a variable, is a function of the application, and no generator."""
        if at[0] in sys.stdlib_module_names:
            raise _lost(at, "it is the standard library's")
        function = None if type(place) is _Place else _plain(place)
        code = place.code if type(place) is _Place else function and function.__code__
        if not isinstance(code, CodeType) or kind(code) != "function":
            raise _lost(at, "it is a generator, or no function")


class _Writer:
    """Makes the reference of a function: it, the functions that it needs, and the variables that they share."""

    def __init__(self, callbacks: Callbacks, name_of: NameOf) -> None:
        self._callbacks = callbacks
        self._name_of = name_of
        self._seen: dict[int, int] = {}  # functions and cells, by their identity: the function holds them all alive
        self.functions: list[_Function] = []
        self.cells: list[list[Any]] = []

    def function(self, function: Function) -> int:
        """Its index. It is in the list before what it needs: it may need itself."""
        known = self._seen.get(id(function))
        if known is not None:
            return known
        data = _Function(self._callbacks._at(function))
        index = self._seen[id(function)] = len(self.functions)
        self.functions.append(data)
        place = self._callbacks._place(data.at)
        if type(place) is not _Place or type(function) is not FunctionType:
            return index
        inherited = place.inherited()
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if inherited.get(name) is not cell:
                data.free[name] = self._cell(cell, f"{_told(function)}: the variable {name!r}")
        for at, value in enumerate(function.__defaults__ or ()):
            data.defaults.append(self._content(value, f"{_told(function)}: default {at + 1}"))
        for name, value in (function.__kwdefaults__ or {}).items():
            data.kw[name] = self._content(value, f"{_told(function)}: the default of {name!r}")
        wrapped = vars(function).get("__wrapped__")
        if type(wrapped) is FunctionType:
            data.wraps = self.function(wrapped)
        return index

    def _cell(self, cell: CellType, what: str) -> int:
        known = self._seen.get(id(cell))
        if known is None:
            known = self._seen[id(cell)] = len(self.cells)
            self.cells.append(["empty"])
            try:
                value = cell.cell_contents
            except ValueError:  # nothing is assigned
                return known
            self.cells[known] = self._content(value, what)
        return known

    def _content(self, value: Any, what: str) -> list[Any]:
        if type(value) in ATOMS:
            return ["value", value]
        named = self._name_of(value)
        if named is not None:
            return named
        if type(value) is FunctionType or (type(value) is MethodType and issubclass(type(value.__self__), type)):
            return ["function", self.function(value)]
        if issubclass(type(value), ModuleType) and sys.modules.get(name := str(value.__name__)) is value:
            return ["module", self._callbacks._ours(name)]
        if isinstance(value, type):
            module = self._callbacks._ours(value.__module__)
            if self._callbacks._outermost(module, value.__qualname__) is value:
                return ["name", module, value.__qualname__]
        raise UnsupportedValue(what, f"it holds a <{type(value).__name__}>, which a callback cannot keep: {_REMEDY}")


class _Reader:
    """Makes the functions of a reference."""

    def __init__(self, callbacks: Callbacks, whole: _Whole, found: Found) -> None:
        self._callbacks = callbacks
        self._whole = whole
        self._found = found
        self._functions: list[Function] = []

    def read(self) -> Function:
        """The first of them."""
        whole, cells = self._whole, [CellType() for _ in self._whole.cells]
        places = [self._callbacks._place(data.at) for data in whole.functions]
        if not places:
            raise _damaged("it has no function")
        self._callbacks._check_called(whole.functions[0].at, places[0])
        self._functions = [
            _made(place, data, cells) if type(place) is _Place else cast(Function, place)
            for place, data in zip(places, whole.functions, strict=True)
        ]
        for cell, content in zip(cells, whole.cells, strict=True):
            if content != ["empty"]:
                cell.cell_contents = self._content(content)
        for place, data, function in zip(places, whole.functions, self._functions, strict=True):
            if type(place) is _Place and type(function) is FunctionType:  # it was made here
                self._complete(function, data)
        return self._functions[0]

    def _complete(self, function: FunctionType, data: _Function) -> None:
        if len(data.defaults) > function.__code__.co_argcount:  # the interpreter does not check that: it would crash
            raise _lost(data.at, "it takes fewer arguments than it had defaults")
        if data.defaults:
            function.__defaults__ = tuple(map(self._content, data.defaults))
        if data.kw:
            function.__kwdefaults__ = {name: self._content(content) for name, content in data.kw.items()}
        if data.wraps >= 0:
            functools.update_wrapper(function, self._function(data.wraps), updated=())

    def _function(self, index: Any) -> Function:
        if type(index) is not int or not 0 <= index < len(self._functions):
            raise _damaged("it counts its functions wrongly")
        return self._functions[index]

    def _content(self, content: list[Any]) -> Any:
        match content:
            case ["value", value] if type(value) in ATOMS:
                return value
            case ["function", index]:
                return self._function(index)
            case ["module", str(name)]:
                module = sys.modules.get(name or self._callbacks._module)
                if issubclass(type(module), ModuleType):
                    return module
                raise CallbackLost(f"a callback needs the module {name[:100]!r}, which is not imported")
            case ["name", str(module), str(name)]:
                kind = self._callbacks._outermost(module, name)
                if issubclass(type(kind), type):
                    return kind
                raise CallbackLost(
                    f"a callback needs {name[:100]!r} of module {module[:100]!r}, which is no class there"
                )
            case [str(word), *_] if word not in ("value", "function", "module", "name", "empty"):
                try:
                    return self._found(content)
                except LookupError:
                    raise CallbackLost(f"a callback needs a {word[:20]!r} that is not there any more") from None
        raise _damaged("a variable has no content that is known")


def arguments(function: Callable[..., Any], most: Literal[1, 2] = 2) -> int:
    """How many of (session, value) a callback is given: as many as it has parameters without a default, and all for
    ``*args``. A parameter with a default is the function's own: ``lambda session, n=n: ...``. Raises
    `ConfigurationError` if it needs more than ``most``, or anything by name."""
    needed, by_name = _needs(function, most)
    if needed > most or by_name:
        given = "(session, value)" if most == 2 else "(session)"
        raise ConfigurationError(f"{_told(function)} needs more arguments than the {given} that it is given")
    return needed


def _needs(function: Callable[..., Any], most: int) -> tuple[int, bool]:
    """How many arguments it needs by position (with ``*args`` at least ``most``), and whether it needs any by name."""
    bound = 0
    for _ in range(WRAPS):
        if type(function) is MethodType:
            bound, function = bound + 1, function.__func__
        if type(function) is not FunctionType:
            return _needs_of_object(function, most)
        wrapped = vars(function).get("__wrapped__")
        if not function.__code__.co_flags & inspect.CO_VARARGS or wrapped is None:
            break
        function = wrapped  # the wrapper hands on what it is given
    code, defaults = cast(FunctionType, function).__code__, function.__kwdefaults__ or {}
    needs = max(code.co_argcount - len(function.__defaults__ or ()) - bound, 0)
    if code.co_flags & inspect.CO_VARARGS:
        needs = max(needs, most)
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return needs, any(name not in defaults for name in named)


def _needs_of_object(function: Callable[..., Any], most: int) -> tuple[int, bool]:
    """As `_needs`, twenty times slower: of what is no function, which only the app itself can have for a callback."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:
        raise ConfigurationError(f"{_told(function)} does not say what it takes: write a def that calls it") from None
    kinds = [one.kind for one in found if one.default is one.empty]
    needs = sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        needs = max(needs, most)
    return needs, inspect.Parameter.KEYWORD_ONLY in kinds


def is_async(function: Callable[..., Any]) -> bool:
    """Whether it is a coroutine function, to be awaited in the event loop. A function that is none may return something
    to await all the same: what a decorator made of one."""
    return inspect.iscoroutinefunction(function)


# --- Functions -----------------------------------------------------------------------------------------------------


def _plain(found: object) -> FunctionType | None:
    """The function that it is, or that a method is of. Types are compared: a proxy says that it is what it is not."""
    function = found.__func__ if type(found) is MethodType else found
    return function if type(function) is FunctionType else None


def _shares(around: FunctionType, function: FunctionType) -> bool:
    """Whether a nested function has the variables of just this function around it, and not of its like."""
    theirs = dict(zip(around.__code__.co_freevars, around.__closure__ or (), strict=True))
    own = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return all(theirs.get(name, cell) is cell for name, cell in own)


def _made(place: _Place, data: _Function, cells: list[CellType]) -> FunctionType:
    """The function of some code, with its variables; without its defaults."""
    inherited, closure = place.inherited(), []
    for name in place.code.co_freevars:
        index = data.free.get(name)
        if index is None and name not in inherited:
            raise _lost(data.at, f"it needs the variable {name!r} now, which it did not have")
        if index is not None and not 0 <= index < len(cells):
            raise _damaged("it counts its variables wrongly")
        closure.append(inherited[name] if index is None else cells[index])
    return FunctionType(place.code, place.around.__globals__, place.code.co_name, None, tuple(closure))


# --- Words -----------------------------------------------------------------------------------------------------------


def _told(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return f"a <{type(function).__name__}>"
    return f"{function.__qualname__} (line {code.co_firstlineno})"


def _lost(at: Sequence[str], why: str) -> CallbackLost:
    return CallbackLost(f"the callback {'.'.join(at[1:])[:200]!r} of module {at[0][:100]!r} cannot be found: {why}")


def _damaged(why: str) -> CallbackLost:
    return CallbackLost(f"a reference to a callback is damaged: {why}")
