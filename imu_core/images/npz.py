"""A person's own pictures as a NumPy file: arrays of pixels and labels."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import BadInput, MissingData
from imu_core.images.image_set import ImageSet
from imu_core.images.source import Progress, add_path_source
from imu_core.images.splitting import drawn_split

MAX_BYTES = 4 << 30
"""Bytes of all arrays, unpacked."""

_NAMES = {
    "train_images": ("train_images", "x_train", "images", "x", "X"),
    "train_labels": ("train_labels", "y_train", "labels", "y"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
    "class_names": ("class_names", "classes"),
}


def read_npz(path: str | Path, *, seed: int = 0, name: str | None = None) -> ImageSet:
    """The pictures of an .npz file.

    Arrays: `train_images` and `train_labels`, and if there are some `test_images`, `test_labels`
    and `class_names` (also under the names x_train, y_train, x_test, y_test, images, labels, x, y,
    classes). Pictures are uint8, or float in 0–1, of shape (n, h, w), (n, h, w, c) or (n, c, h, w)
    with 1 or 3 channels. Without test pictures a fifth of each class is drawn for it by `seed`.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingData(f"There is no file “{path}”.")
    arrays = _load(file)
    given = _part(arrays, "train", file.name)
    if given is None:
        raise BadInput(
            f"“{file.name}” must hold the arrays train_images and train_labels (or images, labels)."
        )
    images, labels = given
    test = _part(arrays, "test", file.name)
    if test is None:
        names = _class_names(arrays["class_names"], labels, file.name)
        is_test = drawn_split(labels, len(names), seed=seed)
        test = (images[is_test], labels[is_test])
        images, labels = images[~is_test], labels[~is_test]
    else:
        names = _class_names(arrays["class_names"], torch.cat((labels, test[1])), file.name)
    return ImageSet(name or f"npz:{path}", file.stem, images, labels, *test, class_names=names)


def _load(file: Path) -> dict[str, np.ndarray | None]:
    """The arrays by their own names; None for those the file does not hold."""
    try:
        with zipfile.ZipFile(file) as archive:
            declared = sum(member.file_size for member in archive.infolist())
        if declared > MAX_BYTES:
            raise BadInput(
                f"“{file.name}” would take {declared / 2**30:,.1f} GB; "
                f"at most {MAX_BYTES / 2**30:.0f} GB are read."
            )
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            return {
                ours: next((kept[name] for name in names if name in kept.files), None)
                for ours, names in _NAMES.items()
            }
    except ValueError as error:
        # NumPy's word for an array of Python objects, which could run code when it is read.
        raise BadInput(
            f"“{file.name}” holds more than plain numbers and text, or is broken; "
            "save arrays of numbers with numpy.savez."
        ) from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, MemoryError) as error:
        raise BadInput(f"“{file.name}” is no .npz file that can be read.") from error


def _part(
    arrays: dict[str, np.ndarray | None], part: str, name: str
) -> tuple[Tensor, Tensor] | None:
    """Pictures and labels of the training or the test part; None where the file has neither."""
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        raise BadInput(f"“{name}” holds {part} pictures without labels, or labels without them.")
    pictures = _pictures(images, name)
    return pictures, _labels(labels, len(pictures), name)


def _pictures(array: np.ndarray, name: str) -> Tensor:
    """uint8 (n, c, h, w)"""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or len(array) == 0:
        raise BadInput(
            f"Pictures in “{name}” have the shape {tuple(array.shape)}; "
            "it must be (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels."
        )
    if array.dtype == bool or not np.issubdtype(array.dtype, np.number):
        raise BadInput(f"Pixels in “{name}” are of type {array.dtype}; uint8 is expected.")
    if array.dtype != np.uint8:
        array = _as_bytes(array, name)
    return torch.from_numpy(np.ascontiguousarray(array))


def _as_bytes(array: np.ndarray, name: str) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    whole = np.issubdtype(array.dtype, np.integer)
    if not (low >= 0 and high <= (255 if whole else 1)):
        raise BadInput(
            f"Pixels in “{name}” run from {low:g} to {high:g}; "
            "give whole numbers in 0–255 or fractions in 0–1, before any normalisation."
        )
    return array.astype(np.uint8) if whole else (array * 255).round().astype(np.uint8)


def _labels(array: np.ndarray, n: int, name: str) -> Tensor:
    """int64 (n,)"""
    flat = array.reshape(-1)
    if len(flat) != n:
        raise BadInput(f"“{name}” has {n:,} pictures and {len(flat):,} labels.")
    if not np.issubdtype(flat.dtype, np.number) or (flat != np.floor(flat)).any() or flat.min() < 0:
        raise BadInput(f"Labels in “{name}” must be whole numbers from 0 on.")
    return torch.from_numpy(flat.astype(np.int64))


def _class_names(array: np.ndarray | None, labels: Tensor, name: str) -> tuple[str, ...]:
    n_classes = int(labels.max()) + 1
    if len(labels.unique()) < 2:
        raise BadInput(f"All pictures of “{name}” are in one class; a classifier needs two.")
    if array is None:
        if n_classes > max(1000, len(labels)):
            raise BadInput(f"Labels in “{name}” go up to {n_classes - 1:,}; number them from 0 on.")
        return tuple(str(label) for label in range(n_classes))
    names = tuple(str(one) for one in array.reshape(-1))
    if len(names) < n_classes:
        raise BadInput(f"“{name}” names {len(names)} classes; its labels go up to {n_classes - 1}.")
    if len(set(names)) < len(names):
        raise BadInput(f"“{name}” gives two classes the same name.")
    return names


def _open(rest: str, progress: Progress | None) -> ImageSet:
    return read_npz(rest)


add_path_source("npz", _open)
