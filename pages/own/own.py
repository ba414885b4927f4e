"""Your own: pictures and models that visitors bring."""

from __future__ import annotations

import importlib

import streamlit as st

from pages.widgets import errors

# Title → module with a `draw()`, imported when it is looked at.
VIEWS = {
    "Pictures": "pages.own.pictures_view",
    "Model": "pages.own.model_view",
}

st.title("Your own")
st.markdown("Bring your own pictures, or a model that you trained elsewhere.")


def draw_page() -> None:
    view = st.segmented_control(
        "What to bring",
        list(VIEWS),
        default="Pictures",
        required=True,
        key="own",
        bind="query-params",
        label_visibility="collapsed",
    )
    with errors.shown():
        # Here, not at the top: these reach for the engine, and the title should not wait for it.
        importlib.import_module(VIEWS.get(view or "", VIEWS["Pictures"])).draw()


draw_page()
