"""Inverse Hessians against dense inverses, and against curvlinops."""

from __future__ import annotations

import pytest
import torch
from heads import assert_close, digits_head, tiny_problem

from imu_core.errors import BadInput
from imu_core.influence import Cholesky, ConjugateGradients, Kronecker, curvature_of
from imu_core.influence import curvature as module
from imu_core.influence.curvature import BlockDiagonal, conjugate_gradients, explicit_hessian


def vectors_for(problem, m: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(m, *problem.theta.shape, generator=generator, dtype=torch.float64)


def test_cholesky_and_conjugate_gradients_invert_the_hessian() -> None:
    problem = tiny_problem()
    vectors = vectors_for(problem, 4)
    inverse = torch.linalg.inv(explicit_hessian(problem))
    expected = (vectors.flatten(1) @ inverse).view_as(vectors)
    exact = Cholesky(problem)
    assert_close(exact.solve(vectors), expected)
    assert_close(exact.inverse.reshape_as(inverse), inverse)
    squares = exact.half_solve(vectors).square().sum(1)
    assert_close(squares, (vectors * expected).sum((1, 2)))
    for approximate in (BlockDiagonal(problem), Kronecker(problem)):
        iterative = ConjugateGradients(problem, approximate, tolerance=1e-12)
        assert_close(iterative.solve(vectors), expected, rtol=1e-8, atol=1e-9)
        assert 0 < iterative.n_iterations <= 40


def test_the_block_diagonal_is_that_of_the_hessian() -> None:
    problem = tiny_problem()
    hessian = explicit_hessian(problem).view(3, 5, 3, 5)
    vectors = vectors_for(problem, 2)
    solved = BlockDiagonal(problem).solve(vectors)
    for a in range(3):
        expected = vectors[:, a] @ torch.linalg.inv(hessian[a, :, a])
        assert_close(solved[:, a], expected)


def test_the_kronecker_form_is_an_explicit_kronecker_inverse() -> None:
    problem = tiny_problem(damping=0.04)
    chunk = problem.chunk_of(slice(0, problem.n))
    h, p = chunk.inputs, chunk.probabilities
    inputs = h.T @ h / problem.n
    outputs = (torch.diag_embed(p) - p[:, :, None] * p[:, None]).mean(0)
    ratio = (inputs.diagonal().mean() / outputs.diagonal().mean()).sqrt()
    inputs += ratio * 0.2 * torch.eye(5, dtype=torch.float64)
    outputs += 0.2 / ratio * torch.eye(3, dtype=torch.float64)
    inverse = torch.linalg.inv(torch.kron(outputs, inputs))
    vectors = vectors_for(problem, 4)
    expected = (vectors.flatten(1) @ inverse).view_as(vectors)
    assert_close(Kronecker(problem).solve(vectors), expected)


def test_preconditioning_saves_iterations_on_real_digits() -> None:
    problem, _ = digits_head()
    target = problem.gradient_of(torch.arange(30))[None]
    counts = {}
    for name, solve in (
        ("none", lambda v: v),
        ("blocks", BlockDiagonal(problem).solve),
        ("kronecker", Kronecker(problem).solve),
    ):
        _, counts[name], residual = conjugate_gradients(
            problem.hessian_times, target, solve, tolerance=1e-8, max_iterations=1000
        )
        assert residual <= 1e-8
    assert counts["blocks"] < counts["none"]
    assert counts["kronecker"] < counts["none"]


def test_a_large_head_is_never_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = tiny_problem()
    assert isinstance(curvature_of(problem), Cholesky)
    monkeypatch.setattr(module, "MAX_EXPLICIT", problem.n_weights - 1)
    by_blocks = curvature_of(problem)
    assert isinstance(by_blocks, ConjugateGradients)
    assert isinstance(by_blocks.approximate, BlockDiagonal)
    monkeypatch.setattr(module, "MAX_BLOCKS", 1)
    by_factors = curvature_of(problem)
    assert isinstance(by_factors, ConjugateGradients)
    assert isinstance(by_factors.approximate, Kronecker)
    with pytest.raises(BadInput, match="use conjugate gradients"):
        Cholesky(problem)


def test_a_solve_that_does_not_settle_is_an_error() -> None:
    problem = tiny_problem()
    slow = ConjugateGradients(problem, Kronecker(problem), tolerance=1e-14, max_iterations=1)
    with pytest.raises(BadInput, match="relative residual"):
        slow.solve(vectors_for(problem, 1))


@pytest.mark.parametrize("kind", [Cholesky, Kronecker, BlockDiagonal, curvature_of])
def test_a_singular_hessian_without_damping_is_refused(kind) -> None:
    with pytest.raises(BadInput, match="Without damping the Hessian of a softmax head is singular"):
        kind(tiny_problem(damping=0.0))


def test_a_damping_lost_in_rounding_is_refused() -> None:
    with pytest.raises(BadInput, match="singular with a damping of 1e-30"):
        Cholesky(tiny_problem(damping=1e-30))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_curvlinops_makes_the_same_products_and_inverse() -> None:
    curvlinops = pytest.importorskip("curvlinops")
    problem, exact = digits_head()
    head = torch.nn.Linear(64, 10, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(problem.weight)
        head.bias.copy_(problem.bias)
    data = [(problem.features[:700], problem.labels[:700])]
    data += [(problem.features[700:], problem.labels[700:])]
    operator = curvlinops.GGNLinearOperator(
        head, torch.nn.CrossEntropyLoss(), list(head.parameters()), data
    )
    vector = vectors_for(problem, 1)
    weight, bias = operator @ [vector[0, :, :64].contiguous(), vector[0, :, 64].contiguous()]
    theirs = torch.cat([weight, bias[:, None]], 1) + problem.damping * vector[0]
    assert_close(problem.hessian_times(vector)[0], theirs, rtol=1e-8, atol=1e-10)
    assert_close(exact.solve(theirs[None]), vector, rtol=1e-6, atol=1e-6)
