"""Files written under a temporary name, then renamed, so that none is ever half there."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imu_core.errors import RunError


@contextmanager
def clear_about_disk(path: Path) -> Generator[None]:
    """Turns a full or read-only disk into one sentence that names the folder."""
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full; free some space",
            errno.EDQUOT: "the disk quota is used up; free some space",
            errno.EROFS: "the disk is read-only; choose another folder with --runs or IMU_RUNS",
            errno.EACCES: "writing there is not allowed; choose another folder with --runs or "
            "IMU_RUNS",
        }.get(error.errno or 0)
        if reason is None:
            raise
        raise RunError(
            f"Could not write to {path}: {reason}. Nothing already there is lost."
        ) from (error)


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, then renames it to `path`.

    What the disk says (`OSError`) is left to the caller, and so is the folder.
    """
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.name}.{writer}.part")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """As `replace_whole`, in a folder made when needed; the disk's errors in one sentence."""
    with clear_about_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, write)


def write_json(path: Path, data: Any) -> None:
    write_whole(path, lambda part: part.write_text(json.dumps(data, indent=1, allow_nan=False)))


def read_json(path: Path) -> Any:
    """The content of a JSON file; a missing or broken one is a `RunError` that names it."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path} is missing: the run did not get so far.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise RunError(f"{path} is damaged; delete the run's folder or run it again.") from None
