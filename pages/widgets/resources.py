"""What all visitors share: image sets, models, their outputs, the runs and the job queue.

Loaders are keyed by short texts, never by arrays. What they return is shared: never change it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import example, session

if TYPE_CHECKING:
    import numpy as np

    from imu_core.evaluation.outputs import Outputs
    from imu_core.images import ImageSet, ImageSource
    from imu_core.networks import CheckpointHeader, Classifier
    from imu_core.runs import JobQueue, Run, RunStore

# Up to this many pictures the outputs are computed while the page waits; above, as a job.
FEW_PICTURES = 2500


@st.cache_resource(max_entries=4, show_spinner="Opening the pictures")
def image_set(name: str) -> ImageSet:
    """The image set of this name, from files on this machine. `ImuError` where there are none."""
    from imu_core.images import open_image_set

    return open_image_set(name)


def chosen_image_set() -> ImageSet:
    """The image set that the sidebar shows."""
    return image_set(session.images())


@st.cache_resource(max_entries=1, ttl=30, show_spinner=False)
def sources() -> list[ImageSource]:
    """All image sets that can be opened or downloaded."""
    from imu_core.images import image_sources

    return image_sources()


@st.cache_resource(max_entries=2)
def _store(directory: str) -> RunStore:
    from imu_core.runs import RunStore

    return RunStore(directory)


def run_store() -> RunStore:
    """The runs of this server."""
    from imu_core.runs import default_runs_directory

    return _store(str(default_runs_directory().absolute()))


def find_run(run_id: str) -> Run:
    """The run of this id, of this server or the shipped example; `RunError` where there is none."""
    from imu_core.errors import RunError

    try:
        return run_store().open(run_id)
    except RunError:
        # An id from the address: only a plain name may reach the shipped folder.
        if Path(run_id).name == run_id and (example.FOLDER / run_id / "run.json").is_file():
            return _store(str(example.FOLDER)).open(run_id)
        raise RunError(
            f"There is no run “{run_id}” here; the page “Runs” lists those there are."
        ) from None


@st.cache_resource(max_entries=1)
def job_queue() -> JobQueue:
    """The one queue of this process."""
    from imu_core.runs import JobQueue

    return JobQueue()


@st.cache_resource(max_entries=64, show_spinner=False)
def _header(path: str, stamp: int) -> CheckpointHeader:
    from imu_core.networks import read_checkpoint_header

    return read_checkpoint_header(path)


def header(path: str) -> CheckpointHeader:
    """The header of a checkpoint file; read again when the file changes."""
    return _header(path, stamp(path))


def stamp(path: str) -> int:
    """What changes with a file's content: its time of writing; 0 where there is no file."""
    file = Path(path)
    return file.stat().st_mtime_ns if file.exists() else 0


def trained_models() -> Path:
    """The folder of the models that were trained here."""
    return run_store().directory / "models"


def checkpoints(images: str) -> list[str]:
    """Paths of the models for this image set: the bundled one first, then those trained here."""
    from imu_core.errors import CheckpointError
    from imu_core.networks.bundled import bundled_checkpoint

    bundled = bundled_checkpoint(images)
    found = [str(bundled)] if bundled else []
    for path in sorted(trained_models().glob("*.safetensors")):
        try:
            fits = header(str(path)).image_set == images
        except CheckpointError:
            # A broken file in the folder must not hide the others.
            continue
        if fits:
            found.append(str(path))
    return found


def chosen_checkpoint() -> str:
    """Path of the model that the sidebar shows; empty where the image set has none yet."""
    known = checkpoints(session.images())
    chosen = session.checkpoint()
    return chosen if chosen in known else (known or [""])[0]


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _classifier(path: str, stamp: int, images: str) -> Classifier:
    from imu_core.networks import load_checkpoint

    model, _ = load_checkpoint(path, image_set=image_set(images))
    return model.eval().requires_grad_(False)


def classifier(path: str, images: str) -> Classifier:
    """The frozen model of a checkpoint. Never change it: every visitor sees the same one."""
    return _classifier(path, stamp(path), images)


@st.cache_resource(max_entries=32, show_spinner=False)
def _digest(path: str, stamp: int) -> str:
    from imu_core.networks import checkpoint_digest

    return checkpoint_digest(path)


def outputs_are_kept(path: str, images: str) -> bool:
    """Whether the model's outputs are on disk, so that reading them takes no time."""
    digest = _digest(path, stamp(path))
    return run_store().original_outputs(digest, image_set(images).fingerprint).exists()


@st.cache_resource(max_entries=4, show_spinner="Looking at every picture once")
def _outputs(path: str, stamp: int, images: str) -> Outputs:
    from imu_core.device import pick_device
    from imu_core.runs.references import original_outputs

    return original_outputs(
        run_store(),
        classifier(path, images),
        _digest(path, stamp),
        image_set(images),
        device=pick_device("auto"),
    )


def outputs(path: str, images: str) -> Outputs:
    """Logits and features of a checkpoint on all pictures: computed once, then kept on disk."""
    return _outputs(path, stamp(path), images)


@st.cache_resource(max_entries=4, show_spinner=False)
def class_members(images: str) -> list[np.ndarray]:
    """The training ids (int64, ascending) of every class."""
    opened = image_set(images)
    return [opened.ids_of_class(label).numpy() for label in range(opened.n_classes)]
