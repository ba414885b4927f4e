"""The image sets that torchvision knows how to fetch and read: MNIST and its kin, CIFAR, SVHN."""

from __future__ import annotations

import http.client
import os
import pickle
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import MissingData
from imu_core.images.image_set import ImageSet
from imu_core.images.source import ImageSource, Progress, add_source

CHUNK_BYTES = 1 << 18
TIMEOUT_S = 20
DIGITS = tuple(str(label) for label in range(10))
COARSE_NAMES = (
    "aquatic mammals",
    "fish",
    "flowers",
    "food containers",
    "fruit and vegetables",
    "household electrical devices",
    "household furniture",
    "insects",
    "large carnivores",
    "large man-made outdoor things",
    "large natural outdoor scenes",
    "large omnivores and herbivores",
    "medium mammals",
    "non-insect invertebrates",
    "people",
    "reptiles",
    "small mammals",
    "trees",
    "vehicles 1",
    "vehicles 2",
)


def data_folder() -> Path:
    """Where downloaded image sets lie: IMU_DATA, or ./data."""
    return Path(os.environ.get("IMU_DATA") or "data")


def _class(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)


def _files(name: str) -> list[tuple[list[str], Path, str]]:
    """Addresses, place and MD5 of each file that torchvision would download for a data set."""
    kind, root = _class(name), data_folder()
    if hasattr(kind, "resources"):
        folder = root / name / "raw"
        return [
            ([mirror + file for mirror in kind.mirrors], folder / file, md5)
            for file, md5 in kind.resources
        ]
    if hasattr(kind, "split_list"):
        parts = [kind.split_list[split] for split in ("train", "test")]
        return [([url], root / file, md5) for url, file, md5 in parts]
    return [([kind.url], root / kind.filename, kind.tgz_md5)]


def fetch(name: str, progress: Progress | None = None) -> None:
    """Downloads the files of a data set that are not there yet; no network is a `MissingData`."""
    from torchvision.datasets.utils import check_integrity

    files = _files(name)
    for number, (addresses, path, md5) in enumerate(files, start=1):
        if check_integrity(str(path), md5):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"Downloading {path.name} ({number} of {len(files)})"
        if not any(_download(address, path, text, progress) for address in addresses):
            raise MissingData(
                f"{path.name} could not be downloaded: there is no connection to its server. "
                f"{_where(name)}"
            )
        if not check_integrity(str(path), md5):
            path.unlink()
            raise MissingData(f"The download of {path.name} came damaged; try it again.")


def _download(address: str, path: Path, text: str, progress: Progress | None) -> bool:
    """Whether the file came; it is renamed into its place only when whole."""
    part = path.with_name(path.name + ".part")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer, part.open("wb") as file:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, max(total, done), text)
        part.replace(path)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError):
        part.unlink(missing_ok=True)
        return False
    return True


def _where(name: str) -> str:
    names = ", ".join(path.name for _, path, _ in _files(name))
    return f"Put {names} into {_files(name)[0][1].parent}."


def _open(name: str, download: bool, progress: Progress | None, **split: Any) -> Any:
    """torchvision's data set object; files that are missing or damaged are a `MissingData`."""
    if download:
        fetch(name, progress)
    try:
        # With the files in place, download=True unpacks and checks them and fetches nothing.
        return _class(name)(str(data_folder()), download=_present(name), **split)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise MissingData(
            f"{name} is not on this machine, or its files are damaged. {_where(name)} "
            "Or ask for the download."
        ) from error


def _present(name: str) -> bool:
    return all(path.is_file() for _, path, _ in _files(name))


def _found(name: str) -> bool:
    folder = data_folder()
    unpacked = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}.get(name)
    return _present(name) or (unpacked is not None and (folder / unpacked).is_dir())


def _pictures(data: Any) -> Tensor:
    """uint8 (n, c, h, w) from torchvision's array, whose layout differs from set to set."""
    array = torch.as_tensor(np.asarray(data))
    if array.ndim == 3:
        return array[:, None].contiguous()
    channels_first = array.shape[1] == 3
    return (array if channels_first else array.permute(0, 3, 1, 2)).contiguous()


def _mnist_like(name: str, title: str, kind: str, class_names: tuple[str, ...]) -> Callable:
    def read(download: bool, progress: Progress | None) -> ImageSet:
        train, test = (_open(kind, download, progress, train=part) for part in (True, False))
        return ImageSet(
            name=name,
            title=title,
            train_images=_pictures(train.data),
            train_labels=torch.as_tensor(train.targets).long(),
            test_images=_pictures(test.data),
            test_labels=torch.as_tensor(test.targets).long(),
            class_names=class_names or tuple(n.replace("_", " ") for n in train.classes),
        )

    return read


def _svhn(download: bool, progress: Progress | None) -> ImageSet:
    train, test = (_open("SVHN", download, progress, split=part) for part in ("train", "test"))
    return ImageSet(
        name="svhn",
        title="SVHN",
        train_images=_pictures(train.data),
        train_labels=torch.as_tensor(train.labels).long(),
        test_images=_pictures(test.data),
        test_labels=torch.as_tensor(test.labels).long(),
        class_names=DIGITS,
    )


def _cifar100_coarse(download: bool, progress: Progress | None) -> ImageSet:
    """CIFAR-100 under its twenty coarse labels, which torchvision leaves out."""
    fine = _mnist_like("cifar100", "CIFAR-100", "CIFAR100", ())(download, progress)
    folder = data_folder() / "cifar-100-python"
    labels = []
    for part in ("train", "test"):
        # torchvision has just checked these files against their published MD5.
        with (folder / part).open("rb") as file:
            labels.append(torch.tensor(pickle.load(file, encoding="latin1")["coarse_labels"]))
    return ImageSet(
        name="cifar100-coarse",
        title="CIFAR-100, coarse labels",
        train_images=fine.train_images,
        train_labels=labels[0].long(),
        test_images=fine.test_images,
        test_labels=labels[1].long(),
        class_names=COARSE_NAMES,
    )


def _add(
    name: str,
    title: str,
    sentence: str,
    kind: str,
    read: Callable,
    sizes: tuple[int, int, int, tuple[int, int, int]],
) -> None:
    n_train, n_test, n_classes, shape = sizes
    add_source(
        ImageSource(
            name=name,
            title=title,
            sentence=sentence,
            n_train=n_train,
            n_test=n_test,
            n_classes=n_classes,
            image_shape=shape,
            needs_download=True,
            find=lambda: _found(kind),
            read=read,
        )
    )


_add(
    "mnist",
    "MNIST",
    "70,000 handwritten digits, 28×28 pixels, grey.",
    "MNIST",
    _mnist_like("mnist", "MNIST", "MNIST", DIGITS),
    (60_000, 10_000, 10, (1, 28, 28)),
)
_add(
    "kmnist",
    "Kuzushiji-MNIST",
    "70,000 handwritten Japanese characters in ten classes, 28×28 pixels, grey.",
    "KMNIST",
    _mnist_like("kmnist", "Kuzushiji-MNIST", "KMNIST", ()),
    (60_000, 10_000, 10, (1, 28, 28)),
)
_add(
    "cifar10",
    "CIFAR-10",
    "60,000 photographs in ten classes, 32×32 pixels, colour.",
    "CIFAR10",
    _mnist_like("cifar10", "CIFAR-10", "CIFAR10", ()),
    (50_000, 10_000, 10, (3, 32, 32)),
)
_add(
    "cifar100",
    "CIFAR-100",
    "60,000 photographs in a hundred classes, 32×32 pixels, colour.",
    "CIFAR100",
    _mnist_like("cifar100", "CIFAR-100", "CIFAR100", ()),
    (50_000, 10_000, 100, (3, 32, 32)),
)
_add(
    "cifar100-coarse",
    "CIFAR-100, coarse labels",
    "The same 60,000 photographs under twenty coarse labels.",
    "CIFAR100",
    _cifar100_coarse,
    (50_000, 10_000, 20, (3, 32, 32)),
)
_add(
    "svhn",
    "SVHN",
    "99,289 photographs of house-number digits, 32×32 pixels, colour.",
    "SVHN",
    _svhn,
    (73_257, 26_032, 10, (3, 32, 32)),
)
