r"""NPO: bounded ascent, negative preference optimisation (Zhang et al., arXiv 2404.05868).

Gradient ascent pushes log p(y|x) down without end, and pictures already forgotten go on pulling.
NPO treats the true label as a dispreferred answer, measured against the original p₀:

    L = (2/β) · mean log(1 + (p(y|x) / p₀(y|x))^β)

Its gradient is that of ascent times 2 r^β / (1 + r^β) with r = p/p₀: 1 at the start, fading to 0
as a picture is forgotten. β → 0 is plain ascent; a large β stops early.

Differs from public code:
- The NPO baseline in IMU's repository minimises w·CE, which is descent, with β = 0. Here the sign
  is that of the paper: the loss falls as p falls.
- One label instead of a token sequence, so p(y|x) is one softmax entry and no length enters.
- Weights can be laid on the pictures (`weighting`), as IMU does for ascent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from imu_core.methods.answers import logits_of
from imu_core.methods.ascent import ForgetInputs
from imu_core.methods.descent import DescentConfig, descend
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task, batch_norm_for


@dataclass(frozen=True)
class NpoConfig(DescentConfig):
    """Parameters of NPO."""

    lr: float = parameter(0.02, "Learning rate.", low=1e-8, high=100)
    epochs: int = parameter(20, "Passes over the forget pictures.", low=1, high=10_000)
    batch_norm: str = parameter(
        "eval", "Batch norm while unlearning: eval keeps its statistics.", choices=("eval", "train")
    )
    beta: float = parameter(
        3.0, "β: how soon a picture counts as forgotten; towards 0 is ascent.", low=1e-4, high=100
    )
    scope: str = parameter(
        "head", "The weights that move: the classifier head, or all.", choices=("head", "all")
    )
    weighting: str = weighting_parameter()


def npo_losses(log_ratios: Tensor, beta: float) -> Tensor:
    """(2/β) log(1 + (p/p₀)^β) of each picture, from log p − log p₀."""
    return 2 / beta * functional.softplus(beta * log_ratios)


@register(
    "npo",
    title="NPO",
    needs=("forget",),
    scope="head or all",
    paper="Zhang et al., Negative Preference Optimization, arXiv 2404.05868",
    summary="Gradient ascent whose pull on a picture fades once the picture is forgotten.",
    formula=r"\mathcal{L} = \frac{2}{\beta}\,\frac1n\sum_i \log\bigl(1 + "
    r"(p_\theta(y_i|x_i)/p_0(y_i|x_i))^\beta\bigr)",
    config=NpoConfig,
)
def npo(task: Task, config: NpoConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    labels = task.forget.labels
    before = -functional.cross_entropy(
        logits_of(task.original, task.forget), labels, reduction="none"
    )  # log p₀ (n,)
    mode = batch_norm_for(config.batch_norm, len(task.forget), config.batch_size)
    task.trainable(config.scope, mode)
    inputs = ForgetInputs(task)

    def loss_of(rows: Tensor) -> Tensor:
        logits = inputs.logits(rows)
        now = -functional.cross_entropy(logits, labels[rows], reduction="none")
        return term.mean(npo_losses(now - before[rows], config.beta), rows, logits)

    yield from descend(task, config, task.forget, loss_of, weights=term.statistics)
