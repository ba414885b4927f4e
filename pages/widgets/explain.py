"""“How is this computed?”: folded under a chart or a form, with formula and reference."""

from __future__ import annotations

import streamlit as st


def how(text: str, *, formula: str = "", reference: str = "", key: str) -> None:
    """A folded explanation in plain words, with LaTeX and the source where there are any."""
    with st.expander("How is this computed?", icon=":material/help:", key=key):
        st.markdown(text)
        if formula:
            # One line each, so that they fit a narrow column.
            for line in formula.split(r",\qquad"):
                st.latex(line.strip())
        if reference:
            st.caption(reference)
