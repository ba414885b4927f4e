"""Fine-tuning: go on training on the retain pictures only and let the rest fade.

The weakest of the methods that see retain pictures, and the baseline of the others: whatever it
reaches comes from ordinary forgetting, not from unlearning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imu_core.methods.descent import DescentConfig, descend_on_retain
from imu_core.methods.registry import Step, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class FineTuneConfig(DescentConfig):
    """Parameters of fine-tuning."""


@register(
    "fine_tune",
    title="Fine-tune",
    needs=("forget", "retain"),
    scope="all",
    paper="Baseline; see Deep Unlearn, arXiv 2410.01276",
    summary="Trains on with the retain pictures alone.",
    formula=r"\mathcal{L} = \frac1m\sum_{j\in R} \ell_j",
    config=FineTuneConfig,
)
def fine_tune(task: Task, config: FineTuneConfig) -> Iterator[Step]:
    task.trainable("all", config.batch_norm)
    yield from descend_on_retain(task, config)
