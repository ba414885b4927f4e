"""The forget term of a loss with a weight for every forget picture.

IMU's idea, weighting by influence, is a part of its own: any method with a mean over the forget
pictures can lay any of these weights on it. They are taken once, from the original, but for
`dynamic_loss`, which asks the moving model in every batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imu_core.device import forward_batch
from imu_core.methods.imu import ImuConfig, influence_weighting
from imu_core.methods.registry import WeightStatistics, parameter
from imu_core.methods.task import Task
from imu_core.methods.weighting import Weighting, by_loss, permuted, statistics, uniform

TEMPERATURE = 1.0


def weighting_parameter() -> str:
    """The config field by which a method offers a choice of weights."""
    return parameter(
        "uniform",
        "Weights of the forget pictures: all alike, by influence (IMU), by the original's loss "
        "(LoReUn: what is known best weighs most) or the moving model's, or influence dealt at "
        "random (the control).",
        choices=("uniform", "influence", "loss", "dynamic_loss", "permuted"),
    )


class ForgetTerm:
    """Weighted means over forget pictures."""

    def __init__(self, task: Task, weighting: str) -> None:
        self._labels = task.forget.labels
        self._is_uniform, self._is_dynamic = weighting == "uniform", weighting == "dynamic_loss"
        self._fixed = torch.ones(len(task.forget), device=task.device)
        self.statistics: WeightStatistics | None = None
        if not self._is_uniform and not self._is_dynamic:
            self._fixed = _at_original(task, _weighting(weighting, task.generator))
            self.statistics = statistics(self._fixed)

    def weights(self, positions: Tensor, logits: Tensor) -> Tensor:
        """Weights (b,) of the forget pictures at `positions`, whose logits (b, K) these are now."""
        if self._is_dynamic:
            now = logits.detach()
            return by_loss(TEMPERATURE)(now, now, self._labels[positions])
        return self._fixed[positions]

    def mean(self, losses: Tensor, positions: Tensor, logits: Tensor) -> Tensor:
        """Σ w ℓ / Σ w over the forget pictures at `positions`, whose losses and logits these are.

        0 where all of them were dropped by the weighting.
        """
        return weighted_mean(losses, self.weights(positions, logits))

    def mean_of_both(self, losses: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Mean loss over a batch of forget and retain pictures joined in this order.

        The forget pictures of the batch count by their weights among themselves; together they
        count for as many as they are.
        """
        gone = rows < len(self._labels)
        if self._is_uniform or not bool(gone.any()):
            return losses.mean()
        own = self.mean(losses[gone], rows[gone], logits[gone])
        return (losses[~gone].sum() + int(gone.sum()) * own) / len(rows)


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Σ w ℓ / Σ w; 0 where no weight is above 0."""
    return (weights * losses).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)


def _weighting(name: str, generator: torch.Generator) -> Weighting:
    if name == "loss":
        return by_loss(TEMPERATURE)
    influence = influence_weighting(ImuConfig())
    return {"influence": influence, "permuted": permuted(influence, generator)}.get(name, uniform())


@torch.no_grad()
def _at_original(task: Task, weighting: Weighting) -> Tensor:
    parts = task.forget.images.split(forward_batch(task.forget.images.device))
    features = torch.cat([task.original.features(images) for images in parts])
    return weighting(features, task.original.head(features), task.forget.labels)
