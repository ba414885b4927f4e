r"""Masked self-distillation: towards the original's own answer without the class (DELETE-like).

    L = mean KL( softmax(z₀ with z₀[y] = −∞) ‖ softmax(z) )

with z₀ the original's logits. The target is what the original thinks the picture is if it cannot
be its true class, so what the model knows about the other classes is kept ("dark knowledge") while
the true class is driven out; no retain picture is needed.
Paper: Zhou et al., "Decoupled Distillation to Erase" (DELETE), CVPR 2025, arXiv 2503.23751.

Differs from public code:
- Written from the formula. For single pictures the class is masked for these pictures alone.
- Weights can be laid on the pictures (`weighting`).

Forget-only training of all layers is brittle: it needs a learning rate one to two orders below that
of the head, and with batch norm in `eval` mode less still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.answers import logits_of, without_class
from imu_core.methods.ascent import ForgetInputs
from imu_core.methods.descent import DescentConfig, descend
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task, batch_norm_for


@dataclass(frozen=True)
class MaskDistilConfig(DescentConfig):
    """Parameters of masked self-distillation."""

    lr: float = parameter(0.001, "Learning rate.", low=1e-8, high=100)
    scope: str = parameter(
        "all", "The weights that move: the classifier head, or all.", choices=("head", "all")
    )
    weighting: str = weighting_parameter()


@register(
    "mask_distil",
    title="Masked self-distillation",
    needs=("forget",),
    scope="head or all",
    paper="Zhou et al., Decoupled Distillation to Erase (DELETE), arXiv 2503.23751",
    summary="Teaches the model its own original answer with the true class left out.",
    formula=r"\mathcal{L} = \frac1n\sum_i \mathrm{KL}\bigl(\mathrm{softmax}"
    r"(z^0_i|_{z_{y_i}=-\infty})\,\Vert\,\mathrm{softmax}(z_i)\bigr)",
    config=MaskDistilConfig,
)
def mask_distil(task: Task, config: MaskDistilConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    masked = without_class(logits_of(task.original, task.forget), task.forget.labels)
    targets = torch.softmax(masked, dim=1)  # (n, K), 0 at the true class
    mode = batch_norm_for(config.batch_norm, len(task.forget), config.batch_size)
    task.trainable(config.scope, mode)
    inputs = ForgetInputs(task)

    def loss_of(rows: Tensor) -> Tensor:
        logits = inputs.logits(rows)
        now = functional.log_softmax(logits, dim=1)
        losses = functional.kl_div(now, targets[rows], reduction="none").sum(1)
        return term.mean(losses, rows, logits)

    yield from descend(task, config, task.forget, loss_of, weights=term.statistics)
