"""The forget set: how its pictures weigh, and what their removal will do."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
import torch

from imu_core.display import number
from imu_core.influence.imu_scores import imu_scores, imu_weights
from imu_core.methods.imu import FORMULA, PAPER, ImuConfig
from pages.inspect import pictures
from pages.inspect.head import Asked, asked
from pages.inspect.views import measured, predicted, several
from pages.widgets import (
    explain,
    forget_bar,
    forget_words,
    influence_figures,
    resources,
    routes,
    session,
)
from pages.widgets.words import pictures as counted

N_SHOWN = 8


def draw() -> None:
    which, ids = asked(), session.forget_ids()
    obstacle = forget_words.obstacle(which.images, ids)
    if obstacle:
        st.info(obstacle, icon=":material/photo_library:")
        if st.button("Choose pictures", type="primary", key="inspect:choose"):
            routes.to_forget()
        return
    st.markdown(
        f"Forget set: **{counted(len(ids))}**, {forget_words.class_summary(which.images, ids)}."
    )
    digest = forget_bar.chosen_set().digest
    _weights(which, ids)
    done = predicted.draw(which, digest, ids)
    if done is not None:
        measured.draw(which, digest, ids, done)
        several.draw(which, digest, ids)


def _scores(which: Asked, ids: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, float]:
    """IMU's influence and weight of each forget picture, and the weight it clips at (or ∞)."""
    outputs = resources.outputs(which.checkpoint, which.images)
    rows, config = list(ids), ImuConfig()
    scores = imu_scores(
        torch.from_numpy(outputs.train_features[rows]),
        torch.from_numpy(outputs.train_logits[rows]),
        resources.image_set(which.images).train_labels[rows],
        damping=config.damping,
        damping_mode=config.damping_mode,
    )
    rules: dict[str, Any] = {"select": config.select, "share": config.share, "law": config.weight}
    weights = imu_weights(scores, **rules, clip_quantile=config.clip_quantile)
    unclipped = imu_weights(scores, **rules, clip_quantile=1.0)
    clipped = bool((unclipped > weights).any())
    return scores.numpy(), weights.numpy(), float(weights.max()) if clipped else np.inf


def _weights(which: Asked, ids: tuple[int, ...]) -> None:
    st.subheader("How IMU weighs these pictures")
    scores, weights, clip = _scores(which, ids)
    st.plotly_chart(
        influence_figures.weights_figure(scores, weights, clip),
        key="inspect:weights-chart",
        alt=f"IMU influence and weights of the {counted(len(ids))} of the forget set",
    )
    st.markdown(_weights_sentence(scores, weights, clip))
    explain.how(
        "Influence is computed at the classifier head: the gradient g of each picture against the "
        "mean gradient of the forget set, through the inverse of the diagonal Fisher matrix, with "
        "the settings that IMU has by default. A negative score pulls with the set. What it does "
        "not say: it looks at the forget pictures alone, knows nothing of the retain set, and "
        "takes the features as they are.",
        formula=FORMULA,
        reference=PAPER,
        key="inspect:weights",
    )
    order = np.argsort(scores, kind="stable")
    _extremes("Most influential", ids, order[:N_SHOWN], scores, weights)
    if len(ids) > N_SHOWN:
        rest = order[N_SHOWN:][::-1]
        rest = rest[np.argsort(np.abs(scores[rest]), kind="stable")]
        dropped = rest[weights[rest] == 0]
        least = np.concatenate([dropped, rest[weights[rest] > 0]])[:N_SHOWN]
        _extremes("Least influential", ids, least, scores, weights)


def _weights_sentence(scores: np.ndarray, weights: np.ndarray, clip: float) -> str:
    n, n_dropped = len(scores), int((weights == 0).sum())
    n_clipped = int((weights >= clip).sum()) if np.isfinite(clip) else 0
    dropped = (
        "IMU would use every one of them"
        if not n_dropped
        else f"IMU would drop {n_dropped:,} of {n:,}, whose gradient opposes that of the set"
    )
    clipped = f" and clip {n_clipped:,} to the weight {number(clip)}" if n_clipped else ""
    ranked = np.sort(weights)[::-1]
    n_half = int(np.searchsorted(np.cumsum(ranked), 0.5 * ranked.sum())) + 1
    return (
        f"{dropped}{clipped}. Half of all weight lies on {counted(n_half)} of {n:,}; the strongest "
        f"has an influence of {pictures.signed(float(scores.min()))}."
    )


def _extremes(
    title: str, ids: tuple[int, ...], places: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> None:
    st.markdown(f"**{title}**")
    captions = [
        f"{pictures.signed(float(scores[i]))}  \n"
        + (f"weight {number(float(weights[i]))}" if weights[i] else "dropped")
        for i in places
    ]
    pictures.row_of(
        [ids[i] for i in places],
        captions,
        title.lower(),
        key=f"inspect:{title.split()[0].lower()}",
        on_look=pictures.look_at,
    )
