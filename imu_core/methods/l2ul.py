r"""L2UL: instance-wise unlearning from the forget pictures alone, with two regularisers
(Cha et al., "Learning to unlearn", AAAI 2024, arXiv 2301.11578).

    misclassify:  L_F = −CE(f(x), y)          relabel:  L_F = CE(f(x), y*),  y* ≠ y
    L = n_F/(n_A+n_F) · L_F + n_A/(n_A+n_F) · CE(f(x_adv), y_adv) + λ/2 Σ_k (1 − Ω̂_k)(θ_k − θ⁰_k)²

- Adversarial examples stand in for the retain pictures: pictures x_adv near the forget pictures
  that the original takes for a random wrong class y_adv. Keeping these answers keeps the
  boundaries.
- Weight importance (MAS): Ω_k = mean over F of |∂‖f(x)‖₂/∂θ_k|, scaled to 0–1 in each tensor.
  Weights of no importance to the forget pictures are held, the others are free.

It ends with the update after which no forget picture is named right any more (relabel: all are
named as wanted): the goal is behaviour, not likeness to a retrained model. It is made for tens of
pictures; for hundreds and for whole classes it loses utility steeply.

`requests` cuts the forget set into requests that come one after another (continual unlearning):
each starts from the current model, with new adversarial examples, importance and θ⁰, and ends like
a single one. At its end it reports the accuracy on its pictures and on those of all requests before
it, which may have come back; the run adds that on retain pictures.

Differs from public code:
- `hold`: under misclassify, L_F is the mean over the pictures still named right. A picture already
  named wrong pulls no more, so ascent cannot ruin the model for its sake, and the last ones pull
  with full strength. Off is the released loss.
- The defaults are for networks of 10⁴ to 10⁵ weights (released: learning rate 0.001, λ 1, radius 4,
  256 examples in an update, for 10⁷). λ = 1 holds a small network so fast that forget accuracy
  never comes down to 0, and 256 examples leave the forget pictures a share of 6 to 11 % in the
  loss.
- Targets never equal the true label and are drawn from all classes (released: a collision becomes
  class K/2, which can be the true one, and one version draws from 0–9 for every image set).
- Importance is exact, per sample, in eval mode (released: of batch means, in train mode).
- Radius and step are for 3×32×32 pictures and scale with the root of the picture's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.methods.answers import accuracy
from imu_core.methods.descent import DescentConfig
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.l2ul_request import Request
from imu_core.methods.labels import relabel_targets
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class L2ulConfig(DescentConfig):
    """Parameters of L2UL."""

    lr: float = parameter(0.01, "Learning rate.", low=1e-8, high=100)
    epochs: int = parameter(
        200,
        "At most so many passes over the adversarial examples, or else over the forget pictures.",
        low=1,
        high=10_000,
    )
    batch_size: int = parameter(128, "Adversarial examples in one update.", low=1, high=65_536)
    forget_batch: int = parameter(32, "Forget pictures in one update.", low=1, high=65_536)
    weight_decay: float = parameter(1e-4, "L2 decay of the weights, per update.", low=0, high=1)
    goal: str = parameter(
        "misclassify",
        "misclassify: any answer but the true one; relabel: the answer given by `targets`.",
        choices=("misclassify", "relabel"),
    )
    targets: str = parameter(
        "nearest",
        "For relabel: nearest (the most probable wrong class), one class (4), one per class "
        "(3:5,4:9) or one per picture (id17:5,id40:2).",
    )
    regulariser: str = parameter(
        "both",
        "What protects the rest: nothing, adversarial examples, weight importance, or both.",
        choices=("none", "adversarial", "importance", "both"),
    )
    n_adversarial: int = parameter(
        0,
        "Adversarial examples a picture; 0 is 1024 in all, from 1 to 20 a picture.",
        low=0,
        high=1000,
    )
    radius: float = parameter(8.0, "L2 radius of the attack (3×32×32 pictures).", low=0, high=100)
    attack_step: float = parameter(0.2, "L2 step of the attack, likewise.", low=0, high=100)
    attack_steps: int = parameter(50, "Iterations of the attack.", low=1, high=10_000)
    importance: float = parameter(0.01, "λ: weight of the importance term.", low=0, high=1e6)
    hold: bool = parameter(True, "Pictures already named wrong pull no more (misclassify).")
    requests: int = parameter(
        1, "Requests into which the forget set is cut, one after another.", low=1, high=1000
    )
    weighting: str = weighting_parameter()


@register(
    "l2ul",
    title="L2UL",
    needs=("forget",),
    scope="all",
    paper="Cha et al., Learning to Unlearn, arXiv 2301.11578",
    summary="Drives each forget picture to a wrong answer, while adversarial examples and weight "
    "importance stand in for the retain pictures.",
    formula=r"\mathcal{L} = \tfrac{n_F}{n_A+n_F}\mathcal{L}_F + \tfrac{n_A}{n_A+n_F}"
    r"\mathrm{CE}(f(x_{adv}), y_{adv}) + \tfrac{\lambda}{2}\sum_k(1-\hat\Omega_k)"
    r"(\theta_k-\theta^0_k)^2",
    config=L2ulConfig,
)
def l2ul(task: Task, config: L2ulConfig) -> Iterator[Step]:
    forget, n = task.forget, len(task.forget)
    if config.requests > n:
        raise BadInput(
            f"{n} forget pictures cannot be cut into {config.requests} requests; use {n} or fewer."
        )
    targets = relabel_targets(config.targets, task) if config.goal == "relabel" else None
    term = ForgetTerm(task, config.weighting)
    order = torch.arange(n)
    if config.requests > 1:
        order = torch.randperm(n, generator=task.generator)
    parts = [rows.to(forget.labels.device) for rows in order.tensor_split(config.requests)]
    requests = [Request(task, config, rows, targets, term) for rows in parts]
    many, number, later = config.requests > 1, 0, sum(request.n_steps for request in requests)
    for i, request in enumerate(requests):
        later -= request.n_steps
        for loss, note, left in request.steps():
            number += 1
            said = f"request {i + 1} of {config.requests}, {note}" if many else note
            report = _report(task, parts[: i + 1]) if many and not left else None
            yield Step(number, number + left + later, loss, note=said, report=report)


def _report(task: Task, parts: list[Tensor]) -> dict[str, float | None]:
    """How the last of these requests ended, and what is left of those before it."""
    now = task.forget.take(parts[-1])
    before = task.forget.take(torch.cat(parts[:-1])) if len(parts) > 1 else None
    return {
        "request": len(parts),
        "pictures": len(now),
        "request_accuracy": accuracy(task.model, now),
        "earlier_accuracy": None if before is None else accuracy(task.model, before),
    }
