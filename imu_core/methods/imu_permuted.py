"""IMU with its weights dealt to other samples at random: the control for its ranking.

Everything else is IMU's, so a difference between the two is what the influence ranking buys, and
none of what comes from weighing, dropping or clipping as such.
"""

from __future__ import annotations

from collections.abc import Iterator

from imu_core.methods.ascent import weighted_ascent
from imu_core.methods.imu import FORMULA, PAPER, ImuConfig, influence_weighting
from imu_core.methods.registry import Step, register
from imu_core.methods.task import Task
from imu_core.methods.weighting import permuted


@register(
    "imu_permuted",
    title="IMU, weights permuted",
    needs=("forget",),
    scope="head or all",
    paper=f"Control for {PAPER}",
    summary="IMU with its weights shuffled over the samples: shows whether the ranking by "
    "influence matters.",
    formula=FORMULA.replace("w_i =", r"w_{\pi(i)} ="),
    config=ImuConfig,
)
def imu_permuted(task: Task, config: ImuConfig) -> Iterator[Step]:
    yield from weighted_ascent(
        task,
        config,
        permuted(influence_weighting(config), task.generator),
        scope=config.scope,
        refresh=config.refresh,
        alpha=config.alpha,
    )
