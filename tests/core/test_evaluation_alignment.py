"""Alignment recovers what was done to features; what did not move stays exactly in place."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from imu_core.errors import BadInput
from imu_core.evaluation.alignment import align, movement, shared_pca


@pytest.fixture
def features():
    generator = np.random.default_rng(0)
    return generator.normal(size=(400, 12)) * np.geomspace(4, 0.5, 12) + 2


@pytest.fixture
def turn():
    return np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]


RETAIN = np.arange(50, 400)
FORGET = np.arange(50)


def test_procrustes_recovers_a_rotation_shift_and_scale(features, turn):
    other = 3 * features @ turn + 7
    found = align(other, features, RETAIN)
    assert found.residual == pytest.approx(0.0, abs=1e-12)
    assert found.rotation == pytest.approx(turn.T, abs=1e-9)
    start = align(features, features, RETAIN)
    assert found.apply(other) == pytest.approx(start.apply(features), abs=1e-9)


def test_residual_of_noise_is_the_share_that_no_rotation_explains(features):
    generator = np.random.default_rng(2)
    noisy = features + generator.normal(size=features.shape)
    unrelated = generator.normal(size=features.shape)
    slight, strong = align(noisy, features, RETAIN), align(unrelated, features, RETAIN)
    assert 0.005 < slight.residual < 0.3
    assert strong.residual > 0.8
    assert strong.residual <= 1.0


def test_only_retain_pictures_decide_the_alignment(features, turn):
    other = features @ turn
    other[FORGET] += 100
    assert align(other, features, RETAIN).rotation == pytest.approx(turn.T, abs=1e-9)


def test_movement_is_exactly_zero_when_only_the_head_changed(features):
    moved = movement(features, features.copy(), FORGET, RETAIN)
    assert not moved.forget.any()
    assert not moved.retain.any()
    assert (moved.residual, len(moved.forget), len(moved.retain)) == (0.0, 50, 350)


def test_movement_in_units_of_the_spread_and_free_of_the_basis(features, turn):
    spread = np.sqrt(np.square(features[RETAIN] - features[RETAIN].mean(0)).sum(1).mean())
    other = features.copy()
    other[FORGET, 0] += 2 * spread
    moved = movement(features, other @ turn, FORGET, RETAIN)
    assert moved.forget == pytest.approx(np.full(50, 2.0), abs=1e-9)
    assert moved.retain == pytest.approx(np.zeros(350), abs=1e-9)


def test_the_map_is_scikit_learns_pca_of_the_original(features):
    shared = shared_pca([features], RETAIN, n_components=3)
    oracle = PCA(3).fit(features)
    assert shared.explained == pytest.approx(oracle.explained_variance_ratio_)
    spread = np.sqrt(np.square(features[RETAIN] - features[RETAIN].mean(0)).sum(1).mean())
    assert np.abs(shared.coordinates[0]) == pytest.approx(
        np.abs(oracle.transform(features)) / spread, abs=1e-9
    )


def test_a_rotated_copy_lies_on_the_original_and_rows_choose_pictures(features, turn):
    rows = np.array([5, 300, 17])
    shared = shared_pca([features, -2 * features @ turn], RETAIN, rows=rows)
    assert shared.coordinates[0].shape == (3, 2)
    assert shared.coordinates[1] == pytest.approx(shared.coordinates[0], abs=1e-9)
    assert shared.residuals == pytest.approx([0.0, 0.0], abs=1e-12)


def test_large_sets_are_sampled_by_seed():
    features = np.random.default_rng(0).normal(size=(6000, 3))
    shared = shared_pca([features], np.arange(6000), seed=4)
    assert len(shared.rows) == 5000
    assert np.array_equal(shared.rows, shared_pca([features], np.arange(6000), seed=4).rows)
    assert not np.array_equal(shared.rows, shared_pca([features], np.arange(6000), seed=5).rows)


def test_a_collapsed_model_stays_finite(features):
    shared = shared_pca([features, np.ones_like(features)], RETAIN)
    assert np.isfinite(shared.coordinates[1]).all()
    assert shared.residuals[1] == pytest.approx(1.0)


def test_features_that_cannot_be_mapped_are_refused(features):
    broken = features.copy()
    broken[60, 0] = np.nan
    with pytest.raises(BadInput, match="not finite"):
        align(broken, features, RETAIN)
    with pytest.raises(BadInput, match="too few"):
        align(features, features, RETAIN[:1])
    with pytest.raises(BadInput, match="same pictures"):
        shared_pca([features, features[:10]], RETAIN)
