"""A page of training pictures to pick from, with all that is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import baskets, known, resources, session
from pages.widgets.gallery import Basket, gallery

if TYPE_CHECKING:
    import numpy as np

NUMBERS = ("confidence", "loss", "influence", "distance")
SIZES = (24, 96)


def size_slider() -> int:
    """Draws the slider of the tiles' size; pixels a side."""
    return st.slider(
        "Tile size", *SIZES, value=48, step=4, key="tiles:size", persist_state="session", width=130
    )


def basket_choice() -> Basket:
    """Draws what a click does; the basket it changes."""
    chosen = st.segmented_control(
        "A click chooses what to",
        ["forget", "protect"],
        default="forget",
        required=True,
        key="tiles:basket",
        persist_state="session",
        help="Protected pictures are kept. What becomes of them is shown under Compare.",
    )
    return "protect" if chosen == "protect" else "forget"


def draw(
    ids: np.ndarray,
    columns: dict[str, np.ndarray],
    *,
    key: str,
    name: str,
    size: int = 48,
    basket: Basket = "forget",
    height: int = 520,
) -> None:
    """Draws up to 1,000 pictures; a click changes the forget set or the protected set."""
    images = session.images()
    opened = resources.image_set(images)
    gallery(
        ids,
        known.sheet(images, ids),
        key=f"{key}:{images}",
        class_names=opened.class_names,
        labels=columns["label"][ids],
        predictions=columns["prediction"][ids] if "prediction" in columns else None,
        numbers={title: columns[title][ids] for title in NUMBERS if title in columns},
        selected=session.forget_ids(),
        protected=baskets.protected(),
        basket=basket,
        tile_size=size,
        height=height,
        highlight=baskets.looked_at(),
        name=name,
        on_pick=baskets.picked,
        on_open=baskets.look_at,
    )
