"""Figures of the Compare pages. Colours and dashes mean the same everywhere: see `palette`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.widgets import palette

if TYPE_CHECKING:
    from imu_core.evaluation.alignment import Movement, SharedMap
    from imu_core.evaluation.membership import Membership

MOST_NAMES = 25


def confusion_figure(
    matrices: Mapping[str, np.ndarray], class_names: Sequence[str], *, difference: bool = False
) -> go.Figure:
    """Heat maps side by side: rows are true classes, columns what the model says.

    A cell is the share of its row; the count stands in it while there is room. With `difference`
    the cells are signed counts on a scale centred at zero.
    """
    names = list(class_names)
    figure = make_subplots(
        1, len(matrices), subplot_titles=list(matrices), shared_yaxes=True, horizontal_spacing=0.03
    )
    most = max(1, max(int(np.abs(matrix).max()) for matrix in matrices.values()))
    for column, matrix in enumerate(matrices.values(), start=1):
        rows = matrix.sum(axis=1, keepdims=True)
        shares = np.divide(matrix, rows, out=np.zeros(matrix.shape), where=rows > 0)
        figure.add_heatmap(
            z=matrix if difference else shares,
            x=names,
            y=names,
            customdata=matrix,
            hovertemplate="true %{y}<br>called %{x}<br>%{customdata:,} pictures<extra></extra>",
            colorscale=palette.SIGNED if difference else palette.SEQUENTIAL,
            zmin=-most if difference else 0,
            zmax=most if difference else 1,
            showscale=False,
            row=1,
            col=column,
        )
        if len(names) <= MOST_NAMES:
            _write_counts(figure, matrix, names, column)
    for title in figure.layout.annotations:
        title.yshift = 8
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, type="category")
    figure.update_xaxes(
        showgrid=False, zeroline=False, type="category", tickangle=-45 if len(names[0]) > 2 else 0
    )
    figure.update_xaxes(showline=True, mirror=True, linecolor=palette.ORIGINAL, dtick=1)
    figure.update_yaxes(showline=True, mirror=True, linecolor=palette.ORIGINAL, dtick=1)
    figure.update_yaxes(title_text="true class", col=1)
    figure.update_layout(height=460 if not difference else 420, margin=palette.MARGIN)
    return figure


def _write_counts(figure: go.Figure, matrix: np.ndarray, names: list[str], column: int) -> None:
    """Puts the counts on a heat map, in the page's own text colour, which a cell's text is not."""
    rows, columns = np.nonzero(matrix)
    figure.add_scatter(
        x=[names[i] for i in columns],
        y=[names[i] for i in rows],
        text=[f"{matrix[i, j]:,}" for i, j in zip(rows, columns, strict=True)],
        mode="text",
        hoverinfo="skip",
        showlegend=False,
        row=1,
        col=column,
    )


def roc_figure(attacks: Mapping[str, Membership]) -> go.Figure:
    """ROC of the membership attack on each model, both axes logarithmic, and the line of chance."""
    figure = go.Figure()
    least = 1e-3
    n = max(attack.n for attack in attacks.values())
    for name, attack in attacks.items():
        figure.add_scatter(
            x=np.maximum(attack.fpr, least),
            y=np.maximum(attack.tpr, least),
            mode="lines",
            name=name,
            line=palette.line(name) | {"shape": "hv"},
            hovertemplate=f"{name}<br>false alarms %{{x:.1%}}<br>found %{{y:.1%}}<extra></extra>",
        )
    chance = np.geomspace(least, 1, 50)
    figure.add_scatter(
        x=chance,
        y=chance,
        mode="lines",
        name="chance",
        line={"color": palette.ORIGINAL, "width": 1},
    )
    # Left of one false alarm there is nothing to see.
    left = max(np.log10(least), -np.log10(n) - 0.1)
    ticks = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]
    axis = {"type": "log", "range": [left, 0.02], "tickvals": ticks, "tickformat": "~%"}
    figure.update_xaxes(title_text="false alarms: held-out pictures taken for members", **axis)
    figure.update_yaxes(title_text="forget pictures found", **axis)
    figure.update_layout(height=420, margin=palette.MARGIN, legend=palette.LEGEND)
    return figure


def phi_figure(samples: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """For each model the attack's statistic on forget pictures (up) and held-out ones (down)."""
    figure = make_subplots(
        1, len(samples), subplot_titles=list(samples), shared_yaxes=True, horizontal_spacing=0.03
    )
    everything = np.concatenate([part for pair in samples.values() for part in pair])
    low, high = np.quantile(everything, [0.002, 0.998])
    edges = np.linspace(low, max(high, low + 1e-6), 41)
    middles = (edges[:-1] + edges[1:]) / 2
    for column, (inside, outside) in enumerate(samples.values(), start=1):
        for name, values, colour, sign in (
            ("forget", inside, palette.FORGET, 1),
            ("held-out", outside, palette.HELDOUT, -1),
        ):
            share = np.histogram(values.clip(low, high), edges)[0] / max(1, len(values))
            figure.add_bar(
                x=middles,
                y=sign * share,
                name=name,
                marker_color=colour,
                marker_pattern_shape="" if sign > 0 else "/",
                showlegend=column == 1,
                hovertemplate=f"{name}<br>φ = %{{x:.1f}}<br>%{{customdata:.1%}}<extra></extra>",
                customdata=share,
                row=1,
                col=column,
            )
    figure.update_layout(
        height=300, barmode="relative", bargap=0.05, margin=palette.MARGIN, legend=palette.LEGEND
    )
    figure.update_xaxes(title_text="φ: logit margin of the true class")
    figure.update_yaxes(title_text="share of pictures", tickformat=".0%", col=1)
    return figure


def map_figure(
    shared: SharedMap, names: Sequence[str], is_forget: np.ndarray, labels: Sequence[str]
) -> go.Figure:
    """One panel a model, the same pictures on the same axes: retain blue, forget orange."""
    figure = make_subplots(
        1,
        len(names),
        subplot_titles=list(names),
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.02,
    )
    text = np.array(labels)[shared.rows]
    flags = is_forget[shared.rows]
    for column, coordinates in enumerate(shared.coordinates, start=1):
        for name, mask, style in (
            ("retain", ~flags, {"color": palette.RETAIN, "size": 4, "opacity": 0.35}),
            ("forget", flags, {"color": palette.FORGET, "size": 6, "symbol": "diamond"}),
        ):
            figure.add_scatter(
                x=coordinates[mask, 0],
                y=coordinates[mask, 1],
                mode="markers",
                name=name,
                marker=style,
                showlegend=column == 1,
                customdata=np.stack([shared.rows[mask].astype(str), text[mask]], axis=1),
                hovertemplate="id %{customdata[0]}<br>%{customdata[1]}<extra></extra>",
                row=1,
                col=column,
            )
    figure.update_xaxes(showticklabels=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, zeroline=False)
    figure.update_layout(height=440, margin=palette.MARGIN, legend=palette.LEGEND)
    return figure


def movement_figure(movements: Mapping[str, Movement]) -> go.Figure:
    """Box plots of how far forget and retain pictures moved from the original, for each model."""
    figure = go.Figure()
    for part, colour in (("retain", palette.RETAIN), ("forget", palette.FORGET)):
        values = [getattr(move, part) for move in movements.values()]
        figure.add_box(
            x=np.concatenate(values),
            y=np.repeat(list(movements), [len(one) for one in values]),
            name=part,
            orientation="h",
            marker_color=colour,
            boxpoints=False,
        )
    figure.update_layout(
        height=110 + 90 * len(movements),
        boxmode="group",
        margin=palette.MARGIN,
        legend=palette.LEGEND,
    )
    figure.update_xaxes(
        title_text="distance from the original, in typical distances of a retain "
        "picture from the mean",
        rangemode="tozero",
    )
    return figure


def path_figure(probes: Sequence[Mapping[str, float]], retrained: Sequence[float]) -> go.Figure:
    """The whole path of the run: forget accuracy against retain accuracy, step by step."""
    figure = go.Figure()
    figure.add_scatter(
        x=[probe["forget_accuracy"] for probe in probes],
        y=[probe["retain_accuracy"] for probe in probes],
        customdata=[probe["number"] for probe in probes],
        mode="lines+markers",
        marker={"size": 5},
        line={"color": palette.UNLEARNED},
        name="this run",
        hovertemplate="step %{customdata}<br>forget %{x:.1%}<br>retain %{y:.1%}<extra></extra>",
    )
    figure.update_xaxes(title_text="forget accuracy", tickformat=".0%", range=[1.02, -0.02])
    figure.update_yaxes(title_text="retain accuracy", tickformat=".1%")
    if retrained:
        figure.add_hline(
            y=float(np.mean(retrained)),
            line={"dash": "dash", "color": palette.ORIGINAL},
            annotation_text="retrained",
        )
    figure.update_layout(height=320, margin=palette.MARGIN, showlegend=False)
    return figure


def class_figure(
    accuracies: Mapping[str, np.ndarray], class_names: Sequence[str], forget_classes: set[int]
) -> go.Figure:
    """Test accuracy a class and model; the classes of the forget set are marked in their names."""
    names = [
        f"{name} (forget)" if label in forget_classes else name
        for label, name in enumerate(class_names)
    ]
    figure = go.Figure()
    for name, values in accuracies.items():
        figure.add_scatter(
            x=names,
            y=values,
            mode="markers",
            name=name,
            marker=palette.marker(name),
            hovertemplate=f"{name}<br>%{{x}}: %{{y:.1%}}<extra></extra>",
        )
    figure.update_xaxes(type="category")
    figure.update_yaxes(title_text="test accuracy", tickformat=".0%", range=[0, 1.05])
    figure.update_layout(height=320, margin=palette.MARGIN, legend=palette.LEGEND)
    return figure
