"""MNIST and its kin, kept as IDX files: Fashion-MNIST, MNIST, Kuzushiji-MNIST.

The files are read here, gzipped or not; torchvision is imported for its addresses alone, when a
download is asked for.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import MissingData
from imu_core.images.download import data_folder, fetch
from imu_core.images.image_set import ImageSet
from imu_core.images.source import ImageSource, Progress, add_source

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
UNSIGNED_BYTES = b"\x00\x00\x08"


def read_idx(path: Path) -> Tensor:
    """The uint8 array of an IDX file, gzipped or not; a damaged one is a `MissingData`."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        n_dimensions = raw[3]
        shape = np.frombuffer(raw, ">u4", n_dimensions, offset=4).tolist()
        values = np.frombuffer(raw, np.uint8, offset=4 + 4 * n_dimensions)
        if raw[:3] != UNSIGNED_BYTES or len(values) != math.prod(shape):
            raise ValueError("not an IDX file of unsigned bytes, or cut short")
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise MissingData(
            f"“{path}” is damaged; delete it and install or download it again."
        ) from error
    return torch.from_numpy(values.reshape(shape).copy())


def _file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


@dataclass(frozen=True)
class IdxSet:
    """One image set of four IDX files and where they may lie."""

    name: str
    title: str
    sentence: str
    kind: str
    """torchvision's name for it."""
    class_names: tuple[str, ...]
    package: str = ""
    """The Debian package that installs the files into `packaged`."""
    packaged: Path | None = None

    def folders(self) -> list[Path]:
        """Where the four files may be; the first folder that has them all is read."""
        own = data_folder() / self.kind / "raw"
        return [own] if self.packaged is None else [self.packaged, own]

    def paths(self) -> list[Path] | None:
        """The four files, or None where they are not on this machine."""
        for folder in self.folders():
            paths = [path for name in FILES if (path := _file(folder, name)) is not None]
            if len(paths) == len(FILES):
                return paths
        return None

    def advice(self) -> str:
        """A sentence that says which files go where."""
        install = (
            f"Install it with `apt-get install {self.package}`, or put " if self.package else ""
        )
        names = ", ".join(f"{name}.gz" for name in FILES)
        return f"{install or 'Put '}{names} into {self.folders()[-1]}."

    def read(self, download: bool, progress: Progress | None) -> ImageSet:
        """The whole set; 60,000 training and 10,000 test pictures."""
        if self.paths() is None and download:
            fetch(self.kind, progress, self.advice())
        paths = self.paths()
        if paths is None:
            raise MissingData(
                f"{self.title} is not on this machine. {self.advice()} Or ask for the download."
            )
        train_images, train_labels, test_images, test_labels = map(read_idx, paths)
        return ImageSet(
            name=self.name,
            title=self.title,
            train_images=train_images[:, None],
            train_labels=train_labels.long(),
            test_images=test_images[:, None],
            test_labels=test_labels.long(),
            class_names=self.class_names,
        )


IDX_SETS = (
    IdxSet(
        "fashion-mnist",
        "Fashion-MNIST",
        "70,000 photographs of clothing in ten classes, 28×28 pixels, grey.",
        "FashionMNIST",
        (
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
        ),
        "dataset-fashion-mnist",
        DEBIAN_FOLDER,
    ),
    IdxSet(
        "mnist",
        "MNIST",
        "70,000 handwritten digits, 28×28 pixels, grey.",
        "MNIST",
        tuple(str(label) for label in range(10)),
    ),
    IdxSet(
        "kmnist",
        "Kuzushiji-MNIST",
        "70,000 handwritten Japanese characters in ten classes, 28×28 pixels, grey.",
        "KMNIST",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
)


def _add(one: IdxSet) -> None:
    about = ImageSource(
        name=one.name,
        title=one.title,
        sentence=one.sentence,
        n_train=60_000,
        n_test=10_000,
        n_classes=len(one.class_names),
        image_shape=(1, 28, 28),
        needs_download=True,
    )
    add_source(about, find=lambda: one.paths() is not None, read=one.read)


for _one in IDX_SETS:
    _add(_one)
