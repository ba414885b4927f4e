"""Many small pictures as one sheet: a browser loads one file at once, a thousand slowly."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from imu_core.errors import BadInput

MAX_SIDE = 4096
"""Pixels a side of a sheet; beyond it some devices refuse to draw the picture."""

# Up to this many pixels a grey tile costs less without loss than it gains by losing quality.
_LOSSLESS_PIXELS = 32 * 32


@dataclass(frozen=True)
class Sheet:
    """Tiles of one size in rows, left to right and top to bottom, as one encoded picture."""

    data: bytes
    """The encoded picture."""
    mime: str
    """`image/png` or `image/webp`"""
    tile_width: int
    """pixels"""
    tile_height: int
    """pixels"""
    columns: int
    """Tiles a row; tile i stands at row i // columns, column i % columns."""
    n: int
    """Number of tiles."""


def picture_sheet(pictures: Tensor, *, largest_tile: int = 96) -> Sheet:
    """A sheet of these pictures, uint8 (n, c, h, w), in their order.

    Pictures are never enlarged; those larger than `largest_tile`, or too large for n of them to fit
    a sheet of 4096 × 4096 pixels, are made smaller by averaging. PNG for small grey pictures, WebP
    otherwise. One channel is grey; of more than three the first three are shown.
    """
    if pictures.dtype != torch.uint8 or pictures.ndim != 4:
        raise BadInput("A sheet is made of uint8 pictures of shape (n, c, h, w).")
    if len(pictures) == 0:
        raise BadInput("A sheet needs at least one picture.")
    tiles = _as_tiles(pictures)
    tiles = _within(tiles, largest_tile)
    n, height, width, channels = tiles.shape
    columns = _columns(n, height, width)
    rows = math.ceil(n / columns)
    canvas = torch.zeros((rows * columns, height, width, channels), dtype=torch.uint8)
    canvas[:n] = tiles
    canvas = canvas.view(rows, columns, height, width, channels).transpose(1, 2)
    canvas = canvas.reshape(rows * height, columns * width, channels)
    data, mime = _encode(canvas, lossless=channels == 1 and height * width <= _LOSSLESS_PIXELS)
    return Sheet(data, mime, width, height, columns, n)


def _as_tiles(pictures: Tensor) -> Tensor:
    """uint8 (n, h, w, 1 or 3)"""
    channels = pictures.shape[1]
    kept = pictures[:, :3] if channels >= 3 else pictures[:, :1]
    return kept.permute(0, 2, 3, 1)


def _within(tiles: Tensor, largest_tile: int) -> Tensor:
    """Tiles small enough for the sheet, by the mean over the pixels that fall together."""
    n, height, width, _ = tiles.shape
    most = min(largest_tile, MAX_SIDE // math.ceil(math.sqrt(n)))
    if most < 1:
        raise BadInput(f"{n:,} pictures do not fit one sheet; ask for fewer at a time.")
    scale = most / max(height, width)
    if scale >= 1:
        return tiles
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    parts = [
        torch.nn.functional.interpolate(part.permute(0, 3, 1, 2).float(), size=size, mode="area")
        for part in tiles.split(1024)
    ]
    return torch.cat(parts).round().to(torch.uint8).permute(0, 2, 3, 1)


def _columns(n: int, height: int, width: int) -> int:
    """Tiles a row that make the sheet nearly square."""
    wanted = max(1, round(math.sqrt(n * height / width)))
    # Both sides must stay within the limit, whichever of them the rounding made longer.
    fewest = math.ceil(n / (MAX_SIDE // height))
    return min(max(wanted, fewest), MAX_SIDE // width, n)


def _encode(canvas: Tensor, *, lossless: bool) -> tuple[bytes, str]:
    from PIL import Image

    pixels = canvas.squeeze(-1) if canvas.shape[-1] == 1 else canvas
    picture = Image.fromarray(pixels.contiguous().numpy())
    buffer = io.BytesIO()
    if lossless:
        picture.save(buffer, format="PNG", compress_level=3)
        return buffer.getvalue(), "image/png"
    picture.save(buffer, format="WEBP", quality=80, method=2)
    return buffer.getvalue(), "image/webp"
