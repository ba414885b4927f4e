"""The forget term of a loss with a weight for every forget picture.

IMU's idea, weighting by influence, is a part of its own: any method with a mean over the forget
pictures can lay any of these weights on it. They are taken once, from the original.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imu_core.device import forward_batch
from imu_core.methods.imu import ImuConfig, influence_weighting
from imu_core.methods.registry import WeightStatistics, parameter
from imu_core.methods.task import Task
from imu_core.methods.weighting import Weighting, by_loss, permuted, statistics, uniform


def weighting_parameter() -> str:
    """The config field by which a method offers a choice of weights."""
    return parameter(
        "uniform",
        "Weights of the forget pictures: all alike, by influence (IMU), by loss (LoReUn: what is "
        "known best weighs most), or influence dealt at random (the control).",
        choices=("uniform", "influence", "loss", "permuted"),
    )


class ForgetTerm:
    """Weighted means over forget pictures."""

    def __init__(self, task: Task, weighting: str) -> None:
        self._weights = torch.ones(len(task.forget), device=task.device)
        self.statistics: WeightStatistics | None = None
        if weighting != "uniform":
            self._weights = _at_original(task, _weighting(weighting, task.generator))
            self.statistics = statistics(self._weights)

    def mean(self, losses: Tensor, positions: Tensor) -> Tensor:
        """Σ w ℓ / Σ w over the forget pictures at `positions`, whose losses these are.

        0 where all of them were dropped by the weighting.
        """
        w = self._weights[positions]
        return (w * losses).sum() / w.sum().clamp_min(torch.finfo(w.dtype).tiny)


def _weighting(name: str, generator: torch.Generator) -> Weighting:
    if name == "loss":
        return by_loss(1.0)
    influence = influence_weighting(ImuConfig())
    return {"influence": influence, "permuted": permuted(influence, generator)}.get(name, uniform())


@torch.no_grad()
def _at_original(task: Task, weighting: Weighting) -> Tensor:
    parts = task.forget.images.split(forward_batch(task.forget.images.device))
    features = torch.cat([task.original.features(images) for images in parts])
    return weighting(features, task.original.head(features), task.forget.labels)
