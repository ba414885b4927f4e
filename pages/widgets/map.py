"""The map: up to 100,000 pictures as points, chosen by drawing round them.

The browser sends only the outline of what was drawn; the ids are found here, over the full set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import streamlit as st

from imu_core.errors import BadInput
from imu_core.picking import ids_in_polygon
from imu_core.thumbnails import Sheet
from pages.widgets.wire import (
    BrowserPick,
    acknowledged,
    checked_ids,
    checked_points,
    new_picks,
    pack,
    script,
    send_payload,
)

MOST_POINTS = 100_000
MOST_PICTURES_ASKED = 64

Mode = Literal["replace", "add", "subtract"]

_component = st.components.v2.component(
    "imu_map",
    html="<div class='root'></div>\n",
    css=script("map.css"),
    js=script(
        "wire.js",
        "map_points.js",
        "map_paint.js",
        "map_overlay.js",
        "map_legend.js",
        "map_pictures.js",
        "map_hover.js",
        "map.js",
    ),
)


@dataclass(frozen=True)
class Scores:
    """One number a picture to colour the map by."""

    values: np.ndarray
    """(n,); NaN is drawn grey."""
    title: str
    """What the numbers are, for the legend."""
    signed: bool = False
    """True: blue–white–orange with zero in the middle; False: one scale from low to high."""


@dataclass(frozen=True)
class MapEvents:
    """What to call when a person does something on the map; each before the next run."""

    on_select: Callable[[np.ndarray, Mode], None] | None = None
    """Ids inside the drawn shape (int64, ascending), and what to do with them."""
    on_clear: Callable[[], None] | None = None
    """Escape was pressed."""
    on_pin: Callable[[int], None] | None = None
    """A point was clicked: its id."""


def picture_map(
    coordinates: np.ndarray,
    *,
    key: str,
    groups: np.ndarray,
    group_names: Sequence[str],
    scores: Scores | None = None,
    selected: Sequence[int] | np.ndarray = (),
    protected: Sequence[int] | np.ndarray = (),
    highlight: int | None = None,
    sheet_of: Callable[[np.ndarray], Sheet] | None = None,
    send_all_up_to: int = 2000,
    drawing: Mode = "replace",
    height: int = 520,
    name: str = "Map of the pictures",
    events: MapEvents | None = None,
) -> None:
    """Draw every picture as a point; what a person picks arrives by `events`, before the next run.

    Args:
        coordinates: float (n, 2); row i is picture i. A row that is not finite is not drawn.
        key: names this map; its state lives in the session under this name.
        groups: (n,) positions in `group_names`: labels or predictions. They make the legend.
        group_names: one name a group.
        scores: numbers to colour by; without them points have the colour of their group.
        selected: ids to forget; while there are some, all others are grey.
        protected: ids to protect.
        highlight: an id that is ringed, for example the tile opened in the gallery.
        sheet_of: makes the thumbnails of some ids, for the picture shown at the pointer.
        send_all_up_to: sets of up to this many pictures send all thumbnails at once; of larger
            ones those near the pointer are fetched when it rests.
        drawing: what a shape drawn without a key held does; shift adds and alt takes away.
        height: pixels.
        name: what a screen reader calls the map.
        events: what to call.
    """
    points = _checked(coordinates, groups, group_names, scores)
    payloads = _payloads(key, points, groups, group_names, scores)
    state: Any = st.session_state.get(key) or {}
    pictures = _pictures(key, len(points), state.get("wanted"), sheet_of, send_all_up_to)
    masks = {"selected": _bits(selected, len(points)), "protected": _bits(protected, len(points))}
    with st.container(gap=None):
        for payload_name, payload in payloads.values():
            send_payload(payload_name, payload, key=payload_name.rsplit(":", 1)[0])
        header = {
            "points": payloads["points"][0],
            "colours": payloads["colours"][0],
            "pictures": pictures[0] if pictures else None,
            "acknowledged": acknowledged(key),
            "highlight": int(highlight) if highlight is not None else None,
            "asks": sheet_of is not None,
            "drawing": drawing,
            "height": int(height),
            "name": name,
            "marks": _digest(masks["selected"].tobytes() + b"|" + masks["protected"].tobytes()),
        }
        _component(
            key=key,
            data=pack(header, masks),
            height="content",
            on_picks_change=partial(_apply, key, points, groups, drawing, events or MapEvents()),
            on_wanted_change=_nothing,
        )
        if pictures:
            # Below the map: above it, its coming would move the map, which would then start anew.
            send_payload(*pictures, key=f"{key}:pictures")


def _nothing() -> None:
    """Declares the state `wanted`; the pictures asked for are sent by the run that follows."""


def _apply(
    key: str, points: np.ndarray, groups: np.ndarray, drawing: Mode, events: MapEvents
) -> None:
    state: Any = st.session_state.get(key) or {}
    for pick in new_picks(state.get("picks"), key):
        if pick.kind == "select" and events.on_select is not None:
            ids = _ids_drawn(pick, points, groups)
            mode = pick.content.get("mode")
            known = mode if mode in ("replace", "add", "subtract") else drawing
            if ids is not None:
                events.on_select(ids, known)
        elif pick.kind == "clear" and events.on_clear is not None:
            events.on_clear()
        elif pick.kind == "pin" and events.on_pin is not None:
            pinned = checked_ids([pick.content.get("id")], np.arange(len(points)))
            if len(pinned):
                events.on_pin(int(pinned[0]))


def _ids_drawn(pick: BrowserPick, points: np.ndarray, groups: np.ndarray) -> np.ndarray | None:
    polygon = checked_points(pick.content.get("points"))
    if polygon is None:
        return None
    hidden = checked_ids(pick.content.get("hidden"), np.unique(groups).astype(np.int64))
    return ids_in_polygon(points, polygon, groups, hidden)


def _checked(
    coordinates: np.ndarray,
    groups: np.ndarray,
    group_names: Sequence[str],
    scores: Scores | None,
) -> np.ndarray:
    """The coordinates as float32 (n, 2), after a check of all that goes with them."""
    points = np.ascontiguousarray(coordinates, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 2:
        raise BadInput("The map needs two coordinates a picture.")
    if len(points) > MOST_POINTS:
        raise BadInput(f"The map draws {MOST_POINTS:,} pictures at most, not {len(points):,}.")
    if len(groups) != len(points) or (scores is not None and len(scores.values) != len(points)):
        raise BadInput(f"The map needs one group and one score for each of {len(points):,} points.")
    if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < len(group_names):
        raise BadInput(f"Groups on the map must lie in 0–{len(group_names) - 1}.")
    return points


def _payloads(
    key: str,
    points: np.ndarray,
    groups: np.ndarray,
    group_names: Sequence[str],
    scores: Scores | None,
) -> dict[str, tuple[str, bytes]]:
    """Name and payload of the two blocks that change seldom: where points are, how they look."""
    place = pack({}, {"xy": points})
    header: dict[str, Any] = {"groupNames": list(group_names)}
    parts: dict[str, np.ndarray] = {"groups": groups.astype(np.uint16)}
    if scores is not None:
        parts["scores"] = np.asarray(scores.values, dtype=np.float32)
        low, high = _score_range(parts["scores"], signed=scores.signed)
        header |= {"title": scores.title, "signed": scores.signed, "low": low, "high": high}
    look = pack(header, parts)
    return {
        "points": (f"{key}:points:{_digest(place)}", place),
        "colours": (f"{key}:colours:{_digest(look)}", look),
    }


def _pictures(
    key: str,
    n: int,
    wanted: object,
    sheet_of: Callable[[np.ndarray], Sheet] | None,
    send_all_up_to: int,
) -> tuple[str, bytes] | None:
    """Name and payload of the thumbnails: all of a small set, else those the browser asked for."""
    if sheet_of is None:
        return None
    ids = np.arange(n)
    if n > send_all_up_to:
        asked = wanted[:MOST_PICTURES_ASKED] if isinstance(wanted, list) else []
        ids = checked_ids(asked, ids)
    if len(ids) == 0:
        return None
    sheet = sheet_of(ids)
    header = {
        "mime": sheet.mime,
        "columns": sheet.columns,
        "aspect": sheet.tile_height / sheet.tile_width,
    }
    payload = pack(header, {"sheet": sheet.data, "ids": ids.astype(np.int32)})
    return f"{key}:pictures:{_digest(payload)}", payload


def _score_range(values: np.ndarray, *, signed: bool) -> tuple[float, float]:
    """The values at the two ends of the scale; one in 200 beyond each end does not stretch it."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    if signed:
        most = float(np.quantile(np.abs(finite), 0.99)) or 1.0
        return -most, most
    low, high = (float(q) for q in np.quantile(finite, (0.005, 0.995)))
    return (low, high) if high > low else (low, low + 1.0)


def _bits(ids: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """uint8 (⌈n/8⌉,): one bit a picture, lowest bit first; empty when no id is given."""
    chosen = np.asarray(ids, dtype=np.int64)
    if len(chosen) == 0:
        return np.zeros(0, dtype=np.uint8)
    if chosen.min() < 0 or chosen.max() >= n:
        raise BadInput(f"Chosen ids must lie in 0–{n - 1}.")
    mask = np.zeros(n, dtype=bool)
    mask[chosen] = True
    return np.packbits(mask, bitorder="little")


def _digest(payload: bytes) -> str:
    return sha256(payload).hexdigest()[:16]
