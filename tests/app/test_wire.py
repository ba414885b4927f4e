"""What comes back from a browser is checked before it is believed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pages.widgets import gallery as gallery_module
from pages.widgets import map as map_module
from pages.widgets import wire
from pages.widgets.gallery import Pick
from pages.widgets.map import MapEvents


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A session state that is a plain dictionary."""
    state: dict[str, Any] = {}
    for module in (wire, gallery_module, map_module):
        monkeypatch.setattr(module.st, "session_state", state)
    return state


def test_a_packed_block_holds_every_part() -> None:
    parts = {
        "xy": np.arange(6, dtype=np.float32),
        "mask": np.array([5, 7], np.uint8),
        "raw": b"abc",
    }
    block = wire.pack({"name": "größe"}, parts)
    length = int.from_bytes(block[:8], "little")
    header = json.loads(block[8 : 8 + length])
    assert header["name"] == "größe"
    for name, part in parts.items():
        place = header["parts"][name]
        start = 8 + length + place["offset"]
        assert start % 8 == 0
        raw = block[start : start + place["length"]]
        assert raw == (part if isinstance(part, bytes) else part.tobytes())


def test_a_pick_is_applied_once_and_in_order(session: dict[str, Any]) -> None:
    sent = [{"number": 1, "kind": "pin"}, {"number": 2, "kind": "clear"}]
    assert [pick.number for pick in wire.new_picks(sent, "map")] == [1, 2]
    assert list(wire.new_picks(sent, "map")) == []
    assert [
        pick.number for pick in wire.new_picks([*sent, {"number": 3, "kind": "pin"}], "map")
    ] == [3]
    assert wire.acknowledged("map") == 3
    assert wire.acknowledged("another") == 0


def test_a_pick_whose_run_was_broken_off_comes_again(session: dict[str, Any]) -> None:
    sent = [{"number": 1, "kind": "pin"}, {"number": 2, "kind": "pin"}]
    applied = []

    def apply_until(last: int) -> None:
        for pick in wire.new_picks(sent, "map"):
            if pick.number > last:
                raise InterruptedError
            applied.append(pick.number)

    with pytest.raises(InterruptedError):
        apply_until(1)
    assert wire.acknowledged("map") == 1
    apply_until(2)
    assert applied == [1, 2]


@pytest.mark.parametrize(
    "state",
    [None, 5, "picks", {"number": 1}, [7], [{"kind": "pin"}], [{"number": "1", "kind": "pin"}],
     [{"number": True, "kind": "pin"}], [{"number": 1, "kind": 3}], [{"number": 1e9, "kind": "x"}]],
)  # fmt: skip
def test_what_is_no_pick_is_passed_over(session: dict[str, Any], state: object) -> None:
    assert list(wire.new_picks(state, "map")) == []
    assert wire.acknowledged("map") == 0


def test_only_ids_that_were_on_screen_come_through() -> None:
    allowed = np.array([2, 5, 9])
    raw = [9, 2, 2, 7, -1, True, 2.0, "5", None, 2**60]
    assert wire.checked_ids(raw, allowed).tolist() == [2, 9]
    assert wire.checked_ids("259", allowed).tolist() == []
    assert wire.checked_ids(None, allowed).tolist() == []


@pytest.mark.parametrize(
    "raw",
    [None, [], [[0, 0], [1, 1]], [[0, 0], [1, 1], [1]], [[0, 0], [1, "a"], [2, 2]],
     [[0, 0], [1, 1], [float("nan"), 0]], [[0, 0, 0]] * 3, [[0, 0]] * 2001],
)  # fmt: skip
def test_what_is_no_polygon_is_none(raw: object) -> None:
    assert wire.checked_points(raw) is None


def test_the_gallery_applies_picks_of_pages_it_has_shown(session: dict[str, Any]) -> None:
    session["g::pages"] = {"old": np.array([1, 2, 3]), "new": np.array([4, 5])}
    session["g"] = {
        "picks": [
            {"number": 1, "kind": "forget", "page": "old", "added": [2, 99], "removed": [3]},
            {"number": 2, "kind": "forget", "page": "never", "added": [1], "removed": []},
            {"number": 3, "kind": "protect", "page": "new", "added": [5], "removed": [5, 4]},
            {"number": 4, "kind": "delete", "page": "new", "added": [5], "removed": []},
            {"number": 5, "kind": "open", "page": "new", "added": [4], "removed": []},
            {"number": 6, "kind": "forget", "page": "new", "added": [77], "removed": []},
        ]
    }
    picks: list[Pick] = []
    opened: list[int] = []
    gallery_module._apply("g", picks.append, opened.append)
    told = [(pick.basket, pick.added.tolist(), pick.removed.tolist()) for pick in picks]
    assert told == [("forget", [2], [3]), ("protect", [5], [4])]
    assert opened == [4]
    gallery_module._apply("g", picks.append, opened.append)
    assert len(picks) == 2


def test_the_map_finds_the_ids_of_an_outline(session: dict[str, Any]) -> None:
    points = np.array([[0, 0], [0.5, 0.5], [3, 3], [0.2, 0.1]], np.float32)
    groups = np.array([0, 1, 0, 1])
    square = [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    session["m"] = {
        "picks": [
            {"number": 1, "kind": "select", "mode": "add", "points": square, "hidden": []},
            {"number": 2, "kind": "select", "mode": "wipe", "points": square, "hidden": [0, 9]},
            {"number": 3, "kind": "select", "mode": "add", "points": "all", "hidden": []},
            {"number": 4, "kind": "pin", "id": 2},
            {"number": 5, "kind": "pin", "id": 4},
            {"number": 6, "kind": "clear"},
        ]
    }
    heard: list[object] = []
    events = MapEvents(
        on_select=lambda ids, mode: heard.append((ids.tolist(), mode)),
        on_clear=lambda: heard.append("clear"),
        on_pin=heard.append,
    )
    map_module._apply("m", points, groups, "replace", events)
    assert heard == [([0, 1, 3], "add"), ([1, 3], "replace"), 2, "clear"]


def test_a_mask_has_one_bit_a_picture() -> None:
    mask = map_module._bits([0, 3, 8, 17], 20)
    assert np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist() == [0, 3, 8, 17]
    assert len(map_module._bits([], 20)) == 0
    with pytest.raises(map_module.BadInput):
        map_module._bits([20], 20)


def test_the_scale_is_not_stretched_by_one_outlier() -> None:
    values = np.concatenate((np.linspace(-1, 1, 999), [1000])).astype(np.float32)
    low, high = map_module._score_range(values, signed=True)
    assert low == -high
    assert high < 2
    assert map_module._score_range(np.full(5, np.nan, np.float32), signed=True) == (-1, 1)
    assert map_module._score_range(np.zeros(5, np.float32), signed=False) == (0, 1)
