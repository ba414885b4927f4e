"""The views of a page, chosen by a row of buttons that the address remembers."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st


def choose(label: str, views: Mapping[str, str], *, key: str) -> str:
    """Draws the choice among views, title → module; the module's name, at first the first one's.

    The caller imports it, once what stands before it is drawn: views reach for the engine.
    """
    titles = list(views)
    chosen = st.segmented_control(
        label,
        titles,
        default=titles[0],
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
    )
    # An address may name a view that does not exist.
    return views.get(chosen or "", views[titles[0]])
