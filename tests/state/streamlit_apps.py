"""Small apps for Streamlit, each with the steps that a visitor takes in it. Each function is a whole script, so this is
a long list, to be read at any place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from streamlit_steps import APPS, App, Step, act, address, app, back, click, put, run, say, state, submit, turn_to

__all__ = ["APPS", "App", "Step"]


# --- Keys and buttons ------------------------------------------------------------------------------------------------


def counter() -> None:
    import streamlit as st

    st.session_state.setdefault("count", 0)
    if st.button("up", key="up"):
        st.session_state.count += 1
    if st.button("down", key="down"):
        st.session_state["count"] -= 1
    pressed = st.button("without a key")
    st.write(st.session_state.count, pressed, sorted(st.session_state))


app(counter, run(click("up")), run(), run(click("up")), run(click("down")), run(click("up"), click("down")), run())


def callbacks() -> None:
    import streamlit as st

    log = st.session_state.setdefault("log", [])

    def changed(*args, **kwargs):
        st.session_state.log.append((args, kwargs, st.session_state.name, st.session_state.size, st.session_state.go))
        if st.session_state.name == "reset":
            st.session_state.name = "set by the callback"
            st.session_state.size = 3

    st.text_input("name", key="name", on_change=changed, args=("name",))
    st.number_input("size", 0, 9, key="size", on_change=changed, kwargs={"of": "size"})
    st.button("go", key="go", on_click=changed, args=(1, 2), kwargs={"three": 3})
    st.checkbox("no callback", key="plain")
    st.write(log, st.session_state.name, st.session_state.go)


app(
    callbacks,
    run(put("text_input", "name", "Ann")),
    run(),
    run(click("go")),
    run(),
    run(put("text_input", "name", "Bob"), put("number_input", "size", 4), click("go")),
    run(put("text_input", "name", "Bob")),
    run(put("checkbox", "plain", True)),
    run(put("text_input", "name", "reset")),
    run(),
    run(put("text_input", "name", "")),
    run(click("go")),
)


def rerun_in_callback() -> None:
    import streamlit as st

    log = st.session_state.setdefault("log", [])

    def again(which):
        st.session_state.log.append(which)
        st.session_state.text = f"set by {which}"
        if which != "quiet":
            st.rerun()
        st.session_state.log.append("and on")

    st.button("again", key="again", on_click=again, args=("again",))
    st.button("twice", key="twice", on_click=again, args=("twice",))
    st.button("quiet", key="quiet", on_click=again, args=("quiet",))
    st.text_input("text", key="text")
    st.slider("a slider", key="slider")
    runs = st.session_state.runs = st.session_state.get("runs", 0) + 1
    st.write(log, runs, st.session_state.again, st.session_state.twice)


app(
    rerun_in_callback,
    run(click("again")),
    run(),
    run(click("again"), click("twice"), put("slider", "slider", 5)),
    run(click("quiet")),
    run(click("quiet"), click("again")),
    run(put("text_input", "text", "typed")),
)


def rerun_in_body() -> None:
    import streamlit as st

    runs = st.session_state.runs = st.session_state.get("runs", 0) + 1
    first = st.text_input("first", key="first")
    if st.button("go", key="go"):
        st.session_state.later = "went"
        st.session_state.text = "set before it is made"
        st.rerun()
    if st.session_state.get("later") == "went":
        st.session_state.later = "arrived"
        st.session_state.wanted = first
    st.text_input("text", key="text")
    st.multiselect("many", ["a", "b", "c"], key="many")
    if st.session_state.many == ["c"]:
        st.session_state.pop("wanted", None)
        st.rerun() if not st.session_state.get("stopped") else None
    st.write(runs, sorted(st.session_state))
    if first == "twice" and runs % 2:
        st.rerun()


app(
    rerun_in_body,
    run(put("text_input", "first", "one"), put("multiselect", "many", ["a", "b"])),
    run(click("go")),
    run(),
    run(put("text_input", "text", "typed"), click("go")),
    run(put("text_input", "first", "twice")),
    run(state("stopped", True), put("multiselect", "many", ["c"])),
    run(click("go"), put("multiselect", "many", ["b"])),
)


def broken_off() -> None:
    import streamlit as st

    st.session_state.setdefault("log", [])
    how = st.radio("how", ["to the end", "stop", "raise"], key="how")
    st.button("event", key="event", on_click=lambda: st.session_state.log.append("clicked"))
    st.write(st.session_state.event)
    if how == "stop":
        st.stop()
    if how == "raise":
        raise ValueError("as asked")
    st.text_input("below", key="below")
    st.text_input("below, without a key")
    st.write(st.session_state.below, st.session_state.log)


app(
    broken_off,
    run(put("text_input", "below", "kept"), put("text_input", 1, "kept as well")),
    run(put("radio", "how", "stop")),
    run(click("event")),
    run(put("radio", "how", "to the end")),
    run(put("radio", "how", "raise"), click("event")),
    run(),
    run(put("radio", "how", "to the end")),
    run(put("text_input", "below", "again")),
)


# --- Forms -----------------------------------------------------------------------------------------------------------


def form() -> None:
    import streamlit as st

    log = st.session_state.setdefault("log", [])

    def sent(*args):
        log.append((*args, st.session_state.name, st.session_state.age, st.session_state.likes))
        st.session_state.log = log
        st.session_state.told = st.session_state.name.upper()

    with st.form("person"):
        st.text_input("name", key="name")
        st.number_input("age", 0, 120, 30, key="age")
        st.multiselect("likes", ["tea", "cake"], key="likes")
        without = st.text_area("without a key")
        submitted = st.form_submit_button("Send", on_click=sent, args=("sent",))
    outside = st.toggle("outside", key="outside")
    st.write(submitted, without, outside, log, st.session_state.get("told"))


app(
    form,
    run(put("text_input", "name", "not yet"), put("toggle", "outside", True)),
    run(
        put("text_input", "name", "Ann"),
        put("number_input", "age", 31),
        put("multiselect", "likes", ["cake"]),
        put("text_area", 0, "a text"),
        submit("Send"),
    ),
    run(),
    run(put("toggle", "outside", False)),
    run(put("multiselect", "likes", []), submit("Send")),
    run(submit("Send")),
    run(),
)


def form_that_clears() -> None:
    import streamlit as st

    def sent():
        st.session_state.log = [*st.session_state.get("log", []), st.session_state.text]

    with st.form("note", clear_on_submit=True):
        st.text_input("text", "to begin with", key="text")
        st.slider("level", 0, 10, 2, key="level")
        submitted = st.form_submit_button("Add", on_click=sent)
        st.form_submit_button("Other")
    try:
        st.session_state.note = "the name of a form"
    except Exception as error:  # each state has its own: what is compared is that there is one, and what it says
        st.write(type(error).__name__)
    try:
        st.session_state.text = "of a widget that was made"
    except Exception as error:  # each state has its own: what is compared is that there is one, and what it says
        st.write(str(error))
    st.write(submitted, st.session_state.text, st.session_state.level, st.session_state.get("log"))


app(
    form_that_clears,
    run(put("text_input", "text", "first"), put("slider", "level", 7), submit("Add")),
    run(),
    run(put("text_input", "text", "second"), submit("Add")),
    run(submit("Add")),
    run(put("slider", "level", 9), submit("Other")),
    run(),
)


# --- Widgets that come and go ----------------------------------------------------------------------------------------


def coming_and_going() -> None:
    import streamlit as st

    show = st.checkbox("show", True, key="show")
    if show:
        st.text_input("keyed", "default", key="keyed")
        plain = st.text_input("plain")
        st.selectbox("choice", ["one", "two", "three"], key="choice")
        st.write(plain)
    else:
        st.write("keyed" in st.session_state, st.session_state.get("choice", "gone"))
    other = st.number_input("other", key="other")
    st.write(sorted(st.session_state), other)


app(
    coming_and_going,
    run(put("text_input", "keyed", "mine"), put("text_input", 1, "plain"), put("selectbox", "choice", "two")),
    run(put("number_input", "other", 2)),
    run(put("checkbox", "show", False)),
    run(put("number_input", "other", 3)),
    run(put("checkbox", "show", True)),
    run(put("selectbox", "choice", "three")),
    run(put("checkbox", "show", False)),
    run(put("checkbox", "show", True)),
    run(),
)


def rows() -> None:
    import streamlit as st

    if "ids" not in st.session_state:
        st.session_state.ids, st.session_state.next = [1, 2], 3

    def add():
        st.session_state.ids.append(st.session_state.next)
        st.session_state.next += 1

    def remove(one):
        st.session_state.ids.remove(one)
        del st.session_state[f"text {one}"]

    for one in st.session_state.ids:
        st.text_input(f"row {one}", key=f"text {one}")
        st.button("remove", key=f"remove {one}", on_click=remove, args=(one,))
    st.button("add", key="add", on_click=add)
    st.write({one: st.session_state[f"text {one}"] for one in st.session_state.ids}, len(st.session_state))


app(
    rows,
    run(put("text_input", "text 1", "one"), put("text_input", "text 2", "two")),
    run(click("add")),
    run(put("text_input", "text 3", "three")),
    run(click("remove 2")),
    run(),
    run(click("add"), put("text_input", "text 1", "ONE")),
    run(click("remove 1")),
    run(click("remove 3"), click("add")),
)


def changing_shape() -> None:
    """A widget whose arguments change is another widget, and one whose key does not is perhaps the same."""
    import streamlit as st

    top = st.number_input("top", 1, 20, 10, key="top")
    st.slider("by key", 0, 20, min(top, 5), key="slider")
    st.slider(f"up to {top}", 0, top)
    st.selectbox("of some", [str(one) for one in range(top)], key="some")
    st.multiselect("of many", list(range(top)), key="many", format_func=lambda one: f"<{one}>")
    label = st.text_input("label", "a label", key="label")
    st.text_input(label, key="labelled")
    st.toggle(label, disabled=top > 15, key="toggle")
    st.write(st.session_state.slider, st.session_state.some, st.session_state.many, st.session_state.labelled)


app(
    changing_shape,
    run(
        put("slider", "slider", 9),
        put("slider", 1, 8),
        put("selectbox", "some", "7"),
        put("multiselect", "many", [1, 8]),
    ),
    run(put("number_input", "top", 6)),
    run(put("text_input", "labelled", "typed"), put("text_input", "label", "another label")),
    run(put("number_input", "top", 18), put("toggle", "toggle", True)),
    run(),
    run(put("toggle", "toggle", False)),
    run(put("number_input", "top", 10)),
    run(put("multiselect", "many", [])),
)


def deleted_keys() -> None:
    import streamlit as st

    st.session_state.setdefault("mine", [])
    st.session_state.mine.append(len(st.session_state.mine))
    for key in st.session_state.get("delete", ()):
        try:
            del st.session_state[key]
        except KeyError as error:
            st.write(str(error))
    st.session_state.delete = ()
    st.text_input("text", "default", key="text")
    st.write(st.session_state.get("text", "no text"), st.session_state.get("mine", "nothing is mine"))
    try:
        st.write(st.session_state["nothing"])
    except KeyError as error:
        st.write(str(error))
    try:
        st.write(st.session_state.nothing)
    except AttributeError as error:
        st.write(str(error))


app(
    deleted_keys,
    run(put("text_input", "text", "typed")),
    run(state("delete", ["mine", "nothing"])),
    run(state("delete", ["text"])),
    run(),
    run(put("text_input", "text", "typed again")),
    run(state("delete", ["text", "text", "mine"])),
    run(),
)


def set_before() -> None:
    import streamlit as st

    st.session_state.setdefault("text", "set before")
    if "level" not in st.session_state:
        st.session_state.level = 4
    if st.session_state.get("shout"):
        st.session_state.text = st.session_state.text.upper()
        st.session_state.picked = ["b", "c"]
        st.session_state.shout = False
    st.text_input("text", key="text")
    st.slider("level", 0, 10, key="level")
    st.multiselect("picked", ["a", "b", "c"], key="picked")
    st.toggle("shout", key="loud", on_change=lambda: st.session_state.update(shout=True))
    st.write(st.session_state.text, st.session_state.level, st.session_state.picked)


app(
    set_before,
    run(),
    run(put("slider", "level", 6)),
    run(put("toggle", "loud", True)),
    run(),
    run(put("text_input", "text", "typed"), put("multiselect", "picked", ["a"])),
    run(put("toggle", "loud", False), put("text_input", "text", "typed again")),
    run(state("shout", True)),
    run(),
)


def persisting() -> None:
    import streamlit as st

    which = st.radio("which", ["all", "none"], key="which")
    if which == "all":
        st.text_input("page", key="page", persist_state="page")
        st.text_input("session", "default", key="session", persist_state="session")
        st.multiselect("many", ["a", "b"], key="many", persist_state="session")
        st.text_input("neither", key="neither")
    if st.session_state.pop("set", None):
        st.session_state.session = "set while it is away"
    st.write({key: st.session_state.get(key) for key in ("page", "session", "many", "neither")})


app(
    persisting,
    run(
        put("text_input", "page", "of the page"),
        put("text_input", "session", "of the session"),
        put("multiselect", "many", ["b"]),
        put("text_input", "neither", "lost"),
    ),
    run(put("radio", "which", "none")),
    run(),
    run(put("radio", "which", "all")),
    run(put("text_input", "session", "changed")),
    run(put("radio", "which", "none")),
    run(state("set", True)),
    run(put("radio", "which", "all")),
    run(),
)


# --- All kinds -------------------------------------------------------------------------------------------------------


def kinds() -> None:
    import datetime

    import streamlit as st

    log = st.session_state.setdefault("log", [])

    def changed(key):
        log.append((key, repr(st.session_state[key])))
        st.session_state.log = log

    def told(key):
        return {"key": key, "on_change": changed, "args": (key,)}

    first, second = st.tabs(["first", "second"])
    with first:
        st.slider("range", 0.0, 1.0, (0.25, 0.5), **told("range"))
        st.slider(
            "day", datetime.date(2026, 1, 1), datetime.date(2026, 12, 31), datetime.date(2026, 3, 1), **told("day")
        )
        st.select_slider("size", ["S", "M", "L"], **told("size"))
        st.number_input("whole", 0, 10, **told("whole"))
        st.number_input("none", value=None, **told("none"))
        st.number_input("float", step=0.5, **told("float"))
    with second, st.expander("more"):
        st.date_input("date", datetime.date(2026, 5, 17), **told("date"))
        st.date_input("dates", (datetime.date(2026, 1, 2), datetime.date(2026, 1, 9)), **told("dates"))
        st.time_input("time", datetime.time(8, 30), **told("time"))
        st.color_picker("colour", "#112233", **told("colour"))
        st.selectbox("empty", ["a", "b"], index=None, **told("empty"))
        st.selectbox("by index", [10, 20, 30], index=1, format_func=lambda one: f"no. {one}", **told("by index"))
    st.radio("radio", ["x", "y"], **told("radio"))
    st.radio("no radio", ["x", "y"], index=None, **told("no radio"))
    st.multiselect("multi", ["p", "q", "r"], ["q"], **told("multi"))
    st.pills("pills", ["u", "v"], selection_mode="multi", **told("pills"))
    st.segmented_control("segments", ["m", "n"], **told("segments"))
    st.feedback("stars", **told("stars"))
    st.toggle("toggle", True, **told("toggle"))
    st.text_area("area", **told("area"))

    def set_them():
        st.session_state.update(
            {"range": (0.3, 0.4), "date": datetime.date(2026, 2, 2), "multi": ["r"], "by index": 10}
        )

    st.button("set", key="set", on_click=set_them)
    said = st.chat_input("say something", key="chat", on_submit=changed, args=("chat",))
    st.write(said, log)


def _kinds() -> tuple[Step, ...]:
    from datetime import date, time

    return (
        run(
            put("slider", "range", (0.1, 0.9)),
            put("slider", "day", date(2026, 7, 4)),
            put("select_slider", "size", "L"),
        ),
        run(put("number_input", "whole", 7), put("number_input", "none", 1.5), put("number_input", "float", 2.5)),
        run(put("number_input", "none", None), put("chat_input", "chat", "hello")),
        run(),
        run(
            put("date_input", "date", date(2027, 1, 1)),
            put("date_input", "dates", (date(2026, 1, 3), date(2026, 1, 4))),
        ),
        run(put("time_input", "time", time(23, 15)), put("color_picker", "colour", "#aabbcc")),
        run(put("selectbox", "empty", "b"), put("selectbox", "by index", 30), put("radio", "radio", "y")),
        run(
            put("selectbox", "empty", None), put("radio", "no radio", "x"), put("multiselect", "multi", ["p", "q", "r"])
        ),
        run(put("pills", "pills", ["v", "u"]), put("segmented_control", "segments", "m"), put("feedback", "stars", 3)),
        run(put("toggle", "toggle", False), put("text_area", "area", "two\nlines"), put("multiselect", "multi", [])),
        run(put("chat_input", "chat", "bye"), put("segmented_control", "segments", None)),
        run(),
        run(click("set")),
        run(),
    )


app(kinds, *_kinds())


def tables() -> None:
    import streamlit as st

    log = st.session_state.setdefault("log", [])
    data = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]

    def picked():
        log.append(repr(st.session_state.table))

    def edited():
        log.append(repr(st.session_state.editor))

    seen = st.dataframe(data, key="table", on_select=picked, selection_mode="multi-row")
    edit = st.data_editor(data, key="editor", on_change=edited, num_rows="dynamic")
    st.write(repr(seen), repr(edit), log)


app(
    tables,
    run(say("table", "string_value", '{"selection": {"rows": [1], "columns": []}}')),
    run(say("editor", "string_value", '{"edited_rows": {"0": {"a": 5}}, "added_rows": [], "deleted_rows": []}')),
    run(
        say("table", "string_value", '{"selection": {"rows": [0, 1], "columns": []}}'),
        say("editor", "string_value", '{"edited_rows": {"0": {"a": 6}}, "added_rows": [], "deleted_rows": [1]}'),
    ),
    run(),
)


def files() -> None:
    import streamlit as st

    def told(key):
        st.session_state.log = [*st.session_state.get("log", []), (key, repr(st.session_state[key]))]

    one = st.file_uploader("one", key="one", on_change=told, args=("one",))
    some = st.file_uploader("some", key="some", accept_multiple_files=True, on_change=told, args=("some",))
    st.download_button("get", "what there is", key="get", on_click=told, args=("get",))
    said = st.chat_input("say", key="chat", accept_file=True, on_submit=told, args=("chat",))
    st.write(one and one.read(), [(file.name, file.getvalue()) for file in some])
    st.write(said and (said.text, [file.getvalue() for file in said.files]), st.session_state.get("log"))
    st.session_state["shown"] = st.session_state.get("shown", 0) + 1
    if st.session_state.shown == 2:
        st.rerun()


app(
    files,
    run(put("file_uploader", "one", ("a.txt", b"alpha", "text/plain"))),
    run(put("file_uploader", "some", [("b.txt", b"beta", "text/plain"), ("c.txt", b"gamma", "text/plain")])),
    run(),
    run(
        put("chat_input", "chat", "look"),
        act("with a file", lambda test: test.chat_input[0].upload("d.txt", b"delta")),
    ),
    run(put("file_uploader", "one", None), act("click get", lambda test: test.download_button(key="get").click())),
    run(),
)


def values_of_their_own() -> None:
    """What a widget returns is the script's: to change it changes nothing."""
    import streamlit as st

    picked = st.multiselect("picked", ["a", "b", "c"], ["a"], key="picked")
    picked.append("z")
    again = st.multiselect("again", ["a", "b"], ["b"])
    again.clear()
    mine = st.session_state.setdefault("mine", [])
    mine.append(len(mine))
    st.write(picked, again, st.session_state.picked, st.session_state.mine)


app(
    values_of_their_own,
    run(),
    run(put("multiselect", "picked", ["b"]), put("multiselect", 1, ["a", "b"])),
    run(),
    run(),
)


def disabled() -> None:
    import streamlit as st

    locked = st.checkbox("locked", key="locked")

    def changed(key):
        st.session_state.log = [*st.session_state.get("log", []), (key, st.session_state[key])]

    text = st.text_input("text", "default", key="text", disabled=locked, on_change=changed, args=("text",))
    plain = st.number_input("plain", 0, 9, disabled=locked)
    st.button("go", key="go", disabled=locked, on_click=changed, args=("go",))
    st.selectbox("choice", ["a", "b"], key="choice", disabled=locked)
    st.write(text, plain, st.session_state.go, st.session_state.choice, st.session_state.get("log"))


app(
    disabled,
    run(put("text_input", "text", "typed"), put("number_input", 0, 3), click("go")),
    run(put("checkbox", "locked", True)),
    run(put("text_input", "text", "forged"), put("number_input", 0, 8), put("selectbox", "choice", "b"), click("go")),
    run(state("text", "set by code")),
    run(put("text_input", "text", "forged again"), put("checkbox", "locked", False)),
    run(put("text_input", "text", "typed again"), put("selectbox", "choice", "b")),
)


# --- Fragments -------------------------------------------------------------------------------------------------------


def fragments() -> None:
    import streamlit as st

    runs = st.session_state.setdefault("runs", {"main": 0, "left": 0, "right": 0})
    runs["main"] += 1
    log = st.session_state.setdefault("log", [])

    def changed(key):
        log.append((key, st.session_state[key]))

    @st.fragment(key="left")
    def left():
        runs["left"] += 1
        st.text_input("left", key="left text", on_change=changed, args=("left text",))
        st.slider("left, without a key")
        st.button("left", key="left button", on_click=changed, args=("left button",))
        if st.checkbox("more", key="more"):
            st.text_input("more", key="more text")
        st.write(runs["left"], st.session_state["left button"], st.session_state.get("right text"))

    @st.fragment(key="right")
    def right():
        runs["right"] += 1
        st.text_input("right", key="right text", on_change=changed, args=("right text",))
        if st.button("again", key="again"):
            st.session_state.redone = st.session_state.get("redone", 0) + 1
            st.rerun(scope="fragment")
        if st.button("all", key="all"):
            st.rerun()
        st.write(runs["right"], st.session_state.get("redone"))

    st.text_input("main", key="main text", on_change=changed, args=("main text",))
    st.button("main", key="main button")
    left()
    right()
    st.write(dict(runs), log, st.session_state["main button"], sorted(st.session_state))


app(
    fragments,
    run(put("text_input", "main text", "main"), put("text_input", "right text", "right")),
    run(put("text_input", "left text", "typed in left"), put("slider", 0, 3), fragment="left"),
    run(click("left button"), fragment="left"),
    run(fragment="left"),
    run(put("checkbox", "more", True), fragment="left"),
    run(put("text_input", "more text", "more"), fragment="left"),
    run(put("checkbox", "more", False), fragment="left"),
    run(put("checkbox", "more", True), fragment="left"),
    run(),
    run(click("main button")),
    run(put("text_input", "right text", "typed in right"), fragment="right"),
    run(click("again"), fragment="right"),
    run(click("all"), fragment="right"),
    run(put("text_input", "main text", "main again"), click("left button")),
    run(),
)


def nested_fragments() -> None:
    import streamlit as st

    log = st.session_state.setdefault("log", [])
    log.append("main")

    @st.fragment(key="inner")
    def inner():
        log.append("inner")
        st.text_input("inner", key="inner text", persist_state="page")
        st.button("ask outer", key="ask outer", on_click=lambda: st.rerun("outer"))

    @st.fragment(key="outer")
    def outer():
        log.append("outer")
        st.text_input("outer", key="outer text")
        if st.toggle("inner", True, key="with inner"):
            inner()
        st.write(st.session_state.get("inner text"), st.session_state.get("ask outer"))

    outer()
    st.text_input("beside", key="beside")
    st.write(list(log), sorted(st.session_state))


app(
    nested_fragments,
    run(put("text_input", "beside", "beside"), put("text_input", "outer text", "outer")),
    run(put("text_input", "inner text", "inner"), fragment="inner"),
    run(click("ask outer"), fragment="inner"),
    run(put("toggle", "with inner", False), fragment="outer"),
    run(fragment="outer"),
    run(put("toggle", "with inner", True), fragment="outer"),
    run(),
    run(put("toggle", "with inner", False)),
    run(),
)


def fragments_by_name() -> None:
    import streamlit as st

    log = st.session_state.setdefault("log", [])

    @st.fragment(key="one")
    def one():
        st.text_input("one", key="one text")
        st.write("one", st.session_state.get("pressed"), st.session_state.get("press"))

    @st.fragment(key="two")
    def two():
        st.text_input("two", key="two text")
        st.button("from two", key="from two", on_click=ask, args=("one",))
        st.write("two", st.session_state.get("pressed"))

    def ask(*names):
        st.session_state.pressed = names
        log.append(names)
        if names:
            st.rerun(list(names))

    st.button("press one", key="press", on_click=ask, args=("one",))
    st.button("press both", key="both", on_click=ask, args=("one", "two"))
    st.button("press none", key="none", on_click=ask)
    one()
    two()
    st.write(log, [st.session_state[key] for key in ("press", "both", "none")])


app(
    fragments_by_name,
    run(put("text_input", "two text", "two"), put("text_input", "one text", "one")),
    run(click("press")),
    run(),
)


def events_again() -> None:
    """A callback asks for another fragment than its own, and for the whole: no event is lost, and none comes twice."""
    import streamlit as st

    log = st.session_state.setdefault("log", [])

    def ask(*names):
        log.append(names)
        if names:
            st.rerun(list(names))

    @st.fragment(key="inner")
    def inner():
        st.write("inner", [st.session_state.get(key) for key in ("one", "two", "three")])

    pressed = [
        st.button("one", key="one", on_click=ask, args=("inner",)),
        st.button("two", key="two", on_click=ask),
        st.button("three", key="three"),
    ]
    inner()
    st.text_input("text", key="text")
    st.write(pressed, log)


app(
    events_again,
    run(click("one"), click("two")),
    run(),
    run(click("one"), click("two"), click("three"), put("text_input", "text", "typed")),
    run(),
    run(click("two"), click("three")),
)


# --- The address -----------------------------------------------------------------------------------------------------


def parameters() -> None:
    import streamlit as st

    params = st.query_params
    st.session_state.setdefault("tab", params.get("tab", "none"))
    st.write(params.to_dict(), params.get_all("many"), len(params), "tab" in params, dict(params))
    for line in st.session_state.pop("acts", ()):
        try:
            exec(line)
        except st.errors.StreamlitAPIException:
            st.write("refused")
        except (KeyError, AttributeError) as error:
            st.write(type(error).__name__)
    st.write(params.to_dict(), params.get_all("many"), st.session_state.tab)
    st.button("go", key="go", on_click=lambda: params.update(by="callback"))


def _act_on_params(*acts: str) -> Step:
    return run(state("acts", acts))


app(
    parameters,
    run(),
    _act_on_params("params['a'] = 1", "params.b = 'two'", "params['many'] = ['x', 'y']"),
    _act_on_params("del params['a']", "del params['nothing']", "params['bad'] = {}", "params['embed'] = 'true'"),
    run(click("go")),
    _act_on_params("params.from_dict({'only': ['1', '2']})", "params.nothing"),
    _act_on_params("params.clear()", "params.update([('p', 'q')], r='s')"),
    run(address(tab="by hand", many=["1", "2", "3"], blank="")),
    address={"tab": "first", "many": ["1", "2"], "embed": "true"},
)


def bound() -> None:
    import streamlit as st

    log = st.session_state.setdefault("log", [])
    if st.checkbox("show", True, key="show"):
        st.text_input("q", key="q", bind="query-params", on_change=lambda: log.append(st.session_state.q))
        st.number_input("n", 0, 10, 5, key="n", bind="query-params")
        st.multiselect("tags", ["red", "green", "blue"], key="tags", bind="query-params")
        st.checkbox("dark", key="dark", bind="query-params")
        st.selectbox("sort", ["new", "old", "best"], key="sort", bind="query-params")
        st.slider("between", 0, 100, (20, 80), key="between", bind="query-params")
    st.button("best", key="best", on_click=lambda: st.session_state.update(sort="best", q="set"))
    try:
        st.query_params["q"] = "by the script"
    except Exception as error:  # each state has its own: what is compared is that there is one, and what it says
        st.write(type(error).__name__)
    st.write({key: st.session_state.get(key) for key in ("q", "n", "tags", "dark", "sort", "between")})
    st.write(st.query_params.to_dict(), log)


app(
    bound,
    run(),
    run(put("text_input", "q", "cats", says="cats")),
    run(put("checkbox", "dark", True, says="true")),
    run(click("best")),
    run(),
    run(put("selectbox", "sort", "new", says="")),
    run(put("slider", "between", (30, 40), says=[30, 40]), put("text_input", "q", "", says="")),
    run(click("best")),
    run(put("multiselect", "tags", [], says="")),
    run(put("checkbox", "show", False)),
    run(),
    run(put("checkbox", "show", True)),
    run(put("multiselect", "tags", ["green"], says="green")),
    back(q="earlier", n=3),
    run(),
    back(),
    run(),
    run(put("number_input", "n", 5, says="")),
    back(put("text_input", "q", "typed too late"), q="much earlier"),
    run(),
    back(put("text_input", "q", "typed too late, too"), put("multiselect", "tags", ["green"]), n="x", tags="grey"),
    run(),
    address={"q": "dogs", "n": "7", "tags": ["red", "blue"], "other": "stays"},
)


def bound_to_what_was_typed() -> None:
    import streamlit as st

    st.number_input("n", 0, 10, 5, key="n", bind="query-params")
    st.multiselect("tags", ["red", "green"], key="tags", max_selections=2, bind="query-params")
    st.checkbox("dark", key="dark", bind="query-params")
    st.selectbox("sort", ["new", "old"], key="sort", bind="query-params")
    st.radio("view", ["list", "grid"], key="view", bind="query-params")
    st.slider("level", 0, 10, 5, key="level", bind="query-params")
    st.text_input("q", "default", key="q", bind="query-params")
    st.date_input("day", "2026-05-17", key="day", bind="query-params")
    st.write(st.query_params.to_dict(), sorted(st.session_state.items(), key=str))


for name, said in {
    "nonsense": {"n": "x", "tags": "none", "dark": "maybe", "sort": "7", "view": "", "level": "nan", "day": "soon"},
    "too_much": {"n": "99", "tags": ["red", "red", "grey", "green"], "level": "77", "day": "1812-01-01"},
    "defaults": {"n": "5", "dark": "FALSE", "sort": "new", "view": "list", "level": "5.0", "q": "default"},
    "empty": {"n": "", "tags": "", "dark": "", "sort": "", "level": "", "q": "", "day": ""},
    "others": {
        "n": "8",
        "tags": "green",
        "dark": "TRUE",
        "sort": "old",
        "view": "grid",
        "level": "7",
        "day": "2026-01-02",
    },
}.items():
    typing = run(put("text_input", "q", "typed", says="typed"))
    app(bound_to_what_was_typed, run(), typing, run(), address=said, name=f"bound_to_{name}")


def bound_comes_and_goes() -> None:
    import streamlit as st

    show = st.radio("show", ["both", "one", "none", "free"], key="show")
    if show in ("both", "one"):
        st.text_input("one", key="one", bind="query-params")
    if show == "both":
        st.text_input("two", key="two", bind="query-params")
    if show == "free":
        st.text_input("one", key="one")
    st.write(st.query_params.to_dict(), st.session_state.get("one"), st.session_state.get("two"))


app(
    bound_comes_and_goes,
    run(),
    run(put("text_input", "two", "second", says="second")),
    run(put("radio", "show", "one")),
    run(put("radio", "show", "none")),
    run(put("radio", "show", "both")),
    run(),
    run(put("radio", "show", "free")),
    run(put("text_input", "one", "freely")),
    address={"one": "first"},
)


def bound_in_a_fragment() -> None:
    import streamlit as st

    @st.fragment(key="part")
    def part():
        if st.toggle("show", True, key="show"):
            st.text_input("inside", key="inside", bind="query-params")
            st.text_input("kept", key="kept", persist_state="page")
        st.write(st.query_params.to_dict(), st.session_state.get("inside"), st.session_state.get("kept"))

    part()
    st.text_input("outside", key="outside", bind="query-params")
    st.write(st.query_params.to_dict(), st.session_state.get("inside"))


app(
    bound_in_a_fragment,
    run(put("text_input", "outside", "o", says="o")),
    run(put("text_input", "inside", "i", says="i"), put("text_input", "kept", "k"), fragment="part"),
    run(put("toggle", "show", False), fragment="part"),
    run(fragment="part"),
    run(put("toggle", "show", True), fragment="part"),
    run(),
    run(put("text_input", "outside", "", says="")),
    address={"inside": "first"},
)


def bound_and_deleted() -> None:
    import streamlit as st

    def act(what):
        if what == "delete":
            del st.session_state["q"]
        elif what == "clear":
            st.session_state.clear()
        elif what == "set":
            st.session_state.q = "set"
        elif what == "default":
            st.session_state.q = "default"

    for what in ("delete", "clear", "set", "default"):
        st.button(what, key=what, on_click=act, args=(what,))
    st.text_input("q", "default", key="q", bind="query-params", persist_state="page")
    st.text_input("plain", key="plain")
    st.write(st.query_params.to_dict(), st.session_state.q)


app(
    bound_and_deleted,
    run(),
    run(click("delete")),
    run(),
    run(put("text_input", "q", "typed", says="typed")),
    run(click("set")),
    run(click("default")),
    run(),
    run(put("text_input", "q", "again", says="again"), put("text_input", "plain", "p")),
    run(click("clear")),
    run(),
    address={"q": "first", "embed_options": "dark_theme"},
)


# --- Pages -----------------------------------------------------------------------------------------------------------

PAGES: Final = Path(__file__).with_name("streamlit_pages")

app(
    PAGES / "pages.py",
    run(put("text_input", "everywhere", "on all pages"), put("text_input", "first own", "first")),
    run(put("text_input", "first page", "kept on the page"), put("text_input", "shared", "shared")),
    turn_to("second.py", stay=("everywhere",)),
    run(put("text_input", "second own", "second"), put("slider", "bound", 7, says=7)),
    run(put("text_input", "everywhere", "changed on the second")),
    turn_to("first.py", stay=("everywhere",)),
    run(),
    run(click("to second")),
    run(),
    run(put("slider", "bound", 2, says=2)),
    turn_to("first.py", address(bound=3, q="stays"), stay=("everywhere",)),
    run(),
    turn_to("second.py", address(bound=9), stay=("everywhere",)),
    run(),
)


# --- Where the two are not the same ----------------------------------------------------------------------------------


def set_while_away() -> None:
    """Code sets the key of a widget that is not shown any more."""
    import streamlit as st

    act = st.radio("act", ["show", "hide", "set"], key="act")
    if act == "show":
        st.text_input("text", key="text")
    if act == "set" and "text" not in st.session_state:
        st.session_state.text = "set while it was away"
    st.write(st.session_state.get("text", "nothing"))


app(
    set_while_away,
    run(put("text_input", "text", "typed")),
    run(put("radio", "act", "hide")),
    run(put("radio", "act", "set")),
    run(put("radio", "act", "hide")),
    run(),
    run(put("radio", "act", "show")),
    run(),
    differs=True,
)


def set_each_time() -> None:
    """Code gives a key a value before its widget is made, whenever it has none."""
    import streamlit as st

    st.session_state.setdefault("text", "to begin with")
    if st.checkbox("show", True, key="show"):
        st.text_input("text", key="text")
    st.write(st.session_state.text)


app(
    set_each_time,
    run(put("text_input", "text", "typed")),
    run(put("checkbox", "show", False)),
    run(),
    run(put("checkbox", "show", True)),
    run(),
    differs=True,
)


def changed_in_place() -> None:
    """The script changes the object that the state gave it for a widget."""
    import streamlit as st

    st.multiselect("picked", ["a", "b", "c"], ["a"], key="picked")
    st.session_state.picked.append("c")
    st.write(st.session_state.picked)


app(changed_in_place, run(), run(put("multiselect", "picked", ["b"])), differs=True)


def set_from_outside() -> None:
    """Another thread sets the key of a widget between two runs; the browser still has the old value."""
    import streamlit as st

    st.text_input("text", key="text", on_change=lambda: st.session_state.update(called=True))
    st.write(st.session_state.text, st.session_state.get("called"))


app(
    set_from_outside,
    run(put("text_input", "text", "typed")),
    run(state("text", "from outside"), put("text_input", "text", "typed")),
    run(),
    differs=True,
)


def address_of_a_known_widget() -> None:
    """The browser says nothing of a widget that it has, and its address says something else."""
    import streamlit as st

    st.text_input("text", key="text", bind="query-params")
    st.write(st.query_params.to_dict())


app(
    address_of_a_known_widget,
    run(put("text_input", "text", "typed", says="typed")),
    Step("a browser that forgets", (address(text="by hand"),), stay=()),
    run(),
    differs=True,
)


def bound_again() -> None:
    """A widget is bound to the address, then it is not, then it is again."""
    import streamlit as st

    how = st.radio("how", ["bound", "free", "none"], key="how")
    if how != "none":
        st.text_input("text", key="text", bind="query-params" if how == "bound" else None)
    st.write(st.query_params.to_dict())


app(
    bound_again,
    run(put("radio", "how", "none")),
    run(put("radio", "how", "free")),
    run(put("radio", "how", "bound")),
    address={"text": "first"},
    differs=True,
)


def persisting_under_another_id() -> None:
    """A widget that persists becomes another one, under the same key."""
    import streamlit as st

    top = st.number_input("top", 10, 20, 10, key="top")
    value = st.slider("level", 0, top, key="level", persist_state="session")
    st.write(value, st.session_state.level)


app(
    persisting_under_another_id,
    run(put("slider", "level", 7)),
    run(put("number_input", "top", 20)),
    run(),
    run(),
    differs=True,
)


app(
    PAGES / "two_pages.py",
    run(put("text_input", "shared", "typed on one"), put("text_input", "own", "typed on one")),
    run(click("to other")),
    run(put("text_input", "shared", "typed on the other")),
    run(click("to one")),
    run(),
)
