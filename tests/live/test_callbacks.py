"""Callbacks are found again by name and code, after a restart too, and bound to the session whose event it is."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sojourn
from sojourn import CallbackLost, ConfigurationError, UnsupportedValue
from sojourn.codec import Codec
from sojourn.live.callbacks import Callbacks, arguments, is_async


class Session:
    """Stands for the session of one event."""

    def __init__(self, name: str = "one") -> None:
        self.name = name


class Label:
    """Stands for a widget."""

    def __init__(self, session: Session, key: str) -> None:
        self.session, self.key = session, key


def name_of(value: Any) -> list[Any] | None:
    if type(value) is Session:
        return ["session"]
    return ["widget", value.key] if type(value) is Label else None


def finder(session: Session, *gone: str) -> Callable[[list[Any]], Any]:
    def found(kept: list[Any]) -> Any:
        match kept:
            case ["session"]:
                return session
            case ["widget", key] if key not in gone:
                return Label(session, key)
        raise LookupError(kept[0])

    return found


def kept(callbacks: Callbacks, function: Callable[..., Any]) -> Any:
    """The reference, as it comes back from a store."""
    codec = Codec()
    return codec.decode("on", codec.encode("on", callbacks.finish(callbacks.refer(function), name_of)))


def again(function: Callable[..., Any], session: Session | None = None, *roots: Callable[..., Any]) -> Any:
    """The function, found anew with nothing remembered."""
    first, second = Callbacks(__name__), Callbacks(__name__)
    for root in roots:
        first.root(root)
        second.root(root)
    return second.resolve(kept(first, function), finder(session or Session()))


# --- Functions that are found by name --------------------------------------------------------------------------------


def plain(session: Session) -> str:
    return f"plain {session.name}"


class Page:
    @staticmethod
    def still(session: Session) -> str:
        return f"still {session.name}"

    @classmethod
    def of_class(cls, session: Session) -> str:
        return f"{cls.__name__} {session.name}"

    def bare(self: Any) -> str:  # type: ignore[misc]
        return f"bare {self.name}"

    def start(self) -> Callable[..., Any]:
        def clicked() -> str:
            return "in a method"

        return clicked


class SubPage(Page):
    pass


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ["logged", function(*args, **kwargs)]

    return wrapper


def forgetful(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


inner_ones: list[Callable[..., Any]] = []


def note(function: Callable[..., Any]) -> Callable[..., Any]:
    inner_ones.append(function)
    return function


@logged
@logged
@note
def decorated(session: Session) -> Any:
    def nested() -> str:
        return f"nested {session.name}"

    return nested


@forgetful
@note
def spoilt(session: Session) -> Any:
    return lambda: session


def yields() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("function", [plain, Page.still, Page.bare, Page.of_class, SubPage.of_class, decorated])
def test_a_function_with_a_name_is_found_by_it(function: Any) -> None:
    """What a module or a class in it has by its name is found again as the very same, with nothing else kept."""
    reference = kept(Callbacks(__name__), function)
    assert reference[0] == ""
    assert len(reference) == 2
    assert again(function) == function
    assert again(function)(Session("a")) is not None


def test_the_app_s_own_module_has_no_name() -> None:
    """References do not hold the name of the app's module: it is another when the app is run as a program."""
    assert kept(Callbacks(__name__), plain) == ["", "plain"]
    assert kept(Callbacks("elsewhere"), plain) == [__name__, "plain"]


def test_what_a_decorator_wraps_is_found_inside_it() -> None:
    """A function that was registered below its decorators is found through ``__wrapped__``, and what is in it, too."""
    found = next(one for one in inner_ones if one.__name__ == "decorated")
    assert kept(Callbacks(__name__), found) == ["", "decorated", "@", "@"]
    assert again(found) is found
    assert again(found(Session("x")), Session("y"))() == "nested y"


def test_a_name_that_leads_elsewhere_is_refused() -> None:
    """A decorator without functools.wraps hides its function: that is refused with the remedy, and so is what lost its
    name to another."""
    found = next(one for one in inner_ones if one.__name__ == "spoilt")
    callbacks = Callbacks(__name__)
    with pytest.raises(ConfigurationError, match=r"functools\.wraps"):
        callbacks.finish(callbacks.refer(found), name_of)
    with pytest.raises(ConfigurationError, match=r"functools\.wraps"):
        callbacks.refer(found(Session()))
    other = types.FunctionType(plain.__code__, globals(), "plain")
    with pytest.raises(ConfigurationError, match="leads to something else"):
        callbacks.finish(callbacks.refer(other), name_of)


@pytest.mark.parametrize(
    "callback",
    [Page().start, functools.partial(plain, 1), len, Page, yields, object(), functools.lru_cache(plain), [].append],
)
def test_what_is_no_function_is_refused_where_it_is_registered(callback: Any) -> None:
    """Methods of objects, partials, classes, built-ins, generators and objects are refused, at the line itself."""
    with pytest.raises(ConfigurationError, match=r"def|yield"):
        Callbacks(__name__).refer(callback)


def test_the_standard_library_is_no_callback() -> None:
    """A function of the standard library is neither kept nor found as a callback."""
    callbacks = Callbacks(__name__)
    with pytest.raises(ConfigurationError, match="standard library"):
        callbacks.finish(callbacks.refer(json.dumps), name_of)
    for reference in (["subprocess", "getoutput"], {"functions": [{"at": ["subprocess", "getoutput"]}], "cells": []}):
        with pytest.raises(CallbackLost, match="standard library"):
            callbacks.resolve(reference, finder(Session()))


# --- Nested functions ------------------------------------------------------------------------------------------------


def test_a_nested_function_is_made_of_its_code() -> None:
    """A function without variables of its own is a way into the code, and found by it."""

    def outer() -> Callable[..., Any]:
        def clicked(session: Session) -> str:
            return f"clicked {session.name}"

        return clicked

    assert again(outer(), None, outer)(Session("b")) == "clicked b"
    assert again(Page().start())() == "in a method"
    assert kept(Callbacks(__name__), Page().start()) == ["", "Page.start", "clicked"]


def start(session: Session) -> dict[str, Any]:  # noqa: C901 - one of each kind
    label, step, word = Label(session, "label"), 2, "ü"

    def clicked(other: Session) -> Any:
        return label.session.name, label.key, session.name, other.name, step, word

    def fact(n: int) -> int:
        return 1 if n < 2 else n * fact(n - 1)

    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    def add() -> int:
        nonlocal step
        step += 1
        return look()

    def look() -> int:
        return step

    def early() -> Any:
        return late

    def never() -> Any:
        return missing

    @logged
    def wrapped(given: Session) -> Any:
        return label.session.name, given.name

    def deep() -> Any:
        def deeper() -> Any:
            return label.session.name

        return deeper

    def uses() -> Any:
        return math.floor(1.5), contextlib.suppress, LocalJson.dumps([1]), Owner.__name__

    import json as LocalJson

    Owner = Page
    bound = [lambda s, i=i, label=label: (s.name, i, label.session.name) for i in range(3)]
    signs = lambda: "+", lambda: "-"
    late = "late"
    if not step:
        missing = 1

    def by_name(*, n: int = 3, of: Session = session) -> Any:
        return n, of.name

    return dict(locals())


def test_variables_are_bound_to_the_session_of_the_event() -> None:
    """What a nested function shares with those around it is that of the session whose event it is, and of no other."""
    functions = start(Session("first"))
    found = again(functions["clicked"], Session("second"))
    assert found(Session("event")) == ("second", "label", "second", "event", 2, "ü")


def test_each_time_the_variables_are_new() -> None:
    """Two that are found by one reference share nothing, and the one that was registered is not touched."""
    callbacks = Callbacks(__name__)
    functions = start(Session("first"))
    reference = kept(callbacks, functions["add"])
    one, other = (callbacks.resolve(reference, finder(Session(name))) for name in "ab")
    assert (one(), one(), other()) == (3, 4, 3)
    assert functions["look"]() == 2
    assert callbacks.resolve(reference, finder(Session()))() == 3


@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        ("fact", (5,), 120),
        ("even", (10,), True),
        ("odd", (10,), False),
        ("early", (), "late"),
        ("by_name", (), (3, "second")),
        ("wrapped", (Session("event"),), ["logged", ("second", "event")]),
        ("uses", (), (1, contextlib.suppress, "[1]", "Page")),
    ],
)
def test_what_a_function_needs_comes_with_it(name: str, args: tuple[Any, ...], answer: Any) -> None:
    """A function finds itself, others, what is assigned after it, defaults, modules and classes, and its decorators."""
    found = again(start(Session("first"))[name], Session("second"))
    assert found(*args) == answer


def test_a_function_within_a_function_that_was_found_is_found() -> None:
    """A callback that was found again may register callbacks of its own."""
    callbacks = Callbacks(__name__)
    deep = callbacks.resolve(kept(callbacks, start(Session("first"))["deep"]), finder(Session("second")))
    assert again(deep(), Session("third"))() == "third"


def test_lambdas_are_told_apart() -> None:
    """Of several with one name each is found, those that differ by what they hold also."""
    functions = start(Session("first"))
    assert [again(one)() for one in functions["signs"]] == ["+", "-"]
    assert [again(one, Session("b"))(Session("c")) for one in functions["bound"]] == [("c", i, "b") for i in range(3)]


def test_a_variable_without_a_value_stays_so() -> None:
    """What was never assigned raises NameError when it is used, as it would have."""
    with pytest.raises(NameError, match="missing"):
        again(start(Session())["never"])()


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "text", b"bytes", 2**80, float("inf")])
def test_atoms_are_kept(value: Any) -> None:
    """None, bool, int, float, str and bytes come back as they were."""

    def outer() -> Callable[..., Any]:
        return lambda: value

    found = again(holding(value))()
    assert found == value
    assert type(found) is type(value)


def holding(value: Any) -> Callable[..., Any]:
    return lambda: value


def with_default(value: Any) -> Callable[..., Any]:
    def clicked(session: Session, held: Any = value) -> Any:
        return held

    return clicked


@pytest.mark.parametrize("value", [[], {}, object(), Page(), len, open, (i for i in ()), {1}, Page().start])
@pytest.mark.parametrize("holder", [holding, with_default])
def test_what_cannot_be_kept_is_named(holder: Any, value: Any) -> None:
    """A variable or default that holds anything else is refused with its name, the type and the remedy; never the
    value."""
    callbacks = Callbacks(__name__)
    pending = callbacks.refer(holder(value))
    with pytest.raises(UnsupportedValue, match=rf"<{type(value).__name__}>.*global of its module") as refused:
        callbacks.finish(pending, name_of)
    assert "'value'" in str(refused.value) or "default 1" in str(refused.value)
    assert repr(value) not in str(refused.value) or len(repr(value)) < 3


def test_a_class_of_a_function_is_refused() -> None:
    """A class that no module has by name cannot be found again."""

    class Local:
        pass

    callbacks = Callbacks(__name__)
    with pytest.raises(UnsupportedValue, match="<type>"):
        callbacks.finish(callbacks.refer(holding(Local)), name_of)


# --- Roots -----------------------------------------------------------------------------------------------------------


def make_app(callbacks: Callbacks, database: object) -> Callable[..., Any]:
    def start(session: Session) -> Callable[..., Any]:
        seen = "seen"

        def clicked() -> Any:
            return database, session.name, seen

        return clicked

    callbacks.root(start)
    return start


def test_a_root_s_own_variables_are_live() -> None:
    """Functions in a function that the app was given have that one's variables as they are, and these are not kept."""
    here, there = Callbacks(__name__), Callbacks(__name__)
    begin, database = make_app(here, object()), object()
    make_app(there, database)
    reference = kept(here, begin(Session("first")))
    assert list(reference["functions"][0]["free"]) == ["seen", "session"]
    assert there.resolve(reference, finder(Session("second")))() == (database, "second", "seen")
    assert there.resolve(kept(here, begin), finder(Session())).__closure__[0].cell_contents is database


def test_roots_of_one_name_are_told_apart_by_their_variables() -> None:
    """Functions that are made in a loop are each found with their own."""
    here, there = Callbacks(__name__), Callbacks(__name__)
    databases = [object(), object(), object()]
    starts, _ = [[make_app(callbacks, database) for database in databases] for callbacks in (here, there)]
    for begin, database in zip(starts, databases, strict=True):
        found = there.resolve(kept(here, begin(Session("x"))), finder(Session("y")))
        assert found() == (database, "y", "seen")


def test_a_variable_that_hides_a_root_s_is_kept() -> None:
    """A function between the root and the callback may have a variable of the same name as one of the root's own."""
    word = "outer"

    def outer() -> Callable[..., Any]:
        def between(hidden: str) -> Callable[..., Any]:
            word = hidden
            return lambda: word

        return between("inner") if word else between("")

    assert again(outer(), None, outer)() == "inner"


def test_what_is_no_function_is_no_root() -> None:
    """The app may have any callable of its own; only functions are roots."""
    callbacks = Callbacks(__name__)
    for callback in (functools.partial(plain), len, Page, Page().start):
        callbacks.root(callback)
    assert kept(callbacks, Page().start()) == ["", "Page.start", "clicked"]


# --- What is not there any more --------------------------------------------------------------------------------------

APP = """
def start(session):
    step = 1
    def clicked():
        return ("old", step)
    signs = [lambda: "+", lambda: "-"]
    return clicked, signs

def simple():
    return "old"
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], types.ModuleType]]:
    """Writes the code of an app and imports it; again, reloads it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(code: str) -> types.ModuleType:
        (tmp_path / "an_app_of_a_test.py").write_text(code)
        importlib.invalidate_caches()
        known = sys.modules.get("an_app_of_a_test")
        if known is None:
            return importlib.import_module("an_app_of_a_test")
        for name in ("start", "simple"):  # a reload leaves what is there no more
            delattr(known, name)
        return importlib.reload(known)

    yield write
    sys.modules.pop("an_app_of_a_test", None)


def test_changed_code_is_the_code_that_runs(load: Any) -> None:
    """After a reload the new function is called, also where the old one was remembered."""
    callbacks = Callbacks("an_app_of_a_test")
    app = load(APP)
    clicked, _ = app.start(None)
    references = kept(callbacks, clicked), kept(callbacks, app.simple)
    assert [callbacks.resolve(one, finder(Session()))() for one in references] == [("old", 1), "old"]
    load("# a line more\n" + APP.replace("old", "new"))
    assert [callbacks.resolve(one, finder(Session()))() for one in references] == [("new", 1), "new"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def clicked", "def pressed"),
        ("step = 1", "step = other = 1"),
        ("def start", "def begin"),
        ("def clicked():", "def clicked():\n        yield"),
        ("    def clicked():", "    class clicked:\n      def clicked():"),
        ("    signs", "    def clicked(): pass\n    signs"),
    ],
)
def test_code_that_does_not_fit_is_lost(load: Any, old: str, new: str) -> None:
    """A function that is gone, needs a variable that it did not have, or has become something else is not called."""
    callbacks = Callbacks("an_app_of_a_test")
    reference = kept(callbacks, load(APP).start(None)[0])
    load(APP.replace(old, new).replace('("old", step)', '("old", step, other)' if "other" in new else '("old", step)'))
    with pytest.raises(CallbackLost, match=r"start\.clicked|it is not there|no such function"):
        callbacks.resolve(reference, finder(Session()))


def test_lambdas_that_moved_are_found_and_changed_ones_are_not(load: Any) -> None:
    """Of several lambdas the right one is called though others came before it; one that was changed is lost, and never
    taken for another."""
    callbacks = Callbacks("an_app_of_a_test")
    plus, minus = (kept(callbacks, one) for one in load(APP).start(None)[1])
    load(APP.replace('[lambda: "+"', '[lambda: "*", lambda: "/", lambda: "+"'))
    assert [callbacks.resolve(one, finder(Session()))() for one in (plus, minus)] == ["+", "-"]
    load(APP.replace('lambda: "+", ', 'lambda: "*", '))
    assert callbacks.resolve(minus, finder(Session()))() == "-"
    with pytest.raises(CallbackLost):
        callbacks.resolve(plus, finder(Session()))


def test_a_widget_that_is_gone_loses_the_callback() -> None:
    """A callback whose widget is not there any more is not called; the error does not tell the widget's key."""
    callbacks = Callbacks(__name__)
    reference = kept(callbacks, start(Session())["clicked"])
    with pytest.raises(CallbackLost, match="widget") as lost:
        callbacks.resolve(reference, finder(Session(), "label"))
    assert "label" not in str(lost.value)


def test_nothing_is_imported() -> None:
    """A reference to a module that is not imported is lost, and the module stays where it is."""
    callbacks = Callbacks(__name__)
    assert "antigravity" not in sys.modules
    for reference in (
        ["antigravity", "main"],
        ["sojourn.live.nothing", "main"],
        {
            "functions": [{"at": ["", "holding", "<lambda>"], "free": {"value": 0}}],
            "cells": [["module", "antigravity"]],
        },
    ):
        with pytest.raises(CallbackLost):
            callbacks.resolve(reference, finder(Session()))
    assert "antigravity" not in sys.modules
    assert "sojourn.live.nothing" not in sys.modules


class Loud(type):
    @property
    def trap(cls) -> Any:
        raise AssertionError("it was run")

    def __getattr__(cls, name: str) -> Any:
        raise AssertionError("it was run")


class Traps(metaclass=Loud):
    @property
    def value(self) -> Any:
        raise AssertionError("it was run")


def __getattr__(name: str) -> Any:
    if name == "nothing":
        raise AssertionError("it was run")
    raise AttributeError(name)


@pytest.mark.parametrize("name", ["nothing", "Traps.trap", "Traps.nothing", "Traps.value", "Page.still.__globals__"])
def test_looking_runs_nothing(name: str) -> None:
    """Neither a module's ``__getattr__`` nor a property, nor a metaclass is run by a lookup."""
    with pytest.raises(CallbackLost):
        Callbacks(__name__).resolve(["", name], finder(Session()))


@pytest.mark.parametrize(
    ("functions", "cells"),
    [
        ([], []),
        ([{"at": []}], []),
        ([{"at": ["", "plain"], "more": 1}], []),
        ([{"at": ["", "holding", "<lambda>"]}], []),
        ([{"at": ["", "holding", "<lambda>"], "free": {"value": 1}}], [["value", 1]]),
        ([{"at": ["", "holding", "<lambda>"], "free": {"value": -1}}], [["value", 1]]),
        *(
            ([{"at": ["", "holding", "<lambda>"], "free": {"value": 0}}], [content])
            for content in (
                *([], ["value"], ["value", []], ["value", 1, 2], ["function", 1], ["function", -1], ["module", 1]),
                *(["module", "no.such"], ["name", "", "plain"], ["name", "", "nowhere"], ["other"], [["value"]]),
            )
        ),
        ([{"at": ["", "holding", "<lambda>"], "free": {"value": 0}, "wraps": 7}], [["value", 1]]),
    ],
)  # fmt: skip
def test_a_damaged_reference_is_refused(functions: Any, cells: Any) -> None:
    """Indexes past the end, words that are not known and parts that are missing raise the named error."""
    with pytest.raises(CallbackLost):
        Callbacks(__name__).resolve({"functions": functions, "cells": cells}, finder(Session()))


def test_damaged_defaults_cannot_crash_the_interpreter() -> None:
    """More defaults than arguments, which the interpreter itself does not check, are refused."""
    callbacks = Callbacks(__name__)
    reference = kept(callbacks, with_default(1))
    reference["functions"][0]["defaults"] = [["value", 1]] * 50
    with pytest.raises(CallbackLost, match="fewer arguments"):
        callbacks.resolve(reference, finder(Session()))


def test_a_live_function_is_not_changed_by_a_reference() -> None:
    """Defaults and wrappers are for functions that are made anew: those of a module stay as they are."""
    callbacks = Callbacks(__name__)
    whole = {"at": ["", "plain"], "defaults": [["value", 1]], "kw": {"n": ["value", 1]}, "wraps": 1}
    reference = {"functions": [whole, {"at": ["", "yields"]}], "cells": []}
    assert callbacks.resolve(reference, finder(Session())) is plain
    assert plain.__defaults__ is plain.__kwdefaults__ is None
    assert plain.__name__ == "plain"
    assert not hasattr(plain, "__wrapped__")


WORDS = ["start", "clicked", "@", "value", "function", "module", "name", "widget", "sys", "<lambda>", "functions",
         "cells", "at", "free", "kw", "defaults", "wraps", "step", "<lambda>#1#1", "Page.of_class"]  # fmt: skip

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=2)
    | st.sampled_from(["", *WORDS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@given(ODD)
def test_any_data_gives_a_function_or_the_named_error(reference: Any) -> None:
    """Whatever a reference is, it leads to a function or raises `CallbackLost`."""
    with contextlib.suppress(CallbackLost):
        assert callable(Callbacks(__name__).resolve(reference, finder(Session())))


@given(st.data())
def test_any_damage_gives_a_function_or_the_named_error(data: st.DataObject) -> None:
    """A reference of which one part is replaced by anything leads to a function or raises `CallbackLost`."""
    callbacks = Callbacks(__name__)
    functions = start(Session())
    name = data.draw(st.sampled_from(["clicked", "fact", "wrapped", "by_name", "uses", "deep"]))
    reference = part = kept(callbacks, functions[name])
    while True:
        key = data.draw(st.sampled_from(sorted(part)) if type(part) is dict else st.integers(0, len(part) - 1))
        if type(part[key]) in (dict, list) and part[key] and data.draw(st.booleans()):
            part = part[key]
            continue
        part[key] = data.draw(ODD)
        break
    with contextlib.suppress(CallbackLost):
        assert callable(callbacks.resolve(reference, finder(Session())))


# --- Another process -------------------------------------------------------------------------------------------------

COUNTER = """
import json, sys
from sojourn.live.callbacks import Callbacks

callbacks = Callbacks(__name__)

def root(function):
    callbacks.root(function)
    return function

def make(word):
    @root
    def start(session):
        step = 5
        def clicked(given):
            return [word, step, session, given]
        return clicked, lambda: word + "!" * (word not in {"a", "b", "c", "d"}), [lambda i=i: i for i in range(2)][1]
    return start

start = make("from " + ("program" if __name__ == "__main__" else "module"))

def simple():
    return "simple"

name_of = lambda value: ["session"] if value == ("session",) else None

if __name__ == "__main__":
    print(json.dumps([callbacks.finish(callbacks.refer(one), name_of) for one in (*start(("session",)), simple)]))
else:
    found = [callbacks.resolve(one, lambda kept: kept[0]) for one in json.loads(sys.argv[1])]
    print(json.dumps([found[0]("event"), *(one() for one in found[1:])]))
"""


def test_another_process_finds_what_one_kept(tmp_path: Path) -> None:
    """References of an app that was run as a program are found when it is imported by another process, whatever the
    seed of its hashes; a root's own variables are those of that process."""
    (tmp_path / "counter.py").write_text(textwrap.dedent(COUNTER))
    path = {"PYTHONPATH": f"{tmp_path}:{Path(sojourn.__file__).parents[1]}", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*program: str, seed: str) -> str:
        told = subprocess.run([sys.executable, *program], capture_output=True, text=True, check=True,
                              cwd=tmp_path, env=path | {"PYTHONHASHSEED": seed})  # fmt: skip
        return told.stdout

    references = run("counter.py", seed="1")
    answers = json.loads(run("-c", "import counter", references, seed="2"))
    assert answers == [["from module", 5, "session", "event"], "from module!", 1, "simple"]


# --- Arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda: 0, 0),
        (lambda session: 0, 1),
        (lambda session, value: 0, 2),
        (lambda session, value, more=1: 0, 2),
        (lambda session, i=1: 0, 1),
        (lambda *args: 0, 2),
        (lambda session, *args: 0, 2),
        (lambda **named: 0, 0),
        (lambda *, n=1: 0, 0),
        (Page.of_class, 1),
        (logged(plain), 1),
        (logged(logged(plain)), 1),
        (forgetful(plain), 2),
        (Page().start, 0),
        (functools.partial(plain, Session()), 0),
        (functools.partial(lambda a, b, c: 0, 1), 2),
        (functools.lru_cache(plain), 1),
        (len, 1),
    ],
)
def test_a_callback_is_given_what_it_asks_for(function: Any, count: int) -> None:
    """As many of session and value as it has parameters without a default; a wrapper, as many as what it wraps."""
    assert arguments(function) == count


@pytest.mark.parametrize("function", [lambda a, b, c: 0, lambda *, n: 0, lambda a, *, n: 0])
def test_a_callback_that_needs_more_is_refused(function: Any) -> None:
    """More than the session and the value is not there to be given; for a click, no value either."""
    with pytest.raises(ConfigurationError, match="needs more"):
        arguments(function)
    with pytest.raises(ConfigurationError, match="does not say"):
        arguments(max)
    with pytest.raises(ConfigurationError, match=r"\(session\)"):
        arguments(lambda session, value: 0, 1)
    assert arguments(lambda *args: 0, 1) == 1


def test_a_wrapper_that_is_found_again_asks_for_the_same() -> None:
    """The rebuilt wrapper of a decorated nested function knows what it wraps."""
    found = again(start(Session())["wrapped"])
    assert arguments(found) == 1
    assert found.__name__ == "wrapped"


def test_coroutine_functions_are_known() -> None:
    """``async def`` is told from ``def``, also after it was found again."""

    def outer() -> Any:
        async def clicked() -> None:
            pass

        return clicked

    assert is_async(outer())
    assert is_async(again(outer(), None, outer))
    assert not is_async(plain)
