"""The line of the terminal that does a run again."""

from __future__ import annotations

import shlex
from contextlib import suppress

import torch
from torch import Tensor

from imu_core.errors import ImuError
from imu_core.forget_rules import parse_forget_spec
from imu_core.images import ImageSet
from imu_core.runs import Run


def replay_command(run: Run, image_set: ImageSet | None = None) -> str:
    """The `imu unlearn` line that does this run again."""
    spec = run.record["spec"]
    words = ["imu", "unlearn", "--images", spec["image_set"], "--checkpoint", spec["checkpoint"]]
    words += ["--forget", forget_spec(run.forget_ids, image_set), "--method", spec["method"]]
    if protected := spec.get("protected_ids"):
        ids = torch.tensor(protected, dtype=torch.int64)
        words += ["--protect", forget_spec(ids, image_set)]
    for name, value in spec["parameters"].items():
        words += ["--set", f"{name}={value}"]
    if spec["stop"]:
        words += ["--stop", spec["stop"]]
    words += ["--seeds", str(spec["seed"])]
    if spec["retrain"]:
        words += ["--retrain", str(spec["retrain"])]
    return shlex.join(words)


def forget_spec(ids: Tensor, image_set: ImageSet | None = None) -> str:
    """The SPEC of exactly these ids (int64, ascending); whole classes are named as such."""
    plain = "ids=" + ",".join(map(str, ids.tolist()))
    if image_set is None:
        return plain
    labels = image_set.train_labels
    counts = torch.bincount(labels[ids], minlength=image_set.n_classes)
    sizes = torch.bincount(labels, minlength=image_set.n_classes)
    whole = (counts == sizes) & (sizes > 0)
    terms = [f"class={image_set.class_names[label]}" for label in whole.nonzero().flatten()]
    rest = ids[~whole[labels[ids]]]
    if len(rest):
        terms.append("ids=" + ",".join(map(str, rest.tolist())))
    spec = "+".join(terms)
    # A class may have a name that reads as something else.
    with suppress(ImuError):
        if torch.equal(parse_forget_spec(spec, image_set).ids_tensor(), ids):
            return spec
    return plain
