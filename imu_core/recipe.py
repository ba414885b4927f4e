"""How a network is trained, as a value that is kept with its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from imu_core.errors import BadInput
from imu_core.images.image_set import ImageSet

AUGMENTATIONS = ("none", "shift", "shift+flip")
OPTIMISERS = ("sgd", "adamw")
_WITH_MIRRORED_PICTURES = ("cifar10", "cifar100")
"""Image sets whose pictures stay what they are when mirrored; digits and letters do not."""


@dataclass(frozen=True)
class Recipe:
    """Everything but the pictures, the network and the seed that decides what training gives."""

    epochs: int
    """Passes over the training pictures, 1–10,000."""
    batch_size: int = 128
    """Pictures a step, 2–65,536."""
    lr: float = 0.1
    """Peak of the one-cycle learning rate, above 0."""
    momentum: float = 0.9
    """Of SGD, in 0–1; the first decay rate of AdamW."""
    weight_decay: float = 5e-4
    """0 or more."""
    augment: str = "none"
    """`none`, `shift` (by up to an eighth of the side) or `shift+flip` (left and right swapped)."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes, in 0–1."""
    optimiser: str = "sgd"
    """`sgd` or `adamw`."""

    def __post_init__(self) -> None:
        for name, choices in (("augment", AUGMENTATIONS), ("optimiser", OPTIMISERS)):
            value = getattr(self, name)
            if value not in choices:
                raise BadInput(f"{name} must be one of {', '.join(choices)}, not “{value}”.")
        for name, low, high in (("epochs", 1, 10_000), ("batch_size", 2, 65_536)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise BadInput(f"{name} must be a whole number in {low}–{high}, not {value!r}.")
        for name, low, high in (
            ("lr", 1e-12, math.inf),
            ("momentum", 0, 0.9999),
            ("weight_decay", 0, math.inf),
            ("label_smoothing", 0, 0.9999),
        ):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not (math.isfinite(value) and low <= value <= high):
                limit = f"in {low}–{high}" if high < math.inf else f"at least {low}"
                raise BadInput(f"{name} must be a number {limit}, not {value!r}.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe kept in a header; `BadInput` where it is unknown or incomplete."""
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise BadInput(f"The training recipe holds the unknown entry “{unknown[0]}”.")
        if "epochs" not in values:
            raise BadInput(
                "The recipe by which this model was trained is not known, so it cannot be "
                "retrained for comparison; choose a model that was trained here."
            )
        return cls(**values)


def default_recipe(network: str, image_set: ImageSet) -> Recipe:
    """The recipe used where nothing else is said, by network, kind and number of pictures."""
    source = image_set.name.split(":")[0]
    if network == "digits-cnn":
        return Recipe(epochs=_epochs(image_set, 180))
    if network == "small-cnn":
        return Recipe(epochs=_epochs(image_set, 1_560))
    if source in _WITH_MIRRORED_PICTURES:
        augment = "shift+flip"
    else:
        augment = "none" if max(image_set.image_shape[1:]) <= 16 else "shift"
    if network == "vit-small":
        return Recipe(
            epochs=_epochs(image_set, 20_000),
            lr=1e-3,
            weight_decay=0.05,
            augment=augment,
            optimiser="adamw",
        )
    return Recipe(epochs=_epochs(image_set, 6_000), augment=augment)


def _epochs(image_set: ImageSet, n_steps: int) -> int:
    """Passes that make about this many steps of 128 pictures: at least 3, at most 60."""
    return min(60, max(3, round(n_steps * 128 / image_set.n_train)))
