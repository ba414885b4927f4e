"""Which pixels the answer rests on, by every method that is right for the network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
import torch

from imu_core.display import number
from imu_core.saliency import rank_correlation
from pages.inspect import maps, pictures
from pages.inspect.head import Asked
from pages.widgets import errors, explain, resources

if TYPE_CHECKING:
    from imu_core.saliency import SaliencyMethod
    from pages.inspect.views.one_picture import Seen

SIDE = 224
TARGETS = {"Logit": "logit", "Margin": "margin"}
SHUFFLED = {"no": maps.UNTOUCHED, "of the head": "head", "of all layers": "all"}
MOST_ALIKE = 0.7
"""Rank correlation with shuffled weights from which on a map is said to show the picture alone."""


def draw(which: Asked, seen: Seen) -> None:
    name = resources.image_set(which.images).class_names[seen.asked]
    st.subheader(f"Pixels behind “{name}”")
    _panels(which, seen, name)


@st.fragment
def _panels(which: Asked, seen: Seen, name: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Target", list(TARGETS), default="Margin", required=True, key="inspect:target"
        )
        shuffled = st.segmented_control(
            "Randomise the weights",
            list(SHUFFLED),
            default="no",
            required=True,
            key="inspect:shuffled",
            help="A map that stays the same when the weights are shuffled shows the picture, not "
            "the network.",
        )
        checked = st.toggle("Measure infidelity and sensitivity", key="inspect:checks")
        share = st.slider(
            "Map over picture, per cent", 0, 100, 70, 5, key="inspect:overlay", width=300
        )
    with errors.shown():
        methods = maps.methods(which.checkpoint, which.images)
        told = []
        for column, method in zip(st.columns(len(methods)), methods, strict=True):
            with column, st.spinner("", show_time=False):
                wish = wish_of(which.checkpoint, which.images, seen, method.name)
                weights = SHUFFLED.get(shuffled or "no", maps.UNTOUCHED)
                told.append((method.title, _panel(wish, method, weights, checked, share / 100)))
        st.markdown(_sentence(name, told))
    _explain()


def wish_of(checkpoint: str, images: str, seen: Seen, method: str) -> maps.Wish:
    """The map of this picture for the class asked about and the target chosen on the page."""
    target = TARGETS.get(st.session_state.get("inspect:target") or "", "margin")
    return maps.Wish(checkpoint, images, seen.part, seen.row, method, target, seen.asked)


def _panel(
    wish: maps.Wish, method: SaliencyMethod, weights: str, checked: bool, share: float
) -> float | None:
    """Draws one method; returns the rank correlation with shuffled weights, where asked for."""
    found = maps.one(wish)
    st.markdown(f"**{method.title}**", help=method.sentence)
    _image(wish, found, share, method.title)
    facts = []
    if found.delta is not None:
        facts.append(f"Convergence delta {number(found.delta)}")
    correlation = None
    if weights != maps.UNTOUCHED:
        other = maps.one(replace(wish, weights=weights))
        _image(wish, other, share, f"{method.title}, weights shuffled")
        pair = [torch.from_numpy(np.abs(one.values))[None] for one in (found, other)]
        correlation = float(rank_correlation(*pair)[0])
        facts.append(
            f"Shuffled: rank correlation {correlation:.2f}".replace("-", "−")
            if np.isfinite(correlation)
            else "Shuffled: the map is flat"
        )
    if checked:
        wrong, unsteady = maps.faithfulness(wish)
        facts.append(f"Infidelity {number(wrong)}  \nSensitivity {number(unsteady)}")
    st.caption("  \n".join(facts) if facts else method.sentence)
    return correlation


def _image(wish: maps.Wish, found: maps.Map, share: float, title: str) -> None:
    picture = pictures.pixels(wish.images, wish.part, wish.row)
    most = float(np.abs(found.values).max())
    shown = pictures.overlaid(picture, found.values, most, share)
    st.image(pictures.as_png(shown, SIDE), alt=f"{title} of the picture")


def _sentence(name: str, told: list[tuple[str, float | None]]) -> str:
    text = f"Orange pixels speak for “{name}”, blue ones against it; each map has its own scale."
    known = [(title, value) for title, value in told if value is not None and np.isfinite(value)]
    if not known:
        return text
    stuck = [title for title, value in known if value > MOST_ALIKE]
    if stuck:
        return (
            f"{text} {', '.join(stuck)} hardly changed when the weights were shuffled: on this "
            "picture they show edges, not what the network learned."
        )
    most = max(known, key=lambda pair: pair[1])
    value = f"{most[1]:.2f}".replace("-", "−")
    return (
        f"{text} With shuffled weights every map changes (highest rank correlation {value}, "
        f"{most[0]}): they do show the network."
    )


def _explain() -> None:
    explain.how(
        "The target is the logit of the class, or its margin: the logit minus the log-sum-exp of "
        "all others, which can be compared between models. “Without the picture” is the mean "
        "training picture. Convergence delta is by how much integrated gradients miss the sum "
        "they must have. Infidelity is how badly a map foretells the change under noise, 0 is "
        "best; sensitivity the largest relative change of the map when the picture moves a "
        "little. What a map does not say: whether the model would answer otherwise without these "
        "pixels in the world; guided backprop is left out, because it draws edges whatever the "
        "weights.",
        reference="Sundararajan et al. 2017; Smilkov et al., arXiv 1706.03825; Selvaraju et al. "
        "2017; Adebayo et al., arXiv 1810.03292; Yeh et al., arXiv 1901.09392",
        key="inspect:pixels",
    )
