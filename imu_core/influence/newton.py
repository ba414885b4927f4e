"""The head fitted anew on frozen features, by Newton's method: influence holds at an optimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from imu_core.errors import BadInput, Cancelled
from imu_core.influence.curvature import (
    Curvature,
    conjugate_gradients,
    preconditioner,
    require_damping,
)
from imu_core.influence.problem import HeadProblem


@dataclass(frozen=True, eq=False)
class Refit:
    """A head at the optimum of its problem, and how far the given weights were from it."""

    problem: HeadProblem
    n_steps: int
    gradient_norm_before: float
    gradient_norm: float
    """Residual ‖∇J‖; θ is within this, divided by λ, of the optimum."""
    probability_shift: float
    """Mean over the pictures of ½ Σ |p_after − p_before|, 0–1: what refitting changed."""


@dataclass(frozen=True, eq=False)
class NewtonStep:
    """−H⁻¹∇J at some weights (K, D), and the work it took."""

    direction: Tensor
    gradient: Tensor
    n_iterations: int
    residual: float


def newton_step(
    problem: HeadProblem,
    approximate: Curvature,
    *,
    tolerance: float = 1e-9,
    max_iterations: int = 2000,
) -> NewtonStep:
    """The Newton step of the problem by conjugate gradients, preconditioned by `approximate`."""
    gradient = problem.gradient()
    direction, n_iterations, residual = conjugate_gradients(
        problem.hessian_times,
        -gradient[None],
        approximate.solve,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    return NewtonStep(direction[0], gradient, n_iterations, residual)


def refit(
    problem: HeadProblem,
    approximate: Curvature | None = None,
    *,
    tolerance: float = 1e-9,
    max_steps: int = 100,
    should_stop: Callable[[], bool] | None = None,
) -> Refit:
    """The head at the optimum of J over the pictures that are in, from the weights given.

    Newton's method with a backtracking line search; each step is solved only as far as it is worth
    (Eisenstat and Walker 1996). `approximate` preconditions every step; None builds one at the
    start and again when it has aged. Ends at ‖∇J‖ ≤ `tolerance`, or where rounding lets it fall no
    further; `BadInput` where `max_steps` are not enough.
    """
    require_damping(problem)
    curvature = preconditioner(problem) if approximate is None else approximate
    current, norms = problem, [problem.gradient_norm]
    while not _settled(norms, tolerance):
        if should_stop is not None and should_stop():
            raise Cancelled
        if len(norms) > max_steps:
            raise BadInput(
                f"The head did not settle within {max_steps} Newton steps (gradient "
                f"{norms[-1]:.1e}); a damping above {problem.damping:g} helps."
            )
        step = newton_step(current, curvature, tolerance=min(0.1, norms[-1] ** 0.5))
        if approximate is None and step.n_iterations > 50:
            curvature = preconditioner(current)
        current = _line_search(current, step)
        norms.append(current.gradient_norm)
    shift = probability_shift(problem, current)
    return Refit(current, len(norms) - 1, norms[0], norms[-1], shift)


def _settled(norms: list[float], tolerance: float) -> bool:
    """Whether the last gradient is small enough, or nearly so and no longer falling."""
    stalled = len(norms) > 1 and norms[-2] <= norms[-1] < 1e3 * tolerance
    return norms[-1] <= tolerance or stalled


def probability_shift(before: HeadProblem, after: HeadProblem) -> float:
    """Mean total variation ½ Σ |p_after − p_before| over the pictures that are in, 0–1."""
    total, count = 0.0, 0.0
    for one, other in zip(before.chunks(), after.chunks(), strict=True):
        inside = other.shares[:, 0] > 0
        moved = (one.probabilities - other.probabilities).abs().sum(1) / 2
        total += float((moved * inside).sum())
        count += float(inside.sum())
    return total / count


def _line_search(problem: HeadProblem, step: NewtonStep) -> HeadProblem:
    """The problem further along the step, shortened by halves until J falls enough (Armijo)."""
    start, slope = problem.objective(), float((step.gradient * step.direction).sum())
    length = 1.0
    for _ in range(40):
        moved = problem.at(problem.theta + length * step.direction)
        # Near the optimum the fall is below rounding, and the whole step is right.
        if moved.objective() <= start + 1e-4 * length * slope + 1e-12 * abs(start):
            return moved
        length /= 2
    raise BadInput("The head's loss does not fall along its Newton step; use a larger damping.")
