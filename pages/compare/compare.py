"""Compare: one run before, after, and against models retrained without the forget set."""

from __future__ import annotations

import streamlit as st

st.title("Compare")
st.markdown(
    "What the run did: the model before, after, and models retrained without the forget set."
)

VIEWS = ["Summary", "Confusion", "Features", "Membership", "Protected"]


def draw_page() -> None:
    from pages.widgets import comparison, errors

    chosen = comparison.chosen()
    if chosen is None:
        return
    view = st.segmented_control(
        "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params"
    )
    with errors.shown():
        if view == "Confusion":
            from pages.compare.views import confusion as module
        elif view == "Features":
            from pages.compare.views import features as module
        elif view == "Membership":
            from pages.compare.views import membership as module
        elif view == "Protected":
            from pages.compare.views import protected as module
        else:
            from pages.compare.views import summary as module
        module.draw(chosen)


draw_page()
