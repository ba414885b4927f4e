"""What was read of one's own pictures: counts, examples, and what was left out."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import streamlit as st

from imu_core.display import quoted
from pages.widgets import own_pictures, resources, routes, session, thumbnails
from pages.widgets.words import pictures

if TYPE_CHECKING:
    from imu_core.images import ImageSet
    from imu_core.images.own_sets import OwnSet

COLUMNS, ROWS = 14, 2
N_LEFT_OUT = 20


def draw(spec: str) -> None:
    """Draws the set of this SPEC, which was opened before."""
    own = own_pictures.find(spec)
    if own is None:
        return
    opened = resources.image_set(spec)
    st.subheader(own_pictures.plain(own_pictures.title(spec)))
    channels = own.image_shape[0]
    st.markdown(
        f"{own.n_train:,} training and {own.n_test:,} test pictures in {own.n_classes:,} classes, "
        f"{'grey' if channels == 1 else 'colour'}. {own_pictures.plain(own.report.sentence)}"
    )
    _use(spec)
    _warnings(own)
    examples, classes = st.columns([3, 2], gap="large")
    with examples:
        _examples(spec, opened)
    with classes:
        _classes(opened)
    _left_out(own)


def _use(spec: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if spec != session.images():
            st.button(
                "Use these pictures",
                type="primary",
                icon=":material/check:",
                key="own:use",
                on_click=own_pictures.use,
                args=(spec,),
            )
            return
        has_model = bool(resources.checkpoints(spec))
        if spec in session.awaited_models().values():
            st.caption("These pictures are in use. Their model is being trained.")
            return
        if not has_model and st.button(
            "Train a model", type="primary", icon=":material/model_training:", key="own:train"
        ):
            from pages.widgets import model_choice

            model_choice.train_dialog()
        if has_model and st.button(
            "Choose what to forget",
            type="primary",
            icon=":material/photo_library:",
            key="own:choose",
        ):
            routes.to_forget()
        st.caption(
            "These pictures are in use."
            if has_model
            else "These pictures are in use. They need a model next: train one here."
        )


def _warnings(own: OwnSet) -> None:
    report = own.report
    if report.empty_classes:
        names = own_pictures.plain(quoted(report.empty_classes))
        st.warning(f"No picture was read from {names}.", icon=":material/folder_off:")
    if report.single_classes:
        names = own_pictures.plain(quoted(report.single_classes))
        st.warning(
            f"A single picture in {names}: it is for training, so nothing can be said about how "
            "well new ones are recognised.",
            icon=":material/filter_1:",
        )


def _examples(spec: str, opened: ImageSet) -> None:
    import torch

    most = COLUMNS * ROWS
    # In the order of the classes, evenly over all of them.
    order = torch.argsort(opened.train_labels, stable=True)
    places = torch.linspace(0, opened.n_train - 1, min(most, opened.n_train)).round().long()
    ids = tuple(order[places].tolist())
    st.image(
        thumbnails.sheet(spec, ids, columns=COLUMNS, side=64),
        alt=f"{len(ids)} training pictures as the models will see them",
    )
    st.caption(
        f"{pictures(len(ids))} as the models will see them, in the order of the classes, evenly "
        "over all training pictures."
    )


def _classes(opened: ImageSet) -> None:
    import pandas as pd
    import torch

    counts = {
        part: torch.bincount(labels, minlength=opened.n_classes).tolist()
        for part, labels in (
            ("Training", opened.train_labels),
            ("Test", opened.test_labels),
        )
    }
    frame = pd.DataFrame({"Class": opened.class_names, **counts})
    st.dataframe(
        frame,
        hide_index=True,
        height="content" if opened.n_classes <= 8 else 318,
        column_config={
            "Training": st.column_config.ProgressColumn(
                "Training", format="%d", min_value=0, max_value=max(counts["Training"])
            ),
            "Test": st.column_config.NumberColumn("Test", format="%d", width="small"),
        },
        alt="Number of training and test pictures of each class",
    )


def _left_out(own: OwnSet) -> None:
    broken = own.report.broken
    if not broken:
        return
    st.markdown(f"**Left out** · {len(broken):,} {'file' if len(broken) == 1 else 'files'}")
    st.dataframe(
        {
            "File": [file for file, _ in broken[:N_LEFT_OUT]],
            "Why": [w for _, w in broken[:N_LEFT_OUT]],
        },
        hide_index=True,
        height="content",
        alt="Files that were left out, and why",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Save the list as CSV",
            lambda: _as_csv(broken),
            file_name="left-out.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="own:left-out",
        )
        if len(broken) > N_LEFT_OUT:
            st.caption(f"The first {N_LEFT_OUT} are shown; the file has all {len(broken):,}.")


def _as_csv(broken: tuple[tuple[str, str], ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([("file", "why"), *broken])
    return text.getvalue()
