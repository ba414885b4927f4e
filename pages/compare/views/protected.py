"""What became of the protected pictures: retain pictures that somebody wanted to watch."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from imu_core.evaluation.accuracy import accuracy
from imu_core.evaluation.estimate import mean
from imu_core.evaluation.watched import Watched, moved, moved_floor, watched
from pages.widgets import explain, palette, session, thumbnails
from pages.widgets.comparison import Comparison
from pages.widgets.words import percent, pictures

MOST_ROWS = 500


def draw(comparison: Comparison) -> None:
    ids, since = _ids(comparison)
    if not len(ids):
        st.info(
            "No picture was protected. On the Forget page choose the basket “Protect” and click "
            "the retain pictures that must not suffer, for example the nearest neighbours of the "
            "forget set; the runs started after that show here what became of them.",
            icon=":material/shield:",
        )
        return
    labels = comparison.images.train_labels.numpy()
    models = {name: watched(one.train_logits, labels, ids) for name, one in _models(comparison)}
    before, after = models["Original"], models["Unlearned"]
    st.markdown(_sentence(models, len(ids), since))
    st.table(
        _accuracies(comparison, models, ids),
        alt="Accuracy on the protected pictures and on all other retain pictures by model",
    )
    left, right = st.columns([2, 3])
    with left:
        st.plotly_chart(_figure(models, ids), key="protected", alt="Probability before and after")
        st.markdown(
            "Each point is a protected picture: how sure the original was of its true class, and "
            "how sure the model is now. On the diagonal nothing has changed; below it the picture "
            "has suffered."
        )
    with right:
        order = np.argsort(moved(before, after), kind="stable")[:MOST_ROWS]
        _pictures(comparison, models, ids, order)
    explain.how(
        "The protected pictures are retain pictures: the method was free to harm them and was "
        "told nothing of them. The probability is that of the true class after softmax. The "
        "floor is the mean absolute difference of that probability between two models retrained "
        "without the forget set: a smaller change says nothing. Pictures chosen for being near "
        "the forget set suffer more than others; the last column of the first table says how "
        "the rest of the retain set fared.",
        key="protected:how",
    )


def _ids(comparison: Comparison) -> tuple[np.ndarray, str]:
    """The protected ids of the run, else those protected now, and a clause that says which."""
    kept = comparison.record["spec"].get("protected_ids") or ()
    if len(kept):
        return np.array(kept, dtype=np.int64), "protected when the run was started"
    now = ()
    if session.images() == comparison.record["image_set"]["name"]:
        now = np.setdiff1d(np.array(session.protected_ids(), dtype=np.int64), comparison.forget)
    return np.asarray(now, dtype=np.int64), "protected now, after the run"


def _models(comparison: Comparison) -> list[tuple[str, Any]]:
    retrained = [(f"Retrained {i + 1}", one) for i, one in enumerate(comparison.retrained)]
    return [("Original", comparison.before), ("Unlearned", comparison.after), *retrained]


def _sentence(models: dict[str, Watched], n: int, since: str) -> str:
    before, after = models["Original"], models["Unlearned"]
    truth_lost = int(((before.probability >= 0.5) & (after.probability < 0.5)).sum())
    change = mean(moved(before, after))
    floor = moved_floor([one for name, one in models.items() if name.startswith("Retrained")])
    n_retrained = len(models) - 2
    which = "The two" if n_retrained == 2 else f"Two of the {n_retrained}"
    against = (
        f" {which} retrained models differ by {100 * floor:.1f} points on "
        "these pictures on average, up or down (the floor)."
        if floor is not None
        else " Without two retrained models there is no floor to read this against."
    )
    return (
        f"{pictures(n)}, {since}. The probability of the true class changed by "
        f"{_points(change.value)} points on average [{_points(change.low)}, "
        f"{_points(change.high)}]; {truth_lost:,} of {n:,} fell below one half.{against}"
    )


def _points(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:+.1f}".replace("-", "−")


def _accuracies(
    comparison: Comparison, models: dict[str, Watched], ids: np.ndarray
) -> list[dict[str, str]]:
    labels, others = comparison.images.train_labels.numpy(), np.setdiff1d(comparison.retain, ids)
    rows = []
    for name, outputs in _models(comparison):
        one = models[name]
        rest = accuracy(labels[others], outputs.train_logits[others])
        rows.append(
            {
                "Model": name,
                f"Accuracy, {len(ids):,} protected": _interval(one.accuracy),
                "Probability of the true class": _interval(one.mean_probability),
                f"Accuracy, {len(others):,} other retain pictures": _interval(rest),
            }
        )
    return rows


def _interval(estimate: Any) -> str:
    if estimate.value is None:
        return estimate.why
    low, high = max(0.0, estimate.low), min(1.0, estimate.high)
    return f"{percent(estimate.value)} [{percent(low)}, {percent(high)}]"


def _figure(models: dict[str, Watched], ids: np.ndarray) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": palette.ORIGINAL, "dash": "dot"},
        showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    for name in ("Retrained 1", "Unlearned"):
        if name in models:
            figure.add_scatter(
                x=models["Original"].probability,
                y=models[name].probability,
                customdata=ids,
                mode="markers",
                name=name,
                marker={**palette.marker(name), "size": 8},
                hovertemplate="id %{customdata}<br>%{x:.1%} before, %{y:.1%} now<extra></extra>",
            )
    figure.update_xaxes(title_text="original: probability of the true class", tickformat=".0%")
    figure.update_yaxes(
        title_text="now: probability of the true class", tickformat=".0%", range=[-0.03, 1.03]
    )
    figure.update_layout(height=380, margin=palette.MARGIN, legend=palette.LEGEND)
    return figure


def _pictures(
    comparison: Comparison, models: dict[str, Watched], ids: np.ndarray, order: np.ndarray
) -> None:
    """The pictures one by one, those that lost most first."""
    import pandas as pd

    images, names = comparison.images, np.array(comparison.class_names)
    chosen = ids[order]
    columns: dict[str, Any] = {
        "picture": thumbnails.addresses(images.name, tuple(chosen.tolist())),
        "id": chosen,
        "label": names[images.train_labels.numpy()[chosen]],
    }
    for name in ("Original", "Unlearned", "Retrained 1"):
        if name in models:
            called = models[name].called[order]
            columns[name] = [names[c] if c >= 0 else "nothing" for c in called]
    change = moved(models["Original"], models["Unlearned"])[order]
    columns["change"] = 100 * change
    st.dataframe(
        pd.DataFrame(columns),
        key="protected:pictures",
        hide_index=True,
        height=380,
        column_config={
            "picture": st.column_config.ImageColumn("", width="small"),
            "change": st.column_config.NumberColumn("change", format="%+.1f points"),
        },
    )
    hidden = len(ids) - len(order)
    st.caption(
        "What each model calls the picture, and by how much the probability of its true class "
        "rose or fell with unlearning; those that lost most stand first."
        + (f" {hidden:,} more are not listed." if hidden else "")
    )
