"""How a person's own pictures are brought into one shape and parted, as a SPEC says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from imu_core.errors import BadInput
from imu_core.images.decoding import COLOURS, MAX_SIZE, MIN_SIZE

DEFAULT_SIZE = 32
TEST_SHARES = (0.05, 0.5)
MAX_SEED = 999_999_999


@dataclass(frozen=True)
class Preparation:
    """What is done to a person's own pictures before any model sees them."""

    size: int = DEFAULT_SIZE
    """Pixels a side; the pictures of an .npz file keep their own."""
    colour: str = "auto"
    """`auto` is grey where every picture is grey; `grey` and `colour` make all of them so."""
    test_share: float = 0.2
    """Part of each class, in whole hundredths, that is drawn for testing where none is given."""
    seed: int = 0
    """Draws that part."""

    def __post_init__(self) -> None:
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise BadInput(
                f"Pictures can be brought to {MIN_SIZE}–{MAX_SIZE} pixels a side, not {self.size}."
            )
        if self.colour not in COLOURS:
            raise BadInput(f"Pictures can be made {', '.join(COLOURS)}, not “{self.colour}”.")
        low, high = TEST_SHARES
        if not low <= self.test_share <= high:
            raise BadInput(
                f"Between {low:.0%} and {high:.0%} of the pictures can be kept for testing, "
                f"not {self.test_share:.0%}."
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise BadInput(f"A seed is a whole number from 0 to {MAX_SEED}, not {self.seed}.")

    @property
    def options(self) -> str:
        """The part of a SPEC after its last @: `64,grey,test=30%,seed=1`."""
        parts = [str(self.size)]
        if self.colour != "auto":
            parts.append(self.colour)
        if self.test_share != Preparation.test_share:
            parts.append(f"test={round(100 * self.test_share)}%")
        if self.seed:
            parts.append(f"seed={self.seed}")
        return ",".join(parts)


def spec_of(prefix: str, path: str, preparation: Preparation) -> str:
    """The SPEC `PREFIX:PATH` or `PREFIX:PATH@OPTIONS`, which `split_options` takes apart again."""
    plain = preparation == Preparation() and "@" not in path
    return f"{prefix}:{path}" + ("" if plain else f"@{preparation.options}")


def split_options(rest: str) -> tuple[str, Preparation]:
    """The path and the preparation of `PATH` or `PATH@OPTIONS`.

    What follows the last @ and is no list of options belongs to the path.
    """
    path, at, text = rest.rpartition("@")
    options = _options(text) if at and path else None
    return (rest, Preparation()) if options is None else (path, Preparation(**options))


def _options(text: str) -> dict[str, Any] | None:
    """Fields of a Preparation; None where one of the parts is no option."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        if re.fullmatch("[0-9]{1,6}", part):
            found["size"] = int(part)
        elif part in COLOURS:
            found["colour"] = part
        elif match := re.fullmatch("test=([0-9]{1,3})%", part):
            found["test_share"] = int(match[1]) / 100
        elif match := re.fullmatch("seed=([0-9]{1,9})", part):
            found["seed"] = int(match[1])
        else:
            return None
    return found
