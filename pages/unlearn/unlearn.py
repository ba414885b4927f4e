"""Unlearn: run a method on the forget set and watch it work. `?run=` finds a run again."""

from __future__ import annotations

import streamlit as st

from pages.widgets import errors, session

st.title("Unlearn")
st.markdown(
    "Choose a method, start it, and watch what it does to the pictures to be forgotten and to the "
    "rest. A run goes on when you leave this page; its address finds it again."
)
left, right = st.columns([3, 7], gap="medium")


def draw_page() -> None:
    # Here, not at the top: these reach for the engine, and the title should not wait for it.
    from pages.unlearn import live_view, setup

    run_id = session.run_id()
    if run_id and live_view.is_known(run_id):
        session.choose_run(run_id)
        st.query_params["run"] = run_id
    with left, errors.shown():
        setup.draw()
    with right:
        if not run_id:
            st.caption("The curves of the run appear here.")
        with errors.shown():
            if run_id:
                live_view.draw(run_id)


draw_page()
