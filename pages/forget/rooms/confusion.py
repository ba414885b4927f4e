"""The confusion matrix as a picker: a cell's pictures into the set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.widgets import forget_change, known, picture_gallery, resources, session
from pages.widgets.words import percent, pictures

if TYPE_CHECKING:
    import numpy as np

N_SHOWN = 500


def draw() -> None:
    """Draws the matrix, and the pictures of the cell that is selected."""
    images = session.images()
    checkpoint = known.model_for(images)
    if not checkpoint:
        st.info(
            "A confusion matrix needs a model: train one for these pictures in the sidebar.",
            icon=":material/model_training:",
        )
        return
    columns = known.columns(checkpoint, images)
    names = _distinct(resources.image_set(images).class_names)
    st.markdown("Rows: the label. Columns: what the model says. Select a cell to see its pictures.")
    left, right = st.columns([1, 1], gap="medium")
    with left:
        counts = _counts(columns, len(names))
        cell = _matrix(counts, names, f"confusion:{images}:{resources.stamp(checkpoint)}")
        _sentence(counts, names)
    with right:
        if cell is None:
            st.caption("No cell is selected yet.")
        else:
            _pictures(columns, cell, resources.image_set(images).class_names)


def _counts(columns: dict[str, np.ndarray], n_classes: int) -> np.ndarray:
    """int64 (K, K): pictures by label and prediction."""
    import numpy as np

    flat = columns["label"] * n_classes + columns["prediction"]
    return np.bincount(flat, minlength=n_classes**2).reshape(n_classes, n_classes)


def _distinct(names: tuple[str, ...]) -> list[str]:
    """The names, with a number where two classes are called the same."""
    return [
        name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names)
    ]


def _matrix(counts: np.ndarray, names: list[str], key: str) -> tuple[int, int] | None:
    """Draws the matrix; label and prediction of the selected cell."""
    import pandas as pd

    frame = pd.DataFrame(counts, columns=names, index=pd.Index(names, name="label"))
    event = st.dataframe(
        frame.style.apply(_colours, axis=None),
        on_select="rerun",
        selection_mode="single-cell",
        height=min(36 * (len(names) + 1) + 2, 560),
        key=key,
        alt="How many training pictures of each label the model gives each class",
    )
    return chosen_cell(event, names)


def chosen_cell(event: Any, names: list[str]) -> tuple[int, int] | None:
    """(label, prediction) of what the browser says is selected, None where that is no cell."""
    cells = event["selection"].get("cells", [])
    if len(cells) != 1:
        return None
    row, column = cells[0]
    if column not in names or not isinstance(row, int) or not 0 <= row < len(names):
        return None
    return row, names.index(column)


def _colours(frame: Any) -> Any:
    """Right answers blue and wrong ones orange, the stronger the larger their part of the row."""
    import numpy as np
    import pandas as pd

    counts = frame.to_numpy()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    styles = np.empty(counts.shape, dtype=object)
    for row, column in np.ndindex(*counts.shape):
        share = float(shares[row, column])
        # Few pictures off the diagonal are still to be seen: the root lifts them.
        colour, depth = ("0,114,178", share * 0.5) if row == column else ("213,94,0", share**0.5)
        styles[row, column] = f"background-color: rgba({colour},{min(depth, 0.7):.2f})"
    return pd.DataFrame(styles, index=frame.index, columns=frame.columns)


def _sentence(counts: np.ndarray, names: list[str]) -> None:
    import numpy as np

    right, total = int(np.trace(counts)), int(counts.sum())
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    said = f"{right:,} of {total:,} training pictures are named right, {percent(right / total)}."
    if wrong.any():
        label, prediction = np.unravel_index(wrong.argmax(), wrong.shape)
        said += (
            f" Most often mistaken: {pictures(int(wrong.max()))} of “{names[label]}”, called "
            f"“{names[prediction]}”."
        )
    st.markdown(said)


def _pictures(
    columns: dict[str, np.ndarray], cell: tuple[int, int], names: tuple[str, ...]
) -> None:
    import numpy as np

    label, prediction = cell
    ids = np.flatnonzero((columns["label"] == label) & (columns["prediction"] == prediction))
    called = "named so" if label == prediction else f"called “{names[prediction]}”"
    how = f"“{names[label]}” {called}"
    st.markdown(f"**{pictures(len(ids))}: {how}**")
    if not len(ids):
        return
    forget_change.buttons(ids, f"{len(ids):,} of {how}", key="confusion")
    # The surest answers first: of the wrong ones these are the strangest.
    order = ids[np.argsort(-columns["confidence"][ids], kind="stable")][:N_SHOWN]
    picture_gallery.draw(order, columns, key="cell", name="Pictures of the cell", height=360)
    if len(order) < len(ids):
        st.caption(f"The {len(order):,} that the model is surest of.")
