"""An app of two pages, each of which makes a widget under the same key: by their pages they are two widgets."""

import streamlit as st


def one() -> None:
    """One page."""
    st.write(st.text_input("shared", key="shared", persist_state="session"))
    st.write(st.text_input("of the page", key="own", persist_state="page"))
    if st.button("to other", key="to other"):
        st.switch_page(pages[1])


def other() -> None:
    """The other page."""
    st.write(st.text_input("shared", key="shared", persist_state="session"))
    st.write(st.text_input("of the page", key="own", persist_state="page"))
    if st.button("to one", key="to one"):
        st.switch_page(pages[0])


pages = [st.Page(one), st.Page(other)]
st.navigation(pages).run()
st.write(st.session_state.get("shared"), st.session_state.get("own"))
