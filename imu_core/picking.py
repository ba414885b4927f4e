"""Picking pictures: inside a drawn shape, by sorted and filtered numbers, by nearness to others.

Pure functions on arrays. An id is the position of a training picture; sets of ids are int64,
ascending and unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import BadInput, UnknownName

Mode = Literal["replace", "add", "subtract", "intersect", "toggle"]

# Rows of a distance table made at once: 2,048 × 60,000 float32 is 0.5 GB, 512 is 0.12 GB.
_ROWS_AT_ONCE = 512

_MODES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "replace": lambda chosen, picked: picked,
    "add": np.union1d,
    "subtract": np.setdiff1d,
    "intersect": np.intersect1d,
    "toggle": np.setxor1d,
}


def as_ids(ids: Iterable[int] | np.ndarray) -> np.ndarray:
    """These ids as int64 (k,), ascending and unique."""
    array = ids if isinstance(ids, np.ndarray) else np.fromiter(ids, dtype=np.int64)
    return np.unique(array.astype(np.int64, copy=False))


def combine(
    chosen: Iterable[int] | np.ndarray, picked: Iterable[int] | np.ndarray, mode: str
) -> np.ndarray:
    """The chosen ids after picked ones replace, join, leave, limit or toggle them."""
    if mode not in _MODES:
        raise UnknownName("way to combine picks", mode, _MODES)
    return _MODES[mode](as_ids(chosen), as_ids(picked))


def ids_between(order: np.ndarray, anchor: int, target: int) -> np.ndarray:
    """Ids from `anchor` to `target`, both included, as they stand in `order` (n,); ascending."""
    places = np.flatnonzero((order == anchor) | (order == target))
    if len(places) == 0:
        raise BadInput(f"Neither picture {anchor} nor picture {target} is on this page.")
    return as_ids(order[places[0] : places[-1] + 1])


def inside_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """bool (n,): which points (n, 2) lie inside a closed polygon (m, 2), by the even-odd rule.

    Sorted by height once, each edge meets only the points between its two ends, so a lasso of many
    short edges costs little more than the sort. A point that is not finite is outside.
    """
    points, polygon = np.asarray(points), np.asarray(polygon, dtype=np.float64)
    if polygon.ndim != 2 or polygon.shape[1:] != (2,) or len(polygon) < 3:
        raise BadInput("A drawn shape needs at least three corners.")
    if not np.isfinite(polygon).all():
        raise BadInput("A corner of the drawn shape is not a number.")
    low, high = polygon.min(0), polygon.max(0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(1))
    heights = points[near, 1].astype(np.float64)
    order = np.argsort(heights, kind="stable")
    x, y = points[near[order], 0].astype(np.float64), heights[order]
    crossings = np.zeros(len(near), dtype=bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        # Half-open in y: a point level with a corner meets exactly one of the corner's two edges.
        first, last = np.searchsorted(y, (min(y1, y2), max(y1, y2)))
        if first < last:
            slope = (x2 - x1) / (y2 - y1)
            crossings[first:last] ^= x[first:last] < x1 + (y[first:last] - y1) * slope
    inside = np.zeros(len(points), dtype=bool)
    inside[near[order]] = crossings
    return inside


def ids_in_polygon(
    points: np.ndarray,
    polygon: np.ndarray,
    groups: np.ndarray | None = None,
    hidden: Iterable[int] = (),
) -> np.ndarray:
    """Ids inside the polygon, less those of the groups (n,) that were hidden when it was drawn."""
    inside = inside_polygon(points, polygon)
    hidden = list(hidden)
    if groups is not None and hidden:
        inside &= ~np.isin(groups, hidden)
    return np.flatnonzero(inside)


def picture_columns(
    labels: np.ndarray, logits: np.ndarray, influence: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What pictures can be sorted and filtered by, each (n,), from labels (n,) and logits (n, K).

    `confidence` is the softmax probability of the predicted class, `loss` the cross-entropy of the
    label in nats; `influence` is there when it was given.
    """
    if len(labels) != len(logits):
        raise BadInput(f"{len(labels)} labels came with outputs for {len(logits)} pictures.")
    scores = np.asarray(logits, dtype=np.float32)
    shifted = scores - scores.max(1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(1))
    rows = np.arange(len(labels))
    columns = {
        "id": rows,
        "label": np.asarray(labels, dtype=np.int64),
        "prediction": scores.argmax(1).astype(np.int64),
        "confidence": np.exp(-log_sum),
        "loss": log_sum - shifted[rows, labels],
    }
    if influence is not None:
        columns["influence"] = np.asarray(influence, dtype=np.float32)
    return columns


@dataclass(frozen=True)
class PictureFilter:
    """Which pictures to show; an empty field lets all through."""

    labels: tuple[int, ...] = ()
    """Positions in the class names."""
    predictions: tuple[int, ...] = ()
    """Positions in the class names."""
    right: bool | None = None
    """True: prediction equals label; False: differs."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Column → lowest and highest value, both included."""
    within: Sequence[int] | np.ndarray | None = None
    """Only these ids."""


def filter_ids(columns: Mapping[str, np.ndarray], wanted: PictureFilter) -> np.ndarray:
    """Ids, ascending, of the pictures that meet every condition of the filter."""
    keep = np.ones(len(_column(columns, "id")), dtype=bool)
    if wanted.labels:
        keep &= np.isin(_column(columns, "label"), wanted.labels)
    if wanted.predictions:
        keep &= np.isin(_column(columns, "prediction"), wanted.predictions)
    if wanted.right is not None:
        keep &= (_column(columns, "prediction") == _column(columns, "label")) == wanted.right
    for name, (low, high) in wanted.ranges.items():
        values = _column(columns, name)
        keep &= (values >= low) & (values <= high)
    if wanted.within is not None:
        keep &= np.isin(np.arange(len(keep)), np.asarray(wanted.within, dtype=np.int64))
    return np.flatnonzero(keep)


def sort_ids(
    ids: np.ndarray, columns: Mapping[str, np.ndarray], by: str, *, descending: bool = False
) -> np.ndarray:
    """The ids in the order of a column; equal values by id, values that are no number last."""
    values = _column(columns, by)[ids].astype(np.float64)
    values = np.where(np.isnan(values), np.inf, -values if descending else values)
    return ids[np.lexsort((ids, values))]


def page_of(ids: np.ndarray, page: int, size: int) -> np.ndarray:
    """The ids on this page, pages counted from 1; a page beyond the last gives the last."""
    if size < 1:
        raise BadInput("A page must hold at least one picture.")
    n_pages = max(1, -(-len(ids) // size))
    page = min(max(page, 1), n_pages)
    return ids[(page - 1) * size : page * size]


def distance_to_nearest(features: np.ndarray, ids: Iterable[int] | np.ndarray) -> np.ndarray:
    """float32 (n,): cosine distance in features (n, d) from each picture to the nearest of `ids`.

    0 for a picture that points the same way, 1 for one at a right angle, 2 for the opposite.
    """
    picked = as_ids(ids)
    if len(picked) == 0:
        raise BadInput("Pick at least one picture to measure nearness to.")
    unit = unit_rows(features)
    nearest = torch.full((len(unit),), -1.0)
    for rows in torch.from_numpy(picked).split(_ROWS_AT_ONCE):
        nearest = torch.maximum(nearest, (unit[rows] @ unit.T).amax(0))
    return (1 - nearest).clamp_(0, 2).numpy()


def unit_rows(features: np.ndarray) -> Tensor:
    """float32 (n, d): each row divided by its length; a row of zeros stays so."""
    rows = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    return torch.nn.functional.normalize(rows.flatten(1), dim=1)


def coherence(features: np.ndarray, ids: Iterable[int] | np.ndarray) -> float | None:
    """Mean cosine similarity of all pairs of these pictures, features (n, d) centred on their mean.

    About 0 for a set drawn by chance, 1 for copies of one picture. None for fewer than two. With
    unit rows u, the mean over pairs is (‖Σu‖² − Σ‖u‖²) / (k (k − 1)): no table of pairs is made.
    """
    picked = as_ids(ids)
    if len(picked) < 2:
        return None
    values = np.asarray(features, dtype=np.float32)
    unit = unit_rows(values[picked] - values.mean(0, dtype=np.float64).astype(np.float32)).double()
    pairs = unit.sum(0).square().sum() - unit.square().sum()
    return float(pairs / (len(picked) * (len(picked) - 1)))


def _column(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in columns:
        raise UnknownName("column", name, columns)
    return columns[name]
