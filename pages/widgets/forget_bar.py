"""The forget set, always in view on the page where it is chosen: pictures, counts, undo, files."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import charts, errors, resources, routes, session, thumbnails
from pages.widgets.forget_words import class_counts, class_summary, obstacle
from pages.widgets.words import percent, pictures, sentence

if TYPE_CHECKING:
    from imu_core.forget_set import ForgetSet

N_SHOWN = 60
COLUMNS = 20


def draw() -> None:
    """Draws the set of the chosen image set, its facts and what can be done with it."""
    images, ids = session.images(), session.forget_ids()
    with st.container(border=True, key="forget-set"):
        pictures, facts = st.columns([3, 2], gap="large")
        with pictures:
            _pictures(images, ids)
        with facts:
            _facts(images, ids)
        _buttons(images, ids)
        said = obstacle(images, ids)
        if ids and said:
            st.warning(said, icon=":material/warning:")


def chosen_set() -> ForgetSet:
    """The session's forget set as the engine knows it."""
    from imu_core.forget_set import ForgetSet

    images = resources.chosen_image_set()
    return ForgetSet(
        ids=session.forget_ids(),
        image_set=images.name,
        fingerprint=images.fingerprint,
        history=session.forget_history(),
    )


def _pictures(images: str, ids: tuple[int, ...]) -> None:
    st.markdown(f"**Forget set: {pictures(len(ids))}**")
    if not ids:
        st.caption("Empty. Choose pictures below: a whole class, a random share, or row by row.")
        return
    shown = ids[:N_SHOWN]
    st.image(
        thumbnails.sheet(images, shown, columns=COLUMNS, side=28),
        alt=f"The first {len(shown)} pictures of the forget set",
    )
    if len(ids) > len(shown):
        st.caption(f"The first {len(shown)} by id; {len(ids) - len(shown):,} more.")


def _facts(images: str, ids: tuple[int, ...]) -> None:
    opened = resources.image_set(images)
    if not ids:
        st.caption("The counts per class appear here.")
        return
    st.markdown(
        f"{sentence(class_summary(images, ids))}: {percent(len(ids) / opened.n_train)} of the "
        f"{opened.n_train:,} training pictures."
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
            _files(ids)
        if st.button(
            "Unlearn these",
            type="primary",
            icon=":material/play_circle:",
            key="forget-set:unlearn",
            disabled=bool(obstacle(images, ids)),
        ):
            routes.to_unlearn()


def _files(ids: tuple[int, ...]) -> None:
    for ending, mime in (("csv", "text/csv"), ("json", "application/json")):
        st.download_button(
            f"Save as {ending.upper()}",
            partial(_as_file, ending) if ids else "",
            file_name=f"forget-set-{session.images().replace(':', '-')}.{ending}",
            mime=mime,
            icon=":material/download:",
            disabled=not ids,
            on_click="ignore",
            key=f"forget-set:{ending}",
        )
    uploaded = st.file_uploader(
        "Load a saved set", type=["csv", "json"], key="forget-set:upload", max_upload_size=16
    )
    if uploaded is not None and st.session_state.get("forget-set:loaded") != uploaded.file_id:
        with errors.shown():
            _load(uploaded.name, uploaded.getvalue())
            st.session_state["forget-set:loaded"] = uploaded.file_id
            st.rerun()


def _as_file(ending: str) -> str:
    if ending == "csv":
        return chosen_set().to_csv(resources.chosen_image_set())
    return json.dumps(chosen_set().to_dict(), indent=1)


def _load(name: str, content: bytes) -> None:
    """Takes an uploaded set; one of other pictures, or a broken file, is refused."""
    from imu_core.errors import BadInput
    from imu_core.forget_set import read_forget_set

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"“{name}” cannot be read as text; give a .csv or .json file.") from None
    loaded = read_forget_set(text, name, resources.chosen_image_set())
    session.set_forget(loaded.ids, loaded.history or (f"loaded from {name}",))
