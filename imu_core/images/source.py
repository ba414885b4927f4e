"""The registry of image sources, and opening an image set by its SPEC."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from imu_core.errors import BadInput, UnknownName
from imu_core.images.image_set import ImageSet

Progress = Callable[[int, int, str], None]

_MODULES = ("digits", "fashion_mnist", "torchvision_sets")
"""One module a source (or family of sources); each registers itself on import."""


@dataclass(frozen=True)
class ImageSource:
    """A place image sets come from, with what is known of it before it is opened."""

    name: str
    title: str
    sentence: str
    n_train: int
    n_test: int
    n_classes: int
    image_shape: tuple[int, int, int]
    needs_download: bool
    find: Callable[[], bool]
    """Whether the files are on this machine."""
    read: Callable[[bool, Progress | None], ImageSet]
    """(download, progress) → the whole set."""

    @property
    def available(self) -> bool:
        return self.find()


PathReader = Callable[[str, Progress | None], ImageSet]

_SOURCES: dict[str, ImageSource] = {}
_PATH_SOURCES: dict[str, PathReader] = {}


def add_source(source: ImageSource) -> None:
    """Puts a named source into the registry."""
    _SOURCES[source.name] = source


def add_path_source(prefix: str, read: PathReader) -> None:
    """Puts a kind of path into the registry, for specs such as `folder:PATH`."""
    _PATH_SOURCES[prefix] = read


@cache
def _load_all() -> None:
    for name in _MODULES:
        importlib.import_module(f"imu_core.images.{name}")


def image_sources() -> list[ImageSource]:
    """Every named source, in the order they are offered."""
    _load_all()
    return list(_SOURCES.values())


def open_image_set(
    spec: str, *, download: bool = False, progress: Progress | None = None
) -> ImageSet:
    """The image set of a SPEC: `digits`, `fashion-mnist:10000`, `folder:PATH`, `npz:PATH`.

    `name:count` is a stratified subset of the training pictures, `name:count:seed` another draw of
    it; the test pictures stay whole. Nothing is downloaded unless asked.
    """
    _load_all()
    name, _, rest = spec.strip().partition(":")
    if name in _PATH_SOURCES:
        if not rest:
            raise BadInput(f"“{spec}” names no path; write {name}:PATH.")
        return _PATH_SOURCES[name](rest, progress)
    if name not in _SOURCES:
        raise UnknownName("image set", name, [*_SOURCES, *(f"{p}:PATH" for p in _PATH_SOURCES)])
    count, seed = _count_and_seed(spec, rest) if rest else (None, 0)
    images = _SOURCES[name].read(download, progress)
    return images if count is None else stratified_subset(images, count, seed, spec.strip())


def _count_and_seed(spec: str, rest: str) -> tuple[int, int]:
    parts = rest.split(":")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise BadInput(
            f"“{spec}” is no image set: after the name come a count and, if wanted, a seed, "
            "for example fashion-mnist:10000 or fashion-mnist:10000:1."
        )
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else 0


def stratified_subset(images: ImageSet, count: int, seed: int, name: str) -> ImageSet:
    """`count` training pictures, every class with its share (largest remainder, at least one)."""
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
        source_ids=ids,
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
