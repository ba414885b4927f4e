"""A person's own pictures: a folder that holds one folder a class, or a zip of such a folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from imu_core.errors import BadInput, MissingData
from imu_core.images.decoding import MAX_SIZE, SUFFIXES, decode_files
from imu_core.images.download import data_folder
from imu_core.images.image_set import ImageSet
from imu_core.images.source import Progress, add_path_source
from imu_core.images.splitting import drawn_split
from imu_core.images.upload import unpack_zip

DEFAULT_SIZE = 32
_TRAIN, _TEST = ("train", "training"), ("test", "val", "valid", "validation")
_CACHE_VERSION = 1
_BROKEN_NAMED = 200


@dataclass(frozen=True)
class FolderReport:
    """What was found in a folder besides the pictures that were taken."""

    n_read: int
    n_broken: int
    broken: tuple[tuple[str, str], ...]
    """(file, why) of the first 200 that were left out."""
    empty_classes: tuple[str, ...]
    """Folders without a picture that could be read; they are no classes."""
    split: str
    """`as given` or `drawn by seed`."""

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        parts = [f"{self.n_read:,} pictures read"]
        if self.n_broken:
            parts.append(f"{self.n_broken:,} files left out")
        if self.empty_classes:
            names = ", ".join(f"“{name}”" for name in self.empty_classes)
            parts.append(f"no picture in {names}")
        drawn = self.split != "as given"
        parts.append("a fifth drawn for testing" if drawn else "train and test as given")
        return "; ".join(parts) + "."


class _Entry(NamedTuple):
    """One picture file: its class, its name below the folder, and which part it belongs to."""

    label: str
    name: str
    part: str
    size: int
    modified: int


def read_folder(
    path: str | Path,
    *,
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> tuple[ImageSet, FolderReport]:
    """The pictures of a folder or zip, brought to size × size pixels, and what was left out.

    Folders named train and test (or val) at the top are taken as the split; otherwise a fifth of
    each class is drawn for testing by `seed`. Kept in `cache` under the names, sizes and times of
    the files, so that opening again reads one file.
    """
    if not 4 <= size <= MAX_SIZE:
        raise BadInput(f"Pictures can be brought to 4–{MAX_SIZE} pixels a side, not {size}.")
    root = _inner(_unpacked(path))
    entries = _scan(root)
    if not entries:
        raise BadInput(
            f"No picture lies in a folder of “{root.name}”; "
            "put the pictures of each class into a folder named after it."
        )
    cache = cache or data_folder() / "cache"
    file = cache / f"{_cache_key(entries, size, seed)}.npz"
    stored = _load(file)
    if stored is None:
        stored = _decode(root, entries, size, seed, progress)
        _store(file, *stored)
    arrays, facts = stored
    report = _report(facts["report"])
    images = ImageSet(
        name=name or _spec(path, size),
        title=f"{Path(path).stem}, {size}×{size}",
        class_names=tuple(facts["class_names"]),
        **{key: torch.from_numpy(value) for key, value in arrays.items()},
    )
    return images, report


def _unpacked(path: str | Path) -> Path:
    """The folder itself, or the one a zip has been unpacked to."""
    root = Path(path).expanduser()
    if root.is_file() and root.suffix.lower() == ".zip":
        return unpack_zip(root, data_folder() / "uploads")
    if not root.is_dir():
        raise MissingData(f"There is no folder “{path}”; give one that holds a folder a class.")
    return root


def _inner(root: Path) -> Path:
    """The folder that holds the class folders: a zip often wraps all in one more folder."""
    for _ in range(3):
        inside = [Path(e.path) for e in os.scandir(root) if not e.name.startswith((".", "__"))]
        wraps = len(inside) == 1 and inside[0].is_dir()
        if not wraps or not any(child.is_dir() for child in inside[0].iterdir()):
            break
        root = inside[0]
    return root


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
        if not one_class.is_dir() or one_class.name.startswith((".", "__")):
            continue
        files = list(_pictures_below(one_class.path, f"{below}{one_class.name}/"))
        for name, facts in files or [("", None)]:
            size, modified = (facts.st_size, facts.st_mtime_ns) if facts else (-1, 0)
            found.append(_Entry(one_class.name, name, part, size, modified))
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
    root: Path, entries: list[_Entry], size: int, seed: int, progress: Progress | None
) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays of an ImageSet, and its class names and report as plain data."""
    files = [entry for entry in entries if entry.name]
    pixels, broken = decode_files([root / entry.name for entry in files], size, progress)
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
        is_test = drawn_split(labels, len(class_names), seed=seed)
    report = FolderReport(
        n_read=len(kept),
        n_broken=len(broken),
        broken=tuple((files[k].name, why) for k, why in sorted(broken.items())[:_BROKEN_NAMED]),
        empty_classes=tuple(sorted({entry.label for entry in entries} - set(class_names))),
        split="as given" if given else "drawn by seed",
    )
    test = is_test.numpy()
    arrays = {
        "train_images": pixels[kept[~test]],
        "train_labels": labels[~is_test].numpy(),
        "test_images": pixels[kept[test]],
        "test_labels": labels[is_test].numpy(),
    }
    return arrays, {"class_names": class_names, "report": asdict(report)}


def _check_classes(
    class_names: list[str], files: list[_Entry], kept: np.ndarray, given: bool, *, n_broken: int
) -> None:
    if not class_names:
        raise BadInput(f"None of the {n_broken:,} files could be read as a picture.")
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
        raise BadInput("The test folder holds no picture that can be read.")


def _cache_key(entries: list[_Entry], size: int, seed: int) -> str:
    rows = [f"{_CACHE_VERSION}|{size}|{seed}"]
    rows += ["\x1f".join(map(str, entry)) for entry in entries]
    return sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _load(file: Path) -> tuple[dict[str, np.ndarray], dict] | None:
    """What `_store` kept, or None where there is nothing whole."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            arrays = {key: kept[key] for key in kept.files if key != "facts"}
            return arrays, json.loads(kept["facts"].tobytes())
    except Exception:
        # A file cut short fails in as many ways as there are places to cut; all mean: read anew.
        return None


def _store(file: Path, arrays: dict[str, np.ndarray], facts: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
            np.savez(out, allow_pickle=False, **{"facts": text, **arrays})
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _report(facts: dict[str, Any]) -> FolderReport:
    """The report from plain data, whose tuples JSON has made lists."""
    return FolderReport(
        n_read=facts["n_read"],
        n_broken=facts["n_broken"],
        broken=tuple((file, why) for file, why in facts["broken"]),
        empty_classes=tuple(facts["empty_classes"]),
        split=facts["split"],
    )


def _spec(path: str | Path, size: int) -> str:
    return f"folder:{path}" + ("" if size == DEFAULT_SIZE else f"@{size}")


def _open(rest: str, progress: Progress | None) -> ImageSet:
    """`PATH` or `PATH@SIZE`, SIZE being the pixels a side."""
    path, at, size = rest.rpartition("@")
    if at and size.isascii() and size.isdigit():
        return read_folder(path, size=int(size), progress=progress)[0]
    return read_folder(rest, progress=progress)[0]


add_path_source("folder", _open)
