"""The convex problem a classifier head solves: softmax regression on frozen features.

    J(θ) = (1/n) Σ ℓᵢ(θ) + (λ/2) ‖θ‖²,     θ = [W, b] as (K, D), D = d + 1 with a bias

Everything about it is matrix work on cached features, in chunks of pictures. With p = softmax(θh)
and h the features with a 1 appended, the gradient of one picture is (p − y) ⊗ h and the Hessian,
which is also the Gauss–Newton and the Fisher matrix, is mean (diag p − ppᵀ) ⊗ hhᵀ + λI.

Memory for 1.28 million pictures, d = 2,048, K = 1,000: θ has 2.05 million numbers (16 MB in
float64), conjugate gradients hold six such arrays (98 MB) a right-hand side. Features are 10.5 GB
as float32 (5.2 GB as float16) and stay where they are, on disk or in host memory; a chunk is 1,386
rows, 23 MB of inputs and 11 MB for each of its four (rows, K) arrays, 67 MB in all. The Kronecker
factors take 42 MB. The explicit Hessian would take 33.6 TB and is never formed above 20,000
weights (3.2 GB, twice that while it is factorised). One Hessian product is 4nDK = 1.0e13
operations. Scores of 100 pictures are 1.28 million × 100 float64, 1 GB: that is the answer itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.influence.checks import check_output, check_shapes, check_values, checked_ids

CHUNK_BYTES = 64 << 20
KEPT_BYTES = 256 << 20
DEFAULT_DAMPING = 5e-4
"""The weight decay of the recipes: the refit head then minimises what training minimised."""


class Chunk(NamedTuple):
    """Some pictures with all that depends on θ, in the precision of the problem."""

    rows: slice
    inputs: Tensor
    """(c, D), with the 1 for the bias"""
    probabilities: Tensor
    """(c, K)"""
    residuals: Tensor
    """(c, K), p − y"""
    losses: Tensor
    """(c,)"""
    shares: Tensor
    """(c, 1): 1/n, or 0 for a picture that was taken out"""


@dataclass(frozen=True, eq=False)
class HeadProblem:
    """A softmax head at some weights, with the pictures it was fitted to.

    Pictures can be taken out with `without`; the 1/n stays that of all pictures, so that taking
    out does not strengthen the L2 term.
    """

    features: Tensor
    """(n, d), any float type, on any device; moved to the device of the weights by chunks."""
    labels: Tensor
    """int64 (n,)"""
    weight: Tensor
    """(K, d)"""
    bias: Tensor | None = None
    """(K,), or None for a head without one"""
    damping: float = DEFAULT_DAMPING
    """λ, 0 or more; 0 leaves the Hessian singular, so that only gradients can be had"""
    counted: Tensor | None = None
    """bool (n,): pictures that are in; None for all"""
    chunk_rows: int | None = None
    """Pictures a chunk; None chooses about 64 MB"""
    precision: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        check_shapes(self)
        check_values(self)

    @property
    def n(self) -> int:
        """Pictures, those taken out included."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        return len(self.weight)

    @property
    def n_inputs(self) -> int:
        """D: features, and one for the bias."""
        return self.weight.shape[1] + (self.bias is not None)

    @property
    def n_weights(self) -> int:
        """K · D"""
        return self.n_classes * self.n_inputs

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @cached_property
    def theta(self) -> Tensor:
        """Weights and bias side by side, (K, D)."""
        columns = [self.weight] if self.bias is None else [self.weight, self.bias[:, None]]
        return torch.cat(columns, 1).to(self.precision)

    def at(self, theta: Tensor) -> HeadProblem:
        """The same problem at other weights (K, D)."""
        d = self.weight.shape[1]
        bias = None if self.bias is None else theta[:, d]
        return dataclasses.replace(self, weight=theta[:, :d], bias=bias)

    def without(self, ids: Tensor) -> HeadProblem:
        """The problem of the retain set: these pictures out, weights as they are."""
        ids = checked_ids(ids, self.n)
        kept = (
            torch.ones(self.n, dtype=torch.bool) if self.counted is None else self.counted.clone()
        )
        kept[ids] = False
        return dataclasses.replace(self, counted=kept)

    def inputs(self, features: Tensor) -> Tensor:
        """Features (m, d) as the head takes them: (m, D), on its device, in its precision."""
        moved = features.to(self.device, self.precision)
        return moved if self.bias is None else functional.pad(moved, (0, 1), value=1.0)

    def logits(self, features: Tensor) -> Tensor:
        """(m, K)"""
        return self.inputs(features) @ self.theta.T

    def chunks(self) -> Iterator[Chunk]:
        """All pictures in order, `chunk_rows` at a time."""
        yield from self._kept if self._kept is not None else self._computed()

    @cached_property
    def _kept(self) -> list[Chunk] | None:
        """The chunks where all of them are small enough to be kept."""
        n_bytes = self.n * (self.n_inputs + 2 * self.n_classes) * self.precision.itemsize
        return list(self._computed()) if n_bytes <= KEPT_BYTES else None

    @property
    def rows_per_chunk(self) -> int:
        row_bytes = (self.n_inputs + 4 * self.n_classes) * self.precision.itemsize
        return self.chunk_rows or max(16, CHUNK_BYTES // row_bytes)

    def _computed(self) -> Iterator[Chunk]:
        for start in range(0, self.n, self.rows_per_chunk):
            rows = slice(start, min(start + self.rows_per_chunk, self.n))
            yield self.chunk_of(rows)

    def chunk_of(self, rows: slice | Tensor) -> Chunk:
        """The pictures of a slice, or of int64 ids (its `rows` is then meaningless)."""
        inputs = self.inputs(self.features[rows])
        labels = self.labels[rows].to(self.device)[:, None]
        logs = torch.log_softmax(inputs @ self.theta.T, 1)
        probabilities = logs.exp()
        residuals = probabilities.scatter_add(
            1, labels, torch.full_like(labels, -1, dtype=self.precision)
        )
        shares = inputs.new_full((len(inputs), 1), 1 / self.n)
        if self.counted is not None:
            shares *= self.counted[rows].to(self.device)[:, None]
        losses = -logs.gather(1, labels)[:, 0]
        kept_rows = rows if isinstance(rows, slice) else slice(0, len(rows))
        return Chunk(kept_rows, inputs, probabilities, residuals, losses, shares)

    def objective(self) -> float:
        """J(θ), in nats."""
        losses = sum(float((chunk.losses * chunk.shares[:, 0]).sum()) for chunk in self.chunks())
        return losses + 0.5 * self.damping * float(self.theta.square().sum())

    def gradient(self) -> Tensor:
        """∇J(θ), (K, D)."""
        total = self.damping * self.theta
        for chunk in self.chunks():
            total += (chunk.residuals * chunk.shares).T @ chunk.inputs
        return total

    @property
    def gradient_norm(self) -> float:
        """‖∇J(θ)‖: how far from the optimum these weights are."""
        return float(self.gradient().norm())

    def gradient_of(self, ids: Tensor) -> Tensor:
        """(1/n) Σ gᵢ over these pictures, without the L2 term: (K, D)."""
        total = torch.zeros_like(self.theta)
        for part in checked_ids(ids, self.n).split(self.rows_per_chunk):
            chunk = self.chunk_of(part)
            total += chunk.residuals.T @ chunk.inputs / self.n
        return total

    def hessian_times(self, vectors: Tensor) -> Tensor:
        """H v for each of (m, K, D): two matrix products a chunk."""
        size = max(1, CHUNK_BYTES // (2 * self.rows_per_chunk * self.n_classes * 8))
        return torch.cat([self._hessian_times(part) for part in vectors.split(size)])

    def _hessian_times(self, vectors: Tensor) -> Tensor:
        m, n_classes, _ = vectors.shape
        flat = vectors.reshape(m * n_classes, -1)
        total = self.damping * flat
        for chunk in self.chunks():
            moved = (chunk.inputs @ flat.T).view(-1, m, n_classes)
            p = chunk.probabilities[:, None]
            moved *= p
            moved -= p * moved.sum(2, keepdim=True)
            moved *= chunk.shares[:, :, None]
            total += moved.view(-1, m * n_classes).T @ chunk.inputs
        return total.view(vectors.shape)


def head_problem(
    classifier: nn.Module,
    features: Tensor,
    labels: Tensor,
    *,
    damping: float = DEFAULT_DAMPING,
    logits: Tensor | None = None,
    chunk_rows: int | None = None,
) -> HeadProblem:
    """The problem of a classifier's head on cached features (n, d).

    `logits` (n, K) are the classifier's own: where they are not what the head makes of the
    features (a scale or a softmax behind the head), every score would be wrong without a sign of
    it, and `BadInput` says so.
    """
    head = getattr(classifier, "head", None)
    if not isinstance(head, nn.Linear):
        raise BadInput(
            "This network has no linear layer as its head, and influence is computed there; "
            "choose a network that ends in one."
        )
    bias = None if head.bias is None else head.bias.detach()
    problem = HeadProblem(
        features, labels, head.weight.detach(), bias, damping, chunk_rows=chunk_rows
    )
    if logits is not None:
        check_output(problem, logits)
    return problem
