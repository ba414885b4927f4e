"""`imu influence`: a score for every picture of the forget set."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import torch

from imu_core.device import pick_device
from imu_core.errors import BadInput, UnknownName
from imu_core.evaluation.outputs import compute_outputs
from imu_core.forget_rules import parse_forget_spec
from imu_core.influence.imu_scores import imu_scores
from imu_core.networks import load_checkpoint
from imu_core.terminal.console import Progress, print_json
from imu_core.terminal.training import opened_images, original_checkpoint

KINDS = ("imu",)


def influence(arguments: argparse.Namespace) -> int:
    """Score the influence of each forget picture on the forget loss, at the classifier head."""
    if arguments.kind not in KINDS:
        raise UnknownName("kind of influence", arguments.kind, KINDS)
    device = pick_device(arguments.device)
    with Progress() as progress:
        image_set = opened_images(arguments, progress)
        path = original_checkpoint(arguments, image_set, device, progress)
        classifier, _ = load_checkpoint(path, image_set=image_set)
        outputs = compute_outputs(classifier, image_set, device=device, progress=progress)
    forget = parse_forget_spec(arguments.forget, image_set, outputs=lambda: outputs)
    forget.check_usable(image_set)
    ids = forget.ids_tensor()
    labels = image_set.train_labels[ids]
    scores = imu_scores(
        torch.from_numpy(outputs.train_features)[ids],
        torch.from_numpy(outputs.train_logits)[ids],
        labels,
    )
    rows = [
        {"id": int(id), "label": image_set.class_names[int(label)], "score": float(score)}
        for id, label, score in zip(ids, labels, scores, strict=True)
    ]
    if arguments.out:
        _write(Path(arguments.out), _as_csv(rows))
    if arguments.json:
        print_json({"kind": arguments.kind, "images": image_set.name, "scores": rows})
    elif not arguments.out:
        print(_as_csv(rows), end="")
    return 0


def _as_csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "label", "score"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"“{path}” cannot be written: {error.strerror}.") from error
