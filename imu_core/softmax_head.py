"""A linear head fitted anew to cached features: multinomial logistic regression with weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

L2 = 1e-3
"""Penalty on the mean loss, ½·L2·‖W‖², of standardised features; the bias is free."""


def standardised(features: np.ndarray) -> Tensor:
    """float32 (n, d + 1): features (n, d) with mean 0 and spread 1, and a column of ones."""
    values = torch.from_numpy(np.array(features, dtype=np.float32))
    values -= values.mean(0)
    # A feature that is the same everywhere says nothing; dividing by its spread would.
    spread = values.std(0, correction=0)
    values /= torch.where(spread < 1e-6, torch.ones_like(spread), spread)
    return torch.cat((values, torch.ones(len(values), 1)), 1)


def fit_head(
    inputs: Tensor,
    labels: Tensor,
    n_classes: int,
    *,
    weights: Tensor | None = None,
    start: Tensor | None = None,
    iterations: int = 100,
    l2: float = L2,
) -> Tensor:
    """Head (d + 1, K) that minimises the weighted mean cross-entropy, by L-BFGS.

    `inputs` (n, d + 1) of `standardised`, `weights` (n,) ≥ 0 with a positive sum. Fewer iterations
    from a good `start` are a relaxed fit that stays near it.
    """
    head = inputs.new_zeros(inputs.shape[1], n_classes) if start is None else start.clone()
    shares = torch.full((len(labels),), 1 / len(labels)) if weights is None else weights
    shares = (shares / shares.sum()).to(inputs)
    head.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [head], max_iter=iterations, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimiser.zero_grad()
        losses = torch.nn.functional.cross_entropy(inputs @ head, labels, reduction="none")
        value = (shares * losses).sum() + 0.5 * l2 * head[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(objective)
    return head.detach()


def head_losses(inputs: Tensor, labels: Tensor, head: Tensor) -> Tensor:
    """float32 (n,): cross-entropy of every picture under the head, in nats."""
    return torch.nn.functional.cross_entropy(inputs @ head, labels, reduction="none")


def out_of_fold(
    features: np.ndarray,
    labels: Tensor,
    n_classes: int,
    *,
    n_folds: int = 5,
    most_rows: int = 10_000,
    seed: int = 0,
    report: Callable[[int, int, str], None] | None = None,
) -> Tensor:
    """float32 (n, K): probabilities for each picture by a head that was fitted without it.

    Each fold's head is fitted to at most `most_rows` pictures of the other folds, drawn by seed.
    """
    inputs = standardised(features)
    generator = torch.Generator().manual_seed(seed)
    # Dealt out class by class, so that a small class is in every fold's fit.
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].argsort(stable=True)]
    fold = torch.empty_like(order)
    fold[order] = torch.arange(len(order)) % n_folds
    result = inputs.new_zeros(len(labels), n_classes)
    for number in range(n_folds):
        if report is not None:
            report(number, n_folds, "Fitting heads without a fifth of the pictures")
        others = (fold != number).nonzero().flatten()
        others = others[torch.randperm(len(others), generator=generator)[:most_rows]]
        head = fit_head(inputs[others], labels[others], n_classes)
        asked = fold == number
        result[asked] = (inputs[asked] @ head).softmax(1)
    return result
