"""The rule that looks for wrong labels."""

from __future__ import annotations

import torch

from imu_core.errors import BadInput
from imu_core.forget_rules import Proposal, RuleContext, count_of, forget_rule
from imu_core.forget_set import n_pictures
from imu_core.softmax_head import out_of_fold


@forget_rule(
    "mislabelled",
    "50",
    "The pictures most likely to have a wrong label: heads fitted to the other pictures are sure "
    "that they belong to another class. Bad data is a common reason to forget.",
    needs_outputs=True,
)
def mislabelled(context: RuleContext, argument: str) -> Proposal:
    """Ranks by the margin of the class predicted out of fold (Northcutt et al. 2021)."""
    images = context.image_set
    count = count_of(argument, images.n_train, "mislabelled")
    labels = images.train_labels
    found = out_of_fold(
        context.outputs.train_features,
        labels,
        images.n_classes,
        seed=context.seed,
        report=context.report,
    )
    own = found.gather(1, labels[:, None]).flatten()
    best, predicted = found.max(1)
    otherwise = (predicted != labels).nonzero().flatten()
    if not len(otherwise):
        raise BadInput("No picture is predicted otherwise than its label says; none stands out.")
    order = torch.argsort((best - own)[otherwise], descending=True, stable=True)
    ids = otherwise[order[:count]].tolist()
    few = "" if len(ids) == count else f", all that are predicted otherwise of {count:,} asked for"
    return Proposal(ids, f"the {n_pictures(len(ids))} most likely to be mislabelled{few}")
