"""Inspect: why pictures matter to the model, and what will happen when they go."""

from __future__ import annotations

import importlib

import streamlit as st

from pages.widgets import errors, session, views

# Title → module with a `draw()`, imported when it is looked at.
LOOKS = {
    "The set": "pages.inspect.views.the_set",
    "One picture": "pages.inspect.views.one_picture",
}

st.title("Inspect")
st.markdown(
    "Why pictures matter to the model, and what will happen when the forget set goes, before "
    "anything is run."
)


def draw_page() -> None:
    look = views.choose("Look at", LOOKS, key="look")
    with errors.shown():
        # Here, not at the top: these reach for the engine, and the title should not wait for it.
        from pages.widgets import picture_table, resources

        images, checkpoint = session.images(), resources.chosen_checkpoint()
        resources.image_set(images)
        if not checkpoint:
            st.info(
                "There is no model for these pictures yet. Train one in the sidebar; it takes "
                "seconds for the small sets.",
                icon=":material/model_training:",
            )
        elif picture_table.ready(checkpoint, images):
            importlib.import_module(look).draw()


draw_page()
