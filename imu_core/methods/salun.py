r"""SalUn: random labels, but only the weights that matter to the forget pictures move
(Fan et al., ICLR 2024, arXiv 2310.12508).

    m = 1 where |Σ_F ∇CE| is in the largest `ratio` of all weights,   θ = θ₀ + m ∘ Δ

The mask is taken once, at the original; then as `random_label`.

Differs from public code:
- Earlier versions multiply the gradient by the mask, and weight decay then still moves every
  weight. Here, as in a later one, the weights outside the mask are put back after each update: they
  stay bit for bit.
- No weight moves while the gradient is summed (one version stepped its optimiser in that loop).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.random_label import RandomLabelConfig, train_on_random_labels
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Pictures, Task
from imu_core.networks.classifier import Classifier

BATCH = 1024


@dataclass(frozen=True)
class SalunConfig(RandomLabelConfig):
    """Parameters of SalUn."""

    ratio: float = parameter(0.5, "Share of the weights that move.", low=0, high=1)


def loss_gradients(model: Classifier, part: Pictures) -> list[Tensor]:
    """Gradient of the mean cross-entropy over `part` for each parameter, in their order.

    In the mode the model is in; 0 for a parameter the loss does not reach.
    """
    parameters = list(model.parameters())
    sums = [torch.zeros_like(p) for p in parameters]
    for images, labels in zip(part.images.split(BATCH), part.labels.split(BATCH), strict=True):
        loss = functional.cross_entropy(model(images), labels, reduction="sum") / len(part)
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for total, g in zip(sums, found, strict=True):
            if g is not None:
                total += g
    return sums


def largest(values: list[Tensor], ratio: float) -> list[Tensor]:
    """Masks, one a tensor, of the `ratio` of all entries together that are largest (bool).

    Exactly round(ratio · N) entries; equal ones are taken in order.
    """
    flat = torch.cat([v.flatten() for v in values])
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.argsort(descending=True, stable=True)[: round(ratio * len(flat))]] = True
    parts = chosen.split([v.numel() for v in values])
    return [part.view_as(v) for part, v in zip(parts, values, strict=True)]


@register(
    "salun",
    title="SalUn",
    needs=("forget", "retain"),
    scope="all",
    paper="Fan et al., arXiv 2310.12508",
    summary="Random labels for the forget pictures, moving only the weights to which these matter "
    "most.",
    formula=r"\theta = \theta_0 + m\circ\Delta,\quad m = \bigl[\,|\nabla_\theta\textstyle\sum_F"
    r"\ell_i| \text{ among the largest}\,\bigr]",
    config=SalunConfig,
)
def salun(task: Task, config: SalunConfig) -> Iterator[Step]:
    parameters = task.trainable("all")
    gradients = [g.abs() for g in loss_gradients(task.model, task.forget)]
    masks = largest(gradients, config.ratio)
    start = [p.detach().clone() for p in parameters]

    def update(step: Callable[[], None]) -> None:
        step()
        with torch.no_grad():
            for p, mask, before in zip(parameters, masks, start, strict=True):
                p.copy_(torch.where(mask, p, before))

    yield from train_on_random_labels(task, config, update)
