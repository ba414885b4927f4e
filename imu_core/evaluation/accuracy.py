"""Accuracy, confusion and loss from logits; what the forget pictures are called now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imu_core.evaluation.estimate import Estimate, proportion

NO_PREDICTION = -1


def predictions(logits: np.ndarray) -> np.ndarray:
    """Predicted class (int64, n): argmax over all classes; `NO_PREDICTION` where a logit is NaN."""
    chosen = np.asarray(logits).argmax(axis=1)
    # numpy would call the first NaN the largest, which would count as a right answer by chance.
    chosen[np.isnan(logits).any(axis=1)] = NO_PREDICTION
    return chosen


def accuracy(labels: np.ndarray, logits: np.ndarray) -> Estimate:
    """Share predicted right, with its exact 95 % interval."""
    return proportion(int((predictions(logits) == labels).sum()), len(labels))


def per_class(labels: np.ndarray, logits: np.ndarray, n_classes: int) -> list[Estimate]:
    """Accuracy of each class in order; a class without pictures has value None."""
    right = predictions(logits) == labels
    totals = np.bincount(labels, minlength=n_classes)
    hits = np.bincount(labels[right], minlength=n_classes)
    return [proportion(int(hit), int(total)) for hit, total in zip(hits, totals, strict=True)]


def confusion(labels: np.ndarray, logits: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts int64 (K, K): row = true class, column = predicted class.

    Pictures without a prediction (NaN logits) are in no column.
    """
    chosen = predictions(logits)
    known = chosen != NO_PREDICTION
    cells = labels[known] * n_classes + chosen[known]
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def renamed(
    labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str]
) -> list[tuple[str, int]]:
    """What wrongly named pictures are called now: (class name, count), most frequent first.

    Pictures still named right are left out, so the counts add up to the number of wrong ones;
    pictures without a prediction (NaN logits) are counted as "nothing".
    """
    chosen = predictions(logits)
    names, counts = np.unique(chosen[chosen != labels], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        ("nothing" if names[i] == NO_PREDICTION else class_names[names[i]], int(counts[i]))
        for i in order
    ]


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Loss of each picture, float64 (n,), nats: logsumexp_j z_j − z_y."""
    wide = np.asarray(logits, dtype=np.float64)
    return log_sum_exp(wide) - wide[np.arange(len(labels)), labels]


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """log Σ_j exp z_j of each row, float64 (n,), without overflow; −inf entries count as absent."""
    top = logits.max(axis=1)
    shift = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore", invalid="ignore"):
        return shift + np.log(np.exp(logits - shift[:, None]).sum(axis=1))


def wholly_forgotten(
    train_labels: np.ndarray, forget_ids: np.ndarray, n_classes: int
) -> np.ndarray:
    """Classes (int64, ascending) of which every training picture is in the forget set."""
    totals = np.bincount(train_labels, minlength=n_classes)
    taken = np.bincount(train_labels[forget_ids], minlength=n_classes)
    return np.flatnonzero((totals > 0) & (taken == totals))
