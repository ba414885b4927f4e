"""Forget: which training pictures the model is to forget."""

from __future__ import annotations

import importlib

import streamlit as st

from pages.widgets import errors, session, views

# Title → module with a `draw()`, imported when its room is opened.
ROOMS = {
    "By class": "pages.forget.rooms.by_class",
    "Gallery": "pages.forget.rooms.gallery",
    "Map": "pages.forget.rooms.map",
    "Table": "pages.forget.rooms.table",
    "Confusion": "pages.forget.rooms.confusion",
    "Rules": "pages.forget.rooms.rules",
    "At random": "pages.forget.rooms.at_random",
    "Expression": "pages.forget.rooms.expression",
}

st.title("Choose what to forget")
st.markdown("Pick the training pictures that the model should no longer know, then unlearn them.")


def draw_page() -> None:
    with errors.shown():
        # Here, not at the top: these reach for the engine, and the title should not wait for it.
        from pages.widgets import forget_bar, resources

        resources.image_set(session.images())
        forget_bar.draw()
        room = views.choose("Ways to choose", ROOMS, key="room")
        importlib.import_module(room).draw()


draw_page()
