"""Saliency maps of one picture under one model file, kept by short texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
import torch

from imu_core.saliency import (
    infidelity,
    mean_picture,
    methods_for,
    randomised,
    saliency,
    sensitivity,
)
from pages.widgets import resources

if TYPE_CHECKING:
    from imu_core.networks import Classifier
    from imu_core.saliency import SaliencyMethod

UNTOUCHED = "as trained"


@dataclass(frozen=True)
class Wish:
    """Everything that decides a map."""

    checkpoint: str
    images: str
    part: str
    row: int
    method: str
    target: str
    label: int
    weights: str = UNTOUCHED
    """as trained, or which were shuffled: head, all"""


@dataclass(frozen=True, eq=False)
class Map:
    """A signed map (h, w) and, for integrated gradients, its convergence delta."""

    values: np.ndarray
    delta: float | None


def methods(checkpoint: str, images: str) -> list[SaliencyMethod]:
    """The methods that are right for the network of a model file."""
    return _methods(checkpoint, resources.stamp(checkpoint), images)


@st.cache_resource(max_entries=8, show_spinner=False)
def _methods(checkpoint: str, stamp: int, images: str) -> list[SaliencyMethod]:
    model = resources.classifier(checkpoint, images)
    return methods_for(model, resources.image_set(images).image_shape)


def one(wish: Wish) -> Map:
    return _map(wish, resources.stamp(wish.checkpoint))


@st.cache_resource(max_entries=512, show_spinner=False, hash_funcs={Wish: repr})
def _map(wish: Wish, stamp: int) -> Map:
    found = saliency(
        _model(wish),
        _pixels(wish),
        wish.method,
        wish.target,
        wish.label,
        baseline=_baseline(wish.images),
    )
    delta = None if found.delta is None else float(found.delta[0])
    return Map(found.maps[0].numpy(), delta)


def faithfulness(wish: Wish) -> tuple[float, float]:
    """Infidelity and sensitivity of the map."""
    return _faithfulness(wish, resources.stamp(wish.checkpoint))


@st.cache_resource(max_entries=128, show_spinner=False, hash_funcs={Wish: repr})
def _faithfulness(wish: Wish, stamp: int) -> tuple[float, float]:
    given = (_model(wish), _pixels(wish), wish.method, wish.target, wish.label)
    start = _baseline(wish.images)
    return tuple(float(check(*given, baseline=start)[0]) for check in (infidelity, sensitivity))


@st.cache_resource(max_entries=4, show_spinner=False)
def _baseline(images: str) -> torch.Tensor:
    return mean_picture(resources.image_set(images).train_images)


def _pixels(wish: Wish) -> torch.Tensor:
    opened = resources.image_set(wish.images)
    source = opened.test_images if wish.part == "Test" else opened.train_images
    return source[wish.row : wish.row + 1]


def _model(wish: Wish) -> Classifier:
    model = resources.classifier(wish.checkpoint, wish.images)
    return model if wish.weights == UNTOUCHED else randomised(model, wish.weights, 0)


@st.cache_resource(max_entries=64, show_spinner=False)
def _logits(checkpoint: str, stamp: int, images: str, part: str, row: int) -> np.ndarray:
    wish = Wish(checkpoint, images, part, row, "", "", 0)
    with torch.inference_mode():
        return resources.classifier(checkpoint, images)(_pixels(wish))[0].numpy()


def probabilities(checkpoint: str, images: str, part: str, row: int) -> np.ndarray:
    """What a model file says of one picture: (K,)."""
    logits = _logits(checkpoint, resources.stamp(checkpoint), images, part, row)
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()
