"""The script of Streamlit's counter, which runs anew for each click. It has no way to have other sessions run theirs:
what everybody sees is told by asking the runtime's sessions, behind its API, for a run each."""

from types import SimpleNamespace

import streamlit as st
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from bench.live_apps import SHARED


@st.cache_resource
def _shared() -> SimpleNamespace:
    return SimpleNamespace(number=0)


def _tell() -> None:
    _shared().number += 1
    own = get_script_run_ctx().session_id
    for info in get_instance()._session_mgr.list_active_sessions():
        if info.session.id != own:
            info.session._event_loop.call_soon_threadsafe(info.session.request_rerun, None)


if "count" not in st.session_state:
    st.session_state["count"] = 0
if st.button("Click me"):
    st.session_state["count"] += 1
st.text(f"Clicked {st.session_state['count']} times")
if SHARED:
    if st.button("Tell everybody"):
        _tell()
    st.text(f"Shared {_shared().number}")
