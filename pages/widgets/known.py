"""What is known of every training picture: with a model its outputs, without one its pixels."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import job_panel, picture_table, resources

if TYPE_CHECKING:
    import numpy as np

    from imu_core.thumbnails import Sheet

_PIXELS_A_SIDE = 12


def model_for(images: str) -> str:
    """Path of the chosen model once its outputs are here; empty where there are none.

    While they are being computed, the job is drawn, and the page goes on without them.
    """
    checkpoint = resources.chosen_checkpoint()
    return checkpoint if checkpoint and picture_table.ready(checkpoint, images) else ""


def columns(checkpoint: str, images: str) -> dict[str, np.ndarray]:
    """Columns to sort and filter by, each (n,): all with a model, id and label without one."""
    if checkpoint:
        return picture_table.columns(checkpoint, images)
    return _plain_columns(images)


@st.cache_resource(max_entries=4, show_spinner=False)
def _plain_columns(images: str) -> dict[str, np.ndarray]:
    import numpy as np

    labels = resources.image_set(images).train_labels.numpy()
    return {"id": np.arange(len(labels)), "label": labels}


def features(checkpoint: str, images: str) -> np.ndarray:
    """float32 (n, d): the model's features, or small pictures as numbers where there is none."""
    return _features(checkpoint, resources.stamp(checkpoint) if checkpoint else 0, images)


@st.cache_resource(max_entries=3, show_spinner=False)
def _features(checkpoint: str, stamp: int, images: str) -> np.ndarray:
    if checkpoint:
        import numpy as np

        return np.asarray(resources.outputs(checkpoint, images).train_features, np.float32)
    import torch

    pixels, side = resources.image_set(images).train_images, _PIXELS_A_SIDE
    small = [
        torch.nn.functional.adaptive_avg_pool2d(part.float() / 255, side)
        if min(part.shape[2:]) > side
        else part.float() / 255
        for part in pixels.split(2048)
    ]
    return torch.cat(small).flatten(1).numpy()


@st.cache_resource(max_entries=16, show_spinner=False)
def _nearness(checkpoint: str, stamp: int, images: str, picture: int) -> np.ndarray:
    from imu_core.picking import distance_to_nearest

    return distance_to_nearest(features(checkpoint, images), [picture])


def nearness(checkpoint: str, images: str, picture: int) -> np.ndarray:
    """float32 (n,): cosine distance of every training picture to this one."""
    stamp = resources.stamp(checkpoint) if checkpoint else 0
    return _nearness(checkpoint, stamp, images, picture)


@st.cache_resource(max_entries=24, show_spinner=False)
def _sheet(images: str, digest: str, _ids: np.ndarray) -> Sheet:
    from imu_core.thumbnails import picture_sheet

    return picture_sheet(resources.image_set(images).train_images[_ids])


def sheet(images: str, ids: np.ndarray) -> Sheet:
    """Thumbnails of these training pictures (int64), in their order."""
    return _sheet(images, sha256(ids.tobytes()).hexdigest()[:24], ids)


def waits_for(job_id: str | None) -> bool:
    """Whether this job is still to end; draws how far it is, or why it has failed."""
    status = resources.job_queue().status(job_id) if job_id else None
    if status is None or status.state == "done":
        return False
    if status.ended:
        st.warning(job_panel.line(status), icon=":material/warning:")
        return False
    job_panel.wait_for(status.id)
    return True
