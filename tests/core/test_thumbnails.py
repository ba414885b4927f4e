"""Sheets: every tile is where it is said to be, and the sheet fits."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from imu_core.errors import BadInput
from imu_core.thumbnails import MAX_SIDE, Sheet, picture_sheet


def tile(sheet: Sheet, i: int) -> np.ndarray:
    """Pixels (h, w) or (h, w, 3) of tile i of the decoded sheet."""
    picture = np.asarray(Image.open(io.BytesIO(sheet.data)))
    row, column = divmod(i, sheet.columns)
    top, left = row * sheet.tile_height, column * sheet.tile_width
    return picture[top : top + sheet.tile_height, left : left + sheet.tile_width]


def noise(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("n", [1, 2, 7, 200, 1000])
def test_grey_tiles_come_back_pixel_by_pixel(n: int) -> None:
    pictures = noise(n, 1, 9, 5)
    sheet = picture_sheet(pictures)
    assert (sheet.n, sheet.tile_height, sheet.tile_width) == (n, 9, 5)
    assert sheet.mime == "image/png"
    for i in {0, n // 2, n - 1}:
        assert np.array_equal(tile(sheet, i), pictures[i, 0].numpy())


def test_colour_tiles_come_back_nearly_the_same() -> None:
    colours = torch.tensor([[250, 10, 10], [10, 250, 10], [10, 10, 250]], dtype=torch.uint8)
    pictures = colours[:, :, None, None].expand(3, 3, 32, 32).contiguous()
    sheet = picture_sheet(pictures)
    assert sheet.mime == "image/webp"
    for i, colour in enumerate(colours.tolist()):
        assert tile(sheet, i).reshape(-1, 3).mean(0) == pytest.approx(colour, abs=12)


@pytest.mark.parametrize(
    ("n", "height", "width"), [(1000, 224, 224), (5, 30, 600), (1000, 8, 96), (3000, 64, 64)]
)
def test_the_sheet_stays_within_its_limit(n: int, height: int, width: int) -> None:
    sheet = picture_sheet(noise(1, 1, height, width).expand(n, 1, height, width), largest_tile=96)
    picture = Image.open(io.BytesIO(sheet.data))
    assert max(picture.size) <= MAX_SIDE
    assert max(sheet.tile_width, sheet.tile_height) <= 96
    assert sheet.columns * math.ceil(n / sheet.columns) >= n
    assert picture.size[0] == sheet.columns * sheet.tile_width


def test_large_pictures_are_averaged() -> None:
    checks = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).repeat(32, 32)[None, None]
    sheet = picture_sheet(checks, largest_tile=16)
    assert tile(sheet, 0) == pytest.approx(np.full((16, 16), 128), abs=1)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(BadInput):
        picture_sheet(torch.zeros(3, 1, 8, 8))
    with pytest.raises(BadInput):
        picture_sheet(torch.zeros(0, 1, 8, 8, dtype=torch.uint8))
