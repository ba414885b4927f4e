"""The colour image sets that torchvision reads: CIFAR-10, CIFAR-100 (fine and coarse), SVHN."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import MissingData
from imu_core.images.download import data_folder, fetch, remote_files, torchvision_class
from imu_core.images.image_set import ImageSet
from imu_core.images.source import ImageSource, Progress, add_source

# Where torchvision keeps each set: known here so that looking for it does not import torchvision.
_PLACES = {
    "CIFAR10": (("cifar-10-batches-py/batches.meta",), ("cifar-10-python.tar.gz",)),
    "CIFAR100": (("cifar-100-python/meta",), ("cifar-100-python.tar.gz",)),
    "SVHN": (("train_32x32.mat", "test_32x32.mat"),),
}
_BROKEN = (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError)


def found(kind: str) -> bool:
    """Whether the files of torchvision's `kind` are here, unpacked or as they are downloaded."""
    folder = data_folder()
    return any(all((folder / file).is_file() for file in files) for files in _PLACES[kind])


def advice(kind: str) -> str:
    """A sentence that says which files go where."""
    return f"Put {' and '.join(_PLACES[kind][-1])} into {data_folder()}."


def _open(kind: str, download: bool, progress: Progress | None, **part: Any) -> Any:
    """torchvision's data set object; files that are missing or damaged are a `MissingData`."""
    # CIFAR's pickles are older than numpy's present rules and draw warnings nobody can act on.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torchvision_class(kind)(str(data_folder()), **part)
        except _BROKEN:
            # Not there, not unpacked, or damaged: torchvision does not say which.
            pass
        if download:
            fetch(kind, progress, advice(kind))
        try:
            # torchvision unpacks under download=True alone, and would fetch a damaged file anew:
            # with the published content in place it has nothing to fetch.
            if all(file.is_whole() for file in remote_files(kind)):
                return torchvision_class(kind)(str(data_folder()), download=True, **part)
        except _BROKEN as error:
            raise MissingData(f"{kind} cannot be unpacked: {error}.") from error
    here = "is damaged" if found(kind) else "is not on this machine"
    raise MissingData(f"{kind} {here}. {advice(kind)} Or ask for the download.")


def _pictures(data: np.ndarray) -> Tensor:
    """uint8 (n, c, h, w) from pictures whose colours come last or, in SVHN, first."""
    array = torch.from_numpy(np.ascontiguousarray(data))
    return (array if array.shape[1] == 3 else array.permute(0, 3, 1, 2)).contiguous()


def read_cifar(name: str, title: str, kind: str, download: bool, progress: Progress | None):
    """CIFAR-10, or CIFAR-100 under its hundred fine labels."""
    train, test = (_open(kind, download, progress, train=part) for part in (True, False))
    return ImageSet(
        name=name,
        title=title,
        train_images=_pictures(train.data),
        train_labels=torch.tensor(train.targets),
        test_images=_pictures(test.data),
        test_labels=torch.tensor(test.targets),
        class_names=tuple(name.replace("_", " ") for name in train.classes),
    )


def read_cifar100_coarse(download: bool, progress: Progress | None) -> ImageSet:
    """CIFAR-100 under its twenty coarse labels, which torchvision leaves out."""
    fine = read_cifar("cifar100", "CIFAR-100", "CIFAR100", download, progress)
    kind = torchvision_class("CIFAR100")
    train, test, meta = (
        _entries(kind, file)
        for file in (kind.train_list[0][0], kind.test_list[0][0], kind.meta["filename"])
    )
    return ImageSet(
        name="cifar100-coarse",
        title="CIFAR-100, coarse labels",
        train_images=fine.train_images,
        train_labels=torch.tensor(train["coarse_labels"]),
        test_images=fine.test_images,
        test_labels=torch.tensor(test["coarse_labels"]),
        class_names=tuple(name.replace("_", " ") for name in meta["coarse_label_names"]),
    )


def _entries(kind: Any, file: str) -> dict[str, Any]:
    """What one of CIFAR's pickles holds; torchvision has just checked it against its MD5."""
    with warnings.catch_warnings(), (data_folder() / kind.base_folder / file).open("rb") as stream:
        warnings.simplefilter("ignore")
        return pickle.load(stream, encoding="latin1")


def read_svhn(download: bool, progress: Progress | None) -> ImageSet:
    """SVHN without its extra part."""
    train, test = (_open("SVHN", download, progress, split=part) for part in ("train", "test"))
    return ImageSet(
        name="svhn",
        title="SVHN",
        train_images=_pictures(train.data),
        train_labels=torch.from_numpy(train.labels).long(),
        test_images=_pictures(test.data),
        test_labels=torch.from_numpy(test.labels).long(),
        class_names=tuple(str(label) for label in range(10)),
    )


def _about(name: str, title: str, sentence: str, n_train: int, n_test: int, n_classes: int):
    return ImageSource(
        name=name,
        title=title,
        sentence=sentence,
        n_train=n_train,
        n_test=n_test,
        n_classes=n_classes,
        image_shape=(3, 32, 32),
        needs_download=True,
    )


add_source(
    _about(
        "cifar10",
        "CIFAR-10",
        "60,000 photographs in ten classes, 32×32 pixels, colour.",
        50_000,
        10_000,
        10,
    ),
    find=lambda: found("CIFAR10"),
    read=lambda *how: read_cifar("cifar10", "CIFAR-10", "CIFAR10", *how),
)
add_source(
    _about(
        "cifar100",
        "CIFAR-100",
        "60,000 photographs in a hundred classes, 32×32 pixels, colour.",
        50_000,
        10_000,
        100,
    ),
    find=lambda: found("CIFAR100"),
    read=lambda *how: read_cifar("cifar100", "CIFAR-100", "CIFAR100", *how),
)
add_source(
    _about(
        "cifar100-coarse",
        "CIFAR-100, coarse labels",
        "The same 60,000 photographs under twenty coarse labels.",
        50_000,
        10_000,
        20,
    ),
    find=lambda: found("CIFAR100"),
    read=read_cifar100_coarse,
)
add_source(
    _about(
        "svhn",
        "SVHN",
        "99,289 photographs of house-number digits, 32×32 pixels, colour.",
        73_257,
        26_032,
        10,
    ),
    find=lambda: found("SVHN"),
    read=read_svhn,
)
