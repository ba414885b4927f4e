"""Pictures small on the page: one sheet for many of them, or one address for each.

Addresses hold the picture itself (`data:`). A file would be fetched by its name, and the server
forgets it as soon as the next run of the page shows another: the browser then finds nothing.
"""

from __future__ import annotations

import base64
import io
import math

import streamlit as st

from pages.widgets import resources

GAP = 2


@st.cache_data(max_entries=256, show_spinner=False)
def sheet(
    images: str, ids: tuple[int, ...], *, columns: int, side: int = 40, frame: str = ""
) -> str:
    """The address of a PNG of these training pictures in rows of `columns`, each up to `side`
    pixels wide.

    One picture for all of them, not hundreds. With a colour in `frame` each has an edge of that
    colour.
    """
    from PIL import Image, ImageOps

    side = _width(resources.image_set(images).image_shape[2], side)
    rows, step = math.ceil(len(ids) / columns), side + GAP
    size = (min(columns, len(ids)) * step - GAP, rows * step - GAP)
    # Transparent gaps fit a light and a dark page.
    result = Image.new("RGBA", size, (0, 0, 0, 0))
    for place, tile in enumerate(_tiles(images, ids)):
        row, column = divmod(place, columns)
        fitted = _fitted(tile, side)
        if frame:
            inner = fitted.convert("RGB").crop((2, 2, side - 2, side - 2))
            fitted = ImageOps.expand(inner, 2, frame)
        result.paste(fitted, (column * step, row * step))
    return _address(result)


@st.cache_data(max_entries=64, show_spinner=False)
def addresses(images: str, ids: tuple[int, ...], *, side: int = 32) -> list[str]:
    """A `data:` address of every one of these training pictures, for tables."""
    side = _width(resources.image_set(images).image_shape[2], side)
    return [_address(_fitted(tile, side)) for tile in _tiles(images, ids)]


def _tiles(images: str, ids: tuple[int, ...]):
    """The pictures as they are, as PIL images."""
    from PIL import Image

    pixels = resources.image_set(images).train_images
    for number in ids:
        array = pixels[number].permute(1, 2, 0).numpy()
        yield Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array[:, :, :3])


def _width(own: int, most: int) -> int:
    """The width of a tile: small pictures are enlarged by a whole number, large ones shrunk."""
    return most - most % own if own <= most else most


def _fitted(tile, side: int):
    """The picture at this width; where it is enlarged, each pixel becomes a square."""
    from PIL import Image

    way = Image.Resampling.NEAREST if tile.width <= side else Image.Resampling.LANCZOS
    return tile.resize((side, side), way)


def _address(picture) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
