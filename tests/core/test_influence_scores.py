"""Scores against exact leave-one-out refits by another program, closed forms and invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads import assert_close, digits_head, pixels, tiny_problem
from scipy import stats

from imu_core.errors import BadInput, UnknownName
from imu_core.images import ImageSet
from imu_core.influence import (
    Cholesky,
    ConjugateGradients,
    HeadProblem,
    Influence,
    Kronecker,
    agreement,
    feature_similarity,
    gradient_products,
    quantity_gradients,
    quantity_values,
    refit,
    representer_values,
)
from imu_core.influence.scores import contract

SINGLES = np.random.default_rng(0).choice(1437, 12, replace=False)


def refit_by_scikit_learn(problem: HeadProblem, kept: np.ndarray) -> torch.Tensor:
    """θ at the optimum of Σ_kept ℓ/n + λ/2‖θ‖², by scikit-learn's own Newton method."""
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(
        C=1 / (problem.damping * problem.n),
        fit_intercept=False,
        solver="newton-cholesky",
        tol=1e-10,
        max_iter=100,
    )
    inputs = problem.inputs(problem.features).numpy()
    fit.fit(inputs[kept], problem.labels.numpy()[kept])
    return torch.from_numpy(fit.coef_)


@pytest.fixture(scope="module")
def left_out(digits: ImageSet) -> np.ndarray:
    """Change of each test picture's margin when one of SINGLES is really left out: (12, 360)."""
    problem, _ = digits_head()
    features = pixels(digits.test_images)

    def margins(theta: torch.Tensor) -> np.ndarray:
        logits = problem.inputs(features) @ theta.T
        return quantity_values(logits, digits.test_labels, "margin").numpy()

    everything = np.arange(problem.n)
    before = margins(refit_by_scikit_learn(problem, everything))
    return np.array(
        [
            margins(refit_by_scikit_learn(problem, np.delete(everything, one))) - before
            for one in SINGLES
        ]
    )


def test_the_optimum_is_that_of_scikit_learn() -> None:
    problem, _ = digits_head()
    theirs = refit_by_scikit_learn(problem, np.arange(problem.n))
    assert_close(problem.theta, theirs, rtol=1e-4, atol=1e-5)


def test_single_removals_are_ranked_as_by_exact_refits(
    left_out: np.ndarray, digits: ImageSet
) -> None:
    problem, exact = digits_head()
    scores = Influence(problem, exact).on_each(
        pixels(digits.test_images), digits.test_labels, "margin"
    )
    found = agreement(scores[SINGLES].numpy(), left_out)
    assert found.spearman is not None
    assert found.spearman >= 0.99


def test_leaving_one_out_of_the_hessian_gives_the_right_size(
    left_out: np.ndarray, digits: ImageSet
) -> None:
    problem, exact = digits_head()
    scores = Influence(problem, exact, leave_one_out=True).on_each(
        pixels(digits.test_images), digits.test_labels, "margin"
    )
    found = agreement(scores[SINGLES].numpy(), left_out)
    assert found.spearman is not None
    assert found.slope is not None
    assert found.spearman >= 0.99
    assert abs(found.slope - 1) <= 0.02


def test_leave_one_out_is_the_inverse_of_the_hessian_without_the_picture() -> None:
    problem = tiny_problem()
    exact = Cholesky(problem)
    scores = Influence(problem, exact, leave_one_out=True).along(exact.solve(problem.theta[None]))
    for i in (0, 11, 29):
        without = Cholesky(problem.without(torch.tensor([i])))
        moved = without.solve(problem.gradient_of(torch.tensor([i]))[None])[0]
        assert_close(scores[i, 0], (moved * problem.theta).sum())


def test_kronecker_scores_are_those_of_its_solve_and_rank_like_the_exact_ones(
    digits: ImageSet,
) -> None:
    problem, exact = digits_head()
    features, labels = pixels(digits.test_images)[:40], digits.test_labels[:40]
    kronecker = Kronecker(problem)
    fast = Influence(problem, kronecker).on_each(features, labels)
    inputs = problem.inputs(features)
    outputs = quantity_gradients(inputs @ problem.theta.T, labels, "loss")
    directions = kronecker.solve(outputs[:, :, None] * inputs[:, None])
    assert_close(fast, Influence(problem, kronecker).along(directions))
    right = Influence(problem, exact).on_each(features, labels)
    assert stats.pearsonr(fast.flatten(), right.flatten()).statistic > 0.7


def test_conjugate_gradients_give_the_scores_of_cholesky(digits: ImageSet) -> None:
    problem, exact = digits_head()
    iterative = ConjugateGradients(problem, Kronecker(problem), tolerance=1e-10)
    features, labels = pixels(digits.test_images)[:3], digits.test_labels[:3]
    assert_close(
        Influence(problem, iterative).on_each(features, labels),
        Influence(problem, exact).on_each(features, labels),
        rtol=1e-6,
        atol=1e-10,
    )


def test_self_influence_is_the_diagonal_of_the_scores_on_the_training_losses() -> None:
    problem = tiny_problem(chunk_rows=7)
    for curvature in (
        Cholesky(problem),
        Kronecker(problem),
        ConjugateGradients(problem, Kronecker(problem), tolerance=1e-12),
    ):
        influence = Influence(problem, curvature)
        pairs = influence.on_each(problem.features, problem.labels, "loss")
        assert_close(influence.self_influence(), pairs.diagonal())
        assert bool((influence.self_influence() > 0).all())


def test_scores_on_a_mean_are_the_mean_of_the_scores(digits: ImageSet) -> None:
    problem, exact = digits_head()
    influence = Influence(problem, exact)
    features, labels = pixels(digits.test_images), digits.test_labels
    threes = labels == 3
    each = influence.on_each(features[threes], labels[threes], "margin")
    assert_close(influence.on_class(features, labels, 3), each.mean(1))
    ids = torch.arange(100, 140)
    each = influence.on_each(problem.features[ids], problem.labels[ids])
    assert_close(influence.on_training_set(ids), each.mean(1))


def test_chunks_change_no_score(digits: ImageSet) -> None:
    problem, _ = digits_head()
    cut = HeadProblem(
        problem.features, problem.labels, problem.weight, problem.bias, 1e-3, chunk_rows=97
    )
    features, labels = pixels(digits.test_images)[:20], digits.test_labels[:20]
    for kind in (Cholesky, Kronecker):
        whole, parts = Influence(problem, kind(problem)), Influence(cut, kind(cut))
        assert_close(whole.on_each(features, labels), parts.on_each(features, labels))
        assert_close(whole.self_influence(), parts.self_influence())
    one, other = (Influence(p, Cholesky(p), leave_one_out=True).rescaled for p in (problem, cut))
    assert_close(one, other)


def test_both_ways_to_contract_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    residuals, inputs, directions = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((9, 3), (9, 5), (12, 3, 5))
    )
    expected = torch.einsum("ck,tkd,cd->ct", residuals, directions, inputs)
    assert_close(contract(residuals, inputs, directions), expected)
    assert_close(contract(residuals, inputs, directions[:3]), expected[:, :3])


@pytest.mark.parametrize(
    ("quantity", "against"), [("loss", None), ("logit", None), ("margin", None), ("margin", 1)]
)
def test_gradients_of_quantities_are_those_of_autograd(quantity: str, against: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 3, 0, 2, 3])
    rivals = None if against is None else torch.full((6,), against)
    values = quantity_values(logits, labels, quantity, rivals)
    (expected,) = torch.autograd.grad(values.sum(), logits)
    found = quantity_gradients(logits.detach(), labels, quantity, rivals)
    assert_close(found, expected)


def test_the_margin_is_the_logit_of_the_probability() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    p = logits.softmax(1)[torch.arange(2), labels]
    assert_close(quantity_values(logits, labels, "margin"), (p / (1 - p)).log())
    assert_close(quantity_values(logits, labels, "loss"), -p.log())


def test_representer_values_sum_to_the_logit_at_the_optimum(digits: ImageSet) -> None:
    problem, _ = digits_head()
    features = pixels(digits.test_images)[:25]
    logits = problem.logits(features)
    classes = logits.argmax(1)
    shares = representer_values(problem, features, classes)
    assert shares.shape == (1437, 25)
    chosen = logits.gather(1, classes[:, None])[:, 0]
    assert_close(shares.sum(0), chosen, rtol=1e-5, atol=1e-5)


def test_contrasts_are_products_of_gradients_and_cosines() -> None:
    problem = tiny_problem()
    chunk = problem.chunk_of(slice(0, problem.n))
    gradients = (chunk.residuals[:, :, None] * chunk.inputs[:, None]).flatten(1)
    found = gradient_products(problem, problem.features, problem.labels)
    assert_close(found, gradients @ gradients.T)
    cosines = feature_similarity(problem, problem.features[:2])
    expected = torch.cosine_similarity(problem.features[:, None], problem.features[None, :2], -1)
    assert_close(cosines, expected)


def test_what_cannot_be_asked_is_refused() -> None:
    problem = tiny_problem()
    influence = Influence(problem)
    features, labels = problem.features[:2], problem.labels[:2]
    with pytest.raises(UnknownName, match="Did you mean margin"):
        influence.on_each(features, labels, "margn")
    with pytest.raises(BadInput, match="must lie in 0–2"):
        influence.on_each(features, torch.tensor([0, 3]))
    with pytest.raises(BadInput, match="must lie in 0–2"):
        influence.on_class(features, labels, 3)
    with pytest.raises(BadInput, match="None of these pictures is of class 2"):
        influence.on_class(features, labels, 2)
    with pytest.raises(BadInput, match="at least one"):
        influence.on_mean(features[:0], labels[:0])
    with pytest.raises(BadInput, match="two different classes"):
        influence.on_each(features, labels, "margin", labels)
    with pytest.raises(BadInput, match="with the margin only"):
        influence.on_each(features, labels, "loss", labels)
    with pytest.raises(BadInput, match="2 pictures came with 1 classes"):
        influence.on_each(features, labels[:1])
    with pytest.raises(BadInput, match="factorised Hessian"):
        Influence(problem, Kronecker(problem), leave_one_out=True)
    with pytest.raises(BadInput, match="choose one above 0"):
        representer_values(tiny_problem(damping=0.0), features, labels)


def test_refit_says_how_far_the_given_head_was_from_its_optimum() -> None:
    problem = tiny_problem()
    done = refit(problem)
    assert done.gradient_norm <= 1e-9 < done.gradient_norm_before
    assert 0 < done.probability_shift <= 1
    again = refit(done.problem)
    assert again.n_steps == 0
    assert again.probability_shift == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_scores_from_features_in_host_memory(digits: ImageSet) -> None:
    problem, exact = digits_head()
    features, labels = pixels(digits.test_images)[:20], digits.test_labels[:20]
    there = HeadProblem(
        problem.features, problem.labels, problem.weight.cuda(), problem.bias.cuda(), 1e-3
    )
    for kind in (Cholesky, Kronecker):
        ours = Influence(there, kind(there)).on_each(features, labels)
        assert ours.device.type == "cpu"
        assert_close(ours, Influence(problem, kind(problem)).on_each(features, labels))
    own = Influence(there, Cholesky(there)).self_influence()
    assert_close(own, Influence(problem, exact).self_influence())
