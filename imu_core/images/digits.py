"""Digits: scikit-learn's 1,797 real handwritten digits, 8×8, always there."""

from __future__ import annotations

import torch

from imu_core.images.image_set import ImageSet
from imu_core.images.source import ImageSource, Progress, add_source

N_TEST = 360


def read(download: bool = False, progress: Progress | None = None) -> ImageSet:
    """1,437 training and 360 test pictures; the split is stratified and always the same."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    # Pixels come as 0–16.
    images = torch.from_numpy(data.images).mul(255 / 16).round().byte()[:, None]
    labels = torch.from_numpy(data.target).long()
    train, test = train_test_split(
        range(len(labels)), test_size=N_TEST, random_state=0, stratify=data.target
    )
    train, test = sorted(train), sorted(test)
    return ImageSet(
        name="digits",
        title="Digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple(str(label) for label in range(10)),
        source_ids=torch.tensor(train),
    )


add_source(
    ImageSource(
        name="digits",
        title="Digits",
        sentence="1,797 real handwritten digits, 8×8 pixels, grey; part of scikit-learn.",
        n_train=1437,
        n_test=N_TEST,
        n_classes=10,
        image_shape=(1, 8, 8),
        needs_download=False,
        find=lambda: True,
        read=read,
    )
)
