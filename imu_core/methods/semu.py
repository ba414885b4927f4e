r"""SEMU: unlearn inside the few directions in which the forget loss moves the weights
(Sendera et al., ICML 2025, arXiv 2502.07587).

For each kernel or matrix W the forget loss has the gradient G. Its singular vectors say in which
directions forgetting pulls; only those that hold the share γ of its energy are opened:

    G − (⟨G, W⟩/‖W‖²) W = U Σ Vᵀ,   k smallest with Σ_{i≤k} σ_i² ≥ γ Σ σ_i²,   W' = W + U_k R V_kᵀ

R (k × k) starts at 0 and is all that is trained, on random wrong labels drawn anew in each pass.

Differs from public code:
- A convolution's kernel is one matrix (out × in·height·width), not one slice an input channel.
- The component along W is taken out with 1/‖W‖² (a projection); the released code divides by ‖W‖.
- Nothing is left behind in the network: U R Vᵀ is added into W, so the result is an ordinary
  checkpoint. No early end by patience; the run's stop rule does that.
- The learning rate is ours (released: 1e-5, for networks of 10⁷ weights).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from imu_core.methods.descent import DescentConfig, descend
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.labels import random_wrong
from imu_core.methods.layers import weight_matrices
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task
from imu_core.optimisers import Sgd

BATCH = 1024


@dataclass(frozen=True)
class SemuConfig(DescentConfig):
    """Parameters of SEMU."""

    lr: float = parameter(0.0001, "Learning rate.", low=1e-8, high=100)
    epochs: int = parameter(100, "Passes over the forget pictures.", low=1, high=10_000)
    weight_decay: float = parameter(0.0, "L2 decay of R, per update.", low=0, high=1)
    batch_norm: str = parameter("eval", "Batch norm stays as it is.", choices=("eval",))
    energy: float = parameter(
        0.95, "γ: share of the gradient's energy that the directions hold.", low=0, high=1
    )
    project: bool = parameter(True, "Take the component along the weights out of the gradient.")
    weighting: str = weighting_parameter()


class Directions:
    """The opened directions of one weight: W = W₀ + U R Vᵀ, moved by way of R."""

    def __init__(self, weight: nn.Parameter, gradient: Tensor, energy: float) -> None:
        left, values, right = torch.linalg.svd(gradient, full_matrices=False)
        held = values.double().square().cumsum(0)
        k = int((held < energy * held[-1]).sum()) + 1
        self.left, self.right = left[:, :k], right[:k].T
        self.weight, self.start = weight, weight.detach().clone()
        self.core = nn.Parameter(torch.zeros(k, k, device=weight.device))

    def pull(self) -> None:
        """∂L/∂R = Uᵀ (∂L/∂W) V."""
        if self.weight.grad is not None:
            self.core.grad = self.left.T @ self.weight.grad.flatten(1) @ self.right

    @torch.no_grad()
    def push(self) -> None:
        moved = self.left @ self.core @ self.right.T
        self.weight.copy_(self.start + moved.view_as(self.start))


def forget_gradients(task: Task, weights: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Summed gradient of the forget loss for each weight, as a matrix (out, rest)."""
    sums = {name: torch.zeros_like(p).flatten(1) for name, p in weights.items()}
    forget = task.forget
    for images, labels in zip(forget.images.split(BATCH), forget.labels.split(BATCH), strict=True):
        loss = functional.cross_entropy(task.model(images), labels, reduction="sum")
        for name, g in zip(sums, torch.autograd.grad(loss, list(weights.values())), strict=True):
            sums[name] += g.flatten(1)
    return sums


@register(
    "semu",
    title="SEMU",
    needs=("forget",),
    scope="all",
    paper="Sendera et al., SEMU, arXiv 2502.07587",
    summary="Trains on wrong labels, but only along the few directions in which the forget loss "
    "moves each weight.",
    formula=r"W' = W + U_k R V_k^\top,\quad \nabla_W \textstyle\sum_i \ell_i = U\Sigma V^\top",
    config=SemuConfig,
)
def semu(task: Task, config: SemuConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    task.trainable("all", config.batch_norm)
    weights = weight_matrices(task.model)
    opened = []
    for name, g in forget_gradients(task, weights).items():
        w = weights[name].detach().flatten(1)
        if config.project:
            g = g - (g * w).sum() / w.square().sum().clamp_min(1e-12) * w
        opened.append(Directions(weights[name], g, config.energy))
    optimiser = Sgd(
        [d.core for d in opened],
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=False,
    )
    forget, labels = task.forget, task.forget.labels

    def draw() -> None:
        nonlocal labels
        labels = random_wrong(forget.labels, task.model.n_classes, task.generator)

    def update(step: Callable[[], None]) -> None:
        for directions in opened:
            directions.pull()
        step()
        for directions in opened:
            directions.push()
        task.model.zero_grad(set_to_none=True)

    def loss_of(rows: Tensor) -> Tensor:
        logits = task.model(forget.images[rows])
        losses = functional.cross_entropy(logits, labels[rows], reduction="none")
        return term.mean(losses, rows, logits)

    yield from descend(
        task, config, forget, loss_of, optimiser=optimiser, each_epoch=draw, update=update,
        weights=term.statistics,
    )  # fmt: skip
