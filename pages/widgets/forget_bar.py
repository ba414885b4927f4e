"""The forget set, always in view on the page where it is chosen: pictures, counts, undo, files."""

from __future__ import annotations

import streamlit as st

from pages.widgets import charts, resources, routes, saved_panel, session, set_facts, thumbnails
from pages.widgets.forget_words import class_counts, class_summary, obstacle
from pages.widgets.saved_panel import chosen_set
from pages.widgets.words import percent, pictures, sentence

__all__ = ["chosen_set", "draw"]

N_SHOWN = 60
COLUMNS = 20


def draw() -> None:
    """Draws the set of the chosen image set, its facts and what can be done with it."""
    images, ids = session.images(), session.forget_ids()
    with st.container(border=True, key="forget-set"):
        if not ids:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown("**Forget set: 0 pictures**", width="content")
                _buttons(images, ids)
            set_facts.draw_protected(images)
            return
        pictures, facts = st.columns([3, 2], gap="large")
        with pictures:
            _pictures(images, ids)
            _buttons(images, ids)
        with facts:
            _facts(images, ids)
        said = obstacle(images, ids)
        if said:
            st.warning(said, icon=":material/warning:")
        else:
            set_facts.draw_twins(images, ids)
        set_facts.draw_protected(images)


def _pictures(images: str, ids: tuple[int, ...]) -> None:
    st.markdown(f"**Forget set: {pictures(len(ids))}**")
    shown = ids[:N_SHOWN]
    st.image(
        thumbnails.sheet(images, shown, columns=COLUMNS, side=28),
        alt=f"The first {len(shown)} pictures of the forget set",
    )
    if len(ids) > len(shown):
        st.caption(f"The first {len(shown)} by id; {len(ids) - len(shown):,} more.")


def _facts(images: str, ids: tuple[int, ...]) -> None:
    opened = resources.image_set(images)
    st.markdown(
        f"{sentence(class_summary(images, ids))}: {percent(len(ids) / opened.n_train)} of the "
        f"{opened.n_train:,} training pictures. {set_facts.alike(images, ids)}"
    )
    st.altair_chart(
        charts.class_bars(list(opened.class_names), class_counts(images, ids).tolist()),
        alt="Pictures of the forget set in each class",
        key="forget-set:classes",
    )
    st.caption("How it came about: " + "; ".join(session.forget_history()))


def _buttons(images: str, ids: tuple[int, ...]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Undo",
            icon=":material/undo:",
            key="forget-set:undo",
            disabled=not session.can_undo(),
            on_click=session.undo,
        )
        st.button(
            "Redo",
            icon=":material/redo:",
            key="forget-set:redo",
            disabled=not session.can_redo(),
            on_click=session.redo,
        )
        st.button(
            "Clear",
            icon=":material/delete_sweep:",
            key="forget-set:clear",
            disabled=not ids,
            on_click=session.clear_forget,
        )
        with st.popover("Save or load", icon=":material/save:"):
            saved_panel.draw(ids)
        if st.button(
            "Unlearn these",
            type="primary",
            icon=":material/play_circle:",
            key="forget-set:unlearn",
            disabled=bool(obstacle(images, ids)),
        ):
            routes.to_unlearn()
