"""The forget set that is hardest, or easiest, to unlearn (Challenging Forgets, arXiv 2403.07362).

Bi-level: below, a head is fitted without the chosen pictures; above, the choice moves to those
whose loss stays low although they are left out, since what is predicted without having been seen
cannot be made forgotten by leaving it out. The paper unlearns the whole network in each round; here
the head alone is fitted anew, on cached features, so that it takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.softmax_head import fit_head, head_losses, standardised

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class WorstCase:
    """How the search goes."""

    rounds: int = 20
    """Rounds of fitting below and choosing above."""
    iterations: int = 10
    """L-BFGS iterations of the head in each round, from where it was."""
    rate: float = 0.2
    """How far a choice in 0–1 moves for each nat of loss."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.iterations < 1 or not self.rate > 0:
            raise BadInput("The search needs at least one round, one iteration and a rate above 0.")


def challenging_ids(
    features: np.ndarray,
    labels: Tensor,
    n_classes: int,
    count: int,
    *,
    easiest: bool = False,
    settings: WorstCase | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Ids int64 (count,), ascending, of the set that is hardest to unlearn (or easiest)."""
    settings, n = settings or WorstCase(), len(labels)
    if not 1 <= count < n:
        raise BadInput(f"Give from 1 to {n - 1:,} pictures; the others are needed to fit without.")
    inputs = standardised(features)
    head = fit_head(inputs, labels, n_classes, iterations=5 * settings.iterations)
    chosen = torch.full((n,), count / n)
    for number in range(settings.rounds):
        if progress is not None:
            progress(number, settings.rounds, "Fitting without the chosen, choosing anew")
        head = fit_head(
            inputs,
            labels,
            n_classes,
            weights=1 - chosen,
            start=head,
            iterations=settings.iterations,
        )
        losses = head_losses(inputs, labels, head)
        chosen = onto_choices(chosen + (1 if easiest else -1) * settings.rate * losses, count)
    return chosen.argsort(descending=True, stable=True)[:count].sort().values


def onto_choices(values: Tensor, total: float) -> Tensor:
    """The nearest point (n,) with 0 ≤ w ≤ 1 and Σw = total: clip(values − t), t by bisection."""
    values = values.double()
    low, high = values.min() - 1, values.max()
    for _ in range(60):
        middle = (low + high) / 2
        if (values - middle).clamp(0, 1).sum() > total:
            low = middle
        else:
            high = middle
    return (values - (low + high) / 2).clamp(0, 1).float()
