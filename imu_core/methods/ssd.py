r"""SSD: selective synaptic dampening (Foster et al., AAAI 2024, arXiv 2308.07707).

No training. A weight that matters far more to the forget pictures than to all training pictures is
shrunk, by the diagonal Fisher of both (mean squared per-sample gradient):

    where F_forget > α F_all :   θ ← θ · min(λ F_all / F_forget, 1)

Read α with the size of the forget set in mind: F_all is the mean over all n training pictures, of
which the forget pictures are a part, so F_forget / F_all can never exceed n / |forget|. With α =
10, the paper's value, nothing at all can be selected for one class out of ten.

Differs from public code:
- Per-sample gradients are exact; the released code squares the gradient of a batch.
- F_all comes with the run ("stored Fisher"), as if kept from training: the method sees no retain
  picture. Its seconds are counted to the method.
- Where no weight passes α, the run says so instead of returning the original in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.methods.answers import mean_loss
from imu_core.methods.fisher import Moments, diagonal_fisher
from imu_core.methods.registry import MethodConfig, Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class SsdConfig(MethodConfig):
    """Parameters of SSD."""

    alpha: float = parameter(
        5.0,
        "α, selection: how many times larger than over all pictures a weight's Fisher over the "
        "forget pictures must be. Cannot exceed n / |forget|.",
        low=0,
        high=1e6,
    )
    dampening: float = parameter(
        1.0, "λ: larger shrinks less; 0 sets the selected weights to 0.", low=0, high=1e6
    )
    batch_size: int = parameter(
        256, "Pictures whose gradients are taken at once.", low=1, high=65_536
    )


@torch.no_grad()
def dampen(
    named: dict[str, torch.nn.Parameter], of_forget: Moments, of_all: Moments, config: SsdConfig
) -> tuple[int, int]:
    """Shrinks the selected weights in place; how many were selected, of how many."""
    selected = total = 0
    for name, p in named.items():
        chosen = of_forget[name] > config.alpha * of_all[name]
        factor = config.dampening * of_all[name] / of_forget[name].clamp_min(1e-38)
        p.mul_(torch.where(chosen, factor.clamp_max(1), 1))
        selected, total = selected + int(chosen.sum()), total + chosen.numel()
    return selected, total


@register(
    "ssd",
    title="SSD",
    needs=("forget", "fisher"),
    scope="all",
    paper="Foster et al., Selective Synaptic Dampening, arXiv 2308.07707",
    summary="Shrinks, without training, the weights that matter more to the forget pictures than "
    "to all pictures.",
    formula=r"F^f_j > \alpha F_j:\quad \theta_j \leftarrow \theta_j\,"
    r"\min(\lambda F_j / F^f_j,\,1)",
    config=SsdConfig,
)
def ssd(task: Task, config: SsdConfig) -> Iterator[Step]:
    of_all: dict[str, Tensor] = task.fisher
    forget = task.forget
    named = dict(task.model.named_parameters())
    if set(of_all) != set(named):
        raise BadInput("The stored Fisher is of another network; compute it for this one.")
    of_forget = diagonal_fisher(task.original, forget.images, forget.labels, config.batch_size)
    selected, total = dampen(named, of_forget, of_all, config)
    if not selected:
        raise BadInput(
            f"No weight has a Fisher over the forget pictures above {config.alpha:g} times that "
            "over all pictures, so SSD would change nothing; lower alpha."
        )
    yield Step(
        1, 1, mean_loss(task.model, forget), note=f"{selected:,} of {total:,} weights dampened"
    )
