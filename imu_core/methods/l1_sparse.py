r"""ℓ1-sparse: fine-tune on the retain pictures with a pull of all weights towards 0
(Jia et al., "Model sparsity can simplify machine unlearning", NeurIPS 2023, arXiv 2304.04934).

    L = mean CE(R) + γ_t ‖θ‖₁,   γ_t falling linearly from γ towards 0 over all steps

A sparse network has less room to remember single pictures; the pull fades so that the last steps
only repair. It adds up over the steps: in runs of a hundred 0.002 forgets most of a class of the
digits, in runs of seven hundred it costs utility (benchmarks/results/method_defaults.md).

Differs from public code: γ falls with every step rather than with every epoch, so that short runs
end near 0 too; the learning rate falls by a cosine as well, since a rate high enough to forget
leaves the model unsettled otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.descent import DescentConfig, descend
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task, n_batches


@dataclass(frozen=True)
class L1SparseConfig(DescentConfig):
    """Parameters of ℓ1-sparse fine-tuning."""

    lr: float = parameter(0.1, "Learning rate at the start.", low=1e-8, high=100)
    gamma: float = parameter(
        5e-4, "γ: pull towards 0 at the first step; short runs need more.", low=0, high=10
    )


@register(
    "l1_sparse",
    title="ℓ1-sparse",
    needs=("forget", "retain"),
    scope="all",
    paper="Jia et al., arXiv 2304.04934",
    summary="Fine-tunes on the retain pictures with a fading pull of all weights towards 0.",
    formula=r"\mathcal{L} = \frac1m\sum_{j\in R}\ell_j + \gamma_t\lVert\theta\rVert_1,\quad "
    r"\gamma_t = \gamma\,(1 - t/T)",
    config=L1SparseConfig,
)
def l1_sparse(task: Task, config: L1SparseConfig) -> Iterator[Step]:
    parameters = task.trainable("all", config.batch_norm)
    retain = task.retain
    taken, total = 0, config.epochs * n_batches(len(retain), config.batch_size)

    def loss_of(rows: Tensor) -> Tensor:
        nonlocal taken
        gamma = config.gamma * (1 - taken / total)
        taken += 1
        loss = functional.cross_entropy(task.model(retain.images[rows]), retain.labels[rows])
        return loss + gamma * torch.stack([p.abs().sum() for p in parameters]).sum()

    yield from descend(task, config, retain, loss_of, cosine=True)
