"""How pixels are normalised before a network sees them, as a person types or picks it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from imu_core.errors import BadInput, UnknownName
from imu_core.images.image_set import ImageSet

PRESETS = {
    "pictures": "From the pictures",
    "imagenet": "ImageNet",
    "half": "0.5 and 0.5",
    "none": "None",
}
"""Name → title of the usual choices."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_LARGEST = 10.0


@dataclass(frozen=True)
class Normalisation:
    """(pixel − mean) / std with pixels in 0–1: one number a channel, or one for all."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """above 0"""

    def __post_init__(self) -> None:
        for what, values in (("mean", self.mean), ("deviation", self.std)):
            wrong = next((v for v in values if not math.isfinite(v) or abs(v) > _LARGEST), None)
            if wrong is not None:
                raise BadInput(
                    f"The {what} {wrong:g} cannot be right: pixels run from 0 to 1 here, so divide "
                    "numbers for 0–255 by 255."
                )
        if any(value <= 0 for value in self.std):
            raise BadInput(
                f"A deviation must be above 0, not {min(self.std):g}: pixels are divided by it."
            )

    def checked(self, channels: int, *, three_for_grey: bool = False) -> Normalisation:
        """The same, once there are as many numbers as the pictures have channels, or one for all.

        `three_for_grey`: grey pictures are repeated to three channels, which may have their own.
        """
        most = 3 if three_for_grey and channels == 1 else channels
        for what, values in (("mean", self.mean), ("deviation", self.std)):
            if len(values) not in {1, channels, most}:
                allowed = "1 number" if most == 1 else f"{most} numbers, or one for all"
                raise BadInput(
                    f"The {what} has {len(values)} numbers; these pictures take {allowed}."
                )
        return self


def numbers(text: str, what: str) -> tuple[float, ...]:
    """The numbers of a text such as `0.485, 0.456, 0.406`; `what` is their name in messages."""
    parts = [part for part in re.split(r"[\s,;]+", text.strip("[]() \t\n")) if part]
    try:
        found = tuple(float(part) for part in parts)
    except ValueError:
        found = ()
    if not found:
        raise BadInput(
            f"The {what} must be numbers with commas between them, such as 0.5 or "
            f"0.485, 0.456, 0.406; not “{text.strip()}”."
        )
    return found


def preset(name: str, image_set: ImageSet, *, three_for_grey: bool = False) -> Normalisation:
    """The normalisation of this name in `PRESETS` for these pictures."""
    if name not in PRESETS:
        raise UnknownName("normalisation", name, PRESETS)
    if name == "pictures":
        mean, std = image_set.pixel_statistics
        return Normalisation(*(tuple(round(value, 6) for value in part) for part in (mean, std)))
    if name == "half":
        return Normalisation((0.5,), (0.5,))
    if name == "none":
        return Normalisation((0.0,), (1.0,))
    if image_set.image_shape[0] == 3 or three_for_grey:
        return Normalisation(IMAGENET_MEAN, IMAGENET_STD)
    # One channel has the mean of the three.
    return Normalisation((round(sum(IMAGENET_MEAN) / 3, 6),), (round(sum(IMAGENET_STD) / 3, 6),))
