"""What a head problem refuses, in sentences for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imu_core.errors import BadInput

if TYPE_CHECKING:
    from imu_core.influence.problem import HeadProblem


def checked_ids(ids: Tensor, n: int) -> Tensor:
    """Ids as int64 on the CPU; `BadInput` unless each is one of n pictures and there once."""
    ids = torch.as_tensor(ids, dtype=torch.int64).cpu()
    if not len(ids):
        raise BadInput("The set of pictures is empty; choose at least one.")
    if int(ids.min()) < 0 or int(ids.max()) >= n:
        raise BadInput(f"Ids of training pictures must lie in 0–{n - 1}.")
    if len(ids.unique()) < len(ids):
        raise BadInput("A picture is in the set twice; give each id once.")
    return ids


def check_shapes(problem: HeadProblem) -> None:
    """`BadInput` unless features, labels, weights and bias go together."""
    features, weight = problem.features, problem.weight
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise BadInput(
            f"The head takes {weight.shape[-1]} features a picture, but the features given have "
            f"the shape {tuple(features.shape)}."
        )
    if len(features) != len(problem.labels):
        raise BadInput(f"{len(features)} rows of features came with {len(problem.labels)} labels.")
    if problem.bias is not None and problem.bias.shape != weight.shape[:1]:
        raise BadInput(f"The head has {len(weight)} classes but a bias of another length.")


def check_values(problem: HeadProblem) -> None:
    """`BadInput` for damping, weights or labels that no head can have."""
    if not (math.isfinite(problem.damping) and problem.damping >= 0):
        raise BadInput(f"Damping must be a number of at least 0, not {problem.damping}.")
    if problem.chunk_rows is not None and problem.chunk_rows < 1:
        raise BadInput("A chunk needs at least one picture.")
    for part in (problem.weight, problem.bias):
        if part is not None and not bool(torch.isfinite(part).all()):
            raise BadInput("The head holds weights that are not numbers; load a sound model.")
    labels = problem.labels
    if problem.counted is not None:
        labels = labels[problem.counted.to(labels.device)]
    classes = labels.unique()
    if len(classes) < 2:
        raise BadInput(
            "The training pictures are all of one class, or there are none; influence needs "
            "pictures of at least two classes."
        )
    if int(classes.min()) < 0 or int(classes.max()) >= problem.n_classes:
        raise BadInput(f"Labels must lie in 0–{problem.n_classes - 1}.")


def check_output(problem: HeadProblem, logits: Tensor) -> None:
    """`BadInput` unless the head makes these logits of the features, by up to 2,048 rows.

    The tolerance covers features kept as float16.
    """
    rows = slice(0, 2048)
    given = logits[rows].to(problem.device, problem.precision)
    made = problem.logits(problem.features[rows])
    if given.shape != made.shape or not bool(torch.isfinite(given).all()):
        raise BadInput("The logits given do not belong to these features, or are not numbers.")
    scale = max(float(given.abs().max()), float(made.abs().max()), 1e-6)
    if float((given - made).abs().max()) > 0.01 * scale:
        raise BadInput(
            "The head of this network is not its output: the logits differ from what the last "
            "linear layer makes of the features (they may be scaled behind it). Influence at the "
            "head would be wrong; choose a network that ends in its linear layer."
        )
