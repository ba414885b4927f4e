"""The fate of protected pictures, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from imu_core.errors import BadInput
from imu_core.evaluation.watched import moved, moved_floor, watched

LABELS = np.array([0, 1, 0, 1])
EVEN = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]], dtype=np.float64))


def test_probabilities_and_names_are_those_of_the_chosen_rows() -> None:
    found = watched(EVEN, LABELS, [1, 2])
    assert found.probability == pytest.approx([0.8, 0.4])
    assert found.called.tolist() == [1, 1]
    assert (found.accuracy.value, found.accuracy.n) == (0.5, 2)
    assert found.mean_probability.value == pytest.approx(0.6)


def test_logits_far_apart_neither_overflow_nor_vanish() -> None:
    found = watched(np.array([[2000.0, -2000.0], [-2000.0, 2000.0]]), np.array([0, 0]), [0, 1])
    assert found.probability.tolist() == [1.0, 0.0]


def test_the_floor_is_the_mean_over_pairs_of_retrained_models() -> None:
    models = [watched(np.log([[p, 1 - p], [1 - p, p]]), np.array([0, 1]), [0, 1])
              for p in (0.5, 0.6, 0.9)]  # fmt: skip
    assert moved(models[0], models[2]) == pytest.approx([0.4, 0.4])
    assert moved_floor(models) == pytest.approx((0.1 + 0.4 + 0.3) / 3)
    assert moved_floor(models[:1]) is None


def test_watching_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="protect at least one"):
        watched(EVEN, LABELS, [])
