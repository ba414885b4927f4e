"""Near-duplicates: pictures that look the same. Forgetting one whose twin stays forgets nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.picking import as_ids, unit_rows

FEATURE_DISTANCE = 0.05
"""Cosine distance of features up to which the model takes two pictures for nearly the same."""
PIXEL_DISTANCE = 0.08
"""Root mean square difference of pixels, scale 0–1, up to which two pictures look the same."""

_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class NearDuplicates:
    """Pictures outside a set that are nearly the same as one inside it, the nearest first."""

    ids: np.ndarray
    """int64 (k,): pictures outside the set."""
    twins: np.ndarray
    """int64 (k,): for each, the nearest picture inside."""
    feature_distance: np.ndarray
    """float32 (k,): cosine distance to the twin."""
    pixel_distance: np.ndarray
    """float32 (k,): root mean square pixel difference to the twin, scale 0–1."""


def near_duplicates(
    images: Tensor,
    features: np.ndarray,
    ids: Iterable[int] | np.ndarray,
    *,
    feature_distance: float = FEATURE_DISTANCE,
    pixel_distance: float = PIXEL_DISTANCE,
) -> NearDuplicates:
    """Pictures outside `ids` within both distances of one inside.

    `images` uint8 (n, c, h, w), `features` (n, d). The features are compared first, in chunks of
    rows, and the pixels only of the pairs that are near in features.
    """
    inside = as_ids(ids)
    if len(images) != len(features):
        raise BadInput(f"{len(images)} pictures came with features of {len(features)}.")
    if len(inside) and not 0 <= inside[0] <= inside[-1] < len(images):
        raise BadInput(f"Ids must lie in 0–{len(images) - 1}.")
    unit = unit_rows(features)
    is_inside = torch.zeros(len(images), dtype=torch.bool)
    is_inside[torch.from_numpy(inside)] = True
    found = [
        _pairs(images, unit, rows, is_inside, feature_distance, pixel_distance)
        for rows in torch.from_numpy(inside).split(_ROWS_AT_ONCE)
    ]
    if not found:
        return _nearest_twins(torch.zeros((0, 2), dtype=torch.int64), torch.zeros((0, 2)))
    return _nearest_twins(
        torch.cat([pairs for pairs, _ in found]), torch.cat([gaps for _, gaps in found])
    )


def _pairs(
    images: Tensor,
    unit: Tensor,
    rows: Tensor,
    is_inside: Tensor,
    feature_distance: float,
    pixel_distance: float,
) -> tuple[Tensor, Tensor]:
    """Pairs (outside, inside) int64 (p, 2) within both distances, and the distances (p, 2)."""
    similar = unit[rows] @ unit.T
    similar[:, is_inside] = -2
    within, outside = (similar >= 1 - feature_distance).nonzero(as_tuple=True)
    gap = (1 - similar[within, outside]).clamp_(min=0)
    pixels = torch.cat(
        [
            _pixel_distance(images, outside[part], rows[within[part]])
            for part in torch.arange(len(outside)).split(8192)
        ]
        or [torch.zeros(0)]
    )
    near = pixels <= pixel_distance
    pairs = torch.stack((outside[near], rows[within[near]]), 1)
    return pairs, torch.stack((gap[near], pixels[near]), 1)


def _pixel_distance(images: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """float32 (p,): root mean square difference of the pictures of each pair, scale 0–1."""
    difference = images[one].flatten(1).float() - images[other].flatten(1).float()
    return difference.square().mean(1).sqrt() / 255


def _nearest_twins(pairs: Tensor, gaps: Tensor) -> NearDuplicates:
    """One row for each picture outside: its nearest twin by pixels, then by features."""
    outside, twins = pairs.T.numpy()
    feature_gap, pixel_gap = gaps.T.numpy()
    order = np.lexsort((twins, feature_gap, pixel_gap))
    _, first = np.unique(outside[order], return_index=True)
    kept = order[np.sort(first)]
    return NearDuplicates(outside[kept], twins[kept], feature_gap[kept], pixel_gap[kept])
