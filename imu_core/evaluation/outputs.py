"""Outputs: the logits and features of one model on all pictures, computed once and kept.

Everything else in `imu_core.evaluation` is a pure function of these arrays.
"""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imu_core.device import forward_batch
from imu_core.errors import Cancelled, RunError
from imu_core.files import write_whole
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits and features of one model; row i of the training arrays is id i."""

    train_logits: np.ndarray
    """float32 (n, K)"""
    train_features: np.ndarray
    """float32 (n, d)"""
    test_logits: np.ndarray
    """float32 (m, K)"""
    test_features: np.ndarray
    """float32 (m, d)"""


def compute_outputs(
    classifier: Classifier,
    image_set: ImageSet,
    *,
    device: torch.device | str,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    batch_size: int | None = None,
) -> Outputs:
    """Outputs of the classifier on every training and test picture: eval mode, float32.

    Works on a copy, so the classifier stays as and where it is. Raises `Cancelled` when
    `should_stop` turns true between two batches.
    """
    target = torch.device(device)
    size = batch_size or forward_batch(target)
    model = copy.deepcopy(classifier).eval().to(target)
    model = model.to(memory_format=torch.channels_last)
    n, m = image_set.n_train, image_set.n_test
    arrays: list[np.ndarray] = []
    done = 0

    def count(step: int) -> None:
        nonlocal done
        if should_stop is not None and should_stop():
            raise Cancelled
        done += step
        if progress is not None:
            progress(done, n + m, "Computing outputs")

    for images in (image_set.train_images, image_set.test_images):
        arrays += _pass(model, images, target, size, count)
    return Outputs(*arrays)


def _pass(
    classifier: Classifier,
    images: Tensor,
    device: torch.device,
    batch_size: int,
    count: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, K) and features (n, d) of `images`, in order."""
    n = len(images)
    logits = torch.empty((n, classifier.n_classes))
    features = torch.empty((n, classifier.n_features))
    with torch.inference_mode():
        for start in range(0, n, batch_size):
            rows = slice(start, min(start + batch_size, n))
            seen = classifier.features(images[rows].to(device)).float()
            features[rows] = seen.cpu()
            logits[rows] = classifier.head(seen).float().cpu()
            count(rows.stop - rows.start)
    return logits.numpy(), features.numpy()


def save_outputs(path: str | Path, outputs: Outputs, *, exact: bool = False) -> None:
    """Write the outputs as .npz under a temporary name, then rename: never a half file.

    Logits stay float32. Features are kept as float16 (half the size, error below 0.05 %) unless
    one is too large for it or `exact` asks for float32.
    """
    path = Path(path)
    arrays = {item.name: getattr(outputs, item.name) for item in fields(outputs)}
    for name in () if exact else ("train_features", "test_features"):
        if np.abs(arrays[name]).max(initial=0.0) <= float(np.finfo(np.float16).max):
            arrays[name] = arrays[name].astype(np.float16)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, **arrays)

    write_whole(path, write)


def load_outputs(path: str | Path) -> Outputs:
    """The outputs `save_outputs` wrote, all float32; a broken or foreign file is a `RunError`."""
    path = Path(path)
    names = [item.name for item in fields(Outputs)]
    try:
        # Opened here because numpy leaves a broken file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name].astype(np.float32) for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"The outputs “{path}” cannot be read; run the job again.") from error
    for part in ("train", "test"):
        logits, features = arrays[f"{part}_logits"], arrays[f"{part}_features"]
        if logits.ndim != 2 or features.ndim != 2 or len(logits) != len(features):
            raise RunError(f"The outputs “{path}” do not fit together; run the job again.")
    return Outputs(**arrays)
