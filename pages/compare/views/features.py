"""One map of the features of all models, and how far the pictures moved on it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from imu_core import display
from imu_core.evaluation.alignment import Movement, SharedMap, movement, shared_pca
from imu_core.evaluation.representation import linear_cka
from pages.widgets import compare_figures, explain
from pages.widgets.comparison import Comparison

MOST_RETAIN, MOST_FORGET = 1500, 600


def draw(comparison: Comparison) -> None:
    models = comparison.models
    shared = _map(comparison)
    is_forget = np.zeros(comparison.images.n_train, dtype=bool)
    is_forget[comparison.forget] = True
    names = [comparison.class_names[label] for label in comparison.images.train_labels.tolist()]
    st.plotly_chart(
        compare_figures.map_figure(shared, list(models), is_forget, names),
        key="features-map",
        alt="Features of the same pictures in every model on one pair of axes",
    )
    axes = float(shared.explained[:2].sum())
    n_forget = int(is_forget[shared.rows].sum())
    st.markdown(
        f"{n_forget:,} forget and {len(shared.rows) - n_forget:,} retain pictures, the same in "
        f"every panel. The two axes carry {axes:.0%} of what varies in the original's features."
    )
    _movements(comparison)
    _probe(comparison)
    _how(shared, list(models))


def _map(comparison: Comparison) -> SharedMap:
    generator = np.random.default_rng(0)
    rows = np.concatenate(
        [
            generator.permutation(comparison.retain)[:MOST_RETAIN],
            generator.permutation(comparison.forget)[:MOST_FORGET],
        ]
    )
    features = [outputs.train_features for outputs in comparison.models.values()]
    return shared_pca(features, comparison.retain, rows=np.sort(rows))


def _movements(comparison: Comparison) -> None:
    before = comparison.before.train_features
    others = {"Unlearned": comparison.after}
    others |= {f"Retrained {i + 1}": one for i, one in enumerate(comparison.retrained[:3])}
    movements = {
        name: movement(before, one.train_features, comparison.forget, comparison.retain)
        for name, one in others.items()
    }
    st.subheader("How far the pictures moved")
    st.plotly_chart(
        compare_figures.movement_figure(movements),
        key="features-movement",
        alt="Distance of forget and retain pictures from where the original had them",
    )
    st.markdown(_movement_sentence(movements))


def _movement_sentence(movements: dict[str, Movement]) -> str:
    mine = movements["Unlearned"]
    forget, retain = (float(np.median(part)) for part in (mine.forget, mine.retain))
    if forget == retain == 0:
        text = (
            "Nothing moved: the features of the unlearned model are exactly the original's. "
            "The method changed the classifier head alone."
        )
    else:
        text = (
            f"In the unlearned model the median forget picture moved {forget:.2f}, the median "
            f"retain picture {retain:.2f}."
        )
    other = next((one for name, one in movements.items() if name != "Unlearned"), None)
    if other is None:
        return text + " There is no retrained model to say how far they should have moved."
    forget, retain = (float(np.median(part)) for part in (other.forget, other.retain))
    return (
        f"{text} In a model retrained without them forget pictures moved {forget:.2f}, and retain "
        f"pictures {retain:.2f} by training anew alone."
    )


def _probe(comparison: Comparison) -> None:
    metrics = comparison.metrics
    name = "probe_forget_accuracy"
    values = {
        "the original": metrics["before"],
        "the unlearned model": metrics["after"],
        **{f"retrained model {i + 1}": one for i, one in enumerate(metrics["retrained"][:3])},
    }
    st.subheader("What the features still know")
    st.markdown(
        "A linear probe, trained on held-out pictures with their labels, names the forget pictures "
        "from the features of "
        + "; ".join(f"{who}: {display.metric_with_interval(name, m)}" for who, m in values.items())
        + ". The retrained model's probe finds them as well, so read the unlearned one between the "
        "two, not against zero."
    )
    features = comparison.after.train_features
    others = {"the original": comparison.before.train_features}
    if comparison.retrained:
        others["a retrained model"] = comparison.retrained[0].train_features
    rows = comparison.forget[:2000]
    alike = {
        who: linear_cka(features[rows], one[rows], debiased=len(rows) > 10)
        for who, one in others.items()
    }
    told = [f"{who} {value:.2f}" for who, value in alike.items() if value is not None]
    if told:
        st.caption(
            f"Likeness of the features on {len(rows):,} forget pictures (linear CKA, 1 = the same "
            f"up to rotation) to {', to '.join(told)}."
        )


def _how(shared: SharedMap, names: list[str]) -> None:
    residuals = ", ".join(
        f"{name} {residual:.0%}" for name, residual in zip(names, shared.residuals, strict=True)
    )
    explain.how(
        "A model trained anew has its features in another basis, so two separate maps would show "
        "differences that are none. Every model's features are centred, scaled and rotated onto "
        "the original's by the retain pictures (orthogonal Procrustes); one PCA, fitted on the "
        "original, then places them all. Share of the original that the rotation leaves "
        f"unexplained: {residuals}. Movement is measured in the full space, not on the map.",
        formula=r"\min_{Q^\top Q = I} \lVert H_{\mathrm{model}} Q - H_{\mathrm{original}}\rVert_F",
        key="features:how",
    )
