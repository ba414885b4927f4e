r"""Ascent weighted by loss: the idea of LoReUn (arXiv 2507.22499) on gradient ascent.

    L = −Σ w ℓ / Σ w,   w_i = exp(−ℓ_i / τ)

A picture with a small loss is known well and hard to forget, so it weighs more. `static` takes
the losses from the original; `dynamic` from the moving model, in every batch, which turns the
pull away from pictures already forgotten: beside pictures still known, one with a large loss weighs
nothing.

Differs: the paper lays its weights on methods that also see retain pictures, and the exact law of
its weights could not be checked against code (none is public). As ascent on the head it is the
direct competitor of IMU's weights, all else being equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imu_core.methods.ascent import AscentConfig, weighted_ascent
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task
from imu_core.methods.weighting import by_loss


@dataclass(frozen=True)
class LossAscentConfig(AscentConfig):
    """Parameters of ascent weighted by loss."""

    temperature: float = parameter(1.0, "τ: small favours the best known.", low=1e-3, high=1e3)
    refresh: str = parameter(
        "static",
        "static takes the losses from the original, dynamic from the moving model in every batch.",
        choices=("static", "dynamic"),
    )
    scope: str = parameter(
        "head", "The weights that move: the classifier head, or all.", choices=("head", "all")
    )


@register(
    "loss_ascent",
    title="Ascent weighted by loss",
    needs=("forget",),
    scope="head or all",
    paper="LoReUn, arXiv 2507.22499 (its weights, on ascent)",
    summary="Gradient ascent in which the pictures the model knows best weigh most.",
    formula=r"\mathcal{L} = -\frac{\sum_i w_i\,\ell_i}{\sum_i w_i},\quad w_i = e^{-\ell_i/\tau}",
    config=LossAscentConfig,
)
def loss_ascent(task: Task, config: LossAscentConfig) -> Iterator[Step]:
    yield from weighted_ascent(
        task,
        config,
        by_loss(config.temperature),
        scope=config.scope,
        refresh="once" if config.refresh == "static" else "batch",
    )
