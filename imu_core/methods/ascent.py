"""Gradient ascent on the forget set with a weight for every sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.device import forward_batch
from imu_core.methods.registry import MethodConfig, Step, parameter
from imu_core.methods.task import Task, batch_norm_for, n_batches, set_batch_norm, split_batches
from imu_core.methods.weighting import Weighting, statistics
from imu_core.networks.modes import eval_mode
from imu_core.optimisers import Sgd


@dataclass(frozen=True)
class AscentConfig(MethodConfig):
    """What every ascent on the forget set has to be told."""

    lr: float = parameter(0.003, "Learning rate of the ascent.", low=1e-8, high=100)
    epochs: int = parameter(
        200, "At most so many passes over the forget pictures in use.", low=1, high=10_000
    )
    batch_size: int = parameter(256, "Pictures in one update.", low=1, high=65_536)
    momentum: float = parameter(0.9, "Momentum of the optimiser (SGD).", low=0, high=0.999)
    weight_decay: float = parameter(
        5e-4, "L2 decay of the weights that move, per update.", low=0, high=1
    )
    batch_norm: str = parameter(
        "eval",
        "Batch norm while unlearning: eval keeps its running statistics, train lets them drift "
        "towards the forget pictures.",
        choices=("eval", "train"),
    )


class ForgetInputs:
    """The forget pictures as the moving model sees them.

    When the features cannot change (only the head moves, batch norm in eval mode) they are computed
    once, and every update is a product with a small matrix; the result equals the plain loop.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._features = self._eval_features() if task.body_is_constant else None

    def __len__(self) -> int:
        return len(self._task.forget)

    def logits(self, positions: Tensor) -> Tensor:
        """Logits of these forget pictures under the model as it is now, with gradient: (b, K)."""
        if self._features is not None:
            return self._task.model.head(self._features[positions])
        return self._task.model(self._task.forget.images[positions])

    def features(self) -> Tensor:
        """Features of all forget pictures under the model as it is, without gradient: (n, d)."""
        return self._eval_features() if self._features is None else self._features

    @torch.no_grad()
    def weights(self, weighting: Weighting, positions: Tensor | None = None) -> Tensor:
        """Weights of all forget pictures, or of those at `positions`, from the model as it is."""
        features = self.features()
        labels = self._task.forget.labels
        if positions is not None:
            features, labels = features[positions], labels[positions]
        return weighting(features, self._task.model.head(features), labels)

    @torch.no_grad()
    def _eval_features(self) -> Tensor:
        model = self._task.model
        with eval_mode(model):
            images = self._task.forget.images
            parts = images.split(forward_batch(images.device))
            return torch.cat([model.features(part) for part in parts])


def weighted_ascent(
    task: Task,
    config: AscentConfig,
    weighting: Weighting,
    *,
    scope: str,
    refresh: str = "once",
    alpha: float = 0.0,
) -> Iterator[Step]:
    """Steps of SGD on  −Σ w ℓ / Σ w + α‖head‖₁  over batches of the samples whose weight is not 0.

    `refresh` says when the weights are computed anew: `once` (at the original), at every `epoch`,
    or at every `batch` from that batch alone, drawn from all forget pictures. Dividing by Σ w
    leaves only the ratios of weights inside a batch; α is the only absolute scale.
    """
    parameters = task.trainable(scope, config.batch_norm)
    optimiser = Sgd(
        parameters, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=False
    )
    inputs, labels = ForgetInputs(task), task.forget.labels
    weights = inputs.weights(weighting)
    # The weights decide how many samples are in use, and `epoch` may change that: the count of
    # updates is fixed from the first weights so that a run can say how far it is.
    everything = torch.arange(len(labels), device=labels.device)
    n_used = len(labels) if refresh == "batch" else int((weights > 0).sum())
    per_epoch = n_batches(n_used, config.batch_size)
    number, total = 0, config.epochs * per_epoch
    for epoch in range(config.epochs):
        if refresh == "epoch" and epoch:
            weights = inputs.weights(weighting)
        used = everything if refresh == "batch" else weights.nonzero().flatten()
        mode = batch_norm_for(config.batch_norm, len(used), config.batch_size)
        set_batch_norm(task.model, mode)
        order = used[torch.randperm(len(used), generator=task.generator).to(used.device)]
        for positions in split_batches(order, config.batch_size)[:per_epoch]:
            w = inputs.weights(weighting, positions) if refresh == "batch" else weights[positions]
            losses = functional.cross_entropy(
                inputs.logits(positions), labels[positions], reduction="none"
            )
            loss = -(w * losses).sum() / w.sum()
            if alpha:
                loss = loss + alpha * sum(p.abs().sum() for p in task.model.head.parameters())
            loss.backward()
            optimiser.step(config.lr)
            number += 1
            yield Step(number, total, loss.item(), statistics(w if refresh == "batch" else weights))
