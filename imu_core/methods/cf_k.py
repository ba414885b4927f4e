r"""CF-k: catastrophic forgetting in the last k layers
(Goel et al., arXiv 2201.06640).

    θ_last-k ← fine-tuned on the retain pictures,   all layers before them frozen

As fine-tuning, but cheaper and with less to move: what the earlier layers hold of the forget
pictures stays.

Differs from public code: batch norm of the frozen layers stays in eval mode; in released code its
running statistics go on drifting, so that "frozen" layers change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imu_core.methods.descent import DescentConfig, descend_on_retain
from imu_core.methods.layers import Layer, last_layers
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task, set_batch_norm


@dataclass(frozen=True)
class CfKConfig(DescentConfig):
    """Parameters of CF-k."""

    lr: float = parameter(0.05, "Learning rate.", low=1e-8, high=100)
    k: int = parameter(
        2, "Layers that move, counted from the head; a norm belongs to its layer.", low=1, high=1000
    )


def free_last(task: Task, k: int, batch_norm: str) -> list[Layer]:
    """The last k layers, alone free to move; with k = 1 the features stay constant."""
    layers = last_layers(task.model, k)
    task.trainable("head")
    for layer in layers:
        for module in layer.modules:
            module.requires_grad_(True)
            set_batch_norm(module, batch_norm)
    task.body_is_constant = k == 1
    return layers


@register(
    "cf_k",
    title="CF-k",
    needs=("forget", "retain"),
    scope="last layers",
    paper="Goel et al., arXiv 2201.06640",
    summary="Fine-tunes the last k layers on the retain pictures.",
    formula=r"\theta_{>L-k} \leftarrow \arg\min \frac1m\sum_{j\in R}\ell_j",
    config=CfKConfig,
)
def cf_k(task: Task, config: CfKConfig) -> Iterator[Step]:
    free_last(task, config.k, config.batch_norm)
    yield from descend_on_retain(task, config)
