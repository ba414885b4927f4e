"""Rules that look for pictures like others, by the model's features."""

from __future__ import annotations

import re

import numpy as np

from imu_core.embedding import principal_map
from imu_core.errors import BadInput
from imu_core.forget_rules import Proposal, RuleContext, count_of, forget_rule
from imu_core.forget_set import check_ids, n_pictures
from imu_core.near_duplicates import FEATURE_DISTANCE, near_duplicates
from imu_core.picking import distance_to_nearest, unit_rows

MOST_COMPONENTS = 50


@forget_rule(
    "twins",
    "4,8 or 4,8:0.05",
    "Near-duplicates of these pictures: to forget a picture whose twin stays is not to forget it.",
    needs_outputs=True,
)
def twins(context: RuleContext, argument: str) -> Proposal:
    ids, rest = _ids_and(argument, context, "twins")
    distance = _number(rest, "twins") if rest else FEATURE_DISTANCE
    found = near_duplicates(
        context.image_set.train_images, _features(context), ids, feature_distance=distance
    )
    outside = found.ids.tolist()
    return Proposal(outside, f"{n_pictures(len(outside))} that nearly repeat {_named(ids)}")


@forget_rule(
    "alike",
    "4,8:50",
    "More pictures like these: what the model sees in much the same way.",
    needs_outputs=True,
)
def alike(context: RuleContext, argument: str) -> Proposal:
    ids, rest = _ids_and(argument, context, "alike")
    count = count_of(rest or "50", context.image_set.n_train - len(ids), "alike")
    distances = distance_to_nearest(_features(context), ids)
    distances[ids] = np.inf
    nearest = np.argsort(distances, kind="stable")[:count]
    return Proposal(nearest.tolist(), f"the {n_pictures(count)} most like {_named(ids)}")


@forget_rule(
    "neighbours",
    "17:50",
    "The training pictures nearest to a test picture: those behind this very answer.",
    needs_outputs=True,
)
def neighbours(context: RuleContext, argument: str) -> Proposal:
    text, _, rest = argument.partition(":")
    n_test = context.image_set.n_test
    if not re.fullmatch("[0-9]{1,9}", text.strip()) or int(text) >= n_test:
        raise BadInput(
            f"neighbours={argument}: give the number of a test picture, 0 to {n_test - 1}, and how "
            "many neighbours, such as neighbours=17:50."
        )
    count = count_of(rest.strip() or "50", context.image_set.n_train, "neighbours")
    asked = unit_rows(context.outputs.test_features[int(text)][None])
    likeness = (unit_rows(_features(context)) @ asked.T).flatten().numpy()
    nearest = np.argsort(-likeness, kind="stable")[:count]
    return Proposal(
        nearest.tolist(), f"the {n_pictures(count)} nearest to test picture {int(text)}"
    )


@forget_rule(
    "component",
    "1:50 or -1:50",
    "The extremes of a principal component of the features: the far end of the first, second, … "
    "way in which pictures differ; -1 is the other end of the first.",
    needs_outputs=True,
)
def component(context: RuleContext, argument: str) -> Proposal:
    text, _, rest = argument.partition(":")
    features = _features(context)
    most = min(MOST_COMPONENTS, features.shape[1])
    if not re.fullmatch("-?[0-9]{1,3}", text.strip()) or not 1 <= abs(int(text)) <= most:
        raise BadInput(
            f"component={argument}: components go from 1 to {most}, or -1 to -{most} for the other "
            "end, such as component=1:50."
        )
    number = int(text)
    count = count_of(rest.strip() or "50", context.image_set.n_train, "component")
    plane = principal_map(features, n_components=abs(number), seed=context.seed)
    along = plane.project(features)[:, abs(number) - 1]
    ends = np.argsort(-along if number > 0 else along, kind="stable")[:count]
    end = "high" if number > 0 else "low"
    how = f"the {n_pictures(count)} at the {end} end of principal component {abs(number)}"
    return Proposal(ends.tolist(), how)


def _features(context: RuleContext) -> np.ndarray:
    return np.asarray(context.outputs.train_features, dtype=np.float32)


def _ids_and(argument: str, context: RuleContext, rule: str) -> tuple[list[int], str]:
    """The ids before the colon, and what stands behind it."""
    text, _, rest = argument.partition(":")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch("[0-9]{1,18}", part) for part in parts):
        raise BadInput(f"{rule}={argument}: give the ids of training pictures, such as {rule}=4,8.")
    ids = [int(part) for part in parts]
    check_ids(ids, context.image_set)
    return ids, rest.strip()


def _number(text: str, rule: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) or float(text) > 2:
        raise BadInput(f"{rule}: “{text}” is no distance from 0 to 2.")
    return float(text)


def _named(ids: list[int]) -> str:
    return f"picture {ids[0]}" if len(ids) == 1 else f"{n_pictures(len(ids))} chosen"
