"""The other page."""

import streamlit as st

st.text_input("own", key="second own")
st.slider("bound", 0, 10, 5, key="bound", bind="query-params")
st.text_input("unkeyed")
