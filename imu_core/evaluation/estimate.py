"""A measured number with its 95 % interval and its count, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, stdtrit


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval and the number of pictures it rests on.

    `value`, `low` and `high` are None when the number cannot be had; `why` then says so in a few
    words, for example "too few (n = 12)".
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The interval, count and reason, as kept under "detail" beside the flat value."""
        return {"low": self.low, "high": self.high, "n": self.n, "why": self.why}


def refused(n: int, why: str) -> Estimate:
    """An estimate that cannot be had, with the reason."""
    return Estimate(None, None, None, int(n), why)


def proportion(successes: int, n: int) -> Estimate:
    """Share `successes / n` with the exact (Clopper–Pearson 1934) 95 % interval.

    low = Beta⁻¹(0.025; k, n − k + 1), high = Beta⁻¹(0.975; k + 1, n − k); never narrower than it
    should be, also at 0 and n.
    """
    successes, n = int(successes), int(n)
    if n == 0:
        return refused(0, "no pictures")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share.")
    low = float(betaincinv(successes, n - successes + 1, 0.025)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 0.975)) if successes < n else 1.0
    return Estimate(successes / n, low, high, n)


def mean(values: np.ndarray) -> Estimate:
    """Mean of `values` (n,) with the 95 % interval of Student's t; refused where it is not finite.

    mean ± t(0.975; n − 1) · s / √n. A single value has no interval: low = high = value.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0:
        return refused(0, "no pictures")
    if not np.isfinite(values).all():
        return refused(n, "the model's outputs are not finite")
    centre = float(values.mean())
    half = 0.0
    if n > 1:
        half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / np.sqrt(n))
    return Estimate(centre, centre - half, centre + half, n)
