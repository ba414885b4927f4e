r"""Layer attack unlearning: move the head's boundary to where an attack in feature space points
(Kim et al., AAAI 2024, arXiv 2312.16823).

Only the head moves. In each pass a frozen copy of the head is attacked: starting from the features
h of a forget picture, sign steps that raise the loss of its label stay within ε of h (a "partial
PGD": it costs a small matrix product, not a pass through the network). The head's answer there is
the teacher. For the pictures still named right:

    L = (1 − a) CE(z, ŷ) + a T² KL( softmax(z_adv / T) ‖ softmax(z / T) ),   ŷ = best wrong class

and the pictures already named wrong keep their own prediction as target, which holds them there.

Differs from public code:
- ε and the step are in units of the features' standard deviation over the forget pictures, since
  the scale of features differs from network to network (a re-implementation uses 0.3 and 0.4 as
  they are).
- ŷ and the soft target leave the true label out: an attack that did not reach the boundary would
  otherwise teach the true class again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from imu_core.methods.answers import without_class
from imu_core.methods.ascent import ForgetInputs
from imu_core.methods.descent import DescentConfig, descend
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class LayerAttackConfig(DescentConfig):
    """Parameters of layer attack unlearning."""

    lr: float = parameter(0.01, "Learning rate.", low=1e-8, high=100)
    epochs: int = parameter(3, "Passes over the forget pictures.", low=1, high=10_000)
    batch_norm: str = parameter("eval", "Only the head moves: batch norm stays.", choices=("eval",))
    radius: float = parameter(
        0.3, "ε: reach of the attack, in deviations of the features.", low=0, high=100
    )
    attack_step: float = parameter(
        0.4, "Step of the attack, in deviations of the features.", low=0, high=100
    )
    attack_steps: int = parameter(40, "Steps of the attack.", low=1, high=10_000)
    soft: float = parameter(0.5, "a: share of the soft target in the loss.", low=0, high=1)
    temperature: float = parameter(4.0, "T: softens the targets.", low=0.01, high=1000)
    weighting: str = weighting_parameter()


def attack_features(
    head: nn.Linear, features: Tensor, labels: Tensor, radius: Tensor, step: Tensor, n_steps: int
) -> Tensor:
    """Features within ±radius (d,) of `features` (n, d) at which the label's loss is high."""
    attacked = features.clone()
    for _ in range(n_steps):
        attacked.requires_grad_(True)
        loss = functional.cross_entropy(head(attacked), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, attacked)
        attacked = attacked.detach() + step * gradient.sign()
        attacked = features + (attacked - features).clamp(-radius, radius)
    return attacked


@register(
    "layer_attack",
    title="Layer attack (LAU)",
    needs=("forget",),
    scope="head",
    paper="Kim et al., Layer Attack Unlearning, arXiv 2312.16823",
    summary="Moves the head's boundary across the forget pictures, towards where an attack on "
    "their features leads.",
    formula=r"\mathcal{L} = (1-a)\,\mathrm{CE}(z, \hat y) + a\,T^2\,\mathrm{KL}\bigl("
    r"\mathrm{softmax}(z_{adv}/T)\,\Vert\,\mathrm{softmax}(z/T)\bigr)",
    config=LayerAttackConfig,
)
def layer_attack(task: Task, config: LayerAttackConfig) -> Iterator[Step]:
    term = ForgetTerm(task, config.weighting)
    task.trainable("head")
    inputs, labels, t = ForgetInputs(task), task.forget.labels, config.temperature
    features = inputs.features()
    # One picture has no spread; the size of its features takes its place.
    spread = features.std(0, correction=0) if len(features) > 1 else features.abs().mean(1)
    spread = spread.clamp_min(1e-6)
    teacher = torch.empty(0)

    def look_again() -> None:
        nonlocal teacher
        head = copy.deepcopy(task.model.head).requires_grad_(False)
        reach, step = config.radius * spread, config.attack_step * spread
        attacked = attack_features(head, features, labels, reach, step, config.attack_steps)
        right = head(features).argmax(1) == labels
        wrong = without_class(head(attacked), labels)
        teacher = torch.where(right[:, None], wrong, head(features))

    def loss_of(rows: Tensor) -> Tensor:
        logits, target = inputs.logits(rows), teacher[rows]
        hard = functional.cross_entropy(logits, target.argmax(1), reduction="none")
        now = functional.log_softmax(logits / t, dim=1)
        soft = functional.kl_div(now, torch.softmax(target / t, dim=1), reduction="none").sum(1)
        losses = (1 - config.soft) * hard + config.soft * t**2 * soft
        return term.mean(losses, rows, logits)

    yield from descend(
        task, config, task.forget, loss_of, each_epoch=look_again, weights=term.statistics
    )
