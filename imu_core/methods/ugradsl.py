r"""UGradSL: NegGrad+ with the labels of the forget pictures smoothed by a negative amount
(Di et al., "Label smoothing improves machine unlearning", arXiv 2406.07698).

    L = p · mean CE(R) − (1 − p) · mean CE(F, y~),   y~ = (1 − a) onehot(y) + (a / K) 1,   a < 0

With a < 0 the target gives the true class more than 1 and the others less than 0, so ascending on
it drives the true class down and all others evenly up: towards "anything else", not towards one
class.

`passes` says what an epoch is: `forget` is the paper's UGradSL (short), `retain` its UGradSL+ (a
whole pass over the retain pictures). `adaptive` scales a for each forget picture by the share of
the retain batch that lies near it in feature space: where many retain pictures are near, more
smoothing.

Differs: the official repository could not be read. The radius for "near" is here the median
distance of the batch's retain pictures to one another, so that it needs no tuning and no unit.
The learning rate falls by a cosine, as in NegGrad+.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.descent import DescentConfig, descend, endless
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class UgradslConfig(DescentConfig):
    """Parameters of UGradSL."""

    lr: float = parameter(0.03, "Learning rate at the start.", low=1e-8, high=100)
    epochs: int = parameter(5, "Passes over the pictures named by `passes`.", low=1, high=10_000)
    share: float = parameter(0.99, "p: share of the retain term.", low=0, high=1)
    smoothing: float = parameter(0.2, "−a: how far below 0 the labels are smoothed.", low=0, high=1)
    adaptive: bool = parameter(False, "Scale the smoothing by the retain pictures near by.")
    passes: str = parameter(
        "retain",
        "What one epoch passes over: forget (UGradSL) or retain (UGradSL+).",
        choices=("forget", "retain"),
    )
    weighting: str = weighting_parameter()


def smoothed_losses(logits: Tensor, labels: Tensor, a: Tensor) -> Tensor:
    """Cross-entropy with (1 − a) onehot(y) + a/K for a smoothing of each row: (n,)."""
    spread = -functional.log_softmax(logits, dim=1).mean(1)
    return (1 - a) * functional.cross_entropy(logits, labels, reduction="none") + a * spread


@torch.no_grad()
def nearness(forget_features: Tensor, retain_features: Tensor) -> Tensor:
    """Share of the retain features nearer to each forget feature than retain features are to one
    another in the median: (n,). One retain feature has no such distance, and is near."""
    distances = torch.cdist(forget_features, retain_features)
    if len(retain_features) < 2:
        return torch.ones_like(distances).mean(1)
    return (distances < torch.pdist(retain_features).median()).float().mean(1)


@register(
    "ugradsl",
    title="UGradSL",
    needs=("forget", "retain"),
    scope="all",
    paper="Di et al., arXiv 2406.07698",
    summary="NegGrad+ with negatively smoothed labels for the forget pictures.",
    formula=r"\mathcal{L} = p\,\mathrm{CE}(R) - (1-p)\,\mathrm{CE}\bigl(F,\ (1-a)\,y + "
    r"\tfrac{a}{K}\mathbf 1\bigr),\ a<0",
    config=UgradslConfig,
)
def ugradsl(task: Task, config: UgradslConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    task.trainable("all", config.batch_norm)
    forget, retain = task.forget, task.retain
    by_retain = config.passes == "retain"
    others = endless(forget if by_retain else retain, config.batch_size, task.generator)

    def loss_of(rows: Tensor) -> Tensor:
        gone, kept = (next(others), rows) if by_retain else (rows, next(others))
        features = task.model.features(torch.cat([forget.images[gone], retain.images[kept]]))
        logits = task.model.head(features)
        n = len(gone)
        a = torch.full((n,), -config.smoothing, device=task.device)
        if config.adaptive:
            a = a * nearness(features[:n].detach(), features[n:].detach())
        losses = smoothed_losses(logits[:n], forget.labels[gone], a)
        retain_loss = functional.cross_entropy(logits[n:], retain.labels[kept])
        forget_loss = term.mean(losses, gone, logits[:n])
        return config.share * retain_loss - (1 - config.share) * forget_loss

    part = retain if by_retain else forget
    yield from descend(task, config, part, loss_of, weights=term.statistics, cosine=True)
