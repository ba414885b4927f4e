"""Predicted effects of taking a set out, against exact refits, on real digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads import assert_close, digits_head, pixels, tiny_problem

from imu_core.errors import BadInput, Cancelled, UnknownName
from imu_core.images import ImageSet
from imu_core.influence import (
    FROZEN,
    KINDS,
    Agreement,
    HeadProblem,
    Influence,
    Kronecker,
    agreement,
    effect,
    predict_removal,
    refit,
)


def neighbours(problem: HeadProblem, of: int, n: int) -> torch.Tensor:
    """The n training pictures nearest to one, itself included: a set as chosen by eye."""
    distances = (problem.features - problem.features[of]).norm(dim=1)
    return distances.argsort()[:n]


def margin_changes(digits: ImageSet, ids: torch.Tensor, kind: str) -> np.ndarray:
    problem, exact = digits_head()
    removal = predict_removal(problem, ids, kind, curvature=exact)
    seen = effect(removal, pixels(digits.test_images), digits.test_labels)
    return seen.margin_after - seen.margin_before


@pytest.mark.parametrize("of", [5, 100, 700])
def test_newton_is_right_in_size_for_seventy_neighbours(digits: ImageSet, of: int) -> None:
    problem, _ = digits_head()
    ids = neighbours(problem, of, 70)
    exact = margin_changes(digits, ids, "refit")
    newton = agreement(margin_changes(digits, ids, "newton"), exact)
    plain = agreement(margin_changes(digits, ids, "influence"), exact)
    assert newton.slope is not None
    assert plain.slope is not None
    assert abs(newton.slope - 1) <= 0.05
    assert newton.pearson is not None
    assert newton.pearson >= 0.99
    # The limit that is told to people: influence ranks such a set, but underestimates it.
    assert plain.slope < 0.6


def test_the_refit_is_the_optimum_of_the_retain_set_alone() -> None:
    problem, exact = digits_head()
    ids = neighbours(problem, 5, 70)
    removal = predict_removal(problem, ids, "refit", curvature=exact)
    kept = torch.ones(problem.n, dtype=torch.bool)
    kept[ids] = False
    # The same objective from scratch: fewer pictures, 1/n of all, so λ and every weight scale.
    share = int(kept.sum()) / problem.n
    zeros = torch.zeros(10, 64, dtype=torch.float64)
    alone = HeadProblem(
        problem.features[kept],
        problem.labels[kept],
        zeros,
        zeros[:, 0],
        problem.damping / share,
    )
    assert_close(removal.after.theta, refit(alone).problem.theta, rtol=1e-4, atol=1e-6)
    assert removal.gradient_norm <= 1e-9 < removal.gradient_norm_before


def test_cheap_predictions_leave_more_gradient_than_dear_ones() -> None:
    problem, exact = digits_head()
    ids = neighbours(problem, 5, 70)
    found = {kind: predict_removal(problem, ids, kind, curvature=exact) for kind in KINDS}
    left = [found[kind].gradient_norm for kind in KINDS]
    assert left == sorted(left, reverse=True)
    shifts = {kind: found[kind].probability_shift for kind in KINDS}
    assert shifts["influence"] < shifts["newton"]
    assert shifts["newton"] == pytest.approx(shifts["refit"], rel=0.1)
    assert all(removal.label == FROZEN for removal in found.values())
    assert FROZEN == "effect on the classifier head, features frozen"


def test_one_picture_is_predicted_alike_by_scores_and_by_removal(digits: ImageSet) -> None:
    problem, exact = digits_head()
    features, labels = pixels(digits.test_images)[:9], digits.test_labels[:9]
    for kind, leave_one_out in (("influence", False), ("leave-one-out", True)):
        influence = Influence(problem, exact, leave_one_out=leave_one_out)
        scores = influence.on_each(features, labels, "logit")[17]
        removal = predict_removal(problem, torch.tensor([17]), kind, curvature=exact)
        before, after = removal.logits(features)
        moved = (after - before).gather(1, labels[:, None])[:, 0]
        # The logit is linear in θ, so both are the same number.
        assert_close(scores, moved)


def test_newton_does_not_depend_on_the_preconditioner() -> None:
    problem, exact = digits_head()
    ids = neighbours(problem, 100, 40)
    one = predict_removal(problem, ids, "newton", curvature=exact)
    other = predict_removal(problem, ids, "newton", curvature=Kronecker(problem))
    assert_close(one.after.theta, other.after.theta, rtol=1e-4, atol=1e-7)
    assert one.n_iterations < other.n_iterations


def test_a_forgotten_class_loses_its_accuracy_and_no_other_does(digits: ImageSet) -> None:
    problem, exact = digits_head()
    ids = digits.ids_of_class(3)
    removal = predict_removal(problem, ids, "refit", curvature=exact)
    seen = effect(removal, pixels(digits.test_images), digits.test_labels)
    assert seen.class_accuracy_before[3] > 0.8
    assert seen.class_accuracy_after[3] == 0
    others = np.arange(10) != 3
    change = seen.class_accuracy_after[others] - seen.class_accuracy_before[others]
    assert change.min() > -0.03
    assert seen.class_n.sum() == digits.n_test
    assert seen.accuracy_after == pytest.approx(
        float((seen.class_accuracy_after * seen.class_n).sum() / digits.n_test)
    )
    threes = digits.test_labels.numpy() == 3
    assert seen.probability_shift[threes].mean() > 0.5 > seen.probability_shift[~threes].mean()


def test_classes_without_a_picture_have_no_accuracy(digits: ImageSet) -> None:
    problem, exact = digits_head()
    removal = predict_removal(problem, torch.arange(5), "influence", curvature=exact)
    seen = effect(removal, pixels(digits.test_images)[:1], torch.tensor([4]))
    assert np.isnan(np.delete(seen.class_accuracy_after, 4)).all()
    with pytest.raises(BadInput, match="at least one"):
        effect(removal, pixels(digits.test_images)[:0], torch.tensor([], dtype=torch.int64))


def test_a_refit_can_be_stopped() -> None:
    with pytest.raises(Cancelled):
        refit(tiny_problem(), should_stop=lambda: True)


def test_sets_that_cannot_be_taken_out_are_refused() -> None:
    problem = refit(tiny_problem()).problem
    with pytest.raises(BadInput, match=r"forget set \(16 pictures\) is larger than the retain set"):
        predict_removal(problem, torch.arange(16))
    with pytest.raises(BadInput, match="empty"):
        predict_removal(problem, torch.tensor([], dtype=torch.int64))
    with pytest.raises(UnknownName, match="Did you mean newton"):
        predict_removal(problem, torch.arange(3), "newtn")
    with pytest.raises(BadInput, match="Without damping"):
        predict_removal(tiny_problem(damping=0.0), torch.arange(3))
    # Two classes, one of them taken out.
    two = HeadProblem(problem.features, problem.labels % 2, problem.weight, problem.bias)
    with pytest.raises(BadInput, match="all of one class"):
        predict_removal(two, (problem.labels % 2 == 1).nonzero().flatten())


def test_a_refit_that_does_not_settle_is_an_error() -> None:
    with pytest.raises(BadInput, match="did not settle within 1 Newton steps"):
        refit(tiny_problem(), max_steps=1)


def test_agreement_of_a_line_is_exact_and_of_nothing_is_none() -> None:
    measured = np.array([1.0, 2.0, 4.0, np.nan])
    found = agreement(0.25 * measured + 3, measured)
    assert found == Agreement(pytest.approx(1), pytest.approx(1), pytest.approx(0.25), 3)
    assert agreement(np.ones(5), np.arange(5.0)) == Agreement(None, None, None, 5)
    with pytest.raises(BadInput, match="3 predictions came with 2"):
        agreement(np.zeros(3), np.zeros(2))
