r"""NegGrad+: descend on the retain pictures and ascend on the forget pictures at once
(Kurmanji et al., NeurIPS 2023, arXiv 2302.09880).

    L = α · mean CE(R) − (1 − α) · mean CE(F)

The retain term repairs what plain ascent breaks. α near 1, since the forget term has no bound.
Well tuned it is the simple baseline to beat (Deep Unlearn, arXiv 2410.01276).

Differs from public code:
- The two batches go through the network together, so that batch norm in train mode sees both, and
  a forget set of one picture needs no batch of its own.
- An epoch is a pass over the retain pictures, as there; forget batches are shuffled in each round.
- The learning rate falls by a cosine (public code: in steps), so that the last updates repair.
- Weights can be laid on the forget pictures (`weighting`).
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
class NegGradPlusConfig(DescentConfig):
    """Parameters of NegGrad+."""

    lr: float = parameter(0.03, "Learning rate at the start.", low=1e-8, high=100)
    epochs: int = parameter(5, "Passes over the retain pictures.", low=1, high=10_000)
    alpha: float = parameter(0.98, "α: share of the retain term.", low=0, high=1)
    weighting: str = weighting_parameter()


@register(
    "neg_grad_plus",
    title="NegGrad+",
    needs=("forget", "retain"),
    scope="all",
    paper="Kurmanji et al., arXiv 2302.09880",
    summary="Ascends on the forget pictures and descends on the retain pictures at once.",
    formula=r"\mathcal{L} = \alpha\,\frac1m\sum_{j\in R} \ell_j - (1-\alpha)\,"
    r"\frac1n\sum_{i\in F} \ell_i",
    config=NegGradPlusConfig,
)
def neg_grad_plus(task: Task, config: NegGradPlusConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    task.trainable("all", config.batch_norm)
    forget, retain = task.forget, task.retain
    forget_batches = endless(forget, config.batch_size, task.generator)

    def loss_of(rows: Tensor) -> Tensor:
        gone = next(forget_batches)
        logits = task.model(torch.cat([forget.images[gone], retain.images[rows]]))
        losses = functional.cross_entropy(
            logits, torch.cat([forget.labels[gone], retain.labels[rows]]), reduction="none"
        )
        n = len(gone)
        forgotten = term.mean(losses[:n], gone, logits[:n])
        return config.alpha * losses[n:].mean() - (1 - config.alpha) * forgotten

    yield from descend(task, config, retain, loss_of, weights=term.statistics, cosine=True)
