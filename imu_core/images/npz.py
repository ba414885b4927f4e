"""A person's own pictures as a NumPy file: arrays of pixels and labels."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import BadInput, MissingData
from imu_core.images.decoding import MAX_BYTES, MAX_SIZE, MIN_SIZE
from imu_core.images.image_set import ImageSet
from imu_core.images.preparation import Preparation, spec_of, split_options
from imu_core.images.reading import AS_GIVEN, DRAWN, ReadingReport, readable
from imu_core.images.source import Progress, add_path_source
from imu_core.images.splitting import drawn_split
from imu_core.images.upload import MAX_RATIO

# Labels in order shrink a thousandfold; only what is larger than this can be a bomb.
_RATIO_FROM_BYTES = 64 << 20

_NAMES = {
    "train_images": ("train_images", "x_train", "images", "x", "X"),
    "train_labels": ("train_labels", "y_train", "labels", "y"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
    "class_names": ("class_names", "classes"),
}


def read_npz(
    path: str | Path,
    preparation: Preparation | None = None,
    *,
    name: str | None = None,
    title: str | None = None,
) -> tuple[ImageSet, ReadingReport]:
    """The pictures of an .npz file in their own size, and how they were parted.

    Arrays: `train_images` and `train_labels`, and if there are some `test_images`, `test_labels`
    and `class_names` (also under the names x_train, y_train, x_test, y_test, images, labels, x, y,
    classes). Pictures are uint8, or float in 0–1, of shape (n, h, w), (n, h, w, c) or (n, c, h, w)
    with 1 or 3 channels. Without test pictures a part of each class is drawn for it by seed.
    """
    preparation = preparation or Preparation()
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingData(f"There is no file “{path}”.")
    called = title or file.name
    arrays = _load(file, called)
    given = _part(arrays, "train", called)
    if given is None:
        raise BadInput(
            f"“{called}” must hold the arrays train_images and train_labels (or images, labels)."
        )
    train, test = given, _part(arrays, "test", called)
    every_label = train[1] if test is None else torch.cat((train[1], test[1]))
    names = _class_names(arrays["class_names"], every_label, called)
    split = DRAWN if test is None else AS_GIVEN
    if test is None:
        seed, share = preparation.seed, preparation.test_share
        is_test = drawn_split(every_label, len(names), seed=seed, share=share)
        test = tuple(part[is_test] for part in train)
        train = tuple(part[~is_test] for part in train)
    images = ImageSet(
        name or spec_of("npz", str(path), preparation),
        title or readable(file.stem),
        *(_coloured(train[0], preparation.colour), train[1]),
        *(_coloured(test[0], preparation.colour), test[1]),
        class_names=names,
    )
    return images, _report(every_label, names, split, preparation)


def _report(
    labels: Tensor, names: tuple[str, ...], split: str, preparation: Preparation
) -> ReadingReport:
    counts = torch.bincount(labels, minlength=len(names)).tolist()
    return ReadingReport(
        n_read=len(labels),
        n_broken=0,
        broken=(),
        empty_classes=tuple(n for n, count in zip(names, counts, strict=True) if not count),
        split=split,
        single_classes=tuple(n for n, count in zip(names, counts, strict=True) if count == 1),
        test_share=preparation.test_share,
    )


def _coloured(pictures: Tensor, colour: str) -> Tensor:
    """The pictures with one channel or three, as asked; grey by the weights that Pillow uses."""
    if colour == "colour" and pictures.shape[1] == 1:
        return pictures.repeat(1, 3, 1, 1)
    if colour == "grey" and pictures.shape[1] == 3:
        weights = torch.tensor([299, 587, 114], dtype=torch.int32).view(1, 3, 1, 1)
        parts = [(p.int() * weights).sum(1, keepdim=True) // 1000 for p in pictures.split(4096)]
        return torch.cat(parts).to(torch.uint8)
    return pictures


def _load(file: Path, called: str) -> dict[str, np.ndarray | None]:
    """The arrays by their own names; None for those the file does not hold."""
    try:
        _check_sizes(file, called)
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            return {
                ours: next((kept[name] for name in names if name in kept.files), None)
                for ours, names in _NAMES.items()
            }
    except ValueError as error:
        # NumPy's word for an array of Python objects, which could run code when it is read.
        raise BadInput(
            f"“{called}” holds more than plain numbers and text, or is broken; "
            "save arrays of numbers with numpy.savez."
        ) from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, MemoryError) as error:
        raise BadInput(f"“{called}” is no .npz file that can be read.") from error


def _check_sizes(file: Path, called: str) -> None:
    """Raises BadInput for arrays that would take too much memory, before any is read."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    declared = sum(member.file_size for member in members)
    if declared > MAX_BYTES:
        raise BadInput(
            f"“{called}” would take {declared / 2**30:,.1f} GB; "
            f"at most {MAX_BYTES / 2**30:.0f} GB are read."
        )
    for member in members:
        grows = member.file_size > MAX_RATIO * max(member.compress_size, 1)
        if grows and member.file_size > _RATIO_FROM_BYTES:
            raise BadInput(
                f"“{member.filename}” in “{called}” would unpack from "
                f"{member.compress_size / 2**20:,.1f} MB to {member.file_size / 2**20:,.0f} MB; "
                "it was not unpacked."
            )


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
    if not all(MIN_SIZE <= side <= MAX_SIZE for side in array.shape[2:]):
        raise BadInput(
            f"Pictures in “{name}” are {array.shape[2]}×{array.shape[3]} pixels; "
            f"each side must have {MIN_SIZE}–{MAX_SIZE}."
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
    path, preparation = split_options(rest)
    return read_npz(path, preparation)[0]


add_path_source("npz", _open)
