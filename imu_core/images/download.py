"""Fetching the files of torchvision's data sets: only when asked, with progress, checked by MD5."""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imu_core.errors import MissingData
from imu_core.images.source import Progress

CHUNK_BYTES = 1 << 18
TIMEOUT_S = 20
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
)


def data_folder() -> Path:
    """Where downloaded image sets lie: IMU_DATA, or ./data."""
    return Path(os.environ.get("IMU_DATA") or "data").expanduser()


def torchvision_class(name: str) -> Any:
    """torchvision's data set class; the import takes a second, so only once it is needed."""
    from torchvision import datasets

    return getattr(datasets, name)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set: where it is fetched from, where it belongs, what it must hash to."""

    addresses: tuple[str, ...]
    path: Path
    md5: str | None

    def is_whole(self) -> bool:
        """Whether the file is in its place with the published content."""
        from torchvision.datasets.utils import check_integrity

        return check_integrity(str(self.path), self.md5)


def remote_files(name: str) -> list[RemoteFile]:
    """The files that torchvision's class of this name would download."""
    kind, root = torchvision_class(name), data_folder()
    if hasattr(kind, "resources"):
        folder = root / name / "raw"
        return [
            RemoteFile(tuple(mirror + file for mirror in kind.mirrors), folder / file, md5)
            for file, md5 in kind.resources
        ]
    if hasattr(kind, "split_list"):
        parts = [kind.split_list[split] for split in ("train", "test")]
        return [RemoteFile((url,), root / file, md5) for url, file, md5 in parts]
    return [RemoteFile((kind.url,), root / kind.filename, kind.tgz_md5)]


def fetch(name: str, progress: Progress | None, advice: str) -> None:
    """Downloads the files of a data set that are not there yet.

    No network, a damaged file or a full disk is a `MissingData`; `advice` says what to do instead.
    """
    files = remote_files(name)
    for number, file in enumerate(files, start=1):
        if file.is_whole():
            continue
        text = f"Downloading {file.path.name} ({number} of {len(files)})"
        if not any(_download(address, file.path, text, progress) for address in file.addresses):
            raise MissingData(
                f"{file.path.name} could not be downloaded: its server cannot be reached. {advice}"
            )
        if not file.is_whole():
            file.path.unlink()
            raise MissingData(f"The download of {file.path.name} came damaged; try it again.")


def _download(address: str, path: Path, text: str, progress: Progress | None) -> bool:
    """Whether the file came; it is renamed into its place only when whole."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer, part.open("wb") as file:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, max(total, done), text)
        part.replace(path)
    except NETWORK_ERRORS:
        return False
    except OSError as error:
        raise MissingData(
            f"{path.name} could not be written into {path.parent} ({error.strerror}); "
            "make room there, or set IMU_DATA to another folder."
        ) from error
    finally:
        # Also when the person cancels: `progress` may raise.
        if part.parent.is_dir():
            part.unlink(missing_ok=True)
    return True
