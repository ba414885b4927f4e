"""Small head problems for the tests of the influence engine."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from imu_core.images import open_image_set
from imu_core.influence import Cholesky, HeadProblem, refit


def tiny_problem(*, bias: bool = True, damping: float = 0.01, **options) -> HeadProblem:
    """30 points of 3 classes in 4 dimensions, at weights that are no optimum."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    intercept = torch.randn(3, generator=generator, dtype=torch.float64) if bias else None
    return HeadProblem(features, torch.arange(30) % 3, weight, intercept, damping, **options)


def pixels(images: Tensor) -> Tensor:
    """Real pictures as features: float64 (n, pixels) in 0–1."""
    return images.flatten(1).double() / 255


@cache
def digits_head(damping: float = 1e-3) -> tuple[HeadProblem, Cholesky]:
    """Softmax regression on the pixels of all 1,437 digits, at its optimum, and its Hessian."""
    digits = open_image_set("digits")
    zeros = torch.zeros(10, 64, dtype=torch.float64)
    problem = HeadProblem(
        pixels(digits.train_images), digits.train_labels, zeros, zeros[:, 0], damping
    )
    optimum = refit(problem).problem
    return optimum, Cholesky(optimum)


def assert_close(found: Tensor, expected: Tensor, rtol: float = 1e-6, atol: float = 1e-9) -> None:
    """Entry by entry; torch's own function imports its distributed part first, for seconds."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=rtol, atol=atol)
