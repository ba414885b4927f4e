"""Intervals against scipy and against their own promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from imu_core.evaluation.estimate import mean, proportion, refused


@pytest.mark.parametrize(("successes", "n"), [(0, 12), (12, 12), (1, 100), (37, 144), (998, 1000)])
def test_proportion_is_scipys_exact_interval(successes, n):
    estimate = proportion(successes, n)
    oracle = stats.binomtest(successes, n).proportion_ci(method="exact")
    assert estimate.value == successes / n
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high), abs=1e-10)
    assert estimate.n == n


def test_proportion_of_nothing_is_refused_with_a_reason():
    estimate = proportion(0, 0)
    assert estimate.value is None
    assert estimate.why == "no pictures"


def test_more_successes_than_pictures_is_an_error():
    with pytest.raises(ValueError, match="no share"):
        proportion(5, 4)


def test_mean_is_scipys_t_interval():
    values = np.random.default_rng(0).gamma(2.0, size=37)
    estimate = mean(values)
    oracle = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high))


def test_mean_of_infinite_losses_is_refused():
    assert mean(np.array([1.0, np.inf])).why == "the model's outputs are not finite"


def test_detail_keeps_reason_and_count():
    assert refused(3, "too few").to_dict() == {"low": None, "high": None, "n": 3, "why": "too few"}
