"""Predicted against measured, and scores of several models made one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import BadInput


@dataclass(frozen=True)
class Agreement:
    """How well predictions fit what was measured; None where one side does not vary."""

    pearson: float | None
    spearman: float | None
    slope: float | None
    """Of predicted on measured: 1 is right in size, below 1 is an underestimate."""
    n: int


def agreement(predicted: np.ndarray, measured: np.ndarray) -> Agreement:
    """Correlation, rank correlation and slope of predicted on measured changes."""
    predicted = np.asarray(predicted, dtype=np.float64).ravel()
    measured = np.asarray(measured, dtype=np.float64).ravel()
    if len(predicted) != len(measured):
        raise BadInput(f"{len(predicted)} predictions came with {len(measured)} measured values.")
    both = np.isfinite(predicted) & np.isfinite(measured)
    predicted, measured = predicted[both], measured[both]
    n = len(predicted)
    if n < 3 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return Agreement(None, None, None, n)
    # Importing scipy.stats takes seconds, and every method imports this package.
    from scipy import stats

    fit = stats.linregress(measured, predicted)
    ranks = stats.spearmanr(predicted, measured).statistic
    return Agreement(float(fit.rvalue), float(ranks), float(fit.slope), n)


@dataclass(frozen=True, eq=False)
class AveragedScores:
    """The mean over models of a score, and its standard error."""

    mean: Tensor
    standard_error: Tensor | None
    """None for one model."""
    n_models: int


def average_scores(scores: Sequence[Tensor], *, standardise: bool = False) -> AveragedScores:
    """Scores of the same pictures from M models, averaged: one model's noise cancels.

    `standardise` divides each model's scores by their root mean square first, so that a model with
    larger logits does not outvote the others; the mean is then in no unit.
    """
    if not scores:
        raise BadInput("There are no scores to average; train at least one model.")
    if any(one.shape != scores[0].shape for one in scores):
        raise BadInput("The scores of the models are not of the same pictures.")
    # Running sums (Welford 1962), so that M arrays are never copied into one.
    mean = torch.zeros_like(scores[0], dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for count, one in enumerate(scores, start=1):
        values = one.to(mean)
        if standardise:
            values = values / values.square().mean().sqrt().clamp_min(1e-300)
        away = values - mean
        mean = mean + away / count
        squares += away * (values - mean)
    n_models = len(scores)
    error = (squares / (n_models - 1) / n_models).sqrt() if n_models > 1 else None
    return AveragedScores(mean, error, n_models)
