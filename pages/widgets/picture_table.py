"""What is known of every training picture under a model, for tables and rankings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import job_panel, resources, work

if TYPE_CHECKING:
    import numpy as np


@st.cache_resource(max_entries=4, show_spinner=False)
def _columns(checkpoint: str, stamp: int, images: str) -> dict[str, np.ndarray]:
    from imu_core.picking import picture_columns

    opened, outputs = resources.image_set(images), resources.outputs(checkpoint, images)
    influence = class_influence(checkpoint, images)
    return picture_columns(opened.train_labels.numpy(), outputs.train_logits, influence)


def columns(checkpoint: str, images: str) -> dict[str, np.ndarray]:
    """id, label, prediction, confidence, loss, influence, each (n,); shared, never change them."""
    return _columns(checkpoint, resources.stamp(checkpoint), images)


def class_influence(checkpoint: str, images: str) -> np.ndarray:
    """IMU's score of every training picture as a member of its class: float64 (n,).

    The score that the picture would have if its whole class were the forget set; the more negative,
    the more it pulls with its class.
    """
    import numpy as np
    import torch

    from imu_core.influence.imu_scores import imu_scores

    outputs = resources.outputs(checkpoint, images)
    labels = resources.image_set(images).train_labels
    scores = np.zeros(len(labels))
    for ids in resources.class_members(images):
        if len(ids):
            scores[ids] = imu_scores(
                torch.from_numpy(outputs.train_features[ids]),
                torch.from_numpy(outputs.train_logits[ids]),
                labels[torch.from_numpy(ids)],
            ).numpy()
    return scores


def ready(checkpoint: str, images: str) -> bool:
    """Whether the outputs are here or come at once; if not, draws the job that computes them."""
    few = resources.image_set(images).n_train <= resources.FEW_PICTURES
    if few or resources.outputs_are_kept(checkpoint, images):
        return True
    last = st.session_state.get("outputs:job", "")
    status = resources.job_queue().status(last) if last else None
    if status is not None and status.state in ("failed", "cancelled"):
        st.warning(job_panel.line(status), icon=":material/warning:")
        if not st.button("Try again", icon=":material/refresh:", key="outputs:again"):
            return False
    st.session_state["outputs:job"] = work.compute_outputs(checkpoint, images)
    job_panel.wait_for(st.session_state["outputs:job"])
    return False
