"""Numbers as words: what the verdict's sentences are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imu_core.evaluation.estimate import Estimate

M = Mapping[str, Any]
"""Flat metrics of one model with "detail", as `Metrics.to_dict` gives them."""


@dataclass(frozen=True)
class Reference:
    """A metric over the retrained models: their mean, and how far they differ by seed alone."""

    mean: float
    floor: float | None
    """Largest difference between two of them; None with a single model."""
    n_models: int

    @property
    def slack(self) -> float:
        return self.floor or 0.0


def estimate(metrics: M, name: str) -> Estimate:
    """The estimate of this name from flat metrics; without its detail the interval is the value."""
    value = metrics.get(name)
    detail = (metrics.get("detail") or {}).get(name) or {}
    if value is None:
        return Estimate(None, None, None, detail.get("n") or 0, detail.get("why") or "not measured")
    low, high = detail.get("low"), detail.get("high")
    return Estimate(
        value, value if low is None else low, value if high is None else high, detail.get("n") or 0
    )


def reference_for(
    name: str, retrained: Sequence[M], floor: Mapping[str, Mapping[str, Any]]
) -> Reference | None:
    """The retrained models' values of this metric in brief; None where none has it."""
    values = [m[name] for m in retrained if m.get(name) is not None]
    if not values:
        return None
    return Reference(sum(values) / len(values), floor.get(name, {}).get("max"), len(values))


def against(reference: Reference, *, ratio: bool = False) -> str:
    """What a number is to be read against; `ratio` writes 0.53, otherwise per cent and points."""
    centre = f"{reference.mean:.2f}" if ratio else percent(reference.mean)
    if reference.floor is None:
        models = f"{reference.n_models} model{'' if reference.n_models == 1 else 's'}"
        return f"retrained: {centre}, {models}, floor not known"
    floor = f"{reference.floor:.2f}" if ratio else points(reference.floor)
    return f"retrained: {centre}, {reference.n_models} models, floor {floor}"


def n_pictures(n: int, kind: str) -> str:
    """For example 1,021 forget pictures."""
    return f"{n:,} {kind} picture{'' if n == 1 else 's'}"


def percent(value: float) -> str:
    """A fraction as per cent with one decimal."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """A difference of fractions in percentage points."""
    return f"{100 * value:.1f} points"


def duration(value: float) -> str:
    """Seconds with two digits below ten."""
    return f"{value:.2g} s" if value < 10 else f"{value:,.0f} s"


def share_of(metrics: M, name: str) -> str:
    """This metric as per cent, or that it was not measured."""
    value = metrics.get(name)
    return "not measured" if value is None else percent(value)


def with_interval(item: Estimate) -> str:
    """For example 0.53 (0.49 to 0.57)."""
    return f"{item.value:.2f} ({item.low:.2f} to {item.high:.2f})"
