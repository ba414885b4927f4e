"""Ten test pictures as a model sees them, with its answers, and its accuracy on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.inspect.pictures import as_png
from pages.own.model_file import digest, finished
from pages.widgets import resources
from pages.widgets.words import percent

if TYPE_CHECKING:
    from imu_core.evaluation.first_look import FirstLook
    from imu_core.images import ImageSet
    from imu_core.networks import Classifier
    from imu_core.networks.normalisation import Normalisation
    from imu_core.runs import JobContext

N_SHOWN = 10
SIDE = 96
REACH = 2.5
"""Normalised values from −2.5 (black) to 2.5 (white); 0 is mid grey."""
AT_ONCE_S = 1.0
"""Up to this long the page waits for the accuracy; above, a job finds it."""
JOB = "own:model:job"
N_TRIED, GOOD_ENOUGH, CLEARLY_MORE, MOST_TRYING_S = 100, 0.95, 0.1, 3.0
"""Other normalisations are tried on so many pictures where the accuracy is below the second, told
where they name so much more of them right, and not tried where that would take longer."""


@dataclass(frozen=True, eq=False)
class Strip:
    """Ten pictures with what the model says of them."""

    originals: list[bytes]
    seen: list[bytes]
    true: np.ndarray
    """int64 (10,)"""
    named: np.ndarray
    """int64 (10,); −1 where the answer is no number"""
    shares: np.ndarray
    """(10,): softmax share of the named class"""
    seconds_a_picture: float
    digest: str
    """Of the weights and the normalisation."""


def strip(key: str, images: str, make: Callable[[], Classifier]) -> Strip:
    """The strip of the model that `make` gives; `key` stands for file, network and settings."""
    return _strip(key, images, make)


@st.cache_resource(max_entries=24, show_spinner="Looking at ten test pictures")
def _strip(key: str, images: str, _make: Callable[[], Classifier]) -> Strip:
    from imu_core.evaluation.first_look import confidences, spread_rows
    from imu_core.networks.foreign_weights import seen_by, weights_digest

    model, opened = _make(), resources.image_set(images)
    rows = spread_rows(opened.test_labels.numpy(), N_SHOWN)
    pictures = opened.test_images[rows]
    confidences(model, pictures[:1])
    begun = time.perf_counter()
    named, shares = confidences(model, pictures)
    spent_s = time.perf_counter() - begun
    return Strip(
        originals=[_png(picture) for picture in pictures.float().numpy()],
        seen=[
            _png(127.5 + picture * 127.5 / REACH) for picture in seen_by(model, pictures).numpy()
        ],
        true=opened.test_labels[rows].numpy(),
        named=named,
        shares=shares,
        seconds_a_picture=spent_s / len(rows),
        digest=weights_digest(model),
    )


def _png(picture: np.ndarray) -> bytes:
    """A picture (c, h, w) with values 0–255 as a PNG; anything beyond is cut off."""
    plain = np.clip(np.nan_to_num(picture), 0, 255).round().astype(np.uint8).transpose(1, 2, 0)
    return as_png(np.repeat(plain, 3, axis=2) if plain.shape[2] == 1 else plain[:, :, :3], SIDE)


def draw_strip(found: Strip, class_names: tuple[str, ...]) -> None:
    """Draws the pictures in columns: as they are, as the model sees them, its answer."""
    st.caption("Ten test pictures; below each, what the model gets to see.")
    for place, column in enumerate(st.columns(len(found.true), gap="small")):
        true = class_names[found.true[place]]
        with column:
            st.image(found.originals[place], alt=f"A test picture of “{true}”", width="stretch")
            st.image(found.seen[place], alt="The same as the model sees it", width="stretch")
            st.markdown(_answer(found, place, class_names))
    right = int((found.named == found.true).sum())
    st.caption(
        f"{right} of these {len(found.true)} are named right. The lower row is normalised: mid "
        f"grey is 0, black −{REACH}, white {REACH}. With the right numbers it has both dark and "
        "light; all black, all white or one flat grey says that a number is wrong."
    )


def _answer(found: Strip, place: int, class_names: tuple[str, ...]) -> str:
    from pages.widgets.own_pictures import plain

    true, named = int(found.true[place]), int(found.named[place])
    if named < 0:
        return f"{plain(class_names[true])} → **no number**"
    said = f"{plain(class_names[named])}"
    words = said if named == true else f"{plain(class_names[true])} → **{said}**"
    return f"{words}  \n:small[{percent(found.shares[place])}]"


def accuracy(
    key: str, images: str, make: Callable[[], Classifier], seconds_a_picture: float
) -> FirstLook | None:
    """How the model does on all test pictures; None while a job finds out."""
    opened = resources.image_set(images)
    if seconds_a_picture * opened.n_test <= AT_ONCE_S:
        return _accuracy(key, images, make)
    job_id = f"own-accuracy-{digest(key)}"
    _drop_job_before(job_id)

    def work(context: JobContext) -> FirstLook:
        return _look(opened, make(), context)

    status = finished(job_id, f"Testing your model on {opened.n_test:,} pictures", work)
    return status.result if status is not None else None


def better_normalisation(
    key: str,
    images: str,
    make_by: Callable[[Normalisation], Classifier],
    now: Normalisation,
    three_for_grey: bool,
    look: FirstLook,
    seconds_a_picture: float,
) -> str:
    """How the usual normalisations do, where one fits clearly better than `now`; else empty."""
    from imu_core.networks.normalisation import PRESETS

    takes_s = seconds_a_picture * N_TRIED * (len(PRESETS) + 1)
    if (look.accuracy.value or 0.0) >= GOOD_ENOUGH or takes_s > MOST_TRYING_S:
        return ""
    right, n = _tried(key, images, make_by, now, three_for_grey)
    best = max(PRESETS, key=lambda name: right[name])
    if right[best] - right[""] < CLEARLY_MORE * n:
        return ""
    others = ", ".join(f"“{title}” {right[name]}" for name, title in PRESETS.items())
    return (
        f"Of {n} test pictures, the numbers above name {right['']} right; the usual ones: "
        f"{others}. Those of the training are probably among the best."
    )


@st.cache_resource(max_entries=64, show_spinner="Trying the usual normalisations")
def _tried(
    key: str,
    images: str,
    _make_by: Callable[[Normalisation], Classifier],
    _now: Normalisation,
    three_for_grey: bool,
) -> tuple[dict[str, int], int]:
    """How many of some test pictures each preset (and `_now`, as “”) names right; how many."""
    from imu_core.evaluation.first_look import confidences, spread_rows
    from imu_core.networks.normalisation import PRESETS, preset

    opened = resources.image_set(images)
    rows = spread_rows(opened.test_labels.numpy(), N_TRIED)
    pictures, labels = opened.test_images[rows], opened.test_labels[rows].numpy()
    ways = {name: preset(name, opened, three_for_grey=three_for_grey) for name in PRESETS}
    right = {
        name: int((confidences(_make_by(way), pictures)[0] == labels).sum())
        for name, way in {**ways, "": _now}.items()
    }
    return right, len(rows)


@st.cache_resource(max_entries=64, show_spinner="Looking at the test pictures")
def _accuracy(key: str, images: str, _make: Callable[[], Classifier]) -> FirstLook:
    return _look(resources.image_set(images), _make(), None)


def _drop_job_before(job_id: str) -> None:
    """Cancels the accuracy of settings that were changed meanwhile; nobody waits for it."""
    before = st.session_state.get(JOB, "")
    if before != job_id:
        st.session_state[JOB] = job_id
        if before:
            resources.job_queue().cancel(before)


def _look(opened: ImageSet, model: Classifier, context: JobContext | None) -> FirstLook:
    from imu_core.device import pick_device
    from imu_core.evaluation.first_look import first_look, predict_test

    predicted = predict_test(
        model,
        opened,
        device=pick_device("auto"),
        progress=context.progress if context else None,
        should_stop=context.should_stop if context else None,
    )
    return first_look(opened.test_labels.numpy(), predicted, opened.n_classes)
