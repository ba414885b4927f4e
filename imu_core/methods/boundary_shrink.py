r"""Boundary shrink: relabel each forget picture to the nearest wrong class, then train on it
(Chen et al., Boundary Unlearning, CVPR 2023, arXiv 2303.11570).

One sign step on the pixels raises the loss of the true label; the class the original then sees is
the neighbour across the boundary, and the boundary is moved over the picture by training on it:

    x' = x + ε sign ∇ₓ CE(f₀(x), y),   y' = argmax_{c ≠ y} f₀(x')_c,   L = CE(f(x), y')

Differs from public code:
- The true label is left out of the argmax, so that a step too short to cross the boundary still
  gives a wrong class (released code can train the picture on its own label again).
- x' stays within the range of pixels, 0–1, and is not rounded to whole grey values.
- Weights can be laid on the pictures (`weighting`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.answers import nearest_wrong
from imu_core.methods.ascent import ForgetInputs
from imu_core.methods.descent import DescentConfig, descend
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Pictures, Task, batch_norm_for

BATCH = 1024


@dataclass(frozen=True)
class BoundaryShrinkConfig(DescentConfig):
    """Parameters of boundary shrink."""

    lr: float = parameter(0.0005, "Learning rate.", low=1e-8, high=100)
    radius: float = parameter(
        0.1, "ε: the sign step on each pixel, in units of the pixel range (0–1).", low=0, high=1
    )
    scope: str = parameter(
        "all", "The weights that move: the classifier head, or all.", choices=("head", "all")
    )
    weighting: str = weighting_parameter()


def neighbours(task: Task, part: Pictures, radius: float) -> Tensor:
    """The nearest wrong class of each picture, seen by the original after the sign step: (n,)."""
    found = []
    for images, labels in zip(part.images.split(BATCH), part.labels.split(BATCH), strict=True):
        pixels = images.float().div(255).requires_grad_(True)
        loss = functional.cross_entropy(task.original(pixels), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
        with torch.no_grad():
            moved = (pixels + radius * gradient.sign()).clamp(0, 1)
            found.append(nearest_wrong(task.original(moved), labels))
    return torch.cat(found)


@register(
    "boundary_shrink",
    title="Boundary shrink",
    needs=("forget",),
    scope="head or all",
    paper="Chen et al., Boundary Unlearning, arXiv 2303.11570",
    summary="Trains each forget picture on the wrong class that lies nearest across the boundary.",
    formula=r"\mathcal{L} = \frac1n\sum_i \mathrm{CE}(f(x_i), y'_i),\quad y'_i = "
    r"\arg\max_{c\neq y_i} f_0(x_i + \varepsilon\,\mathrm{sign}\nabla_x\ell_i)_c",
    config=BoundaryShrinkConfig,
)
def boundary_shrink(task: Task, config: BoundaryShrinkConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    targets = neighbours(task, task.forget, config.radius)
    mode = batch_norm_for(config.batch_norm, len(task.forget), config.batch_size)
    task.trainable(config.scope, mode)
    inputs = ForgetInputs(task)

    def loss_of(rows: Tensor) -> Tensor:
        logits = inputs.logits(rows)
        losses = functional.cross_entropy(logits, targets[rows], reduction="none")
        return term.mean(losses, rows, logits)

    yield from descend(task, config, task.forget, loss_of, weights=term.statistics)
