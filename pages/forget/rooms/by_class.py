"""Whole classes into the forget set."""

from __future__ import annotations

import streamlit as st

from pages.widgets import forget_change, resources, session, thumbnails
from pages.widgets.words import percent

N_SHOWN = 60


def draw() -> None:
    """Draws the classes to choose from and pictures of the chosen ones."""
    import numpy as np

    images = session.images()
    opened, members = resources.image_set(images), resources.class_members(images)
    chosen = st.pills(
        "Classes",
        range(opened.n_classes),
        selection_mode="multi",
        format_func=lambda label: f"{opened.class_names[label]} ({len(members[label]):,})",
        key=f"by-class:{images}",
        persist_state="session",
    )
    # What the browser sends is checked against the classes that there are.
    labels = sorted(label for label in chosen if 0 <= label < opened.n_classes)
    names = ", ".join(f"“{opened.class_names[label]}”" for label in labels)
    ids = np.concatenate([members[label] for label in labels]) if labels else np.array([], int)
    noun = "class" if len(labels) == 1 else "classes"
    forget_change.buttons(ids, f"{noun} {names}", key="by-class")
    if not labels:
        st.caption("Press one or more classes to see their pictures.")
        return
    shown = tuple(int(number) for number in ids[:: max(1, len(ids) // N_SHOWN)][:N_SHOWN])
    st.image(
        thumbnails.sheet(images, shown, columns=20, side=36),
        alt=f"{len(shown)} training pictures of {names}",
    )
    st.caption(
        f"{len(shown)} of the {len(ids):,} training pictures of {names}, "
        f"{percent(len(ids) / opened.n_train)} of all."
    )
