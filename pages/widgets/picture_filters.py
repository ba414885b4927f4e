"""Sorting and filtering of training pictures: the controls, and what they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import baskets, known, resources, session

if TYPE_CHECKING:
    import numpy as np

    from imu_core.picking import PictureFilter

NEARNESS = "nearness to the picture looked at"
# Words on screen → column and whether from high to low.
SORTS = {
    "id": ("id", False),
    "label": ("label", False),
    "prediction": ("prediction", False),
    "loss, highest first": ("loss", True),
    "loss, lowest first": ("loss", False),
    "influence, strongest first": ("influence", False),
    "influence, weakest first": ("influence", True),
    "confidence, lowest first": ("confidence", False),
    "confidence, highest first": ("confidence", True),
    NEARNESS: ("distance", False),
}
ANSWERS = {"all": None, "right": True, "wrong": False}
SHOWN = ("all pictures", "the forget set", "protected", "outside the forget set")
RANGES = {"confidence": "%.2f", "loss": "%.3g", "influence": "%.3g"}


def draw(checkpoint: str, images: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draws the controls; the ids left, in their order, and the columns they were sorted by."""
    from imu_core.picking import filter_ids, sort_ids

    columns = known.columns(checkpoint, images)
    by = _sort(columns)
    wanted = _filter(images, columns)
    name, descending = SORTS[by]
    if name == "distance":
        picture = baskets.looked_at()
        if picture is None or not 0 <= picture < len(columns["id"]):
            st.caption("Double-click a picture first: the others are then sorted by nearness.")
            name = "id"
        else:
            columns = {**columns, "distance": known.nearness(checkpoint, images, picture)}
    return sort_ids(filter_ids(columns, wanted), columns, name, descending=descending), columns


def _sort(columns: dict[str, np.ndarray]) -> str:
    offered = [title for title, (name, _) in SORTS.items() if name in (*columns, "distance")]
    return (
        st.selectbox("Sort by", offered, key="gallery:sort", persist_state="session", width=210)
        or "id"
    )


def _filter(images: str, columns: dict[str, np.ndarray]) -> PictureFilter:
    from imu_core.picking import PictureFilter

    labels = _classes("Class", "label", images)
    predictions, right, ranges = (), None, {}
    if "prediction" in columns:
        predictions = _classes("Predicted", "prediction", images)
        answer = st.segmented_control(
            "Answer",
            list(ANSWERS),
            default="all",
            required=True,
            key="gallery:answer",
            persist_state="session",
        )
        right = ANSWERS.get(answer or "all")
    shown = st.selectbox("Show", SHOWN, key="gallery:shown", persist_state="session", width=150)
    if "prediction" in columns:
        ranges = _ranges(images, columns)
    return PictureFilter(labels, predictions, right, ranges, _within(shown, len(columns["id"])))


def _classes(title: str, key: str, images: str) -> tuple[int, ...]:
    names = resources.image_set(images).class_names
    chosen = st.multiselect(
        title,
        range(len(names)),
        format_func=lambda position: names[position],
        key=f"gallery:{key}:{images}",
        persist_state="session",
        placeholder="any",
        width=150,
    )
    return tuple(label for label in chosen if 0 <= label < len(names))


def _ranges(images: str, columns: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    with st.popover("Ranges", icon=":material/tune:"):
        for name, form in RANGES.items():
            low, high = float(columns[name].min()), float(columns[name].max())
            if not high > low:
                continue
            chosen = st.slider(
                name.capitalize(),
                low,
                high,
                (low, high),
                step=(high - low) / 200,
                format=form,
                key=f"gallery:{name}:{images}:{low:.6g}:{high:.6g}",
                persist_state="session",
                width=280,
            )
            if chosen[0] > low or chosen[1] < high:
                # The ends of the slider are rounded to its steps; at an end nothing is cut off.
                ranges[name] = (
                    chosen[0] if chosen[0] > low else float("-inf"),
                    chosen[1] if chosen[1] < high else float("inf"),
                )
    return ranges


def _within(shown: str, n: int) -> np.ndarray | None:
    import numpy as np

    if shown == "the forget set":
        return np.array(session.forget_ids(), np.int64)
    if shown == "protected":
        return np.array(baskets.protected(), np.int64)
    if shown == "outside the forget set":
        return np.setdiff1d(np.arange(n), np.array(session.forget_ids(), np.int64))
    return None
