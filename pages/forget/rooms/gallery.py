"""All training pictures as a gallery, sorted and filtered, with their map beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import baskets, feature_map, known, picture_filters, picture_gallery, session
from pages.widgets.gallery import MOST_TILES
from pages.widgets.words import pictures

if TYPE_CHECKING:
    import numpy as np

HEIGHT = 560


def draw() -> None:
    """Draws controls, one page of tiles and the map; a click on either shows on both."""
    images = session.images()
    checkpoint = known.model_for(images)
    with st.container(horizontal=True, vertical_alignment="bottom", key="gallery-filters"):
        found, columns = picture_filters.draw(checkpoint, images)
    with st.container(horizontal=True, vertical_alignment="bottom", key="gallery-tools"):
        basket = picture_gallery.basket_choice()
        size = picture_gallery.size_slider()
        beside = st.toggle("Map beside", value=True, key="gallery:map", persist_state="session")
        page = _page(found)
    if not beside:
        _tiles(found, columns, page, size, basket)
        return
    left, right = st.columns([3, 2], gap="medium")
    with right:
        choice = feature_map.controls(columns)
        feature_map.draw(checkpoint, columns, choice, height=HEIGHT - 110)
    with left:
        _tiles(found, columns, page, size, basket)


def _page(found: np.ndarray) -> int:
    """Draws the pages where there are several; the one shown, counted from 1."""
    import numpy as np

    n_pages = max(1, -(-len(found) // MOST_TILES))
    sought = baskets.asked_for()
    place = np.flatnonzero(found == sought) if sought is not None else []
    if len(place):
        # A point clicked on the map: its tile may be on another page.
        st.session_state["gallery:page"] = int(place[0]) // MOST_TILES + 1
    if n_pages == 1:
        return 1
    if st.session_state.get("gallery:page", 1) > n_pages:
        st.session_state["gallery:page"] = n_pages
    return st.pagination(n_pages, key="gallery:page", persist_state="session")


def _tiles(found: np.ndarray, columns: dict[str, np.ndarray], page: int, size: int, basket) -> None:
    from imu_core.picking import page_of

    if not len(found):
        st.info("No picture fits these filters; widen them.", icon=":material/filter_alt:")
        return
    ids = page_of(found, page, MOST_TILES)
    picture_gallery.draw(
        ids,
        columns,
        key="gallery",
        name="Training pictures",
        size=size,
        basket=basket,
        height=HEIGHT,
    )
    first = (page - 1) * MOST_TILES + 1
    part = f", {first:,} to {first + len(ids) - 1:,} of them here" if len(ids) < len(found) else ""
    st.caption(f"{pictures(len(found))} of {len(columns['id']):,} fit the filters{part}.")
    _note()


def _note() -> None:
    """The note of the picture looked at last."""
    picture = baskets.looked_at()
    if picture is None:
        return
    key = f"note:{session.images()}:{picture}"
    st.session_state.setdefault(key, baskets.notes().get(picture, ""))
    st.text_input(
        f"Note on picture {picture:,}",
        key=key,
        max_chars=200,
        placeholder="Why this picture? Notes are saved with the set.",
        on_change=_take_note,
        args=(picture, key),
    )


def _take_note(picture: int, key: str) -> None:
    baskets.set_note(picture, st.session_state[key])
