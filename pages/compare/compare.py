"""Compare: one run before, after, and against models retrained without the forget set."""

from __future__ import annotations

import importlib

import streamlit as st

from pages.widgets import errors, views

st.title("Compare")
st.markdown(
    "What the run did: the model before, after, and models retrained without the forget set."
)

# Title → module with a `draw(comparison)`, imported when it is looked at.
VIEWS = {
    "Summary": "pages.compare.views.summary",
    "Confusion": "pages.compare.views.confusion",
    "Features": "pages.compare.views.features",
    "Membership": "pages.compare.views.membership",
    "Protected": "pages.compare.views.protected",
}


def draw_page() -> None:
    from pages.widgets import comparison

    chosen = comparison.chosen()
    if chosen is None:
        return
    view = views.choose("View", VIEWS, key="view")
    with errors.shown():
        importlib.import_module(view).draw(chosen)


draw_page()
