"""The verdict in words, the table of metrics, and what the run cost."""

from __future__ import annotations

from typing import Any

import streamlit as st

from imu_core import display
from imu_core.evaluation.accuracy import per_class
from imu_core.replay import replay_command
from imu_core.report import findings, report_html
from pages.widgets import compare_figures, explain
from pages.widgets.comparison import Comparison

SYMBOLS = {
    "reached": (":material/check_circle:", "blue"),
    "partly": (":material/contrast:", "orange"),
    "not reached": (":material/warning:", "orange"),
    "cannot say": (":material/help:", "gray"),
}


def draw(comparison: Comparison) -> None:
    _verdict(comparison)
    _table(comparison)
    left, right = st.columns(2)
    with left:
        _path(comparison)
    with right:
        _classes(comparison)
    _what_was_run(comparison)


def _verdict(comparison: Comparison) -> None:
    st.subheader("Verdict")
    for finding in findings(comparison.run):
        icon, colour = SYMBOLS[finding.level]
        level, sentence = st.columns([1, 7], vertical_alignment="top")
        level.badge(finding.level, icon=icon, color=colour)
        sentence.markdown(f"**{finding.title}.** {finding.sentence}")


def _table(comparison: Comparison) -> None:
    metrics = comparison.metrics
    before, after, retrained = metrics["before"], metrics["after"], metrics["retrained"]
    rows = [_row(name, before, after, retrained, metrics["floor"]) for name in _names(before)]
    st.subheader("Metrics")
    st.table(rows, alt="Metrics of the original, the unlearned and the retrained models")
    n = len(retrained)
    floor = (
        f"The floor is how far the {n} retrained models differ among themselves: "
        "a difference below it says nothing."
        if n > 1
        else "With fewer than two retrained models there is no floor to read a difference against."
    )
    st.markdown(f"In brackets the 95 % interval, then how many pictures a number rests on. {floor}")
    explain.how(
        "\n".join(
            f"- **{display.metric_title(name)}**: {display.METRIC_SENTENCES[name]}"
            for name in _names(before)
            if name in display.METRIC_SENTENCES
        )
        + "\n\nShares have exact (Clopper–Pearson) intervals over the sampling of pictures. None "
        "of the intervals covers the chance of another training seed: that "
        "is the floor's part.",
        key="compare:metrics",
    )


def _names(metrics: dict[str, Any]) -> list[str]:
    return display.metric_names(metrics)


def _row(
    name: str,
    before: dict[str, Any],
    after: dict[str, Any],
    retrained: list[dict[str, Any]],
    floor: dict[str, Any],
) -> dict[str, str]:
    values = [one[name] for one in retrained if one.get(name) is not None]
    if not values:
        reference = "–" if not retrained else display.metric_with_interval(name, retrained[0])
    else:
        spread = (
            ""
            if len(values) < 2
            else " ("
            + " to ".join(display.metric(name, value) for value in (min(values), max(values)))
            + ")"
        )
        reference = display.metric(name, sum(values) / len(values)) + spread
    gap = floor.get(name, {}).get("mean")
    return {
        "Metric": display.metric_title(name),
        "Original": display.metric_with_interval(name, before),
        "Unlearned": display.metric_with_interval(name, after),
        f"Retrained, mean of {len(retrained)}": reference,
        "Floor": "–" if gap is None else f"± {display.metric(name, gap)}",
    }


def _path(comparison: Comparison) -> None:
    probes = [event for event in comparison.run.events() if event["event"] == "probe"]
    probes = [probe for probe in probes if probe.get("retain_accuracy") is not None]
    st.subheader("The path")
    if not probes:
        st.info("This run kept no path.")
        return
    retrained = [one["retain_accuracy"] for one in comparison.metrics["retrained"]]
    figure = compare_figures.path_figure(probes, retrained)
    st.plotly_chart(figure, key="path", alt="Retain accuracy against forget accuracy by step")
    first, last = probes[0], probes[-1]
    record = comparison.record
    st.markdown(
        f"Over {record['steps']:,} steps forget accuracy went from "
        f"{first['forget_accuracy']:.1%} to {last['forget_accuracy']:.1%}, retain accuracy from "
        f"{first['retain_accuracy']:.1%} to {last['retain_accuracy']:.1%} "
        f"(probed on {last['n_forget']:,} and {last['n_retain']:,} pictures). Two methods are "
        "to be compared where their paths reach the same forget accuracy."
    )


def _classes(comparison: Comparison) -> None:
    images = comparison.images
    labels = images.test_labels.numpy()
    accuracies = {
        name: [one.value for one in per_class(labels, outputs.test_logits, images.n_classes)]
        for name, outputs in comparison.models.items()
    }
    chosen = {int(label) for label in images.train_labels[comparison.run.forget_ids].unique()}
    whole = set() if len(chosen) == images.n_classes else chosen
    st.subheader("Test accuracy by class")
    figure = compare_figures.class_figure(accuracies, comparison.class_names, whole)
    st.plotly_chart(figure, key="classes", alt="Test accuracy of every class and model")
    losses = {
        label: (accuracies["Original"][label] or 0) - (accuracies["Unlearned"][label] or 0)
        for label in range(images.n_classes)
        if label not in whole
    }
    n = len(labels) // images.n_classes
    if losses:
        worst = max(losses, key=lambda label: losses[label])
        st.markdown(
            f"Outside the forget set the class that lost most is "
            f"{comparison.class_names[worst]}: {100 * losses[worst]:.1f} points on about {n:,} "
            "test pictures."
        )


def _what_was_run(comparison: Comparison) -> None:
    record = comparison.record
    seconds = record["seconds"]
    retrain = seconds["retrain"]
    st.subheader("What was run")
    parts = [
        f"{record['method']['title']} took {display.seconds(seconds['method'])} "
        f"on {record['device']}",
        f"evaluation {display.seconds(seconds['evaluation'])}",
    ]
    if retrain:
        mean = sum(retrain) / len(retrain)
        parts.append(f"retraining {display.seconds(mean)} a model ({len(retrain)} of them)")
    st.markdown(", ".join(parts) + f". It stopped {record['stop']['sentence']}.")
    if not record["stop"]["reached"]:
        st.warning("The stop rule was not met: the method ran out of its own steps first.")
    st.code(
        replay_command(comparison.run, comparison.images),
        language="shell",
        wrap_lines=True,
        height=90,
    )
    with st.container(horizontal=True):
        if record["state"] == "done":
            st.download_button(
                "Evidence file",
                data=lambda: report_html(comparison.run),
                file_name=f"{comparison.run.id}.html",
                mime="text/html",
                icon=":material/description:",
                on_click="ignore",
            )
    with st.expander("Configuration, fingerprints, versions", icon=":material/fingerprint:"):
        shown = {k: v for k, v in record.items() if k != "spec"}
        spec = {k: v for k, v in record["spec"].items() if k != "forget_ids"}
        st.json({**shown, "spec": spec}, expanded=1)
