"""The header of a checkpoint: what a file of weights says it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from imu_core.errors import BadInput
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier
from imu_core.networks.registry import ImageShape, count_parameters


@dataclass(frozen=True)
class CheckpointHeader:
    """What a file of weights is: architecture, classes, pictures, training."""

    network: str
    image_shape: ImageShape
    n_classes: int
    class_names: tuple[str, ...]
    image_set: str
    """The SPEC of the image set it was trained on."""
    fingerprint: str
    """Of that image set."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    recipe: dict[str, Any]
    """Of `Recipe.to_dict`; empty where it is not known, and then the model cannot be retrained."""
    seed: int
    test_accuracy: float
    """0–1, over all test pictures."""
    n_train: int
    parameters: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CheckpointHeader:
        """The header from JSON values; `BadInput` names the entry that is missing or wrong."""
        missing = [item.name for item in fields(cls) if item.name not in values]
        if missing:
            raise BadInput(f"its header lacks “{missing[0]}”")
        kept = {item.name: values[item.name] for item in fields(cls)}
        for name, kind in _KINDS.items():
            if not kind(kept[name]):
                raise BadInput(f"the entry “{name}” of its header cannot be right")
        for name in ("image_shape", "class_names", "mean", "std"):
            kept[name] = tuple(kept[name])
        header = cls(**kept)
        if len(header.class_names) != header.n_classes:
            n_names = len(header.class_names)
            raise BadInput(f"its header names {n_names} classes of {header.n_classes}")
        if not len(header.mean) == len(header.std) == header.image_shape[0]:
            raise BadInput("its header has not one mean and deviation a channel")
        return header


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _all(value: Any, kind: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(kind, value))


_KINDS = {
    "network": _is_text,
    "image_shape": lambda value: _all(value, _is_count) and len(value) == 3,
    "n_classes": _is_count,
    "class_names": lambda value: _all(value, _is_text),
    "image_set": _is_text,
    "fingerprint": _is_text,
    "mean": lambda value: _all(value, _is_number),
    "std": lambda value: _all(value, _is_number) and min(value) > 0,
    "recipe": lambda value: isinstance(value, dict),
    "seed": lambda value: type(value) is int,
    "test_accuracy": lambda value: _is_number(value) and 0 <= value <= 1,
    "n_train": _is_count,
    "parameters": _is_count,
}


def describe(
    classifier: Classifier,
    image_set: ImageSet,
    *,
    network: str,
    recipe: dict[str, Any],
    seed: int,
    test_accuracy: float,
) -> CheckpointHeader:
    """The header of a classifier that was trained on this image set."""
    return CheckpointHeader(
        network=network,
        image_shape=image_set.image_shape,
        n_classes=image_set.n_classes,
        class_names=image_set.class_names,
        image_set=image_set.name,
        fingerprint=image_set.fingerprint,
        mean=tuple(classifier.mean.flatten().tolist()),
        std=tuple(classifier.std.flatten().tolist()),
        recipe=dict(recipe),
        seed=seed,
        test_accuracy=test_accuracy,
        n_train=image_set.n_train,
        parameters=count_parameters(classifier),
    )
