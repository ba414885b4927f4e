"""The image sets that people brought: uploads kept by content, and which were opened before.

In the data folder lie `uploads/KEY` (the pictures of a zip) or `uploads/KEY.npz`, with the name
that the file had in `uploads/KEY.json`; `own/*.json` says which sets were opened. KEY follows from
the file's content, so a SPEC such as `upload:KEY@64` tells nothing of this machine, and whoever
does not have the file cannot guess it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from imu_core.errors import BadInput, Cancelled, ImuError, MissingData
from imu_core.files import clear_about_disk, read_json, write_json
from imu_core.images.download import data_folder
from imu_core.images.folder import read_folder
from imu_core.images.image_set import ImageSet
from imu_core.images.npz import read_npz
from imu_core.images.preparation import Preparation, spec_of, split_options
from imu_core.images.reading import ReadingReport, readable
from imu_core.images.source import Progress, add_path_source
from imu_core.images.upload import content_key, unpack_zip

_KEY = re.compile("[0-9a-f]{24}")
_LONGEST_TITLE = 60


@dataclass(frozen=True)
class OwnSet:
    """An image set that somebody brought and that was opened here."""

    spec: str
    title: str
    n_train: int
    n_test: int
    n_classes: int
    image_shape: tuple[int, int, int]
    """(channels, height, width)"""
    opened: str
    """When it was read, as ISO 8601 in UTC."""
    report: ReadingReport

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OwnSet:
        known: dict[str, Any] = dict(values)
        known["image_shape"] = tuple(known["image_shape"])
        known["report"] = ReadingReport.from_dict(known["report"])
        return cls(**known)


def path_spec(path: str, preparation: Preparation) -> str:
    """The SPEC of a folder, zip or .npz on this machine; MissingData where there is none."""
    found = Path(path.strip()).expanduser().absolute()
    if not found.exists():
        raise MissingData(f"There is no folder or file “{path.strip()}” on this machine.")
    ending = found.suffix.lower()
    if found.is_file() and ending not in (".zip", ".npz"):
        raise BadInput(f"“{found.name}” is neither a folder nor a .zip or .npz file.")
    prefix = "npz" if found.is_file() and ending == ".npz" else "folder"
    return spec_of(prefix, str(found), preparation)


def read_own(spec: str, progress: Progress | None = None) -> tuple[ImageSet, ReadingReport]:
    """The pictures of a `folder:`, `npz:` or `upload:` SPEC, and what was left out."""
    prefix, _, rest = spec.partition(":")
    path, preparation = split_options(rest)
    if prefix == "folder":
        return read_folder(path, preparation, progress=progress)
    if prefix == "npz":
        return read_npz(path, preparation)
    if prefix != "upload":
        raise BadInput(f"“{spec}” names no pictures of your own; write folder:PATH or npz:PATH.")
    return _read_upload(path, preparation, progress)


def _read_upload(
    key: str, preparation: Preparation, progress: Progress | None
) -> tuple[ImageSet, ReadingReport]:
    uploads = data_folder() / "uploads"
    folder, file, name = uploads / key, uploads / f"{key}.npz", spec_of("upload", key, preparation)
    if not _KEY.fullmatch(key) or not (folder.is_dir() or file.is_file()):
        raise MissingData("These uploaded pictures are no longer kept here; upload them again.")
    title = _title_of(key)
    if folder.is_dir():
        images, report = read_folder(folder, preparation, name=name, title=title, progress=progress)
    else:
        images, report = read_npz(file, preparation, name=name, title=title)
    made = (*report.kept, f"uploads/{folder.name if folder.is_dir() else file.name}")
    return images, replace(report, kept=(*made, f"uploads/{key}.json"))


def _title_of(key: str) -> str:
    try:
        called = str(read_json(data_folder() / "uploads" / f"{key}.json")["called"])
    except (ImuError, KeyError, TypeError):
        called = "uploaded pictures"
    return Path(called).stem or called


def open_own(spec: str, progress: Progress | None = None) -> OwnSet:
    """What is known of a SPEC once its pictures were read; remembered for `own_sets`."""
    images, report = read_own(spec, progress)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    shape = images.image_shape
    counts = images.n_train, images.n_test, images.n_classes
    own = OwnSet(images.name, images.title, *counts, shape, now, report)
    record = _record(own.spec)
    before = _read_record(record)
    write_json(record, asdict(own))
    if before is not None:
        # The folder has other pictures now; those decoded before are of no use.
        _remove(set(before.report.kept) - set(report.kept))
    return own


def open_upload(
    name: str, content: BinaryIO, preparation: Preparation, progress: Progress | None = None
) -> OwnSet:
    """The same for an uploaded zip or .npz called `name`; nothing of it stays when it is refused.

    `content` is read from its beginning.
    """
    uploads = data_folder() / "uploads"
    before = set(os.listdir(uploads)) if uploads.is_dir() else set()
    key = _keep(name, content, uploads, progress)
    try:
        return open_own(spec_of("upload", key, preparation), progress)
    except (ImuError, Cancelled):
        made = {f"{key}", f"{key}.npz", f"{key}.json"} - before
        _remove({f"uploads/{part}" for part in made})
        raise


def _keep(name: str, content: BinaryIO, uploads: Path, progress: Progress | None) -> str:
    """The key under which the upload lies in its folder now."""
    with clear_about_disk(uploads):
        uploads.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=uploads, suffix=".tmp")
        file = Path(temporary)
        try:
            with os.fdopen(handle, "wb") as out:
                content.seek(0)
                shutil.copyfileobj(content, out, 1 << 20)
            called = readable(Path(name).name)[-_LONGEST_TITLE:]
            if _holds_arrays(file):
                key = content_key(file)
                os.replace(file, uploads / f"{key}.npz")
            else:
                key = unpack_zip(file, uploads, called=called, progress=progress).name
            write_json(uploads / f"{key}.json", {"called": called})
        finally:
            file.unlink(missing_ok=True)
    return key


def _holds_arrays(file: Path) -> bool:
    """Whether a zip is an .npz file, whatever its name says."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, UnicodeError, OSError, ValueError):
        return False


def own_sets() -> list[OwnSet]:
    """The image sets that were opened here, the newest first."""
    folder = data_folder() / "own"
    files = folder.glob("*.json") if folder.is_dir() else ()
    found = [own for own in map(_read_record, files) if own is not None]
    return sorted(found, key=lambda own: own.opened, reverse=True)


def find_own(spec: str) -> OwnSet | None:
    """The set of this SPEC, if it was opened here."""
    return _read_record(_record(spec))


def delete_own(spec: str) -> None:
    """Removes what was kept of a set: its upload and its decoded pictures, never a folder given.

    What another remembered set needs as well stays.
    """
    record = _record(spec)
    own = _read_record(record)
    record.unlink(missing_ok=True)
    if own is not None:
        needed = {path for other in own_sets() for path in other.report.kept}
        _remove(set(own.report.kept) - needed)


def _record(spec: str) -> Path:
    digest = sha256(spec.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return data_folder() / "own" / f"{digest}.json"


def _read_record(file: Path) -> OwnSet | None:
    """The set that a file tells of; None for a file that is absent or damaged."""
    try:
        return OwnSet.from_dict(read_json(file))
    except (ImuError, OSError, KeyError, TypeError, ValueError):
        return None


def _remove(kept: set[str]) -> None:
    """Removes files and folders below the data folder's own places, and nothing elsewhere."""
    for path in kept:
        place, _, name = path.partition("/")
        if place not in ("cache", "uploads") or name in ("", ".", "..") or "/" in name:
            continue
        target = data_folder() / place / name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)


def _open(rest: str, progress: Progress | None) -> ImageSet:
    return read_own(f"upload:{rest}", progress)[0]


add_path_source("upload", _open)
