r"""LoTUS: smooth the original's answers to the forget pictures just as far as unseen pictures
would be (Spartalis et al., CVPR 2025, arXiv 2503.18314).

    F:  CE(f(x), s),  s = softmax((z₀ + g) / τ),  g Gumbel noise
    R:  CE(f(x), argmax z₀)
    τ = exp( α (acc_F(student) − acc_unseen(original)) ),  anew in each pass

While the student knows the forget pictures better than unseen ones, τ > 1 flattens the targets;
once it knows them less, τ < 1 sharpens them. It ends after the first pass that leaves the forget
accuracy `margin` below that on unseen pictures. The end is part of the method. For a whole class
the unseen accuracy is 0, to which flat answers do not come down: they are right by chance, once in
K classes, and τ is then so small that the next pass teaches the original's answers again. Twice
chance therefore counts as the goal; what is left of a class is mostly chance.

Differs from public code: the noise is drawn once a pass, not once a batch; the targets of retain
pictures are the original's answers without noise; at least one pass is made; the goal at twice
chance. The accuracy on unseen pictures is weighted to the class mix of the forget set, and a class
without retain pictures counts as 0 there, which is the paper's setting for whole classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.answers import accuracy, logits_of
from imu_core.methods.descent import DescentConfig, descend, join, share_of
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.heldout import expected_accuracy
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task, n_batches
from imu_core.optimisers import AdamW

BY_CHANCE, MOST_EXPONENT = 2.0, 60.0


@dataclass(frozen=True)
class LotusConfig(DescentConfig):
    """Parameters of LoTUS."""

    lr: float = parameter(0.001, "Learning rate (AdamW).", low=1e-8, high=100)
    momentum: float = parameter(0.9, "β₁ of AdamW.", low=0, high=0.999)
    alpha: float = parameter(8.0, "α: how strongly τ answers to the accuracy.", low=0, high=100)
    retain_share: float = parameter(
        1.0, "Share of the retain pictures used, at least one.", low=0, high=1
    )
    margin: float = parameter(
        0.01,
        "Ends this far below the accuracy on unseen pictures, or at twice chance.",
        low=0,
        high=1,
    )
    weighting: str = weighting_parameter()


def gumbel(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise, −log(−log U), on the CPU."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12))).float()


def temperature(alpha: float, known: float, unseen: float) -> float:
    """τ = exp(α (known − unseen)), kept where logits divided by it are finite."""
    return math.exp(max(-MOST_EXPONENT, min(MOST_EXPONENT, alpha * (known - unseen))))


@register(
    "lotus",
    title="LoTUS",
    needs=("forget", "retain", "heldout"),
    scope="all",
    paper="Spartalis et al., arXiv 2503.18314",
    summary="Trains the forget pictures on noisy answers of the original, flattened until the "
    "model knows them no better than unseen pictures.",
    formula=r"\mathcal{L}_F = \mathrm{CE}\bigl(f(x),\mathrm{softmax}((z_0+g)/\tau)\bigr),\quad "
    r"\tau = e^{\alpha(\mathrm{acc}_F - \mathrm{acc}_{unseen})}",
    config=LotusConfig,
)
def lotus(task: Task, config: LotusConfig) -> Iterator[Step]:
    forget, n_classes = task.forget, task.model.n_classes
    term = ForgetTerm(task, config.weighting)
    retain = share_of(task.retain, config.retain_share, task.generator)
    both, before = join(forget, retain), logits_of(task.original, forget)
    unseen = expected_accuracy(task.original, task)
    kept = functional.one_hot(logits_of(task.original, retain).argmax(1), n_classes).float()
    targets = torch.cat([torch.zeros_like(before), kept])
    parameters = task.trainable("all", config.batch_norm)
    optimiser = AdamW(parameters, momentum=config.momentum, weight_decay=config.weight_decay)
    once, in_pass = dataclasses.replace(config, epochs=1), n_batches(len(both), config.batch_size)

    def loss_of(rows: Tensor) -> Tensor:
        logits = task.model(both.images[rows])
        losses = functional.cross_entropy(logits, targets[rows], reduction="none")
        return term.mean_of_both(losses, rows, logits)

    for epoch in range(config.epochs):
        known = accuracy(task.model, forget)
        if epoch and known <= max(unseen - config.margin, BY_CHANCE / n_classes):
            return
        tau = temperature(config.alpha, known, unseen)
        noise = gumbel(before.shape, task.generator).to(before.device)
        targets[: len(forget)] = torch.softmax((before + noise) / tau, dim=1)
        done, after = epoch * in_pass, (config.epochs - epoch - 1) * in_pass
        yield from descend(
            task, once, both, loss_of, optimiser=optimiser, weights=term.statistics,
            done=done, after=after,
        )  # fmt: skip
