"""What becomes of a few watched pictures: called right or not, and how sure the model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imu_core.errors import BadInput
from imu_core.evaluation.accuracy import accuracy, cross_entropy, predictions
from imu_core.evaluation.estimate import Estimate, mean


@dataclass(frozen=True)
class Watched:
    """One model's answers on watched pictures, row by row in the order of their ids."""

    called: np.ndarray
    """Predicted class, int64 (m,)."""
    probability: np.ndarray
    """Softmax probability of the true class, float64 (m,)."""
    accuracy: Estimate
    mean_probability: Estimate


def watched(logits: np.ndarray, labels: np.ndarray, ids: Sequence[int] | np.ndarray) -> Watched:
    """One model's answers on the pictures `ids`, from its logits (n, K) and true labels (n,)."""
    rows = np.asarray(ids, dtype=np.int64)
    if not len(rows):
        raise BadInput("No picture is watched; protect at least one.")
    chosen, truth = logits[rows], labels[rows]
    probability = np.exp(-cross_entropy(truth, chosen))
    return Watched(predictions(chosen), probability, accuracy(truth, chosen), mean(probability))


def moved(before: Watched, after: Watched) -> np.ndarray:
    """Rise or fall of the true class's probability, float64 (m,), from −1 to 1."""
    return after.probability - before.probability


def moved_floor(retrained: Sequence[Watched]) -> float | None:
    """Mean absolute difference of that probability between two retrained models, over all pairs
    and pictures; None with fewer than two models."""
    pairs = [
        np.abs(moved(one, other)).mean()
        for i, one in enumerate(retrained)
        for other in retrained[i + 1 :]
    ]
    return float(np.mean(pairs)) if pairs else None
