"""Picking: shapes against the angle sum, sets by their laws, sorting by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from imu_core.errors import BadInput, UnknownName
from imu_core.near_duplicates import near_duplicates
from imu_core.picking import (
    PictureFilter,
    coherence,
    combine,
    distance_to_nearest,
    filter_ids,
    ids_between,
    ids_in_polygon,
    inside_polygon,
    page_of,
    picture_columns,
    sort_ids,
)


def winding_oracle(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Inside by the sum of the angles under which a point sees the edges (simple polygons)."""
    ahead = np.roll(polygon, -1, axis=0)
    one = polygon[None] - points[:, None]
    other = ahead[None] - points[:, None]
    cross = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    angle = np.arctan2(cross, (one * other).sum(-1)).sum(1)
    return np.abs(angle) > np.pi


def star(corners: int, rng: np.random.Generator) -> np.ndarray:
    """A simple polygon of any shape round the origin."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(0.2, 1.0, corners)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)


@pytest.mark.parametrize("corners", [3, 4, 17, 150])
def test_inside_polygon_agrees_with_the_angle_sum(corners: int) -> None:
    rng = np.random.default_rng(corners)
    polygon = star(corners, rng)
    points = rng.uniform(-1.2, 1.2, (4000, 2))
    inside = inside_polygon(points, polygon)
    assert np.array_equal(inside, winding_oracle(points, polygon))
    assert 0 < inside.sum() < len(points)


def test_points_level_with_a_corner_are_counted_once() -> None:
    diamond = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]], float)
    points = np.array([[0, 0], [0.5, 0], [-0.5, 0], [-2, 0], [2, 0], [-2, 1], [-2, -1]], float)
    assert inside_polygon(points, diamond).tolist() == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_shape_that_crosses_itself_leaves_its_middle_out() -> None:
    """The even-odd rule: the pentagram's core is crossed twice."""
    turn = np.arange(5) * 4 * np.pi / 5 + np.pi / 2
    pentagram = np.stack((np.cos(turn), np.sin(turn)), 1)
    inside = inside_polygon(np.array([[0.0, 0.0], [0.0, 0.8], [0.0, -0.9]]), pentagram)
    assert inside.tolist() == [False, True, False]


def test_points_that_are_no_numbers_are_outside() -> None:
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    points = np.array([[np.nan, 0], [0, np.nan], [np.inf, 0], [0, 0]])
    assert inside_polygon(points, square).tolist() == [False, False, False, True]


def test_hidden_groups_are_left_out() -> None:
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    points = np.zeros((6, 2))
    groups = np.array([0, 1, 2, 0, 1, 2])
    assert ids_in_polygon(points, square, groups, hidden=[1]).tolist() == [0, 2, 3, 5]
    assert ids_in_polygon(points, square, groups).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "polygon", [np.zeros((2, 2)), np.zeros((4, 3)), np.array([[0, 0], [1, 0], [np.nan, 1]])]
)
def test_what_is_no_shape_is_refused(polygon: np.ndarray) -> None:
    with pytest.raises(BadInput):
        inside_polygon(np.zeros((5, 2)), polygon)


def test_a_lasso_over_100_000_points_is_quick() -> None:
    rng = np.random.default_rng(0)
    points, polygon = rng.normal(0, 0.5, (100_000, 2)).astype(np.float32), star(150, rng)
    inside_polygon(points, polygon)
    start = time.perf_counter()
    inside_polygon(points, polygon)
    assert time.perf_counter() - start < 0.5


def test_ways_to_combine_obey_the_laws_of_sets() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        one, other = (rng.integers(0, 40, rng.integers(0, 30)) for _ in range(2))
        a, b = set(one.tolist()), set(other.tolist())
        assert combine(one, other, "add").tolist() == sorted(a | b)
        assert combine(one, other, "subtract").tolist() == sorted(a - b)
        assert combine(one, other, "intersect").tolist() == sorted(a & b)
        assert combine(one, other, "toggle").tolist() == sorted(a ^ b)
        assert combine(one, other, "replace").tolist() == sorted(b)
        twice = combine(combine(one, other, "toggle"), other, "toggle")
        assert twice.tolist() == sorted(a)
    assert combine([], [], "add").dtype == np.int64


def test_an_unknown_way_to_combine_names_the_near_ones() -> None:
    with pytest.raises(UnknownName, match="subtract"):
        combine([1], [2], "substract")


def test_a_range_follows_the_order_on_screen() -> None:
    order = np.array([7, 3, 9, 1, 5])
    assert ids_between(order, 3, 1).tolist() == [1, 3, 9]
    assert ids_between(order, 1, 3).tolist() == [1, 3, 9]
    assert ids_between(order, 9, 9).tolist() == [9]
    with pytest.raises(BadInput):
        ids_between(order, 100, 101)


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]], dtype=np.float32)
    influence = np.array([0.5, np.nan, -2.0, 0.5], dtype=np.float32)
    return picture_columns(np.array([0, 0, 1, 1]), logits, influence)


def test_columns_match_the_closed_forms(columns: dict[str, np.ndarray]) -> None:
    assert columns["prediction"].tolist() == [0, 1, 1, 0]
    sigmoid = 1 / (1 + np.exp(-np.array([2.0, 1.0, 3.0, 0.0])))
    assert columns["confidence"] == pytest.approx(sigmoid, abs=1e-6)
    expected = [np.log1p(np.exp(-2)), np.log1p(np.exp(1)), np.log1p(np.exp(-3)), np.log(2)]
    assert columns["loss"] == pytest.approx(expected, abs=1e-6)


def test_sorting_breaks_ties_by_id_and_puts_no_numbers_last(columns: dict[str, np.ndarray]) -> None:
    ids = np.arange(4)
    assert sort_ids(ids, columns, "influence").tolist() == [2, 0, 3, 1]
    assert sort_ids(ids, columns, "influence", descending=True).tolist() == [0, 3, 2, 1]
    assert sort_ids(np.array([3, 1]), columns, "loss", descending=True).tolist() == [1, 3]
    with pytest.raises(UnknownName, match="influence"):
        sort_ids(ids, columns, "influnce")


def test_each_condition_of_a_filter_narrows(columns: dict[str, np.ndarray]) -> None:
    def kept(**fields: object) -> list[int]:
        return filter_ids(columns, PictureFilter(**fields)).tolist()

    assert kept() == [0, 1, 2, 3]
    assert kept(labels=(1,)) == [2, 3]
    assert kept(predictions=(1,)) == [1, 2]
    assert kept(right=True) == [0, 2]
    assert kept(right=False) == [1, 3]
    assert kept(ranges={"influence": (-3, 0.5)}) == [0, 2, 3]
    assert kept(within=[3, 0]) == [0, 3]
    assert kept(labels=(0,), right=True, within=[1, 2]) == []


def test_sorting_and_filtering_60_000_is_quick() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 60_000)
    columns = picture_columns(labels, rng.normal(size=(60_000, 10)).astype(np.float32))
    start = time.perf_counter()
    ids = filter_ids(columns, PictureFilter(right=False, ranges={"confidence": (0.3, 1)}))
    sort_ids(ids, columns, "loss", descending=True)
    assert time.perf_counter() - start < 0.3


def test_pages_cover_all_ids_once() -> None:
    ids = np.arange(1000, 1045)
    pages = [page_of(ids, number, 20) for number in (1, 2, 3)]
    assert np.concatenate(pages).tolist() == ids.tolist()
    assert page_of(ids, 99, 20).tolist() == pages[-1].tolist()
    assert page_of(ids, 0, 20).tolist() == pages[0].tolist()
    assert page_of(np.zeros(0, np.int64), 1, 20).tolist() == []


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, np.ndarray]:
    data = load_digits()
    pixels = torch.from_numpy((data.images * 255 / 16).round()).to(torch.uint8).unsqueeze(1)
    return pixels, data.data.astype(np.float32)


def test_distance_to_the_nearest_matches_the_plain_table(
    digits: tuple[torch.Tensor, np.ndarray],
) -> None:
    _, features = digits
    picked = [3, 700, 1500]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = (1 - unit @ unit[picked].T).min(1)
    distance = distance_to_nearest(features, picked)
    assert distance == pytest.approx(expected, abs=1e-5)
    assert distance[picked] == pytest.approx(0, abs=1e-5)
    with pytest.raises(BadInput):
        distance_to_nearest(features, [])


def test_coherence_is_the_mean_over_all_pairs(digits: tuple[torch.Tensor, np.ndarray]) -> None:
    _, features = digits
    picked = np.arange(0, 200, 7)
    centred = features - features.mean(0)
    unit = centred[picked] / np.linalg.norm(centred[picked], axis=1, keepdims=True)
    table = unit @ unit.T
    pairs = table[np.triu_indices(len(picked), 1)]
    assert coherence(features, picked) == pytest.approx(pairs.mean(), abs=1e-5)
    assert coherence(features, [5]) is None


def test_a_class_is_more_coherent_than_a_random_set(
    digits: tuple[torch.Tensor, np.ndarray],
) -> None:
    _, features = digits
    labels = load_digits().target
    one_class = coherence(features, np.flatnonzero(labels == 0))
    by_chance = coherence(
        features, np.random.default_rng(0).choice(len(labels), 150, replace=False)
    )
    assert one_class is not None
    assert by_chance is not None
    assert one_class > 0.4 > 0.1 > abs(by_chance)


def test_planted_twins_are_found_with_their_twin(digits: tuple[torch.Tensor, np.ndarray]) -> None:
    pixels, _ = digits
    copies = torch.tensor([10, 500, 900])
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(-2, 3, pixels[copies].shape, generator=rng)
    twins = (pixels[copies].int() + noise).clamp(0, 255).to(torch.uint8)
    images = torch.cat((pixels, twins))
    all_features = images.flatten(1).float().numpy()
    found = near_duplicates(images, all_features, copies.numpy(), pixel_distance=0.02)
    pairs = dict(zip(found.ids.tolist(), found.twins.tolist(), strict=True))
    assert pairs == {len(pixels) + k: int(copy) for k, copy in enumerate(copies)}
    assert (np.diff(found.pixel_distance) >= 0).all()


def test_near_duplicates_match_a_search_over_all_pairs(
    digits: tuple[torch.Tensor, np.ndarray],
) -> None:
    pixels, features = digits
    inside = np.arange(0, 1797, 3)
    found = near_duplicates(pixels, features, inside, feature_distance=0.04, pixel_distance=0.12)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = pixels.flatten(1).numpy() / 255
    expected = set()
    for outside in np.setdiff1d(np.arange(1797), inside):
        gap = np.sqrt(((values[inside] - values[outside]) ** 2).mean(1))
        near = (gap <= 0.12) & (1 - unit[inside] @ unit[outside] <= 0.04)
        if near.any():
            expected.add(int(outside))
    assert set(found.ids.tolist()) == expected
    assert len(expected) > 20
    assert not np.isin(found.ids, inside).any()


def test_no_near_duplicates_of_nothing(digits: tuple[torch.Tensor, np.ndarray]) -> None:
    pixels, features = digits
    assert len(near_duplicates(pixels, features, []).ids) == 0
    with pytest.raises(BadInput):
        near_duplicates(pixels, features, [99_999])
