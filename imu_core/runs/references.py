"""Originals and retrained references with their outputs: computed once, kept beside the runs."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from imu_core.evaluation.outputs import Outputs, compute_outputs, load_outputs, save_outputs
from imu_core.files import clear_about_disk, read_json, write_json, write_whole
from imu_core.forget_set import ForgetSet
from imu_core.images import ImageSet
from imu_core.networks import (
    CheckpointHeader,
    Classifier,
    checkpoint_digest,
    load_checkpoint,
    save_checkpoint,
)
from imu_core.runs.store import MODEL, OUTPUTS, RunStore
from imu_core.training import retrain

Progress = Callable[[int, int, str], None]
ShouldStop = Callable[[], bool]


def keep_original(
    store: RunStore, checkpoint: str | Path, image_set: ImageSet
) -> tuple[Classifier, CheckpointHeader, str]:
    """The original, its header and digest; a copy of the file is kept in the store."""
    classifier, header = load_checkpoint(checkpoint, image_set=image_set)
    digest = checkpoint_digest(checkpoint)
    kept = store.original(digest)
    if not kept.exists():
        write_whole(kept, lambda part: shutil.copyfile(checkpoint, part))
    return classifier, header, digest


def original_outputs(
    store: RunStore,
    classifier: Classifier,
    digest: str,
    image_set: ImageSet,
    *,
    device: torch.device,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
) -> Outputs:
    """Outputs of an original on an image set, float32, from the store where they are there.

    They are kept exactly: while only the head moves the run loop reads features from here, and a
    run must not depend on whether the file was there before.
    """
    path = store.original_outputs(digest, image_set.fingerprint)
    if not path.exists():
        outputs = compute_outputs(
            classifier, image_set, device=device, progress=progress, should_stop=should_stop
        )
        with clear_about_disk(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_outputs(path, outputs, exact=True)
    return load_outputs(path)


def reference_key(header: CheckpointHeader, forget_set: ForgetSet, seed: int) -> str:
    """Names a retrained reference by all that decides its weights."""
    inputs = {
        "network": header.network,
        "recipe": header.recipe,
        "mean": header.mean,
        "std": header.std,
        "forget": forget_set.digest,
        "seed": seed,
    }
    text = json.dumps(inputs, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def retrained_reference(
    store: RunStore,
    header: CheckpointHeader,
    image_set: ImageSet,
    forget_set: ForgetSet,
    seed: int,
    *,
    device: torch.device,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[str, Outputs, float]:
    """Key, outputs and training seconds of the model retrained without the forget set.

    With the original's seed it is paired with the original: the same initial weights, the same
    order of pictures minus the forget ids.
    """
    key = reference_key(header, forget_set, seed)
    folder = store.references / key
    if not (folder / "reference.json").exists():
        ids = forget_set.ids_tensor()
        started = time.perf_counter()
        classifier = retrain(
            header,
            image_set,
            ids,
            seed=seed,
            device=device,
            progress=progress,
            should_stop=should_stop,
        )
        seconds = time.perf_counter() - started
        outputs = compute_outputs(classifier, image_set, device=device, should_stop=should_stop)
        with clear_about_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            own = header_of_changed(
                header, image_set, outputs, seed=seed, n_train=header.n_train - len(ids)
            )
            save_checkpoint(folder / MODEL, classifier, own)
            save_outputs(folder / OUTPUTS, outputs)
        # Written last: a folder without it is not taken for a whole reference.
        write_json(
            folder / "reference.json",
            {"seed": seed, "seconds": seconds, "forget": forget_set.digest},
        )
    return key, load_outputs(folder / OUTPUTS), read_json(folder / "reference.json")["seconds"]


def header_of_changed(
    header: CheckpointHeader, image_set: ImageSet, outputs: Outputs, **changes: Any
) -> CheckpointHeader:
    """The original's header for a model that was made from it, with its own test accuracy."""
    right = outputs.test_logits.argmax(1) == image_set.test_labels.numpy()
    return replace(header, test_accuracy=float(right.mean()), **changes)
