"""Styles of Plotly figures that mean one thing on every page; the colours are those of `charts`."""

from __future__ import annotations

from typing import Any

from pages.widgets.charts import FORGET, HELDOUT, LINES, ORIGINAL, RETAIN, RETRAINED, UNLEARNED

__all__ = ["FORGET", "HELDOUT", "ORIGINAL", "RETAIN", "RETRAINED", "UNLEARNED"]

SEQUENTIAL = [[0.0, "rgba(0,114,178,0)"], [1.0, "rgba(0,114,178,0.55)"]]
SIGNED = [
    [0.0, "rgba(0,114,178,0.55)"],
    [0.5, "rgba(128,128,128,0)"],
    [1.0, "rgba(213,94,0,0.55)"],
]
"""Zero is see-through and the ends half so: text reads on them on a light and on a dark page."""

MARGIN = {"l": 10, "r": 10, "t": 60, "b": 10}
LEGEND = {"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0}

WIDTHS = {"original": 2, "unlearned": 3, "retrained": 1.5}
SYMBOLS = {"original": "circle-open", "unlearned": "diamond", "retrained": "square-open"}


def kind(model: str) -> str:
    """`original`, `unlearned` or `retrained` of a model's name on screen."""
    return model.split()[0].lower()


def line(model: str) -> dict[str, Any]:
    """Original grey and dotted, unlearned strong and solid, retrained dashed."""
    return {**LINES[kind(model)], "width": WIDTHS[kind(model)]}


def marker(model: str) -> dict[str, Any]:
    """The same three by shape."""
    style = {"color": LINES[kind(model)]["color"], "symbol": SYMBOLS[kind(model)], "size": 11}
    return {**style, "line": {"width": 2}} if "open" in SYMBOLS[kind(model)] else style
