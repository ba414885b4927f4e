r"""Bad teacher: learn the forget pictures from a teacher that knows nothing
(Chundawat et al., AAAI 2023, arXiv 2205.08096).

    L = T²/(n+m) · ( Σ_F KL(p_fresh ‖ p) + Σ_R KL(p₀ ‖ p) ),   softmax at temperature T

p_fresh is a network of the same architecture with newly drawn weights, p₀ the original. Random
answers look like those to a picture never seen; whether they look like those of a retrained model
is another matter (retrained models are often right about unseen pictures).

Each batch is a shuffled mix of both parts, so the two terms are in the proportion of the sets.

Differs from public code: SGD in place of Adam; the KL is a mean over pictures, not over pictures
and classes, and has its T².
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.answers import logits_of
from imu_core.methods.descent import DescentConfig, descend, join, share_of
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.layers import fresh_copy
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class BadTeacherConfig(DescentConfig):
    """Parameters of the bad teacher."""

    lr: float = parameter(0.01, "Learning rate.", low=1e-8, high=100)
    epochs: int = parameter(10, "Passes over all pictures.", low=1, high=10_000)
    temperature: float = parameter(1.0, "T: softens teachers and student.", low=0.01, high=1000)
    retain_share: float = parameter(
        0.3, "Share of the retain pictures used, at least one.", low=0, high=1
    )
    weighting: str = weighting_parameter()


@register(
    "bad_teacher",
    title="Bad teacher",
    needs=("forget", "retain"),
    scope="all",
    paper="Chundawat et al., arXiv 2205.08096",
    summary="The forget pictures are learnt from a freshly drawn network, the others from the "
    "original.",
    formula=r"\mathcal{L} = \sum_{i\in F}\mathrm{KL}(p_{fresh}\Vert p_\theta) + "
    r"\sum_{j\in R}\mathrm{KL}(p_0\Vert p_\theta)",
    config=BadTeacherConfig,
)
def bad_teacher(task: Task, config: BadTeacherConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    fresh = fresh_copy(task.original, task.generator)
    retain = share_of(task.retain, config.retain_share, task.generator)
    both, t = join(task.forget, retain), config.temperature
    answers = torch.cat([logits_of(fresh, task.forget), logits_of(task.original, retain)])
    targets = torch.softmax(answers / t, dim=1)
    task.trainable("all", config.batch_norm)

    def loss_of(rows: Tensor) -> Tensor:
        logits = task.model(both.images[rows])
        now = functional.log_softmax(logits / t, dim=1)
        losses = functional.kl_div(now, targets[rows], reduction="none").sum(1) * t**2
        return term.mean_of_both(losses, rows, logits)

    yield from descend(task, config, both, loss_of, weights=term.statistics)
