"""The probe and CKA: chance for permuted labels, invariances, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from imu_core.evaluation.representation import linear_cka, probe_forget_accuracy, probe_share


@pytest.fixture(scope="module")
def pixels():
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return data.data[order].astype(np.float32), data.target[order]


def test_the_probe_finds_digits_in_their_pixels(pixels):
    x, y = pixels
    estimate = probe_forget_accuracy(x[:900], y[:900], x[900:], y[900:])
    assert estimate.value > 0.93
    assert estimate.low < estimate.value < estimate.high
    assert estimate.n == 897


def test_permuted_labels_leave_the_probe_at_chance(pixels):
    x, y = pixels
    shuffled = np.random.default_rng(1).permutation(y[:900])
    estimate = probe_forget_accuracy(x[:900], shuffled, x[900:], y[900:])
    assert estimate.low < 0.12
    assert estimate.high < 0.2


def test_the_probe_does_not_see_the_scale_of_a_feature(pixels):
    x, y = pixels
    scaled = x * np.geomspace(1e-2, 1e2, x.shape[1], dtype=np.float32) + 5
    plain = probe_forget_accuracy(x[:900], y[:900], x[900:], y[900:])
    assert probe_forget_accuracy(
        scaled[:900], y[:900], scaled[900:], y[900:]
    ).value == pytest.approx(plain.value, abs=0.01)


def test_the_probe_asks_about_at_most_5000_and_depends_on_nothing_but_the_seed():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 12_000)
    x = generator.normal(size=(12_000, 4)) + y[:, None] * 0.5
    args = x[:6000], y[:6000], x[6000:], y[6000:]
    first = probe_forget_accuracy(*args, seed=0)
    assert first.n == 5000
    assert probe_forget_accuracy(*args, seed=0) == first
    assert probe_forget_accuracy(*args, seed=1) != first


def test_the_probe_is_refused_where_it_could_not_mean_anything(pixels):
    x, y = pixels
    assert "too few (n = 20)" in probe_forget_accuracy(x[:20], y[:20], x[900:], y[900:]).why
    nothing = probe_forget_accuracy(x[:900], y[:900], x[:0], y[:0])
    assert (nothing.value, nothing.why) == (None, "no pictures")
    same = probe_forget_accuracy(x[:900], np.zeros(900, int), x[900:], y[900:])
    assert same.why == "the test pictures are all of one class"
    broken = probe_forget_accuracy(np.full_like(x, np.nan)[:900], y[:900], x[900:], y[900:])
    assert broken.why == "the model's features are not finite"


def test_probe_share_is_the_way_from_retrained_to_original():
    assert probe_share(0.9, 0.9, 0.4) == pytest.approx(1.0)
    assert probe_share(0.9, 0.4, 0.4) == pytest.approx(0.0)
    assert probe_share(0.9, 0.65, 0.4) == pytest.approx(0.5)
    assert probe_share(0.9, 0.9, 0.9) is None
    assert probe_share(0.92, 0.9, 0.9, noise=0.03) is None
    assert probe_share(0.9, None, 0.4) is None


def test_the_probe_is_scikit_learns_logistic_regression(pixels):
    x, y = pixels
    hard = x + np.random.default_rng(0).normal(scale=12, size=x.shape)
    centre, spread = hard[:900].mean(0), hard[:900].std(0)
    oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000)
    oracle.fit((hard[:900] - centre) / spread, y[:900])
    right = oracle.score((hard[900:] - centre) / spread, y[900:])
    assert 0.4 < right < 0.9
    mine = probe_forget_accuracy(hard[:900], y[:900], hard[900:], y[900:])
    assert mine.value == pytest.approx(right, abs=0.003)


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_is_one_for_the_same_features_turned_moved_and_scaled(debiased):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 12))
    turn, _ = np.linalg.qr(generator.normal(size=(12, 12)))
    assert linear_cka(x, 7 * x @ turn + 3, debiased=debiased) == pytest.approx(1.0)


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_is_symmetric_and_sees_order_of_pictures_only_together(debiased):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(60, 5)), generator.normal(size=(60, 8))
    y[:, 0] += x[:, 0]
    value = linear_cka(x, y, debiased=debiased)
    order = generator.permutation(60)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(value)
    assert linear_cka(x[order], y[order], debiased=debiased) == pytest.approx(value)


def test_debiased_cka_is_the_gram_matrix_formula():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(30, 6)), generator.normal(size=(30, 4))
    y[:, :2] += x[:, :2]

    def hsic(k: np.ndarray, el: np.ndarray) -> float:
        n, one = len(k), np.ones(len(k))
        k, el = k - np.diag(np.diag(k)), el - np.diag(np.diag(el))
        sums = (one @ k @ one) * (one @ el @ one) / ((n - 1) * (n - 2))
        return np.trace(k @ el) + sums - 2 / (n - 2) * one @ k @ el @ one

    k, el = x @ x.T, y @ y.T
    oracle = hsic(k, el) / np.sqrt(hsic(k, k) * hsic(el, el))
    assert linear_cka(x, y, debiased=True) == pytest.approx(oracle)


def test_debiasing_takes_unrelated_features_to_zero():
    generator = np.random.default_rng(3)
    pairs = [generator.normal(size=(2, 40, 60)) for _ in range(50)]
    assert np.mean([linear_cka(x, y) for x, y in pairs]) > 0.5
    assert abs(np.mean([linear_cka(x, y, debiased=True) for x, y in pairs])) < 0.02


def test_cka_of_constant_features_is_none_and_of_other_pictures_an_error():
    assert linear_cka(np.ones((10, 3)), np.eye(10)) is None
    with pytest.raises(ValueError, match="same pictures"):
        linear_cka(np.eye(4), np.eye(5))
