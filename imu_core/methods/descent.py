"""Plain mini-batch SGD over the pictures of one part, for the methods whose loss is a mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imu_core.methods.registry import MethodConfig, Step, WeightStatistics, parameter
from imu_core.methods.task import Pictures, Task, n_batches


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


def sgd(task: Task, config: DescentConfig) -> torch.optim.Optimizer:
    """SGD over the parameters of the model that require a gradient."""
    return torch.optim.SGD(
        [p for p in task.model.parameters() if p.requires_grad],
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def descend(
    task: Task,
    config: DescentConfig,
    part: Pictures,
    loss_of: Callable[[Tensor], Tensor],
    *,
    note: str = "",
    optimiser: torch.optim.Optimizer | None = None,
    cosine: bool = False,
    each_epoch: Callable[[], None] | None = None,
    update: Callable[[torch.optim.Optimizer], None] | None = None,
    weights: WeightStatistics | None = None,
    done: int = 0,
    after: int = 0,
) -> Iterator[Step]:
    """Steps of SGD on `loss_of(positions)` over shuffled batches of `part`, `config.epochs` times.

    Moves the parameters of the model that require a gradient, or those of `optimiser`. `cosine`
    lets the learning rate fall to 0 over all steps; `each_epoch` runs before each pass; `update`
    stands for the optimiser's step where gradients or weights are masked. A method of several
    phases says how many steps came before (`done`) and will come `after`.
    """
    optimiser = optimiser or sgd(task, config)
    own = config.epochs * n_batches(len(part), config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, own) if cosine else None
    number, total = done, done + own + after
    for _ in range(config.epochs):
        if each_epoch is not None:
            each_epoch()
        for positions in part.batches(config.batch_size, task.generator):
            loss = loss_of(positions)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if update is None:
                optimiser.step()
            else:
                update(optimiser)
            if schedule is not None:
                schedule.step()
            number += 1
            yield Step(number, total, loss.item(), weights, note)


def endless(part: Pictures, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of shuffled batches of `part`, pass after pass, without end."""
    while True:
        yield from part.batches(size, generator)


def join(first: Pictures, second: Pictures) -> Pictures:
    """Both parts as one; positions from `len(first)` on are those of `second`."""
    return Pictures(
        torch.cat([first.images, second.images]),
        torch.cat([first.labels, second.labels]),
        torch.cat([first.ids, second.ids]),
    )


def batch_norm_for(part: Pictures, wanted: str) -> str:
    """`wanted`, but `eval` for one picture: alone it has no batch statistics."""
    return "eval" if len(part) == 1 else wanted
