"""Single pictures as PNG files: plain, under a saliency map, and in rows with numbers below."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from imu_core.display import number
from pages.widgets import forget_change, resources, session

SIDE = 80
BLUE, ORANGE = np.array([0, 114, 178.0]), np.array([213, 94, 0.0])


def pixels(images: str, part: str, row: int) -> np.ndarray:
    """One picture as uint8 (h, w, 3)."""
    opened = resources.image_set(images)
    source = opened.test_images if part == "Test" else opened.train_images
    picture = source[row].permute(1, 2, 0).numpy()
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[:, :, :3]


@st.cache_data(max_entries=2000, show_spinner=False)
def png(images: str, part: str, row: int, side: int = SIDE) -> bytes:
    """The picture at about this width, each pixel a square where it is enlarged."""
    return as_png(pixels(images, part, row), side)


def overlaid(picture: np.ndarray, signed: np.ndarray, most: float, share: float) -> np.ndarray:
    """A picture (h, w, 3) under a signed map (h, w), uint8: blue below zero, orange above.

    `most` is where the colour is full, `share` (0–1) how much of the map there is.
    """
    strength = np.clip(np.abs(signed) / (most or 1.0), 0, 1)[:, :, None]
    ends = np.where(signed[:, :, None] > 0, ORANGE, BLUE)
    colours = 255 * (1 - strength) + ends * strength
    return np.round((1 - share) * picture + share * colours).astype(np.uint8)


def as_png(picture: np.ndarray, side: int) -> bytes:
    from PIL import Image

    tile = Image.fromarray(picture)
    width = side - side % tile.width if tile.width <= side else side
    way = Image.Resampling.NEAREST if tile.width <= width else Image.Resampling.LANCZOS
    file = io.BytesIO()
    tile.resize((width, round(width * tile.height / tile.width)), way).save(file, "PNG")
    return file.getvalue()


def row_of(
    ids: Sequence[int],
    captions: Sequence[str],
    how: str,
    *,
    key: str,
    on_look: Callable[[str, int], None],
) -> None:
    """Training pictures in a row that wraps, a caption under each, and two buttons: look, add."""
    images, held = session.images(), set(session.forget_ids())
    names = resources.image_set(images).class_names
    labels = resources.image_set(images).train_labels
    with st.container(horizontal=True, gap="small", key=f"row-{key}"):
        for one, caption in zip(ids, captions, strict=True):
            with st.container(width=SIDE + 4, gap=None):
                st.image(png(images, "Training", one), alt=f"Picture {one}, {names[labels[one]]}")
                st.caption(caption)
                st.button(
                    f"{one}",
                    key=f"{key}:look:{one}",
                    type="tertiary",
                    icon=":material/search:",
                    help=f"Look at picture {one}",
                    on_click=on_look,
                    args=("Training", one),
                )
                change, word = (
                    (forget_change.remove, "Remove") if one in held else (forget_change.add, "Add")
                )
                st.button(
                    word,
                    key=f"{key}:change:{one}",
                    type="tertiary",
                    icon=":material/remove:" if one in held else ":material/add:",
                    help=f"{word} picture {one} {'from' if one in held else 'to'} the forget set",
                    on_click=change,
                    args=((one,), f"picture {one}, {how}"),
                )


def signed(value: float) -> str:
    """`+0.12`, `−0.031`, `0`"""
    if not value:
        return "0"
    return ("+" if value > 0 else "−") + number(abs(value))


def look_at(part: str, row: int) -> None:
    """Opens one picture on this page; for buttons."""
    st.session_state["look"] = "One picture"
    st.session_state["split"] = part
    st.session_state["picture"] = row
