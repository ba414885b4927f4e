"""Rules that look at what the model says of each training picture."""

from __future__ import annotations

import torch
from torch import Tensor

from imu_core.forget_rules import Proposal, RuleContext, count_of, forget_rule
from imu_core.forget_set import n_pictures


@forget_rule(
    "hardest",
    "50",
    "The pictures with the highest loss: often mislabelled or odd, so the model has had to "
    "memorise them.",
    needs_outputs=True,
)
def hardest(context: RuleContext, argument: str) -> Proposal:
    count = count_of(argument, context.image_set.n_train, "hardest")
    losses = torch.nn.functional.cross_entropy(
        _logits(context), context.image_set.train_labels, reduction="none"
    )
    return Proposal(_first(-losses, count), f"the {n_pictures(count)} with the highest loss")


@forget_rule(
    "confident",
    "50",
    "The pictures whose class the model is surest of, rightly or not: what it has learnt best.",
    needs_outputs=True,
)
def confident(context: RuleContext, argument: str) -> Proposal:
    count = count_of(argument, context.image_set.n_train, "confident")
    ordered = _logits(context).sort(dim=1, descending=True).values
    # The highest probability is 1 / (1 + exp(doubt)): probabilities themselves round to 1 and tie.
    doubt = ordered[:, 1:].logsumexp(dim=1) - ordered[:, 0]
    return Proposal(_first(doubt, count), f"the {n_pictures(count)} the model is surest of")


def _logits(context: RuleContext) -> Tensor:
    """float64 (n, K)"""
    return torch.from_numpy(context.outputs.train_logits).double()


def _first(values: Tensor, count: int) -> list[int]:
    """Ids of the `count` lowest values; of equal ones the lower id."""
    return values.argsort(stable=True)[:count].tolist()
