"""Fashion-MNIST: 70,000 articles of clothing, from Debian's package or torchvision's folder."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import MissingData
from imu_core.images.image_set import ImageSet
from imu_core.images.source import ImageSource, Progress, add_source
from imu_core.images.torchvision_sets import data_folder, fetch

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def folders() -> list[Path]:
    """Where the four files may be, the first that has them is read."""
    return [DEBIAN_FOLDER, data_folder() / "FashionMNIST" / "raw"]


def _found() -> Path | None:
    return next((f for f in folders() if (f / "train-images-idx3-ubyte.gz").is_file()), None)


def read_idx(path: Path) -> Tensor:
    """The uint8 array of a gzipped IDX file; a damaged one is a `MissingData`."""
    try:
        raw = gzip.decompress(path.read_bytes())
        n_dimensions = raw[3]
        shape = np.frombuffer(raw, ">i4", n_dimensions, 4).tolist()
        values = np.frombuffer(raw, np.uint8, int(np.prod(shape)), 4 + 4 * n_dimensions)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise MissingData(f"{path} is missing or damaged; install or download it again.") from error
    return torch.from_numpy(values.reshape(shape).copy())


def read(download: bool = False, progress: Progress | None = None) -> ImageSet:
    """60,000 training and 10,000 test pictures."""
    if _found() is None and download:
        fetch("FashionMNIST", progress)
    folder = _found()
    if folder is None:
        raise MissingData(
            "Fashion-MNIST is not on this machine. Install it with `apt-get install "
            "dataset-fashion-mnist`, or put its four .gz files (train-images-idx3-ubyte.gz and so "
            f"on) into {folders()[1]}, or ask for the download."
        )
    return ImageSet(
        name="fashion-mnist",
        title="Fashion-MNIST",
        train_images=read_idx(folder / "train-images-idx3-ubyte.gz")[:, None],
        train_labels=read_idx(folder / "train-labels-idx1-ubyte.gz").long(),
        test_images=read_idx(folder / "t10k-images-idx3-ubyte.gz")[:, None],
        test_labels=read_idx(folder / "t10k-labels-idx1-ubyte.gz").long(),
        class_names=CLASS_NAMES,
    )


add_source(
    ImageSource(
        name="fashion-mnist",
        title="Fashion-MNIST",
        sentence="70,000 photographs of clothing in ten classes, 28×28 pixels, grey.",
        n_train=60_000,
        n_test=10_000,
        n_classes=10,
        image_shape=(1, 28, 28),
        needs_download=True,
        find=lambda: _found() is not None,
        read=read,
    )
)
