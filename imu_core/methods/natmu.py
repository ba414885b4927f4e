r"""NatMU: train on forget pictures that fade into retain pictures of other classes
(He et al., "Towards natural machine unlearning", TPAMI 2025, arXiv 2405.15495).

For each forget picture x and each of the original's four most probable classes c other than its
own, a retain picture x_c of class c is drawn, and the blend

    x' = M ∘ x + (1 − M) ∘ x_c,   label c,   M = clip(ramp + δ, 0, 1)

joins the retain pictures, on which the model is fine-tuned. M is a linear ramp in one of the four
directions, one for each blend. A wrong label alone is a lie about the picture; here the picture
really holds evidence for its label, so the correction is "natural".

Differs from public code: four full ramps (left, right, up, down) in place of four masks of
two opposite ramps each. Classes of which no retain picture is left are passed over. No class gets
more than 98 % as many blends as it has retain pictures, as in the released code, but at least one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.methods.answers import logits_of, without_class
from imu_core.methods.descent import DescentConfig, descend, join
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Pictures, Task
from imu_core.optimisers import AdamW

N_BLENDS, MOST_OF_CLASS = 4, 0.98


@dataclass(frozen=True)
class NatmuConfig(DescentConfig):
    """Parameters of NatMU."""

    lr: float = parameter(0.003, "Learning rate at the start (AdamW).", low=1e-8, high=100)
    epochs: int = parameter(5, "Passes over retain pictures and blends.", low=1, high=10_000)
    momentum: float = parameter(0.9, "β₁ of AdamW.", low=0, high=0.999)
    delta: float = parameter(
        0.1, "δ: above 0 more of the forget picture shows, below 0 less.", low=-1, high=1
    )


def ramps(height: int, width: int, delta: float) -> Tensor:
    """Masks (4, h, w): right, left, down, up, as shares of the forget picture."""
    across = torch.linspace(0, 1, width).expand(height, width)
    down = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return (torch.stack([across, across.flip(1), down, down.flip(0)]) + delta).clamp(0, 1)


def blends(task: Task, delta: float) -> Pictures:
    """The blended pictures with the labels of their retain halves; their ids are of the forget
    pictures in them."""
    forget, retain = task.forget, task.retain
    counts = torch.bincount(retain.labels, minlength=task.model.n_classes)
    ranked = without_class(logits_of(task.original, forget), forget.labels)
    ranked[:, counts == 0] = -torch.inf
    values, classes = ranked.topk(min(N_BLENDS, task.model.n_classes - 1), dim=1)
    rows, ranks = values.isfinite().nonzero(as_tuple=True)
    labels = classes[rows, ranks]
    if not len(labels):
        raise BadInput(
            "NatMU blends forget pictures into retain pictures of other classes, and no other "
            "class has a retain picture here; choose another method."
        )
    chosen, partners = [], []
    for label in labels.unique().tolist():
        mine = (labels == label).nonzero().flatten()
        order = torch.randperm(len(mine), generator=task.generator).to(mine.device)
        mine = mine[order[: max(1, int(MOST_OF_CLASS * int(counts[label])))]]
        pool = (retain.labels == label).nonzero().flatten()
        drawn = torch.randint(len(pool), (len(mine),), generator=task.generator)
        chosen.append(mine)
        partners.append(pool[drawn.to(pool.device)])
    mine, theirs = torch.cat(chosen), torch.cat(partners)
    height, width = forget.images.shape[2:]
    masks = ramps(height, width, delta).to(task.device)[ranks[mine], None]
    mixed = masks * forget.images[rows[mine]] + (1 - masks) * retain.images[theirs]
    return Pictures(mixed.round().to(torch.uint8), labels[mine], forget.ids[rows[mine].cpu()])


@register(
    "natmu",
    title="NatMU",
    needs=("forget", "retain"),
    scope="all",
    paper="He et al., arXiv 2405.15495",
    summary="Fine-tunes on the retain pictures and on blends of forget pictures into retain "
    "pictures of other classes.",
    formula=r"x' = M\circ x_F + (1-M)\circ x_R,\quad y' = y_R",
    config=NatmuConfig,
)
def natmu(task: Task, config: NatmuConfig) -> Iterator[Step]:
    both = join(task.retain, blends(task, config.delta))
    parameters = task.trainable("all", config.batch_norm)
    optimiser = AdamW(parameters, momentum=config.momentum, weight_decay=config.weight_decay)

    def loss_of(rows: Tensor) -> Tensor:
        return functional.cross_entropy(task.model(both.images[rows]), both.labels[rows])

    yield from descend(task, config, both, loss_of, optimiser=optimiser, cosine=True)
