r"""EU-k: exact unlearning of the last k layers (Goel et al., arXiv 2201.06640).

    θ_last-k ← drawn anew, then trained on the retain pictures,   all layers before them frozen

The last k layers are as if never trained on the forget pictures; the layers before them are not.
With k = all layers this is training from new weights, by this method's recipe.

Differs from public code: weights are drawn from the run's generator by the same law as a new
network of this studio (in foreign networks scales and tokens: normal, deviation 0.02); batch norm
of the frozen layers stays in eval mode (see `cf_k`). The learning rate is that of a training, not
of a fine-tuning, and falls to 0 by a cosine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imu_core.methods.cf_k import CfKConfig, free_last
from imu_core.methods.descent import descend_on_retain
from imu_core.methods.layers import redraw
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class EuKConfig(CfKConfig):
    """Parameters of EU-k."""

    lr: float = parameter(0.1, "Learning rate at the start.", low=1e-8, high=100)


@register(
    "eu_k",
    title="EU-k",
    needs=("forget", "retain"),
    scope="last layers",
    paper="Goel et al., arXiv 2201.06640",
    summary="Draws the last k layers anew and trains them on the retain pictures.",
    formula=r"\theta_{>L-k} \leftarrow \arg\min \frac1m\sum_{j\in R}\ell_j\ \text{ from a new "
    r"draw}",
    config=EuKConfig,
)
def eu_k(task: Task, config: EuKConfig) -> Iterator[Step]:
    layers = free_last(task, config.k, config.batch_norm)
    redraw([module for layer in layers for module in layer.modules], task.generator)
    yield from descend_on_retain(task, config, cosine=True)
