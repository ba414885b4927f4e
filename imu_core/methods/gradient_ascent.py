"""Gradient ascent: maximise the cross-entropy of the forget pictures (NegGrad).

The fair control for IMU is scope `head`: IMU's published gain over "GA" compares a head-only method
with one that moves every layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imu_core.methods.ascent import AscentConfig, weighted_ascent
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task
from imu_core.methods.weighting import uniform


@dataclass(frozen=True)
class GradientAscentConfig(AscentConfig):
    """Parameters of gradient ascent."""

    scope: str = parameter(
        "head",
        "The weights that move: the classifier head, or all (then use a learning rate of one to "
        "two orders less).",
        choices=("head", "all"),
    )


@register(
    "gradient_ascent",
    title="Gradient ascent",
    needs=("forget",),
    scope="head or all",
    paper="Golatkar et al., arXiv 1911.04933 (NegGrad)",
    summary="Maximises the loss of the forget pictures, all of the same weight.",
    formula=r"\mathcal{L} = -\frac1n\sum_i \ell_i",
    config=GradientAscentConfig,
)
def gradient_ascent(task: Task, config: GradientAscentConfig) -> Iterator[Step]:
    yield from weighted_ascent(task, config, uniform(), scope=config.scope)
