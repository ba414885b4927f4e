"""Ways to apply the inverse Hessian of a head: exact by Cholesky, iterative, or Kronecker."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.influence.problem import CHUNK_BYTES, HeadProblem

MAX_EXPLICIT = 20_000
"""Most weights K · D for which the Hessian is formed (3.2 GB in float64)."""
MAX_BLOCKS = 1 << 27
"""Most numbers in the block-diagonal preconditioner, K · D² (1 GB in float64)."""


class Curvature(Protocol):
    """Something that can stand for the inverse Hessian."""

    def solve(self, vectors: Tensor) -> Tensor:
        """H⁻¹ v for each of (m, K, D)."""
        ...


def curvature_of(problem: HeadProblem, *, tolerance: float = 1e-8) -> Cholesky | ConjugateGradients:
    """The exact inverse: factorised up to 20,000 weights, by conjugate gradients above."""
    if problem.n_weights <= MAX_EXPLICIT:
        return Cholesky(problem)
    return ConjugateGradients(problem, preconditioner(problem), tolerance=tolerance)


def preconditioner(problem: HeadProblem) -> Curvature:
    """Diagonal blocks where they fit into 1 GB, else the Kronecker form."""
    if problem.n_classes * problem.n_inputs**2 <= MAX_BLOCKS:
        return BlockDiagonal(problem)
    return Kronecker(problem)


def explicit_hessian(problem: HeadProblem) -> Tensor:
    """H as (K · D, K · D), rows and columns ordered as `theta.flatten()`."""
    n_classes, n_inputs = problem.n_classes, problem.n_inputs
    hessian = problem.theta.new_zeros(n_classes, n_inputs, n_classes, n_inputs)
    size = max(16, CHUNK_BYTES // (8 * problem.n_weights))
    for chunk in problem.chunks():
        parts = (part.split(size) for part in (chunk.inputs, chunk.probabilities, chunk.shares))
        for inputs, p, shares in zip(*parts, strict=True):
            for a in range(n_classes):
                # Row a of diag p − ppᵀ, from column a on; the rest follows by symmetry.
                curve = -p[:, a, None] * p[:, a:]
                curve[:, 0] += p[:, a]
                weighted = (curve * shares)[:, :, None] * inputs[:, None]
                hessian[a, :, a:] += (inputs.T @ weighted.flatten(1)).view(n_inputs, -1, n_inputs)
    for a in range(n_classes):
        hessian[a + 1 :, :, a] = hessian[a, :, a + 1 :].permute(1, 2, 0)
    flat = hessian.view(problem.n_weights, problem.n_weights)
    flat.diagonal().add_(problem.damping)
    return flat


class Cholesky:
    """The exact Hessian, formed and factorised once in float64, used for every query after."""

    def __init__(self, problem: HeadProblem) -> None:
        if problem.n_weights > MAX_EXPLICIT:
            raise BadInput(
                f"The Hessian of this head has {problem.n_weights:,} rows; above {MAX_EXPLICIT:,} "
                "use conjugate gradients."
            )
        require_damping(problem)
        self.problem = problem
        self.factor = _factorised(explicit_hessian(problem).double(), problem.damping)

    def solve(self, vectors: Tensor) -> Tensor:
        flat = vectors.reshape(len(vectors), -1).to(self.factor.dtype)
        solved = torch.cholesky_solve(flat.T, self.factor).T
        return solved.reshape(vectors.shape).to(vectors.dtype)

    def half_solve(self, vectors: Tensor) -> Tensor:
        """L⁻¹ v for each of (m, K, D), as (m, K · D): its square norm is vᵀ H⁻¹ v."""
        flat = vectors.reshape(len(vectors), -1).to(self.factor.dtype)
        return torch.linalg.solve_triangular(self.factor, flat.T, upper=False).T

    @cached_property
    def inverse(self) -> Tensor:
        """H⁻¹ as (K, D, K, D)."""
        shape = (self.problem.n_classes, self.problem.n_inputs) * 2
        return torch.cholesky_inverse(self.factor).view(shape)


class ConjugateGradients:
    """The exact Hessian through products alone, preconditioned."""

    def __init__(
        self,
        problem: HeadProblem,
        approximate: Curvature,
        *,
        tolerance: float = 1e-8,
        max_iterations: int = 2000,
    ) -> None:
        require_damping(problem)
        self.problem, self.approximate = problem, approximate
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.n_iterations = 0
        """Of the last solve."""

    def solve(self, vectors: Tensor) -> Tensor:
        solution, self.n_iterations, residual = conjugate_gradients(
            self.problem.hessian_times,
            vectors,
            self.approximate.solve,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        if residual > self.tolerance:
            raise BadInput(
                f"Conjugate gradients stopped at a relative residual of {residual:.1e} after "
                f"{self.n_iterations} iterations; a damping above {self.problem.damping:g} helps."
            )
        return solution


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    targets: Tensor,
    precondition: Callable[[Tensor], Tensor],
    *,
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, int, float]:
    """Solution of H x = target for each of (m, K, D), iterations, largest relative residual."""
    norms = targets.flatten(1).norm(dim=1).clamp_min(torch.finfo(targets.dtype).tiny)
    solution, residual = torch.zeros_like(targets), targets.clone()
    moved = precondition(residual)
    direction, product_before = moved.clone(), _dots(residual, moved)
    worst, count = float((residual.flatten(1).norm(dim=1) / norms).max()), 0
    while worst > tolerance and count < max_iterations:
        curved = product(direction)
        step = product_before / _dots(direction, curved).clamp_min(1e-300)
        solution += step * direction
        residual -= step * curved
        moved = precondition(residual)
        product_now = _dots(residual, moved)
        direction = moved + product_now / product_before.clamp_min(1e-300) * direction
        product_before = product_now
        worst = float((residual.flatten(1).norm(dim=1) / norms).max())
        count += 1
    return solution, count, worst


class BlockDiagonal:
    """The K diagonal blocks of the Hessian, one a class: a preconditioner."""

    def __init__(self, problem: HeadProblem) -> None:
        require_damping(problem)
        blocks = problem.theta.new_zeros(problem.n_classes, problem.n_inputs, problem.n_inputs)
        for chunk in problem.chunks():
            curve = chunk.probabilities * (1 - chunk.probabilities) * chunk.shares
            for a in range(problem.n_classes):
                blocks[a] += chunk.inputs.T @ (curve[:, a, None] * chunk.inputs)
        blocks.diagonal(dim1=1, dim2=2).add_(problem.damping)
        self.factors = _factorised(blocks, problem.damping)

    def solve(self, vectors: Tensor) -> Tensor:
        columns = vectors.permute(1, 2, 0)
        return torch.cholesky_solve(columns, self.factors).permute(2, 0, 1)


class Kronecker:
    """H ≈ S ⊗ A with A = mean hhᵀ and S = mean (diag p − ppᵀ): instant, for ranking.

    Damping is split as (S + √λ/π I) ⊗ (A + π√λ I), π² = mean diag A / mean diag S
    (Martens and Grosse 2015, arXiv 1503.05671, section 6.3).
    """

    def __init__(self, problem: HeadProblem) -> None:
        require_damping(problem)
        self.problem = problem
        inputs = problem.theta.new_zeros(problem.n_inputs, problem.n_inputs)
        outputs = problem.theta.new_zeros(problem.n_classes, problem.n_classes)
        for chunk in problem.chunks():
            p = chunk.probabilities * chunk.shares
            inputs += chunk.inputs.T @ (chunk.inputs * chunk.shares)
            outputs += torch.diag(p.sum(0)) - chunk.probabilities.T @ p
        spread = outputs.diagonal().mean().clamp_min(1e-30)
        ratio = float((inputs.diagonal().mean() / spread).sqrt())
        root = problem.damping**0.5
        inputs.diagonal().add_(ratio * root)
        outputs.diagonal().add_(root / ratio)
        self.inputs_factor = _factorised(inputs, problem.damping)
        self.outputs_factor = _factorised(outputs, problem.damping)

    def solve(self, vectors: Tensor) -> Tensor:
        n_classes, n_inputs = vectors.shape[1:]
        right = torch.cholesky_solve(vectors.reshape(-1, n_inputs).T, self.inputs_factor)
        # (D, m · K) → (K, m · D), solved, and back.
        left = right.view(n_inputs, -1, n_classes).permute(2, 1, 0).reshape(n_classes, -1)
        solved = torch.cholesky_solve(left, self.outputs_factor)
        return solved.view(n_classes, -1, n_inputs).permute(1, 0, 2)

    def solve_inputs(self, inputs: Tensor) -> Tensor:
        """A⁻¹ h for each of (m, D)."""
        return torch.cholesky_solve(inputs.T, self.inputs_factor).T

    def solve_outputs(self, outputs: Tensor) -> Tensor:
        """S⁻¹ u for each of (m, K)."""
        return torch.cholesky_solve(outputs.T, self.outputs_factor).T


def require_damping(problem: HeadProblem) -> None:
    """`BadInput` for a problem whose Hessian has no inverse."""
    if problem.damping == 0:
        raise BadInput(
            "Without damping the Hessian of a softmax head is singular (one number added to all "
            "classes changes nothing); choose a damping above 0, for example 0.0005."
        )


def _factorised(matrix: Tensor, damping: float) -> Tensor:
    """The lower Cholesky factor; `BadInput` where rounding makes the matrix singular."""
    try:
        factor = torch.linalg.cholesky(matrix)
    except torch.linalg.LinAlgError:
        factor = None
    if factor is None or not bool(torch.isfinite(factor).all()):
        raise BadInput(
            f"The Hessian is singular with a damping of {damping:g}; choose a larger one, for "
            "example 0.0005."
        )
    return factor


def _dots(one: Tensor, other: Tensor) -> Tensor:
    """Inner products of (m, K, D) pairs, as (m, 1, 1)."""
    return (one * other).sum((1, 2), keepdim=True)
