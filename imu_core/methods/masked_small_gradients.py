r"""Masked small gradients: draw anew the weights that no gradient holds, then repair
(MSG, first among the eighteen methods of Deep Unlearn with CT, Cadet et al., arXiv 2410.01276).

    g = |∇ (mean CE(R) − mean CE(F))|,   the share `ratio` of body weights with the smallest g is
    drawn anew;  then fine-tune on R, with the gradient of the kept weights times `kept_rate`

A weight with a small g matters little to telling F from R, so it can be replaced at little cost,
and replacing many of them blurs what was remembered of single pictures.

Differs from public code: the share is taken over all kernels and matrices before the head, not of
each convolution's kernel; the retain part of the gradient is over all retain pictures, not over as
many as are forgotten; the draw is by fan-in, not fan-out; the learning rate falls by a cosine
rather than rising first. Its factor of 0.1 on the gradient of kept weights is `kept_rate`, 1 here:
networks of this size do not settle with it in few passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imu_core.methods.descent import DescentConfig, descend_on_retain
from imu_core.methods.layers import fresh_copy, weight_matrices
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.salun import largest, loss_gradients
from imu_core.methods.task import Task


@dataclass(frozen=True)
class MaskedSmallGradientsConfig(DescentConfig):
    """Parameters of masked small gradients."""

    lr: float = parameter(0.1, "Learning rate at the start.", low=1e-8, high=100)
    epochs: int = parameter(10, "Passes over the retain pictures.", low=1, high=10_000)
    ratio: float = parameter(0.3, "Share of the body's weights drawn anew.", low=0, high=1)
    kept_rate: float = parameter(
        1.0, "Factor on the gradient of the kernels and matrices not drawn anew.", low=0, high=1
    )


def draw_small_anew(task: Task, ratio: float) -> dict[str, Tensor]:
    """Redraws the weights with the smallest gradient; masks of what was redrawn, by name."""
    weights = weight_matrices(task.model.body)
    names = {id(p): name for name, p in weights.items()}
    parameters = list(task.model.parameters())
    differences = [
        (kept - gone).abs()
        for p, kept, gone in zip(
            parameters,
            loss_gradients(task.model, task.retain),
            loss_gradients(task.model, task.forget),
            strict=True,
        )
        if id(p) in names
    ]
    order = [names[id(p)] for p in parameters if id(p) in names]
    masks = dict(zip(order, largest([-d for d in differences], ratio), strict=True))
    fresh = weight_matrices(fresh_copy(task.model, task.generator).body)
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].copy_(torch.where(mask, fresh[name], weights[name]))
    return masks


@register(
    "masked_small_gradients",
    title="Masked small gradients (MSG)",
    needs=("forget", "retain"),
    scope="all",
    paper="Deep Unlearn, arXiv 2410.01276",
    summary="Draws anew the weights with the smallest gradient, then fine-tunes on the retain "
    "pictures.",
    formula=r"\theta_k \leftarrow \text{new draw where } |\nabla_k(\ell_R - \ell_F)|\text{ is "
    r"small},\quad\text{then } \min_\theta \frac1m\sum_{j\in R}\ell_j",
    config=MaskedSmallGradientsConfig,
)
def masked_small_gradients(task: Task, config: MaskedSmallGradientsConfig) -> Iterator[Step]:
    task.trainable("all")
    masks = draw_small_anew(task, config.ratio)
    task.trainable("all", config.batch_norm)
    weights = weight_matrices(task.model.body)

    def update(step: Callable[[], None]) -> None:
        for name, mask in masks.items():
            gradient = weights[name].grad
            if gradient is not None:
                gradient.mul_(torch.where(mask, 1.0, config.kept_rate))
        step()

    yield from descend_on_retain(task, config, cosine=True, update=update)
