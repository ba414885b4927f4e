"""Several models of the chosen model's recipe, each trained on a random half: kept beside the runs.

RUNS/ensembles/<digest>/ holds them; they grow by training the missing ones only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
import torch

from imu_core.ensemble import Ensemble, open_ensemble, train_ensemble
from imu_core.errors import RunError
from imu_core.influence import Effect, Memorisation, predict_removal
from pages.inspect import found_run
from pages.inspect.head import Asked, Head, build, effect_on, support_by
from pages.widgets import resources

if TYPE_CHECKING:
    from imu_core.runs import JobContext

MOST = 32


def folder(which: Asked) -> Path:
    return resources.run_store().directory / "ensembles" / found_run.model_digest(which)


def found(which: Asked) -> Ensemble | None:
    """The models there are so far, at least two; None where there are fewer."""
    try:
        ensemble = open_ensemble(folder(which), resources.image_set(which.images))
    except RunError:
        return None
    return ensemble if ensemble.n_models >= 2 else None


def train(which: Asked, n_models: int) -> str:
    """Id of a job that trains models until there are this many."""
    from imu_core.device import pick_device

    header = resources.header(which.checkpoint)
    opened, place = resources.image_set(which.images), folder(which)

    def work(context: JobContext) -> str:
        train_ensemble(
            place,
            header,
            opened,
            n_models=n_models,
            device=pick_device("auto"),
            progress=context.progress,
            should_stop=context.should_stop,
        )
        return str(place)

    title = f"Training {n_models} models on halves of {opened.title}"
    return resources.job_queue().submit(title, work, key=f"ensemble-{place.name}")


def memorisation(which: Asked, ensemble: Ensemble) -> Memorisation:
    return _memorisation(str(ensemble.folder), ensemble.n_models, which.images)


@st.cache_resource(max_entries=4, show_spinner=False)
def _memorisation(place: str, n_models: int, images: str) -> Memorisation:
    opened = resources.image_set(images)
    found = open_ensemble(place, opened)
    return Ensemble(found.folder, opened, found.part, found.seed, n_models).memorisation()


@st.cache_resource(max_entries=MOST, show_spinner="Fitting the heads of the models")
def _head(place: str, stamp: int, number: int, images: str) -> Head:
    ensemble = open_ensemble(place, resources.image_set(images))
    return build(ensemble.classifier(number), ensemble.outputs(number), images)


def heads(which: Asked, ensemble: Ensemble, n_models: int) -> list[Head]:
    """The fitted heads of the first models, each on its own features of all training pictures."""
    stamp = resources.stamp(str(ensemble.folder / "ensemble.json"))
    return [_head(str(ensemble.folder), stamp, number, which.images) for number in range(n_models)]


@st.cache_resource(max_entries=4 * MOST, show_spinner=False)
def _effect(place: str, number: int, images: str, digest: str, *, _head: Head, _ids) -> Effect:
    ids = torch.tensor(_ids, dtype=torch.int64)
    gone = predict_removal(_head.refit.problem, ids, "newton", curvature=_head.influence.curvature)
    return effect_on(_head, gone, None)


def effects(
    which: Asked, ensemble: Ensemble, known: list[Head], digest: str, ids: tuple[int, ...]
) -> list[Effect]:
    """Each model's Newton step without the forget set, as its effect on the test pictures."""
    place = str(ensemble.folder)
    return [
        _effect(place, number, which.images, digest, _head=one, _ids=ids)
        for number, one in enumerate(known)
    ]


def support(
    known: list[Head], part: str, row: int, label: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Support of each training picture, averaged over the models, and its standard error: (n,)."""
    from imu_core.influence import average_scores

    scores = [torch.from_numpy(support_by(one, part, row, label)) for one in known]
    averaged = average_scores(scores)
    error = averaged.standard_error
    return averaged.mean.numpy(), None if error is None else error.numpy()
