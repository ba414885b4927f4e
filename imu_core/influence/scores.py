"""Influence of each training picture: what changes when it alone is taken out.

A score is the predicted change of a quantity, in the unit of the quantity, after the picture is
taken out and the head fitted anew: vᵀ H⁻¹ gᵢ / n, with v the gradient of the quantity. A supporter
of a test picture has a positive score on its loss and a negative one on its margin. Effect on the
classifier head, features frozen: for models retrained from scratch it ranks weakly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.influence.checks import checked_ids
from imu_core.influence.curvature import (
    MAX_EXPLICIT,
    Cholesky,
    Curvature,
    Kronecker,
    curvature_of,
)
from imu_core.influence.problem import CHUNK_BYTES, Chunk, HeadProblem
from imu_core.influence.quantities import quantity_gradients

BLOCK_BYTES = 1 << 22
"""Of gradients written out at once: a block that stays in a processor's cache is 2 × faster."""


class Influence:
    """Scores of all training pictures of a problem under one curvature.

    `leave_one_out` uses, for each picture, the Hessian without it (a rank K correction, as in
    Rubinstein and Hopkins 2025, arXiv 2506.06656): right in size, not in rank only, also where
    there are nearly as many weights as pictures. It needs the factorised Hessian.
    """

    def __init__(
        self,
        problem: HeadProblem,
        curvature: Curvature | None = None,
        *,
        leave_one_out: bool = False,
    ) -> None:
        self.problem = problem
        self.curvature = curvature_of(problem) if curvature is None else curvature
        self.rescaled = self._rescaled() if leave_one_out else None

    def on_each(
        self,
        features: Tensor,
        labels: Tensor,
        quantity: str = "loss",
        against: Tensor | None = None,
    ) -> Tensor:
        """Scores (n, m) on the quantity of each of m pictures, given by features (m, d)."""
        inputs = self.problem.inputs(features)
        outputs = quantity_gradients(inputs @ self.problem.theta.T, labels, quantity, against)
        if isinstance(self.curvature, Kronecker):
            return self._kronecker(inputs, outputs)
        size = max(1, CHUNK_BYTES // (8 * self.problem.n_weights))
        parts = [
            self.along(self.curvature.solve(u[:, :, None] * h[:, None]))
            for u, h in zip(outputs.split(size), inputs.split(size), strict=True)
        ]
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def on_mean(
        self,
        features: Tensor,
        labels: Tensor,
        quantity: str = "loss",
        against: Tensor | None = None,
    ) -> Tensor:
        """Scores (n,) on the mean of the quantity over m pictures."""
        if not len(features):
            raise BadInput("There is no picture to take the mean over; choose at least one.")
        mean = mean_gradient(self.problem, features, labels, quantity, against)
        return self.along(self.curvature.solve(mean[None]))[:, 0]

    def on_class(
        self, features: Tensor, labels: Tensor, label: int, quantity: str = "margin"
    ) -> Tensor:
        """Scores (n,) on the mean margin (or loss) of one class: a smooth stand-in for accuracy."""
        if not 0 <= label < self.problem.n_classes:
            raise BadInput(f"The class asked about must lie in 0–{self.problem.n_classes - 1}.")
        rows = labels == label
        if not bool(rows.any()):
            raise BadInput(f"None of these pictures is of class {label}; choose another class.")
        return self.on_mean(features[rows], labels[rows], quantity)

    def on_training_set(self, ids: Tensor, quantity: str = "loss") -> Tensor:
        """Scores (n,) on the mean loss (or margin) of some training pictures, as the forget set."""
        ids = checked_ids(ids, self.problem.n)
        return self.on_mean(self.problem.features[ids], self.problem.labels[ids], quantity)

    def self_influence(self) -> Tensor:
        """How much each picture's own loss would rise without it (n,): gᵀ H⁻¹ g / n."""
        scores = self._empty(1)
        for chunk in self.problem.chunks():
            scores[chunk.rows] = self._self_influence(chunk)[:, None].to(scores)
        return scores[:, 0]

    def along(self, directions: Tensor) -> Tensor:
        """gᵢᵀ x / n for every picture and each x of (m, K, D): scores (n, m)."""
        scores = self._empty(len(directions))
        for chunk in self.problem.chunks():
            residuals = chunk.residuals
            if self.rescaled is not None:
                residuals = self.rescaled[chunk.rows].to(residuals)
            products = contract(residuals, chunk.inputs, directions)
            scores[chunk.rows] = products.div_(self.problem.n).to(scores)
        return scores

    def _empty(self, n_columns: int) -> Tensor:
        """Room for the answer where the features are, so that a GPU need not hold it."""
        device = self.problem.features.device
        return torch.empty(self.problem.n, n_columns, dtype=self.problem.precision, device=device)

    def _kronecker(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Product of two Gram matrices, entry by entry."""
        assert isinstance(self.curvature, Kronecker)
        right, left = self.curvature.solve_inputs(inputs), self.curvature.solve_outputs(outputs)
        scores = self._empty(len(inputs))
        for chunk in self.problem.chunks():
            gram = chunk.inputs @ right.T
            gram *= chunk.residuals @ left.T
            scores[chunk.rows] = gram.div_(self.problem.n).to(scores)
        return scores

    def _self_influence(self, chunk: Chunk) -> Tensor:
        h, r = chunk.inputs, chunk.residuals
        if isinstance(self.curvature, Kronecker):
            near = (self.curvature.solve_inputs(h) * h).sum(1)
            return near * (self.curvature.solve_outputs(r) * r).sum(1) / self.problem.n
        size = max(16, CHUNK_BYTES // (8 * self.problem.n_weights))
        parts = []
        for residuals, inputs in zip(r.split(size), h.split(size), strict=True):
            gradients = residuals[:, :, None] * inputs[:, None]
            if isinstance(self.curvature, Cholesky):
                parts.append(self.curvature.half_solve(gradients).square().sum(1))
            else:
                parts.append((self.curvature.solve(gradients) * gradients).sum((1, 2)))
        return torch.cat(parts).to(r.dtype) / self.problem.n

    def _rescaled(self) -> Tensor:
        """(I − W M / n)⁻¹ r for each picture (n, K), W = diag p − ppᵀ and M the K × K block hᵀH⁻¹h.

        By Woodbury's identity (H − W⊗hhᵀ/n)⁻¹ (r ⊗ h) = H⁻¹ (that ⊗ h).
        """
        if not isinstance(self.curvature, Cholesky):
            raise BadInput(
                "Leaving one out exactly needs the factorised Hessian, which this head is too "
                "large for, or which was not asked for."
            )
        n_classes, n_inputs = self.problem.n_classes, self.problem.n_inputs
        inverse = self.curvature.inverse
        columns = inverse.permute(1, 0, 2, 3).reshape(n_inputs, -1)
        rescaled = torch.empty(
            self.problem.n, n_classes, dtype=self.problem.precision, device=self.problem.device
        )
        size = max(16, CHUNK_BYTES // (8 * n_classes * self.problem.n_weights))
        for chunk in self.problem.chunks():
            for start in range(0, len(chunk.inputs), size):
                rows = slice(start, start + size)
                h, p, r = chunk.inputs[rows], chunk.probabilities[rows], chunk.residuals[rows]
                half = (h @ columns).view(len(h), n_classes * n_classes, n_inputs)
                block = torch.bmm(half, h[:, :, None]).view(len(h), n_classes, n_classes)
                curve = torch.diag_embed(p) - p[:, :, None] * p[:, None]
                system = torch.eye(n_classes, dtype=p.dtype, device=p.device)
                system = system - curve @ block / self.problem.n
                target = slice(chunk.rows.start + start, chunk.rows.start + start + len(h))
                rescaled[target] = torch.linalg.solve(system, r[:, :, None])[:, :, 0]
        return rescaled


def contract(residuals: Tensor, inputs: Tensor, directions: Tensor) -> Tensor:
    """rᵀ X h for every row and each X of (m, K, D): (c, m).

    Many directions of a small head are one product with the gradients written out; else the
    gradients are never formed.
    """
    m, n_classes, n_inputs = directions.shape
    flat = directions.reshape(m, -1)
    if m >= 8 and flat.shape[1] <= MAX_EXPLICIT:
        size = max(16, BLOCK_BYTES // (8 * flat.shape[1]))
        parts = [
            (r[:, :, None] * h[:, None]).flatten(1) @ flat.T
            for r, h in zip(residuals.split(size), inputs.split(size), strict=True)
        ]
        return torch.cat(parts)
    size = max(1, CHUNK_BYTES // (8 * len(inputs) * n_classes))
    parts = []
    for some in directions.split(size):
        moved = (inputs @ some.reshape(-1, n_inputs).T).view(-1, len(some), n_classes)
        parts.append((moved * residuals[:, None]).sum(2))
    return torch.cat(parts, 1)


def mean_gradient(
    problem: HeadProblem,
    features: Tensor,
    labels: Tensor,
    quantity: str,
    against: Tensor | None = None,
) -> Tensor:
    """Gradient of the mean quantity over m pictures with respect to θ, (K, D)."""
    total = torch.zeros_like(problem.theta)
    for start in range(0, len(features), problem.rows_per_chunk):
        rows = slice(start, start + problem.rows_per_chunk)
        inputs = problem.inputs(features[rows])
        rivals = None if against is None else against[rows]
        outputs = quantity_gradients(inputs @ problem.theta.T, labels[rows], quantity, rivals)
        total += outputs.T @ inputs / len(features)
    return total


def gradient_products(problem: HeadProblem, features: Tensor, labels: Tensor) -> Tensor:
    """⟨gᵢ, gₜ⟩ of the losses, (n, m): TracIn at one checkpoint (arXiv 2002.08484), for contrast.

    Says which pictures pull in one direction, not what happens without them: no Hessian in it.
    """
    inputs = problem.inputs(features)
    outputs = quantity_gradients(inputs @ problem.theta.T, labels, "loss")
    parts = [(c.inputs @ inputs.T) * (c.residuals @ outputs.T) for c in problem.chunks()]
    return torch.cat(parts)


def representer_values(problem: HeadProblem, features: Tensor, classes: Tensor) -> Tensor:
    """Share of each training picture in the logit of `classes[t]` of picture t: (n, m).

    −(p − y)_c ⟨hᵢ, hₜ⟩ / (λn) (Yeh et al. 2018, arXiv 1811.09720). At the optimum the shares sum
    to the logit itself; the residual gradient says how near that is.
    """
    if problem.damping == 0:
        raise BadInput("Representer values divide by the damping; choose one above 0.")
    inputs = problem.inputs(features)
    chosen = quantity_gradients(inputs @ problem.theta.T, classes, "logit")
    scale = -problem.damping * problem.n
    parts = [(c.inputs @ inputs.T) * (c.residuals @ chosen.T) / scale for c in problem.chunks()]
    return torch.cat(parts)


def feature_similarity(problem: HeadProblem, features: Tensor) -> Tensor:
    """Cosine of the features of training and given pictures, (n, m): likeness, no influence."""
    directions = functional.normalize(features.to(problem.device, problem.precision))
    d = directions.shape[1]
    parts = [functional.normalize(c.inputs[:, :d]) @ directions.T for c in problem.chunks()]
    return torch.cat(parts)
