"""Every training picture as a point: draw round those to forget."""

from __future__ import annotations

import streamlit as st

from pages.widgets import baskets, explain, feature_map, known, picture_gallery, session
from pages.widgets.words import pictures

N_SHOWN = 400


def draw() -> None:
    """Draws the map over the whole width, and the pictures chosen on it below."""
    images = session.images()
    checkpoint = known.model_for(images)
    columns = known.columns(checkpoint, images)
    choice = feature_map.controls(columns)
    feature_map.draw(checkpoint, columns, choice, height=600)
    _chosen(columns)
    explain.how(
        "Each point is a training picture, placed by the features of the model: what its last "
        "hidden layer makes of the picture. PCA is the plane along which the features vary most. "
        "UMAP keeps neighbours together; distances between far groups mean little on it. Without "
        "a model the pixels themselves take the place of the features. Only the outline that you "
        "draw is sent; which points lie in it is found over all pictures.",
        reference="McInnes, Healy and Melville 2018, UMAP (arXiv 1802.03426).",
        key="map:how",
    )


def _chosen(columns: dict) -> None:
    import numpy as np

    ids = np.array(session.forget_ids(), np.int64)
    if not len(ids):
        st.caption("Draw round points to choose them. Escape clears, Undo brings back.")
        return
    looked_at = baskets.looked_at()
    shown = ids[:N_SHOWN]
    if looked_at is not None and looked_at in ids and looked_at not in shown:
        shown = np.append(shown[:-1], looked_at)
    st.markdown(
        f"The first {len(shown):,} of {pictures(len(ids))} to forget. A click takes one out."
    )
    picture_gallery.draw(
        shown, columns, key="chosen", name="Pictures to forget", size=36, height=260
    )
