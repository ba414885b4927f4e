"""Your own: pictures and models that visitors bring."""

from __future__ import annotations

import importlib

import streamlit as st

from pages.widgets import errors, views

# Title → module with a `draw()`, imported when it is looked at.
VIEWS = {
    "Pictures": "pages.own.pictures_view",
    "Model": "pages.own.model_view",
}

st.title("Your own")
st.markdown("Bring your own pictures, or a model that you trained elsewhere.")


def draw_page() -> None:
    view = views.choose("What to bring", VIEWS, key="own")
    with errors.shown():
        importlib.import_module(view).draw()


draw_page()
