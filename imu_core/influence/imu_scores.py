"""IMU's influence scores in closed form, and the sample weights made of them (arXiv 2508.01620)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.errors import BadInput

CHUNK = 8192


def head_residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each cross-entropy with respect to its logits, p − onehot(y): float64 (n, K)."""
    residuals = torch.softmax(logits.double(), dim=1)
    residuals[torch.arange(len(labels), device=labels.device), labels] -= 1
    return residuals


def imu_scores(
    features: Tensor,
    logits: Tensor,
    labels: Tensor,
    *,
    damping: float = 0.01,
    damping_mode: str = "absolute",
) -> Tensor:
    """Influence I of each forget sample on the total forget loss, at the head: float64 (n,).

    With features h (n, d), a 1 appended for the bias, and residuals r = p − onehot(y), the head
    gradient is the outer product r hᵀ, so that no per-sample gradient is ever formed:

        F = mean r² h² + damping,   ḡ = mean r h,   Iᵢ = −rᵢᵀ (ḡ / F) hᵢ

    A negative score means that the sample's gradient agrees with the mean forget gradient. Relative
    damping is a multiple of the mean of F: on a fitted model F is far below 0.01, and absolute
    damping then turns I into a plain product of gradients (100 ⟨g, ḡ⟩).

    The sums run in float64 over sorted chunks of fixed size, so order and batching of the samples
    move a score by rounding only. The released code adds the mean gradient into the first
    sample's row and thereby changes that score; this does not.
    """
    if not len(labels):
        raise BadInput("Influence scores need at least one forget picture.")
    residuals = head_residuals(logits, labels)
    n, n_classes = residuals.shape
    inputs = functional.pad(features.double(), (0, 1), value=1.0)
    fisher = inputs.new_zeros(n_classes, inputs.shape[1])
    gradient = inputs.new_zeros(n_classes, inputs.shape[1])
    for rows, columns in zip(residuals.split(CHUNK), inputs.split(CHUNK), strict=True):
        fisher += rows.square().T @ columns.square() / n
        gradient += rows.T @ columns / n
    fisher += damping * (fisher.mean() if damping_mode == "relative" else 1.0)
    direction = gradient / fisher.clamp_min(torch.finfo(torch.float64).tiny)
    return -((residuals @ direction) * inputs).sum(1)


def imu_weights(
    scores: Tensor,
    *,
    select: str = "negative",
    share: float = 1.0,
    law: str = "sqrt",
    clip_quantile: float = 0.93,
) -> Tensor:
    """Weight of each forget sample, float64 (n,); 0 for the samples that are dropped.

    Kept are the samples with I < 0 (`select="all"`: every sample), of these the `share` with the
    largest |I|, at least one. A weight is √|I| (`law="linear"`: |I|), clipped from above at the
    `clip_quantile` of the kept weights. Where no gradient is left at all (every score 0), the
    weights are uniform.
    """
    strength = scores.abs()
    kept = scores < 0 if select == "negative" else torch.ones_like(scores, dtype=torch.bool)
    if not bool((strength * kept).any()):
        return torch.ones_like(scores)
    positions = kept.nonzero().flatten()
    n_kept = max(int(share * len(positions)), 1)
    strongest = strength[positions].argsort(descending=True, stable=True)[:n_kept]
    positions = positions[strongest]
    weights = torch.zeros_like(scores)
    raw = strength[positions].sqrt() if law == "sqrt" else strength[positions]
    weights[positions] = raw.clamp_max(torch.quantile(raw, clip_quantile))
    return weights
