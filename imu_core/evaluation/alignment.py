"""One map for the features of several models, and how far single pictures moved between two.

Features of separately trained models live in bases of their own: axis 7 of one has nothing to do
with axis 7 of another, so plotting both through one PCA would show movement where there is none.
Each model is therefore first centred, brought to equal size and rotated onto the original by
orthogonal Procrustes on the retain pictures, which both models were meant to keep alike. What the
rotation cannot explain is reported as the residual; distances are to be read against those of the
retain pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imu_core.errors import BadInput
from imu_core.evaluation.representation import MOST_ROWS, sample_rows


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map from one model's features to the original's standardised space: ((x − c) / s) R."""

    centre: np.ndarray
    """float64 (d,), mean of the retain pictures"""
    scale: float
    """Root-mean-square distance of a retain picture from `centre`."""
    rotation: np.ndarray | None
    """float64 (d, e) with orthonormal columns or rows; None = no rotation at all."""
    residual: float
    """Share of the original's retain variance that no rotation and size explains, 0–1."""

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Positions float64 (n, e); length 1 = how far a retain picture lies from the mean."""
        standard = (np.asarray(features, dtype=np.float64) - self.centre) / self.scale
        return standard if self.rotation is None else standard @ self.rotation


def align(
    features: np.ndarray, reference: np.ndarray, retain_rows: np.ndarray, *, seed: int = 0
) -> Alignment:
    """The alignment of `features` (n, d) to the original's `reference` (n, e), same pictures.

    With X, Y the centred retain rows of unit Frobenius norm and XᵀY = UΣVᵀ, the rotation is UVᵀ
    (Schönemann 1966) and the residual min_{s, R} ‖sXR − Y‖² = 1 − (ΣΣ_i)². At most 5,000 retain
    rows, drawn by seed. Equal features get no rotation, so that nothing moves by rounding.
    """
    generator = np.random.default_rng(seed)
    rows = np.asarray(retain_rows)[sample_rows(len(retain_rows), MOST_ROWS, generator)]
    x, centre, scale = _standardise(features[rows])
    if np.array_equal(features, reference):
        return Alignment(centre, scale, None, 0.0)
    y, _, _ = _standardise(reference[rows])
    left, strengths, right = np.linalg.svd(x.T @ y / len(rows), full_matrices=False)
    residual = min(max(1 - float(strengths.sum()) ** 2, 0.0), 1.0)
    return Alignment(centre, scale, left @ right, residual)


def _standardise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows centred and of root-mean-square length 1, with the centre and the scale taken out."""
    if len(rows) < 2:
        raise BadInput(
            f"{len(rows)} retain pictures are too few to align two models; 2 are needed."
        )
    wide = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise BadInput("The features of a model are not finite, so they cannot be put on a map.")
    centre = wide.mean(axis=0)
    centred = wide - centre
    scale = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
    # A collapsed model has one position for all pictures; dividing by 1 leaves it at the centre.
    scale = scale if scale > 1e-12 else 1.0
    return centred / scale, centre, scale


@dataclass(frozen=True, eq=False)
class SharedMap:
    """Coordinates of the same pictures in several models, through one PCA of the original."""

    rows: np.ndarray
    """int64 (m,): which rows of the feature arrays are on the map."""
    coordinates: list[np.ndarray]
    """A float64 (m, c) for each model, in the order given; the first is the original."""
    explained: np.ndarray
    """float64 (c,): share of the original's variance along each axis."""
    residuals: list[float]
    """For each model the share of the original that its alignment leaves unexplained."""


def shared_pca(
    features: Sequence[np.ndarray],
    retain_rows: np.ndarray,
    *,
    rows: np.ndarray | None = None,
    seed: int = 0,
    n_components: int = 2,
) -> SharedMap:
    """The map of `features`, one array (n, d) a model, the original first; same pictures in each.

    The PCA is fitted once, on the original's aligned features of at most 5,000 pictures drawn by
    seed; every model is aligned to the original (see `align`) and projected with it. `rows` says
    which pictures to place; without it, the sample. The sign of an axis is fixed by its largest
    loading, so that the map does not flip between calls.
    """
    if len({len(array) for array in features}) != 1:
        raise BadInput("A shared map needs features of the same pictures for every model.")
    original = features[0]
    sample = sample_rows(len(original), MOST_ROWS, np.random.default_rng(seed))
    rows = sample if rows is None else np.asarray(rows)
    alignments = [align(array, original, retain_rows, seed=seed) for array in features]
    fitted = alignments[0].apply(original[sample])
    centre = fitted.mean(axis=0)
    variances, axes = np.linalg.eigh((fitted - centre).T @ (fitted - centre) / len(fitted))
    order = np.argsort(variances)[::-1][:n_components]
    axes = axes[:, order]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    coordinates = [
        (alignment.apply(array[rows]) - centre) @ axes
        for alignment, array in zip(alignments, features, strict=True)
    ]
    explained = variances[order].clip(0) / max(float(variances.clip(0).sum()), 1e-300)
    return SharedMap(rows, coordinates, explained, [item.residual for item in alignments])


@dataclass(frozen=True, eq=False)
class Movement:
    """How far pictures moved in the aligned full space.

    Unit: the root-mean-square distance of a retain picture from the retain mean.
    """

    forget: np.ndarray
    """float64 (n,), in the order of the forget rows"""
    retain: np.ndarray
    """float64 (m,), for `retain_rows`: what moves anyway"""
    retain_rows: np.ndarray
    """int64 (m,), at most 5,000, drawn by seed"""
    residual: float
    """Share of the original that the alignment leaves unexplained."""


def movement(
    before: np.ndarray,
    after: np.ndarray,
    forget_rows: np.ndarray,
    retain_rows: np.ndarray,
    *,
    seed: int = 0,
) -> Movement:
    """Distance of each picture between two models' features (n, d), after alignment on retain.

    ‖A_after(x_after) − A_before(x_before)‖. Exactly 0 where the features are equal, as after a
    method that changes the head alone. Read `forget` against `retain`.
    """
    start = align(before, before, retain_rows, seed=seed)
    end = align(after, before, retain_rows, seed=seed)
    chosen = sample_rows(len(retain_rows), MOST_ROWS, np.random.default_rng(seed))
    kept = np.asarray(retain_rows)[chosen]
    forget, retain = (
        np.linalg.norm(end.apply(after[rows]) - start.apply(before[rows]), axis=1)
        for rows in (np.asarray(forget_rows), kept)
    )
    return Movement(forget, retain, kept, end.residual)
