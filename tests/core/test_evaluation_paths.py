"""Reading two paths at equal depth, by hand."""

from __future__ import annotations

from imu_core.evaluation.paths import equal_depth


def _path(*rows: tuple[int, float, float, float]) -> list[dict]:
    names = ("number", "forget_accuracy", "retain_accuracy", "heldout_accuracy")
    return [dict(zip(names, row, strict=True)) for row in rows]


FAST = _path((10, 0.4, 0.98, 0.93), (20, 0.0, 0.95, 0.90), (30, 0.0, 0.80, 0.75))
SLOW = _path((10, 0.9, 0.99, 0.94), (40, 0.05, 0.97, 0.92), (60, 0.01, 0.96, 0.91))


def test_the_first_probe_deep_enough_is_read_on_both():
    found = equal_depth(FAST, SLOW, 0.01)
    assert found.comparable
    assert (found.first["number"], found.second["number"]) == (20, 60)
    assert round(found.gap("retain_accuracy"), 9) == -0.01
    assert round(found.gap("heldout_accuracy"), 9) == -0.01
    assert found.gap("number") == -40


def test_order_of_probes_does_not_matter_and_depth_is_inclusive():
    assert equal_depth(FAST[::-1], SLOW, 0.05).first["number"] == 20
    assert equal_depth(FAST, SLOW, 0.05).second["number"] == 40


def test_a_path_that_never_gets_there_gives_no_gap():
    found = equal_depth(FAST, SLOW, 0.0)
    assert not found.comparable
    assert found.second is None
    assert found.gap("retain_accuracy") is None
    assert equal_depth([], SLOW, 0.5).first is None


def test_a_missing_value_gives_no_gap():
    path = _path((5, 0.0, 0.9, None))
    assert equal_depth(path, FAST, 0.0).gap("heldout_accuracy") is None
    assert equal_depth(_path((1, None, 0.9, 0.9)), FAST, 0.5).first is None
