"""Memorisation, influence and averages over several models: closed forms and simulations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads import assert_close

from imu_core.errors import BadInput
from imu_core.influence import average_scores, memorisation, random_halves, subset_influence


def test_halves_are_complementary_and_grow_without_changing() -> None:
    included = random_halves(101, 10, seed=4)
    assert included.shape == (10, 101)
    assert (included.sum(0) == 5).all()
    assert set(included.sum(1)) == {50, 51}
    np.testing.assert_array_equal(included[0], ~included[1])
    np.testing.assert_array_equal(random_halves(101, 6, seed=4), included[:6])
    assert (random_halves(101, 10, seed=5) != included).any()
    # No two pairs share their split.
    assert len({included[k].tobytes() for k in range(10)}) == 10


def test_memorisation_is_the_difference_of_two_shares() -> None:
    included = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 1, 1]], dtype=bool)
    correct = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    found = memorisation(correct, included)
    np.testing.assert_array_equal(found.value, [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(found.n_in, [2, 2, 4])
    np.testing.assert_array_equal(found.n_out, [2, 2, 0])
    # Two of two right and none of two: shares 3/4 and 1/4 with one of each added.
    assert found.standard_error[0] == pytest.approx(np.sqrt(2 * (3 / 16) / 4))
    assert np.isnan(found.standard_error[2])


def test_intervals_of_memorisation_cover_the_truth() -> None:
    random = np.random.default_rng(0)
    included = random_halves(4000, 40, seed=0)
    share_in, share_out = random.uniform(0.5, 1, 4000), random.uniform(0, 0.9, 4000)
    correct = random.random((40, 4000)) < np.where(included, share_in, share_out)
    found = memorisation(correct, included)
    truth = share_in - share_out
    covered = ((found.low <= truth) & (truth <= found.high)).mean()
    assert 0.93 <= covered <= 0.99
    # The standard error is that of the estimate.
    error = np.sqrt(((found.value - truth) ** 2).mean())
    assert error == pytest.approx(np.sqrt((found.standard_error**2).mean()), rel=0.06)


def test_influence_of_subsets_is_memorisation_on_other_pictures() -> None:
    random = np.random.default_rng(1)
    included = random_halves(50, 12, seed=1)
    correct = random.random((12, 50)) < 0.6
    pairs = subset_influence(correct, included, chunk=7)
    assert pairs.shape == (50, 50)
    np.testing.assert_allclose(pairs.diagonal(), memorisation(correct, included).value, atol=1e-6)
    always = np.ones((12, 1), dtype=bool)
    assert np.isnan(subset_influence(correct, always)).all()


def test_average_is_the_mean_with_its_standard_error() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(5)]
    found = average_scores(scores)
    stacked = torch.stack(scores)
    assert_close(found.mean, stacked.mean(0))
    assert found.standard_error is not None
    assert_close(found.standard_error, stacked.std(0) / 5**0.5)
    assert average_scores(scores[:1]).standard_error is None
    # No model outvotes the others by the scale of its logits.
    scaled = [score * 10**k for k, score in enumerate(scores)]
    assert_close(
        average_scores(scaled, standardise=True).mean, average_scores(scores, standardise=True).mean
    )


def test_what_does_not_fit_is_refused() -> None:
    three = np.ones((3, 4), dtype=bool)
    with pytest.raises(BadInput, match="do not"):
        memorisation(three, three[:, :2])
    with pytest.raises(BadInput, match="at least two models"):
        memorisation(three[:1], three[:1])
    with pytest.raises(BadInput, match="one row a model"):
        subset_influence(three[:2], three)
    with pytest.raises(BadInput, match="at least four pictures and two models"):
        random_halves(3, 2, 0)
    with pytest.raises(BadInput, match="no scores"):
        average_scores([])
    with pytest.raises(BadInput, match="same pictures"):
        average_scores([torch.zeros(2), torch.zeros(3)])
