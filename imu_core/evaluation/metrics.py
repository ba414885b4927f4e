"""The numbers of a run, with interval and count, and the floor between retrained models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.evaluation.accuracy import accuracy, cross_entropy, predictions, wholly_forgotten
from imu_core.evaluation.estimate import Estimate, mean
from imu_core.evaluation.membership import Membership, membership
from imu_core.evaluation.outputs import Outputs
from imu_core.evaluation.representation import probe_forget_accuracy
from imu_core.images.image_set import ImageSet

METRIC_NAMES = (
    "forget_accuracy",
    "retain_accuracy",
    "test_accuracy",
    "test_accuracy_all",
    "membership_auc",
    "membership_tpr_at_1",
    "probe_forget_accuracy",
    "forget_loss",
)


class Metrics(dict[str, Estimate]):
    """Name → estimate; the names are `METRIC_NAMES`."""

    def to_dict(self) -> dict[str, Any]:
        """Flat values (None = cannot be had) and, under "detail", interval, count and reason."""
        flat: dict[str, Any] = {name: estimate.value for name, estimate in self.items()}
        flat["detail"] = {name: estimate.to_dict() for name, estimate in self.items()}
        return flat


def measure(
    outputs: Outputs,
    image_set: ImageSet,
    forget_ids: Tensor,
    *,
    seed: int = 0,
    test_rows: Tensor | None = None,
) -> Metrics:
    """All metrics of one model for one forget set.

    `test_rows` (int64) keeps only these test pictures, for methods that were shown the others.
    `test_accuracy` leaves out the classes of which every training picture is to be forgotten;
    the prediction is still the argmax over all classes. The seed draws the probe's pictures and
    the attack's non-members: use one seed for all models that are to be compared.
    """
    forget = forget_ids.cpu().numpy()
    train_labels = image_set.train_labels.numpy()
    rows = np.arange(image_set.n_test) if test_rows is None else test_rows.cpu().numpy()
    _check(outputs, image_set)
    test_labels, test_logits = image_set.test_labels.numpy()[rows], outputs.test_logits[rows]
    labels, logits = train_labels[forget], outputs.train_logits[forget]
    retain = np.setdiff1d(np.arange(len(train_labels)), forget, assume_unique=True)
    gone = wholly_forgotten(train_labels, forget, image_set.n_classes)
    known = ~np.isin(test_labels, gone)
    attack = membership(logits, labels, test_logits, test_labels, seed=seed)
    probe = probe_forget_accuracy(
        outputs.test_features[rows], test_labels, outputs.train_features[forget], labels, seed=seed
    )
    return Metrics(
        forget_accuracy=accuracy(labels, logits),
        retain_accuracy=accuracy(train_labels[retain], outputs.train_logits[retain]),
        test_accuracy=accuracy(test_labels[known], test_logits[known]),
        test_accuracy_all=accuracy(test_labels, test_logits),
        membership_auc=attack.auc,
        membership_tpr_at_1=attack.tpr_at_1,
        probe_forget_accuracy=probe,
        forget_loss=mean(cross_entropy(labels, logits)),
    )


def membership_of(
    outputs: Outputs,
    image_set: ImageSet,
    forget_ids: Tensor,
    *,
    seed: int = 0,
    test_rows: Tensor | None = None,
) -> Membership:
    """The attack behind `membership_auc` of `measure`, with its whole ROC; same draw, same seed."""
    _check(outputs, image_set)
    forget = forget_ids.cpu().numpy()
    rows = np.arange(image_set.n_test) if test_rows is None else test_rows.cpu().numpy()
    return membership(
        outputs.train_logits[forget],
        image_set.train_labels.numpy()[forget],
        outputs.test_logits[rows],
        image_set.test_labels.numpy()[rows],
        seed=seed,
    )


def _check(outputs: Outputs, image_set: ImageSet) -> None:
    sizes = len(outputs.train_logits), len(outputs.test_logits)
    if sizes != (image_set.n_train, image_set.n_test):
        raise BadInput(
            f"These outputs are of {sizes[0]} training and {sizes[1]} test pictures, but "
            f"“{image_set.name}” has {image_set.n_train} and {image_set.n_test}."
        )


def floors(retrained: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | int]]:
    """What "perfect" looks like: differences between models retrained with different seeds.

    Name → {"mean": mean |difference| over all pairs, "max": the largest, "pairs": how many}. A
    metric that is missing in a model is left out; fewer than two models give {}.
    """
    result: dict[str, dict[str, float | int]] = {}
    for name in METRIC_NAMES:
        values = [m[name] for m in retrained if m.get(name) is not None]
        gaps = [abs(a - b) for a, b in combinations(values, 2)]
        if gaps:
            result[name] = {"mean": sum(gaps) / len(gaps), "max": max(gaps), "pairs": len(gaps)}
    return result


def tug_of_war(after: Mapping[str, Any], retrained: Mapping[str, Any]) -> float | None:
    """Closeness to a retrained model in one number, 1 = equal accuracies (Zhao et al. 2024).

    (1 − |ΔFA|)(1 − |ΔRA|)(1 − |ΔTA|) with forget, retain and test accuracy. 1 does not mean that
    single pictures do not leak.
    """
    product = 1.0
    for name in ("forget_accuracy", "retain_accuracy", "test_accuracy"):
        mine, theirs = after.get(name), retrained.get(name)
        if mine is None or theirs is None:
            return None
        product *= 1 - abs(mine - theirs)
    return product


def retain_flips(
    before: Outputs, after: Outputs, image_set: ImageSet, forget_ids: Tensor
) -> np.ndarray:
    """Ids (int64, ascending) of retain pictures named right before and wrong after."""
    labels = image_set.train_labels.numpy()
    lost = predictions(before.train_logits) == labels
    lost &= predictions(after.train_logits) != labels
    lost[forget_ids.cpu().numpy()] = False
    return np.flatnonzero(lost)
