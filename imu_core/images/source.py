"""The registry of image sources, and opening an image set by its SPEC."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from imu_core.errors import BadInput, UnknownName
from imu_core.images.image_set import ImageSet

Progress = Callable[[int, int, str], None]
Reader = Callable[[bool, Progress | None], ImageSet]
"""(download, progress) → the whole set."""

_MODULES = ("digits", "idx_sets", "torchvision_sets", "folder", "npz", "own_sets")
"""One module a source (or family of sources); each registers itself on import."""


@dataclass(frozen=True)
class ImageSource:
    """What is known of an image set before it is opened."""

    name: str
    title: str
    sentence: str
    n_train: int
    n_test: int
    n_classes: int
    image_shape: tuple[int, int, int]
    needs_download: bool
    available: bool = False
    """Whether the files are on this machine."""


@dataclass(frozen=True)
class _Entry:
    about: ImageSource
    find: Callable[[], bool]
    read: Reader


PathReader = Callable[[str, Progress | None], ImageSet]

_SOURCES: dict[str, _Entry] = {}
_PATH_SOURCES: dict[str, PathReader] = {}


def add_source(about: ImageSource, *, find: Callable[[], bool], read: Reader) -> None:
    """Puts a named source into the registry; `find` says whether its files are here."""
    _SOURCES[about.name] = _Entry(about, find, read)


def add_path_source(prefix: str, read: PathReader) -> None:
    """Puts a kind of path into the registry, for specs such as `folder:PATH`."""
    _PATH_SOURCES[prefix] = read


@cache
def _load_all() -> None:
    for name in _MODULES:
        importlib.import_module(f"imu_core.images.{name}")


def _sources() -> dict[str, _Entry]:
    """Name → source, in the same order whichever module was imported first."""
    _load_all()
    entries = sorted(
        _SOURCES.items(), key=lambda item: (item[1].about.needs_download, item[1].about.image_shape)
    )
    return dict(entries)


def image_sources() -> list[ImageSource]:
    """Every named source, in the order they are offered: what is always there, then by size."""
    return [replace(entry.about, available=entry.find()) for entry in _sources().values()]


def open_image_set(
    spec: str, *, download: bool = False, progress: Progress | None = None
) -> ImageSet:
    """The image set of a SPEC: `digits`, `fashion-mnist:10000`, `folder:PATH`, `npz:PATH`.

    `name:count` is a stratified subset of the training pictures, `name:count:seed` another draw of
    it; the test pictures stay whole. Nothing is downloaded unless asked.
    """
    _load_all()
    name, colon, rest = spec.strip().partition(":")
    if name in _PATH_SOURCES:
        if not rest:
            raise BadInput(f"“{spec}” names no path; write {name}:PATH.")
        return _PATH_SOURCES[name](rest, progress)
    if name not in _SOURCES:
        raise UnknownName("image set", name, [*_sources(), *(f"{p}:PATH" for p in _PATH_SOURCES)])
    part = _count_and_seed(spec, rest) if colon else None
    images = _SOURCES[name].read(download, progress)
    return images if part is None else stratified_subset(images, *part)


def _count_and_seed(spec: str, rest: str) -> tuple[int, int]:
    parts = rest.split(":")
    # 18 digits: the generator takes no seed beyond 64 bits.
    if len(parts) > 2 or not all(re.fullmatch("[0-9]{1,18}", part) for part in parts):
        raise BadInput(
            f"“{spec}” is no image set: after the name come a count and, if wanted, a seed, "
            "for example fashion-mnist:10000 or fashion-mnist:10000:1."
        )
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else 0


def stratified_subset(images: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """`count` training pictures, every class with its share (largest remainder, at least one)."""
    name = f"{images.name}:{count}" + (f":{seed}" if seed else "")
    if not images.n_classes <= count <= images.n_train:
        raise BadInput(
            f"“{name}” asks for {count:,} training pictures; {images.title} allows from "
            f"{images.n_classes} (one a class) to {images.n_train:,}."
        )
    if count == images.n_train:
        return images
    generator = torch.Generator().manual_seed(seed)
    shares = quotas(torch.bincount(images.train_labels, minlength=images.n_classes), count)
    chosen = []
    for label, quota in enumerate(shares.tolist()):
        ids = images.ids_of_class(label)
        chosen.append(ids[torch.randperm(len(ids), generator=generator)[:quota]])
    ids = torch.cat(chosen).sort().values
    return ImageSet(
        name=name,
        title=f"{images.title}, {count:,} of {images.n_train:,}",
        train_images=images.train_images[ids],
        train_labels=images.train_labels[ids],
        test_images=images.test_images,
        test_labels=images.test_labels,
        class_names=images.class_names,
        source_ids=ids if images.source_ids is None else images.source_ids[ids],
    )


def quotas(counts: Tensor, total: int) -> Tensor:
    """Whole numbers that add up to `total`, in proportion to `counts`, at least 1 for each."""
    exact = counts.double() * total / counts.sum()
    shares = torch.maximum(exact.floor().long(), (counts > 0).long())
    while int(shares.sum()) != total:
        short = int(shares.sum()) < total
        gap = exact - shares if short else shares - exact
        gap[(shares >= counts) if short else (shares <= 1)] = -torch.inf
        shares[gap.argmax()] += 1 if short else -1
    return shares
