"""Weights over the forget samples, a part of its own: they can be laid on any forget term."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.influence.imu_scores import imu_scores, imu_weights
from imu_core.methods.registry import WeightStatistics

Weighting = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(features (n, d), logits (n, K), labels (n,)) → weights (n,), not negative, not all 0."""


def uniform() -> Weighting:
    """Every sample weighs 1."""
    return lambda features, logits, labels: torch.ones(len(labels), device=labels.device)


def by_influence(
    *,
    damping: float,
    damping_mode: str,
    select: str,
    share: float,
    law: str,
    clip_quantile: float,
) -> Weighting:
    """IMU's weights: by each sample's influence on the forget loss at the classifier head."""

    def weigh(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        scores = imu_scores(features, logits, labels, damping=damping, damping_mode=damping_mode)
        return imu_weights(
            scores, select=select, share=share, law=law, clip_quantile=clip_quantile
        ).float()

    return weigh


def by_loss(temperature: float) -> Weighting:
    """exp(−loss / temperature): a sample with a small loss is hard to forget and weighs more
    (LoReUn, arXiv 2507.22499)."""

    def weigh(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        losses = functional.cross_entropy(logits, labels, reduction="none")
        return torch.exp(-(losses - losses.min()) / temperature)

    return weigh


def permuted(weighting: Weighting, generator: torch.Generator) -> Weighting:
    """The same weights dealt to other samples at random: the control for any weighting."""

    def weigh(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        weights = weighting(features, logits, labels)
        return weights[torch.randperm(len(weights), generator=generator).to(weights.device)]

    return weigh


def statistics(weights: Tensor) -> WeightStatistics:
    """Count, number in use, smallest, mean and largest weight of those in use."""
    used = weights[weights > 0]
    return WeightStatistics(
        len(weights), len(used), float(used.min()), float(used.mean()), float(used.max())
    )
