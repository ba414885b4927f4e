"""Maps: PCA against the eigenvectors, UMAP's promises, and a cache that survives bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from imu_core.embedding import (
    UmapSettings,
    map_key,
    pca_coordinates,
    principal_map,
    store_map,
    stored_map,
    umap_coordinates,
)
from imu_core.errors import BadInput, Cancelled


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return load_digits().data.astype(np.float32)


def test_the_plane_is_that_of_the_first_two_eigenvectors(features: np.ndarray) -> None:
    plane = principal_map(features)
    covariance = np.cov(features.astype(np.float64), rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    for k in range(2):
        assert abs(vectors[:, -1 - k] @ plane.axes[:, k]) == pytest.approx(1, abs=1e-3)
    assert plane.explained == pytest.approx(values[::-1][:2] / values.sum(), rel=1e-3)
    assert plane.axes.T @ plane.axes == pytest.approx(np.eye(2), abs=1e-5)


def test_the_map_is_the_same_each_time_and_leaves_the_global_generator_alone(
    features: np.ndarray,
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = pca_coordinates(features)
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first, pca_coordinates(features))
    assert first.shape == (1797, 2)
    assert first.dtype == np.float32


def test_a_map_has_a_fixed_handedness(features: np.ndarray) -> None:
    """Another start of the random search gives the same map, not its mirror image."""
    one, other = (pca_coordinates(features, seed=seed) for seed in (0, 1))
    assert one == pytest.approx(other, abs=0.05 * float(np.abs(one).max()))


def test_features_with_one_direction_still_give_two_coordinates() -> None:
    line = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    coordinates = pca_coordinates(line)
    assert coordinates.shape == (50, 2)
    assert np.ptp(coordinates[:, 0]) == pytest.approx(1, abs=1e-5)
    assert np.ptp(coordinates[:, 1]) == 0


def test_features_that_are_no_numbers_are_refused(features: np.ndarray) -> None:
    broken = features.copy()
    broken[3, 4] = np.nan
    with pytest.raises(BadInput):
        pca_coordinates(broken)
    with pytest.raises(BadInput):
        pca_coordinates(features[:1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_umap_keeps_neighbours_reports_progress_and_is_repeatable(features: np.ndarray) -> None:
    labels = load_digits().target[:600]
    heard: list[tuple[int, int, str]] = []
    settings = UmapSettings(n_neighbors=10)
    # The first layout of a process, while numba compiles, differs from all later ones.
    umap_coordinates(features[:600], settings)
    first = umap_coordinates(features[:600], settings, progress=lambda *news: heard.append(news))
    again = umap_coordinates(features[:600], settings)
    assert np.array_equal(first, again)
    distance = ((first[:, None] - first[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(1)] == labels).mean() > 0.9
    done = [news[0] for news in heard]
    assert done == sorted(done)
    assert done[-1] == 100
    assert sum(50 < value < 100 for value in done) >= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("after", [1, 3, 5])
def test_umap_ends_when_it_should_stop(features: np.ndarray, after: int) -> None:
    calls = 0

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > after

    with pytest.raises(Cancelled):
        umap_coordinates(features[:400], should_stop=should_stop)
    # Closing its progress bar, UMAP may ask once more.
    assert after < calls <= after + 2


def test_settings_out_of_range_are_refused(features: np.ndarray) -> None:
    with pytest.raises(BadInput):
        UmapSettings(n_neighbors=1)
    with pytest.raises(BadInput):
        UmapSettings(min_dist=1.5)
    with pytest.raises(BadInput):
        umap_coordinates(features[:10])


def test_a_stored_map_comes_back(tmp_path: Path) -> None:
    coordinates = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    key = map_key("umap", "weights", "pictures", UmapSettings())
    assert stored_map(tmp_path, key, n=20) is None
    store_map(tmp_path / "new", key, coordinates)
    again = stored_map(tmp_path / "new", key, n=20)
    assert again is not None
    assert np.array_equal(again, coordinates)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"{key}.npy"]


def test_keys_differ_where_anything_differs() -> None:
    keys = {
        map_key("umap", "w", "p", UmapSettings()),
        map_key("umap", "w", "p", UmapSettings(seed=1)),
        map_key("umap", "w2", "p", UmapSettings()),
        map_key("umap", "w", "p2", UmapSettings()),
        map_key("pca", "w", "p"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_broken_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.npy").write_bytes(content)
    assert stored_map(tmp_path, "key", n=20) is None


def test_a_stored_map_of_other_pictures_is_not_used(tmp_path: Path) -> None:
    store_map(tmp_path, "key", np.zeros((20, 2), np.float32))
    assert stored_map(tmp_path, "key", n=21) is None
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert stored_map(tmp_path, "objects", n=1) is None
