"""Picture files to pixels: one size, safely, many at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from imu_core.errors import BadInput
from imu_core.images.source import Progress

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
MAX_PIXELS = 64_000_000
"""Pixels of one file; 64 million take 0.2 GB while they are decoded."""
MIN_SIZE, MAX_SIZE = 4, 512
"""Pixels a side that pictures may be brought to."""
MAX_BYTES = 4 << 30
"""Bytes of all decoded pictures of a set, which stay in memory."""
COLOURS = ("auto", "grey", "colour")

# Only these decoders are offered what a stranger made.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_FILES_A_TASK = 64


def decode_file(path: Path, size: int, *, grey: bool = False) -> np.ndarray | str:
    """uint8 (1 or 3, size, size), or a sentence that says why the file is no picture.

    The shorter side is brought to `size` and the longer one cropped to its middle. One channel
    where the file is grey or is to be made so; transparent places become white; of several frames
    the first counts. What a file is follows from its content, never from its name.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # The limit is checked below; Pillow's own warning would reach the terminal.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    return (
                        f"{picture.width:,} × {picture.height:,} pixels; "
                        f"at most {MAX_PIXELS // 10**6} million are read"
                    )
                picture.draft(None, (2 * size, 2 * size))
                plain = _plain(ImageOps.exif_transpose(picture))
                fitted = ImageOps.fit(plain, (size, size), _resampling())
                return _pixels(fitted.convert("L") if grey else fitted)
    except Image.DecompressionBombError:
        # Pillow refuses pictures of twice its own limit before their size can be asked for.
        return f"too large; at most {MAX_PIXELS // 10**6} million pixels are read"
    except UnidentifiedImageError:
        return "no picture of a kind that is read here, whatever its name says"
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError):
        return "broken or cut short"


def _resampling():
    from PIL import Image

    return Image.Resampling.BICUBIC


def _plain(picture):
    """The picture in mode L or RGB."""
    from PIL import Image

    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.float32) / 257
        return Image.fromarray(deep.round().astype(np.uint8))
    if picture.mode in ("1", "L", "I", "F"):
        return picture.convert("L")
    if picture.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in picture.info:
        coloured = picture.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        flat = Image.alpha_composite(white, coloured)
        return flat.convert("L" if picture.mode in ("LA", "La") else "RGB")
    return picture.convert("RGB")


def _pixels(picture) -> np.ndarray:
    """uint8 (1 or 3, h, w)"""
    array = np.asarray(picture)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def decode_files(
    paths: Sequence[Path], size: int, progress: Progress | None = None, *, colour: str = "auto"
) -> tuple[np.ndarray, dict[int, str]]:
    """Pixels uint8 (n, c, size, size) and, for the files that are no picture, position → why.

    With `auto`, all pictures are grey (c = 1), or all have three channels as soon as one is in
    colour; `grey` and `colour` make all of them so. The rows of broken files are black. Pillow lets
    go of the interpreter while it decodes, so threads do. `progress` may raise to stop the work.
    """
    n, n_channels = len(paths), 1 if colour == "grey" else 3
    _check(n, n_channels, size)
    pixels = np.zeros((n, n_channels, size, size), dtype=np.uint8)
    colourful = colour == "colour"
    broken: dict[int, str] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        tasks = {
            start: pool.submit(
                lambda some: [decode_file(path, size, grey=colour == "grey") for path in some],
                paths[start : start + _FILES_A_TASK],
            )
            for start in range(0, n, _FILES_A_TASK)
        }
        try:
            for start in list(tasks):
                # Taken out of the dictionary, so that its pictures are not held twice.
                colourful |= _take(tasks.pop(start).result(), start, pixels, broken)
                if progress is not None:
                    progress(min(start + _FILES_A_TASK, n), n, "Reading pictures")
        except BaseException:
            # Without this, leaving the pool would wait for every file that is still to come.
            pool.shutdown(cancel_futures=True)
            raise
    return (pixels if colourful or n_channels == 1 else pixels[:, :1].copy()), broken


def _check(n: int, n_channels: int, size: int) -> None:
    """Raises BadInput for a size out of range, or for more than fits into memory."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise BadInput(f"Pictures can be brought to {MIN_SIZE}–{MAX_SIZE} pixels a side.")
    n_bytes = n * n_channels * size * size
    if n_bytes > MAX_BYTES:
        raise BadInput(
            f"{n:,} pictures of {size}×{size} pixels would take {n_bytes / 2**30:.0f} GB of "
            f"memory; at most {MAX_BYTES / 2**30:.0f} GB are taken. Choose a smaller size."
        )


def _take(
    decoded: Iterable[np.ndarray | str], start: int, pixels: np.ndarray, broken: dict[int, str]
) -> bool:
    """Puts decoded pictures in their rows; whether one of them has colours."""
    colourful = False
    for place, result in enumerate(decoded, start):
        if isinstance(result, str):
            broken[place] = result
        else:
            # A grey picture fills all three channels.
            pixels[place] = result
            colourful |= len(result) == 3
    return colourful
