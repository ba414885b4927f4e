"""Plain mini-batch SGD over the pictures of one part, for the methods whose loss is a mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.registry import MethodConfig, Step, WeightStatistics, parameter
from imu_core.methods.task import Pictures, Task, n_batches, one_by_one, set_batch_norm
from imu_core.optimisers import AdamW, Sgd


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


def sgd(task: Task, config: DescentConfig) -> Sgd:
    """SGD over the parameters of the model that require a gradient."""
    return Sgd(
        task.model.parameters(),
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=False,
    )


def descend(
    task: Task,
    config: DescentConfig,
    part: Pictures,
    loss_of: Callable[[Tensor], Tensor],
    *,
    note: str = "",
    optimiser: Sgd | AdamW | None = None,
    cosine: bool = False,
    each_epoch: Callable[[], None] | None = None,
    update: Callable[[Callable[[], None]], None] | None = None,
    weights: WeightStatistics | None = None,
    done: int = 0,
    after: int = 0,
) -> Iterator[Step]:
    """Steps of SGD on `loss_of(positions)` over shuffled batches of `part`, `config.epochs` times.

    Moves the parameters of the model that require a gradient, or those of `optimiser`. `cosine`
    lets the learning rate fall to 0 over all steps; `each_epoch` runs before each pass; `update` is
    handed the optimiser's step where gradients or weights are to be masked around it. A method of
    several phases says how many steps came before (`done`) and will come `after`.
    """
    optimiser = optimiser or sgd(task, config)
    if one_by_one(len(part), config.batch_size):
        set_batch_norm(task.model, "eval")
    own = config.epochs * n_batches(len(part), config.batch_size)
    taken, total = 0, done + own + after

    def move() -> None:
        share = (1 + math.cos(math.pi * taken / own)) / 2 if cosine else 1.0
        optimiser.step(config.lr * share)

    for _ in range(config.epochs):
        if each_epoch is not None:
            each_epoch()
        for positions in part.batches(config.batch_size, task.generator):
            loss = loss_of(positions)
            loss.backward()
            if update is None:
                move()
            else:
                update(move)
            taken += 1
            yield Step(done + taken, total, loss.item(), weights, note)


def descend_on_retain(
    task: Task,
    config: DescentConfig,
    *,
    cosine: bool = False,
    update: Callable[[Callable[[], None]], None] | None = None,
) -> Iterator[Step]:
    """Steps on the cross-entropy of the retain pictures, with whatever is free to move."""
    retain = task.retain

    def loss_of(rows: Tensor) -> Tensor:
        return functional.cross_entropy(task.model(retain.images[rows]), retain.labels[rows])

    yield from descend(task, config, retain, loss_of, cosine=cosine, update=update)


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


def share_of(part: Pictures, share: float, generator: torch.Generator) -> Pictures:
    """A random share of `part`, at least one picture, in its order."""
    n = max(1, round(share * len(part)))
    return part.take(torch.randperm(len(part), generator=generator)[:n].sort().values)
