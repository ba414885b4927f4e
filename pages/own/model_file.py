"""The file of weights that a visitor brings, and the model read from it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from imu_core.errors import CheckpointError
from pages.widgets import job_panel, own_pictures, resources

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from imu_core.images import ImageSet
    from imu_core.networks import Classifier
    from imu_core.runs import JobContext, JobStatus

FEW_BYTES = 100 << 20
"""Files up to this size are read while the page waits; larger ones as a job."""
MOST_KEPT = 3
UPLOAD, PATH = "Upload", "File on this machine"


@dataclass(frozen=True)
class Source:
    """A file of weights: uploaded, or a path on this machine."""

    key: str
    """Changes with the content."""
    name: str
    n_bytes: int
    path: str = ""
    upload: UploadedFile | None = field(default=None, compare=False)


class Shelf:
    """The last few models that were read, for this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[str, Classifier] = OrderedDict()

    def get(self, key: str) -> Classifier | None:
        with self._lock:
            return self._models.get(key)

    def put(self, key: str, model: Classifier) -> None:
        with self._lock:
            self._models[key] = model
            while len(self._models) > MOST_KEPT:
                self._models.popitem(last=False)


@st.cache_resource(max_entries=1)
def _shelf() -> Shelf:
    return Shelf()


def pt_is_read() -> bool:
    """Whether PyTorch files are read: the setting is on, and all visitors are at this machine."""
    from imu_core.networks.foreign_file import pt_is_allowed

    return pt_is_allowed() and own_pictures.on_this_machine()


def ask() -> Source | None:
    """Draws the choice of the file; what was chosen, or None."""
    ways = [UPLOAD, PATH] if own_pictures.on_this_machine() else [UPLOAD]
    way = UPLOAD
    if len(ways) > 1:
        way = st.segmented_control(
            "Weights", ways, default=UPLOAD, required=True, key="own:model:way"
        )
    source = _typed_path() if way == PATH else _uploaded()
    if pt_is_read():
        st.caption("Safetensors, or .pt and .pth: of these, tensors are read and nothing else.")
    else:
        st.caption(
            "Safetensors only. Opening a .pt or .pth file can run code, so those are read where "
            "`imu app --allow-pt` (or IMU_ALLOW_PT=1) says so, at this machine. To convert one: "
            "`safetensors.torch.save_file(model.state_dict(), 'model.safetensors')`."
        )
    return source


def _uploaded() -> Source | None:
    limit = own_pictures.upload_limit_mb()
    upload = st.file_uploader(
        f"A file of weights, up to {limit} MB", key="own:model:upload", type=None
    )
    if upload is None:
        return None
    if upload.size > limit << 20:
        # The browser refuses such a file; what comes past the browser is refused here.
        raise CheckpointError(
            f"“{upload.name}” has {upload.size / 2**20:,.1f} MB; at most {limit} MB can be "
            "uploaded. At the machine itself its path can be typed instead."
        )
    return Source(upload.file_id, Path(upload.name).name, upload.size, upload=upload)


def _typed_path() -> Source | None:
    text = st.text_input(
        "Path", key="own:model:path", placeholder="/home/me/model.safetensors"
    ).strip()
    if not text:
        return None
    # Not by `Path`, which fails for the home of somebody who does not exist.
    path = Path(os.path.expanduser(text))
    if not path.is_file():
        raise CheckpointError(f"There is no file “{text}” on this machine.")
    facts = path.stat()
    key = f"{path}|{facts.st_mtime_ns}|{facts.st_size}"
    return Source(key, path.name, facts.st_size, path=str(path))


def loaded(source: Source, network: str, images: str) -> Classifier | None:
    """The model of this file, pixels not yet normalised; None while a job reads it."""
    opened, allow_pt = resources.image_set(images), pt_is_read()
    key = f"{source.key}|{network}|{opened.fingerprint}"
    shelf = _shelf()
    model = shelf.get(key)
    if model is not None:
        return model
    if source.n_bytes <= FEW_BYTES:
        with st.spinner("Reading the weights"):
            model = _read(source, network, opened, allow_pt)
        shelf.put(key, model)
        return model

    def work(context: JobContext) -> None:
        context.progress(0, 0, "Comparing with the network")
        shelf.put(key, _read(source, network, opened, allow_pt))

    title = f"Reading {own_pictures.plain(source.name)}"
    # One that was read but is no longer on the shelf is read again.
    finished(f"own-model-{digest(key)}", title, work, lost=True)
    return shelf.get(key)


def _read(source: Source, network: str, images: ImageSet, allow_pt: bool) -> Classifier:
    from imu_core.networks.foreign_file import read_tensors
    from imu_core.networks.foreign_weights import fitted

    if source.upload is None:
        tensors = read_tensors(source.path, allow_pt=allow_pt, name=source.name)
        return fitted(tensors, network, images, source.name)
    with tempfile.TemporaryDirectory(prefix="imu-weights-") as folder:
        # Only the ending of a visitor's name is taken; it says how the file is read.
        path = Path(folder) / f"weights{Path(source.name).suffix.lower()}"
        path.write_bytes(source.upload.getbuffer())
        tensors = read_tensors(path, allow_pt=allow_pt, name=source.name)
        return fitted(tensors, network, images, source.name)


def finished(
    job_id: str, title: str, work: Callable[[JobContext], object], *, lost: bool = False
) -> JobStatus | None:
    """The job once it is done; until then it is put into the queue and drawn.

    `lost`: what it made is gone, so one that is done is done again.
    """
    queue = resources.job_queue()
    status = queue.status(job_id)
    failed = status is not None and status.state in ("failed", "cancelled")
    if status is not None and failed:
        st.warning(job_panel.line(status), icon=":material/warning:")
        if not st.button("Try again", icon=":material/refresh:", key=f"again:{job_id}"):
            return None
    if status is None or failed or (lost and status.state == "done"):
        queue.submit(title, work, key=job_id)
        status = queue.status(job_id)
    if status is not None and status.state == "done":
        return status
    job_panel.wait_for(job_id)
    return None


def digest(text: str) -> str:
    """16 hex digits that stand for a text."""
    return sha256(text.encode()).hexdigest()[:16]
