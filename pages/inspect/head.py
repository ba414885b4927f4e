"""The classifier head of the chosen model, fitted and factorised once; all influence rests on it.

Cached by short texts; what is returned is shared by all visitors and must not be changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
import torch

from imu_core.influence import (
    Effect,
    Influence,
    Refit,
    Removal,
    effect,
    feature_similarity,
    head_problem,
    predict_removal,
    refit,
)
from pages.widgets import resources, session

if TYPE_CHECKING:
    import numpy as np

    from imu_core.evaluation.outputs import Outputs
    from imu_core.networks import Classifier

PARTS = ("Training", "Test")


@dataclass(frozen=True)
class Asked:
    """What a page is about: a model of an image set, by texts that change with the files."""

    checkpoint: str
    stamp: int
    images: str


@dataclass(frozen=True, eq=False)
class Head:
    """A head at its optimum with its curvature, and the features of the test pictures."""

    refit: Refit
    influence: Influence
    test_features: torch.Tensor
    test_labels: torch.Tensor

    def features(self, part: str, row: int) -> torch.Tensor:
        """Features (1, d) of one training or test picture."""
        rows = self.test_features if part == "Test" else self.refit.problem.features
        return rows[row : row + 1]


def asked() -> Asked:
    """The chosen model of the chosen image set."""
    checkpoint = resources.chosen_checkpoint()
    return Asked(checkpoint, resources.stamp(checkpoint), session.images())


def head(which: Asked) -> Head:
    """The fitted head of a model; `ImuError` where influence cannot be had for it."""
    return _head(which.checkpoint, which.stamp, which.images)


def build(classifier: Classifier, outputs: Outputs, images: str) -> Head:
    """The head of a classifier, fitted to all training pictures on its features."""
    opened = resources.image_set(images)
    problem = head_problem(
        classifier,
        torch.from_numpy(outputs.train_features),
        opened.train_labels,
        logits=torch.from_numpy(outputs.train_logits),
    )
    fitted = refit(problem)
    return Head(
        fitted,
        Influence(fitted.problem),
        torch.from_numpy(outputs.test_features),
        opened.test_labels,
    )


@st.cache_resource(max_entries=3, show_spinner="Fitting the classifier head")
def _head(checkpoint: str, stamp: int, images: str) -> Head:
    outputs = resources.outputs(checkpoint, images)
    return build(resources.classifier(checkpoint, images), outputs, images)


def removal(which: Asked, digest: str, ids: tuple[int, ...], kind: str) -> Removal:
    """The head without a forget set, whose `digest` names it."""
    return _removal(which.checkpoint, which.stamp, which.images, digest, kind, _ids=ids)


@st.cache_resource(max_entries=16, show_spinner="Predicting the head without these pictures")
def _removal(
    checkpoint: str, stamp: int, images: str, digest: str, kind: str, *, _ids: tuple[int, ...]
) -> Removal:
    known = head(Asked(checkpoint, stamp, images))
    ids = torch.tensor(_ids, dtype=torch.int64)
    return predict_removal(known.refit.problem, ids, kind, curvature=known.influence.curvature)


def effect_on(known: Head, gone: Removal, ids: tuple[int, ...] | None) -> Effect:
    """The effect on training pictures by their ids, or on all test pictures."""
    if ids is None:
        return effect(gone, known.test_features, known.test_labels)
    problem, rows = known.refit.problem, torch.tensor(ids, dtype=torch.int64)
    return effect(gone, problem.features[rows], problem.labels[rows])


def support(which: Asked, part: str, row: int, label: int) -> np.ndarray:
    """How far the margin of `label` falls on one picture without each training picture: (n,).

    Positive scores support the answer, negative ones oppose it.
    """
    return _support(which.checkpoint, which.stamp, which.images, part, row, label)


@st.cache_resource(max_entries=64, show_spinner=False)
def _support(
    checkpoint: str, stamp: int, images: str, part: str, row: int, label: int
) -> np.ndarray:
    known = head(Asked(checkpoint, stamp, images))
    return support_by(known, part, row, label)


def support_by(known: Head, part: str, row: int, label: int) -> np.ndarray:
    """The same for any head."""
    features = known.features(part, row)
    return -known.influence.on_each(features, torch.tensor([label]), "margin")[:, 0].numpy()


def likeness(which: Asked, part: str, row: int) -> np.ndarray:
    """Cosine of the features of every training picture with those of this one: (n,)."""
    known = head(which)
    return feature_similarity(known.refit.problem, known.features(part, row))[:, 0].numpy()
