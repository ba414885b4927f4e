"""Plain mini-batch SGD over the pictures of one part, for the methods whose loss is a mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imu_core.methods.registry import MethodConfig, Step, parameter
from imu_core.methods.task import Pictures, Task


@dataclass(frozen=True)
class DescentConfig(MethodConfig):
    """What every mini-batch descent has to be told."""

    lr: float = parameter(0.01, "Learning rate.", low=1e-8, high=100)
    epochs: int = parameter(10, "Passes over the pictures.", low=1, high=10_000)
    batch_size: int = parameter(128, "Pictures in one update.", low=1, high=65_536)
    momentum: float = parameter(0.9, "Momentum of the optimiser (SGD).", low=0, high=0.999)
    weight_decay: float = parameter(5e-4, "L2 decay of the weights, per update.", low=0, high=1)
    batch_norm: str = parameter(
        "train",
        "Batch norm while unlearning: train updates its running statistics, eval keeps them.",
        choices=("eval", "train"),
    )


def descend(
    task: Task,
    config: DescentConfig,
    part: Pictures,
    loss_of: Callable[[Tensor], Tensor],
    *,
    note: str = "",
) -> Iterator[Step]:
    """Steps of SGD on `loss_of(positions)` over shuffled batches of `part`, `config.epochs` times.

    Moves the parameters of the model that require a gradient.
    """
    optimiser = torch.optim.SGD(
        [p for p in task.model.parameters() if p.requires_grad],
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    number, total = 0, config.epochs * math.ceil(len(part) / config.batch_size)
    for _ in range(config.epochs):
        for positions in part.batches(config.batch_size, task.generator):
            loss = loss_of(positions)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            number += 1
            yield Step(number, total, loss.item(), note=note)
