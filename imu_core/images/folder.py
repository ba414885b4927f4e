"""A person's own pictures: a folder that holds one folder a class, or a zip of such a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from imu_core.errors import BadInput, MissingData
from imu_core.images.decoding import SUFFIXES, decode_files
from imu_core.images.download import data_folder
from imu_core.images.image_set import ImageSet
from imu_core.images.preparation import Preparation, spec_of, split_options
from imu_core.images.reading import (
    AS_GIVEN,
    DRAWN,
    ReadingReport,
    load_kept,
    readable,
    store_kept,
)
from imu_core.images.source import Progress, add_path_source
from imu_core.images.splitting import drawn_split
from imu_core.images.upload import unpack_zip

_TRAIN, _TEST = ("train", "training"), ("test", "val", "valid", "validation")
_CACHE_VERSION = 2


class _Entry(NamedTuple):
    """One picture file: its class, its name below the folder, and which part it belongs to."""

    label: str
    name: str
    part: str
    size: int
    modified: int


def read_folder(
    path: str | Path,
    preparation: Preparation | None = None,
    *,
    name: str | None = None,
    title: str | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> tuple[ImageSet, ReadingReport]:
    """The pictures of a folder or zip, all of one size, and what was left out.

    Folders named train and test (or val) at the top are taken as the split; otherwise a part of
    each class is drawn for testing by seed. Kept in `cache` under the names, sizes and times of
    the files, so that opening again reads one file.
    """
    preparation = preparation or Preparation()
    unpacked = _unpacked(path, progress)
    root = _inner(unpacked)
    entries = _scan(root)
    if not entries:
        raise BadInput(
            f"No picture lies in a folder of “{title or readable(root.name)}”; "
            "put the pictures of each class (.png, .jpg and the like) into a folder named after it."
        )
    file = (cache or data_folder() / "cache") / f"{_cache_key(entries, preparation)}.npz"
    stored = load_kept(file)
    if stored is None:
        arrays, class_names, report = _decode(root, entries, preparation, progress)
        store_kept(file, arrays, {"class_names": class_names, "report": report.to_dict()})
    else:
        arrays, facts = stored
        class_names, report = facts["class_names"], ReadingReport.from_dict(facts["report"])
    made = [] if cache else [f"cache/{file.name}"]
    made += [f"uploads/{unpacked.name}"] if unpacked != Path(path).expanduser() else []
    images = ImageSet(
        name=name or spec_of("folder", str(path), preparation),
        title=title or readable(Path(path).stem),
        class_names=tuple(class_names),
        **{key: torch.from_numpy(value) for key, value in arrays.items()},
    )
    return images, replace(report, kept=tuple(made))


def _unpacked(path: str | Path, progress: Progress | None) -> Path:
    """The folder itself, or the one a zip has been unpacked to."""
    root = Path(path).expanduser()
    if root.is_file() and root.suffix.lower() == ".zip":
        return unpack_zip(root, data_folder() / "uploads", progress=progress)
    if not root.is_dir():
        raise MissingData(f"There is no folder “{path}”; give one that holds a folder a class.")
    return root


def _inner(root: Path) -> Path:
    """The folder that holds the class folders: a zip often wraps all in one more folder."""
    for _ in range(3):
        inside = [Path(e.path) for e in os.scandir(root) if e.is_dir() and not _is_hidden(e.name)]
        if len(inside) != 1 or not any(child.is_dir() for child in inside[0].iterdir()):
            break
        root = inside[0]
    return root


def _is_hidden(name: str) -> bool:
    """Whether a system or program made this folder for itself, as __MACOSX."""
    return name.startswith((".", "__"))


def _scan(root: Path) -> list[_Entry]:
    """All picture files below class folders, in the order of their names."""
    top = {entry.name.lower(): entry.name for entry in os.scandir(root) if entry.is_dir()}
    trains = [top[name] for name in _TRAIN if name in top]
    tests = [top[name] for name in _TEST if name in top]
    if not (trains and tests):
        found = _scan_part(root, "", "")
    else:
        found = [entry for name in trains for entry in _scan_part(root, f"{name}/", "train")]
        found += [entry for name in tests for entry in _scan_part(root, f"{name}/", "test")]
    return sorted(found) if any(entry.name for entry in found) else []


def _scan_part(root: Path, below: str, part: str) -> list[_Entry]:
    """The files of the class folders in root/below, one nameless entry for a class without any."""
    found = []
    for one_class in os.scandir(root / below):
        if not one_class.is_dir() or _is_hidden(one_class.name):
            continue
        files = list(_pictures_below(one_class.path, f"{below}{one_class.name}/"))
        for name, facts in files or [("", None)]:
            size, modified = (facts.st_size, facts.st_mtime_ns) if facts else (-1, 0)
            found.append(_Entry(readable(one_class.name), name, part, size, modified))
    return found


def _pictures_below(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Names and facts of the picture files in a folder and its folders.

    Works on text: an object for each of 50,000 paths would take longer than all the rest.
    """
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _pictures_below(entry.path, f"{prefix}{entry.name}/")
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
            yield prefix + entry.name, entry.stat()


def _decode(
    root: Path, entries: list[_Entry], preparation: Preparation, progress: Progress | None
) -> tuple[dict[str, np.ndarray], list[str], ReadingReport]:
    """The arrays of an ImageSet, its class names, and what was left out."""
    files = [entry for entry in entries if entry.name]
    paths = [root / entry.name for entry in files]
    pixels, broken = decode_files(paths, preparation.size, progress, colour=preparation.colour)
    kept = np.array([place for place in range(len(files)) if place not in broken], dtype=np.int64)
    counts = Counter(files[place].label for place in kept)
    class_names = sorted(counts)
    given = bool(entries[0].part)
    _check_classes(class_names, files, kept, given, n_broken=len(broken))
    position = {name: place for place, name in enumerate(class_names)}
    labels = torch.tensor([position[files[place].label] for place in kept])
    if given:
        is_test = torch.tensor([files[place].part == "test" for place in kept])
    else:
        share, seed = preparation.test_share, preparation.seed
        is_test = drawn_split(labels, len(class_names), seed=seed, share=share)
    report = ReadingReport(
        n_read=len(kept),
        n_broken=len(broken),
        broken=tuple((readable(files[place].name), why) for place, why in sorted(broken.items())),
        empty_classes=tuple(sorted({entry.label for entry in entries} - set(class_names))),
        split=AS_GIVEN if given else DRAWN,
        single_classes=tuple(name for name in class_names if counts[name] == 1),
        test_share=preparation.test_share,
    )
    test = is_test.numpy()
    arrays = {
        "train_images": pixels[kept[~test]],
        "train_labels": labels[~is_test].numpy(),
        "test_images": pixels[kept[test]],
        "test_labels": labels[is_test].numpy(),
    }
    return arrays, class_names, report


def _check_classes(
    class_names: list[str], files: list[_Entry], kept: np.ndarray, given: bool, *, n_broken: int
) -> None:
    if not class_names:
        raise BadInput(
            f"None of the {n_broken:,} files could be read as a picture."
            if n_broken
            else "The folders of the classes hold no pictures (.png, .jpg and the like)."
        )
    if len(class_names) < 2:
        raise BadInput(
            f"All pictures are in one class, “{class_names[0]}”; a classifier needs at least two."
        )
    if not given:
        return
    train, test = ({files[k].label for k in kept if files[k].part == p} for p in ("train", "test"))
    unseen = sorted(test - train)
    if unseen:
        raise BadInput(f"The class “{unseen[0]}” is in the test folder and not among the training.")
    if not test:
        raise BadInput(
            "The test folder holds no picture that can be read; put its pictures into folders "
            "named after the classes, or take it away to have a part drawn."
        )


def _cache_key(entries: list[_Entry], preparation: Preparation) -> str:
    rows = [f"{_CACHE_VERSION}|{preparation.options}"]
    rows += ["\x1f".join(map(str, entry)) for entry in entries]
    return sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _open(rest: str, progress: Progress | None) -> ImageSet:
    path, preparation = split_options(rest)
    return read_folder(path, preparation, progress=progress)[0]


add_path_source("folder", _open)
