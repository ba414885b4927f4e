"""The membership attack against scikit-learn, brute force and its own coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from imu_core.evaluation.membership import attack, auc, matched_rows, membership, phi, roc, tpr_at


def _scores(seed: int, n: int = 60, m: int = 80, shift: float = 0.4, ties: bool = True):
    generator = np.random.default_rng(seed)
    inside, outside = generator.normal(shift, 1, n), generator.normal(0, 1, m)
    return (inside.round(1), outside.round(1)) if ties else (inside, outside)


def test_phi_is_the_logit_of_the_probability():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 10)) * 3
    labels = generator.integers(0, 10, 200)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p_y = p[np.arange(200), labels]
    assert phi(logits, labels) == pytest.approx(np.log(p_y) - np.log1p(-p_y), abs=1e-9)


def test_phi_does_not_saturate_where_the_probability_does():
    logits = np.array([[800.0, 0.0, 0.0], [-10_000.0, 1.0, 1.0]], dtype=np.float32)
    expected = [800 - np.log(2), -10_000 - 1 - np.log(2)]
    assert phi(logits, np.array([0, 0])) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_scikit_learns_and_brute_force_with_ties(seed):
    inside, outside = _scores(seed)
    pairs = inside[:, None] - outside[None, :]
    brute = float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    value = auc(inside, outside).value
    assert value == pytest.approx(brute, abs=1e-12)
    assert value == pytest.approx(roc_auc_score(truth, np.r_[inside, outside]), abs=1e-12)


def test_roc_is_scikit_learns():
    inside, outside = _scores(3)
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    fpr, tpr, _ = roc_curve(truth, np.r_[inside, outside], drop_intermediate=False)
    mine = roc(inside, outside)
    assert mine[0] == pytest.approx(fpr)
    assert mine[1] == pytest.approx(tpr)


def test_delong_variance_is_the_variance_over_pairs_of_placements():
    inside, outside = _scores(1, ties=False)
    wins = (inside[:, None] > outside[None, :]).astype(float)
    variance = wins.mean(1).var(ddof=1) / len(inside) + wins.mean(0).var(ddof=1) / len(outside)
    estimate = auc(inside, outside)
    assert estimate.high - estimate.value == pytest.approx(1.959964 * variance**0.5, rel=1e-5)


def test_equal_distributions_cover_a_half_about_95_times_in_100():
    generator = np.random.default_rng(7)
    hits = sum(
        estimate.low <= 0.5 <= estimate.high
        for estimate in (auc(*generator.normal(size=(2, 100))) for _ in range(1000))
    )
    # Binomial(1000, 0.95) lies in this range 99.9 times in 100; DeLong is slightly liberal.
    assert 920 <= hits <= 972


def test_a_shift_of_one_deviation_is_the_closed_form():
    generator = np.random.default_rng(0)
    estimate = auc(generator.normal(1, 1, 20_000), generator.normal(0, 1, 20_000))
    assert estimate.low <= stats.norm.cdf(1 / 2**0.5) <= estimate.high


def test_perfect_separation_keeps_an_interval():
    estimate = auc(np.arange(20.0) + 100, np.arange(20.0))
    assert estimate.value == 1.0
    assert estimate.high == 1.0
    assert 0.8 < estimate.low < 0.99
    mirrored = auc(np.arange(20.0), np.arange(20.0) + 100)
    assert mirrored.value == 0.0
    assert mirrored.high == pytest.approx(1 - estimate.low, abs=1e-4)


def test_tpr_takes_the_last_threshold_within_one_per_cent_without_interpolating():
    outside = np.arange(150.0)
    inside = np.r_[np.full(30, 149.5), np.full(20, 148.5), np.full(10, 147.5), np.full(90, 0.5)]
    fpr, tpr = roc(inside, outside)
    # One false alarm in 150 is 0.67 %; the second is 1.33 %. The 20 lie above the second.
    estimate = tpr_at(fpr, tpr, len(inside), 0.01)
    oracle = stats.binomtest(50, 150).proportion_ci(method="exact")
    assert estimate.value == pytest.approx(50 / 150)
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high))


def test_too_few_pictures_are_refused_with_the_count():
    result = attack(*_scores(0, n=36, m=36))
    assert result.auc.value is not None
    assert result.tpr_at_1.value is None
    assert result.tpr_at_1.why.startswith("too few (n = 36)")
    fewer = attack(*_scores(0, n=9, m=9))
    assert fewer.auc.value is None
    assert fewer.auc.why.startswith("too few (n = 9)")
    assert attack(np.empty(0), np.empty(0)).auc.value is None


def test_outputs_that_are_not_numbers_are_refused():
    result = attack(np.full(200, np.nan), np.zeros(200))
    assert result.auc.why == "the model's outputs are not finite"


def test_both_sides_get_equal_size_and_class_mix():
    generator = np.random.default_rng(0)
    members = np.r_[np.full(300, 3), np.full(20, 5), np.full(7, 9)]
    others = generator.integers(0, 9, 1000)
    first, second = matched_rows(members, others, seed=1)
    assert np.bincount(members[first]).tolist() == np.bincount(others[second]).tolist()
    assert len(np.unique(first)) == len(first)
    assert set(members[first]) == {3, 5}
    assert (members[first] == 5).sum() == 20
    again = matched_rows(members, others, seed=1)
    assert np.array_equal(first, again[0])
    assert np.array_equal(second, again[1])
    assert not np.array_equal(second, matched_rows(members, others, seed=2)[1])


def test_a_hard_class_is_not_mistaken_for_a_leak():
    """Class 1 is named with less confidence; its members are ordinary for the class."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 4000)
    margins = np.where(labels == 1, 0.0, 4.0) + generator.normal(size=4000)
    logits = np.zeros((4000, 2))
    logits[np.arange(4000), labels] = margins
    forget = np.flatnonzero(labels[:2000] == 1)
    result = membership(logits[forget], labels[forget], logits[2000:], labels[2000:], seed=0)
    assert not result.remembered
    assert not result.over_forgotten
    unmatched = auc(phi(logits[forget], labels[forget]), phi(logits[2000:], labels[2000:]))
    assert unmatched.high < 0.35


def test_lowered_confidence_reads_as_over_forgetting_and_raised_as_remembered():
    inside, outside = _scores(0, n=200, m=200, shift=-1.0)
    assert attack(inside, outside).over_forgotten
    assert attack(-inside, outside).remembered
