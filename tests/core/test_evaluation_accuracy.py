"""Accuracies, confusions and losses, counted by hand or against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imu_core.evaluation.accuracy import (
    accuracy,
    confusion,
    cross_entropy,
    per_class,
    predictions,
    renamed,
    wholly_forgotten,
)

LABELS = np.array([0, 0, 0, 1, 1, 2])
CALLED = np.array([0, 1, 1, 1, 2, 2])
LOGITS = np.eye(4, dtype=np.float32)[CALLED]


def test_accuracy_by_hand():
    estimate = accuracy(LABELS, LOGITS)
    assert estimate.value == pytest.approx(3 / 6)
    assert estimate.n == 6


def test_per_class_by_hand_with_a_class_that_has_no_pictures():
    table = per_class(LABELS, LOGITS, 4)
    assert [item.value for item in table] == [pytest.approx(1 / 3), 0.5, 1.0, None]
    assert [item.n for item in table] == [3, 2, 1, 0]


def test_confusion_by_hand():
    expected = [[1, 2, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert confusion(LABELS, LOGITS, 4).tolist() == expected


def test_renamed_counts_only_the_wrong_ones_most_frequent_first():
    names = ("shirt", "t-shirt", "coat", "bag")
    assert renamed(LABELS, LOGITS, names) == [("t-shirt", 2), ("coat", 1)]
    assert renamed(CALLED, LOGITS, names) == []


def test_not_a_number_is_no_prediction_and_never_right():
    logits = np.full((3, 4), np.nan, dtype=np.float32)
    zeros = np.zeros(3, dtype=np.int64)
    assert predictions(logits).tolist() == [-1, -1, -1]
    assert accuracy(zeros, logits).value == 0.0
    assert confusion(zeros, logits, 4).sum() == 0
    assert renamed(zeros, logits, "abcd") == [("nothing", 3)]


def test_cross_entropy_is_torchs_also_for_huge_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 7, generator=generator, dtype=torch.float64) * 300
    labels = torch.randint(7, (50,), generator=generator)
    oracle = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert cross_entropy(labels.numpy(), logits.numpy()) == pytest.approx(oracle.numpy())


def test_a_class_counts_as_forgotten_only_when_every_picture_of_it_is():
    train_labels = np.array([0, 1, 1, 2, 2, 2])
    assert wholly_forgotten(train_labels, np.array([1, 2]), 4).tolist() == [1]
    assert wholly_forgotten(train_labels, np.array([1, 3]), 4).tolist() == []
    # Class 3 has no training pictures: there was nothing to forget.
    assert wholly_forgotten(train_labels, np.array([0, 3, 4, 5]), 4).tolist() == [0, 2]
