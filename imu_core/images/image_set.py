"""The image set: training and test pictures, labels, class names; identified by content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from imu_core.errors import BadInput


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Training and test pictures of one classification problem, held in memory as uint8.

    An id is the position of a picture in `train_images`; ids never change for a given fingerprint.
    `source_ids` says which picture of the full source an id is, when the set is a subset of one.
    """

    name: str
    """The SPEC that opens the same set again, for example `digits` or `fashion-mnist:10000`."""
    title: str
    """The name on screen."""
    train_images: Tensor
    """uint8 (n, c, h, w)"""
    train_labels: Tensor
    """int64 (n,)"""
    test_images: Tensor
    """uint8 (m, c, h, w)"""
    test_labels: Tensor
    """int64 (m,)"""
    class_names: tuple[str, ...]
    source_ids: Tensor | None = field(default=None, repr=False)
    """int64 (n,), or None when the set is the whole source."""

    def __post_init__(self) -> None:
        for part, images, labels in (
            ("training", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            if images.dtype != torch.uint8 or images.ndim != 4:
                raise BadInput(f"The {part} pictures must be uint8 of shape (n, c, h, w).")
            if len(images) != len(labels):
                raise BadInput(f"{len(images)} {part} pictures came with {len(labels)} labels.")
            if len(images) == 0:
                raise BadInput(f"The image set “{self.name}” has no {part} pictures.")
            if int(labels.min()) < 0 or int(labels.max()) >= len(self.class_names):
                raise BadInput(
                    f"The {part} labels of “{self.name}” must lie in 0–{len(self.class_names) - 1}."
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise BadInput(f"Training and test pictures of “{self.name}” differ in size.")

    @property
    def n_train(self) -> int:
        return len(self.train_images)

    @property
    def n_test(self) -> int:
        return len(self.test_images)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        channels, height, width = self.train_images.shape[1:]
        return int(channels), int(height), int(width)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of pictures, labels, split and class names."""
        digest = hashlib.sha256()
        digest.update("\x1f".join(self.class_names).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str(tuple(array.shape)).encode())
            digest.update(array.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def pixel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation per channel of the training pictures, pixels scaled to 0–1."""
        channels = self.train_images.shape[1]
        sums, squares = (
            torch.zeros(channels, dtype=torch.float64),
            torch.zeros(channels, dtype=torch.float64),
        )
        for chunk in self.train_images.split(4096):
            pixels = chunk.double().div_(255)
            sums += pixels.sum((0, 2, 3))
            squares += pixels.square_().sum((0, 2, 3))
        count = self.train_images.numel() / channels
        mean = sums / count
        std = (squares / count - mean.square()).clamp_min(1e-8).sqrt()
        return tuple(mean.tolist()), tuple(std.tolist())

    def ids_of_class(self, label: int) -> Tensor:
        """Ids (int64, ascending) of the training pictures with this label."""
        return (self.train_labels == label).nonzero().flatten()
