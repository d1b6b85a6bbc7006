"""The page that is shown first."""

import streamlit as st

st.text_input("own", key="first own")
st.text_input("own, of the page", key="first page", persist_state="page")
st.text_input("shared", key="shared", persist_state="session")
if st.button("to the second page", key="to second"):
    st.session_state.went = "by button"
    st.switch_page("second.py")
