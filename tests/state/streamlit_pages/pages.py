"""An app of two pages, with a widget that is on both."""

import streamlit as st

page = st.navigation([st.Page("first.py"), st.Page("second.py")])
st.session_state.setdefault("log", []).append(page.title)
st.text_input("everywhere", key="everywhere")
page.run()
st.write(sorted(st.session_state.items(), key=str), st.query_params.to_dict())
