"""What was found on reading a person's own pictures, and the decoded pictures kept on disk."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imu_core.display import quoted
from imu_core.files import write_whole

_SHARES = {10: "a tenth", 20: "a fifth", 25: "a quarter", 50: "half"}
AS_GIVEN, DRAWN = "as given", "drawn by seed"


@dataclass(frozen=True)
class ReadingReport:
    """What was found in a folder or file, besides the pictures that were taken."""

    n_read: int
    n_broken: int
    broken: tuple[tuple[str, str], ...]
    """(file, why) of those that were left out."""
    empty_classes: tuple[str, ...]
    """Folders without a picture that could be read; they are no classes."""
    split: str
    """`as given` or `drawn by seed`."""
    single_classes: tuple[str, ...] = ()
    """Classes with one picture, which is then for training."""
    test_share: float = 0.2
    """Part of each class that was drawn for testing."""
    kept: tuple[str, ...] = ()
    """Files and folders below the data folder that were made for this set alone."""

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        parts = [f"{self.n_read:,} pictures read"]
        if self.n_broken:
            files = "file" if self.n_broken == 1 else "files"
            parts.append(f"{self.n_broken:,} {files} left out")
        if self.empty_classes:
            parts.append(f"no picture in {quoted(self.empty_classes)}")
        if self.single_classes:
            parts.append(f"a single picture in {quoted(self.single_classes)}")
        parts.append(self.split_in_words)
        return "; ".join(parts) + "."

    @property
    def split_in_words(self) -> str:
        if self.split == AS_GIVEN:
            return "train and test as given"
        hundredths = round(100 * self.test_share)
        return f"{_SHARES.get(hundredths, f'{hundredths} %')} drawn for testing"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReadingReport:
        """The report from plain data, whose tuples JSON has made lists."""
        report = cls(**values)
        return replace(
            report,
            broken=tuple((str(file), str(why)) for file, why in report.broken),
            empty_classes=tuple(report.empty_classes),
            single_classes=tuple(report.single_classes),
            kept=tuple(report.kept),
        )


def readable(name: str) -> str:
    """A name of a file or folder as text that any screen and file can hold.

    Disks hold names in bytes that are no text, and letters put together in two ways.
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return unicodedata.normalize("NFC", text)


def load_kept(file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """What `store_kept` wrote, or None where there is nothing whole."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            arrays = {key: kept[key] for key in kept.files if key != "facts"}
            return arrays, json.loads(kept["facts"].tobytes())
    except Exception:
        # A file cut short fails in as many ways as there are places to cut; all mean: read anew.
        return None


def store_kept(file: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Writes decoded pictures and plain data beside them, whole or not at all."""
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)

    def write(part: Path) -> None:
        with part.open("wb") as out:
            np.savez(out, allow_pickle=False, **{"facts": text, **arrays})

    write_whole(file, write)
