r"""Class-specific weight masking: cut the head off from the units that speak for the class
(Wang et al., Knowledge and Information Systems 2025, "blurring classes by weight masking").

No training. For each class c in the forget set, the mean contribution of feature unit j to the
class's own logit,

    s_cj = W_cj · mean over forget pictures of class c of h_j,

ranks the units; of the share `ratio` with the largest s_cj those above 0 are masked, W_cj = 0. Rows
of other classes stay as they are, so all other logits are untouched for every picture.

Differs: the paper's abstract says "statistics of the feature vectors" without more; ranking by
the contribution W·h rather than by the activation h alone is ours, as masking a unit of negative
weight would raise the logit. For forget pictures of every class it cuts every row, and the model
suffers as a whole: it forgets classes, not pictures.
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
class WeightMaskingConfig(MethodConfig):
    """Parameters of weight masking."""

    ratio: float = parameter(
        0.3, "Share of the feature units masked in the class's row of the head.", low=0, high=1
    )


@register(
    "weight_masking",
    title="Weight masking",
    needs=("forget",),
    scope="head",
    paper="Wang et al., KAIS 2025 (openreview CShbUEuc1O)",
    summary="Sets to 0 the head's weights by which the forgotten classes are recognised; no "
    "training.",
    formula=r"W_{cj} \leftarrow 0\ \text{ for the largest } s_{cj} = W_{cj}\,\overline{h_j}",
    config=WeightMaskingConfig,
)
@torch.no_grad()
def weight_masking(task: Task, config: WeightMaskingConfig) -> Iterator[Step]:
    task.trainable("head")
    head, labels = task.model.head, task.forget.labels
    inputs = ForgetInputs(task)
    features = inputs.features()
    n_masked = round(config.ratio * task.model.n_features)
    if not n_masked:
        raise BadInput(
            f"A ratio of {config.ratio:g} of {task.model.n_features} feature units is none of "
            f"them; use at least {1 / task.model.n_features:.2g}."
        )
    classes = labels.unique().tolist()
    everything = torch.arange(len(labels), device=labels.device)
    for number, label in enumerate(classes, 1):
        contribution = head.weight[label] * features[labels == label].mean(0)
        largest = contribution.argsort(descending=True, stable=True)[:n_masked]
        # A unit that speaks against the class is left to do so.
        masked = largest[contribution[largest] > 0]
        head.weight[label, masked] = 0
        loss = functional.cross_entropy(inputs.logits(everything), labels)
        yield Step(number, len(classes), loss.item(), note=f"{len(masked)} units masked")
