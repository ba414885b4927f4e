"""The forget set: training ids that a model is to forget, and how they came about."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.files import replace_whole
from imu_core.images.image_set import ImageSet

CSV_COLUMNS = ("id", "label", "class", "image_set", "image_set_fingerprint")


@dataclass(frozen=True)
class ForgetSet:
    """Ids into the training pictures of one image set, ascending and without repeats."""

    ids: tuple[int, ...]
    image_set: str
    """Name of the image set; the fingerprint is what counts."""
    fingerprint: str
    history: tuple[str, ...]
    """How the set came about, a few words for each change."""

    @classmethod
    def of(cls, image_set: ImageSet, ids: Iterable[int], how: str) -> ForgetSet:
        """The set of these ids; one that is no whole number, out of range or given twice is a
        `BadInput`."""
        try:
            given = [operator.index(i) for i in ids]
        except TypeError:
            raise BadInput("The ids of a forget set must be whole numbers.") from None
        check_ids(given, image_set)
        return cls(tuple(sorted(given)), image_set.name, image_set.fingerprint, (how,))

    def __len__(self) -> int:
        return len(self.ids)

    def union(self, other: ForgetSet) -> ForgetSet:
        """All pictures of both."""
        return self._with(set(self.ids) | self._ids_of(other), "plus", other)

    def difference(self, other: ForgetSet) -> ForgetSet:
        """The pictures of this set that are not in the other."""
        return self._with(set(self.ids) - self._ids_of(other), "minus", other)

    def intersection(self, other: ForgetSet) -> ForgetSet:
        """The pictures that both have."""
        return self._with(set(self.ids) & self._ids_of(other), "only those also in", other)

    def _ids_of(self, other: ForgetSet) -> set[int]:
        if other.fingerprint != self.fingerprint:
            raise BadInput(
                f"A forget set of “{other.image_set}” cannot be combined with one of "
                f"“{self.image_set}”: their pictures differ."
            )
        return set(other.ids)

    def _with(self, ids: set[int], word: str, other: ForgetSet) -> ForgetSet:
        how = f"{word} {', then '.join(other.history)}"
        return ForgetSet(tuple(sorted(ids)), self.image_set, self.fingerprint, (*self.history, how))

    def ids_tensor(self) -> Tensor:
        """int64 (k,), ascending"""
        return torch.tensor(self.ids, dtype=torch.int64)

    def retain_ids(self, image_set: ImageSet) -> Tensor:
        """Ids of all other training pictures, int64, ascending."""
        self._check_same(image_set)
        kept = torch.ones(image_set.n_train, dtype=torch.bool)
        kept[self.ids_tensor()] = False
        return kept.nonzero().flatten()

    @property
    def digest(self) -> str:
        """16 hex digits that name the pictures of the image set and the ids, and nothing else."""
        text = self.fingerprint + ":" + ",".join(map(str, self.ids))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check_usable(self, image_set: ImageSet) -> None:
        """Raises `BadInput` for a set that no run on `image_set` can start with."""
        self._check_same(image_set)
        if not self.ids:
            raise BadInput("The forget set is empty; choose at least one picture to forget.")
        if len(self.ids) >= image_set.n_train:
            raise BadInput(
                f"The forget set holds all {image_set.n_train:,} training pictures, so nothing "
                "would be retained; leave at least one out."
            )

    def _check_same(self, image_set: ImageSet) -> None:
        if image_set.fingerprint != self.fingerprint:
            raise BadInput(
                f"This forget set is one of “{self.image_set}”, not of “{image_set.name}”: the "
                "same ids would be other pictures. Choose the pictures anew."
            )

    def to_dict(self) -> dict[str, Any]:
        return {
            "image_set": self.image_set,
            "image_set_fingerprint": self.fingerprint,
            "history": list(self.history),
            "ids": list(self.ids),
        }

    def to_csv(self, image_set: ImageSet | None = None) -> str:
        """One line a picture, with the columns `CSV_COLUMNS`.

        Without the image set, label and class stay empty.
        """
        if image_set is not None:
            self._check_same(image_set)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for i in self.ids:
            label, name = "", ""
            if image_set is not None:
                label = int(image_set.train_labels[i])
                name = image_set.class_names[label]
            writer.writerow((i, label, name, self.image_set, self.fingerprint))
        return text.getvalue()

    def save(self, path: str | Path, image_set: ImageSet | None = None) -> None:
        """Writes the set whole or not at all; the ending, .csv or .json, decides the format."""
        path = Path(path).expanduser()
        if path.suffix.lower() == ".json":
            text = json.dumps(self.to_dict(), indent=1)
        elif path.suffix.lower() == ".csv":
            text = self.to_csv(image_set)
        else:
            raise BadInput(f"A forget set is saved as .csv or .json, not as “{path.name}”.")
        try:
            replace_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise BadInput(
                f"“{path}” could not be written ({error.strerror}); choose another place."
            ) from error


def n_pictures(n: int) -> str:
    """A count in words: 1 picture, 2 pictures."""
    return f"{n:,} picture{'' if n == 1 else 's'}"


def check_ids(ids: Iterable[int], image_set: ImageSet) -> None:
    """Raises `BadInput` when an id is out of range or given twice."""
    seen: set[int] = set()
    for i in ids:
        if not 0 <= i < image_set.n_train:
            raise BadInput(
                f"Id {i} is not a training picture of “{image_set.name}”: "
                f"ids go from 0 to {image_set.n_train - 1}."
            )
        if i in seen:
            raise BadInput(f"Id {i} is given twice; each picture can be forgotten once.")
        seen.add(i)


def load_forget_set(path: str | Path, image_set: ImageSet) -> ForgetSet:
    """The set saved at `path`, checked to be one of `image_set`."""
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"There is no file “{path}”.") from None
    except (OSError, UnicodeDecodeError):
        raise BadInput(
            f"“{path.name}” cannot be read as text; give a .csv or .json file."
        ) from None
    return read_forget_set(text, path.name, image_set)


def read_forget_set(text: str, name: str, image_set: ImageSet) -> ForgetSet:
    """The set written in `text`; `name` is the file it came from, whose ending tells the format."""
    if name.lower().endswith(".json"):
        ids, fingerprint, history = _from_json(text, name)
    elif name.lower().endswith(".csv"):
        ids, fingerprint, history = _from_csv(text, name)
    else:
        raise BadInput(f"“{name}” must end in .csv or .json.")
    if fingerprint and fingerprint != image_set.fingerprint:
        raise BadInput(
            f"“{name}” was made for another image set than “{image_set.name}”: the same ids would "
            "be other pictures. Open the image set it was made for."
        )
    loaded = ForgetSet.of(image_set, ids, f"loaded from {name} ({n_pictures(len(ids))})")
    return ForgetSet(loaded.ids, loaded.image_set, loaded.fingerprint, (*history, *loaded.history))


def _from_json(text: str, name: str) -> tuple[list[int], str, list[str]]:
    try:
        data = json.loads(text)
        given, told = data["ids"], data.get("history", [])
        if not isinstance(given, list) or not isinstance(told, list):
            raise TypeError
        ids = [_whole(i, name) for i in given]
        return ids, str(data.get("image_set_fingerprint") or ""), [str(one) for one in told]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"“{name}” is no saved forget set: it needs a list called “ids”.") from None


def _from_csv(text: str, name: str) -> tuple[list[int], str, list[str]]:
    try:
        # A spreadsheet of a country with decimal commas writes semicolons.
        delimiter = ";" if ";" in text.partition("\n")[0] else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns, rows = reader.fieldnames or [], list(reader)
    except csv.Error as error:
        raise BadInput(f"“{name}” cannot be read as CSV: {error}.") from None
    if "id" not in columns:
        raise BadInput(f"“{name}” needs a column called “id” in its first line.")
    ids = [_whole(row["id"], name) for row in rows]
    fingerprints = {row.get("image_set_fingerprint") or "" for row in rows}
    if len(fingerprints) > 1:
        raise BadInput(f"“{name}” mixes pictures of several image sets.")
    return ids, next(iter(fingerprints), ""), []


def _whole(value: Any, name: str) -> int:
    try:
        if isinstance(value, bool) or float(value) != int(float(value)):
            raise ValueError
        return int(float(value))
    except (ValueError, TypeError, OverflowError):
        raise BadInput(f"“{name}” has an id that is no whole number: “{value}”.") from None
