"""Named forget sets on disk, with what is protected, how they came about, and notes on pictures.

They lie in `DIR/sets/<first 12 digits of the image set's fingerprint>/<name>.json`, so that a set
is only ever offered for the pictures it was made of.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imu_core.errors import BadInput, MissingData
from imu_core.files import clear_about_disk, write_json
from imu_core.forget_set import ForgetSet, check_ids
from imu_core.images.image_set import ImageSet

LONGEST_NAME = 60
LONGEST_NOTE = 200
FINGERPRINT_DIGITS = 12
# Characters that no name of a file may hold on some system, and the one that stands for them.
_FORBIDDEN = set('/\\:*?"<>|%')


@dataclass(frozen=True)
class SavedSet:
    """A forget set under a name."""

    name: str
    forget: ForgetSet
    protected: tuple[int, ...] = ()
    """Ids of pictures to watch: ascending, none of them in the forget set."""
    notes: Mapping[int, str] = field(default_factory=dict)
    """Id → what somebody wrote on the picture."""
    saved: str = ""
    """When, as ISO 8601 in UTC; filled in by `save_set`."""


def checked_name(name: str) -> str:
    """The name as it is kept; `BadInput` for one that is empty, too long, or has control signs."""
    text = unicodedata.normalize("NFC", " ".join(name.split()))
    if not text:
        raise BadInput("Give the set a name.")
    if len(text) > LONGEST_NAME:
        raise BadInput(f"A name has at most {LONGEST_NAME} characters; this one has {len(text)}.")
    if any(unicodedata.category(sign).startswith("C") for sign in text):
        raise BadInput("A name cannot hold invisible control characters.")
    return text


def sets_folder(directory: Path, image_set: ImageSet) -> Path:
    """Where the sets of these pictures lie; the folder may not exist yet."""
    return directory / "sets" / image_set.fingerprint[:FINGERPRINT_DIGITS]


def _file(directory: Path, image_set: ImageSet, name: str) -> Path:
    text = checked_name(name)
    quoted = "".join(f"%{ord(sign):02X}" if sign in _FORBIDDEN else sign for sign in text)
    if quoted[0] == ".":
        quoted = f"%2E{quoted[1:]}"
    # 240 bytes and the temporary name still fit the 255 that a file system allows.
    if len(quoted.encode()) > 200:
        raise BadInput("This name is too long for a file; choose a shorter one.")
    return sets_folder(directory, image_set) / f"{quoted}.json"


def save_set(directory: Path, image_set: ImageSet, saved: SavedSet) -> SavedSet:
    """The set as it now lies on disk; one of the same name is replaced."""
    name = checked_name(saved.name)
    saved.forget.check_usable(image_set)
    protected = sorted(set(saved.protected) - set(saved.forget.ids))
    check_ids(protected, image_set)
    notes = {i: text[:LONGEST_NOTE] for i, text in sorted(saved.notes.items()) if text}
    kept = SavedSet(name, saved.forget, tuple(protected), notes, _now())
    write_json(_file(directory, image_set, name), _as_dict(kept))
    return kept


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _as_dict(saved: SavedSet) -> dict[str, Any]:
    return {
        "name": saved.name,
        "saved": saved.saved,
        **saved.forget.to_dict(),
        "protected": list(saved.protected),
        "notes": {str(number): text for number, text in saved.notes.items()},
    }


def saved_sets(directory: Path, image_set: ImageSet) -> list[SavedSet]:
    """The readable sets of these pictures, the one saved last first."""
    found = []
    for path in sets_folder(directory, image_set).glob("*.json"):
        try:
            found.append(_read(path, image_set))
        except (BadInput, MissingData):
            # A broken file in the folder must not hide the others.
            continue
    return sorted(found, key=lambda one: (one.saved, one.name), reverse=True)


def load_set(directory: Path, image_set: ImageSet, name: str) -> SavedSet:
    """The set of this name; `MissingData` where there is none, `BadInput` for a broken file."""
    return _read(_file(directory, image_set, name), image_set)


def delete_set(directory: Path, image_set: ImageSet, name: str) -> None:
    """Takes the set of this name off the disk."""
    path = _file(directory, image_set, name)
    with clear_about_disk(path.parent):
        path.unlink(missing_ok=True)


def _read(path: Path, image_set: ImageSet) -> SavedSet:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        name, saved = checked_name(data["name"]), str(data.get("saved", ""))
        ids, protected = (_numbers(data[key]) for key in ("ids", "protected"))
        history = tuple(str(step) for step in data["history"])
        notes = {int(number): str(text) for number, text in data["notes"].items()}
        fingerprint = data["image_set_fingerprint"]
    except FileNotFoundError:
        raise MissingData(
            f"There is no saved set “{path.stem}” of these pictures; choose another one."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(
            f"The saved set “{path.stem}” is damaged; delete it and save the set again."
        ) from None
    if fingerprint != image_set.fingerprint:
        raise BadInput(
            f"“{name}” was saved for other pictures than “{image_set.name}”: the same ids would "
            "be other pictures."
        )
    check_ids(protected, image_set)
    check_ids(notes, image_set)
    forget = ForgetSet.of(image_set, ids, "")
    forget = ForgetSet(forget.ids, forget.image_set, forget.fingerprint, history)
    return SavedSet(name, forget, tuple(sorted(set(protected))), notes, saved)


def _numbers(values: object) -> list[int]:
    if not isinstance(values, list) or not all(type(one) is int for one in values):
        raise TypeError
    return values
