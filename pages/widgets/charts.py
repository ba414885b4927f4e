"""Charts with one meaning for each colour and dash, on every page.

Forget orange, retain blue, held-out green, protected pink; the original grey and dotted, the
unlearned model strong and solid, retrained models dashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

FORGET, RETAIN, HELDOUT, PROTECTED = "#D55E00", "#0072B2", "#009E73", "#CC79A7"
ORIGINAL, UNLEARNED, RETRAINED = "#808890", "#2876B3", "#B58900"
LINES = {
    "original": {"color": ORIGINAL, "dash": "dot"},
    "unlearned": {"color": UNLEARNED, "dash": "solid"},
    "retrained": {"color": RETRAINED, "dash": "dash"},
}
"""Line styles of Plotly for the three kinds of model."""

PARTS = {"Forget": FORGET, "Retain": RETAIN, "Held-out": HELDOUT}
DASHES = {"Forget": [1, 0], "Retain": [6, 3], "Held-out": [2, 2]}
HEIGHT = 300
MOST_POINTS = 500


def thin(rows: Sequence[Any], most: int = MOST_POINTS) -> list[Any]:
    """At most about `most` of the rows, evenly, with the first and the last."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def _steps() -> alt.X:
    """The axis of the steps so far. No limits are given: with the same specification the browser
    keeps the chart and takes in the new rows, with another it builds a new one."""
    import altair as alt

    scale, axis = alt.Scale(zero=True, nice=False), alt.Axis(tickMinStep=1, format=",d")
    return alt.X("step:Q", title="Steps", scale=scale, axis=axis)


def accuracy_curves(frame: pd.DataFrame) -> alt.Chart:
    """Accuracy against steps. Columns: step, part (a key of PARTS), accuracy (0 to 1)."""
    import altair as alt

    named = alt.Scale(domain=list(PARTS), range=list(PARTS.values()))
    dashed = alt.Scale(domain=list(DASHES), range=list(DASHES.values()))
    legend = alt.Legend(orient="top", symbolType="stroke", symbolSize=80, columnPadding=4)
    return (
        alt.Chart(frame, height=HEIGHT)
        .mark_line(strokeWidth=2.5, interpolate="linear")
        .encode(
            x=_steps(),
            y=alt.Y(
                "accuracy:Q",
                title="Accuracy",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%"),
            ),
            color=alt.Color("part:N", scale=named, title=None, legend=legend),
            strokeDash=alt.StrokeDash("part:N", scale=dashed, title=None, legend=legend),
            tooltip=[
                alt.Tooltip("part:N", title="Pictures"),
                alt.Tooltip("step:Q", title="Step"),
                alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
            ],
        )
    )


def trade_off(frame: pd.DataFrame) -> alt.LayerChart:
    """Retain against forget accuracy, step by step. Columns: step, forget, retain (0 to 1)."""
    import altair as alt

    percent = alt.Axis(format="%")
    # A change of a tenth of a point should look like one.
    lowest = min(0.9, float(frame["retain"].min()) - 0.02) if len(frame) else 0.0
    base = alt.Chart(frame, height=HEIGHT).encode(
        x=alt.X(
            "forget:Q",
            title="Forget accuracy",
            scale=alt.Scale(domain=[0, 1], reverse=True),
            axis=percent,
        ),
        y=alt.Y(
            "retain:Q",
            title="Retain accuracy",
            scale=alt.Scale(domain=[max(0.0, lowest), 1]),
            axis=percent,
        ),
        order=alt.Order("step:Q"),
        tooltip=[
            alt.Tooltip("step:Q", title="Step"),
            alt.Tooltip("forget:Q", title="Forget accuracy", format=".1%"),
            alt.Tooltip("retain:Q", title="Retain accuracy", format=".1%"),
        ],
    )
    line = base.mark_line(color=UNLEARNED, strokeWidth=2.5)
    now = (
        base.transform_window(rank="rank()", sort=[alt.SortField("step", order="descending")])
        .transform_filter("datum.rank === 1")
        .mark_point(color=UNLEARNED, filled=True, size=110, opacity=1)
    )
    return line + now


def loss_curve(frame: pd.DataFrame) -> alt.Chart:
    """The method's loss against steps. Columns: step, loss."""
    import altair as alt

    return (
        alt.Chart(frame, height=150)
        .mark_line(color=UNLEARNED, strokeWidth=1.5)
        .encode(
            x=_steps(),
            y=alt.Y("loss:Q", title="Loss", scale=alt.Scale(zero=False)),
            tooltip=[
                alt.Tooltip("step:Q", title="Step"),
                alt.Tooltip("loss:Q", title="Loss", format=".4g"),
            ],
        )
    )


def class_bars(names: list[str], counts: list[int]) -> alt.Chart:
    """How many pictures of the forget set lie in each class."""
    import altair as alt
    import pandas as pd

    frame = pd.DataFrame({"class": names, "count": counts})
    few = len(names) <= 20
    return (
        alt.Chart(frame, height=110)
        .mark_bar(color=FORGET)
        .encode(
            x=alt.X("class:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, labels=few)),
            y=alt.Y("count:Q", title=None, axis=alt.Axis(tickCount=3, format="d")),
            tooltip=[
                alt.Tooltip("class:N", title="Class"),
                alt.Tooltip("count:Q", title="Pictures", format=",d"),
            ],
        )
    )
