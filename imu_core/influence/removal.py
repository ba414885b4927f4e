"""What happens to the head when a set of pictures is taken out, before anything is run.

Four predictions, from cheap to exact. For a set of like pictures the influence sum ranks rightly
but sees about a quarter of the change; one Newton step on the retain set sees nearly all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from imu_core.errors import BadInput, UnknownName
from imu_core.influence.checks import checked_ids
from imu_core.influence.curvature import Curvature, curvature_of
from imu_core.influence.newton import newton_step, probability_shift, refit
from imu_core.influence.problem import HeadProblem
from imu_core.influence.quantities import quantity_values
from imu_core.influence.scores import Influence

FROZEN = "effect on the classifier head, features frozen"
KINDS = ("influence", "leave-one-out", "newton", "refit")
"""influence: H⁻¹ Σ gᵢ/n. leave-one-out: the same, each with the Hessian without it. newton: one
step on the Hessian of the retain set. refit: Newton steps until nothing moves, which is exact."""


@dataclass(frozen=True, eq=False)
class Removal:
    """A head with a set taken out, beside the head it came from."""

    kind: str
    before: HeadProblem
    after: HeadProblem
    """The problem of the retain set at the new weights."""
    gradient_norm_before: float
    """‖∇J‖ of the retain set at the old weights."""
    gradient_norm: float
    """‖∇J‖ of the retain set at the new weights: 0 for the exact answer."""
    probability_shift: float
    """Mean ½ Σ |Δp| over the retain set, 0–1."""
    n_iterations: int
    """Products with the Hessian (Newton), or Newton steps (refit)."""
    label: str = FROZEN

    @property
    def weight(self) -> Tensor:
        """(K, d)"""
        return self.after.weight

    @property
    def bias(self) -> Tensor | None:
        """(K,)"""
        return self.after.bias

    def logits(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits before and after (m, K), for training or test features (m, d)."""
        return self.before.logits(features), self.after.logits(features)


@dataclass(frozen=True, eq=False)
class Effect:
    """How predictions on some pictures change. Entries of classes without a picture are NaN."""

    accuracy_before: float
    accuracy_after: float
    class_accuracy_before: np.ndarray
    """(K,), 0–1"""
    class_accuracy_after: np.ndarray
    class_n: np.ndarray
    """int64 (K,): pictures of each class"""
    probability_shift: np.ndarray
    """(m,), ½ Σ |Δp| of each picture"""
    margin_before: np.ndarray
    """(m,)"""
    margin_after: np.ndarray
    label: str = FROZEN


def predict_removal(
    problem: HeadProblem,
    ids: Tensor,
    kind: str = "newton",
    *,
    curvature: Curvature | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Removal:
    """The head without these pictures. `problem` is at its optimum, as `refit` leaves it.

    `curvature` is that of the whole problem: it gives the influence sum, and preconditions the
    steps on the retain set, so that one factorisation serves every set asked about.
    """
    if kind not in KINDS:
        raise UnknownName("prediction", kind, KINDS)
    ids = checked_ids(ids, problem.n)
    retain = _retain_problem(problem, ids)
    curvature = curvature_of(problem) if curvature is None else curvature
    n_iterations = 0
    if kind == "refit":
        done = refit(retain, curvature, should_stop=should_stop)
        after, n_iterations = done.problem, done.n_steps
    else:
        if kind == "newton":
            step = newton_step(retain, curvature)
            moved, n_iterations = step.direction, step.n_iterations
        else:
            moved = _sum_of_influences(problem, ids, kind, curvature)
        after = retain.at(problem.theta + moved)
    return Removal(
        kind,
        problem,
        after,
        retain.gradient_norm,
        after.gradient_norm,
        probability_shift(retain, after),
        n_iterations,
    )


def effect(removal: Removal, features: Tensor, labels: Tensor) -> Effect:
    """The effect on pictures, given by features (m, d) and labels: test, retain or protected."""
    if not len(features):
        raise BadInput("There is no picture to measure the effect on; choose at least one.")
    before, after = removal.logits(features)
    labels = labels.to(before.device)
    right = [(logits.argmax(1) == labels).cpu().numpy() for logits in (before, after)]
    classes = labels.cpu().numpy()
    counts = np.bincount(classes, minlength=removal.before.n_classes)
    with np.errstate(invalid="ignore"):
        by_class = [
            np.bincount(classes, weights=hits, minlength=len(counts)) / counts for hits in right
        ]
    shift = (before.softmax(1) - after.softmax(1)).abs().sum(1) / 2
    margins = [quantity_values(logits, labels, "margin") for logits in (before, after)]
    return Effect(
        float(right[0].mean()),
        float(right[1].mean()),
        by_class[0],
        by_class[1],
        counts,
        shift.cpu().numpy(),
        margins[0].cpu().numpy(),
        margins[1].cpu().numpy(),
    )


def _retain_problem(problem: HeadProblem, ids: Tensor) -> HeadProblem:
    n_retain = problem.n - len(ids)
    if len(ids) > n_retain:
        raise BadInput(
            f"The forget set ({len(ids):,} pictures) is larger than the retain set ({n_retain:,}); "
            "a head-level prediction means nothing there. Choose fewer pictures, or retrain."
        )
    return problem.without(ids)


def _sum_of_influences(
    problem: HeadProblem, ids: Tensor, kind: str, curvature: Curvature
) -> Tensor:
    """H⁻¹ Σ gᵢ/n over the set (K, D), or with gᵢ rescaled to leave itself out of H."""
    if kind == "influence":
        return curvature.solve(problem.gradient_of(ids)[None])[0]
    rescaled = Influence(problem, curvature, leave_one_out=True).rescaled
    assert rescaled is not None
    ids = ids.to(problem.device)
    total = rescaled[ids].T @ problem.inputs(problem.features[ids.to(problem.features.device)])
    return curvature.solve(total[None] / problem.n)[0]
