"""Maps of pictures: features in two dimensions, at once by PCA and as a job by UMAP."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imu_core.errors import BadInput, Cancelled
from imu_core.files import write_whole

Progress = Callable[[int, int, str], None]

# Neighbours are looked for among this many principal components; the rest of the features is noise
# that costs time.
_COMPONENTS_BEFORE_UMAP = 50


@dataclass(frozen=True)
class PrincipalMap:
    """A plane through the features, kept so that other models' features can be laid on it."""

    mean: np.ndarray
    """float32 (d,)"""
    axes: np.ndarray
    """float32 (d, k), orthonormal, the first along the largest variance."""
    explained: np.ndarray
    """float32 (k,): share of the variance along each axis."""

    def project(self, features: np.ndarray) -> np.ndarray:
        """Coordinates, float32 (n, k), of features (n, d)."""
        return (np.asarray(features, dtype=np.float32) - self.mean) @ self.axes


def principal_map(features: np.ndarray, *, n_components: int = 2, seed: int = 0) -> PrincipalMap:
    """The plane of largest variance of features (n, d), by randomised PCA (Halko et al. 2011).

    Signs are fixed, so that the same features always give the same map and never its mirror image.
    """
    values = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    if values.ndim != 2 or len(values) < 2:
        raise BadInput("A map needs the features of at least two pictures.")
    if not torch.isfinite(values).all():
        raise BadInput("The features hold values that are not numbers; no map can be drawn.")
    mean = values.mean(0)
    centred = values - mean
    rank = min(n_components + 6, *values.shape)
    # pca_lowrank draws from the global generator; the fork keeps that from being felt outside.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, singular, axes = torch.pca_lowrank(centred, q=rank, center=False, niter=4)
    axes, singular = _enough_axes(axes[:, :n_components], singular[:n_components], n_components)
    largest = axes.abs().argmax(0)
    axes = axes * axes[largest, torch.arange(axes.shape[1])].sign()
    total = centred.square().sum().clamp_min(1e-12)
    explained = singular.square() / total
    return PrincipalMap(mean.numpy(), axes.numpy(), explained.numpy())


def _enough_axes(
    axes: torch.Tensor, singular: torch.Tensor, wanted: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """As many axes as wanted: those that the features do not have are empty."""
    missing = wanted - axes.shape[1]
    if missing <= 0:
        return axes, singular
    return (
        torch.cat((axes, axes.new_zeros(len(axes), missing)), 1),
        torch.cat((singular, singular.new_zeros(missing))),
    )


def pca_coordinates(features: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """float32 (n, 2): features (n, d) on their plane of largest variance."""
    return principal_map(features, seed=seed).project(features)


@dataclass(frozen=True)
class UmapSettings:
    """How a UMAP is made (McInnes et al. 2018)."""

    n_neighbors: int = 15
    """Neighbours a picture: few show small groups, many the large lines. 2–200."""
    min_dist: float = 0.1
    """How close points may lie to one another, 0–0.99."""
    seed: int = 0
    """The same seed gives the same map."""

    def __post_init__(self) -> None:
        if not 2 <= self.n_neighbors <= 200:
            raise BadInput("UMAP looks at 2 to 200 neighbours.")
        if not 0 <= self.min_dist <= 0.99:
            raise BadInput("The least distance of UMAP must lie in 0–0.99.")


def umap_coordinates(
    features: np.ndarray,
    settings: UmapSettings | None = None,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """float32 (n, 2): features (n, d) laid out by UMAP, starting from their PCA map.

    Takes seconds for 1,500 pictures and minutes for 60,000, and half a minute more in a process
    that has not used it before (its code is compiled). Raises Cancelled between stages, and between
    the rounds of the last one, once `should_stop()` is true.
    """
    settings = settings or UmapSettings()
    n = len(features)
    if n <= settings.n_neighbors:
        raise BadInput(f"UMAP with {settings.n_neighbors} neighbours needs more than {n} pictures.")
    stages = _Stages(progress, should_stop)
    stages.begin(0, "Loading UMAP")
    from umap import UMAP

    stages.begin(10, "Principal components")
    plane = principal_map(features, n_components=2, seed=settings.seed)
    values = _reduced(features, settings.seed)
    start = plane.project(features)
    start = (10 * start / max(float(np.abs(start).max()), 1e-12)).astype(np.float32)
    stages.begin(20, "Nearest neighbours")
    neighbours = _neighbours(values, settings)
    stages.begin(50, "Layout")
    model = UMAP(
        n_neighbors=settings.n_neighbors,
        min_dist=settings.min_dist,
        init=start,
        random_state=settings.seed,
        n_jobs=1,
        precomputed_knn=neighbours,
        tqdm_kwds={"file": _Listener(stages), "disable": False, "mininterval": 0.2},
    )
    coordinates = np.asarray(model.fit_transform(values), dtype=np.float32)
    stages.begin(100, "Done")
    return coordinates


def _neighbours(values: np.ndarray, settings: UmapSettings) -> tuple[Any, ...]:
    """Nearest neighbours as UMAP wants them given."""
    from umap.umap_ import nearest_neighbors

    return nearest_neighbors(
        values,
        n_neighbors=settings.n_neighbors,
        metric="euclidean",
        metric_kwds={},
        angular=False,
        random_state=np.random.RandomState(settings.seed),
    )


def _reduced(features: np.ndarray, seed: int) -> np.ndarray:
    """float32 (n, ≤ 50): the features, or their first principal components when there are more."""
    values = np.ascontiguousarray(features, dtype=np.float32)
    if values.shape[1] <= _COMPONENTS_BEFORE_UMAP:
        return values
    return principal_map(values, n_components=_COMPONENTS_BEFORE_UMAP, seed=seed).project(values)


class _Stages:
    """Tells how far the job is, and ends it when it should stop."""

    def __init__(self, progress: Progress | None, should_stop: Callable[[], bool] | None) -> None:
        self._progress, self._should_stop = progress, should_stop

    def begin(self, done: int, text: str) -> None:
        if self._should_stop is not None and self._should_stop():
            raise Cancelled
        if self._progress is not None:
            self._progress(done, 100, text)


class _Listener(io.StringIO):
    """The file UMAP's progress bar writes to: the one way to hear of the rounds of its layout."""

    def __init__(self, stages: _Stages) -> None:
        super().__init__()
        self._stages = stages

    def write(self, text: str) -> int:
        share = text.partition("%|")[0].rpartition(" ")[2].strip()
        if share.isdigit():
            self._stages.begin(50 + int(share) // 2, "Layout")
        return len(text)


def map_key(kind: str, weights: str, pictures: str, settings: UmapSettings | None = None) -> str:
    """A file name that is the same only for the same map: kind, digests of weights and pictures."""
    return sha256(f"{kind}|{weights}|{pictures}|{settings}".encode()).hexdigest()[:24]


def stored_map(directory: Path, key: str, *, n: int) -> np.ndarray | None:
    """The coordinates kept under this key, float32 (n, 2); None when none can be used."""
    path = directory / f"{key}.npy"
    try:
        coordinates = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = coordinates.shape == (n, 2) and coordinates.dtype == np.float32
    return coordinates if fits else None


def store_map(directory: Path, key: str, coordinates: np.ndarray) -> Path:
    """The file these coordinates now lie in; it appears whole or not at all."""
    path = directory / f"{key}.npy"
    values = np.asarray(coordinates, dtype=np.float32)

    def fill(part: Path) -> None:
        with part.open("wb") as file:
            np.save(file, values, allow_pickle=False)

    write_whole(path, fill)
    return path
