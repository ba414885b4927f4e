"""What a run's events say so far, as plain data to draw. Knows no Streamlit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pages.widgets.charts import thin
from pages.widgets.words import percent

Event = Mapping[str, Any]
PARTS = {"Forget": "forget_accuracy", "Retain": "retain_accuracy", "Held-out": "heldout_accuracy"}


@dataclass(frozen=True)
class RunProgress:
    """Where a run is."""

    stage: str = ""
    text: str = ""
    done: int = 0
    of: int = 0
    seconds_left: float | None = None
    """Estimate for the stage; None before it can be had."""
    step: int = 0
    """Steps of the method so far."""
    n_steps: int = 0
    """Steps of the method at the most."""
    weights: Mapping[str, float] | None = None
    """n, used, low, mean, high"""
    probes: list[Event] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    reports: list[Mapping[str, float | None]] = field(default_factory=list)
    """Rows of the method's own table."""


def read_progress(events: Iterable[Event]) -> RunProgress:
    """The state that these events, in order, lead to."""
    stage, text, done, of, weights = "", "", 0, 0, None
    step = n_steps = 0
    began = now = 0.0
    probes: list[Event] = []
    losses: list[tuple[int, float]] = []
    reports: list[Mapping[str, float | None]] = []
    for event in events:
        kind, now = event["event"], event.get("at_s", now)
        if kind == "stage":
            stage, text, done, of, began = event["stage"], event["text"], 0, 0, now
        elif kind == "progress":
            text, done, of = event["text"], event["done"], event["of"]
        elif kind == "step":
            done, of = event["number"], event["of"]
            step, n_steps = done, of
            weights = event["weights"] or weights
            losses.append((done, event["loss"]))
        elif kind == "probe":
            probes.append(event)
        elif kind == "report":
            reports.append(event["row"])
    left = (now - began) / done * (of - done) if done and of and now > began else None
    return RunProgress(
        stage, text, done, of, left, step, n_steps, weights, thin(probes), thin(losses), reports
    )


def accuracy_rows(probes: Iterable[Event]) -> list[dict[str, Any]]:
    """Rows of `charts.accuracy_curves`: step, part, accuracy; what was not measured is left out."""
    return [
        {"step": probe["number"], "part": part, "accuracy": probe[name]}
        for probe in probes
        for part, name in PARTS.items()
        if probe.get(name) is not None
    ]


def path_rows(probes: Iterable[Event]) -> list[dict[str, Any]]:
    """Rows of `charts.trade_off`: step, forget, retain."""
    return [
        {
            "step": probe["number"],
            "forget": probe["forget_accuracy"],
            "retain": probe["retain_accuracy"],
        }
        for probe in probes
        if probe["forget_accuracy"] is not None and probe["retain_accuracy"] is not None
    ]


def in_words(progress: RunProgress) -> str:
    """One sentence on the curves so far."""
    if not progress.probes:
        return "The first accuracies come with the first step."
    first, last = progress.probes[0], progress.probes[-1]

    def change(name: str) -> str:
        if first.get(name) is None or last.get(name) is None:
            return "is not known"
        if last["number"] == first["number"]:
            return f"is {percent(last[name])}"
        return f"is {percent(last[name])} ({percent(first[name])} before)"

    return (
        f"After {last['number']:,} steps, accuracy on the pictures to be forgotten "
        f"{change('forget_accuracy')}, on those to be kept {change('retain_accuracy')}, on "
        f"held-out pictures of the classes still to be known {change('heldout_accuracy')}. "
        f"Looked at: {last['n_forget']:,}, {last['n_retain']:,} and {last['n_heldout']:,} of them."
    )
