"""Pictures by their numbers: a table to sort, filter and select rows in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import forget_change, picture_table, resources, session, thumbnails

if TYPE_CHECKING:
    import numpy as np

    from imu_core.picking import PictureFilter

PAGE = 500
SORTS = {
    "influence, strongest first": ("influence", False),
    "loss, highest first": ("loss", True),
    "confidence, lowest first": ("confidence", False),
    "confidence, highest first": ("confidence", True),
    "id": ("id", False),
}
ANSWERS = {"all": None, "right": True, "wrong": False}


def draw() -> None:
    """Draws filters, the table of one page of pictures, and the buttons for the selected rows."""
    images, checkpoint = session.images(), resources.chosen_checkpoint()
    if not checkpoint:
        st.info(
            "The table needs a model: train one for these pictures in the sidebar.",
            icon=":material/model_training:",
        )
        return
    if not picture_table.ready(checkpoint, images):
        return
    from imu_core.picking import filter_ids, page_of, sort_ids

    columns = picture_table.columns(checkpoint, images)
    wanted, by = _controls(images)
    name, descending = SORTS[by]
    found = sort_ids(filter_ids(columns, wanted), columns, name, descending=descending)
    if not len(found):
        st.info("No picture fits these filters; widen them.", icon=":material/filter_alt:")
        return
    n_pages = -(-len(found) // PAGE)
    page = st.pagination(n_pages, key="table:page") if n_pages > 1 else 1
    ids = page_of(found, page, PAGE)
    rows = _table(images, ids, columns)
    picked = ids[[row for row in rows if 0 <= row < len(ids)]]
    forget_change.buttons(picked, f"{len(picked):,} rows of the table", key="table")
    _sentence(found, columns, len(picked))


def _controls(images: str) -> tuple[PictureFilter, str]:
    from imu_core.picking import PictureFilter

    names = resources.image_set(images).class_names
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.selectbox("Sort", list(SORTS), key="table:sort", persist_state="session", width=215)
        chosen = [
            st.multiselect(
                label,
                range(len(names)),
                format_func=lambda position: names[position],
                key=f"table:{key}:{images}",
                persist_state="session",
                placeholder="any",
                width=160,
            )
            for label, key in (("Class", "label"), ("Predicted", "prediction"))
        ]
        answer = st.segmented_control(
            "Answer",
            list(ANSWERS),
            default="all",
            required=True,
            key="table:answer",
            persist_state="session",
        )
    filters = PictureFilter(tuple(chosen[0]), tuple(chosen[1]), ANSWERS.get(answer or "all"))
    return filters, by


def _table(images: str, ids: np.ndarray, columns: dict[str, np.ndarray]) -> list[int]:
    """Draws the pictures with these ids; positions of the selected rows."""
    import pandas as pd

    names = resources.image_set(images).class_names
    frame = pd.DataFrame(
        {
            "picture": thumbnails.addresses(images, tuple(int(number) for number in ids)),
            "id": ids,
            "label": [names[position] for position in columns["label"][ids]],
            "prediction": [names[position] for position in columns["prediction"][ids]],
            "confidence": 100 * columns["confidence"][ids],
            "loss": columns["loss"][ids],
            "influence": columns["influence"][ids],
        }
    )
    event = st.dataframe(
        frame,
        column_config={
            "picture": st.column_config.ImageColumn("Picture", width=60),
            "id": st.column_config.NumberColumn("Id", format="%d"),
            "label": st.column_config.TextColumn("Label"),
            "prediction": st.column_config.TextColumn("Prediction"),
            "confidence": st.column_config.NumberColumn("Confidence", format="%.1f %%"),
            "loss": st.column_config.NumberColumn("Loss", format="%.3g"),
            "influence": st.column_config.NumberColumn(
                "Influence",
                format="%.3g",
                help="IMU's score of the picture among those of its class: the more negative, the "
                "more it pulls with its class.",
            ),
        },
        hide_index=True,
        row_height=40,
        height=480,
        on_select="rerun",
        selection_mode="multi-row",
        # Another page or order is another table: rows selected in one mean nothing in the other.
        key=f"table:{images}:{hash(ids.tobytes())}",
        alt="Training pictures with label, prediction, confidence, loss and influence",
    )
    return list(event["selection"]["rows"])


def _sentence(found: np.ndarray, columns: dict[str, np.ndarray], n_picked: int) -> None:
    wrong = int((columns["label"][found] != columns["prediction"][found]).sum())
    st.markdown(
        f"{len(found):,} pictures fit the filters; the model names {wrong:,} of them wrongly. "
        + (f"{n_picked:,} rows are selected." if n_picked else "Select rows at their left edge.")
    )
