"""The control that learns nothing: put the forgotten classes' logits out of reach.

    bias_c ← −10⁴  for every class c among the forget pictures

By accuracy alone this is among the best at forgetting a whole class: the class is never predicted,
no other logit changes, and pictures once mistaken for it find their second answer. But features,
and so a linear probe, are untouched, and so is the attack on the outputs. It stands in every table
for that reason: a class-forgetting result that does not beat it by representation or by membership
shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.methods.ascent import ForgetInputs
from imu_core.methods.registry import MethodConfig, Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class MaskClassConfig(MethodConfig):
    """Parameters of the control."""

    bias: float = parameter(-1e4, "The bias given to the classes.", low=-1e6, high=0)


@register(
    "mask_class",
    title="Class masked (control)",
    needs=("forget",),
    scope="head",
    paper="Control: nothing is learned",
    summary="Puts the logits of the forgotten classes out of reach and changes nothing else.",
    formula=r"b_c \leftarrow -10^4\ \text{ for } c \in \{y_i\}",
    config=MaskClassConfig,
)
@torch.no_grad()
def mask_class(task: Task, config: MaskClassConfig) -> Iterator[Step]:
    head, labels = task.model.head, task.forget.labels
    classes = labels.unique()
    if len(classes) == task.model.n_classes:
        raise BadInput(
            "The forget pictures are of every class, and masking all classes changes no answer; "
            "this control is for whole classes."
        )
    if head.bias is None:
        raise BadInput("This network's head has no bias, so a class cannot be masked through it.")
    task.trainable("head")
    head.bias[classes] = config.bias
    everything = torch.arange(len(labels), device=labels.device)
    loss = functional.cross_entropy(ForgetInputs(task).logits(everything), labels)
    names = ", ".join(map(str, classes.tolist()))
    yield Step(1, 1, loss.item(), note=f"classes masked: {names}")
