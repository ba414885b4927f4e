"""Figures of the Inspect page. Colours mean the same everywhere: see `palette`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.widgets import palette

N_BINS = 40
# Predictions are of the retrained head, so they have its colour, the leading one in full.
KINDS = {
    "Newton step": {"color": palette.RETRAINED},
    "Influence sum": {
        "color": palette.RETRAINED,
        "opacity": 0.55,
        "pattern": {"shape": "/", "solidity": 0.35},
    },
    "Steps to the end": {
        "color": "rgba(181,137,0,0.12)",
        "line": {"color": palette.RETRAINED, "width": 2},
    },
}


def weights_figure(scores: np.ndarray, weights: np.ndarray, clip: float) -> go.Figure:
    """Histograms of IMU influence and weights: used pictures orange, dropped ones grey."""
    titles = ["influence I of each picture", "weight w of each picture"]
    figure = make_subplots(1, 2, horizontal_spacing=0.07)
    dropped = weights == 0
    for column, values in enumerate((scores, weights), start=1):
        edges = np.histogram_bin_edges(values, min(N_BINS, max(5, len(values) // 3)))
        middles = (edges[:-1] + edges[1:]) / 2
        for name, mask, colour in (
            ("used", ~dropped, palette.FORGET),
            ("dropped", dropped, palette.ORIGINAL),
        ):
            figure.add_bar(
                x=middles,
                y=np.histogram(values[mask], edges)[0],
                width=np.diff(edges),
                name=name,
                marker={"color": colour, "line": {"width": 0}},
                showlegend=column == 1 and bool(mask.any()) and bool(dropped.any()),
                hovertemplate=f"about %{{x:.3g}}<br>%{{y:,}} {name}<extra></extra>",
                row=1,
                col=column,
            )
    if np.isfinite(clip):
        figure.add_vline(
            x=clip,
            line={"dash": "dot", "color": palette.ORIGINAL},
            annotation_text="clipped here",
            annotation_position="top left",
            row=1,
            col=2,
        )
    for column, title in enumerate(titles, start=1):
        figure.update_xaxes(title_text=title, row=1, col=column)
    figure.update_yaxes(title_text="pictures", col=1)
    figure.update_layout(
        height=300, barmode="stack", bargap=0.02, margin=palette.MARGIN, legend=palette.LEGEND
    )
    return figure


def class_figure(
    changes: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    chosen: np.ndarray,
    measure: str,
) -> go.Figure:
    """Predicted change of every class, the kinds of prediction side by side."""
    names = [
        f"{name} (forget)" if inside else name
        for name, inside in zip(class_names, chosen, strict=True)
    ]
    points = measure == "Accuracy"
    figure = go.Figure()
    for kind, values in changes.items():
        figure.add_bar(
            x=names,
            y=100 * values if points else values,
            name=kind,
            marker=KINDS[kind],
            hovertemplate=f"{kind}<br>%{{x}}: %{{y:+.2f}}<extra></extra>",
        )
    figure.add_hline(y=0, line={"color": palette.ORIGINAL, "width": 1})
    title = "change of test accuracy, points" if points else "change of mean margin"
    figure.update_xaxes(type="category")
    figure.update_yaxes(title_text=title)
    figure.update_layout(
        height=340, barmode="group", bargap=0.25, margin=palette.MARGIN, legend=palette.LEGEND
    )
    return figure


def agreement_figure(
    measured: Mapping[str, np.ndarray], predicted: np.ndarray, text: Sequence[str]
) -> go.Figure:
    """Predicted against measured change of every picture's margin, and the line where they meet."""
    figure = go.Figure()
    everything = np.concatenate([predicted, *measured.values()])
    ends = [float(everything.min()), float(everything.max())]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        name="predicted = measured",
        line={"color": palette.ORIGINAL, "width": 1},
        hoverinfo="skip",
    )
    for name, values in measured.items():
        style = palette.marker(name)
        figure.add_scatter(
            x=values,
            y=predicted,
            mode="markers",
            name=f"{name} minus original",
            marker={**style, "size": 7, "opacity": 0.6, "line": {"width": 1}},
            text=text,
            hovertemplate=f"%{{text}}<br>{name.lower()} %{{x:+.2f}}<br>predicted %{{y:+.2f}}"
            "<extra></extra>",
        )
    figure.update_xaxes(title_text="measured change of the margin", zeroline=True)
    figure.update_yaxes(title_text="predicted change of the margin", zeroline=True)
    figure.update_layout(height=420, margin=palette.MARGIN, legend=palette.LEGEND)
    return figure


def memorisation_figure(value: np.ndarray, others: np.ndarray) -> go.Figure:
    """Memorisation of the forget pictures above, of all other training pictures below."""
    edges = np.linspace(-1, 1, 41)
    middles = (edges[:-1] + edges[1:]) / 2
    figure = go.Figure()
    for name, values, colour, sign in (
        ("forget", value, palette.FORGET, 1),
        ("retain", others, palette.RETAIN, -1),
    ):
        share = np.histogram(values, edges)[0] / max(1, len(values))
        figure.add_bar(
            x=middles,
            y=sign * share,
            customdata=share,
            name=name,
            marker={"color": colour, "pattern": {"shape": "" if sign > 0 else "/"}},
            hovertemplate=f"{name}<br>about %{{x:.2f}}<br>%{{customdata:.1%}}<extra></extra>",
        )
    figure.update_xaxes(title_text="memorisation: right when trained on, minus when left out")
    figure.update_yaxes(title_text="share of pictures", tickformat=".0%")
    figure.update_layout(
        height=280, barmode="relative", bargap=0.05, margin=palette.MARGIN, legend=palette.LEGEND
    )
    return figure
