"""Rules that search for the set hardest or easiest to unlearn (Challenging Forgets)."""

from __future__ import annotations

from imu_core.forget_rules import Proposal, RuleContext, count_of, forget_rule
from imu_core.forget_set import n_pictures
from imu_core.worst_case import challenging_ids


@forget_rule(
    "worst",
    "10%",
    "The set that is hardest to unlearn: pictures still named right by a head fitted without them. "
    "A method that copes with these copes with more than a random draw shows.",
    needs_outputs=True,
)
def worst(context: RuleContext, argument: str) -> Proposal:
    return _searched(context, argument, "worst", "hardest")


@forget_rule(
    "easiest",
    "10%",
    "The set that is easiest to unlearn: pictures that a head fitted without them gets wrong. The "
    "reverse of the worst case, to compare with.",
    needs_outputs=True,
)
def easiest(context: RuleContext, argument: str) -> Proposal:
    return _searched(context, argument, "easiest", "easiest")


def _searched(context: RuleContext, argument: str, rule: str, word: str) -> Proposal:
    images = context.image_set
    count = count_of(argument, images.n_train, rule)
    ids = challenging_ids(
        context.outputs.train_features,
        images.train_labels,
        images.n_classes,
        count,
        easiest=rule == "easiest",
        progress=context.report,
    )
    return Proposal(ids.tolist(), f"the {n_pictures(count)} {word} to unlearn at the head")
