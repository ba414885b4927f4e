"""The gallery: a page of pictures that are chosen by click, range and keyboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import streamlit as st

from imu_core.errors import BadInput
from imu_core.thumbnails import Sheet
from pages.widgets.wire import (
    acknowledged,
    checked_ids,
    new_picks,
    pack,
    script,
    send_payload,
)

MOST_TILES = 1000
_PAGES_REMEMBERED = 4

Basket = Literal["forget", "protect"]

_component = st.components.v2.component(
    "imu_gallery",
    html="<div class='root'></div>\n",
    css=script("gallery.css"),
    js=script("wire.js", "gallery_tiles.js", "gallery.js"),
)


@dataclass(frozen=True)
class Pick:
    """What one action in the gallery changed: ids (int64, ascending) of the page it was made on."""

    basket: Basket
    added: np.ndarray
    removed: np.ndarray


def gallery(
    ids: Sequence[int] | np.ndarray,
    sheet: Sheet,
    *,
    key: str,
    class_names: Sequence[str],
    labels: np.ndarray,
    predictions: np.ndarray | None = None,
    numbers: Mapping[str, np.ndarray] | None = None,
    selected: Sequence[int] | np.ndarray = (),
    protected: Sequence[int] | np.ndarray = (),
    basket: Basket = "forget",
    tile_size: int = 56,
    height: int = 560,
    highlight: int | None = None,
    name: str = "Pictures",
    on_pick: Callable[[Pick], None] | None = None,
    on_open: Callable[[int], None] | None = None,
) -> None:
    """Draw up to 1,000 pictures; what a person picks arrives by `on_pick`, before the next run.

    Args:
        ids: the pictures of this page in the order shown.
        sheet: their thumbnails, in the same order.
        key: names this gallery; its state lives in the session under this name.
        class_names: all class names; `labels` and `predictions` (n,) are positions in it.
        numbers: title → values (n,), shown beside the large picture; NaN reads as “–”.
        selected: ids to forget. May hold ids that are not on this page.
        protected: ids to protect, likewise.
        basket: which of the two a click changes.
        tile_size: pixels a side of a tile on screen.
        height: pixels of the gallery; it scrolls inside.
        highlight: an id that is ringed and scrolled to, for example the one clicked on the map.
        name: what a screen reader calls the gallery.
        on_pick: called with each change, in the order made.
        on_open: called with the id of the picture that was opened large.
    """
    shown = _checked_page(ids, sheet, labels, predictions, numbers)
    page = _page_name(shown, sheet, tuple(class_names), labels, predictions, numbers)
    _remember_page(key, page, shown)
    with st.container(gap=None):
        send_payload(
            f"{key}:{page}",
            _page_payload(shown, sheet, class_names, labels, predictions, numbers or {}),
            key=f"{key}:payload",
        )
        _component(
            key=key,
            data={
                "page": page,
                "payload": f"{key}:{page}",
                "acknowledged": acknowledged(key),
                "selected": np.intersect1d(np.asarray(selected, np.int64), shown).tolist(),
                "protected": np.intersect1d(np.asarray(protected, np.int64), shown).tolist(),
                "basket": basket,
                "size": int(np.clip(tile_size, 16, 256)),
                "height": int(height),
                "highlight": int(highlight) if highlight is not None else None,
                "name": name,
            },
            height="content",
            on_picks_change=partial(_apply, key, on_pick, on_open),
        )


def _apply(
    key: str, on_pick: Callable[[Pick], None] | None, on_open: Callable[[int], None] | None
) -> None:
    pages: dict[str, np.ndarray] = st.session_state.get(f"{key}::pages", {})
    state: Any = st.session_state.get(key) or {}
    for pick in new_picks(state.get("picks"), key):
        # The page a click was made on may have been turned since; it is still a known page.
        shown = pages.get(str(pick.content.get("page")))
        if shown is None:
            continue
        added = checked_ids(pick.content.get("added"), shown)
        if pick.kind == "open" and len(added) == 1 and on_open is not None:
            on_open(int(added[0]))
        elif pick.kind in ("forget", "protect") and on_pick is not None:
            removed = np.setdiff1d(checked_ids(pick.content.get("removed"), shown), added)
            if len(added) or len(removed):
                on_pick(Pick(pick.kind, added, removed))  # ty: ignore[invalid-argument-type]


def _remember_page(key: str, page: str, ids: np.ndarray) -> None:
    pages: dict[str, np.ndarray] = dict(st.session_state.get(f"{key}::pages", {}))
    pages.pop(page, None)
    pages[page] = ids
    st.session_state[f"{key}::pages"] = dict(list(pages.items())[-_PAGES_REMEMBERED:])


def _checked_page(
    ids: Sequence[int] | np.ndarray,
    sheet: Sheet,
    labels: np.ndarray,
    predictions: np.ndarray | None,
    numbers: Mapping[str, np.ndarray] | None,
) -> np.ndarray:
    """The ids as int64 (n,), after a check that all that goes with them has their length."""
    shown = np.asarray(ids, dtype=np.int64)
    if len(shown) > MOST_TILES:
        raise BadInput(f"A page of the gallery holds {MOST_TILES:,} pictures, not {len(shown):,}.")
    if len(np.unique(shown)) != len(shown):
        raise BadInput("A page of the gallery cannot show the same picture twice.")
    lengths = {"thumbnails": sheet.n, "labels": len(labels)}
    if predictions is not None:
        lengths["predictions"] = len(predictions)
    lengths |= {title: len(values) for title, values in (numbers or {}).items()}
    for what, length in lengths.items():
        if length != len(shown):
            raise BadInput(f"The gallery got {len(shown)} pictures and {length} of “{what}”.")
    return shown


def _page_name(
    ids: np.ndarray,
    sheet: Sheet,
    class_names: tuple[str, ...],
    labels: np.ndarray,
    predictions: np.ndarray | None,
    numbers: Mapping[str, np.ndarray] | None,
) -> str:
    """A short name that is equal only for pages that look the same."""
    digest = sha256(sheet.data)
    digest.update("\x1f".join((*class_names, *(numbers or {}))).encode())
    for values in (ids, labels, predictions, *(numbers or {}).values()):
        digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def _page_payload(
    ids: np.ndarray,
    sheet: Sheet,
    class_names: Sequence[str],
    labels: np.ndarray,
    predictions: np.ndarray | None,
    numbers: Mapping[str, np.ndarray],
) -> bytes:
    said = labels if predictions is None else predictions
    parts: dict[str, bytes | np.ndarray] = {
        "sheet": sheet.data,
        "ids": ids.astype(np.float64),
        "labels": np.asarray(labels, np.int32),
        "predictions": np.asarray(said, np.int32),
    }
    for place, values in enumerate(numbers.values()):
        parts[f"number{place}"] = np.asarray(values, np.float64)
    header = {
        "mime": sheet.mime,
        "tileWidth": sheet.tile_width,
        "tileHeight": sheet.tile_height,
        "columns": sheet.columns,
        "classNames": list(class_names),
        "hasPredictions": predictions is not None,
        "numbers": list(numbers),
    }
    return pack(header, parts)
