"""Which training pictures speak for the answer on one picture, which against, which look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.inspect import members, pictures
from pages.inspect.head import Asked, likeness, support
from pages.widgets import errors, explain, forget_change, resources, session

if TYPE_CHECKING:
    from pages.inspect.views.one_picture import Seen

N_SHOWN = 8


def draw(which: Asked, seen: Seen) -> None:
    st.subheader("Training pictures behind the answer")
    with errors.shown():
        scores, error = _scores(which, seen)
        names = resources.image_set(which.images).class_names
        _row(which, seen, "Support", scores, error)
        _row(which, seen, "Oppose", -scores, error)
        st.markdown(_sentence(which, seen, scores, names))
        explain.how(
            "The score of a training picture is how far the margin of the class asked about would "
            "fall on this picture if the training picture were taken out and the head fitted "
            "anew: above zero it supports the answer, below zero it opposes it. What it does not "
            "say: features stay frozen, and it is one model; against models trained anew such "
            "scores rank weakly. Likeness is the cosine of the features, no influence.",
            formula=r"s_i = -\nabla_\theta \varphi(x)^\top H^{-1} g_i / n",
            reference="Koh and Liang, arXiv 1703.04730",
            key="inspect:neighbours",
        )
        _nearest(which, seen)


def _scores(which: Asked, seen: Seen) -> tuple[np.ndarray, np.ndarray | None]:
    ensemble = members.found(which)
    if ensemble is not None and st.toggle(
        f"Average over {ensemble.n_models} models",
        key="inspect:average",
        help="The models trained on halves, from “The set”.",
    ):
        known = members.heads(which, ensemble, ensemble.n_models)
        return members.support(known, seen.part, seen.row, seen.asked)
    return support(which, seen.part, seen.row, seen.asked), None


def _others(seen: Seen, scores: np.ndarray) -> np.ndarray:
    """Scores without the picture itself."""
    if seen.part != "Training":
        return scores
    scores = scores.copy()
    scores[seen.row] = -np.inf
    return scores


def _row(
    which: Asked, seen: Seen, title: str, strength: np.ndarray, error: np.ndarray | None
) -> None:
    sign = 1 if title == "Support" else -1
    strength = _others(seen, strength)
    order = np.argsort(-strength, kind="stable")[:N_SHOWN]
    ids = [int(i) for i in order if strength[i] > 0]
    st.markdown(f"**{title}**")
    if not ids:
        st.caption("No training picture does.")
        return
    opened = resources.image_set(which.images)
    captions = []
    for one in ids:
        spread = f" ± {error[one]:.1g}" if error is not None else ""
        name = opened.class_names[opened.train_labels[one]]
        captions.append(f"“{name}” {pictures.signed(sign * float(strength[one]))}{spread}")
    how = f"{'supports' if sign > 0 else 'opposes'} {seen.name}"
    key = f"inspect:{title.lower()}"
    pictures.row_of(ids, captions, how, key=key, on_look=pictures.look_at)
    new = tuple(one for one in ids if one not in session.forget_ids())
    st.button(
        f"Add {'all ' if len(new) == len(ids) else ''}{len(new)} to the forget set"
        if new
        else "All are in the forget set",
        key=f"{key}:add",
        icon=":material/add:",
        disabled=not new,
        on_click=forget_change.add,
        args=(new, f"{len(new)} pictures: {how}"),
    )


def _sentence(which: Asked, seen: Seen, scores: np.ndarray, names: tuple[str, ...]) -> str:
    others = np.where(np.isfinite(_others(seen, scores)), scores, 0)
    if seen.part == "Training":
        others[seen.row] = 0
    total = float(others[others > 0].sum())
    if total <= 0:
        return "No training picture supports this answer."
    ranked = np.sort(others[others > 0])[::-1]
    n_half = int(np.searchsorted(np.cumsum(ranked), total / 2)) + 1
    labels = resources.image_set(which.images).train_labels.numpy()
    best = np.argsort(-others)[:N_SHOWN]
    same = int((labels[best] == seen.asked).sum())
    text = (
        f"Half of all support for “{names[seen.asked]}” comes from {n_half:,} of "
        f"{len(scores):,} training pictures; of the strongest {len(best)}, {same} are "
        f"“{names[seen.asked]}” themselves."
    )
    if seen.part == "Training":
        own = float(scores[seen.row])
        text += f" Without this picture itself the margin would move by {pictures.signed(-own)}."
    return text


def _nearest(which: Asked, seen: Seen) -> None:
    st.markdown("**Nearest in the features**")
    alike = _others(seen, likeness(which, seen.part, seen.row))
    ids = [int(i) for i in np.argsort(-alike, kind="stable")[:N_SHOWN]]
    opened = resources.image_set(which.images)
    labels = [int(opened.train_labels[one]) for one in ids]
    captions = [
        f"“{opened.class_names[label]}” {alike[one]:.3f}"
        for one, label in zip(ids, labels, strict=True)
    ]
    pictures.row_of(
        ids, captions, f"near {seen.name}", key="inspect:nearest", on_look=pictures.look_at
    )
    same = sum(label == seen.label for label in labels)
    st.markdown(
        f"{same} of the {len(ids)} nearest training pictures are of its own class, "
        f"“{opened.class_names[seen.label]}”."
    )
