"""The form of a method's parameters, made from the registry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from imu_core.methods.registry import Method

WORDS = {"lr": "learning rate"}


def draw(method: Method) -> dict[str, Any]:
    """Draws a folded field for every parameter; their values.

    The ranges hold in the browser only: `method.config.from_mapping` checks the values again.
    """
    parameters = method.parameters()
    many = "parameter" if len(parameters) == 1 else "parameters"
    if not parameters:
        return {}
    with st.expander(f"{len(parameters)} {many}", icon=":material/tune:"):
        return {item["name"]: _field(method.name, item) for item in parameters}


def _field(method: str, item: dict[str, Any]) -> Any:
    name, default = item["name"], item["default"]
    label = WORDS.get(name, name.replace("_", " ")).capitalize()
    common = {"key": f"parameter:{method}:{name}", "help": _help(item), "persist_state": "session"}
    if item["choices"]:
        choices = list(item["choices"])
        return st.selectbox(label, choices, index=choices.index(default), **common)
    if item["kind"] == "bool":
        return st.checkbox(label, value=default, **common)
    if item["kind"] == "int":
        low, high = (None if item[key] is None else int(item[key]) for key in ("low", "high"))
        return st.number_input(
            label, value=int(default), min_value=low, max_value=high, step=1, **common
        )
    if item["kind"] == "float":
        low, high = (None if item[key] is None else float(item[key]) for key in ("low", "high"))
        return st.number_input(
            label,
            value=float(default),
            min_value=low,
            max_value=high,
            step=_step(float(default)),
            format="%g",
            **common,
        )
    return st.text_input(label, value=str(default), **common)


def _step(default: float) -> float:
    """One press of + or −: the place of the default's first digit, 0.01 when that is 0."""
    return 10.0 ** math.floor(math.log10(abs(default))) if default else 0.01


def _help(item: dict[str, Any]) -> str:
    low, high = item["low"], item["high"]
    bounds = f" From {low:g} to {high:g}." if low is not None and high is not None else ""
    return f"{item['doc']}{bounds} In the terminal: `--set {item['name']}={item['default']}`."
