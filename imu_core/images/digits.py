"""Digits: scikit-learn's 1,797 real handwritten digits, 8×8, always there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from imu_core.images.image_set import ImageSet
from imu_core.images.source import ImageSource, Progress, add_source, quotas

N_TEST = 360


def read(download: bool = False, progress: Progress | None = None) -> ImageSet:
    """1,437 training and 360 test pictures; the split is stratified and always the same."""
    table = torch.from_numpy(_table())
    # Pixels come as 0–16.
    images = table[:, :-1].mul(255 / 16).round().byte().view(-1, 1, 8, 8)
    labels = table[:, -1].long()
    generator = torch.Generator().manual_seed(0)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label, quota in enumerate(quotas(torch.bincount(labels), N_TEST).tolist()):
        rows = (labels == label).nonzero().flatten()
        is_test[rows[torch.randperm(len(rows), generator=generator)[:quota]]] = True
    return ImageSet(
        name="digits",
        title="Digits",
        train_images=images[~is_test],
        train_labels=labels[~is_test],
        test_images=images[is_test],
        test_labels=labels[is_test],
        class_names=tuple(str(label) for label in range(10)),
        source_ids=(~is_test).nonzero().flatten(),
    )


def _table() -> np.ndarray:
    """float64 (1797, 65): 64 pixels and the label of each picture.

    scikit-learn's file is read directly: importing its loader takes seconds on a cold start.
    """
    package = importlib.util.find_spec("sklearn")
    if package is not None and package.submodule_search_locations:
        file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.column_stack([data.data, data.target])


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
    ),
    find=lambda: True,
    read=read,
)
