"""Two methods read at equal depth: what each had kept when it had forgotten as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Probe = Mapping[str, Any]
"""{"number", "forget_accuracy", "retain_accuracy", "heldout_accuracy"}: one probe of a run."""


@dataclass(frozen=True)
class EqualDepth:
    """The first probe of each path with forget accuracy at or below `depth`; None = never."""

    depth: float
    first: Probe | None
    second: Probe | None

    @property
    def comparable(self) -> bool:
        """Whether both paths got that deep."""
        return self.first is not None and self.second is not None

    def gap(self, name: str) -> float | None:
        """First minus second of "retain_accuracy", "heldout_accuracy" or "number" (steps).

        None where a path never got that deep or has no such value.
        """
        if self.first is None or self.second is None:
            return None
        mine, theirs = self.first.get(name), self.second.get(name)
        return None if mine is None or theirs is None else mine - theirs


def equal_depth(path_a: Sequence[Probe], path_b: Sequence[Probe], depth: float) -> EqualDepth:
    """Both paths at their first probe with forget accuracy ≤ `depth` (a fraction).

    At the same number of steps the method that forgets faster looks worse at keeping, and the
    other way round; at equal depth they can be compared. Probes may come in any order.
    """
    return EqualDepth(depth, first_at_depth(path_a, depth), first_at_depth(path_b, depth))


def first_at_depth(path: Sequence[Probe], depth: float) -> Probe | None:
    """The probe with the lowest step number whose forget accuracy is at or below `depth`."""
    deep = [
        probe
        for probe in path
        if probe["forget_accuracy"] is not None and probe["forget_accuracy"] <= depth
    ]
    return min(deep, key=lambda probe: probe["number"], default=None)
