"""A zip from a stranger: unpacked once it is found harmless, and never outside its folder."""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from hashlib import file_digest
from pathlib import Path, PurePosixPath

from imu_core.errors import BadInput
from imu_core.images.decoding import SUFFIXES
from imu_core.images.source import Progress

MAX_ZIP_BYTES = 1 << 30
"""Bytes of the zip itself."""
MAX_UNPACKED_BYTES = 4 << 30
"""Bytes of all pictures in it, unpacked."""
MAX_FILE_BYTES = 128 << 20
"""Bytes of one picture, unpacked."""
MAX_FILES = 500_000
MAX_RATIO = 100
"""Times a file may grow: pictures, compressed already, grow little, zip bombs a thousandfold."""

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # of zipfile, for ways of compressing that it does not know
    UnicodeError,
)
_BAD_NAMES = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL}
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_CHUNK = 1 << 20
_FILES_A_REPORT = 64
# A small file of one colour may well shrink a hundredfold; the ratio counts beyond this size.
_RATIO_FROM_BYTES = 1 << 20


def unpack_zip(
    file: Path,
    directory: Path,
    *,
    called: str | None = None,
    progress: Progress | None = None,
    max_zip_bytes: int = MAX_ZIP_BYTES,
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES,
) -> Path:
    """The folder the pictures of this zip now lie in, named after its content.

    Unpacked beside and renamed when whole, so the same zip is unpacked once and never by halves.
    Only picture files are taken. Messages name the zip as `called`, else as its file. Raises
    BadInput, with nothing left behind, for a zip that is too large, grows too much, is encrypted or
    broken, or names a place outside its folder.
    """
    called = called or file.name
    if file.stat().st_size > max_zip_bytes:
        raise BadInput(
            f"“{called}” has {megabytes(file.stat().st_size)}; "
            f"at most {megabytes(max_zip_bytes)} are taken."
        )
    target = directory / content_key(file)
    if target.is_dir():
        return target
    directory.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=directory, suffix=".tmp"))
    try:
        _unpack(file, called, temporary, max_unpacked_bytes, progress)
        _publish(temporary, target)
    except _BROKEN as error:
        raise BadInput(f"“{called}” is no zip that can be read; make it anew.") from error
    except OSError as error:
        if error.errno not in _BAD_NAMES:
            raise
        raise BadInput(
            f"“{called}” holds a file whose name cannot be used here; shorten it and zip anew."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def content_key(file: Path) -> str:
    """The first 24 hexadecimal digits of the SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()[:24]


def _unpack(
    file: Path, called: str, folder: Path, max_unpacked_bytes: int, progress: Progress | None
) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MAX_FILES:
            raise BadInput(f"“{called}” holds {len(members):,} files; {MAX_FILES:,} at most.")
        for member in members:
            _check(member, called)
        pictures = [member for member in members if _is_picture(member)]
        if sum(member.file_size for member in pictures) > max_unpacked_bytes:
            raise BadInput(
                f"“{called}” would unpack to more than {megabytes(max_unpacked_bytes)}; "
                "it was not unpacked."
            )
        for member in members:
            if member.is_dir():
                # A class folder may be empty; it is named in the report.
                (folder / _path_of(member)).mkdir(parents=True, exist_ok=True)
        for number, member in enumerate(pictures, start=1):
            _write(archive, member, folder / _path_of(member))
            if progress is not None and (number % _FILES_A_REPORT == 0 or number == len(pictures)):
                progress(number, len(pictures), "Unpacking")


def _check(member: zipfile.ZipInfo, zip_name: str) -> None:
    """Raises BadInput for a member that no honest zip of pictures has."""
    name = _name_of(member)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or name[1:2] == ":":
        raise BadInput(f"“{zip_name}” names a place outside its folder (“{name}”); not unpacked.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise BadInput(f"“{zip_name}” holds a link (“{name}”); put the picture itself into it.")
    if member.flag_bits & _ENCRYPTED_FLAG:
        raise BadInput(f"“{zip_name}” is locked with a password; make it without one.")
    grows = member.file_size > MAX_RATIO * max(member.compress_size, 1)
    if (grows and member.file_size > _RATIO_FROM_BYTES) or member.file_size > MAX_FILE_BYTES:
        raise BadInput(
            f"“{name}” in “{zip_name}” would unpack from {megabytes(member.compress_size)} "
            f"to {megabytes(member.file_size)}; it was not unpacked."
        )


def _is_picture(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(_name_of(member))
    # Finders and explorers leave folders such as __MACOSX and files such as ._one.png behind.
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not member.is_dir() and not hidden and path.suffix.lower() in SUFFIXES


def _path_of(member: zipfile.ZipInfo) -> Path:
    return Path(*PurePosixPath(_name_of(member)).parts)


def _name_of(member: zipfile.ZipInfo) -> str:
    """The name with / between its parts; UTF-8 also where the zip forgot to say so."""
    name = member.filename.replace("\\", "/")
    if member.flag_bits & _UTF8_FLAG:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, path.open("wb") as out:
        while chunk := source.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile("more bytes than the zip declares")
            out.write(chunk)


def _publish(temporary: Path, target: Path) -> None:
    """Gives the folder its name; another session may have been first."""
    try:
        os.rename(temporary, target)
    except OSError:
        if not target.is_dir():
            raise


def megabytes(n_bytes: int) -> str:
    """`64 MB`, `12 kB`"""
    return f"{n_bytes / 2**20:,.0f} MB" if n_bytes >= 2**20 else f"{n_bytes / 2**10:,.0f} kB"
