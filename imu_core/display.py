"""How numbers and metrics read for people: at most three digits, per cent with one decimal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

METRIC_TITLES = {
    "forget_accuracy": "Forget accuracy",
    "retain_accuracy": "Retain accuracy",
    "test_accuracy": "Test accuracy, classes still to be known",
    "test_accuracy_all": "Test accuracy, all classes",
    "membership_auc": "Membership attack, area under the curve",
    "membership_tpr_at_1": "Membership attack, found at 1 % false alarms",
    "probe_forget_accuracy": "Probe on the features of the forget set",
    "forget_loss": "Loss on the forget set",
}
METRIC_SENTENCES = {
    "forget_accuracy": "Share of the forget set that the model still names right.",
    "retain_accuracy": "Share of the other training pictures that it names right.",
    "test_accuracy": "Share of the test pictures named right, without the classes that are to be "
    "forgotten whole. The answer may be any class.",
    "test_accuracy_all": "The same over the test pictures of all classes.",
    "membership_auc": "How well a threshold on the scaled logit margin tells forget pictures from "
    "held-out ones of the same classes, equally many of each: 0.5 is no better than chance.",
    "membership_tpr_at_1": "Share of the forget set found by that attack when 1 % of the held-out "
    "pictures are found too: 1 % is chance.",
    "probe_forget_accuracy": "A linear classifier trained on the model's features of held-out "
    "pictures names the forget pictures: what the features still know, whatever the head says.",
    "forget_loss": "Mean cross-entropy on the forget set.",
}
REPORT_TITLES = {
    "request_accuracy": "Accuracy on this request",
    "earlier_accuracy": "On all earlier requests",
    "retain_accuracy": "Retain accuracy",
    "heldout_accuracy": "Held-out accuracy",
}
PLAIN = frozenset({"membership_auc", "forget_loss"})
"""Metrics that are not shares and so are not shown as per cent."""


def number(value: float) -> str:
    """Up to three significant digits, without an exponent between 0.001 and 100,000."""
    sign, size = "−" if value < 0 else "", abs(value)
    if size and not 1e-3 <= size < 1e5:
        return f"{sign}{size:.2e}"
    return f"{sign}{size:.3g}" if size < 1000 else f"{sign}{size:,.0f}"


def quoted(names: Sequence[str], most: int = 10) -> str:
    """`“a”, “b”`, and how many more there are beyond `most`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"“{name}”" for name in names[:most]) + more


def seconds(value: float) -> str:
    """`0.8 s`, `42 s`, `3 min 20 s`."""
    if value < 60:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def metric_title(name: str) -> str:
    """The heading of a metric; an unknown one reads as its name."""
    return METRIC_TITLES.get(name, name.replace("_", " ").capitalize())


def metric_names(*metrics: Mapping[str, Any]) -> list[str]:
    """Names of the metrics found in any of these, the known ones first and in their order."""
    found = {name for one in metrics for name in one if name != "detail"}
    known = [name for name in METRIC_TITLES if name in found]
    return known + sorted(found - set(known))


def metric(name: str, value: float | None) -> str:
    """A value of this metric as text; a missing one is a dash."""
    if value is None:
        return "–"
    return number(value) if name in PLAIN else f"{100 * value:.1f} %"


def report_table(
    rows: Sequence[Mapping[str, float | None]],
) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of a method's own table: whole numbers are counts, others shares."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    headings = [REPORT_TITLES.get(name, name.replace("_", " ").capitalize()) for name in names]
    return headings, [[_cell(row.get(name)) for name in names] for row in rows]


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.1f} %"


def metric_with_interval(name: str, metrics: Mapping[str, Any]) -> str:
    """`91.2 % [89.3, 92.9], n = 1,021`, or why there is no number."""
    detail = metrics.get("detail", {}).get(name, {})
    value = metrics.get(name)
    if value is None:
        return str(detail.get("why") or "–")
    text = metric(name, value)
    low, high = detail.get("low"), detail.get("high")
    if low is not None and high is not None:
        ends = (low, high) if name in PLAIN else (100 * low, 100 * high)
        form = "{:.3g}" if name in PLAIN else "{:.1f}"
        text += f" [{form.format(ends[0])}, {form.format(ends[1])}]"
    return text + (f", n = {detail['n']:,}" if detail.get("n") else "")
